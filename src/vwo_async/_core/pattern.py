r"""Regex operands of segments, held to a bounded amount of work.

A pattern comes from the settings file and a subject from a visitor; together they can keep Python's
backtracking engine busy for hours, and with it the event loop. So a pattern that repeats a repetition is
refused, and the others search only subjects short enough for the number of repetitions in them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

MAX_PATTERN_LENGTH = 1000
# The longest subject for 0, 1, 2... unbounded repetitions that may each give back what they took.
_MAX_SUBJECT = (4096, 4096, 512, 128, 64)
# A bounded repetition of this many counts as unbounded.
_MANY = 25
_REPEATS = {codes.MAX_REPEAT, codes.MIN_REPEAT}


class Pattern(NamedTuple):
    """A pattern that may be searched for.

    Attributes:
        compiled: The pattern.
        max_subject: The longest text in which it is searched; in a longer one it is not found.
    """

    compiled: re.Pattern[str]
    max_subject: int

    def is_in(self, subject: str) -> bool:
        """Tell whether the pattern is found anywhere in *subject*."""
        return len(subject) <= self.max_subject and self.compiled.search(subject) is not None


def compile_pattern(text: str) -> Pattern | None:
    """Return the pattern that *text* spells, or None where it is invalid or could run away."""
    if len(text) > MAX_PATTERN_LENGTH:
        return None
    try:
        with warnings.catch_warnings():
            # What a pattern of the file may mean one day is no concern of the process.
            warnings.simplefilter("ignore")
            compiled = re.compile(text)
            tree = parser.parse(text)
    except (re.error, ValueError, OverflowError, RecursionError):
        return None
    degree = _degree(tree)
    if degree is None:
        return None
    degree += not _is_anchored(tree)
    return Pattern(compiled, _MAX_SUBJECT[degree]) if degree < len(_MAX_SUBJECT) else None


def _is_anchored(tree: Any) -> bool:
    return bool(len(tree)) and tree[0] in (
        (codes.AT, codes.AT_BEGINNING),
        (codes.AT, codes.AT_BEGINNING_STRING),
    )


def _degree(tree: Iterable[Any]) -> int | None:
    """Return how many unbounded repetitions follow one another in *tree*, None where one holds another."""
    total = 0
    for code, argument in tree:
        degree = _degree_of(code, argument)
        if degree is None:
            return None
        total += degree
    return total


def _degree_of(code: Any, argument: Any) -> int | None:
    if code in _REPEATS:
        _, most, body = argument
        inner = _degree(body)
        is_many = most == codes.MAXREPEAT or most >= _MANY
        if not is_many:
            return None if inner is None else inner * max(int(most), 1)
        # A repetition of branches can give back one branch for another, as that of a repetition can.
        return None if inner is None or inner or _has_branch(body) else 1
    bodies = list(_bodies(argument)) if isinstance(argument, tuple) else [argument]
    degrees = [_degree(body) for body in bodies if isinstance(body, parser.SubPattern)]
    if None in degrees:
        return None
    return max((degree for degree in degrees if degree is not None), default=0)


def _has_branch(tree: Iterable[Any]) -> bool:
    for code, argument in tree:
        if code is codes.BRANCH:
            return True
        parts = _bodies(argument) if isinstance(argument, tuple) else [argument]
        if any(_has_branch(part) for part in parts if isinstance(part, parser.SubPattern)):
            return True
    return False


def _bodies(argument: tuple[Any, ...]) -> Iterable[Any]:
    """Yield the parts of an operator's argument, those in lists too."""
    for part in argument:
        if isinstance(part, list):
            yield from part
        else:
            yield part
