"""track: what it accepts, what it answers, and when."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sample import campaign, settings, variation
from server import Reply, Server, answer
from serving import serving
from waiting import until

from vwo_async import (
    CampaignTrack,
    Delivery,
    DeliveryStatus,
    GoalType,
    InvalidInputError,
    Outcome,
    Reason,
    TrackResult,
    VWOClient,
)
from vwo_async.storage import MemoryUserStorage
from vwo_async.transport import Limits

pytestmark = pytest.mark.anyio


def sent(server: Server) -> list[dict[str, str]]:
    """Return the query of every request that arrived."""
    return [
        {key: value[0] for key, value in parse_qs(urlsplit(one.target).query).items()}
        for one in server.requests
    ]


# The three forms of the first argument


async def test_one_campaign() -> None:
    """A key tracks that campaign, and the result says so in every way it can be asked."""
    async with serving() as (client, server):
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result
        assert result["checkout"]
        assert result["checkout"].reason is Reason.TRACKED
        assert result["checkout"].variation_name == "Control"
        assert result.reason is Reason.TRACKED
        assert result.as_dict() == {"checkout": True}
        assert list(result) == ["checkout"]
        assert [one["goal_id"] for one in sent(server)] == ["1101"]


async def test_list_of_campaigns() -> None:
    """A list answers for every key in order, repeated keys once, and leaves in one request."""
    async with serving() as (client, server):
        keys = ["checkout", "nope", "search", "checkout", "paused", "banner"]
        result = await client.track(keys, "Ashley", "signup", wait=True)
        assert {key: one.reason for key, one in result.items()} == {
            "checkout": Reason.TRACKED,
            "nope": Reason.CAMPAIGN_NOT_FOUND,
            "search": Reason.TRACKED,
            "paused": Reason.CAMPAIGN_NOT_RUNNING,
            "banner": Reason.CAMPAIGN_TYPE_MISMATCH,
        }
        assert list(result) == ["checkout", "nope", "search", "paused", "banner"]
        (request,) = server.requests
        assert [item["g"] for item in json.loads(request.body)["ev"]] == [1101, 1201]


async def test_every_campaign() -> None:
    """None tracks every campaign that has the goal."""
    async with serving() as (client, _):
        result = await client.track(None, "Ashley", "signup", wait=True)
        assert result.as_dict() == {
            "checkout": True,
            "search": True,
            "banner": False,
            "paused": False,
            "closed": False,
            "members": False,
        }


async def test_every_campaign_of_an_unknown_goal() -> None:
    """Where no campaign has the goal the result is empty, false, and says why."""
    async with serving() as (client, server):
        result = await client.track(None, "Ashley", "nope", wait=True)
        assert not result
        assert len(result) == 0
        assert result.reason is Reason.GOAL_NOT_FOUND
        assert not server.requests


async def test_empty_list() -> None:
    """An empty list asks for nothing and gets nothing."""
    async with serving() as (client, server):
        result = await client.track([], "Ashley", "signup", wait=True)
        assert not result
        assert result.as_dict() == {}
        assert not server.requests


# Reasons


@pytest.mark.parametrize(
    ("key", "goal", "options", "reason"),
    [
        ("nope", "signup", {}, Reason.CAMPAIGN_NOT_FOUND),
        ("paused", "signup", {}, Reason.CAMPAIGN_NOT_RUNNING),
        ("banner", "signup", {}, Reason.CAMPAIGN_TYPE_MISMATCH),
        ("checkout", "nope", {}, Reason.GOAL_NOT_FOUND),
        ("checkout", "signup", {"goal_type_to_track": GoalType.REVENUE}, Reason.GOAL_TYPE_MISMATCH),
        ("checkout", "purchase", {}, Reason.REVENUE_REQUIRED),
        ("checkout", "purchase", {"revenue_value": 0}, Reason.REVENUE_REQUIRED),
        ("checkout", "purchase", {"revenue_value": ""}, Reason.REVENUE_REQUIRED),
        ("checkout", "purchase", {"revenue_value": Decimal(0)}, Reason.REVENUE_REQUIRED),
        ("closed", "signup", {}, Reason.NOT_IN_TRAFFIC),
        ("members", "signup", {}, Reason.NOT_IN_SEGMENT),
        ("members", "signup", {"custom_variables": {"plan": "free"}}, Reason.NOT_IN_SEGMENT),
    ],
)
async def test_reasons(key: str, goal: str, options: dict[str, Any], reason: Reason) -> None:
    """Each way to refuse a conversion has its reason, and sends nothing."""
    async with serving() as (client, server):
        result = await client.track(key, "Ashley", goal, wait=True, **options)
        assert not result
        assert result[key] == CampaignTrack(False, reason)
        assert result.reason is reason
        assert not server.requests
        assert client.statistics().accepted == 0


async def test_no_variation() -> None:
    """A user in the traffic whose bucket value no variation owns is told so."""
    file = settings(campaign(11, "half", variations=[variation(1, "Control", 1)]))
    async with serving(file) as (client, _):
        result = await client.track("half", "Ashley", "signup")
        assert result["half"].reason is Reason.NO_VARIATION


async def test_not_group_winner() -> None:
    """A user whom the group gave to another campaign is told so."""
    file = settings(
        campaign(11, "A"),
        campaign(12, "B"),
        campaignGroups={"11": 5, "12": 5},
        groups={"5": {"name": "g", "campaigns": [11, 12], "et": 2, "p": [12]}},
    )
    async with serving(file) as (client, _):
        result = await client.track(["A", "B"], "Ashley", "signup", wait=True)
        assert result["A"].reason is Reason.NOT_GROUP_WINNER
        assert result["B"].reason is Reason.TRACKED


async def test_mab_needs_storage() -> None:
    """A multi-armed bandit campaign is refused without a user storage."""
    async with serving(settings(campaign(11, "mab", isMAB=True))) as (client, _):
        result = await client.track("mab", "Ashley", "signup")
        assert result["mab"].reason is Reason.STORAGE_REQUIRED


async def test_queue_full() -> None:
    """When the queue is full the newest is refused, its caller told, and what was accepted is kept."""

    async def never(*_: object) -> None:
        await asyncio.sleep(3600)

    limits = Limits(max_events=3)
    async with serving(limits=limits, close_timeout_s=0.01) as (client, server):
        server.default = never
        results = [await client.track("checkout", f"u{n}", "signup") for n in range(5)]
        assert [bool(result) for result in results] == [True, True, True, False, False]
        assert results[4]["checkout"].reason is Reason.QUEUE_FULL
        assert (await results[4].delivery).status is DeliveryStatus.NOTHING
        assert client.statistics().refused == 2
        assert client.statistics().pending == 3


# Arguments


@pytest.mark.parametrize(
    "arguments",
    [
        {"user_id": ""},
        {"user_id": None},
        {"user_id": 123},
        {"user_id": b"Ashley"},
        {"user_id": "a\ud800b"},
        {"user_id": "x" * 5000},
        {"campaign_key": ""},
        {"campaign_key": 5},
        {"campaign_key": ["checkout", 5]},
        {"campaign_key": {"checkout": True}},
        {"campaign_key": "\ud800"},
        {"goal_identifier": ""},
        {"goal_identifier": None},
        {"goal_identifier": "\ud800"},
        {"revenue_value": float("nan")},
        {"revenue_value": float("inf")},
        {"revenue_value": Decimal("NaN")},
        {"revenue_value": Decimal("sNaN")},
        {"revenue_value": Decimal("Infinity")},
        {"revenue_value": Decimal("1E-100000")},
        {"revenue_value": Decimal("1E+100000")},
        {"revenue_value": 10**5000},
        {"revenue_value": "nan"},
        {"revenue_value": "-Infinity"},
        {"revenue_value": "\ud800"},
        {"revenue_value": [1]},
        {"revenue_value": "49,90"},
        {"revenue_value": "$49.90"},
        {"revenue_value": "1 000"},
        {"revenue_value": "1_000"},
        {"revenue_value": "0x10"},
        {"revenue_value": "abc"},
        {"revenue_value": "٣"},
        {"goal_type_to_track": "SOME"},
        {"goal_type_to_track": 5},
        {"should_track_returning_user": "yes"},
        {"wait": 1},
        {"custom_variables": []},
        {"variation_targeting_variables": "x"},
        {"user_storage_data": "x"},
        {"meta_data": 5},
        {"event_properties": 5},
    ],
    ids=lambda value: next(iter(value)),
)
async def test_invalid_input(arguments: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Input that cannot be used gives a falsy result with a reason and one log line; with strict, an error."""
    given: dict[str, Any] = {
        "campaign_key": "checkout",
        "user_id": "Ashley",
        "goal_identifier": "signup",
        **arguments,
    }
    async with serving() as (client, server), VWOClient(settings(), strict=True) as strict:
        result = await client.track(**given)
        assert not result
        assert result.reason is Reason.INVALID_INPUT
        assert result.detail
        asked = given["campaign_key"]
        if isinstance(asked, str):
            assert result[asked].reason is Reason.INVALID_INPUT
        assert not any(result.as_dict().values())
        records = [one for one in caplog.records if one.name == "vwo_async"]
        assert [one.getMessage() for one in records] == [f"track: {result.detail}"]
        assert not server.requests
        with pytest.raises(InvalidInputError) as caught:
            await strict.track(**given)
        assert str(caught.value) == result.detail


async def test_cyclic_properties() -> None:
    """Properties that contain themselves are left out, not recursed into."""
    properties: dict[str, Any] = {}
    properties["self"] = properties
    async with serving() as (client, _):
        result = await client.track("checkout", "Ashley", "signup", event_properties=properties)
        assert result
        assert "'self'" in result.notes[0]


@pytest.mark.parametrize(
    ("revenue", "text"),
    [
        (10, "10"),
        (-3, "-3"),
        (12.5, "12.5"),
        (10.0, "10"),
        (Decimal("10.00"), "10.00"),
        (Decimal("1E+3"), "1000"),
        ("99.90", "99.90"),
        (" 99.90 ", "99.90"),
        ("-1e3", "-1e3"),
        (".5", ".5"),
        (True, "1"),
    ],
)
async def test_revenue_on_the_wire(revenue: Any, text: str) -> None:
    """Revenue goes out to the digit, alone and with others."""
    async with serving() as (client, server):
        await client.track("checkout", "Ashley", "purchase", revenue_value=revenue, wait=True)
        await client.track(None, "Ashley", "purchase", revenue_value=revenue, wait=True)
        assert sent(server)[0]["r"] == text
        item = json.loads(server.requests[1].body, parse_float=Decimal)["ev"][0]["r"]
        assert str(item) == text


async def test_goal_type_precedence() -> None:
    """The call's goal type wins over launch's."""
    async with serving(goal_type_to_track="CUSTOM_GOAL") as (client, _):
        refused = await client.track("checkout", "Ashley", "purchase", revenue_value=5)
        assert refused["checkout"].reason is Reason.GOAL_TYPE_MISMATCH
        assert await client.track(
            "checkout", "Ashley", "purchase", revenue_value=5, goal_type_to_track=GoalType.ALL
        )


# Delivery


async def test_background_returns_before_delivery() -> None:
    """By default the call returns at once and the event is delivered afterwards."""
    release = asyncio.Event()

    async def slow(*arguments: Any) -> None:
        await release.wait()
        await answer()(*arguments)

    async with serving() as (client, server):
        server.default = slow
        result = await client.track("checkout", "Ashley", "signup")
        assert result
        assert not result.delivery.done()
        assert result.delivery.outcome is None
        assert client.statistics().pending == 1
        release.set()
        assert await result.delivery
        assert client.statistics().delivered == 1


async def test_awaited_result_is_the_servers() -> None:
    """Awaited, the result is true only where VWO took the conversion."""
    async with serving() as (client, server):
        server.replies.append(answer(400))
        refused = await client.track("checkout", "Ashley", "signup", wait=True)
        assert not refused
        assert refused["checkout"].reason is Reason.NOT_DELIVERED
        assert refused["checkout"].variation_name == "Control"
        outcome = await refused.delivery
        assert (outcome.status, outcome.status_code) == (DeliveryStatus.REJECTED, 400)
        assert await client.track("checkout", "Ashley", "signup", wait=True)


@pytest.mark.parametrize(
    ("launch", "wait", "waits"),
    [
        (None, None, False),
        ({"track": True}, None, True),
        ({"all": True}, None, True),
        ({"track"}, None, True),
        (["activate"], None, False),
        ({"track": False, "activate": True}, None, False),
        ({"track": True}, False, False),
        (None, True, True),
    ],
)
async def test_promise_precedence(launch: Any, wait: bool | None, waits: bool) -> None:
    """The call's wait wins over launch's return_promise_for, which wins over not waiting."""
    async with serving(return_promise_for=launch) as (client, server):
        server.replies.append(answer(400))
        result = await client.track("checkout", "Ashley", "signup", wait=wait)
        # A refusal can only show in the result of a call that awaited delivery.
        assert bool(result) is not waits


async def test_delivery_can_be_awaited_often() -> None:
    """The promise resolves for everyone who awaits it, before and after its end."""
    async with serving() as (client, _):
        result = await client.track("checkout", "Ashley", "signup")
        delivery = result.delivery

        async def follow() -> Outcome:
            return await delivery

        outcomes = await asyncio.gather(follow(), follow())
        assert [one.status for one in (*outcomes, await delivery)] == [DeliveryStatus.DELIVERED] * 3
        assert outcomes[0].attempts == 1


async def test_done_callbacks() -> None:
    """Done-callbacks are called once each, early or late; one that raises harms nobody."""
    called: list[tuple[str, Delivery]] = []

    def broken(_: Delivery) -> None:
        raise RuntimeError

    async with serving() as (client, _):
        result = await client.track(["checkout", "search"], "Ashley", "signup")
        result.delivery.add_done_callback(broken)
        result.delivery.add_done_callback(lambda one: called.append(("early", one)))
        await result.delivery
        result.delivery.add_done_callback(lambda one: called.append(("late", one)))
        result.delivery.add_done_callback(broken)
        await asyncio.sleep(0)
        assert called == [("early", result.delivery), ("late", result.delivery)]
        assert await client.track("checkout", "Bill", "signup", wait=True)


async def test_wait_is_bounded() -> None:
    """A call that awaits delivery gives up waiting in time; the event goes on."""
    release = asyncio.Event()

    async def slow(*arguments: Any) -> None:
        await release.wait()
        await answer()(*arguments)

    async with serving(wait_timeout_s=0.05) as (client, server):
        server.default = slow
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert not result
        assert result["checkout"].reason is Reason.PENDING
        release.set()
        assert await result.delivery


async def test_each_wait_is_bounded() -> None:
    """Calls that began to wait one after another all give up, none before its time."""
    loop = asyncio.get_running_loop()
    never = asyncio.Event()

    async def track_after(delay_s: float) -> float:
        await asyncio.sleep(delay_s)
        begun = loop.time()
        result = await client.track("checkout", f"u{delay_s}", "signup", wait=True)
        assert result["checkout"].reason is Reason.PENDING
        return loop.time() - begun

    async with serving(wait_timeout_s=0.2, close_timeout_s=0.1) as (client, server):
        server.default = held_until(never)
        async with asyncio.timeout(10):
            waited_s = await asyncio.gather(*map(track_after, (0, 0.1, 0.15)))
    assert min(waited_s) > 0.19


async def test_several_conversions_have_their_own_outcome() -> None:
    """In one request of several conversions a refused one does not take the other along."""

    async def picky(request: Any, writer: asyncio.StreamWriter) -> None:
        await answer(400 if b'"e":12' in request.body else 200)(request, writer)

    async with serving() as (client, server):
        server.default = picky
        result = await client.track(["checkout", "search"], "Ashley", "signup", wait=True)
        assert result
        assert result.as_dict() == {"checkout": True, "search": False}
        assert result["search"].reason is Reason.NOT_DELIVERED
        statistics = client.statistics()
        assert (statistics.accepted, statistics.delivered, statistics.rejected) == (2, 1, 1)


async def test_waiting_events_share_a_request() -> None:
    """An event alone leaves at once; events that wait together leave together, each with its outcome."""
    async with serving(workers=1) as (client, server):
        users = [f"user {number}" for number in range(50)]
        results = await asyncio.gather(
            *(client.track("checkout", user, "signup", wait=True) for user in users)
        )
        assert all(results)
        assert len(server.requests) <= 3
        assert client.statistics().delivered == 50


async def test_events_join_while_a_request_is_on_its_way() -> None:
    """What comes while the server is busy leaves together, and not one request for each call."""
    async with serving(limits=Limits(linger_s=30)) as (client, server):
        go_on = asyncio.Event()
        server.replies = [held_until(go_on)]
        await client.track("checkout", "first", "signup")
        await until(lambda: len(server.requests) == 1)
        results = []
        for number in range(20):
            results.append(await client.track("checkout", f"user {number}", "signup"))
            await asyncio.sleep(0.001)
        assert len(server.requests) == 1
        go_on.set()
        assert all([await result.delivery for result in results])
        assert len(server.requests) == 2


async def test_a_hanging_request_holds_up_nothing_else() -> None:
    """Events wait for others only moments: full requests leave at once, and so does what is left over."""
    async with serving(limits=Limits(max_batch_events=3), close_timeout_s=0.1) as (client, server):
        server.default = held_until(asyncio.Event())
        await client.track("checkout", "first", "signup")
        await until(lambda: len(server.requests) == 1)
        for number in range(5):
            await client.track("checkout", f"user {number}", "signup")
        await until(lambda: len(server.requests) == 3)
        assert [one.body.count(b'"eT"') or 1 for one in server.requests] == [1, 3, 2]


def held_until(go_on: asyncio.Event) -> Reply:
    """Return a reply that is not given before *go_on* is set."""

    async def reply(request: Any, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await answer()(request, writer)

    return reply


# Modes


async def test_development_mode() -> None:
    """Development mode decides, stores and answers as usual, and sends nothing."""
    storage = MemoryUserStorage()
    async with serving(development_mode=True, user_storage=storage) as (client, server):
        assert await client.activate("checkout", "Ashley") == "Control"
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result.as_dict() == {"checkout": True}
        assert (await result.delivery).reason == "development_mode"
        row = await storage.get("Ashley", "checkout")
        assert row is not None
        assert row["goalIdentifier"] == "signup"
    assert not server.requests
    assert client.statistics().accepted == 0


async def test_integrations_see_each_decision() -> None:
    """Plain and async callbacks get one payload per decision with a variation, before the event."""
    seen: list[dict[str, Any]] = []

    async def listen(payload: dict[str, Any]) -> None:
        seen.append(payload)

    for integration in (seen.append, listen):
        seen.clear()
        async with serving(integrations=integration) as (client, _):
            await client.track(
                ["checkout", "closed"], "Ashley", "signup", custom_variables={"plan": "pro"}
            )
        (payload,) = seen
        assert payload["source"] == "track"
        assert payload["campaign_key"] == "checkout"
        assert payload["variation_name"] == "Control"
        assert payload["goal_identifier"] == "signup"
        assert payload["custom_variables"] == {"plan": "pro"}
        assert payload["vwo_user_id"] == "A46F7AA3A53150368683EE064793BAFD"


async def test_broken_integration_is_isolated() -> None:
    """A callback that raises, now or later, changes nothing but a counter."""

    def broken(_: dict[str, Any]) -> None:
        raise RuntimeError

    async def broken_later(_: dict[str, Any]) -> None:
        raise RuntimeError

    for integration in (broken, broken_later):
        async with serving(integrations=integration) as (client, _):
            assert await client.track("checkout", "Ashley", "signup", wait=True)
        assert client.statistics().callback_errors == 1


async def test_base_exception_of_an_integration_passes() -> None:
    """KeyboardInterrupt and its like pass through, and the client works on."""
    interrupts = [KeyboardInterrupt()]

    def interrupt(_: dict[str, Any]) -> None:
        if interrupts:
            raise interrupts.pop()

    async with serving(integrations=interrupt) as (client, _):
        with pytest.raises(KeyboardInterrupt):
            await client.track("checkout", "Ashley", "signup")
        assert await client.track("checkout", "Ashley", "signup", wait=True)


# The result as a value


def test_result_is_read_only() -> None:
    """A result cannot be changed, and is a mapping like any other."""
    result = TrackResult({"a": CampaignTrack(True, Reason.TRACKED, "Control")})
    assert dict(result) == {"a": CampaignTrack(True, Reason.TRACKED, "Control")}
    assert "a" in result
    assert result.get("b") is None
    for name in ("delivery", "reason", "new"):
        with pytest.raises(AttributeError):
            setattr(result, name, 1)
    with pytest.raises(TypeError):
        result["b"] = 1  # type: ignore[index]


def test_untracked_campaign_is_false() -> None:
    """A campaign's part of a result is as true as its conversion, although it is a tuple."""
    assert not CampaignTrack(False, Reason.NOT_IN_TRAFFIC)
