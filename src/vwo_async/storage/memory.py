"""A user storage in the memory of the process, for tests and single-process services."""

from __future__ import annotations

import copy
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._error import InvalidInputError

MAX_RECORDS = 100_000


class _Entry:
    """The record and claims of one user in one campaign."""

    __slots__ = ("claims", "expires_at", "row")

    def __init__(self) -> None:
        self.row: dict[str, Any] | None = None
        self.claims: set[str] = set()
        self.expires_at = float("inf")


class MemoryUserStorage:
    """Keeps records in memory; when it is full, the least recently used ones are removed.

    A user whose record was removed is assigned again, by the same hash; conversions may count again.

    Args:
        rows: The first records, in the official format.
        max_records: The most records that are kept, by default 100,000 (about 50 MB).
        ttl_s: Seconds after its last write at which a record expires. None: records never expire.
        clock: Returns monotonic seconds; for tests of time.

    Raises:
        InvalidInputError: *max_records* or *ttl_s* is not positive.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]] = (),
        *,
        max_records: int = MAX_RECORDS,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_records < 1 or (ttl_s is not None and not ttl_s > 0):
            raise InvalidInputError("max_records and ttl_s must be positive")
        self._max_records = max_records
        self._ttl_s = float("inf") if ttl_s is None else ttl_s
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        for row in rows:
            self._keep(row)

    async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        """Return a copy of the record, or None."""
        entry = self._find(user_id, campaign_key)
        return None if entry is None or entry.row is None else _copy(entry.row)

    async def set(self, data: Mapping[str, Any]) -> None:
        """Keep a copy of the record."""
        self._keep(data)

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        """Tell whether the caller is the first to claim this conversion."""
        entry = self._touch(user_id, campaign_key)
        is_first = goal_identifier not in entry.claims
        entry.claims.add(goal_identifier)
        return is_first

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        """Give a claim back."""
        entry = self._find(user_id, campaign_key)
        if entry is not None:
            entry.claims.discard(goal_identifier)

    def _keep(self, row: Mapping[str, Any]) -> None:
        self._touch(row["userId"], row["campaignKey"]).row = _copy(row)

    def _find(self, user_id: str, campaign_key: str) -> _Entry | None:
        """Return the entry, unless it has expired."""
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
        """Return the entry, new if necessary, and restart its time to live."""
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
        return f"<MemoryUserStorage {len(self)} records>"


def _copy(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that shares no mutable value; only the meta data can hold such values."""
    own = dict(row)
    if "metaData" in own:
        own["metaData"] = copy.deepcopy(own["metaData"])
    return own
