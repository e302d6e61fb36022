"""Tells failures from requests to end, in what code that is not ours raises."""

from __future__ import annotations

import asyncio
from typing import Any

# What asks the whole process to end, whoever raised it.
PROCESS_ENDS = (KeyboardInterrupt, SystemExit)


def is_cancelled() -> bool:
    """Tell whether somebody asked the current task to end.

    A `CancelledError` caught while nobody did is a failure of what was awaited, such as a library that
    awaits a future that it has cancelled itself, and must not end the task.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def is_failure(error: BaseException) -> bool:
    """Tell whether *error*, caught around an await, is a failure of what was awaited.

    Anything is, exceptions outside `Exception` included, except what asks the process, the current task or
    this coroutine to end; that must be raised again.
    """
    if isinstance(error, PROCESS_ENDS):
        return False
    if isinstance(error, asyncio.CancelledError):
        return not is_cancelled()
    if isinstance(error, GeneratorExit):
        # One that closes this coroutine is raised at the await itself, and came through no other frame.
        traceback = error.__traceback__
        return traceback is not None and traceback.tb_next is not None
    return True


def retrieve_error(task: asyncio.Task[Any]) -> None:
    """Look at the error of a task that has ended and that nobody awaits, or asyncio would log it."""
    if not task.cancelled():
        task.exception()
