"""The addresses of the settings file at VWO, and the check of what they answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from .._error import SettingsError
from .._sdk_key import SdkKey

if TYPE_CHECKING:
    from .model import Settings

SETTINGS_PATH = "/server-side/settings"
PULL_PATH = "/server-side/pull"


def make_target(
    path: str, account_id: int | str, sdk_key: SdkKey, sdk_name: str, sdk_version: str
) -> str:
    """Return path and query of a request for the settings file; *path* is `SETTINGS_PATH` or `PULL_PATH`."""
    account = quote(str(account_id), safe="")
    key = quote(sdk_key.get_secret_value(), safe="")
    return (
        f"{path}?a={account}&i={key}&r={random.random()}&platform=server&api-version=1"
        f"&sdk={quote(sdk_name, safe='')}&sdk-v={quote(sdk_version, safe='')}"
    )


def read_settings(
    body: bytes,
    account_id: int | str,
    sdk_key: SdkKey,
    pause: Callable[[], object] = lambda: None,
) -> Settings:
    """Return the settings in the body of an answer.

    Args:
        body: The body.
        account_id: The account whose settings were asked for.
        sdk_key: The SDK key with which they were asked for.
        pause: Called between two small steps.

    Raises:
        SettingsError: The body is not a settings file, or it is for another account or key.
    """
    from .parse import parse_with_pauses  # noqa: PLC0415 - as in the package's door

    settings = parse_with_pauses(body, pause)
    if str(settings.account_id) != str(account_id):
        raise SettingsError("accountId: the file is of another account")
    if settings.sdk_key is not None and settings.sdk_key != sdk_key:
        raise SettingsError("sdkKey: the file is of another SDK key")
    return settings
