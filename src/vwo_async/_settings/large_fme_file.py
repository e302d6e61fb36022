"""Parses a large v2 settings file in small steps."""

from __future__ import annotations

from collections.abc import Callable

from .fme import FmeSettings


def read_large_fme(body: bytes, pause: Callable[[], object]) -> FmeSettings | list[str]:
    """TO DO."""
    return FmeSettings.model_validate_json(body)
