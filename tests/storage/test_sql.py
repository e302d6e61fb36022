"""The storage in PostgreSQL and SQLite: no id lost or confused, no call lost to another, nothing shown."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import random
import re
import secrets
import sqlite3
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from own_time import Stopwatch
from postgres import PostgresServer
from sample import settings
from sqlalchemy import URL, create_engine, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from vwo_async import Reason, VWOClient
from vwo_async._error import InvalidInputError, StorageError
from vwo_async.storage import GoalClaims, ManyReader, UserStorage, sql
from vwo_async.storage._backend import sql_engine
from vwo_async.storage.rounds import AssignVariation, CountConversion
from vwo_async.storage.sql import SqlUserStorage
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio

# Whose texts must show nowhere.
PRIVATE = "Ashley-Private"

HOSTILE_PAIRS = [
    *[
        (one, "key")
        for one in ("a", "a ", " a", "A", "\xe1", "a\u0301", "a\0", "\0", "\\0", "\\u0000")
    ],
    *[("x", one) for one in ("a", "a ", "A", "\0", "%", "_", '"', "'", "\\", "${a}", ":a", "?")],
    *[("a:b", "c"), ("a", "b:c"), ("ab", "c"), ("a", "bc"), ("\xdf", "ss"), ("ss", "\xdf")],
    *[("\U0001f600" * 1024, "\U0001f600" * 1024), ("\U0001f600" * 1023 + "aaaa", "key")],
    *[("x" * 4096, "y" * 4096), ("x" * 4095 + "z", "y" * 4096), ("x" * 4095, "y" * 4096)],
]

CLAIMER = """
import asyncio, sys
from vwo_async.storage.sql import SqlUserStorage

async def main(url, record_table, claim_table, count):
    async with SqlUserStorage.from_url(
        url, record_table=record_table, claim_table=claim_table
    ) as storage:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await storage.create_tables()
        numbers = range(count)
        records = [
            {"userId": f"u{number}", "campaignKey": "c", "variationName": "v"}
            for number in numbers
        ]
        claims = [storage.claim_goal("u", "c", f"g{number}") for number in numbers]
        answers = await asyncio.gather(*claims, *map(storage.set, records))
        print([number for number in numbers if answers[number]])

asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
"""


def record(user_id: str = "u", campaign_key: str = "c", name: str = "v", **more: Any) -> Any:
    """Return an official record."""
    return {"userId": user_id, "campaignKey": campaign_key, "variationName": name, **more}


@pytest.fixture(params=["postgres", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'vwo.db'}"


@pytest.fixture
def tables(url: str) -> Iterator[dict[str, str]]:
    """Names of two tables that no other test uses; they are gone afterwards."""
    name = f"vwo_{secrets.token_hex(6)}"
    names = {"record_table": f"{name}_user", "claim_table": f"{name}_claim"}
    yield names

    async def drop() -> None:
        engine = foreign_engine(url)
        async with engine.begin() as connection:
            for one in names.values():
                await connection.execute(text(f"DROP TABLE IF EXISTS {one}"))
        await engine.dispose()

    asyncio.run(drop())


@pytest.fixture
async def storage(url: str, tables: dict[str, str]) -> AsyncIterator[SqlUserStorage]:
    """A storage with an engine of its own and empty tables."""
    async with SqlUserStorage.from_url(url, **tables) as storage:
        await storage.create_tables()
        yield storage


def foreign_engine(url: str, **options: Any) -> AsyncEngine:
    """Return an engine as a service would make it."""
    driver = url.replace("sqlite:", "sqlite+aiosqlite:")
    return create_async_engine(driver, **options)


@contextmanager
def no_debug() -> Iterator[None]:
    """Leave out the loop's debug mode, which takes down a stack for every step of every call."""
    loop = asyncio.get_running_loop()
    loop.set_debug(False)
    yield
    loop.set_debug(True)


async def ask(url: str, statement: str, **values: Any) -> Any:
    """Run one statement beside the storage; return its rows, if any."""
    engine = foreign_engine(url)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement), values)
            return result.all() if result.returns_rows else None
    finally:
        await engine.dispose()


def test_protocols() -> None:
    """The storage has the methods of all three protocols, and is made without any I/O."""
    storage = SqlUserStorage.from_url("postgresql://nobody:secret@127.0.0.1:1/none")
    assert isinstance(storage, UserStorage)
    assert isinstance(storage, ManyReader)
    assert isinstance(storage, GoalClaims)
    assert repr(storage) == "<SqlUserStorage postgresql>"


async def test_nothing_is_made_before_the_first_call(tmp_path: Path) -> None:
    """Construction opens no file; the first call does."""
    path = tmp_path / "vwo.db"
    async with SqlUserStorage.from_url(f"sqlite:///{path}") as storage:
        assert not path.exists()
        await storage.create_tables()
        assert path.exists()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"goalIdentifier": "signup"},
        {"goalIdentifier": "a_vwo_b_vwo_c\0_vwo_\U0001f600"},
        {"metaData": {"nested": [1, 2.5, None, {"\0": "\0 \U0001f600 \"'\\"}], "browser": "x"}},
        {"goalIdentifier": "", "metaData": {}},
    ],
)
async def test_records_come_back(storage: SqlUserStorage, more: dict[str, Any]) -> None:
    """What set was given is what get returns, to the last character."""
    given = record("Ashley", "checkout", "Variation \0 \xe9 \"'\\ \\u0000 \U0001f600", **more)
    await storage.set(given)
    found = await storage.get("Ashley", "checkout")
    assert found == given
    assert found is not None and type(found["variationName"]) is str
    assert await storage.get("Ashley", "other") is None


async def test_spelling_of_the_official_python_sdk(storage: SqlUserStorage) -> None:
    """Goals under goalIdentifiers are kept, as goalIdentifier; those of both spellings too."""
    await storage.set(record(goalIdentifiers="a_vwo_b"))
    assert await storage.get("u", "c") == record(goalIdentifier="a_vwo_b")
    await storage.set(record(goalIdentifier="a", goalIdentifiers="b"))
    assert await storage.get("u", "c") == record(goalIdentifier="a_vwo_b")


async def test_hostile_ids(storage: SqlUserStorage) -> None:
    """Ids that a database may cut, fold or refuse are kept apart, of records and of claims."""
    for number, (user_id, key) in enumerate(HOSTILE_PAIRS):
        await storage.set(record(user_id, key, str(number)))
        assert await storage.claim_goal(user_id, key, "goal")
        assert await storage.claim_goal("u", user_id, key)
    for number, (user_id, key) in enumerate(HOSTILE_PAIRS):
        assert await storage.get(user_id, key) == record(user_id, key, str(number))
        assert not await storage.claim_goal(user_id, key, "goal")


@pytest.mark.parametrize(
    "given", [{}, record(name=""), record(user_id=""), {**record(), "userId": 1}]
)
async def test_what_is_no_record_is_refused(storage: SqlUserStorage, given: Any) -> None:
    """A record without user, campaign or variation is refused."""
    with pytest.raises(InvalidInputError):
        await storage.set(given)


async def test_meta_data_must_be_json(storage: SqlUserStorage) -> None:
    """Meta data that is not JSON is refused, by a text that does not show it."""
    with pytest.raises(InvalidInputError, match="metaData is not JSON"):
        await storage.set(record(metaData={"at": {PRIVATE}}))


async def test_one_row_for_each_record(
    storage: SqlUserStorage, url: str, tables: dict[str, str]
) -> None:
    """Writing a record again replaces it, whole, and dates it anew."""
    table = tables["record_table"]
    await storage.set(record(goalIdentifier="a", metaData={"x": 1}))
    await ask(url, f"UPDATE {table} SET updated_at = '2001-01-01 00:00:00'")
    await storage.set(record(name="w"))
    assert await storage.get("u", "c") == record(name="w")
    [(count, years)] = await ask(
        url, f"SELECT count(*), max(CAST(updated_at AS TEXT)) FROM {table}"
    )
    assert count == 1
    assert years > "2020"


async def test_people_can_read_the_tables(
    storage: SqlUserStorage, url: str, tables: dict[str, str]
) -> None:
    """The texts stand beside the hashes."""
    await storage.set(
        record("Ashley", "checkout", "Zo\xeb\0", goalIdentifier="a", metaData={"x": 1})
    )
    columns = "user_id, campaign_key, variation_name, goal_identifier, meta_data"
    [row] = await ask(url, f"SELECT {columns} FROM {tables['record_table']}")
    assert tuple(row) == ("Ashley", "checkout", "Zo\\u00eb\\u0000", "a", '{"x": 1}')
    await storage.claim_goal("Ashley", "checkout", "signup")
    columns = "user_id, campaign_key, goal_identifier"
    [row] = await ask(url, f"SELECT {columns} FROM {tables['claim_table']}")
    assert tuple(row) == ("Ashley", "checkout", "signup")


async def test_get_many(storage: SqlUserStorage) -> None:
    """The records of one user come back by campaign, those of others and of no campaign do not."""
    keys = [f"c{number}" for number in range(300)]
    for key in keys[:3]:
        await storage.set(record("u", key))
    await storage.set(record("v", keys[3]))
    found = await storage.get_many("u", [*keys, keys[0]])
    assert found == {key: record("u", key) for key in keys[:3]}
    assert await storage.get_many("u", []) == {}


async def test_one_claim_of_500(storage: SqlUserStorage) -> None:
    """Of any number of claims at once, one is the first; released, it can be claimed once again."""
    for _ in range(2):
        claims = [storage.claim_goal("u", "c", "g") for _ in range(500)]
        with no_debug():
            assert sum(await asyncio.gather(*claims)) == 1
        await storage.release_goal("u", "c", "g")
    await storage.release_goal("u", "c", "g")


@pytest.mark.slow
async def test_processes_share_a_database(url: str, tables: dict[str, str]) -> None:
    """Processes that create, write and claim at once do not fail, and settle who is first."""
    command = [sys.executable, "-W", "error", "-c", CLAIMER, url, *tables.values(), "300"]
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    assert [error.decode() for _, error in answers] == [""] * 3
    claimed = [number for out, _ in answers for number in json.loads(out)]
    assert sorted(claimed) == list(range(300))
    [(count,)] = await ask(url, f"SELECT count(*) FROM {tables['record_table']}")
    assert count == 300


async def test_create_tables_at_once(url: str, tables: dict[str, str]) -> None:
    """Tables can be created by many at once, and again when they are there."""
    storages = [SqlUserStorage.from_url(url, **tables) for _ in range(8)]
    # Connected, so that they do begin at once.
    await asyncio.gather(*(one.get("u", "c") for one in storages), return_exceptions=True)
    for _ in range(5):
        for table in tables.values():
            await ask(url, f"DROP TABLE IF EXISTS {table}")
        await asyncio.gather(*(one.create_tables() for one in storages))
        await storages[0].set(record())
        await storages[1].create_tables()
        assert await storages[2].get("u", "c") == record()
    await asyncio.gather(*(one.aclose() for one in storages))


async def test_metadata_for_migrations(url: str, tables: dict[str, str]) -> None:
    """The tables can be made from metadata too."""
    engine = foreign_engine(url)
    storage = SqlUserStorage(engine, **tables)
    async with engine.begin() as connection:
        await connection.run_sync(storage.metadata.create_all)
    await storage.set(record())
    assert await storage.claim_goal("u", "c", "g")
    await storage.aclose()
    await engine.dispose()


def read_documented(start: str) -> list[str]:
    """Return the statements in the documentation that begin so."""
    lines = inspect.getdoc(sql) or ""
    return re.findall(rf"^ *({start}[^;]*;.*)$", lines, re.MULTILINE)


async def test_documented_tables_of_postgres(postgres_url: str) -> None:
    """The storage works on the tables that the documentation shows, in a schema of their own too."""
    schema = f"vwo_{secrets.token_hex(6)}"
    engine = create_async_engine(postgres_url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"CREATE SCHEMA {schema}"))
            await connection.execute(text(f"SET LOCAL search_path TO {schema}"))
            statements = read_documented("CREATE TABLE")
            assert len(statements) == 2
            for statement in statements:
                await connection.execute(text(statement))
        documented = await describe(engine, schema)
        await use(SqlUserStorage(engine, schema=schema))
        async with engine.begin() as connection:
            await connection.execute(text(f"DROP TABLE {schema}.vwo_user, {schema}.vwo_claim"))
        await use(SqlUserStorage(engine, schema=schema))
        assert await describe(engine, schema) == documented
    finally:
        async with engine.begin() as connection:
            await connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        await engine.dispose()


async def test_documented_tables_of_sqlite(tmp_path: Path) -> None:
    """The same for SQLite, with the changes that the documentation names."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'vwo.db'}")
    async with engine.begin() as connection:
        for statement in read_documented("CREATE TABLE"):
            changed = statement.replace("BYTEA", "BLOB").replace(
                "TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()",
                "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
            )
            await connection.execute(text(changed))
    await use(SqlUserStorage(engine))
    await engine.dispose()


async def use(storage: SqlUserStorage) -> None:
    """Call everything once."""
    async with storage:
        await storage.create_tables()
        await storage.set(record())
        assert await storage.get("u", "c") == record()
        assert await storage.claim_goal("u", "c", "g")
        await storage.release_goal("u", "c", "g")
        assert await storage.purge(60) == 0


async def describe(engine: AsyncEngine, schema: str) -> Any:
    """Return what PostgreSQL says of the columns and keys of a schema."""
    columns = "table_name, column_name, data_type, is_nullable, column_default"
    keys = "table_name, column_name, ordinal_position"
    async with engine.connect() as connection:
        found = [
            await connection.execute(
                text(f"SELECT {what} FROM information_schema.{of} WHERE table_schema = :schema"),
                {"schema": schema},
            )
            for what, of in ((columns, "columns"), (keys, "key_column_usage"))
        ]
        return [sorted(tuple(row) for row in result) for result in found]


async def test_documented_deletes(
    storage: SqlUserStorage, url: str, tables: dict[str, str]
) -> None:
    """What the documentation shows deletes old rows, and those of one user, and no others."""
    kind = "SQLite" if url.startswith("sqlite") else "PostgreSQL"
    statements = [
        statement.replace("vwo_user", tables["record_table"])
        for statement in read_documented("DELETE FROM")
        if statement.endswith((kind, "either, slower"))
    ]
    assert len(statements) == (2 if kind == "SQLite" else 3)
    for statement in statements:
        for user_id in ("Ashley", "Ashley2"):
            await storage.set(record(user_id))
        what = f"UPDATE {tables['record_table']} SET updated_at = '2001-01-01 00:00:00'"
        await ask(url, f"{what} WHERE user_id = 'Ashley'")
        await ask(url, statement.partition(";")[0])
        assert await storage.get("Ashley", "c") is None
        assert await storage.get("Ashley2", "c") == record("Ashley2")


async def test_purge(storage: SqlUserStorage, url: str, tables: dict[str, str]) -> None:
    """Records and claims that are old are deleted, in any number of batches; others stay."""
    for number in range(40):
        await storage.set(record(f"u{number}", f"c{number % 3}"))
        await storage.claim_goal(f"u{number}", "c", "g")
    for table in tables.values():
        what = f"UPDATE {table} SET updated_at = '2001-01-01 00:00:00'"
        await ask(url, f"{what} WHERE user_id LIKE '%1' OR user_id LIKE '%5'")
    assert await storage.purge(1e9) == 0
    assert await storage.purge(3600, batch_size=7) == 16
    assert await storage.purge(3600) == 0
    for number in range(40):
        is_old = number % 10 in (1, 5)
        assert (await storage.get(f"u{number}", f"c{number % 3}") is None) is is_old
        assert await storage.claim_goal(f"u{number}", "c", "g") is is_old


@pytest.mark.parametrize("batch_size", [1, 40, 41])
async def test_purge_of_everything(storage: SqlUserStorage, url: str, batch_size: int) -> None:
    """Batches that end where the table ends, or with each user, leave nothing out."""
    for number in range(40):
        await storage.set(record(f"u{number % 20}", f"c{number // 20}"))
    await asyncio.sleep(1.1)
    assert await storage.purge(0, batch_size=batch_size) == 40


@pytest.mark.parametrize(
    ("older_than_s", "batch_size"), [(-1, 10), (float("nan"), 10), (float("inf"), 10), (1, 0)]
)
async def test_purge_refuses(older_than_s: float, batch_size: int) -> None:
    """A time that is none, or batches of nothing, are refused."""
    async with SqlUserStorage.from_url("postgresql://u:p@127.0.0.1:1/x?ssl=disable") as storage:
        with pytest.raises(InvalidInputError):
            await storage.purge(older_than_s, batch_size=batch_size)


# What is not shown


@pytest.mark.parametrize("is_own", [True, False])
async def test_no_value_in_logs(
    url: str, tables: dict[str, str], is_own: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With every logger at its lowest level, no id, variation or meta data is logged.

    Not even by an engine that does not hide its parameters.
    """
    for name in ("", "sqlalchemy"):
        caplog.set_level(logging.DEBUG, name)
    if is_own:
        async with SqlUserStorage.from_url(url, **tables) as storage:
            await use_in_private(storage)
    else:
        engine = foreign_engine(url)
        await use_in_private(SqlUserStorage(engine, **tables))
        await engine.dispose()
    assert "CREATE TABLE" in caplog.text
    assert PRIVATE not in caplog.text


async def use_in_private(storage: SqlUserStorage) -> None:
    await storage.create_tables()
    given = record(PRIVATE, PRIVATE, PRIVATE, goalIdentifier=PRIVATE, metaData={PRIVATE: PRIVATE})
    await storage.set(given)
    assert await storage.get(PRIVATE, PRIVATE) == given
    assert await storage.claim_goal(PRIVATE, PRIVATE, PRIVATE)
    await storage.release_goal(PRIVATE, PRIVATE, PRIVATE)


async def test_no_value_in_errors(
    storage: SqlUserStorage, url: str, tables: dict[str, str]
) -> None:
    """An error names its kind and code alone, and leads to no other that says more."""
    for table in tables.values():
        await ask(url, f"DROP TABLE {table}")
    calls = [
        storage.get(PRIVATE, "c"),
        storage.set(record(PRIVATE)),
        storage.claim_goal(PRIVATE, "c", "g"),
        storage.release_goal(PRIVATE, "c", "g"),
    ]
    expected = (
        "sql: OperationalError SQLITE_ERROR"
        if url.startswith("sqlite")
        else "sql: UndefinedTableError 42P01"
    )
    for call in calls:
        with pytest.raises(StorageError) as caught:
            await call
        assert str(caught.value) == expected
        assert caught.value.__cause__ is None and caught.value.__context__ is None
        assert PRIVATE not in "".join(traceback.format_exception(caught.value))


async def test_a_damaged_row(storage: SqlUserStorage, url: str, tables: dict[str, str]) -> None:
    """A row that somebody has spoilt is an error that does not show it."""
    await storage.set(record(metaData={"x": 1}))
    await ask(url, f"UPDATE {tables['record_table']} SET meta_data = '{{{PRIVATE}'")
    with pytest.raises(StorageError, match="sql: JSONDecodeError") as caught:
        await storage.get("u", "c")
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    await storage.set(record())
    assert await storage.get("u", "c") == record()


async def test_a_table_that_is_altered(
    postgres_url: str, storage: SqlUserStorage, tables: dict[str, str], url: str
) -> None:
    """What was prepared before a column got another type costs no call."""
    await storage.set(record())
    for kind in ("VARCHAR(300)", "TEXT", "VARCHAR(400)"):
        assert await storage.get("u", "c") == record()
        if url == postgres_url:
            await ask(url, f"ALTER TABLE {tables['record_table']} ALTER variation_name TYPE {kind}")
        assert await storage.get("u", "c") == record()


async def test_what_is_no_requests_fault_is_asked_once(
    storage: SqlUserStorage, tables: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a table is gone, no request of a round is looked for that might be to blame."""
    if url.startswith("sqlite"):
        return
    await ask(url, f"DROP TABLE {tables['claim_table']}")
    fetch, asked = storage._driver.fetch, []

    async def spy(*arguments: Any) -> Any:
        asked.append(arguments)
        return await fetch(*arguments)

    monkeypatch.setattr(storage._driver, "fetch", spy)
    counts = [CountConversion(f"u{n}", "c", "g", "owner", record(f"u{n}")) for n in range(100)]
    with pytest.raises(StorageError, match="42P01"):
        await storage.run_round(counts)
    assert len(asked) == 1


async def test_sessions_that_may_not_write(own_postgres: PostgresServer) -> None:
    """Connections that began while writing was forbidden are left once it is allowed again."""
    url = own_postgres.url
    async with SqlUserStorage.from_url(url) as storage:
        await storage.create_tables()
        await storage.set(record("before"))
    await ask(url, "ALTER ROLE vwo SET default_transaction_read_only = on")
    async with SqlUserStorage.from_url(url) as storage:
        try:
            assert await storage.get("before", "c") == record("before")
            # Two connections, of which each would refuse for itself.
            found = await asyncio.gather(
                *map(storage.set, [record("u")] * 2), return_exceptions=True
            )
            assert {str(one) for one in found} == {"sql: ReadOnlySQLTransactionError 25006"}
        finally:
            engine = foreign_engine(url)
            async with engine.begin() as connection:
                await connection.execute(text("SET TRANSACTION READ WRITE"))
                await connection.execute(text("ALTER ROLE vwo RESET ALL"))
            await engine.dispose()
        await storage.set(record("u"))
        assert await storage.get("u", "c") == record("u")


async def test_a_commit_that_fails_leaves_no_transaction_open(tmp_path: Path) -> None:
    """Without WAL a reader that is not done has a commit fail; the next call finds the connection as it was."""
    path = tmp_path / "vwo.db"
    engine = foreign_engine(
        f"sqlite:///{path}", connect_args={"timeout": 0.05}, pool_reset_on_return=None
    )
    async with SqlUserStorage(engine) as storage:
        await storage.create_tables()
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM vwo_user").fetchall()
            with pytest.raises(StorageError, match="SQLITE_BUSY"):
                await storage.run_round([AssignVariation(record())])
        assert await storage.run_round([AssignVariation(record())]) == [True]
        assert await storage.get("u", "c") == record()
    await engine.dispose()


# Engines


class OtherDialect(SQLiteDialect_aiosqlite):
    """A database that the storage does not know."""

    name = "other"
    supports_statement_cache = True


@pytest.mark.parametrize(
    "names",
    [
        {"record_table": ""},
        {"claim_table": ""},
        {"record_table": "same", "claim_table": "same"},
    ],
)
def test_names_of_tables(names: dict[str, str]) -> None:
    """The tables need two names."""
    with pytest.raises(InvalidInputError):
        SqlUserStorage.from_url("postgresql://host/database", **names)


def test_engines_that_cannot_be_used() -> None:
    """An engine of another database is refused, and one that is not async."""
    registry.register("other.aiosqlite", __name__, "OtherDialect")
    with pytest.raises(InvalidInputError, match="other, not postgresql or sqlite"):
        SqlUserStorage(create_async_engine("other+aiosqlite:///x.db"))
    with pytest.raises(InvalidInputError, match="AsyncEngine"):
        SqlUserStorage(create_engine("sqlite:///x.db"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "user:secret@host/database",
        "postgresql://user:secret@host:port/database",
        "mysql+aiomysql://user:secret@host/database",
        "postgresql+psycopg2://user:secret@host/database",
        "sqlite://",
        "sqlite://user:secret@host/x.db",
        "sqlite:////x.db?timeout=secret",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///file:secret?mode=memory&uri=true",
    ],
)
def test_urls_that_cannot_be_used(url: str) -> None:
    """A URL of something else is refused, by a text that does not show it."""
    with pytest.raises(InvalidInputError) as caught:
        SqlUserStorage.from_url(url)
    assert "secret" not in "".join(traceback.format_exception(caught.value, chain=False))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_urls_of_postgres(postgres_url: str, scheme: str) -> None:
    """The URL may be as other tools want it, with their parameter for TLS."""
    url = postgres_url.replace("postgresql+asyncpg", scheme).replace("ssl=", "sslmode=")
    tables = {"record_table": "vwo_nowhere", "claim_table": "vwo_nowhere_either"}
    async with SqlUserStorage.from_url(url, **tables) as storage:
        assert await storage.get_many("u", []) == {}
        with pytest.raises(StorageError, match="42P01"):
            await SqlUserStorage.get(storage, "u", "c")


@pytest.mark.parametrize("name", ["with space", "100%", "a?b", "a#b", "\xe9"])
async def test_paths_of_sqlite(tmp_path: Path, name: str) -> None:
    """The file is the one that the path names, whatever its characters."""
    path = tmp_path / name
    async with SqlUserStorage.from_url(URL.create("sqlite", database=str(path))) as storage:
        await use(storage)
    assert path.exists()


async def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is that of the folder where the storage was made."""
    monkeypatch.chdir(tmp_path)
    storage = await asyncio.to_thread(SqlUserStorage.from_url, "sqlite:///vwo.db")
    monkeypatch.chdir("/")
    await use(storage)
    assert (tmp_path / "vwo.db").exists()


async def test_foreign_engines_stay_open(url: str, tables: dict[str, str]) -> None:
    """Closing the storage leaves an engine that it was given as it was, and its transactions too."""
    engine = foreign_engine(url)
    async with SqlUserStorage(engine, **tables) as storage:
        await storage.create_tables()
        await storage.set(record())
    async with engine.connect() as connection:
        table = tables["record_table"]
        await connection.execute(text(f"DELETE FROM {table}"))
        await connection.rollback()
        [(count,)] = await connection.execute(text(f"SELECT count(*) FROM {table}"))
        assert count == 1
    with pytest.raises(StorageError, match="closed"):
        await storage.get("u", "c")
    await engine.dispose()


async def test_closing(url: str, tables: dict[str, str]) -> None:
    """Closing lets calls under way end; after it no call is made, and closing again does nothing."""
    storage = SqlUserStorage.from_url(url, **tables)
    await storage.create_tables()
    calls = [asyncio.create_task(storage.claim_goal("u", "c", "g")) for _ in range(20)]
    await asyncio.sleep(0)
    await storage.aclose()
    assert sum([await call for call in calls]) == 1
    for call in (storage.get("u", "c"), storage.set(record()), storage.create_tables()):
        with pytest.raises(StorageError, match="closed"):
            await call
    await storage.aclose()


@pytest.mark.parametrize("kind", ["no server", "no folder", "a folder", "no database"])
async def test_databases_that_are_none(tmp_path: Path, kind: str) -> None:
    """Where there is no database, all of many calls at once fail within a moment."""
    (tmp_path / "other").write_bytes(b"text" * 1000)
    urls = {
        "no server": "postgresql://u:p@127.0.0.1:1/x?ssl=disable",
        "no folder": f"sqlite:///{tmp_path}/none/x.db",
        "a folder": f"sqlite:///{tmp_path}",
        "no database": f"sqlite:///{tmp_path}/other",
    }
    watch = Stopwatch()
    async with SqlUserStorage.from_url(urls[kind]) as storage:
        calls = [storage.get("u", "c") for _ in range(20)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StorageError}
    watch.assert_below(5)


# Calls that are cancelled, servers that stop


@pytest.mark.parametrize("is_own", [True, False])
async def test_cancelled_calls(
    url: str, tables: dict[str, str], is_own: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """However many calls are cancelled at whatever moment, later ones get their own answers."""
    engine = None if is_own else foreign_engine(url, poolclass=AsyncAdaptedQueuePool)
    storage = (
        SqlUserStorage.from_url(url, **tables)
        if engine is None
        else SqlUserStorage(engine, **tables)
    )
    await storage.create_tables()
    for number in range(5):
        await storage.set(record(f"u{number}", name=f"v{number}"))
    rng = random.Random(7)
    with no_debug():
        for _ in range(40):
            await asyncio.gather(*(begin_and_cancel(storage, rng) for _ in range(8)))
    for number in range(5):
        assert await storage.get(f"u{number}", "c") == record(f"u{number}", name=f"v{number}")
    await storage.aclose()
    if engine is not None:
        assert engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        await engine.dispose()
    assert not [one for one in caplog.records if one.levelno > logging.WARNING]


async def begin_and_cancel(storage: SqlUserStorage, rng: random.Random) -> None:
    """Make a call that may be cancelled, and check its answer if it has one."""
    number = rng.randrange(5)
    try:
        async with asyncio.timeout(rng.choice([0.0005, 0.005, 0.05]) * rng.random()):
            if rng.random() < 0.5:
                await storage.set(record(f"u{number}", name=f"v{number}"))
            else:
                found = await storage.get(f"u{number}", "c")
                assert found == record(f"u{number}", name=f"v{number}")
    except TimeoutError:
        pass


async def test_a_cancelled_call_that_waits_is_not_made(
    storage: SqlUserStorage, url: str, tables: dict[str, str]
) -> None:
    """Calls that had no connection yet when they were cancelled do nothing."""
    calls = [asyncio.create_task(storage.claim_goal("u", "c", str(number))) for number in range(20)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await storage.aclose()
    [(count,)] = await ask(url, f"SELECT count(*) FROM {tables['claim_table']}")
    assert count <= sql_engine.POOL_SIZE


@asynccontextmanager
async def on_own_server(
    server: PostgresServer, *, is_own: bool = True
) -> AsyncIterator[SqlUserStorage]:
    """Open a storage whose connections are all made."""
    engine = None if is_own else create_async_engine(server.url)
    storage = SqlUserStorage.from_url(server.url) if engine is None else SqlUserStorage(engine)
    try:
        await storage.create_tables()
        await storage.set(record())
        await asyncio.gather(*(storage.get("u", "c") for _ in range(20)))
        yield storage
    finally:
        await storage.aclose()
        if engine is not None:
            await engine.dispose()


async def time_out(storage: SqlUserStorage, calls: int = 8) -> None:
    """Make calls that are cancelled, and find that this takes no longer than it must."""
    watch = Stopwatch()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await asyncio.gather(*(storage.get("u", "c") for _ in range(calls)))
    watch.assert_below(0.6)


@pytest.mark.timed
@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize("seconds", [0.0, 1.5])
async def test_a_server_that_hangs(
    own_postgres: PostgresServer, seconds: float, is_own: bool
) -> None:
    """Calls end when they are cancelled; when the server goes on, after however long, so do calls."""
    async with on_own_server(own_postgres, is_own=is_own) as storage:
        own_postgres.pause()
        try:
            await time_out(storage)
            await asyncio.sleep(seconds)
            await time_out(storage, 1)
        finally:
            own_postgres.resume()
        for _ in range(10):
            assert await storage.get("u", "c") == record()
            assert await storage.get("v", "c") is None


@pytest.mark.timed
async def test_a_file_that_is_locked(tmp_path: Path) -> None:
    """While another process writes for long, calls end when they are cancelled; later they go on."""
    path = tmp_path / "vwo.db"
    async with SqlUserStorage.from_url(f"sqlite:///{path}") as storage:
        await storage.create_tables()
        await storage.set(record(name="old"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        watch = Stopwatch()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await storage.set(record(name="new"))
        assert await storage.get("u", "c") == record(name="old")
        watch.assert_below(0.6)
        other.execute("ROLLBACK")
        other.close()
        # Of the same user it might be overtaken by the one that was cancelled.
        await storage.set(record("v"))
        assert await storage.get("v", "c") == record("v")


async def test_no_answer(own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose caller has no time-out of his own ends all the same."""
    async with on_own_server(own_postgres) as storage:
        monkeypatch.setattr(sql, "ANSWER_S", 0.2)
        own_postgres.pause()
        try:
            with pytest.raises(StorageError, match=r"no answer within 0\.2 s"):
                await storage.get("u", "c")
        finally:
            own_postgres.resume()
        monkeypatch.setattr(sql, "ANSWER_S", 10)
        assert await storage.get("u", "c") == record()


@pytest.mark.timed
async def test_a_server_that_restarts(own_postgres: PostgresServer) -> None:
    """Calls fail quickly while the server is gone, and not at all once it is back."""
    async with on_own_server(own_postgres) as storage:
        call = asyncio.create_task(storage.get("u", "c"))
        own_postgres.pause()
        await asyncio.sleep(0.05)
        own_postgres.kill()
        try:
            with pytest.raises(StorageError):
                await call
            watch = Stopwatch()
            for _ in range(10):
                with pytest.raises(StorageError, match="ConnectionRefusedError"):
                    await storage.get("u", "c")
            watch.assert_below(1)
        finally:
            own_postgres.start()
        found = await asyncio.gather(*(storage.get("u", "c") for _ in range(20)))
        assert found == [record()] * 20
        own_postgres.kill()
        own_postgres.start()
        # The end of the old connections, which nobody used meanwhile, arrives.
        await asyncio.sleep(0.05)
        found = await asyncio.gather(*(storage.get("u", "c") for _ in range(20)))
        assert found == [record()] * 20


@pytest.mark.timed
async def test_closing_while_the_server_hangs(own_postgres: PostgresServer) -> None:
    """Closing takes a few seconds at most, whether calls are under way or connections idle."""
    async with on_own_server(own_postgres) as busy, on_own_server(own_postgres) as idle:
        own_postgres.pause()
        try:
            await time_out(busy)
            watch = Stopwatch()
            await asyncio.gather(busy.aclose(), idle.aclose())
            watch.assert_below(5)
        finally:
            own_postgres.resume()


@pytest.mark.timed
async def test_a_client_closes_at_once_while_the_server_hangs(own_postgres: PostgresServer) -> None:
    """A round that nobody waits for any more is the storage's to end, and no client waits for it."""
    storage = SqlUserStorage.from_url(own_postgres.url)
    options: dict[str, Any] = {"user_storage": storage, "storage_timeout_s": 0.2}
    own_postgres.pause()
    try:
        async with VWOClient(settings(), transport=RecordingTransport(), **options) as client:
            result = await client.track("checkout", "Ashley", "signup")
            assert result.reason is Reason.STORAGE_ERROR
            watch = Stopwatch()
        watch.assert_below(1)
    finally:
        own_postgres.resume()
        await storage.aclose()


@dataclass
class Wire:
    """What stands between a client and the server.

    Attributes:
        url: Where the client finds it.
        messages: What the client has sent.
    """

    url: str
    messages: list[bytes] = field(default_factory=list)
    _generation: int = 0

    def swallow(self) -> None:
        """Lose all that comes over the connections that there are now."""
        self._generation += 1

    async def pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_sent: bool
    ) -> None:
        """Pass on what *source* brings."""
        generation = self._generation
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if is_sent:
                    self.messages.append(data)
                if generation == self._generation:
                    sink.write(data)
        sink.close()
        with suppress(ConnectionError):
            await sink.wait_closed()


@asynccontextmanager
async def wire_to(server: PostgresServer) -> AsyncIterator[Wire]:
    """Stand between a client and the server."""
    wire = Wire("")
    links: list[asyncio.Task[Any]] = []

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", server.port)
        links.append(asyncio.create_task(wire.pump(reader, far_writer, is_sent=True)))
        links.append(asyncio.create_task(wire.pump(far_reader, writer, is_sent=False)))

    proxy = await asyncio.start_server(connect, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    wire.url = server.url.replace(str(server.port), str(port))
    try:
        yield wire
    finally:
        proxy.close()
        await asyncio.gather(*links)
        await proxy.wait_closed()


async def test_one_round_trip(own_postgres: PostgresServer) -> None:
    """Each call is one message to the server and its answer, once the statement is prepared."""
    async with wire_to(own_postgres) as wire, SqlUserStorage.from_url(wire.url) as storage:
        await storage.create_tables()
        for _ in range(2):
            before = len(wire.messages)
            await storage.set(record())
            await storage.get("u", "c")
            await storage.get_many("u", ["c"])
            await storage.claim_goal("u", "c", "g")
            await storage.release_goal("u", "c", "g")
        assert len(wire.messages) - before == 5


@pytest.mark.timed
async def test_a_network_that_swallows(own_postgres: PostgresServer) -> None:
    """Connections on which nothing comes any more are all given up with the first one."""
    async with wire_to(own_postgres) as wire, SqlUserStorage.from_url(wire.url) as storage:
        await storage.create_tables()
        await storage.set(record())
        await asyncio.gather(*(storage.get("u", "c") for _ in range(20)))
        wire.swallow()
        await time_out(storage, 1)
        await asyncio.sleep(1.2)
        async with asyncio.timeout(10):
            found = await asyncio.gather(*(storage.get("u", "c") for _ in range(20)))
        assert found == [record()] * 20
