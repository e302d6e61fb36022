"""Puts on the queue what earlier processes left in the outbox, as there is room beside what is new."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextvars import Context
from math import isfinite
from typing import TypeGuard

from ..._cancellation import is_failure
from ..._error import OutboxError
from ..._log import log_info, log_warning
from ..event import Event
from ..request import Account
from .claim import Claim
from .journal import Journal
from .protocol import Row, Stock
from .row import load

LOAD_LIMIT = 200
# After so many rows everything else has its turn.
TURN_ROWS = 25
# How long to wait at most until it is known what is in the outbox.
FIRST_LOOK_S = 30.0
# How often to look for what other processes left, for room in a full queue, and after a failure.
LOOK_INTERVAL_S = 60.0
ROOM_INTERVAL_S = 0.1
AGAIN_INTERVAL_S = 0.5

Restore = Callable[[Event, float, Sequence[Claim]], bool]
Confirm = Callable[[Sequence[Claim]], Awaitable[bool]]
_Loaded = tuple[Row, Event, float, Sequence[Claim]]


class Restorer:
    """Loads the outbox from front to end, whatever its size: only so much of it is in memory as may be.

    Args:
        journal: The outbox.
        account: In whose name restored events are sent.
        restore: Puts a restored event, accepted at a time of the wall clock, on the queue; false where
            there is no room.
        max_events: How many restored events may be pending.
        max_bytes: Their approximate size together.
        max_age_s: Age at which events of other accounts are removed.
        confirm: Tells of each event with claims whether it counts, or is another process's by now.
        release: Lets everything go that the queue holds back for others to leave with.
        wall_clock: Seconds since the epoch.

    Attributes:
        restored: Events put on the queue so far.
        ends: How they ended, by status.
        stock: What else is in the outbox, as last counted.
    """

    def __init__(
        self,
        journal: Journal,
        account: Account,
        restore: Restore,
        *,
        max_events: int,
        max_bytes: int,
        max_age_s: float,
        confirm: Confirm,
        release: Callable[[], object],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.restored = 0
        self.ends: Counter[str] = Counter()
        self.stock = Stock()
        self._journal = journal
        self._account = account
        self._restore = restore
        self._max_events = max(max_events, 1)
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._confirm = confirm
        self._release = release
        # The time limits of those who wait until all is drained.
        self._waits: set[asyncio.Timeout] = set()
        self._wall_clock = wall_clock
        self._pending: set[Event] = set()
        self._pending_bytes = 0
        self._room = asyncio.Event()
        # Whether there is nothing left to load.
        self._is_through = False
        self._looked = asyncio.Event()
        self._drained = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to load."""
        self._task = asyncio.get_running_loop().create_task(
            self._load_on(), name="vwo_async outbox load", context=Context()
        )

    async def stop(self) -> None:
        """Load nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def has_looked(self) -> bool:
        """Whether it is known what is in the outbox."""
        return self._looked.is_set()

    @property
    def pending(self) -> int:
        """Restored events that have not ended."""
        return len(self._pending)

    @property
    def is_read(self) -> bool:
        """Whether it is known what is in the outbox; nothing is in one that cannot be opened."""
        is_known = self.has_looked or self._journal.has_failed_to_open
        return is_known and not self.stock.unread

    def is_restored(self, event: Event) -> bool:
        """Tell whether *event* is a restored one that has not ended."""
        return event in self._pending

    def forget(self, ended: Collection[Event]) -> None:
        """Take note of what has ended."""
        if not self._pending:
            return
        for event in ended:
            if event in self._pending:
                self._pending.remove(event)
                self._pending_bytes -= event.size
                self.ends["" if event.outcome is None else event.outcome.status.value] += 1
        if len(self._pending) <= self._max_events // 2:
            self._room.set()
        self._look_if_drained()

    def _look_if_drained(self) -> None:
        if self._is_through and not self._pending:
            self._drained.set()
        else:
            self._drained.clear()

    async def drain(self, timeout_s: float | None) -> None:
        """Wait until all that was in the outbox has ended, within a time; not where it cannot be opened."""
        first_s = FIRST_LOOK_S if timeout_s is None else timeout_s
        limit = asyncio.timeout(timeout_s)
        self._waits.add(limit)
        try:
            async with limit:
                async with asyncio.timeout(first_s):
                    await self._journal.opened()
                    await self._looked.wait()
                await self._drained.wait()
        except (TimeoutError, OutboxError):
            return
        finally:
            self._waits.discard(limit)

    def end_waits(self) -> None:
        """Let everybody go who waits until all is drained: nothing more is loaded."""
        for limit in self._waits:
            if not limit.expired():
                limit.reschedule(0)

    async def look(self, timeout_s: float) -> None:
        """Find out what is in the outbox, if that takes no longer than *timeout_s*.

        Of one that was looked at before only whether a file was set aside since: what else there is in it is
        counted while it is loaded.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._journal.opened()
                if self.has_looked:
                    found = await self._find_stock() or self.stock
                    self.stock = self.stock._replace(unread=found.unread)
                else:
                    await self.take_stock()
                    self._looked.set()
        except BaseException as error:
            if not is_failure(error):
                raise
            # It stays unknown, and is reported so.

    async def take_stock(self) -> None:
        """Count what is in the outbox besides what is in memory, where it can tell."""
        before, found = self.stock, await self._find_stock()
        if found is None:
            return
        self.stock = found
        expired = self.stock.expired - before.expired
        if expired:
            log_warning("outbox: events of other accounts or keys that were too old: %d", expired)
        vanished = self.stock.vanished - before.vanished
        if vanished:
            self._journal.failed("events in it cannot be found any more", vanished)
        if self.stock.foreign > before.foreign:
            text = "outbox: events of another account or SDK key wait for a client of theirs: %d"
            log_warning(text, self.stock.foreign)

    async def _find_stock(self) -> Stock | None:
        take_stock = getattr(self._journal.outbox, "take_stock", None)
        if take_stock is None:
            return None
        found = await take_stock(self._wall_clock() - self._max_age_s)
        if not _is_stock(found):
            self._journal.failed("take_stock returned no Stock", 1)
            return None
        return found

    async def _load_on(self) -> None:
        while True:
            try:
                await self._journal.open_again()
                await self.take_stock()
                if not self.has_looked and self.stock.waiting:
                    log_info("outbox: events from before that are sent now: %d", self.stock.waiting)
                self._looked.set()
                await self._load_all()
            except OutboxError:
                # Reported by `open`, or with each event that cannot be kept.
                await asyncio.sleep(AGAIN_INTERVAL_S)
            except BaseException as error:
                if not is_failure(error):
                    raise
                await self._load_again_later(type(error).__name__)
            else:
                await asyncio.sleep(LOOK_INTERVAL_S)

    async def _load_again_later(self, what: str) -> None:
        self._journal.failed(f"load raised {what}", 1)
        await asyncio.sleep(AGAIN_INTERVAL_S)

    async def _load_all(self) -> None:
        """Put all that is left on the queue."""
        outbox = self._journal.outbox
        while rows := await outbox.load(LOAD_LIMIT):
            self._is_through = False
            self._look_if_drained()
            for number, row in enumerate(await self._confirm_all(rows), 1):
                if row is not None:
                    await self._load_row(*row)
                self.stock = self.stock._replace(waiting=max(self.stock.waiting - 1, 0))
                if not number % TURN_ROWS:
                    await asyncio.sleep(0)
            if self._waits:
                self._release()
        self.stock = self.stock._replace(waiting=0)
        self._is_through = True
        self._look_if_drained()

    async def _confirm_all(self, rows: Sequence[Row]) -> list[_Loaded | None]:
        """Return what is in *rows*, without what cannot be read or does not count."""
        loaded = [self._read(row) for row in rows]
        claimed = [one for one in loaded if one is not None and one[3]]
        counts = await asyncio.gather(*(self._confirm(one[3]) for one in claimed))
        lost = {one[0].id for one, is_ours in zip(claimed, counts, strict=True) if not is_ours}
        for id_ in lost:
            self._journal.discard(id_)
        return [None if one is None or one[0].id in lost else one for one in loaded]

    def _read(self, row: Row) -> _Loaded | None:
        try:
            event, claims = load(self._account, row.payload)
            return row, event, float(row.wall_s), claims
        except Exception:  # noqa: BLE001 - whatever is wrong with one row, those after it are sound
            self._journal.failed("an event in it cannot be read", 1)
            self._journal.discard(row.id)
            return None

    async def _load_row(
        self, row: Row, event: Event, wall_s: float, claims: Sequence[Claim]
    ) -> None:
        while not self._put(event, wall_s, claims):
            await self._wait_for_room()
        self._journal.enter(event, row.id, claims)
        self._pending.add(event)
        self._pending_bytes += event.size
        self.restored += 1

    def _put(self, event: Event, wall_s: float, claims: Sequence[Claim]) -> bool:
        is_alone = not self._pending
        has_room = (
            len(self._pending) < self._max_events
            and self._pending_bytes + event.size <= self._max_bytes
        )
        if not (has_room or is_alone):
            return False
        return self._restore(event, wall_s if isfinite(wall_s) else self._wall_clock(), claims)

    async def _wait_for_room(self) -> None:
        """Wait until others have ended, or for a while, since the queue does not tell when it has room."""
        self._room.clear()
        # Nothing comes to fill a request up before some of it has left.
        self._release()
        try:
            async with asyncio.timeout(ROOM_INTERVAL_S):
                await self._room.wait()
        except TimeoutError:
            return


def _is_stock(found: object) -> TypeGuard[Stock]:
    """Tell whether *found*, of an outbox that may be the caller's own, is what it should be."""
    return isinstance(found, Stock) and all(type(one) is int and one >= 0 for one in found)
