"""What one call knows of the user storage: the core says which records it needs, this reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Self

from .._core.api_method import Api
from .._core.decision import Needs, Records, Stored, decide
from .._core.plan import Campaign, Decision, Plan
from .._core.trace import trace
from .._explanation import Explanation, Step
from .._reason import Reason
from .._storage.access import StorageAccess
from .._storage.pending import NOT_ASKED
from .._storage.per_user_queue import UserCall
from .._storage.record import read_given
from .._user import User


class StoredRecords:
    """What one call knows of the user storage, and what went wrong in finding out.

    As a context manager it joins the queue of the calls about the same user (see `UserCall`). Calls that
    overlap share what one of them has read.

    Args:
        storage: None where there is none.
        user: Whose records.
        given_record: The caller's ``user_storage_data``, which stands in for every read.
        refuses: Whether a campaign whose record cannot be read is not decided at all.

    Attributes:
        known: What was read so far, None where there is no storage.
        notes: A text for each failure.
        is_given: Whether the caller said what is stored.
        ends_at: Until when the call waits for the storage, by the storage's clock.
        user_call: The call's place in the queue, None outside the context and where there is no storage.
    """

    __slots__ = (
        "_failed",
        "_given_record",
        "_refuses",
        "_storage",
        "_unread",
        "_user",
        "ends_at",
        "is_given",
        "known",
        "notes",
        "user_call",
    )

    def __init__(
        self,
        storage: StorageAccess | None,
        user: User,
        given_record: Mapping[str, Any] | None,
        *,
        refuses: bool,
    ) -> None:
        self._storage = storage
        self._user = user
        self._given_record = given_record
        self._refuses = refuses
        self._failed: set[str] = set()
        self._unread: set[str] = set()
        self.user_call: UserCall | None = None
        self.known: dict[str, Stored | None] | None = None if storage is None else {}
        self.notes: list[str] = []
        self.is_given = given_record is not None
        self.ends_at = 0.0 if storage is None else storage.find_deadline()

    def __enter__(self) -> Self:
        if self._storage is not None:
            self.user_call = self._storage.begin_call(self._user.id, self.ends_at).__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        if self.user_call is not None:
            self.user_call.__exit__(*raised)
            self.user_call = None

    def extend(self, seconds: float) -> None:
        """Give the storage so much more time: the call waited for something else meanwhile."""
        self.ends_at += seconds
        if self.user_call is not None:
            self.user_call.ends_at = self.ends_at

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Wait until the calls ahead that are about the same user have ended; see `UserCall`."""
        return nullcontext() if self.user_call is None else self.user_call.exclusive()

    async def decide(self, plan: Plan, campaigns: Sequence[Campaign], api: Api) -> list[Decision]:
        """Decide *campaigns*; each round of reading asks for all that any of them still needs."""
        while True:
            answers = [decide(plan, one, self._user, api, self.known) for one in campaigns]
            missing = [key for one in answers if isinstance(one, Needs) for key in one.keys]
            if not missing:
                decisions = [one for one in answers if isinstance(one, Decision)]
                return self._refuse(decisions) if self._failed else decisions
            await self.read(dict.fromkeys(missing))

    def _refuse(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Take back what was decided in place of a record that could not be read."""
        return [
            one if self._is_certain(one) else Decision(one.campaign, None, Reason.STORAGE_ERROR)
            for one in decisions
        ]

    def _is_certain(self, decision: Decision) -> bool:
        """Tell whether the decision stands although a record could not be read.

        ``NOT_ACTIVATED`` is certain only for a user whose record was read.
        """
        if decision.reason is Reason.NOT_ACTIVATED:
            return decision.campaign.key not in (self._failed if self._refuses else self._unread)
        return not (self._refuses and self._depends(decision))

    def _depends(self, decision: Decision) -> bool:
        """Tell whether the decision could be another one if every record had been read."""
        if decision.reason is Reason.WHITELISTED:
            return False
        return not self._failed.isdisjoint(_list_keys(decision.campaign))

    async def prefetch(self, campaigns: Sequence[Campaign]) -> None:
        """Read in one round all that deciding *campaigns* can need."""
        if self.known is None or not campaigns:
            return
        groups = [campaign.group for campaign in campaigns if campaign.group is not None]
        members = [member for group in groups for member in group.members]
        await self.read(dict.fromkeys(one.key for one in (*campaigns, *members)))

    async def trace(self, plan: Plan, campaign: Campaign, api: Api) -> Explanation:
        """Return how *campaign* is decided."""
        while True:
            answer = trace(plan, campaign, self._user, api, self.known)
            if isinstance(answer, Explanation):
                return answer
            await self.read(dict.fromkeys(answer.keys))
            if self._failed if self._refuses else self._unread and not api.assigns:
                step = Step("storage", False, "the record could not be read")
                return Explanation(campaign.key, None, Reason.STORAGE_ERROR, (step,))

    async def read(self, keys: Iterable[str]) -> None:
        """Read the records of *keys* that are not known yet, in one round."""
        assert self._storage is not None
        assert self.known is not None
        if self._given_record is not None:
            self.known.update(read_given(self._given_record, self._user.id, keys))
            return
        user_call = self.user_call
        if user_call is not None and user_call.has_missed_turn:
            # Another call may be counting the same at this moment.
            self._storage.note(NOT_ASKED, self.notes)
            self._failed.update(keys)
            self._unread.update(keys)
            self.known.update(dict.fromkeys(keys))
            return
        known = {} if user_call is None else user_call.recall(keys)
        self.known.update(known)
        missing = [key for key in keys if key not in known]
        if not missing:
            return
        since = 0 if user_call is None else user_call.tick()
        found = await self._storage.read(self._user.id, missing, self.notes, self.ends_at)
        self.known.update(found.records)
        self._failed |= found.failed
        self._unread |= found.unread
        if user_call is not None and not found.failed:
            user_call.remember(since, found.records)

    @property
    def has_failed(self) -> bool:
        """Whether there may be a record that could not be read."""
        return bool(self._failed)

    def find(self, campaign: Campaign) -> Stored | None:
        """Return the record of *campaign*, where one was read."""
        records: Records = self.known or {}
        return records.get(campaign.key)

    def is_read(self, campaign: Campaign) -> bool:
        """Tell whether the storage answered for all that a new assignment depends on: else it is not stored."""
        return self._unread.isdisjoint(_list_keys(campaign))

    def find_used(self, decision: Decision) -> Stored | None:
        """Return the record by which *decision* was made; one of a variation that is gone counts for nothing."""
        return self.find(decision.campaign) if decision.reason is Reason.STORED else None

    def share(self, campaign_key: str, stored: Stored) -> None:
        """Let the calls about the same user that wait their turn know what is stored from now on."""
        if self.user_call is not None:
            self.user_call.remember(self.user_call.tick(), {campaign_key: stored})


def _list_keys(campaign: Campaign) -> set[str]:
    """Return the campaigns whose records a decision may depend on."""
    members = () if campaign.group is None else campaign.group.members
    return {campaign.key, *(one.key for one in members)}
