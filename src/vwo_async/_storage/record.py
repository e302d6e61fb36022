"""Reading a record of which nothing may be taken on trust."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from .._core.decision import Stored
from .._plain import is_kind, read_fields, to_plain
from ..storage.protocol import SEPARATOR, AnyRecord, StoredDecision, read_decision
from .pending import name_kind

DECISION_FIELDS = frozenset(
    ("userId", "campaignKey", "variationName", "goalIdentifier", "goalIdentifiers")
)
NOTHING: Mapping[str, Any] = {}

# Returns what the row of a user and campaign says, see `read_row`.
RowReader: TypeAlias = Callable[[Any, str, str], Stored | str | None]


def read_row(row: AnyRecord, user_id: str, campaign_key: str) -> Stored | str | None:
    """Return what *row* says of this user and campaign; a text where it belongs to another or is no record."""
    if row is None:
        return None
    if type(row) is dict:
        stored = _read_usual(row, user_id, campaign_key)
        if stored is not None:
            return stored
    read = list_fields(row)
    if read is None:
        return f"get returned {name_kind(row)}"
    fields = read_decision(read)
    if fields is None:
        return None
    owner, key, name, goals = fields
    if key != campaign_key or owner not in ("", user_id):
        return "get returned the record of another user or campaign"
    return Stored(name, goals, find_rest(read))


def list_fields(row: Any) -> dict[str, Any] | None:
    """Return the fields of *row*, plain ones; None where it is no record at all."""
    # A record made by hand is read like any other: its fields may hold anything.
    given: Any = row.as_dict() if is_kind(row, StoredDecision) else row
    return read_fields(given, "the row") if is_kind(given, Mapping) else None


def _read_usual(row: dict[str, Any], user_id: str, campaign_key: str) -> Stored | None:
    """Return what a record of the usual kind says, quickly; None for all others."""
    get = row.get
    name, key, owner, goals = (
        get("variationName"),
        get("campaignKey"),
        get("userId"),
        get("goalIdentifier", ""),
    )
    if not (type(name) is type(key) is type(owner) is type(goals) is str and name):
        return None
    if key != campaign_key or owner != user_id or "goalIdentifiers" in row:
        return None
    is_plain = len(row) == (4 if "goalIdentifier" in row else 3)
    rest = NOTHING if is_plain else find_rest(row)
    if not goals:
        return Stored(name, (), rest)
    return Stored(name, tuple(dict.fromkeys(filter(None, goals.split(SEPARATOR)))), rest)


def find_rest(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what else stands in a record, which is to stay when it is written again."""
    names = ((to_plain(key), value) for key, value in row.items())
    rest = {key: one for key, one in names if type(key) is str and key not in DECISION_FIELDS}
    return rest or NOTHING


def make_data(
    record: StoredDecision, stored: Stored | None, meta_data: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return *record* in the official shape, with what else is *stored*.

    Args:
        record: The decision.
        stored: What there was before.
        meta_data: Takes the place of the stored meta data, also where it is empty; None leaves it there.
    """
    data = record.as_dict() if stored is None else {**stored.rest, **record.as_dict()}
    if meta_data:
        data["metaData"] = dict(meta_data)
    elif meta_data is not None:
        data.pop("metaData", None)
    return data


def read_given(
    data: Mapping[str, Any], user_id: str, campaign_keys: Iterable[str]
) -> dict[str, Stored | None]:
    """Return the records that a caller's ``user_storage_data`` holds, which stand in for reading.

    Args:
        data: One record in the official shape.
        user_id: The user.
        campaign_keys: The campaigns asked about; those that the record is not of have none.
    """
    rows = {key: read_row(data, user_id, key) for key in campaign_keys}
    return {key: None if isinstance(row, str) else row for key, row in rows.items()}
