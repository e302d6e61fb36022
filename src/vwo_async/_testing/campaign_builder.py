"""Settings files of FullStack for tests, said in a line or two for each campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeAlias

from .._error import InvalidInputError
from .._settings.campaign_type import AB_TEST, FEATURE_ROLLOUT, FEATURE_TEST

SettingsFile: TypeAlias = Mapping[str, Any] | bytes | str | Path

ACCOUNT_ID = 1
# No key of VWO's has this form: nothing that is sent with it by mistake can count.
SDK_KEY = "made-for-a-test"


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal of a campaign, or a metric of a feature."""

    identifier: str
    is_revenue: bool = False
    revenue_prop: str | None = None
    is_repeatable: bool = False

    def render(self, number: int) -> dict[str, Any]:
        """Return it as in a settings file."""
        found: dict[str, Any] = {
            "id": number,
            "identifier": self.identifier,
            "type": "REVENUE_TRACKING" if self.is_revenue else "CUSTOM_GOAL",
        }
        if self.revenue_prop is not None:
            found["revenueProp"] = self.revenue_prop
        if self.is_repeatable:
            found["mca"] = -1
        return found


@dataclass(frozen=True, slots=True)
class Variation:
    """A variation of a campaign."""

    name: str
    weight: float
    is_enabled: bool = True
    variables: Mapping[str, Any] = field(default_factory=dict)

    def render(self, number: int) -> dict[str, Any]:
        """Return it as in a settings file."""
        return {
            "id": number,
            "name": self.name,
            "weight": self.weight,
            "isFeatureEnabled": self.is_enabled,
            "variables": render_variables(self.variables),
            "segments": {},
            "changes": {},
        }


def render_variables(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return variables as in a settings file, each with the type of its value."""
    return [
        {"id": number, "key": key, "type": _name_type(value), "value": value}
        for number, (key, value) in enumerate(variables.items(), 1)
    ]


def _name_type(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "double", str: "string"}
    return names.get(type(value), "json")


def name_variation(place: int) -> str:
    """Return the name that VWO gives to the variation at a place."""
    return f"Variation-{place}" if place else "Control"


@dataclass(frozen=True, slots=True)
class CampaignBuilder:
    """A campaign of FullStack; each method returns another one, so that a campaign can be shared by tests.

    Attributes:
        key: Its key.
        type: Its type in the settings file.
    """

    key: str
    type: str
    _percent_traffic: float = 100
    _segment: Mapping[str, Any] = field(default_factory=dict)
    _status: str = "RUNNING"
    _goals: Sequence[Goal] = ()
    _variations: Sequence[Variation] = ()
    _variables: Mapping[str, Any] = field(default_factory=dict)

    def goal(
        self,
        identifier: str,
        *,
        revenue: bool = False,
        revenue_prop: str | None = None,
        repeatable: bool = False,
    ) -> Self:
        """Add a goal.

        Args:
            identifier: What `track` calls it.
            revenue: Whether it is a revenue goal.
            revenue_prop: The event property with its revenue; for the event architecture.
            repeatable: Whether VWO counts each conversion, and not only the visitor's first.
        """
        goal = Goal(identifier, revenue or revenue_prop is not None, revenue_prop, repeatable)
        return replace(self, _goals=(*self._goals, goal))

    def split(self, *weights: float) -> Self:
        """Give it the variations Control, Variation-1 and so on, with these weights in percent."""
        named = [Variation(name_variation(place), one) for place, one in enumerate(weights)]
        return replace(self, _variations=named)

    def variation(
        self, name: str, weight: float, *, enabled: bool = True, **variables: Any
    ) -> Self:
        """Add a variation.

        Args:
            name: Its name.
            weight: Its weight in percent.
            enabled: Whether the feature is on in it.
            **variables: The values of the feature's variables in it.
        """
        added = Variation(name, weight, enabled, variables)
        return replace(self, _variations=(*self._variations, added))

    def traffic(self, percent: float) -> Self:
        """Let so many percent of the users take part."""
        return replace(self, _percent_traffic=percent)

    def variables(self, **values: Any) -> Self:
        """Give the variables of a rollout their values."""
        return replace(self, _variables=values)

    def segment(self, tree: Mapping[str, Any]) -> Self:
        """Let only users of a segment take part, written as in a settings file."""
        return replace(self, _segment=tree)

    def paused(self) -> Self:
        """Have it not running."""
        return replace(self, _status="PAUSED")

    def render(self, number: int, goal_numbers: count[int]) -> dict[str, Any]:
        """Return it as in a settings file."""
        return {
            "id": number,
            "key": self.key,
            "name": self.key,
            "type": self.type,
            "status": self._status,
            "percentTraffic": self._percent_traffic,
            "segments": dict(self._segment),
            "isForcedVariationEnabled": False,
            "variations": [
                one.render(place) for place, one in enumerate(self._list_variations(), 1)
            ],
            "goals": [one.render(next(goal_numbers)) for one in self._goals],
            "variables": render_variables(self._variables),
        }

    def _list_variations(self) -> Sequence[Variation]:
        if self._variations:
            return self._variations
        if self.type == FEATURE_ROLLOUT:
            return [Variation("website", 100)]
        return [Variation(name_variation(place), 50) for place in range(2)]


def campaign(key: str) -> CampaignBuilder:
    """Return an A/B test for a settings file: Control and Variation-1 at 50 percent, unless it is told others."""
    return CampaignBuilder(key, AB_TEST)


def feature_test(key: str) -> CampaignBuilder:
    """Return a feature test of FullStack for a settings file, see `campaign`."""
    return CampaignBuilder(key, FEATURE_TEST)


def feature_rollout(key: str) -> CampaignBuilder:
    """Return a feature rollout of FullStack for a settings file, for all users unless `traffic` says otherwise."""
    return CampaignBuilder(key, FEATURE_ROLLOUT)


def build_settings(*campaigns: CampaignBuilder) -> dict[str, Any]:
    """Return a settings file of FullStack with these campaigns, of a made-up account and key.

    Raises:
        InvalidInputError: Two campaigns have one key.
    """
    keys = [one.key for one in campaigns]
    if len(set(keys)) < len(keys):
        raise InvalidInputError("two campaigns have the same key")
    goal_numbers = count(1)
    return {
        "accountId": ACCOUNT_ID,
        "sdkKey": SDK_KEY,
        "version": 1,
        "isNB": True,
        "isNBv2": True,
        "campaigns": [one.render(number, goal_numbers) for number, one in enumerate(campaigns, 1)],
    }


def read_campaigns(settings: Sequence[CampaignBuilder | SettingsFile]) -> SettingsFile:
    """Return a settings file: the only one of *settings*, or a new one with campaigns.

    Raises:
        InvalidInputError: It is neither, or two campaigns have one key.
    """
    campaigns = [one for one in settings if isinstance(one, CampaignBuilder)]
    files = [one for one in settings if not isinstance(one, CampaignBuilder)]
    chosen = choose_file(files, campaigns)
    return build_settings(*campaigns) if chosen is None else chosen


def choose_file(files: Sequence[Any], builders: Sequence[object]) -> SettingsFile | None:
    """Return the only file, None where there is none.

    Raises:
        InvalidInputError: There are several, or builders beside it, or it is something else.
    """
    if not files:
        return None
    if len(files) > 1 or builders or not isinstance(files[0], (Mapping, bytes, str, Path)):
        raise InvalidInputError(
            "give one settings file, its path, or what a new one has: campaigns to the fixture vwo,"
            " features to vwo_fme"
        )
    only: SettingsFile = files[0]
    return only
