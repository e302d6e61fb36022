"""Settings files of VWO FME for tests, said in a line or two for each feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Self

from .._error import InvalidInputError
from .._settings.campaign_type import PERSONALIZE, ROLLOUT, TESTING
from .campaign_builder import (
    ACCOUNT_ID,
    SDK_KEY,
    Goal,
    SettingsFile,
    choose_file,
    name_variation,
    render_variables,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a feature, and the campaign behind it."""

    key: str
    type: str
    variations: Sequence[tuple[str, float, Mapping[str, Any]]]
    segment: Mapping[str, Any] = field(default_factory=dict)

    def render(self, feature_key: str, number: int) -> dict[str, Any]:
        """Return the campaign as in a settings file."""
        # What is not a test has its segment at its only variation.
        own = {} if self.type == TESTING else dict(self.segment)
        return {
            "id": number,
            "key": f"{feature_key}_{self.key}",
            "name": self.key,
            "type": self.type,
            "status": "RUNNING",
            "percentTraffic": 100,
            "isForcedVariationEnabled": False,
            "segments": dict(self.segment) if self.type == TESTING else {},
            "variations": [
                {
                    "id": place,
                    "name": name,
                    "weight": weight,
                    "segments": own,
                    "variables": render_variables(variables),
                }
                for place, (name, weight, variables) in enumerate(self.variations, 1)
            ],
        }


@dataclass(frozen=True, slots=True)
class FeatureBuilder:
    """A feature of FME; each method returns another one, so that a feature can be shared by tests.

    Attributes:
        key: Its key.
    """

    key: str
    _rules: Sequence[Rule] = ()
    _metrics: Sequence[Goal] = ()

    def metric(
        self, event_name: str, *, revenue_prop: str | None = None, repeatable: bool = False
    ) -> Self:
        """Add a metric.

        Args:
            event_name: The event that it counts, as `track_event` names it.
            revenue_prop: The event property with its revenue.
            repeatable: Whether VWO counts each event, and not only the user's first.
        """
        goal = Goal(event_name, revenue_prop is not None, revenue_prop, repeatable)
        return replace(self, _metrics=(*self._metrics, goal))

    def rollout(
        self, percent: float = 100, *, segment: Mapping[str, Any] | None = None, **variables: Any
    ) -> Self:
        """Add a rollout.

        Args:
            percent: How many of the users it is on for.
            segment: Whom it is for, written as in a settings file.
            **variables: The values of the feature's variables.
        """
        key = self._name("rollout", ROLLOUT)
        return self._add(Rule(key, ROLLOUT, [("Rollout", percent, variables)], segment or {}))

    def test(
        self, *split: float, segment: Mapping[str, Any] | None = None, **variables: Sequence[Any]
    ) -> Self:
        """Add an experiment with the variations Control, Variation-1 and so on.

        Args:
            *split: Their weights in percent.
            segment: Whom it is for, written as in a settings file.
            **variables: For each variable its values, one for each variation.

        Raises:
            InvalidInputError: A variable has more or fewer values than there are variations.
        """
        for name, values in variables.items():
            if len(values) != len(split):
                raise InvalidInputError(f"{name} needs {len(split)} values, one for each variation")
        variations = [
            (
                name_variation(place),
                weight,
                {name: values[place] for name, values in variables.items()},
            )
            for place, weight in enumerate(split)
        ]
        return self._add(Rule(self._name("test", TESTING), TESTING, variations, segment or {}))

    def personalize(self, segment: Mapping[str, Any], **variables: Any) -> Self:
        """Add a personalisation.

        Args:
            segment: Whom it is for, written as in a settings file.
            **variables: The values of the feature's variables for them.
        """
        key = self._name("personalize", PERSONALIZE)
        return self._add(Rule(key, PERSONALIZE, [("Personalised", 100, variables)], segment))

    def _name(self, name: str, kind: str) -> str:
        number = sum(one.type == kind for one in self._rules)
        return f"{name}{number + 1}" if number else name

    def _add(self, rule: Rule) -> Self:
        return replace(self, _rules=(*self._rules, rule))

    def render(self, number: int, rules: Sequence[int], metrics: count[int]) -> dict[str, Any]:
        """Return the feature as in a settings file.

        Args:
            number: Its id.
            rules: The ids of the campaigns behind its rules.
            metrics: Gives the ids of its metrics.
        """
        return {
            "id": number,
            "key": self.key,
            "name": self.key,
            "type": "FEATURE_FLAG",
            "status": "ON",
            "metrics": [one.render(next(metrics)) for one in self._metrics],
            "rules": [
                _render_rule(one, place) for place, one in zip(rules, self._rules, strict=True)
            ],
        }

    def render_campaigns(self, numbers: count[int]) -> Iterator[dict[str, Any]]:
        """Yield the campaigns behind its rules."""
        for one in self._rules:
            yield one.render(self.key, next(numbers))


def _render_rule(rule: Rule, number: int) -> dict[str, Any]:
    found = {"type": rule.type, "ruleKey": rule.key, "campaignId": number}
    return found if rule.type == TESTING else {**found, "variationId": 1}


def feature(key: str) -> FeatureBuilder:
    """Return a feature of FME for a settings file: off for all, until it is given a rule."""
    return FeatureBuilder(key)


def build_fme_settings(*features: FeatureBuilder) -> dict[str, Any]:
    """Return a v2 settings file with these features, of a made-up account and key.

    Raises:
        InvalidInputError: Two features have one key.
    """
    keys = [one.key for one in features]
    if len(set(keys)) < len(keys):
        raise InvalidInputError("two features have the same key")
    numbers, metrics = count(1), count(1)
    rendered, campaigns = [], []
    for place, one in enumerate(features, 1):
        own = list(one.render_campaigns(numbers))
        campaigns += own
        rendered.append(one.render(place, [campaign["id"] for campaign in own], metrics))
    return {
        "accountId": ACCOUNT_ID,
        "sdkKey": SDK_KEY,
        "version": 1,
        "features": rendered,
        "campaigns": campaigns,
        # As in the file of an account in use: what a test sees is what its service reports.
        "sdkMetaInfo": {"wasInitializedEarlier": True},
    }


def read_features(settings: Sequence[FeatureBuilder | SettingsFile]) -> SettingsFile:
    """Return a v2 settings file: the only one of *settings*, or a new one with features.

    Raises:
        InvalidInputError: It is neither, or two features have one key.
    """
    features = [one for one in settings if isinstance(one, FeatureBuilder)]
    files = [one for one in settings if not isinstance(one, FeatureBuilder)]
    chosen = choose_file(files, features)
    return build_fme_settings(*features) if chosen is None else chosen
