"""Checks dataclasses of bounds, such as `Limits`, whose values callers choose."""

from __future__ import annotations

from dataclasses import Field, fields
from math import isfinite
from typing import Any

from .._error import InvalidInputError


def check_bounds(bounds: Any, kind: type) -> None:
    """Refuse bounds that are no *kind*, or of which one is not as its default is, finite and above 0.

    A field with *may_be_zero* in its metadata may be 0, and one with *choices* is one of these. One whose
    default is None is a whole number or None.

    Raises:
        InvalidInputError: The text names the kind or the field.
    """
    if not isinstance(bounds, kind):
        raise InvalidInputError(f"must be {kind.__name__}")
    for one in fields(kind):
        if not _is_bound(getattr(bounds, one.name), one):
            raise InvalidInputError(f"{one.name}: cannot be used")


def _is_bound(value: Any, bound: Field[Any]) -> bool:
    default = bound.default
    if "choices" in bound.metadata:
        return value in bound.metadata["choices"]
    if isinstance(default, bool):
        return isinstance(value, bool)
    if default is None and value is None:
        return True
    if not is_number(value, (int, float) if isinstance(default, float) else int):
        return False
    is_enough = value >= 0 if "may_be_zero" in bound.metadata else value > 0
    return is_enough and isfinite(value)


def is_number(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Tell whether *value* is a number of that kind; a bool is none."""
    return isinstance(value, kind) and not isinstance(value, bool)
