"""A million conversions from one process, to a server that is down, slow or wrong half of the time.

    python tests/faults/million.py [--events 1000000]

At the end the books of both sides must be equal, event for event, and the memory of the sender flat:
what a refused call may do, this does: it tries again. The server is a process of its own, small enough
to keep up; it changes by itself twice a second and counts what it answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script, it finds its folder alone

from app import Ticker, read_memory_kb
from sample import settings

from vwo_async import VWOClient
from vwo_async.transport import Limits

TURN_S = 0.25
PLAN = ("well", "down", "well", "slow", "well", "failing", "well", "refusing", "well", "mad")
SLOW_S = 0.1
# How many requests are refused for good in one turn; more would leave little to deliver.
REFUSALS = 2


class Server:
    """Counts events and answers as its state is."""

    def __init__(self) -> None:
        self.state = "well"
        self.counts: Counter[str] = Counter()
        self._refusals = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def run(self) -> None:
        """Serve until the process is ended."""
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 22)
        port = listener.sockets[0].getsockname()[1]
        sys.stdout.write(f"http://127.0.0.1:{port}\n")
        sys.stdout.flush()
        for state in cycle(PLAN):
            self.state = state
            self._refusals = REFUSALS
            if state == "down":
                for writer in list(self._writers):
                    writer.close()
            await asyncio.sleep(TURN_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")),
            0,
        )
        body = await reader.readexactly(length)
        if head.startswith(b"GET /count "):
            writer.write(_reply(200, json.dumps(self.counts).encode()))
            return True
        events = len(json.loads(body)["ev"]) if length else 1
        self.counts["requests"] += 1
        return await self._answer_events(writer, events)

    async def _answer_events(self, writer: asyncio.StreamWriter, events: int) -> bool:
        if self.state == "down":
            return False
        if self.state == "mad":
            writer.write(b"I am no web server\r\n\r\n")
            return False
        if self.state == "failing":
            writer.write(_reply(503))
            return True
        if self.state == "refusing" and self._refusals:
            self._refusals -= 1
            self.counts["refused"] += events
            writer.write(_reply(400))
            return True
        if self.state == "slow":
            await asyncio.sleep(SLOW_S)
        if not writer.is_closing():
            self.counts["taken"] += events
            writer.write(_reply(200))
        return True


def _reply(status: int, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@contextmanager
def running_server() -> Iterator[str]:
    """Run the server as a process and give its URL."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def read_counts(base_url: str) -> dict[str, int]:
    """Return what the server counted."""
    with urllib.request.urlopen(f"{base_url}/count", timeout=10) as answer:
        counts: dict[str, int] = json.loads(answer.read())
    return counts


async def send(base_url: str, events: int) -> dict[str, Any]:
    """Have *events* conversions accepted, drain, and return the figures of this side."""
    client = VWOClient(
        settings(),
        base_url=base_url,
        batch_events={"events_per_request": 500, "request_time_interval": 1},
        limits=Limits(backoff_base_s=0.05, backoff_cap_s=0.5, max_attempts=1_000_000),
        close_timeout_s=60,
    )
    begun = time.monotonic()
    ticker = Ticker()
    warm_kb = 0
    async with client:
        for number in range(events):
            while not await client.track("checkout", f"u{number}", "signup"):
                await asyncio.sleep(0.01)
            if number == events // 10:
                warm_kb = read_memory_kb("VmRSS")
            if not number % 100:
                # What a web framework does between two requests.
                await asyncio.sleep(0)
        tracked_s = time.monotonic() - begun
        grown_kb = read_memory_kb("VmRSS") - warm_kb
        await client.aclose()
    one = client.statistics()
    return {
        "events": events,
        "tracked in s": round(tracked_s, 1),
        "drained in s": round(time.monotonic() - begun, 1),
        "accepted": one.accepted,
        "delivered": one.delivered,
        "rejected": one.rejected,
        "dropped": sum(one.dropped.values()),
        "pending": one.pending,
        "refused by the queue": one.refused,
        "requests": one.requests,
        "warm rss kB": warm_kb,
        "grown rss kB": grown_kb,
        "loop delay": await ticker.stop(),
    }


def run(events: int) -> dict[str, Any]:
    """Send *events* to a bad server and return the figures of both sides."""
    with running_server() as base_url:
        figures = asyncio.run(send(base_url, events))
        return {**figures, "server": read_counts(base_url)}


def find_faults(figures: dict[str, Any], grown_kb: int = 8192) -> list[str]:
    """Return what does not balance."""
    ended = sum(figures[name] for name in ("delivered", "rejected", "dropped", "pending"))
    server = figures["server"]
    checks = {
        "all were accepted": figures["accepted"] == figures["events"],
        "the ledger balances": figures["accepted"] == ended,
        "delivered is what the server took": figures["delivered"] == server["taken"],
        "rejected is what the server refused": figures["rejected"] == server.get("refused", 0),
        "nothing was given up": not figures["dropped"] and not figures["pending"],
        "the memory is flat": figures["grown rss kB"] < grown_kb,
    }
    return [name for name, holds in checks.items() if not holds]


def main() -> int:
    """Run as the command line says and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--serve", action="store_true", help="be the server")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(Server().run())
    figures = run(options.events)
    faults = find_faults(figures)
    lines = [f"{name:>20}  {value}" for name, value in {**figures, "faults": faults}.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
