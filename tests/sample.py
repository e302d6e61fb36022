"""A settings file that a person can read, for tests of the client."""

from __future__ import annotations

import copy
from typing import Any

# No log, stream or error of the whole suite may show it.
SECRET = "SECRETKEY123"
KEY = SECRET
ACCOUNT = 888888


def variation(number: int, name: str, weight: float, **more: Any) -> dict[str, Any]:
    """Return a variation."""
    return {"id": number, "name": name, "weight": weight, "segments": {}, "changes": {}, **more}


def campaign(number: int, key: str, kind: str = "VISUAL_AB", **more: Any) -> dict[str, Any]:
    """Return a running campaign of two equal variations with all traffic and three goals."""
    first = number * 100
    return {
        "id": number,
        "key": key,
        "name": f"Campaign {key}",
        "type": kind,
        "status": "RUNNING",
        "percentTraffic": 100,
        "segments": {},
        "isForcedVariationEnabled": False,
        "variations": [variation(1, "Control", 50), variation(2, "Variation-1", 50)],
        "goals": [
            {"id": first + 1, "identifier": "signup", "type": "CUSTOM_GOAL"},
            {"id": first + 2, "identifier": "purchase", "type": "REVENUE_TRACKING"},
            {"id": first + 3, "identifier": "often", "type": "CUSTOM_GOAL", "mca": -1},
        ],
        **more,
    }


def settings(*campaigns: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a settings file of *campaigns*; by default one of each kind."""
    chosen = campaigns or (
        campaign(11, "checkout"),
        campaign(12, "search", "FEATURE_TEST"),
        campaign(13, "banner", "FEATURE_ROLLOUT", variations=[variation(1, "website", 100)]),
        campaign(14, "paused", status="PAUSED"),
        campaign(15, "closed", percentTraffic=0),
        campaign(16, "members", segments={"custom_variable": {"plan": "pro"}}),
    )
    return copy.deepcopy(
        {"sdkKey": KEY, "accountId": ACCOUNT, "version": 1, "campaigns": list(chosen), **more}
    )


def row(user_id: str = "Ashley", campaign_key: str = "checkout", **more: Any) -> dict[str, Any]:
    """Return a stored record, of the variation that bucketing gives to neither Ashley nor most others."""
    return {
        "userId": user_id,
        "campaignKey": campaign_key,
        "variationName": "Variation-1",
        **more,
    }


# What each API method must be given.
REQUIRED = {
    "activate": ("campaign_key", "user_id"),
    "get_variation_name": ("campaign_key", "user_id"),
    "is_feature_enabled": ("campaign_key", "user_id"),
    "get_feature_variable_value": ("campaign_key", "variable_key", "user_id"),
    "track": ("campaign_key", "user_id", "goal_identifier"),
    "push": ("tag_key", "tag_value", "user_id"),
    "decide": ("campaign_key", "user_id"),
    "decide_all": ("user_id",),
    "explain": ("campaign_key", "user_id"),
}
