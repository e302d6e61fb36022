"""What in a user storage depends on an event that is kept."""

from __future__ import annotations

from typing import NamedTuple


class Claim(NamedTuple):
    """A conversion that is marked as tracked in the user storage and depends on one event.

    Attributes:
        user_id: The user.
        campaign_key: The campaign.
        goal_identifier: The goal.
        owner: Under which name it was claimed; empty where it was not claimed, or by a storage without owners.
    """

    user_id: str
    campaign_key: str
    goal_identifier: str
    owner: str = ""

    def __repr__(self) -> str:
        return f"<Claim of {self.goal_identifier!a} in {self.campaign_key!a}>"
