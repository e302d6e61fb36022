"""The rest of the client API: push, flush, batching, settings, consent, and what only this SDK has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from sample import ACCOUNT, KEY, campaign, settings, variation
from server import answer, running_server
from vector import RecordingStorage

from vwo_async import (
    DeliveryError,
    DeliveryStatus,
    FlushReport,
    InvalidInputError,
    Reason,
    SettingsError,
    VWOClient,
    fetch_settings,
)
from vwo_async.collector import Collector, Endpoint, serve
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer

pytestmark = pytest.mark.anyio


def feature_settings(**more: Any) -> dict[str, Any]:
    """Return a feature test whose control is off, with variables."""
    variables = [
        {"id": 1, "key": "size", "type": "integer", "value": "10"},
        {"id": 2, "key": "colour", "type": "string", "value": "red"},
    ]
    blue = [{"id": 1, "key": "size", "type": "integer", "value": 12.7}]
    return settings(
        campaign(
            12,
            "search",
            "FEATURE_TEST",
            variations=[
                variation(1, "Control", 50, isFeatureEnabled=False, variables=variables),
                variation(2, "Variation-1", 50, isFeatureEnabled=True, variables=blue),
            ],
        ),
        **more,
    )


# Features


async def test_features() -> None:
    """A feature is on where the variation says so; where it is off, everybody sees the control's values."""
    transport = RecordingTransport()
    async with VWOClient(feature_settings(), transport=transport) as client:
        for user in ("Ashley", "Bill", "user_1"):
            name = await client.get_variation_name("search", user)
            is_on = name == "Variation-1"
            assert await client.is_feature_enabled("search", user, wait=True) is is_on
            size = await client.get_feature_variable_value("search", "size", user)
            assert size == (12 if is_on else 10)
            colour = await client.get_feature_variable_value("search", "colour", user)
            assert colour == (None if is_on else "red")
        assert await client.get_feature_variable_value("search", "nope", "Ashley") is None
        assert await client.activate("search", "Ashley") is None
        assert len(transport.requests) == 3


# push


async def test_push() -> None:
    """One dimension is one GET, several are one request, each value as text."""
    async with (
        running_server() as server,
        VWOClient(settings(), base_url=server.base_url) as client,
    ):
        assert await client.push("plan", 'a"b', "Ashley", wait=True)
        assert await client.push({"n": 5, "f": 10.0, "o": {"a": [1.0]}}, "Ashley", wait=True)
        one, many = server.requests
        query = parse_qs(urlsplit(one.target).query)
        assert json.loads(query["tags"][0]) == {"u": {"plan": 'a"b'}}
        tags = [json.loads(unquote(item["t"]))["u"] for item in json.loads(many.body)["ev"]]
        assert tags == [{"n": "5"}, {"f": "10"}, {"o": '{"a":[1]}'}]


@pytest.mark.parametrize(
    "arguments",
    [
        ("k" * 256, "v", "Ashley"),
        ("k", "v" * 256, "Ashley"),
        ("🙂" * 128, "v", "Ashley"),
        ("", "v", "Ashley"),
        ("k", "", "Ashley"),
        ("k", 5, "Ashley"),
        (5, "v", "Ashley"),
        ("k", "v", ""),
        ("k", "v"),
        ({}, "Ashley"),
        ({5: "v"}, "Ashley"),
        ({"k": float("nan")}, "Ashley"),
        ({"k": object()}, "Ashley"),
        ({"k": "\ud800"}, "Ashley"),
        ({"k": "v"}, "\ud800"),
        ({"k": "v" * 5000}, "Ashley"),
    ],
)
async def test_push_refuses(arguments: tuple[Any, ...]) -> None:
    """What VWO could not take is false and sends nothing."""
    transport = RecordingTransport()
    async with VWOClient(settings(), transport=transport) as client:
        assert await client.push(*arguments, wait=True) is False
    assert not transport.requests


async def test_push_of_255_characters() -> None:
    """Key and value may have 255 characters, counted as JavaScript does."""
    async with VWOClient(settings(), transport=RecordingTransport()) as client:
        assert await client.push("k" * 255, "🙂" * 127, "Ashley", wait=True)


async def test_awaited_push_is_the_servers() -> None:
    """Awaited, push is true only where VWO received it."""
    transport = RecordingTransport([Answer(400)])
    async with VWOClient(settings(), transport=transport, return_promise_for={"push"}) as client:
        assert await client.push("k", "v", "Ashley") is False
        assert await client.push("k", "v", "Ashley") is True


async def test_arch_push_cannot_rename_the_environment() -> None:
    """On the event architecture a dimension cannot override the property that names the environment."""
    transport = RecordingTransport()
    file = settings(isEventArchEnabled=True)
    async with VWOClient(file, transport=transport) as client:
        assert await client.push({"vwo_fs_environment": "x", "a": "b"}, "Ashley", wait=True)
    props = json.loads(transport.requests[0].body)["d"]["visitor"]["props"]
    assert props == {"vwo_fs_environment": KEY, "a": "b"}


# Batching and flushing


async def test_batches_by_count() -> None:
    """Events wait until there are enough, leave together, and their promises resolve with the batch."""
    transport = RecordingTransport()
    options: Any = {"batch_events": {"events_per_request": 3}}
    async with VWOClient(settings(), transport=transport, **options) as client:
        results = [await client.track("checkout", f"u{n}", "signup") for n in range(7)]
        assert [bool(await result.delivery) for result in results[:6]] == [True] * 6
        assert [len(json.loads(one.body)["ev"]) for one in transport.requests] == [3, 3]
        assert not results[6].delivery.done()
        assert client.statistics().pending == 1
        report = await client.flush_events()
        assert report == FlushReport(1, 1, 0, 0, 0)
        assert report
        assert results[6].delivery.done()
    assert [len(json.loads(one.body)["ev"]) for one in transport.requests] == [3, 3, 1]
    assert "&eb=1" in transport.requests[0].target


async def test_batches_by_age() -> None:
    """The first event of a batch waits no longer than the interval, counted from itself."""
    transport = RecordingTransport()
    options: Any = {"batch_events": {"request_time_interval": 1}}
    async with VWOClient(settings(), transport=transport, **options) as client:
        begun = asyncio.get_running_loop().time()
        first = await client.track("checkout", "Ashley", "signup")
        await asyncio.sleep(0.6)
        second = await client.track("checkout", "Bill", "signup")
        await first.delivery
        waited = asyncio.get_running_loop().time() - begun
        assert 0.99 <= waited < 1.4
        assert await second.delivery
    assert len(transport.requests) == 1


async def test_awaited_and_batched() -> None:
    """A call that awaits delivery resolves when its batch leaves."""
    options: Any = {"batch_events": {"events_per_request": 2}, "return_promise_for": {"all": True}}
    async with VWOClient(settings(), transport=RecordingTransport(), **options) as client:
        async with asyncio.timeout(5):
            results = await asyncio.gather(
                client.track("checkout", "Ashley", "signup"),
                client.track("checkout", "Bill", "signup"),
            )
        assert all(results)


async def test_flush_callback() -> None:
    """The callback hears of each request that ended, with an error where it failed, plain or async."""
    heard: list[tuple[DeliveryError | None, list[dict[str, Any]]]] = []

    async def hear_later(error: DeliveryError | None, events: list[dict[str, Any]]) -> None:
        heard.append((error, events))

    for callback in (lambda error, events: heard.append((error, events)), hear_later):
        heard.clear()
        # The second batch is refused, and then each of its events alone.
        transport = RecordingTransport([Answer(200), Answer(307), Answer(307), Answer(307)])
        batching: Any = {"events_per_request": 2, "flush_callback": callback}
        async with VWOClient(settings(), transport=transport, batch_events=batching) as client:
            for number in range(4):
                await client.track("checkout", f"u{number}", "signup")
            await client.flush_events()
        (first, events), *others = heard
        assert first is None
        assert [event["eT"] for event in events] == [2, 2]
        assert [[event["eT"] for event in events] for _, events in others] == [[2], [2]]
        for error, _ in others:
            assert isinstance(error, DeliveryError)
            assert "307" in str(error)


async def test_close_sends_what_batching_holds() -> None:
    """Closing does not wait for a batch to fill."""
    transport = RecordingTransport()
    options: Any = {"batch_events": {"events_per_request": 100}}
    async with VWOClient(settings(), transport=transport, **options) as client:
        await client.track("checkout", "Ashley", "signup")
    assert client.statistics().delivered == 1


@pytest.mark.parametrize(
    "batching",
    [
        {},
        {"events_per_request": 0},
        {"events_per_request": 5001},
        {"events_per_request": 2.5},
        {"events_per_request": "5"},
        {"events_per_request": True},
        {"request_time_interval": 0.5},
        {"events_per_request": 5, "request_time_interval": 0},
        {"events_per_request": 5001, "request_time_interval": 5},
        {"events_per_request": 5, "flush_callback": 5},
        {"eventsPerRequest": 5},
        5,
    ],
)
def test_batching_options_are_strict(batching: Any) -> None:
    """Each number given must be valid, and one must be given."""
    with pytest.raises(InvalidInputError, match="batch_events: "):
        VWOClient(settings(), batch_events=batching)


async def test_flush_without_batching() -> None:
    """Without batching, flush waits for what is on its way; with nothing pending it is true at once."""
    async with (
        running_server() as server,
        VWOClient(settings(), base_url=server.base_url) as client,
    ):
        assert await client.flush_events()
        server.replies.append(answer(307))
        await client.track("checkout", "Ashley", "signup")
        report = await client.flush_events()
        assert not report
        assert report.rejected == 1


async def test_flush_in_development_mode() -> None:
    """In development mode there is nothing to flush, and flush says so at once."""
    options: Any = {"batch_events": {"events_per_request": 5}, "development_mode": True}
    async with VWOClient(settings(), **options) as client:
        await client.track("checkout", "Ashley", "signup")
        assert (await client.flush_events()).events == 0


# Settings


async def test_fetch_and_update() -> None:
    """A new settings file replaces everything at once: campaigns, flags, groups, prefix, architecture."""
    file = settings()
    collector = Collector(file)
    async with serve(collector) as base_url:
        fetched = await fetch_settings(ACCOUNT, KEY, base_url=base_url)
        async with VWOClient(fetched, base_url=base_url) as client:
            before = [await client.get_variation_name("checkout", f"u{n}") for n in range(50)]
            collector.set_settings(
                settings(
                    campaign(11, "checkout"),
                    campaign(17, "new"),
                    isNB=True,
                    isNBv2=True,
                    isEventArchEnabled=True,
                    collectionPrefix="eu01",
                    campaignGroups={"17": 5},
                    groups={"5": {"name": "g", "campaigns": [17]}},
                )
            )
            in_force = await client.get_and_update_settings_file()
            assert in_force is client.settings
            assert in_force.collection_prefix == "eu01"
            after = [await client.get_variation_name("checkout", f"u{n}") for n in range(50)]
            assert after != before
            assert await client.track("new", "Ashley", "signup", wait=True)
            assert collector.ledger[0].endpoint is Endpoint.EVENT
            assert not collector.refused


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (200, b"{}"),
        (200, b""),
        (200, b"<html>"),
        (200, json.dumps(settings(accountId=5)).encode()),
        (200, json.dumps(settings(sdkKey="other")).encode()),
        (307, b""),
    ],
)
async def test_bad_answers_change_nothing(status: int, body: bytes) -> None:
    """What is no settings file of this account and key never replaces a good one."""
    async with (
        running_server() as server,
        VWOClient(settings(), base_url=server.base_url) as client,
    ):
        good = client.settings
        server.default = answer(status, body=body)
        assert await client.get_and_update_settings_file() is good
        assert client.settings is good
        with pytest.raises((DeliveryError, SettingsError)):
            await fetch_settings(ACCOUNT, KEY, base_url=server.base_url)


async def test_settings_paths() -> None:
    """Settings are asked for without the collection prefix; as a webhook asks, on a path of its own."""
    file = settings(collectionPrefix="eu01")
    async with running_server() as server, VWOClient(file, base_url=server.base_url) as client:
        server.default = answer(body=json.dumps(file).encode())
        await client.get_and_update_settings_file()
        await client.get_and_update_settings_file(via_webhook=True)
        paths = [urlsplit(one.target).path for one in server.requests]
        assert paths == ["/server-side/settings", "/server-side/pull"]
        query = parse_qs(urlsplit(server.requests[0].target).query)
        assert query["a"] == [str(ACCOUNT)]
        assert query["i"] == [KEY]
        assert query["platform"] == ["server"]


async def test_call_on_its_way_keeps_its_settings() -> None:
    """A call that waits for its storage ends under the settings with which it began."""
    opened = asyncio.Event()

    class Gate(MemoryUserStorage):
        async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
            await opened.wait()
            return await super().get(user_id, campaign_key)

    async with running_server() as server:
        client = VWOClient(settings(), base_url=server.base_url, user_storage=Gate())
        async with client:
            call = asyncio.create_task(client.activate("checkout", "Ashley"))
            await asyncio.sleep(0)
            file = settings(campaign(99, "other"))
            server.default = answer(body=json.dumps(file).encode())
            await client.get_and_update_settings_file()
            opened.set()
            assert await call == "Control"
            assert await client.activate("checkout", "Ashley") is None


# Consent


async def test_set_opt_out() -> None:
    """After opting out every method gives its empty result, and nothing is asked, stored or sent."""
    storage = RecordingStorage()
    async with running_server() as server:
        options: Any = {"batch_events": {"events_per_request": 100}}
        client = VWOClient(settings(), base_url=server.base_url, user_storage=storage, **options)
        async with client:
            await client.activate("checkout", "Ashley")
            assert await client.set_opt_out() is True
            assert len(server.requests) == 1
            storage.gets.clear()
            storage.sets.clear()
            server.requests.clear()
            assert await client.activate("checkout", "Ashley") is None
            assert await client.get_variation_name("checkout", "Ashley") is None
            assert await client.is_feature_enabled("search", "Ashley") is False
            assert await client.get_feature_variable_value("search", "x", "Ashley") is None
            assert await client.decide_all("Ashley") == {}
            assert await client.push("k", "v", "Ashley") is False
            assert await client.get_and_update_settings_file() is None
            result = await client.track("checkout", "Ashley", "signup")
            assert not result
            assert result.reason is Reason.OPTED_OUT
            assert await client.flush_events()
        assert not server.requests
        assert not storage.gets
        assert not storage.sets


async def test_one_user_opts_out() -> None:
    """A user can opt out for himself, and in again."""
    async with VWOClient(settings(), transport=RecordingTransport()) as client:
        client.opt_out_user("Ashley")
        assert await client.activate("checkout", "Ashley") is None
        assert await client.activate("checkout", "Bill")
        client.opt_in_user("Ashley")
        assert await client.activate("checkout", "Ashley")
        with pytest.raises(InvalidInputError):
            client.opt_out_user("\ud800")


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_consent_hook(kind: str) -> None:
    """The service's own word decides; where it fails or says anything but true, the answer is no."""
    answers: dict[str, Any] = {"yes": True, "no": False, "odd": "yes"}

    def ask(user_id: str) -> bool:
        return answers[user_id]  # type: ignore[no-any-return]

    async def ask_later(user_id: str) -> bool:
        if user_id == "hang":
            await asyncio.sleep(3600)
        return ask(user_id)

    transport = RecordingTransport()
    hook: Any = ask if kind == "plain" else ask_later
    async with VWOClient(
        settings(), transport=transport, consent=hook, storage_timeout_s=0.02
    ) as client:
        assert await client.track("checkout", "yes", "signup", wait=True)
        for user in ("no", "odd", "raises", *(["hang"] if kind == "async" else [])):
            result = await client.track("checkout", user, "signup", wait=True)
            assert result.reason is Reason.OPTED_OUT
    assert len(transport.requests) == 1


# What only this SDK has


async def test_decide_all() -> None:
    """Every running campaign is decided in one round of reading, and nothing is reported or stored."""
    storage = RecordingStorage(
        [{"userId": "Ashley", "campaignKey": "checkout", "variationName": "Variation-1"}]
    )
    transport = RecordingTransport()
    async with VWOClient(settings(), transport=transport, user_storage=storage) as client:
        decisions = await client.decide_all("Ashley")
        assert list(decisions) == ["checkout", "search", "banner", "closed", "members"]
        assert decisions["checkout"].variation_name == "Variation-1"
        assert decisions["checkout"].reason is Reason.STORED
        assert decisions["banner"].is_feature_enabled
        assert decisions["closed"].reason is Reason.NOT_IN_TRAFFIC
        assert not decisions["closed"]
        assert sorted(key for _, key in storage.gets) == sorted(decisions)
    assert not storage.sets
    assert not transport.requests
    async with VWOClient(feature_settings()) as client:
        on = (await client.decide_all("Ashley"))["search"]
        size = await client.get_feature_variable_value("search", "size", "Ashley")
        assert on.variables["size"] == size


async def test_decide_all_agrees_with_activate() -> None:
    """For a new user it foretells what activate assigns, also within groups."""
    keys = ("A", "B", "C")
    file = settings(
        *(campaign(11 + n, key) for n, key in enumerate(keys)),
        campaignGroups={"11": 5, "12": 5, "13": 5},
        groups={"5": {"name": "g", "campaigns": [11, 12, 13]}},
    )
    async with VWOClient(file, transport=RecordingTransport()) as client:
        for number in range(50):
            decisions = await client.decide_all(f"u{number}")
            for key in keys:
                name = await client.activate(key, f"u{number}")
                assert name == decisions[key].variation_name


async def test_user_handle() -> None:
    """A handle repeats the user, and what is given to a method wins."""
    async with (
        running_server() as server,
        VWOClient(settings(), base_url=server.base_url) as client,
    ):
        user = client.for_user(
            "Ashley",
            custom_variables={"plan": "pro"},
            user_agent="agent",
            user_ip_address="1.2.3.4",
        )
        assert await user.activate("members", wait=True)
        assert not await user.activate("members", custom_variables={"plan": "free"})
        assert await user.get_variation_name("checkout") == "Control"
        assert await user.is_feature_enabled("banner", wait=True)
        assert await user.get_feature_variable_value("banner", "x") is None
        assert await user.track("members", "signup", wait=True)
        assert await user.push({"k": "v"}, wait=True)
        assert (await user.decide_all())["members"]
        assert (await user.explain("members")).variation_name
        assert server.requests[0].header("X-Device-User-Agent") == "agent"
        assert server.requests[0].header("VWO-X-Forwarded-For") == "1.2.3.4"
        assert "Ashley" not in repr(user)
        refused = await client.for_user("\ud800").track("checkout", "signup")
        assert refused.reason is Reason.INVALID_INPUT


async def test_node_user_ids() -> None:
    """With user_id_encoding node, ids outside ASCII are bucketed as the Node SDK does."""
    file = settings(campaign(11, "checkout", isBucketingSeedEnabled=True))
    async with VWOClient(file) as ours, VWOClient(file, user_id_encoding="node") as node:
        for user, expected in (("użytkownik 🙂", "Variation-1"), ("Ashley", None)):
            name = await node.get_variation_name("checkout", user)
            if expected:
                # As in the wire capture track-user-unicode: here the two SDKs differ.
                assert name == expected
                assert await ours.get_variation_name("checkout", user) == "Control"
            else:
                assert name == await ours.get_variation_name("checkout", user)


EXPLAINED = [
    ("checkout", {}, Reason.ASSIGNED, "variation"),
    ("closed", {}, Reason.NOT_IN_TRAFFIC, "traffic"),
    ("members", {"custom_variables": {"plan": "free"}}, Reason.NOT_IN_SEGMENT, "segment"),
    ("paused", {}, Reason.CAMPAIGN_NOT_RUNNING, "campaign"),
    ("nope", {}, Reason.CAMPAIGN_NOT_FOUND, "campaign"),
]


@pytest.mark.parametrize(("key", "options", "reason", "last"), EXPLAINED)
async def test_explain(key: str, options: dict[str, Any], reason: Reason, last: str) -> None:
    """The trace ends with the step that decided, and can be read by people and machines."""
    async with VWOClient(settings()) as client:
        explanation = await client.explain(key, "Ashley", **options)
        assert explanation.reason is reason
        assert explanation.steps[-1].name == last
        assert all(step.passed for step in explanation.steps[:-1])
        assert explanation.steps[-1].passed is (explanation.variation_name is not None)
        json.dumps(explanation.as_dict())
        text = str(explanation)
        assert reason.value in text
        assert all(step.text in text for step in explanation.steps)


async def test_explain_shows_the_numbers() -> None:
    """Traffic and variation show seed, hash and value as in the worked examples of the formats."""
    file = settings(campaign(7, "one", percentTraffic=50))
    async with VWOClient(file) as client:
        steps = {step.name: step for step in (await client.explain("one", "Ashley")).steps}
        assert steps["traffic"].facts["hash"] == 2141232222
        assert steps["traffic"].facts["value"] == 50
        assert steps["variation"].facts["value"] == 9972
        assert steps["variation"].facts["multiplier"] == 2
        assert (steps["variation"].facts["start"], steps["variation"].facts["end"]) == (5001, 10000)
        assert steps["variation"].facts["variation_name"] == "Variation-1"


async def test_explain_names_the_failing_operand() -> None:
    """A segment that does not hold says which operand is to blame."""
    tree = {
        "and": [
            {"custom_variable": {"country": "lower(us)"}},
            {"or": [{"custom_variable": {"plan": "pro"}}, {"custom_variable": {"age": "gt(30)"}}]},
            {"not": {"custom_variable": {"beta": "true"}}},
        ]
    }
    async with VWOClient(settings(campaign(11, "c", segments=tree))) as client:

        async def fault(**variables: Any) -> str:
            explanation = await client.explain("c", "Ashley", custom_variables=variables)
            return str(explanation.steps[-1].facts["fault"])

        assert await fault() == "'country' is 'lower(us)', but it is absent"
        either = await fault(country="US", age=5)
        assert either == (
            "none of ('plan' is 'pro', but it is absent | 'age' is 'gt(30)', but it is 5)"
        )
        assert await fault(country="US", age=31, beta=True) == "not ('beta' is 'true'), which holds"


async def test_explain_storage_groups_and_whitelists() -> None:
    """Whitelisting, records and groups show what they did."""
    forced = campaign(11, "A", isForcedVariationEnabled=True)
    forced["variations"][1]["segments"] = {"or": [{"user": "Bill"}]}
    file = settings(
        forced,
        campaign(12, "B"),
        campaignGroups={"11": 5, "12": 5},
        groups={"5": {"name": "g", "campaigns": [11, 12], "et": 2, "p": [12]}},
    )
    row = {"userId": "Chris", "campaignKey": "A", "variationName": "Variation-1"}
    storage = MemoryUserStorage([row])
    async with VWOClient(file, user_storage=storage) as client:
        assert str((await client.explain("A", "Bill")).steps[-1].text) == "'Variation-1' is forced"
        assert (await client.explain("A", "Chris")).reason is Reason.STORED
        lost = (await client.explain("A", "Ashley")).steps[-1]
        assert lost.facts["winner"] == "B"
        assert lost.facts["eligible"] == ["A", "B"]
        held = await client.explain("B", "Chris")
        assert held.reason is Reason.NOT_GROUP_WINNER
        assert "has stored" in held.steps[-1].text
        refused = await client.explain("B", "Ashley", api="track")
        assert refused.reason is Reason.NOT_ACTIVATED
        assert refused.steps[-1].name == "storage"


async def test_every_api_settles_for_bad_input() -> None:
    """Each method gives its empty result for input that cannot be used, and raises only when strict."""
    async with (
        VWOClient(settings(), transport=RecordingTransport()) as client,
        VWOClient(settings(), transport=RecordingTransport(), strict=True) as strict,
    ):
        unusable: list[Any] = ["", None, 5, b"x", "\ud800", "x" * 5000, [], {}]
        for user in unusable:
            expected: list[tuple[str, tuple[Any, ...], Any]] = [
                ("activate", ("checkout", user), None),
                ("get_variation_name", ("checkout", user), None),
                ("get_variation", ("checkout", user), None),
                ("is_feature_enabled", ("search", user), False),
                ("get_feature_variable_value", ("search", "x", user), None),
                ("decide_all", (user,), {}),
                ("push", ("k", "v", user), False),
            ]
            for name, arguments, empty in expected:
                if name == "push" and user is None:
                    continue
                assert await getattr(client, name)(*arguments) == empty
                with pytest.raises(InvalidInputError):
                    await getattr(strict, name)(*arguments)
            explanation = await client.explain("checkout", user)
            assert explanation.reason is Reason.INVALID_INPUT


async def test_delivery_outcome_of_dropped_events() -> None:
    """An event that is given up says why."""
    transport = RecordingTransport([Answer(413)])
    async with VWOClient(settings(), transport=transport) as client:
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        outcome = await result.delivery
        assert (outcome.status, outcome.reason) == (DeliveryStatus.DROPPED, "too_large")


FEATURE_METHODS = "is_feature_enabled, get_feature_variable_value"
NOTHING_FOR = [
    (
        "activate",
        "search",
        f"of type FEATURE_TEST: call get_variation_name, {FEATURE_METHODS}, track",
    ),
    ("activate", "banner", f"of type FEATURE_ROLLOUT: call {FEATURE_METHODS}"),
    (
        "is_feature_enabled",
        "checkout",
        "of type VISUAL_AB: call activate, get_variation_name, track",
    ),
    ("activate", "mab", "a multi-armed bandit, without a user storage"),
]


@pytest.mark.parametrize(("method", "key", "text"), NOTHING_FOR)
async def test_a_method_that_does_not_apply_says_so(
    method: str, key: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A method that answers nothing for a reason that lies with the service logs it, and seldom again."""
    kinds = [campaign(11, "checkout"), campaign(12, "search", "FEATURE_TEST")]
    rollout = campaign(13, "banner", "FEATURE_ROLLOUT", variations=[variation(1, "website", 100)])
    file = settings(*kinds, rollout, campaign(14, "mab", isMAB=True))
    async with VWOClient(file, transport=RecordingTransport()) as client:
        for number in range(1, 9):
            assert not await getattr(client, method)(key, f"user {number}")
    lines = [one for one in caplog.messages if one.startswith("campaigns: ")]
    assert all(line.endswith(f"{text} ({2**step} times so far)") for step, line in enumerate(lines))
    assert len(lines) == 4
    assert all(line.startswith(f"campaigns: {method} ") for line in lines)


async def test_an_unknown_key_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """A key that no campaign has stands in the log once, and what does not look like a key never."""
    async with VWOClient(settings(), transport=RecordingTransport()) as client:
        for number in range(1, 9):
            assert await client.get_variation_name("chekout", f"user {number}") is None
            assert not await client.track("ann@example.com", "checkout", "signup")
    named = [one for one in caplog.messages if one.startswith("the settings")]
    assert named == [
        "the settings have no campaign 'chekout': did you mean 'checkout'?",
        "the settings have no campaign of the key that was given",
    ]


async def test_a_method_that_applies_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is told of a campaign that is paused, or of a user who is not in one."""
    async with VWOClient(settings(), transport=RecordingTransport()) as client:
        for key in ("paused", "closed", "members"):
            assert await client.activate(key, "Ashley") is None
    assert not [one for one in caplog.records if one.name == "vwo_async"]
