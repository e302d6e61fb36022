"""The three ways of a track call, two quick ones and the full one: nobody can tell them apart by what they do."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from sample import settings
from search_effort import examples

from vwo_async import GoalType, TrackResult, VWOClient
from vwo_async._delivery.event import Event
from vwo_async._result import receipt_of
from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.rounds import CountConversion, StorageOutcome, StorageRequest
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Limits, Request

sys.path.insert(0, str(Path(__file__).parent / "core"))

from strategy import JsonObject, make_campaign, make_file, settings_files

USERS = ("Ashley", "Bill", "user_1", "m16", "użytkownik")
GOALS = ("G1", "G2", "G3")
REVENUES = (5, 2.5, "9.5", Decimal("1.50"))
QUICK, STORED, FULL = "track_now", "track_stored", "track_conversions"


@st.composite
def goal_lists(draw: st.DrawFn) -> list[JsonObject]:
    """Goals of a campaign, of every type, with and without what makes them count again."""
    return [
        {
            "id": number,
            "identifier": identifier,
            "type": draw(st.sampled_from(("CUSTOM_GOAL", "REVENUE_TRACKING"))),
            **draw(st.sampled_from(({}, {}, {"mca": -1}, {"revenueProp": "price"}))),
        }
        for number, identifier in enumerate(GOALS, start=1)
    ]


@st.composite
def files(draw: st.DrawFn) -> JsonObject:
    """Settings files of any kind, but more often two campaigns that admit everybody."""
    if draw(st.booleans()):
        file = make_file(make_campaign(1, "A"), make_campaign(2, "B", type="FEATURE_TEST"))
    else:
        file = draw(settings_files(forced=True))
        file["isEventArchEnabled"] = draw(st.integers(0, 5)) == 3
    for campaign in file["campaigns"]:
        campaign["goals"] = draw(goal_lists())
    return file


def launches() -> st.SearchStrategy[JsonObject]:
    """Launch options under which there is a quick path."""
    return st.fixed_dictionaries(
        {},
        optional={
            "goal_type_to_track": st.sampled_from(tuple(GoalType)),
            "should_track_returning_user": st.booleans(),
            "user_id_encoding": st.sampled_from(("utf-8", "node")),
            "return_promise_for": st.sampled_from(({"all": True}, {"track"}, {"activate"})),
            "batch_events": st.just({"events_per_request": 1}),
            "limits": st.sampled_from((Limits(max_bytes=1), Limits(coalesces=False))),
        },
    )


def plain_calls(keys: list[str]) -> st.SearchStrategy[JsonObject]:
    """Calls of one campaign and goal; revenue, visitor, time and variables do not matter for which way they go."""
    return st.fixed_dictionaries(
        {
            "campaign_key": st.sampled_from((*keys * 8, "nope", "")),
            "user_id": st.sampled_from((*USERS * 3, "")),
            "goal_identifier": st.sampled_from((*GOALS * 5, "nope", "")),
        },
        optional={
            "revenue_value": st.sampled_from((*REVENUES * 3, 0, "", "five")),
            "custom_variables": st.sampled_from(({"plan": "pro"}, {"plan": "free"})),
            "user_agent": st.just("Mozilla/5.0"),
            "user_ip_address": st.just("10.0.0.1"),
            "at": st.sampled_from((1_700_000_000, 1_700_000_000.5, 5, "now")),
            "wait": st.booleans(),
        },
    )


def other_calls(keys: list[str]) -> st.SearchStrategy[JsonObject]:
    """Calls that say more, good or bad, for which there is no quick path."""
    several = st.one_of(st.none(), st.lists(st.sampled_from(keys)))
    return st.builds(
        lambda plain, more: {**plain, **more},
        plain_calls(keys),
        st.one_of(
            st.fixed_dictionaries({"campaign_key": several}),
            st.fixed_dictionaries({"goal_type_to_track": st.sampled_from((*GoalType, "nope"))}),
            st.fixed_dictionaries({"should_track_returning_user": st.sampled_from((True, 5))}),
            st.fixed_dictionaries({"event_properties": st.sampled_from(({"price": 7}, 5))}),
            st.fixed_dictionaries({"user_storage_data": st.sampled_from(({}, 5))}),
            st.fixed_dictionaries({"meta_data": st.sampled_from(({}, 5))}),
        ),
    )


@st.composite
def cases(draw: st.DrawFn) -> JsonObject:
    """A settings file, launch options, who opted out, and calls."""
    file = draw(files())
    keys = [campaign["key"] for campaign in file["campaigns"]]
    calls = st.one_of(plain_calls(keys), other_calls(keys))
    return {
        "file": file,
        "launch": draw(launches()),
        "opted_out": draw(st.sampled_from((None, None, None, None, None, "Bill"))),
        "calls": draw(st.lists(calls, min_size=2, max_size=12)),
    }


class PickyTransport:
    """Refuses every request that carries a conversion of goal 2."""

    async def send(self, request: Request) -> Answer:
        text = request.target + request.body.decode()
        return Answer(400 if re.search(r"goal_id=2\b|\"g\":2\b|\"g_2\"", text) else 200)

    async def aclose(self) -> None:
        pass


class OneByOne:
    """A storage that takes one request at a time, as a caller's own does."""

    def __init__(self, storage: MemoryUserStorage) -> None:
        self.get, self.set = storage.get, storage.set
        self.claim_goal, self.release_goal = storage.claim_goal, storage.release_goal


async def run(case: JsonObject, *, is_quick: bool) -> JsonObject:
    """Return all that can be seen of the calls of *case*, except what depends on time."""
    dropped: list[Any] = []
    client = VWOClient(
        case["file"],
        transport=PickyTransport(),
        on_drop=lambda outcome, event: dropped.append(
            (outcome.status, outcome.reason, without_time(event))
        ),
        **case["launch"],
    )
    if not is_quick:
        client._engine.has_quick_path = client._engine.has_stored_path = False
    if case["opted_out"] is not None:
        client.opt_out_user(case["opted_out"])
    async with client:
        for campaign_key, user_id in case.get("activated", ()):
            await client.activate(campaign_key, user_id)
        results = []
        for call in case["calls"]:
            results.append(await client.track(**call))
            if results[-1] and "activated" in case:
                # What is refused gives its conversion back, and only then the same call counts again.
                await client.flush_events()
        seen = [describe(result) for result in results]
        report = await client.flush_events()
        assert not report.pending
        events = [describe_event(one) for result in results for one in list_events(result)]
        # The end of what was refused is told from the loop.
        await asyncio.sleep(0)
    statistics = client.statistics()
    assert not statistics.callback_errors
    return {
        "results": seen,
        "events": events,
        "dropped": sorted(dropped, key=repr),
        "ledger": (statistics.accepted, statistics.delivered, statistics.dropped),
        "refused": (statistics.rejected, statistics.refused),
        "records": await list_records(case),
    }


async def list_records(case: JsonObject) -> list[Any]:
    """Return what the user storage has of every user and campaign, where there is one."""
    storage = case["launch"].get("user_storage")
    if storage is None:
        return []
    keys = [campaign["key"] for campaign in case["file"]["campaigns"]]
    return [await storage.get(user_id, key) for user_id in USERS for key in keys]


def describe(result: TrackResult) -> Any:
    """Return all that a caller can see of a result, in order; deliveries may have ended or not."""
    seen = result.as_json()
    del seen["delivery"]
    return seen, list(result), [len(one.delivery.outcomes) for one in result.values()]


def list_events(result: TrackResult) -> list[Event]:
    """Return the events that a call put on the queue."""
    receipts = (receipt_of(one) for one in result.values())
    return [one for one in dict.fromkeys(receipts) if isinstance(one, Event)]


def describe_event(event: Event) -> Any:
    """Return what an event says, and how it ended."""
    assert event.outcome is not None
    end = event.outcome.status, event.outcome.reason, event.outcome.status_code
    return event.size, without_time(event.dump()), end


def without_time(event: JsonObject) -> JsonObject:
    return {key: event[key] for key in event if key not in ("seconds", "millis", "random")}


@profile(max_examples=examples(100))
@given(cases())
def test_both_ways_are_one(case: JsonObject) -> None:
    """Results, events, deliveries, what is told of them and the ledger are the same either way."""

    async def both() -> None:
        quick, full = await run(case, is_quick=True), await run(case, is_quick=False)
        assert quick == full

    asyncio.run(both())


@st.composite
def stored_cases(draw: st.DrawFn) -> JsonObject:
    """A case with users whom a user storage knows, some with goals that are tracked already."""
    case: JsonObject = draw(cases())
    keys = [campaign["key"] for campaign in case["file"]["campaigns"]]
    known = st.tuples(st.sampled_from(keys), st.sampled_from(USERS))
    case["activated"] = draw(st.lists(known, min_size=1, max_size=8))
    # The same call twice is where a storage matters.
    case["calls"] = [*case["calls"], *draw(st.permutations(case["calls"]))][:16]
    return case


@profile(max_examples=examples(100))
@given(stored_cases())
def test_both_ways_are_one_with_a_storage(case: JsonObject) -> None:
    """With a storage that takes rounds, too, and the records are the same afterwards."""

    async def both() -> None:
        ends = []
        for is_quick in (True, False):
            launch = {**case["launch"], "user_storage": MemoryUserStorage()}
            ends.append(await run({**case, "launch": launch}, is_quick=is_quick))
        assert ends[0] == ends[1]

    asyncio.run(both())


@profile(max_examples=examples(40))
@given(stored_cases(), st.sampled_from((None, 1, 2)))
def test_both_ways_are_one_with_an_outbox(case: JsonObject, max_events: int | None) -> None:
    """With an outbox beside the storage, too, and none of the events is left in it."""

    async def both() -> None:
        ends = []
        for is_quick in (True, False):
            outbox = ListingOutbox()
            launch = {**case["launch"], "user_storage": MemoryUserStorage(), "outbox": outbox}
            if max_events is not None:
                launch["limits"] = Limits(max_events=max_events)
            ends.append(await run({**case, "launch": launch}, is_quick=is_quick))
            assert not outbox.rows
        assert ends[0] == ends[1]

    asyncio.run(both())


class ListingOutbox:
    """An outbox in memory."""

    def __init__(self) -> None:
        self._next_id = 0
        self.rows: dict[int, bytes] = {}

    async def open(self, fingerprint: str) -> None:
        pass

    async def append(self, rows: Sequence[tuple[float, bytes]]) -> Sequence[int]:
        ids = range(self._next_id, self._next_id + len(rows))
        self._next_id += len(rows)
        self.rows.update(zip(ids, (payload for _, payload in rows), strict=True))
        return ids

    async def remove(self, ids: Collection[int]) -> None:
        for one in ids:
            self.rows.pop(one, None)

    async def load(self, limit: int) -> Sequence[Any]:
        return ()

    async def find(self, ids: Collection[int]) -> Collection[int]:
        return [one for one in ids if one in self.rows]

    async def aclose(self) -> None:
        pass

    def describe(self) -> str:
        return "memory"


@pytest.mark.parametrize("is_quick", [True, False])
def test_the_outbox_has_an_event_before_it_is_claimed(is_quick: bool) -> None:
    """A process that is killed in between loses no conversion, whichever way the call goes."""
    outbox = ListingOutbox()
    kept: list[list[bytes]] = []

    class Looking(MemoryUserStorage):
        async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
            if isinstance(requests[0], CountConversion):
                kept.append(list(outbox.rows.values()))
            return await super().run_round(requests)

    async def main() -> None:
        launch: Any = {"user_storage": Looking(), "outbox": outbox}
        async with VWOClient(settings(), transport=RecordingTransport(), **launch) as client:
            client._engine.has_stored_path &= is_quick
            await client.activate("checkout", "Ashley")
            await client.flush_events()
            assert await client.track("checkout", "Ashley", "signup")
            assert not await client.track("checkout", "Ashley", "signup")

    asyncio.run(main())
    (rows,) = kept
    assert [b'"signup"' in row for row in rows].count(True) == 1
    assert not outbox.rows


async def list_ways(call: Callable[[], Awaitable[TrackResult]]) -> list[str]:
    """Return which ways *call* takes to its result: the full one only where the quick one has none."""
    ways: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_name
        if event == "call" and name == FULL and FULL not in ways:
            ways.append(FULL)
        if event == "return" and name == QUICK and _ is not None:
            ways.append(QUICK)
        if event == "call" and name == STORED and STORED not in ways:
            ways.append(STORED)

    sys.setprofile(note)
    try:
        await call()
    finally:
        sys.setprofile(None)
    return ways


@pytest.mark.parametrize(
    ("launch", "call", "way"),
    [
        ({}, {}, QUICK),
        ({}, {"wait": True}, QUICK),
        ({}, {"goal_identifier": "purchase", "revenue_value": 5}, QUICK),
        ({"batch_events": {"events_per_request": 1}}, {}, QUICK),
        ({"should_track_returning_user": True}, {}, QUICK),
        ({"on_drop": print}, {}, QUICK),
        ({}, {"campaign_key": ["checkout"]}, FULL),
        ({}, {"goal_type_to_track": GoalType.ALL}, FULL),
        ({}, {"should_track_returning_user": False}, FULL),
        ({}, {"user_storage_data": {}}, FULL),
        ({}, {"meta_data": {}}, FULL),
        ({}, {"event_properties": {}}, FULL),
        ({"user_storage": MemoryUserStorage()}, {}, STORED),
        ({"user_storage": MemoryUserStorage(), "outbox": ListingOutbox()}, {}, STORED),
        ({"user_storage": OneByOne(MemoryUserStorage())}, {}, FULL),
        ({"integrations": lambda _: None}, {}, FULL),
        ({"consent": lambda _: True}, {}, FULL),
        ({"development_mode": True}, {}, FULL),
    ],
)
def test_which_way(launch: JsonObject, call: JsonObject, way: str) -> None:
    """A call that names one campaign and goal goes the quick way, unless somebody is to be asked or told."""
    given_call = {"campaign_key": "checkout", "user_id": "Ashley", "goal_identifier": "signup"}

    async def main() -> None:
        async with VWOClient(settings(), transport=RecordingTransport(), **launch) as client:
            assert await list_ways(lambda: client.track(**{**given_call, **call})) == [way]

    asyncio.run(main())
