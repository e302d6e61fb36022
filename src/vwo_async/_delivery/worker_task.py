"""The task of a worker, which is not cut short in the middle of a request by the end of its loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any


class WorkerTask(asyncio.Task[None]):
    """Ends after the request that is on its way, where its loop ends.

    Whoever ends a loop, as `asyncio.run` does, cancels all tasks while the loop stands, and then has it run
    until they have ended. A request that is cancelled may have arrived, and would be sent again. Cancelled
    while the loop runs, as by a time-out, it ends at once.

    Args:
        work: What it does.
        loop: The loop.
        grace_s: How long the request may take then.

    Attributes:
        is_sending: Whether a request is on its way.
        is_to_end: Whether the loop ends.
    """

    def __init__(
        self, work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, grace_s: float
    ) -> None:
        # Not in the context of a caller: it would live for as long as the client.
        super().__init__(work, loop=loop, name="vwo_async sender", context=Context())
        self._grace_s = grace_s
        self.is_sending = False
        self.is_to_end = False

    def cancel(self, msg: Any | None = None) -> bool:
        """End now, or after the request that is on its way."""
        is_loop_running = asyncio._get_running_loop() is not None  # noqa: SLF001 - documented, and never raises
        if is_loop_running:
            return super().cancel(msg)
        was_to_end, self.is_to_end = self.is_to_end, True
        if not self.is_sending:
            return super().cancel(msg)
        if not was_to_end:
            self.get_loop().call_later(self._grace_s, super().cancel, msg)
        return True


@contextmanager
def sending() -> Iterator[None]:
    """Have the worker that runs here not be cut short meanwhile by the end of its loop."""
    worker = asyncio.current_task()
    assert isinstance(worker, WorkerTask)
    worker.is_sending = True
    try:
        yield
    finally:
        worker.is_sending = False


def ends_with_loop() -> bool:
    """Tell whether the worker that runs here is to end, since its loop ends."""
    worker = asyncio.current_task()
    return isinstance(worker, WorkerTask) and worker.is_to_end
