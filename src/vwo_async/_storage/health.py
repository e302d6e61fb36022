"""Leaving a storage alone that does not answer, until it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

# How long a storage that timed out is left alone before it is tried again.
RETRY_INTERVAL_S = 1.0


class StorageHealth:
    """Whether a storage has stopped answering.

    Nobody who waits for an answer tries it: a try runs beside the calls, which meanwhile go on at once.

    Args:
        timeout_s: How long a try may take.
    """

    __slots__ = ("_is_unresponsive", "_next_try_at", "_timeout_s", "_try")

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._is_unresponsive = False
        self._next_try_at = 0.0
        self._try: asyncio.Task[None] | None = None

    def timed_out(self) -> None:
        """Note that a call timed out."""
        self._is_unresponsive = True
        self._next_try_at = time.monotonic() + RETRY_INTERVAL_S

    def answered(self) -> None:
        """Note that a call was answered."""
        self._is_unresponsive = False

    def is_unresponsive(self, ask: Callable[[], Awaitable[object]]) -> bool:
        """Tell whether the storage is not to be asked; now and then set off a try with *ask*."""
        if not self._is_unresponsive:
            return False
        if self._try is None and time.monotonic() >= self._next_try_at:
            self._try = asyncio.create_task(self._run(ask), name="vwo_async storage try")
        return True

    async def _run(self, ask: Callable[[], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await ask()
        except TimeoutError:
            self.timed_out()
        except Exception:  # noqa: BLE001 - an error is an answer too
            # An error is an answer: whoever asks next hears of it at once.
            self.answered()
        else:
            self.answered()
        finally:
            self._try = None

    def cancel(self) -> asyncio.Task[None] | None:
        """End a try that is under way, and return it."""
        if self._try is not None:
            self._try.cancel()
        return self._try
