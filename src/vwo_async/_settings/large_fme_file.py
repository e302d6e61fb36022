"""Parses a large v2 settings file entry by entry, with the same result as parsing it at once.

Parsing or building much at once holds the GIL, and so blocks the event loop even from another thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .fault import MAX_FAULTS, describe, describe_all, list_errors
from .fme import Campaign, Feature, FMESettings, Holdout
from .json_outline import InvalidJsonError, Outline, Span, find_items
from .plain_entry import STEP_BYTES, validate_plain

_LISTS: Mapping[str, type[BaseModel]] = {
    "features": Feature,
    "campaigns": Campaign,
    "holdouts": Holdout,
}


def read_large_fme(body: bytes, pause: Callable[[], object]) -> FMESettings | list[str]:
    """Return the settings that *body* describes, or its faults.

    Args:
        body: The file.
        pause: Called between two small steps.
    """
    reader = _Reader(body, pause)
    try:
        outline = find_items(body, {name: reader.make_adder(name) for name in _LISTS})
    except InvalidJsonError:
        return _read_whole(body)
    names = [member.name for member in outline.members]
    if len({*names}) < len(names):
        # Which of two lists counts is the parser's business.
        return _read_whole(body)
    return reader.finish(outline)


def _read_whole(body: bytes) -> FMESettings | list[str]:
    try:
        return FMESettings.model_validate_json(body)
    except ValidationError as error:
        return describe_all(list_errors(error))


class _Reader:
    """Validates the entries while the file is scanned."""

    def __init__(self, body: bytes, pause: Callable[[], object]) -> None:
        self._body = body
        self._pause = pause
        self._pause_at = STEP_BYTES
        self._entries: dict[str, list[BaseModel | None]] = {name: [] for name in _LISTS}
        self._faults: list[str] = []

    def make_adder(self, name: str) -> Callable[[Span, Any], None]:
        """Return what adds the next entry to the list of that name."""
        entries, model = self._entries[name], _LISTS[name]

        def add(span: Span, value: object) -> None:
            if span.end >= self._pause_at:
                self._pause_at = span.end + STEP_BYTES
                self._pause()
            entries.append(self._read_entry(model, (name, len(entries)), span, value))

        return add

    def _read_entry(
        self, model: type[BaseModel], path: tuple[str, int], span: Span, value: object
    ) -> BaseModel | None:
        text = self._body[span.start : span.end]
        entry = validate_plain(model, text, value)
        if entry is not None:
            return entry
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            details = list_errors(error)
        if details[0]["type"] == "json_invalid":
            raise InvalidJsonError
        if len(self._faults) < MAX_FAULTS:
            self._faults += [describe(_move(one, path)) for one in details]
        return None

    def finish(self, outline: Outline) -> FMESettings | list[str]:
        """Return the settings once all entries were added, or the faults of the file."""
        spans = [one.value for one in outline.members if self._is_read(one.name, one.value)]
        document = b"[]".join(_cut(self._body, spans))
        envelope = _read_whole(document)
        if isinstance(envelope, list):
            return [*envelope, *self._faults]
        entries = {name: tuple(found) for name, found in self._entries.items()}
        return self._faults or envelope.model_copy(update=entries)

    def _is_read(self, name: str, value: Span) -> bool:
        return name in _LISTS and self._body[value.start : value.start + 1] == b"["


def _cut(body: bytes, spans: Sequence[Span]) -> Iterator[bytes]:
    """Yield what is between *spans*."""
    at = 0
    for span in spans:
        yield body[at : span.start]
        at = span.end
    yield body[at:]


def _move(detail: ErrorDetails, path: tuple[str, int]) -> ErrorDetails:
    return {**detail, "loc": (*path, *detail["loc"])}
