r"""`SqlUserStorage`, in PostgreSQL or SQLite, for services whose processes share a database.

It needs the extra ``postgres``, ``psycopg`` or ``sqlite``::

    storage = SqlUserStorage.from_url("postgresql://user@host/database")
    await storage.create_tables()
    client = VWOClient(settings, user_storage=storage)
    ...
    await client.aclose()
    await storage.aclose()

The tables
----------
`SqlUserStorage.create_tables` makes them. Who makes tables by migration has them as `metadata`, which
Alembic takes as a further ``target_metadata``, or runs this. PostgreSQL::

    CREATE TABLE IF NOT EXISTS vwo_user (
        user_hash BYTEA NOT NULL,
        campaign_hash BYTEA NOT NULL,
        user_id TEXT NOT NULL,
        campaign_key TEXT NOT NULL,
        variation_name TEXT NOT NULL,
        goal_identifier TEXT,
        meta_data TEXT,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
        PRIMARY KEY (user_hash, campaign_hash)
    );
    CREATE TABLE IF NOT EXISTS vwo_claim (
        user_hash BYTEA NOT NULL,
        campaign_hash BYTEA NOT NULL,
        goal_hash BYTEA NOT NULL,
        user_id TEXT NOT NULL,
        campaign_key TEXT NOT NULL,
        goal_identifier TEXT NOT NULL,
        owner TEXT,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
        PRIMARY KEY (user_hash, campaign_hash, goal_hash)
    );

For SQLite, write BLOB for BYTEA and ``TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP`` for the last column.

A hash is the SHA-256 of the text in UTF-8. The texts themselves stand beside the hashes for whoever looks
into the tables; they are written as in JSON, without the quotes: ``Ashley`` as it is, ``Zoë`` as
``Zo\u00eb``. In *meta_data* is a JSON object.

Forgetting
----------
`SqlUserStorage.purge` deletes what was not written for a time. So does, each in one go::

    DELETE FROM vwo_user WHERE updated_at < now() - interval '180 days';     -- PostgreSQL
    DELETE FROM vwo_user WHERE updated_at < datetime('now', '-180 days');    -- SQLite

and the same for ``vwo_claim``. A user whose record is gone may get another variation, and without a claim
a conversion may be counted again, so keep them for as long as the longest campaign runs. One user's rows::

    DELETE FROM vwo_user WHERE user_hash = sha256(convert_to('Ashley', 'UTF8'));  -- PostgreSQL
    DELETE FROM vwo_user WHERE user_id = 'Ashley';                                -- either, slower
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, Self, TypeAlias, TypeVar, cast

from .._error import InvalidInputError, StorageError
from .._extra import explain_missing
from .._plain import is_kind, to_plain

try:
    from sqlalchemy import (
        URL,
        ColumnElement,
        Delete,
        Executable,
        MetaData,
        Select,
        Table,
        bindparam,
        delete,
        func,
        select,
    )
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.schema import CreateTable
except ImportError as error:
    raise explain_missing(error, "postgres", "psycopg", "sqlite") from None

from ._backend.sql_connection import Call, Connection, Connections
from ._backend.sql_drivers import PostgresDriver, find_code
from ._backend.sql_engine import BUSY_S, choose_size, make_engine, read_url
from ._backend.sql_postgres import PostgresText
from ._backend.sql_sqlite import SqliteText
from ._backend.sql_tables import define_claims, define_records, escape, make_hash, write_record
from .rounds import ReadRecord, StorageOutcome, StorageRequest

__all__ = ["SqlUserStorage"]

T = TypeVar("T")
_Work: TypeAlias = Callable[[Connection], Awaitable[T]]

# A statement without an answer for so long is given up, where the caller has no shorter time-out.
ANSWER_S: Final = 30.0
CLOSE_S: Final = 2.0
# No row is older, and the dates of databases have an end.
MAX_AGE_S: Final = 100 * 365.25 * 86400
# Two sessions that lock each other out, or meet in an unlucky order: what was asked for was not done.
_TRANSIENT = frozenset({"40001", "40P01"})
# The connection, the server, its resources, tables and rights: no request is to blame for it.
_NOBODYS = frozenset({"08", "0A", "25", "28", "3D", "3F", "42", "53", "57", "58"})
_DATABASES = frozenset({"postgresql", "sqlite"})
_DRIVERS = frozenset({"aiosqlite", "asyncpg", "psycopg", "psycopg_async"})
# Above every hash.
_TOP = b"\xff" * 33


class SqlUserStorage:
    """Keeps records and claims in two tables of a PostgreSQL or SQLite database.

    A call of `get`, `get_many`, `set`, `claim_goal` or `release_goal` is one statement that commits itself.
    What calls of the client ask at the same time is one statement for each kind of request on PostgreSQL,
    and one transaction on SQLite. Users, campaigns and goals are told apart by every byte of their texts,
    whatever the collation of the database.

    A call that is cancelled ends at once, and what it asked for may still happen, even after what was
    asked for later. Its connection is not used by another call before it has its answer; if none comes
    within half a second PostgreSQL is asked to stop it, and half a second later it is closed.

    Every method raises `StorageError` where the database fails or the storage is closed. Its text names
    the kind of the error alone, since the texts of databases hold user ids. The logs of SQLAlchemy and of
    the drivers do not show values either.

    Args:
        engine: An engine of SQLAlchemy for PostgreSQL or SQLite. It stays open when the storage closes.
            The driver may be asyncpg, psycopg or aiosqlite. It is used as it is: how many connections it
            has, and how long it waits for one, are its own settings.
        record_table: Name of the table of records.
        claim_table: Name of the table of claimed conversions.
        schema: The schema of both, which must exist; None for the database's default.

    Attributes:
        metadata: The two tables, for Alembic.

    Raises:
        InvalidInputError: *engine* is none or of another database, or the tables have not two names.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        record_table: str = "vwo_user",
        claim_table: str = "vwo_claim",
        schema: str | None = None,
    ) -> None:
        if not is_kind(engine, AsyncEngine):
            raise InvalidInputError("engine must be an AsyncEngine")
        if engine.dialect.name not in _DATABASES:
            raise InvalidInputError(f"engine is of {engine.dialect.name}, not postgresql or sqlite")
        if engine.dialect.driver not in _DRIVERS:
            raise InvalidInputError("engine must be of asyncpg, psycopg or aiosqlite")
        names = [to_plain(one) for one in (record_table, claim_table)]
        if not all(type(one) is str and one for one in names) or names[0] == names[1]:
            raise InvalidInputError("record_table and claim_table must be two names")
        if schema is not None and type(to_plain(schema)) is not str:
            raise InvalidInputError("schema must be a name")
        self.metadata = MetaData(schema=schema)
        tables = (
            define_records(self.metadata, record_table),
            define_claims(self.metadata, claim_table),
        )
        is_sqlite = engine.dialect.name == "sqlite"
        self._text = SqliteText(*tables) if is_sqlite else PostgresText(*tables)
        self._driver = PostgresDriver(engine.dialect.driver)
        # asyncpg begins no transaction of its own, so that there is nothing to turn off.
        self._engine = (
            engine
            if engine.dialect.driver == "asyncpg"
            else engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._connections = Connections(self._engine)
        self._is_own_engine = False
        self._make_again: Callable[[], Self] | None = None
        self._calls: dict[asyncio.Task[None], Call[Any]] = {}
        self._is_closed = False

    @classmethod
    def from_url(
        cls,
        url: str | URL,
        *,
        record_table: str = "vwo_user",
        claim_table: str = "vwo_claim",
        schema: str | None = None,
    ) -> Self:
        """Return a storage with an engine of its own, which `aclose` closes. Nothing is connected yet.

        The engine has up to 5 connections to PostgreSQL. One that the server has closed is replaced when
        it is next needed. A SQLite file is kept in WAL mode, so that several processes may share it.

        Args:
            url: ``postgresql://...`` with asyncpg, ``postgresql+psycopg://...``, or ``sqlite:///path``.
                The parameters of libpq, which URLs of providers have, mean what they mean there.
            record_table: As for the class.
            claim_table: As for the class.
            schema: As for the class.

        Raises:
            InvalidInputError: *url* is no such URL, asks for what the driver does not have, or is that of
                a SQLite database in memory.
        """
        engine = make_engine(read_url(url))
        storage = cls(engine, record_table=record_table, claim_table=claim_table, schema=schema)
        # It commits by itself already. To tell SQLite so for each call would take a third of the call.
        storage._engine = engine
        storage._is_own_engine = True
        storage._connections.detach()
        storage._connections = Connections(engine, choose_size(engine.url))
        storage._make_again = partial(
            cls.from_url, url, record_table=record_table, claim_table=claim_table, schema=schema
        )
        return storage

    def renew(self) -> Self:
        """Return a storage like this one that has no connection yet, for the child of a fork.

        Only one that `from_url` made: one with an engine that was passed in is returned itself.
        """
        return self if self._make_again is None else self._make_again()

    async def create_tables(self) -> None:
        """Create the tables that are not there; any number of processes may do so at once."""
        for table in self.metadata.sorted_tables:
            await self._create(table)

    async def get(self, user_id: str, campaign_key: str) -> dict[str, Any] | None:
        """Return the record in the official shape, or None."""
        return (await self.get_many(user_id, [campaign_key])).get(campaign_key)

    async def get_many(
        self, user_id: str, campaign_keys: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        """Return the records of a user by campaign key, without those that are not there."""
        reads = [ReadRecord(user_id, key) for key in dict.fromkeys(campaign_keys)]
        if not reads:
            return {}
        rows: dict[str, Any] = {}
        found = _hide(await self._run(partial(self._answer, reads)))
        for one, row in zip(reads, found, strict=True):
            if isinstance(row, Exception):
                raise row
            if row is not None:
                rows[one.campaign_key] = row
        return rows

    async def set(self, data: Mapping[str, Any]) -> None:
        """Keep a record, in place of the one that is there.

        Args:
            data: A record in the official shape. Its goals are read under both spellings, and come back
                as ``goalIdentifier``.

        Raises:
            InvalidInputError: The record has no user, campaign or variation, or metaData is not JSON.
        """
        row = write_record(data)
        hashes = (make_hash(data["userId"]), make_hash(data["campaignKey"]))
        await self._fetch(self._text.set, (*hashes, *row))

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        """Tell whether the caller is the first to claim this conversion, among all processes."""
        parts = (user_id, campaign_key, goal_identifier)
        arguments = (*map(make_hash, parts), *map(escape, parts))
        if isinstance(self._text, SqliteText):
            return await self._run(partial(self._claim_in_sqlite, arguments))
        # What the statement returns tells it on every driver; not all count the rows.
        return bool(await self._fetch(self._text.claim, arguments))

    async def _claim_in_sqlite(self, arguments: Sequence[Any], connection: Connection) -> bool:
        cursor = await connection.driver.execute(self._text.claim, (*arguments, None))
        is_first: bool = cursor.rowcount == 1
        await cursor.close()
        return is_first

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        """Give a claim back; no error where there is none."""
        parts = (user_id, campaign_key, goal_identifier)
        await self._fetch(self._text.release, tuple(map(make_hash, parts)))

    async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
        """Answer *requests* with a statement for each kind of them; see `StorageRounds`.

        Raises:
            StorageError: The database cannot be reached, so that none is answered.
        """
        return _hide(await self._run(partial(self._answer, requests)))

    async def run_uncancelled(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
        """Do what `run_round` does, in a task that must not be cancelled: the client has `abandon` for that.

        Raises:
            StorageError: The database cannot be reached, so that none is answered.
        """
        task = asyncio.current_task()
        assert task is not None
        call = self._make_call(partial(self._answer, requests))
        self._calls[task] = call
        try:
            await call.run()
        finally:
            self._calls.pop(task, None)
        return _hide(_conclude(call))

    def abandon(self, task: asyncio.Task[Any]) -> None:
        """Let a task end within a short time that runs `run_uncancelled`, and for which nobody waits any more."""
        call = self._calls.get(task)
        if call is None:
            task.cancel()
        else:
            call.abandon()

    async def _answer(
        self, requests: Sequence[StorageRequest], connection: Connection
    ) -> Sequence[StorageOutcome]:
        text = self._text
        if isinstance(text, SqliteText):
            return await text.run_round(connection.driver, requests)

        fetch = partial(self._fetch_on, connection)
        undo = partial(self._driver.run_and_undo, connection.driver)
        return await _divide(partial(text.run_round, fetch, undo), requests)

    async def _fetch(self, statement: str, arguments: Sequence[Any]) -> Sequence[Any]:
        def fetch(connection: Connection) -> Awaitable[Sequence[Any]]:
            if isinstance(self._text, SqliteText):
                rows: Awaitable[Sequence[Any]]
                rows = connection.driver.execute_fetchall(statement, arguments)
                return rows
            return self._fetch_on(connection, statement, arguments)

        return await self._run(fetch)

    def _fetch_on(
        self, connection: Connection, statement: str, arguments: Sequence[Any]
    ) -> Awaitable[Sequence[Any]]:
        """Run a statement of PostgreSQL on a connection."""
        return self._driver.fetch(connection.driver, connection.prepared, statement, arguments)

    async def purge(self, older_than_s: float, *, batch_size: int = 1000) -> int:
        """Delete records and claims that were last written more than *older_than_s* seconds ago.

        It walks through the tables in short statements, each of which looks at about *batch_size* rows,
        so that nobody has to wait for it.

        Returns:
            How many rows were deleted.

        Raises:
            InvalidInputError: A negative or infinite time, or a *batch_size* below 1.
        """
        if not 0 <= older_than_s < math.inf or batch_size < 1:
            raise InvalidInputError("older_than_s must be a time and batch_size at least 1")
        tables = self.metadata.sorted_tables
        return sum([await self._purge(table, older_than_s, batch_size) for table in tables])

    async def aclose(self) -> None:
        """Wait for calls that are under way, and close the engine if it is the storage's own.

        It takes a few seconds at most, even where the server does not answer.
        """
        self._is_closed = True
        await self._settle(CLOSE_S)
        for task, call in self._calls.items():
            if not call.cut():
                task.cancel()
        await self._settle(BUSY_S)
        await self._connections.close()
        self._connections.detach()
        if self._is_own_engine:
            await self._engine.dispose()
            # Sockets end in the next turn of the loop, and a thread of aiosqlite that could not open its
            # file a moment later; after the loop, both would complain.
            await asyncio.sleep(0.01)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<SqlUserStorage {self._engine.dialect.name}>"

    async def _execute(self, statement: Executable, values: Mapping[str, Any]) -> Any:
        """Run a statement of SQLAlchemy in a transaction of its own; return its first value, or how many rows."""

        async def execute(connection: Connection) -> Any:
            async with connection.own.begin():
                result = await connection.own.execute(statement, values)
                return result.scalar() if result.returns_rows else result.rowcount

        return await self._run(execute)

    async def _run(self, work: _Work[T]) -> T:
        """Return what *work* does with a connection."""
        loop = asyncio.get_running_loop()
        call = self._make_call(work)
        task = loop.create_task(call.run())
        self._calls[task] = call
        task.add_done_callback(self._calls.pop)
        timer = loop.call_later(ANSWER_S, partial(call.end, is_in_time=False))
        try:
            is_in_time = await call.ended
        except asyncio.CancelledError:
            call.abandon()
            raise
        finally:
            timer.cancel()
        if not is_in_time:
            call.abandon()
            raise StorageError(f"sql: no answer within {ANSWER_S:g} s")
        return _conclude(call)

    def _make_call(self, work: _Work[T]) -> Call[T]:
        if self._is_closed:
            raise StorageError("sql: the storage is closed")
        return Call(self._connections, work)

    async def _settle(self, timeout_s: float) -> None:
        if self._calls:
            await asyncio.wait(self._calls, timeout=timeout_s)

    async def _create(self, table: Table) -> None:
        statement = CreateTable(table, if_not_exists=True)
        try:
            await self._execute(statement, {})
        except StorageError:
            # IF NOT EXISTS fails on a table that another session is about to commit, but only once.
            await self._execute(statement, {})

    async def _purge(self, table: Table, older_than_s: float, batch_size: int) -> int:
        find_last = _select_last(table, batch_size)
        remove = _delete_stale(table, self._engine.dialect.name, min(older_than_s, MAX_AGE_S))
        after, count = b"", 0
        while after != _TOP:
            last = await self._execute(find_last, {"after": after}) or _TOP
            count += await self._execute(remove, {"after": after, "last": last})
            after = last
        return count


def _conclude(call: Call[T]) -> T:
    """Return the result of a call that has ended.

    Raises:
        StorageError: It failed.
    """
    error = call.error
    if error is None:
        return cast("T", call.result)
    if isinstance(error, asyncio.CancelledError):
        raise StorageError("sql: the storage was closed meanwhile")
    # Outside of any handler, so that the database's error is not even the context of this one.
    raise StorageError(f"sql: {_describe(error)}")


def _hide(outcomes: Sequence[StorageOutcome]) -> list[StorageOutcome]:
    """Return *outcomes*, with errors that tell no values."""
    return [
        StorageError(f"sql: {_describe(one)}") if isinstance(one, Exception) else one
        for one in outcomes
    ]


async def _divide(
    run: Callable[[Sequence[StorageRequest]], Awaitable[Sequence[StorageOutcome]]],
    requests: Sequence[StorageRequest],
) -> Sequence[StorageOutcome]:
    """Answer *requests*; where the database refuses them, in parts, until the bad one stands alone."""
    try:
        return await run(requests)
    except Exception as error:
        code = find_code(error)
        if code in _TRANSIENT and len(requests) == 1:
            return await run(requests)
        if not code or code[:2] in _NOBODYS or len(requests) == 1:
            raise
    half = len(requests) // 2
    outcomes: list[StorageOutcome] = []
    for part in (requests[:half], requests[half:]):
        try:
            outcomes += await _divide(run, part)
        except Exception as error:
            if find_code(error) == "" or len(part) > 1:
                raise
            outcomes.append(error)
    return outcomes


def _select_last(table: Table, batch_size: int) -> Select[Any]:
    """Return what finds the user with whom a batch of rows ends; none where fewer rows are left."""
    user_hash = table.columns.user_hash
    rest = select(user_hash).where(user_hash > bindparam("after")).order_by(user_hash)
    return rest.offset(batch_size - 1).limit(1)


def _delete_stale(table: Table, dialect: str, older_than_s: float) -> Delete:
    columns = table.columns
    return delete(table).where(
        columns.user_hash > bindparam("after"),
        columns.user_hash <= bindparam("last"),
        columns.updated_at < _moment(dialect, older_than_s),
    )


def _moment(dialect: str, ago_s: float) -> ColumnElement[Any]:
    """Return the moment so long ago, by the clock of the database, which has dated the rows."""
    if dialect == "sqlite":
        return func.datetime("now", f"-{ago_s:f} seconds")
    return func.now() - timedelta(seconds=ago_s)


def _describe(error: BaseException) -> str:
    """Return the kind of an error and its code, but nothing of its text."""
    code = find_code(error)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
