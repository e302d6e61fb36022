"""Validates the entries of a large file that every JSON parser reads alike, from their parsed values."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from .field_type import CHECKED_TREES, MAX_TREE_DEPTH, MAX_TREE_NODES

# How much of a large file is parsed between two pauses.
STEP_BYTES = 20_000
# The parser of small files refuses documents nested 200 deep, which needs more brackets than these.
MAX_SAFE_BRACKETS = 190
_ModelT = TypeVar("_ModelT", bound=BaseModel)


def validate_plain(model: type[_ModelT], text: bytes, value: object) -> _ModelT | None:
    """Return the entry; None if it is not valid, or if the parser of small files could read it differently.

    What the two parsers could read differently is text beyond ASCII, written or escaped, numbers that are
    not finite, and deep nesting.

    Args:
        model: What the entry is.
        text: The entry in the file.
        value: The same parsed; None if it holds a number that is not finite.
    """
    brackets = text.count(b"{") + text.count(b"[")
    if brackets > MAX_SAFE_BRACKETS or value is None or not text.isascii() or b"\\u" in text:
        return None
    # With so few brackets and bytes no tree in it can be too deep or too large.
    is_small = brackets <= MAX_TREE_DEPTH and len(text) <= MAX_TREE_NODES
    try:
        return model.model_validate(value, context=CHECKED_TREES if is_small else None)
    except ValidationError:
        return None
