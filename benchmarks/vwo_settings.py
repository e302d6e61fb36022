"""The settings files for the VWO SDKs, with any number of campaigns or, for FME, of features."""

from __future__ import annotations

from typing import Any

ACCOUNT = 888888
KEY = "0123456789abcdef0123456789abcdef"
FIVE_LEAVES = {
    "and": [
        {"custom_variable": {"plan": "wildcard(*prof*)"}},
        {"custom_variable": {"age": "gte(18)"}},
        {"custom_variable": {"country": "DE"}},
        {"not": {"custom_variable": {"browser": "ie"}}},
        {"custom_variable": {"visits": "lt(1000)"}},
    ]
}


def make_settings(campaigns: int, *, has_segment: bool) -> dict[str, Any]:
    """Return a settings file of equal campaigns: two equal variations, all traffic, one goal."""
    return {
        "sdkKey": KEY,
        "accountId": ACCOUNT,
        "version": 1,
        "isNB": True,
        "isNBv2": True,
        "isEventArchEnabled": False,
        "groups": {},
        "campaignGroups": {},
        "campaigns": [
            _make_campaign(number, has_segment=has_segment) for number in range(1, campaigns + 1)
        ],
    }


def _make_campaign(number: int, *, has_segment: bool) -> dict[str, Any]:
    names = ("Control", "Variation-1")
    return {
        "id": number,
        "key": f"campaign-{number}",
        "name": f"Campaign {number}",
        "type": "VISUAL_AB",
        "status": "RUNNING",
        "percentTraffic": 100,
        "segments": FIVE_LEAVES if has_segment else {},
        "isForcedVariationEnabled": False,
        "variations": [
            {"id": index, "name": name, "weight": 50, "changes": {}, "segments": {}}
            for index, name in enumerate(names, start=1)
        ],
        "goals": [{"id": number, "identifier": "purchase", "type": "CUSTOM_GOAL"}],
    }


def make_fme_settings(features: int, *, has_segment: bool) -> dict[str, Any]:
    """Return a v2 file of equal features, each with a test like the campaigns of `make_settings`."""
    numbers = range(1, features + 1)
    return {
        "sdkKey": KEY,
        "accountId": ACCOUNT,
        "version": 1,
        "sdkMetaInfo": {"wasInitializedEarlier": True},
        "features": [_make_feature(number) for number in numbers],
        "campaigns": [_make_test(number, has_segment=has_segment) for number in numbers],
    }


def _make_feature(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "key": f"campaign-{number}",
        "name": f"Feature {number}",
        "type": "FEATURE_FLAG",
        "status": "ON",
        "metrics": [{"id": number, "identifier": "purchase", "type": "CUSTOM_GOAL"}],
        "rules": [{"type": "FLAG_TESTING", "campaignId": number, "ruleKey": "rule"}],
        "impactCampaign": {},
    }


def _make_test(number: int, *, has_segment: bool) -> dict[str, Any]:
    names = ("Control", "Variation-1")
    return {
        "id": number,
        "key": f"campaign-{number}_rule",
        "name": f"Campaign {number}",
        "type": "FLAG_TESTING",
        "status": "RUNNING",
        "percentTraffic": 100,
        "segments": FIVE_LEAVES if has_segment else {},
        "variations": [
            {
                "id": index,
                "name": name,
                "weight": 50,
                "segments": {},
                "variables": [{"id": 1, "key": "name", "type": "string", "value": name}],
            }
            for index, name in enumerate(names, start=1)
        ],
    }
