"""Parses a large v2 settings file entry by entry, with the same result as parsing it at once.

Parsing or building much at once holds the GIL, and so blocks the event loop even from another thread. Of
features and campaigns only the text is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from sys import intern
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .fault import MAX_FAULTS, describe, describe_all, list_errors
from .fme import Campaign, Feature, FMESettings, Holdout
from .fme_duplicates import find_repeated_variations
from .json_outline import InvalidJsonError, Outline, Span, find_items
from .lazy_entries import FeatureTexts, FlagCampaignTexts, RuleName
from .plain_entry import STEP_BYTES, validate_plain

_LISTS = ("features", "campaigns", "holdouts")


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


class _Features:
    """Collects features. One list for each field: objects would be visited by the garbage collector."""

    model = Feature

    def __init__(self) -> None:
        self._texts: list[bytes] = []
        self._ids: list[int] = []
        self._keys: list[str] = []
        self._events: set[str] = set()
        self._rules: list[tuple[RuleName, ...]] = []

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: bytes, feature: Any) -> None:
        """Add the next one."""
        self._texts.append(text)
        self._ids.append(feature.id)
        self._keys.append(feature.key)
        self._events.update(one.identifier for one in feature.metrics if one.identifier)
        self._rules.append(
            tuple(
                (intern(one.rule_key), one.campaign_id, one.variation_id) for one in feature.rules
            )
        )

    def finish(self) -> FeatureTexts:
        """Return all of them."""
        return FeatureTexts(self._texts, self._ids, self._keys, self._events, self._rules)


class _Campaigns:
    """Collects campaigns, likewise."""

    model = Campaign

    def __init__(self) -> None:
        self._texts: list[bytes] = []
        self._ids: list[int] = []
        self._keys: list[str] = []
        self._types: list[str] = []
        self._variations: list[int] = []
        self._repeated: list[str] = []

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: bytes, campaign: Any) -> None:
        """Add the next one."""
        self._repeated += find_repeated_variations(len(self), campaign)
        self._texts.append(text)
        self._ids.append(campaign.id)
        self._keys.append(campaign.key)
        self._types.append(intern(campaign.type))
        self._variations.append(len(campaign.variations))

    def finish(self) -> FlagCampaignTexts:
        """Return all of them."""
        return FlagCampaignTexts(
            self._texts,
            self._ids,
            self._keys,
            self._types,
            self._variations,
            self._repeated,
        )


class _Holdouts:
    """Collects holdouts, of which there are few."""

    model = Holdout

    def __init__(self) -> None:
        self._entries: list[Holdout] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, text: bytes, holdout: Any) -> None:
        """Add the next one."""
        self._entries.append(holdout)

    def finish(self) -> tuple[Holdout, ...]:
        """Return all of them."""
        return tuple(self._entries)


class _Reader:
    """Validates the entries while the file is scanned."""

    def __init__(self, body: bytes, pause: Callable[[], object]) -> None:
        self._body = body
        self._pause = pause
        self._pause_at = STEP_BYTES
        self._lists: Mapping[str, _Features | _Campaigns | _Holdouts] = {
            "features": _Features(),
            "campaigns": _Campaigns(),
            "holdouts": _Holdouts(),
        }
        self._positions: dict[str, int] = dict.fromkeys(_LISTS, 0)
        self._faults: list[str] = []

    def make_adder(self, name: str) -> Callable[[Span, Any], None]:
        """Return what adds the next entry to the list of that name."""
        entries = self._lists[name]

        def add(span: Span, value: object) -> None:
            if span.end >= self._pause_at:
                self._pause_at = span.end + STEP_BYTES
                self._pause()
            position = self._positions[name]
            self._positions[name] += 1
            entry = self._read_entry(entries.model, (name, position), span, value)
            # After a fault the file is refused.
            if entry is not None and not self._faults:
                entries.add(self._body[span.start : span.end], entry)

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
        if self._faults:
            return self._faults
        read = [one.name for one in outline.members if self._is_read(one.name, one.value)]
        return envelope.model_copy(update={name: self._lists[name].finish() for name in read})

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
