"""Telling a cancellation of this task from a `CancelledError` that something inside it let out."""

from __future__ import annotations

import asyncio


def is_cancelled() -> bool:
    """Tell whether somebody asked the current task to end.

    A `CancelledError` caught while nobody did is a failure of what was awaited, such as a library that
    awaits a future that it has cancelled itself, and must not end the task.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
