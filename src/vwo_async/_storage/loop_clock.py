"""A clock that counts the time in which the event loop turns.

What is waited for cannot arrive while the loop is held, so a time-out that went by the clock on the wall
would blame a storage for what other code of the service did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# A tick that comes later than this counts for no more: the loop was held. Timers of the loop are exact to a
# millisecond.
MAX_STRIDE = 1.5
MAX_DELAY_S = 0.002
# How much of the time counts while calls wait for their turn.
CROWDED_SHARE = 0.1


class Timer:
    """Something to be called at a time, unless it is cancelled."""

    __slots__ = ("_slot", "callback")

    def __init__(self, slot: dict[Timer, None], callback: Callable[[], object]) -> None:
        self._slot = slot
        self.callback = callback
        slot[self] = None

    def cancel(self) -> None:
        """Forget it; no error where it was called."""
        self._slot.pop(self, None)


class LoopClock:
    """Time in seconds, which stands still while nobody waits; one timer of the loop serves all.

    Args:
        tick_s: How exact it is.
        is_crowded: Tells whether answered calls still wait for their turn of the loop. What is waited for has to
            wait behind them, so that the time counts for little then; it does count, since there may be such
            calls at all times.

    Attributes:
        now: The time.
    """

    __slots__ = (
        "_called",
        "_due",
        "_handle",
        "_is_crowded",
        "_tick",
        "_tick_s",
        "_ticked_at",
        "now",
    )

    def __init__(self, tick_s: float, is_crowded: Callable[[], bool] = lambda: False) -> None:
        self.now = 0.0
        self._is_crowded = is_crowded
        self._tick_s = tick_s
        # The present tick, and the last whose timers were called.
        self._tick = self._called = 0
        self._ticked_at = 0.0
        self._due: dict[int, dict[Timer, None]] = {}
        self._handle: asyncio.TimerHandle | None = None

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call *callback*, which must not raise, once the time is *when* or later."""
        number = max(int(when / self._tick_s) + 1, self._tick + 1)
        slot = self._due.get(number)
        if slot is None:
            slot = self._due[number] = {}
        if self._handle is None:
            loop = asyncio.get_running_loop()
            self._ticked_at = loop.time()
            self._handle = loop.call_later(self._tick_s, self._on_tick, loop)
        return Timer(slot, callback)

    def _on_tick(self, loop: asyncio.AbstractEventLoop) -> None:
        present = loop.time()
        elapsed = min(present - self._ticked_at, MAX_STRIDE * self._tick_s + MAX_DELAY_S)
        self._ticked_at = present
        self.now += elapsed * CROWDED_SHARE if self._is_crowded() else elapsed
        self._tick = int(self.now / self._tick_s)
        try:
            self._call_due()
        finally:
            # Whatever came through a callback, as what ends the process does: others wait by this clock.
            self._go_on(loop)

    def _call_due(self) -> None:
        for number in range(self._called + 1, self._tick + 1):
            slot = self._due.get(number)
            while slot:
                timer, _ = slot.popitem()
                timer.callback()
            self._due.pop(number, None)
            self._called = number

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if any(self._due.values()):
            self._handle = loop.call_later(self._tick_s, self._on_tick, loop)
        else:
            self._due.clear()
            self._handle = None
