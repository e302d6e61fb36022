"""Faults that are switched on for a while: the collector fails as VWO's servers, or the way to them, could."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Fault"]


class Fault(StrEnum):
    """What becomes of every request of SDKs while it is switched on. None of them is checked or recorded.

    ``500``, ``429`` and ``403`` are the statuses of the answers. With ``hang`` no request is answered, until
    the fault is switched off, which closes the connections. With ``cut`` the connection is closed at once.
    """

    INTERNAL_ERROR = "500"
    TOO_MANY_REQUESTS = "429"
    FORBIDDEN = "403"
    HANG = "hang"
    CUT = "cut"

    @property
    def status(self) -> int:
        """The status of the answer, 0 where there is none."""
        return int(self) if self.isdecimal() else 0
