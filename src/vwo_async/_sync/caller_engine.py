"""The engine of a client as the thread of a caller sees it: decides there, and puts events into the inbox.

Deciding needs the settings in force and nothing else, and these are never changed, only replaced. So a call
that stores nothing and waits for nothing need not go to the loop: the coroutine of the async client runs
from its beginning to its end in the thread that calls. Whatever does need the loop raises `NeedsLoop`, before
anything has happened, and the call is made again there.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any, TypeVar

from .._client.base_client import Client, copy_with_engine, engine_of
from .._client.engine import ClientEngine
from .._client.options import Options
from .._client.reporter import Reporter
from .._delivery.event import Event
from .inbox import MAX_SIZE, Inbox

ClientT = TypeVar("ClientT", bound=Client[Any])


class NeedsLoop(BaseException):
    """The call is one for the loop."""


def make_caller_client(client: ClientT, inbox: Inbox) -> ClientT | None:
    """Return *client* for calls in the threads of callers; None where all of its calls need the loop."""
    engine: Any = engine_of(client)
    if not engine.has_quick_path or _waits(engine.options):
        return None
    return copy_with_engine(client, CallerEngine(engine, inbox))


def _waits(options: Options) -> bool:
    """Tell whether a call waits for something, or something is called that may wait."""
    return bool(
        options.return_promise_for
        or options.outbox
        or options.integrations
        or options.consent
        or options.development_mode
    )


class CallerEngine:
    """Stands in for an engine that is open in its loop.

    Args:
        engine: The engine.
        inbox: Takes its events.
    """

    # Nothing is open here that would have to be closed.
    loop = None
    has_outbox = False

    def __init__(self, engine: ClientEngine[Any], inbox: Inbox) -> None:
        self._engine = engine
        self._inbox = inbox
        self.reporter = _CallerReporter(inbox)
        self.consent = engine.consent
        self.has_quick_path = True
        self.is_observed = engine.is_observed
        self.loop_share = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return monotonic()

    @property
    def snapshot(self) -> Any:
        """What is in force."""
        return self._engine.snapshot

    def enter(self) -> bool:
        """Let the call go on here, unless it needs the loop."""
        engine = self._engine
        if engine.loop is None or engine.is_closed or self.consent.is_asked:
            raise NeedsLoop
        if engine.lacks_settings or not self._inbox.has_room():
            raise NeedsLoop
        return False

    def make_stored_records(self, *arguments: object) -> Any:
        """Leave to the loop what may have to read a storage."""
        raise NeedsLoop


class _CallerReporter(Reporter):
    """Puts events into the inbox."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.queue = inbox.queue
        self.sender = self  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]  # it has the one method that is asked for

    def put(self, events: Sequence[Event]) -> Sequence[Event]:
        """Put one event into the inbox; several, which are to share a request, go by the loop."""
        if len(events) != 1:
            raise NeedsLoop
        self.put_one(events[0])
        return events

    def put_one(self, event: Event, now: float | None = None) -> bool:
        """Put *event* into the inbox."""
        if event.size > MAX_SIZE:
            raise NeedsLoop
        self._inbox.put(event, monotonic() if now is None else now)
        return True

    async def wait_for_room(self, events: int, timeout_s: float | None) -> bool:
        """Tell that there is room; where there is none, the loop waits for it."""
        if not self._inbox.has_room_for_job(events):
            raise NeedsLoop
        return True

    def keep(self, receipts: object, claims: object = None) -> None:
        """Keep nothing: there is no outbox."""
