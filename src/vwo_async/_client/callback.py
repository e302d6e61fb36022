"""Calling a user's function without letting it harm, hold or outlive what it is called about."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from .._cancellation import PROCESS_ENDS, is_failure
from .._log import FailureLog

# Async calls of one function that may be under way.
MAX_RUNNING = 1000


_is_within: ContextVar[bool] = ContextVar("vwo_async callback", default=False)


def is_within_callback() -> bool:
    """Tell whether the caller is a user's function that is being called, or something that it started."""
    return _is_within.get()


class Callback:
    """A user's plain or async function.

    An async one runs in a task of its own, so that it does not hold the caller; while many of its calls
    have not ended, further ones are left out, counted and logged, so that one that hangs cannot fill the
    memory. What the function raises is counted and logged, except what asks the process to end, which passes.

    Args:
        function: The function.
        name: The option by which it was given, for the log.
    """

    def __init__(self, function: Callable[..., object], name: str) -> None:
        self._function = function
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = FailureLog(name, logging.ERROR)
        self._left_out = FailureLog(name)

    @property
    def errors(self) -> int:
        """How often the function raised."""
        return self._failures.count

    @property
    def left_out(self) -> int:
        """How often the function was not called, because too many of its calls had not ended."""
        return self._left_out.count

    def call_soon(self, *arguments: object) -> None:
        """Call the function from the loop, so that nothing that it raises can end a worker."""
        # No arguments for the loop to know of: its debug log would show them, and they are about visitors.
        asyncio.get_running_loop().call_soon(lambda: self.call(*arguments))

    def call(self, *arguments: object) -> None:
        """Call the function, unless too many of its calls have not ended."""
        if len(self._tasks) >= MAX_RUNNING:
            self._left_out.add(f"not called, since {MAX_RUNNING} calls have not ended")
            return
        token = _is_within.set(True)
        try:
            self._call(arguments)
        finally:
            _is_within.reset(token)

    def _call(self, arguments: tuple[object, ...]) -> None:
        try:
            returned = self._function(*arguments)
        except PROCESS_ENDS:
            raise
        except BaseException as error:  # noqa: BLE001 - the caller's function may raise anything
            # A plain function cannot be cancelled: a CancelledError is what another task raised.
            self._failed(error)
            return
        if inspect.isawaitable(returned):
            task = asyncio.create_task(self._finish(returned), name=f"vwo_async {self._name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _finish(self, awaitable: Awaitable[Any]) -> None:
        try:
            await awaitable
        except BaseException as error:
            if not is_failure(error):
                raise
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self._failures.add(f"raised {type(error).__name__}")

    def is_running_here(self) -> bool:
        """Tell whether the current task is one of its calls."""
        return asyncio.current_task() in self._tasks

    async def settle(self, timeout_s: float) -> None:
        """Let running calls end for at most *timeout_s*, then cancel them."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
