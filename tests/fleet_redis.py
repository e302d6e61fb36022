"""A Redis for tests that share one server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from database import RedisServer, running_redis

from vwo_async._fleet.redis_client import make_client


def connect(url: str) -> Any:
    """Return a client of redis-py, which reads nothing from disk in the loop."""
    return make_client(url)


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the tests of a module."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """Where a Redis without any key is."""
    shared_redis.command("FLUSHALL")
    return shared_redis.url
