"""The asyncio-native SDK for VWO: FullStack (A/B tests, feature tests, rollouts) and FME (feature flags).

One client for each event loop, opened once and used by every request::

    settings = await vwo_async.fetch_settings(account_id, sdk_key)

    async with vwo_async.VWOClient(settings) as client:
        variation = await client.activate("checkout", user_id)
        if await client.is_feature_enabled("search", user_id):
            ...
        result = await client.track("checkout", user_id, "purchase", revenue_value=49.9)
        if not result:
            print(result["checkout"].reason)

What is here:

* The client: `VWOClient` (officially `launch`), and `UserHandle`, which is its methods for one user.
* The client for accounts of VWO FME: `FMEClient`, with `FMEUser`; its flags are a `Flag` with `FlagRule` and
  `FlagVariation`, its settings `fetch_fme_settings`, `parse_fme_settings`, `FMESettings`, and
  `FMESettingsSource` keeps them fresh.
* Settings: `fetch_settings`, `parse_settings`, `Settings`; `SettingsSource` keeps them fresh,
  `verify_webhook` knows VWO's webhook, `compare_settings` tells what changed (`SettingsChange`).
* What methods return: `TrackResult` with a `CampaignTrack` for each campaign and its `Delivery`, whose
  end is an `Outcome`; `CampaignDecision`, `Explanation`, `FlushReport`, `CloseReport`, `Statistics`.
  All are values: they can be pickled, and ``as_json()`` gives each as JSON can hold it.
* Words: `Reason`, `DeliveryStatus`, `GoalType`.
* Errors, all of them `VWOError`: `InvalidInputError`, `SettingsError`, `ClosedError`,
  `WrongLoopError`, `DeliveryError`, `OutboxError`, `StorageError`, `MissingExtraError`.

Other doors: `vwo_async.storage` (users keep their variation), `vwo_async.outbox` (events survive the
process), `vwo_async.transport` (how events are sent), `vwo_async.testing` and `vwo_async.collector`
(for tests).
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from ._client.client import VWOClient, launch
from ._client.fme_client import FMEClient
from ._client.fme_user import FMEUser
from ._client.options import GoalType
from ._client.user_handle import UserHandle
from ._error import (
    ClosedError,
    DeliveryError,
    InvalidInputError,
    MissingExtraError,
    OutboxError,
    SettingsError,
    StorageError,
    VWOError,
    WrongLoopError,
)
from ._explanation import Explanation, Step
from ._flag import Flag, FlagRule, FlagVariation
from ._home import rehome as _rehome
from ._refresh.fetch import fetch_fme_settings, fetch_settings
from ._refresh.source import FMESettingsSource, SettingsSource
from ._result import (
    CampaignDecision,
    CampaignTrack,
    CloseReport,
    Delivery,
    DeliveryStatus,
    FlushReport,
    Outcome,
    Reason,
    Statistics,
    TrackResult,
)
from ._settings import parse_fme_settings, parse_settings
from ._settings.change import SettingsChange, compare_settings
from ._version import __version__
from .webhook import verify_webhook

if _TYPE_CHECKING:
    from ._settings import FMESettings, Settings

__all__ = [
    "CampaignDecision",
    "CampaignTrack",
    "CloseReport",
    "ClosedError",
    "Delivery",
    "DeliveryError",
    "DeliveryStatus",
    "Explanation",
    "FMEClient",
    "FMESettings",
    "FMESettingsSource",
    "FMEUser",
    "Flag",
    "FlagRule",
    "FlagVariation",
    "FlushReport",
    "GoalType",
    "InvalidInputError",
    "MissingExtraError",
    "OutboxError",
    "Outcome",
    "Reason",
    "Settings",
    "SettingsChange",
    "SettingsError",
    "SettingsSource",
    "Statistics",
    "Step",
    "StorageError",
    "TrackResult",
    "UserHandle",
    "VWOClient",
    "VWOError",
    "WrongLoopError",
    "__version__",
    "compare_settings",
    "fetch_fme_settings",
    "fetch_settings",
    "launch",
    "parse_fme_settings",
    "parse_settings",
    "verify_webhook",
]

_rehome(globals())


def __getattr__(name: str) -> object:
    if name in ("Settings", "FMESettings"):
        return getattr(_import_module("._settings", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
