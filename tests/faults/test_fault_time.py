"""Rows 42 and 43 of docs/faults.md: clocks that jump, and a process that was not there for a while."""

from __future__ import annotations

import asyncio
import signal
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from both_products import BOTH_PRODUCTS, once_in_fme
from chosen_product import make_client, settings
from own_time import Stopwatch, assert_below
from rig import (
    SLACK_S,
    assert_same_bytes,
    child,
    delivery_to,
    fault_server,
    gaps_of,
    heard,
    names_of,
    say,
    steady_loop,
)
from tracking import leave_behind
from waiting import until

from vwo_async._delivery.queue import Batching
from vwo_async._delivery.sender import STUCK_S
from vwo_async.transport import Answer, Limits, Request, Timeouts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

HOUR, DAY = 3600.0, 86_400.0
JUMPS = [-HOUR, DAY]
BASE_S, CAP_S = 0.2, 0.4
WORKERS = 4
PATIENT = Limits(backoff_base_s=BASE_S, backoff_cap_s=CAP_S, coalesces=False)


# Row 42


@once_in_fme("jump", JUMPS)
async def test_row_42_retries_when_the_wall_clock_jumps(tmp_path: Path, jump: float) -> None:
    """Neither age nor the wait for a retry is measured by the wall clock, and the bytes stay the same."""
    limits = Limits(backoff_base_s=BASE_S, backoff_cap_s=CAP_S, max_age_s=30)
    with fault_server(tmp_path) as server:
        await server.answer(503, times=3)
        async with steady_loop(), delivery_to(server, limits) as delivery:
            event = delivery.put("Ashley")
            for tries in (1, 2, 3):
                await until(lambda wanted=tries: delivery.queue.requests == wanted)
                delivery.wall_clock.jump(jump)
            await until(lambda: event.outcome is not None)
            found = await server.tries()
        assert event.outcome
        assert_same_bytes(found)
        assert min(gaps_of(found)) >= BASE_S - 0.001
        assert_below(max(gaps_of(found)), CAP_S + SLACK_S)
        assert server.ledger() == delivery.accepted
        assert not delivery.queue.dropped


@once_in_fme("jump", JUMPS)
async def test_row_42_retry_after_when_the_wall_clock_jumps(tmp_path: Path, jump: float) -> None:
    """A date to come again at is fixed when it is read: a jump after that neither hastens nor delays it."""
    with fault_server(tmp_path) as server:
        date = formatdate(time.time() + 3, usegmt=True)
        await server.answer(429, [("Retry-After", date)], times=1)
        async with steady_loop(), delivery_to(server, PATIENT) as delivery:
            event = delivery.put("Ashley")
            await until(lambda: delivery.queue.requests == 1)
            await asyncio.sleep(0.3)
            delivery.wall_clock.jump(jump)
            await until(lambda: event.outcome is not None)
            (gap,) = gaps_of(await server.tries())
        assert gap >= 1.9
        assert_below(gap, 3 + SLACK_S)
        assert server.ledger() == delivery.accepted


@pytest.mark.timed
@once_in_fme("jump", JUMPS)
async def test_row_42_flushing_when_the_wall_clock_jumps(tmp_path: Path, jump: float) -> None:
    """Batches leave at their interval whatever the wall clock says."""
    batching = Batching(events=100, interval_s=0.6)
    with fault_server(tmp_path) as server:
        async with steady_loop(), delivery_to(server, batching=batching) as delivery:
            for number in range(4):
                begun, watch = time.monotonic(), Stopwatch()
                event = delivery.put(f"user {number}")
                delivery.put(f"other {number}")
                await asyncio.sleep(0.1)
                delivery.wall_clock.jump(jump)
                await until(lambda one=event: one.outcome is not None)
                assert time.monotonic() - begun >= 0.599
                watch.assert_below(0.6 + SLACK_S)
            tries = await server.tries()
        assert [len(one.events) for one in tries] == [2] * 4
        assert server.ledger() == delivery.accepted


class FailsFirst:
    """A transport to a server that is down, and then fails on the first try of each event."""

    def __init__(self) -> None:
        self.is_down = True
        self._seen: set[str] = set()

    async def send(self, request: Request) -> Answer:
        is_first = request.target not in self._seen
        if not self.is_down:
            self._seen.add(request.target)
        return Answer(503 if is_first else 200)

    async def aclose(self) -> None:
        """Nothing is open."""


@BOTH_PRODUCTS
async def test_row_42_rows_of_an_outbox_when_the_wall_clock_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read from an outbox after a jump by days is no older for it, and is tried as often as it takes."""
    path = tmp_path / "outbox.db"
    await leave_behind(path, 12)
    limits = Limits(max_events=8, backoff_base_s=0.01, backoff_cap_s=0.02, coalesces=False)
    transport, now = FailsFirst(), time.time
    async with make_client(settings(), transport=transport, outbox=path, limits=limits) as client:
        await until(lambda: client.statistics().retries > 0)
        monkeypatch.setattr(time, "time", lambda: now() + 3 * DAY)
        transport.is_down = False
        await until(lambda: client.statistics().delivered == 12)
        assert not client.statistics().dropped


# Row 43


@BOTH_PRODUCTS
async def test_row_43_ten_minutes_pass_at_once(tmp_path: Path) -> None:
    """After ten minutes in which nothing ran, what is due goes at the usual pace, not all at once."""
    with fault_server(tmp_path) as server:
        await server.answer(503)
        async with steady_loop(), delivery_to(server, PATIENT, workers=WORKERS) as delivery:
            for number in range(50):
                delivery.put(f"user {number}")
            await until(lambda: delivery.queue.requests >= 6)
            await asyncio.sleep(0.1)
            delivery.jump(600)
            before = len(await server.tries())
            await asyncio.sleep(1)
            assert 1 <= len(await server.tries()) - before <= 1 / BASE_S + WORKERS
            await server.answer(200)
            await until(lambda: not delivery.queue.pending)
            assert (await server.state()).peak <= WORKERS
        assert server.ledger() == delivery.accepted


@BOTH_PRODUCTS
async def test_row_43_few_failures_before_ten_minutes(tmp_path: Path) -> None:
    """The same where the server was not known to be down: what waited for a retry is not expired by it."""
    with fault_server(tmp_path) as server:
        await server.answer(503, times=3)
        async with steady_loop(), delivery_to(server, PATIENT, workers=WORKERS) as delivery:
            for number in range(3):
                delivery.put(f"user {number}")
            await until(lambda: delivery.queue.requests >= 3)
            delivery.jump(600)
            await until(lambda: not delivery.queue.pending)
        assert server.ledger() == delivery.accepted
        assert delivery.queue.requests == 6


async def track_until_told(base_url: str) -> None:
    """In a child: track, say what was accepted, and close when told to."""
    async with make_client(
        settings(), base_url=base_url, limits=PATIENT, workers=WORKERS
    ) as client:
        results = [
            await client.track("checkout", f"user {number}", "signup") for number in range(50)
        ]
        say(names_of(*results))
        await heard()
    say(client.statistics().delivered)


@pytest.mark.slow
async def test_row_43_stopped_process(tmp_path: Path) -> None:
    """A process that is stopped and goes on resumes delivery without a storm of retries."""
    with fault_server(tmp_path) as server:
        await server.answer(503)
        async with steady_loop(), child(track_until_told, server.base_url) as process:
            accepted = await process.hear()

            async def has_tried() -> bool:
                return len(await server.tries()) >= 6

            await until(has_tried)
            # By now it has heard the answers, and knows that the server is down.
            await asyncio.sleep(0.1)
            process.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.2)
            before = len(await server.tries())
            await asyncio.sleep(3)
            assert len(await server.tries()) == before
            process.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(1)
            assert 1 <= len(await server.tries()) - before <= 1 / BASE_S + WORKERS
            assert (await server.state()).peak <= WORKERS
            await server.answer(200)
            process.tell()
            await process.hear()
        assert server.ledger() == accepted


@pytest.mark.timed
async def test_row_43_answers_that_came_meanwhile(tmp_path: Path) -> None:
    """They are read before a request counts as stuck, so that no others are begun in its place."""
    with fault_server(tmp_path) as server:
        await server.misbehave("late", times=None)

        async def are_under_way() -> bool:
            return (await server.state()).peak == WORKERS

        async with delivery_to(server, PATIENT, workers=WORKERS) as delivery:
            for number in range(60):
                delivery.put(f"user {number}")
            await until(are_under_way)
            time.sleep(2 * STUCK_S)  # noqa: ASYNC251 - a loop that stands still is as good as a process
            await until(lambda: not delivery.queue.pending)
            # Nor is the server taken for one that is so slow, since time-outs go by that.
            assert delivery.sender._slowest_s < STUCK_S
        assert (await server.state()).peak == WORKERS
        assert server.ledger() == delivery.accepted


@pytest.mark.timed
async def test_row_43_standing_still_beyond_the_time_outs(tmp_path: Path) -> None:
    """What was on its way is sent again, at the usual pace: neither events nor server are taken to be at fault."""
    limits = Limits(backoff_base_s=BASE_S, backoff_cap_s=CAP_S, max_batch_events=20)
    timeouts = Timeouts(read_s=1, total_s=2)
    with fault_server(tmp_path) as server:
        await server.misbehave("late", times=None)

        async def are_under_way() -> bool:
            # By now it is known how long the server takes.
            return len(await server.tries()) > WORKERS

        async with delivery_to(server, limits, timeouts=timeouts, workers=WORKERS) as delivery:
            for number in range(200):
                delivery.put(f"user {number}")
            await until(are_under_way)
            time.sleep(STUCK_S + 1)  # noqa: ASYNC251 - a loop that stands still is as good as a process
            await until(lambda: not delivery.queue.pending)
        assert (await server.state()).peak == WORKERS
        assert server.ledger().keys() == delivery.accepted.keys()
