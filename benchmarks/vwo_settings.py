"""The settings file for the VWO SDKs, with any number of campaigns."""

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
