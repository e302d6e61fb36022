"""Rows 26 to 29 of docs/faults.md: ten thousand calls at once, and callers who are cancelled."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from app import Ticker
from both_products import BOTH_PRODUCTS
from chaos import Child, CollectorProcess, find_visitors, make_arguments
from chosen_product import make_client, settings
from held import count_held
from own_time import Stopwatch
from server import running_server

from vwo_async import VWOClient
from vwo_async.transport import HttpxTransport, Limits

pytestmark = [pytest.mark.anyio, pytest.mark.no_debug]

NUMBER = 10_000
MAX_GROWN_KB = 100_000


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[CollectorProcess]:
    """A collector process."""
    with CollectorProcess(tmp_path) as process:
        yield process


def run_burst(collector: CollectorProcess, *more: str) -> tuple[dict[str, Any], set[str]]:
    """Track 10,000 conversions in one gather; return the figures and the visitors who were accepted."""
    arguments = make_arguments(collector, "burst", "u", None, "--number", str(NUMBER), *more)
    with Child(collector.ledger.parent, "burst", arguments) as child:
        figures = child.wait_for("burst", 18)
        assert child.wait() == 0
    accepted = child.accepted()
    assert len(set(accepted)) == len(accepted)
    return figures, find_visitors(accepted)


def check_burst(figures: dict[str, Any]) -> None:
    """Hold the figures of a burst to what every burst must hold."""
    assert figures["accepted"] + figures["refused"] == NUMBER
    assert figures["p99_ms"] < 50, figures
    assert figures["max_ms"] < 250, figures
    assert figures["grown_kb"] < MAX_GROWN_KB, figures
    assert figures["accepted"] / figures["drained_s"] >= 300, figures
    # A time-out of the pool would have been a try more, and unknown.
    assert figures["unknown"] == 0


@pytest.mark.slow
@BOTH_PRODUCTS
@pytest.mark.timeout(20)
async def test_row_26_ten_thousand_at_once(collector: CollectorProcess) -> None:
    """10,000 concurrent calls in the background are all accepted, and arrive, while the loop runs on."""
    figures, accepted = await asyncio.to_thread(run_burst, collector)
    check_burst(figures)
    assert len(accepted) == figures["delivered"] == NUMBER
    assert collector.read_ledger().keys() == accepted
    assert collector.read_ledger().total() == NUMBER


@BOTH_PRODUCTS
@pytest.mark.timed
@pytest.mark.timeout(20)
async def test_row_27_ten_thousand_awaiting(collector: CollectorProcess) -> None:
    """10,000 concurrent calls that await delivery: each is told what became of its own event."""
    await asyncio.to_thread(collector.answer, 400, 7)
    figures, accepted = await asyncio.to_thread(run_burst, collector, "--wait-share", "1")
    check_burst(figures)
    # Seven requests were refused, of as many events as had come by then: those of many are divided, and
    # only an event that stood alone has ended with it.
    assert figures["rejected"] == NUMBER - len(accepted) <= 7
    assert figures["delivered"] == len(accepted)
    assert collector.read_ledger().keys() == accepted
    assert collector.read_ledger().total() == len(accepted)


async def visit(client: VWOClient, draw: random.Random, user: str) -> bool:
    """Serve a visitor who may go away at any time; return whether he was told yes."""
    call = asyncio.create_task(client.track("checkout", user, "signup", wait=draw.random() < 0.5))
    if draw.random() < 0.6:
        asyncio.get_running_loop().call_later(draw.random() ** 3 * 0.05, call.cancel)
    try:
        return bool(await call)
    except asyncio.CancelledError:
        return False


@pytest.mark.slow
@BOTH_PRODUCTS
@pytest.mark.timeout(20)
async def test_row_28_random_cancellation(collector: CollectorProcess) -> None:
    """Handlers cancelled at random for ten seconds: what was accepted arrived, and the pool is idle."""
    draw = random.Random(28)
    transport = HttpxTransport(collector.base_url)
    told: set[str] = set()
    ends_at = time.monotonic() + 10

    async def work(name: int) -> int:
        number = 0
        while time.monotonic() < ends_at:
            user = f"{name}-{number}"
            if await visit(client, draw, user):
                told.add(user)
            number += 1
            await asyncio.sleep(draw.random() * 0.02)
        return number

    async with make_client(settings(), transport=transport) as client:
        ticker = Ticker()
        visits = sum(await asyncio.gather(*(work(name) for name in range(50))))
        delays = await ticker.stop()
        # The pool is sound: the next call is served like the first, and then nothing is in use.
        assert await client.track("checkout", "the last", "signup", wait=True)
        await client.flush_events()
        assert 1 <= len(transport._idle) <= client._engine.options.workers
        assert count_held(client._engine.reporter.queue) == 0
    statistics = client.statistics()
    ledger = await asyncio.to_thread(collector.read_ledger)
    assert not find_visitors(told) - ledger.keys()
    assert statistics.accepted == statistics.delivered == len(ledger) == ledger.total()
    assert len(told) < statistics.accepted <= visits + 1
    assert statistics.unknown == 0
    assert delays["p99_ms"] < 50, delays


async def track_and_wait(client: VWOClient, user: str) -> bool:
    """Track and await delivery."""
    return bool(await client.track("checkout", user, "signup", wait=True))


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
async def test_row_29_cancelled_twice(collector: CollectorProcess) -> None:
    """A call that is cancelled twice passes CancelledError on; its event arrives once."""
    async with make_client(settings(), base_url=collector.base_url) as client:
        call = asyncio.create_task(track_and_wait(client, "Ashley"))
        await asyncio.sleep(0)
        call.cancel()
        asyncio.get_running_loop().call_soon(call.cancel)
        with pytest.raises(asyncio.CancelledError):
            await call
    assert client.statistics().accepted == client.statistics().delivered == 1
    assert collector.read_ledger().total() == 1


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
async def test_row_29_cancelled_inside_close(collector: CollectorProcess) -> None:
    """Who closes and is cancelled, again and again, does not stop the closing, nor lose an event."""
    client = make_client(settings(), base_url=collector.base_url, limits=Limits(coalesces=False))
    await client.open()
    for number in range(50):
        assert await client.track("checkout", f"u{number}", "signup")
    for _ in range(3):
        closing = asyncio.create_task(client.aclose())
        await asyncio.sleep(0.005)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    report = await client.aclose()
    assert report and report.delivered == 50
    ledger = collector.read_ledger()
    assert ledger.total() == len(ledger) == 50


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
async def test_row_29_cancelled_while_closing(collector: CollectorProcess) -> None:
    """Calls that are cancelled while the client closes pass it on; their events arrive once."""
    async with make_client(settings(), base_url=collector.base_url) as client:
        calls = [asyncio.create_task(track_and_wait(client, f"u{number}")) for number in range(50)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(client.aclose())
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        await closing
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    # Calls that were still waiting for their turn of the loop have put nothing.
    ledger = collector.read_ledger()
    assert ledger.total() == len(ledger) == client.statistics().delivered
    assert len(ledger) == client.statistics().accepted > 0


@BOTH_PRODUCTS
@pytest.mark.timed
@pytest.mark.timeout(20)
async def test_row_29_timeout_around_track(collector: CollectorProcess, tmp_path: Path) -> None:
    """asyncio.timeout around a call ends the call in time, not the event, with an outbox or without."""

    async def hang(*_: object) -> None:
        await asyncio.sleep(3600)

    outbox = tmp_path / "outbox.db"
    async with running_server() as server:
        server.default = hang
        async with make_client(settings(), base_url=server.base_url, outbox=outbox) as client:
            watch = Stopwatch()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await track_and_wait(client, "Ashley")
            watch.assert_below(0.5)
            report = await client.aclose(timeout_s=0)
            assert report.remaining == 1
    async with make_client(settings(), base_url=collector.base_url, outbox=outbox) as client:
        async with asyncio.timeout(5):
            while not client.statistics().delivered:
                await asyncio.sleep(0.01)
    assert collector.read_ledger().keys() == find_visitors(["Ashley"])
    assert collector.read_ledger().total() == 1
