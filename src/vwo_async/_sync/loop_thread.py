"""One event loop in one thread of its own, in which other threads have coroutines run."""

from __future__ import annotations

import asyncio
import importlib
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, TypeVar

from .._error import ClosedError, WrongLoopError
from .._fork import HOLD_S, hold_at_forks
from .._log import log_error

ResultT = TypeVar("ResultT")

# How long the tasks that are left when the loop ends may take over being cancelled.
END_S = 0.2
# What sending and fetching import where they first need it, in this thread and in those that work for it.
IMPORTED_LATE = ("anyio._backends._asyncio", "certifi", "encodings.idna", "httpcore", "httpx")


def is_loop_of_others_running() -> bool:
    """Tell whether a loop runs here that is not one of this module.

    Where gevent stands in for threads, one of these runs wherever it is asked for.
    """
    loop = asyncio._get_running_loop()  # noqa: SLF001 - documented, and never raises
    return loop is not None and not isinstance(loop, _Loop)


def import_ahead() -> None:
    """Import what loops and callers need later.

    A fork while one thread imports leaves the child with a module that nobody there can import.
    """
    for name in IMPORTED_LATE:
        importlib.import_module(name)


class LoopThread:
    """Runs an event loop until it is stopped.

    The thread is a daemon: Python waits for all others before it calls what is registered with `atexit`, so
    that one which waits to be stopped there would hold the end of the process for ever, and so would a
    function of the service that hangs in it. `process_exit` stops it in good time.
    """

    def __init__(self) -> None:
        import_ahead()
        self.loop: asyncio.AbstractEventLoop = _Loop()
        self._calls: set[Future[Any]] = set()
        self._is_over = False
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="vwo_async sync", daemon=True)
        hold_at_forks(self)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
        """Have *coroutine* run in the loop, in the context of the caller.

        Raises:
            WrongLoopError: The caller runs in the loop, and would wait for itself.
            ClosedError: The loop has ended.
        """
        if threading.get_ident() == self._thread.ident:
            coroutine.close()
            raise WrongLoopError(
                "a function that a synchronous client calls, such as a callback, must not wait for that client"
            )
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError:
            coroutine.close()
            raise ClosedError("the client is closed") from None
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        if self._is_over:
            # It may have come too late for those that are let go when the loop ends.
            future.cancel()
        return future

    def run(self, coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Have *coroutine* run in the loop, and wait for what it returns or raises.

        What interrupts the wait, such as a KeyboardInterrupt, cancels it.

        Raises:
            WrongLoopError: See `submit`.
            ClosedError: The loop has ended, or ends meanwhile.
        """
        future = self.submit(coroutine)
        try:
            return future.result()
        except CancelledError:
            raise ClosedError("the client was closed during this call") from None
        except BaseException:
            future.cancel()
            raise

    def call_soon(self, function: Any) -> None:
        """Call *function* in the loop; nothing happens where that has ended."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(function)

    def hold(self, ends_at: float) -> Callable[[], object] | None:
        """Have the loop stand still between two callbacks; see `hold_at_forks`."""
        if not self._thread.is_alive() or threading.get_ident() == self._thread.ident:
            return None
        stands, may_go = threading.Event(), threading.Event()

        def stand() -> None:
            stands.set()
            may_go.wait(HOLD_S)

        self.call_soon(stand)
        stands.wait(max(ends_at - time.monotonic(), 0.0))
        return may_go.set

    def stop(self, timeout_s: float) -> bool:
        """End the loop and its tasks; tell whether the thread has ended in time."""
        self._is_stopped = True
        self.call_soon(self.loop.stop)
        if threading.get_ident() != self._thread.ident:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._is_stopped:
            try:
                self.loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - a callback asks the process to end: a thread cannot
                log_error(
                    "a function that was called in the client's thread raised %s",
                    type(error).__name__,
                )
        try:
            self.loop.run_until_complete(_end_tasks())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()
            self._is_over = True
            for call in [*self._calls]:
                call.cancel()


class _Loop(asyncio.SelectorEventLoop):
    """Finds addresses although the interpreter ends: by then no other thread does so."""

    async def getaddrinfo(self, *arguments: Any, **options: Any) -> Any:
        """Return what `socket.getaddrinfo` returns."""
        try:
            return await super().getaddrinfo(*arguments, **options)
        except RuntimeError:
            return socket.getaddrinfo(*arguments, **options)


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=END_S)
