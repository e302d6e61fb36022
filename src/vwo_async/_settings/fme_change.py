"""How a new v2 settings file of VWO FME differs in meaning from the old one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .change import SettingsChange

if TYPE_CHECKING:
    from .fme import Campaign, Feature, FmeSettings

_ACCOUNT_FIELDS = (
    "account_id",
    "sdk_key",
    "collection_prefix",
    "is_web_connectivity_enabled",
    "is_mau",
    "holdouts",
)


def compare_fme_settings(
    old: FmeSettings, new: FmeSettings, pause: Callable[[], object] = lambda: None
) -> SettingsChange:
    """Return how *new* differs in meaning from *old*, by keys of features.

    Args:
        old: The settings before.
        new: The settings after.
        pause: Called between two features.

    Returns:
        ``started`` and ``stopped`` name the features that are new or gone, ``goals_added`` and
        ``goals_gone`` their events, ``features`` those with any other change of what they give to whom.
    """
    before, after = _Side(old), _Side(new)
    changed, added, gone = [], {}, {}
    for key in after.features.keys() & before.features.keys():
        pause()
        first, second = before.features[key], after.features[key]
        if before.describe(first) != after.describe(second):
            changed.append(key)
        events = list_events(first), list_events(second)
        added[key] = [one for one in events[1] if one not in events[0]]
        gone[key] = [one for one in events[0] if one not in events[1]]
    order = list(after.features)
    return SettingsChange(
        started=[key for key in order if key not in before.features],
        stopped=[key for key in before.features if key not in after.features],
        goals_added={key: added[key] for key in order if added.get(key)},
        goals_gone={key: gone[key] for key in order if gone.get(key)},
        features=sorted(changed, key=order.index),
        groups=[
            one
            for one in dict.fromkeys((*old.groups, *new.groups))
            if old.groups.get(one) != new.groups.get(one)
        ],
        account=[name for name in _ACCOUNT_FIELDS if getattr(old, name) != getattr(new, name)],
    )


def list_events(feature: Feature) -> list[str]:
    """Return the events that the metrics of *feature* count."""
    return [one.identifier for one in feature.metrics if one.identifier]


class _Side:
    """One of the two files."""

    def __init__(self, settings: FmeSettings) -> None:
        self.features = {one.key: one for one in settings.features}
        self._campaigns: Mapping[int, Campaign] = {one.id: one for one in settings.campaigns}

    def describe(self, feature: Feature) -> str:
        """Return a text that is the same for two features that give the same to the same users."""
        rules = [
            (one.rule_key, one.variation_id, self._dump(one.campaign_id)) for one in feature.rules
        ]
        impact = feature.impact_campaign.campaign_id
        return json.dumps((feature.id, impact, rules), sort_keys=True)

    def _dump(self, campaign_id: int) -> Any:
        campaign = self._campaigns.get(campaign_id)
        return None if campaign is None else campaign.model_dump(exclude={"name", "status"})
