"""What takes accepted events over from a process, for others to deliver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .._result import Outcome
from .answer import Answer
from .event import Event
from .outbox.protocol import Outbox

# How an event ended at last; None where that will not be heard.
OnEnd = Callable[[Event, Outcome | None], object]


class EventStream(Protocol):
    """A stream of events outside the process. What it has taken, others deliver.

    Attributes:
        fallback: Keeps events while the stream cannot be reached; None for the memory alone.
        durable: Whether a call waits until the stream has its events.
        tells_ends: Whether it hears how the events end, for those who wait for it.
        max_events: How many events it takes at once.
    """

    fallback: Outbox | None
    durable: bool
    tells_ends: bool
    max_events: int

    def start(self, on_end: OnEnd) -> None:
        """Begin in the running loop; *on_end* is called for each event in turn where `tells_ends`."""
        ...

    async def hand_over(self, events: Sequence[Event]) -> Answer:
        """Have the stream take *events*, of one account, all or none. Never raises for what the server does.

        Returns:
            Status 202 once it has them; 429 where it is full; else the failure.
        """
        ...

    async def aclose(self) -> None:
        """Give the stream up; what it has taken stays."""
        ...
