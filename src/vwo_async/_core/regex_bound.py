r"""Regex operands of segments, held to a bounded amount of work.

A pattern comes from the settings file and a subject from a visitor; together they can keep Python's
backtracking engine busy for hours, and with it the event loop. So the work of a search is estimated from
above, and the pattern is searched only in subjects so short that it takes a few hundredths of a second.

A pattern for which no useful subject is that short is left to RE2, which never goes back, where that
library is installed and can mean the same; else it is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from math import log
from re import _constants as codes  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
from re import _parser as parser  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any, NamedTuple

from .re2 import CHARACTERS, REPEATS, combine_flags, compile_re2

MAX_PATTERN_LENGTH = 1000
MAX_GROUPS = 100
# Each takes up to two hundredths of a second to compile.
MAX_WIDE_SETS = 10
# In units of about ten nanoseconds.
MAX_WORK = 3e6
# Instructions by characters, of some twenty nanoseconds each.
MAX_RE2_WORK = 1_200_000
# Lengths of subject to choose from; below the last one a pattern is of no use.
LENGTHS = (4096, 2048, 1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32)
_ENDLESS = 1e30
_BEGINNINGS = frozenset({codes.AT_BEGINNING, codes.AT_BEGINNING_STRING})


class Pattern(NamedTuple):
    """A pattern that may be searched for.

    Attributes:
        search: Looks for it in a text; None where it is not there.
        max_subject: The longest text in which it is searched; in a longer one it is not found.
        is_ascii: Whether it is searched in ASCII texts only; in others it is not found.
    """

    search: Callable[[str], object]
    max_subject: int
    is_ascii: bool = False

    def is_in(self, subject: str) -> bool:
        """Tell whether the pattern is found anywhere in *subject*."""
        if len(subject) > self.max_subject or (self.is_ascii and not subject.isascii()):
            return False
        return self.search(subject) is not None


def compile_pattern(text: str, share: float = 1.0) -> Pattern | None:
    """Return the pattern that *text* spells, or None where it is invalid or could run away.

    Args:
        text: In the syntax of Python.
        share: Which part of the work that one decision may take is this pattern's.
    """
    if len(text) > MAX_PATTERN_LENGTH or text.count("(") > MAX_GROUPS:
        return None
    try:
        # Their filters are the whole process's, so they are left alone where nothing can warn.
        with warnings.catch_warnings() if _may_warn(text) else nullcontext():
            if _may_warn(text):
                # What a pattern of the file may mean one day is no concern of the process.
                warnings.simplefilter("ignore")
            tree = parser.parse(text)
            if sum(map(_is_wide, _find_sets(tree))) > MAX_WIDE_SETS:
                return None
            compiled = re.compile(text)
        return _bound(tree, compiled, share) or _bound_re2(tree, compiled.flags, share)
    except (re.error, ValueError, OverflowError, RuntimeError):
        return None


def _may_warn(text: str) -> bool:
    """Tell whether Python could warn that *text* may one day mean something else: signs within a set."""
    return "[" in text and any(sign in text for sign in ("[[", "[^[", "--", "&&", "||", "~~"))


def _bound(tree: Any, compiled: re.Pattern[str], share: float) -> Pattern | None:
    for length in LENGTHS:
        if _search_work(tree, compiled.flags, length) <= MAX_WORK * share:
            return Pattern(compiled.search, length)
    return None


def _bound_re2(tree: Any, flags: int, share: float) -> Pattern | None:
    found = compile_re2(tree, flags)
    if found is not None:
        for length in LENGTHS:
            if found.size * length <= MAX_RE2_WORK * share:
                return Pattern(found.search, length, is_ascii=True)
    return None


def _find_sets(tree: Iterable[Any]) -> Iterator[Any]:
    for code, argument in tree:
        if code is codes.IN:
            yield argument
        for body in _bodies(code, argument):
            yield from _find_sets(body)


def _is_wide(items: Iterable[Any]) -> bool:
    """Tell whether a set holds more than Latin-1, for which Python makes large tables."""
    for code, argument in items:
        if code in (codes.LITERAL, codes.RANGE):
            last = argument if code is codes.LITERAL else argument[1]
            if last > 255:
                return True
    return False


def _bodies(code: Any, argument: Any) -> list[Any]:
    """Return the parts that an item is made of."""
    if code is codes.BRANCH:
        return list(argument[1])
    parts = argument if isinstance(argument, tuple) else (argument,)
    return [one for one in parts if isinstance(one, parser.SubPattern)]


# How much work a search is


class _Cost(NamedTuple):
    """What it takes, at most, to match a part of a pattern from one place.

    Attributes:
        ways: In how many ways it can match. Each is tried where what follows does not match.
        work: That of going through all of them.
        is_open: Whether they are as many as there is text left, which it shares with others of the kind.
    """

    ways: float
    work: float
    is_open: bool = False


def _search_work(tree: Any, flags: int, length: int) -> float:
    """Return the work of searching *tree* in a text of *length* characters."""
    items, once = list(tree), 0.0
    is_bound = bool(items) and _is_beginning(items[0], flags)
    if items and items[-1][0] in REPEATS:
        # With nothing after it, it is done where it has gone as far as it can: all but the least once.
        code, (least, most, body) = items[-1]
        items[-1] = (code, (least, least, body))
        once = (_count_times(least, most, body, length) + 1) * _sequence(body, flags, length).work
    starts = 1.0 if is_bound else length + 1.0
    found = _sequence(items, flags, length, starts, 0 if is_bound else 1)
    return found.work + once + length


def _is_beginning(item: Any, flags: int) -> bool:
    code, argument = item
    if code is not codes.AT or argument not in _BEGINNINGS:
        return False
    return argument is codes.AT_BEGINNING_STRING or not flags & re.MULTILINE


def _sequence(
    tree: Iterable[Any], flags: int, length: int, ways: float = 1.0, opened: int = 0
) -> _Cost:
    work = 1.0
    for item in tree:
        one = _cost(item, flags, length)
        opened += one.is_open
        # So many lengths that together are no longer than the text can be chosen in fewer ways.
        share = 1 / opened if one.is_open else 1.0
        work += ways * one.work * share
        ways = min(ways * one.ways * share, _ENDLESS)
    return _Cost(ways, work)


def _cost(item: Any, flags: int, length: int) -> _Cost:
    code, argument = item
    if code in REPEATS:
        return _repeat(argument, flags, length, is_lazy=code is codes.MIN_REPEAT)
    if code in CHARACTERS:
        return _Cost(1.0, 0.2 + _character_work(item, flags))
    if code is codes.SUBPATTERN:
        return _group(argument, flags, length)
    if code is codes.GROUPREF:
        return _Cost(1.0, 1 + length * (0.6 if flags & re.IGNORECASE else 0.2))
    if code is codes.POSSESSIVE_REPEAT:
        return _Cost(1.0, _repeat(argument, flags, length).work)
    ones = [_sequence(body, flags, length) for body in _bodies(code, argument)]
    work = 1.0 + sum(one.work for one in ones)
    ways = [one.ways for one in ones]
    if code is codes.BRANCH:
        return _Cost(max(ways) if _differ(argument[1]) else sum(ways), work)
    # What looks around or is atomic is not gone back into.
    return _Cost(max(ways, default=1.0) if code is codes.GROUPREF_EXISTS else 1.0, work)


def _group(argument: Any, flags: int, length: int) -> _Cost:
    _, added, removed, body = argument
    inner = combine_flags(flags, added, removed)
    one = _cost(body[0], inner, length) if len(body) == 1 else _sequence(body, inner, length)
    return one._replace(work=one.work + 1)


def _repeat(argument: Any, flags: int, length: int, *, is_lazy: bool = False) -> _Cost:
    least, most, body = argument
    times = _count_times(least, most, body, length)
    ways = max(times - int(least) + 1, 1)
    is_open = int(most) > times
    if len(body) == 1 and body[0][0] in CHARACTERS:
        each = _character_work(body[0], flags)
        return _Cost(ways, 1 + times * each + ways * (2 if is_lazy else 1), is_open)
    one = _sequence(body, flags, length)
    if times > MAX_WORK or times * log(one.ways) > log(_ENDLESS):
        return _Cost(_ENDLESS, _ENDLESS)
    passes = one.ways**times
    # Going round on the spot is what costs memory.
    step = 2 if body.getwidth()[0] else 20
    return _Cost(ways * passes, (times + 1) * passes * (one.work + step), is_open)


def _count_times(least: Any, most: Any, body: Any, length: int) -> int:
    """Return how often *body* can be repeated in a text of *length* characters."""
    width = body.getwidth()[0]
    # Beyond the least, only what takes up some text is repeated.
    return min(int(most), length // width if width else int(least) + length)


def _character_work(item: Any, flags: int) -> float:
    code, argument = item
    ignores_case = bool(flags & re.IGNORECASE)
    if code is codes.IN:
        return 0.5 + len(argument) / 7 + (1.2 if ignores_case else 0)
    return 0.4 if ignores_case else 0.1


def _differ(branches: Sequence[Any]) -> bool:
    """Tell whether the branches begin with different characters, in either case, so that only one can fit."""
    firsts = [branch[0] if len(branch) else None for branch in branches]
    letters = {
        chr(first[1]).upper().casefold()[:1]
        for first in firsts
        if first is not None and first[0] is codes.LITERAL
    }
    return len(letters) == len(firsts)
