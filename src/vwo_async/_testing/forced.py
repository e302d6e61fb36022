"""Settings files in which everybody gets one variation of a campaign, or one state of a feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

from .._error import InvalidInputError
from .._settings.campaign_type import FEATURE_ROLLOUT, FEATURE_TEST, RUNNING

Json = dict[str, Any]


def force_variation(file: Mapping[str, Any], key: str, wanted: str | bool | None) -> Json:
    """Return a FullStack file in which everybody gets one variation of a campaign.

    Args:
        file: The settings file.
        key: The campaign.
        wanted: The name of the variation; None for nobody takes part. For a feature also True or False: a
            rollout for everybody or nobody, or the first variation of a feature test that has it on or off.

    Raises:
        InvalidInputError: The file has no such campaign, or the campaign no such variation.
    """
    changed = deepcopy(dict(file))
    campaign = _find(_list(changed, "campaigns"), key, "campaign")
    _open_to_all(campaign)
    campaign["status"] = RUNNING
    campaign["percentTraffic"] = 100
    _leave_groups(changed, campaign["id"])
    if wanted is None or (campaign["type"] == FEATURE_ROLLOUT and wanted is False):
        campaign["percentTraffic"] = 0
    elif campaign["type"] == FEATURE_ROLLOUT and wanted is True:
        pass
    elif campaign["type"] == FEATURE_TEST and isinstance(wanted, bool):
        variation = _find_state(campaign, wanted)
        _weigh(campaign, variation)
    else:
        _weigh(campaign, _find_variation([campaign], key, wanted)[1])
    return changed


def force_flag(file: Mapping[str, Any], key: str, wanted: str | bool | None) -> Json:
    """Return a v2 file in which everybody gets one variation of a feature, or has it on or off.

    Args:
        file: The settings file.
        key: The feature.
        wanted: The name of a variation of one of its rules. True for its first rule, for everybody; False
            or None for off.

    Raises:
        InvalidInputError: The file has no such feature, or the feature no such variation or no rule.
    """
    changed = deepcopy(dict(file))
    feature = _find(_list(changed, "features"), key, "feature")
    by_id = {one["id"]: one for one in _list(changed, "campaigns")}
    rules = [one for one in _list(feature, "rules") if one["campaignId"] in by_id]
    feature["rules"] = []
    _leave_holdouts(changed, feature["id"])
    if wanted is None or wanted is False:
        return changed
    if not rules:
        raise InvalidInputError(f"the feature {key!r} has no rule that could give it to anybody")
    campaigns = [by_id[one["campaignId"]] for one in rules]
    if wanted is True:
        campaign, variation = campaigns[0], campaigns[0]["variations"][0]
    else:
        campaign, variation = _find_variation(campaigns, key, wanted)
    rule = dict(rules[campaigns.index(campaign)])
    # What a campaign gives is judged by its variation alone, where the rule names one.
    rule.pop("variationId", None)
    copied = _copy_for(changed, campaign)
    _open_to_all(copied)
    copied["percentTraffic"] = 100
    _leave_groups(changed, copied["id"])
    chosen = next(one for one in copied["variations"] if one["id"] == variation["id"])
    if copied["type"] != "FLAG_TESTING":
        rule["variationId"] = chosen["id"]
    _weigh(copied, chosen)
    feature["rules"] = [{**rule, "campaignId": copied["id"]}]
    return changed


def _copy_for(file: Json, campaign: Json) -> Json:
    """Return the campaign in *file*: another feature that has it as a rule keeps what it gives."""
    users = sum(
        rule["campaignId"] == campaign["id"]
        for feature in file["features"]
        for rule in _list(feature, "rules")
    )
    if not users:
        return campaign
    copied = deepcopy(campaign)
    copied["id"] = max(one["id"] for one in file["campaigns"]) + 1
    copied["key"] = f"{campaign['key']}-{copied['id']}"
    file["campaigns"].append(copied)
    return copied


def _list(owner: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list of the file, where null is as absent, and VWO's server writes an empty one as an object."""
    found = owner.get(name)
    return found if isinstance(found, list) else []


def _find(found: Sequence[Json], key: str, what: str) -> Json:
    keys = [one["key"] for one in found]
    if key in keys:
        return found[keys.index(key)]
    near = get_close_matches(str(key), keys, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(keys) or 'none'}"
    raise InvalidInputError(f"the settings have no {what} {key!r}{hint}")


def _find_variation(campaigns: Sequence[Json], key: str, name: object) -> tuple[Json, Json]:
    """Return the campaign and the variation of that name, of several the last one: experiments follow rollouts."""
    named = {
        one["name"]: (campaign, one) for campaign in campaigns for one in campaign["variations"]
    }
    if name not in named:
        raise InvalidInputError(f"{key!r} has no variation {name!r}: it has {', '.join(named)}")
    return named[name]


def _find_state(campaign: Json, wanted: bool) -> Json:
    for one in campaign["variations"]:
        if bool(one.get("isFeatureEnabled")) is wanted:
            found: Json = one
            return found
    raise InvalidInputError(
        f"no variation of {campaign['key']!r} has it {'on' if wanted else 'off'}"
    )


def _open_to_all(campaign: Json) -> None:
    campaign["segments"] = {}
    campaign["isForcedVariationEnabled"] = False
    for one in campaign["variations"]:
        one["segments"] = {}


def _weigh(campaign: Json, chosen: Json) -> None:
    for one in campaign["variations"]:
        one["weight"] = 100 if one is chosen else 0


def _leave_groups(file: Json, campaign_id: int) -> None:
    """Take a campaign out of its group, whose other members it could be blocked by."""
    names = {str(campaign_id)}
    groups = file.get("campaignGroups") or {}
    file["campaignGroups"] = {
        name: group
        for name, group in groups.items()
        if name not in names and name.partition("_")[0] not in names
    }
    for group in (file.get("groups") or {}).values():
        group["campaigns"] = [
            one for one in _list(group, "campaigns") if str(one).partition("_")[0] not in names
        ]


def _leave_holdouts(file: Json, feature_id: int) -> None:
    """Take a feature out of all holdouts; one of all features becomes one of all others."""
    others = [one["id"] for one in file["features"] if one["id"] != feature_id]
    for holdout in _list(file, "holdouts"):
        ids = others if holdout.get("isGlobal") else _list(holdout, "featureIds")
        holdout["isGlobal"] = False
        holdout["featureIds"] = [one for one in ids if one != feature_id]
