"""Keeps a server that is down, or refuses the account, from being asked without end."""

from __future__ import annotations

from .streak import Streak

FAILURES_TO_OPEN = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
# Where one of so many probes succeeds there was no outage, but bad luck in what was sent.
PROBES_OF_BAD_LUCK = 2


class CircuitBreaker:
    """Closed: everything may go. Open: nothing may until a time, then one probe at a time.

    Times are seconds of a monotonic clock. It is told what happened and never waits.

    Attributes:
        failed_probes: How many probes failed in a row since it opened.
    """

    __slots__ = ("_failures", "_pauses", "_probing", "_reopens_at", "_streak", "failed_probes")

    def __init__(self) -> None:
        self.failed_probes = 0
        self._failures = 0
        self._pauses = 0
        self._reopens_at: float | None = None
        self._probing = False
        self._streak = Streak()

    @property
    def is_open(self) -> bool:
        """Whether only probes may go."""
        return self._reopens_at is not None

    def admits(self, now: float) -> bool:
        """Tell whether a request may go now."""
        if self._reopens_at is None:
            return True
        return not self._probing and now >= self._reopens_at

    def next_at(self) -> float | None:
        """Return when a probe may go, None where nothing hinders or a probe is on its way."""
        return None if self._probing else self._reopens_at

    def started(self) -> None:
        """A request is on its way; while open it is the probe."""
        self._probing = self.is_open

    def succeeded(self) -> None:
        """The server answered as a working server does: close."""
        if self.failed_probes < PROBES_OF_BAD_LUCK:
            self._streak.ended(self._failures)
        self.failed_probes = self._failures = self._pauses = 0
        self._reopens_at = None
        self._probing = False

    def recovered(self) -> None:
        """What had failed was taken as it was: it was the server that failed, and not what was sent."""
        self._streak.recovered()

    def failed(self, now: float, wait_s: float) -> None:
        """The server failed; after too many failures in a row stay away for *wait_s* each time."""
        self.failed_probes += self.is_open
        self._failures += 1
        self._probing = False
        if self.is_open or self._streak.is_over(self._failures, FAILURES_TO_OPEN):
            self._reopens_at = now + wait_s

    def released(self) -> None:
        """The probe ended without a word from the server: another may go."""
        self._probing = False

    def paused(self, now: float) -> None:
        """The server refuses everything: stay away before each probe, longer each time, never for good."""
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(self._pauses, 30), LONGEST_PAUSE_S)
        self._pauses += 1
        self._probing = False
        self._reopens_at = now + pause_s
