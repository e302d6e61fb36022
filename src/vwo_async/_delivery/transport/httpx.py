"""The built-in transport: httpx's engine, one connection for each request on its way.

The connections of httpcore, on which httpx rests, are used directly. The client layer of httpx logs whole
URLs, which hold the SDK key, and follows proxies and redirects that nobody asked for; its pool costs
quadratic time under many concurrent requests, and a request that is cancelled can leave it with a slot
lost for good. What these layers would give is given here: all four time-outs, a limit for the whole
try, and a bound on what is read of an answer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable
from contextlib import suppress
from types import ModuleType
from typing import Any

import httpcore
import httpx

from ..answer import Answer, Failure
from ..request import Request
from .log_filter import making_request, silence_logger
from .protocol import KEEPALIVE_S, MAX_ANSWER_BYTES, VWO_BASE_URL, Timeouts, check_base_url
from .tls import Certificates


class HttpxTransport:
    """Sends over as many connections as there are requests on their way.

    Args:
        base_url: Where VWO is, see `check_base_url`.
        timeouts: Limits of one try.
        user_agent: The header of every request.
        ssl_context: To trust other certificates than the system's; verification cannot be turned off.
        proxy: URL of an HTTP proxy; the environment's proxy variables are not read.
        core: The engine: ``httpcore``, or its successor's module with the same classes.
    """

    def __init__(
        self,
        base_url: str = VWO_BASE_URL,
        *,
        timeouts: Timeouts | None = None,
        user_agent: str = "vwo_async",
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        core: ModuleType = httpcore,
    ) -> None:
        self._core: Any = core
        silence_logger(core.__name__)
        self._url = check_base_url(base_url)
        self._path = self._url.raw_path.decode().rstrip("/")
        self._timeouts = timeouts or Timeouts()
        self._certificates = Certificates(ssl_context)
        self._proxy = None if proxy is None else httpx.Proxy(proxy)
        self._idle: list[Any] = []
        self._headers = [
            (b"Host", self._url.netloc),
            (b"User-Agent", user_agent.encode("ascii", "replace")),
            (b"Accept", b"*/*"),
            # A compressed answer could be any size once unpacked.
            (b"Accept-Encoding", b"identity"),
        ]
        limits = self._timeouts
        self._extensions = {
            "timeout": {
                # Cut off by the total limit while connecting, a socket would be left open.
                "connect": min(limits.connect_s, limits.total_s / 3),
                "read": limits.read_s,
                "write": limits.write_s,
                "pool": limits.pool_s,
            }
        }
        self._not_sent = (
            core.ConnectError,
            core.ConnectTimeout,
            core.PoolTimeout,
            core.ProxyError,
            core.ConnectionNotAvailable,
        )
        self._unsendable = (core.LocalProtocolError, core.UnsupportedProtocol)
        self._unknown = (core.NetworkError, core.TimeoutException, core.ProtocolError)

    async def send(self, request: Request) -> Answer:
        """Send *request* once; see `Transport`."""
        return (await self.fetch(request))[0]

    async def fetch(
        self, request: Request, max_bytes: int = MAX_ANSWER_BYTES
    ) -> tuple[Answer, bytes]:
        """Send *request* once and return the answer with its body.

        A body of more than *max_bytes* is left unread and comes back empty.
        """
        connection = await self._find_connection()
        try:
            with making_request():
                async with asyncio.timeout(self._timeouts.total_s):
                    answer, body = await self._try(connection, request, max_bytes)
        except TimeoutError:
            await _discard(connection)
            return Answer(failure=Failure.UNKNOWN), b""
        except BaseException:
            await _discard(connection)
            raise
        if answer.status is None:
            await _discard(connection)
        else:
            self._idle.append(connection)
        return answer, body

    async def _try(self, connection: Any, request: Request, max_bytes: int) -> tuple[Answer, bytes]:
        try:
            response = await connection.handle_async_request(self._build(request))
            try:
                body = await _read(response.stream, max_bytes)
            finally:
                await response.aclose()
        except self._not_sent:
            return Answer(failure=Failure.NOT_SENT), b""
        except self._unsendable:
            return Answer(failure=Failure.UNSENDABLE), b""
        except self._unknown:
            return Answer(failure=Failure.UNKNOWN), b""
        if body is None:
            # More than was asked for: closing the response has dropped the connection, the rest unread.
            return Answer(response.status), b""
        return Answer(response.status, None, _find_retry_after(response.headers)), body

    def _build(self, request: Request) -> Any:
        headers = [*self._headers, *request.headers]
        if request.method == "POST":
            headers.append((b"Content-Length", b"%d" % len(request.body)))
        url = self._url
        return self._core.Request(
            request.method,
            self._core.URL(
                scheme=url.raw_scheme,
                host=url.raw_host,
                port=url.port,
                target=f"{self._path}{request.target}".encode(),
            ),
            headers=headers,
            content=request.body,
            extensions=self._extensions,
        )

    async def _find_connection(self) -> Any:
        """Return an idle connection that is still good, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            if self._proxy is not None or (
                connection.is_available() and not connection.has_expired()
            ):
                return connection
            await _discard(connection)
        is_tls = self._url.scheme == "https"
        return self._open_connection(await self._certificates.load() if is_tls else None)

    def _open_connection(self, context: ssl.SSLContext | None) -> Any:
        core, url = self._core, self._url
        if self._proxy is None:
            origin = core.Origin(url.raw_scheme, url.raw_host, url.port or _PORTS[url.scheme])
            return core.AsyncHTTPConnection(origin, context, keepalive_expiry=KEEPALIVE_S)
        proxy = self._proxy
        kind = core.AsyncSOCKSProxy if proxy.url.scheme.startswith("socks") else core.AsyncHTTPProxy
        return kind(
            proxy_url=core.URL(
                scheme=proxy.url.raw_scheme,
                host=proxy.url.raw_host,
                port=proxy.url.port,
                target=proxy.url.raw_path,
            ),
            proxy_auth=proxy.raw_auth,
            ssl_context=context,
            max_connections=1,
            keepalive_expiry=KEEPALIVE_S,
        )

    async def aclose(self) -> None:
        """Close every connection that is not in use."""
        await self._certificates.settle()
        while self._idle:
            await _discard(self._idle.pop())

    def __repr__(self) -> str:
        return f"<HttpxTransport {self._url.host!r}>"


_PORTS = {"http": 80, "https": 443}


def _find_retry_after(headers: list[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name.lower() == b"retry-after":
            return value.decode("latin-1")
    return ""


async def _read(stream: AsyncIterable[bytes], max_bytes: int) -> bytes | None:
    """Return the whole body, or None where it is longer than *max_bytes*."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


async def _discard(connection: Any) -> None:
    # A connection that cannot even be closed is gone.
    with suppress(Exception), making_request():
        await connection.aclose()
