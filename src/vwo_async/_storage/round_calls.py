"""Answers requests by rounds, where a storage can take many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ..storage._backend.place import place_of
from ..storage.rounds import (
    AssignVariation,
    CountConversion,
    ReadRecord,
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


class RoundCalls:
    """A storage that takes many requests at once.

    Args:
        storage: The storage.

    Attributes:
        storage: The same.
    """

    has_claims = True

    def __init__(self, storage: StorageRounds) -> None:
        self.storage = storage
        # Some see to it themselves that a round which nobody waits for does no harm, and need no task for it.
        self.answer = getattr(storage, "run_round_to_end", storage.run_round)
        self.abandon: Callable[[asyncio.Task[None]], object] = getattr(
            storage, "abandon_round", asyncio.Task.cancel
        )

    def name(self, requests: Sequence[StorageRequest]) -> str:
        """Return what is called, in the words of `UserStorage` and `GoalClaims`."""
        return NAMES[type(requests[0])]

    async def probe(self, request: StorageRequest) -> Any:
        """Ask for a sign of life, by reading the record that *request* is about."""
        (outcome,) = await self.storage.run_round([ReadRecord(*place_of(request))])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
