"""Asking a storage in this process's memory, where nothing has to be waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._cancellation import PROCESS_ENDS
from ..storage.rounds import StorageOutcome, StorageRequest
from .health import StorageHealth
from .pending import PendingRequest, StorageFailure, describe


class InstantChannel:
    """Does what a `Channel` does, at once.

    Args:
        answer: Answers a request.
        name: Returns what is called, for the notes.
        health: Of a storage that is always well.
    """

    size = 0

    def __init__(
        self,
        answer: Callable[[StorageRequest], StorageOutcome],
        name: Callable[[Sequence[StorageRequest]], str],
        health: StorageHealth,
    ) -> None:
        self._answer = answer
        self._name = name
        self.health = health

    def submit_one(self, request: StorageRequest) -> PendingRequest:
        """Answer *request*."""
        pending = PendingRequest(request)
        pending.has_begun = pending.is_settled = True
        pending.outcome = self.answer(request)
        return pending

    def submit(self, requests: Sequence[StorageRequest]) -> list[PendingRequest]:
        """Answer each of *requests*."""
        return [self.submit_one(one) for one in requests]

    def answer(self, request: StorageRequest) -> StorageOutcome | StorageFailure:
        """Return the outcome of *request*."""
        try:
            return self._answer(request)
        except PROCESS_ENDS:
            raise
        except BaseException as error:  # noqa: BLE001 - a record may hold anything
            return StorageFailure(f"{self._name((request,))} {describe(error)}")

    def cut(self) -> None:
        """Do nothing: nothing is under way."""

    async def aclose(self, ends_at: float) -> None:
        """Do nothing: nothing is under way."""
