"""What the page shows of a campaign: its counts, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ..catalogue import Campaign
from ..product import Account
from .count import CampaignCount, GoalCount, VariationCount
from .statistic import Sample, check_ratio, find_probability, find_uplift, wilson_interval
from .tally_report import list_goals, list_variations

__all__ = ["CampaignSummary", "VariationSummary", "name_campaign", "summarize"]


@dataclass(frozen=True, slots=True)
class VariationSummary:
    """A variation.

    Attributes:
        variation_id: The variation; None for conversions of visitors who were shown none.
        name: Its name in the settings file, None if that is not known.
        weight: Which share of the visitors it is to get, None if that is not known.
        visitors: How many were shown it.
        goals: The counts of each goal of the campaign.
    """

    variation_id: int | None
    name: str | None
    weight: float | None
    visitors: int
    goals: Sequence[GoalCount]

    def as_dict(self, control: VariationSummary | None) -> dict[str, Any]:
        """Return it, compared with another, as JSON-ready values."""
        is_control = self is control
        return {
            "variation_id": self.variation_id,
            "name": self.name,
            "weight": self.weight,
            "is_control": is_control,
            "visitors": self.visitors,
            "goals": [
                _describe_goal(goal, self.visitors) | comparison
                for goal, comparison in zip(
                    self.goals, self._compare(None if is_control else control), strict=True
                )
            ],
        }

    def _compare(self, control: VariationSummary | None) -> list[dict[str, float | None]]:
        """Return for each goal how its rate compares with that of another variation."""
        if control is None:
            return [{"uplift": None, "probability": None} for _ in self.goals]
        return [
            {"uplift": find_uplift(*pair), "probability": find_probability(*pair)}
            for pair in zip(control.list_samples(), self.list_samples(), strict=True)
        ]

    def list_samples(self) -> list[Sample]:
        """Return for each goal how many of the visitors it has converted."""
        return [Sample(goal.converted, self.visitors) for goal in self.goals]


@dataclass(frozen=True, slots=True)
class CampaignSummary:
    """The counts of a campaign at one moment; nothing changes them any more.

    Attributes:
        account: Whose it is.
        campaign_id: Its number.
        key: Its key in the settings file, None if that is not known.
        features: In FME the keys of the features that it belongs to.
        visitors: How many were shown any of its variations.
        goals: The names of its goals by id, None where they are not known.
        variations: Its variations by id. Where there are several, the first one is the control, with which
            the others are compared.
    """

    account: Account
    campaign_id: int
    key: str | None
    features: Sequence[str]
    visitors: int
    goals: Mapping[int, str | None]
    variations: Sequence[VariationSummary]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it with the statistics, as JSON-ready values; revenue is decimal text."""
        return {
            "id": name_campaign(self.account, self.campaign_id),
            "product": self.account.product.value,
            "account_id": self.account.account_id,
            "campaign_id": self.campaign_id,
            "key": self.key,
            "features": list(self.features),
            "visitors": self.visitors,
            "goals": [{"goal_id": one, "name": name} for one, name in self.goals.items()],
            "variations": [one.as_dict(self._find_control()) for one in self.variations],
            "ratio": self._check_ratio(),
        }

    def _find_control(self) -> VariationSummary | None:
        """Return the first variation, where there is another one."""
        return self.variations[0] if len(self.variations) > 1 else None

    def _check_ratio(self) -> dict[str, Any] | None:
        known = [one for one in self.variations if one.weight is not None]
        weights = [one.weight for one in known if one.weight is not None]
        found = check_ratio([one.visitors for one in known], weights)
        return None if found is None else found._asdict()


def name_campaign(account: Account, campaign_id: int) -> str:
    """Return how the page names a campaign: product, account and number."""
    return f"{account.product.value}/{account.account_id}/{campaign_id}"


def summarize(count: CampaignCount, campaign: Campaign | None) -> CampaignSummary:
    """Return the counts of a campaign as they are now, with the names of the settings file."""
    goals = list_goals(count, campaign)
    variations = [
        _summarize_variation(one, count.variations.get(one, VariationCount()), goals, campaign)
        for one in list_variations(count, campaign)
    ]
    return CampaignSummary(
        count.account,
        count.campaign_id,
        None if campaign is None else campaign.key,
        () if campaign is None else campaign.features,
        count.visitors,
        goals,
        variations,
    )


def _summarize_variation(
    variation_id: int | None,
    count: VariationCount,
    goals: Mapping[int, str | None],
    campaign: Campaign | None,
) -> VariationSummary:
    # A copy, since the counts go on.
    copied = [replace(count.goals.get(goal_id, GoalCount())) for goal_id in goals]
    if campaign is None or variation_id is None:
        return VariationSummary(variation_id, None, None, count.visitors, copied)
    name, weight = campaign.variations.get(variation_id), campaign.weights.get(variation_id)
    return VariationSummary(variation_id, name, weight, count.visitors, copied)


def _describe_goal(goal: GoalCount, visitors: int) -> dict[str, Any]:
    sample = Sample(goal.converted, visitors)
    low, high = wilson_interval(sample) if sample.is_proportion else (None, None)
    return {
        "conversions": goal.conversions,
        "converted": goal.converted,
        "rate": goal.converted / visitors if sample.is_proportion else None,
        "low": low,
        "high": high,
        "revenue": _write(goal.revenue),
        "revenue_per_visitor": _write(goal.revenue / visitors) if visitors else None,
    }


def _write(amount: Decimal) -> str:
    return format(amount, ".12g")
