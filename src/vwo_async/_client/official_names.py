"""What the official SDKs call launch options that have another name here, or none: for whoever comes from them.

By the names of vwo-python-sdk, vwo-node-sdk and the FME SDKs, in snake case; docs/migration.md tells the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._error import InvalidInputError
from .._plain import is_kind, read_fields
from .api_names import to_snake

_RENAMED: Mapping[str, str] = {
    "batch_event_data": "batch_events",
    "is_development_mode": "development_mode",
    "user_storage_service": "user_storage",
}

_LOGGING = "use Python's logging: its logger is 'vwo_async'"
_NOT_NEEDED = "leave it out, it is not needed here"
_SOURCE = (
    "use settings_source=SettingsSource(account_id, sdk_key, poll_interval_s=...), of FME"
    " FMESettingsSource, in seconds and not milliseconds"
)
_FETCH = "give it to fetch_settings, of FME fetch_fme_settings"
_GATHERED = "leave it out: no usage statistics with options of the client are sent"

_REPLACED: Mapping[str, str] = {
    "account_id": _FETCH,
    "async_storage_config": "use 'user_storage': an async one is awaited, for storage_timeout_s at most",
    "browser_config": _NOT_NEEDED,
    "client_storage": _NOT_NEEDED,
    "edge_config": _NOT_NEEDED,
    "http_agent_config": "use 'workers', 'timeouts' and 'limits'",
    "https_agent_config": "use 'workers', 'timeouts' and 'limits'",
    "is_batching_disabled": "leave it out, or give Limits(coalesces=False)",
    "is_usage_stats_disabled": _GATHERED,
    "is_via_vwo": "use 'brand', of FMEClient",
    "log_level": _LOGGING,
    "logger": _LOGGING,
    "logging": _LOGGING,
    "network": "use 'transport'",
    "platform": _NOT_NEEDED,
    "poll_interval": _SOURCE,
    "polling_interval": _SOURCE,
    "redis_creds": "use user_storage=RedisUserStorage(url)",
    "retry_config": "use limits=Limits(backoff_base_s=..., backoff_cap_s=..., max_age_s=...)",
    "sdk_key": _FETCH,
    "sdk_meta": "use 'sdk_name' and 'sdk_version'",
    "segmentation": _NOT_NEEDED,
    "settings_file": "it is the first argument",
    "should_wait_for_tracking_calls": 'use return_promise_for={"all": True}',
    "storage": "use 'user_storage', whose get is called as get(user_id, key): in FME's own SDKs it is"
    " get(feature_key, user_id)",
    "threading": _NOT_NEEDED,
    "vwo_builder": _NOT_NEEDED,
    "vwo_meta": _NOT_NEEDED,
    "wingify_builder": _NOT_NEEDED,
    "wingify_meta": _NOT_NEEDED,
}

# What a mapping of options has, and no settings file.
_OF_INIT = frozenset({"account_id", "sdk_key", "settings_file", "settingsFile"})
_FILE_FIRST = (
    "these are options of an official SDK: here the settings file comes first, as fetch_settings gives it, of"
    " FME fetch_fme_settings"
)
_IN_BOTH = frozenset({"accountId", "sdkKey"})
_OF_FILES = frozenset({"campaigns", "features", "version"})


def find_replacement(name: object) -> str:
    """Return what to do in place of an option of the official SDKs; empty for a name that is none of theirs."""
    snake = to_snake(name)
    if type(snake) is not str:
        return ""
    snake = snake.lstrip("_")
    if renamed := _RENAMED.get(snake):
        return f"use {renamed!r}"
    return _REPLACED.get(snake, "")


def describe_init_options(settings: object) -> str:
    """Return what is wrong with *settings* if it is what an official SDK's ``init`` or ``launch`` takes, else nothing.

    These take one mapping of options, and fetch the settings file themselves.
    """
    if not is_kind(settings, Mapping):
        return ""
    try:
        given: dict[str, Any] = read_fields(settings, "settings")
    except InvalidInputError:
        # What is wrong with it says whoever reads it as a file.
        return ""
    hints = [f"{name}: {hint}" for name in given if (hint := find_replacement(name))]
    # In the Node SDKs two of them are called as in a settings file.
    is_file = bool(given.keys() & _OF_FILES) or len(hints) <= len(given.keys() & _IN_BOTH)
    if is_file and not given.keys() & _OF_INIT:
        return ""
    return "; ".join((_FILE_FIRST, *hints))
