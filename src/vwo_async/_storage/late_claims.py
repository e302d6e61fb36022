"""Claims and marks that are under way although nobody waits for them any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from ..storage.rounds import CountConversion, StorageRequest
from .pending import PendingRequest
from .withdrawals import ConversionKey

_Claims: TypeAlias = dict[ConversionKey, list[PendingRequest]]


class LateClaims:
    """Knows them, so that none is given back before it is made.

    Some are *left*: whoever asked for them is gone, and once they are made they are given back.
    """

    __slots__ = ("_left", "_under_way")

    def __init__(self) -> None:
        self._under_way: _Claims = {}
        # What stands for each of the left: it is settled as soon as giving it back has begun.
        self._left: _Claims = {}

    @property
    def has_left(self) -> bool:
        """Whether some are left."""
        return bool(self._left)

    def add(self, pending: Sequence[PendingRequest], wanted: Sequence[StorageRequest]) -> None:
        """Take note of those claims and marks that have not ended yet."""
        for one, request in zip(pending, wanted, strict=True):
            if isinstance(request, CountConversion) and not one.is_ended:
                self._under_way.setdefault(request[:3], []).append(one)
                one.on_ended(partial(_forget, self._under_way, request[:3], one))

    def leave(
        self, pending: PendingRequest, request: CountConversion, give_back: Callable[[], object]
    ) -> None:
        """Call *give_back* once a claim has ended: at once where it has."""
        if not pending.has_begun:
            return
        left = PendingRequest(request)
        self._left.setdefault(request[:3], []).append(left)

        def end() -> None:
            give_back()
            _forget(self._left, request[:3], left)
            left.settle(None)

        pending.on_ended(end)

    def find_unended(self, conversion: ConversionKey) -> PendingRequest | None:
        """Return one that has not ended, None where there is none."""
        claims = self._under_way.get(conversion, ())
        # One that has ended may be forgotten a moment later.
        return next((one for one in claims if not one.is_ended), None)

    def find_left(self, conversion: ConversionKey) -> PendingRequest | None:
        """Return what is settled once one that is left has ended, None where there is none."""
        claims = self._left.get(conversion)
        return claims[0] if claims else None


def _forget(claims: _Claims, conversion: ConversionKey, pending: PendingRequest) -> None:
    rest = [one for one in claims.get(conversion, ()) if one is not pending]
    if rest:
        claims[conversion] = rest
    else:
        claims.pop(conversion, None)
