"""A pooler in front of PostgreSQL that gives each transaction another connection, as PgBouncer can.

What a client prepared on one connection is missing on the next, unless both are in one transaction.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CANCEL_REQUEST, SSL_REQUEST, GSS_REQUEST = 80877102, 80877103, 80877104
STARTUP = struct.pack("!i", 196608) + b"user\0vwo\0database\0postgres\0\0"


class Backend:
    """A connection to the server, lent to one client for one transaction."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.greeting = b""

    async def start(self) -> None:
        """Log in, and keep what the server says then, which every client is told."""
        self.writer.write(struct.pack("!i", len(STARTUP) + 4) + STARTUP)
        while True:
            kind, body = await read_message(self.reader)
            if kind == b"Z":
                return
            self.greeting += kind + struct.pack("!i", len(body) + 4) + body


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return the kind and the body of one message."""
    kind = await reader.readexactly(1)
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    return kind, await reader.readexactly(length - 4)


class Pooler:
    """Lends each transaction one of a few connections, chosen at random."""

    def __init__(self, port: int, size: int) -> None:
        self._port = port
        self._size = size
        self._idle: list[Backend] = []
        self._returned = asyncio.Condition()
        self._all: list[Backend] = []
        self.transactions = 0

    async def open(self) -> None:
        """Make the connections."""
        for _ in range(self._size):
            backend = Backend(*await asyncio.open_connection("127.0.0.1", self._port))
            await backend.start()
            self._idle.append(backend)
            self._all.append(backend)

    async def close(self) -> None:
        """Close them."""
        for backend in self._all:
            backend.writer.close()

    async def lend(self) -> Backend:
        """Return a connection that nobody has."""
        async with self._returned:
            await self._returned.wait_for(lambda: self._idle)
            self.transactions += 1
            return self._idle.pop(random.randrange(len(self._idle)))

    async def take_back(self, backend: Backend) -> None:
        """Let others have it."""
        async with self._returned:
            self._idle.append(backend)
            self._returned.notify()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            if await self._greet(reader, writer):
                await self._relay(reader, writer)
        writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            (length,) = struct.unpack("!i", await reader.readexactly(4))
            body = await reader.readexactly(length - 4)
            (code,) = struct.unpack("!i", body[:4])
            if code == CANCEL_REQUEST:
                return False
            if code not in (SSL_REQUEST, GSS_REQUEST):
                break
            writer.write(b"N")
        writer.write(self._all[0].greeting + b"Z\0\0\0\x05I")
        return True

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend: Backend | None = None
        answering: asyncio.Task[None] | None = None
        try:
            while True:
                kind, body = await read_message(reader)
                if kind == b"X":
                    return
                if answering is not None and answering.done():
                    backend = answering = None
                if backend is None:
                    backend = await self.lend()
                    answering = asyncio.create_task(self._answer(backend, writer))
                backend.writer.write(kind + struct.pack("!i", len(body) + 4) + body)
        finally:
            if answering is not None and not answering.done():
                answering.cancel()
                await asyncio.wait([answering])

    async def _answer(self, backend: Backend, writer: asyncio.StreamWriter) -> None:
        """Pass on what the server says until the transaction is over."""
        while True:
            kind, body = await read_message(backend.reader)
            writer.write(kind + struct.pack("!i", len(body) + 4) + body)
            if kind == b"Z" and body == b"I":
                await self.take_back(backend)
                return


@asynccontextmanager
async def pooling(port: int, size: int = 4) -> AsyncIterator[tuple[int, Pooler]]:
    """Run a pooler in front of the server on *port*; give its own port."""
    pooler = Pooler(port, size)
    await pooler.open()
    server = await asyncio.start_server(pooler.serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], pooler
    finally:
        server.close()
        await pooler.close()
        await server.wait_closed()
