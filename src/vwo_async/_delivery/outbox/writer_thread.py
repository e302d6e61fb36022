"""A thread that does one piece of work after the other for an event loop: what is urgent comes first."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from ..._fork import hold_at_forks
from ..._log import log_error

Work = Callable[[], Any]


# Called with the result, or None and the error.
OnDone = Callable[[Any, BaseException | None], object]


class _Job(NamedTuple):
    work: Work
    on_done: OnDone


class WriterThread:
    """Runs work until it is stopped. Whatever work raises, the thread goes on.

    What can wait is done while nothing urgent does, in small steps, so that it never holds what is
    urgent for longer than one of them takes.

    Args:
        tick: Called now and then, about every *interval_s*.
        interval_s: How often.
        at_end: Called as the last thing.
    """

    def __init__(self, tick: Work, interval_s: float, at_end: Work) -> None:
        self._tick = tick
        self._interval_s = interval_s
        self._at_end = at_end
        self._urgent: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle: deque[_Job] = deque()
        self._steps: deque[Iterator[object]] = deque()
        self._loop = asyncio.get_running_loop()
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._is_stopping = False
        self._steps_turn = False
        self._tick_at = time.monotonic() + interval_s
        # Held while it works.
        self._work_lock = threading.Lock()
        hold_at_forks(self)
        self._thread = threading.Thread(target=self._run, name="vwo_async outbox", daemon=True)
        self._thread.start()

    # For the loop

    def do(self, work: Work) -> asyncio.Future[Any]:
        """Do *work* as soon as the thread is free."""
        future = self._loop.create_future()
        self._urgent.put(_Job(work, partial(_settle, future)))
        return future

    def do_and_call(self, work: Work, on_done: OnDone) -> None:
        """Do *work* as soon as the thread is free, and call *on_done* in the loop."""
        self._urgent.put(_Job(work, on_done))

    def do_idly(self, work: Work) -> asyncio.Future[Any]:
        """Do *work*, a small one, when nothing else waits that came before it."""
        future = self._loop.create_future()
        self._idle.append(_Job(work, partial(_settle, future)))
        self._urgent.put(None)
        return future

    async def stop(self) -> None:
        """Do what waits, except what goes in steps, and end."""
        self._is_stopping = True
        self._urgent.put(None)
        # Not thread.join in an executor: a disk that hangs would then hold the end of the loop.
        await asyncio.shield(self._stopped)
        while self._thread.is_alive():  # noqa: ASYNC110 - it has answered already, and ends at once
            await asyncio.sleep(0.001)

    def hold(self, ends_at: float) -> Callable[[], object] | None:
        """Have the thread stand still between two pieces of work; see `hold_at_forks`."""
        if not self._thread.is_alive() or threading.get_ident() == self._thread.ident:
            return None
        is_held = self._work_lock.acquire(timeout=max(ends_at - time.monotonic(), 0.0))
        return self._work_lock.release if is_held else None

    @property
    def has_steps(self) -> bool:
        """Whether something is being done in steps."""
        return bool(self._steps)

    # For the thread

    def do_in_steps(self, steps: Iterator[object]) -> None:
        """Go through *steps* when nothing else waits. What they raise ends them."""
        self._steps.append(steps)

    def call_in_loop(self, function: Callable[..., object], *arguments: object) -> None:
        """Call *function* in the loop, soon; nothing where the loop has ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _run(self) -> None:
        while not self._is_over():
            try:
                self._run_round()
            except BaseException as error:  # noqa: BLE001 - nothing may end the thread
                log_error("the outbox's thread goes on after %s", type(error).__name__)
        self._end()

    def _is_over(self) -> bool:
        if self._loop.is_closed():
            # Nobody closed the outbox, and nobody can any more.
            return True
        return self._is_stopping and self._urgent.empty() and not self._idle

    def _run_round(self) -> None:
        if time.monotonic() >= self._tick_at:
            self._tick_at = time.monotonic() + self._interval_s
            with self._work_lock:
                self._tick()
        job = self._next_urgent()
        with self._work_lock:
            self._work_on(job)

    def _work_on(self, job: _Job | None) -> None:
        """Do *job*, or where there is none, a bit of what can wait."""
        if job is not None:
            self._do(job)
        elif self._steps and (self._steps_turn or not self._idle):
            self._steps_turn = False
            self._take_step()
        elif self._idle:
            self._steps_turn = True
            self._do(self._idle.popleft())

    def _next_urgent(self) -> _Job | None:
        """Return the next urgent job; wait for one where there is nothing else to do."""
        try:
            if self._idle or self._steps or self._is_stopping:
                return self._urgent.get_nowait()
            return self._urgent.get(timeout=max(self._tick_at - time.monotonic(), 0.0))
        except queue.Empty:
            return None

    def _take_step(self) -> None:
        steps = self._steps[0]
        is_more = False
        try:
            is_more = next(steps, None) is not None and not self._is_stopping
        finally:
            if not is_more:
                self._steps.remove(steps)
                _close(steps)

    def _do(self, job: _Job) -> None:
        try:
            result, error = job.work(), None
        except BaseException as raised:  # noqa: BLE001 - it is told to whoever waits
            result, error = None, raised
        # The last thing: from here on the loop, which has more to do, wants the interpreter for itself.
        self.call_in_loop(job.on_done, result, error)

    def _end(self) -> None:
        for steps in self._steps:
            _close(steps)
        try:
            self._at_end()
        except BaseException as error:  # noqa: BLE001 - or nobody would learn that it has ended
            log_error("the outbox's thread ends with %s", type(error).__name__)
        self.call_in_loop(_settle, self._stopped, None, None)


def _close(steps: Iterator[object]) -> None:
    close = getattr(steps, "close", None)
    if close is not None:
        close()


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        future.set_exception(error)
    else:
        # What a future cannot hold, or what would end the loop.
        future.set_exception(RuntimeError(type(error).__name__))
