"""Every storage of the package keeps the contract, and so does one in the style of the official SDKs."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from database import any_redis, running_cluster
from port import find_free_port
from redis import Redis as SyncRedis
from redis.asyncio import RedisCluster
from sqlalchemy.ext.asyncio import create_async_engine

from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.cookie import CookieUserStorage
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.storage.sql import SqlUserStorage
from vwo_async.testing import UserStorageContract

# Keys and tables that nobody else has.
NAME = f"vwo_{secrets.token_hex(6)}"


class TestMemory(UserStorageContract):
    """In memory."""

    has_claims = True

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[MemoryUserStorage]:
        yield MemoryUserStorage()


class OfficialStyle:
    """A storage as services of the official SDKs have them: plain functions, and any error is raised."""

    def __init__(self) -> None:
        self._rows: dict[str, str] | None = {}

    def get(self, user_id: str, campaign_key: str) -> dict[str, Any] | None:
        text = self._reach().get(json.dumps([user_id, campaign_key]))
        return None if text is None else dict(json.loads(text))

    def set(self, data: Mapping[str, Any]) -> None:
        self._reach()[json.dumps([data["userId"], data["campaignKey"]])] = json.dumps(data)

    def close(self) -> None:
        self._rows = None

    def _reach(self) -> dict[str, str]:
        if self._rows is None:
            raise ConnectionError
        return self._rows


class TestOfficialStyle(UserStorageContract):
    """Plain functions."""

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[OfficialStyle]:
        yield OfficialStyle()

    @asynccontextmanager
    async def open_broken_storage(self) -> AsyncIterator[OfficialStyle]:
        storage = OfficialStyle()
        storage.close()
        yield storage


class TestCookie(UserStorageContract):
    """A cookie, within one request."""

    # More do not fit into one.
    calls_at_once = 30

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[CookieUserStorage]:
        storage = CookieUserStorage("a secret of some length")
        with storage.request(None):
            yield storage


# Redis


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server, of which only the keys that begin with `NAME` are ours."""
    with any_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url
        with SyncRedis.from_url(url) as redis:
            for key in redis.scan_iter(f"{NAME}*", 1000):
                redis.delete(key)


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield int(listener.getsockname()[1])


class TestRedis(UserStorageContract):
    """On a Redis server; the broken one hangs."""

    has_claims = True
    has_get_many = True
    options: Mapping[str, Any] = MappingProxyType({})

    @pytest.fixture(autouse=True)
    def _find_servers(self, redis_url: str, silent_port: int) -> None:
        self.url, self.broken_url = redis_url, f"redis://127.0.0.1:{silent_port}"

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[RedisUserStorage]:
        async with RedisUserStorage.from_url(self.url, prefix=NAME, **self.options) as storage:
            yield storage

    @asynccontextmanager
    async def open_broken_storage(self) -> AsyncIterator[RedisUserStorage]:
        async with RedisUserStorage.from_url(self.broken_url, **self.options) as storage:
            yield storage


class TestRedisThatExpires(TestRedis):
    """Where records expire, which takes other commands; the broken one refuses connections."""

    options = MappingProxyType({"ttl_s": 600.0, "reads_official": False})

    @pytest.fixture(autouse=True)
    def _find_servers(self, redis_url: str) -> None:
        self.url, self.broken_url = redis_url, f"redis://127.0.0.1:{find_free_port()}"


@pytest.fixture(scope="module")
def cluster_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A cluster of three masters."""
    with running_cluster(tmp_path_factory.mktemp("cluster"), 3) as nodes:
        yield nodes[0].port


class TestRedisCluster(UserStorageContract):
    """On a Redis cluster, with a client of the service's own."""

    has_claims = True
    has_get_many = True

    @pytest.fixture(autouse=True)
    def _find_server(self, cluster_port: int) -> None:
        self.port = cluster_port

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[RedisUserStorage]:
        # To tell the server its version, redis-py reads it from disk.
        async with await asyncio.to_thread(
            partial(RedisCluster, "127.0.0.1", self.port, max_connections=500)
        ) as client:
            yield RedisUserStorage(client)


# SQL


class SqlContract(UserStorageContract):
    """On a database."""

    has_claims = True
    has_get_many = True
    tables: Mapping[str, str] = {"record_table": f"{NAME}_user", "claim_table": f"{NAME}_claim"}
    url = ""
    broken_url = ""

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[SqlUserStorage]:
        async with SqlUserStorage.from_url(self.url, **self.tables) as storage:
            await storage.create_tables()
            yield storage

    @asynccontextmanager
    async def open_broken_storage(self) -> AsyncIterator[SqlUserStorage]:
        async with SqlUserStorage.from_url(self.broken_url, **self.tables) as storage:
            yield storage


@pytest.fixture(scope="module")
def postgres_tables(postgres_url: str) -> Iterator[str]:
    """A PostgreSQL server, of which only the tables whose names begin with `NAME` are ours."""
    yield postgres_url

    async def drop() -> None:
        metadata = SqlUserStorage.from_url(postgres_url, **SqlContract.tables).metadata
        engine = create_async_engine(postgres_url)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
        await engine.dispose()

    asyncio.run(drop())


class TestPostgres(SqlContract):
    """On PostgreSQL; the broken one refuses connections."""

    @pytest.fixture(autouse=True)
    def _find_servers(self, postgres_tables: str) -> None:
        self.url = postgres_tables
        self.broken_url = f"postgresql://vwo@127.0.0.1:{find_free_port()}/none"


class TestSqlite(SqlContract):
    """On SQLite; the file of the broken one is none of SQLite's."""

    @pytest.fixture(autouse=True)
    def _find_files(self, tmp_path: Path) -> None:
        self.url = f"sqlite:///{tmp_path / 'vwo.db'}"
        broken = tmp_path / "broken.db"
        broken.write_bytes(b"x" * 4096)
        self.broken_url = f"sqlite:///{broken}"
