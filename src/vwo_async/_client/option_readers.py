"""Readers of options: each returns the value that it was given, or says what is wrong with it.

The text of the error follows the name of the option: ``strict: must be a bool``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeAlias

from .._delivery.bound import check_bounds, is_number
from .._error import InvalidInputError

Reader: TypeAlias = Callable[[Any], object]


def read_bool(value: object) -> object:
    """Accept True and False."""
    if not isinstance(value, bool):
        raise InvalidInputError("must be a bool")
    return value


def read_text(value: object) -> object:
    """Accept what can stand in a header."""
    if type(value) is not str or not (value and value.isascii() and value.isprintable()):
        raise InvalidInputError("must be a non-empty text of printable ASCII")
    return value


def read_seconds(value: Any) -> object:
    """Accept a time that can be waited for."""
    if not is_number(value, (int, float)) or not isfinite(value) or value <= 0:
        raise InvalidInputError("must be a positive number of seconds")
    return value


def read_callable(value: object) -> object:
    """Accept a function."""
    if not callable(value):
        raise InvalidInputError("must be callable")
    return value


def optional(reader: Reader) -> Reader:
    """Return a reader that accepts None too."""
    return lambda value: None if value is None else reader(value)


def one_of(*choices: str) -> Reader:
    """Return a reader that accepts *choices*."""

    def read(value: object) -> object:
        if value not in choices:
            raise InvalidInputError(f"must be {' or '.join(map(repr, choices))}")
        return value

    return read


def whole_number(low: int, high: int) -> Reader:
    """Return a reader that accepts whole numbers from *low* to *high*."""

    def read(value: Any) -> object:
        if not is_number(value, int) or not low <= value <= high:
            raise InvalidInputError(f"must be a whole number from {low} to {high}")
        return value

    return read


def instance_of(kind: type) -> Reader:
    """Return a reader that accepts instances of *kind*."""

    def read(value: object) -> object:
        if not isinstance(value, kind):
            raise InvalidInputError(f"must be {kind.__name__}")
        return value

    return read


def read_user_storage(storage: Any) -> object:
    """Return an object with the methods of a user storage.

    Raises:
        InvalidInputError: It lacks one, or is a storage of the official FME SDKs, whose ``get`` takes its
            arguments in the other order and so would never find a record.
    """
    object_with("get", "set")(storage)
    if find_second_name(storage.get).replace("_", "").lower() == "userid":
        raise InvalidInputError(
            "get is called as get(user_id, key), and its second parameter is the user: the official FME"
            " SDKs call get(feature_key, user_id)"
        )
    return storage


def find_second_name(function: Callable[..., object]) -> str:
    """Return the name of the second argument of a function, empty where that cannot be told."""
    try:
        _, second, *_ = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ""
    return second.name


def object_with(*methods: str) -> Reader:
    """Return a reader that accepts objects with these methods."""

    def read(value: object) -> object:
        if not all(callable(getattr(value, method, None)) for method in methods):
            raise InvalidInputError(f"must have the methods {' and '.join(methods)}")
        return value

    return read


def bounds_of(kind: type) -> Reader:
    """Return a reader of a dataclass of bounds, see `check_bounds`."""

    def read(value: object) -> object:
        check_bounds(value, kind)
        return value

    return read
