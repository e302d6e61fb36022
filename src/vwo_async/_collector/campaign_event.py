"""What impressions and conversions have in common, as calls of their own and as items of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .catalogue import Campaign
from .field import Fields
from .received import Conversion, Kind
from .rule import Rules

__all__ = ["CampaignPart", "FieldNames", "read_campaign_part"]


@dataclass(frozen=True, slots=True)
class FieldNames:
    """How a call names the ids, and how it writes them.

    Attributes:
        campaign: The field with the campaign id.
        variation: The field with the variation id.
        goal: The field with the goal id.
        read_id: Returns the id in a field.
    """

    campaign: str
    variation: str
    goal: str
    read_id: Callable[[Fields, str], int]


class CampaignPart(NamedTuple):
    """The part of an event that is about a campaign; empty for a push. See `Received`."""

    campaign_ids: tuple[int, ...] = ()
    variation_id: int | None = None
    conversions: tuple[Conversion, ...] = ()


def read_campaign_part(kind: Kind, fields: Fields, rules: Rules, names: FieldNames) -> CampaignPart:
    """Return campaign and variation and, for a goal event, the conversion.

    Raises:
        WireError: A field is wrong.
    """
    if kind == "push":
        return CampaignPart()
    campaign_id = names.read_id(fields, names.campaign)
    variation_id = names.read_id(fields, names.variation)
    campaign = rules.find_campaign(fields, names.campaign, campaign_id)
    rules.check_variation(fields, names.variation, campaign, variation_id)
    if kind == "user":
        return CampaignPart((campaign_id,), variation_id)
    conversion = _read_conversion(fields, rules, names, campaign_id, campaign)
    return CampaignPart((campaign_id,), variation_id, (conversion,))


def _read_conversion(
    fields: Fields, rules: Rules, names: FieldNames, campaign_id: int, campaign: Campaign | None
) -> Conversion:
    goal_id = names.read_id(fields, names.goal)
    goal = rules.find_goal(fields, names.goal, campaign, goal_id)
    if goal is not None and not goal.is_revenue and "r" in fields:
        fields.fail("r", "the goal is not a revenue goal")
    revenue = fields.revenue("r") if "r" in fields else None
    return Conversion(campaign_id, goal_id, revenue, goal is not None and goal.is_repeatable)
