"""A request on its way to the storage, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, final

from .._error import StorageError
from ..storage.rounds import StorageRequest

# Of a text that a storage gives no more than that is shown.
MAX_SHOWN = 200


@final
class StorageFailure(NamedTuple):
    """Why a request has no answer.

    Attributes:
        text: Says so in words that hold nothing of the user's.
        is_answer: Whether the storage did answer, with what is no record.
        is_asked: Whether the storage may have heard of it.
    """

    text: str
    is_answer: bool = False
    is_asked: bool = True


UNRESPONSIVE = StorageFailure("not waited for, since it timed out a moment ago", is_asked=False)
NOT_ASKED = StorageFailure("not asked in time, with too many calls ahead", is_asked=False)
CLOSED = StorageFailure("not waited for, since the client was closed")


class PendingRequest:
    """A request whose outcome is known now or later; whoever asked may be gone by then.

    Attributes:
        request: What is asked.
        since: When it was asked for, by the clock of the channel.
        has_begun: Whether the storage was asked.
        is_settled: Whether the outcome is known.
        outcome: The outcome, or a `StorageFailure`.
        is_inherited: Whether it claims what an earlier call may have claimed already, and had to give back.
        is_late: Whether a caller waited for the outcome, and does not any more.
        late_task: What still works at it, though it was given up: it may have its effect yet.
    """

    __slots__ = (
        "_callbacks",
        "has_begun",
        "is_inherited",
        "is_late",
        "is_settled",
        "late_task",
        "outcome",
        "request",
        "since",
    )

    def __init__(self, request: StorageRequest, since: float = 0.0) -> None:
        self.request = request
        self.since = since
        self.has_begun = False
        self.is_inherited = False
        self.is_late = False
        self.is_settled = False
        self.outcome: Any = None
        self.late_task: asyncio.Task[None] | None = None
        self._callbacks: list[Callable[[], object]] | None = None

    def settle(self, outcome: Any) -> None:
        """Set the outcome and call who waits for it; only the first time counts."""
        if self.is_settled:
            return
        self.outcome, self.is_settled = outcome, True
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback()

    def on_settled(self, callback: Callable[[], object]) -> None:
        """Call *callback*, which must not raise, when the outcome is known: at once where it is."""
        if self.is_settled:
            callback()
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    @property
    def is_ended(self) -> bool:
        """Whether the outcome is known, and the storage no longer at it."""
        return self.is_settled and (self.late_task is None or self.late_task.done())

    def on_ended(self, callback: Callable[[], object]) -> None:
        """Call *callback*, which must not raise, when it has ended: at once where it has."""
        if not self.is_settled:
            self.on_settled(partial(self.on_ended, callback))
        elif self.late_task is None or self.late_task.done():
            callback()
        else:
            self.late_task.add_done_callback(lambda _: callback())


def describe(error: BaseException) -> str:
    """Return how a call of the storage failed: the text of a `StorageError`, of other errors the kind alone."""
    kind = name_kind(error)
    if issubclass(type(error), StorageError):
        # A class of the storage's own may raise instead.
        with suppress(Exception):
            return f"raised {kind} ({show_text(str(error))})"
    return f"raised {kind}"


def name_kind(value: object) -> str:
    """Return the name of the class of *value*, as it may stand in a log."""
    return show_text(type(value).__name__)


def show_text(text: str) -> str:
    """Return a text of others as it may stand in a log: on one line, in ASCII, and cut."""
    return ascii(text[:MAX_SHOWN])[1:-1]
