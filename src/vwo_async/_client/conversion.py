"""The values that a track call hands from step to step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from .._core.plan import Campaign, Decision, Goal, Variation
from .._delivery.outbox.claim import Claim
from .._reason import Reason
from .._result import CampaignTrack, Receipt
from .._user import User

Refused: TypeAlias = Mapping[str, CampaignTrack]
"""What a step of a track call refused, by campaign key."""


class Conversion(NamedTuple):
    """A goal that a user reached in a campaign that has a variation for them.

    Attributes:
        user: The user.
        campaign: The campaign.
        goal: The goal.
        decision: The decision that gave the variation.
        variation: The user's variation.
        owner: The name under which this call claims it in the user storage; empty if it does not.
        is_claimed: Whether the storage said that it is this call's to count.
    """

    user: User
    campaign: Campaign
    goal: Goal
    decision: Decision
    variation: Variation
    owner: str = ""
    is_claimed: bool = False

    def refuse(self, reason: Reason) -> CampaignTrack:
        """Return the result of its campaign where it does not count."""
        return CampaignTrack(False, reason, self.variation.name)

    def accept(self, receipt: Receipt | None) -> CampaignTrack:
        """Return the result of its campaign where it counts."""
        return CampaignTrack(True, Reason.TRACKED, self.variation.name, receipt)

    @property
    def claim(self) -> Claim:
        """What the user storage holds of it."""
        return Claim(self.user.id, self.campaign.key, self.goal.identifier, self.owner)


class Accepted(NamedTuple):
    """A conversion that was put on the queue, with its receipt; in development mode there is none."""

    conversion: Conversion
    receipt: Receipt | None
