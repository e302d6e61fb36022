"""The settings file: its models and how to read it.

The models need pydantic, which takes as long to import as all else together: that is left to whoever
first reads a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Settings

__all__ = ["Settings", "parse_settings"]


def parse_settings(source: Settings | bytes | bytearray | str | Mapping[str, Any]) -> Settings:
    """Return the settings that *source* describes.

    Args:
        source: The file's bytes or text, its decoded form, or settings already parsed.

    Raises:
        SettingsError: It is too large, not JSON, or some field cannot be used. Every fault is named
            by its path, and no value of the file is shown.
    """
    from .parse import read_any  # noqa: PLC0415

    return read_any(source)


def __getattr__(name: str) -> object:
    if name == "Settings":
        return import_module(".model", __name__).Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
