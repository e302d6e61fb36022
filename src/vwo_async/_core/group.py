"""Mutually exclusive groups: which of the eligible campaigns wins the user."""

from __future__ import annotations

from collections.abc import Sequence

from .bucketing import draw
from .plan import Campaign, Group


def find_winner(group: Group, eligible: Sequence[Campaign], hash_bytes: bytes) -> Campaign | None:
    """Return the campaign that wins the user, or None if the user's bucket value has no owner.

    Args:
        group: The group.
        eligible: The members whose segments and traffic the user passes, in order.
        hash_bytes: See `User.hash_bytes`.
    """
    if len(eligible) == 1:
        return eligible[0]
    seed = group.seed_prefix + hash_bytes
    if group.is_equal:
        # Rounded down as in the Node and Java SDKs: with three members 1 % of users get no campaign.
        return draw([(100 // len(eligible), one) for one in eligible], seed)
    by_id = {campaign.id: campaign for campaign in eligible}
    for campaign_id in group.priority:
        if campaign_id in by_id:
            return by_id[campaign_id]
    return draw([(group.weights.get(str(one.id), 0), one) for one in eligible], seed)
