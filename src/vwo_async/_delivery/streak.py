"""How many failures in a row are no longer the fault of what was sent."""

from __future__ import annotations

# A row that is this many times as long as those of late is of another kind.
FACTOR = 3
# Rows of failures that count however many there were of late.
LONGEST = 60
# How fast the longest row of late is forgotten, with each success.
KEPT = 0.99


class Streak:
    """Learns how many failures come in a row while a server takes other things.

    Where half of all events are disliked, five of them in a row are nothing special, and say nothing of the
    server or the account.
    """

    __slots__ = ("_longest",)

    def __init__(self) -> None:
        self._longest = 0.0

    def ended(self, failures: int) -> None:
        """Something succeeded after so many failures in a row, maybe none."""
        self._longest = max(failures, KEPT * self._longest)

    def recovered(self) -> None:
        """Something that had failed was taken as it was: such rows are owed to the server after all."""
        self._longest /= 2

    def is_over(self, failures: int, least: int) -> bool:
        """Tell whether so many failures in a row are more than what was sent can be blamed for.

        Args:
            failures: How many there were.
            least: How many that takes where there were none of late.
        """
        return failures >= max(least, min(FACTOR * self._longest, LONGEST))
