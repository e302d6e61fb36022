"""Where the official SDKs differ from one another, one test for each difference: what this one does.

The numbers are those of docs/deviations.md. Expected values are written out: hashes, bucket values and
shares come from the rules, never from the code under test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from sample import campaign, row, settings, variation
from server import Received, answer
from serving import serving
from vector import RecordingStorage, impressions

import vwo_async
from vwo_async import DeliveryError, Reason, VWOClient
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Limits, Timeouts

pytestmark = pytest.mark.anyio

# The visitor id of Ashley in account 888888.
ASHLEY = "A46F7AA3A53150368683EE064793BAFD"


@asynccontextmanager
async def recording(
    file: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[VWOClient, RecordingTransport]]:
    """A client whose requests are kept."""
    transport = RecordingTransport()
    async with VWOClient(file or settings(), transport=transport, **options) as client:
        yield client, transport


class Answering(RecordingStorage):
    """A storage whose every read has the same answer."""

    def __init__(self, row: Mapping[str, Any] | Exception | None) -> None:
        super().__init__()
        self.row = row

    async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        self.gets.append([user_id, campaign_key])
        if isinstance(self.row, Exception):
            raise self.row
        return self.row


def leaf(operand: str) -> dict[str, Any]:
    """Return a segment on the variable v."""
    return {"custom_variable": {"v": operand}}


async def admits(tree: dict[str, Any], *values: Any) -> bool:
    """Tell whether a campaign with this segment has a variation for users with this v, or without."""
    async with recording(settings(campaign(7, "one", segments=tree))) as (client, _):
        variables = {"v": values[0]} if values else {}
        name = await client.activate("one", "Ashley", custom_variables=variables)
        return name is not None


def group_file(rules: dict[str, Any], **changes: dict[str, Any]) -> dict[str, Any]:
    """Return a settings file in which group 5 holds the campaigns 11 A, 12 B and 13 C3."""
    keys = {"A": 11, "B": 12, "C3": 13}
    return settings(
        *(campaign(number, key, **changes.get(key, {})) for key, number in keys.items()),
        campaignGroups=dict.fromkeys(map(str, keys.values()), 5),
        groups={"5": {"name": "five", "campaigns": list(keys.values()), **rules}},
    )


async def holders(file: dict[str, Any], user: str, **options: Any) -> list[str]:
    """Return the keys of the campaigns that have a variation for the user."""
    async with recording(file, **options) as (client, _):
        keys = [one["key"] for one in file["campaigns"]]
        return [key for key in keys if await client.activate(key, user) is not None]


def items(request: Received) -> list[dict[str, Any]]:
    """Return the events of a batch request."""
    assert request.method == "POST"
    assert urlsplit(request.target).path == "/server-side/batch-events"
    events: list[dict[str, Any]] = json.loads(request.body)["ev"]
    return events


@pytest.mark.parametrize(
    ("keys", "goal", "expected"),
    [
        ("nope", "signup", {"nope": False}),
        ("paused", "signup", {"paused": False}),
        ("checkout", "nope", {"checkout": False}),
        (
            ["checkout", "nope", "paused", "banner"],
            "signup",
            {"checkout": True, "nope": False, "paused": False, "banner": False},
        ),
    ],
)
async def test_01_track_all_keys_false(keys: Any, goal: str, expected: dict[str, bool]) -> None:
    """track answers for every key it was asked about, false where the campaign cannot be tracked."""
    async with recording() as (client, _):
        result = await client.track(keys, "Ashley", goal)
        assert result.as_dict() == expected
        assert bool(result) is any(expected.values())


@pytest.mark.parametrize(
    ("user", "hashed", "name"),
    [
        # The low bytes of UTF-16 give Variation-1, then thrice Control or Variation-1 the other way
        # round; cut-off UTF-8 gives Control for é and 用户-1.
        ("użytkownik", 3977026500, "Variation-1"),
        ("ü", 2113435471, "Control"),
        ("é", 3927689336, "Variation-1"),
        ("用户-1", 3436501342, "Variation-1"),
        ("🙂", 565371578, "Control"),
    ],
)
async def test_02_hash_encoding(user: str, hashed: int, name: str) -> None:
    """User ids outside ASCII are hashed as UTF-8."""
    async with recording(settings(campaign(7, "one"))) as (client, _):
        assert await client.activate("one", user) == name
        steps = {step.name: step.facts for step in (await client.explain("one", user)).steps}
        assert steps["variation"]["hash"] == hashed


async def test_03_track_null_type_mismatch_false() -> None:
    """track(None) leaves out campaigns whose goal is of another type than the one asked for."""
    goals = [{"id": 5, "identifier": "done", "type": "CUSTOM_GOAL"}]
    others = [{"id": 6, "identifier": "done", "type": "REVENUE_TRACKING"}]
    file = settings(campaign(11, "a", goals=goals), campaign(12, "b", goals=others))
    async with recording(file) as (client, _):
        result = await client.track(None, "Ashley", "done", goal_type_to_track="CUSTOM_GOAL")
        assert result.as_dict() == {"a": True}


async def test_04_track_overwrites_goals() -> None:
    """A second goal joins the first in the record, with one write each, so that neither counts twice."""
    goals = [
        {"id": 1, "identifier": "bought", "type": "CUSTOM_GOAL"},
        {"id": 2, "identifier": "paid", "type": "CUSTOM_GOAL"},
    ]
    storage = RecordingStorage([row(variationName="Control")])
    file = settings(campaign(11, "checkout", goals=goals))
    async with recording(file, user_storage=storage) as (client, transport):
        answers = [
            bool(await client.track("checkout", "Ashley", goal, wait=True))
            for goal in ("bought", "paid", "bought", "paid")
        ]
        assert answers == [True, True, False, False]
        assert [one["goalIdentifier"] for one in storage.sets] == ["bought", "bought_vwo_paid"]
        assert len(transport.requests) == 2


async def test_05_no_variation_raises() -> None:
    """A user whose bucket value no range covers has no variation, and harms no other campaign."""
    # u28917: 2147310439 lets him into 50 %, and twice his value is 10001.
    file = settings(
        campaign(7, "half", percentTraffic=50),
        campaign(8, "feature", "FEATURE_TEST", percentTraffic=50),
        campaign(9, "full"),
    )
    async with recording(file) as (client, transport):
        steps = {step.name: step.facts for step in (await client.explain("half", "u28917")).steps}
        assert (steps["traffic"]["value"], steps["variation"]["value"]) == (50, 10001)
        assert await client.activate("half", "u28917", wait=True) is None
        assert await client.is_feature_enabled("feature", "u28917", wait=True) is False
        assert not transport.requests
        alone = await client.track("half", "u28917", "signup", wait=True)
        assert alone.as_dict() == {"half": False}
        assert alone["half"].reason is Reason.NO_VARIATION
        both = await client.track(["half", "full"], "u28917", "signup", wait=True)
        assert both.as_dict() == {"half": False, "full": True}


@pytest.mark.parametrize(
    ("flags", "more", "names"),
    [
        # The variation goes by `7_888888_<user>`: 9584, 803, 8751.
        # Traffic by `Ashley` 50, `Bill` 24, `user_1` 73.
        ({"isNBv2": True}, {}, ["Variation-1", "Control", None]),
        # By `7_Ashley` 62, `7_Bill` 65, `7_user_1` 44.
        ({"isNBv2": True, "isNB": True}, {}, [None, None, "Variation-1"]),
        ({"isNBv2": True}, {"isBucketingSeedEnabled": True}, [None, None, "Variation-1"]),
    ],
)
async def test_06_seed_uses_nbv2(
    flags: dict[str, Any], more: dict[str, Any], names: list[str | None]
) -> None:
    """The campaign is part of the traffic's seed with isNB or the campaign's own flag, not with isNBv2."""
    file = settings(campaign(7, "one", percentTraffic=50, **more), **flags)
    async with recording(file) as (client, _):
        for user, name in zip(("Ashley", "Bill", "user_1"), names, strict=True):
            assert await client.activate("one", user) == name


async def test_07_user_list_hashed() -> None:
    """Where a campaign's user lists are hashed, an id is looked up by its visitor id and not by itself."""
    for listed, name in ((ASHLEY, "Variation-1"), ("Ashley", None)):
        variations = [
            variation(1, "Control", 50),
            variation(2, "Variation-1", 50, segments={"or": [{"user": f"x, {listed}"}]}),
        ]
        one = campaign(7, "one", percentTraffic=0, variations=variations)
        one |= {"isForcedVariationEnabled": True, "isUserListEnabled": True}
        async with recording(settings(one)) as (client, _):
            assert await client.activate("one", "Ashley") == name


async def test_08_compare_error() -> None:
    """Comparing a text by size fails that leaf alone, so that `not` around it holds."""
    assert not await admits(leaf("gt(5)"), "abc")
    assert await admits({"not": leaf("gt(5)")}, "abc")
    assert await admits({"or": [leaf("lte(5)"), leaf("abc")]}, "abc")


async def test_09_mab_track() -> None:
    """A multi-armed bandit campaign without a user storage is false for its key, in every form of track."""
    file = settings(campaign(11, "bandit", isMAB=True), campaign(12, "plain"))
    async with recording(file) as (client, transport):
        alone = await client.track("bandit", "Ashley", "signup", wait=True)
        assert alone.as_dict() == {"bandit": False}
        for keys in (["bandit", "plain"], None):
            result = await client.track(keys, "Ashley", "signup", wait=True)
            assert result.as_dict() == {"bandit": False, "plain": True}
            assert result["bandit"].reason is Reason.STORAGE_REQUIRED
        assert impressions(transport.requests) == [["track-goal", 12, 1, 1201]] * 2


@pytest.mark.parametrize(
    ("flags", "more", "name"),
    [
        # `Ashley` 4986; as if set, `7_Ashley` 6184 or `7_888888_Ashley` 9584.
        ({"isNB": True}, {"isOB": False}, "Control"),
        # `7_888888_Ashley` 9584; as if set, `Ashley` 4986.
        ({"isNB": True, "isNBv2": True}, {"isOBv2": False}, "Variation-1"),
    ],
)
async def test_10_ob_present_counts(flags: Any, more: dict[str, Any], name: str) -> None:
    """A flag of a campaign that is there and false is false."""
    async with recording(settings(campaign(7, "one", **more), **flags)) as (client, _):
        assert await client.activate("one", "Ashley") == name


@pytest.mark.parametrize(
    ("operand", "value", "expected"),
    [
        ("wildcard(*)", "x", True),
        ("wildcard(*)", "*", True),
        ("wildcard(**)", "x", True),
        ("wildcard()", "x", False),
        ("wildcard()", "", True),
        ("wildcard(***)", "x", False),
        ("wildcard(***)", "a*b", True),
    ],
)
async def test_11_wildcard_bare_stars(operand: str, value: str, *, expected: bool) -> None:
    """A wildcard loses one star at each end; what is left, even nothing, is what is looked for."""
    assert await admits(leaf(operand), value) is expected


async def test_12_returning_user_flag() -> None:
    """should_track_returning_user reports again what the storage knows, impressions and conversions."""
    impression, conversion = ["track-user", 11, 1], ["track-goal", 11, 1, 1101]
    again: Any = {"should_track_returning_user": True, "wait": True}
    storage = RecordingStorage()
    async with recording(user_storage=storage) as (client, transport):
        for options in ({"wait": True}, {"wait": True}, again):
            assert await client.activate("checkout", "Ashley", **options) == "Control"
        assert impressions(transport.requests) == [impression] * 2
        transport.requests.clear()
        tracked = [
            bool(await client.track("checkout", "Ashley", "signup", **options))
            for options in ({"wait": True}, {"wait": True}, again)
        ]
        assert tracked == [True, False, True]
        assert impressions(transport.requests) == [conversion] * 2
    launch: Any = {"should_track_returning_user": True, "user_storage": storage}
    async with recording(**launch) as (client, transport):
        # A call can ask to report an impression again, not to leave out what launch asked for.
        await client.activate("checkout", "Ashley", should_track_returning_user=False, wait=True)
        assert await client.track("checkout", "Ashley", "signup", wait=True)
        assert impressions(transport.requests) == [impression, conversion]


async def test_13_eventarch_dedupes_goals() -> None:
    """On the event architecture too a goal is stored, and refused once it is."""
    storage = RecordingStorage([row(variationName="Control")])
    file = settings(isEventArchEnabled=True)
    async with recording(file, user_storage=storage) as (client, transport):
        assert await client.track("checkout", "Ashley", "signup", wait=True)
        assert storage.sets == [row(variationName="Control", goalIdentifier="signup")]
        again = await client.track("checkout", "Ashley", "signup", wait=True)
        assert again.as_dict() == {"checkout": False}
        assert len(transport.requests) == 1


async def test_14_track_null_includes_paused() -> None:
    """track(None) answers false for a campaign that has the goal and is not running, and sends nothing."""
    file = settings(campaign(11, "a"), campaign(12, "b", status="PAUSED"))
    async with recording(file) as (client, transport):
        result = await client.track(None, "Ashley", "signup", wait=True)
        assert result.as_dict() == {"a": True, "b": False}
        assert impressions(transport.requests) == [["track-goal", 11, 1, 1101]]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("integer", 10.7, 10),
        ("integer", "10.7", 10),
        ("integer", "12abc", 12),
        ("double", "3.5kg", 3.5),
        ("boolean", True, True),
        ("boolean", "true", None),
        ("json", {"a": [1]}, {"a": [1]}),
        ("json", '{"a": [1]}', None),
        ("string", 5, 5),
        ("string", 1.5, 1.5),
        ("other", "raw", "raw"),
    ],
)
async def test_15_feature_cast(kind: str, value: Any, expected: Any) -> None:
    """Odd values of feature variables are read as the Node SDK reads them."""
    variables = [{"id": 1, "key": "k", "type": kind, "value": value}]
    async with recording(settings(campaign(7, "r", "FEATURE_ROLLOUT", variables=variables))) as (
        client,
        _,
    ):
        given = await client.get_feature_variable_value("r", "k", "Ashley")
        assert given == expected
        assert type(given) is type(expected)


async def test_16_feature_flag_raw() -> None:
    """A variation that does not say whether its feature is on has it off: False, never None."""
    async with recording() as (client, transport):
        assert await client.is_feature_enabled("search", "Ashley", wait=True) is False
        assert impressions(transport.requests) == [["track-user", 12, 1]]


async def test_17_user_storage_data() -> None:
    """A record given with the call is used and the storage is not asked."""
    storage = RecordingStorage([row(variationName="Control")])
    async with recording(user_storage=storage) as (client, _):
        assert await client.activate("checkout", "Ashley", user_storage_data=row()) == "Variation-1"
        result = await client.track("checkout", "Ashley", "signup", user_storage_data=row())
        assert result["checkout"].variation_name == "Variation-1"
        assert not storage.gets


async def test_18_revprop_any_goal() -> None:
    """Revenue goes out under the names that tracked revenue goals give it, and no others."""
    kinds = {
        "revenue": ("REVENUE_TRACKING", "amount", 100),
        "custom": ("CUSTOM_GOAL", "price", 100),
        "untracked": ("REVENUE_TRACKING", "total", 0),
    }
    campaigns = []
    for number, (key, (kind, prop, traffic)) in enumerate(kinds.items(), start=11):
        goal = {"id": number, "identifier": "paid", "type": kind, "revenueProp": prop}
        campaigns.append(campaign(number, key, goals=[goal], percentTraffic=traffic))
    async with recording(settings(*campaigns, isEventArchEnabled=True)) as (client, transport):
        result = await client.track(None, "Ashley", "paid", revenue_value=10, wait=True)
        assert result.as_dict() == {"revenue": True, "custom": True, "untracked": False}
    (request,) = transport.requests
    props = json.loads(request.body)["d"]["event"]["props"]
    metric = {"id_11": ["g_11"], "id_12": ["g_12"]}
    assert props["vwoMeta"] == {"metric": metric, "amount": 10}
    assert not props.keys() & {"amount", "price", "total"}


@pytest.mark.parametrize(
    ("operand", "value", "expected"),
    [
        ("regex(^10$)", 10.0, True),
        ("regex([.])", 10.0, False),
        ("regex(^10[.]5$)", 10.5, True),
        ("regex(^10$)", Decimal("10.00"), True),
    ],
)
async def test_19_number_format(operand: str, value: Any, *, expected: bool) -> None:
    """A whole number has no fraction in its text, whatever its type in Python."""
    assert await admits(leaf(operand), value) is expected


@pytest.mark.parametrize("revenue", [[10], {"amount": 10}, (10,)], ids=repr)
async def test_20_revenue_type_checked(revenue: Any) -> None:
    """Revenue that is neither a number nor a text is refused, and nothing is sent."""
    async with recording() as (client, transport):
        result = await client.track(
            "checkout", "Ashley", "purchase", revenue_value=revenue, wait=True
        )
        assert result.as_dict() == {"checkout": False}
        assert result["checkout"].reason is Reason.INVALID_INPUT
        assert not transport.requests
        for good in (10, 10.5, "10.5"):
            assert await client.track("checkout", "Ashley", "purchase", revenue_value=good)


async def test_21_track_empty_list() -> None:
    """track of no campaigns tracks nothing and answers with an empty result."""
    async with recording() as (client, transport):
        result = await client.track([], "Ashley", "signup", wait=True)
        assert result.as_dict() == {}
        assert not result
        assert not transport.requests


@pytest.mark.parametrize(
    ("tree", "value", "expected"),
    [
        (leaf("5"), "5abc", False),
        (leaf("5abc"), "5", False),
        (leaf("gt(5)"), "10abc", False),
        (leaf("1000"), "1_000", False),
        (leaf("gt(5)"), "1_000", False),
        (leaf("1_000"), "1_000", True),
        (leaf("inf"), "inf", True),
        (leaf("nan"), "nan", True),
        (leaf("gt(5)"), "inf", False),
        ({"not": leaf("gt(5)")}, "inf", True),
        (leaf("10"), "1e1", True),
        (leaf("10"), " 10.00 ", True),
    ],
)
async def test_22_number_parse(tree: dict[str, Any], value: str, *, expected: bool) -> None:
    """A number is a whole text in decimal notation; everything else is compared as text."""
    assert await admits(tree, value) is expected


async def test_23_meg_running_only() -> None:
    """A paused member of a group competes, so that pausing it gives its users to nobody."""
    # Of three equal shares Bill (3423) and user_1 (4735) belong to B, of two to A.
    file = group_file({"et": 1}, B={"status": "PAUSED"})
    assert await holders(file, "Ashley") == ["A"]
    assert await holders(file, "Bill") == []
    assert await holders(file, "user_1") == []
    assert await holders(group_file({"et": 2, "p": [12]}, B={"status": "PAUSED"}), "Ashley") == []


@pytest.mark.parametrize(
    ("operand", "value", "expected"),
    [
        ("gt(-5)", 0, True),
        ("gt(-5)", -6, False),
        ("lt(-5)", -5.5, True),
        ("gt(1e3)", 2000, True),
        ("gt(1e3)", 500, False),
        ("gt(-5)", "gt(-5)", False),
    ],
)
async def test_24_gt_operand(operand: str, value: Any, *, expected: bool) -> None:
    """Comparisons understand negative numbers and exponents."""
    assert await admits(leaf(operand), value) is expected


async def test_25_track_dispatch() -> None:
    """Conversions go out together once all campaigns are decided, whatever becomes of any of them."""
    # u28917 has no variation at half the traffic, see 5; his value of 5000 is Control elsewhere.
    file = settings(
        campaign(11, "first"), campaign(12, "half", percentTraffic=50), campaign(13, "last")
    )
    accepted: list[int] = []

    def listen(_: dict[str, Any]) -> None:
        accepted.append(client.statistics().accepted)

    async with recording(file, integrations=listen) as (client, transport):
        keys = ["first", "half", "last"]
        result = await client.track(keys, "u28917", "signup", wait=True)
        assert result.as_dict() == {"first": True, "half": False, "last": True}
        assert accepted == [0, 0]
        (request,) = transport.requests
        assert impressions([request]) == [["track-goal", 11, 1, 1101], ["track-goal", 13, 1, 1301]]


async def test_26_meg_no_winner_raises_weighted() -> None:
    """Where no weight of a group covers the user, no campaign has him."""
    file = group_file({"et": 2, "wt": {"11": 20}})
    assert await holders(file, "Ashley") == ["A"]
    assert await holders(file, "Bill") == []
    async with recording(file) as (client, transport):
        result = await client.track(["A", "B", "C3"], "Bill", "signup", wait=True)
        assert result.as_dict() == {"A": False, "B": False, "C3": False}
        assert {one.reason for one in result.values()} == {Reason.NOT_GROUP_WINNER}
        assert not transport.requests


async def test_27_track_stores_whitelisted() -> None:
    """track writes no record of a whitelisted user, so that his forced variation does not stick."""
    forced = campaign(11, "checkout", isForcedVariationEnabled=True)
    forced["variations"][1]["segments"] = {"or": [{"user": "Ashley"}]}
    storage = RecordingStorage()
    async with recording(settings(forced), user_storage=storage) as (client, transport):
        assert await client.track("checkout", "Ashley", "signup", wait=True)
        assert impressions(transport.requests) == [["track-goal", 11, 2, 1101]]
        assert not storage.sets


async def test_28_storage_get_error_raises() -> None:
    """A storage whose get raises counts as one without a record; track says that it was not answered."""
    storage = Answering(ConnectionError())
    async with recording(user_storage=storage) as (client, transport):
        assert await client.activate("checkout", "Ashley", wait=True) == "Control"
        assert await client.is_feature_enabled("banner", "Ashley", wait=True) is True
        assert len(transport.requests) == 2
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result["checkout"].reason is Reason.STORAGE_ERROR


async def test_61_storage_write_unread() -> None:
    """Where a record could not be read, none is written: there may be one that must not be lost."""
    storage = Answering(ConnectionError())
    async with recording(user_storage=storage) as (client, _):
        assert await client.activate("checkout", "Ashley", wait=True) == "Control"
    assert storage.sets == []


@pytest.mark.parametrize("value", ["0", "0.0", "-0", 0, 0.0], ids=repr)
async def test_29_zero_is_number(value: Any) -> None:
    """Zero is a number like others: 0 and 0.0 are equal."""
    assert await admits(leaf("0"), value)
    assert await admits(leaf("0.00"), value)
    assert not await admits(leaf("1"), value)


async def test_30_hook_error_raises() -> None:
    """An integrations callback that raises changes neither decision nor conversion."""

    def broken(_: dict[str, Any]) -> None:
        raise RuntimeError

    async with recording(integrations=broken) as (client, transport):
        assert await client.activate("checkout", "Ashley", wait=True) == "Control"
        assert await client.is_feature_enabled("banner", "Ashley", wait=True) is True
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result.as_dict() == {"checkout": True}
        assert len(transport.requests) == 3


async def test_31_meg_unknown_et() -> None:
    """A group whose `et` is neither 1 nor 2 goes by priority and weights, like 2."""
    weighted = group_file({"et": 3, "wt": {"11": 20, "13": 80}})
    assert [await holders(weighted, user) for user in ("Ashley", "Bill", "user_1")] == [
        ["A"],
        ["C3"],
        ["C3"],
    ]
    assert await holders(group_file({"et": 3, "p": [12]}), "Ashley") == ["B"]


async def test_32_feature_missing_flag() -> None:
    """Where a variation does not say that its feature is on, everybody sees the variables of id 1."""
    sizes = [[{"id": 1, "key": "size", "type": "integer", "value": size}] for size in (10, 20)]
    variations = [
        variation(1, "Control", 0, variables=sizes[0]),
        variation(2, "Variation-1", 100, variables=sizes[1]),
    ]
    file = settings(campaign(12, "search", "FEATURE_TEST", variations=variations))
    async with recording(file) as (client, _):
        assert await client.get_variation_name("search", "Ashley") == "Variation-1"
        assert await client.get_feature_variable_value("search", "size", "Ashley") == 10


async def test_33_null_value() -> None:
    """A custom variable that is None is absent."""
    for operand in ("regex(.*)", "regex(null)", "regex(^$)", "wildcard(*)", "null", "None"):
        assert not await admits(leaf(operand), None)
        assert not await admits(leaf(operand))
        assert await admits({"not": leaf(operand)}, None)


@pytest.mark.parametrize(
    ("operand", "value", "expected"),
    [
        ("regex((?i)us)", "US", True),
        ("regex(^(?P<country>us)$)", "us", True),
        ("regex(^(?<country>us)$)", "us", False),
        (r"regex(^\d$)", "٣", True),
        ("regex(^[a-c]+$)", "abc", True),
        ("regex(b)", "abc", True),
        ("regex([)", "[", False),
    ],
)
async def test_34_regex_engine(operand: str, value: str, *, expected: bool) -> None:
    """Patterns are those of Python's re, searched for anywhere; an invalid one matches nothing."""
    assert await admits(leaf(operand), value) is expected


async def test_35_meta_data() -> None:
    """meta_data is stored with the decision."""
    storage = RecordingStorage()
    async with recording(user_storage=storage) as (client, _):
        await client.activate("checkout", "Ashley", meta_data={"browser": "x"})
        assert storage.sets == [row(variationName="Control", metaData={"browser": "x"})]


async def test_36_track_dup_keys_repeat() -> None:
    """A key that is named twice is tracked once."""
    async with recording() as (client, transport):
        keys = ["checkout", "search", "checkout", "search"]
        result = await client.track(keys, "Ashley", "signup", wait=True)
        assert result.as_dict() == {"checkout": True, "search": True}
        expected = [["track-goal", 11, 1, 1101], ["track-goal", 12, 1, 1201]]
        assert impressions(transport.requests) == expected


async def test_37_stale_storage_is_tracked() -> None:
    """A user whose stored variation was removed is decided afresh, reported and stored anew."""
    storage = RecordingStorage(
        [row(variationName="Removed"), row(campaign_key="search", variationName="Removed")]
    )
    async with recording(user_storage=storage) as (client, transport):
        assert await client.activate("checkout", "Ashley", wait=True) == "Control"
        await client.is_feature_enabled("search", "Ashley", wait=True)
        expected = [["track-user", 11, 1], ["track-user", 12, 1]]
        assert impressions(transport.requests) == expected
        assert storage.sets == [
            row(variationName="Control"),
            row(campaign_key="search", variationName="Control"),
        ]


@pytest.mark.parametrize(
    "stored",
    [{"userId": "Ashley"}, {"userId": "Ashley", "campaignKey": "checkout"}, row(variationName="")],
    ids=["id alone", "no variation", "empty variation"],
)
async def test_38_storage_activated(stored: dict[str, Any]) -> None:
    """A record that names no variation does not make a user an activated one."""
    storage = Answering(stored)
    async with recording(user_storage=storage) as (client, transport):
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result["checkout"].reason is Reason.NOT_ACTIVATED
        assert await client.get_variation_name("checkout", "Ashley") is None
        assert await client.activate("checkout", "Ashley", wait=True) == "Control"
        assert impressions(transport.requests) == [["track-user", 11, 1]]


async def test_39_storage_match() -> None:
    """A record of another campaign is ignored, although it names a variation that exists here."""
    storage = Answering(row(campaign_key="search"))
    async with recording(user_storage=storage) as (client, transport):
        assert await client.activate("checkout", "Ashley", wait=True) == "Control"
        assert impressions(transport.requests) == [["track-user", 11, 1]]
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result["checkout"].reason is Reason.NOT_ACTIVATED


async def test_40_empty_value_is_absent() -> None:
    """A custom variable that is an empty text is there and is compared as such."""
    for operand in ("regex(^$)", "wildcard(*)", "wildcard(**)", ""):
        assert await admits(leaf(operand), "")
        assert not await admits(leaf(operand))
    assert not await admits(leaf("x"), "")


async def test_41_hasprops_repeats() -> None:
    """A goal with hasProps counts every time, although the storage knows it."""
    goals = [{"id": 5, "identifier": "seen", "type": "CUSTOM_GOAL", "hasProps": True}]
    storage = RecordingStorage([row(goalIdentifier="seen")])
    file = settings(campaign(11, "checkout", goals=goals))
    async with recording(file, user_storage=storage) as (client, transport):
        for _ in range(2):
            assert await client.track("checkout", "Ashley", "seen", wait=True)
        assert impressions(transport.requests) == [["track-goal", 11, 2, 5]] * 2


@pytest.mark.parametrize("broken", [None, {"and": 5}], ids=repr)
async def test_42_children(broken: Any) -> None:
    """Children are looked at in order until the outcome is clear; a broken one only counts when reached."""
    passing, failing = leaf("x"), leaf("y")
    assert await admits({"or": [passing, broken]}, "x")
    assert await admits({"not": {"and": [failing, broken]}}, "x")
    assert not await admits({"or": [failing, broken]}, "x")
    assert not await admits({"or": [broken, passing]}, "x")
    assert not await admits({"not": {"and": [passing, broken]}}, "x")


async def test_43_meg_single_foreign_wins() -> None:
    """A group never answers with the variation of another campaign than the one asked about."""
    file = settings(
        campaign(11, "A"),
        campaign(12, "B", variations=[variation(1, "Foreign", 100)]),
        campaignGroups={"11": 5},
        groups={"5": {"name": "five", "campaigns": [12]}},
    )
    assert await holders(file, "Ashley") == ["B"]


@pytest.mark.parametrize("hashing", ["A", "B"])
async def test_43_list_of_another_member(hashing: str) -> None:
    """Each member of a group looks a user up in its lists as its own flag says."""
    # Of three equal shares Ashley (876) belongs to A, but B forces a variation on her.
    listed = ASHLEY if hashing == "B" else "Ashley"
    variations = [
        variation(1, "Control", 50, segments={"or": [{"user": listed}]}),
        variation(2, "Variation-1", 50),
    ]
    forced = {"isForcedVariationEnabled": True}
    changes: dict[str, Any] = {"A": {**forced}, "B": {**forced, "variations": variations}}
    changes[hashing]["isUserListEnabled"] = True
    assert await holders(group_file({"et": 1}, **changes), "Ashley") == ["B"]


@pytest.mark.parametrize(
    ("user", "keys"), [("Ashley", ["A"]), ("Bill", ["B"]), ("m16", ["B"]), ("m244", [])]
)
async def test_44_meg_equal_weight_floor(user: str, keys: list[str]) -> None:
    """Equal shares are whole percentages: m16 (3321) is just beyond the first, m244 (9999) in the gap."""
    assert await holders(group_file({"et": 1}), user) == keys


async def test_45_meg_other_storage() -> None:
    """A record of another member counts only while the variation that it names exists."""
    file = group_file({"et": 1})
    for name, keys in (("Removed", ["A"]), ("Control", ["B"])):
        storage = RecordingStorage([row(campaign_key="B", variationName=name)])
        assert await holders(file, "Ashley", user_storage=storage) == keys


async def test_46_meg_no_winner_raises_equal() -> None:
    """A user in the gap of equal shares has no variation, and every API and every key says so."""
    file = group_file(
        {"et": 1}, B={"type": "FEATURE_TEST"}, C3={"type": "FEATURE_ROLLOUT", "variables": []}
    )
    async with recording(file) as (client, transport):
        assert await client.activate("A", "m244", wait=True) is None
        assert await client.get_variation_name("B", "m244") is None
        assert await client.is_feature_enabled("B", "m244", wait=True) is False
        assert await client.is_feature_enabled("C3", "m244", wait=True) is False
        assert (await client.track("A", "m244", "signup", wait=True)).as_dict() == {"A": False}
        several = await client.track(["A", "B"], "m244", "signup", wait=True)
        assert several.as_dict() == {"A": False, "B": False}
        assert not transport.requests


@pytest.mark.parametrize("members", [[12, 13], [99], []], ids=repr)
async def test_46_meg_empty_group_raises(members: list[int]) -> None:
    """A group without a running member has no variation for anybody."""
    paused = {"status": "PAUSED"}
    file = group_file({"et": 1, "campaigns": members}, B=paused, C3=paused)
    async with recording(file) as (client, _):
        for user in ("Ashley", "Bill", "m244"):
            assert await client.activate("A", user) is None
            assert (await client.track("A", user, "signup")).as_dict() == {"A": False}


@pytest.mark.parametrize("name", ["equals", "contains", "starts_with", "ends_with"])
async def test_47_odd_operator_names(name: str) -> None:
    """A word that is no operator is part of the text that is looked for."""
    assert not await admits(leaf(f"{name}(x)"), "x")
    assert await admits(leaf(f"{name}(x)"), f"{name}(x)")


async def test_48_storage_field() -> None:
    """Goals are written as goalIdentifier, and read under the Python SDK's spelling too; foreign fields stay."""
    storage = RecordingStorage([row(goalIdentifiers="signup_vwo_seen", note="not ours")])
    async with recording(user_storage=storage) as (client, _):
        again = await client.track("checkout", "Ashley", "signup")
        assert again["checkout"].reason is Reason.ALREADY_TRACKED
        assert await client.track("checkout", "Ashley", "often")
        assert storage.sets == [row(goalIdentifier="signup_vwo_seen_vwo_often", note="not ours")]


async def test_49_several_campaigns_one_request() -> None:
    """A call that names several campaigns is one batch request, even if only one of them is tracked."""
    async with serving() as (client, server):
        for keys, goals in (
            (["checkout", "search"], [1101, 1201]),
            (["checkout", "closed"], [1101]),
            (None, [1101, 1201]),
        ):
            server.requests.clear()
            assert await client.track(keys, "Ashley", "signup", wait=True)
            (request,) = server.requests
            assert [item["g"] for item in items(request)] == goals
        server.requests.clear()
        assert await client.track("checkout", "Ashley", "signup", wait=True)
        (request,) = server.requests
        assert (request.method, urlsplit(request.target).path) == ("GET", "/server-side/track-goal")


async def test_50_batched_push_encoding() -> None:
    """The dimensions of a batched push are percent-encoded JSON."""
    async with serving() as (client, server):
        assert await client.push({"plan": "pro user", "n": "é"}, "Ashley", wait=True)
        (request,) = server.requests
        assert [item["t"] for item in items(request)] == [
            "%7B%22u%22%3A%7B%22plan%22%3A%22pro%20user%22%7D%7D",
            "%7B%22u%22%3A%7B%22n%22%3A%22%C3%A9%22%7D%7D",
        ]


async def test_51_agent_and_address_of_several_campaigns() -> None:
    """User agent and address stand in their own fields of a batch request."""
    async with serving() as (client, server):
        await client.track(
            ["checkout", "search"],
            "Ashley",
            "signup",
            user_agent="agent/1.0",
            user_ip_address="1.2.3.4",
            wait=True,
        )
        (request,) = server.requests
        fields = [(item["visitor_ua"], item["visitor_ip"]) for item in items(request)]
        assert fields == [("agent/1.0", "1.2.3.4")] * 2


async def test_52_push_with_a_quote() -> None:
    """Quotes and backslashes in a pushed value arrive as they are."""
    value = 'say "yes" \\ 100 %'
    async with serving() as (client, server):
        assert await client.push("plan", value, "Ashley", wait=True)
        assert await client.push({"plan": value, "n": "1"}, "Ashley", wait=True)
        one, several = server.requests
        assert '"' not in one.target
        (tags,) = parse_qs(urlsplit(one.target).query, strict_parsing=True)["tags"]
        assert json.loads(tags) == {"u": {"plan": value}}
        assert json.loads(unquote(items(several)[0]["t"])) == {"u": {"plan": value}}


async def test_53_hooks_for_feature_tests() -> None:
    """The integrations callback is told of a feature test whether the feature is on."""
    variations = [
        variation(1, "Control", 50, isFeatureEnabled=False),
        variation(2, "Variation-1", 50, isFeatureEnabled=True),
    ]
    file = settings(campaign(12, "search", "FEATURE_TEST", variations=variations))
    heard: list[dict[str, Any]] = []
    async with recording(file, integrations=heard.append) as (client, _):
        # Ashley 4986, user_1 7225.
        for user in ("Ashley", "user_1"):
            await client.is_feature_enabled("search", user)
            await client.get_variation_name("search", user)
    assert [(one["variation_name"], one["is_feature_enabled"]) for one in heard] == [
        ("Control", False),
        ("Control", False),
        ("Variation-1", True),
        ("Variation-1", True),
    ]


async def hang(_: Received, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def hang_up(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(answer(500), id="500"),
        pytest.param(answer(404, body=b"no such account"), id="404"),
        pytest.param(answer(body=b"{}"), id="no settings"),
        pytest.param(answer(body=b"<html>"), id="no JSON"),
        pytest.param(hang_up, id="no answer"),
        pytest.param(hang, id="never an answer"),
    ],
)
async def test_54_get_and_update_settings_file(reply: Any) -> None:
    """An update that fails ends in time, returns the settings in force and leaves them in force."""
    async with serving(timeouts=Timeouts(total_s=0.3)) as (client, server):
        good = client.settings
        server.default = reply
        async with asyncio.timeout(5):
            assert await client.get_and_update_settings_file() is good
        assert client.settings is good
        assert await client.get_variation_name("checkout", "Ashley") == "Control"


@pytest.mark.parametrize("status", [400, 413, 500, 503])
async def test_55_flush_callback_on_failure(status: int) -> None:
    """The flush callback is given an error for events that VWO did not take, whatever the status."""
    heard: list[tuple[DeliveryError | None, list[dict[str, Any]]]] = []
    batching: Any = {
        "events_per_request": 2,
        "flush_callback": lambda error, events: heard.append((error, events)),
    }
    transport = RecordingTransport([Answer(status)] * 3)
    async with VWOClient(
        settings(), transport=transport, batch_events=batching, limits=Limits(max_attempts=1)
    ) as client:
        for user in ("Ashley", "Bill"):
            await client.activate("checkout", user)
        report = await client.flush_events()
        assert not report
        assert report.events == 2
    assert all(isinstance(error, DeliveryError) for error, _ in heard)
    assert sum(len(events) for _, events in heard) == 2


class Slow(RecordingStorage):
    """A storage that lets others run first."""

    async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        await asyncio.sleep(0.001)
        return await super().get(user_id, campaign_key)

    async def set(self, data: Mapping[str, Any]) -> None:
        await asyncio.sleep(0.001)
        await super().set(data)


async def test_56_async_storage_same_semantics() -> None:
    """A storage that takes its time gives the same answers as one that does not."""
    storage = Slow()
    async with recording(group_file({"et": 1}), user_storage=storage) as (client, _):
        assert await client.activate("A", "Ashley") == "Control"
        assert await client.activate("B", "Ashley") is None
    async with recording(user_storage=storage) as (client, transport):
        # Activation comes first, for every API that does not activate.
        assert await client.get_variation_name("checkout", "Ashley") is None
        assert await client.get_feature_variable_value("banner", "x", "Ashley") is None
        refused = await client.track(["checkout", "search"], "Ashley", "signup")
        assert {one.reason for one in refused.values()} == {Reason.NOT_ACTIVATED}
        assert await client.activate("checkout", "Ashley", wait=True) == "Control"
        assert await client.is_feature_enabled("search", "Ashley", wait=True) is False
        assert await client.get_variation_name("checkout", "Ashley") == "Control"
        transport.requests.clear()
        # Each conversion of a list leaves once.
        assert await client.track(["checkout", "search"], "Ashley", "signup", wait=True)
        expected = [["track-goal", 11, 1, 1101], ["track-goal", 12, 1, 1201]]
        assert impressions(transport.requests) == expected
        # A campaign that does not exist is an answer, not an error.
        assert await client.activate("nope", "Ashley") is None
        assert (await client.track("nope", "Ashley", "signup")).as_dict() == {"nope": False}


async def test_57_bucket_formula() -> None:
    """At part of the traffic the bucket value is stretched before it is rounded down."""
    # At 50 %: Ashley 9972, Bill 4758, u28917 10001. Rounded first and then counted from 1, each
    # would have one less and fall to the variation before.
    for user, value, weights in (
        ("Ashley", 9972, (99.71, 0.29)),
        ("Bill", 4758, (47.57, 52.43)),
        ("u28917", 10001, (100, 0.01)),
    ):
        variations = [variation(1, "Before", weights[0]), variation(2, "After", weights[1])]
        file = settings(campaign(7, "one", percentTraffic=50, variations=variations))
        async with recording(file) as (client, _):
            assert await client.activate("one", user) == "After"
            steps = {step.name: step.facts for step in (await client.explain("one", user)).steps}
            assert steps["variation"]["value"] == value


async def test_58_missing_et_is_equal_shares() -> None:
    """A group that does not say how it shares its users shares them equally."""
    file = group_file({})
    assert [await holders(file, user) for user in ("Ashley", "Bill", "user_1")] == [
        ["A"],
        ["B"],
        ["B"],
    ]


@pytest.mark.parametrize(
    ("user", "name"), [("Ashley", "Variation-2"), ("Bill", "Control"), ("user_1", "Variation-2")]
)
async def test_59_whitelisting_weights(user: str, name: str) -> None:
    """Several whitelisted variations share users by their weights, rescaled to a whole."""
    # 20 and 60 are 1..2500 and 2501..10000. Ashley 4986, Bill 2379, user_1 7225.
    listed = {"or": [{"user": "Ashley, Bill, user_1"}]}
    variations = [
        variation(1, "Control", 20, segments=listed),
        variation(2, "Variation-1", 20),
        variation(3, "Variation-2", 60, segments=listed),
    ]
    one = campaign(7, "one", variations=variations, isForcedVariationEnabled=True)
    async with recording(settings(one)) as (client, _):
        assert await client.activate("one", user) == name


async def test_60_rollout_impression() -> None:
    """is_feature_enabled of a rollout sends an impression."""
    async with recording() as (client, transport):
        assert await client.is_feature_enabled("banner", "Ashley", wait=True) is True
        assert impressions(transport.requests) == [["track-user", 13, 1]]


# Smaller differences, which have no number


async def test_push_of_a_blank() -> None:
    """A blank is a key or value of a custom dimension like any other."""
    async with serving() as (client, server):
        assert await client.push(" ", "x", "Ashley", wait=True)
        assert await client.push("plan", " ", "Ashley", wait=True)
        sent = [parse_qs(urlsplit(one.target).query)["tags"][0] for one in server.requests]
        assert [json.loads(tags)["u"] for tags in sent] == [{" ": "x"}, {"plan": " "}]


async def test_hook_of_nothing() -> None:
    """The integrations callback hears of no decision without a variation, and of no goal counted before."""
    heard: list[dict[str, Any]] = []
    storage = RecordingStorage([row(variationName="Control", goalIdentifier="signup")])
    async with recording(user_storage=storage, integrations=heard.append) as (client, _):
        assert not await client.track("checkout", "Ashley", "signup")
    file = settings(campaign(7, "half", percentTraffic=50), campaign(8, "none", percentTraffic=0))
    async with recording(file, integrations=heard.append) as (client, _):
        # u28917 has no variation at half the traffic, see 5.
        for key in ("half", "none"):
            assert await client.activate(key, "u28917") is None
    assert not heard


@pytest.mark.parametrize("is_arch", [False, True])
async def test_missing_sdk_key(*, is_arch: bool) -> None:
    """Without an SDK key in the settings file nothing stands in its place on the wire."""
    file = settings(isEventArchEnabled=is_arch)
    del file["sdkKey"]
    async with serving(file) as (client, server):
        assert await client.activate("checkout", "Ashley", wait=True)
        assert await client.track(["checkout", "search"], "Ashley", "signup", wait=True)
        for request in server.requests:
            assert "env" not in parse_qs(urlsplit(request.target).query, keep_blank_values=True)
            assert request.header("Authorization") is None
            assert not {b"undefined", b"None"} & set(request.body.split(b'"'))


async def test_feature_that_is_off_without_variables() -> None:
    """A variation whose feature is off shows the control's variables even if it has none of its own."""
    sizes = [{"id": 1, "key": "size", "type": "integer", "value": 10}]
    variations = [
        variation(1, "Control", 0, variables=sizes),
        variation(2, "Variation-1", 100, isFeatureEnabled=False),
    ]
    file = settings(campaign(12, "search", "FEATURE_TEST", variations=variations))
    async with recording(file) as (client, _):
        assert await client.get_feature_variable_value("search", "size", "Ashley") == 10


async def test_keys_are_case_sensitive() -> None:
    """Keys of campaigns, goals and variables, and names of variations, are compared to the letter."""
    variables = [{"id": 1, "key": "size", "type": "integer", "value": 10}]
    file = settings(
        campaign(11, "checkout"),
        campaign(13, "banner", "FEATURE_ROLLOUT", variables=variables),
    )
    storage = RecordingStorage([row(variationName="VARIATION-1")])
    async with recording(file, user_storage=storage) as (client, _):
        assert await client.activate("Checkout", "Ashley") is None
        assert await client.activate("checkout", "Ashley") == "Control"
        assert not await client.track("checkout", "Ashley", "Signup")
        assert await client.is_feature_enabled("banner", "Ashley")
        assert await client.get_feature_variable_value("banner", "Size", "Ashley") is None
        assert await client.get_feature_variable_value("banner", "size", "Ashley") == 10


@pytest.mark.parametrize("is_arch", [False, True])
async def test_sdk_name(*, is_arch: bool) -> None:
    """VWO sees the name and version of this package, or those given at launch."""
    named = {"sdk_name": "vwo-node-sdk", "sdk_version": "1.73.0"}
    ours = ("vwo-async-python-sdk", vwo_async.__version__)
    for options, seen in (({}, ours), (named, tuple(named.values()))):
        async with serving(settings(isEventArchEnabled=is_arch), **options) as (client, server):
            await client.activate("checkout", "Ashley", wait=True)
        (request,) = server.requests
        assert request.header("User-Agent") == "/".join(seen)
        if is_arch:
            props = json.loads(request.body)["d"]["event"]["props"]
            assert (props["vwo_sdkName"], props["vwo_sdkVersion"]) == seen
        else:
            query = parse_qs(urlsplit(request.target).query)
            assert (*query["sdk"], *query["sdk-v"]) == seen
