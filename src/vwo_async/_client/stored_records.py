"""Where the pure core meets the user storage: it says what it must know, this room waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._core.api_method import Api
from .._core.decision import Lookup, Records, Stored, decide
from .._core.plan import Campaign, Decision, Plan
from .._core.trace import trace
from .._explanation import Explanation, Step
from .._reason import Reason
from .._storage.access import StorageAccess
from .._storage.per_user_queue import UserCall
from .._storage.record import read_given
from .._user import User


class StoredRecords:
    """What one call knows of the user storage, and what went wrong in finding out.

    Args:
        storage: None where there is none.
        user: Whose records.
        given: The caller's ``user_storage_data``, which stands in for every read.
        user_call: The call's place among those about the same user, where it has one.
        refuses: Whether a campaign whose record cannot be read is not decided at all.

    Attributes:
        known: What was read so far, None where there is no storage.
        notes: A text for each failure.
        is_blind: Whether the storage did not answer in time: what it holds is not known, and must not
            be written over.
        is_given: Whether the caller said what is stored.
    """

    __slots__ = (
        "_failed",
        "_given",
        "_refuses",
        "_storage",
        "_user",
        "is_blind",
        "is_given",
        "known",
        "notes",
        "user_call",
    )

    def __init__(
        self,
        storage: StorageAccess | None,
        user: User,
        given: Mapping[str, Any] | None,
        user_call: UserCall | None = None,
        *,
        refuses: bool = False,
    ) -> None:
        self._storage = storage
        self._user = user
        self._given = given
        self._refuses = refuses
        self._failed: set[str] = set()
        self.user_call = user_call
        self.known: dict[str, Stored | None] | None = None if storage is None else {}
        self.notes: list[str] = []
        self.is_blind = False
        self.is_given = given is not None

    async def decide(self, plan: Plan, campaigns: Sequence[Campaign], api: Api) -> list[Decision]:
        """Decide *campaigns*; each round of reading asks for all that any of them still needs."""
        while True:
            answers = [decide(plan, one, self._user, api, self.known) for one in campaigns]
            missing = [key for one in answers if isinstance(one, Lookup) for key in one.keys]
            if not missing:
                decisions = [one for one in answers if isinstance(one, Decision)]
                return self._refuse(decisions) if self._failed else decisions
            await self._read(dict.fromkeys(missing))

    def _refuse(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Take back what was decided in place of a record that could not be read."""
        return [
            Decision(one.campaign, None, Reason.STORAGE_ERROR) if self._depends(one) else one
            for one in decisions
        ]

    def _depends(self, decision: Decision) -> bool:
        """Tell whether the decision could be another one if every record had been read."""
        if decision.reason is Reason.WHITELISTED:
            return False
        group = decision.campaign.group
        members = () if group is None else group.members
        keys = {decision.campaign.key, *(one.key for one in members)}
        return not self._failed.isdisjoint(keys)

    async def prefetch(self, campaigns: Sequence[Campaign]) -> None:
        """Read in one round all that deciding *campaigns* can need."""
        if self.known is None or not campaigns:
            return
        groups = [campaign.group for campaign in campaigns if campaign.group is not None]
        members = [member for group in groups for member in group.members]
        await self._read(dict.fromkeys(one.key for one in (*campaigns, *members)))

    async def trace(self, plan: Plan, campaign: Campaign, api: Api) -> Explanation:
        """Return how *campaign* is decided."""
        while True:
            answer = trace(plan, campaign, self._user, api, self.known)
            if isinstance(answer, Explanation):
                return answer
            await self._read(dict.fromkeys(answer.keys))
            if self._failed:
                step = Step("storage", False, "the record could not be read")
                return Explanation(campaign.key, None, Reason.STORAGE_ERROR, (step,))

    async def _read(self, keys: Iterable[str]) -> None:
        assert self._storage is not None
        assert self.known is not None
        if self._given is not None:
            self.known.update(read_given(self._given, self._user.id, keys))
            return
        user_call = self.user_call
        known = {} if user_call is None else user_call.recall(keys)
        self.known.update(known)
        missing = [key for key in keys if key not in known]
        if not missing:
            return
        since = 0 if user_call is None else user_call.tick()
        found = await self._storage.read(self._user.id, missing, self.notes)
        self.known.update(found.records)
        self.is_blind = self.is_blind or found.is_silent
        if self._refuses:
            self._failed |= found.failed
        if user_call is not None and not found.failed:
            user_call.remember(since, found.records)

    def find(self, campaign: Campaign) -> Stored | None:
        """Return the record of *campaign*, where one was read."""
        records: Records = self.known or {}
        return records.get(campaign.key)
