"""Rounds in SQLite, which has one writer at a time: read, decide here, and write, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite

from ..rounds import AssignVariation, CountConversion, ReadRecord, StorageOutcome, StorageRequest
from .place import Place, place_of
from .sql_tables import escape, make_hash, try_read_record, unescape, write_record

_Key: TypeAlias = tuple[str, str]
"""User and campaign."""
_Hashes: TypeAlias = tuple[bytes, bytes]
"""The same as the tables have them."""

# So many places are asked for in one statement; every SQLite takes 999 values.
MAX_PLACES = 200


class SqliteText:
    """The statements about two tables."""

    def __init__(self, records: Table, claims: Table) -> None:
        quote = sqlite.dialect().identifier_preparer.format_table
        self._r, self._c = quote(records), quote(claims)
        self.set = f"""
INSERT INTO {self._r} (user_hash, campaign_hash, user_id, campaign_key, variation_name,
    goal_identifier, meta_data) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (user_hash, campaign_hash) DO UPDATE SET variation_name = excluded.variation_name,
    goal_identifier = excluded.goal_identifier, meta_data = excluded.meta_data,
    updated_at = CURRENT_TIMESTAMP"""
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
            hashes = _hash_all(requests)
            rows = await self._read_rows(driver, hashes.values())
            return [try_read_record(*one, rows.get(hashes[one])) for one in map(place_of, requests)]
        await driver.execute_fetchall("BEGIN IMMEDIATE")
        try:
            outcomes = await self._write_round(driver, requests)
            # It may fail, without WAL for a reader that is not done: the transaction is open then.
            await driver.execute_fetchall("COMMIT")
        except BaseException:
            # After some errors SQLite has done so itself, which makes this one fail.
            with suppress(sqlite3.OperationalError):
                await driver.execute_fetchall("ROLLBACK")
            raise
        return outcomes

    async def _read_rows(
        self, driver: Any, hashes: Iterable[_Hashes]
    ) -> dict[_Hashes, tuple[Any, ...]]:
        """Return variation, goals and meta data of each record, by its hashes."""
        columns = "variation_name, goal_identifier, meta_data"
        return {
            (row[0], row[1]): tuple(row[2:])
            for row in await self._select(driver, hashes, self._r, columns)
        }

    async def _select(
        self, driver: Any, hashes: Iterable[_Hashes], table: str, columns: str
    ) -> list[Sequence[Any]]:
        rows: list[Sequence[Any]] = []
        wanted = list(hashes)
        for start in range(0, len(wanted), MAX_PLACES):
            some = wanted[start : start + MAX_PLACES]
            statement = f"""
SELECT user_hash, campaign_hash, {columns} FROM {table}
WHERE (user_hash, campaign_hash) IN (VALUES {", ".join(["(?, ?)"] * len(some))})"""
            rows += await driver.execute_fetchall(statement, [one for pair in some for one in pair])
        return rows

    async def _write_round(
        self, driver: Any, requests: Sequence[StorageRequest]
    ) -> list[StorageOutcome]:
        hashes = _hash_all(requests)
        rows = await self._read_rows(driver, hashes.values())
        owners: dict[_Hashes, dict[str, str]] = {}
        claims = "goal_identifier, owner"
        for user_hash, campaign_hash, goal, owner in await self._select(
            driver, hashes.values(), self._c, claims
        ):
            owners.setdefault((user_hash, campaign_hash), {})[unescape(goal)] = owner or ""
        changes = _Changes(hashes, rows, owners)
        outcomes: list[StorageOutcome] = []
        for request in requests:
            try:
                outcomes.append(changes.apply(request))
            except Exception as error:  # noqa: BLE001 - a record may hold anything
                outcomes.append(error)
        await self._write_changes(driver, changes)
        return outcomes

    async def _write_changes(self, driver: Any, changes: _Changes) -> None:
        await driver.executemany(self.set, changes.list_records())
        freed, claimed = changes.list_claims()
        await driver.executemany(self.release, freed)
        await driver.executemany(self._own, claimed)


class _Changes:
    """The places that a round is about, as they were and as they become.

    Args:
        hashes: Of each place.
        rows: The rows of the records that there are.
        owners: Who has claimed, by goal, where anybody has.
    """

    def __init__(
        self,
        hashes: Mapping[_Key, _Hashes],
        rows: Mapping[_Hashes, tuple[Any, ...]],
        owners: Mapping[_Hashes, Mapping[str, str]],
    ) -> None:
        self._hashes = hashes
        self._rows = rows
        self._owners = owners
        self._places: dict[_Key, Place] = {}
        self._before: dict[_Key, Place] = {}

    def apply(self, request: StorageRequest) -> StorageOutcome:
        """Do what is asked, and return the outcome."""
        if isinstance(request, AssignVariation | CountConversion) and request.data is not None:
            # What no row can hold is the trouble of this request alone.
            write_record(request.data)
        key = place_of(request)
        place = self._places.get(key)
        if place is None:
            hashes = self._hashes[key]
            row = try_read_record(*key, self._rows.get(hashes))
            if isinstance(row, Exception):
                raise row
            place = self._places[key] = Place(row, self._owners.get(hashes))
            self._before[key] = Place(row, self._owners.get(hashes))
        return place.apply(request)

    def list_records(self) -> list[tuple[Any, ...]]:
        """Return the rows of records that have changed."""
        return [
            (*self._hashes[key], *write_record(place.row))
            for key, place in self._places.items()
            if place.row is not None and place.row is not self._before[key].row
        ]

    def list_claims(self) -> tuple[list[tuple[bytes, ...]], list[tuple[Any, ...]]]:
        """Return the keys of claims that are gone, and the rows of those that are new."""
        freed: list[tuple[bytes, ...]] = []
        claimed: list[tuple[Any, ...]] = []
        for key, place in self._places.items():
            before, hashes = self._before[key].owners, self._hashes[key]
            freed += [(*hashes, make_hash(goal)) for goal in before if goal not in place.owners]
            claimed += [
                (*hashes, make_hash(goal), *map(escape, (*key, goal)), owner or None)
                for goal, owner in place.owners.items()
                if before.get(goal) != owner
            ]
        return freed, claimed


def _hash_all(requests: Sequence[StorageRequest]) -> dict[_Key, _Hashes]:
    """Return the hashes of every place that *requests* are about."""
    keys = dict.fromkeys(map(place_of, requests))
    return {(user, campaign): (make_hash(user), make_hash(campaign)) for user, campaign in keys}
