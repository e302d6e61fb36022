"""The settings file: its models and how to read it.

The models need pydantic, which takes as long to import as everything else together. So it is imported
when the first file is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .._error import SettingsError, without_frames

if TYPE_CHECKING:
    from .fme import FMESettings
    from .model import Settings

__all__ = ["FMESettings", "Settings", "parse_fme_settings", "parse_settings"]


def parse_settings(source: Settings | bytes | bytearray | str | Mapping[str, Any]) -> Settings:
    """Return the settings that *source* describes.

    Args:
        source: The file as bytes or text, the decoded JSON object, or parsed settings.

    Raises:
        SettingsError: The file is too large, not JSON, or has fields that cannot be used. Each fault is
            given with the path of its field; values of the file are never shown.
    """
    from .parse import read_any  # noqa: PLC0415 - see above

    try:
        return read_any(source)
    except SettingsError as error:
        fault = error
    finally:
        # Tools that report errors show the locals of each frame, and the file holds the SDK key.
        del source
    raise without_frames(fault)


def parse_fme_settings(
    source: FMESettings | bytes | bytearray | str | Mapping[str, Any],
) -> FMESettings:
    """Return the settings that *source*, a v2 settings file of VWO FME, describes.

    Args:
        source: The file as bytes or text, the decoded JSON object, or parsed settings.

    Raises:
        SettingsError: The file is too large, not JSON, of VWO FullStack, or has fields that cannot be used.
            Each fault is given with the path of its field; values of the file are never shown.
    """
    from .parse import read_any_fme  # noqa: PLC0415 - see above

    try:
        return read_any_fme(source)
    except SettingsError as error:
        fault = error
    finally:
        # As in `parse_settings`.
        del source
    raise without_frames(fault)


def __getattr__(name: str) -> object:
    if name == "Settings":
        return import_module(".model", __name__).Settings
    if name == "FMESettings":
        return import_module(".fme", __name__).FMESettings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
