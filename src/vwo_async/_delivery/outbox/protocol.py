"""What a durable queue must be able to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """One event at rest.

    Attributes:
        id: The outbox's name for it.
        wall_s: When it was accepted, in seconds since the epoch.
        payload: What `dump` made of it; holds no SDK key.
    """

    id: int
    wall_s: float
    payload: bytes

    def __repr__(self) -> str:
        """Do not show what was sent of whom."""
        return f"<Row {self.id}, {len(self.payload)} bytes>"


class Stock(NamedTuple):
    """What is in an outbox besides the events that this process has in memory.

    Attributes:
        waiting: Events of this account that `load` has not returned yet.
        foreign: Events of other accounts or SDK keys; they are left alone until they are too old.
        expired: Foreign events that were too old and have been removed, since it was opened.
        vanished: Events that were waiting and cannot be found any more, since it was opened.
        unread: Files that were set aside, with events in them that nobody has counted, since it was opened.
    """

    waiting: int = 0
    foreign: int = 0
    expired: int = 0
    vanished: int = 0
    unread: int = 0


class Outbox(Protocol):
    """Keeps events until they are removed. Everything but `open` may fail at any time with any error.

    Three more things are used where an outbox has them:

    * The method ``async take_stock(oldest_wall_s)`` returns a `Stock` and removes foreign events accepted
      before that time.
    * The attribute ``on_lost`` is None while no client has the outbox, then a function without arguments to
      call in the event loop when events that were kept may be gone: the client then asks `find`, and keeps
      again what is missing.
    * The method ``submit(rows, on_done)`` does what `append` does and calls ``on_done(ids, error)`` in the
      event loop, which costs less than awaiting.
    """

    async def open(self, fingerprint: str) -> None:
        """Make ready to keep events of one account, which *fingerprint* names. May be called again.

        Raises:
            OutboxError: It cannot be used, and waiting alone will not change that.
        """
        ...

    async def load(self, limit: int) -> Sequence[Row]:
        """Return events that an earlier process left, oldest first, each once; empty when there are none."""
        ...

    async def append(self, rows: Sequence[tuple[float, bytes]]) -> Sequence[int]:
        """Keep (wall_s, payload) pairs, all or none; when this returns they survive the process.

        One call is under way at a time, with all the events that waited for the one before it.

        Returns:
            Their ids.
        """
        ...

    async def remove(self, ids: Collection[int]) -> None:
        """Forget events that ended."""
        ...

    async def find(self, ids: Collection[int]) -> Collection[int]:
        """Return those of *ids* that can still be found, by this process or another."""
        ...

    async def aclose(self) -> None:
        """Give up the outbox; what is in it stays."""
        ...

    def describe(self) -> str:
        """Return where the events are, for a report."""
        ...
