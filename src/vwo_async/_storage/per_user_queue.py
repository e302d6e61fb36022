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


class Line:
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


class Visit:
    """One call's place in the line of a user, for as long as the call is within the context.

    Args:
        lines: The lines of all users.
        user_id: The user.
        timeout_s: How long to wait for a turn at most: whoever is at the front may be held by a
            storage that hangs, and the others wait no longer than for the storage itself.
    """

    __slots__ = ("_arrived", "_line", "_lines", "_timeout_s", "_user_id")

    def __init__(self, lines: dict[str, Line], user_id: str, timeout_s: float) -> None:
        self._lines = lines
        self._user_id = user_id
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        line = self._lines.get(self._user_id)
        if line is None:
            line = self._lines[self._user_id] = Line()
        line.calls += 1
        self._line = line
        self._arrived = line.tick()
        return self

    def __exit__(self, *raised: object) -> None:
        self._line.calls -= 1
        if not self._line.calls:
            del self._lines[self._user_id]

    def tick(self) -> int:
        """Return the present in the order of the line, for `remember`."""
        return self._line.tick()

    def recall(self, campaign_keys: Iterable[str]) -> dict[str, Stored | None]:
        """Return what others have learnt of these campaigns since this call arrived."""
        known = self._line.known
        if not known:
            return {}
        found = ((key, known[key]) for key in campaign_keys if key in known)
        return {key: stored for key, (since, stored) in found if since > self._arrived}

    def remember(self, since: int, records: Mapping[str, Stored | None]) -> None:
        """Tell the line what is stored.

        Args:
            since: The tick before the storage was asked, or told.
            records: By campaign key.
        """
        for key, stored in records.items():
            if key not in self._line.known or self._line.known[key][0] < since:
                self._line.known[key] = (since, stored)

    def forget(self, campaign_key: str) -> None:
        """Let the next call ask the storage about this campaign."""
        self._line.known.pop(campaign_key, None)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait until the calls ahead have had their turn, or for the time-out, and have one."""
        return _Turn(self._line.lock, self._timeout_s)


class _Turn:
    __slots__ = ("_has_turn", "_lock", "_timeout_s")

    def __init__(self, lock: asyncio.Lock, timeout_s: float) -> None:
        self._lock = lock
        self._timeout_s = timeout_s

    async def __aenter__(self) -> None:
        self._has_turn = await _acquire(self._lock, self._timeout_s)

    async def __aexit__(self, *raised: object) -> None:
        if self._has_turn:
            self._lock.release()


class Lines:
    """The lines of all users that are being asked about.

    Args:
        timeout_s: See `Visit`.
    """

    __slots__ = ("_lines", "_timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self._lines: dict[str, Line] = {}
        self._timeout_s = timeout_s

    def visit(self, user_id: str) -> Visit:
        """Return a place in the line of a user, to be entered."""
        return Visit(self._lines, user_id, self._timeout_s)

    def __len__(self) -> int:
        return len(self._lines)


async def _acquire(lock: asyncio.Lock, timeout_s: float) -> bool:
    if not lock.locked():
        return await lock.acquire()
    try:
        async with asyncio.timeout(timeout_s):
            return await lock.acquire()
    except TimeoutError:
        return False
