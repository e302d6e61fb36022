"""The transport on aiohttp, an extra: the least time of the processor for a request."""

from __future__ import annotations

import asyncio
import inspect
import io
import ssl
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from ..answer import Answer, Failure
from ..request import Request
from .fault import ProxyRefusedError, find_fault
from .protocol import (
    BODY_TIMEOUT_S,
    KEEPALIVE_S,
    MAX_ANSWER_BYTES,
    VWO_BASE_URL,
    Timeouts,
    check_base_url,
    check_timeouts,
    read_answer,
    read_body,
)
from .proxy import read_proxy
from .status_line import StatusLine
from .tls import Certificates

# aiohttp warns of bytes above this, and writes a file in pieces instead.
_MAX_BYTES_AT_ONCE = 1_000_000
_FAILED = (aiohttp.ClientError, OSError)


class _Try:
    """One request, and what was heard since it had a connection over which it may have been sent."""

    __slots__ = ("status_line",)

    def __init__(self) -> None:
        self.status_line: StatusLine | None = None


_try: ContextVar[_Try] = ContextVar("vwo_async try")


class _Protocol(ResponseHandler):
    """A connection of aiohttp that keeps what a status line says before a parser sees it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.status_line = StatusLine()

    def data_received(self, data: bytes) -> None:
        seen = self.status_line.feed(data)
        if seen:
            super().data_received(seen)


class _Connector(aiohttp.TCPConnector):
    """Says when a request has a connection, and gives it none on which an answer waits already."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # There is no public way to say of what kind a connection is.
        self._factory = cast("Any", partial(_Protocol, loop=self._loop))

    async def connect(self, *arguments: Any, **options: Any) -> Any:
        """Return a connection, and take note of it."""
        while True:
            connection = await super().connect(*arguments, **options)
            protocol = connection.protocol
            assert isinstance(protocol, _Protocol)
            if not protocol.should_close:
                break
            connection.close()
        _try.get().status_line = protocol.status_line = StatusLine()
        return connection


class AiohttpTransport:
    """Sends through one session of aiohttp, with what it would add of its own turned off.

    Args:
        base_url: Where VWO is, see `check_base_url`.
        timeouts: Limits of one try.
        user_agent: The header of every request.
        ssl_context: To trust other certificates than the system's; verification cannot be turned off.
        proxy: URL of an HTTP proxy, see `read_proxy`; the environment's proxy variables are not read.
        allows_http: Whether *base_url* may be plain HTTP to any host.
    """

    def __init__(
        self,
        base_url: str = VWO_BASE_URL,
        *,
        timeouts: Timeouts | None = None,
        user_agent: str = "vwo_async",
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        allows_http: bool = False,
    ) -> None:
        url = check_base_url(base_url, allows_http=allows_http)
        self._origin = f"{url.scheme}://{url.netloc.decode()}{url.raw_path.decode().rstrip('/')}"
        self._host, self._is_tls = url.host, url.scheme == "https"
        limits = check_timeouts(timeouts)
        self._timeout = aiohttp.ClientTimeout(
            total=limits.total_s,
            # All of connecting, and TCP alone: the first covers name resolution and TLS too.
            connect=min(2 * limits.connect_s, 0.9 * limits.total_s),
            sock_connect=limits.connect_s,
            sock_read=limits.read_s,
        )
        self._certificates = Certificates(ssl_context)
        self._proxy = None if proxy is None else read_proxy(proxy, has_socks=False)
        self._is_from_proxy = self._proxy is not None and self._proxy.answers_for(url.scheme)
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "*/*",
            # A compressed answer could be any size once unpacked.
            "Accept-Encoding": "identity",
        }
        self._session: aiohttp.ClientSession | None = None
        # What makes a request in it.
        self._request: Any = None

    async def send(self, request: Request) -> Answer:
        """Send *request* once; see `Transport`."""
        this = _Try()
        _try.set(this)
        answer = await self._try(request)
        if this.status_line is None:
            is_unsendable = answer.failure is Failure.UNSENDABLE
            return (
                answer if is_unsendable else replace(answer, status=None, failure=Failure.NOT_SENT)
            )
        status = this.status_line.status
        return read_answer(answer, status, is_from_proxy=self._is_from_proxy)

    async def _try(self, request: Request) -> Answer:
        try:
            if self._session is None:
                await self._open()
            async with await self._request(
                request.method,
                URL(f"{self._origin}{request.target}", encoded=True),
                headers=self._list_headers(request),
                data=_wrap(request.body),
                allow_redirects=False,
                **self._proxy_options,
            ) as response:
                return await _read(response)
        except aiohttp.InvalidURL:
            return Answer(failure=Failure.UNSENDABLE)
        except aiohttp.ClientHttpProxyError as error:
            return Answer(failure=Failure.UNKNOWN, fault=ProxyRefusedError(error.status))
        except _FAILED as error:
            return Answer(failure=Failure.UNKNOWN, fault=find_fault(error))
        except ValueError:
            # After the others, since a certificate that is not valid is one of these too.
            return Answer(failure=Failure.UNSENDABLE)

    def _list_headers(self, request: Request) -> list[tuple[str, str]]:
        headers = [(name.decode(), value.decode()) for name, value in request.headers]
        if self._proxy is not None and not self._is_tls:
            # There is no tunnel whose request could carry it.
            headers.extend(self._proxy.headers.items())
        return headers

    @property
    def _proxy_options(self) -> dict[str, Any]:
        proxy = self._proxy
        return {} if proxy is None else {"proxy": proxy.url, "proxy_headers": proxy.headers}

    async def _open(self) -> None:
        context = await self._certificates.load() if self._is_tls else True
        if self._session is None:
            # The number of workers bounds the requests on their way, and so the connections.
            connector = _Connector(
                limit=0, ssl=context, keepalive_timeout=KEEPALIVE_S, use_dns_cache=False
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=self._headers,
                skip_auto_headers=("Content-Type",),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=self._timeout,
                trust_env=False,
            )
            # Whether to send again what may have arrived is not for the session to decide: it does so
            # unasked with every GET, and has no public switch.
            self._session._retry_connection = False  # noqa: SLF001 - see above
            # Tools that trace every session of a process (Sentry, OpenTelemetry) add themselves when one is
            # made. They would show the SDK key and the visitor, and send their own headers to VWO.
            self._session.trace_configs.clear()
            # Or put something of their own around its connections.
            self._session._connector = connector  # noqa: SLF001 - see above
            # Or around the method that makes each of its requests.
            own: Any = inspect.unwrap(aiohttp.ClientSession._request)  # noqa: SLF001 - it is this that they wrap
            self._request = partial(own, self._session)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._certificates.settle()
        if self._session is not None:
            await self._session.close()

    def __repr__(self) -> str:
        return f"<AiohttpTransport {self._host!r}>"


def _wrap(body: bytes) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if len(body) > _MAX_BYTES_AT_ONCE else body or None


async def _read(response: aiohttp.ClientResponse) -> Answer:
    """Return the answer, whose status is known; what follows is read for the sake of the connection."""
    answer = Answer(response.status, None, response.headers.get("Retry-After", ""))
    try:
        if response.content.is_eof():
            # It is all there.
            body = await read_body(response.content.iter_any(), MAX_ANSWER_BYTES)
        else:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await read_body(response.content.iter_any(), MAX_ANSWER_BYTES)
    except _FAILED:
        body = None
    if body is None:
        # The rest is not for us: drop the connection with it unread.
        response.close()
    return answer
