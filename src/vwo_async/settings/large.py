"""Reading a large settings file campaign by campaign, with the result of reading it in one go.

Of several places in which a file is no JSON, another one may be named.

Whatever reads or builds much in one go holds Python's lock meanwhile, and with it the event loop, also
from another thread. So the file is cut into documents that are read in a fraction of a millisecond each,
and of a campaign no more is kept than its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from sys import intern
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .fault import MAX_FAULTS, describe, find_inner_twins, find_twins, list_errors
from .model import Campaign, CampaignList, Settings
from .outline import BrokenError, Span, find_outline
from .shelf import CampaignTexts

# How much is read in one go.
PIECE_BYTES = 20_000
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
    try:
        outline = find_outline(body)
    except BrokenError as error:
        return [_find_break(body, error)]
    listed = outline.find_list()
    if listed is not None:
        return _Reader(body, pause).read(listed, outline.campaigns)
    # Nothing to cut: what is large is of no use, or stands in the file more than once.
    try:
        settings = _read_piece(body, Settings, _Piece(body, [(0, 0)]))
    except _BrokenPieceError as error:
        return [error.fault]
    return [describe(one) for one in settings] if isinstance(settings, list) else settings


class _Reader:
    """Reads the pieces of one file, and notes what the campaigns are found by."""

    def __init__(self, body: bytes, pause: Callable[[], object]) -> None:
        self._body = body
        self._pause = pause
        self._ids: list[int] = []
        self._keys: list[str] = []
        self._types: list[str] = []
        self._goals: dict[str, list[int]] = {}
        self._faults: list[str] = []
        self._twins: list[str] = []
        self._breaks: list[_BrokenPieceError] = []

    def read(self, listed: Span, spans: Sequence[Span]) -> Settings | list[str]:
        shell = self._read_shell(listed)
        self._read_campaigns(spans)
        if self._breaks:
            return [min(self._breaks, key=lambda one: one.at).fault]
        if not isinstance(shell, Settings):
            return self._sort(shell)
        if self._faults:
            return self._faults
        twins = [*find_twins(self._ids, self._keys), *self._twins]
        texts = [self._body[span.start : span.end] for span in spans]
        campaigns = CampaignTexts(texts, self._ids, self._keys, self._types, self._goals)
        return twins or shell.model_copy(update={"campaigns": campaigns})

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

    def _read_campaigns(self, spans: Sequence[Span]) -> None:
        position = 0
        for number, piece in _cut(self._body, spans):
            self._pause()
            try:
                found = _read_piece(self._body, CampaignList, piece)
            except _BrokenPieceError as error:
                self._breaks.append(error)
                return
            if isinstance(found, CampaignList):
                for place, campaign in enumerate(found.campaigns, start=position):
                    self._note(place, campaign)
            elif len(self._faults) < MAX_FAULTS:
                self._faults += [describe(_move(detail, position)) for detail in found]
            position += number

    def _note(self, position: int, campaign: Campaign) -> None:
        self._ids.append(campaign.id)
        self._keys.append(campaign.key)
        self._types.append(intern(campaign.type))
        self._twins += find_inner_twins(position, campaign)
        for identifier in {
            one.identifier for one in campaign.goals if one.identifier and one.id is not None
        }:
            self._goals.setdefault(identifier, []).append(position)

    def _sort(self, shell: Sequence[ErrorDetails]) -> list[str]:
        """Return the faults in the order of the fields."""
        first = [describe(one) for one in shell if one["loc"] and one["loc"][0] in _FIRST_FIELDS]
        rest = [
            describe(one) for one in shell if not one["loc"] or one["loc"][0] not in _FIRST_FIELDS
        ]
        return [*first, *self._faults, *rest]


def _cut(body: bytes, spans: Sequence[Span]) -> Iterator[tuple[int, _Piece]]:
    """Yield neighbouring campaigns in one piece, with their number."""
    first = 0
    for last, span in enumerate(spans):
        start = spans[first].start
        if span.end - start >= PIECE_BYTES or last == len(spans) - 1:
            document = _BEFORE + body[start : span.end] + _AFTER
            yield last + 1 - first, _Piece(document, [(len(_BEFORE), start)])
            first = last + 1


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
