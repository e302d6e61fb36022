"""A relay between a client and a server, by which requests are slow, lost, or led to another server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class SlowPath:
    """A relay to a server by which one request is on its way for long, while others are quick.

    Attributes:
        port: Where new connections lead.
        is_due: Whether the next request that has *text* in it is the slow one.
    """

    def __init__(self, port: int, text: bytes, delay_s: float) -> None:
        self.port = port
        self._text = text
        self._delay_s = delay_s
        self._clients: list[asyncio.StreamWriter] = []
        self._ended = asyncio.Event()
        self.is_due = False

    def cut(self) -> None:
        """Hang up on everybody; the server goes on with what it has."""
        for writer in self._clients:
            writer.transport.abort()
        self._clients.clear()

    def end(self) -> None:
        """Have what is slow arrive at once."""
        self._ended.set()

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._delay_s):
                await self._ended.wait()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; what was sent arrives, even if whoever sent it has hung up since."""
        self._clients.append(writer)
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.port)
        back = asyncio.create_task(self._return(from_server, writer))
        with suppress(OSError):
            while data := await reader.read(65_536):
                if self.is_due and self._text in data:
                    self.is_due = False
                    await self._wait()
                to_server.write(data)
        to_server.write_eof()
        await back
        to_server.close()

    async def _return(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()


@asynccontextmanager
async def slow_path(
    port: int, text: bytes = b"", delay_s: float = 0.0
) -> AsyncIterator[tuple[SlowPath, int]]:
    """Run such a relay; yield it and its port."""
    path = SlowPath(port, text, delay_s)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(path.pass_on(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield path, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        path.end()
        await asyncio.wait(tasks, timeout=2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
