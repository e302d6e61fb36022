"""Methods of a storage that are plain functions, as those of the official SDKs are."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anyio import CapacityLimiter

# How many reads of plain functions may be under way, and how many writes.
MAX_THREADS = 20


def is_async(method: Callable[..., Any]) -> bool:
    """Tell whether *method* returns something to be awaited."""
    return inspect.iscoroutinefunction(method) or inspect.iscoroutinefunction(
        getattr(method, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


class WorkerThreads:
    """Runs plain functions in worker threads, so that none can hold the event loop."""

    __slots__ = ("_limiter",)

    def __init__(self) -> None:
        self._limiter: CapacityLimiter | None = None

    def adapt(self, method: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return *method* as it is where it is async, else as one that runs it in a thread.

        A function that returns something to be awaited has it awaited in the loop.
        """
        if is_async(method):
            return method
        from anyio import to_thread  # noqa: PLC0415 - most services have no such function

        return partial(self._run, to_thread.run_sync, method)

    def _limit(self) -> CapacityLimiter:
        """Return the limiter, which belongs to the running loop."""
        if self._limiter is None:
            from anyio import CapacityLimiter  # noqa: PLC0415 - as above

            self._limiter = CapacityLimiter(2 * MAX_THREADS)
        return self._limiter

    async def _run(
        self,
        run_sync: Callable[..., Awaitable[object]],
        method: Callable[..., Any],
        *arguments: object,
    ) -> Any:
        ended: list[tuple[Any, BaseException | None]] = []

        def call() -> None:
            # Nothing is passed, returned or raised that asyncio's debug log could show.
            try:
                ended.append((method(*arguments), None))
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
                ended.append((None, error))

        # A thread cannot be stopped: a call that times out leaves it behind.
        await run_sync(call, abandon_on_cancel=True, limiter=self._limit())
        returned, error = ended[0]
        if error is not None:
            raise error
        return await returned if inspect.isawaitable(returned) else returned
