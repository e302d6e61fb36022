"""launchdarkly-server-sdk at work: its flags come from this process, its events go to the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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
    check_split,
    enter,
    last_key,
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


def make_context(user: str, *, has_segment: bool) -> Any:
    """Return the context of a user, as for each visitor."""
    if not has_segment:
        return ldclient.Context.create(user)
    made = ldclient.Context.builder(user)
    for name, value in VARIABLES.items():
        made.set(name, value)
    return made.build()


async def measure_async(request: Request) -> Samples:
    """Time `variation` or `track` of the asynchronous client, which sends no events."""
    has_segment, key = request["segment"], last_key(request["campaigns"])
    flags = make_flags(request["campaigns"], has_segment=has_segment)
    config = AsyncConfig(
        "sdk-key",
        update_processor_class=lambda _, store, ready: AsyncFlags(store, ready, flags),
        send_events=False,
        diagnostic_opt_out=True,
    )
    async with AsyncLDClient(config) as client:

        async def decide(user: str) -> Any:
            return await client.variation(key, make_context(user, has_segment=has_segment), None)

        async def track(user: str) -> None:
            client.track(GOAL, ldclient.Context.create(user))

        check_split([await decide(one) for one in USERS[:100]], ("Control", "Variation-1"))
        return await time_coroutines(request, decide if request["work"] == "flag" else track)


async def time_coroutines(request: Request, call: Callable[[str], Awaitable[object]]) -> Samples:
    """Time the calls of one caller."""
    users = [USERS[number % len(USERS)] for number in range(request["calls"])]
    samples: Samples = {"wall_us": [], "cpu_us": []}
    for _ in range(WARM_UPS + request["samples"]):
        watch = Stopwatch()
        for user in users:
            await call(user)
        enter(samples, watch, len(users))
    return settle(samples)


def measure_flag(request: Request) -> Samples:
    """Time `variation`, of the asynchronous client where that is asked for."""
    return (
        asyncio.run(measure_async(request))
        if request.get("is_async")
        else measure_decision(request)
    )


def measure_event(request: Request) -> Samples:
    """Time `track` without sending."""
    if request.get("is_async"):
        return asyncio.run(measure_async(request))
    client = make_client(1, has_segment=False, url=None)
    create, track = ldclient.Context.create, client.track
    samples = time_decisions(request, lambda user: track(GOAL, create(user)))
    client.close()
    return samples


WORKS = {
    "decision": measure_decision,
    "track": measure_track,
    "flag": measure_flag,
    "event": measure_event,
}
serve(WORKS, "launchdarkly-server-sdk", "urllib3")
