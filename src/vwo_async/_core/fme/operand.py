"""Operands of FME segments. They are FullStack's, except that gt, gte, lt and lte compare versions (section F6.2)."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from ..number import to_canonical, to_text
from ..segment import COMPARISONS, OPERAND, Test, compile_equality, compile_operand

Version: TypeAlias = tuple[int, ...]

_COMPARISON = re.compile(r"(gte?|lte?)\(([0-9]+(?:\.[0-9]+)*|\.[0-9]+)\)")
# Whole numbers below it are doubles to the last digit.
_MAX_EXACT = 2**53
# Parts of more digits than int() converts in a moment are no version.
_VERSION = re.compile(r"[0-9]{1,300}(?:\.[0-9]{1,300})*")


def compile_fme_operand(operand: str, share: float = 1.0) -> Test:
    """Return the test of a variable's value that *operand* describes; *share*: see `compile_pattern`."""
    match = OPERAND.match(operand)
    if match is None or match[1] not in COMPARISONS:
        return compile_operand(operand, share)
    return _compile_comparison(operand) or compile_equality(operand)


def compile_version_operand(operand: str, share: float = 1.0) -> Test:
    """Return the test of an ip address or of a browser's or system's version.

    Two such values are equal as versions: ``10.0`` is ``10``. Quotes in the operand do not count.
    """
    operand = operand.replace('"', "").strip()
    version = _parse_version(operand)
    if version is None:
        return compile_fme_operand(operand, share)
    return lambda value: _parse_version(to_text(value)) == version


def _compile_comparison(operand: str) -> Test | None:
    match = _COMPARISON.fullmatch(operand)
    wanted = None if match is None else _parse_version(to_canonical(match[2]))
    if match is None or wanted is None:
        return None
    compare = COMPARISONS[match[1]]

    def holds(value: Any) -> bool:
        if type(value) is int and 0 <= value < _MAX_EXACT:
            # The usual case, without a text in between.
            return compare((value,) if value else (), wanted)
        if isinstance(value, bool):
            return False
        version = _parse_version(to_canonical(to_text(value)))
        return version is not None and compare(version, wanted)

    return holds


def _parse_version(text: str) -> Version | None:
    """Return the parts of a version without zeros at its end, so that versions compare like tuples."""
    if _VERSION.fullmatch(text) is None:
        return None
    parts = [int(part) for part in text.split(".")]
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)
