"""Rounds of a storage whose driver cannot bear to be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from ..rounds import StorageOutcome, StorageRequest


@runtime_checkable
class UncancelledRounds(Protocol):
    """A storage that is told when nobody waits for a round any more, instead of being cancelled.

    It then needs no second task to keep a cancellation from its driver.
    """

    async def run_uncancelled(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
        """Do what `StorageRounds.run_round` does, in a task that nobody cancels."""
        ...

    def abandon(self, task: asyncio.Task[Any]) -> None:
        """Have *task*, which runs `run_uncancelled` and nothing else, end within a short time."""
        ...
