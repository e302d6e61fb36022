"""Which conversions are counted: claimed before they are sent, marked after, and taken back if all fails.

The order is what keeps conversions: the storage learns of one only after the queue has accepted it, so
that none is marked as tracked that was never sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextvars import copy_context

from .._core.decision import Stored
from .._core.goal import counts_once
from .._core.plan import Campaign
from .._delivery.outbox.journal import Claim
from .._reason import Reason
from .._result import CampaignTrack, DeliveryStatus, Receipt, receipt_of
from .._storage.access import StorageAccess
from ..storage.protocol import SEPARATOR, StoredDecision
from .stored_records import StoredRecords
from .track import Conversion, TrackCall, make_record


class ConversionClaims:
    """Keeps the user storage's account of conversions.

    Args:
        storage: The storage.
        refuses: Whether a conversion is not counted where the storage cannot settle whose it is.
    """

    def __init__(self, storage: StorageAccess, *, refuses: bool) -> None:
        self._storage = storage
        self._refuses = refuses

    async def assign(
        self, record: StoredDecision, campaign: Campaign, stored_records: StoredRecords
    ) -> None:
        """Store an assignment that was just made, unless there is a newer record, or none could be read."""
        user_call = stored_records.user_call
        if stored_records.is_blind or user_call is None:
            return
        async with user_call.exclusive():
            # A call about the same user may have gone further since this one read what was stored.
            read = stored_records.find(campaign)
            if user_call.recall([campaign.key]).get(campaign.key, read) == read:
                _remember(stored_records, campaign.key, Stored(record.variation_name))
                await self._storage.write([record], stored_records.notes)

    async def claim(
        self,
        call: TrackCall,
        conversions: Sequence[Conversion],
        stored_records: StoredRecords,
        results: dict[str, CampaignTrack],
    ) -> tuple[list[Conversion], list[Conversion]]:
        """Claim what may be counted only once; enter what is another call's to count into *results*.

        Returns:
            The conversions to go on with, and those among them that were, or may have been, claimed.
        """
        wanted = [one for one in conversions if self._needs_claim(call, one, stored_records)]
        if not wanted:
            return list(conversions), []
        pairs = [(one.campaign.key, one.goal.identifier) for one in wanted]
        answers = await self._storage.claim(call.user.id, pairs, stored_records.notes)
        lost = [one for one, is_ours in zip(wanted, answers, strict=True) if is_ours is False]
        unsure = [one for one, is_ours in zip(wanted, answers, strict=True) if is_ours is None]
        for one in lost:
            self._enter(results, one, Reason.ALREADY_TRACKED)
            stored = stored_records.find(one.campaign)
            goals = () if stored is None else stored.goals
            known = Stored(one.variation.name, (*goals, one.goal.identifier))
            _remember(stored_records, one.campaign.key, known)
        if self._refuses:
            for one in unsure:
                self._enter(results, one, Reason.STORAGE_ERROR)
            self.release(call, unsure)
            lost += unsure
        kept = [one for one in conversions if one not in lost]
        return kept, [one for one in wanted if one not in lost]

    def _needs_claim(self, call: TrackCall, one: Conversion, stored_records: StoredRecords) -> bool:
        """Tell whether the storage must settle who counts a conversion.

        Only that of a user whose record says that he has this variation: a forced one is not stored,
        and where the caller said what is stored, he answers for it. A record whose variation is gone
        counts for nothing, and neither do the claims made with it.
        """
        return (
            self._storage.has_claims
            and one.decision.reason is Reason.STORED
            and not stored_records.is_given
            # Such an identifier is recognised in no record, so it counts each time with any storage.
            and SEPARATOR not in one.goal.identifier
            and counts_once(one.goal, tracks_returning_user=call.tracks_returning_user)
        )

    def _enter(self, results: dict[str, CampaignTrack], one: Conversion, reason: Reason) -> None:
        results[one.campaign.key] = CampaignTrack(False, reason, one.variation.name)

    def release(self, call: TrackCall, conversions: Iterable[Conversion]) -> None:
        """Give claims back, soon."""
        for one in conversions:
            self._storage.release_soon(call.user.id, one.campaign.key, one.goal.identifier)

    async def mark(
        self,
        call: TrackCall,
        accepted: Iterable[Conversion],
        stored_records: StoredRecords,
        results: Mapping[str, CampaignTrack],
    ) -> None:
        """Mark accepted conversions as tracked, for as long as their events do not come to nothing."""
        records = []
        for one in accepted:
            record = make_record(call, one, stored_records)
            if record is None:
                continue
            records.append(record)
            _remember(
                stored_records, record.campaign_key, Stored(record.variation_name, record.goals)
            )
            receipt = receipt_of(results[one.campaign.key])
            if receipt is not None:
                claim = Claim(call.user.id, one.campaign.key, one.goal.identifier)
                self.release_on_failure(receipt, [claim])
        if records and not stored_records.is_blind:
            await self._storage.write(records, stored_records.notes)

    def release_on_failure(self, receipt: Receipt, claims: Sequence[Claim]) -> None:
        """Unmark conversions if their event is refused or given up, so that they can be tracked again."""
        if not claims:
            return
        context = copy_context()

        def settled() -> None:
            outcome = receipt.outcome
            if outcome is not None and not outcome and outcome.status is not DeliveryStatus.KEPT:
                for claim in claims:
                    self._storage.release_soon(*claim, context)

        if receipt.outcome is None:
            receipt.on_settled(settled)
        else:
            settled()


def _remember(stored_records: StoredRecords, campaign_key: str, stored: Stored) -> None:
    """Let the calls about the same user that wait their turn know what is counted."""
    if stored_records.user_call is not None:
        stored_records.user_call.remember(stored_records.user_call.tick(), {campaign_key: stored})
