"""The plan of a large settings file. Each campaign is compiled when it is first used.

A compiled campaign is a hundred objects. With thousands of campaigns every full garbage collection would
stop the whole process for a good part of a second, and a service uses only a few of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .._settings.campaign_type import FULLSTACK_TYPES
from .._settings.lazy_campaigns import CampaignTexts
from .lazy_mapping import LazyMapping, index_places
from .plan import Campaign, Goal, Plan, note_campaign, note_groups

if TYPE_CHECKING:
    from .._settings.model import Settings


class LazyPlan(Plan):
    """Behaves like the `Plan` of the same settings. Must not be used by two threads at the same time.

    Args:
        settings: The settings.
        texts: Their campaigns.
        pause: Called between two campaigns.
    """

    __slots__ = ("_compiled", "_positions", "_ready", "_settings", "_texts")

    def __init__(
        self,
        settings: Settings,
        texts: CampaignTexts,
        pause: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(settings.model_copy(update={"campaigns": ()}))
        self._settings = settings
        self._texts = texts
        self._positions = index_places(texts.ids)
        self._compiled: dict[str, Campaign] = {}
        self._ready: dict[str, dict[str, Campaign]] = {name: {} for name in self.ready}
        self.campaigns = LazyMapping(index_places(texts.keys), self._compile)
        self.goals = _LazyGoals(self.campaigns, texts)
        self.notes = (*note_groups(settings), *_make_notes(texts, pause))
        self.ready = self._ready

    def find_uncompiled(self, keys: Iterable[str] | None = None) -> list[str]:
        """Return the keys among *keys*, or among all, whose campaigns are not compiled yet."""
        chosen = self.campaigns if keys is None else keys
        return [key for key in chosen if key in self.campaigns and key not in self._compiled]

    def list_compiled(self) -> list[str]:
        """Return the keys of the compiled campaigns."""
        return list(self._compiled)

    def find_goal_keys(self, goal_identifier: str) -> list[str]:
        """Return the keys of the campaigns that have the goal."""
        return [self._texts.keys[one] for one in self._texts.goals.get(goal_identifier, ())]

    def _compile(self, position: int) -> Campaign:
        """Return the campaign at that position of the file; compile it and its groups if necessary."""
        key = self._texts.keys[position]
        campaign = self._compiled.get(key)
        if campaign is None:
            part = Plan(self._select_settings(self._find_group_members(position)))
            for name, campaigns in part.ready.items():
                for other, one in campaigns.items():
                    self._ready[name].setdefault(other, one)
            for other, one in part.campaigns.items():
                self._compiled.setdefault(other, one)
            campaign = self._compiled[key]
        return campaign

    def _find_group_members(self, position: int) -> list[int]:
        """Return the positions of all campaigns that are needed to decide the one at *position*."""
        settings = self._settings
        found, todo = {position}, [self._texts.ids[position]]
        while todo:
            group_id = settings.campaign_groups.get(str(todo.pop()))
            group = None if group_id is None else settings.groups.get(str(group_id))
            for member in () if group is None else group.campaigns:
                place = self._positions.get(member)
                if place is not None and place not in found:
                    found.add(place)
                    todo.append(member)
        return sorted(found)

    def _select_settings(self, positions: Sequence[int]) -> Settings:
        """Return the settings with only these campaigns and their groups."""
        settings = self._settings
        ids = [str(self._texts.ids[position]) for position in positions]
        links = {
            one: settings.campaign_groups[one] for one in ids if one in settings.campaign_groups
        }
        group_ids = {str(group_id) for group_id in links.values()}
        part = {
            "campaigns": tuple(self._texts[position] for position in positions),
            "campaign_groups": links,
            "groups": {one: settings.groups[one] for one in group_ids if one in settings.groups},
        }
        return settings.model_copy(update=part)


def compile_plan(
    settings: Settings, like: Plan | None = None, pause: Callable[[], object] = lambda: None
) -> Plan:
    """Return the plan of *settings*: a `LazyPlan` for a large file.

    Args:
        settings: The settings.
        like: The plan that this one will replace; the campaigns that it has compiled are compiled at once.
        pause: Called between two campaigns.
    """
    if not isinstance(settings.campaigns, CampaignTexts):
        return Plan(settings)
    plan = LazyPlan(settings, settings.campaigns, pause)
    if isinstance(like, LazyPlan):
        for key in like.list_compiled():
            plan.campaigns.get(key)
            pause()
    return plan


def _make_notes(campaigns: CampaignTexts, pause: Callable[[], object]) -> Iterator[str]:
    """Yield the notes of all campaigns; parse only campaigns that can have any."""
    for index, text in enumerate(campaigns.texts):
        pause()
        # With JSON escapes a regex operand could be written in another way.
        if b"regex(" in text or b"\\u" in text or campaigns.types[index] not in FULLSTACK_TYPES:
            yield from note_campaign(index, campaigns[index])


class _LazyGoals(Mapping[str, Sequence[tuple[Campaign, Goal]]]):
    """For each goal identifier, the campaigns with such a goal, each with that goal."""

    __slots__ = ("_campaigns", "_found", "_texts")

    def __init__(self, campaigns: Mapping[str, Campaign], texts: CampaignTexts) -> None:
        self._campaigns = campaigns
        self._texts = texts
        self._found: dict[str, Sequence[tuple[Campaign, Goal]]] = {}

    def __getitem__(self, identifier: str) -> Sequence[tuple[Campaign, Goal]]:
        found = self._found.get(identifier)
        if found is None:
            keys = (self._texts.keys[position] for position in self._texts.goals[identifier])
            campaigns = map(self._campaigns.__getitem__, keys)
            found = [(campaign, campaign.goals[identifier]) for campaign in campaigns]
            self._found[identifier] = found
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts.goals)

    def __len__(self) -> int:
        return len(self._texts.goals)
