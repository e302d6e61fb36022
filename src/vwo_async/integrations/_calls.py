"""How code that may or may not await makes the calls of a client, be it async or synchronous.

An async client is asked in the thread of its event loop, and what has to wait for something is awaited there. A
synchronous client is asked in the thread of whoever asks, and may hold it for as long as it waits.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from .. import ClosedError, InvalidInputError
from .._client.base_client import Client, engine_of, find_running_loop, run_now
from .._log import FailureLog

ResultT = TypeVar("ResultT")
MakeCall: TypeAlias = Callable[[], Coroutine[Any, Any, ResultT]]
"""Returns a call that awaits no delivery."""

# Calls that nobody awaits and that wait for a storage at once.
MAX_WAITING = 1000


class Calls(ABC):
    """Makes the calls of one client."""

    @abstractmethod
    def run(self, make: MakeCall[ResultT]) -> ResultT | None:
        """Make a call here and now; None where it has something to wait for, and cannot.

        Raises:
            ClosedError: The client was closed, or belongs to another loop.
            RuntimeError: No event loop runs in this thread, and the client needs one.
        """

    @abstractmethod
    async def wait_for(self, make: MakeCall[ResultT]) -> ResultT:
        """Make a call, and wait for its end without holding the event loop."""

    @abstractmethod
    def put(self, make: MakeCall[object], lost: FailureLog) -> None:
        """Make a call whose end nobody awaits; what comes to nothing is logged.

        Raises:
            RuntimeError: The loop of the client has ended.
        """


class AsyncCalls(Calls):
    """Makes those of an async client."""

    def __init__(self, client: Client[Any]) -> None:
        self._client = client
        self._waiting: set[asyncio.Task[Any]] = set()

    def run(self, make: MakeCall[ResultT]) -> ResultT | None:
        """Make a call in the thread of the client's loop."""
        return run_now(self._client, make)

    async def wait_for(self, make: MakeCall[ResultT]) -> ResultT:
        """Await a call."""
        return await make()

    def put(self, make: MakeCall[object], lost: FailureLog) -> None:
        """Make a call in the client's loop, from whatever thread."""
        loop = engine_of(self._client).loop
        if loop is None:
            lost.add("the client is not open: a conversion is not counted")
        elif loop is find_running_loop():
            self._put_here(make, lost)
        else:
            # Without arguments: in debug mode asyncio would show them in its log.
            loop.call_soon_threadsafe(lambda: self._put_here(make, lost))

    def _put_here(self, make: MakeCall[object], lost: FailureLog) -> None:
        try:
            if run_now(self._client, make) is not None:
                return
        except (ClosedError, InvalidInputError) as error:
            note(lost, error)
            return
        if len(self._waiting) >= MAX_WAITING:
            lost.add("a conversion is not counted: too many wait for the client")
            return
        task = asyncio.get_running_loop().create_task(make())
        self._waiting.add(task)
        task.add_done_callback(lambda done: self._end(done, lost))

    def _end(self, task: asyncio.Task[Any], lost: FailureLog) -> None:
        self._waiting.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            note(lost, error)


class SyncCalls(Calls):
    """Makes those of a synchronous client, which come to their end in the caller's thread."""

    def run(self, make: MakeCall[ResultT]) -> ResultT:
        """Make a call, and hold the thread while it waits."""
        call = make()
        try:
            call.send(None)
        except StopIteration as done:
            result: ResultT = done.value
            return result
        raise AssertionError("a synchronous client awaits nothing")

    async def wait_for(self, make: MakeCall[ResultT]) -> ResultT:
        """Make a call in another thread, with the context of this one."""
        return await asyncio.to_thread(self.run, make)

    def put(self, make: MakeCall[object], lost: FailureLog) -> None:
        """Make a call, and hold the thread while it waits."""
        try:
            self.run(make)
        except (ClosedError, InvalidInputError) as error:
            note(lost, error)


def note(lost: FailureLog, error: BaseException) -> None:
    """Log that a conversion came to nothing."""
    lost.add(f"a conversion is not counted: {type(error).__name__}")
