"""Numbers in segments: which texts spell one, and the one text that each number is compared as.

The text is JavaScript's, the only spelling that is the same in every language (RFC 8785 takes it too): the
shortest digits that mean the same double, without a fraction where there is none, with an exponent from
1e21 on and below 1e-6.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

# Possessive throughout: what was taken is never given back, so that no text takes long.
_NUMBER = re.compile(
    r"[ \t\n\r\f\v]*+[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?[ \t\n\r\f\v]*+"
)
# Whole numbers up to here are doubles to the last digit, so that printing them as integers is exact.
_MAX_EXACT = 2.0**53
_EXPONENT_FROM = 1e21
_EXPONENT_BELOW = 1e-6


def parse_number(text: str) -> float | None:
    """Return the number that the whole of *text* spells: decimal, finite, blanks around it allowed."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    return number if abs(number) != float("inf") else None


def to_number(value: Any) -> float | None:
    """Return the number that a custom variable means; a bool means none."""
    if isinstance(value, str):
        return parse_number(value)
    return None if isinstance(value, bool) else float(value)


def format_number(number: float) -> str:
    """Return the text of a number as JavaScript writes it."""
    size = abs(number)
    if size <= _MAX_EXACT and number.is_integer():
        return str(int(number))
    text = repr(number)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, _, exponent = text.partition("e")
    if size >= _EXPONENT_FROM or size < _EXPONENT_BELOW:
        # Python pads the exponent to two digits.
        return f"{mantissa}e{int(exponent):+d}"
    return format(Decimal(text), "f")


def to_canonical(text: str) -> str:
    """Return *text*; of a number its text as JavaScript writes it."""
    number = parse_number(text)
    return text if number is None else format_number(number)


def to_text(value: Any) -> str:
    """Return the text that a custom variable is compared as beside an operand that is no number.

    An integer keeps all its digits, also beyond those of a double: the caller wrote them.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (float, Decimal)):
        return format_number(float(value))
    return str(value)
