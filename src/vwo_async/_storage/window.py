"""How much a storage is asked at a time, where it has become slow."""

from __future__ import annotations

# So many requests may be under way whatever happens.
LEAST = 4
# What is left of a window where an answer did not come in time.
KEPT = 0.25
# The share of the latest answer in the usual time of one.
LATEST = 0.125
# It was of no use to ask for less where answers still take so much of the time that they took before.
UNCHANGED = 0.7
# By so many rounds of answers that is known, and for so many time-outs it is remembered.
JUDGED = 8
REMEMBERED = 30
# So often it doubles at once at most, which is from the least to more than there ever is.
DOUBLED = 10


class Window:
    """How many requests may be under way at a time.

    A storage that is asked for more than it can do in time does nothing in time: callers are refused, ask again,
    and all its work is for nobody. So what it is asked at a time shrinks when an answer comes too late for its
    caller, and grows again while answers take hardly longer than the quickest, as TCP Vegas has it on a network.

    Not every storage is slow because of what it is asked: one that is far away takes as long for one request.
    Where a narrow window does not make answers quicker it opens, and stays open for a while.

    Args:
        most: How many where all goes well.
        timeout_s: How long a caller waits for all that he needs.

    Attributes:
        size: How many at present.
    """

    __slots__ = (
        "_answers",
        "_grown_at",
        "_most",
        "_quick_at",
        "_shrunk_at",
        "_stays_until",
        "_timeout_s",
        "_usual_s",
        "_wide_s",
        "size",
    )

    def __init__(self, most: int, timeout_s: float) -> None:
        self._most = self.size = most
        self._timeout_s = timeout_s
        # How long an answer usually takes, by how many since the window shrank, and how long before that.
        self._usual_s = self._wide_s = 0.0
        self._answers = 0
        # When it last shrank, when the last was asked for that had hardly waited behind others, and until when
        # it stays open.
        self._shrunk_at = self._quick_at = self._stays_until = float("-inf")
        # When it last shrank or doubled.
        self._grown_at = 0.0

    @property
    def is_narrow(self) -> bool:
        """Whether it has shrunk, and not grown again."""
        return self.size < self._most

    def note_answer(self, number: int, took_s: float, waited_s: float, now: float) -> None:
        """Note that so many requests were answered together, in time.

        Args:
            number: How many.
            took_s: How long the answer took.
            waited_s: How much of that it had waited behind others, as far as is known.
            now: The time.
        """
        if now - took_s >= self._shrunk_at:
            self._note_time(took_s)
        # A caller reads and then writes, and has waited for both.
        if waited_s < self._timeout_s / 8:
            self._quick_at = now - took_s
            change = -(-number // LEAST)
        else:
            change = 1 if waited_s < self._timeout_s / 4 else -1
        if self._is_of_no_use():
            self.size = self._most
            self._stays_until = now + REMEMBERED * self._timeout_s
        elif self.size < self._most:
            self.size = max(min(self.size + change, self._most), LEAST)
            self._grow_with_time(now)

    def _grow_with_time(self, now: float) -> None:
        """Double it for each time-out in which nothing was late, since few answers may come."""
        times = int((now - self._grown_at) / self._timeout_s)
        if times > 0:
            self.size = min(self.size << min(times, DOUBLED), self._most)
            self._grown_at = now

    def note_late(self, asked_at: float, now: float) -> None:
        """Note that an answer did not come in time.

        Of all that was under way together only the first to be late counts. Nothing follows from it where one
        that was asked for later was answered quickly: the storage has not too much to do, but hangs for some.

        Args:
            asked_at: When it was asked for, by the same clock.
            now: The time.
        """
        if asked_at < self._shrunk_at:
            return
        self._note_time(now - asked_at)
        hangs_for_some = asked_at <= self._quick_at
        if hangs_for_some or now < self._stays_until:
            return
        if not self.is_narrow:
            self._wide_s = self._usual_s
        self.size = max(int(self.size * KEPT), LEAST)
        self._shrunk_at = self._grown_at = now
        self._answers = 0

    def _note_time(self, took_s: float) -> None:
        self._answers += 1
        share = max(LATEST, 1 / self._answers)
        self._usual_s += share * (took_s - self._usual_s)

    def _is_of_no_use(self) -> bool:
        """Tell whether answers take as long although hardly anything else is asked for."""
        is_judged = self.size <= 2 * LEAST < self._most and self._answers >= JUDGED
        return is_judged and self._usual_s > UNCHANGED * self._wide_s
