"""Asks VWO's gateway service what only it knows: never for long, and seldom while it is down."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from .._cancellation import is_failure
from .._delivery.answer import Answer, is_temporary
from .._delivery.circuit_breaker import CircuitBreaker
from .._delivery.request import Request
from .._delivery.transport.by_name import load_transport, make_fetcher
from .._delivery.transport.config import TransportConfig
from .._delivery.transport.protocol import MAX_ANSWER_BYTES, Fetcher, Timeouts
from .._log import FailureLog

# How many requests may be on their way at once; further ones wait for their turn within their time.
MAX_REQUESTS = 20
# A caller waits this much longer than the request may take, so that it ends first and is counted.
GRACE_S = 0.05
# While it is down, one call tries it after each pause, which doubles up to the maximum.
PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
_MAX_DOUBLINGS = 6


class Reply(NamedTuple):
    """What came of asking.

    Attributes:
        content: The decoded answer.
        fault: Why there is none, empty where there is one. It holds nothing of the request.
    """

    content: Any = None
    fault: str = ""

    def __repr__(self) -> str:
        # In debug mode asyncio shows the results of tasks in its log, and this one may speak of a user.
        return f"<Reply {self.fault or 'with content'}>"


_IS_DOWN = Reply(fault="it is down and not asked for a while")
_LATE = Reply(fault="no answer in time")
_BROKEN = Reply(fault="no answer")


class Gateway:
    """The gateway service as one client sees it.

    Requests run in tasks of their own, so that a caller who is cancelled cancels none that others wait for;
    what several callers ask at the same time is asked once.

    Args:
        config: How it is reached.
        timeout_s: The limit of each request.
        watch: Returns what is used in place of a transport, so that its requests are observed.
    """

    def __init__(
        self,
        config: TransportConfig,
        timeout_s: float,
        watch: Callable[[Fetcher], Fetcher] = lambda fetcher: fetcher,
    ) -> None:
        limits = config.timeouts or Timeouts()
        self._config = replace(config, timeouts=_shorten(limits, timeout_s))
        self._timeout_s = timeout_s
        self._watch = watch
        self._breaker = CircuitBreaker()
        self._failures = FailureLog("the gateway service cannot be used")
        self._tasks: set[asyncio.Task[Reply]] = set()
        # Those of them that another caller may join.
        self._shared: dict[tuple[str, str], asyncio.Task[Reply]] = {}
        self._slots = asyncio.Semaphore(MAX_REQUESTS)
        self._transport: Fetcher | None = None
        self._is_closed = False
        load_transport("httpx")

    @property
    def errors(self) -> int:
        """How often it was asked in vain."""
        return self._failures.count

    async def ask(self, request: Request, ends_at: float) -> Reply:
        """Return what it answers until *ends_at*, in monotonic seconds."""
        now = time.monotonic()
        if now >= ends_at:
            return self._note(_LATE)
        name = (request.method, request.target)
        task = self._shared.get(name)
        if task is None:
            if self._is_closed or not self._breaker.admits(now):
                return self._note(_IS_DOWN)
            task = self._begin(name, request)
        await asyncio.wait((task,), timeout=ends_at - now + GRACE_S)
        if not task.done():
            # Whoever asks next has a whole time-out again.
            self._unshare(name, task)
            return self._note(_LATE)
        return self._note(_BROKEN if task.cancelled() else task.result())

    def _note(self, reply: Reply) -> Reply:
        if reply.fault:
            self._failures.add(reply.fault)
        return reply

    def _begin(self, name: tuple[str, str], request: Request) -> asyncio.Task[Reply]:
        self._breaker.started()
        task = asyncio.create_task(self._fetch(request), name="vwo_async gateway")
        self._tasks.add(task)
        self._shared[name] = task
        # No partial: asyncio would show what it binds, and the name of a question holds what is asked.
        task.add_done_callback(lambda done: self._unshare(name, done))
        task.add_done_callback(self._tasks.discard)
        return task

    def _unshare(self, name: tuple[str, str], task: asyncio.Task[Reply]) -> None:
        if self._shared.get(name) is task:
            del self._shared[name]

    async def _fetch(self, request: Request) -> Reply:
        """Ask once, and tell the breaker what came of it."""
        has_slot = False
        try:
            async with asyncio.timeout(self._timeout_s), self._slots:
                has_slot = True
                if self._transport is None:
                    self._transport = self._watch(make_fetcher(self._config))
                answer, body = await self._transport.fetch(request, MAX_ANSWER_BYTES)
        except BaseException as error:
            if not is_failure(error):
                self._breaker.released()
                raise
            # It is not to blame for a crowd that waits.
            self._judge(is_up=None if not has_slot else False)
            return _LATE
        return self._read(answer, body)

    def _read(self, answer: Answer, body: bytes) -> Reply:
        status = answer.status
        if status is None or is_temporary(status) or status < 400:
            reply = _BROKEN if status is None else _read_content(status, body)
            self._judge(is_up=not reply.fault)
            return reply
        # A refusal may be about this question alone: others are asked all the same.
        self._judge(is_up=True)
        return Reply(fault=f"status {status}")

    def _judge(self, *, is_up: bool | None) -> None:
        breaker = self._breaker
        if is_up is None:
            breaker.released()
        elif is_up:
            breaker.succeeded()
        else:
            pause_s = PAUSE_S * 2.0 ** min(breaker.failed_probes, _MAX_DOUBLINGS)
            wait_s = min(pause_s, MAX_PAUSE_S) * random.uniform(0.5, 1.0)
            breaker.failed(time.monotonic(), wait_s)

    def stop(self) -> None:
        """Ask nothing any more, and answer those who wait."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        """Stop, and close every connection."""
        self.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._transport is not None:
            await self._transport.aclose()

    def __repr__(self) -> str:
        return "<Gateway>"


def _read_content(status: int, body: bytes) -> Reply:
    """Return what an answer says; one that no gateway service gives comes from something else at its address."""
    if not 200 <= status < 300:
        return Reply(fault=f"status {status}")
    try:
        return Reply(json.loads(body))
    except (ValueError, RecursionError):
        return Reply(fault=f"the answer is no JSON, or larger than {MAX_ANSWER_BYTES} bytes")


def _shorten(limits: Timeouts, timeout_s: float) -> Timeouts:
    return replace(
        limits,
        connect_s=min(limits.connect_s, timeout_s),
        read_s=min(limits.read_s, timeout_s),
        write_s=min(limits.write_s, timeout_s),
        total_s=timeout_s,
    )
