"""Readers of the options that several parts of a fleet have."""

from __future__ import annotations

from typing import Any

from .._error import InvalidInputError
from .._plain import is_number_of, to_plain
from .._user import find_text_fault

MAX_SHARDS = 1024


def read_prefix(prefix: Any) -> str:
    """Return what all keys begin with.

    Raises:
        InvalidInputError: It is no text that a key could begin with.
    """
    plain = to_plain(prefix)
    if type(plain) is not str or find_text_fault(plain):
        raise InvalidInputError("prefix must be a text that UTF-8 can write")
    return plain


def read_whole(name: str, value: Any, most: int) -> int:
    """Return a whole number from 1 to *most*; one such as 4.0 is one.

    Raises:
        InvalidInputError: It is none; the text says *name*.
    """
    if not is_number_of(value, 1, most) or int(value) != value:
        raise InvalidInputError(f"{name} must be a whole number from 1 to {most}")
    return int(value)
