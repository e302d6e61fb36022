"""Row 63: whatever bytes a server sends, in whatever pieces, all transports make the same of them.

pytest tests/faults/test_fault_answer_fuzz.py     a short run
ANSWER_FUZZ_ROUNDS=100000 pytest tests/faults/test_fault_answer_fuzz.py
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from product_event import EventMaker
from raw_answer import NEXT_STATUS, POST, ROWS, TRANSPORTS, RawServer, cut, raw_server, transport_to

from vwo_async._delivery.queue import Limits, Queue
from vwo_async._delivery.sender import Sender
from vwo_async._delivery.transport.by_name import (
    TransportName,
    check_transport_name,
    make_transport,
)
from vwo_async._delivery.transport.config import TransportConfig
from vwo_async.transport import Answer, Failure, Timeouts, Transport

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20 * 60)]

ROUNDS = int(os.environ.get("ANSWER_FUZZ_ROUNDS", "30"))
# The same answers in each run, so that a run tells what a change did; other seeds are for longer runs.
SEED = int(os.environ.get("ANSWER_FUZZ_SEED", "1"))
LIMITS = Timeouts(connect_s=1, read_s=0.3, total_s=1)
PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 204 No\r\n",
    b"HTTP/1.1 503 X\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n",
    b"HTTP/1.1 101 X\r\nUpgrade: y\r\n\r\n",
    b"HTTP/2 200\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Retry-After: 1\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"hello",
    b"\r\n",
    b"\n",
    b"\0",
    b" ",
    b"\xff\xfe",
]


def draw_answer(draw: random.Random) -> bytes:
    """Return an answer of the table with a few faults in it, or one put together from pieces."""
    if draw.random() < 0.4:
        return b"".join(draw.choice(PIECES) for _ in range(draw.randrange(1, 9)))
    raw = bytearray(b"".join(draw.choice(ROWS).pieces)[:3000])
    for _ in range(draw.randrange(4)):
        place = draw.randrange(len(raw) + 1)
        kind = draw.randrange(4)
        if kind == 0:
            raw[place:place] = draw.choice(PIECES)
        elif kind == 1:
            raw[place : place + draw.randrange(6)] = b""
        elif kind == 2:
            raw[place : place + 1] = bytes([draw.randrange(256)])
        else:
            del raw[place:]
    return bytes(raw)


@asynccontextmanager
async def transports_to(server: RawServer) -> AsyncIterator[dict[TransportName, Transport]]:
    names = [check_transport_name(name) for name in TRANSPORTS]
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(transport_to(name, server.base_url, LIMITS))
            for name in names
        }


async def test_row_63_any_answer() -> None:
    """All transports return the same outcome, none raises, and what was left over answers nothing else."""
    draw = random.Random(SEED)
    async with raw_server() as server, transports_to(server) as transports:
        server.pause_s = 0.002
        for number in range(ROUNDS):
            raw, closes = draw_answer(draw), draw.random() < 0.8
            pieces = cut(raw, draw)
            told = f"seed {SEED}, round {number}: {pieces!r}, closes: {closes}"
            outcomes: dict[str, Answer] = {}
            for name, transport in transports.items():
                server.answer(pieces, closes=closes)
                answer = await transport.send(POST)
                # On a busy machine the time of a try may be over before the server has read the request.
                await asyncio.wait_for(server.is_done.wait(), 10)
                outcomes[name] = replace(answer, retry_after="")
                # What arrives late cannot be told from an answer; a moment later it has arrived.
                await asyncio.sleep(0.02)
                follower = await transport.send(POST)
                # The server may have hung up on a connection that looked good.
                assert follower in (Answer(NEXT_STATUS), Answer(failure=Failure.UNKNOWN)), told
            assert len(set(outcomes.values())) == 1, f"{told}: {outcomes}"


class Taker(RawServer):
    """Answers with fuzz for a while, then takes everything; counts what it told to have taken."""

    def __init__(self, draw: random.Random, fuzzed: int) -> None:
        super().__init__()
        self.draw = draw
        self.fuzzed = fuzzed
        self.taken: Counter[str] = Counter()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode()
            self.fuzzed -= 1
            raw = (
                draw_answer(self.draw)
                if self.fuzzed >= 0
                else b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            )
            if raw.startswith(b"HTTP/1.1 200 OK\r\n"):
                self.taken[line] += 1
            for piece in cut(raw, self.draw):
                writer.write(piece)
                await asyncio.sleep(0)
            if self.fuzzed >= 0:
                return


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_row_63_any_answer_keeps_the_law(name: TransportName) -> None:
    """The ledger balances, what is delivered was taken, and nothing was taken twice without an `unknown`."""
    draw = random.Random(SEED)
    async with raw_server(Taker(draw, 2 * ROUNDS)) as server:
        assert isinstance(server, Taker)
        limits = Limits(backoff_base_s=0.005, backoff_cap_s=0.02, coalesces=False)
        queue = Queue(limits, draw.random)
        transport = make_transport(name, TransportConfig(server.base_url, LIMITS))
        sender = Sender(queue, transport, workers=2)
        maker = EventMaker(time.time)
        sender.start()
        try:
            events = [maker.make_impression(f"u{one}") for one in range(ROUNDS)]
            for event in events:
                sender.put([event])
            # A pause for refused accounts would take a minute: then some are left.
            ends_at = time.monotonic() + 10
            while queue.pending and time.monotonic() < ends_at:
                await asyncio.sleep(0.02)
            ended = queue.delivered + queue.rejected + queue.dropped.total()
            assert queue.accepted == ROUNDS == ended + queue.pending, f"seed {SEED}"
            twice = sum(count - 1 for count in server.taken.values())
            assert twice <= queue.unknown, f"seed {SEED}: {server.taken}"
        finally:
            await sender.stop()
