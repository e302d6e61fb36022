"""Large settings files are parsed in chunks, with the same result as at once, and kept as text."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import pickle
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample import ACCOUNT, KEY, campaign, variation
from sample import settings as make_file
from search_effort import examples
from server import answer, running_server

from vwo_async import Settings, SettingsError, VWOClient, fetch_settings, parse_settings
from vwo_async._core.api_method import ACTIVATE, APIS, TRACK
from vwo_async._core.decision import decide, find_refusal
from vwo_async._core.goal import find_targets
from vwo_async._core.lazy_plan import LazyPlan, compile_plan
from vwo_async._core.plan import Decision, Plan
from vwo_async._settings import large_file as large
from vwo_async._settings import parse
from vwo_async._settings.large_file import read_large
from vwo_async._settings.lazy_campaigns import CampaignTexts
from vwo_async._settings.parse import LARGE_BYTES
from vwo_async._user import User
from vwo_async.testing import RecordingTransport

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))

from strategy import settings_files, users

FEATURE_VARIABLES = [{"id": 1, "key": "size", "type": "integer", "value": 5}]


def make_large_file(number: int, **more: Any) -> dict[str, Any]:
    """Return a file of *number* campaigns, each with segments and goals of its own."""
    return make_file(
        *(
            campaign(
                one,
                f"campaign-{one}",
                segments={
                    "and": [
                        {"or": [{"custom_variable": {"plan": "lower(pro)"}}]},
                        {"not": {"custom_variable": {"city": f"wildcard(*berg{one}*)"}}},
                    ]
                },
                isForcedVariationEnabled=True,
                variations=[
                    variation(1, "Control", 50, segments={"or": [{"user": f"Ashley{one}"}]}),
                    variation(2, "Variation-1", 50),
                ],
            )
            for one in range(1, number + 1)
        ),
        **more,
    )


def dump(file: Any, **options: Any) -> bytes:
    return json.dumps(file, ensure_ascii=False, **options).encode()


@contextmanager
def largest(limit: int, chunk: int = 5000) -> Iterator[None]:
    """Parse files of more than *limit* bytes in chunks of *chunk* bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parse, "LARGE_BYTES", limit)
        patch.setattr(large, "STEP_BYTES", chunk)
        yield


def read_in_one_go(body: bytes | str) -> tuple[str, Any]:
    with largest(sys.maxsize):
        return read(body)


def read_in_pieces(body: bytes | str, chunk: int = 1) -> tuple[str, Any]:
    with largest(-1, chunk):
        return read(body)


def read(body: bytes | str) -> tuple[str, Any]:
    """Return the settings in the file, or its faults."""
    try:
        found = parse_settings(body)
    except SettingsError as error:
        return "refused", error.faults
    return "read", repr(found.model_dump())


# Reading

FILE = make_file(
    campaign(11, "ch\u00e9ckout", segments={"or": [{"custom_variable": {"plan": "pro"}}]}),
    campaign(12, "search", "FEATURE_TEST", variables=FEATURE_VARIABLES, future={"a": [1.5, None]}),
    campaign(13, "banner", "FEATURE_ROLLOUT", variations=[variation(1, "website", 100)], goals={}),
    future={"deep": [[[{"a": "\u20ac"}]]]},
    groups={"5": {"name": "five", "campaigns": [11, 12]}},
    campaignGroups={"11": 5, "12": 5},
)
FORMS = [dump(FILE), dump(FILE, indent=1), dump(FILE, indent=2).replace(b"\n", b"\r\n")]


@pytest.mark.parametrize("body", FORMS, ids=["line", "lines", "windows lines"])
@pytest.mark.parametrize("chunk", [1, 150, 5000])
def test_good_files(body: bytes, chunk: int) -> None:
    """Parsed in chunks or at once, a valid file gives the same settings."""
    found = read_in_pieces(body, chunk)
    assert found[0] == "read"
    assert found == read_in_one_go(body)


CAMPAIGNS = json.dumps(FILE["campaigns"])
REST = '"accountId": 1, "version": 1'
ODD = [
    "",
    "{}",
    "[]",
    "[" + CAMPAIGNS + "]",
    "5",
    "<html>",
    "\ufeff{}",
    f'{{{REST}, "campaigns": {{}}}}',
    f'{{{REST}, "campaigns": null}}',
    f'{{{REST}, "campaigns": "x"}}',
    f'{{{REST}, "campaigns": []}}',
    f'{{{REST}, "campaigns": [5, {{}}, []]}}',
    f'{{{REST}, "campaigns": {CAMPAIGNS}, "campaigns": []}}',
    f'{{{REST}, "campaigns": [], "campaigns": {CAMPAIGNS}}}',
    f'{{"campaigns": {CAMPAIGNS}, {REST}, "\\u0063ampaigns": [5]}}',
    f'{{"campaigns": {CAMPAIGNS}, "sdkKey": "a b", "version": [], "groups": 5}}',
    '{"campaigns": [{}, {}], "sdkKey": "a b", "version": [], "groups": 5}',
    f'{{{REST}, "campaigns": {CAMPAIGNS[:-1]}, {CAMPAIGNS[1:]}}}',
    f'{{{REST}, "campaigns": {CAMPAIGNS} "x": 1}}',
    f'{{{REST}, "campaigns": {CAMPAIGNS}, }}',
    f'{{{REST}, "campaigns": {CAMPAIGNS}}} x',
    f'{{{REST}, "campaigns": {CAMPAIGNS}, x}}',
    f'{{{REST}, "campaigns": {CAMPAIGNS}, "x": {"[" * 199}{"]" * 199}}}',
    f'{{{REST}, "campaigns": {CAMPAIGNS}, "x": {"[" * 201}{"]" * 201}}}',
    f'{{{REST}, "campaigns": {CAMPAIGNS}, "x": {"[" * 100_000}}}',
    f'{{{REST}, "campaigns": [{{"x": {"[" * 197}{"]" * 197}}}]}}',
    f'{{{REST}, "campaigns": [{{"x": {"[" * 200}{"]" * 200}}}]}}',
    f'{{{REST}, "campaigns": [{{"x": {"[" * 100_000}}}]}}',
    f'{{{REST}, "campaigns": {CAMPAIGNS}, "x": {"1" * 5000}}}',
    f'{{{REST}, "campaigns": [{{"x": {"1" * 5000}}}]}}',
    f'{{{REST}, "campaigns": [{", ".join("{}" for _ in range(1000))}]}}',
]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("chunk", [1, 150, 5000])
def test_odd_files(text: str, chunk: int) -> None:
    """The faults of a file have the same texts, order and positions as when it is parsed at once."""
    assert read_in_pieces(text, chunk) == read_in_one_go(text)


@pytest.mark.parametrize("body", FORMS[:2], ids=["line", "lines"])
def test_truncated_files(body: bytes) -> None:
    """A file that is cut off anywhere is refused with the position of its end."""
    for end in range(0, len(body), 7):
        refusal = read_in_pieces(body[:end])
        assert refusal[0] == "refused"
        assert refusal == read_in_one_go(body[:end])


MEMBERS = [
    '"segments": {"a": 1e999}',
    '"x": 1e999',
    '"segments": {"a": [NaN]}',
    '"x": -Infinity',
    '"percentTraffic": 1E1',
    '"percentTraffic": "10"',
    '"percentTraffic": true',
    '"id": 5, "id": 6',
    '"key": "other", "k\\u0065y": "third"',
    '"segments": {"a": "\\ud83d\\ude00"}',
    '"segments": {"a": "\\ud800"}',
    '"x": "\\ud800"',
    '"x": "\t"',
    '"x": "\x7f\\/"',
    '"goals": {}',
    '"goals": [{"id": 1.0, "identifier": "a"}, {"id": "1", "identifier": "a"}]',
    '"variations": [{"name": "a", "weight": "50"}, {"name": "b", "weight": true}]',
    '"isMAB": [], "isOB": "no"',
    *(
        f'"segments": {"[" * depth}{"]" * depth}'
        for depth in (48, 49, 50, 51, 60, 188, 189, 196, 197, 198)
    ),
    *(f'"x": {"[" * depth}1{"]" * depth}' for depth in (186, 187, 195, 196, 197, 198)),
    f'"segments": [{"0," * 99_000}0]',
    f'"segments": [{"0," * 100_000}0]',
]
CAMPAIGN = json.dumps(FILE["campaigns"][1], ensure_ascii=False)


@pytest.mark.parametrize("member", MEMBERS, ids=range(len(MEMBERS)))
def test_odd_members(member: str) -> None:
    """JSON that the two parsers read differently is accepted or refused as if parsed at once."""
    text = (
        f'{{{REST}, "campaigns": [{CAMPAIGN}, {CAMPAIGN[:-1]}, "id": 1, "key": "x", {member}}}]}}'
    )
    found = read_in_pieces(text)
    assert found == read_in_one_go(text)
    if found[0] == "read":
        with largest(-1):
            assert len({one.id for one in parse_settings(text).campaigns}) == 2


SCRAPS = [b"{", b"}", b"[", b"]", b",", b'"', b":", b"\\ud800", b"\xff", b"\n", b"1", b"null"]


@st.composite
def damages(draw: st.DrawFn) -> tuple[int, bytes, int]:
    """Some bytes removed at some position, and others inserted."""
    place = draw(st.integers(0, max(map(len, FORMS))))
    return place, draw(st.sampled_from([b"", *SCRAPS])), draw(st.integers(0, 3))


def harm(body: bytes, damage: tuple[int, bytes, int]) -> bytes:
    place, scrap, length = damage
    return body[:place] + scrap + body[place + length :]


@given(st.sampled_from(FORMS), damages(), st.sampled_from([1, 400]))
@settings(max_examples=examples(300))
def test_damaged_file(body: bytes, damage: tuple[int, bytes, int], chunk: int) -> None:
    """A damaged file is accepted or refused with the same text as if it were parsed at once."""
    body = harm(body, damage)
    assert read_in_pieces(body, chunk) == read_in_one_go(body)


@given(st.sampled_from(FORMS), damages(), damages())
@settings(max_examples=examples(100))
def test_file_damaged_twice(
    body: bytes, damage: tuple[int, bytes, int], other: tuple[int, bytes, int]
) -> None:
    """Of two syntax errors, either may be reported."""
    body = harm(harm(body, damage), other)
    found, expected = read_in_pieces(body), read_in_one_go(body)
    assert found[0] == expected[0]
    if "Invalid JSON" not in str(expected):
        assert found == expected
    elif found != expected:
        assert found[1][0].startswith("Invalid JSON: ")
        assert len(found[1]) == 1


NUMBERS = [33.5, 12.0, "50", "1e2", " 5", float("inf"), float("nan"), -0.0, 2**60, 10**400]


def paths_in(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for step, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, step)
        if isinstance(child, (dict, list)):
            yield from paths_in(child, (*path, step))


@given(
    st.lists(st.sampled_from(list(paths_in(FILE))), min_size=1, max_size=4),
    st.sampled_from([None, 5, -1, 200, "x", [], {}, [5], {"a": 1}, True, "11", 12, *NUMBERS]),
)
@settings(max_examples=examples(300))
def test_wrong_values(paths: list[tuple[Any, ...]], value: Any) -> None:
    """Faults of the whole file and of its campaigns, and duplicates, are reported as if parsed at once."""
    file = copy.deepcopy(FILE)
    for path in paths:
        node: Any = file
        try:
            for step in path[:-1]:
                node = node[step]
            node[path[-1]] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue
    assert read_in_pieces(dump(file)) == read_in_one_go(dump(file))


# What is kept

LARGE = dump(make_large_file(600))


def read_texts(found: Settings) -> CampaignTexts:
    assert isinstance(found.campaigns, CampaignTexts)
    return found.campaigns


def test_only_large_files_are_kept_as_text() -> None:
    """Campaigns are a tuple up to the limit; above it they behave like one."""
    assert isinstance(parse_settings(dump(FILE)).campaigns, tuple)
    assert len(LARGE) > LARGE_BYTES
    found = parse_settings(LARGE)
    with largest(sys.maxsize):
        usual = parse_settings(LARGE)
    texts = read_texts(found)
    assert len(texts) == len(usual.campaigns) == 600
    assert texts[0] == usual.campaigns[0]
    assert texts[-1] == usual.campaigns[-1]
    assert texts[3:5] == usual.campaigns[3:5]
    assert [one.key for one in texts] == list(texts.keys)
    assert usual.campaigns[7] in texts
    with pytest.raises(IndexError):
        texts[600]
    assert found == usual
    assert usual == found
    assert found == parse_settings(LARGE)
    assert found == parse_settings(dump(json.loads(LARGE), indent=1))
    assert found != parse_settings(LARGE.replace(b"campaign-300", b"campaign-x"))
    assert found != parse_settings(dump(make_large_file(599)))
    assert found.campaigns != object()
    assert found.model_dump() == usual.model_dump()
    assert found.model_dump_json(exclude={"sdk_key"}) == usual.model_dump_json(exclude={"sdk_key"})
    # All but the SDK key, which no pickle holds.
    pickled = pickle.loads(pickle.dumps(found))
    assert pickled.model_copy(update={"sdk_key": found.sdk_key}) == found


def test_large_settings_hide_the_key() -> None:
    """No text form of large settings holds the SDK key or all the campaigns."""
    found = parse_settings(LARGE)
    for text in (repr(found), str(found), repr(found.campaigns)):
        assert KEY not in text
        assert len(text) < 1000


def count_objects(make: Callable[[], object]) -> int:
    """Return how many more objects the garbage collector visits because of the result of *make*."""
    gc.collect()
    before = len(gc.get_objects())
    kept = make()
    gc.collect()
    gc.collect()
    number = len(gc.get_objects()) - before
    del kept
    return number


def test_collector_does_not_look_at_campaigns() -> None:
    """Ten times as many unused campaigns are no more objects for the garbage collector."""

    def make(number: int) -> Callable[[], object]:
        body = dump(make_large_file(number))

        def use() -> object:
            found = parse_settings(body)
            return found, compile_plan(found)

        return use

    assert count_objects(make(4000)) < count_objects(make(600)) + 300


def test_collector_looks_at_what_is_used() -> None:
    """The test above can fail: each compiled campaign is hundreds of objects."""
    found = parse_settings(LARGE)
    assert count_objects(lambda: list(compile_plan(found).campaigns.values())) > 20_000


# Deciding


def both_plans(file: Any) -> tuple[Plan, LazyPlan]:
    """Return the plan of all campaigns, and the lazy plan."""
    body = json.dumps(file).encode()
    found = read_large(body, lambda: None)
    assert isinstance(found, Settings)
    lazy = compile_plan(found)
    assert isinstance(lazy, LazyPlan)
    with largest(sys.maxsize):
        return Plan(parse_settings(body)), lazy


def show(answer: Any) -> Any:
    """Return the decision as plain values."""
    if not isinstance(answer, Decision):
        return answer
    variation_ = answer.variation
    return (
        answer.campaign.key,
        answer.reason,
        None
        if variation_ is None
        else (variation_.id, variation_.name, dict(variation_.variables)),
    )


@given(settings_files(forced=True), users(), st.randoms(use_true_random=False))
@settings(max_examples=examples(200))
def test_same_decisions(file: dict[str, Any], user: User, order: random.Random) -> None:
    """In whatever order campaigns are used, each decides as in the plan of all campaigns."""
    whole, lazy = both_plans(file)
    assert list(lazy.campaigns) == list(whole.campaigns)
    assert len(lazy.campaigns) == len(whole.campaigns)
    assert lazy.notes == whole.notes
    keys = [*whole.campaigns, "unheard of"]
    order.shuffle(keys)
    for key in keys:
        assert (key in lazy.campaigns) == (key in whole.campaigns)
        one, other = whole.campaigns.get(key), lazy.campaigns.get(key)
        for api in APIS:
            refusal = find_refusal(one, api, has_storage=True)
            assert refusal == find_refusal(other, api, has_storage=True)
            assert (key in lazy.ready[api.name]) == (key in whole.ready[api.name])
            if refusal is not None:
                continue
            assert one is not None
            assert other is not None
            records: dict[str, Any] | None
            for records in (None, {}):
                given_ = show(decide(lazy, other, user, api, records))
                assert given_ == show(decide(whole, one, user, api, records))


def test_every_attribute_is_there() -> None:
    """The lazy plan has all attributes of a plan, and the same flags."""
    whole, lazy = both_plans(make_file(isEventArchEnabled=True))
    assert all(hasattr(lazy, name) for name in Plan.__slots__)
    assert lazy.is_event_arch is whole.is_event_arch is True
    assert lazy.name_visitor(b"Ashley") == whole.name_visitor(b"Ashley")
    assert lazy.ready.keys() == whole.ready.keys()


def test_goals() -> None:
    """A goal has the same campaigns as in the plan of all, in the order of the file."""
    file = make_large_file(30)
    file["campaigns"][4]["goals"] = [{"identifier": "signup"}, {"id": 1, "identifier": ""}]
    whole, lazy = both_plans(file)
    assert set(lazy.goals) == set(whole.goals)
    assert len(lazy.goals) == len(whole.goals)
    for identifier in ("signup", "purchase", "unheard of"):
        targets = [
            [
                (target.key, target.goal and target.goal.id, target.refusal)
                for target in find_targets(plan, None, identifier, "ALL", has_storage=False)
            ]
            for plan in (whole, lazy)
        ]
        assert targets[0] == targets[1]
        assert [target[0] for target in targets[0]] == lazy.find_goal_keys(identifier)
        assert ("campaign-5" in lazy.find_goal_keys(identifier)) is False


def test_notes() -> None:
    """Parts of the file that are not used are noted with their position in the whole file."""
    file = make_large_file(30)
    file["campaigns"][20]["type"] = "FUTURE"
    file["campaigns"][25]["segments"] = {"custom_variable": {"a": "regex([)"}}
    file["campaignGroups"] = {"3": 77}
    whole, lazy = both_plans(file)
    assert len(lazy.notes) == 3
    assert lazy.notes == whole.notes


def test_groups_are_whole() -> None:
    """A campaign is compiled with its whole group, and is the same object as the group's member."""
    groups = {"5": {"campaigns": [2, 3, 4, 999]}, "6": {"campaigns": [4, 5]}}
    file = make_large_file(9, groups=groups, campaignGroups={"2": 5, "3": 5, "4": 6, "7": 8})
    _, lazy = both_plans(file)
    three = lazy.campaigns["campaign-3"]
    assert three.group is not None
    assert [one.key for one in three.group.members] == ["campaign-2", "campaign-3", "campaign-4"]
    for member in three.group.members:
        assert lazy.campaigns[member.key] is member
    assert sorted(lazy.list_compiled()) == [f"campaign-{one}" for one in (2, 3, 4, 5)]


def test_only_what_is_asked_for_is_compiled() -> None:
    """A campaign is compiled once, when it is used; a new plan compiles those that the old one had."""
    _, lazy = both_plans(make_large_file(30))
    assert lazy.list_compiled() == []
    campaign_ = lazy.campaigns["campaign-9"]
    assert lazy.campaigns.get("campaign-9") is campaign_
    assert lazy.ready[TRACK.name].get("campaign-9") is campaign_
    assert lazy.list_compiled() == ["campaign-9"]
    keys = ["campaign-8", "campaign-9", "unheard of"]
    assert lazy.find_uncompiled(keys) == ["campaign-8"]
    assert len(lazy.find_uncompiled()) == 29
    found = read_large(dump(make_large_file(20)), lambda: None)
    assert isinstance(found, Settings)
    following = compile_plan(found, lazy)
    assert isinstance(following, LazyPlan)
    assert following.list_compiled() == ["campaign-9"]


# A client with a large file

VARIABLES = {"plan": "pro"}


@pytest.mark.anyio
async def test_every_method() -> None:
    """Every API method returns the same as with the file given as a mapping, which is compiled as a whole."""
    file = make_large_file(600)
    async with (
        VWOClient(LARGE, transport=RecordingTransport()) as client,
        VWOClient(file, transport=RecordingTransport()) as other,
    ):
        for one in (client, other):
            assert isinstance(one.settings.campaigns, CampaignTexts) is (one is client)
        for name in ("Ashley", "Bill", "Ashley77"):
            for key in ("campaign-77", "campaign-600", "unheard of"):
                answers = [
                    (
                        await one.activate(key, name, custom_variables=VARIABLES),
                        await one.get_variation_name(key, name),
                        (await one.track(key, name, "often", custom_variables=VARIABLES)).as_dict(),
                        await one.is_feature_enabled(key, name),
                        str(await one.explain(key, name)),
                    )
                    for one in (client, other)
                ]
                assert answers[0] == answers[1]
        assert client.settings_warnings == other.settings_warnings == ()


@pytest.mark.anyio
async def test_all_campaigns_leave_the_loop_its_turns() -> None:
    """The first use of all campaigns compiles them over many turns of the event loop."""
    turns: list[float] = []

    async def turn() -> None:
        while True:
            turns.append(time.thread_time())
            await asyncio.sleep(0)

    client = VWOClient(LARGE, transport=RecordingTransport())
    async with client:
        ticker = asyncio.create_task(turn())
        decisions = await client.decide_all("Ashley", custom_variables=VARIABLES)
        compiling = len(turns)
        result = await client.track(None, "Ashley", "signup", custom_variables=VARIABLES)
        ticker.cancel()
        await asyncio.gather(ticker, return_exceptions=True)
        assert len(decisions) == 600
        assert len(result) == 600
    assert compiling > 5
    gaps = sorted(after - before for before, after in pairwise(turns[:compiling]))
    assert gaps[len(gaps) // 2] < 0.05


@pytest.mark.anyio
async def test_fetched_large_file() -> None:
    """A large file is fetched, parsed off the event loop, and refused for its faults like any other."""
    async with running_server() as server:
        server.default = answer(body=LARGE)
        found = await fetch_settings(ACCOUNT, KEY, base_url=server.base_url)
        assert len(found.campaigns) == 600
        server.default = answer(body=LARGE.replace(b'"id": 300,', b'"id": 301,', 1))
        with pytest.raises(SettingsError, match="campaigns: 2 entries have the same id"):
            await fetch_settings(ACCOUNT, KEY, base_url=server.base_url)
        server.default = answer(body=LARGE[:-5])
        with pytest.raises(SettingsError, match="Invalid JSON"):
            await fetch_settings(ACCOUNT, KEY, base_url=server.base_url)


def test_decide_needs_no_storage_of_others() -> None:
    """Deciding one campaign of thousands does not compile the others."""
    _, lazy = both_plans(make_large_file(30))
    user = User("Ashley9", variation_targeting_variables={})
    assert show(decide(lazy, lazy.campaigns["campaign-9"], user, ACTIVATE, None))[2][1] == "Control"
    assert lazy.list_compiled() == ["campaign-9"]
