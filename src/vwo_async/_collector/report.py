"""The report of experiments: visitors, conversions, rate and revenue by variation and goal, and by event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from .catalogue import Campaign, Goal
from .event_report import EventReport, report_events
from .ledger import CampaignId, Counted, Ledger
from .product import Account, Product
from .settings_files import SettingsFiles

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
    """A campaign; in FME a rule of a feature, a holdout, or the measurement of a feature's impact.

    Attributes:
        campaign_id: The campaign.
        key: Its key in the settings file, None if that is not known.
        visitors: How many different visitors were shown any variation.
        variations: Its variations by id. The one for unknown variations is last, and is left out if it
            has no conversions. In FME a conversion by a visitor who was shown nothing is no campaign's.
        product: Of which product.
        account_id: Of which account.
    """

    campaign_id: int
    key: str | None
    visitors: int
    variations: tuple[VariationReport, ...]
    product: Product
    account_id: str

    def as_dict(self) -> dict[str, object]:
        """Return the campaign as JSON-ready values."""
        return {
            "product": self.product,
            "account_id": self.account_id,
            "campaign_id": self.campaign_id,
            "key": self.key,
            "visitors": self.visitors,
            "variations": [variation.as_dict() for variation in self.variations],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What was received of all campaigns and events.

    Attributes:
        campaigns: All campaigns of the settings files and of the ledger, by account and id.
        events: All events that have a name, by account and name; with them those that metrics of the
            files count, even if none has arrived.
    """

    campaigns: tuple[CampaignReport, ...]
    events: tuple[EventReport, ...]

    def event(self, name: str, account_id: int | str | None = None) -> EventReport:
        """Return the report of one event.

        Args:
            name: Its name, such as the identifier of a metric.
            account_id: Its account, where several have such an event.

        Raises:
            KeyError: There is none.
        """
        for event in self.events:
            if event.name == name and (account_id is None or str(account_id) == event.account_id):
                return event
        raise KeyError(name)

    def as_dict(self) -> dict[str, object]:
        """Return the report as JSON-ready values."""
        return {
            "campaigns": [campaign.as_dict() for campaign in self.campaigns],
            "events": [event.as_dict() for event in self.events],
        }


def build_report(ledger: Ledger, files: SettingsFiles) -> Report:
    """Return the report of a ledger.

    Args:
        ledger: The events.
        files: The settings files: they have the names, and all their campaigns, goals and metrics are
            listed.
    """
    known = {
        (file.account, campaign.id): campaign
        for file in files.files
        for campaign in file.campaigns.values()
    }
    counted = _Conversions(ledger.counted)
    campaigns = [
        _report_campaign(one, known.get(one), ledger, counted)
        for one in sorted(known.keys() | ledger.campaigns)
    ]
    return Report(tuple(campaigns), report_events(ledger, files))


class _Conversions:
    """The conversions that count, by what they are found by: a campaign, or in FME the name of an event."""

    def __init__(self, counted: Iterable[Counted]) -> None:
        self._by_campaign: dict[CampaignId, list[Counted]] = {}
        self._by_event: dict[tuple[Account, str], list[Counted]] = {}
        for one in counted:
            if one.campaign_id is not None:
                self._by_campaign.setdefault((one.account, one.campaign_id), []).append(one)
            elif one.event_name is not None:
                self._by_event.setdefault((one.account, one.event_name), []).append(one)

    def find(
        self, campaign_id: CampaignId, campaign: Campaign | None, visitors: Mapping[str, object]
    ) -> Iterator[tuple[int, Counted]]:
        """Yield the conversions of a campaign, each with its goal.

        Args:
            campaign_id: The campaign.
            campaign: The same in the settings file.
            visitors: Who was shown a variation of it.
        """
        for one in self._by_campaign.get(campaign_id, ()):
            if one.goal_id is not None:
                yield one.goal_id, one
        for goal in () if campaign is None else campaign.goals.values():
            of_event = self._by_event.get((campaign_id[0], goal.identifier), ())
            for one in _count_for(goal, of_event):
                if one.visitor in visitors:
                    yield goal.id, one


def _count_for(goal: Goal, counted: Iterable[Counted]) -> Iterator[Counted]:
    """Yield what one of the metrics of an event counts: it may be less than another of them does."""
    seen: set[str] = set()
    for one in counted:
        if goal.is_repeatable or one.visitor not in seen:
            seen.add(one.visitor)
            yield one if goal.is_revenue else replace(one, revenue=None)


def _report_campaign(
    campaign_id: CampaignId, campaign: Campaign | None, ledger: Ledger, conversions: _Conversions
) -> CampaignReport:
    account, number = campaign_id
    shown = ledger.shown(account, number)
    visitors = Counter(variation_id for variations in shown.values() for variation_id in variations)
    names = {} if campaign is None else campaign.variations
    by_variation: dict[int | None, list[tuple[int, Counted]]] = {
        v: [] for v in sorted(names.keys() | visitors.keys())
    }
    for goal_id, counted in conversions.find(campaign_id, campaign, shown):
        by_variation.setdefault(_attribute(counted, shown), []).append((goal_id, counted))
    goals = _name_goals(
        campaign, (goal_id for found in by_variation.values() for goal_id, _ in found)
    )
    return CampaignReport(
        number,
        None if campaign is None else campaign.key,
        len(shown),
        tuple(
            _report_variation(variation_id, names, visitors, goals, by_variation[variation_id])
            for variation_id in sorted(by_variation, key=_unknown_last)
        ),
        account.product,
        account.account_id,
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
    counted: list[tuple[int, Counted]],
) -> VariationReport:
    name = None if variation_id is None else names.get(variation_id)
    count = 0 if variation_id is None else visitors.get(variation_id, 0)
    reports = tuple(
        _report_goal(goal_id, identifier, count, [one for goal, one in counted if goal == goal_id])
        for goal_id, identifier in goals.items()
    )
    return VariationReport(variation_id, name, count, reports)


def _report_goal(
    goal_id: int, identifier: str | None, visitors: int, conversions: list[Counted]
) -> GoalReport:
    revenue = sum((c.revenue for c in conversions if c.revenue is not None), Decimal(0))
    rate = len(conversions) / visitors if visitors else None
    return GoalReport(goal_id, identifier, len(conversions), rate, revenue)
