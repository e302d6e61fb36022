"""A user storage in this process's memory, for tests and single-process services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class MemoryUserStorage:
    """Keeps records in a dict, for as long as the process lives.

    Args:
        rows: Records in the official shape to begin with.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._rows = {(row["userId"], row["campaignKey"]): dict(row) for row in rows}

    async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        """Return a copy of the record, or None."""
        row = self._rows.get((user_id, campaign_key))
        return None if row is None else dict(row)

    async def set(self, data: Mapping[str, Any]) -> None:
        """Keep a copy of the record."""
        self._rows[data["userId"], data["campaignKey"]] = dict(data)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<MemoryUserStorage {len(self)} records>"
