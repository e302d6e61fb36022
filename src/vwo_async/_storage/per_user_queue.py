"""The calls about one user that overlap: they follow one another, and share what one of them has read.

Two calls must not both find a conversion untracked, so each waits for its turn. A crowd that waits for
one user would then read the same record again and again; what was read after a call arrived is as good
as what the call would read itself, so it need not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Self

from .._core.decision import Stored


class UserQueue:
    """The calls about one user that are under way in this process."""

    __slots__ = ("_tick", "calls", "known", "lock")

    def __init__(self) -> None:
        self.calls = 0
        self.lock = asyncio.Lock()
        self.known: dict[str, tuple[int, Stored | None]] = {}
        self._tick = 0

    def tick(self) -> int:
        """Return a number that is higher with every call: the time by which the calls are ordered."""
        self._tick += 1
        return self._tick


class UserCall:
    """One call's place in the queue of a user, for as long as the call is within the context.

    Args:
        queues: The queues of all users.
        user_id: The user.
        timeout_s: How long to wait for a turn at most: whoever is at the front may be held by a
            storage that hangs, and the others wait no longer than for the storage itself.
    """

    __slots__ = ("_arrived", "_queue", "_queues", "_timeout_s", "_user_id")

    def __init__(self, queues: dict[str, UserQueue], user_id: str, timeout_s: float) -> None:
        self._queues = queues
        self._user_id = user_id
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        queue = self._queues.get(self._user_id)
        if queue is None:
            queue = self._queues[self._user_id] = UserQueue()
        queue.calls += 1
        self._queue = queue
        self._arrived = queue.tick()
        return self

    def __exit__(self, *raised: object) -> None:
        self._queue.calls -= 1
        if not self._queue.calls:
            del self._queues[self._user_id]

    def tick(self) -> int:
        """Return the present in the order of the queue, for `remember`."""
        return self._queue.tick()

    def recall(self, campaign_keys: Iterable[str]) -> dict[str, Stored | None]:
        """Return what others have learnt of these campaigns since this call arrived."""
        known = self._queue.known
        if not known:
            return {}
        found = ((key, known[key]) for key in campaign_keys if key in known)
        return {key: stored for key, (since, stored) in found if since > self._arrived}

    def remember(self, since: int, records: Mapping[str, Stored | None]) -> None:
        """Tell the queue what is stored.

        Args:
            since: The tick before the storage was asked, or told.
            records: By campaign key.
        """
        for key, stored in records.items():
            if key not in self._queue.known or self._queue.known[key][0] < since:
                self._queue.known[key] = (since, stored)

    def forget(self, campaign_key: str) -> None:
        """Let the next call ask the storage about this campaign."""
        self._queue.known.pop(campaign_key, None)

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Wait until the calls ahead have had their turn, or for the time-out, and have one."""
        return _Exclusive(self._queue.lock, self._timeout_s)


class _Exclusive:
    __slots__ = ("_has_lock", "_lock", "_timeout_s")

    def __init__(self, lock: asyncio.Lock, timeout_s: float) -> None:
        self._lock = lock
        self._timeout_s = timeout_s

    async def __aenter__(self) -> None:
        self._has_lock = await _acquire(self._lock, self._timeout_s)

    async def __aexit__(self, *raised: object) -> None:
        if self._has_lock:
            self._lock.release()


class UserQueues:
    """The queues of all users that are being asked about.

    Args:
        timeout_s: See `UserCall`.
    """

    __slots__ = ("_queues", "_timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self._queues: dict[str, UserQueue] = {}
        self._timeout_s = timeout_s

    def begin_call(self, user_id: str) -> UserCall:
        """Return a place in the queue of a user, to be entered."""
        return UserCall(self._queues, user_id, self._timeout_s)

    def __len__(self) -> int:
        return len(self._queues)


async def _acquire(lock: asyncio.Lock, timeout_s: float) -> bool:
    if not lock.locked():
        return await lock.acquire()
    try:
        async with asyncio.timeout(timeout_s):
            return await lock.acquire()
    except TimeoutError:
        return False
