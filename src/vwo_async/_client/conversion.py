"""One conversion on its way through a track call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from .._core.plan import Campaign, Decision, Goal, Variation
from .._delivery.outbox.journal import Claim
from .._reason import Reason
from .._result import CampaignTrack, Receipt
from .._user import User

Refused: TypeAlias = Mapping[str, CampaignTrack]
"""What a step of a track call refused, by campaign key."""


class Conversion(NamedTuple):
    """A user who reached a goal of a campaign that he is in.

    Attributes:
        user: The user.
        campaign: The campaign.
        goal: The goal.
        decision: How his variation was come by.
        variation: His variation.
        is_claimed: Whether the storage was, or may have been, told that this call counts it.
    """

    user: User
    campaign: Campaign
    goal: Goal
    decision: Decision
    variation: Variation
    is_claimed: bool = False

    def refuse(self, reason: Reason) -> CampaignTrack:
        """Return the result of its campaign where it does not count."""
        return CampaignTrack(False, reason, self.variation.name)

    def accept(self, receipt: Receipt | None) -> CampaignTrack:
        """Return the result of its campaign where it counts."""
        return CampaignTrack(True, Reason.TRACKED, self.variation.name, receipt)

    @property
    def claim(self) -> Claim:
        """Its name in the storage."""
        return Claim(self.user.id, self.campaign.key, self.goal.identifier)


class Accepted(NamedTuple):
    """A conversion that was put on the queue; without a receipt in development mode, which has no queue."""

    conversion: Conversion
    receipt: Receipt | None
