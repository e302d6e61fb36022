"""Handlers are cancelled when clients disconnect: no event may be lost, doubled, or left behind."""

from __future__ import annotations

import asyncio
import random

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, settings
from chosen_transport import chosen_transport
from every_transport import EVERY_TRANSPORT

from vwo_async.collector import Collector, serve

pytestmark = [pytest.mark.anyio, EVERY_TRANSPORT]


@BOTH_PRODUCTS
async def test_random_cancellation() -> None:
    """3,000 awaited conversions with handlers cancelled at random: all that was accepted arrives, once."""
    draw = random.Random(7)
    file = settings()
    collector = Collector(file, latency_s=0.002)
    async with serve(collector) as base_url:
        transport = chosen_transport(base_url)
        async with make_client(
            file, transport=transport, return_promise_for={"all": True}
        ) as client:

            async def handle(number: int) -> bool:
                return bool(await client.track("checkout", f"user {number}", "signup"))

            cancelled = answered = 0
            for start in range(0, 3000, 60):
                tasks = [asyncio.create_task(handle(number)) for number in range(start, start + 60)]
                for task in tasks:
                    if draw.random() < 0.5:
                        asyncio.get_running_loop().call_later(draw.random() * 0.01, task.cancel)
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    cancelled += isinstance(result, asyncio.CancelledError)
                    answered += result is True
            # The pool is idle and sound: the next call is served like the first.
            assert await client.track("checkout", "the last", "signup")
            statistics = client.statistics()
        final = client.statistics()
        assert cancelled > 100
        assert answered > 500
        assert cancelled + answered == 3000
        assert statistics.accepted == final.accepted
        assert final.accepted == final.delivered == collector.totals().events
        assert collector.totals().unique_conversions == final.accepted
        assert not collector.refused
        assert final.pending == 0
        assert final.unknown == 0


@BOTH_PRODUCTS
async def test_cancelled_before_and_after_acceptance() -> None:
    """A call cancelled before it ran sends nothing; one cancelled while waiting has sent its event."""
    file = settings()
    collector = Collector(file)
    async with serve(collector) as base_url, make_client(file, base_url=base_url) as client:
        early = asyncio.create_task(client.track("checkout", "early", "signup", wait=True))
        early.cancel()
        with pytest.raises(asyncio.CancelledError):
            await early
        late = asyncio.create_task(client.track("checkout", "late", "signup", wait=True))
        await asyncio.sleep(0)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        await client.aclose()
        assert client.statistics().accepted == collector.totals().events == 1


@BOTH_PRODUCTS
async def test_timeout_around_track() -> None:
    """asyncio.timeout around a call ends the call, not the event."""
    file = settings()
    collector = Collector(file, latency_s=0.1)
    async with serve(collector) as base_url, make_client(file, base_url=base_url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.track("checkout", "Ashley", "signup", wait=True)
        await client.aclose()
        assert collector.totals().events == 1
        assert client.statistics().delivered == 1


@BOTH_PRODUCTS
async def test_cancelled_twice() -> None:
    """A second cancellation of the same call changes nothing more."""
    file = settings()
    collector = Collector(file, latency_s=0.05)
    async with serve(collector) as base_url, make_client(file, base_url=base_url) as client:
        task = asyncio.create_task(client.track("checkout", "Ashley", "signup", wait=True))
        await asyncio.sleep(0.01)
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.aclose()
        assert collector.totals().events == client.statistics().delivered == 1


@BOTH_PRODUCTS
async def test_many_awaiting_at_once() -> None:
    """Thousands of concurrent calls are all answered, without a time-out of the pool."""
    file = settings()
    collector = Collector(file)
    async with serve(collector) as base_url, make_client(file, base_url=base_url) as client:
        results = await asyncio.gather(
            *(client.track("checkout", f"user {n}", "signup", wait=True) for n in range(2000))
        )
        assert all(results)
        assert collector.totals().unique_conversions == 2000
        assert client.statistics().unknown == 0
