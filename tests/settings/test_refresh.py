"""When settings are refreshed: polls that slow down after failures, and one refresh for many callers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vwo_async._refresh.poller import MAX_BACK_OFF_S, Poller

pytestmark = pytest.mark.anyio


class Time:
    """A clock that advances when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Work:
    """A refresh for tests: records when it started, and succeeds or fails as it was told."""

    def __init__(self, time: Time, results: list[bool] | None = None) -> None:
        self.time = time
        self.results = results or []
        self.started: list[float] = []
        self.asked: list[bool] = []
        self.gate: asyncio.Event | None = None
        self.ended = asyncio.Event()

    async def __call__(self, via_webhook: bool) -> bool:
        self.started.append(self.time.now)
        self.asked.append(via_webhook)
        if self.gate is not None:
            await self.gate.wait()
        if len(self.started) >= len(self.results):
            self.ended.set()
        return self.results[len(self.started) - 1] if self.results else True


def make(time: Time, work: Callable[[bool], Awaitable[bool]], **changes: Any) -> Poller:
    interval_s = changes.pop("poll_interval_s", None)
    options: dict[str, Any] = {
        "min_interval_s": 1.0,
        "find_interval_s": None if interval_s is None else lambda: interval_s,
        "clock": time,
        "sleep": time.sleep,
        "draw": lambda low, high: (low + high) / 2,
    }
    return Poller(work, **{**options, **changes})


async def poll(results: list[bool], **changes: Any) -> tuple[Time, Work]:
    """Poll until all *results* were used."""
    time = Time()
    work = Work(time, results)
    poller = make(time, work, **{"poll_interval_s": 60.0, **changes})
    poller.start()
    async with asyncio.timeout(5):
        await work.ended.wait()
    poller.stop()
    await poller.settle()
    return time, work


# Polling


async def test_interval() -> None:
    """The first poll is one interval away, and so is each poll after a success."""
    time, work = await poll([True] * 5)
    assert time.sleeps[:5] == [60.0] * 5
    assert work.started[0] == 1060.0
    assert work.asked == [False] * 5


async def test_back_off() -> None:
    """Failures double the interval up to ten minutes; after a success it is as before."""
    time, _ = await poll([True, False, False, False, False, False, False, True, False, True])
    assert time.sleeps[:10] == [60, 60, 120, 240, 480, 600, 600, 600, 60, 120]
    assert MAX_BACK_OFF_S == 600


async def test_long_interval() -> None:
    """A poll interval that is longer than the longest back-off stays as it is."""
    time, _ = await poll([False] * 4, poll_interval_s=3600.0)
    assert time.sleeps[:4] == [3600.0] * 4


async def test_long_outage() -> None:
    """After any number of failed polls the next one is ten minutes away."""
    time, _ = await poll([False] * 200)
    assert set(time.sleeps[10:200]) == {600.0}


async def test_error() -> None:
    """A refresh that raises counts as failed: polling goes on, and the caller gets the error."""
    time = Time()
    work = Work(time, [True] * 4)

    async def run_refresh(via_webhook: bool) -> bool:
        await work(via_webhook)
        if len(work.started) in (2, 3):
            raise OSError
        return True

    poller = make(time, run_refresh, poll_interval_s=60.0)
    poller.start()
    async with asyncio.timeout(5):
        await work.ended.wait()
    poller.stop()
    await poller.settle()
    assert time.sleeps[:4] == [60, 60, 120, 240]
    poller = make(time, run_refresh)
    work.started[:] = [0.0]
    with pytest.raises(OSError):  # noqa: PT011 - it is the one above
        await poller.refresh(via_webhook=True)


async def test_jitter() -> None:
    """Each wait varies at random by up to a tenth, so that processes do not poll together."""
    asked: list[tuple[float, float]] = []
    draws = iter([0.9, 1.1, 1.05, 0.93])

    def draw(low: float, high: float) -> float:
        asked.append((low, high))
        return next(draws, 1.0)

    time, _ = await poll([True, True, False, True], draw=draw)
    assert time.sleeps[:4] == pytest.approx([54.0, 66.0, 63.0, 111.6])
    assert set(asked) == {(0.9, 1.1)}


async def test_real_jitter() -> None:
    """The waits of a hundred polls vary over the whole tenth."""
    time = Time()
    work = Work(time, [True] * 100)
    poller = Poller(
        work, min_interval_s=0.0, find_interval_s=lambda: 10.0, clock=time, sleep=time.sleep
    )
    poller.start()
    await work.ended.wait()
    poller.stop()
    await poller.settle()
    assert 9 <= min(time.sleeps) < 9.5
    assert 10.5 < max(time.sleeps) <= 11


async def test_no_polling() -> None:
    """Without a poll interval no task is started."""
    time = Time()
    poller = make(time, Work(time))
    before = asyncio.all_tasks()
    poller.start()
    assert asyncio.all_tasks() == before


async def test_stop() -> None:
    """After stop there are no polls, and callers are told that their refresh failed."""
    time = Time()
    work = Work(time)
    poller = make(time, work, poll_interval_s=60.0, sleep=lambda _: asyncio.sleep(3600))
    poller.start()
    await asyncio.sleep(0)
    poller.stop()
    await poller.settle()
    assert await poller.refresh(via_webhook=True) is False
    poller.start()
    assert not work.started
    poller.stop()
    await poller.settle()


# Asking


@pytest.mark.parametrize("number", [1, 2, 100])
async def test_together(number: int) -> None:
    """One refresh serves all callers that ask before it starts."""
    time = Time()
    work = Work(time)
    poller = make(time, work)
    results = await asyncio.gather(*(poller.refresh(via_webhook=True) for _ in range(number)))
    assert results == [True] * number
    assert work.asked == [True]


async def test_one_more() -> None:
    """All callers that ask after a refresh has started are served by the next one."""
    time = Time()
    work = Work(time, [True, False])
    work.gate = asyncio.Event()
    poller = make(time, work)
    first = asyncio.create_task(poller.refresh(via_webhook=False))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(work.started) == 1
    others = []
    for number in range(100):
        others.append(asyncio.create_task(poller.refresh(via_webhook=number == 50)))
        await asyncio.sleep(0)
    assert len(work.started) == 1
    work.gate.set()
    assert await first is True
    assert await asyncio.gather(*others) == [False] * 100
    assert work.asked == [False, True]


async def test_rate() -> None:
    """Between the starts of two refreshes is at least the minimum interval."""
    time = Time()
    work = Work(time)
    poller = make(time, work, min_interval_s=7.0)
    for _ in range(5):
        assert await poller.refresh(via_webhook=True)
    assert [after - before for before, after in pairwise(work.started)] == [7.0] * 4
    time.now += 100
    await poller.refresh(via_webhook=True)
    assert work.started[-1] == work.started[-2] + 100


async def test_cancelled_caller() -> None:
    """A cancelled caller does not affect the others."""
    time = Time()
    work = Work(time)
    work.gate = asyncio.Event()
    poller = make(time, work)
    calls = [asyncio.create_task(poller.refresh(via_webhook=True)) for _ in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    calls[0].cancel()
    await asyncio.sleep(0)
    work.gate.set()
    assert await asyncio.gather(*calls[1:]) == [True, True]
    assert calls[0].cancelled()
    assert len(work.started) == 1


async def test_stopped_under_way() -> None:
    """Callers that wait during stop are told at once that their refresh failed."""
    time = Time()
    work = Work(time)
    work.gate = asyncio.Event()
    poller = make(time, work)
    first = asyncio.create_task(poller.refresh(via_webhook=True))
    for _ in range(5):
        await asyncio.sleep(0)
    second = asyncio.create_task(poller.refresh(via_webhook=True))
    await asyncio.sleep(0)
    poller.stop()
    assert [await first, await second] == [False, False]
    await poller.settle()


@given(st.lists(st.floats(0, 5), max_size=30), st.floats(0.1, 3))
def test_any_calls(gaps: list[float], least: float) -> None:
    """For any calls, refreshes keep the minimum interval, and each caller is served by a later one."""

    async def run() -> None:
        time = Time()
        work = Work(time)
        poller = make(time, work, min_interval_s=least)
        asked = []
        for gap in gaps:
            time.now += gap
            asked.append((time.now, asyncio.create_task(poller.refresh(via_webhook=True))))
            await asyncio.sleep(0)
        for at, call in asked:
            assert await call is True
            assert any(started >= at for started in work.started)
        assert all(after - before >= least - 1e-9 for before, after in pairwise(work.started))
        assert len(work.started) <= len(gaps)

    asyncio.run(run())
