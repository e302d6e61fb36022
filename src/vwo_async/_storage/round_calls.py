"""Answers requests by rounds, where a storage can take many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from .._plain import is_kind
from ..storage._backend.place import place_of
from ..storage._backend.uncancelled import UncancelledRounds
from ..storage.memory import MemoryUserStorage
from ..storage.rounds import (
    AssignVariation,
    CountConversion,
    ReadRecord,
    StorageOutcome,
    StorageRequest,
    StorageRounds,
    WithdrawConversion,
)

# What a subclass may have replaced: then rounds, which know nothing of it, are not used.
METHODS = ("get", "set", "get_many", "claim_goal", "release_goal")
# What is said to be called in notes and logs, in the words of the protocol that everybody knows.
NAMES: dict[type, str] = {
    ReadRecord: "get",
    AssignVariation: "set",
    CountConversion: "claim_goal",
    WithdrawConversion: "release_goal",
}


def find_rounds(storage: object) -> StorageRounds | None:
    """Return *storage* if it takes rounds, and they do what its methods do."""
    if not isinstance(storage, StorageRounds):
        return None
    if any(name in getattr(storage, "__dict__", {}) for name in METHODS):
        return None
    for one in type(storage).__mro__:
        if "run_round" in one.__dict__:
            return storage
        if any(name in one.__dict__ for name in METHODS):
            return None
    return storage


def _goes_with_rounds(storage: StorageRounds, method: str) -> bool:
    """Tell whether *method* does what `run_round` does: no subclass has replaced the one without the other."""
    if "run_round" in getattr(storage, "__dict__", {}):
        return False
    owners = (one.__dict__ for one in type(storage).__mro__)
    return next(
        (
            "run_round" in one and method in one
            for one in owners
            if "run_round" in one or method in one
        ),
        False,
    )


class RoundCalls:
    """A storage that takes many requests at once.

    Args:
        storage: The storage.

    Attributes:
        answer: Answers requests.
        answer_now: Answers one request, in a storage where nothing has to be waited for; None in others.
        abandon: Has a task end that runs `answer`, when nobody waits for it any more; None to cancel it.
    """

    has_claims = True

    def __init__(self, storage: StorageRounds) -> None:
        self._run_round = self.answer = storage.run_round
        self.answer_now: Callable[[StorageRequest], StorageOutcome] | None = None
        self.abandon: Callable[[asyncio.Task[None]], object] | None = None
        if isinstance(storage, MemoryUserStorage) and _goes_with_rounds(storage, "answer"):
            self.answer_now = storage.answer
        if isinstance(storage, UncancelledRounds) and _goes_with_rounds(storage, "run_uncancelled"):
            self.answer, self.abandon = storage.run_uncancelled, storage.abandon

    def name(self, requests: Sequence[StorageRequest]) -> str:
        """Return what is called, in the words of `UserStorage` and `GoalClaims`."""
        return NAMES[type(requests[0])]

    async def probe(self, request: StorageRequest) -> Any:
        """Ask for a sign of life, by reading the record that *request* is about."""
        (outcome,) = await self._run_round([ReadRecord(*place_of(request))])
        if is_kind(outcome, Exception):
            raise cast("Exception", outcome)
        return outcome
