"""How many events go into one request: fewer where there is more among them that the server fails on."""

from __future__ import annotations


class BatchSize:
    """Grows with each request that is taken, and is halved with each that is not.

    Where one event in ten is disliked, hardly a request of many is taken, and each has to be divided first.

    Args:
        most: How many at most.

    Attributes:
        now: How many at present.
    """

    __slots__ = ("_most", "now")

    def __init__(self, most: int) -> None:
        self._most = self.now = most

    def delivered(self) -> None:
        """A request that was not tried before was taken."""
        if self.now < self._most:
            self.now = min(self.now + max(self.now // 4, 1), self._most)

    def recovered(self) -> None:
        """A request that had failed was taken as it was: no fault of its size, or of what is in it."""
        self.now = min(2 * self.now, self._most)

    def failed(self, number: int) -> None:
        """A request of *number* events that was not tried before failed, or was refused."""
        self.now = max(min(self.now, number) // 2, 1)
