"""What a service would write by hand to count a conversion once: three plain calls of a client library.

It reads the record of a user, claims the conversion, and writes the record with the goal. The clients have their
own defaults, and as many connections as the storage of vwo_async.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from worker import Request, Samples, UnmeasuredError, serve, time_callers

Count: TypeAlias = Callable[[str], Awaitable[bool]]
"""Count the conversion of a user; tell whether it was the first."""

REDIS_CONNECTIONS, SQL_CONNECTIONS = 20, 5
TABLES = """
CREATE TABLE IF NOT EXISTS plain_user (user_id TEXT, campaign TEXT, record TEXT, PRIMARY KEY (user_id, campaign));
CREATE TABLE IF NOT EXISTS plain_claim (user_id TEXT, campaign TEXT, goal TEXT,
    PRIMARY KEY (user_id, campaign, goal));
"""
WRITE = """INSERT INTO plain_user VALUES ($1, 'campaign-1', $2)
ON CONFLICT (user_id, campaign) DO UPDATE SET record = excluded.record"""
CLAIM = """INSERT INTO plain_claim VALUES ($1, 'campaign-1', 'purchase') ON CONFLICT DO NOTHING RETURNING 1"""

SQLITE_WRITE = WRITE.replace("$1", "?").replace("$2", "?")
SQLITE_CLAIM = CLAIM.replace("$1", "?")


def make_record(user: str, *goals: str) -> str:
    """Return a record as JSON."""
    record = {"userId": user, "campaignKey": "campaign-1", "variationName": "Control"}
    return json.dumps({**record, "goalIdentifier": "_vwo_".join(goals)} if goals else record)


@asynccontextmanager
async def open_redis(address: str, users: Sequence[str]) -> AsyncIterator[Count]:
    """Store the users' records and return what counts, with redis-py."""
    from redis.asyncio import BlockingConnectionPool, Redis  # noqa: PLC0415 - an optional extra

    pool = BlockingConnectionPool.from_url(
        address, max_connections=REDIS_CONNECTIONS, timeout=60, protocol=2
    )
    client = Redis.from_pool(pool)
    for user in users:
        await client.hset(f"plain:{user}", "record", make_record(user))

    async def count(user: str) -> bool:
        key = f"plain:{user}"
        record = json.loads(await client.hget(key, "record") or "{}")
        if not await client.hsetnx(key, "goal:purchase", "1"):
            return False
        await client.hset(key, "record", make_record(record["userId"], "purchase"))
        return True

    try:
        yield count
    finally:
        await client.aclose()


@asynccontextmanager
async def open_postgres(address: str, users: Sequence[str]) -> AsyncIterator[Count]:
    """Store the users' records and return what counts, with asyncpg."""
    import asyncpg  # noqa: PLC0415 - an optional extra

    dsn = address.replace("postgresql+asyncpg", "postgresql")
    async with asyncpg.create_pool(dsn, min_size=SQL_CONNECTIONS, max_size=SQL_CONNECTIONS) as pool:
        await pool.execute(TABLES)
        await pool.executemany(WRITE, [(user, make_record(user)) for user in users])

        async def count(user: str) -> bool:
            async with pool.acquire() as connection:
                found = (
                    "SELECT record FROM plain_user WHERE user_id = $1 AND campaign = 'campaign-1'"
                )
                record = json.loads(await connection.fetchval(found, user))
                if await connection.fetchval(CLAIM, user) is None:
                    return False
                await connection.execute(WRITE, user, make_record(record["userId"], "purchase"))
                return True

        yield count


@asynccontextmanager
async def open_sqlite(address: str, users: Sequence[str]) -> AsyncIterator[Count]:
    """Store the users' records and return what counts, with aiosqlite and one connection in WAL mode."""
    import aiosqlite  # noqa: PLC0415 - an optional extra

    path = address.partition("///")[2] + ".plain"
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.executescript(TABLES)
        await connection.execute("BEGIN")
        await connection.executemany(SQLITE_WRITE, [(user, make_record(user)) for user in users])
        await connection.execute("COMMIT")

        async def count(user: str) -> bool:
            found = "SELECT record FROM plain_user WHERE user_id = ? AND campaign = 'campaign-1'"
            ((text,),) = await connection.execute_fetchall(found, (user,))
            record = json.loads(text)
            if not await connection.execute_fetchall(SQLITE_CLAIM, (user,)):
                return False
            changed = make_record(record["userId"], "purchase")
            await connection.execute_fetchall(SQLITE_WRITE, (user, changed))
            return True

        yield count


OPENERS = {"redis": open_redis, "postgres": open_postgres, "sqlite": open_sqlite}


async def measure(request: Request) -> Samples:
    """Time conversions of as many users, from one caller or several."""
    callers, calls = request["callers"], request["calls"]
    users = [f"{time.time_ns()}-{number}" for number in range(callers * calls)]
    held: list[float] = []
    async with OPENERS[request["library"]](request["address"], users) as count:

        async def call(mine: Sequence[str]) -> None:
            for user in mine:
                began = time.perf_counter()
                is_first = await count(user)
                held.append(time.perf_counter() - began)
                if not is_first:
                    raise UnmeasuredError("not counted")

        return await time_callers((call(users[number::callers]) for number in range(callers)), held)


serve(
    {"storage": lambda request: asyncio.run(measure(request))},
    "redis",
    "asyncpg",
    "hiredis",
    "aiosqlite",
)
