"""Closing a client with its event loop, where nobody has closed it before."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress


class LoopEnd:
    """Waits for the end of the event loop in which it was begun.

    `asyncio.run`, `asyncio.Runner` and servers end a loop in two steps: they cancel all tasks, and then close
    the asynchronous generators that have begun in it. So a generator that has begun and goes no further is what
    is told last.

    Args:
        close: What is then awaited.
    """

    def __init__(self, close: Callable[[], Awaitable[object]]) -> None:
        self._close: Callable[[], Awaitable[object]] | None = close
        self._generator: AsyncGenerator[None, None] | None = None

    def begin(self) -> None:
        """Have the running loop know of it; a loop that has no such last step never tells."""
        self._generator = self._wait()
        with suppress(StopIteration):
            self._generator.asend(None).send(None)

    async def end(self) -> None:
        """Wait no more: the client is closed. Nothing happens where the loop has told of its end."""
        generator, self._generator = self._generator, None
        if self._close is not None and generator is not None:
            self._close = None
            await generator.aclose()

    def forget(self) -> None:
        """Do nothing at the end of the loop: nobody has the client any more."""
        self._close = None

    async def _wait(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            close, self._close = self._close, None
            if close is not None:
                await _close_quietly(close)


async def _close_quietly(close: Callable[[], Awaitable[object]]) -> None:
    """Await *close* without the loop's warnings of each generator that begins now, as those of requests do."""
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None)
    try:
        await close()
    finally:
        sys.set_asyncgen_hooks(*before)
