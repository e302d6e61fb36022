"""Answers requests by the methods that every storage has: `get`, `set`, and `claim_goal` where it is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..storage._backend.place import place_of
from ..storage.protocol import GoalClaims, ManyReader, PlainUserStorage, UserStorage
from ..storage.rounds import (
    AssignVariation,
    CountConversion,
    ReadRecord,
    StorageRequest,
    WithdrawConversion,
)
from .worker_thread import WorkerThreads, is_async


class MethodCalls:
    """A storage of the service's own, or one whose methods a subclass has replaced.

    Args:
        storage: The storage.

    Attributes:
        has_claims: Whether it settles who counts a conversion.
        has_plain_methods: Whether some of them are plain functions, which need a thread.
        reads_many: Whether it reads several records in one call.
    """

    def __init__(self, storage: UserStorage | PlainUserStorage) -> None:
        adapt = WorkerThreads().adapt
        self._get = adapt(storage.get)
        self._set = adapt(storage.set)
        self._get_many = adapt(storage.get_many) if isinstance(storage, ManyReader) else None
        claims = storage if isinstance(storage, GoalClaims) else None
        self._claim_goal = None if claims is None else adapt(claims.claim_goal)
        self._release_goal = None if claims is None else adapt(claims.release_goal)
        self.has_claims = claims is not None
        self.has_plain_methods = not (is_async(storage.get) and is_async(storage.set))
        self.reads_many = self._get_many is not None

    def name(self, requests: Sequence[StorageRequest]) -> str:
        """Return the method by which *requests* are answered."""
        first = requests[0]
        if isinstance(first, ReadRecord):
            return "get_many" if len(requests) > 1 else "get"
        if isinstance(first, CountConversion) and first.owner:
            return "claim_goal"
        return "release_goal" if isinstance(first, WithdrawConversion) else "set"

    async def answer(self, requests: Sequence[StorageRequest]) -> Sequence[Any]:
        """Answer *requests*: several reads of one user, or a single one of any kind."""
        if len(requests) > 1:
            return await self._read_many(requests)
        return [await self._answer_one(requests[0])]

    async def _read_many(self, requests: Sequence[StorageRequest]) -> Sequence[Any]:
        assert self._get_many is not None
        reads = [one for one in requests if isinstance(one, ReadRecord)]
        rows = await self._get_many(reads[0].user_id, [one.campaign_key for one in reads])
        return [rows.get(one.campaign_key) for one in reads]

    async def _answer_one(self, request: StorageRequest) -> Any:
        if isinstance(request, ReadRecord):
            return await self._get(*request)
        if isinstance(request, AssignVariation):
            await self._set(dict(request.data))
            return True
        if isinstance(request, WithdrawConversion):
            if self._release_goal is not None:
                await self._release_goal(*request[:3])
            return True
        if request.owner and self._claim_goal is not None:
            return bool(await self._claim_goal(*request[:3]))
        await self._set(dict(request.data or {}))
        return True

    async def probe(self, request: StorageRequest) -> object:
        """Ask for a sign of life, by reading the record that *request* is about."""
        return await self._get(*place_of(request))
