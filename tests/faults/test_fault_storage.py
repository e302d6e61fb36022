"""Rows 69 to 76, 86 and 87 of docs/faults.md: what a user storage may do to calls, and calls to what is stored."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import time
import traceback
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, settings
from database import QUIET, RedisServer, find_old_redis, running_redis
from own_time import Stopwatch, assert_below
from pooler import pooling
from port import find_free_port
from postgres import PostgresServer
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from sample import row
from server import Server, running_server
from slow_path import slow_path
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from virtual_time import in_virtual_time
from waiting import until

from vwo_async import InvalidInputError, Reason, TrackResult, VWOClient
from vwo_async._error import StorageError
from vwo_async._storage.access import StorageAccess
from vwo_async._storage.loop_clock import LoopClock
from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.storage.rounds import (
    AssignVariation,
    CountConversion,
    ReadRecord,
    WithdrawConversion,
)
from vwo_async.storage.sql import SqlUserStorage
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Limits, Request

pytestmark = [pytest.mark.anyio, pytest.mark.no_debug, pytest.mark.timeout(60)]

# Redis 8, and 6.2 where there is one.
BINARIES = [None] if find_old_redis() is None else [None, find_old_redis()]
TIMEOUT_S = 0.3
# By how much a noisy machine may be late with what a test has timed.
SLACK_S = 0.3


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server to hurt."""
    with running_redis(tmp_path / "redis") as server:
        yield server


def client_with(storage: Any, **options: Any) -> VWOClient:
    options.setdefault("transport", RecordingTransport())
    options.setdefault("storage_timeout_s", TIMEOUT_S)
    return make_client(settings(), user_storage=storage, **options)


def reason_of(result: TrackResult) -> Reason:
    return result["checkout"].reason


def fill(server: RedisServer, users: Sequence[str]) -> None:
    """Store a record of each user as the Redis storage does."""
    with SyncRedis.from_url(server.url) as redis:
        pipeline = redis.pipeline(transaction=False)
        for user in users:
            pipeline.hset(f"vwo:8:checkout:{user}", "record", json.dumps(row(user)))
        pipeline.execute()


def count_claims(server: RedisServer) -> int:
    """Return how many conversions are claimed, or marked."""
    with SyncRedis.from_url(server.url) as redis:
        keys = list(redis.scan_iter("vwo:*", 1000))
        pipeline = redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(key, "goal:signup", "goals")
        return sum(any(one) for one in pipeline.execute())


# Row 69


async def track_all(client: VWOClient, users: Sequence[str]) -> Counter[Reason]:
    results = await asyncio.gather(*(client.track("checkout", one, "signup") for one in users))
    return Counter(map(reason_of, results))


@asynccontextmanager
async def counted_in_an_outage(
    storage: Any, users: Sequence[str], **options: Any
) -> AsyncIterator[VWOClient]:
    """Enter a client that has counted a conversion of each user, and reaches no server."""
    nowhere = f"http://127.0.0.1:{find_free_port()}"
    async with make_client(settings(), user_storage=storage, base_url=nowhere, **options) as client:
        assert await track_all(client, users) == {Reason.TRACKED: len(users)}
        yield client


@pytest.mark.timed
async def test_row_69_thousands_of_claims_are_given_back(redis_server: RedisServer) -> None:
    """What closing drops in an outage is given back within the time of closing, whatever its number."""
    users = [f"u{number}" for number in range(5000)]
    fill(redis_server, users)
    async with RedisUserStorage.from_url(redis_server.url) as storage:
        async with counted_in_an_outage(storage, users, storage_timeout_s=10) as client:
            assert count_claims(redis_server) == 5000
            watch = Stopwatch()
            await client.aclose()
            watch.assert_below(5 + 0.5 + SLACK_S)
        assert client.statistics().dropped == {"closed": 5000}
        assert count_claims(redis_server) == 0
        assert client.statistics().storage_errors == 0
        # They can be counted by the next.
        async with client_with(storage, storage_timeout_s=10) as other:
            assert await track_all(other, users[:100]) == {Reason.TRACKED: 100}


async def test_row_69_what_stays_claimed_is_told(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Claims that cannot be given back, since the storage is gone too, are counted and logged."""
    users = [f"u{number}" for number in range(50)]
    fill(redis_server, users)
    async with RedisUserStorage.from_url(redis_server.url) as storage:
        async with counted_in_an_outage(storage, users) as client:
            redis_server.kill()
            await client.aclose(timeout_s=0.2)
        assert client.statistics().storage_errors >= 50
    assert "50 conversions that were not sent stay claimed" in caplog.text


class Claiming:
    """A storage of one's own with claims, in which every call takes a moment."""

    def __init__(self, rows: Sequence[Mapping[str, Any]] = (), delay_s: float = 0.001) -> None:
        self.rows = {(one["userId"], one["campaignKey"]): dict(one) for one in rows}
        self.claims: set[tuple[str, str, str]] = set()
        self.delay_s = delay_s

    async def get(self, user_id: str, campaign_key: str) -> Any:
        await asyncio.sleep(self.delay_s)
        return self.rows.get((user_id, campaign_key))

    async def set(self, data: Mapping[str, Any]) -> None:
        await asyncio.sleep(self.delay_s)
        self.rows[data["userId"], data["campaignKey"]] = dict(data)

    async def claim_goal(self, *conversion: str) -> bool:
        await asyncio.sleep(self.delay_s)
        is_first = conversion not in self.claims
        self.claims.add(conversion)  # type: ignore[arg-type]
        return is_first

    async def release_goal(self, *conversion: str) -> None:
        await asyncio.sleep(self.delay_s)
        self.claims.discard(conversion)


@pytest.mark.timed
async def test_row_69_storages_of_ones_own(caplog: pytest.LogCaptureFixture) -> None:
    """The same for a storage of `get`, `set` and claims, whose calls go at the same time."""
    users = [f"u{number}" for number in range(1000)]
    storage = Claiming([row(user) for user in users])
    async with counted_in_an_outage(storage, users, storage_timeout_s=10) as client:
        assert len(storage.claims) == 1000
        await client.aclose(timeout_s=2)
    assert not storage.claims
    assert not [one for one in storage.rows.values() if "goalIdentifier" in one]
    assert client.statistics().storage_errors == 0


@pytest.mark.parametrize("binary", BINARIES)
async def test_row_69_a_redis_without_memory(binary: Path | None, tmp_path: Path) -> None:
    """A server that takes no more for want of memory still has claims given back."""
    users = [f"u{number}" for number in range(20)]
    with running_redis(tmp_path / "redis", binary=binary) as server:
        fill(server, users)
        async with (
            RedisUserStorage.from_url(server.url) as storage,
            counted_in_an_outage(storage, users) as client,
        ):
            server.command("CONFIG", "SET", "maxmemory", "1")
            assert (await client.track("checkout", "u1", "often")).notes
            await client.aclose(timeout_s=0.5)
        assert count_claims(server) == 0


# Row 70


CLAIMER = Path(__file__).parent / "claimer.py"


async def run_until_killed(*arguments: str, told: int, after_s: float) -> set[str]:
    """Let a process track users, kill it a while after *told* of them, and return those of whom it told."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CLAIMER), *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    first = [await process.stdout.readuntil() for _ in range(told)]
    await asyncio.sleep(after_s)
    process.kill()
    # What is cut off in the middle was not told.
    text = b"".join([*first, await process.stdout.read()])
    await process.wait()
    return {line.decode() for line in text.split(b"\n")[:-1]}


async def drain(*arguments: str) -> None:
    """Let a process deliver what is in the outbox."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CLAIMER), *arguments, "drain"
    )
    assert await process.wait() == 0


async def find_claimed(kind: str, url: str) -> set[str]:
    """Return the users of whom the storage says that their conversion was counted, claimed or marked."""
    if kind == "redis":
        with SyncRedis.from_url(url, decode_responses=True) as redis:
            keys = list(redis.scan_iter("vwo:8:checkout:*", 1000))
            pipeline = redis.pipeline(transaction=False)
            for key in keys:
                pipeline.hmget(key, "goal:signup", "goals")
            fields = zip(keys, pipeline.execute(), strict=True)
            return {key.rpartition(":")[2] for key, found in fields if any(found)}
    async with engine_of(url) as engine, engine.connect() as connection:
        claims = await connection.execute(text("SELECT user_id FROM vwo_claim"))
        marks = await connection.execute(
            text("SELECT user_id FROM vwo_user WHERE goal_identifier IS NOT NULL")
        )
        return {user_id for (user_id,) in (*claims, *marks)}


def conversions_of(server: Server) -> dict[str, set[int]]:
    """Return when each conversion that arrived was made, by visitor; a retry says the same as the first try."""
    found: dict[str, set[int]] = defaultdict(set)
    for request in server.requests:
        url = urlsplit(request.target)
        if url.path.endswith("/track-goal"):
            query = parse_qs(url.query)
            found[query["u"][0]].add(int(query["sId"][0]))
        elif request.body:
            for one in json.loads(request.body)["ev"]:
                if one["eT"] == 2:
                    found[one["u"]].add(int(one["sId"]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_row_70_claims_and_outbox_agree_after_a_kill(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """However a process is killed, what is claimed is sent by the next start, and is sent once."""
    if kind == "redis":
        url, name = request.getfixturevalue("redis_server").url, "redis"
    else:
        url, name = request.getfixturevalue("own_postgres").url, "sql"
        async with SqlUserStorage.from_url(url) as storage:
            await storage.create_tables()
    told: set[str] = set()
    async with running_server() as server:
        arguments = (name, url, server.base_url, str(tmp_path / "outbox.db"))
        for number, wanted in enumerate(random.sample([0, 10, 50], 3)):
            first, after_s = str(number * 10_000), random.uniform(0.1, 0.5)
            told |= await run_until_killed(*arguments, first, told=wanted, after_s=after_s)
        await drain(*arguments)
        arrived = conversions_of(server)
    claimed = await find_claimed(name, url)
    assert len(told) > 50
    # The server knows visitors by another name; each user is one.
    assert len(arrived) == len(claimed)
    assert told <= claimed
    # What was on its way when the process was killed may have been sent again, byte for byte.
    assert {len(times) for times in arrived.values()} == {1}


async def test_row_70_what_another_has_counted_is_not_sent(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """An event that was kept, and whose conversion another process has claimed since, is let go."""
    fill(redis_server, ["mine", "theirs"])
    transport = RecordingTransport()
    path = tmp_path / "outbox.db"
    async with RedisUserStorage.from_url(redis_server.url) as storage:

        class Killed(BaseException):
            pass

        async def claim_never(*arguments: object) -> Any:
            raise Killed

        client = client_with(storage, outbox=path, transport=transport, storage_timeout_s=5)
        await client.open()
        client._engine.storage.count_one = claim_never  # type: ignore[union-attr, method-assign]
        # As if the process had ended there: nothing of the call goes on.
        client._engine.reporter.take_back = lambda events: None  # type: ignore[method-assign]
        for user in ("mine", "theirs"):
            with pytest.raises(Killed):
                await client.track("checkout", user, "signup")
        await client.aclose(timeout_s=0.5)
        async with client_with(storage, transport=RecordingTransport()) as other:
            assert await other.track("checkout", "theirs", "signup")
        async with client_with(storage, outbox=path, transport=transport) as again:
            await again.flush_events()
            assert again.statistics().delivered == 1
            result = await again.track("checkout", "mine", "signup")
            assert reason_of(result) is Reason.ALREADY_TRACKED


@pytest.mark.parametrize("end", ["lost", "cancelled", "full"])
async def test_row_70_nothing_stays_in_the_outbox(
    redis_server: RedisServer, tmp_path: Path, end: str
) -> None:
    """What was kept before its claim, and then did not count, is taken out of the outbox again."""
    fill(redis_server, ["Ashley"])
    path = tmp_path / "outbox.db"
    async with RedisUserStorage.from_url(redis_server.url) as storage:
        if end == "lost":
            await storage.claim_goal("Ashley", "checkout", "signup")
        limits = Limits(max_bytes=1) if end == "full" else Limits()
        client = client_with(storage, outbox=path, limits=limits, storage_timeout_s=5)
        async with client:
            call = asyncio.ensure_future(client.track("checkout", "Ashley", "signup"))
            if end == "cancelled":
                redis_server.pause()
                await asyncio.sleep(0.2)
                call.cancel()
                await asyncio.wait([call])
                redis_server.resume()
            else:
                assert reason_of(await call) in (Reason.ALREADY_TRACKED, Reason.QUEUE_FULL)
        async with client_with(storage, outbox=path, storage_timeout_s=5) as again:
            await again.flush_events()
            assert again.statistics().accepted == 0
            result = await again.track("checkout", "Ashley", "signup")
            assert bool(result) is (end != "lost")


# Row 71


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_row_71_a_crowd_on_a_healthy_storage(redis_server: RedisServer) -> None:
    """Of 9,000 calls at once on a healthy Redis none is lost, although the loop is held for long by them."""
    users = [f"u{number}" for number in range(9000)]
    fill(redis_server, users)
    async with (
        RedisUserStorage.from_url(redis_server.url) as storage,
        client_with(storage, storage_timeout_s=1) as client,
    ):
        assert await track_all(client, users) == {Reason.TRACKED: 9000}
        assert client.statistics().storage_errors == 0
        await client.flush_events()
        assert client.statistics().delivered == 9000


@BOTH_PRODUCTS
async def test_row_71_a_pool_of_few_connections(redis_server: RedisServer) -> None:
    """Where the service's own client has no connection to spare, calls wait for one."""
    redis = Redis.from_url(redis_server.url, max_connections=2, **QUIET)
    async with redis, client_with(RedisUserStorage(redis), storage_timeout_s=10) as client:
        users = [f"u{number}" for number in range(600)]
        names = await asyncio.gather(*(client.activate("checkout", one) for one in users))
        assert names == [await client.get_variation_name("checkout", one) for one in users]
        assert client.statistics().storage_errors == 0


class Threads:
    """A storage of plain functions, as those of the official SDKs, that takes its time over each."""

    def __init__(
        self, delay_s: float, default: Callable[[str], Any] = lambda user_id: None
    ) -> None:
        self.rows: dict[tuple[str, str], Any] = {}
        self.delay_s = delay_s
        self.default = default

    def get(self, user_id: str, campaign_key: str) -> Any:
        time.sleep(self.delay_s)
        return self.rows.get((user_id, campaign_key), self.default(user_id))

    def set(self, data: Mapping[str, Any]) -> None:
        time.sleep(self.delay_s)
        self.rows[data["userId"], data["campaignKey"]] = data


async def test_row_71_too_many_for_the_threads() -> None:
    """Who was not asked in time is told so, and is not said not to have been activated; the next is asked."""
    storage = Threads(0.02, row)
    users = [f"u{number}" for number in range(1000)]
    async with client_with(storage) as client:
        watch = Stopwatch()
        results = await asyncio.gather(*(client.track("checkout", one, "signup") for one in users))
        watch.assert_below(TIMEOUT_S + 2 * SLACK_S)
        reasons = Counter(map(reason_of, results))
        assert reasons.keys() == {Reason.TRACKED, Reason.STORAGE_ERROR}
        late = [one for one in results if reason_of(one) is Reason.STORAGE_ERROR]
        expected = "user storage: not asked in time, with too many calls ahead"
        assert expected in {note for one in late for note in one.notes}
        # The storage is busy and not broken.
        assert await client.activate("checkout", "next") == "Variation-1"
        assert reason_of(await client.track("checkout", late_user(results, users), "signup")) is (
            Reason.TRACKED
        )


def late_user(results: Sequence[TrackResult], users: Sequence[str]) -> str:
    pairs = zip(users, results, strict=True)
    return next(user for user, one in pairs if reason_of(one) is Reason.STORAGE_ERROR)


async def test_row_71_one_time_out_blinds_nobody_else() -> None:
    """A storage that hangs for one user and answers the others is asked about the others."""

    class OneHangs(MemoryUserStorage):
        async def get(self, user_id: str, campaign_key: str) -> Any:
            await asyncio.sleep(3600 if user_id == "hanging" else 0.001)
            return row(user_id)

    async def others() -> None:
        while not hanging.done():
            assert await client.activate("checkout", uuid.uuid4().hex) == "Variation-1"

    async with client_with(OneHangs()) as client:
        hanging = asyncio.ensure_future(client.track("checkout", "hanging", "signup"))
        await others()
        assert reason_of(await hanging) is Reason.STORAGE_ERROR
        assert await client.activate("checkout", "Ashley") == "Variation-1"
        assert reason_of(await client.track("checkout", "Bill", "signup")) is Reason.TRACKED


async def test_row_71_a_loop_that_is_held() -> None:
    """While other code holds the loop, no answer can arrive, and no storage is blamed for it."""
    storage = Claiming([row()], delay_s=0.01)
    async with client_with(storage) as client:
        call = asyncio.ensure_future(client.track("checkout", "Ashley", "signup"))
        for _ in range(4):
            await asyncio.sleep(0)
            time.sleep(2 * TIMEOUT_S)  # noqa: ASYNC251 - as careless code of a service does
        assert reason_of(await call) is Reason.TRACKED
        assert client.statistics().storage_errors == 0


@pytest.mark.parametrize("policy", ["decide", "refuse"])
@pytest.mark.parametrize("fault", ["raises", "hangs"])
async def test_row_71_not_activated_is_said_of_who_was_looked_up(policy: str, fault: str) -> None:
    """Without an answer `track` says so, whatever the policy; with one it says what the answer means."""

    class Faulty(MemoryUserStorage):
        is_broken = True

        async def get(self, user_id: str, campaign_key: str) -> Any:
            if self.is_broken and fault == "raises":
                raise ConnectionError
            await asyncio.sleep(3600 if self.is_broken else 0)
            return None

    storage = Faulty()
    async with client_with(storage, on_storage_error=policy) as client:
        assert reason_of(await client.track("checkout", "Ashley", "signup")) is Reason.STORAGE_ERROR
        explanation = await client.explain("checkout", "Ashley", api="track")
        assert explanation.reason is Reason.STORAGE_ERROR
        storage.is_broken = False
        await asyncio.sleep(2 * TIMEOUT_S)
        assert reason_of(await client.track("checkout", "Ashley", "signup")) is Reason.NOT_ACTIVATED


# Row 72


class Switched:
    """A storage that does not answer for as long as it is switched off."""

    def __init__(self) -> None:
        self.is_on = asyncio.Event()
        self.is_on.set()
        self.asked = 0
        self.rows: dict[str, Any] = {"Ashley": row()}

    async def get(self, user_id: str, campaign_key: str) -> Any:
        self.asked += 1
        await self.is_on.wait()
        return self.rows.get(user_id)

    async def set(self, data: Mapping[str, Any]) -> None:
        await self.is_on.wait()
        self.rows[data["userId"]] = data


async def stall_and_heal(client: VWOClient, storage: Switched) -> None:
    assert await client.activate("checkout", "Ashley") == "Variation-1"
    storage.is_on.clear()
    assert await client.activate("checkout", "Ashley") == "Control"
    # None of these waits.
    watch = Stopwatch()
    for number in range(50):
        await client.activate("checkout", f"u{number}")
    watch.assert_below(TIMEOUT_S)
    await asyncio.sleep(3 * TIMEOUT_S)
    storage.is_on.set()
    # Nobody calls while it comes back, and the first who does is not shown another variation.
    await asyncio.sleep(2 * TIMEOUT_S)
    before = client.statistics().storage_errors
    assert await client.activate("checkout", "Ashley") == "Variation-1"
    result = await client.track("checkout", "Ashley", "signup")
    assert reason_of(result) is Reason.TRACKED and not result.notes
    assert client.statistics().storage_errors == before


async def test_row_72_a_stall_ends_by_itself() -> None:
    """A storage that answers again is asked again, also by the first call after some quiet."""
    storage = Switched()
    async with client_with(storage) as client:
        await stall_and_heal(client, storage)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are there from Python 3.12 on")
async def test_row_72_with_eager_tasks() -> None:
    """The same where tasks begin at once, and may have ended before whoever began them knows of them."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
    try:
        for _ in range(2):
            storage = Switched()
            async with client_with(storage) as client:
                await stall_and_heal(client, storage)
    finally:
        loop.set_task_factory(None)


async def test_row_72_redis_that_goes_on(redis_server: RedisServer) -> None:
    """A Redis that was stopped and goes on has its say from then on."""
    fill(redis_server, ["Ashley"])
    async with (
        RedisUserStorage.from_url(redis_server.url) as storage,
        client_with(storage) as client,
    ):
        assert await client.activate("checkout", "Ashley") == "Variation-1"
        redis_server.pause()
        assert await client.activate("checkout", "Ashley") == "Control"
        await asyncio.sleep(1)
        redis_server.resume()
        await asyncio.sleep(2 * TIMEOUT_S)
        assert await client.activate("checkout", "Ashley") == "Variation-1"
        result = await client.track("checkout", "Ashley", "signup")
        assert reason_of(result) is Reason.TRACKED and not result.notes


@pytest.mark.parametrize("is_psycopg", [False, True], ids=["asyncpg", "psycopg"])
async def test_row_72_a_connection_that_hangs_while_it_is_set_up(
    own_postgres: PostgresServer, *, is_psycopg: bool
) -> None:
    """What SQLAlchemy asks a new connection has no answer: it is given up, and holds up no other for good."""
    user = uuid.uuid4().hex
    await fill_server(own_postgres, [user])
    url = urlsplit(own_postgres.url)
    async with slow_path(url.port or 5432, b"version()", 60) as (path, own_port):
        relayed = url._replace(netloc=url.netloc.replace(f":{url.port}", f":{own_port}")).geturl()
        path.is_due = True
        async with (
            SqlUserStorage.from_url(psycopg_url(relayed) if is_psycopg else relayed) as storage,
            client_with(storage) as client,
        ):
            assert reason_of(await client.track("checkout", user, "signup")) is Reason.STORAGE_ERROR
            assert not path.is_due

            async def is_counted() -> bool:
                result = await client.track("checkout", user, "signup")
                return reason_of(result) is Reason.TRACKED

            await until(is_counted, timeout_s=15)


async def test_row_72_a_stall_of_writes_alone() -> None:
    """A storage that reads and does not write is read; its writes are tried again after a while."""

    class ReadOnly(Claiming):
        is_stuck = True

        async def claim_goal(self, *conversion: str) -> bool:
            await self.write()
            return await super().claim_goal(*conversion)

        async def set(self, data: Mapping[str, Any]) -> None:
            await self.write()
            await super().set(data)

        async def write(self) -> None:
            if self.is_stuck:
                await asyncio.sleep(3600)

    storage = ReadOnly([row(f"u{number}") for number in range(20)])
    async with client_with(storage) as client:
        assert (await client.track("checkout", "u0", "signup")).notes
        watch = Stopwatch()
        for number in range(1, 10):
            result = await client.track("checkout", f"u{number}", "signup")
            assert result["checkout"].variation_name == "Variation-1"
        watch.assert_below(TIMEOUT_S)
        storage.is_stuck = False
        await asyncio.sleep(1.5)
        result = await client.track("checkout", "u10", "signup")
        assert reason_of(result) is Reason.TRACKED and not result.notes


# Row 73


@pytest.mark.parametrize("api", ["activate", "track", "is_feature_enabled"])
async def test_row_73_one_limit_for_the_whole_call(api: str) -> None:
    """Reading, waiting for others, claiming and marking take no longer together than the time-out."""
    storage = Claiming([row()], delay_s=0.9 * TIMEOUT_S)
    async with client_with(storage) as client:
        took: list[float] = []

        async def call(user: str) -> None:
            watch = Stopwatch()
            if api == "track":
                await client.track("checkout", user, "signup")
            elif api == "activate":
                await client.activate("checkout", user)
            else:
                await client.is_feature_enabled("search", user)
            took.append(watch.read_s())

        await call("Ashley")
        await asyncio.gather(*(call("Ashley") for _ in range(5)), *map(call, "abc"))
        assert_below(max(took), 2 * TIMEOUT_S)


async def test_row_73_late_in_the_line_counts_nothing() -> None:
    """Who had no turn in time does not count a conversion that another may be counting."""
    storage = Claiming([row()], delay_s=0.9 * TIMEOUT_S)
    async with client_with(storage) as client:
        calls = [client.track("checkout", "Ashley", "signup") for _ in range(20)]
        reasons = Counter(map(reason_of, await asyncio.gather(*calls)))
        assert reasons[Reason.TRACKED] == 1
        assert reasons[Reason.TRACKED] + reasons[Reason.STORAGE_ERROR] == 20
        await client.flush_events()
        assert client.statistics().delivered == 1


@pytest.mark.timed
async def test_row_73_a_crowd_does_not_lengthen_the_limit() -> None:
    """Nor does a storage that hangs cost more while many calls that it has answered wait for their turn."""

    class Hanging(MemoryUserStorage):
        async def get(self, user_id: str, campaign_key: str) -> Any:
            await asyncio.sleep(3600)

    access = StorageAccess(Hanging(), 0.1, is_crowded=lambda: True)
    notes: list[str] = []
    watch = Stopwatch()
    await access.read("Ashley", ["checkout"], notes, access.find_deadline())
    watch.assert_below(0.5)
    assert notes == ["user storage: get timed out"]
    await access.aclose(0.1)


async def test_row_73_others_wait_by_the_clock_after_one_raised() -> None:
    """What ends the process comes through a timer; where the loop goes on, so do all limits."""
    loop, clock, called = asyncio.get_running_loop(), LoopClock(0.01), asyncio.Event()
    raised: list[BaseException | None] = []
    loop.set_exception_handler(lambda _, context: raised.append(context.get("exception")))

    def fail() -> None:
        raise LookupError

    # The last of a tick is called first.
    for callback in (called.set, fail):
        clock.call_at(0.03, callback)
    clock.call_at(0.05, fail)
    await asyncio.wait_for(called.wait(), 5)
    late = asyncio.Event()
    clock.call_at(clock.now + 0.05, late.set)
    await asyncio.wait_for(late.wait(), 5)
    loop.set_exception_handler(None)
    assert [type(one) for one in raised] == [LookupError] * 2


# Row 35


@pytest.mark.parametrize("has_master", [True, False])
@pytest.mark.parametrize("binary", BINARIES)
@BOTH_PRODUCTS
async def test_row_35_redis_that_becomes_a_replica(
    binary: Path | None, has_master: bool, tmp_path: Path
) -> None:
    """After a failover the name leads to another server; the old one keeps its connections, and takes no writes."""
    with (
        running_redis(tmp_path / "redis", binary=binary) as redis_server,
        running_redis(tmp_path / "other", binary=binary) as other,
    ):
        async with (
            slow_path(redis_server.port) as (path, own_port),
            RedisUserStorage.from_url(f"redis://127.0.0.1:{own_port}") as storage,
            client_with(storage) as client,
        ):
            for _ in range(3):
                await client.activate("checkout", uuid.uuid4().hex)
            assert client.statistics().storage_errors == 0
            path.port = other.port
            # Where it does not reach its master, this one does not even read.
            redis_server.command("CONFIG", "SET", "replica-serve-stale-data", "no")
            master = other.port if has_master else find_free_port()
            redis_server.command("REPLICAOF", "127.0.0.1", master)

            async def is_written() -> bool:
                user = uuid.uuid4().hex
                await client.activate("checkout", user)
                return bool(other.command("EXISTS", f"vwo:8:checkout:{user}"))

            await until(is_written)
            assert client.statistics().storage_errors > 0


# Row 74


@asynccontextmanager
async def engine_of(url: str, **options: Any) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url, **options)
    try:
        yield engine
    finally:
        await engine.dispose()


def psycopg_url(url: str) -> str:
    pytest.importorskip("psycopg")
    return url.replace("asyncpg", "psycopg").replace("ssl=", "sslmode=")


async def assert_counts_once(storage: SqlUserStorage) -> None:
    """Assert that a conversion is counted by the first who claims it, and again after it was released."""
    await storage.create_tables()
    user = uuid.uuid4().hex
    assert await storage.claim_goal(user, "c", "g") is True
    assert await storage.claim_goal(user, "c", "g") is False
    await storage.release_goal(user, "c", "g")
    async with client_with(storage, storage_timeout_s=5) as client:
        assert await client.activate("checkout", user) is not None
        first = await client.track("checkout", user, "signup")
        assert reason_of(first) is Reason.TRACKED and not first.notes
        again = await client.track("checkout", user, "signup")
        assert reason_of(again) is Reason.ALREADY_TRACKED
    assert await storage.purge(1e9) == 0


@pytest.mark.parametrize("is_own", [True, False])
async def test_row_74_psycopg(postgres_url: str, is_own: bool) -> None:
    """On psycopg a conversion is counted once and not never: the statement's answer says whose it is."""
    url = psycopg_url(postgres_url)
    if is_own:
        async with SqlUserStorage.from_url(url) as storage:
            await assert_counts_once(storage)
    else:
        async with engine_of(url) as engine, SqlUserStorage(engine) as storage:
            await assert_counts_once(storage)


# As SQLAlchemy's documentation says for PgBouncer.
FOR_PGBOUNCER: dict[str, Any] = {
    "poolclass": NullPool,
    "connect_args": {
        "statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"__asyncpg_{uuid.uuid4()}__",
    },
}


async def call_through_pooler(storage: SqlUserStorage) -> None:
    """Make 200 calls of each kind, 20 at a time, and find that every one has its answer."""
    names = [uuid.uuid4().hex for _ in range(200)]
    turns = asyncio.Semaphore(20)

    async def call(name: str) -> None:
        async with turns:
            await storage.set(row(name))
            assert await storage.get(name, "checkout") == row(name)
            assert await storage.claim_goal(name, "checkout", "signup") is True
            assert await storage.claim_goal(name, "checkout", "signup") is False
            await storage.release_goal(name, "checkout", "signup")

    await asyncio.gather(*map(call, names))
    async with client_with(storage, storage_timeout_s=20) as client:
        assert await track_all(client, names) == {Reason.TRACKED: 200}
        assert await track_all(client, names) == {Reason.ALREADY_TRACKED: 200}
        assert client.statistics().storage_errors == 0


@pytest.mark.parametrize(
    "kind", ["asyncpg", "psycopg", "asyncpg of the caller", "asyncpg of the caller with a pool"]
)
async def test_row_74_a_pooler_in_transaction_mode(own_postgres: PostgresServer, kind: str) -> None:
    """Where each transaction has another connection, as behind PgBouncer, every call succeeds."""
    async with pooling(own_postgres.port) as (port, pooler):
        url = own_postgres.url.replace(str(own_postgres.port), str(port))
        if kind == "psycopg":
            url = psycopg_url(url)
        if "caller" in kind:
            options = dict(FOR_PGBOUNCER)
            if "with a pool" in kind:
                del options["poolclass"]
            async with engine_of(url, **options) as engine, SqlUserStorage(engine) as storage:
                await storage.create_tables()
                await call_through_pooler(storage)
        else:
            async with SqlUserStorage.from_url(url) as storage:
                await storage.create_tables()
                await call_through_pooler(storage)
        assert pooler.transactions > 1000


PROVIDERS = [
    "{base}?sslmode=disable&channel_binding=prefer",
    "{base}?sslmode=disable&application_name=shop",
    "{base}?ssl=disable&connect_timeout=10",
    "{base}?sslmode=disable&options=-c%20statement_timeout%3D5000",
    "{base}?sslmode=disable&pgbouncer=true&connect_timeout=15",
    "{base}?sslmode=disable&target_session_attrs=read-write&keepalives=1&keepalives_idle=30",
    "{base}?sslmode=disable&client_encoding=utf8&gssencmode=disable",
    "{base}?sslmode=disable&search_path=public&fallback_application_name=x",
]


@pytest.mark.parametrize("driver", ["postgres", "postgresql", "postgresql+psycopg"])
@pytest.mark.parametrize("query", PROVIDERS)
async def test_row_74_urls_of_providers(postgres_url: str, query: str, driver: str) -> None:
    """The parameters that come with the URLs of hosted databases work."""
    if driver.endswith("psycopg"):
        pytest.importorskip("psycopg")
        if "search_path" in query:
            query = query.replace("search_path=public&", "")
    base = postgres_url.partition("?")[0].replace("postgresql+asyncpg", driver)
    async with SqlUserStorage.from_url(query.format(base=base)) as storage:
        await storage.create_tables()
        user = uuid.uuid4().hex
        await storage.set(row(user))
        assert await storage.get(user, "checkout") == row(user)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://u:hunter2@host/d?channel_binding=require", "channel_binding"),
        ("postgresql://u:hunter2@host/d?sslmod=require", "sslmod"),
        ("postgresql://u:hunter2@host/d?connect_timeout=soon", "connect_timeout"),
        ("postgresql://u:hunter2@host/d?client_encoding=latin1", "client_encoding"),
        ("postgres://u:hunter2@host/d?schema=shop", "schema"),
        ("postgresql+psycopg://u:hunter2@host/d?schema=shop", "schema"),
    ],
)
def test_row_74_urls_that_are_refused(url: str, named: str) -> None:
    """A parameter that cannot be heeded is named at once, and nothing of its value is."""
    if "psycopg" in url:
        pytest.importorskip("psycopg")
    with pytest.raises(InvalidInputError, match=named) as caught:
        SqlUserStorage.from_url(url)
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in shown and "host" not in shown and "latin1" not in shown


# Row 75


STORAGES: dict[str, Callable[[], Any]] = {
    "memory": MemoryUserStorage,
    "one's own": Claiming,
    "threads": lambda: Threads(0),
}


@asynccontextmanager
async def any_storage(
    kind: str, request: pytest.FixtureRequest, folder: Path
) -> AsyncIterator[Any]:
    if kind in STORAGES:
        yield STORAGES[kind]()
    elif kind == "redis":
        server = request.getfixturevalue("redis_server")
        async with RedisUserStorage.from_url(server.url) as redis:
            yield redis
    else:
        url = request.getfixturevalue("postgres_url")
        if kind == "sqlite":
            url = f"sqlite:///{folder / 'vwo.db'}"
        async with SqlUserStorage.from_url(url) as sql:
            await sql.create_tables()
            yield sql


@pytest.fixture(params=[*STORAGES, "redis", "sqlite", "postgres"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """A storage of each kind."""
    async with any_storage(request.param, request, tmp_path) as one:
        yield one


async def read(storage: Any, user: str) -> Any:
    """Return the record, less its goals."""
    found = storage.get(user, "checkout")
    found = await found if asyncio.iscoroutine(found) else found
    return {key: value for key, value in found.items() if key != "goalIdentifier"}


async def test_row_75_meta_data_is_kept(storage: Any) -> None:
    """What was stored with an activation is there after conversions, until a call gives something new."""
    user = uuid.uuid4().hex
    async with client_with(storage, storage_timeout_s=5) as client:
        assert await client.activate("checkout", user, meta_data={"plan": "pro"})
        first = await read(storage, user)
        assert first["metaData"] == {"plan": "pro"}
        assert await client.track("checkout", user, "signup")
        assert await client.track("checkout", user, "often")
        assert await read(storage, user) == first
        assert await client.track(
            "checkout", user, "purchase", revenue_value=5, meta_data={"plan": "free"}
        )
        assert await read(storage, user) == {**first, "metaData": {"plan": "free"}}
        for goal in ("signup", "purchase"):
            again = await client.track("checkout", user, goal, revenue_value=5)
            assert reason_of(again) is Reason.ALREADY_TRACKED


@pytest.mark.parametrize("kind", ["memory", "one's own", "threads", "redis"])
async def test_row_75_unknown_fields_are_kept(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Fields that other software keeps in a record are there after conversions, and after one is undone."""
    user = uuid.uuid4().hex
    known = row(user, seenAt="2026-01-01", metaData={"plan": "pro"}, nested={"a": [1, None]})
    async with any_storage(kind, request, tmp_path) as storage:
        written = storage.set(known)
        if asyncio.iscoroutine(written):
            await written
        nowhere = f"http://127.0.0.1:{find_free_port()}"
        client = make_client(
            settings(), user_storage=storage, base_url=nowhere, storage_timeout_s=5
        )
        async with client:
            assert await client.track("checkout", user, "signup")
            assert await read(storage, user) == known
            assert await client.track("checkout", user, "often", meta_data={"plan": "free"})
            assert await read(storage, user) == {**known, "metaData": {"plan": "free"}}
            await client.aclose(timeout_s=0.5)
        assert await read(storage, user) == {**known, "metaData": {"plan": "free"}}


@BOTH_PRODUCTS
async def test_row_75_a_record_that_was_not_read_is_not_written_over(
    redis_server: RedisServer,
) -> None:
    """Where reading fails and writing would not, as with another type of value, what is there stays."""
    storage = Claiming([row(goalIdentifier="signup", metaData={"plan": "pro"})])
    before = storage.rows["Ashley", "checkout"]

    async def fail(user_id: str, campaign_key: str) -> Any:
        raise ConnectionError

    storage.get = fail  # type: ignore[method-assign]
    async with client_with(storage) as client:
        assert await client.activate("checkout", "Ashley") == "Control"
    assert storage.rows["Ashley", "checkout"] is before


# Row 76


async def test_row_76_errors_say_what_failed(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Notes and log say what failed, in the storage's own safe words, and nothing of the user."""
    async with (
        RedisUserStorage.from_url(redis_server.url) as storage,
        client_with(storage) as client,
    ):
        with SyncRedis.from_url(redis_server.url) as redis:
            redis.set("vwo:8:checkout:Ashley", "of another type")
        result = await client.track("checkout", "Ashley", "signup")
        expected = "user storage: get raised StorageError (redis: ResponseError WRONGTYPE)"
        assert result.notes == (expected,)
        assert expected in caplog.text
        redis_server.kill()
        result = await client.track("checkout", "Bill", "signup")
        assert result.notes == ("user storage: get raised StorageError (redis: ConnectionError)",)
    assert "Ashley" not in caplog.text and "Bill" not in caplog.text


async def test_row_76_foreign_errors_are_named_by_their_kind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of an error that is not the package's own, the kind alone is said: its text may hold anything."""

    class Failing(Claiming):
        async def claim_goal(self, *conversion: str) -> bool:
            raise LookupError(*conversion)

    caplog.set_level(logging.DEBUG, "vwo_async")
    async with client_with(Failing([row()])) as client:
        result = await client.track("checkout", "Ashley", "signup")
        assert result.notes == ("user storage: claim_goal raised LookupError",)
    assert "claim_goal raised LookupError" in caplog.text
    assert "Ashley" not in caplog.text


async def test_row_76_an_error_of_sql(tmp_path: Path) -> None:
    """The SQL storage says kind and code."""
    async with (
        SqlUserStorage.from_url(f"sqlite:///{tmp_path / 'vwo.db'}") as storage,
        client_with(storage, storage_timeout_s=5) as client,
    ):
        result = await client.track("checkout", "Ashley", "signup")
        assert result.notes == (
            "user storage: get raised StorageError (sql: OperationalError SQLITE_ERROR)",
        )


# What a storage raises is its own failure (row 68), and rounds


@pytest.mark.parametrize("method", ["get", "set", "claim_goal"])
async def test_row_68_a_storage_that_raises_cancelled_error(method: str) -> None:
    """A storage's inner CancelledError fails that call of the storage; nobody was cancelled."""

    async def cancelled(*arguments: object) -> Any:
        raise asyncio.CancelledError

    storage = Claiming([row()])
    setattr(storage, method, cancelled)
    async with client_with(storage) as client:
        for _ in range(3):
            result = await client.track("checkout", "Ashley", "often")
            await client.track("checkout", "Ashley", "signup")
            assert await client.activate("checkout", "Bill") is not None
        expected = Reason.STORAGE_ERROR if method == "get" else Reason.TRACKED
        assert reason_of(result) is expected
        assert client.statistics().storage_errors >= 1


class OddError(BaseException):
    """What is no `Exception`."""


@pytest.mark.parametrize("error", [OddError, GeneratorExit])
@pytest.mark.parametrize("is_plain", [False, True], ids=["async", "plain"])
async def test_row_68_a_storage_that_raises_no_exception(
    is_plain: bool, error: type[BaseException]
) -> None:
    """What is no `Exception` fails that one call of a storage, which does not count as silent."""

    class Plain:
        def get(self, user_id: str, campaign_key: str) -> Any:
            if user_id == "bad":
                raise error
            return None

        def set(self, record: Any) -> None:
            pass

    class Async:
        async def get(self, user_id: str, campaign_key: str) -> Any:
            return Plain().get(user_id, campaign_key)

        async def set(self, record: Any) -> None:
            pass

    storage: Any = Plain() if is_plain else Async()
    async with client_with(storage, storage_timeout_s=5) as client:
        watch = Stopwatch()
        failed = await client.track("checkout", "bad", "signup")
        assert failed.notes == (f"user storage: get raised {error.__name__}",)
        assert not (await client.track("checkout", "good", "signup")).notes
        watch.assert_below(2)


def open_storage(server: Any) -> Any:
    """Return a storage on *server*, a Redis or a PostgreSQL one."""
    kind = RedisUserStorage if isinstance(server, RedisServer) else SqlUserStorage
    return kind.from_url(server.url)


@pytest.fixture(params=["redis_server", "own_postgres"])
def storage_server(request: pytest.FixtureRequest) -> Any:
    """A server that a test may kill."""
    return request.getfixturevalue(request.param)


async def fill_server(server: Any, users: Sequence[str]) -> None:
    """Store records of *users*."""
    async with open_storage(server) as storage:
        if isinstance(storage, SqlUserStorage):
            await storage.create_tables()
        for start in range(0, len(users), 100):
            await storage.run_round([AssignVariation(row(one)) for one in users[start:][:100]])


async def test_row_86_a_server_that_dies_in_the_middle_of_a_round(storage_server: Any) -> None:
    """Each caller has his own outcome, and in the end no conversion is counted twice or lost."""
    # The server is that of several tests.
    users = [f"dies {number}" for number in range(600)]
    await fill_server(storage_server, users)
    counted: Counter[str] = Counter()
    transport = RecordingTransport()

    async def track(user: str) -> None:
        await asyncio.sleep(random.uniform(0, 0.4))
        while True:
            result = await client.track("checkout", user, "signup")
            reason = reason_of(result)
            if reason is not Reason.STORAGE_ERROR:
                counted[user] += reason is Reason.TRACKED
                return
            await asyncio.sleep(0.05)

    async with open_storage(storage_server) as storage:
        client = client_with(storage, on_storage_error="refuse", transport=transport)
        async with client:
            calls = asyncio.gather(*(track(user) for user in users for _ in range(2)))
            for _ in range(3):
                await asyncio.sleep(0.1)
                storage_server.kill()
                await asyncio.sleep(0.05)
                await asyncio.to_thread(storage_server.start)
            await calls
            await client.flush_events()
            assert client.statistics().storage_errors > 0
            assert client.statistics().delivered == len(users)
    assert counted == dict.fromkeys(users, 1)


CLAIM = """
INSERT INTO vwo_claim (user_hash, campaign_hash, goal_hash, user_id, campaign_key, goal_identifier)
VALUES (sha256(convert_to(:user_id, 'UTF8')), sha256('checkout'), sha256('signup'),
    :user_id, 'checkout', 'signup')"""


@pytest.mark.parametrize("is_psycopg", [False, True], ids=["asyncpg", "psycopg"])
@pytest.mark.parametrize("held_s", [0.3, 4.0])
async def test_row_86_a_claim_that_is_made_after_its_time_out(
    own_postgres: PostgresServer, held_s: float, is_psycopg: bool
) -> None:
    """It is taken back once it is made, and not before, or is not made: then the conversion can be counted."""
    user = uuid.uuid4().hex
    await fill_server(own_postgres, [user])
    options: dict[str, Any] = {"storage_timeout_s": 0.3, "on_storage_error": "refuse"}
    url = own_postgres.url
    if is_psycopg:
        url = psycopg_url(url)
    async with (
        SqlUserStorage.from_url(url) as storage,
        client_with(storage, **options) as client,
        engine_of(own_postgres.url) as engine,
        engine.connect() as connection,
    ):
        assert await client.activate("checkout", user)
        # Another's claim that is neither made nor given up keeps this one waiting.
        await connection.execute(text(CLAIM), {"user_id": user})
        result = await client.track("checkout", user, "signup")
        assert reason_of(result) is Reason.STORAGE_ERROR
        # The claim waits on, and a withdrawal would find nothing yet.
        await asyncio.sleep(held_s)
        await connection.rollback()
        await asyncio.sleep(0.2)
        for _ in range(40):
            await asyncio.sleep(0.1)
            result = await client.track("checkout", user, "signup")
            if reason_of(result) is not Reason.STORAGE_ERROR:
                break
        assert reason_of(result) is Reason.TRACKED


@pytest.mark.parametrize("end", ["refused", "cancelled"])
async def test_row_86_a_claim_that_arrives_after_its_withdrawal(
    redis_server: RedisServer, end: str
) -> None:
    """A claim whose connection is slow, and closed by now, is not made once it was taken back."""
    options: dict[str, Any] = {"on_storage_error": "refuse"} if end == "refused" else {}
    port = urlsplit(redis_server.url).port or 0
    async with (
        slow_path(port, b"count", 1.0) as (path, own_port),
        RedisUserStorage.from_url(f"redis://127.0.0.1:{own_port}") as storage,
        client_with(storage, **options) as client,
    ):
        for user in ("u1", "u2"):
            assert await client.activate("checkout", user)
        # The server knows the script.
        assert await client.track("checkout", "u2", "signup")
        path.is_due = True
        call = asyncio.ensure_future(client.track("checkout", "u1", "signup"))
        if end == "cancelled":
            await asyncio.sleep(0.1)
            call.cancel()
            await asyncio.wait([call])
        else:
            assert reason_of(await call) is Reason.STORAGE_ERROR
        await asyncio.sleep(1.5)
        result = await client.track("checkout", "u1", "signup")
        assert reason_of(result) is Reason.TRACKED
        assert await client.flush_events()
        assert client.statistics().delivered == 4


@pytest.mark.parametrize("end", ["refused", "cancelled"])
@pytest.mark.parametrize("is_psycopg", [False, True], ids=["asyncpg", "psycopg"])
async def test_row_86_a_claim_that_arrives_at_postgresql_after_its_withdrawal(
    own_postgres: PostgresServer, end: str, *, is_psycopg: bool
) -> None:
    """The same, where the server has the request only after its connection was given up and cut."""
    user = uuid.uuid4().hex
    await fill_server(own_postgres, [user])
    options: dict[str, Any] = {"on_storage_error": "refuse"} if end == "refused" else {}
    url = urlsplit(own_postgres.url)
    async with slow_path(url.port or 5432, user.encode(), 3.0) as (path, own_port):
        relayed = url._replace(netloc=url.netloc.replace(f":{url.port}", f":{own_port}")).geturl()
        async with (
            SqlUserStorage.from_url(psycopg_url(relayed) if is_psycopg else relayed) as storage,
            client_with(storage, **options) as client,
        ):
            assert await client.activate("checkout", user)
            path.is_due = True
            call = asyncio.ensure_future(client.track("checkout", user, "signup"))
            if end == "cancelled":
                await asyncio.sleep(0.1)
                call.cancel()
                await asyncio.wait([call])
            else:
                assert reason_of(await call) is Reason.STORAGE_ERROR
            assert not path.is_due
            await asyncio.sleep(4)
            result = await client.track("checkout", user, "signup")
            assert reason_of(result) is Reason.TRACKED
            result = await client.track("checkout", user, "signup")
            assert reason_of(result) is Reason.ALREADY_TRACKED


@pytest.mark.parametrize("end", ["refused", "cancelled"])
@pytest.mark.parametrize("is_psycopg", [False, True], ids=["asyncpg", "psycopg"])
async def test_row_86_a_claim_whose_connection_is_cut_while_it_is_made(
    own_postgres: PostgresServer, end: str, *, is_psycopg: bool
) -> None:
    """PostgreSQL goes on with it, unseen until it is made: it is taken back then, and can be counted."""
    user = uuid.uuid4().hex
    await fill_server(own_postgres, [user])
    options: dict[str, Any] = {"on_storage_error": "refuse"} if end == "refused" else {}
    url = urlsplit(own_postgres.url)
    async with slow_path(url.port or 5432) as (path, own_port):
        relayed = url._replace(netloc=url.netloc.replace(f":{url.port}", f":{own_port}")).geturl()
        async with (
            SqlUserStorage.from_url(psycopg_url(relayed) if is_psycopg else relayed) as storage,
            client_with(storage, storage_timeout_s=1, **options) as client,
            engine_of(own_postgres.url) as engine,
            engine.connect() as connection,
        ):
            await connection.execute(text(LOCK), {"user_id": user})
            call = asyncio.ensure_future(client.track("checkout", user, "signup"))
            await until_blocked(own_postgres)
            if end == "cancelled":
                call.cancel()
            path.cut()
            await asyncio.wait([call])
            assert call.cancelled() or reason_of(call.result()) is Reason.STORAGE_ERROR
            # A withdrawal has come by now, and found nothing.
            await asyncio.sleep(0.2)
            await connection.rollback()

            async def is_counted() -> bool:
                result = await client.track("checkout", user, "signup")
                assert reason_of(result) is not Reason.ALREADY_TRACKED
                return reason_of(result) is Reason.TRACKED

            await until(is_counted)
            assert client.statistics().accepted == 1


LOCK = "SELECT 1 FROM vwo_user WHERE user_id = :user_id FOR UPDATE"


async def until_blocked(server: PostgresServer) -> None:
    """Wait until a statement waits for a lock."""
    async with engine_of(server.url) as engine, engine.connect() as connection:

        async def is_blocked() -> bool:
            found = await connection.execute(
                text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            )
            return bool(found.scalar())

        await until(is_blocked)


async def test_row_86_several_claims_that_end_at_the_same_time() -> None:
    """Claims of one conversion that timed out, and are made in the same turn of the loop, are taken back."""

    class Late(MemoryUserStorage):
        is_late = False

        def __init__(self) -> None:
            super().__init__()
            self.goes_on = asyncio.Event()
            self.left: list[asyncio.Task[Any]] = []

        async def run_round(self, requests: Sequence[Any]) -> list[Any]:
            if self.is_late and any(isinstance(one, CountConversion) for one in requests):
                await self.goes_on.wait()
            return [self.answer(one) for one in requests]

        run_uncancelled = run_round

        def abandon(self, task: asyncio.Task[Any]) -> None:
            self.left.append(task)

    storage = Late()
    async with client_with(storage, on_storage_error="refuse", storage_timeout_s=0.1) as client:
        assert await client.activate("checkout", "u1")
        storage.is_late = True
        for _ in range(2):
            assert reason_of(await client.track("checkout", "u1", "signup")) is Reason.STORAGE_ERROR
            # By now the writes count as silent, and each call is to be one that asks all the same.
            client._engine.storage._writes.health.answered()  # type: ignore[union-attr]
        await until(lambda: len(storage.left) == 2)
        storage.goes_on.set()

        async def is_counted() -> bool:
            return reason_of(await client.track("checkout", "u1", "signup")) is Reason.TRACKED

        await until(is_counted)


class Busy(MemoryUserStorage):
    """A storage that does one thing at a time, and takes as long for each request.

    Attributes:
        request_s: How long.
        most: How many requests it was asked together or side by side at most.
    """

    def __init__(self, users: Iterable[str], request_s: float) -> None:
        super().__init__([row(one) for one in users])
        self.request_s = request_s
        self.most = self._asked = 0
        self._turn = asyncio.Lock()

    async def run_round(self, requests: Sequence[Any]) -> list[Any]:
        async with self.working(len(requests)):
            return [self.answer(one) for one in requests]

    @asynccontextmanager
    async def working(self, number: int = 1) -> AsyncIterator[None]:
        self._asked += number
        self.most = max(self.most, self._asked)
        try:
            async with self._turn:
                await asyncio.sleep(self.request_s * number)
                yield
        finally:
            self._asked -= number


class BusyByMethods(Busy):
    """The same without rounds."""

    async def get(self, user_id: str, campaign_key: str) -> Any:
        async with self.working():
            return await super().get(user_id, campaign_key)

    async def set(self, data: Any) -> None:
        async with self.working():
            await super().set(data)

    async def claim_goal(self, *conversion: str) -> bool:
        async with self.working():
            return await super().claim_goal(*conversion)

    async def release_goal(self, *conversion: str) -> None:
        async with self.working():
            await super().release_goal(*conversion)


@pytest.mark.parametrize("kind", [Busy, BusyByMethods])
@in_virtual_time
async def test_row_71_a_storage_that_has_become_slow(kind: type[Busy]) -> None:
    """Where what it is asked at a time is not answered in time, less is, and all is counted in the end."""
    users = [f"slow {number}" for number in range(200)]
    # For each caller two requests or three: those of all together take longer than each of them waits.
    storage = kind(users, 0.002)

    async def track(user: str) -> Reason:
        while True:
            reason = reason_of(await client.track("checkout", user, "signup"))
            if reason is not Reason.STORAGE_ERROR:
                return reason
            await asyncio.sleep(0.05)

    async with client_with(storage, on_storage_error="refuse") as client:
        reasons = await asyncio.wait_for(asyncio.gather(*map(track, users)), 60)
        assert set(reasons) == {Reason.TRACKED}
        storage.request_s = storage.most = 0
        await asyncio.gather(*(client.activate("checkout", f"q{number}") for number in range(1000)))
        # Once it is quick again, it is asked more at a time.
        assert storage.most >= 64


class HangingForSome(MemoryUserStorage):
    """A storage of which one part of three does not answer, as where one server of a cluster hangs."""

    async def get(self, user_id: str, campaign_key: str) -> Any:
        if user_id.startswith("hangs"):
            await asyncio.Event().wait()
        await asyncio.sleep(0.002)
        return await super().get(user_id, campaign_key)


@in_virtual_time
async def test_row_71_a_part_of_the_storage_that_hangs() -> None:
    """Those of whom it does answer are not held up by the others, however many these are."""
    async with client_with(HangingForSome(), on_storage_error="refuse") as client:

        async def activate(user: str) -> bool:
            return bool(await client.activate("checkout", user))

        calls: dict[str, list[asyncio.Task[bool]]] = {"hangs": [], "goes": []}
        for number in range(300):
            for kind in ("hangs", "goes", "goes"):
                user = f"{kind} {number} {len(calls[kind])}"
                calls[kind].append(asyncio.create_task(activate(user)))
            await asyncio.sleep(0.003)
        assert not any(await asyncio.gather(*calls["hangs"]))
        assert all(await asyncio.gather(*calls["goes"]))


class Mute(MemoryUserStorage):
    """A storage that reads, and says nothing to claims as long as it is mute.

    Attributes:
        withdrawn: The users whose conversions it was asked to take back.
    """

    def __init__(self, users: Iterable[str]) -> None:
        super().__init__([row(one) for one in users])
        self.is_mute = True
        self.withdrawn: list[str] = []

    async def run_round(self, requests: Sequence[Any]) -> list[Any]:
        if self.is_mute and not isinstance(requests[0], ReadRecord):
            await asyncio.Event().wait()
        self.withdrawn += [one.user_id for one in requests if isinstance(one, WithdrawConversion)]
        return [self.answer(one) for one in requests]


@pytest.mark.parametrize("is_quick", [True, False])
async def test_row_86_a_claim_that_was_not_asked_for(*, is_quick: bool) -> None:
    """It is not taken back: a storage that is in trouble has no work with callers whom it was not asked for."""
    users = [f"u{number}" for number in range(20)]
    storage = Mute(users)
    options: dict[str, Any] = {} if is_quick else {"custom_variables": {"a": 1}}
    async with client_with(storage, on_storage_error="refuse", storage_timeout_s=0.1) as client:

        async def track(user: str) -> Reason:
            return reason_of(await client.track("checkout", user, "signup", **options))

        assert await track("u0") is Reason.STORAGE_ERROR
        for _ in range(3):
            assert {await track(one) for one in users} == {Reason.STORAGE_ERROR}
        storage.is_mute = False

        async def is_counted() -> bool:
            return await track("u0") is Reason.TRACKED

        await until(is_counted)
        assert [await track(one) for one in users[1:]] == [Reason.TRACKED] * 19
        assert set(storage.withdrawn) == {"u0"}


class SlowToRefuse(MemoryUserStorage):
    """A storage by methods that keeps no mark, and takes its time.

    Attributes:
        slow_s: How long it reads.
    """

    slow_s = 0.0

    async def get(self, *key: str) -> Any:
        await asyncio.sleep(self.slow_s)
        return await super().get(*key)

    async def set(self, _data: Any) -> None:
        raise OSError

    async def claim_goal(self, *conversion: str) -> bool:
        is_first = await super().claim_goal(*conversion)
        await asyncio.sleep(1.5 * self.slow_s)
        return is_first


@in_virtual_time
async def test_row_86_a_claim_that_fails_after_its_time_out() -> None:
    """It is not taken back: what there is was claimed by another, whose conversion is counted."""
    storage = SlowToRefuse([row()])
    async with client_with(storage, on_storage_error="refuse", storage_timeout_s=0.3) as client:

        async def track() -> Reason:
            return reason_of(await client.track("checkout", "Ashley", "signup"))

        assert await track() is Reason.TRACKED
        storage.slow_s = 0.15
        assert await track() is Reason.STORAGE_ERROR
        storage.slow_s = 0
        await asyncio.sleep(0.5)
        assert await track() is Reason.ALREADY_TRACKED


class HangingClaims(MemoryUserStorage):
    """A storage by methods that makes claims and does not say so, as long as it is held."""

    is_held = True

    async def get(self, *key: str) -> Any:
        return await super().get(*key)

    async def claim_goal(self, user_id: str, *rest: str) -> bool:
        is_first = await super().claim_goal(user_id, *rest)
        if self.is_held and user_id != "served":
            await asyncio.Event().wait()
        return is_first


@in_virtual_time
async def test_row_86_a_claim_that_was_taken_over_by_a_caller_who_left() -> None:
    """It is given back all the same, though his own claim was never asked for."""
    others = [f"other {number}" for number in range(10)]
    storage = HangingClaims([row(one) for one in ("Ashley", "served", *others)])
    async with client_with(storage, on_storage_error="refuse", storage_timeout_s=0.4) as client:

        def track(user: str) -> asyncio.Task[Any]:
            call = client.track("checkout", user, "signup", custom_variables={"a": 1})
            return asyncio.ensure_future(call)

        first = track("Ashley")
        await asyncio.sleep(0.2)
        second = track("Ashley")
        await asyncio.sleep(0.02)
        # The storage answers others, so that it is not left alone.
        assert await track("served")
        rest = [track(one) for one in others]
        await asyncio.sleep(0.04)
        # As after a time in which it was too slow: the second call has to wait for its turn.
        window = client._engine.storage._window  # type: ignore[union-attr]
        window._most = window.size = 4
        assert reason_of(await first) is Reason.STORAGE_ERROR
        await asyncio.sleep(0.04)
        assert client._engine.storage._writes.waiting  # type: ignore[union-attr]
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        storage.is_held = False
        await asyncio.gather(*rest)

        async def is_counted() -> bool:
            return reason_of(await track("Ashley")) is Reason.TRACKED

        await until(is_counted)


class OutOfOrder(MemoryUserStorage):
    """A storage whose server does all in order, and whose answers arrive in another.

    Attributes:
        lost: How many claims are still made whose answer does not arrive.
        late: The kinds of requests whose answers arrive only once a conversion was taken back.
    """

    def __init__(self, late: type[Any]) -> None:
        super().__init__()
        self.lost = 0
        self.late = late
        self.is_held = False
        self.withdrawn = asyncio.Event()
        self.asked = asyncio.Event()

    async def run_round(self, requests: Sequence[Any]) -> list[Any]:
        """Answer *requests*, each on a connection of its own."""
        return list(await asyncio.gather(*map(self._answer, requests)))

    async def _answer(self, request: Any) -> Any:
        if isinstance(request, WithdrawConversion):
            await self.asked.wait()
            outcome = self.answer(request)
            # What waits for this goes on after the client has heard of it.
            asyncio.get_running_loop().call_later(0.02, self.withdrawn.set)
            return outcome
        outcome = self.answer(request)
        if isinstance(request, CountConversion) and self.lost:
            self.lost -= 1
            if self.late is CountConversion:
                await self.asked.wait()
            raise ConnectionResetError
        if self.is_held and isinstance(request, self.late):
            self.asked.set()
            await self.withdrawn.wait()
        return outcome


@pytest.mark.parametrize("is_quick", [True, False])
async def test_row_86_what_was_read_before_a_withdrawal_and_arrives_after_it(
    *, is_quick: bool
) -> None:
    """A record that shows a conversion which was taken back meanwhile keeps nobody from counting it."""
    storage = OutOfOrder(ReadRecord)
    async with client_with(storage, on_storage_error="refuse", storage_timeout_s=2) as client:
        assert await client.activate("checkout", "u1")
        storage.lost = 1
        assert reason_of(await client.track("checkout", "u1", "signup")) is Reason.STORAGE_ERROR
        storage.is_held = True
        options: dict[str, Any] = {} if is_quick else {"custom_variables": {"a": 1}}
        result = await client.track("checkout", "u1", "signup", **options)
        assert reason_of(result) is Reason.TRACKED
        storage.is_held = False
        result = await client.track("checkout", "u1", "signup")
        assert reason_of(result) is Reason.ALREADY_TRACKED


@pytest.mark.parametrize("is_quick", [True, False])
async def test_row_86_a_claim_that_failed_for_one_that_was_taken_back(*, is_quick: bool) -> None:
    """A call that was refused for a claim which comes to nothing is not told that the conversion is counted."""
    storage = OutOfOrder(CountConversion)
    async with client_with(storage, on_storage_error="refuse", storage_timeout_s=2) as client:
        assert await client.activate("checkout", "u1")
        storage.lost, storage.is_held = 1, True
        options: dict[str, Any] = {} if is_quick else {"custom_variables": {"a": 1}}
        calls = [client.track("checkout", "u1", "signup", **one) for one in ({}, options)]
        reasons = [reason_of(one) for one in await asyncio.gather(*calls)]
        assert reasons == [Reason.STORAGE_ERROR, Reason.TRACKED]
        assert await client.flush_events()
        assert client.statistics().delivered == 2


@pytest.mark.parametrize("policy", ["decide", "refuse"])
@pytest.mark.parametrize("get_s", [0.0, 0.1])
@pytest.mark.parametrize("failures", [0, 1, 3])
async def test_row_69_a_claim_that_cannot_be_given_back_at_once(
    policy: str, get_s: float, failures: int
) -> None:
    """Calls that come meanwhile count the conversion once: neither never nor twice."""
    storage = Claiming([row("u1")], delay_s=0)
    get, release = storage.get, storage.release_goal
    left, delay_s = failures, 0.0

    async def get_slowly(user_id: str, campaign_key: str) -> Any:
        # So that the event is refused while the next call has the turn of this user.
        await asyncio.sleep(delay_s)
        return await get(user_id, campaign_key)

    async def release_late(*conversion: str) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise OSError
        await release(*conversion)

    storage.get, storage.release_goal = get_slowly, release_late  # type: ignore[method-assign]
    transport = RefusingOnce()
    async with client_with(storage, on_storage_error=policy, transport=transport) as client:
        assert await client.track("checkout", "u1", "signup")
        delay_s = get_s
        deadline = time.monotonic() + 5
        while not transport.delivered and time.monotonic() < deadline:
            await client.track("checkout", "u1", "signup")
            await asyncio.sleep(0.01)
        for _ in range(5):
            await asyncio.sleep(0.1)
            assert not await client.track("checkout", "u1", "signup")
        assert await client.flush_events()
    assert transport.delivered == 1


class RefusingOnce:
    """A transport to a server that refuses the first event, and takes all others."""

    def __init__(self) -> None:
        self._is_first = True
        self.delivered = 0

    async def send(self, _request: Request) -> Answer:
        """Answer after a moment."""
        await asyncio.sleep(0.05)
        if self._is_first:
            self._is_first = False
            return Answer(400)
        self.delivered += 1
        return Answer(200)

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("has_outbox", [False, True])
async def test_row_87_callers_cancelled_at_random(
    storage_server: Any, has_outbox: bool, tmp_path: Path
) -> None:
    """Of 1,000 callers who share rounds, those who are cancelled disturb nobody and claim nothing."""
    run = uuid.uuid4().hex
    users = [f"{run}{number}" for number in range(1000)]
    await fill_server(storage_server, users)
    rng = random.Random(1)
    options: dict[str, Any] = {"storage_timeout_s": 5}
    if has_outbox:
        options["outbox"] = tmp_path / "outbox.db"
    async with open_storage(storage_server) as storage, client_with(storage, **options) as client:
        tasks = [asyncio.ensure_future(client.track("checkout", one, "signup")) for one in users]
        loop = asyncio.get_running_loop()
        for task in rng.sample(tasks, 500):
            loop.call_later(rng.uniform(0, 0.15), task.cancel)
        await asyncio.wait(tasks)
        ended = [None if one.cancelled() else reason_of(one.result()) for one in tasks]
        assert set(ended) == {None, Reason.TRACKED}
        assert client.statistics().storage_errors == 0
        accepted = client.statistics().accepted
        kind = "redis" if isinstance(storage_server, RedisServer) else "sql"
        while len({*users} & await find_claimed(kind, storage_server.url)) != accepted:
            await asyncio.sleep(0.05)
        # Whom nobody counted can still be counted, and nobody else can.
        again = await track_all(client, users)
        assert again[Reason.TRACKED] == 1000 - accepted
        assert again[Reason.ALREADY_TRACKED] == accepted
        await client.flush_events()
        assert client.statistics().delivered == 1000
        assert client.statistics().outbox_errors == 0


class SlowToAnswer(MemoryUserStorage):
    """A storage that makes a claim at once, and says so only later, as long as it is held."""

    def __init__(self) -> None:
        super().__init__([row()])
        self.is_held = True
        self.is_claimed = False
        self.goes_on = asyncio.Event()

    async def run_round(self, requests: Sequence[Any]) -> list[Any]:
        outcomes = [self.answer(one) for one in requests]
        if any(isinstance(one, CountConversion) for one in requests):
            await self.claimed()
        return outcomes

    async def claimed(self) -> None:
        self.is_claimed = True
        if self.is_held:
            await self.goes_on.wait()


class SlowClaims(SlowToAnswer):
    """The same with claims by a method."""

    async def claim_goal(self, *conversion: str) -> bool:
        is_first = await super().claim_goal(*conversion)
        await self.claimed()
        return is_first


@pytest.mark.parametrize("kind", [SlowToAnswer, SlowClaims])
@pytest.mark.parametrize("policy", ["decide", "refuse"])
@pytest.mark.parametrize("is_quick", [True, False])
async def test_row_87_who_was_cancelled_calls_again(
    kind: type[SlowToAnswer], policy: str, is_quick: bool
) -> None:
    """A claim that is made for a caller who is gone keeps nobody from counting the conversion."""
    storage = kind()
    options: dict[str, Any] = {} if is_quick else {"custom_variables": {"a": 1}}
    async with client_with(storage, on_storage_error=policy, storage_timeout_s=5) as client:
        gone = asyncio.ensure_future(client.track("checkout", "Ashley", "signup", **options))
        await until(lambda: storage.is_claimed)
        gone.cancel()
        await asyncio.wait([gone])
        storage.is_held = False
        again = asyncio.ensure_future(client.track("checkout", "Ashley", "signup", **options))
        await asyncio.wait([again], timeout=0.05)
        storage.goes_on.set()
        result = await again
        while policy == "refuse" and reason_of(result) is Reason.STORAGE_ERROR:
            # By methods it does not know whose the claim is.
            await asyncio.sleep(0.01)
            result = await client.track("checkout", "Ashley", "signup", **options)
        assert reason_of(result) is Reason.TRACKED
        await asyncio.sleep(0.05)
        result = await client.track("checkout", "Ashley", "signup", **options)
        assert reason_of(result) is Reason.ALREADY_TRACKED
        await client.flush_events()
        assert client.statistics().delivered == 1


def test_row_76_a_safe_text_of_ones_own() -> None:
    """A storage of one's own may raise StorageError with words that are shown."""
    from vwo_async._storage.pending import describe

    assert describe(StorageError("shard 3 is down")) == "raised StorageError (shard 3 is down)"
    assert describe(ValueError("Ashley")) == "raised ValueError"
