"""The report of experiments from the tally, for a ledger that no longer has all events."""

from __future__ import annotations

from collections.abc import Mapping

from ..catalogue import Campaign
from ..event_report import EventReport, PropertyReport
from ..product import Account
from ..report import CampaignReport, GoalReport, Report, VariationReport
from ..settings_files import SettingsFiles
from .count import CampaignCount, GoalCount, NameCount, VariationCount
from .tally import Tally

__all__ = ["report_tally"]

_NOTHING = VariationCount()


def report_tally(tally: Tally, files: SettingsFiles) -> Report:
    """Return what `build_report` does, of all events that were counted."""
    known = {
        (file.account, campaign.id): campaign
        for file in files.files
        for campaign in file.campaigns.values()
    }
    campaigns = tuple(
        _report_campaign(tally.campaigns.get(one) or CampaignCount(*one), known.get(one))
        for one in sorted(known.keys() | tally.campaigns.keys())
    )
    return Report(campaigns, _report_names(tally, files))


def _report_campaign(count: CampaignCount, campaign: Campaign | None) -> CampaignReport:
    names: Mapping[int, str] = {} if campaign is None else campaign.variations
    goals = list_goals(count, campaign)
    variations = tuple(
        _report_variation(one, names, goals, count.variations.get(one, _NOTHING))
        for one in list_variations(count, campaign)
    )
    key = None if campaign is None else campaign.key
    return CampaignReport(count.campaign_id, key, count.visitors, variations, *count.account)


def list_variations(count: CampaignCount, campaign: Campaign | None) -> list[int | None]:
    """Return the variations of the file and of the events, by id; the one for unknown ones is last."""
    names = set() if campaign is None else set(campaign.variations)
    numbers = names | {one for one in count.variations if one is not None}
    return [*sorted(numbers), *(one for one in count.variations if one is None)]


def list_goals(count: CampaignCount, campaign: Campaign | None) -> dict[int, str | None]:
    """Return the goals of the file and of the events, by id, with their names as far as they are known."""
    known = {} if campaign is None else campaign.goals
    seen = {goal_id for one in count.variations.values() for goal_id in one.goals}
    return {
        goal_id: known[goal_id].identifier if goal_id in known else None
        for goal_id in sorted(seen | known.keys())
    }


def _report_variation(
    variation_id: int | None,
    names: Mapping[int, str],
    goals: Mapping[int, str | None],
    count: VariationCount,
) -> VariationReport:
    name = None if variation_id is None else names.get(variation_id)
    reports = tuple(
        _report_goal(goal_id, identifier, count.visitors, count.goals.get(goal_id, GoalCount()))
        for goal_id, identifier in goals.items()
    )
    return VariationReport(variation_id, name, count.visitors, reports)


def _report_goal(
    goal_id: int, identifier: str | None, visitors: int, count: GoalCount
) -> GoalReport:
    rate = count.conversions / visitors if visitors else None
    return GoalReport(goal_id, identifier, count.conversions, rate, count.revenue)


def _report_names(tally: Tally, files: SettingsFiles) -> tuple[EventReport, ...]:
    metrics: dict[tuple[Account, str], set[int]] = {}
    for file in files.files:
        for name, found in file.metrics.items():
            metrics.setdefault((file.account, name), set()).update(one.id for one in found)
    return tuple(
        _report_name(*one, metrics.get(one, set()), tally.names.get(one) or NameCount())
        for one in sorted(metrics.keys() | tally.names.keys())
    )


def _report_name(
    account: Account, name: str, metric_ids: set[int], count: NameCount
) -> EventReport:
    return EventReport(
        *account,
        name,
        tuple(sorted(metric_ids)),
        count.received,
        count.duplicates,
        count.visitors,
        count.conversions,
        count.revenue,
        tuple(
            PropertyReport(key, one.events, one.total)
            for key, one in sorted(count.properties.items())
        ),
    )
