"""Reading a large settings file campaign by campaign, with the result of reading it in one go.

Of several places in which a file is no JSON, another one may be named.

Whatever reads or builds much in one go holds Python's lock meanwhile, and with it the event loop, also
from another thread. So the file is cut into documents that are read in a fraction of a millisecond each,
and of a campaign no more is kept than its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from sys import intern
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .fault import MAX_FAULTS, describe, find_inner_twins, find_twins, list_errors
from .json_outline import BrokenError, Span, find_outline
from .lazy_campaigns import CampaignTexts
from .model import (
    CHECKED_TREES,
    MAX_TREE_DEPTH,
    MAX_TREE_NODES,
    Campaign,
    CampaignList,
    Settings,
)

# How much is read in one go.
PIECE_BYTES = 20_000
# The reader of small files refuses what is nested 200 deep; so few brackets cannot be, wherever they stand.
MAX_PLAIN_BRACKETS = 190
_BEFORE, _AFTER = b'{"campaigns":[', b"]}"
# The fields that are validated before the campaigns, and whose faults are named first.
_FIRST_FIELDS = frozenset({"sdkKey", "accountId", "version"})
_POSITION = re.compile(r"(?<= at line )(\d+) column (\d+)\Z")
_ModelT = TypeVar("_ModelT", bound=BaseModel)


class _Piece(NamedTuple):
    """A document made of parts of the file.

    Attributes:
        document: Its bytes.
        origins: Pairs: from this place in the document on, it stands at that place in the file.
    """

    document: bytes
    origins: Sequence[tuple[int, int]]


class _BrokenPieceError(Exception):
    """A piece, and so the file, is no JSON.

    Attributes:
        at: Where in the file.
        fault: What is wrong.
    """

    def __init__(self, at: int, fault: str) -> None:
        super().__init__()
        self.at = at
        self.fault = fault


def read_large(body: bytes, pause: Callable[[], object]) -> Settings | list[str]:
    """Return the settings that *body* describes, or what is wrong with it.

    Args:
        body: The file.
        pause: Called between two pieces.
    """
    reader = _Reader(body, pause)
    try:
        outline = find_outline(body, reader.see)
    except BrokenError as error:
        return [_find_break(body, error)]
    listed = outline.find_list()
    if listed is not None:
        return reader.read(listed)
    # Nothing to cut: what is large is of no use, or stands in the file more than once.
    try:
        settings = _read_piece(body, Settings, _Piece(body, [(0, 0)]))
    except _BrokenPieceError as error:
        return [error.fault]
    return [describe(one) for one in settings] if isinstance(settings, list) else settings


class _Reader:
    """Reads the campaigns of one file, and notes what they are found by.

    Most were read by the outline and need no more than validation. The others are read in pieces by the
    reader of small files: those that are not valid, and those with anything in which two readers of
    JSON could differ, which is text beyond ASCII, written or escaped, numbers that are not finite, and
    deep nesting.
    """

    def __init__(self, body: bytes, pause: Callable[[], object]) -> None:
        self._body = body
        self._pause = pause
        self._pause_at = PIECE_BYTES
        self._spans: list[Span] = []
        # What the campaigns are found by, in one list for each kind: an object for each campaign would
        # call the garbage collector, which then looks at everything that the process has.
        self._ids: list[int] = []
        self._keys: list[str] = []
        self._types: list[str] = []
        self._goals: dict[str, list[int]] = {}
        self._twins: list[tuple[int, str]] = []
        self._unread: list[int] = []
        self._faults: list[str] = []
        self._breaks: list[_BrokenPieceError] = []

    def see(self, span: Span, value: object) -> None:
        """Take the next campaign from the outline."""
        position = len(self._spans)
        self._spans.append(span)
        self._ids.append(0)
        self._keys.append("")
        self._types.append("")
        if span.end >= self._pause_at:
            self._pause_at = span.end + PIECE_BYTES
            self._pause()
        text = self._body[span.start : span.end]
        brackets = text.count(b"{") + text.count(b"[")
        if (
            brackets <= MAX_PLAIN_BRACKETS
            and value is not None
            and text.isascii()
            and b"\\u" not in text
        ):
            # So few brackets and bytes cannot make too deep or large a tree.
            is_small = brackets <= MAX_TREE_DEPTH and len(text) <= MAX_TREE_NODES
            context = CHECKED_TREES if is_small else None
            with suppress(ValidationError):
                self._note(position, Campaign.model_validate(value, context=context))
                return
        self._unread.append(position)

    def read(self, listed: Span) -> Settings | list[str]:
        """Return the settings, once all campaigns were seen, or what is wrong with the file."""
        shell = self._read_shell(listed)
        self._read_rest()
        if self._breaks:
            return [min(self._breaks, key=lambda one: one.at).fault]
        if not isinstance(shell, Settings):
            return self._sort(shell)
        if self._faults:
            return self._faults
        twins = [
            *find_twins(self._ids, self._keys),
            *(twin for _, twin in sorted(self._twins, key=lambda one: one[0])),
        ]
        return twins or shell.model_copy(update={"campaigns": self._shelve()})

    def _shelve(self) -> CampaignTexts:
        for positions in self._goals.values():
            # Those that were read last came last.
            positions.sort()
        texts = [self._body[span.start : span.end] for span in self._spans]
        return CampaignTexts(texts, self._ids, self._keys, self._types, self._goals)

    def _read_shell(self, listed: Span) -> Settings | list[ErrorDetails]:
        """Read the file without its campaigns."""
        document = self._body[: listed.start] + b"[]" + self._body[listed.end :]
        try:
            return _read_piece(
                self._body,
                Settings,
                _Piece(document, [(0, 0), (listed.start + 2, listed.end)]),
            )
        except _BrokenPieceError as error:
            self._breaks.append(error)
            return []

    def _read_rest(self) -> None:
        for positions in _cut(self._spans, self._unread):
            self._pause()
            start, end = self._spans[positions[0]].start, self._spans[positions[-1]].end
            document = _BEFORE + self._body[start:end] + _AFTER
            try:
                found = _read_piece(
                    self._body, CampaignList, _Piece(document, [(len(_BEFORE), start)])
                )
            except _BrokenPieceError as error:
                self._breaks.append(error)
                return
            if isinstance(found, CampaignList):
                for position, campaign in zip(positions, found.campaigns, strict=True):
                    self._note(position, campaign)
            elif len(self._faults) < MAX_FAULTS:
                self._faults += [describe(_move(detail, positions[0])) for detail in found]

    def _note(self, position: int, campaign: Campaign) -> None:
        self._ids[position] = campaign.id
        self._keys[position] = campaign.key
        self._types[position] = intern(campaign.type)
        for identifier in {
            one.identifier for one in campaign.goals if one.identifier and one.id is not None
        }:
            self._goals.setdefault(identifier, []).append(position)
        twins = find_inner_twins(position, campaign)
        if twins:
            self._twins += [(position, twin) for twin in twins]

    def _sort(self, shell: Sequence[ErrorDetails]) -> list[str]:
        """Return the faults in the order of the fields."""
        first = [describe(one) for one in shell if one["loc"] and one["loc"][0] in _FIRST_FIELDS]
        rest = [
            describe(one) for one in shell if not one["loc"] or one["loc"][0] not in _FIRST_FIELDS
        ]
        return [*first, *self._faults, *rest]


def _cut(spans: Sequence[Span], positions: Iterable[int]) -> Iterator[list[int]]:
    """Yield *positions* so that those next to each other share a piece."""
    part: list[int] = []
    for position in positions:
        if part and (
            position > part[-1] + 1 or spans[part[-1]].end - spans[part[0]].start >= PIECE_BYTES
        ):
            yield part
            part = []
        part.append(position)
    if part:
        yield part


def _move(detail: ErrorDetails, by: int) -> ErrorDetails:
    name, place, *rest = detail["loc"]
    assert isinstance(place, int)
    return {**detail, "loc": (name, place + by, *rest)}


def _read_piece(body: bytes, model: type[_ModelT], piece: _Piece) -> _ModelT | list[ErrorDetails]:
    try:
        return model.model_validate_json(piece.document)
    except ValidationError as error:
        details = list_errors(error)
    if details[0]["type"] == "json_invalid":
        raise _BrokenPieceError(*_locate(body, piece, describe(details[0])))
    return details


def _find_break(body: bytes, error: BrokenError) -> str:
    """Return the fault of a file that is no JSON object; only what stands around it is read."""
    if error.campaign is not None:
        start = error.campaign
        piece = _Piece(_BEFORE + body[start:], [(len(_BEFORE), start)])
    elif error.listed is not None:
        start, end = error.listed
        piece = _Piece(body[:start] + b"[]" + body[end:], [(0, 0), (start + 2, end)])
    else:
        piece = _Piece(body, [(0, 0)])
    try:
        details = _read_piece(body, Settings, piece)
    except _BrokenPieceError as found:
        return found.fault
    return describe(details[0]) if isinstance(details, list) else "the file is not JSON"


def _locate(body: bytes, piece: _Piece, fault: str) -> tuple[int, str]:
    """Return where in the file a fault is whose text gives its place in the piece, and the text put right."""
    match = _POSITION.search(fault)
    if match is None:
        return 0, fault
    start = 0
    for _ in range(int(match[1]) - 1):
        start = piece.document.index(b"\n", start) + 1
    place = start + int(match[2]) - 1
    # At the end of the document the last character is given.
    looked = place + (place == len(piece.document) - 1)
    pairs = (pair for pair in piece.origins if pair[0] <= looked)
    origin, at = max(pairs, default=piece.origins[0])
    at += place - origin
    line = body.count(b"\n", 0, at + 1) + 1
    column = at - body.rfind(b"\n", 0, at + 1)
    return at, f"{fault[: match.start()]}{line} column {column}"
