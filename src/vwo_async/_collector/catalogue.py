"""The parts of a settings file that requests are checked against: account, key, campaigns, goals, events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite

from .field import load_json
from .product import Account, Product

__all__ = ["Campaign", "Catalogue", "Goal"]

_REVENUE_TYPE = "REVENUE_TRACKING"
_EVERY_TIME = -1
_FME_TYPES = frozenset({"FLAG_ROLLOUT", "FLAG_TESTING", "FLAG_PERSONALIZE"})
# How events of FME tell what has no variations in the file.
_IMPACT = {1: "off", 2: "on"}
_HOLDOUT = {1: "in the holdout", 2: "not in the holdout"}


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal of a campaign, or a metric of FME; *revenue_prop* is the event property with its revenue."""

    id: int
    identifier: str
    is_revenue: bool
    revenue_prop: str | None
    is_repeatable: bool


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign with its variations' names and its goals, both by id.

    In FME it is a rule of a feature, with the metrics of the feature as goals. The measurement of a
    feature's impact and a holdout are campaigns too.

    Attributes:
        id: Its number.
        key: Its key.
        variations: The names of its variations by id.
        goals: Its goals by id.
        is_holdout: Whether it is a holdout of FME.
        weights: Which share of its visitors each variation is to get, on any scale; empty where the file
            does not say.
        features: In FME the keys of the features that it belongs to.
    """

    id: int
    key: str
    variations: Mapping[int, str]
    goals: Mapping[int, Goal]
    is_holdout: bool = False
    weights: Mapping[int, float] = field(default_factory=dict)
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A settings file, and the parts of it that requests are checked against.

    Attributes:
        source: The file, byte for byte as it was given.
        product: Of which product it is.
        account_id: ``accountId`` as text, whether the file has a number or a text.
        sdk_key: ``sdkKey``, or None if the file has none.
        prefix: ``collectionPrefix``, empty if the file has none.
        campaigns: The campaigns by id.
        metrics: The metrics of FME by the name of the event that they count; empty in FullStack.
        features: The ids of the features of FME.
    """

    source: bytes
    product: Product
    account_id: str
    sdk_key: str | None
    prefix: str
    campaigns: Mapping[int, Campaign]
    metrics: Mapping[str, tuple[Goal, ...]]
    features: frozenset[int]

    def __repr__(self) -> str:
        # The generated repr would show the SDK key.
        return f"<Catalogue account_id={self.account_id} campaigns={len(self.campaigns)}>"

    @property
    def account(self) -> Account:
        """Whose file it is."""
        return Account(self.product, self.account_id)

    @classmethod
    def read(cls, settings: bytes | str | Mapping[str, object]) -> Catalogue:
        """Read a settings file.

        Args:
            settings: JSON as bytes or text, or the decoded JSON object.

        Raises:
            ValueError: It is not a settings file. The text never holds values of the file.
        """
        source = _to_bytes(settings)
        return _read(source, _as_object(_parse(source), "settings"))


def _to_bytes(settings: bytes | str | Mapping[str, object]) -> bytes:
    if isinstance(settings, bytes):
        return settings
    if isinstance(settings, str):
        return settings.encode()
    return json.dumps(settings).encode()


def _parse(source: bytes) -> object:
    try:
        return load_json(source)
    except ValueError:
        # The cause is hidden: it holds the document, and so the key.
        raise _malformed("not JSON") from None


def _read(source: bytes, settings: Mapping[str, object]) -> Catalogue:
    account_id = settings.get("accountId")
    if isinstance(account_id, bool) or not isinstance(account_id, int | str):
        raise _malformed("accountId must be a number or a text")
    sdk_key = settings.get("sdkKey")
    prefix = settings.get("collectionPrefix")
    features = [_as_object(f, "feature") for f in _as_list(settings, "features")]
    campaigns = [_as_object(c, "campaign") for c in _as_list(settings, "campaigns")]
    holdouts = [_as_object(h, "holdout") for h in _as_list(settings, "holdouts")]
    is_fme = _is_fme(settings, campaigns)
    if is_fme:
        found = [*_list_impacts(features), *map(_holdout, holdouts)]
        found += _list_rules(features, campaigns)
    else:
        found = [_campaign(one, _goals(one, "goals")) for one in campaigns]
    return Catalogue(
        source=source,
        product=Product.FME if is_fme else Product.FULLSTACK,
        account_id=str(account_id),
        sdk_key=sdk_key if isinstance(sdk_key, str) and sdk_key else None,
        prefix=prefix if isinstance(prefix, str) else "",
        campaigns={campaign.id: campaign for campaign in found},
        metrics=_group_metrics(_goals(one, "metrics") for one in (*features, *holdouts)),
        features=frozenset(_id(one, "feature") for one in features),
    )


def _is_fme(settings: Mapping[str, object], campaigns: list[Mapping[str, object]]) -> bool:
    return settings.get("features") is not None or any(
        campaign.get("type") in _FME_TYPES for campaign in campaigns
    )


def _campaign(
    campaign: Mapping[str, object], goals: Mapping[int, Goal], features: Iterable[str] = ()
) -> Campaign:
    variations = [_as_object(v, "variation") for v in _as_list(campaign, "variations")]
    return Campaign(
        id=_id(campaign, "campaign"),
        key=str(campaign.get("key", "")),
        variations={_id(v, "variation"): str(v.get("name", "")) for v in variations},
        goals=goals,
        weights={_id(v, "variation"): _weight(v) for v in variations},
        features=tuple(features),
    )


def _weight(variation: Mapping[str, object]) -> float:
    """Return the weight of a variation; 0, which claims nothing, for what is no number."""
    value = variation.get("weight")
    try:
        weight = float(value) if isinstance(value, int | float | str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return weight if isfinite(weight) and weight > 0 else 0.0


def _list_rules(
    features: list[Mapping[str, object]], campaigns: list[Mapping[str, object]]
) -> Iterator[Campaign]:
    """Yield the campaigns of FME, each with the metrics of the features that have it as a rule."""
    goals: dict[int, dict[int, Goal]] = {}
    keys: dict[int, dict[str, None]] = {}
    for feature in features:
        for rule in _as_list(feature, "rules"):
            campaign_id = _id(_as_object(rule, "rule"), "rule", "campaignId")
            goals.setdefault(campaign_id, {}).update(_goals(feature, "metrics"))
            keys.setdefault(campaign_id, {})[str(feature.get("key", ""))] = None
    for campaign in campaigns:
        campaign_id = _id(campaign, "campaign")
        yield _campaign(campaign, goals.get(campaign_id, {}), keys.get(campaign_id, ()))


def _list_impacts(features: list[Mapping[str, object]]) -> Iterator[Campaign]:
    for feature in features:
        impact = feature.get("impactCampaign")
        if isinstance(impact, dict) and impact.get("campaignId") is not None:
            campaign_id = _id(impact, "impactCampaign", "campaignId")
            name = str(feature.get("key", ""))
            goals = _goals(feature, "metrics")
            yield Campaign(campaign_id, f"impact of {name}", _IMPACT, goals, features=(name,))


def _holdout(holdout: Mapping[str, object]) -> Campaign:
    key = f"holdout {holdout.get('name', '')}"
    goals = _goals(holdout, "metrics")
    return Campaign(_id(holdout, "holdout"), key, _HOLDOUT, goals, is_holdout=True)


def _goals(owner: Mapping[str, object], key: str) -> dict[int, Goal]:
    goals = [_goal(_as_object(one, key.removesuffix("s"))) for one in _as_list(owner, key)]
    return {goal.id: goal for goal in goals}


def _group_metrics(owners: Iterable[Mapping[int, Goal]]) -> dict[str, tuple[Goal, ...]]:
    found: dict[str, tuple[Goal, ...]] = {}
    for metrics in owners:
        for metric in metrics.values():
            found[metric.identifier] = (*found.get(metric.identifier, ()), metric)
    return found


def _goal(goal: Mapping[str, object]) -> Goal:
    prop = goal.get("revenueProp")
    return Goal(
        id=_id(goal, "goal"),
        identifier=str(goal.get("identifier", "")),
        is_revenue=goal.get("type") == _REVENUE_TYPE,
        revenue_prop=prop if isinstance(prop, str) and prop else None,
        is_repeatable=goal.get("mca") == _EVERY_TIME,
    )


def _id(value: Mapping[str, object], what: str, name: str = "id") -> int:
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, int | str):
        raise _malformed(f"a {what} has no {name}")
    try:
        return int(found)
    except ValueError:
        raise _malformed(f"the {name} of a {what} is not a whole number") from None


def _as_object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _malformed(f"a {what} must be an object")
    return value


def _as_list(value: Mapping[str, object], key: str) -> list[object]:
    """Return a list; VWO's server writes an empty one as ``{}`` or leaves it out."""
    found = value.get(key) or []
    if not isinstance(found, list):
        raise _malformed(f"{key} must be a list")
    return found


def _malformed(problem: str) -> ValueError:
    return ValueError(f"settings: {problem}")
