"""A user storage in this process's memory, for tests and single-process services."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .._error import InvalidInputError
from .._plain import is_number_of, read_foreign
from .._wording import count_of
from ._backend.place import Place, copy_row, place_of
from .rounds import ReadRecord, StorageOutcome, StorageRequest

MAX_RECORDS = 100_000


class _Entry(Place):
    """A place, and until when it is kept."""

    __slots__ = ("expires_at",)

    def __init__(self) -> None:
        super().__init__()
        self.expires_at = float("inf")


class MemoryUserStorage:
    """Keeps records for as long as the process lives; the least recently used go first.

    A user whose record is gone is assigned anew, by the same hash; his conversions may count again.

    Args:
        rows: Records in the official shape to begin with.
        max_records: How many are kept at most, 100,000 by default (some 50 MB).
        ttl_s: Seconds after which a record that was not written again is gone; None for never.
        clock: Monotonic seconds; replaced in tests of time.

    Raises:
        InvalidInputError: A bound is not positive.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]] = (),
        *,
        max_records: int = MAX_RECORDS,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        is_ttl = ttl_s is None or (is_number_of(ttl_s, 0, float("inf")) and ttl_s > 0)
        if not (is_number_of(max_records, 1, float("inf")) and is_ttl):
            raise InvalidInputError("max_records and ttl_s must be positive")
        self._max_records = max_records
        self._ttl_s = float("inf") if ttl_s is None else ttl_s
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        read_foreign(lambda: self._keep_all(rows), "rows")

    async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        """Return a copy of the record, or None."""
        entry = self._find(user_id, campaign_key)
        return None if entry is None or entry.row is None else copy_row(entry.row)

    async def set(self, data: Mapping[str, Any]) -> None:
        """Keep a copy of the record."""
        self._keep(data)

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        """Tell whether the caller is the first to claim this conversion."""
        entry = self._touch(user_id, campaign_key)
        is_first = goal_identifier not in entry.owners
        entry.owners.setdefault(goal_identifier, "")
        return is_first

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        """Give a claim back."""
        entry = self._find(user_id, campaign_key)
        if entry is not None:
            entry.owners.pop(goal_identifier, None)

    async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
        """Answer *requests*; see `StorageRounds`."""
        return [self.answer(one) for one in requests]

    def answer(self, request: StorageRequest) -> StorageOutcome:
        """Answer one request of a round, which needs no waiting; a record that is returned must not be changed."""
        if isinstance(request, ReadRecord):
            entry = self._find(*request)
            return None if entry is None else entry.row
        return self._touch(*place_of(request)).apply(request)

    def _keep_all(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            self._keep(row)

    def _keep(self, row: Mapping[str, Any]) -> None:
        self._touch(row["userId"], row["campaignKey"]).row = copy_row(row)

    def _find(self, user_id: str, campaign_key: str) -> _Entry | None:
        """Return what is kept and has not expired."""
        key = user_id, campaign_key
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at <= self._clock():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry

    def _touch(self, user_id: str, campaign_key: str) -> _Entry:
        """Return what is kept, or make room for it, with its time to live begun anew."""
        entry = self._find(user_id, campaign_key)
        if entry is None:
            entry = self._entries[user_id, campaign_key] = _Entry()
            if len(self._entries) > self._max_records:
                self._entries.popitem(last=False)
        entry.expires_at = self._clock() + self._ttl_s
        return entry

    def __len__(self) -> int:
        return sum(entry.row is not None for entry in self._entries.values())

    def __repr__(self) -> str:
        return f"<MemoryUserStorage {count_of(len(self), 'record')}>"
