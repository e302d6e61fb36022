"""Where the parts of a settings file stand in its bytes, found without keeping what they say.

Reading six megabytes of JSON in one go holds Python's lock for a good part of a second, whatever thread
does it. Known by their places, the parts of a large file can be read one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
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
    """A member of the file's object.

    Attributes:
        name: What it is called.
        start: Where its name begins.
        value: Where its value stands.
    """

    name: str
    start: int
    value: Span


class Outline(NamedTuple):
    """The parts of one file.

    Attributes:
        members: In the order of the file.
        campaigns: Each campaign, where they are a list.
    """

    members: tuple[Member, ...]
    campaigns: tuple[Span, ...]

    def find_list(self) -> Span | None:
        """Return where the list of campaigns stands, None where there is none, or more than one."""
        found = [one.value for one in self.members if one.name == CAMPAIGNS]
        return found[0] if len(found) == 1 and self.campaigns else None


class BrokenError(Exception):
    """The bytes are no JSON object.

    Attributes:
        campaign: Where the last sound campaign before the break begins; None outside their list.
        listed: Where the list of campaigns stands, where that was sound.
    """

    def __init__(self, campaign: int | None = None, listed: Span | None = None) -> None:
        super().__init__()
        self.campaign = campaign
        self.listed = listed


Visit = Callable[[Span, Any], object]


def find_outline(body: bytes, visit: Visit = lambda span, value: None) -> Outline:
    """Return where the parts of *body* stand.

    Args:
        body: The file.
        visit: Called with each campaign: where it stands, and what it says if it is all ASCII; None in
            place of what holds a number that is not finite. To be believed only once this has
            returned, and a list of campaigns was found.

    Raises:
        BrokenError: It is no JSON object.
    """
    return _Scan(body, visit).read()


class _Scan:
    def __init__(self, body: bytes, visit: Visit) -> None:
        self._visit = visit
        self._decoder = JSONDecoder(
            parse_float=self._read_float, parse_constant=self._read_constant
        )
        self._is_finite = True
        # One character for each byte, whatever it is part of: brackets and quotes are ASCII.
        self._text = body.decode("latin-1")
        self._at = 0
        self._members: list[Member] = []
        self._campaigns: list[Span] = []
        self._campaign: int | None = None

    def read(self) -> Outline:
        try:
            self._read_members()
        except (JSONDecodeError, ValueError, RecursionError):
            lists = [one.value for one in self._members if one.name == CAMPAIGNS]
            listed = lists[0] if len(lists) == 1 and self._campaigns else None
            raise BrokenError(self._campaign, listed) from None
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
        is_list = self._peek() == "[" and name == CAMPAIGNS
        value = self._at
        if is_list:
            self._read_campaigns()
        else:
            self._read_value()
        self._members.append(Member(name, start, Span(value, self._at)))

    def _read_campaigns(self) -> None:
        self._skip("[")
        self._campaigns.clear()
        if self._peek() != "]":
            self._read_campaign()
        while comma := _COMMA.match(self._text, self._at):
            self._at = comma.end()
            self._read_campaign()
        self._skip("]")
        self._campaign = None

    def _read_campaign(self) -> None:
        start = self._at
        self._is_finite = True
        value, self._at = self._decoder.raw_decode(self._text, start)
        self._campaign = start
        span = Span(start, self._at)
        self._campaigns.append(span)
        self._visit(span, value if self._is_finite else None)

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
        """Go on to the next character that is not blank, and return it."""
        match = _BLANK.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._text[self._at : self._at + 1]

    def _skip(self, expected: str) -> None:
        if self._peek() != expected:
            raise ValueError
        self._at += 1
