"""A bare HTTP server on loopback that shows what really arrives and answers what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Received:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    raw_head: bytes

    def header(self, name: str) -> str | None:
        """Return the header of that name, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


Reply = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int = 200, headers: str = "", body: bytes = b"") -> Reply:
    """Return a reply with this status."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return reply


@dataclass
class Server:
    """Keeps every request; takes replies from a list, then answers 200."""

    base_url: str = ""
    requests: list[Received] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    default: Reply = field(default_factory=answer)
    connections: int = 0
    open_writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the requests of one connection until it ends."""
        self.connections += 1
        self.open_writers.add(writer)
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                reply = self.replies.pop(0) if self.replies else self.default
                await reply(request, writer)
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_writers.discard(writer)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(key, value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    length = next((int(value) for key, value in headers if key.lower() == "content-length"), 0)
    return Received(method, target, headers, await reader.readexactly(length), head)


@asynccontextmanager
async def running_server() -> AsyncIterator[Server]:
    """Run a server on a free port of 127.0.0.1."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        # The streams of Python 3.11 report a cancelled connection as an error of the loop.
        with suppress(asyncio.CancelledError):
            await server.serve_connection(reader, writer)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 20)
    server.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()
