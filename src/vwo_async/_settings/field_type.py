"""The types of fields in settings files: what each accepts, and what it makes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from math import isfinite
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    Strict,
    ValidationInfo,
)

from .._sdk_key import SdkKey

MAX_TREE_DEPTH = 50
MAX_TREE_NODES = 100_000
# The largest whole number that every SDK's language can hold exactly.
MAX_ID = 2**53 - 1

_DIGITS = re.compile(r"0|-?[1-9][0-9]*")
_PREFIX = re.compile(r"[A-Za-z0-9_-]*")
_KEY = re.compile(r"[!-~]{1,256}")


def _check_encodable(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate") from None
    return text


def _to_id(value: object) -> object:
    """Convert numeric text to a number, as the Node SDK does, if the number prints as the same text."""
    if type(value) is int and 0 <= value <= MAX_ID:
        # Nearly every id.
        return value
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    if isinstance(value, str) and _DIGITS.fullmatch(value) and len(value) <= 17:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or abs(value) > MAX_ID:
        raise ValueError("must be a whole number")
    return value


def _to_account_id(value: object) -> object:
    """Keep text as it is, since the text form is hashed; an integral float becomes an int."""
    if isinstance(value, str) and value:
        return _check_encodable(value)
    return _to_id(value)


def to_list(value: object) -> object:
    """Return a list; the server writes an empty list as an empty object."""
    return [] if value == {} else value


def dump_entries(entries: Iterable[Any], dump: SerializerFunctionWrapHandler) -> Any:
    """Write what may be kept as text as the tuple that it stands for."""
    return dump(tuple(entries))


def to_optional_list(value: object) -> object:
    """Null is as absent, here and below."""
    return [] if value is None else to_list(value)


def to_map(value: object) -> object:
    """PHP writes an empty map as an empty list."""
    if value is None or value == []:
        return {}
    if isinstance(value, dict) and None in value.values():
        return {key: one for key, one in value.items() if one is not None}
    return value


def _to_tree(value: object) -> object:
    return {} if value is None else value


def _to_weight(value: object) -> object:
    return 0 if value is None else value


def to_prefix(value: object) -> object:
    return "" if value is None else value


def to_group_type(value: object) -> object:
    return 1 if value is None else value


def to_key(value: object) -> SdkKey | None:
    """Check the SDK key: it is sent in a header and a query, so only visible ASCII is allowed."""
    if value is None:
        return None
    if isinstance(value, SdkKey):
        return value
    text = value if isinstance(value, str) else _to_json(value)
    if text and not _KEY.fullmatch(text):
        raise ValueError("must be visible ASCII text of at most 256 characters")
    return SdkKey(text) if text else None


def _to_json(value: object) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("must be text") from None


def check_version(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("must be a number or text")
    if isinstance(value, str):
        return _check_encodable(value)
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("must be finite")
    return value


def to_goal_limit(value: object) -> object:
    """Return the limit, or None if it is not a number: no official SDK validates goals."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        return None
    return int(value)


def check_prefix(value: str) -> str:
    """Check the prefix: it is part of the path of every request, so ``../x`` and ``a?b=`` are refused."""
    if not _PREFIX.fullmatch(value):
        raise ValueError("may hold only letters, digits, '_' and '-'")
    return value


# The validation context which says that all free-form values are known to be small enough.
CHECKED_TREES = "checked trees"


def _check_tree(value: Any, info: ValidationInfo) -> Any:
    """Check depth and size of a free-form JSON value, without recursion."""
    if info.context == CHECKED_TREES or (type(value) is dict and not value):
        return value
    level: list[Any] = [value]
    nodes = 0
    for _ in range(MAX_TREE_DEPTH):
        below, keys = _list_below(level)
        if not below:
            return value
        nodes += keys + len(below)
        if nodes > MAX_TREE_NODES:
            raise ValueError(f"has more than {MAX_TREE_NODES} nodes")
        level = below
    raise ValueError(f"is nested deeper than {MAX_TREE_DEPTH}")


def _list_below(level: Iterable[Any]) -> tuple[list[Any], int]:
    """Check the values of one level; return those of the next, and how many keys there are to them."""
    below: list[Any] = []
    keys = 0
    for one in level:
        kind = type(one)
        if kind is dict:
            below += one.values()
            keys += len(one)
            for key in one:
                if type(key) is not str or not key.isascii():
                    below += _check_leaf(key)
        elif kind is list:
            below += one
        elif kind is not str or not one.isascii():
            below += _check_leaf(one)
    return below, keys


def _check_leaf(value: object) -> Iterable[object]:
    """Check a value that is not plain; return its children if it is a collection."""
    if value is None:
        return ()
    if isinstance(value, str):
        _check_encodable(value)
    elif isinstance(value, dict):
        return [*value, *value.values()]
    elif isinstance(value, (list, tuple)):
        return value
    elif not isinstance(value, (bool, int, float)):
        raise ValueError("holds a value that JSON does not know")
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError("holds a number that is not finite")
    return ()


Text: TypeAlias = Annotated[str, Strict(), AfterValidator(_check_encodable)]
Name: TypeAlias = Annotated[Text, Field(min_length=1)]
Id: TypeAlias = Annotated[int, BeforeValidator(_to_id)]
AccountId: TypeAlias = Annotated[int | str, BeforeValidator(_to_account_id)]
Percentage: TypeAlias = Annotated[float, Strict(), Field(ge=0, le=100)]
Weight: TypeAlias = Annotated[float, BeforeValidator(_to_weight), Field(ge=0, le=100)]
Flag: TypeAlias = Annotated[bool, BeforeValidator(bool)]
Json: TypeAlias = Annotated[Any, AfterValidator(_check_tree)]
Tree: TypeAlias = Annotated[Json, BeforeValidator(_to_tree)]


Key: TypeAlias = Annotated[
    SdkKey | None,
    PlainValidator(to_key),
    PlainSerializer(lambda key: None if key is None else str(key), when_used="json"),
]
Version: TypeAlias = Annotated[Any, AfterValidator(check_version)]
Prefix: TypeAlias = Annotated[Text, BeforeValidator(to_prefix), AfterValidator(check_prefix)]


class SettingsModel(BaseModel):
    """The base of all models: frozen, and silent about what it refuses."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, hide_input_in_errors=True
    )
