"""Mutually exclusive groups: which of the eligible campaigns wins the user."""

from __future__ import annotations

from collections.abc import Sequence

from .bucketing import MAX_BUCKET_VALUE, Ranges, bucket_value, hash_seed
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
    if group.is_equal:
        # Rounded down as in the Node and Java SDKs: with three members 1 % of users get no campaign.
        return _find_by_share(group, [(100 // len(eligible), one) for one in eligible], hash_bytes)
    by_id = {campaign.id: campaign for campaign in eligible}
    for campaign_id in group.priority:
        if campaign_id in by_id:
            return by_id[campaign_id]
    shares = [(group.weights.get(str(one.id), 0), one) for one in eligible]
    return _find_by_share(group, shares, hash_bytes)


def _find_by_share(
    group: Group, shares: Sequence[tuple[float, Campaign]], hash_bytes: bytes
) -> Campaign | None:
    value = bucket_value(hash_seed(group.seed_prefix + hash_bytes), MAX_BUCKET_VALUE)
    return Ranges(shares).find(value)
