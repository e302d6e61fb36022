"""How much a storage is asked at a time, where it has become slow."""

from __future__ import annotations

# So many requests may be under way whatever happens.
LEAST = 4
# What is left of a window where an answer did not come in time.
KEPT = 0.25
# The shortest time of an answer is forgotten slowly: it is by so much longer with each answer.
FORGOTTEN = 1.01


class Window:
    """How many requests may be under way at a time.

    A storage that is asked for more than it can do in time does nothing in time: callers are refused, ask again,
    and all its work is for nobody. So what it is asked at a time shrinks when an answer comes too late for its
    caller, and grows again while answers take hardly longer than the quickest, as TCP Vegas has it on a network.

    Args:
        most: How many where all goes well.
        timeout_s: How long a caller waits for all that he needs.

    Attributes:
        size: How many at present.
    """

    __slots__ = ("_least_s", "_most", "_quick_at", "_shrunk_at", "_timeout_s", "size")

    def __init__(self, most: int, timeout_s: float) -> None:
        self._most = self.size = most
        self._timeout_s = timeout_s
        self._least_s = float("inf")
        # When it last shrank, and when an answer last came that had hardly waited behind others.
        self._shrunk_at = self._quick_at = float("-inf")

    @property
    def is_narrow(self) -> bool:
        """Whether it has shrunk, and not grown again."""
        return self.size < self._most

    def note_answer(self, number: int, took_s: float, now: float) -> None:
        """Note that so many requests were answered together, in time."""
        self._least_s = min(FORGOTTEN * self._least_s, took_s)
        # A caller reads and then writes, and has waited for both.
        waited_s = took_s - self._least_s
        is_quick = waited_s < self._timeout_s / 8
        if is_quick:
            self._quick_at = now
        if self.size == self._most:
            return
        change = -(-number // LEAST)
        if is_quick:
            self.size = min(self.size + change, self._most)
        elif waited_s > self._timeout_s / 4:
            self.size = max(self.size - change, LEAST)

    def note_late(self, asked_at: float, now: float) -> None:
        """Note that an answer did not come in time.

        Of all that was under way together only the first to be late counts. Nothing follows from it while
        others are answered quickly: then the storage has not too much to do, but hangs for some.

        Args:
            asked_at: When it was asked for.
            now: The time by the same clock.
        """
        if asked_at >= self._shrunk_at and now - self._quick_at > self._timeout_s / 4:
            self.size = max(int(self.size * KEPT), LEAST)
            self._shrunk_at = now
