"""Rounds in SQLite, which has one writer at a time: read, decide here, and write, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite

from ..rounds import AssignVariation, CountConversion, ReadRecord, StorageOutcome, StorageRequest
from .place import Place
from .sql_tables import escape, make_hash, read_record, unescape, write_record

_Key: TypeAlias = tuple[str, str]
"""User and campaign."""

# So many places are asked for in one statement; every SQLite takes 999 values.
MAX_PLACES = 200


class SqliteText:
    """The statements about two tables."""

    def __init__(self, records: Table, claims: Table) -> None:
        quote = sqlite.dialect().identifier_preparer.format_table
        self._r, self._c = quote(records), quote(claims)
        self._write = f"""
INSERT INTO {self._r} (user_hash, campaign_hash, user_id, campaign_key, variation_name,
    goal_identifier, meta_data) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (user_hash, campaign_hash) DO UPDATE SET variation_name = excluded.variation_name,
    goal_identifier = excluded.goal_identifier, meta_data = excluded.meta_data,
    updated_at = CURRENT_TIMESTAMP"""
        self.set = self._write
        claim = f"""
INSERT INTO {self._c} (user_hash, campaign_hash, goal_hash, user_id, campaign_key, goal_identifier,
    owner) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (user_hash, campaign_hash, goal_hash) DO """
        self.claim = claim + "NOTHING"
        self._own = claim + "UPDATE SET owner = excluded.owner, updated_at = CURRENT_TIMESTAMP"
        self.release = (
            f"DELETE FROM {self._c} WHERE user_hash = ? AND campaign_hash = ? AND goal_hash = ?"
        )

    async def run_round(
        self, driver: Any, requests: Sequence[StorageRequest]
    ) -> list[StorageOutcome]:
        """Answer *requests* on a connection of aiosqlite, of which none or all are reads."""
        if all(isinstance(one, ReadRecord) for one in requests):
            rows = await self._read_rows(driver, [_key_of(one) for one in requests])
            return [_open(one, rows.get(_hash(*one))) for one in map(_key_of, requests)]
        await driver.execute_fetchall("BEGIN IMMEDIATE")
        try:
            outcomes = await self._write_round(driver, requests)
        except BaseException:
            await driver.execute_fetchall("ROLLBACK")
            raise
        await driver.execute_fetchall("COMMIT")
        return outcomes

    async def _read_rows(
        self, driver: Any, keys: Sequence[_Key]
    ) -> dict[tuple[bytes, ...], tuple[Any, ...]]:
        """Return variation, goals and meta data of each record, by its hashes."""
        columns = "variation_name, goal_identifier, meta_data"
        return {
            tuple(row[:2]): tuple(row[2:])
            for row in await self._select(driver, keys, self._r, columns)
        }

    async def _select(
        self, driver: Any, keys: Sequence[_Key], table: str, columns: str
    ) -> list[Sequence[Any]]:
        rows: list[Sequence[Any]] = []
        hashes = list(dict.fromkeys(_hash(*one) for one in keys))
        for start in range(0, len(hashes), MAX_PLACES):
            some = hashes[start : start + MAX_PLACES]
            statement = f"""
SELECT user_hash, campaign_hash, {columns} FROM {table}
WHERE (user_hash, campaign_hash) IN (VALUES {", ".join(["(?, ?)"] * len(some))})"""
            rows += await driver.execute_fetchall(statement, [one for pair in some for one in pair])
        return rows

    async def _write_round(
        self, driver: Any, requests: Sequence[StorageRequest]
    ) -> list[StorageOutcome]:
        keys = [_key_of(one) for one in requests]
        rows = await self._read_rows(driver, keys)
        owners: dict[tuple[bytes, ...], dict[str, str]] = {}
        claims = "goal_identifier, owner"
        for user_hash, campaign_hash, goal, owner in await self._select(
            driver, keys, self._c, claims
        ):
            owners.setdefault((user_hash, campaign_hash), {})[unescape(goal)] = owner or ""
        changes = _Changes()
        outcomes: list[StorageOutcome] = []
        for key, request in zip(keys, requests, strict=True):
            try:
                outcomes.append(changes.apply(key, request, rows, owners))
            except Exception as error:  # noqa: BLE001 - a record may hold anything
                outcomes.append(error)
        await self._write_changes(driver, changes)
        return outcomes

    async def _write_changes(self, driver: Any, changes: _Changes) -> None:
        await driver.executemany(self._write, changes.list_records())
        freed, claimed = changes.list_claims()
        await driver.executemany(self.release, freed)
        await driver.executemany(self._own, claimed)


class _Changes:
    """The places that a round is about, as they were and as they become."""

    def __init__(self) -> None:
        self._places: dict[_Key, Place] = {}
        self._before: dict[_Key, Place] = {}

    def apply(
        self,
        key: _Key,
        request: StorageRequest,
        rows: Mapping[tuple[bytes, ...], tuple[Any, ...]],
        owners: Mapping[tuple[bytes, ...], dict[str, str]],
    ) -> StorageOutcome:
        if isinstance(request, AssignVariation | CountConversion) and request.data is not None:
            # What no row can hold is the trouble of this request alone.
            write_record(request.data)
        place = self._places.get(key)
        if place is None:
            hashes = _hash(*key)
            row = _open(key, rows.get(hashes))
            if isinstance(row, Exception):
                raise row
            place = self._places[key] = Place(row, owners.get(hashes))
            self._before[key] = Place(row, owners.get(hashes))
        return place.apply(request)

    def list_records(self) -> list[tuple[Any, ...]]:
        """Return the rows of records that have changed."""
        return [
            (*_hash(*key), *write_record(place.row))
            for key, place in self._places.items()
            if place.row is not None and place.row is not self._before[key].row
        ]

    def list_claims(self) -> tuple[list[tuple[bytes, ...]], list[tuple[Any, ...]]]:
        """Return the keys of claims that are gone, and the rows of those that are new."""
        freed: list[tuple[bytes, ...]] = []
        claimed: list[tuple[Any, ...]] = []
        for key, place in self._places.items():
            before = self._before[key].owners
            freed += [_hash(*key, goal) for goal in before if goal not in place.owners]
            claimed += [
                (*_hash(*key, goal), *map(escape, (*key, goal)), owner or None)
                for goal, owner in place.owners.items()
                if before.get(goal) != owner
            ]
        return freed, claimed


def _key_of(request: StorageRequest) -> _Key:
    if isinstance(request, AssignVariation):
        return request.data["userId"], request.data["campaignKey"]
    return request.user_id, request.campaign_key


def _hash(*parts: str) -> tuple[bytes, ...]:
    return tuple(map(make_hash, parts))


def _open(key: _Key, row: tuple[Any, ...] | None) -> dict[str, Any] | Exception | None:
    """Return the record in a row, or what is wrong with it."""
    if row is None:
        return None
    try:
        return read_record(*key, *row)
    except (ValueError, RecursionError) as error:
        return error
