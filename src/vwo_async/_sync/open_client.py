"""A client that is open in this process: an async client, the thread in which its loop runs, and the inbox."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Any, Generic, TypeVar

from .._client.base_client import Client, engine_of
from .._client.engine import ClientEngine
from .._error import ClosedError
from .._log import log_error, log_info, log_warning
from .._result import CloseReport, Statistics
from . import process_exit
from .caller_engine import make_caller_client
from .inbox import Inbox
from .loop_thread import LoopThread

ClientT = TypeVar("ClientT", bound=Client[Any])
ResultT = TypeVar("ResultT")

# How much longer than its time-out closing may take before it is given up: something holds the loop then.
GRACE_S = 1.0
STOP_S = 0.5
# What is left for closing at the end of the process where delivering before took all the time there was.
LEAST_CLOSE_S = 0.5


class OpenClient(Generic[ClientT]):
    """An async client that is open in a loop of its own.

    Args:
        client: The client, which was not opened before.

    Attributes:
        client: The client, to be used in the loop alone.
        caller_client: The same for the threads of callers, None where all calls need the loop.
        pid: The process to which all this belongs.

    Raises:
        OutboxError: The outbox cannot be used.
    """

    def __init__(self, client: ClientT) -> None:
        self.client = client
        self.pid = os.getpid()
        self._engine: ClientEngine[Any] = engine_of(client)
        self._close_s: float = self._engine.options.close_timeout_s
        self._thread = LoopThread()
        self._inbox = Inbox(self._engine.reporter, self._thread)
        self.caller_client = make_caller_client(client, self._inbox)
        self._flushing: Future[object] | None = None
        self._closing: Future[None] | None = None
        try:
            self._thread.run(client.open())
        except BaseException:
            self._thread.stop(STOP_S)
            raise
        process_exit.add(self)

    # Calls

    def run(self, make: Callable[[ClientT], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """Run in the loop what *make* returns for the client, after all that was put before."""
        return self._thread.run(self._run(make))

    async def _run(self, make: Callable[[ClientT], Coroutine[Any, Any, ResultT]]) -> ResultT:
        self._inbox.transfer()
        return await make(self.client)

    def count(self) -> Statistics:
        """Return the ledger, with all that was put before; once the client is closed, as it stood then."""
        try:
            return self._thread.run(self._count())
        except ClosedError:
            return self.client.statistics()

    async def _count(self) -> Statistics:
        self._inbox.transfer()
        return self.client.statistics()

    # The end

    @property
    def pending(self) -> int:
        """Events that were accepted and have not ended."""
        return len(self._inbox) + self._engine.reporter.queue.pending

    def begin_flush(self) -> None:
        """Begin to deliver what is pending, at the end of the process."""
        if self.pending:
            with suppress(ClosedError):
                self._flushing = self._thread.submit(
                    self._run(lambda client: client.flush_events())
                )

    def end_flush(self) -> None:
        """Wait until that is done, within the time that there is for closing; what it takes is taken from there."""
        if self._flushing is not None:
            begun = monotonic()
            # Whatever fails here, closing tells of it.
            with suppress(Exception):
                self._flushing.result(self._close_s)
            self._close_s = max(self._close_s - (monotonic() - begun), LEAST_CLOSE_S)

    def begin_close(self, timeout_s: float | None = None) -> None:
        """Begin to deliver what is pending, and then to close; again is no error."""
        if timeout_s is not None:
            self._close_s = timeout_s
        if self._closing is None:
            # Where it cannot begin, the loop has ended.
            with suppress(ClosedError):
                self._closing = self._thread.submit(self._close())

    def end_close(self) -> CloseReport:
        """Wait until what `begin_close` began has ended, and stop the thread.

        Never much longer than the time-out of closing: what holds the loop is left behind, and said.
        """
        try:
            if self._closing is not None:
                self._closing.result(self._close_s + GRACE_S)
        except TimeoutError:
            log_warning("the client did not close in time: %d events are lost", self.pending)
        except Exception as error:  # noqa: BLE001 - whoever closes wants to go on, most of all at the end
            log_error("closing raised %s", type(error).__name__)
        self._thread.stop(STOP_S)
        process_exit.remove(self)
        return self._engine.reporter.report_close()

    def close_lost(self) -> None:
        """Close, and wait for nothing: nobody has the client any more."""
        if self._closing is None and self.pid == os.getpid():
            if count := self.pending:
                log_warning(
                    "a client was not closed: %d events were pending and are delivered in the background",
                    count,
                )
            else:
                log_info("a client was not closed: nothing was pending")
            self.begin_close()
            if self._closing is not None:
                self._closing.add_done_callback(self._end_lost)

    def _end_lost(self, closing: Future[None]) -> None:
        self._thread.stop(0.0)
        process_exit.remove(self)

    async def _close(self) -> None:
        self._inbox.transfer()
        await self.client.aclose(timeout_s=self._close_s)
        if late := self._inbox.close():
            log_warning("%d events came while the client closed, and are lost", late)
        # It belongs to this loop, so that nobody else could close it.
        close = getattr(self._engine.options.user_storage, "aclose", None)
        if close is not None:
            await close()
