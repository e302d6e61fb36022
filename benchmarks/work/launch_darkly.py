"""launchdarkly-server-sdk at work: its flags come from this process, its events go to the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import ldclient
from ldclient.async_client import AsyncLDClient
from ldclient.async_config import AsyncConfig
from ldclient.config import Config
from ldclient.interfaces import AsyncUpdateProcessor, UpdateProcessor
from ldclient.versioned_data_kind import FEATURES, SEGMENTS
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
    time_decisions,
    time_threads,
)

FIVE_CLAUSES = [
    ("plan", "contains", "prof", False),
    ("age", "greaterThanOrEqual", 18, False),
    ("country", "in", "DE", False),
    ("browser", "in", "ie", True),
    ("visits", "lessThan", 1000, False),
]


def make_flag(key: str, *, has_segment: bool) -> dict[str, Any]:
    """Return a flag of two equal variations, for everybody or for a rule of five clauses."""
    rollout = {"rollout": {"variations": [{"variation": one, "weight": 50000} for one in (0, 1)]}}
    clauses = [
        {"attribute": name, "op": op, "values": [value], "negate": negated}
        for name, op, value, negated in FIVE_CLAUSES
    ]
    rules = [{"id": "rule", "clauses": clauses, **rollout}] if has_segment else []
    return {
        "key": key,
        "version": 1,
        "on": True,
        "salt": key,
        "targets": [],
        "prerequisites": [],
        "rules": rules,
        "fallthrough": {"variation": 2} if has_segment else rollout,
        "offVariation": 2,
        "variations": ["Control", "Variation-1", "nothing"],
        "trackEvents": False,
    }


class Flags(UpdateProcessor):  # type: ignore[misc]
    """Puts the flags into the SDK's store instead of connecting to LaunchDarkly."""

    def __init__(self, store: Any, ready: Any, flags: dict[str, Any]) -> None:
        self._store, self._ready, self._flags = store, ready, flags

    def start(self) -> None:
        """Put the flags into the store."""
        self._store.init({FEATURES: self._flags, SEGMENTS: {}})
        self._ready.set()

    def stop(self) -> None:
        """Do nothing: nothing is running."""

    def initialized(self) -> bool:
        """True: the flags are there from the start."""
        return True


class AsyncFlags(AsyncUpdateProcessor):  # type: ignore[misc]
    """The same for the asynchronous client."""

    def __init__(self, store: Any, ready: Any, flags: dict[str, Any]) -> None:
        self._store, self._ready, self._flags = store, ready, flags

    def start(self) -> None:
        """Put the flags into the store, as soon as the event loop gets to it."""
        self._task = asyncio.ensure_future(self._fill())

    async def _fill(self) -> None:
        await self._store.init({FEATURES: self._flags, SEGMENTS: {}})
        self._ready.set()

    async def stop(self) -> None:
        """Do nothing: nothing is running."""

    def initialized(self) -> bool:
        """True: the flags are there from the start."""
        return True


def make_flags(campaigns: int, *, has_segment: bool) -> dict[str, Any]:
    """Return that many flags by key."""
    keys = [f"campaign-{number}" for number in range(1, campaigns + 1)]
    return {key: make_flag(key, has_segment=has_segment) for key in keys}


def make_client(campaigns: int, *, has_segment: bool, url: str | None) -> Any:
    """Return a client with that many flags; without *url* it sends no events."""
    flags = make_flags(campaigns, has_segment=has_segment)
    config = Config(
        "sdk-key",
        update_processor_class=lambda _, store, ready: Flags(store, ready, flags),
        events_uri=url or "http://127.0.0.1:9",
        send_events=url is not None,
        events_max_pending=2_000_000,
        diagnostic_opt_out=True,
        flush_interval=3600,
    )
    return ldclient.LDClient(config, start_wait=10)


def measure_decision(request: Request) -> Samples:
    """Time `variation` for the last flag; a context is made for each call, as for each visitor."""
    has_segment, key = request["segment"], last_key(request["campaigns"])
    client = make_client(request["campaigns"], has_segment=has_segment, url=None)
    builder, create, decide = ldclient.Context.builder, ldclient.Context.create, client.variation

    def decide_in_segment(user: str) -> Any:
        made = builder(user)
        for name, value in VARIABLES.items():
            made.set(name, value)
        return decide(key, made.build(), None)

    def decide_for_all(user: str) -> Any:
        return decide(key, create(user), None)

    work = decide_in_segment if has_segment else decide_for_all
    check_split(map(work, USERS[:100]), ("Control", "Variation-1"))
    samples = time_decisions(request, work)
    client.close()
    return samples


def measure_track(request: Request) -> Samples:
    """Time `track`, then flush the pending events."""
    client = make_client(1, has_segment=False, url=request["url"])
    create, track = ldclient.Context.create, client.track
    # The first request opens the connection, which is no part of what is measured.
    server = ServerConnection(request["url"])
    server.reset()
    track(GOAL, create("warm-up"))
    client.flush()
    server.wait(1)
    server.close()
    samples = time_threads(request, lambda user: track(GOAL, create(user)), client.flush)
    client.close()
    return samples


@asynccontextmanager
async def open_async_client(
    campaigns: int, *, has_segment: bool, url: str | None
) -> AsyncIterator[Any]:
    """Open an asynchronous client with that many flags; without *url* it sends no events."""
    flags = make_flags(campaigns, has_segment=has_segment)
    config = AsyncConfig(
        "sdk-key",
        update_processor_class=lambda _, store, ready: AsyncFlags(store, ready, flags),
        events_uri=url or "http://127.0.0.1:9",
        send_events=url is not None,
        events_max_pending=2_000_000,
        diagnostic_opt_out=True,
        flush_interval=3600,
    )
    client = AsyncLDClient(config)
    await client.start(10)
    try:
        yield client
    finally:
        await client.close()


async def measure_async_decision(request: Request) -> Samples:
    """Time `variation` of the asynchronous client, as `measure_decision` does."""
    has_segment, key = request["segment"], last_key(request["campaigns"])
    users = [USERS[number % len(USERS)] for number in range(request["calls"])]
    samples: Samples = {"wall_us": [], "cpu_us": []}
    builder, create = ldclient.Context.builder, ldclient.Context.create
    async with open_async_client(request["campaigns"], has_segment=has_segment, url=None) as client:

        async def decide(user: str) -> Any:
            if not has_segment:
                return await client.variation(key, create(user), None)
            made = builder(user)
            for name, value in VARIABLES.items():
                made.set(name, value)
            return await client.variation(key, made.build(), None)

        check_split([await decide(user) for user in USERS[:100]], ("Control", "Variation-1"))
        for _ in range(WARM_UPS + request["samples"]):
            watch = Stopwatch()
            for user in users:
                await decide(user)
            enter(samples, watch, len(users))
    return settle(samples)


async def measure_async_track(request: Request) -> Samples:
    """Time `track` of the asynchronous client, which is a plain function, then flush the pending events."""
    create, callers, calls = ldclient.Context.create, request["callers"], request["calls"]
    held: list[float] = []
    server = ServerConnection(request["url"])
    async with open_async_client(1, has_segment=False, url=request["url"]) as client:
        server.reset()
        client.track(GOAL, create("warm-up"))
        await client.flush_and_wait(10)
        server.reset()

        async def call(number: int) -> None:
            for index in range(calls):
                began = time.perf_counter()
                client.track(GOAL, create(USERS[(number + index) % len(USERS)]))
                held.append(time.perf_counter() - began)
                if callers > 1:
                    await asyncio.sleep(0)

        watch = Stopwatch()
        await asyncio.gather(*map(call, range(callers)))
        await client.flush_and_wait(120)
        sample = make_sample(held, watch)
        counts = server.ask("/bench/wait?count=0")
    server.close()
    if counts["events"] != len(held):
        raise UnmeasuredError(f"{counts['events']} of {len(held)} events arrived")
    return sample


def measure_event(request: Request) -> Samples:
    """Time `track` without sending."""
    client = make_client(1, has_segment=False, url=None)
    create, track = ldclient.Context.create, client.track
    samples = time_decisions(request, lambda user: track(GOAL, create(user)))
    client.close()
    return samples


async def measure_async_event(request: Request) -> Samples:
    """Time `track` of the asynchronous client, a plain function, without sending."""
    create = ldclient.Context.create
    async with open_async_client(1, has_segment=False, url=None) as client:
        return time_decisions(request, lambda user: client.track(GOAL, create(user)))


def choose(
    plain: Callable[[Request], Samples], in_loop: Callable[[Request], Coroutine[Any, Any, Samples]]
) -> Callable[[Request], Samples]:
    """Return what measures the client that a request names."""
    return lambda one: asyncio.run(in_loop(one)) if one.get("is_async") else plain(one)


serve(
    {
        "decision": choose(measure_decision, measure_async_decision),
        "track": choose(measure_track, measure_async_track),
        "flag": choose(measure_decision, measure_async_decision),
        "event": choose(measure_event, measure_async_event),
    },
    "launchdarkly-server-sdk",
    "urllib3",
    "aiohttp",
)
