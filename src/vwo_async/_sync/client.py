"""What the synchronous clients of both products have in common: their life, in this process and after a fork."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from .._client.base_client import Client, engine_of
from .._client.engine import ClientEngine
from .._client.official_methods import OfficialMethods
from .._error import ClosedError, OutboxError
from .._log import log_warning
from .._result import CloseReport, Delivery, Outcome, Statistics
from . import process_exit
from .blocking import in_caller, in_loop
from .loop_thread import import_ahead, is_loop_of_others_running
from .open_client import OpenClient
from .renewal import renew_options

ClientT = TypeVar("ClientT", bound=Client[Any])
ResultT = TypeVar("ResultT")
BoundT = TypeVar("BoundT")


class SyncClient(OfficialMethods, Generic[ClientT]):
    """A client for code without a running event loop.

    Args:
        kind: The class of the async client.
        settings: As for that.
        options: As for that.
    """

    def __init__(self, kind: type[ClientT], settings: Any, options: Mapping[str, Any]) -> None:
        try:
            make: Callable[..., ClientT] = kind
            self._client = make(settings, **options)
            self._given = options
        finally:
            # As in the async client: tools that report errors show the locals of each frame.
            del settings, options
        self._opened: OpenClient[ClientT] | None = None
        self._is_closed = False
        self._on_lost: weakref.finalize[..., Any] | None = None
        # For each process its own: another thread of the parent may have held it when this one was forked.
        self._locks: dict[int, threading.RLock] = {}
        self._has_warned = False
        # Here, since services make their clients before they have threads.
        import_ahead()
        process_exit.prepare()

    # Life

    def open(self) -> Self:
        """Start the client's thread; the first call does so where this was not called. Again is no error.

        Raises:
            ClosedError: The client was closed.
            OutboxError: The outbox cannot be used; the client is closed then.
        """
        self._ensure_open()
        return self

    def close(self, *, timeout_s: float | None = None) -> CloseReport:
        """Deliver what is pending, within a deadline, then stop. Again, or at the same time, is no error.

        Whoever does not call it has it called when the process ends.

        Args:
            timeout_s: The deadline; ``close_timeout_s`` by default. What is pending then is dropped
                with the reason ``closed``, or kept for the next client where there is an outbox.

        Returns:
            What was delivered, and what remains and where.
        """
        self._is_closed = True
        opened = self._opened
        if opened is None or opened.pid != os.getpid():
            engine: ClientEngine[Any] = engine_of(self._client)
            return engine.reporter.report_close()
        if self._on_lost is not None:
            self._on_lost.detach()
        opened.begin_close(timeout_s)
        return opened.end_close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a client cannot be pickled")

    def _ensure_open(self) -> OpenClient[ClientT]:
        opened = self._opened
        if opened is not None and opened.pid == os.getpid():
            return opened
        with self._locks.setdefault(os.getpid(), threading.RLock()):
            opened = self._opened
            if opened is not None and opened.pid == os.getpid():
                return opened
            if self._is_closed:
                raise ClosedError("the client is closed")
            if not engine_of(self._client).is_usable_here:
                # It was open in a parent process, or another thread was opening it there.
                self._client = self._renew()
            return self._open()

    def _open(self) -> OpenClient[ClientT]:
        try:
            opened = OpenClient(self._client)
        except BaseException as error:
            if isinstance(error, OutboxError):
                self._is_closed = True
            else:
                # Something interrupted it, and it may be tried again.
                self._client = self._renew()
            raise
        self._opened = opened
        self._on_lost = weakref.finalize(self, opened.close_lost)
        # The end of the process is seen to already.
        self._on_lost.atexit = False
        if self._is_closed:
            self.close(timeout_s=0.0)
        return opened

    def _renew(self) -> ClientT:
        """Return a client like the one before, which another process may have: it starts with nothing pending."""
        make: Callable[..., ClientT] = type(self._client)
        before = engine_of(self._client)
        client = make(before.snapshot.settings, **renew_options(self._given))
        engine_of(client).consent.adopt(before.consent)
        return client

    @property
    def _engine(self) -> ClientEngine[Any]:
        # By its name in an async client, for `engine_of`.
        return engine_of(self._client)

    # Calls

    def run(self, make: Callable[[ClientT], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """Run in the client's loop what *make* returns for the async client, and wait for it."""
        opened = self._ensure_open()
        if not self._has_warned and is_loop_of_others_running():
            self._has_warned = True
            log_warning(
                "a synchronous client is used where an event loop runs, which stands still while a call waits:"
                " use the async client there"
            )
        return opened.run(make)

    def find_caller_target(self) -> ClientT | None:
        """Return the async client for calls in this thread; None where all calls need the loop."""
        return self._ensure_open().caller_client

    room = in_caller(Client[Any].room)

    # What the async clients have that is not async

    def statistics(self) -> Statistics:
        """Return the ledger: what became of every accepted event so far, in this process."""
        opened = self._opened
        return self._client.statistics() if opened is None else opened.count()

    @property
    def settings_warnings(self) -> tuple[str, ...]:
        """What of the settings file is not used, and why."""
        return self._client.settings_warnings

    def opt_out_user(self, user_id: str) -> None:
        """Decide, store and send nothing about this user from now on, in this process.

        Raises:
            InvalidInputError: The id cannot be a user's.
        """
        self._client.opt_out_user(user_id)

    def opt_in_user(self, user_id: str) -> None:
        """Undo `opt_out_user`.

        Raises:
            InvalidInputError: As there.
        """
        self._client.opt_in_user(user_id)

    def wait_for(self, delivery: Delivery, *, timeout_s: float | None = None) -> Outcome | None:
        """Wait for a delivery, which the async client's callers await.

        Args:
            delivery: Of a result of this client.
            timeout_s: How long at most; as long as it takes by default.

        Returns:
            Its outcome; None where that is not known in time.
        """
        return self.run(lambda client: _wait_for(delivery, timeout_s))

    def __repr__(self) -> str:
        client = getattr(self, "_client", None)
        return f"<{type(self).__name__}>" if client is None else f"<synchronous {client!r}>"

    flush_events = in_loop(Client.flush_events)
    refresh_settings = in_loop(Client.refresh_settings)
    set_opt_out = in_loop(Client.set_opt_out)


class SyncHandle(Generic[BoundT]):
    """The methods of a synchronous client for one user.

    Args:
        client: The client.
        bind: Returns the handle of an async client for the user.
    """

    __slots__ = ("_bind", "_client")

    def __init__(self, client: SyncClient[Any], bind: Callable[[Any], BoundT]) -> None:
        self._client = client
        self._bind = bind

    def run(self, make: Callable[[BoundT], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """Run in the client's loop what *make* returns for the async handle, and wait for it."""
        return self._client.run(lambda client: make(self._bind(client)))

    def find_caller_target(self) -> BoundT | None:
        """Return the async handle for calls in this thread; None where all calls need the loop."""
        client = self._client.find_caller_target()
        return None if client is None else self._bind(client)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._client!r}>"


async def _wait_for(delivery: Delivery, timeout_s: float | None) -> Outcome | None:
    try:
        async with asyncio.timeout(timeout_s):
            return await delivery
    except TimeoutError:
        return None
