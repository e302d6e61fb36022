r"""Translates patterns for RE2, whose search time is linear in the length of the text.

RE2's syntax is close to Python's, but character classes, case and line ends differ. So the text of a
pattern is never passed on. Instead, the parsed pattern is written again with the few constructs that mean
the same in both, for ASCII texts only, in which any set of characters can be listed. Patterns that cannot
be written so are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from re import _compiler as compiler  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
from re import _constants as codes  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
from re import _parser as parser  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any, NamedTuple

MAX_BYTES = 1 << 20
CHARACTERS = frozenset({codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY})
REPEATS = frozenset({codes.MAX_REPEAT, codes.MIN_REPEAT})
_ASCII = tuple(map(chr, range(128)))


class Re2Pattern(NamedTuple):
    """A pattern compiled by RE2.

    Attributes:
        search: Returns the match in an ASCII text, or None.
        size: The number of instructions, which is the most work for each character.
    """

    search: Callable[[str], object]
    size: int


class _DiffersError(Exception):
    """A part of the pattern would mean something else in RE2, or cannot be written there."""


def compile_re2(tree: Any, flags: int) -> Re2Pattern | None:
    """Return the pattern compiled by RE2; None if RE2 is not installed or cannot express the pattern.

    Args:
        tree: The pattern as parsed by Python.
        flags: The flags of the whole pattern.
    """
    try:
        re2 = import_module("re2")
        options = re2.Options()
    except (ImportError, AttributeError):
        # AttributeError: another library has the same name.
        return None
    options.log_errors = False
    options.max_mem = MAX_BYTES
    try:
        compiled = re2.compile(_translate(tree, flags, is_last=True), options)
    except (_DiffersError, re2.error):
        return None
    return Re2Pattern(compiled.search, compiled.programsize)


def combine_flags(flags: int, added: int, removed: int) -> int:
    """Return the flags inside a group."""
    if added & parser.TYPE_FLAGS:
        flags &= ~parser.TYPE_FLAGS
    return (flags | added) & ~removed


def _translate(tree: Sequence[Any], flags: int, *, is_last: bool) -> str:
    """Return *tree* in RE2's syntax: equivalent for ASCII texts, and only as to whether there is a match.

    Raises:
        _DiffersError: RE2 cannot express it.
    """
    last = len(tree) - 1
    return "".join(
        _translate_item(code, argument, flags, is_last=is_last and index == last)
        for index, (code, argument) in enumerate(tree)
    )


def _translate_item(code: Any, argument: Any, flags: int, *, is_last: bool) -> str:
    if code in CHARACTERS:
        return _translate_character(code, argument, flags)
    if code is codes.AT:
        return _translate_anchor(argument, is_multiline=bool(flags & re.MULTILINE), is_last=is_last)
    if code in REPEATS:
        least, most, body = argument
        limit = "" if most is codes.MAXREPEAT else int(most)
        return f"(?:{_translate(body, flags, is_last=False)}){{{int(least)},{limit}}}"
    if code is codes.BRANCH:
        branches = (_translate(branch, flags, is_last=is_last) for branch in argument[1])
        return f"(?:{'|'.join(branches)})"
    if code is codes.SUBPATTERN:
        _, added, removed, body = argument
        if added & parser.TYPE_FLAGS:
            # Python mistakes what such a group begins with: (?a:\\S) matches \\x1f and does not find it.
            raise _DiffersError
        return f"(?:{_translate(body, combine_flags(flags, added, removed), is_last=is_last)})"
    raise _DiffersError


def _translate_character(code: Any, argument: Any, flags: int) -> str:
    """Return the set of all ASCII characters that match; Python itself is used to find them."""
    state = parser.State()
    state.flags = flags
    one = compiler.compile(parser.SubPattern(state, [(code, argument)]), flags)
    found = "".join(f"\\x{ord(letter):02x}" for letter in _ASCII if one.match(letter))
    return f"[{found}]" if found else r"[^\x00-\x7f]"


def _translate_anchor(anchor: Any, *, is_multiline: bool, is_last: bool) -> str:
    if anchor is codes.AT_BEGINNING_STRING or anchor is codes.AT_BEGINNING:
        return r"(?m:^)" if is_multiline and anchor is codes.AT_BEGINNING else r"\A"
    if anchor is codes.AT_END and is_multiline:
        return r"(?m:$)"
    if anchor is codes.AT_END and is_last:
        # Python's $ also matches before a final line break, which the translation may consume here.
        return r"\n?\z"
    translated = {codes.AT_END_STRING: r"\z", codes.AT_BOUNDARY: r"\b"}.get(anchor)
    if translated is None:
        raise _DiffersError
    return translated
