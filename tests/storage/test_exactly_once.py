"""One conversion per user, campaign and goal, however many processes track it at once."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from database import any_redis
from server import Server, running_server

from vwo_async.storage.redis import RedisUserStorage
from vwo_async.storage.sql import SqlUserStorage

pytestmark = pytest.mark.anyio

CROWD = Path(__file__).parent / "crowd.py"
PROCESSES = 4
CALLS = 2500
STORAGES: dict[str, Any] = {"redis": RedisUserStorage, "sql": SqlUserStorage}


@pytest.fixture(params=["redis", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A storage that several processes can share: its kind and address."""
    if request.param == "redis":
        with any_redis(tmp_path) as url:
            yield "redis", url
    elif request.param == "sqlite":
        yield "sql", f"sqlite+aiosqlite:///{tmp_path / 'users.db'}"
    else:
        yield "sql", request.getfixturevalue("postgres_url")


@asynccontextmanager
async def activated(kind: str, url: str, users: int) -> AsyncIterator[None]:
    """Store the users' variation, as activation does, with no trace of earlier or later tests."""
    async with STORAGES[kind].from_url(url) as storage:
        if kind == "sql":
            await storage.create_tables()
        names = [f"crowd{number}" for number in range(users)]
        for name in names:
            row = {"userId": name, "campaignKey": "checkout", "variationName": "Variation-1"}
            await storage.set(row)
            await storage.release_goal(name, "checkout", "signup")
        yield
        for name in names:
            row = await storage.get(name, "checkout")
            assert row["goalIdentifier"] == "signup"


async def run_crowds(kind: str, url: str, server: Server, users: int) -> list[dict[str, Any]]:
    """Let the processes begin at the same moment; return what each reports."""
    arguments = [str(CROWD), kind, url, server.base_url, str(CALLS), str(users)]
    pipe = asyncio.subprocess.PIPE
    crowds = [
        await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe)
        for _ in range(PROCESSES)
    ]
    for crowd in crowds:
        assert crowd.stdout is not None
        assert await crowd.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(crowd.communicate(b"\n") for crowd in crowds))
    assert [crowd.returncode for crowd in crowds] == [0] * PROCESSES
    return [json.loads(out) for out, _ in answers]


def users_of(server: Server) -> Counter[str]:
    """Return the visitors of all conversions that arrived, single or in batches."""
    found: Counter[str] = Counter()
    for request in server.requests:
        if request.body:
            found.update(event["u"] for event in json.loads(request.body)["ev"])
        else:
            found.update(parse_qs(request.target.partition("?")[2])["u"])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("users", [1, 50])
async def test_four_processes(place: tuple[str, str], users: int) -> None:
    """Of 10,000 concurrent calls in four processes, exactly one for each user reaches VWO."""
    kind, url = place
    async with running_server() as server, activated(kind, url, users):
        reports = await run_crowds(kind, url, server, users)
        assert [one["notes"] for one in reports] == [[]] * PROCESSES
        assert {reason for one in reports for reason in one["reasons"]} == {
            "already_tracked",
            "tracked",
        }
        assert sum(one["tracked"] for one in reports) == users
        assert sum(one["delivered"] for one in reports) == users
        found = users_of(server)
        assert len(found) == users
        assert set(found.values()) == {1}
