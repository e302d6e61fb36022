"""Which product a test runs on: FullStack or, where it is marked so, each of the two.

A row of the failure matrix that names delivery, storage, settings or hostile input holds for both clients,
since both stand on one engine. So that one test can show it, `make_client` gives either client in the same
words: a campaign is a feature, a goal is an event, a variation is a variation.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import sample

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
_MEANINGLESS = frozenset(
    {"api", "goal_type_to_track", "meta_data", "should_track_returning_user", "user_storage_data"}
)
_FULLSTACK_ALONE = frozenset({"isEventArchEnabled", "isNB", "isNBv2"})


def is_fme() -> bool:
    """Tell whether the test runs on FME."""
    return os.environ.get(CHOSEN) == FME


# What differs by name


def settings(*campaigns: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the settings file of the product with what is in `sample.settings`, or with *campaigns* of its kind."""
    file = sample.settings(*campaigns, **more)
    return translate(file) if is_fme() else file


def make_client(file: Any, **options: Any) -> VWOClient:
    """Return a client of the product, which speaks like a `VWOClient`."""
    try:
        if is_fme():
            return cast("VWOClient", FMEShop(file, **options))
        return VWOClient(file, **options)
    finally:
        # Tests look for the SDK key in the locals of frames.
        del file, options


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
        event_properties: Any = None,
        revenue_value: Any = None,
        wait: bool | None = None,
        **about: Any,
    ) -> TrackResult:
        """Report an event, whatever the campaign."""
        if revenue_value is not None:
            event_properties = {"revenue": revenue_value, **(event_properties or {})}
        user = _make_user(user_id, about)
        return await self.track_event(goal_identifier, user, event_properties, wait=wait)

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
        """Decide all flags and report nothing."""
        flag = (await self.get_flags(_make_user(user_id, about))).get(campaign_key)
        return None if flag is None or flag.variation is None else flag.variation.name

    async def get_feature_variable_value(
        self, campaign_key: str, variable_key: str, user_id: str, **about: Any
    ) -> Any:
        """Decide all flags and report nothing."""
        flag = (await self.get_flags(_make_user(user_id, about))).get(campaign_key)
        return None if flag is None else flag.get_variable(variable_key)

    async def decide_all(self, user_id: str, **about: Any) -> Mapping[str, Any]:
        """Decide all flags and report nothing."""
        return await self.get_flags(_make_user(user_id, about))

    async def explain(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # FullStack's words
        self, campaign_key: str, user_id: str, **about: Any
    ) -> Any:
        """Explain a flag."""
        return await super().explain(campaign_key, _make_user(user_id, about))

    async def push(self, *given: Any, wait: bool | None = None) -> bool:
        """Report an attribute, or a mapping of them."""
        set_attribute: Any = self.set_attribute
        return bool(await set_attribute(*given, wait=wait))

    async def get_and_update_settings_file(
        self, account_id: Any = None, sdk_key: Any = None, *, via_webhook: bool = False
    ) -> Any:
        """Fetch the settings at once."""
        refresh = self._engine.settings_refresh
        await refresh.refresh_now(account_id, sdk_key, via_webhook=via_webhook)
        return self.settings

    def for_user(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # FullStack's words
        self, user_id: str, **about: Any
    ) -> Any:
        """Return the same methods for one user."""
        return _Handle(self, user_id, about)


class _Handle:
    """The methods of an `FMEShop` for one user."""

    # Where in the arguments the user stands.
    PLACES: ClassVar[Mapping[str, int]] = {"decide_all": 0, "get_feature_variable_value": 2}

    def __init__(self, shop: FMEShop, user_id: str, about: Mapping[str, Any]) -> None:
        self._shop = shop
        self._user_id = user_id
        self._about = about

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._shop, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            given = list(arguments)
            place = len(given) if name == "push" else self.PLACES.get(name, 1)
            given.insert(place, self._user_id)
            about = {} if name == "push" else self._about
            return await method(*given, **about, **options)

        return call

    def __repr__(self) -> str:
        return "<Handle>"


def _make_user(user_id: str, about: Mapping[str, Any]) -> Any:
    names = {"user_ip_address": "ip_address"}
    known = {names.get(key, key): value for key, value in about.items() if key not in _MEANINGLESS}
    return FMEUser(user_id, **known) if known else user_id


# The file

_TYPES = {
    "VISUAL_AB": "FLAG_TESTING",
    "FEATURE_TEST": "FLAG_TESTING",
    "FEATURE_ROLLOUT": "FLAG_ROLLOUT",
}


def translate(file: Mapping[str, Any]) -> dict[str, Any]:
    """Return the v2 file that says of features what *file* says of campaigns."""
    # A paused campaign has no place in a v2 file, and no SDK looks at what stands there.
    running = [one for one in file["campaigns"] if one["status"] == "RUNNING"]
    return {
        **{key: value for key, value in file.items() if key not in _FULLSTACK_ALONE},
        # So that the ledger of a server has what the calls of a test report, and no more.
        "sdkMetaInfo": {"wasInitializedEarlier": True},
        "campaigns": [_translate_campaign(one) for one in running],
        "features": [_make_feature(one) for one in running],
    }


def _translate_campaign(campaign: Mapping[str, Any]) -> dict[str, Any]:
    kind = _TYPES.get(campaign["type"], campaign["type"])
    is_single = kind == "FLAG_ROLLOUT"
    own = {key: value for key, value in campaign.items() if key not in ("goals", "variables")}
    return {
        **own,
        "type": kind,
        "variations": [
            # A rollout is judged by its variation.
            {**one, "weight": campaign["percentTraffic"], "segments": campaign["segments"]}
            if is_single
            else one
            for one in campaign["variations"]
        ],
    }


def _make_feature(campaign: Mapping[str, Any]) -> dict[str, Any]:
    kind = _TYPES.get(campaign["type"], campaign["type"])
    return {
        "id": campaign["id"],
        "key": campaign["key"],
        "name": campaign["key"],
        "type": "FEATURE_FLAG",
        "status": "ON",
        "impactCampaign": {},
        "metrics": copy.deepcopy(campaign["goals"]),
        "rules": [{"type": kind, "ruleKey": "rule", "campaignId": campaign["id"]}],
    }
