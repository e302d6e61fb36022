"""What the Python workers share: the line protocol, the stopwatch, and the connection to the server.

A worker is a script that runs in the environment of one SDK. It reads requests, one JSON object a line,
and answers each with one line: lists of raw samples by the name of what was measured, or an error. This
module needs the standard library alone.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import importlib.metadata
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeAlias

Request: TypeAlias = dict[str, Any]
Samples: TypeAlias = dict[str, list[float]]
Work: TypeAlias = Callable[[Request], Samples]

USERS = [f"visitor-{number}" for number in range(1000)]
VARIABLES: dict[str, Any] = {
    "plan": "professional",
    "age": 33,
    "country": "DE",
    "browser": "firefox",
    "visits": 12,
}
GOAL = "purchase"
WARM_UPS = 2


class UnmeasuredError(Exception):
    """This SDK cannot do what it was asked; the text says why."""


def last_key(campaigns: int) -> str:
    """Return the key of the last campaign in a file with this number of campaigns."""
    return f"campaign-{campaigns}"


def serve(works: Mapping[str, Work], *packages: str) -> None:
    """Answer requests until standard input ends; report the versions of *packages*."""
    # What an SDK prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["work"] == "about":
                answer: Any = describe(packages)
            else:
                answer = works[request["work"]](request)
        except Exception as error:  # noqa: BLE001 - one work that fails is that work's answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def describe(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of some packages, where they are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


class Stopwatch:
    """Wall time and CPU time of this process, all its threads, since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def stop(self, operations: int) -> tuple[float, float]:
        """Return wall and CPU time per operation, in microseconds."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return wall / operations * 1e6, cpu / operations * 1e6


def time_decisions(request: Request, decide: Callable[[str], object]) -> Samples:
    """Time a synchronous function that decides for a user."""
    calls = fit_calls(request, decide)
    users = [USERS[number % len(USERS)] for number in range(calls)]
    samples: Samples = {"wall_us": [], "cpu_us": []}
    for _ in range(WARM_UPS + request["samples"]):
        watch = Stopwatch()
        for user in users:
            decide(user)
        enter(samples, watch, len(users))
    return settle(samples)


def summarize_held(held_s: list[float]) -> Samples:
    """Return for how long calls kept their caller."""
    return {"p50_us": [quantile(held_s, 0.5) * 1e6], "p99_us": [quantile(held_s, 0.99) * 1e6]}


def fit_calls(request: Request, decide: Callable[[str], object]) -> int:
    """Return how many calls a sample has: ``calls``, or as many as fit into ``budget_s`` for all samples."""
    calls: int = request["calls"]
    if "budget_s" not in request:
        return calls
    decide(USERS[0])
    began = time.perf_counter()
    decide(USERS[1])
    took_s = time.perf_counter() - began
    share_s = request["budget_s"] / (WARM_UPS + request["samples"])
    return max(1, min(calls, int(share_s / max(took_s, 1e-9))))


def enter(samples: Samples, watch: Stopwatch, operations: int) -> None:
    """Add the times of one run of a number of operations."""
    wall, cpu = watch.stop(operations)
    samples["wall_us"].append(wall)
    samples["cpu_us"].append(cpu)


def settle(samples: Samples) -> Samples:
    """Return the samples without the first runs, during which code warms up."""
    return {name: values[WARM_UPS:] for name, values in samples.items()}


def check_split(names: Iterable[object], expected: Iterable[object]) -> None:
    """Make sure that users are divided among exactly the expected variations: that the work is done.

    Raises:
        UnmeasuredError: They are not.
    """
    found, wanted = {*names}, {*expected}
    if found != wanted:
        raise UnmeasuredError(f"decided {found!r} in place of {wanted!r}")


class ServerConnection:
    """A connection to the server's control paths.

    Args:
        url: The address of the server.
    """

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)

    def ask(self, path: str, body: bytes | None = None) -> dict[str, int]:
        """Return the server's counts after a request."""
        self._connection.request("GET" if body is None else "POST", path, body)
        counts: dict[str, int] = json.loads(self._connection.getresponse().read())
        return counts

    def reset(self) -> None:
        """Reset the counts of the server."""
        self.ask("/bench/reset")

    def wait(self, count: int) -> dict[str, int]:
        """Wait until the server has counted this many events."""
        return self.ask(f"/bench/wait?count={count}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def quantile(values: list[float], share: float) -> float:
    """Return the value below which *share* of the values are."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def time_callers(calls: Iterable[Coroutine[Any, Any, None]], held_s: list[float]) -> Samples:
    """Return what it takes until all callers have ended who run at once, and how long they hold the loop.

    Args:
        calls: What each caller does. They begin together, when all of them are there.
        held_s: Takes the time of each call.
    """
    tasks = [asyncio.ensure_future(one) for one in calls]
    settle_memory()
    delays = LoopDelays() if len(tasks) > 1 else None
    watch = Stopwatch()
    await asyncio.gather(*tasks)
    sample = make_sample(held_s, watch)
    return sample | {"loop_p99_ms": [delays.stop()]} if delays else sample


def settle_memory() -> None:
    """Have what was made so far looked at by no collection of garbage while something is measured."""
    gc.collect()
    gc.freeze()


class LoopDelays:
    """How late a timer of the running loop is, every millisecond: for so long others had to wait for a turn."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._delays_s: list[float] = []
        self._wait()

    def _wait(self) -> None:
        due = self._loop.time() + 0.001
        self._timer = self._loop.call_at(due, self._note, due)

    def _note(self, due: float) -> None:
        self._delays_s.append(self._loop.time() - due)
        self._wait()

    def stop(self) -> float:
        """Return the delay in milliseconds that one in a hundred exceeds; 0 where there was no time to look."""
        self._timer.cancel()
        return quantile(self._delays_s, 0.99) * 1e3 if self._delays_s else 0.0


def make_sample(held_s: list[float], watch: Stopwatch) -> Samples:
    """Return what a run of calls took, of which *watch* began with the first and all have ended."""
    wall, cpu = watch.stop(len(held_s))
    return {
        "p50_us": [quantile(held_s, 0.5) * 1e6],
        "p99_us": [quantile(held_s, 0.99) * 1e6],
        "max_us": [max(held_s) * 1e6],
        "events_per_s": [1e6 / wall],
        "cpu_us": [cpu],
    }


def time_threads(
    request: Request, call: Callable[[str], object], deliver: Callable[[], object] = lambda: None
) -> Samples:
    """Time calls of a plain function from one thread or several, until the server has every event.

    Args:
        request: How many ``callers``, how many ``calls`` each, and the ``url`` of the server.
        call: Sends one event of a user.
        deliver: Called once after the last call, to let go what is held back.
    """
    server = ServerConnection(request["url"])
    server.reset()
    callers, calls = request["callers"], request["calls"]
    held: list[list[float]] = [[] for _ in range(callers)]
    clock = time.perf_counter

    def run(number: int) -> None:
        mine = held[number]
        for index in range(calls):
            user = USERS[(number + index) % len(USERS)]
            began = clock()
            call(user)
            mine.append(clock() - began)

    watch = Stopwatch()
    if callers == 1:
        run(0)
    else:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    deliver()
    server.wait(callers * calls)
    sample = make_sample([one for each in held for one in each], watch)
    server.close()
    return sample
