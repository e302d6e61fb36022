"""The quick path of a track call with a user storage that takes rounds: a record, a claim, an event.

It gives the same results as `track.track_conversions`. Calls about one user need not wait for one another
here, since the storage settles claim and mark in one step, whoever else claims.
"""

from __future__ import annotations

from functools import partial

from .._core.goal import Revenue, counts_once
from .._core.plan import Campaign, Goal, Variation
from .._delivery.event import Event
from .._delivery.outbox.claim import Claim
from .._reason import Reason
from .._result import CampaignTrack, Receipt, SingleTrack, TrackResult, is_lost
from .._storage.access import StorageAccess
from .._storage.claim_outcome import ClaimOutcome
from .._storage.pending import StorageFailure
from .._user import User
from ..storage.protocol import SEPARATOR
from ..storage.rounds import CountConversion, WithdrawConversion
from .engine import Engine


async def track_stored(
    engine: Engine, user: User, campaign: Campaign, goal: Goal, revenue: Revenue
) -> TrackResult | None:
    """Track the conversion of a user whom the storage knows.

    Returns:
        The result as it is before delivery; None if the full path has to be taken, and nothing was done.

    Raises:
        ClosedError: The client was closed meanwhile.
    """
    storage = engine.storage
    assert storage is not None
    if campaign.whitelist or not counts_once(goal, tracks_returning_user=False):
        return None
    call = _StoredCall(engine, storage, user, campaign, goal)
    stored = await storage.read_one(user.id, campaign.key, call.notes, call.ends_at)
    if stored is None:
        return call.refuse(Reason.NOT_ACTIVATED)
    if type(stored) is StorageFailure:
        is_unknown = engine.refuses or not stored.is_answer
        return call.refuse(Reason.STORAGE_ERROR if is_unknown else Reason.NOT_ACTIVATED)
    variation = campaign.variations_by_name.get(stored.variation_name)
    if variation is None or SEPARATOR in goal.identifier:
        return None
    if goal.identifier in stored.goals:
        return call.refuse(Reason.ALREADY_TRACKED, variation)
    return await call.count(variation, revenue)


class _StoredCall:
    """One call on its way.

    Attributes:
        notes: A text for each failure of the storage.
        ends_at: Until when it waits for the storage, by the storage's clock.
    """

    __slots__ = (
        "_campaign",
        "_engine",
        "_goal",
        "_is_put",
        "_storage",
        "_user",
        "ends_at",
        "notes",
    )

    def __init__(
        self, engine: Engine, storage: StorageAccess, user: User, campaign: Campaign, goal: Goal
    ) -> None:
        self._engine = engine
        self._storage = storage
        self._user = user
        self._campaign = campaign
        self._goal = goal
        self._is_put = False
        self.notes: list[str] = []
        self.ends_at = storage.find_deadline()

    def refuse(self, reason: Reason, variation: Variation | None = None) -> TrackResult:
        """Return the result of a conversion that does not count."""
        name = None if variation is None else variation.name
        refused = CampaignTrack(False, reason, name)
        return TrackResult({self._campaign.key: refused}, notes=tuple(self.notes))

    async def count(self, variation: Variation, revenue: Revenue) -> TrackResult:
        """Claim and mark the conversion in one step, then put its event on the queue."""
        storage, engine = self._storage, self._engine
        conversion = self._user.id, self._campaign.key, self._goal.identifier
        owner = storage.begin_owner() or await storage.choose_owner(conversion, self.ends_at)
        claim = Claim(*conversion, owner)
        event = engine.snapshot.event_factory.make_conversion(
            self._user, self._campaign, variation, self._goal, revenue
        )
        if not engine.has_outbox:
            return await self._count(event, claim, variation)
        try:
            # Before the storage hears of it; see `drafts`.
            kept = engine.reporter.keep_ahead({event: (claim,)})
            if kept is not None:
                await kept
            return await self._count(event, claim, variation)
        finally:
            if not self._is_put:
                engine.reporter.take_back((event,))

    async def _count(self, event: Event, claim: Claim, variation: Variation) -> TrackResult:
        storage = self._storage
        # There was a record a moment ago; should it be gone, the claim is enough.
        request = CountConversion(*claim, None)
        outcome = await storage.count_one(request, self.notes, self.ends_at)
        if outcome is ClaimOutcome.OTHERS:
            return self.refuse(Reason.ALREADY_TRACKED, variation)
        if outcome is not ClaimOutcome.OURS and self._engine.refuses:
            if outcome is ClaimOutcome.UNKNOWN:
                storage.withdraw_soon(WithdrawConversion(*claim))
            return self.refuse(Reason.STORAGE_ERROR, variation)
        self._put(event, WithdrawConversion(*claim))
        if not self._is_put:
            return self.refuse(Reason.QUEUE_FULL, variation)
        if outcome is not ClaimOutcome.OURS:
            # It may not have been claimed and marked; where that takes too long, it goes on without this call.
            await storage.mark((request,), self.notes, self.ends_at)
        return SingleTrack(self._campaign.key, variation.name, event, tuple(self.notes))

    def _put(self, event: Event, withdrawal: WithdrawConversion) -> None:
        """Put the event on the queue; if it comes to nothing, now or later, the conversion is taken back."""
        try:
            self._is_put = self._engine.reporter.put_one(event)
        finally:
            if not self._is_put:
                self._storage.withdraw_soon(withdrawal)
        if self._is_put:
            event.on_settled(partial(_withdraw_if_lost, self._storage, event, withdrawal))


def _withdraw_if_lost(
    storage: StorageAccess, receipt: Receipt, withdrawal: WithdrawConversion
) -> None:
    if is_lost(receipt):
        storage.withdraw_soon(withdrawal)
