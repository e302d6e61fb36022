"""The rig of the failure matrix: the misbehaving server, its ledger, children, clocks, and a pulse."""

from __future__ import annotations

import asyncio
import atexit
import datetime as dt
import json
import os
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from chosen_transport import chosen_transport
from own_time import TooSlowError, assert_below, read_stolen_s, read_waiting_s
from product_event import EventMaker

from vwo_async import TrackResult
from vwo_async._delivery.event import Event
from vwo_async._delivery.queue import Batching, Limits, Queue
from vwo_async._delivery.sender import Sender
from vwo_async._result import receipt_of
from vwo_async.transport import Timeouts

HERE = Path(__file__).parent
SERVER = HERE / "misbehaving.py"
TICK_S = 0.01
P99_DELAY_S = 0.05
MAX_DELAY_S = 0.25
# By how much a noisy machine may be late with what a test has timed.
SLACK_S = 0.4


class Try(NamedTuple):
    """One request that the server has fully read; see ``misbehaving.Try``."""

    at: float
    connection: int
    method: str
    target: str
    headers: list[list[str]]
    body: str
    digest: str
    size: int
    events: list[str]
    status: int | None
    is_taken: bool
    ended_at: float | None
    written: int


class State(NamedTuple):
    """What the server has seen besides requests."""

    connections: int
    peak: int
    junk: list[str]


@dataclass
class FaultServer:
    """The misbehaving server as tests see it: commands, and the ledger on disk."""

    port: int
    control: int
    ledger_path: Path
    scheme: str = "http"

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def command(self, name: str, **arguments: Any) -> Any:
        """Have the server do something and return its answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.control)
        try:
            writer.write(json.dumps({"do": name, **arguments}).encode() + b"\n")
            return json.loads(await reader.read())
        finally:
            writer.close()
            await writer.wait_closed()

    async def answer(
        self,
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (),
        body: str = "",
        *,
        style: str = "answer",
        times: int | None = None,
    ) -> None:
        """Answer so the next *times* requests, or every request from now on."""
        given = {"status": status, "headers": list(headers), "body": body}
        await self.command("answer", **given, style=style, times=times)

    async def misbehave(self, style: str, times: int | None = 1) -> None:
        """Treat so the next *times* requests: hang, drip, read_then_reset, gzip_bomb, ..."""
        await self.answer(style=style, times=times)

    async def refuse_marked(self, marker: str, status: int = 400, style: str = "answer") -> None:
        """Answer so to each request that holds *marker*."""
        await self.command("refuse_marked", marker=marker, status=status, style=style)

    async def refuse_larger(self, size: int) -> None:
        """Answer 413 to a body of more than *size* bytes."""
        await self.command("refuse_larger", size=size)

    async def close_idle(self) -> int:
        """Close idle connections and return how many there were."""
        return int(await self.command("close_idle"))

    async def stop(self) -> None:
        """Close the port and every connection."""
        await self.command("stop")

    async def start(self, certificate: Path | None = None) -> None:
        """Listen on the same port again, with TLS where there is a *certificate*."""
        await self.command("start", certificate=None if certificate is None else str(certificate))

    async def tries(self) -> list[Try]:
        """Return the requests that the server has fully read, in order."""
        return [Try(**one) for one in await self.command("tries")]

    async def state(self) -> State:
        """Return what the server has seen besides requests."""
        return State(**await self.command("state"))

    def ledger(self) -> Counter[str]:
        """Return the events that the server has taken, by name, with how often it took each."""
        return Counter(self.ledger_path.read_text().splitlines())


@contextmanager
def fault_server(
    folder: Path, certificate: Path | None = None, *, name: str = "ledger"
) -> Iterator[FaultServer]:
    """Run the misbehaving server on a free port of loopback, with its ledger in *folder*."""
    ledger = folder / f"{name}.txt"
    ledger.touch()
    maker = _server_maker()
    ports = maker.ask(start=[str(ledger), None if certificate is None else str(certificate)])
    try:
        scheme = "http" if certificate is None else "https"
        yield FaultServer(ports["port"], ports["control"], ledger, scheme)
    finally:
        maker.ask(end=ports["pid"])


class ServerMaker:
    """The process that forks misbehaving servers; see `misbehaving.py`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **words: Any) -> dict[str, int]:
        """Have it start or end a server, and return what is said then."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        answer: dict[str, int] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it and all of its servers."""
        self._process.communicate()


@cache
def _server_maker() -> ServerMaker:
    maker = ServerMaker()
    atexit.register(maker.close)
    return maker


# What was accepted


def name_event(event: Event) -> str:
    """Return the name of *event* in the ledger: what its single and its batch form have in common."""
    data = event.dump()
    if data["kind"] in ("arch", "fme"):
        return f"{data['visitor']}-{data['millis']}"
    parts = (data["kind"], data["seconds"], data.get("campaign", ""), data.get("goal", ""))
    return ":".join(map(str, (data["visitor"], *parts, data.get("tags", ""))))


def names_of(*results: TrackResult) -> Counter[str]:
    """Return the names of the events that track calls accepted."""
    receipts = dict.fromkeys(receipt_of(one) for result in results for one in result.values())
    events = [receipt for receipt in receipts if isinstance(receipt, Event)]
    return Counter(name_event(event) for event in events)


def gaps_of(tries: list[Try]) -> list[float]:
    """Return the seconds between one request and the next."""
    times = [one.at for one in tries]
    return [after - before for before, after in pairwise(times)]


def assert_same_bytes(tries: list[Try]) -> None:
    """Assert that all of *tries* are the same request, to the byte."""
    assert len({one.digest for one in tries}) == 1


# Time


@dataclass
class Clock:
    """A real clock that can be made to jump."""

    source: Callable[[], float] = time.monotonic
    offset_s: float = 0.0

    def __call__(self) -> float:
        return self.source() + self.offset_s

    def jump(self, seconds: float) -> None:
        """Go on from *seconds* later, or earlier."""
        self.offset_s += seconds


@dataclass
class Pulse:
    """How late each tick of the event loop was, less the time in which the machine ran others instead.

    Which processor the loop was on is not known, so the one counts that was taken away longest.
    """

    delays_s: list[float] = field(default_factory=list)

    async def beat(self) -> None:
        """Tick until cancelled."""
        while True:
            due, waited, stolen = time.monotonic() + TICK_S, read_waiting_s(), read_stolen_s()
            await asyncio.sleep(TICK_S)
            pairs = zip(stolen, read_stolen_s(), strict=False)
            others_s = max((b - a for a, b in pairs), default=0.0)
            others_s += sum(b - waited.get(name, 0.0) for name, b in read_waiting_s().items())
            self.delays_s.append(max(time.monotonic() - due - others_s, 0.0))

    def check(self) -> None:
        """Assert that the loop was not blocked; of few ticks, two may be late."""
        if sys.gettrace() is not None:
            # Whatever watches each line, as for coverage, takes more time than what it watches.
            return
        ordered = sorted(self.delays_s, reverse=True)
        late = [delay for delay in ordered if delay > P99_DELAY_S]
        if len(late) > max(2, len(ordered) // 100):
            raise TooSlowError(f"loop blocked: {ordered[:10]}")
        if ordered:
            assert_below(ordered[0], MAX_DELAY_S)


@asynccontextmanager
async def steady_loop() -> AsyncIterator[Pulse]:
    """Hold the event loop to small delays while the body runs."""
    pulse = Pulse()
    ticker = asyncio.create_task(pulse.beat())
    try:
        yield pulse
    finally:
        ticker.cancel()
        await asyncio.gather(ticker, return_exceptions=True)
    pulse.check()


# Delivery with clocks of its own


@dataclass
class Delivery:
    """Queue and sender of a client of the product, on clocks that can jump."""

    queue: Queue
    sender: Sender
    event_maker: EventMaker
    clock: Clock
    wall_clock: Clock
    accepted: Counter[str] = field(default_factory=Counter)

    def put(self, user_id: str) -> Event:
        """Accept a conversion of *user_id*."""
        event = self.event_maker.make_conversion(user_id)
        assert self.sender.put([event]) == [event]
        self.accepted[name_event(event)] += 1
        return event

    def jump(self, seconds: float) -> None:
        """Let *seconds* pass, and have the workers look at the clock."""
        self.clock.jump(seconds)
        # Sleeping workers wait on the loop's clock, which has not jumped; waking one wakes the next.
        self.sender._wake()


@asynccontextmanager
async def delivery_to(
    server: FaultServer,
    limits: Limits | None = None,
    *,
    timeouts: Timeouts | None = None,
    batching: Batching | None = None,
    workers: int = 4,
) -> AsyncIterator[Delivery]:
    """Deliver to *server* as a client does, on clocks that can jump."""
    clock, wall_clock = Clock(), Clock(time.time)
    queue = Queue(limits, batching=batching)
    transport = chosen_transport(server.base_url, timeouts)
    sender = Sender(queue, transport, workers=workers, clock=clock, wall_clock=wall_clock)
    maker = EventMaker(wall_clock, is_batched=batching is not None)
    sender.start()
    try:
        yield Delivery(queue, sender, maker, clock, wall_clock)
    finally:
        await sender.drain(1)
        await sender.stop()


# TLS


class Authority:
    """Issues certificates, good and bad, and is what clients trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.trusting = ssl.create_default_context()
        self._authority.configure_trust(self.trusting)

    def issue(self, case: str) -> Path:
        """Return a file with a certificate and its key.

        Args:
            case: ``good``, ``expired``, ``wrong host`` or ``unknown authority``.
        """
        authority = trustme.CA() if case == "unknown authority" else self._authority
        past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) if case == "expired" else None
        host = "elsewhere.example" if case == "wrong host" else "127.0.0.1"
        path = self._folder / f"{case.replace(' ', '-')}.pem"
        issued = authority.issue_cert(host, not_after=past)
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path


# Children


@asynccontextmanager
async def child(
    function: Callable[..., Awaitable[None]], *arguments: str, **environment: str
) -> AsyncIterator[Child]:
    """Run an async function of a test module in a process of its own; kill it in the end."""
    code = (
        f"import asyncio, sys; sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]; "
        f"import {function.__module__} as module; "
        f"asyncio.run(module.{function.__name__}(*sys.argv[1:]))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@dataclass
class Child:
    """A child that speaks in JSON lines."""

    process: asyncio.subprocess.Process

    async def hear(self) -> Any:
        """Return the next value that the child says."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "the child ended"
        return json.loads(line)

    def tell(self) -> None:
        """Let the child go on, where it waits in `heard`."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")


def say(value: object) -> None:
    """In a child: tell the parent."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def heard() -> None:
    """In a child: wait until the parent tells it to go on."""
    await asyncio.to_thread(sys.stdin.readline)
