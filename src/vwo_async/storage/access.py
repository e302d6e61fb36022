"""How the client uses a user storage: bounded in time, sceptical of what comes back, never fatal."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from .._core.decision import Stored
from ..log import log_warning
from .protocol import Row, StoredDecision, UserStorage

# How long a storage that timed out is left alone.
STALL_S = 1.0

T = TypeVar("T")


class StorageAccess:
    """Reads and writes records; whatever goes wrong is counted, noted and means "no record".

    Args:
        storage: The user's storage.
        timeout_s: Limit of one round of reads, and of one write.
    """

    def __init__(self, storage: UserStorage, timeout_s: float) -> None:
        self._storage = storage
        self._timeout_s = timeout_s
        self._locks: dict[str, _CountedLock] = {}
        self._writes: set[asyncio.Task[str]] = set()
        self._stalled_until: float | None = None
        self.errors = 0

    async def read(
        self, user_id: str, campaign_keys: Iterable[str], notes: list[str]
    ) -> dict[str, Stored | None] | None:
        """Return what is stored for each campaign, all asked for at once; None where nothing usable is.

        None in place of all where the storage did not answer in time, or was not asked because of that.

        Args:
            user_id: The user.
            campaign_keys: The campaigns.
            notes: Takes a text for each failure.
        """
        keys = tuple(campaign_keys)
        if not self._may_ask():
            self._note("not asked, since it timed out a moment ago", notes)
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                if len(keys) == 1:
                    rows = [await self._get(user_id, keys[0])]
                else:
                    rows = await asyncio.gather(*(_begin(self._get(user_id, key)) for key in keys))
        except TimeoutError:
            self._stalled_until = time.monotonic() + STALL_S
            self._note("get timed out", notes)
            return None
        self._stalled_until = None
        for row in rows:
            if isinstance(row, str):
                self._note(row, notes)
        pairs = zip(keys, rows, strict=True)
        return {key: None if isinstance(row, str) else row for key, row in pairs}

    def _may_ask(self) -> bool:
        """Tell whether to ask a storage that may be stalled: one call tries it now and then, for the others.

        So it adds its time-out to the first calls and not to every one.
        """
        if self._stalled_until is None:
            return True
        now = time.monotonic()
        if now < self._stalled_until:
            return False
        self._stalled_until = now + STALL_S
        return True

    async def _get(self, user_id: str, key: str) -> Stored | str | None:
        """Return a usable record, None, or a text that says what is wrong."""
        try:
            row = await self._storage.get(user_id, key)
            return read_row(row, user_id, key)
        except Exception as error:
            return f"get raised {type(error).__name__}"

    async def write(self, record: StoredDecision, notes: list[str]) -> None:
        """Write *record*. It runs on to its end, or its time-out, even if the caller is cancelled."""
        task = _begin(self._set(record))
        if not task.done():
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)
        fault = task.result() if task.done() else await asyncio.shield(task)
        if fault:
            self._note(fault, notes)

    def release_soon(self, user_id: str, campaign_key: str, goal: str) -> None:
        """Take back that *goal* was tracked, in a task of its own: its event came to nothing."""
        task = asyncio.create_task(self._release(user_id, campaign_key, goal))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _release(self, user_id: str, campaign_key: str, goal: str) -> str:
        notes: list[str] = []
        async with self.serialised(user_id):
            found = await self.read(user_id, [campaign_key], notes)
            stored = None if found is None else found[campaign_key]
            if stored is None or goal not in stored.goals:
                return ""
            goals = tuple(one for one in stored.goals if one != goal)
            record = StoredDecision(user_id, campaign_key, stored.variation_name, goals)
            await self.write(record, notes)
        return notes[0] if notes else ""

    async def _set(self, record: StoredDecision) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._storage.set(record.as_dict())
        except TimeoutError:
            return "set timed out"
        except Exception as error:
            return f"set raised {type(error).__name__}"
        return ""

    def _note(self, fault: str, notes: list[str]) -> None:
        self.errors += 1
        notes.append(f"user storage: {fault}")
        if self.errors & (self.errors - 1) == 0:
            # The 1st, 2nd, 4th, 8th... failure: a storage that is down must not fill the log.
            log_warning("user storage: %s (%d failures so far)", fault, self.errors)

    @asynccontextmanager
    async def serialised(self, user_id: str) -> AsyncIterator[None]:
        """Let calls for one user follow one another, so that two cannot both count one conversion."""
        lock = self._locks.setdefault(user_id, _CountedLock())
        lock.users += 1
        try:
            # A storage that hangs holds whoever has the lock: the others wait no longer than for itself.
            has_lock = await _acquire(lock, self._timeout_s)
            try:
                yield
            finally:
                if has_lock:
                    lock.release()
        finally:
            lock.users -= 1
            if not lock.users:
                del self._locks[user_id]

    async def settle(self, timeout_s: float) -> None:
        """Wait for writes that outlived their callers, for at most *timeout_s*."""
        ends_at = time.monotonic() + timeout_s
        while self._writes and time.monotonic() < ends_at:
            await asyncio.wait(self._writes, timeout=ends_at - time.monotonic())
        for late in self._writes:
            late.cancel()


class _CountedLock(asyncio.Lock):
    users = 0


async def _acquire(lock: asyncio.Lock, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await lock.acquire()
    except TimeoutError:
        return False


def _begin(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start *coroutine*; a storage that need not wait has then ended without a turn of the loop."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), eager_start=True)
    return asyncio.create_task(coroutine)


def read_row(row: Row, user_id: str, campaign_key: str) -> Stored | str | None:
    """Return what *row* says of this user and campaign; a text where it belongs to another or is no record."""
    if row is None:
        return None
    if not isinstance(row, (StoredDecision, Mapping)):
        return f"get returned {type(row).__name__}"
    # A record made by hand is read like any other: its fields may hold anything.
    record = StoredDecision.from_mapping(row if isinstance(row, Mapping) else row.as_dict())
    if record is None:
        return None
    if record.campaign_key != campaign_key or record.user_id not in ("", user_id):
        return "get returned the record of another user or campaign"
    return Stored(record.variation_name, record.goals)


def read_given(
    data: Mapping[str, Any], user_id: str, campaign_keys: Iterable[str]
) -> dict[str, Stored | None]:
    """Return the records that a caller's ``user_storage_data`` holds, which stand in for reading.

    Args:
        data: One record in the official shape.
        user_id: The user.
        campaign_keys: The campaigns asked about; those that the record is not of have none.
    """
    rows = {key: read_row(data, user_id, key) for key in campaign_keys}
    return {key: None if isinstance(row, str) else row for key, row in rows.items()}
