"""The report of an experiment: visitors, conversions, rate and revenue by variation and goal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from .catalogue import Campaign, Catalogue
from .ledger import Counted, Ledger

__all__ = ["CampaignReport", "GoalReport", "Report", "VariationReport", "build_report"]


@dataclass(frozen=True, slots=True)
class GoalReport:
    """A goal and its conversions by the visitors of one variation.

    Attributes:
        goal_id: The goal.
        identifier: Its name in the settings file, None if that is not known.
        conversions: The conversions that count.
        rate: Conversions per visitor of the variation, None without visitors.
        revenue: The sum over the conversions that count, in the account's currency.
    """

    goal_id: int
    identifier: str | None
    conversions: int
    rate: float | None
    revenue: Decimal

    def as_dict(self) -> dict[str, object]:
        """Return the goal as JSON-ready values; revenue is decimal text."""
        return {
            "goal_id": self.goal_id,
            "identifier": self.identifier,
            "conversions": self.conversions,
            "rate": self.rate,
            "revenue": str(self.revenue),
        }


@dataclass(frozen=True, slots=True)
class VariationReport:
    """A variation of a campaign.

    Attributes:
        variation_id: The variation; None for conversions of visitors who were shown none.
        name: Its name in the settings file, None if that is not known.
        visitors: How many different visitors were shown it.
        goals: The goals of the campaign, by id.
    """

    variation_id: int | None
    name: str | None
    visitors: int
    goals: tuple[GoalReport, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the variation as JSON-ready values."""
        return {
            "variation_id": self.variation_id,
            "name": self.name,
            "visitors": self.visitors,
            "goals": [goal.as_dict() for goal in self.goals],
        }


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """A campaign.

    Attributes:
        campaign_id: The campaign.
        key: Its key in the settings file, None if that is not known.
        visitors: How many different visitors were shown any variation.
        variations: Its variations by id. The one for unknown variations is last, and is left out if it
            has no conversions.
    """

    campaign_id: int
    key: str | None
    visitors: int
    variations: tuple[VariationReport, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the campaign as JSON-ready values."""
        return {
            "campaign_id": self.campaign_id,
            "key": self.key,
            "visitors": self.visitors,
            "variations": [variation.as_dict() for variation in self.variations],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All campaigns of the settings file and of the ledger, by id."""

    campaigns: tuple[CampaignReport, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the report as JSON-ready values."""
        return {"campaigns": [campaign.as_dict() for campaign in self.campaigns]}


def build_report(ledger: Ledger, catalogue: Catalogue | None) -> Report:
    """Return the report of a ledger.

    Args:
        ledger: The events.
        catalogue: The settings file: it has the names, and all its campaigns and goals are listed.
    """
    known = {} if catalogue is None else catalogue.campaigns
    counted: dict[int, list[Counted]] = {}
    for conversion in ledger.counted:
        counted.setdefault(conversion.campaign_id, []).append(conversion)
    return Report(
        tuple(
            _report_campaign(
                campaign_id, known.get(campaign_id), ledger, counted.get(campaign_id, [])
            )
            for campaign_id in sorted(known.keys() | ledger.campaign_ids)
        )
    )


def _report_campaign(
    campaign_id: int, campaign: Campaign | None, ledger: Ledger, counted: Iterable[Counted]
) -> CampaignReport:
    shown = ledger.shown(campaign_id)
    visitors = Counter(variation_id for variations in shown.values() for variation_id in variations)
    names = {} if campaign is None else campaign.variations
    by_variation: dict[int | None, list[Counted]] = {
        v: [] for v in sorted(names.keys() | visitors.keys())
    }
    for conversion in counted:
        by_variation.setdefault(_attribute(conversion, shown), []).append(conversion)
    goals = _name_goals(
        campaign, (conversion.goal_id for found in by_variation.values() for conversion in found)
    )
    return CampaignReport(
        campaign_id,
        None if campaign is None else campaign.key,
        len(shown),
        tuple(
            _report_variation(variation_id, names, visitors, goals, by_variation[variation_id])
            for variation_id in sorted(by_variation, key=_unknown_last)
        ),
    )


def _attribute(conversion: Counted, shown: Mapping[str, list[int]]) -> int | None:
    """Return the variation of a conversion: its own, else the first that the visitor was shown."""
    if conversion.variation_id is not None:
        return conversion.variation_id
    return next(iter(shown.get(conversion.visitor, ())), None)


def _unknown_last(variation_id: int | None) -> tuple[bool, int]:
    return variation_id is None, variation_id or 0


def _name_goals(campaign: Campaign | None, seen: Iterable[int]) -> dict[int, str | None]:
    known = {} if campaign is None else campaign.goals
    return {
        goal_id: known[goal_id].identifier if goal_id in known else None
        for goal_id in sorted({*known, *seen})
    }


def _report_variation(
    variation_id: int | None,
    names: Mapping[int, str],
    visitors: Mapping[int, int],
    goals: Mapping[int, str | None],
    counted: list[Counted],
) -> VariationReport:
    name = None if variation_id is None else names.get(variation_id)
    count = 0 if variation_id is None else visitors.get(variation_id, 0)
    reports = tuple(
        _report_goal(goal_id, identifier, count, counted) for goal_id, identifier in goals.items()
    )
    return VariationReport(variation_id, name, count, reports)


def _report_goal(
    goal_id: int, identifier: str | None, visitors: int, counted: Iterable[Counted]
) -> GoalReport:
    conversions = [conversion for conversion in counted if conversion.goal_id == goal_id]
    revenue = sum((c.revenue for c in conversions if c.revenue is not None), Decimal(0))
    rate = len(conversions) / visitors if visitors else None
    return GoalReport(goal_id, identifier, len(conversions), rate, revenue)
