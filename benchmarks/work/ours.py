"""vwo_async at work; the requests name the settings file, and the variant: its transport and event loop."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from worker import (
    GOAL,
    USERS,
    VARIABLES,
    WARM_UPS,
    Request,
    Samples,
    ServerConnection,
    Stopwatch,
    UnmeasuredError,
    check_split,
    enter,
    last_key,
    make_sample,
    serve,
    settle,
    summarize_held,
    time_callers,
)

import vwo_async
from vwo_async import FMEClient, FMEUser, VWOClient
from vwo_async.outbox import SqliteOutbox
from vwo_async.storage import MemoryUserStorage
from vwo_async.transport import Answer, Limits

# Raised for every SDK that has such a bound, so that none drops what the others deliver.
ROOMY = Limits(max_events=2_000_000, max_bytes=4_000_000_000)
TICK_S = 0.001
T = TypeVar("T")


def run(request: Request, work: Callable[[Request], Coroutine[Any, Any, Samples]]) -> Samples:
    """Run *work* in an event loop of the kind that is asked for."""
    if request.get("loop") != "uvloop":
        return asyncio.run(work(request))
    import uvloop  # noqa: PLC0415 - only where it is asked for

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work(request))


def make_client(request: Request, **options: Any) -> VWOClient:
    """Return a client as the request describes it."""
    settings = Path(request["settings"]).read_bytes()
    if "url" in request:
        options["base_url"] = request["url"]
    if request.get("transport"):
        options["transport"] = request["transport"]
    return VWOClient(settings, limits=ROOMY, **options)


async def measure_decision(request: Request) -> Samples:
    """Time `get_variation_name` for the last campaign."""
    key = last_key(request["campaigns"])
    given: dict[str, Any] = {"custom_variables": VARIABLES} if request["segment"] else {}
    users = [USERS[number % len(USERS)] for number in range(request["calls"])]
    samples: Samples = {"wall_us": [], "cpu_us": []}
    async with make_client(request) as client:
        names = [await client.get_variation_name(key, user, **given) for user in USERS[:100]]
        check_split(names, ("Control", "Variation-1"))
        decide = client.get_variation_name
        for _ in range(WARM_UPS + request["samples"]):
            await asyncio.sleep(0)
            watch = Stopwatch()
            if given:
                for user in users:
                    await decide(key, user, custom_variables=VARIABLES)
            else:
                for user in users:
                    await decide(key, user)
            enter(samples, watch, len(users))
    return settle(samples)


async def measure_flag(request: Request) -> Samples:
    """Time `get_flag` for the last feature, or `activate` for the last campaign."""
    key = last_key(request["campaigns"])
    variables = VARIABLES if request["segment"] else None
    async with make_product(request) as client:
        if isinstance(client, VWOClient):
            activate = client.activate
            names = [await activate(key, one, custom_variables=variables) for one in USERS[:100]]
            check_split(names, ("Control", "Variation-1"))
            return await time_coroutines(
                request, lambda user: activate(key, user, custom_variables=variables)
            )
        get_flag = client.get_flag
        flags = [await get_flag(key, FMEUser(one, variables)) for one in USERS[:100]]
        check_split((one.get_variable("name") for one in flags), ("Control", "Variation-1"))
        return await time_coroutines(
            request, lambda user: get_flag(key, FMEUser(user, variables) if variables else user)
        )


async def measure_event(request: Request) -> Samples:
    """Time `track_event`, or `track` for the last campaign."""
    key = last_key(request["campaigns"])
    async with make_product(request) as client:
        if isinstance(client, VWOClient):
            track = client.track
            return await time_coroutines(request, lambda user: track(key, user, GOAL))
        track_event = client.track_event
        return await time_coroutines(request, lambda user: track_event(GOAL, user))


async def measure_sending(request: Request) -> Samples:
    """Time `get_flag` or `track_event` with what they send, which is delivered between the calls."""
    key, held = last_key(request["campaigns"]), []
    async with make_product(request) as client:
        assert isinstance(client, FMEClient)
        for number in range(request["calls"]):
            user = f"sending-{time.time_ns()}-{number}"
            began = time.perf_counter()
            if request["work"] == "sending_flag":
                await client.get_flag(key, user)
            else:
                await client.track_event(GOAL, user)
            held.append(time.perf_counter() - began)
            if request["pause_s"]:
                await asyncio.sleep(request["pause_s"])
        report = await client.flush_events()
        delivered = client.statistics().delivered
    if not report or delivered < len(held):
        raise UnmeasuredError("not everything was delivered")
    return summarize_held(held)


def make_product(request: Request) -> VWOClient | FMEClient:
    """Return a client of the product that is asked for; without a server what it sends goes nowhere.

    Not in development mode, in which a client of FullStack decides on a longer path.
    """
    settings = Path(request["settings"]).read_bytes()
    kind = VWOClient if request.get("is_fullstack") else FMEClient
    goes_to = {"base_url": request["url"]} if "url" in request else {"transport": Nowhere()}
    return kind(settings, limits=ROOMY, **goes_to)


class Nowhere:
    """A transport that takes everything and sends nothing."""

    async def send(self, request: vwo_async.transport.Request) -> vwo_async.transport.Answer:
        """Take *request*."""
        del request
        return vwo_async.transport.Answer(200)

    async def aclose(self) -> None:
        """Do nothing."""


async def time_coroutines(request: Request, call: Callable[[str], Awaitable[object]]) -> Samples:
    """Time the calls of one caller."""
    users = [USERS[number % len(USERS)] for number in range(request["calls"])]
    samples: Samples = {"wall_us": [], "cpu_us": []}
    for _ in range(WARM_UPS + request["samples"]):
        await asyncio.sleep(0)
        watch = Stopwatch()
        for user in users:
            await call(user)
        enter(samples, watch, len(users))
    return settle(samples)


async def measure_track(request: Request) -> Samples:
    """Time `track`, from one caller or several, until the server has every event."""
    server = ServerConnection(request["url"])
    waits = request.get("waits", False)
    async with make_client(request) as client:
        # The first request opens the connection, which is no part of what is measured.
        await client.track("campaign-1", "warm-up", GOAL, wait=True)
        server.reset()
        watch = Stopwatch()
        held = await call_from_all(client, request, waits=waits)
        report = await client.flush_events()
        sample = make_sample(held, watch)
        counts = server.ask("/bench/wait?count=0")
    server.close()
    if not report or counts["events"] != len(held):
        raise UnmeasuredError(f"{counts['events']} of {len(held)} events arrived")
    sample["events_per_request"] = [counts["events"] / counts["requests"]]
    return sample


async def call_from_all(client: VWOClient, request: Request, *, waits: bool) -> list[float]:
    """Make the calls of all callers; return the time of each call in seconds."""
    callers, calls = request["callers"], request["calls"]
    held: list[float] = []
    clock = time.perf_counter
    track = client.track

    async def call(number: int) -> None:
        for index in range(calls):
            user = USERS[(number + index) % len(USERS)]
            began = clock()
            await track("campaign-1", user, GOAL, wait=waits)
            held.append(clock() - began)
            if callers > 1:
                # As between two requests of a service, where the other callers go on.
                await asyncio.sleep(0)

    await asyncio.gather(*map(call, range(callers)))
    return held


async def measure_open(request: Request) -> Samples:
    """Time the way from the bytes of a settings file to a client that can decide."""
    samples: Samples = {"ms": []}
    for _ in range(request["samples"]):
        began = time.perf_counter()
        async with make_client(request) as client:
            await client.get_variation_name(last_key(request["campaigns"]), USERS[0])
            samples["ms"].append((time.perf_counter() - began) * 1e3)
    return samples


async def measure_hold(request: Request) -> Samples:
    """Find the longest time for which opening and refreshing a large file block the event loop."""
    url = request["url"]
    account = offer_settings(request)
    samples: Samples = {"idle_ms": [], "open_ms": [], "refresh_ms": []}

    async def fetch_and_open() -> VWOClient:
        settings = await vwo_async.fetch_settings(*account, base_url=url)
        return await VWOClient(settings, base_url=url).open()

    for _ in range(request["samples"]):
        _, idle_ms = await watch_loop(lambda: asyncio.sleep(0.1))
        client, open_ms = await watch_loop(fetch_and_open)
        async with client:
            _, refresh_ms = await watch_loop(client.get_and_update_settings_file)
        for name, value in zip(samples, (idle_ms, open_ms, refresh_ms), strict=True):
            samples[name].append(value)
    return samples


def offer_settings(request: Request) -> tuple[int, str]:
    """Let the server answer with the settings file, and return its account and key."""
    text = Path(request["settings"]).read_bytes()
    server = ServerConnection(request["url"])
    server.ask("/bench/settings", text)
    server.close()
    settings = json.loads(text)
    return settings["accountId"], settings["sdkKey"]


async def watch_loop(work: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    """Return the result of *work*, and the longest delay of a ticking task during it, in ms."""
    latest = 0.0

    async def tick() -> None:
        nonlocal latest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK_S)
            latest = max(latest, time.perf_counter() - began - TICK_S)

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(5 * TICK_S)
    result = await work()
    await asyncio.sleep(5 * TICK_S)
    ticker.cancel()
    return result, latest * 1e3


def read_rss() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def measure_memory(request: Request) -> Samples:
    """Measure how much memory a large settings file and very many events add to a fresh process."""
    events, key = request["events"], last_key(request["campaigns"])
    at_first = read_rss()
    async with make_client(request) as client:
        after_open = read_rss()
        # The first of them fill what Python keeps for the next.
        await track_many(client, key, events // 10)
        before = read_rss()
        await track_many(client, key, events)
        after = read_rss()
        if client.statistics().delivered != events + events // 10:
            raise UnmeasuredError("not every event was delivered")
    return {
        "import_mb": [at_first],
        "open_mb": [after_open - at_first],
        "growth_mb": [after - before],
    }


async def track_many(client: VWOClient, key: str, events: int) -> None:
    """Track events of different users, delivering a thousand at a time."""
    for number in range(events):
        await client.track(key, f"visitor-{number}", GOAL)
        if number % 1000 == 0:
            await client.flush_events()
    await client.flush_events()


def make_storage(request: Request) -> Any:
    """Return the storage that the request names."""
    kind, address = request["storage"], request.get("address", "")
    if kind == "memory":
        return MemoryUserStorage()
    if kind == "redis":
        from vwo_async.storage.redis import RedisUserStorage  # noqa: PLC0415 - an optional extra

        return RedisUserStorage.from_url(address)
    if kind == "sql":
        from vwo_async.storage.sql import SqlUserStorage  # noqa: PLC0415 - an optional extra

        return SqlUserStorage.from_url(address)
    return None


class Taking:
    """A transport that takes every event at once: what delivery costs is measured elsewhere."""

    async def send(self, request: object) -> Answer:
        """Answer as VWO does, in a later turn of the loop, as from a network."""
        await asyncio.sleep(0)
        return Answer(200)

    async def aclose(self) -> None:
        """Do nothing."""


class Distant(Taking):
    """A transport to a server that takes every event, and is as far away as a server of VWO may be.

    Args:
        round_trip_s: After this time it answers.
    """

    def __init__(self, round_trip_s: float) -> None:
        self._round_trip_s = round_trip_s

    async def send(self, request: object) -> Answer:
        """Answer when the round trip is over."""
        await asyncio.sleep(self._round_trip_s)
        return Answer(200)


async def measure_storage(request: Request) -> Samples:
    """Time `track` of users that a storage knows, from one caller or several."""
    storage = make_storage(request)
    if hasattr(storage, "create_tables"):
        await storage.create_tables()
    callers, calls = request["callers"], request["calls"]
    # Each conversion is counted once, so every call is another user's.
    users = [f"{time.time_ns()}-{number}" for number in range(callers * calls)]
    held: list[float] = []
    options: dict[str, Any] = {"transport": Taking()}
    if storage is not None:
        options |= {"user_storage": storage, "storage_timeout_s": 30.0}
    async with make_client(request, **options) as client:
        for first in range(0, len(users), 100):
            some = users[first : first + 100]
            await asyncio.gather(*(client.activate("campaign-1", user) for user in some))
        await client.flush_events()

        async def call(mine: list[str]) -> None:
            for user in mine:
                began = time.perf_counter()
                result = await client.track("campaign-1", user, GOAL)
                held.append(time.perf_counter() - began)
                if not result or result.notes:
                    raise UnmeasuredError(f"not tracked: {result.reason} {result.notes}")

        shares = [users[number::callers] for number in range(callers)]
        sample = await time_callers(map(call, shares), held)
    if hasattr(storage, "aclose"):
        await storage.aclose()
    return sample


async def measure_yield(request: Request) -> Samples:
    """Time coroutines that do nothing but give way: how long so many callers hold the loop by being there."""
    callers, calls = request["callers"], request["calls"]
    held: list[float] = []

    async def call() -> None:
        for _ in range(calls):
            began = time.perf_counter()
            await asyncio.sleep(0)
            held.append(time.perf_counter() - began)

    return await time_callers((call() for _ in range(callers)), held)


async def measure_outbox(request: Request) -> Samples:
    """Time `track` with an outbox, from one caller or several: until all were told, and until all is delivered."""
    callers, calls = request["callers"], request["calls"]
    held: list[float] = []
    options: dict[str, Any] = {}
    if "round_trip_ms" in request:
        options["transport"] = Distant(request["round_trip_ms"] / 1000)
    with tempfile.TemporaryDirectory() as folder:
        outbox = SqliteOutbox(Path(folder) / "outbox.db", synchronous=request["synchronous"])
        async with make_client(request, outbox=outbox, **options) as client:
            await client.track("campaign-1", "warm-up", GOAL, wait=True)

            async def call(number: int) -> None:
                for index in range(calls):
                    began = time.perf_counter()
                    await client.track("campaign-1", f"{number}-{index}", GOAL)
                    held.append(time.perf_counter() - began)

            sample = await time_callers(map(call, range(callers)), held)
            accepted_us = 1e6 / sample["events_per_s"][0]
            watch = Stopwatch()
            report = await client.flush_events()
            sample["delivered_per_s"] = [1e6 / (accepted_us + watch.stop(len(held))[0])]
            if not report or client.statistics().outbox_errors:
                raise UnmeasuredError("not every event was kept and delivered")
    return sample


def in_loop(
    work: Callable[[Request], Coroutine[Any, Any, Samples]],
) -> Callable[[Request], Samples]:
    """Return a synchronous function that runs *work* in the event loop that its request names."""
    return lambda request: run(request, work)


serve(
    {
        "decision": in_loop(measure_decision),
        "track": in_loop(measure_track),
        "open": in_loop(measure_open),
        "hold": in_loop(measure_hold),
        "memory": in_loop(measure_memory),
        "storage": in_loop(measure_storage),
        "outbox": in_loop(measure_outbox),
        "yield": in_loop(measure_yield),
        "flag": in_loop(measure_flag),
        "event": in_loop(measure_event),
        "sending_flag": in_loop(measure_sending),
        "sending_event": in_loop(measure_sending),
    },
    "vwo-async",
    "httpx",
    "httpcore",
    "anyio",
    "pydantic",
    "mmh3",
    "sniffio",
    "aiohttp",
    "httpx2",
    "uvloop",
)
