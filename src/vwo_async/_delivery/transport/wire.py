# ruff: noqa: ASYNC109 - the names are those of httpcore
"""The bytes of one connection of httpcore: whether a request was sent, and answers that come early.

httpcore writes the whole request before it reads. A server that answers from the headers and hangs up, or
stops reading, is then not heard: the failed write takes what had arrived with it. So while a long request
is being written, what arrives is kept for the reading that follows.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any

from .status_line import StatusLine

# A short request fits into the buffers of any system, so that writing it waits for nobody.
SHORT_BYTES = 16_000
READ_BYTES = 65_536
MAX_HEARD_BYTES = 4 * READ_BYTES
# How long a server that has answered may take for the rest of the request.
REST_TIMEOUT_S = 1.0
_METHODS = (b"GET ", b"POST")


class Wire:
    """The network backend of one connection.

    Args:
        core: The engine.

    Attributes:
        is_sent: Whether any byte of the request was written or is about to be; a CONNECT to a proxy is no
            part of it.
        is_early: Whether the answer came before the end of the request: what the server does with the rest
            is not known.
        status_line: What has arrived since.
    """

    def __init__(self, core: Any) -> None:
        self._core = core
        self._backend = core.AnyIOBackend()
        self.begin()

    def begin(self) -> None:
        """Another request begins."""
        self.is_sent = self.is_early = False
        self.status_line = StatusLine()

    async def connect_tcp(self, *args: Any, **options: Any) -> _Stream:
        """Return a connection to a host and port."""
        try:
            stream = await self._backend.connect_tcp(*args, **options)
        except ValueError:
            # The end of the loop has cancelled the attempts of anyio, which is left with no error to raise.
            raise self._core.ConnectError("cancelled") from None
        return _Stream(stream, self, self._core)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._backend.sleep(seconds)


class _Stream:
    """A network stream of httpcore around another."""

    def __init__(self, stream: Any, wire: Wire, core: Any) -> None:
        self._stream = stream
        self._wire = wire
        self._core = core
        self._held = b""
        self._heard: deque[bytes] = deque()
        self._heard_error: Exception | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._heard:
            return self._heard.popleft()
        if self._heard_error is not None:
            raise self._heard_error
        chunk: bytes = await self._stream.read(max_bytes, timeout)
        if self._wire.is_sent:
            self._wire.status_line.feed(chunk)
        return chunk

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        method = buffer[:4]
        if method in _METHODS:
            self._wire.is_sent = True
            if method == b"POST":
                # Its body follows; in one piece, no answer to the head can break the writing of the body.
                self._held = buffer
                return
        if self._held:
            buffer, self._held = self._held + buffer, b""
        if len(buffer) <= SHORT_BYTES:
            await self._stream.write(buffer, timeout)
        else:
            await self._write_and_listen(buffer, timeout)

    async def _write_and_listen(self, buffer: bytes, timeout: float | None) -> None:
        """Write *buffer*, or as much of it as a server wants that has answered already.

        Raises:
            WriteError: It was not wholly written; httpcore goes on with reading.
        """
        writing = asyncio.create_task(self._stream.write(buffer, timeout))
        listening = asyncio.create_task(self._listen())
        try:
            await asyncio.wait((writing, listening), return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                self._wire.is_early = True
                await asyncio.wait((writing,), timeout=REST_TIMEOUT_S)
            if not writing.done():
                raise self._core.WriteError("answered before the end of the request")
            await writing
        finally:
            writing.cancel()
            listening.cancel()
            await asyncio.gather(writing, listening, return_exceptions=True)

    async def _listen(self) -> None:
        """Keep what arrives until it tells a final status, or the connection ends."""
        size = 0
        while size < MAX_HEARD_BYTES:
            try:
                chunk = await self._stream.read(READ_BYTES, None)
            except Exception as error:  # noqa: BLE001 - for who reads next
                self._heard_error = error
                return
            self._heard.append(chunk)
            self._wire.status_line.feed(chunk)
            size += len(chunk)
            if not chunk or self._wire.status_line.status is not None:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> _Stream:
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            # httpcore closes it after an error of the handshake, not where that is cancelled.
            await self.aclose()
            raise
        return _Stream(stream, self._wire, self._core)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and (self._heard or self._heard_error):
            return True
        return self._stream.get_extra_info(info)


def has_surplus(connection: Any) -> bool:
    """Tell whether more arrived than the answer that was read: it must not be taken for the next one.

    httpcore has no public word for it: what its parser was given and did not need.
    """
    while connection is not None:
        parser = getattr(connection, "_h11_state", None)
        if parser is not None:
            return bool(parser.trailing_data[0])
        pooled = getattr(connection, "connections", None)
        connection = pooled[0] if pooled else getattr(connection, "_connection", None)
    return False
