"""Conversions of another time: ``at=`` goes out in the fields in which VWO's format has the time."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import FMEShop, is_fme, make_client
from sample import campaign, settings
from server import Server, answer, running_server
from waiting import until

from vwo_async import FMEClient, FMEUser, InvalidInputError, Reason, VWOClient
from vwo_async._client.event_time import read_time
from vwo_async.collector import Collector, serve
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio

YESTERDAY = datetime.now(UTC).replace(microsecond=250_000) - timedelta(days=1)
SECONDS = int(YESTERDAY.timestamp())
MILLIS = SECONDS * 1000 + 250
FME_FILE = json.loads((Path(__file__).parents[1] / "examples" / "fme_settings.json").read_bytes())
# So that nothing is sent but what a test reports.
FME_FILE["sdkMetaInfo"] = {"wasInitializedEarlier": True}


def queries(transport: RecordingTransport) -> list[dict[str, str]]:
    """Return the query of each recorded request."""
    return [
        {key: values[0] for key, values in parse_qs(urlsplit(one.target).query).items()}
        for one in transport.requests
    ]


def bodies(transport: RecordingTransport) -> list[Any]:
    """Return the JSON body of each recorded request that has one."""
    return [json.loads(one.body) for one in transport.requests if one.body]


@asynccontextmanager
async def recording(**options: Any) -> AsyncIterator[tuple[VWOClient, RecordingTransport]]:
    """Give a client of FullStack, and what it sends."""
    transport = RecordingTransport()
    file = options.pop("file", settings())
    async with VWOClient(file, transport=transport, **options) as client:
        yield client, transport


@pytest.mark.parametrize(
    "at", [YESTERDAY, YESTERDAY.timestamp(), SECONDS + 0.25], ids=itertools.count(1)
)
async def test_a_classic_conversion(at: Any) -> None:
    """``sId`` of track-goal is the time that was given, in seconds."""
    async with recording() as (client, transport):
        assert await client.track("checkout", "Ashley", "signup", at=at, wait=True)
        assert [one["sId"] for one in queries(transport)] == [str(SECONDS)]


async def test_conversions_in_a_batch() -> None:
    """Each item of a batch has the time of its own; what has none is of now."""
    batching: Any = {"events_per_request": 3}
    async with recording(batch_events=batching) as (client, transport):
        await client.track("checkout", "Ashley", "signup", at=YESTERDAY)
        await client.track("checkout", "Ashley", "often", at=SECONDS - 60)
        await client.track("checkout", "Ashley", "often")
        await client.flush_events()
        (batch,) = bodies(transport)
    times = [one["sId"] for one in batch["ev"]]
    assert times[:2] == [SECONDS, SECONDS - 60]
    assert abs(times[2] - time.time()) < 60


async def test_several_campaigns() -> None:
    """A call about several campaigns tells the time of each conversion."""
    file = settings(campaign(11, "checkout"), campaign(13, "cart"))
    async with recording(file=file) as (client, transport):
        assert await client.track(None, "Ashley", "signup", at=YESTERDAY)
        await client.flush_events()
        (batch,) = bodies(transport)
    assert [one["sId"] for one in batch["ev"]] == [SECONDS, SECONDS]


async def test_the_event_architecture() -> None:
    """``eTime``, ``time`` and ``sessionId`` are the time that was given; the message id is made now."""
    async with recording(file=settings(isEventArchEnabled=True)) as (client, transport):
        before = int(time.time() * 1000)
        assert await client.track("checkout", "Ashley", "signup", at=YESTERDAY, wait=True)
        (query,), (body,) = queries(transport), bodies(transport)
    data = body["d"]
    assert query["eTime"] == str(MILLIS)
    assert (data["event"]["time"], data["sessionId"]) == (MILLIS, SECONDS)
    assert int(data["msgId"].partition("-")[2]) >= before


async def test_fme() -> None:
    """In FME it is the same, alone and in a batch; a session that the caller names stays."""
    transport = RecordingTransport()
    async with FMEClient(FME_FILE, transport=transport) as client:
        assert await client.track_event("purchase", "Ashley", at=YESTERDAY, wait=True)
        user = FMEUser("Ashley", session_id=1_700_000_000)
        assert await client.for_user(user).track_event("purchase", at=SECONDS, wait=True)
        sent = bodies(transport)
    alone = [one["d"] for one in sent]
    assert [one["event"]["time"] for one in alone] == [MILLIS, SECONDS * 1000]
    assert [one["sessionId"] for one in alone] == [SECONDS, 1_700_000_000]
    assert queries(transport)[0]["eTime"] == str(MILLIS)


async def test_message_ids_of_one_moment_differ() -> None:
    """Two conversions of one visitor at the same moment, and what he was shown then, are not one to VWO."""
    transport = RecordingTransport()
    async with FMEClient(FME_FILE, transport=transport) as client:
        for name in ("purchase", "signup", "purchase"):
            assert await client.track_event(name, "Ashley", at=YESTERDAY)
        await client.get_flag("search", "Ashley")
        await client.track_event("purchase", "Ashley", at=datetime.now(UTC))
        await client.flush_events()
    items = [item["d"] for body in bodies(transport) for item in body.get("ev", [body])]
    ids = [one["msgId"] for one in items]
    assert len(ids) >= 5
    assert len(set(ids)) == len(ids)


@BOTH_PRODUCTS
async def test_a_retry_is_byte_identical() -> None:
    """A conversion of another time that is sent again has the same bytes."""

    async def track(server: Server) -> None:
        server.replies = [answer(503)]
        async with make_client(file(), base_url=server.base_url) as client:
            assert await track_at(client, "signup", YESTERDAY)
            await until(lambda: client.statistics().delivered >= 1)

    async with running_server() as server:
        await track(server)
    first, second = server.requests[-2:]
    assert (first.target, first.body) == (second.target, second.body)
    assert str(SECONDS) in first.target


def file() -> dict[str, Any]:
    """Return the settings file of the product."""
    return FME_FILE if is_fme() else settings()


async def track_at(client: Any, goal: str, at: Any, **options: Any) -> Any:
    """Track a conversion with either client."""
    if isinstance(client, FMEShop):
        return await client.track_event(goal, "Ashley", at=at, **options)
    return await client.track("checkout", "Ashley", goal, at=at, **options)


@BOTH_PRODUCTS
async def test_the_outbox_keeps_it(tmp_path: Path) -> None:
    """After the process is gone the next one sends the time that was given, and the same bytes."""
    path = tmp_path / "outbox.db"
    async with running_server() as server:
        server.default = answer(503)
        client = make_client(file(), base_url=server.base_url, outbox=path)
        async with client:
            assert await track_at(client, "signup", YESTERDAY)
            await until(lambda: any(str(SECONDS) in one.target for one in server.requests))
            await client.aclose(timeout_s=0)
        (before,) = {
            (one.target, one.body) for one in server.requests if str(SECONDS) in one.target
        }
        server.requests.clear()
        server.default = answer()
        async with make_client(file(), base_url=server.base_url, outbox=path) as again:
            await again.flush_events()
    assert before in [(one.target, one.body) for one in server.requests]


async def test_it_is_claimed_like_any_other() -> None:
    """With a storage a conversion of another time counts once."""
    collector = Collector(settings())
    async with (
        serve(collector) as url,
        VWOClient(settings(), base_url=url, user_storage=MemoryUserStorage()) as client,
    ):
        await client.activate("checkout", "Ashley")
        assert await client.track("checkout", "Ashley", "signup", at=YESTERDAY)
        again = await client.track("checkout", "Ashley", "signup", at=SECONDS - 5)
        assert again.reason is Reason.ALREADY_TRACKED
    assert collector.totals().unique_conversions == 1
    assert not collector.refused


@BOTH_PRODUCTS
async def test_the_collector_holds_it_to_its_window() -> None:
    """The collector takes what is two days old; older conversions need a wider window."""
    old = datetime.now(UTC) - timedelta(days=30)
    for window_s, counted in ((2 * 86400, 0), (365 * 86400, 1)):
        collector = Collector(file(), clock_window_s=window_s)
        async with serve(collector) as url, make_client(file(), base_url=url) as client:
            await track_at(client, "signup", old, wait=True)
        assert len(collector.refused) == 1 - counted


class _Spiteful(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise RuntimeError("a secret of the caller's")

    def dst(self, moment: datetime | None) -> timedelta:
        raise RuntimeError

    def tzname(self, moment: datetime | None) -> str:
        raise RuntimeError


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 1, 1), "no time zone"),  # noqa: DTZ001 - what is tested
        (datetime.now(UTC) + timedelta(days=1), "in the future"),
        (time.time() + 86_400, "in the future"),
        (time.time() * 1000, "milliseconds"),
        (10**400, "milliseconds"),
        (0, "before the year 2000"),
        (-1, "before the year 2000"),
        (time.monotonic(), "before the year 2000"),
        (float("nan"), "must be a datetime"),
        (float("inf"), "must be a datetime"),
        ("2026-01-01T00:00:00Z", "must be a datetime"),
        (True, "must be a datetime"),
        (timedelta(days=1), "must be a datetime"),
        (YESTERDAY.date(), "must be a datetime"),
        (datetime(2026, 1, 1, tzinfo=_Spiteful()), "reading at raised RuntimeError"),
    ],
    # Of their own: some of the values change from process to process.
    ids=itertools.count(1),
)
async def test_what_cannot_be_used(at: Any, text: str) -> None:
    """It is refused with what is wrong, nothing is sent, and with ``strict`` it is an error."""
    transport = RecordingTransport()
    async with make_client(file(), transport=transport) as client:
        result = await track_at(client, "signup", at)
        assert (bool(result), result.reason) == (False, Reason.INVALID_INPUT)
        assert text in result.detail
        await client.flush_events()
        assert not transport.requests
    async with make_client(file(), transport=RecordingTransport(), strict=True) as client:
        with pytest.raises(InvalidInputError, match=text):
            await track_at(client, "signup", at)


def test_time_zones_and_clocks() -> None:
    """Any time zone will do; a clock that is up to a second ahead says now."""
    now = 1_800_000_000.0
    moment = datetime.fromtimestamp(now - 3600, timezone(timedelta(hours=-7)))
    assert read_time(moment, lambda: now) == now - 3600
    assert read_time(now + 0.9, lambda: now) == now
    with pytest.raises(InvalidInputError):
        read_time(now + 1.1, lambda: now)
    assert read_time(None, lambda: now) is None
