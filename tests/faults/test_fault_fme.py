"""Rows of docs/faults.md in the words of FME, where FullStack's test of the row is about campaigns and goals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from chosen_product import CHOSEN, FME, FMEShop, settings
from database import RedisServer, running_redis
from own_time import Stopwatch
from raw_answer import ROWS, UNKNOWN, Row, raw_server
from rig import SLACK_S, FaultServer, fault_server, steady_loop
from sample import SECRET
from server import answer, running_server
from waiting import until

from vwo_async import FMEClient, FMEUser, Reason
from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Limits, Timeouts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

TIMEOUT_S = 0.2
BRIEF = Timeouts(connect_s=1, read_s=0.3, total_s=1)
NO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse"
YES = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"


@pytest.fixture(autouse=True)
def _fme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN, FME)


@pytest.fixture
def vwo(tmp_path: Path) -> Iterator[FaultServer]:
    """The misbehaving server."""
    with fault_server(tmp_path) as server:
        yield server


def row(variation: int = 2, user_id: Any = "Ashley", key: str = "checkout") -> dict[str, Any]:
    """Return a record of an experiment in the official shape."""
    return {
        "featureKey": key,
        "userId": user_id,
        "featureId": 11,
        "experimentId": 11,
        "experimentKey": key,
        "experimentVariationId": variation,
    }


class FaultyStorage:
    """A storage whose reads and writes do what a test says."""

    def __init__(
        self,
        *,
        on_get: Callable[[], Awaitable[Any]] | None = None,
        on_set: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        self.on_get = on_get
        self.on_set = on_set
        self.rows: dict[tuple[str, str], Any] = {}

    async def get(self, user_id: str, key: str) -> Any:
        if self.on_get is not None:
            return await self.on_get()
        return self.rows.get((user_id, key))

    async def set(self, data: Mapping[str, Any]) -> None:
        if self.on_set is not None:
            await self.on_set()
        self.rows[data["userId"], data["featureKey"]] = data


async def hang() -> None:
    await asyncio.sleep(3600)


async def fail() -> None:
    raise ConnectionError(SECRET)


def returning(value: object) -> Callable[[], Awaitable[object]]:
    """Return a function that returns *value*."""

    async def get() -> object:
        return value

    return get


def client_of(server: FaultServer, storage: Any, **options: Any) -> FMEClient:
    options.setdefault("storage_timeout_s", TIMEOUT_S)
    return FMEClient(settings(), base_url=server.base_url, user_storage=storage, **options)


async def decide_afresh(user_id: Any) -> Any:
    async with FMEClient(settings(), transport=RecordingTransport()) as client:
        return (await client.get_flag("checkout", user_id)).variation


@pytest.mark.timed
@pytest.mark.parametrize("fault", [hang, fail], ids=["hangs", "raises"])
async def test_row_31_get_fails_in_fme(
    vwo: FaultServer, fault: Callable[[], Awaitable[Any]]
) -> None:
    """A storage that hangs or raises: a flag all the same, in bounded time, noted, counted, and not written over."""
    storage = FaultyStorage(on_get=fault)
    async with client_of(vwo, storage) as client, steady_loop():
        watch = Stopwatch()
        flag = await client.get_flag("checkout", "Ashley")
        flags = await client.get_flags("Ashley")
        watch.assert_below(2 * TIMEOUT_S + SLACK_S)
        assert flag.variation == await decide_afresh("Ashley")
        kind = "timed out" if fault is hang else "raised ConnectionError"
        assert flag.notes == (f"user storage: get {kind}",)
        assert flags["checkout"].variation == flag.variation
        assert client.statistics().storage_errors >= 2
        assert storage.rows == {}
        # Events ask no storage.
        assert await client.track_event("signup", "Ashley", wait=True)
    async with client_of(vwo, FaultyStorage(on_get=fault), on_storage_error="refuse") as client:
        assert (await client.get_flag("checkout", "Ashley")).reason is Reason.STORAGE_ERROR
        assert {one.reason for one in (await client.get_flags("Ashley")).values()} == {
            Reason.STORAGE_ERROR
        }
        assert client.statistics().accepted == 0


GARBAGE: dict[str, Any] = {
    "text": "garbage",
    "number": 5,
    "list": [row()],
    "bytes": b"{}",
    "no variation": {**row(), "experimentVariationId": None},
    "gone variation": row(9),
    "wrong types": {**row(), "experimentVariationId": ["x"], "notInHoldoutId": "x"},
    "row of another user": row(user_id="Bill"),
    "row of another feature": row(key="search"),
    "row of many": {**row(), "userId": ["Ashley"]},
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_row_31_get_returns_garbage_in_fme(vwo: FaultServer, name: str) -> None:
    """What is no record of this user and feature decides nothing, and no call raises."""
    storage = FaultyStorage(on_get=returning(GARBAGE[name]))
    async with client_of(vwo, storage) as client:
        flag = await client.get_flag("checkout", "Ashley")
        assert flag.variation == await decide_afresh("Ashley")
        assert flag.reason is Reason.ASSIGNED


@pytest.mark.parametrize("user_id", ["Ashley", 42])
async def test_row_31_a_record_is_used(user_id: Any) -> None:
    """A record that can be read decides, also one of the Node SDK about an id that is a number."""
    given = await decide_afresh(user_id)
    other = 3 - given.id
    storage = FaultyStorage(on_get=returning(row(other, user_id)))
    transport = RecordingTransport()
    async with FMEClient(settings(), transport=transport, user_storage=storage) as client:
        flag = await client.get_flag("checkout", user_id)
        assert flag.variation is not None
        assert (flag.variation.id, flag.reason) == (other, Reason.STORED)


@pytest.mark.timed
@pytest.mark.parametrize("fault", [hang, fail], ids=["hangs", "raises"])
async def test_row_32_set_fails_in_fme(
    vwo: FaultServer, fault: Callable[[], Awaitable[Any]]
) -> None:
    """A write that hangs or raises is counted and noted; the impression is on its way before it."""
    storage = FaultyStorage(on_set=fault)
    async with client_of(vwo, storage, storage_timeout_s=2.0) as client, steady_loop():
        call = asyncio.create_task(client.get_flag("checkout", "Ashley"))
        await until(lambda: vwo.ledger().total() == 1)
        flag = await call
        assert flag
        kind = "timed out" if fault is hang else "raised ConnectionError"
        assert flag.notes == (f"user storage: set {kind}",)
        assert client.statistics().storage_errors == 1


BAD_FIELDS: list[tuple[tuple[str | int, ...], Any]] = [
    (("accountId",), None),
    (("features", 0, "id"), "x"),
    (("features", 0, "rules"), 3),
    (("campaigns",), "x"),
    (("campaigns", 0, "variations", 0, "weight"), None),
    (("campaigns", 0, "segments"), None),
    (("holdouts",), [{}]),
    (("groups",), 3),
]


@pytest.mark.parametrize(("path", "value"), BAD_FIELDS, ids=str)
async def test_row_47_bad_file_from_vwo_in_fme(path: tuple[str | int, ...], value: Any) -> None:
    """A damaged v2 file never takes the place of a good one, and is counted."""
    broken: Any = settings()
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    async with running_server() as server:
        server.default = answer(body=json.dumps(broken).encode())
        async with FMEShop(settings(), base_url=server.base_url) as client:
            before = client.settings
            assert not await client.refresh_settings()
            assert client.settings is before
            assert client.statistics().settings_errors == 1
            server.default = answer()
            assert await client.get_flag("checkout", "Ashley")


@pytest.mark.parametrize("agent", ["a\nb", "x" * 9000, "\ud800", "→"], ids=ascii)
async def test_row_52_agents_in_fme(vwo: FaultServer, agent: str) -> None:
    """No user agent or address ends a header, or costs an event."""
    user = FMEUser("Ashley", user_agent=agent, ip_address=agent)
    async with FMEClient(settings(), base_url=vwo.base_url) as client:
        assert await client.get_flag("checkout", user)
        assert await client.track_event("signup", user, wait=True)
        await client.flush_events()
        assert client.statistics().delivered == 2
    assert vwo.ledger().total() == 2


async def test_row_81_properties_in_fme(vwo: FaultServer) -> None:
    """A property that cannot be sent costs itself alone."""
    storage = MemoryUserStorage()
    bad = {"nan": float("nan"), "object": object(), "good": 1}
    async with FMEClient(settings(), base_url=vwo.base_url, user_storage=storage) as client:
        result = await client.track_event("signup", "Ashley", bad, wait=True)
        assert result
        assert len(result.notes) == 2
    (sent,) = [one for one in await vwo.tries() if one.method == "POST"]
    assert '"good":1' in sent.body.replace(" ", "")


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    with running_redis(tmp_path) as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_row_71_a_crowd_on_a_healthy_storage_in_fme(redis_server: RedisServer) -> None:
    """Of 3,000 calls at once on a healthy Redis each reads and writes its record."""
    users = [f"u{number}" for number in range(3000)]
    async with (
        RedisUserStorage.from_url(redis_server.url) as storage,
        FMEClient(settings(), user_storage=storage, transport=RecordingTransport()) as client,
    ):
        first = await asyncio.gather(*(client.get_flag("checkout", one) for one in users))
        again = await asyncio.gather(*(client.get_flag("checkout", one) for one in users))
        assert {one.reason for one in first} == {Reason.ASSIGNED}
        assert {one.reason for one in again} == {Reason.STORED}
        assert [one.variation for one in first] == [one.variation for one in again]
        assert client.statistics().storage_errors == 0
        # What is on record is not reported again.
        assert client.statistics().accepted == 3000


async def test_row_72_a_stall_ends_by_itself_in_fme() -> None:
    """A storage that answers again is asked again, also by the first call after some quiet."""
    given = await decide_afresh("Ashley")
    is_on = asyncio.Event()
    is_on.set()

    async def get() -> Any:
        await is_on.wait()
        return row(3 - given.id)

    storage = FaultyStorage(on_get=get)
    transport = RecordingTransport()
    async with FMEClient(
        settings(), transport=transport, user_storage=storage, storage_timeout_s=TIMEOUT_S
    ) as client:
        assert (await client.get_flag("checkout", "Ashley")).reason is Reason.STORED
        is_on.clear()
        assert (await client.get_flag("checkout", "Ashley")).variation == given
        watch = Stopwatch()
        for _ in range(20):
            assert (await client.get_flag("checkout", "Ashley")).notes
        watch.assert_below(10 * TIMEOUT_S)
        assert storage.rows == {}
        is_on.set()
        await asyncio.sleep(3 * TIMEOUT_S)
        assert (await client.get_flag("checkout", "Ashley")).reason is Reason.STORED


async def test_row_76_errors_say_what_failed_in_fme(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Notes and log say what failed, in the storage's own safe words, and nothing of the user."""
    async with (
        RedisUserStorage.from_url(redis_server.url) as storage,
        FMEClient(settings(), user_storage=storage, transport=RecordingTransport()) as client,
    ):
        redis_server.kill()
        flag = await client.get_flag("checkout", "Ashley")
        assert flag
        assert flag.notes == ("user storage: get raised StorageError (redis: ConnectionError)",)
        assert flag.notes[0] in caplog.text
    assert "Ashley" not in caplog.text


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError, GeneratorExit], ids=lambda one: one.__name__
)
async def test_row_68_a_storage_that_raises_no_exception_in_fme(
    error: type[BaseException],
) -> None:
    """What a storage raises that is no `Exception` is a failure of the storage, and ends no call."""

    async def get() -> Any:
        raise error

    storage = FaultyStorage(on_get=get)
    transport = RecordingTransport()
    async with FMEClient(settings(), transport=transport, user_storage=storage) as client:
        flag = await client.get_flag("checkout", "Ashley")
        assert flag
        assert flag.notes == (f"user storage: get raised {error.__name__}",)
        assert await client.get_flags("Ashley")


@pytest.mark.parametrize("answered", ROWS, ids=lambda one: one.name)
async def test_row_61_raw_answers_in_fme(answered: Row) -> None:
    """An event arrived where the status says so, whatever comes with it, and is `unknown` where there is none."""
    limits = Limits(max_attempts=1)
    async with raw_server() as server:
        server.answer(answered.pieces, closes=answered.closes)
        async with FMEClient(
            settings(), base_url=server.base_url, limits=limits, timeouts=BRIEF
        ) as client:
            result = await client.track_event("signup", "Ashley", wait=True)
            status = answered.outcome
            assert bool(result) is (status != UNKNOWN and 200 <= int(status) < 300)
            assert client.statistics().unknown == (status == UNKNOWN)


@pytest.mark.parametrize(
    "answered",
    [
        *(one for one in ROWS if not one.closes and one.outcome != UNKNOWN),
        Row("a foreign answer", YES + YES, 200),
        Row("a foreign answer on its own", [YES, YES], 200),
    ],
    ids=lambda one: one.name,
)
async def test_row_63_what_is_left_over_in_fme(answered: Row) -> None:
    """What a gateway sent beyond an answer never answers what is asked about another user."""
    file = settings()
    for one in file["campaigns"]:
        one["segments"] = {"custom_variable": {"plan": "inlist(L1)"}}
    async with raw_server() as server:
        server.next = NO
        server.answer(answered.pieces, closes=False)
        async with FMEClient(
            file,
            gateway_service={"url": server.base_url},
            gateway_timeout_s=1.0,
            timeouts=BRIEF,
            development_mode=True,
        ) as client:
            await client.get_flag("checkout", FMEUser("u1", custom_variables={"plan": "pro"}))
            await server.is_done.wait()
            await asyncio.sleep(0.05)
            failed = client.statistics().gateway_errors
            for number in range(2):
                user = FMEUser("u2", custom_variables={"plan": f"p{number}"})
                flag = await client.get_flag("checkout", user)
                assert (bool(flag), flag.notes) == (False, ())
            assert client.statistics().gateway_errors == failed
    assert server.requests == 3


async def test_row_88_close_while_the_gateway_hangs() -> None:
    """A call that waits for a gateway that hangs ends when the client is closed."""

    async def hanging(*_: object) -> None:
        await asyncio.sleep(60)

    file = settings()
    for campaign in file["campaigns"]:
        campaign["segments"] = {"and": [{"country": "India"}]}
    async with running_server() as server:
        server.default = hanging
        client = FMEClient(file, gateway_service={"url": server.base_url}, gateway_timeout_s=30.0)
        await client.open()
        user = FMEUser("Ashley", ip_address="1.2.3.4")
        call = asyncio.create_task(client.get_flag("checkout", user))
        await until(lambda: bool(server.requests))
        watch = Stopwatch()
        await client.aclose(timeout_s=0.2)
        await asyncio.gather(call, return_exceptions=True)
        watch.assert_below(2)
        assert not call.cancelled()
