"""The asyncio-native SDK for VWO's two products: FME (feature flags) and FullStack (A/B tests, rollouts).

One client for each event loop, opened once and used by every request::

    settings = await vwo_async.fetch_fme_settings(account_id, sdk_key)
    async with vwo_async.FMEClient(settings) as client:
        flag = await client.get_flag("search", user_id)
        await client.track_event("purchase", user_id, {"revenue": 49.9})

    settings = await vwo_async.fetch_settings(account_id, sdk_key)
    async with vwo_async.VWOClient(settings) as client:
        variation = await client.activate("checkout", user_id)
        result = await client.track("checkout", user_id, "purchase", revenue_value=49.9)

What is here. Each name has a page of its own, as ``help(vwo_async.VWOClient)``; this one shows all in full.

* FME: `FMEClient`, `FMEUser`; `FMEUserHandle`, its methods for one user; a `Flag` has a `FlagRule` and a
  `FlagVariation`; `FlagExplanation`; `GatewayService` and `AliasResult`. Settings: `fetch_fme_settings`,
  `parse_fme_settings`, `FMESettings`, `FMESettingsSource`.
* FullStack: `VWOClient`, officially `launch`; `UserHandle`, its methods for one user; `GoalType`.
  Settings: `fetch_settings`, `parse_settings`, `Settings`, `SettingsSource`.
* Both: `verify_webhook`; `per_loop`, which gives a `PerLoop`: a client for each of many event loops;
  `compare_settings` and `SettingsChange`, what changed in a file.
* Results: `TrackResult` of `CampaignTrack`; `Delivery`, whose end is an `Outcome`; `CampaignDecision`;
  `Explanation` of each `Step`; `FlushReport`, `CloseReport`, `Statistics`; the words `Reason` and
  `DeliveryStatus`. All are values, can be pickled, and have ``as_json()``.
* Errors, each a `VWOError`: `InvalidInputError`, `MissingExtraError`, `SettingsError`, `ClosedError`,
  `WrongLoopError`, `DeliveryError`, `OutboxError`, `StorageError`.

Other doors: `vwo_async.sync` (clients without a running loop), `vwo_async.storage` (users keep their
variation), `vwo_async.outbox` (events survive the process), `vwo_async.transport` (how events are sent),
`vwo_async.observer` (told of what clients do), `vwo_async.testing` and `vwo_async.collector` (for tests).
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from ._client.client import VWOClient, launch
from ._client.fme_client import FMEClient
from ._client.fme_user import FMEUser
from ._client.fme_user_handle import FMEUserHandle
from ._client.options import GoalType
from ._client.per_loop import PerLoop, per_loop
from ._client.user_handle import UserHandle
from ._delivery.transport.intermediary import GatewayService
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
from ._explanation import Explanation, FlagExplanation, Step
from ._flag import Flag, FlagRule, FlagVariation
from ._home import rehome as _rehome
from ._refresh.fetch import fetch_fme_settings, fetch_settings
from ._refresh.source import FMESettingsSource, SettingsSource
from ._result import (
    AliasResult,
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
from ._settings.change import SettingsChange
from ._settings.comparison import compare_settings
from ._version import __version__
from .webhook import verify_webhook

if _TYPE_CHECKING:
    from ._settings import FMESettings, Settings

__all__ = [
    "AliasResult",
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
    "FMEUserHandle",
    "Flag",
    "FlagExplanation",
    "FlagRule",
    "FlagVariation",
    "FlushReport",
    "GatewayService",
    "GoalType",
    "InvalidInputError",
    "MissingExtraError",
    "OutboxError",
    "Outcome",
    "PerLoop",
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
    "per_loop",
    "verify_webhook",
]

_rehome(globals())


def __getattr__(name: str) -> object:
    if name in ("Settings", "FMESettings"):
        return getattr(_import_module("._settings", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
