"""Hours of delivery in seconds: the queue and the sender of a client in virtual time, and a server as a function."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from held import count_held
from product_event import EventMaker

from vwo_async._delivery.event import Event
from vwo_async._delivery.queue import Limits, Queue
from vwo_async._delivery.request import Request
from vwo_async._delivery.sender import Sender
from vwo_async.transport import Answer, Failure

WALL_S = 1_795_262_400.0
LATENCY_S = 0.02
OK = Answer(200)
DOWN = Answer(503)
RESET = Answer(failure=Failure.UNKNOWN)
HANGS = Answer(failure=Failure.UNKNOWN)
UNREACHABLE = Answer(failure=Failure.NOT_SENT)
DISLIKED = "DISLIKED"

Server = Callable[[Request, float], Answer]
"""What it answers to a request at a time, in seconds since the beginning."""


def dislikes(answer: Answer) -> Server:
    """Return a server that answers so to every request with a disliked text in it."""

    def serve(request: Request, _now: float) -> Answer:
        return answer if is_disliked(request) else OK

    return serve


def is_disliked(request: Request) -> bool:
    return DISLIKED in request.target or DISLIKED.encode() in request.body


def is_down(begins_s: float, ends_s: float, answer: Answer = DOWN) -> Server:
    """Return a server that answers so to everything for a while."""
    return lambda request, now: answer if begins_s <= now < ends_s else OK


@dataclass
class Network:
    """A transport to a server that is a function.

    Attributes:
        server: The function.
        hang_s: How long a request takes that the server does not answer.
        sizes: How many events each request had.
        most: How many requests were on their way at a time.
    """

    server: Server
    hang_s: float = 20.0
    sizes: list[int] = field(default_factory=list)
    on_their_way: int = 0
    most: int = 0

    async def send(self, request: Request) -> Answer:
        """Answer one request after a while: one that says nothing comes after the time for a request."""
        answer = self.server(request, asyncio.get_running_loop().time())
        self.on_their_way += 1
        self.most = max(self.most, self.on_their_way)
        try:
            await asyncio.sleep(self.hang_s if answer is HANGS else LATENCY_S)
        finally:
            self.on_their_way -= 1
        self.sizes.append(request.body.count(b'"eT"') or request.body.count(b'"msgId"') or 1)
        return answer

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class Simulation:
    """A client's delivery, and all that it accepted."""

    queue: Queue
    sender: Sender
    network: Network
    maker: EventMaker
    draw: random.Random
    good: list[Event] = field(default_factory=list)
    bad: list[Event] = field(default_factory=list)
    ended_at: dict[Event, float] = field(default_factory=dict)

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return asyncio.get_running_loop().time()

    def put(self, *, is_bad: bool = False, visitor: str = "") -> Event | None:
        """Accept an impression, None where there is no room; a bad one holds the disliked text."""
        events = self.bad if is_bad else self.good
        name = visitor or f"{'bad' if is_bad else 'good'} {len(events)}"
        event = self.maker.make_impression(name, DISLIKED if is_bad else "")
        if not self.sender.put_one(event, self.now):
            return None
        events.append(event)
        return event

    async def run(self, seconds: float, *, per_s: float, bad_share: float = 0.0) -> None:
        """Accept events at random moments."""
        ends_at = self.now + seconds
        while True:
            await asyncio.sleep(self.draw.expovariate(per_s))
            if self.now >= ends_at:
                return
            self.put(is_bad=self.draw.random() < bad_share)

    async def until_delivered(self, timeout_s: float) -> float:
        """Wait until every good event is delivered and return how long that took."""
        begun = self.now
        async with asyncio.timeout(timeout_s):
            left = self.good
            while left := [event for event in left if not event.outcome]:
                await asyncio.sleep(0.1)
        return self.now - begun

    def delays(self, events: list[Event]) -> list[float]:
        """Return the seconds from each event to its end."""
        return [self.ended_at[event] - event.at for event in events]

    def check(self) -> None:
        """Hold the ledger to its law."""
        queue = self.queue
        ended = queue.delivered + queue.rejected + queue.dropped.total()
        assert queue.accepted == ended + queue.pending == len(self.good) + len(self.bad)
        assert queue.pending == count_held(queue)


@asynccontextmanager
async def simulation(
    server: Server,
    limits: Limits | None = None,
    *,
    seed: int = 1,
    workers: int = 4,
    is_arch: bool = False,
    hang_s: float = 20.0,
) -> AsyncIterator[Simulation]:
    """Deliver to *server* in the running loop's time."""
    loop = asyncio.get_running_loop()
    draw = random.Random(seed)
    queue = Queue(limits, draw.random)
    maker = EventMaker(lambda: WALL_S + loop.time(), is_arch=is_arch)
    network = Network(server, hang_s)
    ended_at: dict[Event, float] = {}
    sender = Sender(
        queue,
        network,
        workers=workers,
        on_ended=lambda events: ended_at.update(dict.fromkeys(events, loop.time())),
        clock=loop.time,
        wall_clock=lambda: WALL_S + loop.time(),
    )
    one = Simulation(queue, sender, network, maker, draw, ended_at=ended_at)
    sender.start()
    try:
        yield one
        one.check()
    finally:
        await sender.stop()


def outcomes(events: list[Event]) -> Counter[str]:
    """Count how *events* ended."""
    return Counter(
        "pending" if one.outcome is None else f"{one.outcome.status} {one.outcome.reason}".strip()
        for one in events
    )


# The weather


class Weather:
    """A server whose state changes at random for a while; a firewall before it dislikes one text all the time.

    Args:
        draw: Random numbers.
        ends_s: When it is well for good.
    """

    def __init__(self, draw: random.Random, ends_s: float) -> None:
        self._draw = draw
        self._ends_s = ends_s
        self._until_s = 0.0
        self._state: Server = dislikes(Answer(403))
        self.states: Counter[str] = Counter()

    def __call__(self, request: Request, now: float) -> Answer:
        """Answer as the state of the moment and the firewall say."""
        while now >= self._until_s:
            self._change(now)
        answer = self._state(request, now)
        if answer == OK and is_disliked(request):
            return self._dislike
        return answer

    def _change(self, now: float) -> None:
        draw = self._draw
        self._dislike = draw.choice([Answer(403), Answer(406), DOWN, RESET, Answer(302)])
        if now >= self._ends_s:
            self._until_s, self._state = float("inf"), lambda *_: OK
            return
        takes_s = draw.choice([5.0, 60.0, 1800.0, 7200.0]) * draw.uniform(0.5, 1.5)
        self._until_s = min(now + takes_s, self._ends_s)
        name = draw.choice(["well", "well", "down", "unreachable", "resets", "slows", "flaky"])
        self.states[name] += 1
        share = draw.uniform(0.1, 0.6)
        states: dict[str, Server] = {
            "well": lambda *_: OK,
            "down": lambda *_: DOWN,
            "unreachable": lambda *_: UNREACHABLE,
            "resets": lambda *_: RESET,
            "slows": lambda *_: Answer(429, retry_after="5"),
            "flaky": lambda *_: DOWN if draw.random() < share else OK,
        }
        self._state = states[name]


async def live_through(seed: int, hours: float) -> dict[str, Any]:
    """Deliver through hours of bad weather, then wait for the end; return what came of it."""
    draw = random.Random(seed)
    ends_s = hours * 3600
    weather = Weather(draw, ends_s)
    per_s = draw.choice([1 / 60, 0.1, 0.5])
    async with simulation(weather, Limits(max_events=100_000), seed=seed) as one:
        await one.run(ends_s, per_s=per_s, bad_share=0.03)
        # The longest wait of an event that failed while others did not is a part of its age.
        await asyncio.sleep(ends_s / 20 + 65)
        return {
            "seed": seed,
            "hours": hours,
            "honest": len(one.good),
            "honest outcomes": dict(outcomes(one.good)),
            "disliked": dict(outcomes(one.bad)),
            "requests": len(one.network.sizes),
            "states": dict(weather.states),
        }
