"""vwo_async: the asyncio-native SDK for VWO FullStack."""

from ._version import __version__
from .client import UserHandle, VWOClient, launch
from .error import (
    ClosedError,
    DeliveryError,
    InvalidInputError,
    OutboxError,
    SettingsError,
    StorageError,
    VWOError,
    WrongLoopError,
)
from .explanation import Explanation, Step
from .fetch import fetch_settings
from .options import GoalType
from .result import (
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
from .settings import Settings, parse_settings
from .settings.change import SettingsChange, compare_settings
from .source import SettingsSource
from .webhook import verify_webhook

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
