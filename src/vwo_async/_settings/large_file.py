"""Parses a large settings file campaign by campaign, with the same result as parsing it at once.

One thing may differ: of several syntax errors in a file, another one may be reported.

Parsing or building much at once holds the GIL, and so blocks the event loop even from another thread. So
the file is split into documents that are parsed in a fraction of a millisecond each, and of a campaign
only the text is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from sys import intern
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .fault import (
    MAX_FAULTS,
    describe,
    describe_all,
    find_duplicates,
    find_inner_duplicates,
    list_errors,
)
from .json_outline import InvalidJsonError, Span, find_outline
from .lazy_campaigns import CampaignTexts
from .model import Campaign, CampaignList, Settings
from .plain_entry import STEP_BYTES, validate_plain

_BEFORE, _AFTER = b'{"campaigns":[', b"]}"
# The fields that are validated before the campaigns, and whose faults come first.
_FIRST_FIELDS = frozenset({"sdkKey", "accountId", "version"})
_POSITION = re.compile(r"(?<= at line )(\d+) column (\d+)\Z")
_ModelT = TypeVar("_ModelT", bound=BaseModel)


class _Chunk(NamedTuple):
    """A JSON document that is made of parts of the file.

    Attributes:
        document: Its bytes.
        origins: Pairs of positions, in the document and in the file, at which each part starts.
    """

    document: bytes
    origins: Sequence[tuple[int, int]]


class _SyntaxFaultError(Exception):
    """A chunk, and so the file, is not JSON.

    Attributes:
        at: The position in the file.
        fault: The fault.
    """

    def __init__(self, at: int, fault: str) -> None:
        super().__init__()
        self.at = at
        self.fault = fault


def read_large(body: bytes, pause: Callable[[], object]) -> Settings | list[str]:
    """Return the settings that *body* describes, or its faults.

    Args:
        body: The file.
        pause: Called between two chunks.
    """
    reader = _Reader(body, pause)
    try:
        outline = find_outline(body, reader.add_campaign)
    except InvalidJsonError as error:
        return [_find_syntax_fault(body, error)]
    campaign_list = outline.find_campaign_list()
    if campaign_list is not None:
        return reader.finish(campaign_list)
    # Without exactly one list of campaigns the file cannot be split.
    try:
        settings = _parse_chunk(body, Settings, _Chunk(body, [(0, 0)]))
    except _SyntaxFaultError as error:
        return [error.fault]
    return describe_all(settings) if isinstance(settings, list) else settings


class _Reader:
    """Parses the campaigns of one file, and indexes them.

    Most campaigns were already parsed for the outline and only need validation. The others, see
    `validate_plain`, are parsed in chunks by the parser of small files.
    """

    def __init__(self, body: bytes, pause: Callable[[], object]) -> None:
        self._body = body
        self._pause = pause
        self._pause_at = STEP_BYTES
        self._spans: list[Span] = []
        # One list for each field: an object for each campaign would trigger the garbage collector, which
        # then visits all objects of the process.
        self._ids: list[int] = []
        self._keys: list[str] = []
        self._types: list[str] = []
        self._goals: dict[str, list[int]] = {}
        self._duplicates: list[tuple[int, str]] = []
        self._unparsed: list[int] = []
        self._faults: list[str] = []
        self._syntax_faults: list[_SyntaxFaultError] = []

    def add_campaign(self, span: Span, value: object) -> None:
        """Add the next campaign of the outline."""
        position = len(self._spans)
        self._spans.append(span)
        self._ids.append(0)
        self._keys.append("")
        self._types.append("")
        if span.end >= self._pause_at:
            self._pause_at = span.end + STEP_BYTES
            self._pause()
        campaign = validate_plain(Campaign, self._body[span.start : span.end], value)
        if campaign is None:
            self._unparsed.append(position)
        else:
            self._index_campaign(position, campaign)

    def finish(self, campaign_list: Span) -> Settings | list[str]:
        """Return the settings once all campaigns were added, or the faults of the file."""
        envelope = self._parse_envelope(campaign_list)
        self._parse_remaining()
        if self._syntax_faults:
            return [min(self._syntax_faults, key=lambda one: one.at).fault]
        if not isinstance(envelope, Settings):
            return self._sort_faults(envelope)
        if self._faults:
            return self._faults
        duplicates = [
            *find_duplicates(self._ids, self._keys),
            *(duplicate for _, duplicate in sorted(self._duplicates, key=lambda one: one[0])),
        ]
        return duplicates or envelope.model_copy(update={"campaigns": self._make_campaigns()})

    def _make_campaigns(self) -> CampaignTexts:
        for positions in self._goals.values():
            # Campaigns that were parsed later are at the end.
            positions.sort()
        texts = [self._body[span.start : span.end] for span in self._spans]
        return CampaignTexts(texts, self._ids, self._keys, self._types, self._goals)

    def _parse_envelope(self, campaign_list: Span) -> Settings | list[ErrorDetails]:
        """Parse the file without its campaigns."""
        document = self._body[: campaign_list.start] + b"[]" + self._body[campaign_list.end :]
        try:
            return _parse_chunk(
                self._body,
                Settings,
                _Chunk(document, [(0, 0), (campaign_list.start + 2, campaign_list.end)]),
            )
        except _SyntaxFaultError as error:
            self._syntax_faults.append(error)
            return []

    def _parse_remaining(self) -> None:
        for positions in _split(self._spans, self._unparsed):
            self._pause()
            start, end = self._spans[positions[0]].start, self._spans[positions[-1]].end
            document = _BEFORE + self._body[start:end] + _AFTER
            try:
                found = _parse_chunk(
                    self._body, CampaignList, _Chunk(document, [(len(_BEFORE), start)])
                )
            except _SyntaxFaultError as error:
                self._syntax_faults.append(error)
                return
            if isinstance(found, CampaignList):
                for position, campaign in zip(positions, found.campaigns, strict=True):
                    self._index_campaign(position, campaign)
            elif len(self._faults) < MAX_FAULTS:
                self._faults += [describe(_move(detail, positions[0])) for detail in found]

    def _index_campaign(self, position: int, campaign: Campaign) -> None:
        self._ids[position] = campaign.id
        self._keys[position] = campaign.key
        self._types[position] = intern(campaign.type)
        for identifier in {
            one.identifier for one in campaign.goals if one.identifier and one.id is not None
        }:
            self._goals.setdefault(identifier, []).append(position)
        duplicates = find_inner_duplicates(position, campaign)
        if duplicates:
            self._duplicates += [(position, duplicate) for duplicate in duplicates]

    def _sort_faults(self, envelope: Sequence[ErrorDetails]) -> list[str]:
        """Return the faults in the order of the fields."""
        first = [describe(one) for one in envelope if one["loc"] and one["loc"][0] in _FIRST_FIELDS]
        rest = [
            describe(one)
            for one in envelope
            if not one["loc"] or one["loc"][0] not in _FIRST_FIELDS
        ]
        return [*first, *self._faults, *rest]


def _split(spans: Sequence[Span], positions: Iterable[int]) -> Iterator[list[int]]:
    """Yield *positions* in groups: neighbours share a chunk up to its maximum size."""
    part: list[int] = []
    for position in positions:
        if part and (
            position > part[-1] + 1 or spans[part[-1]].end - spans[part[0]].start >= STEP_BYTES
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


def _parse_chunk(body: bytes, model: type[_ModelT], chunk: _Chunk) -> _ModelT | list[ErrorDetails]:
    try:
        return model.model_validate_json(chunk.document)
    except ValidationError as error:
        details = list_errors(error)
    if details[0]["type"] == "json_invalid":
        raise _SyntaxFaultError(*_locate(body, chunk, describe(details[0])))
    return details


def _find_syntax_fault(body: bytes, error: InvalidJsonError) -> str:
    """Return the fault of a file that is not a JSON object; only the text around the fault is parsed."""
    if error.last_campaign is not None:
        start = error.last_campaign
        chunk = _Chunk(_BEFORE + body[start:], [(len(_BEFORE), start)])
    elif error.campaign_list is not None:
        start, end = error.campaign_list
        chunk = _Chunk(body[:start] + b"[]" + body[end:], [(0, 0), (start + 2, end)])
    else:
        chunk = _Chunk(body, [(0, 0)])
    try:
        details = _parse_chunk(body, Settings, chunk)
    except _SyntaxFaultError as found:
        return found.fault
    return describe(details[0]) if isinstance(details, list) else "the file is not JSON"


def _locate(body: bytes, chunk: _Chunk, fault: str) -> tuple[int, str]:
    """Return the position of a fault in the file, and its text with line and column in the file."""
    match = _POSITION.search(fault)
    if match is None:
        return 0, fault
    start = 0
    for _ in range(int(match[1]) - 1):
        start = chunk.document.index(b"\n", start) + 1
    place = start + int(match[2]) - 1
    # A fault at the end of the document is reported at its last character.
    looked = place + (place == len(chunk.document) - 1)
    pairs = (pair for pair in chunk.origins if pair[0] <= looked)
    origin, at = max(pairs, default=chunk.origins[0])
    at += place - origin
    line = body.count(b"\n", 0, at + 1) + 1
    column = at - body.rfind(b"\n", 0, at + 1)
    return at, f"{fault[: match.start()]}{line} column {column}"
