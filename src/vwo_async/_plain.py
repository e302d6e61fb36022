"""What callers pass in, as values of Python's own types.

A class of the caller's own may be derived from ``str`` or ``dict`` and raise whatever it likes when it is
compared, hashed or read, and any object may say that it is of a class that it is not. So what comes in is
made plain here, once, and all other code looks at plain values.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

from ._error import InvalidInputError

_T = TypeVar("_T")

# What a mapping of a class of the caller's own may have: its code may go on without end.
MAX_ENTRIES = 10_000

_PLAIN = frozenset({str, int, float, bool, Decimal, NoneType})
# By the methods of the class itself, whatever one derived from it makes of them.
_BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (Decimal, Decimal),
)


def to_plain(value: Any) -> Any:
    """Return the str, bool, number or None that *value* is; anything else as it is.

    A value of a class derived from these (of an enum, for one) may print as anything, and a number of another
    library (numpy, for one) is of no class that others know.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    try:
        for base, convert in _BASES:
            if issubclass(kind, base):
                return convert(value)
        if issubclass(kind, Integral):
            return int(value)
        if issubclass(kind, Real):
            return float(value)
        # numpy's bool is no number to Python.
        if kind.__module__ == "numpy" and value.ndim == 0:
            return to_plain(value.item())
    except Exception:  # noqa: BLE001 - the caller's own class may raise anything
        # A value that cannot be read is left out like any other.
        return value
    return value


def read_path(value: object, name: str) -> Path:
    """Return the path that *value* is, a text or an object with ``__fspath__``.

    Raises:
        InvalidInputError: It is no path that a file could have.
    """
    path: Any = value
    text = read_foreign(lambda: os.fspath(path), name)
    plain = to_plain(text)
    if type(plain) is not str or not plain or "\0" in plain:
        raise InvalidInputError(f"{name} must be a path")
    return Path(plain)


def is_number_of(value: object, least: float, most: float) -> bool:
    """Tell whether *value* is a number, no bool, from *least* to *most*."""
    plain = to_plain(value)
    return type(plain) in (int, float) and least <= plain <= most


def to_bytes(value: Any) -> bytes | None:
    """Return the bytes that *value*, a bytes or bytearray, holds; None for anything else."""
    for base in (bytes, bytearray):
        if is_kind(value, base):
            return bytes(base.__getitem__(value, slice(None)))
    return None


def is_plain(value: object) -> bool:
    """Tell whether *value* is a str, number, bool or None of Python's own types."""
    return type(value) in _PLAIN


def is_kind(value: object, *kinds: type) -> bool:
    """Tell whether the class of *value* is one of *kinds* or derived from one, whatever *value* says itself."""
    return issubclass(type(value), kinds)


def copy_mapping(value: object, name: str, *, is_cut: bool = False) -> dict[Any, Any]:
    """Return what is in a mapping: a dict as it is, any other copied, so that its own code runs once, here.

    Its keys may be anything; see `read_fields`.

    Args:
        value: The mapping.
        name: What the caller calls it.
        is_cut: Whether one that is too long is cut, to a little more than `MAX_ENTRIES`.

    Raises:
        InvalidInputError: It is no mapping, too long, or reading it raised an error.
    """
    if type(value) is dict:
        return value
    if not is_kind(value, Mapping):
        raise InvalidInputError(f"{name} must be a mapping")
    mapping: Any = value
    entries = read_foreign(lambda: list(islice(mapping.items(), MAX_ENTRIES + 1)), name)
    if len(entries) > MAX_ENTRIES and not is_cut:
        raise InvalidInputError(f"{name} has more than {MAX_ENTRIES} entries")
    return read_foreign(lambda: dict(entries), name)


def read_fields(value: object, name: str) -> dict[str, Any]:
    """Return what stands in a mapping under texts, in a dict that can be read without running foreign code.

    Mappings and lists in it are as they were.

    Raises:
        InvalidInputError: See `copy_mapping`.
    """
    plain = ((to_plain(key), one) for key, one in copy_mapping(value, name).items())
    return {key: to_plain(one) for key, one in plain if type(key) is str}


def read_foreign(read: Callable[[], _T], name: str) -> _T:
    """Return what *read* returns, which runs code of the caller's own classes and so may raise anything.

    Args:
        read: Reads the value.
        name: What the caller calls it.

    Raises:
        InvalidInputError: It raised an error, of which the text names the class alone.
    """
    # Raised outside the except block: the error of the caller's may hold the value and would become our
    # __context__.
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - see above
        kind = type(error).__name__
    raise InvalidInputError(f"reading {name} raised {kind}")
