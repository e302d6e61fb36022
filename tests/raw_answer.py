"""Raw answers that a server may give, and what each means: one table for all transports.

An outcome is the status, or ``unknown`` where none was told that ends the request.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from vwo_async._delivery.transport.by_name import (
    TransportName,
    check_transport_name,
    load_transport,
    make_transport,
)
from vwo_async._delivery.transport.config import TransportConfig
from vwo_async.transport import Request, Timeouts, Transport

TRANSPORTS = ("httpx", "httpx2", "aiohttp")
UNKNOWN = "unknown"
NEXT_STATUS = 299
NEXT = b"HTTP/1.1 299 Next\r\nContent-Length: 0\r\n\r\n"
PAUSE_S = 0.02
POST = Request("POST", "/server-side/batch-events?a=b", (), b'{"ev":[]}')

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

# Importing what a transport needs takes longer than a loop may be held, so that no test is to be the first.
for _name in TRANSPORTS:
    load_transport(check_transport_name(_name))


@dataclass(frozen=True)
class Row:
    """One raw answer.

    Attributes:
        name: Of the row.
        raw: The bytes; of several, each is sent on its own.
        outcome: What comes of it.
        closes: Whether the server hangs up after it.
    """

    name: str
    raw: bytes | Sequence[bytes]
    outcome: int | str
    closes: bool = False

    @property
    def pieces(self) -> list[bytes]:
        """What is sent on its own."""
        return [self.raw] if isinstance(self.raw, bytes) else list(self.raw)


def head(*lines: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    """Return a status line and header lines."""
    return "\r\n".join([f"HTTP/{version} {status}", *lines, "", ""]).encode("latin-1")


EMPTY = head("Content-Length: 0")
CHUNKED = "Transfer-Encoding: chunked"

ROWS = [
    Row("empty", EMPTY, 200),
    Row("body", head("Content-Length: 5") + b"hello", 200),
    Row("byte by byte", [bytes([one]) for one in EMPTY], 200),
    Row("201", head("Content-Length: 0", status="201 Created"), 201),
    Row("204", head(status="204 No Content"), 204),
    Row("204 with a length", head("Content-Length: 0", status="204 No Content"), 204),
    Row("204 with a body", head("Content-Length: 5", status="204 No Content") + b"hello", 204),
    Row(
        "204 with chunks", head(CHUNKED, status="204 No Content") + b"5\r\nhello\r\n0\r\n\r\n", 204
    ),
    Row("205", head("Content-Length: 0", status="205 Reset Content"), 205),
    Row("206", head("Content-Length: 0", status="206 Partial Content"), 206),
    Row("299", head("Content-Length: 0", status="299 Odd"), 299),
    Row("304 with a length", head("Content-Length: 9", status="304 Not Modified"), 304),
    Row("599", head("Content-Length: 0", status="599 Odd"), 599),
    Row("no reason", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200),
    Row("empty reason", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200),
    Row("reason outside ASCII", head("Content-Length: 0", status="200 \xe9\xfc"), 200),
    Row("header outside ASCII", head("X: \xe9", "Content-Length: 0"), 200),
    Row("repeated header", head("X: 1", "X: 2", "Content-Length: 0"), 200),
    Row("many headers", head(*(f"X-{n}: {n}" for n in range(60)), "Content-Length: 0"), 200),
    Row("no space after the colon", head("Content-Length:0"), 200),
    Row("header names in any case", head("cOnTeNt-LeNgTh: 0"), 200),
    Row("equal lengths twice", head("Content-Length: 0", "Content-Length: 0"), 200),
    # Framing
    Row("until the end", head() + b"hello", 200, closes=True),
    Row("until the end, nothing", head(), 200, closes=True),
    Row("close", head("Connection: close", "Content-Length: 5") + b"hello", 200, closes=True),
    Row("close, and it stays", head("Connection: close", "Content-Length: 0"), 200),
    Row("HTTP/1.0", head("Content-Length: 5", version="1.0") + b"hello", 200, closes=True),
    Row("HTTP/1.0 until the end", head(version="1.0") + b"hello", 200, closes=True),
    Row(
        "HTTP/1.0 keep-alive",
        head("Connection: keep-alive", "Content-Length: 0", version="1.0"),
        200,
    ),
    Row("chunks", head(CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n", 200),
    Row("chunks in any case", head("transfer-encoding: Chunked") + b"0\r\n\r\n", 200),
    Row("chunk extensions", head(CHUNKED) + b"5;a=b\r\nhello\r\n0;c\r\n\r\n", 200),
    Row("long chunk size", head(CHUNKED) + b"00005\r\nhello\r\n0\r\n\r\n", 200),
    Row("trailers", head(CHUNKED, "Trailer: X") + b"0\r\nX: 1\r\n\r\n", 200),
    Row("chunks in pieces", [head(CHUNKED), b"5\r", b"\nhel", b"lo\r\n", b"0\r\n", b"\r\n"], 200),
    # A status is final, whatever follows it.
    Row("cut body", head("Content-Length: 100") + b"hello", 200, closes=True),
    Row("no body", head("Content-Length: 100"), 200, closes=True),
    Row("body that never ends", head("Content-Length: 100") + b"hello", 200),
    Row("cut chunk", head(CHUNKED) + b"5\r\nhe", 200, closes=True),
    Row("no last chunk", head(CHUNKED) + b"5\r\nhello\r\n", 200, closes=True),
    Row("chunks that never end", head(CHUNKED) + b"5\r\nhello\r\n", 200),
    Row("broken chunk size", [head(CHUNKED), b"zz\r\nhello\r\n0\r\n\r\n"], 200),
    Row("broken chunk end", [head(CHUNKED), b"5\r\nhelloXX0\r\n\r\n"], 200),
    Row("huge chunk size", [head(CHUNKED), b"ffffffffffffffffff\r\nhello"], 200),
    Row("503, cut body", head("Content-Length: 100", status="503 X") + b"hello", 503, closes=True),
    Row("400, cut chunk", head(CHUNKED, status="400 X") + b"5\r\nhe", 400, closes=True),
    # What comes before the end
    Row("100", head(status="100 Continue") + EMPTY, 200),
    Row("102 and 103", head(status="102 X") + head("Link: </a>", status="103 Hints") + EMPTY, 200),
    Row("103 on its own", [head("Link: </a>", status="103 Early Hints"), EMPTY], 200),
    Row("many of them", head(status="102 Processing") * 50 + EMPTY, 200),
    Row("100 and no more", head(status="100 Continue"), UNKNOWN, closes=True),
    Row("101", head("Upgrade: x", "Connection: upgrade", status="101 Switching"), UNKNOWN),
    Row("101 without headers", head(status="101 Switching"), UNKNOWN),
    Row("101 and more", head("Upgrade: x", "Connection: upgrade", status="101 X") + EMPTY, UNKNOWN),
    # What comes after it
    Row("a second answer", EMPTY + head("Content-Length: 0", status="400 X"), 200),
    Row("a second answer on its own", [EMPTY, head("Content-Length: 0", status="400 X")], 200),
    Row("half a second answer", EMPTY + b"HTTP/1.1 40", 200),
    Row("a longer body", head("Content-Length: 2") + b"hello", 200),
    Row(
        "after the last chunk",
        head(CHUNKED) + b"0\r\n\r\nHTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n",
        200,
    ),
    Row("an empty line after it", EMPTY + b"\r\n", 200),
    # No answer
    Row("nothing", b"", UNKNOWN, closes=True),
    Row("half a status line", b"HTTP/1.1 2", UNKNOWN, closes=True),
    Row("half a head", b"HTTP/1.1 200 OK\r\nContent-Le", 200, closes=True),
    Row("no HTTP", b"hello\r\n\r\n", UNKNOWN, closes=True),
    Row(
        "HTTP/2",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
        UNKNOWN,
        closes=True,
    ),
    Row("TLS", b"\x15\x03\x01\x00\x02\x02\x46", UNKNOWN, closes=True),
    Row("SSH", b"SSH-2.0-OpenSSH_9.0\r\n", UNKNOWN, closes=True),
    Row("HTML without a head", b"<html>200 OK</html>", UNKNOWN, closes=True),
    Row(
        "a line that parsers refuse, in pieces",
        [b"HTTP/", b"1.2", b" 200 ", b"OK\r\nConten\xf2-Length: 0\r\n\r\n"],
        200,
    ),
    Row("no number", b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", UNKNOWN, closes=True),
    Row("short number", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", UNKNOWN, closes=True),
    Row("long number", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", UNKNOWN, closes=True),
    # Heads with a fault in them
    Row("bare line feeds", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", 200),
    Row("folded header", head("X: a\r\n b", "Content-Length: 0"), 200),
    Row("space before the colon", head("X : a", "Content-Length: 0"), 200),
    Row("header without a colon", head("X", "Content-Length: 0"), 200),
    Row("header without a name", head(": x", "Content-Length: 0"), 200),
    Row("NUL in a header", head("X: a\0b", "Content-Length: 0"), 200),
    Row("different lengths", head("Content-Length: 0", "Content-Length: 5"), 200),
    Row("negative length", head("Content-Length: -1"), 200),
    Row("length that is no number", head("Content-Length: x"), 200),
    Row("length in another base", head("Content-Length: 0x0"), 200),
    Row("length and chunks", head("Content-Length: 3", CHUNKED) + b"0\r\n\r\n", 200),
    Row("unknown coding", head("Transfer-Encoding: x") + b"hello", 200, closes=True),
    Row("two codings", head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 200),
    Row("very long header", head(f"X: {'x' * 20_000}", "Content-Length: 0"), 200),
    Row(
        "very long head",
        head(*(f"X-{n}: {'x' * 7000}" for n in range(20)), "Content-Length: 0"),
        200,
    ),
    Row("HTTP/1.2", b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
    Row("HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
    Row("http in small letters", b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", UNKNOWN),
    Row("empty line before it", b"\r\n" + EMPTY, UNKNOWN),
]


class RawServer:
    """Gives one raw answer, then a usual one to each request that follows.

    Attributes:
        base_url: Where it listens.
        requests: How many it has read.
        next: The usual answer.
        is_done: Set once the raw answer was written, or nobody was there to take it.
    """

    def __init__(self) -> None:
        self.base_url = ""
        self.requests = 0
        self.next = NEXT
        self._pieces: list[bytes] | None = None
        self._closes = False
        self.pause_s = PAUSE_S
        self.is_done = asyncio.Event()

    def answer(self, pieces: list[bytes], *, closes: bool) -> None:
        """Give the next request this answer."""
        self._pieces, self._closes = pieces, closes
        self.is_done.clear()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            await self._serve(reader, writer)
        finally:
            self.is_done.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self._read(reader):
            self.requests += 1
            pieces, self._pieces = self._pieces, None
            if pieces is None:
                writer.write(self.next)
                continue
            for number, piece in enumerate(pieces):
                if number:
                    await asyncio.sleep(self.pause_s)
                writer.write(piece)
                await writer.drain()
            self.is_done.set()
            if self._closes:
                return

    async def _read(self, reader: asyncio.StreamReader) -> bool:
        text = await reader.readuntil(b"\r\n\r\n")
        sizes = [line for line in text.lower().split(b"\r\n") if line.startswith(b"content-length")]
        if sizes:
            await reader.readexactly(int(sizes[0].partition(b":")[2]))
        return True


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Serve connections on a free port of loopback, and close them in the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await serve(reader, writer)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(run(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A closed connection is gone in the turn after.
        await asyncio.sleep(0.01)


@asynccontextmanager
async def raw_server(server: RawServer | None = None) -> AsyncIterator[RawServer]:
    """Run *server*, or a new one, on loopback."""
    server = server or RawServer()
    async with listening(server.connected) as port:
        server.base_url = f"http://127.0.0.1:{port}"
        yield server


@asynccontextmanager
async def transport_to(
    name: TransportName, base_url: str, timeouts: Timeouts, **options: Any
) -> AsyncIterator[Transport]:
    """Send to *base_url* by the transport of that name, and close it in the end."""
    transport = make_transport(name, TransportConfig(base_url, timeouts, **options))
    try:
        yield transport
    finally:
        await transport.aclose()


def cut(raw: bytes, draw: random.Random) -> list[bytes]:
    """Return *raw* in pieces of any size."""
    places = sorted(draw.randrange(len(raw) + 1) for _ in range(draw.randrange(4)))
    return [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True) if a < b]
