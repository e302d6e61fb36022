"""Counts what arrives while it arrives, in a space that does not grow with the number of events.

The counts are those of the report of all events. What is remembered for them is bounded as well: when it
is full, visitors and conversions that come again may count twice, and `Tally.is_partial` says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from ..catalogue import Goal
from ..ledger import CampaignId
from ..product import Account
from ..received import Conversion, Received
from ..settings_files import SettingsFiles
from .count import MAX_NAME_LENGTH, CampaignCount, GoalCount, NameCount
from .early import EarlyConversion, EarlyConversions
from .fingerprint import FingerprintMap

__all__ = ["Tally"]

MAX_REMEMBERED = 8_000_000
MAX_CAMPAIGNS = 1_000
MAX_NAMES = 1_000
# An event that arrives twice arrives soon again.
MAX_EVENT_IDS = 100_000


class Tally:
    """The counts of all campaigns and events since the start or the last reset.

    Attributes:
        campaigns: The campaigns of all events.
        names: The events that have a name.
        visitors: How many visitors were shown a variation of any campaign.
        unique_conversions: How many conversions count.
        is_partial: Whether something was too much to be counted exactly.
    """

    def __init__(self, max_remembered: int = MAX_REMEMBERED) -> None:
        self.campaigns: dict[CampaignId, CampaignCount] = {}
        self.names: dict[tuple[Account, str], NameCount] = {}
        self.visitors = 0
        self.unique_conversions = 0
        self.is_partial = False
        self.seen = FingerprintMap(max_remembered)
        self._early = EarlyConversions()
        self._event_ids: dict[tuple[object, ...], None] = {}
        self._last_event_ids: deque[tuple[object, ...]] = deque()
        self._files = SettingsFiles()
        self._goals: Mapping[tuple[Account, str], list[tuple[int, Goal]]] = {}

    def add(self, events: Iterable[Received], files: SettingsFiles) -> None:
        """Count events, by the settings files that are in force."""
        if files is not self._files:
            self._files, self._goals = files, _list_goals(files)
        for event in events:
            name = self._add_name(event) if event.event_name is not None else None
            if event.kind == "user" and event.variation_id is not None:
                self._show(event, event.campaign_ids[0], event.variation_id)
            for conversion in event.conversions:
                self._convert(event, conversion, name)
        self.is_partial = self.is_partial or self.seen.is_full

    # Visitors

    def _show(self, event: Received, campaign_id: int, variation_id: int) -> None:
        campaign = self._find_campaign(event.account, campaign_id)
        slot = None if campaign is None else campaign.find_slot(variation_id)
        if campaign is None or slot is None:
            self.is_partial = True
            return
        first = self.seen.put(_name_shown(event.account, campaign_id, event.visitor), slot)
        if first is None:
            self._add_visitor(event, campaign, variation_id)
        elif first != slot and self._is_new("also", campaign_id, event, variation_id):
            campaign.show(variation_id)
        self._note(campaign, event.received_at_s)

    def _add_visitor(self, event: Received, campaign: CampaignCount, variation_id: int) -> None:
        campaign.visitors += 1
        campaign.show(variation_id)
        self.visitors += self._is_new("visitor", None, event)
        early = self._early.take(event.account, event.visitor, campaign.campaign_id)
        for conversion in early:
            self._count_early(campaign, variation_id, conversion)

    def _count_early(
        self, campaign: CampaignCount, variation_id: int, early: EarlyConversion
    ) -> None:
        if early.goal_id is not None:
            count = GoalCount(1, int(early.is_first), early.revenue or Decimal(0))
            campaign.drop_unknown(early.goal_id, count)
            self._count(campaign, variation_id, early.goal_id, early.is_first, early.revenue)
        for campaign_id, goal in self._find_goals(campaign.account, early.event_name):
            if campaign_id == campaign.campaign_id:
                self._count_metric(campaign, variation_id, goal, early)

    # Conversions

    def _convert(self, event: Received, conversion: Conversion, name: NameCount | None) -> None:
        goal = conversion.campaign_id, conversion.goal_id
        # A goal of FullStack is the same one in whatever form it arrives.
        event_name = event.event_name if conversion.goal_id is None else None
        key = (*goal, event_name)
        event_id = event.event_id if conversion.is_repeatable else ""
        if not self._is_new("conversion", key, event, event_id):
            return
        is_first = not conversion.is_repeatable or self._is_new("first", key, event)
        self.unique_conversions += 1
        if name is not None:
            name.conversions += 1
            name.revenue += conversion.revenue or 0
        one = EarlyConversion(*goal, event_name, is_first, conversion.revenue)
        if conversion.campaign_id is None:
            self._convert_metrics(event, one)
        elif conversion.goal_id is not None:
            self._convert_goal(event, one, conversion.campaign_id, conversion.goal_id)

    def _convert_goal(
        self, event: Received, one: EarlyConversion, campaign_id: int, goal_id: int
    ) -> None:
        campaign = self._find_campaign(event.account, campaign_id)
        if campaign is None:
            self.is_partial = True
            return
        variation_id = event.variation_id
        if variation_id is None:
            variation_id = self._find_shown(campaign, event.visitor)
        is_counted = self._count(campaign, variation_id, goal_id, one.is_first, one.revenue)
        if variation_id is None and is_counted:
            self._early.add(event.account, event.visitor, one)
        self._note(campaign, event.received_at_s)

    def _convert_metrics(self, event: Received, one: EarlyConversion) -> None:
        """Count an event of FME for each campaign of the visitor with a metric that counts it."""
        self._early.add(event.account, event.visitor, one)
        for campaign_id, goal in self._find_goals(event.account, one.event_name):
            campaign = self.campaigns.get((event.account, campaign_id))
            if campaign is None:
                continue
            variation_id = self._find_shown(campaign, event.visitor)
            if variation_id is not None:
                self._count_metric(campaign, variation_id, goal, one)
                self._note(campaign, event.received_at_s)

    def _count_metric(
        self, campaign: CampaignCount, variation_id: int, goal: Goal, one: EarlyConversion
    ) -> None:
        """Count an event for a metric, which may count less than another of the same event does."""
        if goal.is_repeatable or one.is_first:
            revenue = one.revenue if goal.is_revenue else None
            self._count(campaign, variation_id, goal.id, one.is_first, revenue)

    def _count(
        self,
        campaign: CampaignCount,
        variation_id: int | None,
        goal_id: int,
        is_first: bool,
        revenue: Decimal | None,
    ) -> bool:
        goal = campaign.find_goal(variation_id, goal_id)
        if goal is None:
            self.is_partial = True
            return False
        goal.add(GoalCount(1, int(is_first), revenue or Decimal(0)))
        return True

    # Events by name

    def _add_name(self, event: Received) -> NameCount | None:
        name = self._find_name(event.account, event.event_name or "")
        if name is None:
            self.is_partial = True
            return None
        # Official SDKs give the impressions of one call the same id, when they are made in one millisecond.
        campaign_ids = event.campaign_ids if event.kind == "user" else None
        if self._is_known((event.account, event.event_name, event.event_id, campaign_ids)):
            name.duplicates += 1
            return name
        name.received += 1
        name.visitors += self._is_new("name", event.event_name, event)
        name.add_properties(event.props)
        return name

    def _is_known(self, event_id: tuple[object, ...]) -> bool:
        if event_id in self._event_ids:
            return True
        self._event_ids[event_id] = None
        self._last_event_ids.append(event_id)
        if len(self._last_event_ids) > MAX_EVENT_IDS:
            del self._event_ids[self._last_event_ids.popleft()]
        return False

    # Where it is counted

    def _find_campaign(self, account: Account, campaign_id: int) -> CampaignCount | None:
        found = self.campaigns.get((account, campaign_id))
        if found is None and len(self.campaigns) < MAX_CAMPAIGNS:
            found = self.campaigns[account, campaign_id] = CampaignCount(account, campaign_id)
        return found

    def _find_name(self, account: Account, name: str) -> NameCount | None:
        found = self.names.get((account, name))
        if found is None and len(self.names) < MAX_NAMES and len(name) <= MAX_NAME_LENGTH:
            found = self.names[account, name] = NameCount()
        return found

    def _find_goals(self, account: Account, event_name: str | None) -> Iterable[tuple[int, Goal]]:
        return () if event_name is None else self._goals.get((account, event_name), ())

    def _find_shown(self, campaign: CampaignCount, visitor: str) -> int | None:
        """Return the variation that a visitor was shown first."""
        slot = self.seen.find(_name_shown(campaign.account, campaign.campaign_id, visitor))
        return None if slot is None else campaign.slots[slot]

    def _is_new(self, what: str, key: object, event: Received, detail: object = None) -> bool:
        product, account_id = event.account
        # Of the parts no two make the same text, as they would if they were only put together.
        text = repr((what, key, product.value, account_id, event.visitor, detail))
        return self.seen.put(text) is None

    def _note(self, campaign: CampaignCount, at_s: float) -> None:
        if campaign.series.is_due(at_s):
            campaign.series.add(at_s, campaign.list_counts())


def _name_shown(account: Account, campaign_id: int, visitor: str) -> str:
    return f"{account.product}\0{campaign_id}\0{account.account_id}\0{visitor}"


def _list_goals(files: SettingsFiles) -> dict[tuple[Account, str], list[tuple[int, Goal]]]:
    """Return the metrics of FME that count the events of a name, each with its campaign."""
    found: dict[tuple[Account, str], list[tuple[int, Goal]]] = {}
    for account, campaign_id, goal in _walk_goals(files):
        found.setdefault((account, goal.identifier), []).append((campaign_id, goal))
    return found


def _walk_goals(files: SettingsFiles) -> Iterator[tuple[Account, int, Goal]]:
    for file in files.files:
        for campaign in file.campaigns.values():
            for goal in campaign.goals.values():
                yield file.account, campaign.id, goal
