"""How a new settings file differs in meaning from the old one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from .._value import Value
from .campaign_type import RUNNING
from .lazy_campaigns import CampaignTexts

if TYPE_CHECKING:
    from .fme import FMESettings
    from .model import Campaign, Goal, Settings, Variable, Variation

_ACCOUNT_FIELDS = (
    "account_id",
    "sdk_key",
    "collection_prefix",
    "is_nb",
    "is_nbv2",
    "is_event_arch_enabled",
)
_CAMPAIGN_FIELDS = ("id", "type", "is_bucketing_seed_enabled", "is_ob", "is_obv2", "is_mab")
# How many names of each kind are in the text.
MAX_NAMES = 10


@dataclass(frozen=True, slots=True)
class SettingsChange(Value):
    """How one settings file differs in meaning from another; false where it does not.

    Campaigns, and features of VWO FME, are named by key: in the order of the new file, then those that
    are gone in the order of the old one. Holds no secret.

    Attributes:
        started: Campaigns that run now and did not before.
        stopped: Campaigns that ran before and do not now, or are gone.
        traffic: The percentage of users before and after, 0..100.
        weights: For each variation whose weight changed, by name, the weight before and after; in VWO FME by
            rule and name.
        variations_added: Names of new variations.
        variations_gone: Names of variations that are gone. Users with such a variation on record are
            decided anew.
        segments: Campaigns whose pre-segmentation changed.
        whitelisting: Campaigns whose forced variations changed.
        goals_added: Identifiers of new goals.
        goals_gone: Identifiers of goals that are gone.
        goals_changed: Identifiers of goals with any other change.
        features: Campaigns whose feature variables changed, or which variations switch the feature on.
        bucketing: Campaigns with any other change that affects who gets what: id, type, flags, or order
            and ids of the variations.
        groups: Ids of mutually exclusive groups that were added, changed or are gone.
        account: Names of changed fields that concern the whole file.
    """

    started: Sequence[str] = ()
    stopped: Sequence[str] = ()
    traffic: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    variations_added: Mapping[str, Sequence[str]] = field(default_factory=dict)
    variations_gone: Mapping[str, Sequence[str]] = field(default_factory=dict)
    segments: Sequence[str] = ()
    whitelisting: Sequence[str] = ()
    goals_added: Mapping[str, Sequence[str]] = field(default_factory=dict)
    goals_gone: Mapping[str, Sequence[str]] = field(default_factory=dict)
    goals_changed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    features: Sequence[str] = ()
    bucketing: Sequence[str] = ()
    groups: Sequence[str] = ()
    account: Sequence[str] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))

    def __str__(self) -> str:
        kinds = ((one.name.replace("_", " "), getattr(self, one.name)) for one in fields(self))
        return "; ".join(f"{name}: {_show(value)}" for name, value in kinds if value) or "no change"


def _show(value: Sequence[str] | Mapping[str, Any]) -> str:
    items = [_show_item(one, value) for one in list(value)[:MAX_NAMES]]
    more = len(value) - len(items)
    return ", ".join(items) + (f" and {more} more" if more else "")


def _show_item(key: str, value: Sequence[str] | Mapping[str, Any]) -> str:
    name = ascii(key[:100])[1:-1]
    if not isinstance(value, Mapping):
        return name
    detail = value[key]
    if isinstance(detail, tuple) and detail and not isinstance(detail[0], str):
        return f"{name} {detail[0]:g} -> {detail[1]:g}"
    return f"{name} ({_show(detail)})"


def compare_fullstack_settings(
    old: Settings, new: Settings, pause: Callable[[], object] = lambda: None
) -> SettingsChange:
    """Return how *new* differs in meaning from *old*, see `compare_settings`."""
    comparison = _Comparison(old, new)
    for key in dict.fromkeys((*comparison.new.positions, *comparison.old.positions)):
        comparison.compare(key)
        pause()
    return comparison.result()


class _Campaigns:
    """The campaigns of one file by key."""

    def __init__(self, settings: Settings) -> None:
        campaigns = settings.campaigns
        self._campaigns = campaigns
        self._texts = campaigns.texts if isinstance(campaigns, CampaignTexts) else None
        keys = (
            campaigns.keys
            if isinstance(campaigns, CampaignTexts)
            else [one.key for one in campaigns]
        )
        self.positions = {key: position for position, key in enumerate(keys)}
        self._grouped = {*settings.campaign_groups} | {
            str(member) for group in settings.groups.values() for member in group.campaigns
        }

    def find(self, key: str) -> Campaign | None:
        position = self.positions.get(key)
        return None if position is None else self._campaigns[position]

    def find_text(self, key: str) -> bytes | None:
        """Return the text of the campaign in the file, if it is known."""
        position = self.positions.get(key)
        return None if position is None or self._texts is None else self._texts[position]

    def is_in_use(self, campaign: Campaign) -> bool:
        """Tell whether the campaign affects any user: it runs, or it competes in its group."""
        return campaign.status == RUNNING or str(campaign.id) in self._grouped


class _Comparison:
    def __init__(self, old: Settings, new: Settings) -> None:
        self._settings = old, new
        self.old = _Campaigns(old)
        self.new = _Campaigns(new)
        self._lists: dict[str, list[str]] = {}
        self._maps: dict[str, dict[str, Any]] = {}

    def result(self) -> SettingsChange:
        old, new = self._settings
        found: dict[str, Any] = {kind: tuple(keys) for kind, keys in self._lists.items()}
        found |= self._maps
        found["groups"] = find_changed_groups(old, new)
        found["account"] = find_changed_fields(old, new, _ACCOUNT_FIELDS)
        return SettingsChange(**found)

    def compare(self, key: str) -> None:
        """Note how the campaign of that key changed."""
        text = self.old.find_text(key)
        if text is not None and text == self.new.find_text(key):
            return
        old, new = self.old.find(key), self.new.find(key)
        ran, runs = (one is not None and one.status == RUNNING for one in (old, new))
        if ran != runs:
            self._lists.setdefault("started" if runs else "stopped", []).append(key)
        if old is None or new is None or not (self.old.is_in_use(old) or self.new.is_in_use(new)):
            return
        if old.percent_traffic != new.percent_traffic:
            self._add_entry("traffic", key, (old.percent_traffic, new.percent_traffic))
        self._compare_variations(key, old, new)
        self._compare_goals(key, old, new)
        common = _index_by_name(old.variations).keys() & _index_by_name(new.variations).keys()
        for kind, describe in _KINDS.items():
            if describe(old, common) != describe(new, common):
                self._lists.setdefault(kind, []).append(key)

    def _add_entry(self, kind: str, key: str, value: object) -> None:
        if value:
            self._maps.setdefault(kind, {})[key] = value

    def _compare_variations(self, key: str, old: Campaign, new: Campaign) -> None:
        before, after = _index_by_name(old.variations), _index_by_name(new.variations)
        moved = {
            name: (before[name].weight, one.weight)
            for name, one in after.items()
            if name in before and before[name].weight != one.weight
        }
        self._add_entry("weights", key, moved)
        self._add_entry("variations_added", key, _list_missing(after, before))
        self._add_entry("variations_gone", key, _list_missing(before, after))

    def _compare_goals(self, key: str, old: Campaign, new: Campaign) -> None:
        before, after = _describe_goals(old), _describe_goals(new)
        changed = (name for name, one in after.items() if before.get(name, one) != one)
        self._add_entry("goals_added", key, _list_missing(after, before))
        self._add_entry("goals_gone", key, _list_missing(before, after))
        self._add_entry("goals_changed", key, tuple(changed))


def _list_missing(names: Iterable[str], others: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in others)


def _index_by_name(variations: Sequence[Variation]) -> Mapping[str, Variation]:
    """Return variations by name; if a name occurs twice, the first one counts."""
    return {one.name: one for one in reversed(variations)}


def _describe_goals(campaign: Campaign) -> Mapping[str, tuple[object, ...]]:
    """Return the relevant fields of each goal with an id; of an identifier the first goal counts."""
    return {
        one.identifier: _describe_goal(one)
        for one in reversed(campaign.goals)
        if one.identifier and one.id is not None
    }


def _describe_goal(goal: Goal) -> tuple[object, ...]:
    return (goal.id, goal.type, goal.mca == -1, goal.has_props, goal.revenue_prop or None)


def _describe_segments(campaign: Campaign, common: set[str]) -> object:
    # As text, since the order of keys matters: the first key names the kind of a node.
    return json.dumps(campaign.segments)


def _describe_whitelisting(campaign: Campaign, common: set[str]) -> object:
    if not campaign.is_forced_variation_enabled:
        return None
    trees = [(one.name, json.dumps(one.segments)) for one in campaign.variations]
    return campaign.is_user_list_enabled, [pair for pair in trees if pair[0] in common]


def _describe_features(campaign: Campaign, common: set[str]) -> object:
    variations = [
        (one.name, one.is_feature_enabled, _describe_variables(one.variables))
        for one in campaign.variations
        if one.name in common
    ]
    return _describe_variables(campaign.variables), sorted(variations)


def _describe_variables(variables: Sequence[Variable]) -> list[tuple[str, ...]]:
    return [(str(one.key), str(one.type), json.dumps(one.value)) for one in variables]


def _describe_bucketing(campaign: Campaign, common: set[str]) -> object:
    times = Counter(one.name for one in campaign.variations)
    variations = [
        (
            position if one.id is None else one.id,
            one.name,
            one.weight if times[one.name] > 1 else None,
        )
        for position, one in enumerate(campaign.variations, start=1)
        if one.name in common
    ]
    return [getattr(campaign, name) for name in _CAMPAIGN_FIELDS], variations


_KINDS: Mapping[str, Callable[[Campaign, set[str]], object]] = {
    "segments": _describe_segments,
    "whitelisting": _describe_whitelisting,
    "features": _describe_features,
    "bucketing": _describe_bucketing,
}


def find_changed_groups(
    old: Settings | FMESettings, new: Settings | FMESettings
) -> tuple[str, ...]:
    """Return the ids of the groups that were added, changed or are gone, or whose members were linked anew."""
    return tuple(dict.fromkeys(_list_changed_groups(old, new)))


def _list_changed_groups(old: Settings | FMESettings, new: Settings | FMESettings) -> Iterator[str]:
    for group_id in dict.fromkeys((*new.groups, *old.groups)):
        before, after = old.groups.get(group_id), new.groups.get(group_id)
        rules = [
            None if one is None else (one.campaigns, one.et, one.p, one.wt)
            for one in (before, after)
        ]
        if rules[0] != rules[1]:
            yield group_id
    for campaign_id in dict.fromkeys((*new.campaign_groups, *old.campaign_groups)):
        links = old.campaign_groups.get(campaign_id), new.campaign_groups.get(campaign_id)
        if links[0] != links[1]:
            yield from (str(link) for link in links if link is not None)


def find_changed_fields(
    old: Settings | FMESettings, new: Settings | FMESettings, names: Iterable[str]
) -> tuple[str, ...]:
    """Return those of *names* whose fields differ in meaning."""
    return tuple(one for one in names if _read_field(old, one) != _read_field(new, one))


def _read_field(settings: Settings | FMESettings, name: str) -> object:
    """Return the value of a field; of the account its text, which is what is hashed and sent."""
    value = getattr(settings, name)
    return str(value) if name == "account_id" else value
