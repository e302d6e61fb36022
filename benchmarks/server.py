"""A loopback server that counts events and answers every request alike, at once or after a delay.

It speaks as much HTTP/1.1 as the compared SDKs need, parses no JSON and keeps nothing, so that it costs
the core that it shares with nobody measured as little as possible.

Usage: python server.py [--delay-ms N]. The first line printed is the port. Besides what SDKs send it
answers /bench/reset, /bench/wait?count=N (once so many events have arrived) and POST /bench/settings.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Callable

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")
_CLOSE = re.compile(rb"(?i)\r\nconnection: *close")
_CUSTOM = re.compile(rb'"kind": ?"custom"')


def _count_one(body: bytes) -> int:
    return 1


def _count_kinds(body: bytes) -> int:
    return body.count(b'"eT":')


def _count_custom(body: bytes) -> int:
    return len(_CUSTOM.findall(body))


def _count_captured(body: bytes) -> int:
    return body.count(b'"distinct_id":')


# How many events a request to a path that begins so carries.
COUNTERS: tuple[tuple[bytes, Callable[[bytes], int]], ...] = (
    (b"/server-side/batch-events", _count_kinds),
    (b"/server-side/track-", _count_one),
    (b"/events/t", _count_one),
    (b"/bulk", _count_custom),
    (b"/batch", _count_captured),
)


class Ledger:
    """What all connections of the server share.

    Args:
        delay_s: How long every answer to an SDK takes.
    """

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.settings = b"{}"
        self.events = 0
        self.requests = 0
        self._waiters: list[tuple[int, Callable[[], object]]] = []

    def count(self, target: bytes, body: bytes) -> None:
        """Enter the events of one request."""
        for prefix, counter in COUNTERS:
            if target.startswith(prefix):
                self.requests += 1
                self.events += counter(body)
                self._tell()
                return

    def wait(self, count: int, tell: Callable[[], object]) -> None:
        """Call *tell* once *count* events have arrived since the last reset."""
        self._waiters.append((count, tell))
        self._tell()

    def _tell(self) -> None:
        if not self._waiters:
            return
        ready = [tell for count, tell in self._waiters if count <= self.events]
        self._waiters = [one for one in self._waiters if one[0] > self.events]
        for tell in ready:
            tell()

    def reset(self) -> None:
        """Forget what was counted."""
        self.events = self.requests = 0


class Connection(asyncio.Protocol):
    """One connection; requests are answered in their order."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is there as a whole."""
        self._buffer = self._buffer + data if self._buffer else data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            found = _LENGTH.search(head)
            stop = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < stop:
                return
            body, self._buffer = self._buffer[end + 4 : stop], self._buffer[stop:]
            self._answer(head.split(b" ", 2)[1], body, closes=_CLOSE.search(head) is not None)

    def _answer(self, target: bytes, body: bytes, *, closes: bool) -> None:
        ledger = self._ledger
        if target.startswith(b"/bench/"):
            self._control(target, body)
        elif target.startswith((b"/server-side/settings", b"/server-side/pull")):
            self._write(ledger.settings, closes=closes)
        else:
            ledger.count(target, body)
            if ledger.delay_s:
                loop = asyncio.get_running_loop()
                loop.call_later(ledger.delay_s, lambda: self._write(b"{}", closes=closes))
            else:
                self._write(b"{}", closes=closes)

    def _control(self, target: bytes, body: bytes) -> None:
        ledger = self._ledger
        if target.startswith(b"/bench/wait"):
            ledger.wait(int(target.partition(b"=")[2]), self._tell_counts)
            return
        if target == b"/bench/reset":
            ledger.reset()
        elif target == b"/bench/settings":
            ledger.settings = body
        self._tell_counts()

    def _tell_counts(self) -> None:
        ledger = self._ledger
        self._write(b'{"events":%d,"requests":%d}' % (ledger.events, ledger.requests))

    def _write(self, body: bytes, *, closes: bool = False) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        kept = b"Connection: close\r\n" if closes else b""
        transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"%bContent-Length: %d\r\n\r\n%b" % (kept, len(body), body)
        )
        if closes:
            transport.close()


async def serve(delay_s: float) -> None:
    """Print the port, then serve until the standard input ends."""
    ledger = Ledger(delay_s)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(ledger), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Run the server as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    asyncio.run(serve(parser.parse_args().delay_ms / 1000))


if __name__ == "__main__":
    main()
