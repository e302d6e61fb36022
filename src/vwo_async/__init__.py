"""vwo_async: the asyncio-native SDK for VWO FullStack."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from ._client.client import VWOClient, launch
from ._client.options import GoalType
from ._client.user_handle import UserHandle
from ._error import (
    ClosedError,
    DeliveryError,
    InvalidInputError,
    OutboxError,
    SettingsError,
    StorageError,
    VWOError,
    WrongLoopError,
)
from ._explanation import Explanation, Step
from ._refresh.fetch import fetch_settings
from ._refresh.source import SettingsSource
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
from ._settings import parse_settings
from ._settings.change import SettingsChange, compare_settings
from ._version import __version__
from .webhook import verify_webhook

if _TYPE_CHECKING:
    from ._settings import Settings

__all__ = [
    "CampaignDecision",
    "CampaignTrack",
    "CloseReport",
    "ClosedError",
    "Delivery",
    "DeliveryError",
    "DeliveryStatus",
    "Explanation",
    "FlushReport",
    "GoalType",
    "InvalidInputError",
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
    "fetch_settings",
    "launch",
    "parse_settings",
    "verify_webhook",
]


def __getattr__(name: str) -> object:
    if name == "Settings":
        return _import_module("._settings", __name__).Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
