"""Storages that take many requests at once: each with its own outcome, and claim and mark in one step."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from database import any_redis, running_cluster
from redis.asyncio import RedisCluster
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.storage.rounds import (
    AssignVariation,
    CountConversion,
    ReadRecord,
    StorageRounds,
    WithdrawConversion,
)
from vwo_async.storage.sql import SqlUserStorage

pytestmark = [pytest.mark.anyio, pytest.mark.no_debug, pytest.mark.timeout(60)]

KINDS = [
    "memory",
    "redis",
    "redis that expires",
    "redis cluster",
    "sqlite",
    "sqlite of the caller",
    "asyncpg",
    "asyncpg of the caller",
    "psycopg",
    "psycopg of the caller",
]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server."""
    with any_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="module")
def cluster_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A cluster of two masters."""
    with running_cluster(tmp_path_factory.mktemp("cluster"), 2) as nodes:
        yield nodes[0].port


@asynccontextmanager
async def open_storage(
    kind: str, request: pytest.FixtureRequest, folder: Path
) -> AsyncIterator[Any]:
    name = f"vwo_{secrets.token_hex(6)}"
    if kind == "memory":
        yield MemoryUserStorage()
    elif kind == "redis cluster":
        client: Any = RedisCluster("127.0.0.1", request.getfixturevalue("cluster_port"))
        async with client:
            yield RedisUserStorage(client, prefix=name)
    elif kind.startswith("redis"):
        options: dict[str, Any] = (
            {"ttl_s": 60, "reads_official": False} if "expires" in kind else {}
        )
        url = request.getfixturevalue("redis_url")
        async with RedisUserStorage.from_url(url, prefix=name, **options) as storage:
            yield storage
    else:
        async with open_sql(kind, name, request, folder) as storage:
            yield storage


@asynccontextmanager
async def open_sql(
    kind: str, name: str, request: pytest.FixtureRequest, folder: Path
) -> AsyncIterator[SqlUserStorage]:
    driver = kind.partition(" ")[0]
    url = f"sqlite+aiosqlite:///{folder / 'vwo.db'}"
    if driver != "sqlite":
        pytest.importorskip(driver)
        url = request.getfixturevalue("postgres_url").replace("asyncpg", driver)
        if driver == "psycopg":
            url = url.replace("ssl=", "sslmode=")
    tables = {"record_table": f"{name}_user", "claim_table": f"{name}_claim"}
    engine = create_async_engine(url)
    storage = SqlUserStorage(engine, **tables)
    if "caller" not in kind:
        storage = SqlUserStorage.from_url(url, **tables)
    async with storage:
        await storage.create_tables()
        yield storage
    async with engine.begin() as connection:
        for table in tables.values():
            await connection.execute(text(f"DROP TABLE {table}"))
    await engine.dispose()


@pytest.fixture(params=KINDS)
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """A storage of each kind that takes rounds."""
    async with open_storage(request.param, request, tmp_path) as storage:
        assert isinstance(storage, StorageRounds)
        yield storage


def record(user_id: str = "u", campaign_key: str = "c", name: str = "v", **more: Any) -> Any:
    """Return an official record."""
    return {"userId": user_id, "campaignKey": campaign_key, "variationName": name, **more}


def count(user_id: str, goal: str, owner: str, **more: Any) -> CountConversion:
    """Return a request to count a goal of a user."""
    data = record(user_id, goalIdentifier=goal, **more)
    return CountConversion(user_id, "c", goal, owner, data)


async def ask(storage: Any, *requests: Any) -> Sequence[Any]:
    """Return the outcomes of one round."""
    outcomes: Sequence[Any] = await storage.run_round(requests)
    return outcomes


async def test_reads_of_many_users(storage: Any) -> None:
    """Each read has its own record, or none, in the order of the requests."""
    for number in range(0, 300, 3):
        await storage.set(record(f"u{number}", name=f"v{number}", metaData={"n": number}))
    numbers = random.sample(range(300), 300)
    rows = await ask(storage, *(ReadRecord(f"u{one}", "c") for one in numbers))
    assert list(rows) == [
        record(f"u{one}", name=f"v{one}", metaData={"n": one}) if one % 3 == 0 else None
        for one in numbers
    ]


async def test_claim_and_mark_are_one(storage: Any) -> None:
    """A counted conversion is claimed and in the record at once; who comes second does neither."""
    await storage.set(record(metaData={"plan": "pro"}))
    assert await ask(storage, count("u", "g", "a")) == [True]
    assert await storage.get("u", "c") == record(goalIdentifier="g", metaData={"plan": "pro"})
    assert await ask(storage, count("u", "g", "b")) == [False]
    # Asked again after an answer that was lost, the owner is told the same.
    assert await ask(storage, count("u", "g", "a")) == [True]
    assert await ask(storage, count("u", "h", "b")) == [True]
    assert await storage.get("u", "c") == record(goalIdentifier="g_vwo_h", metaData={"plan": "pro"})
    assert await storage.claim_goal("u", "c", "g") is False


@pytest.mark.parametrize("others", [0, 5])
async def test_a_known_user(storage: Any, others: int) -> None:
    """A user with a record is claimed and marked without sending it again, alone or among others."""
    for number in range(others + 1):
        await storage.set(record(f"u{number}", goalIdentifier="x", metaData={"n": number}))

    async def claim(goal: str, owner: str) -> list[bool]:
        users = [f"u{number}" for number in range(others + 1)]
        requests = [CountConversion(user, "c", goal, owner, None) for user in users]
        return [bool(one) for one in await ask(storage, *requests)]

    assert all(await claim("g", "a"))
    assert not any(await claim("g", "b"))
    assert all(await claim("g", "a"))
    for number in range(others + 1):
        expected = record(f"u{number}", goalIdentifier="x_vwo_g", metaData={"n": number})
        assert await storage.get(f"u{number}", "c") == expected
        assert await ask(storage, count(f"u{number}", "h", "")) == [True]
    # Marked without a claim, it is nobody's to count.
    assert not any(await claim("h", "a"))


async def test_a_record_that_is_gone_is_written(storage: Any) -> None:
    """Where there is no record any more, counting writes one; without data there is a claim alone."""
    assert await ask(storage, count("u", "g", "a", metaData={"n": 1})) == [True]
    assert await storage.get("u", "c") == record(goalIdentifier="g", metaData={"n": 1})
    assert await ask(storage, CountConversion("v", "c", "g", "a", None)) == [True]
    assert await storage.get("v", "c") is None
    assert await ask(storage, count("v", "g", "b")) == [False]


async def test_what_is_new_takes_the_place(storage: Any) -> None:
    """Meta data that a call gives anew is stored with the conversion; goals stay."""
    await storage.set(record(metaData={"n": 1}))
    assert await ask(storage, count("u", "g", "a")) == [True]
    data = record(name="w", goalIdentifier="g_vwo_h", metaData={"n": 2})
    request = CountConversion("u", "c", "h", "a", data, is_new=True)
    assert await ask(storage, request) == [True]
    assert await storage.get("u", "c") == data


async def test_a_mark_without_a_claim(storage: Any) -> None:
    """A goal that is marked without a claim is in the record once, and nobody else's to count."""
    await storage.set(record())
    for _ in range(2):
        assert await ask(storage, count("u", "g", "")) == [True]
    assert await storage.get("u", "c") == record(goalIdentifier="g")
    assert await ask(storage, count("u", "g", "a")) == [False]
    assert await ask(storage, WithdrawConversion("u", "c", "g", "")) == [True]
    assert await storage.get("u", "c") == record()
    assert await ask(storage, count("u", "g", "a")) == [True]


async def test_withdrawing(storage: Any) -> None:
    """Claim and mark are taken back together, by their owner alone; other goals stay."""
    await storage.set(record())
    for goal in "ghi":
        assert await ask(storage, count("u", goal, "a")) == [True]
    for other in ("b", ""):
        assert not (await ask(storage, WithdrawConversion("u", "c", "h", other)))[0]
    assert await storage.get("u", "c") == record(goalIdentifier="g_vwo_h_vwo_i")
    assert await ask(storage, WithdrawConversion("u", "c", "h", "a")) == [True]
    assert not (await ask(storage, WithdrawConversion("u", "c", "h", "a")))[0]
    assert await storage.get("u", "c") == record(goalIdentifier="g_vwo_i")
    assert await ask(storage, count("u", "h", "d"), count("u", "g", "d")) == [True, False]
    for goal, owner in (("g", "a"), ("i", "a"), ("h", "d")):
        assert await ask(storage, WithdrawConversion("u", "c", goal, owner)) == [True]
    assert await storage.get("u", "c") == record()


async def test_an_assignment_does_not_overwrite(storage: Any) -> None:
    """Only the first assignment of a user is kept; one whose variation is gone makes room, with its goals."""
    assert await ask(storage, AssignVariation(record(name="a"))) == [True]
    assert await ask(storage, AssignVariation(record(name="b"))) == [False]
    assert await ask(storage, AssignVariation(record(name="b"), "x")) == [False]
    assert await ask(storage, count("u", "g", "a")) == [True]
    assert await storage.get("u", "c") == record(name="a", goalIdentifier="g")
    assert await ask(storage, AssignVariation(record(name="b", metaData={"n": 1}), "a")) == [True]
    assert await storage.get("u", "c") == record(name="b", metaData={"n": 1})
    assert await ask(storage, count("u", "g", "b")) == [True]


async def test_one_round_about_one_user(storage: Any) -> None:
    """Requests about the same user and campaign have effect in their order."""
    outcomes = await ask(
        storage,
        AssignVariation(record(name="a")),
        AssignVariation(record(name="b")),
        count("u", "g", "a"),
        count("u", "g", "b"),
        count("u", "h", "b"),
        WithdrawConversion("u", "c", "g", "a"),
        count("u", "g", "c"),
    )
    assert [bool(one) for one in outcomes] == [True, False, True, False, True, True, True]
    row = await storage.get("u", "c")
    assert set(row["goalIdentifier"].split("_vwo_")) == {"g", "h"}


@pytest.mark.parametrize("goal", ["a", "vwo", "_", "a_", "%", "\0", "🙂", "a'b", "record"])
async def test_goals_of_any_name(storage: Any, goal: str) -> None:
    """A goal is found as a whole: neither as a part of another nor by what joins them."""
    others = [f"{goal}{goal}", f"x{goal}", f"{goal}x"]
    await storage.set(record())
    for one in others:
        assert await ask(storage, count("u", one, "a")) == [True]
    assert await ask(storage, count("u", goal, "b")) == [True]
    assert await ask(storage, count("u", goal, "a")) == [False]
    assert await ask(storage, WithdrawConversion("u", "c", goal, "b")) == [True]
    row = await storage.get("u", "c")
    # Where an underscore meets the separator, no reader of records can tell where the goal ends.
    assert row["goalIdentifier"] == "_vwo_".join(others)
    for one in others:
        assert await ask(storage, count("u", one, "b")) == [False]


async def test_one_that_cannot_be_written(storage: Any) -> None:
    """A record that is no JSON fails its own caller, and nobody else of the round."""
    if isinstance(storage, MemoryUserStorage):
        pytest.skip("in memory any object can be kept")
    requests = [count(f"u{number}", "g", "a") for number in range(9)]
    requests[4] = count("u4", "g", "a", metaData={"it": {"a set"}})
    outcomes = await ask(storage, *requests)
    assert isinstance(outcomes[4], Exception)
    assert [one for one in outcomes if one is True] == [True] * 8
    assert await ask(storage, count("u4", "g", "b")) == [True]


async def test_many_owners_at_once(storage: Any) -> None:
    """Of rounds that claim the same conversions at the same time, each conversion has one winner."""
    users = [f"u{number}" for number in range(40)]

    async def claim(owner: int) -> Sequence[Any]:
        order = random.sample(users, len(users))
        outcomes = await ask(storage, *(count(user, "g", f"o{owner}") for user in order))
        return [user for user, is_ours in zip(order, outcomes, strict=True) if is_ours is True]

    won = await asyncio.gather(*map(claim, range(8)))
    assert sorted(user for one in won for user in one) == sorted(users)
    rows = await ask(storage, *(ReadRecord(user, "c") for user in users))
    assert [row["goalIdentifier"] for row in rows] == ["g"] * len(users)
