"""What the clients of both products have in common: their life, ledger and settings, and how they refuse."""

from __future__ import annotations

import asyncio
import copy
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from math import inf
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from .._error import ClosedError, InvalidInputError, OutboxError, VWOError, without_frames
from .._log import FailureLog, log_info, log_warning
from .._result import CloseReport, FlushReport, Statistics
from .._user import read_id
from .arguments import read_flag, read_room
from .engine import ClientEngine
from .official_methods import OfficialMethods
from .official_names import describe_init_options
from .options import Options

EngineT = TypeVar("EngineT", bound=ClientEngine[Any])
SettingsT = TypeVar("SettingsT")
OptionsT = TypeVar("OptionsT", bound=Options)
ResultT = TypeVar("ResultT")
ClientT = TypeVar("ClientT", bound="Client[Any]")


class Client(OfficialMethods, Generic[EngineT]):
    """A client of either product.

    Args:
        engine: Its engine.
        options: Launch options.
    """

    def __init__(self, engine: EngineT, options: Options) -> None:
        self._engine = engine
        self._options = options
        self._left_out = FailureLog("arguments")
        # Also where the interpreter ends, which leaves objects that it holds to the last without `__del__`.
        weakref.finalize(self, _note_unclosed, engine)

    # Life

    async def open(self) -> Self:
        """Bind the client to the running loop and start its workers; again is no error.

        Raises:
            ClosedError: It was closed, or is open in another loop.
            OutboxError: The outbox cannot be used; the client is closed then, as it is where opening it
                is cancelled.
        """
        engine = self._engine
        was_open = engine.loop is not None
        engine.enter()
        try:
            await engine.opened()
        except BaseException as error:
            # Whoever fails to open it has no client to close; one that others use stays as it is.
            if isinstance(error, OutboxError) or not was_open:
                await engine.aclose(0.0)
            raise
        return self

    async def aclose(self, *, timeout_s: float | None = None) -> CloseReport:
        """Deliver what is pending, within a deadline, then stop. Again, or at the same time, is no error.

        Args:
            timeout_s: The deadline; ``close_timeout_s`` by default. What is pending then is dropped
                with the reason ``closed``, or kept for the next client where there is an outbox.

        Returns:
            What was delivered, and what remains and where.

        Raises:
            WrongLoopError: The client is open in another loop.
        """
        await self._engine.aclose(timeout_s)
        return self._engine.reporter.report_close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None and engine.is_open_here:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=1)

    # Ledger

    def statistics(self) -> Statistics:
        """Return the ledger: what became of every accepted event so far."""
        return self._engine.statistics()

    def __repr__(self) -> str:
        engine = getattr(self, "_engine", None)
        if engine is None:
            # Its arguments could not be used, and it is looked at in a traceback.
            return f"<{type(self).__name__}>"
        state = "closed" if engine.is_closed else "new" if engine.loop is None else "open"
        queue = engine.reporter.queue
        return (
            f"<{type(self).__name__} {state}: {queue.accepted} accepted == {queue.delivered} delivered"
            f" + {queue.rejected} rejected + {queue.dropped.total()} dropped"
            f" + {queue.pending} pending>"
        )

    @property
    def settings_warnings(self) -> tuple[str, ...]:
        """What of the settings file is not used, and why."""
        notes: tuple[str, ...] = self._engine.snapshot.plan.notes
        return notes

    async def flush_events(self) -> FlushReport:
        """Send everything that waits, and wait for the end of all that was pending when this was called.

        Returns:
            What became of it; true where all was delivered, or nothing was pending.
        """
        self._engine.enter()
        return await self._engine.reporter.flush()

    async def room(self, events: int = 1, *, timeout_s: float | None = None) -> bool:
        """Wait until the queue has room, as a job does that reports faster than VWO takes it.

        Whoever came first goes on first, and the room is held for his task until it asks again or ends. A
        tenth of the queue is left to calls that do not ask, so that a job takes none of a web service's.

        Args:
            events: For how many; for more than the queue holds, it waits until there is none on it.
            timeout_s: How long at most; ``wait_timeout_s`` by default.

        Returns:
            Whether there is room now. False where the time is over, as while VWO is down for long.

        Raises:
            ClosedError: The client was closed, be it meanwhile.
        """
        engine = self._engine
        engine.enter()
        try:
            events, limit_s = read_room(events, timeout_s, self._options.wait_timeout_s)
        except InvalidInputError as error:
            self._refuse("room", error)
            return False
        has_room = await engine.reporter.wait_for_room(events, limit_s)
        if engine.is_closed:
            raise ClosedError("the client was closed during this call")
        return has_room

    # Settings and consent

    async def refresh_settings(self) -> bool:
        """Have the settings fetched as VWO's webhook asks one to, and put in force if they differ.

        Made for webhook handlers, see `verify_webhook`: however often it is called, one request is under
        way at a time, at most one follows for all who called meanwhile, and no more than one a second is
        made (``min_refresh_interval_s`` of the `SettingsSource`). An answer that is no settings file of
        this account and key, or none at all, changes nothing.

        Returns:
            Whether the settings in force are now those that VWO gave after this call. False after opting
            out.
        """
        engine = self._engine
        engine.enter()
        if engine.consent.has_opted_out:
            return False
        try:
            is_fresh = await engine.settings_refresh.refresh()
        except InvalidInputError as error:
            self._refuse("refresh_settings", error)
            return False
        if engine.is_closed:
            raise ClosedError("the client was closed during this call")
        return is_fresh

    async def set_opt_out(self) -> bool:
        """Deliver what was accepted, then decide, store and send nothing any more, for anybody.

        Every API method gives its empty result afterwards. Follows the official ``setOptOut``.

        Returns:
            True.
        """
        self._engine.enter()
        return await self._engine.opt_out()

    def opt_out_user(self, user_id: str) -> None:
        """Decide, store and send nothing about this user from now on, in this process.

        For a choice that outlives the process, give the launch option ``consent``.

        Raises:
            InvalidInputError: The id cannot be a user's.
        """
        self._engine.consent.opt_out(read_id(user_id))

    def opt_in_user(self, user_id: str) -> None:
        """Undo `opt_out_user`.

        Raises:
            InvalidInputError: As there.
        """
        self._engine.consent.opt_in(read_id(user_id))

    # What the methods share

    def _read_wait(self, name: str, wait: bool | None) -> bool:
        return read_flag(wait, name in self._options.return_promise_for, "wait")

    def _note(self, name: str, notes: Iterable[str]) -> None:
        """Log what of the arguments was left out, without its value; with strict, raise it.

        Raises:
            InvalidInputError: With strict, if anything was.
        """
        for note in notes:
            if self._options.strict:
                raise InvalidInputError(note)
            self._left_out.add(f"{name}: {note}")

    def _refuse(self, name: str, error: InvalidInputError) -> None:
        """Log bad input in one line, without the input; with strict, raise it."""
        if self._options.strict:
            # Those who read it took the arguments apart: their frames hold what a visitor sent.
            raise without_frames(error)
        log_warning("%s: %s", name, error)


def _note_unclosed(engine: ClientEngine[Any]) -> None:
    """Log that a client was lost, or the interpreter ends, before it was closed."""
    engine.loop_end.forget()
    if not engine.is_open_here:
        return
    count = engine.reporter.queue.pending
    if not count:
        log_info("a client was not closed: nothing was pending")
        return
    fate = "left in the outbox" if engine.has_outbox else "lost"
    log_warning("a client was not closed: %d events were pending and are %s", count, fate)


def engine_of(client: Client[EngineT]) -> EngineT:
    """Return the engine of a client."""
    return client._engine  # noqa: SLF001 - of the class above


def find_running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, None where none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def run_now(
    client: Client[Any], make: Callable[[], Coroutine[Any, Any, ResultT]]
) -> ResultT | None:
    """Run a call of a client to its end, here and now; None where it has something to wait for.

    Args:
        client: The client, whose event loop runs in this thread.
        make: Returns a call that awaits no delivery.

    Raises:
        ClosedError: The client was closed, or belongs to another loop.
        RuntimeError: No event loop runs in this thread.
    """
    engine = engine_of(client)
    engine.enter()
    if not engine.answers_at_once:
        return None
    share, call = engine.loop_share, make()
    # Whoever cannot wait for a turn of his own takes a longer one.
    ends_at, share.ends_at = share.ends_at, inf
    try:
        call.send(None)
    except StopIteration as done:
        result: ResultT = done.value
        return result
    finally:
        share.ends_at = ends_at
    call.close()
    return None


def copy_with_engine(client: ClientT, engine: Any) -> ClientT:
    """Return *client* with another engine, and all else in common."""
    twin = copy.copy(client)
    twin._engine = engine  # noqa: SLF001 - of the class above
    return twin


def read_launch(
    parse: Callable[[Any], SettingsT],
    settings: object,
    read: Callable[[Mapping[str, Any]], OptionsT],
    options: Mapping[str, Any],
) -> tuple[SettingsT, OptionsT]:
    """Return the settings file and the options of a launch, both checked.

    No frame of an error keeps them: the file holds the SDK key, and a proxy's URL a password.

    Args:
        parse: Reads the file.
        settings: The file.
        read: Reads the options.
        options: The options.

    Raises:
        SettingsError: The settings cannot be used.
        InvalidInputError: Some options cannot be used; the text names each.
    """
    try:
        if wrong := describe_init_options(settings):
            raise InvalidInputError(wrong)
        chosen = read(options)
        return parse(settings), chosen
    except VWOError as error:
        failure = error
    finally:
        del settings, options
    raise without_frames(failure)
