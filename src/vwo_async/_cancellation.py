"""Tells failures from requests to end, in what code that is not ours raises."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from contextvars import Context
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")

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


def close_call(call: Awaitable[Any]) -> None:
    """End a coroutine that nobody will await, or Python would warn of it; does nothing to one that has ended."""
    if inspect.iscoroutine(call):
        call.close()


class Ending(Generic[T]):
    """How a call ended that runs in a task of its own.

    Not the result or the error of the task: in debug mode asyncio shows those in its log, and they may speak of
    a user.

    Attributes:
        value: What the call returned, None until then.
        error: What it raised, None for nothing.
    """

    __slots__ = ("error", "value")

    def __init__(self) -> None:
        self.value: T | None = None
        self.error: BaseException | None = None

    def begin(
        self, call: Awaitable[T], name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[None]:
        """Return a new task that awaits *call*, and notes here what it returns or raises.

        Its context is *context*, and a copy of the current one where there is none.
        """
        task = asyncio.create_task(self._follow(call), name=name, context=context)
        # One that is cancelled before its first step has not begun the call.
        task.add_done_callback(lambda _: close_call(call))
        return task

    async def _follow(self, call: Awaitable[T]) -> None:
        try:
            self.value = await call
        except BaseException as error:
            if not is_failure(error):
                raise
            self.error = error

    def get(self) -> T:
        """Return what the call returned, or raise what it raised."""
        if self.error is not None:
            raise self.error
        return cast("T", self.value)
