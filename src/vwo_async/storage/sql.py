r"""A user storage in PostgreSQL or SQLite, for services whose processes share a database.

It needs the extra ``postgres`` or ``sqlite``::

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
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from typing import Any, Final, Self, TypeAlias, TypeVar
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    CursorResult,
    DateTime,
    Delete,
    Dialect,
    Executable,
    LargeBinary,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    TypeDecorator,
    bindparam,
    delete,
    event,
    func,
    make_url,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.schema import CreateTable

from .._error import InvalidInputError, StorageError
from .protocol import SEPARATOR

T = TypeVar("T")
Result: TypeAlias = CursorResult[Any]
Values: TypeAlias = Mapping[str, Any]
_Turns: TypeAlias = AbstractAsyncContextManager[None]

POOL_SIZE: Final = 5
# SQLite has one writer at a time; more of them would only wait for one another.
SQLITE_POOL_SIZE: Final = 2
# A connection to a server that was since taken out of service is not kept for ever.
RECYCLE_S: Final = 1800
CONNECT_S: Final = 3.0
# What waits for an answer longer than that is given up, where the caller has no time-out of his own.
ANSWER_S: Final = 30.0
# How long SQLite waits for another process to finish writing.
BUSY_S: Final = 5.0
CLOSE_S: Final = 2.0
# How long after its caller was cancelled a statement may still end by itself.
GRACE_S: Final = 1.0
# No row is older, and the dates of databases have an end.
MAX_AGE_S: Final = 100 * 365.25 * 86400

_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}
_INSERTS: Mapping[str, Callable[[Table], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}
_HASHES = ("user_hash", "campaign_hash", "goal_hash")
_TEXTS = ("user_id", "campaign_key", "goal_identifier")
# Above every hash.
_TOP = b"\xff" * 33


class SqlUserStorage:
    """Keeps records and claims in two tables of a PostgreSQL or SQLite database.

    Each call is one statement that commits itself, and on PostgreSQL one round trip. Users, campaigns
    and goals are told apart by every byte of their texts, whatever the collation of the database.

    A call that is cancelled ends at once, and what it asked for may still happen, even after what was
    asked for later. Its connection is not used by another call before it has its answer; if none comes
    within a second, it is closed.

    Every method raises `StorageError` where the database fails or the storage is closed. Its text names
    the kind of the error alone, since the texts of databases hold user ids. The logs of SQLAlchemy and of
    the drivers do not show values either.

    Args:
        engine: An engine of SQLAlchemy for PostgreSQL or SQLite. It stays open when the storage closes.
            It is used as it is: how many connections it has, how long it waits for one, and how it gets
            on with a PgBouncer are its own settings.
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
        if not isinstance(engine, AsyncEngine):
            raise InvalidInputError("engine must be an AsyncEngine")
        if engine.dialect.name not in _INSERTS:
            raise InvalidInputError(f"engine is of {engine.dialect.name}, not postgresql or sqlite")
        if not (record_table and claim_table) or record_table == claim_table:
            raise InvalidInputError("record_table and claim_table must be two names")
        self.metadata = MetaData(schema=schema)
        records = _define_records(self.metadata, record_table)
        claims = _define_claims(self.metadata, claim_table)
        self._statements = _Statements(engine.dialect.name, records, claims)
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._is_own_engine = False
        self._turns: _Turns = nullcontext()
        self._calls: dict[asyncio.Task[Any], _Call] = {}
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
            url: ``postgresql://...`` or ``sqlite:///path``. The drivers are asyncpg and aiosqlite.
            record_table: As for the class.
            claim_table: As for the class.
            schema: As for the class.

        Raises:
            InvalidInputError: *url* is no such URL, or that of a SQLite database in memory.
        """
        engine = _make_engine(_read_url(url))
        storage = cls(engine, record_table=record_table, claim_table=claim_table, schema=schema)
        # It commits by itself already. To tell SQLite so for each call would take a third of the call.
        storage._engine = engine
        storage._is_own_engine = True
        # Who waits in SQLAlchemy's pool is not told when another failed to connect.
        storage._turns = asyncio.Semaphore(_choose_size(engine.url))
        return storage

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
        keys = {_hash(key): key for key in campaign_keys}
        if not keys:
            return {}

        def read(result: Result) -> dict[str, dict[str, Any]]:
            found = ((keys[row.campaign_hash], row) for row in result)
            return {key: _read_record(user_id, key, row) for key, row in found}

        values = {"user_hash": _hash(user_id), "campaign_hashes": list(keys)}
        return await self._execute(self._statements.read, values, read)

    async def set(self, data: Mapping[str, Any]) -> None:
        """Keep a record, in place of the one that is there.

        Args:
            data: A record in the official shape. Its goals are read under both spellings, and come back
                as ``goalIdentifier``.

        Raises:
            InvalidInputError: The record has no user, campaign or variation, or metaData is not JSON.
        """
        await self._execute(self._statements.write, _write_record(data), _count)

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        """Tell whether the caller is the first to claim this conversion, among all processes."""
        parts = (user_id, campaign_key, goal_identifier)
        texts = dict(zip(_TEXTS, map(_escape, parts), strict=True))
        values = _hash_all(*parts) | texts
        return await self._execute(self._statements.claim, values, _count) == 1

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        """Give a claim back; no error where there is none."""
        values = _hash_all(user_id, campaign_key, goal_identifier)
        await self._execute(self._statements.release, values, _count)

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

    async def _execute(
        self, statement: Executable, values: Values, read: Callable[[Result], T]
    ) -> T:
        """Return what *read* makes of the answer."""
        if self._is_closed:
            raise StorageError("sql: the storage is closed")
        call = _Call(self._engine, self._turns)
        task = asyncio.create_task(call.run(statement, values, read))
        self._calls[task] = call
        task.add_done_callback(self._end)
        try:
            await asyncio.wait([task], timeout=ANSWER_S)
        except asyncio.CancelledError:
            call.abandon()
            raise
        if not task.done():
            call.abandon()
            raise StorageError(f"sql: no answer within {ANSWER_S:g} s")
        if task.cancelled():
            raise StorageError("sql: the storage was closed meanwhile")
        error = task.exception()
        if error is None:
            return task.result()
        # Outside of any handler, so that the database's error is not even the context of this one.
        raise StorageError(f"sql: {_describe(error)}")

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._calls.pop(task).end()
        if not task.cancelled():
            # Its caller may be gone, and then nobody else takes its error.
            task.exception()

    async def _settle(self, timeout_s: float) -> None:
        if self._calls:
            await asyncio.wait(self._calls, timeout=timeout_s)

    async def _create(self, table: Table) -> None:
        statement = CreateTable(table, if_not_exists=True)
        try:
            await self._execute(statement, {}, _count)
        except StorageError:
            # IF NOT EXISTS fails on a table that another session is about to commit, but only once.
            await self._execute(statement, {}, _count)

    async def _purge(self, table: Table, older_than_s: float, batch_size: int) -> int:
        find_last = _select_last(table, batch_size)
        remove = _delete_stale(table, self._engine.dialect.name, min(older_than_s, MAX_AGE_S))
        after, count = b"", 0
        while after != _TOP:
            last = await self._execute(find_last, {"after": after}, _scalar) or _TOP
            count += await self._execute(remove, {"after": after, "last": last}, _count)
            after = last
        return count


class _Call:
    """One statement, which is not cancelled with its caller.

    Neither SQLAlchemy nor the drivers are sound when they are cancelled at any moment: connections are
    lost, or are closed in order while the caller waits. So a call that nobody waits for any more is left
    to end by itself, and then its connection is as good as before. One that does not end is cut off.

    Args:
        engine: Where its connection comes from.
        turns: What it takes to ask for one.
    """

    __slots__ = ("_driver", "_engine", "_is_abandoned", "_timer", "_turns")

    def __init__(self, engine: AsyncEngine, turns: _Turns) -> None:
        self._engine = engine
        self._turns = turns
        self._driver: Any = None
        self._is_abandoned = False
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, statement: Executable, values: Values, read: Callable[[Result], T]) -> T:
        """Return what *read* makes of the answer."""
        async with self._turns, self._engine.connect() as connection:
            if self._is_abandoned:
                raise asyncio.CancelledError
            self._driver = (await connection.get_raw_connection()).driver_connection
            try:
                return read(await connection.execute(statement, values))
            finally:
                # From here on it belongs to the pool again, and to whoever is next.
                self._driver = None

    def abandon(self) -> None:
        """Let it end within a short time."""
        self._is_abandoned = True
        self._timer = asyncio.get_running_loop().call_later(GRACE_S, self.cut)

    def cut(self) -> bool:
        """Cut its connection, if it has one that goes over a network."""
        terminate = getattr(self._driver, "terminate", None)
        if terminate is None:
            return False
        terminate()
        return True

    def end(self) -> None:
        """Take notice that it has ended."""
        if self._timer is not None:
            self._timer.cancel()


def _make_engine(url: URL) -> AsyncEngine:
    """Return an engine for the storage alone.

    Args:
        url: As `_read_url` returns it.

    Raises:
        InvalidInputError: *url* has parts that make no sense for its database.
    """
    is_sqlite = url.get_backend_name() == "sqlite"
    try:
        engine = create_async_engine(
            url,
            connect_args={"timeout": BUSY_S if is_sqlite else CONNECT_S},
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
            max_overflow=0,
            pool_recycle=RECYCLE_S,
            # Statements that commit themselves leave nothing to roll back.
            pool_reset_on_return=None,
            pool_size=_choose_size(url),
            pool_use_lifo=True,
            poolclass=AsyncAdaptedQueuePool,
        )
    except (ArgumentError, ValueError):
        raise InvalidInputError("url has parts that its database does not know") from None
    if is_sqlite:
        event.listen(engine.sync_engine, "connect", _set_wal)
    else:
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        event.listen(engine.sync_engine, "close", _close_now)
    return engine


def _choose_size(url: URL) -> int:
    """Return how many connections there may be."""
    return SQLITE_POOL_SIZE if url.get_backend_name() == "sqlite" else POOL_SIZE


def _set_wal(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # In this mode it survives the death of a process, and no commit waits for the disk.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _refuse_closed(connection: Any, record: object, proxy: object) -> None:
    """Have the pool replace a connection that the server has closed, which costs no round trip to see."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _close_now(connection: Any, record: object) -> None:
    """Close a connection without the good-bye of asyncpg, which waits for a server that may hang."""
    connection.driver_connection.terminate()


def _read_url(url: str | URL) -> URL:
    """Return *url* with the driver that is used for it."""
    try:
        read = make_url(url)
    except (ArgumentError, ValueError):
        # The error shows the URL, and the URL may hold a password.
        raise InvalidInputError("url is not a URL of a database") from None
    driver = _DRIVERS.get(read.drivername)
    if driver is None:
        raise InvalidInputError("url must begin with postgresql:// or sqlite:///")
    read = read.set(drivername=driver)
    return _rename_ssl(read) if read.get_backend_name() == "postgresql" else _read_path(read)


def _read_path(url: URL) -> URL:
    """Return *url* with an absolute path as a URI, which needs no look at the current directory."""
    path = url.database or ""
    if path == "" or ":memory:" in path or url.query.get("mode") == "memory":
        # Each of the connections would have another one.
        raise InvalidInputError(
            "a SQLite database must be a file; in memory, use MemoryUserStorage"
        )
    if not path.startswith("/"):
        return url
    return url.set(database=f"file:{quote(path)}").update_query_dict({"uri": "true"})


def _rename_ssl(url: URL) -> URL:
    """Return *url* with the parameter sslmode of other drivers under asyncpg's name for it."""
    mode = url.query.get("sslmode")
    if mode is None:
        return url
    return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


class _Statements:
    """What the storage asks the database, in the terms of its dialect."""

    def __init__(self, dialect: str, records: Table, claims: Table) -> None:
        insert = _INSERTS[dialect]
        new = insert(records)
        kept = {
            name: new.excluded[name] for name in ("variation_name", "goal_identifier", "meta_data")
        }
        self.read: Executable = _select_records(records)
        self.write: Executable = new.on_conflict_do_update(
            index_elements=records.primary_key, set_={**kept, "updated_at": func.now()}
        )
        self.claim: Executable = insert(claims).on_conflict_do_nothing(
            index_elements=claims.primary_key
        )
        self.release: Executable = delete(claims).where(
            *(column == bindparam(column.name) for column in claims.primary_key)
        )


class _Hidden(str):
    """A text that no log shows, not even that of a driver at its lowest level."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


class _HiddenText(TypeDecorator[str]):
    """Text that comes hidden from the database, since SQLAlchemy logs rows."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else _Hidden(value)


def _define_records(metadata: MetaData, name: str) -> Table:
    texts = [Column(one, Text, nullable=False) for one in ("user_id", "campaign_key")]
    variation = Column("variation_name", Text, nullable=False)
    rest = [Column(one, Text) for one in ("goal_identifier", "meta_data")]
    return _define(name, metadata, _HASHES[:2], [*texts, variation, *rest])


def _define_claims(metadata: MetaData, name: str) -> Table:
    return _define(name, metadata, _HASHES, [Column(one, Text, nullable=False) for one in _TEXTS])


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


def _select_records(records: Table) -> Select[Any]:
    columns = records.columns
    hidden = [
        type_coerce(columns[name], _HiddenText).label(name)
        for name in ("variation_name", "goal_identifier", "meta_data")
    ]
    return select(columns.campaign_hash, *hidden).where(
        columns.user_hash == bindparam("user_hash"),
        columns.campaign_hash.in_(bindparam("campaign_hashes", expanding=True)),
    )


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


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _hash_all(*parts: str) -> dict[str, Any]:
    """Return the key of a user, of a campaign of his, and of a goal in that, as far as given."""
    return dict(zip(_HASHES, map(_hash, parts), strict=False))


def _escape(text: str) -> str:
    """Return *text* in ASCII without NUL, which is what every database can hold."""
    return _Hidden(json.dumps(text)[1:-1])


def _unescape(text: str) -> str:
    return str(json.loads(f'"{text}"', strict=False))


def _write_record(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a record.

    Raises:
        InvalidInputError: as `SqlUserStorage.set` says.
    """
    parts: list[Any] = [data.get(name) for name in ("userId", "campaignKey", "variationName")]
    if not all(isinstance(part, str) and part for part in parts):
        raise InvalidInputError("a record needs userId, campaignKey and variationName")
    texts = zip(("user_id", "campaign_key", "variation_name"), map(_escape, parts), strict=True)
    goals = [data.get(name) for name in ("goalIdentifier", "goalIdentifiers")]
    given = [text for text in goals if isinstance(text, str)]
    return {
        **_hash_all(*parts[:2]),
        **dict(texts),
        "goal_identifier": _escape(SEPARATOR.join(filter(None, given))) if given else None,
        "meta_data": _write_json(data.get("metaData")),
    }


def _write_json(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return _Hidden(json.dumps(dict(value) if isinstance(value, Mapping) else value))
    except (TypeError, ValueError, RecursionError):
        raise InvalidInputError("metaData is not JSON") from None


def _read_record(user_id: str, campaign_key: str, row: Row[Any]) -> dict[str, Any]:
    record = {
        "userId": user_id,
        "campaignKey": campaign_key,
        "variationName": _unescape(row.variation_name),
    }
    if row.goal_identifier is not None:
        record["goalIdentifier"] = _unescape(row.goal_identifier)
    if row.meta_data is not None:
        record["metaData"] = json.loads(row.meta_data)
    return record


def _count(result: Result) -> int:
    return result.rowcount


def _scalar(result: Result) -> Any:
    return result.scalar()


def _describe(error: BaseException) -> str:
    """Return the kind of an error and its code, but nothing of its text."""
    code = _find_code(error)
    return f"{type(error).__name__} {code}" if code else type(error).__name__


def _find_code(error: BaseException) -> str:
    """Return the SQLSTATE of PostgreSQL or the name of SQLite's code; empty where there is none."""
    for one in (error, getattr(error, "orig", None)):
        code = getattr(one, "sqlstate", None) or getattr(one, "sqlite_errorname", None)
        if code:
            return str(code)
    return ""
