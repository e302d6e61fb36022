"""Rows 30 to 35 of docs/faults.md: storages, callbacks and loggers that fail in every way."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import FME, is_fme, make_client, settings
from database import RedisServer, running_redis
from own_time import Stopwatch
from rig import FaultServer, fault_server, names_of, steady_loop
from sample import SECRET, campaign, row, variation
from server import Received, Server, answer, running_server
from waiting import until

from vwo_async import ClosedError, Reason, TrackResult, VWOClient
from vwo_async.storage import MemoryUserStorage, StoredDecision
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.transport import Limits

pytestmark = [pytest.mark.anyio, pytest.mark.no_debug, pytest.mark.timeout(20)]

SLACK_S = 0.3
TIMEOUT_S = 0.2


class Visit:
    """Calls of one client, whose accepted events are compared with the server's ledger."""

    def __init__(self, client: VWOClient) -> None:
        self.client = client
        self.results: list[TrackResult] = []
        self.tasks: set[asyncio.Task[Any]] = set()

    async def track(self, user_id: str, *, wait: bool = False) -> TrackResult:
        """Track a conversion and keep the result."""
        result = await self.client.track("checkout", user_id, "signup", wait=wait)
        self.results.append(result)
        return result

    def soon(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run *coroutine* in a task of its own."""
        self.tasks.add(asyncio.create_task(coroutine))

    async def settled(self) -> None:
        """Wait for the tasks."""
        while waiting := [one for one in self.tasks if not one.done()]:
            await asyncio.wait(waiting)

    def assert_books(self, vwo: FaultServer, *, untold: int = 0) -> None:
        """Assert that VWO has every accepted event that was not refused by it, once.

        Args:
            vwo: The server.
            untold: How many events it has of calls that were ended before they could return.
        """
        statistics = self.client.statistics()
        ended = [one for one in self.results if one.delivery.outcome]
        assert not names_of(*ended) - vwo.ledger()
        assert (vwo.ledger() - names_of(*ended)).total() == untold
        assert statistics.delivered == vwo.ledger().total()
        lost = sum(statistics.dropped.values())
        assert statistics.accepted == statistics.delivered + statistics.rejected + lost
        assert statistics.pending == 0


def spin(seconds: float) -> None:
    """Block the loop as a busy function does."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        pass


# Row 30


SHARED = "Shared"
KEYS = [f"c{number}" for number in range(1, 6)]


def make_version(number: int) -> dict[str, Any]:
    """Return a settings file in which every name and id tells its version, and stored users survive."""
    campaigns = [
        campaign(
            index,
            key,
            variations=[
                variation(number, f"Version-{number}", 100),
                variation(number + 2, SHARED, 0),
            ],
            goals=[{"id": number * 100 + index, "identifier": "signup", "type": "CUSTOM_GOAL"}],
        )
        for index, key in enumerate(KEYS, 1)
    ]
    return settings(*campaigns, version=number)


def serve_alternating(server: Server) -> None:
    """Have the server hand out version 1 and 2 of the settings file in turn."""
    files = [json.dumps(make_version(number)).encode() for number in (1, 2)]

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        is_settings = request.target.startswith(
            ("/server-side/settings", "/server-side/v2-settings")
        )
        body = b""
        if is_settings:
            body = files[0]
            files.reverse()
        await answer(body=body)(request, writer)

    server.default = reply


class PonderingStorage:
    """Takes its time over each read, so that a refresh can come between two of one call."""

    async def get(self, user_id: str, campaign_key: str) -> dict[str, Any] | None:
        await asyncio.sleep(random.uniform(0, 0.01))
        if user_id.startswith("old"):
            return {
                "userId": user_id,
                "campaignKey": campaign_key,
                "variationName": SHARED,
            }
        return None

    async def set(self, data: Mapping[str, Any]) -> None:
        pass


def version_of(pair: tuple[int, int]) -> int:
    """Return the version to which a variation and a goal of the wire belong, 0 where it is not one."""
    of_variation, of_goal = (pair[0] + 1) % 2 + 1, pair[1] // 100
    return of_goal if of_variation == of_goal else 0


def read_conversions(server: Server) -> dict[str, list[tuple[int, int]]]:
    """Return (variation, goal) of every conversion that arrived, by visitor."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for request in server.requests:
        url = urlsplit(request.target)
        if url.path.endswith("/track-goal"):
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            found[query["u"]].append((int(query["combination"]), int(query["goal_id"])))
        elif url.path.endswith("/batch-events"):
            for item in json.loads(request.body)["ev"]:
                if item["eT"] == 2:
                    found[item["u"]].append((item["c"], item["g"]))
    return found


async def test_row_30_settings_refreshed_during_decides() -> None:
    """Each of 1,000 calls sees one version of the settings, also where a refresh comes in mid call."""
    seen: Counter[str] = Counter()

    async def decide(number: int) -> None:
        await asyncio.sleep(random.uniform(0, 1))
        if number % 2:
            decisions = await client.decide_all(f"new{number}")
            (name,) = {one.variation_name for one in decisions.values()}
            assert len(decisions) == len(KEYS) and name is not None
            seen[name] += 1
        else:
            assert len(await client.track(None, f"old{number}", "signup")) == len(KEYS)

    async def refresh() -> None:
        while not calls.done():
            await client.get_and_update_settings_file()

    async with running_server() as server, steady_loop():
        serve_alternating(server)
        client = make_client(
            make_version(2), base_url=server.base_url, user_storage=PonderingStorage()
        )
        async with client:
            calls = asyncio.gather(*(decide(number) for number in range(1000)))
            await asyncio.gather(calls, refresh())
        arrived = read_conversions(server)
        statistics = client.statistics()
    assert seen["Version-1"] and seen["Version-2"]
    assert len(arrived) == 500
    versions = {user: {version_of(pair) for pair in pairs} for user, pairs in arrived.items()}
    assert all(len(one) == 1 for one in versions.values())
    assert {version for one in versions.values() for version in one} == {1, 2}
    assert all(len(pairs) == len(KEYS) for pairs in arrived.values())
    assert statistics.delivered == sum(map(len, arrived.values()))


@pytest.mark.parametrize("product", [FME], indirect=True)
@BOTH_PRODUCTS
async def test_row_30_settings_refreshed_during_decides_in_fme() -> None:
    """The same for all flags of a user, and for one flag and its report."""
    seen: Counter[str] = Counter()

    async def decide(number: int) -> None:
        await asyncio.sleep(random.uniform(0, 1))
        if number % 2:
            flags: Mapping[str, Any] = await client.decide_all(f"u{number}")
            assert len(flags) == len(KEYS)
            names = {one.variation.name for one in flags.values()}
        else:
            names = {await client.activate("c1", f"u{number}")}
        (name,) = names
        assert name is not None
        seen[name] += 1

    async def refresh() -> None:
        while not calls.done():
            await client.get_and_update_settings_file()

    async with running_server() as server, steady_loop():
        serve_alternating(server)
        storage = PonderingStorage()
        client = make_client(make_version(2), base_url=server.base_url, user_storage=storage)
        async with client:
            calls = asyncio.gather(*(decide(number) for number in range(1000)))
            await asyncio.gather(calls, refresh())
    bodies = [json.loads(one.body) for one in server.requests if one.body]
    sent = [one for body in bodies for one in body.get("ev", [body])]
    shown = Counter(one["d"]["event"]["props"]["variation"] for one in sent)
    assert seen.keys() == {"Version-1", "Version-2"}
    assert shown.keys() == {1, 2} and shown.total() == 500


# Rows 31 and 32


class FaultyStorage(MemoryUserStorage):
    """A storage whose reads and writes do what a test says."""

    def __init__(
        self,
        rows: list[dict[str, Any]],
        *,
        on_get: Callable[[], Awaitable[Any]] | None = None,
        on_set: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        super().__init__(rows)
        self.on_get = on_get
        self.on_set = on_set

    async def get(self, user_id: str, campaign_key: str) -> Any:
        if self.on_get is not None:
            return await self.on_get()
        return await super().get(user_id, campaign_key)

    async def set(self, data: Mapping[str, Any]) -> None:
        if self.on_set is not None:
            await self.on_set()
        await super().set(data)


async def hang() -> None:
    """Never return."""
    await asyncio.sleep(3600)


async def fail() -> None:
    """Raise, with a secret in the text."""
    raise ConnectionError(SECRET)


def returning(value: object) -> Callable[[], Awaitable[object]]:
    """Return a function that returns *value*."""

    async def get() -> object:
        return value

    return get


GARBAGE = {
    "text": "garbage",
    "number": 5,
    "list": [row()],
    "bytes": b"{}",
    "unhashable variation": row(variationName=["x"]),
    "no name": row(variationName=None),
    "wrong types": StoredDecision(5, "checkout", ["x"], None),  # type: ignore[arg-type]
    "goals of a wrong type": StoredDecision("Ashley", "checkout", "Variation-1", None),  # type: ignore[arg-type]
    "gone variation": row(variationName="Variation-9"),
}
FOREIGN = {
    "user": row("Bill"),
    "campaign": row(campaignKey="search"),
    "record of another": StoredDecision("Bill", "checkout", "Variation-1"),
}


@pytest.mark.timed
@pytest.mark.parametrize("fault", [hang, fail], ids=["hangs", "raises"])
async def test_row_31_get_fails(vwo: FaultServer, fault: Callable[[], Awaitable[Any]]) -> None:
    """A storage that hangs or raises: a decision all the same, in bounded time, noted and counted."""
    storage = FaultyStorage([row()], on_get=fault)
    client = make_client(
        settings(), base_url=vwo.base_url, user_storage=storage, storage_timeout_s=TIMEOUT_S
    )
    async with client, steady_loop():
        watch = Stopwatch()
        result = await client.track("checkout", "Ashley", "signup")
        assert await client.activate("checkout", "Ashley") == "Control"
        decisions = await client.decide_all("Ashley")
        watch.assert_below(3 * TIMEOUT_S + SLACK_S)
        assert result["checkout"].reason is Reason.STORAGE_ERROR
        kind = "timed out" if fault is hang else "raised ConnectionError"
        assert result.notes == (f"user storage: get {kind}",)
        assert decisions["checkout"].variation_name == "Control"
        assert client.statistics().storage_errors >= 3
    assert vwo.ledger().total() == client.statistics().delivered == 1


@pytest.mark.timed
async def test_row_31_hanging_get_does_not_add_up(vwo: FaultServer) -> None:
    """Twenty calls for one user at once wait for a hanging storage together, not one after the other."""
    storage = FaultyStorage([row()], on_get=hang)
    client = make_client(
        settings(), base_url=vwo.base_url, user_storage=storage, storage_timeout_s=TIMEOUT_S
    )
    async with client, steady_loop():
        watch = Stopwatch()
        calls = [client.track("checkout", "Ashley", "signup") for _ in range(20)]
        results = await asyncio.gather(*calls)
        watch.assert_below(2 * TIMEOUT_S + SLACK_S)
        assert {one["checkout"].reason for one in results} == {Reason.STORAGE_ERROR}
    assert vwo.ledger().total() == 0


async def test_row_31_slow_get_is_used(vwo: FaultServer) -> None:
    """A storage that is slow, but not too slow, has its say."""

    async def think() -> dict[str, Any]:
        await asyncio.sleep(TIMEOUT_S / 2)
        return row()

    storage = FaultyStorage([], on_get=think)
    client = make_client(
        settings(), base_url=vwo.base_url, user_storage=storage, storage_timeout_s=TIMEOUT_S
    )
    async with client, steady_loop():
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result["checkout"].variation_name == "Variation-1"
        assert not result.notes
    assert vwo.ledger() == names_of(result)


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", GARBAGE)
async def test_row_31_get_returns_garbage(vwo: FaultServer, name: str) -> None:
    """What is no record counts as none: no call raises, and a decision is given."""
    storage = FaultyStorage([], on_get=returning(GARBAGE[name]))
    client = make_client(settings(), base_url=vwo.base_url, user_storage=storage)
    async with client, steady_loop():
        assert await client.activate("checkout", "Ashley", wait=True) in ("Control", "Variation-1")
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result.reason in (Reason.NOT_ACTIVATED, Reason.TRACKED)
        assert await client.decide_all("Ashley")
        found = await client.get_variation_name("checkout", "Ashley")
        assert found in (None, "Control", "Variation-1")
    assert vwo.ledger().total() == client.statistics().accepted


@pytest.mark.parametrize("name", FOREIGN)
async def test_row_31_get_returns_the_record_of_another(vwo: FaultServer, name: str) -> None:
    """The record of another user or campaign is refused and noted, and decides nothing."""
    storage = FaultyStorage([], on_get=returning(FOREIGN[name]))
    client = make_client(settings(), base_url=vwo.base_url, user_storage=storage)
    async with client, steady_loop():
        assert await client.activate("checkout", "Ashley", wait=True) == "Control"
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result["checkout"].reason is Reason.NOT_ACTIVATED
        expected = "user storage: get returned the record of another user or campaign"
        assert result.notes == (expected,)
        assert client.statistics().storage_errors == 2
    assert vwo.ledger().total() == 1


@pytest.mark.timed
@pytest.mark.parametrize("fault", [hang, fail], ids=["hangs", "raises"])
async def test_row_32_set_fails(vwo: FaultServer, fault: Callable[[], Awaitable[Any]]) -> None:
    """A write that hangs or raises is counted and noted; the event is on its way before it."""
    storage = FaultyStorage([row()], on_set=fault)
    client = make_client(
        settings(), base_url=vwo.base_url, user_storage=storage, storage_timeout_s=TIMEOUT_S
    )
    async with client, steady_loop():
        watch = Stopwatch()
        assert await client.activate("checkout", "Bill") is not None
        result = await client.track("checkout", "Ashley", "signup")
        # Only the first call waits for a storage that hangs.
        watch.assert_below(TIMEOUT_S + SLACK_S)
        assert result
        kind = "set raised ConnectionError"
        if fault is hang:
            kind = "not waited for, since it timed out a moment ago"
        assert set(result.notes) == {f"user storage: {kind}"}
        assert client.statistics().storage_errors == 1 + len(result.notes)
    assert vwo.ledger().total() == client.statistics().delivered == 2
    assert not names_of(result) - vwo.ledger()


async def test_row_32_event_leaves_before_the_write_ends(vwo: FaultServer) -> None:
    """While a write hangs, VWO already has the event."""
    storage = FaultyStorage([row()], on_set=hang)
    client = make_client(
        settings(), base_url=vwo.base_url, user_storage=storage, storage_timeout_s=5, workers=1
    )
    async with client, steady_loop():
        call = asyncio.create_task(client.track("checkout", "Ashley", "signup"))
        await until(lambda: vwo.ledger().total() == 1)
        assert not call.done()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        storage.on_set = None
        await client.aclose(timeout_s=0.1)
    assert vwo.ledger().total() == 1


@BOTH_PRODUCTS
@pytest.mark.timed
async def test_row_32_hanging_set_does_not_hold_close(vwo: FaultServer) -> None:
    """A write that hangs holds closing no longer than closing may take."""
    storage = FaultyStorage([row()], on_set=hang)
    client = make_client(
        settings(), base_url=vwo.base_url, user_storage=storage, storage_timeout_s=5
    )
    async with steady_loop():
        await client.open()
        call = asyncio.create_task(client.track("checkout", "Ashley", "signup"))
        await until(lambda: vwo.ledger().total() == 1)
        watch = Stopwatch()
        await client.aclose(timeout_s=0.2)
        watch.assert_below(0.2 + 0.5)
        await asyncio.gather(call, return_exceptions=True)


# Row 33


def act_raise(visit: Visit) -> None:
    """Raise."""
    raise RuntimeError(SECRET)


async def act_raise_later(visit: Visit) -> None:
    """Raise when awaited."""
    await asyncio.sleep(0)
    raise RuntimeError(SECRET)


def act_block(visit: Visit) -> None:
    """Block the loop briefly."""
    spin(0.002)


async def act_linger(visit: Visit) -> None:
    """Take a while."""
    await asyncio.sleep(0.05)


def act_track_soon(visit: Visit) -> None:
    """Track from within, in a task."""
    if len(visit.tasks) < 20:
        visit.soon(visit.track(f"again{len(visit.tasks)}"))


async def act_track(visit: Visit) -> None:
    """Track from within, and wait for the delivery."""
    number = len(visit.tasks)
    task = asyncio.current_task()
    if number < 20 and task is not None:
        visit.tasks.add(task)
        await visit.track(f"again{number}", wait=True)


def act_flush_soon(visit: Visit) -> None:
    """Flush from within."""
    if len(visit.tasks) < 5:
        visit.soon(visit.client.flush_events())


ACTS = {
    "raises": act_raise,
    "raises later": act_raise_later,
    "blocks": act_block,
    "lingers": act_linger,
    "tracks": act_track_soon,
    "tracks and waits": act_track,
    "flushes": act_flush_soon,
}


async def have_visitors(visit: Visit, done: Callable[..., object], number: int = 60) -> None:
    """Track *number* conversions, and add *done* to each delivery."""
    for user in range(number):
        result = await visit.track(f"u{user}")
        result.delivery.add_done_callback(done)
        await asyncio.sleep(0)


def misbehaving_client(vwo: FaultServer, callback: Callable[..., object]) -> VWOClient:
    """Return a client with *callback* in every place."""
    return make_client(
        settings(),
        base_url=vwo.base_url,
        integrations=callback,
        on_drop=callback,
        batch_events={
            "events_per_request": 5,
            "request_time_interval": 1,
            "flush_callback": callback,
        },
        limits=Limits(max_events=50),
    )


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", ACTS)
async def test_row_33_callbacks_misbehave(
    vwo: FaultServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever callbacks do, every event ends as it would have, and they cannot fill the log."""
    act: Any = ACTS[name]
    is_async = asyncio.iscoroutinefunction(act)

    def callback(*_: object) -> object:
        return act(visit)

    def done(_: object) -> None:
        if not is_async:
            act(visit)

    # A refused batch is divided until its events stand alone: enough for some of them to be refused.
    await vwo.answer(400, times=12)
    client = misbehaving_client(vwo, callback)
    visit = Visit(client)
    async with client, steady_loop():
        await have_visitors(visit, done)
        await client.flush_events()
        await visit.settled()
        await client.flush_events()
    statistics = client.statistics()
    assert statistics.rejected >= 2
    assert statistics.delivered >= 40
    visit.assert_books(vwo)
    if name.startswith("raises"):
        assert statistics.callback_errors >= 80
        raised = [one for one in caplog.messages if "raised RuntimeError" in one]
        once = [one for one in raised if not one.startswith("a delivery callback")]
        assert len(once) < 25


# On a busy machine the order of the refused differs, and none of them may be alone.
@pytest.mark.timed
@BOTH_PRODUCTS
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("place", ["integrations", "flush_callback", "on_drop", "done"])
async def test_row_33_callback_closes(vwo: FaultServer, place: str, is_async: bool) -> None:
    """A callback that closes the client deadlocks nothing, and every accepted event is delivered."""
    heard: list[str] = []

    def close(name: str) -> object:
        heard.append(name)
        if name != place:
            return None
        if is_async and name != "done":
            return client.aclose()
        visit.soon(client.aclose())
        return None

    def calling(name: str) -> Callable[..., object]:
        return lambda *_: close(name)

    # Refused batches of five, one for each worker, are divided until their events are refused alone.
    await vwo.answer(400, times=16)
    client = make_client(
        settings(),
        base_url=vwo.base_url,
        integrations=calling("integrations"),
        on_drop=calling("on_drop"),
        batch_events={"events_per_request": 5, "flush_callback": calling("flush_callback")},
    )
    visit = Visit(client)
    async with client, steady_loop():
        try:
            await have_visitors(visit, calling("done"))
            while not client._engine.is_closed:
                await asyncio.sleep(0.01)
        except ClosedError:
            pass
        watch = Stopwatch()
        await visit.settled()
        await client.aclose()
        watch.assert_below(3)
    assert place in heard
    visit.assert_books(vwo)
    assert not client.statistics().dropped


@BOTH_PRODUCTS
@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("place", ["storage", "consent"])
async def test_row_33_closed_in_mid_call(vwo: FaultServer, place: str, wait: bool) -> None:
    """A client that user code closes during a call accepts nothing that it will not deliver."""

    async def close() -> dict[str, Any]:
        await client.aclose()
        return row()

    async def consent(user_id: str) -> bool:
        if place == "consent":
            await client.aclose()
        return True

    storage = FaultyStorage([], on_get=close if place == "storage" else returning(row()))
    client = make_client(
        settings(),
        base_url=vwo.base_url,
        user_storage=storage,
        consent=consent,
        storage_timeout_s=5,
    )
    visit = Visit(client)
    watch = Stopwatch()
    async with client, steady_loop():
        try:
            await visit.track("Ashley", wait=wait)
        except ClosedError:
            assert client.statistics().accepted == 0
    watch.assert_below(3)
    visit.assert_books(vwo)


@BOTH_PRODUCTS
@pytest.mark.timed
@pytest.mark.parametrize("place", ["integrations", "flush_callback"])
async def test_row_33_hanging_callback_costs_no_event_at_close(
    vwo: FaultServer, place: str
) -> None:
    """A callback that never returns takes neither the events nor the time of closing."""

    async def never(*_: object) -> None:
        await hang()

    options: dict[str, Any] = {place: never} if place == "integrations" else {}
    batching: dict[str, Any] = {"events_per_request": 100}
    if place == "flush_callback":
        batching["flush_callback"] = never
    client = make_client(
        settings(),
        base_url=vwo.base_url,
        batch_events=batching,
        close_timeout_s=1,
        **options,
    )
    visit = Visit(client)
    async with client, steady_loop():
        for user in range(30):
            assert await visit.track(f"u{user}")
        watch = Stopwatch()
        report = await client.aclose()
        watch.assert_below(1.5)
    assert report
    assert vwo.ledger() == names_of(*visit.results)


class RudeHandler(logging.Handler):
    """A log handler that does what a test says with each record."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act = act
        self.records = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.records += 1
        self._act()


@contextmanager
def rude_logging(act: Callable[[], object]) -> Iterator[RudeHandler]:
    """Have every record of the package go to a handler that does *act*."""
    logger = logging.getLogger("vwo_async")
    handler = RudeHandler(act)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def raise_error() -> None:
    """Raise."""
    raise RuntimeError(SECRET)


def tell_nothing(*_: object) -> None:
    """Raise out of a callback."""
    raise RuntimeError(SECRET)


async def be_noisy(visit: Visit) -> None:
    """Give the client every reason to log: bad input, a storage, a callback, a server, a full queue."""
    client = visit.client
    assert not await client.track("checkout", "", "signup")
    assert await client.activate("checkout", "Ashley") is not None
    for user in range(12):
        result = await visit.track(f"u{user}")
        result.delivery.add_done_callback(tell_nothing)
    await client.get_and_update_settings_file("1", "other")
    await client.flush_events()
    assert await visit.track("later", wait=True)


@BOTH_PRODUCTS
@pytest.mark.parametrize("act", [raise_error, lambda: spin(0.005)], ids=["raises", "blocks"])
async def test_row_33_log_handler_misbehaves(vwo: FaultServer, act: Callable[[], object]) -> None:
    """A log handler that raises or blocks: no call raises, no worker ends, nothing is lost."""
    await vwo.answer(503, times=15)
    storage = FaultyStorage([row(f"u{user}") for user in range(12)] + [row("later")], on_set=fail)
    client = make_client(
        settings(),
        base_url=vwo.base_url,
        user_storage=storage,
        integrations=tell_nothing,
        on_drop=tell_nothing,
        workers=1,
        limits=Limits(max_events=10, backoff_base_s=0.02, backoff_cap_s=0.05),
    )
    visit = Visit(client)
    async with client, steady_loop():
        with rude_logging(act) as handler:
            await be_noisy(visit)
            await client.flush_events()
        assert handler.records >= 5
    assert client.statistics().refused
    delivered = [one for one in visit.results if one]
    assert len(delivered) >= 10
    # The activation is the one event besides the conversions.
    assert not names_of(*delivered) - vwo.ledger()
    assert (vwo.ledger() - names_of(*delivered)).total() == 1
    assert client.statistics().delivered == vwo.ledger().total()


@BOTH_PRODUCTS
@pytest.mark.parametrize("deed", ["track", "aclose"])
async def test_row_33_log_handler_calls_back(vwo: FaultServer, deed: str) -> None:
    """A log handler that tracks or closes does not deadlock, and costs no event."""

    def act() -> None:
        if len(visit.tasks) < 5:
            visit.soon(visit.track("logged") if deed == "track" else client.aclose())

    await vwo.answer(503, times=1)
    client = make_client(settings(), base_url=vwo.base_url, workers=1)
    visit = Visit(client)
    async with client, steady_loop():
        with rude_logging(act) as handler:
            for user in range(10):
                await visit.track(f"u{user}")
            await until(lambda: handler.records > 0)
            await visit.settled()
    assert not client.statistics().dropped
    visit.assert_books(vwo)


@BOTH_PRODUCTS
async def test_row_33_log_handler_raises_in_the_outbox(vwo: FaultServer, tmp_path: Path) -> None:
    """A log handler that raises in the outbox's thread costs neither the thread nor an event."""
    path = tmp_path / "outbox.db"
    path.write_bytes(b"this is no database" * 100)
    client = make_client(settings(), base_url=vwo.base_url, outbox=path)
    visit = Visit(client)
    with rude_logging(raise_error) as handler:
        async with client, steady_loop():
            for user in range(5):
                assert await visit.track(f"u{user}", wait=True)
    assert handler.records >= 1
    assert client.statistics().outbox_errors == 0
    visit.assert_books(vwo)


# Row 34


@contextmanager
def own_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Make a loop that a test may stop with KeyboardInterrupt and run on."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    try:
        yield loop
    finally:
        loop.run_until_complete(cancel_others())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def cancel_others() -> None:
    """Cancel what is left in the running loop."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Stop(BaseException):
    """Neither an error nor one of the two that end a process."""


class Bomb:
    """A callback that raises at its first call."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error
        self.calls = 0

    def __call__(self, *_: object) -> None:
        self.calls += 1
        if self.calls == 1:
            raise self._error

    async def later(self, *_: object) -> None:
        """Raise when awaited."""
        await asyncio.sleep(0)
        self()


PLACES = ["integrations", "async integrations", "flush_callback", "on_drop", "done"]


def client_with(bomb: Bomb, place: str, vwo: FaultServer) -> VWOClient:
    """Return a client of one worker that has *bomb* in one place."""
    options: dict[str, Any] = {}
    if place == "flush_callback":
        options["batch_events"] = {"events_per_request": 1, "flush_callback": bomb}
    elif place == "async integrations":
        options["integrations"] = bomb.later
    elif place != "done":
        options[place] = bomb
    return make_client(settings(), base_url=vwo.base_url, workers=1, **options)


@BOTH_PRODUCTS
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", PLACES)
def test_row_34_interrupts_pass(tmp_path: Path, place: str, error: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit leave the loop; where it runs on, so does delivery."""
    bomb = Bomb(error)

    async def first() -> None:
        if place == "on_drop":
            await vwo.answer(307, times=1)
        await client.open()
        result = await visit.track("first")
        if place == "done":
            result.delivery.add_done_callback(bomb)
        await asyncio.sleep(5)

    async def second() -> None:
        async with asyncio.timeout(5):
            for user in range(10):
                assert await visit.track(f"u{user}", wait=True)
            await client.aclose()

    with fault_server(tmp_path) as vwo, own_loop() as loop:
        client = client_with(bomb, place, vwo)
        visit = Visit(client)
        with pytest.raises(error):
            loop.run_until_complete(first())
        loop.run_until_complete(second())
        assert bomb.calls >= 1
        # In FME the callback is told of an event once it is accepted.
        visit.assert_books(vwo, untold=place == "integrations" and is_fme())


@BOTH_PRODUCTS
@pytest.mark.parametrize("error", [asyncio.CancelledError, Stop, GeneratorExit])
@pytest.mark.parametrize("place", PLACES)
async def test_row_34_workers_survive(
    vwo: FaultServer, place: str, error: type[BaseException]
) -> None:
    """What else is no `Exception` is a failure of the function that raised it, and ends no worker."""
    bomb = Bomb(error)
    if place == "on_drop":
        await vwo.answer(307, times=1)
    client = client_with(bomb, place, vwo)
    visit = Visit(client)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with client, steady_loop():
        result = await visit.track("first")
        if place == "done":
            result.delivery.add_done_callback(bomb)
        await until(lambda: bomb.calls > 0)
        async with asyncio.timeout(5):
            for user in range(10):
                assert await visit.track(f"u{user}", wait=True)
    visit.assert_books(vwo)


# Row 35


class Service:
    """A client on a Redis storage, whose every answer is timed."""

    def __init__(self, vwo: FaultServer, storage: RedisUserStorage) -> None:
        self.client = make_client(
            settings(),
            base_url=vwo.base_url,
            user_storage=storage,
            storage_timeout_s=TIMEOUT_S,
        )

    async def activate(self, user_id: str) -> str | None:
        """Activate, which may read and write once."""
        watch = Stopwatch()
        name = await self.client.activate("checkout", user_id)
        watch.assert_below(2 * TIMEOUT_S + SLACK_S)
        return name

    async def track(self, user_id: str) -> TrackResult:
        """Track a conversion; where the storage is gone it is only read."""
        watch = Stopwatch()
        result = await self.client.track("checkout", user_id, "signup")
        rounds = 2 if result else 1
        watch.assert_below(rounds * TIMEOUT_S + SLACK_S)
        return result

    async def visit(self, user_id: str) -> Reason:
        """Activate and track, and return what became of the conversion."""
        assert await self.activate(user_id) is not None
        return (await self.track(user_id))["checkout"].reason

    async def is_healed(self) -> bool:
        """Tell whether the storage knows again what it knew at first."""
        return (await self.track("u0"))["checkout"].reason is Reason.ALREADY_TRACKED


def hurt(redis: RedisServer, fault: str) -> Callable[[], None]:
    """Do *fault* and return what undoes it."""
    if fault == "stopped":
        redis.pause()
        return redis.resume
    redis.kill()
    return redis.start


async def assert_costs_nothing(service: Service) -> None:
    """Assert that of 50 calls that follow one another, all without a storage, hardly any waits for it."""
    watch = Stopwatch()
    for number in range(50):
        # Not timed one by one: to read what the system says of all processes takes longer than the call.
        result = await service.client.track("checkout", f"later{number}", "signup")
        assert result["checkout"].reason is Reason.STORAGE_ERROR
    watch.assert_below(5 * TIMEOUT_S)


@pytest.mark.timed
@pytest.mark.parametrize("fault", ["killed", "stopped"])
async def test_row_35_redis(vwo: FaultServer, tmp_path: Path, fault: str) -> None:
    """Redis killed or stopped: only the first calls wait, and all is as before once it is back."""
    with running_redis(tmp_path / "redis") as server:
        async with RedisUserStorage.from_url(server.url) as storage:
            service = Service(vwo, storage)
            async with service.client, steady_loop():
                assert await service.visit("u0") is Reason.TRACKED
                assert await service.is_healed()
                heal = hurt(server, fault)
                # Each is timed, which takes milliseconds of the loop, so that they are few.
                users = [f"{fault}{number}" for number in range(8)]
                reasons = await asyncio.gather(*map(service.visit, users))
                assert set(reasons) == {Reason.STORAGE_ERROR}
                assert service.client.statistics().storage_errors >= len(users)
                await assert_costs_nothing(service)
                await asyncio.to_thread(heal)
                await until(service.is_healed)
                # Who came while it was away is assigned once more, and is known from then on.
                for user in users:
                    assert await service.visit(user) in (Reason.TRACKED, Reason.ALREADY_TRACKED)
                again = await asyncio.gather(*map(service.visit, users))
                assert set(again) == {Reason.ALREADY_TRACKED}
    statistics = service.client.statistics()
    assert vwo.ledger().total() == statistics.delivered == statistics.accepted


@pytest.mark.timed
async def test_row_35_redis_restarted(vwo: FaultServer, tmp_path: Path) -> None:
    """Redis restarted between two calls: the second is answered like the first."""
    with running_redis(tmp_path / "redis") as server:
        async with RedisUserStorage.from_url(server.url, ttl_s=600) as storage:
            service = Service(vwo, storage)
            users = [f"u{number}" for number in range(20)]
            async with service.client, steady_loop():
                reasons = await asyncio.gather(*map(service.visit, users))
                assert set(reasons) == {Reason.TRACKED}
                server.kill()
                await asyncio.to_thread(server.start)
                again = await asyncio.gather(*map(service.visit, users))
                assert set(again) == {Reason.ALREADY_TRACKED}
    statistics = service.client.statistics()
    assert statistics.storage_errors == 0
    assert vwo.ledger().total() == statistics.delivered == statistics.accepted
