"""The calls about one user that overlap: they follow one another, and share what one of them has read.

Two calls must not both find a conversion untracked, so each waits for its turn. A crowd that waits for
one user would then read the same record again and again; what was read after a call arrived is as good
as what the call would read itself, so it need not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Self

from .._core.decision import Stored
from .._wake import wake_now
from .loop_clock import LoopClock


class UserQueue:
    """The calls about one user that are under way in this process."""

    __slots__ = ("_tick", "_waiting", "calls", "is_taken", "known")

    def __init__(self) -> None:
        self.calls = 0
        self.known: dict[str, tuple[int, Stored | None]] = {}
        self.is_taken = False
        self._waiting: deque[asyncio.Future[bool]] | None = None
        self._tick = 0

    def tick(self) -> int:
        """Return a number that is higher with every call: the time by which the calls are ordered."""
        self._tick += 1
        return self._tick

    def wait_turn(self) -> asyncio.Future[bool]:
        """Return a future that becomes true when it is the caller's turn, which he must then pass on."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(future)
        return future

    def pass_on(self) -> None:
        """Give the turn to the call that has waited longest."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(True)
                return
        self.is_taken = False


class UserCall:
    """One call's place in the queue of a user, for as long as the call is within the context.

    Args:
        queues: The queues of all users.
        user_id: The user.
        clock: By which it waits.
        ends_at: Until when: whoever is at the front may be held by a storage that hangs.

    Attributes:
        ends_at: The same.
        has_missed_turn: Whether it waited in vain, so that others may be writing what it would write.
    """

    __slots__ = (
        "_arrived",
        "_clock",
        "_queue",
        "_queues",
        "_user_id",
        "ends_at",
        "has_missed_turn",
    )

    def __init__(
        self, queues: dict[str, UserQueue], user_id: str, clock: LoopClock, ends_at: float
    ) -> None:
        self._queues = queues
        self._user_id = user_id
        self._clock = clock
        self.ends_at = ends_at
        self.has_missed_turn = False

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

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Wait until the calls ahead have had their turn, and have one; see `has_missed_turn`."""
        return _Exclusive(self, self._queue)

    async def wait_turn(self) -> bool:
        """Wait for a turn until the call's time is over; tell whether there is one, to be passed on."""
        queue = self._queue
        if not queue.is_taken:
            queue.is_taken = True
            return True
        turn = queue.wait_turn()
        timer = self._clock.call_at(self.ends_at, partial(wake_now, turn, False))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                queue.pass_on()
            raise
        finally:
            timer.cancel()


class _Exclusive:
    __slots__ = ("_call", "_has_turn", "_queue")

    def __init__(self, call: UserCall, queue: UserQueue) -> None:
        self._call = call
        self._queue = queue

    async def __aenter__(self) -> None:
        self._has_turn = await self._call.wait_turn()
        self._call.has_missed_turn = not self._has_turn

    async def __aexit__(self, *raised: object) -> None:
        if self._has_turn:
            self._queue.pass_on()


class UserQueues:
    """The queues of all users that are being asked about.

    Args:
        clock: By which calls wait.
    """

    __slots__ = ("_clock", "_queues")

    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock
        self._queues: dict[str, UserQueue] = {}

    def begin_call(self, user_id: str, ends_at: float) -> UserCall:
        """Return a place in the queue of a user, to be entered."""
        return UserCall(self._queues, user_id, self._clock, ends_at)

    def forget(self, user_id: str, campaign_key: str) -> None:
        """Let the next call ask the storage about this campaign."""
        queue = self._queues.get(user_id)
        if queue is not None:
            queue.known.pop(campaign_key, None)

    def __len__(self) -> int:
        return len(self._queues)
