"""vwo_async: the asyncio-native SDK for VWO FullStack."""

from ._version import __version__
from .client import VWOClient, launch
from .error import (
    ClosedError,
    DeliveryError,
    InvalidInputError,
    SettingsError,
    StorageError,
    VWOError,
    WrongLoopError,
)
from .fetch import fetch_settings
from .options import GoalType
from .result import (
    CampaignTrack,
    Delivery,
    DeliveryStatus,
    Outcome,
    Reason,
    Statistics,
    TrackResult,
)
from .settings import Settings, parse_settings

__all__ = [
    "CampaignTrack",
    "ClosedError",
    "Delivery",
    "DeliveryError",
    "DeliveryStatus",
    "GoalType",
    "InvalidInputError",
    "Outcome",
    "Reason",
    "Settings",
    "SettingsError",
    "Statistics",
    "StorageError",
    "TrackResult",
    "VWOClient",
    "VWOError",
    "WrongLoopError",
    "__version__",
    "fetch_settings",
    "launch",
    "parse_settings",
]
