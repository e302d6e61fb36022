"""The value of a feature variable, cast by its type as the Node SDK does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from math import isfinite
from typing import Any

from .._settings.campaign_type import FEATURE_ROLLOUT
from .number import to_text
from .plan import Campaign, Variation

CONTROL_ID = 1
# JavaScript reads a number with more digits as infinite.
MAX_DIGITS = 308

_INT = re.compile(r"\s*([+-]?[0-9]+)")
_FLOAT = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")


def is_enabled(campaign: Campaign, variation: Variation) -> bool:
    """Tell whether the feature is on for a user with *variation*."""
    return campaign.type == FEATURE_ROLLOUT or variation.is_feature_enabled


def read_variable(campaign: Campaign, variation: Variation, key: str) -> Any:
    """Return the value of a feature variable; None if there is none or its value has another type.

    In a feature test, users for whom the feature is off get the values of the control.
    """
    kind, value = _find_variables(campaign, variation).get(key, (None, None))
    return _cast(kind, value)


def has_variable(campaign: Campaign, variation: Variation, key: str) -> bool:
    """Tell whether there is a feature variable of that key, whatever its value."""
    return key in _find_variables(campaign, variation)


def read_variables(campaign: Campaign, variation: Variation) -> dict[str, Any]:
    """Return the values of all feature variables by key."""
    variables = _find_variables(campaign, variation)
    return {key: _cast(kind, value) for key, (kind, value) in variables.items()}


def _find_variables(
    campaign: Campaign, variation: Variation
) -> Mapping[str, tuple[str | None, Any]]:
    if campaign.type == FEATURE_ROLLOUT:
        return campaign.variables
    if variation.is_feature_enabled:
        return variation.variables
    control = (one for one in campaign.variations if one.id == CONTROL_ID)
    return next((one.variables for one in control), {})


def _cast(kind: str | None, value: Any) -> Any:
    cast = _CASTS.get(kind or "")
    return deepcopy(value) if cast is None else cast(value)


def _cast_integer(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, int):
        return value
    match = _INT.match(to_text(value))
    if match is None:
        return None
    return int(match[1]) if len(match[1]) <= MAX_DIGITS else None


def _cast_double(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    match = _FLOAT.match(to_text(value))
    number = None if match is None else float(match[1])
    return number if number is not None and isfinite(number) else None


def _cast_boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _cast_json(value: Any) -> Any:
    # A copy, so that callers cannot change each other's value.
    return deepcopy(value) if isinstance(value, (dict, list)) else None


_CASTS: Mapping[str, Callable[[Any], Any]] = {
    "integer": _cast_integer,
    "double": _cast_double,
    "boolean": _cast_boolean,
    "json": _cast_json,
}
