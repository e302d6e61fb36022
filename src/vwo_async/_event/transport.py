"""The only room that knows httpx.

The transport of httpx is used directly: its client layer logs whole URLs, which hold the SDK key, and
follows proxies and redirects that nobody asked for. What the client layer would give is given here:
all four time-outs, a limit for the whole try, and a bound on what is read of an answer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

import httpx

from ..error import InvalidInputError
from .answer import Answer, Failure
from .request import Request

VWO_BASE_URL = "https://dev.visualwebsiteoptimizer.com"
MAX_ANSWER_BYTES = 64_000


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of one try, in seconds.

    Attributes:
        connect_s: For name resolution with TCP, and again for TLS; at most a third of *total_s* each.
        read_s: Between two pieces of the answer.
        write_s: Between two pieces of the request.
        pool_s: For a free connection; there always is one.
        total_s: For the whole try, from the first byte to the last.
    """

    connect_s: float = 5.0
    read_s: float = 10.0
    write_s: float = 10.0
    pool_s: float = 5.0
    total_s: float = 20.0


class Transport(Protocol):
    """Sends requests to VWO. It never raises for what the network or the server does."""

    async def send(self, request: Request) -> Answer:
        """Send *request* once and return what came of it."""

    async def aclose(self) -> None:
        """Close every connection."""


def check_base_url(base_url: str) -> httpx.URL:
    """Return the parsed *base_url*: https, or http on a loopback host.

    Raises:
        InvalidInputError: It is not such a URL, or holds a user name, query or fragment.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        raise InvalidInputError("base_url is not a URL") from None
    if not url.host or url.userinfo or url.query or url.fragment:
        raise InvalidInputError("base_url must be scheme, host and at most a port and a path")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise InvalidInputError("base_url must be https, or http on a loopback host")
    return url


def is_loopback(host: str) -> bool:
    """Tell whether *host* is this machine, going by its name alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class HttpxTransport:
    """Sends through one httpx transport of one connection for each request on its way.

    One connection each, because a pool under many concurrent requests costs quadratic time, and because
    a request that is cancelled can leave its pool with a slot lost for good: a pool of one is thrown away.

    Args:
        base_url: Where VWO is, see `check_base_url`.
        timeouts: Limits of one try.
        user_agent: The header of every request.
        ssl_context: To trust other certificates than the system's; verification cannot be turned off.
        proxy: URL of an HTTP proxy; the environment's proxy variables are not read.
    """

    def __init__(
        self,
        base_url: str = VWO_BASE_URL,
        *,
        timeouts: Timeouts | None = None,
        user_agent: str = "vwo_async",
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        self._url = check_base_url(base_url)
        self._path = self._url.raw_path.decode().rstrip("/")
        self._timeouts = timeouts or Timeouts()
        self._ssl_context = _check_verifying(ssl_context)
        self._proxy = proxy
        self._idle: list[httpx.AsyncHTTPTransport] = []
        self._headers = [
            (b"Host", self._url.netloc),
            (b"User-Agent", user_agent.encode("ascii", "replace")),
            (b"Accept", b"*/*"),
            # A compressed answer could be any size once unpacked.
            (b"Accept-Encoding", b"identity"),
        ]

    async def send(self, request: Request) -> Answer:
        """Send *request* once; see `Transport`."""
        return (await self.fetch(request))[0]

    async def fetch(
        self, request: Request, max_bytes: int = MAX_ANSWER_BYTES
    ) -> tuple[Answer, bytes]:
        """Send *request* once and return the answer with its body.

        A body of more than *max_bytes* is left unread and comes back empty.
        """
        lane = self._idle.pop() if self._idle else self._open_lane()
        try:
            async with asyncio.timeout(self._timeouts.total_s):
                answer, body = await self._try(lane, request, max_bytes)
        except TimeoutError:
            await _discard(lane)
            return Answer(failure=Failure.UNKNOWN), b""
        except BaseException:
            await _discard(lane)
            raise
        if answer.status is None:
            await _discard(lane)
        else:
            self._idle.append(lane)
        return answer, body

    async def _try(
        self, lane: httpx.AsyncHTTPTransport, request: Request, max_bytes: int
    ) -> tuple[Answer, bytes]:
        try:
            response = await lane.handle_async_request(self._build(request))
            try:
                assert isinstance(response.stream, AsyncIterable)
                body = await _read(response.stream, max_bytes)
            finally:
                await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError):
            return Answer(failure=Failure.NOT_SENT), b""
        except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL):
            return Answer(failure=Failure.UNSENDABLE), b""
        except httpx.TransportError:
            return Answer(failure=Failure.UNKNOWN), b""
        if body is None:
            # More than was asked for: closing the response has dropped the connection, the rest unread.
            return Answer(response.status_code), b""
        return Answer(response.status_code, None, response.headers.get("Retry-After", "")), body

    def _build(self, request: Request) -> httpx.Request:
        limits = self._timeouts
        headers = [*self._headers, *request.headers]
        if request.method == "POST":
            headers.append((b"Content-Length", b"%d" % len(request.body)))
        return httpx.Request(
            request.method,
            self._url.copy_with(raw_path=f"{self._path}{request.target}".encode()),
            headers=headers,
            extensions={
                "timeout": {
                    # Cut off by the total limit while connecting, a socket would be left open.
                    "connect": min(limits.connect_s, limits.total_s / 3),
                    "read": limits.read_s,
                    "write": limits.write_s,
                    "pool": limits.pool_s,
                }
            },
            stream=httpx.ByteStream(request.body),
        )

    def _open_lane(self) -> httpx.AsyncHTTPTransport:
        if self._ssl_context is None:
            self._ssl_context = _make_ssl_context(self._url.scheme)
        return httpx.AsyncHTTPTransport(
            verify=self._ssl_context,
            trust_env=False,
            http1=True,
            limits=httpx.Limits(
                max_connections=1, max_keepalive_connections=1, keepalive_expiry=30
            ),
            proxy=self._proxy,
        )

    async def aclose(self) -> None:
        """Close every connection that is not in use."""
        while self._idle:
            await _discard(self._idle.pop())

    def __repr__(self) -> str:
        return f"<HttpxTransport {self._url.host!r}>"


def _check_verifying(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if context is not None and (context.verify_mode is ssl.CERT_NONE or not context.check_hostname):
        raise InvalidInputError("ssl_context must verify certificates and host names")
    return context


def _make_ssl_context(scheme: str) -> ssl.SSLContext:
    if scheme == "https":
        return httpx.create_ssl_context()
    # Never used on plain HTTP: a verifying one without authorities is made at once and trusts nobody.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


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


async def _discard(lane: httpx.AsyncHTTPTransport) -> None:
    # A connection that cannot even be closed is gone.
    with suppress(Exception):
        await lane.aclose()
