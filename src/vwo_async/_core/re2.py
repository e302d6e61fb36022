r"""Patterns spelled for RE2, which searches in time that grows with the text and no faster.

Its syntax is close to Python's, and differs where it hurts: classes, case, ends of lines. So nothing of a
pattern's text is passed on. What Python has read is written anew from a few signs that mean the same to
both, for ASCII texts, where a set of characters can be written out; what has no such form is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from re import _compiler as compiler  # type: ignore[attr-defined]
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

MAX_BYTES = 1 << 20
CHARACTERS = frozenset({codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY})
REPEATS = frozenset({codes.MAX_REPEAT, codes.MIN_REPEAT})
_ASCII = tuple(map(chr, range(128)))


class Re2Pattern(NamedTuple):
    """A pattern compiled by RE2.

    Attributes:
        search: Looks for it in an ASCII text; None where it is not there.
        size: In instructions: the work for each character, at most.
    """

    search: Callable[[str], object]
    size: int


class _DiffersError(Exception):
    """A part of the pattern means something else to RE2, or nothing."""


def compile_re2(tree: Any, flags: int) -> Re2Pattern | None:
    """Return the pattern compiled by RE2, None where that is not installed or would not mean the same.

    Args:
        tree: What Python's parser made of the pattern.
        flags: Those of the whole pattern.
    """
    try:
        re2 = import_module("re2")
        options = re2.Options()
    except (ImportError, AttributeError):
        # Other libraries go by the same name.
        return None
    options.log_errors = False
    options.max_mem = MAX_BYTES
    try:
        compiled = re2.compile(_spell(tree, flags, is_last=True), options)
    except (_DiffersError, re2.error):
        return None
    return Re2Pattern(compiled.search, compiled.programsize)


def combine_flags(flags: int, added: int, removed: int) -> int:
    """Return the flags that hold within a group."""
    if added & parser.TYPE_FLAGS:
        flags &= ~parser.TYPE_FLAGS
    return (flags | added) & ~removed


def _spell(tree: Sequence[Any], flags: int, *, is_last: bool) -> str:
    """Return *tree* in RE2's syntax, for ASCII texts and the question whether it is found at all.

    Raises:
        _DiffersError: It cannot be said there.
    """
    last = len(tree) - 1
    return "".join(
        _spell_item(code, argument, flags, is_last=is_last and index == last)
        for index, (code, argument) in enumerate(tree)
    )


def _spell_item(code: Any, argument: Any, flags: int, *, is_last: bool) -> str:
    if code in CHARACTERS:
        return _spell_character(code, argument, flags)
    if code is codes.AT:
        return _spell_place(argument, is_multiline=bool(flags & re.MULTILINE), is_last=is_last)
    if code in REPEATS:
        least, most, body = argument
        limit = "" if most is codes.MAXREPEAT else int(most)
        return f"(?:{_spell(body, flags, is_last=False)}){{{int(least)},{limit}}}"
    if code is codes.BRANCH:
        branches = (_spell(branch, flags, is_last=is_last) for branch in argument[1])
        return f"(?:{'|'.join(branches)})"
    if code is codes.SUBPATTERN:
        _, added, removed, body = argument
        if added & parser.TYPE_FLAGS:
            # Python mistakes what such a group begins with: (?a:\\S) matches \\x1f and does not find it.
            raise _DiffersError
        return f"(?:{_spell(body, combine_flags(flags, added, removed), is_last=is_last)})"
    raise _DiffersError


def _spell_character(code: Any, argument: Any, flags: int) -> str:
    """Return the set of the ASCII characters that match; Python itself is asked which."""
    state = parser.State()
    state.flags = flags
    one = compiler.compile(parser.SubPattern(state, [(code, argument)]), flags)
    found = "".join(f"\\x{ord(letter):02x}" for letter in _ASCII if one.match(letter))
    return f"[{found}]" if found else r"[^\x00-\x7f]"


def _spell_place(place: Any, *, is_multiline: bool, is_last: bool) -> str:
    if place is codes.AT_BEGINNING_STRING or place is codes.AT_BEGINNING:
        return r"(?m:^)" if is_multiline and place is codes.AT_BEGINNING else r"\A"
    if place is codes.AT_END and is_multiline:
        return r"(?m:$)"
    if place is codes.AT_END and is_last:
        # Before a line break that ends the text, too: at the end of the pattern it can be taken along.
        return r"\n?\z"
    spelled = {codes.AT_END_STRING: r"\z", codes.AT_BOUNDARY: r"\b"}.get(place)
    if spelled is None:
        raise _DiffersError
    return spelled
