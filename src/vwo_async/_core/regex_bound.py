r"""Regex operands of segments, with a bound on the work of a search.

The pattern comes from the settings file and the text from a visitor. Together they could keep Python's
backtracking engine busy for hours, and block the event loop. So an upper bound of the work is computed
for each pattern, and the pattern is only searched in texts that are short enough for a few hundredths of
a second.

If even short texts could take longer, RE2 is used, which never backtracks, provided that it is installed
and that the pattern means the same to it. Otherwise the pattern is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import log
from re import _constants as codes  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
from re import _parser as parser  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any, NamedTuple

from .re2 import CHARACTERS, REPEATS, combine_flags, compile_re2

MAX_PATTERN_LENGTH = 1000
MAX_GROUPS = 100
# Each such set takes up to 20 ms to compile.
MAX_WIDE_SETS = 10
# In units of about ten nanoseconds.
MAX_WORK = 3e6
# Instructions times characters, of about twenty nanoseconds each.
MAX_RE2_WORK = 1_200_000
# The maximum text lengths to choose from. A pattern with a lower one would be of no use.
LENGTHS = (4096, 2048, 1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32)
_ENDLESS = 1e30
_BEGINNINGS = frozenset({codes.AT_BEGINNING, codes.AT_BEGINNING_STRING})


class Pattern(NamedTuple):
    """A compiled pattern with the limits within which it is searched.

    Attributes:
        search: Returns the match in a text, or None.
        max_length: The maximum length of the text; in a longer one the pattern does not match.
        is_ascii: Whether only ASCII texts are searched; in others the pattern does not match.
    """

    search: Callable[[str], object]
    max_length: int
    is_ascii: bool = False

    def is_in(self, text: str) -> bool:
        """Tell whether the pattern matches anywhere in *text*."""
        if len(text) > self.max_length or (self.is_ascii and not text.isascii()):
            return False
        return self.search(text) is not None


def compile_pattern(text: str, share: float = 1.0) -> Pattern | None:
    """Return the compiled pattern, or None if it is invalid or could take too long.

    Args:
        text: The pattern in Python's syntax.
        share: This pattern's share, 0..1, of the work that one decision may take.
    """
    if len(text) > MAX_PATTERN_LENGTH or text.count("(") > MAX_GROUPS:
        return None
    try:
        with _without_warnings(text):
            tree = parser.parse(text)
            if sum(map(_is_wide, _find_sets(tree))) > MAX_WIDE_SETS:
                return None
            compiled = re.compile(text)
        return _bound(tree, compiled, share) or _bound_re2(tree, compiled.flags, share)
    except (re.error, ValueError, OverflowError, RuntimeError):
        return None


def is_regex(text: str) -> bool:
    """Tell whether *text* is valid in Python's syntax; one that is too long to look at counts as valid."""
    if len(text) > MAX_PATTERN_LENGTH:
        return True
    try:
        with _without_warnings(text):
            parser.parse(text)
    except (re.error, ValueError, OverflowError, RuntimeError):
        return False
    return True


@contextmanager
def _without_warnings(text: str) -> Iterator[None]:
    """Ignore Python's warnings of *text*: the service cannot change the pattern, so they would be of no use."""
    if not _may_warn(text):
        # Warning filters are global to the process: change them only if there can be a warning.
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _may_warn(text: str) -> bool:
    """Tell whether Python could give a FutureWarning for *text*, about special characters in a set."""
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
    """Tell whether a set goes beyond Latin-1: Python compiles such a set to large tables."""
    for code, argument in items:
        if code in (codes.LITERAL, codes.RANGE):
            last = argument if code is codes.LITERAL else argument[1]
            if last > 255:
                return True
    return False


def _bodies(code: Any, argument: Any) -> list[Any]:
    """Return the patterns inside an item."""
    if code is codes.BRANCH:
        return list(argument[1])
    parts = argument if isinstance(argument, tuple) else (argument,)
    return [one for one in parts if isinstance(one, parser.SubPattern)]


# The work of a search


class _Cost(NamedTuple):
    """The upper bound of what it takes to match a part of a pattern at one position.

    Attributes:
        ways: In how many ways it can match. If the rest of the pattern does not match, all are tried.
        work: The work of trying all of them.
        is_open: Whether it repeats without a limit, so that the number of ways grows with the text.
    """

    ways: float
    work: float
    is_open: bool = False


def _search_work(tree: Any, flags: int, length: int) -> float:
    """Return the work of searching *tree* in a text of *length* characters."""
    items, once = list(tree), 0.0
    is_bound = bool(items) and _is_beginning(items[0], flags)
    if items and items[-1][0] in REPEATS:
        # Nothing after it can fail, so the last repetition runs once and never backtracks.
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
        # Open repetitions share the text, so n of them have only 1/n! of the combinations of lengths.
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
        return _Cost(max(ways) if _begin_differently(argument[1]) else sum(ways), work)
    # The engine does not backtrack into lookarounds and atomic groups.
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
    # Repetitions of nothing are expensive, since they take memory.
    step = 2 if body.getwidth()[0] else 20
    return _Cost(ways * passes, (times + 1) * passes * (one.work + step), is_open)


def _count_times(least: Any, most: Any, body: Any, length: int) -> int:
    """Return how often *body* can be repeated in a text of *length* characters."""
    width = body.getwidth()[0]
    # Beyond the minimum, the engine repeats only what consumes some text.
    return min(int(most), length // width if width else int(least) + length)


def _character_work(item: Any, flags: int) -> float:
    code, argument = item
    ignores_case = bool(flags & re.IGNORECASE)
    if code is codes.IN:
        return 0.5 + len(argument) / 7 + (1.2 if ignores_case else 0)
    return 0.4 if ignores_case else 0.1


def _begin_differently(branches: Sequence[Any]) -> bool:
    """Tell whether all branches begin with different characters (ignoring case): at most one can match."""
    firsts = [branch[0] if len(branch) else None for branch in branches]
    letters = {
        chr(first[1]).upper().casefold()[:1]
        for first in firsts
        if first is not None and first[0] is codes.LITERAL
    }
    return len(letters) == len(firsts)
