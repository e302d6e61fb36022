"""Custom dimensions: the ``{"u": {name: value}}`` of a push."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from .error import WireError
from .field import Fields, read_json
from .rule import Rules

__all__ = ["read_encoded_tags", "read_tags"]

_ALLOWED = frozenset({"u"})


def read_tags(text: str, field: str, rules: Rules) -> Mapping[str, object]:
    """Read custom dimensions from JSON.

    Returns:
        The values by name: at least one, and all of them text unless the rules are loose.

    Raises:
        WireError: The text is anything else.
    """
    value = read_json(text, field)
    if not isinstance(value, dict):
        raise WireError(field, "must be an object")
    fields = Fields(value, f"{field}.")
    rules.check_only(fields, _ALLOWED)
    tags = fields.child("u").values
    if not tags:
        fields.fail("u", "must not be empty")
    if rules.strict and not all(isinstance(tag, str) for tag in tags.values()):
        fields.fail("u", "values must be text")
    return tags


def read_encoded_tags(text: str, field: str, rules: Rules) -> Mapping[str, object]:
    """Read custom dimensions from JSON, plain or percent-encoded: official SDKs send both."""
    if text.startswith("{"):
        return read_tags(text, field, rules)
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise WireError(field, "must be percent-encoded UTF-8") from None
    return read_tags(decoded, field, rules)
