"""Conversions that came to nothing: their claims and marks are taken back, thousands at once if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import TypeAlias

from ..storage.rounds import WithdrawConversion
from .loop_clock import LoopClock

# For how many conversions claims are remembered while the storage fails; one may have several.
MAX_OWED = 10_000
# The first wait before a new try, which doubles, and the longest.
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 5.0

ConversionKey: TypeAlias = tuple[str, str, str]
"""User, campaign and goal."""
_Debt: TypeAlias = tuple[WithdrawConversion, Context | None]
_Callback: TypeAlias = Callable[[], object]
Begin: TypeAlias = Callable[[WithdrawConversion, Context | None, Callable[[bool], None]], None]


class Withdrawals:
    """Takes conversions back, and knows which it has not taken back yet.

    What fails is tried again, a single one at first, and the rest when that succeeds.

    Args:
        begin: Begins to take one back, in a context, and calls the function in the end, with whether it
            succeeded.
        is_stalled: Tells whether there is no use in beginning now.
        clock: The time by which questions are limited.
        timeout_s: How long a question to the storage may be under way.

    Attributes:
        lost: How many were given up, since there were too many.
        ended: How many were taken back so far: the time by which they and questions are ordered.
    """

    def __init__(
        self,
        begin: Begin,
        is_stalled: Callable[[], bool],
        clock: LoopClock,
        timeout_s: float,
    ) -> None:
        self._begin = begin
        self._is_stalled = is_stalled
        self._clock = clock
        self._timeout_s = timeout_s
        # Of those taken back of late, the oldest first: which it was, and when.
        self._ended: dict[ConversionKey, tuple[int, float]] = {}
        self._under_way: dict[ConversionKey, tuple[WithdrawConversion, list[_Callback]]] = {}
        # Called when nothing is owed of a conversion any more.
        self._on_free: dict[ConversionKey, dict[str, _Callback]] = {}
        # Several calls may each have claimed the same conversion, and not know who has it.
        self._owed: dict[ConversionKey, list[_Debt]] = {}
        self._retry_s = FIRST_RETRY_S
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.Future[None] | None = None
        self.lost = self.ended = 0

    @property
    def has_any(self) -> bool:
        """Whether something is not taken back yet."""
        return bool(self._under_way or self._owed)

    @property
    def number(self) -> int:
        """How many are not taken back yet."""
        return len(self._under_way) + sum(map(len, self._owed.values()))

    def add(self, withdrawal: WithdrawConversion, context: Context | None) -> None:
        """Take a conversion back, soon; from a storage that does not answer, when it is back."""
        self._on_free.get(withdrawal[:3], {}).pop(withdrawal.owner, None)
        if self._is_stalled() or self._timer is not None:
            self._keep(withdrawal, context)
        else:
            self._try(withdrawal, context)

    def retry(self, conversion: ConversionKey) -> None:
        """Begin again to take this conversion back, where that failed."""
        for debt in self._owed.pop(conversion, ()):
            self._try(*debt)

    def take_over(self, conversion: ConversionKey) -> str:
        """Return the owner of a claim that is still to be given back, and keep the claim; empty for none."""
        debts = self._owed.pop(conversion, None)
        under_way = self._under_way.pop(conversion, None)
        if under_way is not None:
            return under_way[0].owner
        return debts[-1][0].owner if debts else ""

    def forget(self, withdrawal: WithdrawConversion) -> None:
        """Take back no more what turned out not to have been claimed."""
        debts = self._owed.get(withdrawal[:3], [])
        rest = [one for one in debts if one[0] != withdrawal]
        if rest:
            self._owed[withdrawal[:3]] = rest
        elif debts:
            del self._owed[withdrawal[:3]]

    def is_under_way(self, withdrawal: WithdrawConversion) -> bool:
        """Tell whether a withdrawal that was begun is still wanted: nobody has taken it over."""
        under_way = self._under_way.get(withdrawal[:3])
        # Another that is equal was begun later, for a claim of which this one knows nothing.
        return under_way is not None and under_way[0] is withdrawal

    def on_ended(self, conversion: ConversionKey, callback: _Callback) -> bool:
        """Call *callback* once this conversion is taken back; false where that is not under way."""
        under_way = self._under_way.get(conversion)
        if under_way is None:
            return False
        under_way[1].append(callback)
        return True

    def on_free(self, mark: WithdrawConversion, callback: _Callback) -> None:
        """Call *callback* once nothing of a conversion is to be taken back any more: now where nothing is.

        Args:
            mark: What would take back what *callback* does: if that is added before, there is nothing to do.
            callback: Marks it.
        """
        if self.has(mark[:3]):
            self._on_free.setdefault(mark[:3], {})[mark.owner] = callback
        else:
            callback()

    def has(self, conversion: ConversionKey) -> bool:
        """Tell whether what is stored of this conversion is to be taken back, and counts for nothing."""
        return conversion in self._owed or conversion in self._under_way

    def has_had(self, conversion: ConversionKey, since: int) -> bool:
        """Tell whether this conversion was taken back after there were *since* in `ended`.

        Answers do not arrive in the order in which the storage gave them: one to a question that was asked
        before may show the conversion still.
        """
        if not self._ended:
            return False
        self._forget_ended()
        return self._ended.get(conversion, (0, 0.0))[0] > since

    def _note_ended(self, conversion: ConversionKey) -> None:
        self._forget_ended()
        self.ended += 1
        self._ended.pop(conversion, None)
        self._ended[conversion] = self.ended, self._clock.now

    def _forget_ended(self) -> None:
        """Forget what was taken back before any question was asked that may still be answered."""
        oldest = self._clock.now - 2 * self._timeout_s
        while self._ended and next(iter(self._ended.values()))[1] < oldest:
            del self._ended[next(iter(self._ended))]

    def _try(self, withdrawal: WithdrawConversion, context: Context | None) -> None:
        if self.on_ended(withdrawal[:3], partial(self.add, withdrawal, context)):
            # That of another owner, who also did not know whose it is.
            return
        self._under_way[withdrawal[:3]] = withdrawal, []
        self._begin(withdrawal, context, partial(self._end, withdrawal, context))

    def _end(self, withdrawal: WithdrawConversion, context: Context | None, is_done: bool) -> None:
        conversion = withdrawal[:3]
        _, callbacks = self._under_way.pop(conversion, (withdrawal, []))
        if is_done:
            self._note_ended(conversion)
            self._retry_s = FIRST_RETRY_S
            if self._owed and not self._under_way:
                self.retry_all()
        else:
            self._keep(withdrawal, context)
        for callback in callbacks:
            callback()
        if self._on_free and not self.has(conversion):
            for callback in self._on_free.pop(conversion, {}).values():
                callback()
        if self._idle is not None and not self._under_way and not self._idle.done():
            self._idle.set_result(None)

    def _keep(self, withdrawal: WithdrawConversion, context: Context | None) -> None:
        if len(self._owed) >= MAX_OWED:
            self.lost += 1
            return
        self._owed.setdefault(withdrawal[:3], []).append((withdrawal, context))
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._retry_s, self._retry_one)
            self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)

    def _retry_one(self) -> None:
        self._timer = None
        if self._owed and not self._under_way:
            for debt in self._owed.pop(next(iter(self._owed))):
                self._try(*debt)

    def retry_all(self) -> None:
        """Try again what failed, or was not begun: the storage is back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        owed, self._owed = self._owed, {}
        for debts in owed.values():
            for debt in debts:
                self._try(*debt)

    async def aclose(self, timeout_s: float) -> int:
        """Take back what can be taken back in time; return how many stay claimed for ever."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        while True:
            self.retry_all()
            if self._under_way:
                self._idle = loop.create_future()
                await asyncio.wait((self._idle,), timeout=max(ends_at - loop.time(), 0))
            if not self._owed or loop.time() + self._retry_s > ends_at:
                break
            await asyncio.sleep(self._retry_s)
        if self._timer is not None:
            self._timer.cancel()
        return self.lost + self.number
