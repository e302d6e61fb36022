"""The plan of a large v2 file. Each feature is compiled when it is first used; why, see `lazy_plan` of FullStack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..._settings.lazy_entries import FeatureTexts, FlagCampaignTexts
from ..lazy_mapping import LazyMapping, index_places
from .plan import (
    Feature,
    FMEPlan,
    Group,
    Holdout,
    Rule,
    can_be_given,
    index_rules,
    link_groups,
    make_groups,
    name_member,
    note_campaign,
    note_groups,
    note_holdouts,
    note_rule,
)

if TYPE_CHECKING:
    from ..._settings.fme import FMESettings


class LazyFMEPlan(FMEPlan):
    """Behaves like the `FMEPlan` of the same settings.

    Args:
        settings: The settings.
        features: Their features.
        campaigns: Their campaigns.
        pause: Called between two small steps.
    """

    __slots__ = (
        "_campaign_places",
        "_campaign_texts",
        "_groups",
        "_holdouts",
        "_settings",
        "_texts",
    )

    def __init__(
        self,
        settings: FMESettings,
        features: FeatureTexts,
        campaigns: FlagCampaignTexts,
        pause: Callable[[], object],
    ) -> None:
        nothing: dict[str, Any] = {
            "features": (),
            "campaigns": (),
            "groups": {},
            "campaign_groups": {},
        }
        super().__init__(settings.model_copy(update=nothing), pause)
        self._settings, self._texts, self._campaign_texts = settings, features, campaigns
        self._campaign_places = index_places(campaigns.ids)
        self._holdouts = [Holdout(settings, one) for one in settings.holdouts]
        self._groups: Mapping[str, Group] = {}
        self.features = LazyMapping(index_places(features.keys), self._compile)
        self.features_by_id = LazyMapping(index_places(features.ids), self._compile)
        # Of several campaigns of one key the first counts.
        keys = {key: place for place, key in reversed([*enumerate(campaigns.keys)])}
        self._campaigns = LazyMapping(keys, campaigns.__getitem__)
        self._rules = self._index_rules()
        self._make_groups(pause)
        self.notes = tuple(_note(settings, features, campaigns, pause))

    def _compile(self, place: int) -> Feature:
        """Return the feature at that place of the file; compile it if necessary."""
        key = self._texts.keys[place]
        feature = self.ready.get(key)
        if feature is None:
            wanted = {campaign_id for _, campaign_id, _ in self._texts.rules[place]}
            campaigns = {
                one: self._campaign_texts[self._campaign_places[one]]
                for one in wanted
                if one in self._campaign_places
            }
            feature = Feature(self._settings, self._texts[place], campaigns, self._holdouts)
            link_groups([feature], self._settings.campaign_groups, self._groups)
            # Whoever compiled it at the same time, in another thread, may have been first.
            feature = self.ready.setdefault(key, feature)
        return feature

    def _index_rules(self) -> Mapping[str, Sequence[Rule]]:
        places: dict[str, tuple[int, ...]] = {}
        for place, (key, rules) in enumerate(zip(self._texts.keys, self._texts.rules, strict=True)):
            for name in dict.fromkeys(f"{key}_{rule_key}" for rule_key, _, _ in rules):
                places[name] = (*places.get(name, ()), place)
        return LazyMapping(
            {name: (name, found) for name, found in places.items()}, self._find_rules
        )

    def _find_rules(self, place: tuple[str, Sequence[int]]) -> list[Rule]:
        name, places = place
        return index_rules(map(self._compile, places)).get(name, [])

    def _make_groups(self, pause: Callable[[], object]) -> None:
        """Compile the features that are in groups, which are decided together."""
        members = {name for one in self._settings.groups.values() for name in one.campaigns}
        features = []
        for place, rules in enumerate(self._texts.rules if members else ()):
            names = {name for _, one, other in rules for name in name_member(one, other)}
            if names & members:
                pause()
                features.append(self._compile(place))
        self._groups = make_groups(self._settings, features)
        link_groups(features, self._settings.campaign_groups, self._groups)


def _note(
    settings: FMESettings,
    features: FeatureTexts,
    campaigns: FlagCampaignTexts,
    pause: Callable[[], object],
) -> Iterator[str]:
    """Yield the notes of a file; parse only the campaigns that can have any."""
    kinds = zip(campaigns.ids, campaigns.types, campaigns.variations, strict=True)
    usable = {id_ for id_, kind, number in kinds if can_be_given(kind, number)}
    for index, rules in enumerate(features.rules):
        for number, (_, campaign_id, _) in enumerate(rules):
            if campaign_id not in usable:
                yield note_rule(index, number)
    yield from note_groups(settings)
    for index, text in enumerate(campaigns.texts):
        pause()
        # With JSON escapes a pattern could be written in another way.
        if b"regex(" in text or b"wildcard(" in text or b"\\u" in text:
            yield from note_campaign(index, campaigns[index])
    yield from note_holdouts(settings)


def compile_fme_plan(
    settings: FMESettings,
    pause: Callable[[], object] = lambda: None,
    like: FMEPlan | None = None,
) -> FMEPlan:
    """Return the plan of *settings*: a `LazyFMEPlan` for a large file.

    Args:
        settings: The settings.
        pause: Called between two small steps.
        like: The plan that this one will replace; the features that it has compiled are compiled at once.
    """
    features, campaigns = settings.features, settings.campaigns
    if not (isinstance(features, FeatureTexts) and isinstance(campaigns, FlagCampaignTexts)):
        return FMEPlan(settings, pause)
    plan = LazyFMEPlan(settings, features, campaigns, pause)
    if isinstance(like, LazyFMEPlan):
        for key in list(like.ready):
            plan.features.get(key)
            pause()
    return plan
