"""The addresses of the settings file at VWO, and the check of what they answer (sections 17 and F15)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote

from .._error import SettingsError
from .._observer import Product
from .._sdk_key import SdkKey
from .change import compare_fullstack_settings
from .fme_change import compare_fme_settings

if TYPE_CHECKING:
    from .change import SettingsChange
    from .fme import FMESettings
    from .model import Settings

_SettingsT = TypeVar("_SettingsT", "Settings", "FMESettings")


@dataclass(frozen=True)
class SettingsEndpoint(Generic[_SettingsT]):
    """Where VWO gives the settings files of one product, and how they are read.

    Attributes:
        product: The product.
        settings_path: The path of a file.
        pull_path: The same for calls of VWO's webhook.
        parse: Returns the settings in a body; calls its second argument between two small steps.
        compare: Returns how the second settings differ from the first; calls its third argument between two
            small steps.
        names: The parameters that name the SDK and its version.
        fixed: What else stands in the query.
    """

    product: Product
    settings_path: str
    pull_path: str
    parse: Callable[[bytes, Callable[[], object]], _SettingsT]
    compare: Callable[[_SettingsT, _SettingsT, Callable[[], object]], SettingsChange]
    names: tuple[str, str]
    fixed: str = ""

    def is_pull(self, target: str) -> bool:
        """Tell whether *target* is of a call of VWO's webhook."""
        return target.partition("?")[0] == self.pull_path

    def make_target(
        self,
        account_id: int | str,
        sdk_key: SdkKey,
        sdk_name: str,
        sdk_version: str,
        *,
        via_webhook: bool,
    ) -> str:
        """Return path and query of a request for the settings file."""
        path = self.pull_path if via_webhook else self.settings_path
        account = quote(str(account_id), safe="")
        key = quote(sdk_key.get_secret_value(), safe="")
        name, version = self.names
        return (
            f"{path}?a={account}&i={key}&r={random.random()}&platform=server&api-version=1"
            f"&{name}={quote(sdk_name, safe='')}&{version}={quote(sdk_version, safe='')}{self.fixed}"
        )

    def read(
        self,
        body: bytes,
        account_id: int | str,
        sdk_key: SdkKey,
        pause: Callable[[], object] = lambda: None,
    ) -> _SettingsT:
        """Return the settings in the body of an answer.

        Args:
            body: The body.
            account_id: The account whose settings were asked for.
            sdk_key: The SDK key with which they were asked for.
            pause: Called between two small steps.

        Raises:
            SettingsError: The body is not a settings file, or it is for another account or key.
        """
        settings = self.parse(body, pause)
        if str(settings.account_id) != str(account_id):
            raise SettingsError("accountId: the file is of another account")
        if settings.sdk_key is not None and settings.sdk_key != sdk_key:
            raise SettingsError("sdkKey: the file is of another SDK key")
        return settings


def _parse(body: bytes, pause: Callable[[], object]) -> Settings:
    from .parse import parse_with_pauses  # noqa: PLC0415 - it imports pydantic

    return parse_with_pauses(body, pause)


def _parse_fme(body: bytes, pause: Callable[[], object]) -> FMESettings:
    from .parse import parse_fme_with_pauses  # noqa: PLC0415 - the same

    return parse_fme_with_pauses(body, pause)


FULLSTACK: SettingsEndpoint[Settings] = SettingsEndpoint(
    "fullstack",
    "/server-side/settings",
    "/server-side/pull",
    _parse,
    compare_fullstack_settings,
    ("sdk", "sdk-v"),
)
FME: SettingsEndpoint[FMESettings] = SettingsEndpoint(
    "fme",
    "/server-side/v2-settings",
    "/server-side/v2-pull",
    _parse_fme,
    compare_fme_settings,
    ("sn", "sv"),
    "&s=prod",
)
