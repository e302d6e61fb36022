"""A queue that remembers what it has accepted, so that a test need not wait for it to be sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .._delivery.event import Event
from .._delivery.queue import Queue


class RecordingQueue(Queue):
    """A `Queue` that tells of every event that it accepts.

    Args:
        on_accepted: Called with the event and the seconds since 1970.
        *args: Those of `Queue`.
        **options: Those of `Queue`.
    """

    def __init__(
        self, on_accepted: Callable[[Event, float], object], *args: Any, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._on_accepted = on_accepted

    def put_one(self, event: Event, now: float) -> bool:
        """Accept *event*, see `Queue.put_one`."""
        is_accepted = super().put_one(event, now)
        if is_accepted:
            self._on_accepted(event, time.time())
        return is_accepted
