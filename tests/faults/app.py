"""The process that is killed: it opens a client, tracks conversions and says which were accepted.

Each line it prints is the id of a user whose conversion was accepted, or begins with ``#`` and says a
word and facts in JSON. A line is out of the process before anything else happens in it, so that what
was printed was accepted, whenever the process dies.

It is also a web service: ``uvicorn app:make_service --factory``, with its options in ``APP_ARGUMENTS``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from vwo_async import ClosedError, VWOClient
from vwo_async._delivery.outbox import restorer, sqlite
from vwo_async.transport import Limits, Timeouts

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from vwo_async.storage import UserStorage

# It runs as a program of its own, beside the tests.
sys.path.append(str(Path(__file__).parents[1]))
make_chosen_client = import_module("chosen_product").make_client

TICK_S = 0.01


class Ticker:
    """Measures how late the loop is: how much longer a sleep of 10 ms took.

    What counts is at most the time that this thread computed meanwhile: on a busy machine a process
    waits for its turn as well, which nothing in it can help. The worst delay is given with that, too.
    """

    def __init__(self) -> None:
        self._delays_s: list[float] = []
        self._worst_s = 0.0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            begun, computed = time.monotonic(), time.thread_time()
            await asyncio.sleep(TICK_S)
            late_s = time.monotonic() - begun - TICK_S
            self._worst_s = max(self._worst_s, late_s)
            self._delays_s.append(min(late_s, time.thread_time() - computed))

    async def reach(self, number: int) -> None:
        """Wait until there are enough ticks to speak of percentiles."""
        while len(self._delays_s) < number:
            await asyncio.sleep(TICK_S)

    async def stop(self) -> dict[str, float]:
        """End and return what was measured."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        return self.measure()

    def measure(self) -> dict[str, float]:
        """Return the 99th percentile and the worst delay, in ms."""
        delays = sorted(self._delays_s) or [0.0]
        p99, worst = delays[int(len(delays) * 0.99)], delays[-1]
        figures = {"p99_ms": p99, "max_ms": worst, "wall_max_ms": self._worst_s}
        rounded = {name: round(seconds * 1000, 1) for name, seconds in figures.items()}
        return {**rounded, "ticks": len(delays)}


def read_memory_kb(field: str = "VmHWM") -> int:
    """Return the memory of this process: ``VmHWM`` the most it ever had, ``VmRSS`` what it has."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)


def tell(line: str) -> None:
    """Print a line that is out of the process when this returns."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say(word: str, **facts: Any) -> None:
    """Print a word and facts about this process."""
    tell(f"# {word} {json.dumps(facts)}")


def make_storage(url: str) -> UserStorage:
    """Return a storage on Redis; the library is imported by those processes alone that need it."""
    from vwo_async.storage.redis import RedisUserStorage

    return RedisUserStorage.from_url(url)


def make_client(options: argparse.Namespace) -> VWOClient:
    """Return a client as the command line describes it: quick to try again, and never giving up."""
    client: VWOClient = make_chosen_client(
        options.settings.read_bytes(),
        user_storage=make_storage(options.redis) if options.redis else None,
        base_url=options.base_url,
        outbox=options.outbox,
        close_timeout_s=options.close_timeout,
        limits=Limits(backoff_base_s=0.05, backoff_cap_s=1.0, max_attempts=1_000_000),
        timeouts=Timeouts(connect_s=1, read_s=2, write_s=2, total_s=3),
    )
    return client


async def track_one(client: VWOClient, options: argparse.Namespace, user: str, wait: bool) -> None:
    """Track a conversion and print its user if it was accepted."""
    if await client.track("checkout", user, "signup", wait=wait):
        if options.tell_pending:
            say("pending", number=client.statistics().pending)
        tell(user)


async def handle(client: VWOClient, options: argparse.Namespace, user: str) -> None:
    """Serve one visitor as a web framework does: who goes away has his handler cancelled."""
    wait = random.random() < options.wait_share
    task = asyncio.create_task(track_one(client, options, user, wait))
    if random.random() < options.cancel_share:
        asyncio.get_running_loop().call_later(random.random() ** 3, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        server = asyncio.current_task()
        assert server is not None
        # The visitor is gone, or all of it is to end, which cancels the visitor's task as well.
        if server.cancelling() or not task.cancelled():
            raise


async def serve_visitors(
    client: VWOClient, options: argparse.Namespace, numbers: Iterator[int]
) -> None:
    """Serve one visitor after the other."""
    for number in numbers:
        await handle(client, options, f"{options.prefix}{number}")
        await asyncio.sleep(options.pause * random.random() * 2)


async def run_track(client: VWOClient, options: argparse.Namespace) -> None:
    """Serve many visitors at once, for ever or as many as asked for."""
    numbers = count() if options.number is None else iter(range(options.number))
    reporter = asyncio.create_task(report(Ticker(), client))
    try:
        workers = [serve_visitors(client, options, numbers) for _ in range(options.concurrency)]
        await asyncio.gather(*workers)
        say("tracked")
        if options.stays:
            await asyncio.sleep(3600)
    finally:
        reporter.cancel()


async def report(ticker: Ticker, client: VWOClient) -> None:
    """Tell twice a second how the process does."""
    while True:
        await asyncio.sleep(0.5)
        one = client.statistics()
        say(
            "state",
            rss_kb=read_memory_kb(),
            **ticker.measure(),
            pending=one.pending,
            restored=one.restored,
            outbox_errors=one.outbox_errors,
            dropped=dict(one.dropped),
            rejected=one.rejected,
        )


async def run_drain(client: VWOClient, options: argparse.Namespace) -> None:
    """Deliver what earlier processes left, until nothing is pending and nothing waits in the file."""
    while not await client.flush_events() or client.statistics().outbox_waiting:
        await asyncio.sleep(0.02)
    say("drained", restored=client.statistics().restored)


async def run_burst(client: VWOClient, options: argparse.Namespace) -> None:
    """Track all visitors in one gather, and say how it went.

    Without garbage collections: among ten thousand callers who wait, for whatever it is, one takes 75 ms.
    """
    gc.disable()
    users = [f"{options.prefix}{number}" for number in range(options.number)]
    before_kb = read_memory_kb("VmRSS")
    ticker = Ticker()
    await asyncio.sleep(0.1)
    begun = time.monotonic()
    wait = options.wait_share > 0
    results = await asyncio.gather(
        *(client.track("checkout", user, "signup", wait=wait) for user in users)
    )
    tracked_s = time.monotonic() - begun
    while client.statistics().pending:
        await asyncio.sleep(TICK_S)
    drained_s = time.monotonic() - begun
    await ticker.reach(300)
    delays = await ticker.stop()
    tell("\n".join(user for user, result in zip(users, results, strict=True) if result))
    one = client.statistics()
    say(
        "burst",
        tracked_s=round(tracked_s, 3),
        drained_s=round(drained_s, 3),
        grown_kb=read_memory_kb() - before_kb,
        accepted=one.accepted,
        refused=one.refused,
        delivered=one.delivered,
        rejected=one.rejected,
        requests=one.requests,
        unknown=one.unknown,
        **delays,
    )


async def run_fork(client: VWOClient, options: argparse.Namespace) -> None:
    """Fork with events pending; the child tries the inherited client, then makes one of its own."""
    for number in range(50):
        await track_one(client, options, f"before{number}", wait=False)
    pid = os.fork()
    if not pid:
        os._exit(_run_forked(client, options))
    say("forked", pid=pid)
    for number in range(50):
        await track_one(client, options, f"after{number}", wait=False)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    say("child", code=os.waitstatus_to_exitcode(status))


def _run_forked(client: VWOClient, options: argparse.Namespace) -> int:
    try:
        asyncio.run(_use_forked(client, options))
    except BaseException as error:  # noqa: BLE001 - the parent process reads it
        sys.stderr.write(f"{error!r}\n")
        sys.stderr.flush()
        return 1
    return 0


async def _use_forked(client: VWOClient, options: argparse.Namespace) -> None:
    if options.stays:
        await asyncio.sleep(3600)
    for use in (client.track("checkout", "inherited", "signup"), client.open()):
        try:
            await use
        except ClosedError as error:
            say("refused", text=str(error))
    async with make_client(options) as own:
        for number in range(50):
            await track_one(own, options, f"child{number}", wait=False)


RUNS = {"track": run_track, "drain": run_drain, "burst": run_burst, "fork": run_fork}


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--outbox", type=Path)
    parser.add_argument("--prefix", default="u", help="what the ids of the users begin with")
    parser.add_argument("--number", type=int, help="how many users; for ever by default")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0, help="mean seconds between two")
    parser.add_argument("--wait-share", type=float, default=0.0, help="calls that await delivery")
    parser.add_argument("--cancel-share", type=float, default=0.0, help="calls that are cancelled")
    parser.add_argument("--close-timeout", type=float, default=5.0)
    parser.add_argument("--adopt-interval", type=float, help="how often to look for orphans")
    parser.add_argument("--redis", help="the URL of a server to store users in")
    parser.add_argument("--closes-at-sigterm", action="store_true")
    parser.add_argument("--tell-pending", action="store_true")
    parser.add_argument("--stays", action="store_true", help="go on for ever when all is tracked")
    parser.add_argument("--on-word", action="store_true", help="begin at a line on stdin")
    return parser.parse_args(arguments)


def _prepare(options: argparse.Namespace) -> None:
    if options.adopt_interval is not None:
        sqlite.ADOPT_INTERVAL_S = restorer.LOOK_INTERVAL_S = options.adopt_interval
    if options.on_word:
        sys.stdin.readline()


def _warm_up(arguments: Sequence[str]) -> None:
    """Import what the first client imports, so that no forked process has to."""
    anyio.run(anyio.sleep, 0)
    make_client(read_arguments(arguments))


def nurse() -> None:
    """Fork a process for each line on stdin: a file for its output, and its command line.

    A process is then there at once, and not after the second that it takes to import everything.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    is_warm = False
    for line in sys.stdin:
        out, *arguments = json.loads(line)
        if not is_warm:
            _warm_up(arguments)
            is_warm = True
        pid = os.fork()
        if pid:
            say("born", pid=pid)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        random.seed()
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 1)
        options = read_arguments(arguments)
        _prepare(options)
        asyncio.run(main(options))
        os._exit(0)


async def main(options: argparse.Namespace) -> None:
    """Open a client, do what was asked for, and close it."""
    say("begun", pid=os.getpid())
    if options.closes_at_sigterm:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with make_client(options) as client:
        say("open")
        with suppress(asyncio.CancelledError):
            await RUNS[options.run](client, options)
        closed = await client.aclose()
    say("closed", delivered=closed.delivered, remaining=closed.remaining, dropped=closed.dropped)


def make_service() -> Starlette:
    """Return a web service that opens its client in the lifespan."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    options = read_arguments(json.loads(os.environ["APP_ARGUMENTS"]))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with make_client(options) as client:
            app.state.vwo = client
            yield
            closed = await client.aclose()
        say("closed", delivered=closed.delivered, remaining=closed.remaining)

    async def signup(request: Request) -> Response:
        user = request.query_params["user"]
        await track_one(request.app.state.vwo, options, user, wait="wait" in request.query_params)
        return PlainTextResponse("thanks")

    return Starlette(routes=[Route("/signup", signup, methods=["POST"])], lifespan=lifespan)


if __name__ == "__main__":
    if sys.argv[1:] == ["nurse"]:
        nurse()
    else:
        chosen = read_arguments(None)
        _prepare(chosen)
        asyncio.run(main(chosen))
