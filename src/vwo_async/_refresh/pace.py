"""Work in a thread that leaves the event loop its turns.

A thread that computes without a pause gives Python's lock up every five milliseconds only, and each turn
of the event loop would wait as long.
"""

from __future__ import annotations

import time

WORK_S = 0.002
REST_S = 0.0005


class EndedError(Exception):
    """Nobody waits for the work any more."""


class Pace:
    """Called between two small steps of the work; rests where it has gone on for a while."""

    __slots__ = ("_is_ended", "_since")

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._is_ended = False

    def __call__(self) -> None:
        """Rest, if it is time.

        Raises:
            EndedError: The work is to end here.
        """
        if self._is_ended:
            raise EndedError
        if time.monotonic() - self._since >= WORK_S:
            time.sleep(REST_S)
            self._since = time.monotonic()

    def end(self) -> None:
        """Have the work end at its next step."""
        self._is_ended = True
