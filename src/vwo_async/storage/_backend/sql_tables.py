"""The two tables in a database, and what a record is in a row of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Table, Text, func

from ..._error import InvalidInputError
from ..protocol import SEPARATOR

HASHES = ("user_hash", "campaign_hash", "goal_hash")
TEXTS = ("user_id", "campaign_key", "goal_identifier")

# What `escape` leaves as it is.
_PLAIN = re.compile(r"[ !#-\[\]-~]*")


class Hidden(str):
    """A text that no log shows, not even that of a driver at its lowest level."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


class RecordRow(NamedTuple):
    """A record as the table has it, less its key; every text is escaped."""

    user_id: str
    campaign_key: str
    variation_name: str
    goal_identifier: str | None
    meta_data: str | None


def define_records(metadata: MetaData, name: str) -> Table:
    """Define the table of records."""
    texts = [Column(one, Text, nullable=False) for one in ("user_id", "campaign_key")]
    variation = Column("variation_name", Text, nullable=False)
    rest = [Column(one, Text) for one in ("goal_identifier", "meta_data")]
    return _define(name, metadata, HASHES[:2], [*texts, variation, *rest])


def define_claims(metadata: MetaData, name: str) -> Table:
    """Define the table of claims."""
    texts = [Column(one, Text, nullable=False) for one in TEXTS]
    return _define(name, metadata, HASHES, [*texts, Column("owner", Text)])


def _define(
    name: str, metadata: MetaData, hashes: Sequence[str], texts: Sequence[Column[str]]
) -> Table:
    """Define a table whose key is made of hashes, with the texts beside them for people to read.

    The texts cannot be the key. They may be longer than PostgreSQL can index, and the collation of a
    database may make two of them equal. Each has a hash of its own, so that the rows of one user lie
    together and are found by that of the user alone.
    """
    keys = [Column(one, LargeBinary, primary_key=True) for one in hashes]
    updated_at = Column(
        "updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()
    )
    return Table(name, metadata, *keys, *texts, updated_at)


class NameCache:
    """Hash and escaped text of campaign keys and goal identifiers, of which there are few."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._known: dict[str, tuple[bytes, str]] = {}

    def find(self, name: str) -> tuple[bytes, str]:
        """Return hash and text of *name* as the tables have them."""
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= self._limit:
                self._known.clear()
            found = self._known[name] = make_hash(name), escape(name)
        return found


def make_hash(text: str) -> bytes:
    """Return what stands for *text* in a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def escape(text: str) -> str:
    """Return *text* in ASCII without NUL, which is what every database can hold."""
    if _PLAIN.fullmatch(text):
        return Hidden(text)
    return Hidden(json.dumps(text)[1:-1])


def unescape(text: str) -> str:
    """Undo `escape`."""
    if "\\" not in text:
        return str(text)
    return str(json.loads(f'"{text}"', strict=False))


def write_record(data: Mapping[str, Any]) -> RecordRow:
    """Return the row of a record.

    Raises:
        InvalidInputError: The record has no user, campaign or variation, or metaData is not JSON.
    """
    parts: list[Any] = [data.get(name) for name in ("userId", "campaignKey", "variationName")]
    if not all(isinstance(part, str) and part for part in parts):
        raise InvalidInputError("a record needs userId, campaignKey and variationName")
    goals = [data.get(name) for name in ("goalIdentifier", "goalIdentifiers")]
    given = [text for text in goals if isinstance(text, str)]
    user_id, campaign_key, variation_name = map(escape, parts)
    return RecordRow(
        user_id,
        campaign_key,
        variation_name,
        escape(SEPARATOR.join(filter(None, given))) if given else None,
        _write_json(data.get("metaData")),
    )


def _write_json(value: Any) -> str | None:
    if value is None:
        return None
    try:
        # A mapping of the service's own may be any.
        return Hidden(json.dumps(dict(value) if isinstance(value, Mapping) else value))
    except (TypeError, ValueError, RecursionError):
        raise InvalidInputError("metaData is not JSON") from None


def try_read_record(
    user_id: str, campaign_key: str, found: Any
) -> dict[str, Any] | Exception | None:
    """Return the record that was found, None, or what is wrong with it.

    Args:
        user_id: The user.
        campaign_key: The campaign.
        found: The last three columns of the row; the error that came in place of them; or nothing.
    """
    if isinstance(found, Exception) or not found:
        return found or None
    try:
        return read_record(user_id, campaign_key, *found)
    except (ValueError, RecursionError) as error:
        return error


def read_record(
    user_id: str, campaign_key: str, variation_name: str, goals: str | None, meta_data: str | None
) -> dict[str, Any]:
    """Return the record that a row holds.

    Raises:
        ValueError: Somebody has spoilt the row.
    """
    record: dict[str, Any] = {
        "userId": user_id,
        "campaignKey": campaign_key,
        "variationName": unescape(variation_name),
    }
    if goals is not None:
        record["goalIdentifier"] = unescape(goals)
    if meta_data is not None:
        record["metaData"] = json.loads(meta_data)
    return record
