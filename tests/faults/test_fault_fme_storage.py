"""Rows 35, 56, 71 to 74, 86 and 87 of docs/faults.md in FME, which stores what it decided and claims nothing."""

from __future__ import annotations

import asyncio
import random
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from chosen_product import CHOSEN, FME, settings
from database import RedisServer, running_redis
from own_time import Stopwatch, assert_below
from pooler import pooling
from sample import campaign, variation
from sqlalchemy.engine import make_url
from waiting import until

from vwo_async import Flag, FMEClient, Reason
from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.storage.sql import SqlUserStorage
from vwo_async.testing import RecordingTransport

pytestmark = [pytest.mark.anyio, pytest.mark.no_debug, pytest.mark.timeout(60)]

TIMEOUT_S = 0.3
# By how much a noisy machine may be late with what a test has timed.
SLACK_S = 0.3
# Names that join alike with any separator.
PARTS = ["a", "b", "c", ":", "a:b", "b:c", "a:b:c", ":c", "a b", "a|b"]


@pytest.fixture(autouse=True)
def _fme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN, FME)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server to hurt."""
    with running_redis(tmp_path / "redis") as server:
        yield server


def client_with(storage: Any, file: Any = None, **options: Any) -> FMEClient:
    options.setdefault("transport", RecordingTransport())
    options.setdefault("storage_timeout_s", TIMEOUT_S)
    return FMEClient(file or settings(), user_storage=storage, **options)


def make_split(keys: list[str], *, is_turned: bool) -> dict[str, Any]:
    """Return a file in which every second feature has one variation, and the others have the other."""
    campaigns = []
    for number, key in enumerate(keys):
        share = 100 if (number % 2 == 0) is not is_turned else 0
        halves = [variation(1, "one", share), variation(2, "other", 100 - share)]
        campaigns.append(campaign(11 + number, key, variations=halves))
    return settings(*campaigns)


def show(flag: Flag) -> tuple[Reason, int | None]:
    return flag.reason, None if flag.variation is None else flag.variation.id


# Row 35


@pytest.mark.timed
@pytest.mark.parametrize("fault", ["killed", "stopped"])
async def test_row_35_redis_in_fme(redis_server: RedisServer, fault: str) -> None:
    """Redis killed or stopped: only the first calls wait, and all is as before once it is back."""
    before, after = (make_split(["checkout"], is_turned=one) for one in (False, True))
    async with RedisUserStorage.from_url(redis_server.url) as storage:
        async with client_with(storage, before, storage_timeout_s=10) as client:
            assert show(await client.get_flag("checkout", "u0")) == (Reason.ASSIGNED, 1)
        async with client_with(storage, after) as client:
            assert show(await client.get_flag("checkout", "u0")) == (Reason.STORED, 1)
            (redis_server.pause if fault == "stopped" else redis_server.kill)()
            watch = Stopwatch()
            flags = await asyncio.gather(*(client.get_flag("checkout", f"u{n}") for n in range(20)))
            watch.assert_below(TIMEOUT_S + SLACK_S)
            assert {show(one) for one in flags} == {(Reason.ASSIGNED, 2)}
            assert all(one.notes for one in flags)
            watch = Stopwatch()
            for number in range(50):
                assert (await client.get_flag("checkout", f"later {number}")).notes
            watch.assert_below(TIMEOUT_S)
            back = redis_server.resume if fault == "stopped" else redis_server.start
            await asyncio.to_thread(back)

            async def is_healed() -> bool:
                return show(await client.get_flag("checkout", "u0")) == (Reason.STORED, 1)

            await until(is_healed)
            # Nothing was written over while it could not be read.
            assert show(await client.get_flag("checkout", "u1")) == (Reason.ASSIGNED, 2)


# Row 56


@pytest.mark.parametrize("kind", ["memory", "redis", "sqlite"])
async def test_row_56_flags_do_not_collide_in_fme(
    kind: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    """Users and features whose names join alike have records of their own, in calls at the same time."""
    async with open_storage(kind, tmp_path, redis_server) as storage:
        pairs = list(product(PARTS, PARTS))
        expected = {key: 1 + number % 2 for number, key in enumerate(PARTS)}
        for is_turned, reason in ((False, Reason.ASSIGNED), (True, Reason.STORED)):
            file = make_split(PARTS, is_turned=is_turned)
            async with client_with(storage, file, storage_timeout_s=10) as client:
                flags = await asyncio.gather(*(client.get_flag(key, user) for user, key in pairs))
            found = {pair: show(flag) for pair, flag in zip(pairs, flags, strict=True)}
            assert found == {pair: (reason, expected[pair[1]]) for pair in pairs}


@asynccontextmanager
async def open_storage(kind: str, folder: Path, redis: RedisServer) -> AsyncIterator[Any]:
    if kind == "memory":
        yield MemoryUserStorage()
    elif kind == "redis":
        async with RedisUserStorage.from_url(redis.url) as one:
            yield one
    else:
        async with SqlUserStorage.from_url(f"sqlite:///{folder / 'vwo.db'}") as two:
            await two.create_tables()
            yield two


# Row 71


class Turned(MemoryUserStorage):
    """A storage in which everybody has variation 1 on record, while the file gives 2; some calls hang."""

    def __init__(self, hangs: Callable[[str], bool] = lambda user_id: False) -> None:
        super().__init__()
        self.hangs = hangs
        self.hangs_in_writes = False
        self.written: list[str] = []

    async def get(self, user_id: str, key: str) -> Mapping[str, Any] | None:
        await asyncio.sleep(3600 if self.hangs(user_id) else 0.001)
        return make_record(user_id)

    async def set(self, data: Mapping[str, Any]) -> None:
        if self.hangs_in_writes:
            await asyncio.sleep(3600)
        self.written.append(data["userId"])


def make_record(user_id: str) -> dict[str, Any]:
    return {
        "featureKey": "checkout",
        "userId": user_id,
        "experimentId": 11,
        "experimentKey": "checkout",
        "experimentVariationId": 1,
    }


def turned_file() -> dict[str, Any]:
    return make_split(["checkout"], is_turned=True)


class Threads:
    """A storage of plain functions that takes its time over each read."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def get(self, user_id: str, key: str) -> Mapping[str, Any]:
        time.sleep(0.02)
        return make_record(user_id)

    def set(self, data: Mapping[str, Any]) -> None:
        self.written.append(data["userId"])


@pytest.mark.parametrize("policy", ["decide", "refuse"])
async def test_row_71_too_many_for_the_threads_in_fme(policy: Any) -> None:
    """Who was not asked in time is told so, and nothing of his is written over; the next is asked."""
    storage = Threads()
    async with client_with(storage, turned_file(), on_storage_error=policy) as client:
        calls = (client.get_flag("checkout", f"u{number}") for number in range(1000))
        flags = await asyncio.gather(*calls)
        unread = (Reason.ASSIGNED, 2) if policy == "decide" else (Reason.STORAGE_ERROR, None)
        assert {show(one) for one in flags} == {(Reason.STORED, 1), unread}
        assert all(bool(one.notes) is (show(one) == unread) for one in flags)
        notes = {note for one in flags for note in one.notes}
        assert "user storage: not asked in time, with too many calls ahead" in notes
        # The storage is busy and not broken.
        assert show(await client.get_flag("checkout", "next")) == (Reason.STORED, 1)
    assert storage.written == []


async def test_row_71_one_time_out_blinds_nobody_else_in_fme() -> None:
    """A storage that hangs for one user and answers the others is asked about the others."""
    storage = Turned(lambda user_id: user_id == "hanging")
    async with client_with(storage, turned_file()) as client:
        hanging = asyncio.ensure_future(client.get_flag("checkout", "hanging"))
        while not hanging.done():
            flag = await client.get_flag("checkout", uuid.uuid4().hex)
            assert show(flag) == (Reason.STORED, 1)
        assert hanging.result().notes == ("user storage: get timed out",)
        assert show(await client.get_flag("checkout", "Ashley")) == (Reason.STORED, 1)
    assert storage.written == []


async def test_row_71_a_loop_that_is_held_in_fme() -> None:
    """While other code holds the loop, no answer can arrive, and no storage is blamed for it."""
    async with client_with(Turned(), turned_file(), storage_timeout_s=0.1) as client:
        call = asyncio.ensure_future(client.get_flag("checkout", "Ashley"))
        for _ in range(4):
            await asyncio.sleep(0)
            time.sleep(0.2)  # noqa: ASYNC251 - as careless code of a service does
        assert show(await call) == (Reason.STORED, 1)
        assert client.statistics().storage_errors == 0


# Row 72


@pytest.mark.parametrize("is_eager", [False, True])
async def test_row_72_a_stall_ends_in_fme(*, is_eager: bool) -> None:
    """Whoever calls or does not, the first call after a storage is back goes by what it holds."""
    if is_eager and sys.version_info < (3, 12):
        pytest.skip("eager tasks are there from Python 3.12 on")
    loop = asyncio.get_running_loop()
    if is_eager:
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
    try:
        storage = Turned(lambda user_id: True)
        async with client_with(storage, turned_file()) as client:
            assert show(await client.get_flag("checkout", "Ashley")) == (Reason.ASSIGNED, 2)
            storage.hangs = lambda user_id: False
            errors = client.statistics().storage_errors
            await asyncio.sleep(2 * TIMEOUT_S)
            assert show(await client.get_flag("checkout", "Ashley")) == (Reason.STORED, 1)
            assert client.statistics().storage_errors == errors
        assert storage.written == []
    finally:
        loop.set_task_factory(None)


async def test_row_72_a_stall_of_writes_alone_in_fme() -> None:
    """A storage that reads and does not write is read; its writes are tried again after a while."""
    storage = Turned()
    # One variation is gone from the file: each call decides anew, and would keep that.
    file = make_split(["checkout"], is_turned=True)
    file["campaigns"][0]["variations"] = file["campaigns"][0]["variations"][1:]
    storage.hangs_in_writes = True
    async with client_with(storage, file) as client:
        assert (await client.get_flag("checkout", "u0")).notes == ("user storage: set timed out",)
        watch = Stopwatch()
        for number in range(1, 10):
            assert show(await client.get_flag("checkout", f"u{number}")) == (Reason.ASSIGNED, 2)
        watch.assert_below(5 * TIMEOUT_S)
        storage.hangs_in_writes = False

        async def is_written() -> bool:
            return not (await client.get_flag("checkout", "later")).notes

        await until(is_written)
    assert "later" in storage.written


# Row 73


class Slow(MemoryUserStorage):
    """A storage in which each call takes nearly as long as it may."""

    sets = 0

    async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        await asyncio.sleep(0.9 * TIMEOUT_S)
        return await super().get(user_id, campaign_key)

    async def set(self, data: Mapping[str, Any]) -> None:
        self.sets += 1
        await asyncio.sleep(0.9 * TIMEOUT_S)
        await super().set(data)


async def test_row_73_one_limit_for_the_whole_call_in_fme() -> None:
    """Reading, waiting for other calls about the user, and writing take no longer together than the time-out."""
    async with client_with(Slow()) as client:
        took: list[float] = []

        async def call(user: str) -> None:
            for method in (partial(client.get_flag, "checkout"), client.get_flags):
                watch = Stopwatch()
                assert await method(user)
                took.append(watch.read_s())

        await call("Ashley")
        await asyncio.gather(*(call("Ashley") for _ in range(5)), *map(call, "abc"))
        assert_below(max(took), 2 * TIMEOUT_S)


async def test_row_73_late_in_the_line_stores_nothing_in_fme() -> None:
    """Who had no turn in time is decided all the same, and writes over nothing that another writes."""
    storage = Slow()
    async with client_with(storage) as client:
        flags = await asyncio.gather(*(client.get_flag("checkout", "Ashley") for _ in range(20)))
        assert len({show(one)[1] for one in flags}) == 1
        late = "user storage: not asked in time, with too many calls ahead"
        assert late in {note for one in flags for note in one.notes}
    assert storage.sets == 1


# Row 74


async def assert_sticky(storage: SqlUserStorage) -> None:
    """Assert that 100 users stay in their variation although the file has turned to the other."""
    await storage.create_tables()
    users = [uuid.uuid4().hex for _ in range(100)]
    for is_turned, reason in ((False, Reason.ASSIGNED), (True, Reason.STORED)):
        file = make_split(["checkout"], is_turned=is_turned)
        async with client_with(storage, file, storage_timeout_s=20) as client:
            flags = await asyncio.gather(*(client.get_flag("checkout", one) for one in users))
            assert {show(flag) for flag in flags} == {(reason, 1)}
            assert client.statistics().storage_errors == 0


@pytest.mark.parametrize("kind", ["psycopg", "a pooler"])
async def test_row_74_flags_on_postgresql_in_fme(postgres_url: str, kind: str) -> None:
    """Flags are sticky through psycopg, and where each transaction has another connection."""
    url = make_url(postgres_url)
    if kind == "psycopg":
        pytest.importorskip("psycopg")
        plain = postgres_url.replace("asyncpg", "psycopg").replace("ssl=", "sslmode=")
        async with SqlUserStorage.from_url(plain) as storage:
            await assert_sticky(storage)
        return
    if url.host != "127.0.0.1" or url.port is None:
        pytest.skip("the pooler speaks to a server on this machine")
    async with pooling(url.port) as (port, pooler):
        through = url.set(port=port).render_as_string(hide_password=False)
        async with SqlUserStorage.from_url(through) as storage:
            await assert_sticky(storage)
        assert pooler.transactions > 1


# Row 86


async def test_row_86_a_server_that_dies_in_the_middle_of_a_round_in_fme(
    redis_server: RedisServer,
) -> None:
    """Each call has its own outcome: the flag on record, or told failure, and in the end all are on record."""
    users = [f"u{number}" for number in range(300)]
    seen: list[tuple[Reason, int | None]] = []

    async def decide(user: str) -> None:
        await asyncio.sleep(random.uniform(0, 0.4))
        while (flag := await client.get_flag("checkout", user)).reason is Reason.STORAGE_ERROR:
            seen.append(show(flag))
            await asyncio.sleep(0.05)
        seen.append(show(flag))

    async with RedisUserStorage.from_url(redis_server.url) as storage:
        before, after = (make_split(["checkout"], is_turned=one) for one in (False, True))
        async with client_with(storage, before, storage_timeout_s=10) as client:
            for user in users:
                assert show(await client.get_flag("checkout", user)) == (Reason.ASSIGNED, 1)
        async with client_with(storage, after, on_storage_error="refuse") as client:
            calls = asyncio.gather(*(decide(user) for user in users for _ in range(2)))
            for _ in range(3):
                await asyncio.sleep(0.1)
                redis_server.kill()
                await asyncio.sleep(0.05)
                await asyncio.to_thread(redis_server.start)
            await calls
            assert client.statistics().storage_errors > 0
            assert client.statistics().accepted == 0
    assert set(seen) == {(Reason.STORED, 1), (Reason.STORAGE_ERROR, None)}


# Row 87


async def test_row_87_callers_cancelled_at_random_in_fme(redis_server: RedisServer) -> None:
    """Of 1,000 callers who share rounds, those who are cancelled disturb nobody, and what was told is on record."""
    users = [f"u{number}" for number in range(1000)]
    rng = random.Random(1)
    before, after = (make_split(["checkout"], is_turned=one) for one in (False, True))
    async with RedisUserStorage.from_url(redis_server.url) as storage:
        async with client_with(storage, before, storage_timeout_s=5) as client:
            tasks = [asyncio.ensure_future(client.get_flag("checkout", one)) for one in users]
            loop = asyncio.get_running_loop()
            for task in rng.sample(tasks, 500):
                loop.call_later(rng.uniform(0, 0.1), task.cancel)
            await asyncio.wait(tasks)
            told = [user for user, one in zip(users, tasks, strict=True) if not one.cancelled()]
            assert 500 <= len(told) < 1000
            assert {show(one.result()) for one in tasks if not one.cancelled()} == {
                (Reason.ASSIGNED, 1)
            }
            assert client.statistics().storage_errors == 0
        async with client_with(storage, after, storage_timeout_s=5) as client:
            flags = await asyncio.gather(*(client.get_flag("checkout", one) for one in users))
    again = dict(zip(users, map(show, flags), strict=True))
    assert {again[user] for user in told} == {(Reason.STORED, 1)}
    assert set(again.values()) <= {(Reason.STORED, 1), (Reason.ASSIGNED, 2)}
