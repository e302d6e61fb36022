"""Pauses for long work in a thread, so that the event loop gets the GIL in between.

A thread that computes without a pause hands over the GIL only every five milliseconds, and each turn of
the event loop would have to wait that long.
"""

from __future__ import annotations

import time

WORK_S = 0.002
PAUSE_S = 0.0005


class WorkCancelledError(Exception):
    """Nobody waits for the work any more."""


class GilPause:
    """Called between two small steps of the work; sleeps for a moment if the work has run for a while."""

    __slots__ = ("_is_cancelled", "_since")

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._is_cancelled = False

    def __call__(self) -> None:
        """Pause, if it is time.

        Raises:
            WorkCancelledError: The work is to stop here.
        """
        if self._is_cancelled:
            raise WorkCancelledError
        if time.monotonic() - self._since >= WORK_S:
            time.sleep(PAUSE_S)
            self._since = time.monotonic()

    def cancel(self) -> None:
        """Stop the work at its next step."""
        self._is_cancelled = True
