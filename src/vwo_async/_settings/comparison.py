"""Comparing two parsed settings files, of either product."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from .._error import InvalidInputError
from .._plain import is_kind
from .change import SettingsChange, compare_fullstack_settings
from .fme_change import compare_fme_settings

if TYPE_CHECKING:
    from .fme import FMESettings
    from .model import Settings


def compare_settings(
    old: Settings | FMESettings,
    new: Settings | FMESettings,
    *,
    pause: Callable[[], object] = lambda: None,
) -> SettingsChange:
    """Return how *new* differs in meaning from *old*.

    Names and descriptions are not compared, and neither are campaigns that run in neither file and belong
    to no group.

    Args:
        old: The settings before.
        new: The settings after, of the same product.
        pause: Called between two campaigns or features.

    Raises:
        InvalidInputError: They are not two `Settings`, nor two `FMESettings`: `parse_settings` and
            `parse_fme_settings` make these of files.
    """
    from .fme import FMESettings  # noqa: PLC0415 - slow to import
    from .model import Settings  # noqa: PLC0415 - as above

    if is_kind(old, FMESettings) and is_kind(new, FMESettings):
        return compare_fme_settings(cast("FMESettings", old), cast("FMESettings", new), pause)
    if is_kind(old, Settings) and is_kind(new, Settings):
        return compare_fullstack_settings(cast("Settings", old), cast("Settings", new), pause)
    raise InvalidInputError("old and new must be two Settings, or two FMESettings")
