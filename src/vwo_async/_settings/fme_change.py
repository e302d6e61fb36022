"""How a new v2 settings file of VWO FME differs in meaning from the old one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .change import SettingsChange, find_changed_fields, find_changed_groups

if TYPE_CHECKING:
    from .fme import Campaign, Feature, FMESettings

_ACCOUNT_FIELDS = (
    "account_id",
    "sdk_key",
    "collection_prefix",
    "is_web_connectivity_enabled",
    "is_mau",
    "holdouts",
)


def compare_fme_settings(
    old: FMESettings, new: FMESettings, pause: Callable[[], object] = lambda: None
) -> SettingsChange:
    """Return how *new* differs in meaning from *old*, by keys of features.

    Args:
        old: The settings before.
        new: The settings after.
        pause: Called between two features.

    Returns:
        ``started`` and ``stopped`` name the features that are new or gone, ``goals_added`` and
        ``goals_gone`` their events, ``features`` those with any other change of what they give to whom. Where
        that is also a matter of weights, ``weights`` has them by rule and variation, ``test: Control``.
    """
    before, after = _Side(old), _Side(new)
    changed, weights, added, gone = [], {}, {}, {}
    for key, second in after.features.items():
        pause()
        first = before.features.get(key)
        if first is None:
            continue
        if before.describe(first) != after.describe(second):
            changed.append(key)
            weights[key] = _find_moved(before.list_weights(first), after.list_weights(second))
        events = list_events(first), list_events(second)
        added[key] = tuple(one for one in events[1] if one not in events[0])
        gone[key] = tuple(one for one in events[0] if one not in events[1])
    return SettingsChange(
        started=tuple(key for key in after.features if key not in before.features),
        stopped=tuple(key for key in before.features if key not in after.features),
        weights={key: moved for key, moved in weights.items() if moved},
        goals_added={key: events for key, events in added.items() if events},
        goals_gone={key: events for key, events in gone.items() if events},
        features=tuple(changed),
        groups=find_changed_groups(old, new),
        account=find_changed_fields(old, new, _ACCOUNT_FIELDS),
    )


def list_events(feature: Feature) -> list[str]:
    """Return the events that the metrics of *feature* count."""
    return [one.identifier for one in feature.metrics if one.identifier]


def _find_moved(
    before: Mapping[str, float], after: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Return the weights that are in both and differ."""
    return {
        name: (before[name], weight)
        for name, weight in after.items()
        if name in before and before[name] != weight
    }


class _Side:
    """One of the two files."""

    def __init__(self, settings: FMESettings) -> None:
        self.features = {one.key: one for one in settings.features}
        self._campaigns: Mapping[int, Campaign] = {one.id: one for one in settings.campaigns}

    def describe(self, feature: Feature) -> str:
        """Return a text that is the same for two features that give the same to the same users."""
        rules = [
            (one.rule_key, one.variation_id, self._dump(one.campaign_id)) for one in feature.rules
        ]
        impact = feature.impact_campaign.campaign_id
        # The order of keys counts: the first key of a segment names its kind.
        return json.dumps((feature.id, impact, rules))

    def list_weights(self, feature: Feature) -> dict[str, float]:
        """Return the weights of all variations, each by rule and name."""
        return {
            f"{rule.rule_key}: {one.name}": one.weight
            for rule in feature.rules
            if (campaign := self._campaigns.get(rule.campaign_id)) is not None
            for one in campaign.variations
        }

    def _dump(self, campaign_id: int) -> Any:
        campaign = self._campaigns.get(campaign_id)
        return None if campaign is None else campaign.model_dump(exclude={"name", "status"})
