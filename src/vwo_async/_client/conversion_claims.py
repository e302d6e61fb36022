"""Assignments and conversions in the user storage.

Claiming a conversion settles which call counts it; marking it as tracked keeps later calls from counting
it again. `track.count` says when each is done. If the event is refused or given up, both are undone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextvars import copy_context
from typing import Any

from .._core.decision import Stored
from .._core.goal import counts_once
from .._core.plan import Campaign
from .._delivery.outbox.claim import Claim
from .._reason import Reason
from .._result import CampaignTrack, Receipt, is_lost
from .._storage.access import StorageAccess
from .._storage.claim_outcome import ClaimOutcome
from .._storage.pending import NOT_ASKED
from .._storage.record import find_rest, make_data
from ..storage.protocol import SEPARATOR, StoredDecision
from ..storage.rounds import (
    AssignVariation,
    CountConversion,
    StorageRequest,
    WithdrawConversion,
)
from .arguments import TrackCall
from .conversion import Accepted, Conversion, Refused
from .stored_records import StoredRecords

# How long to wait before a storage that gave no answer is asked again about events of an earlier process.
CONFIRM_INTERVAL_S = 1.0


class ConversionClaims:
    """Claims and marks conversions in the user storage, and stores assignments.

    Args:
        storage: The storage; None where there is none: then every conversion counts.
        refuses: Whether a conversion is not counted where the storage cannot settle whose it is.
    """

    def __init__(self, storage: StorageAccess | None, *, refuses: bool) -> None:
        self._storage = storage
        self._refuses = refuses

    async def assign(
        self,
        record: StoredDecision,
        meta_data: Mapping[str, Any] | None,
        campaign: Campaign,
        stored_records: StoredRecords,
    ) -> None:
        """Store an assignment that was just made, unless there is a newer record, or none could be read."""
        user_call = stored_records.user_call
        if self._storage is None or user_call is None or not stored_records.is_read(campaign):
            return
        async with user_call.exclusive():
            # A call about the same user may have gone further since this one read what was stored.
            read = stored_records.find(campaign)
            if user_call.recall([campaign.key]).get(campaign.key, read) != read:
                return
            if user_call.has_missed_turn:
                self._storage.note(NOT_ASKED, stored_records.notes)
                return
            data = make_data(record, read, meta_data)
            known = Stored(record.variation_name, rest=find_rest(data))
            stored_records.share(campaign.key, known)
            await self._storage.assign(
                data,
                None if read is None else read.variation_name,
                stored_records.notes,
                stored_records.ends_at,
            )

    async def choose_owners(
        self, call: TrackCall, conversions: Sequence[Conversion], stored_records: StoredRecords
    ) -> list[Conversion]:
        """Return *conversions*; those that may be counted only once have an owner to claim them for."""
        storage = self._storage
        if storage is None or not storage.has_claims:
            return list(conversions)
        owned: list[Conversion] = []
        try:
            for one in conversions:
                if _needs_claim(call, one, stored_records):
                    owner = await storage.choose_owner(one.claim[:3], stored_records.ends_at)
                    owned.append(one._replace(owner=owner))
                else:
                    owned.append(one)
        except BaseException:
            self.give_back_unclaimed(owned)
            raise
        return owned

    def give_back_unclaimed(self, owned: Iterable[Conversion]) -> None:
        """Owe again what was taken over from earlier calls for conversions that it was not tried to claim."""
        if self._storage is not None:
            self._storage.give_back_inherited(WithdrawConversion(*one.claim) for one in owned)

    async def claim(
        self, call: TrackCall, conversions: Sequence[Conversion], stored_records: StoredRecords
    ) -> tuple[list[Conversion], Refused]:
        """Claim those of *conversions* that have an owner, see `choose_owners`.

        Returns:
            The conversions to go on with, and those that are another call's to count.
        """
        wanted = [_make_count(call, one, stored_records) for one in conversions if one.owner]
        if not wanted or self._storage is None:
            return list(conversions), {}
        outcomes = await self._storage.count(wanted, stored_records.notes, stored_records.ends_at)
        outcome_by_owner = {one.owner: answer for one, answer in zip(wanted, outcomes, strict=True)}
        claimed: list[Conversion] = []
        refused: dict[str, CampaignTrack] = {}
        for one in conversions:
            outcome = outcome_by_owner.get(one.owner)
            refusal = None if outcome is None else self._find_refusal(outcome)
            if refusal is None:
                claimed.append(one._replace(is_claimed=outcome is ClaimOutcome.OURS))
            else:
                refused[one.campaign.key] = one.refuse(refusal)
                self._settle_refused(one, outcome, stored_records)
        return claimed, refused

    def _find_refusal(self, outcome: ClaimOutcome) -> Reason | None:
        """Return why a conversion does not count, given what the storage says of its claim."""
        if outcome is ClaimOutcome.OTHERS:
            return Reason.ALREADY_TRACKED
        return Reason.STORAGE_ERROR if self._refuses and not outcome.is_settled else None

    def _settle_refused(
        self, one: Conversion, outcome: ClaimOutcome | None, stored_records: StoredRecords
    ) -> None:
        if outcome is ClaimOutcome.UNKNOWN:
            self.withdraw([one.claim])
        elif outcome is ClaimOutcome.OTHERS:
            stored = stored_records.find(one.campaign)
            goals = () if stored is None else stored.goals
            rest = {} if stored is None else stored.rest
            known = Stored(one.variation.name, (*goals, one.goal.identifier), rest)
            stored_records.share(one.campaign.key, known)

    async def confirm(self, claims: Sequence[Claim]) -> bool:
        """Tell whether the event of an earlier process, which made or was about to make *claims*, counts.

        It does, unless others hold every claim. A storage without owners cannot tell an own claim from
        another's; in doubt the event is sent, since twice is better than lost.
        """
        storage = self._storage
        owned = [CountConversion(*claim, None) for claim in claims if claim.owner]
        if storage is None or not storage.has_claims or len(owned) < len(claims) or not owned:
            return True
        while True:
            notes: list[str] = []
            outcomes = await storage.count(owned, notes, storage.find_deadline())
            if not storage.marks_with_claim or ClaimOutcome.OURS in outcomes:
                return True
            if all(one.is_settled for one in outcomes):
                return False
            if not self._refuses:
                return True
            # Nothing may count twice: it waits until the storage says whose it is.
            await asyncio.sleep(CONFIRM_INTERVAL_S)

    def withdraw(self, claims: Iterable[Claim]) -> None:
        """Give claims back, soon."""
        if self._storage is not None:
            for claim in claims:
                self._storage.withdraw_soon(WithdrawConversion(*claim))

    async def mark(
        self, call: TrackCall, accepted: Iterable[Accepted], stored_records: StoredRecords
    ) -> None:
        """Mark accepted conversions as tracked, for as long as their events do not come to nothing."""
        storage = self._storage
        if storage is None:
            return
        requests: list[StorageRequest] = []
        for conversion, receipt in accepted:
            record = _make_record(call, conversion, stored_records)
            if record is None:
                continue
            read = stored_records.find(conversion.campaign)
            data = make_data(record, read, call.meta_data)
            stored_records.share(
                record.campaign_key,
                Stored(record.variation_name, record.goals, find_rest(data)),
            )
            if receipt is not None:
                self.withdraw_on_failure(receipt, [conversion.claim])
            is_stored = conversion.decision.reason is Reason.STORED
            if conversion.is_claimed and storage.marks_with_claim:
                continue
            # What was decided in place of a record that did not come must not replace one.
            if is_stored or stored_records.is_read(conversion.campaign):
                requests += _make_marks(conversion, data, read, by_round=storage.marks_with_claim)
        if requests:
            await storage.mark(requests, stored_records.notes, stored_records.ends_at)

    def group(self, accepted: Iterable[Accepted]) -> Mapping[Receipt, Sequence[Claim]]:
        """Return what is claimed with each event: one conversion, or on the event architecture several."""
        found: dict[Receipt, list[Claim]] = {}
        if self._storage is None:
            return found
        for conversion, receipt in accepted:
            if receipt is not None:
                found.setdefault(receipt, []).append(conversion.claim)
        return found

    def withdraw_on_failure(self, receipt: Receipt, claims: Sequence[Claim]) -> None:
        """Unmark conversions if their event is refused or given up, so that they can be tracked again."""
        storage = self._storage
        if not claims or storage is None:
            return
        context = copy_context()

        def settled() -> None:
            if is_lost(receipt):
                for claim in claims:
                    storage.withdraw_soon(WithdrawConversion(*claim), context)

        if receipt.outcome is None:
            receipt.on_settled(settled)
        else:
            settled()


def _needs_claim(call: TrackCall, one: Conversion, stored_records: StoredRecords) -> bool:
    """Tell whether the storage must settle who counts a conversion.

    Only that of a user whose record says that he has this variation: a forced one is not stored,
    and where the caller said what is stored, he answers for it. A record whose variation is gone
    counts for nothing, and neither do the claims made with it.
    """
    return (
        one.decision.reason is Reason.STORED
        and not stored_records.is_given
        # Such an identifier is recognised in no record, so it counts each time with any storage.
        and SEPARATOR not in one.goal.identifier
        and counts_once(one.goal, tracks_returning_user=call.tracks_returning_user)
    )


def _make_count(call: TrackCall, one: Conversion, stored_records: StoredRecords) -> CountConversion:
    """Return what claims a conversion, and where the storage can, marks it."""
    record = _make_record(call, one, stored_records)
    assert record is not None
    data = make_data(record, stored_records.find(one.campaign), call.meta_data)
    return CountConversion(*one.claim, data, is_new=call.meta_data is not None)


def _make_marks(
    one: Conversion, data: Mapping[str, Any], read: Stored | None, *, by_round: bool
) -> list[StorageRequest]:
    """Return what marks a conversion that was not marked with its claim."""
    if not by_round:
        # One `set`, which replaces whatever was there. It knows no owners.
        return [CountConversion(*one.claim._replace(owner=""), data, is_new=True)]
    # With its claim, so that both are taken back together.
    if one.decision.reason is Reason.STORED or read is None:
        return [CountConversion(*one.claim, data, is_new=True)]
    # His variation is gone: the record makes room, and a newer one stays.
    return [
        AssignVariation(data, read.variation_name),
        CountConversion(*one.claim, data, is_new=False),
    ]


def _make_record(
    call: TrackCall, one: Conversion, stored_records: StoredRecords
) -> StoredDecision | None:
    """Return what the storage must learn of an accepted conversion, None for nothing.

    A forced variation must not stick, so a whitelisted user is not stored.
    """
    if one.decision.reason is Reason.WHITELISTED:
        return None
    stored = stored_records.find_used(one.decision)
    goals = () if stored is None else stored.goals
    if one.goal.identifier in goals:
        return None
    return StoredDecision(
        call.user.id,
        one.campaign.key,
        one.variation.name,
        tuple(dict.fromkeys((*goals, one.goal.identifier))),
    )
