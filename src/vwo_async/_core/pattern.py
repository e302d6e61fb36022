r"""Regex operands of segments, held to a bounded amount of work.

A pattern comes from the settings file and a subject from a visitor; together they can keep Python's
backtracking engine busy for hours, and with it the event loop. So the number of ways in which a pattern
can be laid over a subject is estimated from above, and the pattern is searched only in subjects so short
that all ways could be tried in a few hundredths of a second. A pattern for which no useful subject is
that short is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from math import log10
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

MAX_PATTERN_LENGTH = 1000
MAX_WAYS = log10(3_000_000)
# Lengths of subject to choose from; below the last one a pattern is of no use.
LENGTHS = (4096, 2048, 1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32)
_REPEATS = frozenset({codes.MAX_REPEAT, codes.MIN_REPEAT})
_BEGINNINGS = frozenset({codes.AT_BEGINNING, codes.AT_BEGINNING_STRING})


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
            tree = list(parser.parse(text))
    except (re.error, ValueError, OverflowError, RecursionError):
        return None
    for length in LENGTHS:
        if _search_ways(tree, length) <= MAX_WAYS:
            return Pattern(compiled, length)
    return None


def _search_ways(tree: Sequence[Any], length: int) -> float:
    """Return the logarithm of the number of ways to search *tree* in a text of *length* characters."""
    starts = 0.0 if tree and tree[0][0] is codes.AT and tree[0][1] in _BEGINNINGS else log10(length)
    ways = _ways(tree, length)
    if tree and tree[-1][0] in _REPEATS:
        # With nothing after it, it need not give back how often it was repeated.
        least, most, _ = tree[-1][1]
        ways -= _times_ways(least, most, length)
    return starts + ways


def _times_ways(least: Any, most: Any, length: int) -> float:
    return log10(max(min(int(most), length) - int(least) + 1, 1))


def _ways(tree: Iterable[Any], length: int) -> float:
    return sum(_ways_of(code, argument, length) for code, argument in tree)


def _ways_of(code: Any, argument: Any, length: int) -> float:
    if code in _REPEATS:
        least, most, body = argument
        return _times_ways(least, most, length) + min(int(most), length) * _ways(body, length)
    if code is codes.BRANCH:
        branches = argument[1]
        ways = [_ways(branch, length) for branch in branches]
        return max(ways) + (0.0 if _differ(branches) else log10(len(branches)))
    bodies = argument if isinstance(argument, tuple) else (argument,)
    return sum(_ways(body, length) for body in bodies if isinstance(body, parser.SubPattern))


def _differ(branches: Iterable[Any]) -> bool:
    """Tell whether the branches begin with different characters, so that only one can fit."""
    firsts = [branch[0] if len(branch) else None for branch in branches]
    literals = {first[1] for first in firsts if first is not None and first[0] is codes.LITERAL}
    return len(literals) == len(firsts)
