"""Where the pure core meets the user storage: it says what it must know, this room waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._core.api import Api
from ._core.decision import Lookup, Records, Stored, decide
from ._core.plan import Campaign, Decision, Plan
from ._core.trace import trace
from .explanation import Explanation
from .storage.access import StorageAccess, read_given
from .user import User


class Reading:
    """What one call knows of the user storage, and what went wrong in finding out.

    Args:
        storage: None where there is none.
        user: Whose records.
        given: The caller's ``user_storage_data``, which stands in for every read.

    Attributes:
        records: What is known so far, None where there is no storage.
        notes: A text for each failure.
        is_blind: Whether the storage did not answer in time: what it holds is not known, and must not
            be written over.
    """

    __slots__ = ("_given", "_storage", "_user", "is_blind", "notes", "records")

    def __init__(
        self, storage: StorageAccess | None, user: User, given: Mapping[str, Any] | None
    ) -> None:
        self._storage = storage
        self._user = user
        self._given = given
        self.records: dict[str, Stored | None] | None = None if storage is None else {}
        self.notes: list[str] = []
        self.is_blind = False

    async def decide(self, plan: Plan, campaigns: Sequence[Campaign], api: Api) -> list[Decision]:
        """Decide *campaigns*; each round of reading asks for all that any of them still needs."""
        while True:
            answers = [decide(plan, one, self._user, api, self.records) for one in campaigns]
            missing = [key for one in answers if isinstance(one, Lookup) for key in one.keys]
            if not missing:
                return [one for one in answers if isinstance(one, Decision)]
            await self._read(dict.fromkeys(missing))

    async def prefetch(self, campaigns: Sequence[Campaign]) -> None:
        """Read in one round all that deciding *campaigns* can need."""
        if self.records is None or not campaigns:
            return
        groups = [campaign.group for campaign in campaigns if campaign.group is not None]
        members = [member for group in groups for member in group.members]
        await self._read(dict.fromkeys(one.key for one in (*campaigns, *members)))

    async def trace(self, plan: Plan, campaign: Campaign, api: Api) -> Explanation:
        """Return how *campaign* is decided."""
        while True:
            answer = trace(plan, campaign, self._user, api, self.records)
            if isinstance(answer, Explanation):
                return answer
            await self._read(dict.fromkeys(answer.keys))

    async def _read(self, keys: Mapping[str, None]) -> None:
        assert self._storage is not None
        assert self.records is not None
        if self._given is not None:
            self.records.update(read_given(self._given, self._user.id, keys))
        else:
            found = await self._storage.read(self._user.id, keys, self.notes)
            self.is_blind = self.is_blind or found is None
            self.records.update(dict.fromkeys(keys) if found is None else found)

    def find(self, campaign: Campaign) -> Stored | None:
        """Return the record of *campaign*, where one was read."""
        records: Records = self.records or {}
        return records.get(campaign.key)
