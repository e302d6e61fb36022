"""Finds the positions of the parts of a settings file in its bytes, without keeping their values.

Parsing six megabytes of JSON at once holds the GIL for a good part of a second, in whatever thread. With
their positions known, the parts of a large file can be parsed one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from json import JSONDecodeError, JSONDecoder
from math import isfinite
from re import compile as compile_regex
from typing import Any, NamedTuple

CAMPAIGNS = "campaigns"
_BLANK = compile_regex(r"[ \t\n\r]*")
_COMMA = compile_regex(r"[ \t\n\r]*,[ \t\n\r]*")


class Span(NamedTuple):
    """A part of the file: ``body[start:end]``."""

    start: int
    end: int


class Member(NamedTuple):
    """A member of the file's JSON object.

    Attributes:
        name: Its name.
        start: Where its name starts in the file.
        value: The position of its value.
    """

    name: str
    start: int
    value: Span


class Outline(NamedTuple):
    """The positions of the parts of one file.

    Attributes:
        members: The members, in the order of the file.
        campaigns: The campaigns, if they are a list.
    """

    members: tuple[Member, ...]
    campaigns: tuple[Span, ...]

    def find_campaign_list(self) -> Span | None:
        """Return the position of the list of campaigns; None if there is none, or more than one."""
        found = [one.value for one in self.members if one.name == CAMPAIGNS]
        return found[0] if len(found) == 1 and self.campaigns else None


class InvalidJsonError(Exception):
    """The bytes are not a JSON object.

    Attributes:
        last_campaign: Where the last valid campaign before the fault starts; None if the fault is not in
            the list of campaigns.
        campaign_list: The position of the list of campaigns, if it is valid.
    """

    def __init__(self, last_campaign: int | None = None, campaign_list: Span | None = None) -> None:
        super().__init__()
        self.last_campaign = last_campaign
        self.campaign_list = campaign_list


OnItem = Callable[[Span, Any], object]


def find_outline(body: bytes, on_campaign: OnItem = lambda span, value: None) -> Outline:
    """Return the positions of the parts of *body*.

    Args:
        body: The file.
        on_campaign: Called with position and value of each campaign. The value is right only if the
            campaign is all ASCII; it is None if it holds a number that is not finite. The calls count
            only if this function returns, and finds one list of campaigns.

    Raises:
        InvalidJsonError: *body* is not a JSON object.
    """
    return find_items(body, {CAMPAIGNS: on_campaign})


def find_items(body: bytes, on_item: Mapping[str, OnItem]) -> Outline:
    """Do as `find_outline`, for any lists.

    Args:
        body: The file.
        on_item: For the name of each list, what is called with its items, as *on_campaign* is.

    Raises:
        InvalidJsonError: *body* is not a JSON object.
    """
    return _Scanner(body, on_item).read()


class _Scanner:
    def __init__(self, body: bytes, on_item: Mapping[str, OnItem]) -> None:
        self._on_item = on_item
        self._decoder = JSONDecoder(
            parse_float=self._read_float, parse_constant=self._read_constant
        )
        self._is_finite = True
        # In Latin-1 each byte is one character, so positions are right; brackets and quotes are ASCII.
        self._text = body.decode("latin-1")
        self._at = 0
        self._members: list[Member] = []
        self._campaigns: list[Span] = []
        self._item: int | None = None

    def read(self) -> Outline:
        try:
            self._read_members()
        except (JSONDecodeError, ValueError, RecursionError):
            campaign_list = self._outline().find_campaign_list()
            raise InvalidJsonError(self._item, campaign_list) from None
        return self._outline()

    def _outline(self) -> Outline:
        return Outline(tuple(self._members), tuple(self._campaigns))

    def _read_members(self) -> None:
        self._skip("{")
        if self._peek() != "}":
            self._read_member()
        while self._peek() == ",":
            self._skip(",")
            self._read_member()
        self._skip("}")
        if self._peek():
            raise ValueError

    def _read_member(self) -> None:
        if self._peek() != '"':
            raise ValueError
        start = self._at
        name, self._at = self._decoder.raw_decode(self._text, start)
        self._skip(":")
        on_item = self._on_item.get(name) if self._peek() == "[" else None
        value = self._at
        if on_item is None:
            self._read_value()
        else:
            items = self._read_items(on_item)
            if name == CAMPAIGNS:
                self._campaigns = items
        self._members.append(Member(name, start, Span(value, self._at)))

    def _read_items(self, on_item: OnItem) -> list[Span]:
        self._skip("[")
        items: list[Span] = []
        if self._peek() != "]":
            items.append(self._read_item(on_item))
        while comma := _COMMA.match(self._text, self._at):
            self._at = comma.end()
            items.append(self._read_item(on_item))
        self._skip("]")
        self._item = None
        return items

    def _read_item(self, on_item: OnItem) -> Span:
        start = self._at
        self._is_finite = True
        value, self._at = self._decoder.raw_decode(self._text, start)
        self._item = start
        span = Span(start, self._at)
        on_item(span, value if self._is_finite else None)
        return span

    def _read_value(self) -> None:
        _, self._at = self._decoder.raw_decode(self._text, self._at)

    def _read_float(self, text: str) -> float:
        number = float(text)
        if not isfinite(number):
            self._is_finite = False
        return number

    def _read_constant(self, name: str) -> None:
        self._is_finite = False

    def _peek(self) -> str:
        """Skip whitespace and return the next character, without skipping it."""
        match = _BLANK.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._text[self._at : self._at + 1]

    def _skip(self, expected: str) -> None:
        if self._peek() != expected:
            raise ValueError
        self._at += 1
