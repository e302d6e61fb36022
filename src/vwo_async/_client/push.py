"""A push call: reads and reports custom dimensions of a user, within the official limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._error import InvalidInputError
from .._plain import copy_mapping, is_kind, to_plain
from .._user import User, read_text
from .arguments import read_name
from .engine import Engine

MAX_TAG_LENGTH = 255
MAX_TAGS = 1000


async def push_tags(engine: Engine, user: User, tags: Mapping[str, str], *, waits: bool) -> bool:
    """Report custom dimensions; true where all were accepted, or with *waits* received."""
    if engine.consent.is_asked and await engine.consent.refuses(user.id):
        return False
    if engine.lacks_settings:
        # Where the account's events go is not known yet.
        engine.note_lack()
        return False
    events = engine.snapshot.event_factory.make_tags(user, tags)
    return await engine.reporter.report(events, waits=waits)


def read_tags(key_or_map: object, value: object) -> dict[str, str]:
    """Return the custom dimensions of a push call, each value as text.

    Args:
        key_or_map: A key, or a mapping of several, whose values may be anything that JSON can write.
        value: The value of a single key.

    Raises:
        InvalidInputError: A key or value is empty, too long (255 UTF-16 units, in the form with a
            single key), or cannot be written as JSON; or there is none.
    """
    if is_kind(key_or_map, Mapping):
        return _read_map(copy_mapping(key_or_map, "tag_key"))
    return {_read_short(key_or_map, "tag_key"): _read_short(value, "tag_value")}


def read_dimensions(value: object) -> Mapping[str, Any]:
    """Return the ``custom_dimension_map`` of a push call.

    Raises:
        InvalidInputError: It is no mapping.
    """
    return copy_mapping(value, "custom_dimension_map")


def _read_short(value: object, name: str) -> str:
    text = read_name(value, name)
    if len(text.encode("utf-16-le")) > 2 * MAX_TAG_LENGTH:
        raise InvalidInputError(f"{name} is longer than {MAX_TAG_LENGTH} characters")
    return text


def _read_map(tags: dict[Any, Any]) -> dict[str, str]:
    if not tags or len(tags) > MAX_TAGS:
        raise InvalidInputError(f"custom dimensions must be 1 to {MAX_TAGS}")
    return {
        read_text(key, "the key of a custom dimension"): _to_text(to_plain(value))
        for key, value in tags.items()
    }


def _to_text(value: object) -> str:
    """Return what the Node SDK sends: texts as they are, all else as JavaScript would write its JSON."""
    text = value
    if type(value) is not str:
        try:
            text = json.dumps(
                _to_javascript(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")
            )
        except Exception:  # noqa: BLE001 - the caller's own class may raise anything
            raise InvalidInputError("a custom dimension cannot be written as JSON") from None
    return read_text(text, "the value of a custom dimension")


def _to_javascript(value: Any) -> Any:
    """JavaScript has one kind of number, and writes it without a fraction where it has none."""
    value = to_plain(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _to_javascript(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_javascript(one) for one in value]
    return value
