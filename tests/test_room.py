"""Waiting for room on the queue: whoever reports faster than VWO takes it is slowed down, and loses nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import FMEShop, make_client, settings
from own_time import Stopwatch
from server import Server, answer, running_server

import vwo_async.sync
from vwo_async import ClosedError, InvalidInputError, TrackResult, VWOClient
from vwo_async._delivery.event import Event
from vwo_async._delivery.queue import Queue
from vwo_async.collector import Collector, serve
from vwo_async.storage import MemoryUserStorage
from vwo_async.transport import Limits

pytestmark = [pytest.mark.anyio, BOTH_PRODUCTS]

TEN = Limits(max_events=10)


class Gate:
    """Makes a server hold every answer until it is opened."""

    def __init__(self, server: Server) -> None:
        self._opened = asyncio.Event()
        server.default = self._reply

    async def _reply(self, *given: Any) -> None:
        await self._opened.wait()
        await answer()(*given)

    def open(self) -> None:
        """Let all answers go."""
        self._opened.set()


def track(client: VWOClient, number: int) -> Any:
    """Track a conversion that counts in either product."""
    return client.track("checkout", f"user {number}", "signup")


async def fill(client: VWOClient, number: int) -> None:
    """Put *number* events on the queue."""
    for one in range(number):
        assert await track(client, one)


async def test_a_job_is_slowed_down_and_loses_nothing() -> None:
    """Ten times what the queue holds, from many tasks at once, is accepted and arrives."""

    async def report(client: VWOClient, number: int) -> TrackResult:
        assert await client.room()
        result: TrackResult = await track(client, number)
        return result

    collector = Collector(settings(), latency_s=0.002)
    async with (
        serve(collector) as url,
        make_client(settings(), base_url=url, limits=TEN) as client,
    ):
        results = await asyncio.gather(*(report(client, number) for number in range(100)))
        await client.flush_events()
        statistics = client.statistics()
    assert all(results)
    assert (statistics.accepted, statistics.delivered, statistics.refused) == (100, 100, 0)
    assert collector.totals().unique_conversions == 100


async def test_without_it_the_same_job_is_refused() -> None:
    """What the queue has no room for is refused where nobody waits: the test above would notice a loss."""
    async with running_server() as server:
        Gate(server)
        client = make_client(settings(), base_url=server.base_url, limits=TEN)
        results = [await track(client, number) for number in range(20)]
        assert [bool(one) for one in results] == [True] * 10 + [False] * 10
        await client.aclose(timeout_s=0)


async def test_a_tenth_is_left_to_those_who_do_not_wait() -> None:
    """A job that waits for room takes none of what the calls of a web service need."""
    async with running_server() as server:
        gate = Gate(server)
        async with make_client(settings(), base_url=server.base_url, limits=TEN) as client:
            await fill(client, 9)
            assert not await client.room(timeout_s=0)
            assert await track(client, 9)
            gate.open()
            assert await client.room(timeout_s=10)


async def test_first_come_first_served() -> None:
    """Those who wait go on in the order in which they came."""
    order: list[int] = []

    async def wait(client: VWOClient, number: int) -> None:
        assert await client.room(timeout_s=10)
        order.append(number)

    async with running_server() as server:
        gate = Gate(server)
        async with make_client(settings(), base_url=server.base_url, limits=TEN) as client:
            await fill(client, 10)
            waiting = []
            for number in range(20):
                waiting.append(asyncio.create_task(wait(client, number)))
                await asyncio.sleep(0)
            gate.open()
            await asyncio.gather(*waiting)
    assert order == list(range(20))


async def test_room_for_several_holds_up_nobody_for_ever() -> None:
    """Who wants more than there is waits first in line, and no longer than the time he gave."""
    async with running_server() as server:
        gate = Gate(server)
        async with make_client(settings(), base_url=server.base_url, limits=TEN) as client:
            await fill(client, 5)
            many = asyncio.create_task(client.room(6, timeout_s=0.2))
            await asyncio.sleep(0)
            few = asyncio.create_task(client.room(4, timeout_s=10))
            await asyncio.sleep(0.05)
            assert not few.done()
            assert await many is False
            assert await few is True
            # More than the queue holds: as soon as nothing is on it.
            all_of_it = asyncio.create_task(client.room(1000, timeout_s=10))
            await asyncio.sleep(0.05)
            assert not all_of_it.done()
            gate.open()
            assert await all_of_it is True
            assert client.statistics().pending == 0


async def test_a_cancelled_wait_passes_its_turn_on() -> None:
    """Those behind somebody who gives up go on all the same."""
    async with running_server() as server:
        gate = Gate(server)
        async with make_client(settings(), base_url=server.base_url, limits=TEN) as client:
            await fill(client, 10)
            first, second = [asyncio.create_task(client.room(timeout_s=10)) for _ in range(2)]
            await asyncio.sleep(0)
            first.cancel()
            gate.open()
            assert await second is True
            with pytest.raises(asyncio.CancelledError):
                await first


async def test_the_wait_is_bounded_by_launch() -> None:
    """Without a time of its own it ends after ``wait_timeout_s``, with False."""
    async with running_server() as server:
        Gate(server)
        client = make_client(settings(), base_url=server.base_url, limits=TEN, wait_timeout_s=0.1)
        await fill(client, 10)
        begun = time.monotonic()
        assert await client.room() is False
        assert 0.09 <= time.monotonic() - begun < 5
        await client.aclose(timeout_s=0)


async def test_close_ends_the_wait() -> None:
    """Whoever waits when the client is closed learns so at once, and nobody waits on a closed client."""
    async with running_server() as server:
        Gate(server)
        client = make_client(settings(), base_url=server.base_url, limits=TEN)
        await fill(client, 10)
        waiting = asyncio.create_task(client.room(timeout_s=60))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(client.aclose(timeout_s=0.5))
        watch = Stopwatch()
        with pytest.raises(ClosedError):
            await waiting
        watch.assert_below(0.4)
        await closing
        with pytest.raises(ClosedError):
            await client.room()


@pytest.mark.parametrize(
    ("events", "timeout_s"),
    [(0, 1), (-1, 1), (1.5, 1), (True, 1), ("1", 1), (1, -1), (1, "1"), (1, float("nan"))],
)
async def test_bad_input(events: Any, timeout_s: Any) -> None:
    """It gives False, and with ``strict`` an error."""
    async with make_client(settings(), development_mode=True) as client:
        assert await client.room() is True
        assert await client.room(events, timeout_s=timeout_s) is False
    async with make_client(settings(), development_mode=True, strict=True) as client:
        with pytest.raises(InvalidInputError):
            await client.room(events, timeout_s=timeout_s)


async def test_bytes_count_too() -> None:
    """The queue is full by size as well."""
    limits = Limits(max_bytes=5000)
    async with running_server() as server:
        gate = Gate(server)
        async with make_client(settings(), base_url=server.base_url, limits=limits) as client:
            while await client.room(timeout_s=0):
                assert await track(client, 1)
            assert 4000 < client.statistics().pending_bytes <= 5000
            gate.open()
            assert await client.room(timeout_s=10)


async def test_with_a_storage_between() -> None:
    """The room is held for a task that awaits a storage before it puts its event."""
    if isinstance(make_client(settings()), FMEShop):
        pytest.skip("FME asks no storage about an event")
    limits = Limits(max_events=50)
    storage = MemoryUserStorage()
    collector = Collector(settings(), latency_s=0.002)
    async with (
        serve(collector) as url,
        make_client(settings(), base_url=url, limits=limits, user_storage=storage) as client,
    ):

        async def work(first: int) -> None:
            for number in range(first, 200, 10):
                assert await client.room(timeout_s=10)
                await client.activate("checkout", f"user {number}")
                assert await client.room(timeout_s=10)
                assert await track(client, number)

        await asyncio.gather(*(work(first) for first in range(10)))
        assert client.statistics().refused == 0


def test_the_synchronous_client() -> None:
    """A thread is slowed down in the same way, and learns when the time is over."""
    kind: Any = vwo_async.sync.FMEClient
    fullstack = not isinstance(make_client(settings()), FMEShop)
    if fullstack:
        kind = vwo_async.sync.VWOClient

    def report(client: Any, number: int) -> bool:
        user = f"user {number}"
        if fullstack:
            return bool(client.track("checkout", user, "signup"))
        return bool(client.track_event("signup", user))

    async def serve_it() -> None:
        collector = Collector(settings(), latency_s=0.002)
        async with serve(collector) as url:
            await asyncio.to_thread(work, url)
        assert collector.totals().unique_conversions == 200

    def work(url: str) -> None:
        for limits in (Limits(max_events=20), Limits(max_events=250)):
            with kind(settings(), base_url=url, limits=limits) as client:
                for number in range(200):
                    assert client.room(timeout_s=10)
                    assert report(client, number)
                assert client.statistics().refused == 0

    asyncio.run(serve_it())


def test_the_queue_itself_is_as_before() -> None:
    """Nothing of this reserves anything: whoever does not ask finds the whole queue."""
    queue = Queue(TEN)
    assert all(queue.put_one(_event(), 0.0) for _ in range(10))
    assert not queue.put_one(_event(), 0.0)


def _event() -> Any:
    event = Event.__new__(Event)
    event.size = 1
    return event
