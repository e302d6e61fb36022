"""The two ways of a track call, the quick one and the full one: nobody can tell them apart by what they do."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
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
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Limits

sys.path.insert(0, str(Path(__file__).parent / "core"))

from strategy import JsonObject, settings_files

USERS = ("Ashley", "Bill", "user_1", "m16", "użytkownik", "")
GOALS = ("G1", "G2", "G3")
QUICK, FULL = "track_now", "track_conversions"


@st.composite
def goal_lists(draw: st.DrawFn) -> list[JsonObject]:
    """Goals of a campaign, of every type, with and without what makes them count again."""
    return [
        {
            "id": number,
            "identifier": identifier,
            "type": draw(st.sampled_from(("CUSTOM_GOAL", "CUSTOM_GOAL", "REVENUE_TRACKING"))),
            **draw(st.sampled_from(({}, {}, {"mca": -1}, {"revenueProp": "price"}))),
        }
        for number, identifier in enumerate(GOALS, start=1)
        if draw(st.integers(0, 4))
    ]


@st.composite
def files(draw: st.DrawFn) -> JsonObject:
    """Settings files with goals; now and then a bandit, or of the event architecture."""
    file = draw(settings_files(forced=True))
    for campaign in file["campaigns"]:
        campaign["goals"] = draw(goal_lists())
        campaign["isMAB"] = draw(st.integers(0, 9)) == 0
    file["isEventArchEnabled"] = draw(st.integers(0, 9)) == 0
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
            "limits": st.sampled_from((Limits(max_events=2), Limits(coalesces=False))),
        },
    )


def plain_calls(keys: list[str]) -> st.SearchStrategy[JsonObject]:
    """Calls of one campaign and goal; revenue, visitor and variables do not matter for which way they go."""
    return st.fixed_dictionaries(
        {
            "campaign_key": st.sampled_from((*keys * 3, "nope", "")),
            "user_id": st.sampled_from(USERS),
            "goal_identifier": st.sampled_from((*GOALS * 3, "nope", "")),
        },
        optional={
            "revenue_value": st.sampled_from((5, 2.5, "9.5", Decimal("1.50"), 0, "", float("nan"))),
            "custom_variables": st.sampled_from(({"plan": "pro"}, {"plan": "free"})),
            "user_agent": st.just("Mozilla/5.0"),
            "user_ip_address": st.just("10.0.0.1"),
            "wait": st.booleans(),
        },
    )


def other_calls(keys: list[str]) -> st.SearchStrategy[JsonObject]:
    """Calls that say more, for which there is no quick path."""
    return st.builds(
        lambda plain, more: {**plain, **more},
        plain_calls(keys),
        st.one_of(
            st.fixed_dictionaries(
                {"campaign_key": st.one_of(st.none(), st.lists(st.sampled_from(keys)))}
            ),
            st.fixed_dictionaries({"goal_type_to_track": st.sampled_from((*GoalType, "nope"))}),
            st.fixed_dictionaries({"should_track_returning_user": st.booleans()}),
            st.fixed_dictionaries({"event_properties": st.just({"price": 7})}),
        ),
    )


@st.composite
def cases(draw: st.DrawFn) -> JsonObject:
    """A settings file, launch options, what VWO answers, who opted out, and calls."""
    file = draw(files())
    keys = [campaign["key"] for campaign in file["campaigns"]]
    calls = st.one_of(plain_calls(keys), plain_calls(keys), plain_calls(keys), other_calls(keys))
    return {
        "file": file,
        "launch": draw(launches()),
        "statuses": draw(st.lists(st.sampled_from((200, 200, 400)), max_size=6)),
        "opted_out": draw(st.sampled_from((None, None, None, "Bill"))),
        "calls": draw(st.lists(calls, min_size=1, max_size=6)),
    }


async def run(case: JsonObject, *, is_quick: bool) -> JsonObject:
    """Return all that can be seen of the calls of *case*."""
    transport = RecordingTransport([Answer(status) for status in case["statuses"]])
    dropped: list[Any] = []
    client = VWOClient(
        case["file"],
        transport=transport,
        on_drop=lambda outcome, _: dropped.append(outcome),
        **case["launch"],
    )
    if not is_quick:
        client._engine.has_quick_path = False
    if case["opted_out"] is not None:
        client.opt_out_user(case["opted_out"])
    async with client:
        results = [await client.track(**call) for call in case["calls"]]
        seen = [describe(result) for result in results]
        await client.flush_events()
        ends = [await result.delivery for result in results]
        # The end of what was refused is told from the loop.
        await asyncio.sleep(0)
    statistics = client.statistics()
    return {
        "results": seen,
        "ends": ends,
        "dropped": dropped,
        "requests": [
            (one.method, mask(one.target), one.headers, mask(one.body.decode()))
            for one in transport.requests
        ],
        "statistics": (
            statistics.accepted,
            statistics.delivered,
            statistics.rejected,
            statistics.refused,
        ),
    }


def describe(result: TrackResult) -> Any:
    """Return all that a caller can see of a result, in order."""
    campaigns = [(key, *one[:3]) for key, one in result.items()]
    deliveries = [one.receipt is not None for one in result.values()]
    return bool(result), result.reason, result.detail, result.notes, campaigns, deliveries


def mask(text: str) -> str:
    """Return *text* without its random numbers and times."""
    return re.sub(r"random=[\d.e-]+|\b1[6-9]\d{8}(\d{3})?\b", "…", text)


@profile(max_examples=examples(300))
@given(cases())
def test_both_ways_are_one(case: JsonObject) -> None:
    """Results, events, their order on the wire, deliveries and the ledger are the same either way."""

    async def both() -> None:
        quick, full = await run(case, is_quick=True), await run(case, is_quick=False)
        assert quick == full

    asyncio.run(both())


async def list_ways(call: Callable[[], Awaitable[TrackResult]]) -> list[str]:
    """Return which ways *call* takes to its result: the full one only where the quick one has none."""
    ways: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_name
        if event == "call" and name == FULL and FULL not in ways:
            ways.append(FULL)
        if event == "return" and name == QUICK and _ is not None:
            ways.append(QUICK)

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
        ({}, {"meta_data": {}}, FULL),
        ({"user_storage": MemoryUserStorage()}, {}, FULL),
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
