"""Which product a test runs on: FullStack or, where it is marked so, each of the two.

A row of the failure matrix that names delivery, storage, settings or hostile input holds for both clients,
since both stand on one engine. So that one test can show it, `make_client` gives either client in the same
words: a campaign is a feature, a goal is an event, a variation is a variation.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any, cast

import sample
from sample import ACCOUNT, KEY

from vwo_async import (
    FMEClient,
    FMESettingsSource,
    FMEUser,
    SettingsSource,
    TrackResult,
    VWOClient,
    fetch_fme_settings,
    fetch_settings,
    parse_fme_settings,
    parse_settings,
)

FULLSTACK, FME = "fullstack", "fme"
# In the environment, so that children of a test run on its product too.
CHOSEN = "VWO_TEST_PRODUCT"
# What only a FullStack file says.
_FULLSTACK_ALONE = frozenset({"isEventArchEnabled", "isNB", "isNBv2"})


def is_fme() -> bool:
    """Tell whether the test runs on FME."""
    return os.environ.get(CHOSEN) == FME


# What differs by name


def settings(**more: Any) -> dict[str, Any]:
    """Return the settings file of the product, with the campaigns or features of `sample.settings`."""
    if not is_fme():
        return sample.settings(**more)
    own = {key: value for key, value in more.items() if key not in _FULLSTACK_ALONE}
    return copy.deepcopy({**_FME_FILE, **own})


def make_client(file: Any, **options: Any) -> VWOClient:
    """Return a client of the product, which speaks like a `VWOClient`."""
    return cast("VWOClient", FMEShop(file, **options)) if is_fme() else VWOClient(file, **options)


def make_source(*arguments: Any, **options: Any) -> SettingsSource:
    """Return a settings source of the product."""
    return (FMESettingsSource if is_fme() else SettingsSource)(*arguments, **options)


def parse(file: Any) -> Any:
    """Return the settings in a file of the product."""
    return parse_fme_settings(file) if is_fme() else parse_settings(file)


async def fetch(*arguments: Any, **options: Any) -> Any:
    """Fetch the settings of the product."""
    return await (fetch_fme_settings if is_fme() else fetch_settings)(*arguments, **options)


def result_key() -> str:
    """Return the key of what `track` returns of the goal ``signup`` in the campaign ``checkout``."""
    return "signup" if is_fme() else "checkout"


# FME in the words of FullStack


class FMEShop(FMEClient):
    """An `FMEClient` with the methods of a `VWOClient` that have a like in FME."""

    async def track(
        self,
        campaign_key: str,
        user_id: str,
        goal_identifier: str,
        *,
        event_properties: Mapping[str, Any] | None = None,
        revenue_value: Any = None,
        wait: bool | None = None,
        **about: Any,
    ) -> TrackResult:
        """Report an event; `campaign_key` has no meaning in FME."""
        if revenue_value is not None:
            event_properties = {"revenue": revenue_value, **(event_properties or {})}
        return await self.track_event(
            goal_identifier, _make_user(user_id, about), event_properties, wait=wait
        )

    async def activate(
        self, campaign_key: str, user_id: str, *, wait: bool | None = None, **about: Any
    ) -> str | None:
        """Decide a flag and report it."""
        flag = await self.get_flag(campaign_key, _make_user(user_id, about), wait=wait)
        return None if flag.variation is None else flag.variation.name

    async def is_feature_enabled(
        self, campaign_key: str, user_id: str, *, wait: bool | None = None, **about: Any
    ) -> bool:
        """Decide a flag and report it."""
        return bool(await self.get_flag(campaign_key, _make_user(user_id, about), wait=wait))

    async def get_variation_name(self, campaign_key: str, user_id: str, **about: Any) -> str | None:
        """Decide a flag and report nothing."""
        flag = (await self.get_flags(_make_user(user_id, about))).get(campaign_key)
        return None if flag is None or flag.variation is None else flag.variation.name

    async def decide_all(self, user_id: str) -> Mapping[str, Any]:
        """Decide every flag and report nothing."""
        return await self.get_flags(user_id)

    async def push(
        self, tag_key: Any, tag_value: Any, user_id: str, *, wait: bool | None = None
    ) -> bool:
        """Report an attribute."""
        return await self.set_attribute(tag_key, tag_value, user_id, wait=wait)


def _make_user(user_id: str, about: Mapping[str, Any]) -> Any:
    if not about:
        return user_id
    names = {"user_ip_address": "ip_address"}
    return FMEUser(user_id, **{names.get(key, key): value for key, value in about.items()})


# The file


def _make_campaign(
    number: int, key: str, kind: str = "FLAG_TESTING", **more: Any
) -> dict[str, Any]:
    names = ("Control", "Variation-1") if kind == "FLAG_TESTING" else ("website",)
    return {
        "id": number,
        "key": key,
        "name": f"Campaign {key}",
        "type": kind,
        "status": "RUNNING",
        "percentTraffic": 100,
        "segments": {},
        "isForcedVariationEnabled": False,
        "variations": [
            {
                "id": place,
                "name": name,
                "weight": 100 / len(names),
                "segments": {},
                "variables": [{"id": 1, "key": "name", "type": "string", "value": name}],
            }
            for place, name in enumerate(names, start=1)
        ],
        **more,
    }


def _make_feature(campaign: Mapping[str, Any]) -> dict[str, Any]:
    metrics = [
        {"id": place, "identifier": name, "type": "CUSTOM_GOAL"}
        for place, name in enumerate(("signup", "purchase", "often"), start=1)
    ]
    rule = {"type": campaign["type"], "ruleKey": "rule", "campaignId": campaign["id"]}
    return {
        "id": campaign["id"],
        "key": campaign["key"],
        "name": campaign["key"],
        "type": "FEATURE_FLAG",
        "status": "ON",
        "impactCampaign": {},
        "metrics": metrics,
        "rules": [rule],
    }


_CAMPAIGNS = (
    _make_campaign(11, "checkout"),
    _make_campaign(12, "search"),
    _make_campaign(13, "banner", "FLAG_ROLLOUT"),
    _make_campaign(15, "closed", percentTraffic=0),
    _make_campaign(16, "members", segments={"custom_variable": {"plan": "pro"}}),
)
_FME_FILE: dict[str, Any] = {
    "sdkKey": KEY,
    "accountId": ACCOUNT,
    "version": 1,
    # So that the ledger of a server has what the calls of a test report, and no more.
    "sdkMetaInfo": {"wasInitializedEarlier": True},
    "campaigns": list(_CAMPAIGNS),
    "features": [_make_feature(one) for one in _CAMPAIGNS],
}
