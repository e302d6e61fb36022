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
from contextlib import suppress
from contextvars import Context
from types import ModuleType
from typing import Any, NamedTuple

import httpcore

from ..._cancellation import Ending
from ..._error import InvalidInputError
from ..._plain import is_kind
from ..answer import Answer, Failure
from ..request import Request
from .fault import ProxyRefusedError, find_fault
from .log_filter import making_request, silence_logger
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
from .tls import Certificates
from .wire import Wire, has_surplus


class _Connection(NamedTuple):
    """A connection of httpcore, or a proxy's pool of one, and its bytes."""

    http: Any
    wire: Wire


class _Errors(NamedTuple):
    """The errors of an engine, by what they say of the request.

    Attributes:
        not_sent: It surely did not arrive.
        unsendable: It cannot be written as HTTP.
        failed: Whether it arrived depends on what was written before.
    """

    not_sent: tuple[type[Exception], ...]
    unsendable: tuple[type[Exception], ...]
    failed: tuple[type[Exception], ...]

    @classmethod
    def of(cls, core: Any) -> _Errors:
        return cls(
            (
                core.ConnectError,
                core.ConnectTimeout,
                core.PoolTimeout,
                core.ProxyError,
                core.ConnectionNotAvailable,
            ),
            (core.LocalProtocolError, core.UnsupportedProtocol),
            (TimeoutError, core.NetworkError, core.TimeoutException, core.ProtocolError),
        )


class HttpxTransport:
    """Sends over as many connections as there are requests on their way.

    Args:
        base_url: Where VWO is, see `check_base_url`.
        timeouts: Limits of one try.
        user_agent: The header of every request.
        ssl_context: To trust other certificates than the system's; verification cannot be turned off.
        proxy: URL of an HTTP or SOCKS proxy, see `read_proxy`; the environment's proxy variables are not
            read.
        allows_http: Whether *base_url* may be plain HTTP to any host.
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
        allows_http: bool = False,
        core: ModuleType = httpcore,
    ) -> None:
        self._core: Any = core
        silence_logger(core.__name__)
        if not is_kind(user_agent, str):
            raise InvalidInputError("user_agent must be a text")
        self._url = check_base_url(base_url, allows_http=allows_http)
        self._path = self._url.raw_path.decode().rstrip("/")
        self._timeouts = check_timeouts(timeouts)
        self._certificates = Certificates(ssl_context)
        self._proxy = None if proxy is None else read_proxy(proxy)
        self._is_from_proxy = self._proxy is not None and self._proxy.answers_for(self._url.scheme)
        self._idle: list[_Connection] = []
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
        self._errors = _Errors.of(core)

    async def send(self, request: Request) -> Answer:
        """Send *request* once; see `Transport`."""
        answer, _ = await self._exchange(request, MAX_ANSWER_BYTES, needs_body=False)
        return answer

    async def fetch(
        self, request: Request, max_bytes: int = MAX_ANSWER_BYTES
    ) -> tuple[Answer, bytes]:
        """Send *request* once and return the answer with its body.

        A body of more than *max_bytes* is left unread and comes back empty.
        """
        # Of nobody's context: tools that trace what is done on behalf of somebody's request would show the SDK key,
        # and send VWO headers of their own. Events are sent in such contexts as well.
        ending: Ending[tuple[Answer, bytes]] = Ending()
        exchange = self._exchange(request, max_bytes, needs_body=True)
        await ending.begin(exchange, "vwo_async fetch", Context())
        return ending.get()

    async def _exchange(
        self, request: Request, max_bytes: int, *, needs_body: bool
    ) -> tuple[Answer, bytes]:
        connection = await self._find_connection()
        connection.wire.begin()
        try:
            with making_request():
                answer, body = await self._try(
                    connection, request, max_bytes, needs_body=needs_body
                )
        except BaseException:
            await _discard(connection)
            raise
        is_done = body is not None and answer.failure is None and not connection.wire.is_early
        if not is_done or has_surplus(connection.http):
            await _discard(connection)
        else:
            self._idle.append(connection)
        if not needs_body:
            status = connection.wire.status_line.status
            answer = read_answer(answer, status, is_from_proxy=self._is_from_proxy)
        return answer, body or b""

    async def _try(
        self, connection: _Connection, request: Request, max_bytes: int, *, needs_body: bool
    ) -> tuple[Answer, bytes | None]:
        """Return the answer and its body, None where that was not wholly read."""
        answer = None
        try:
            async with asyncio.timeout(self._timeouts.total_s) as limit:
                response = await connection.http.handle_async_request(self._build(request))
                answer = Answer(response.status, None, _find_retry_after(response.headers))
                if not needs_body:
                    _shorten(limit, BODY_TIMEOUT_S)
                try:
                    body = await read_body(response.stream, max_bytes)
                finally:
                    await response.aclose()
        except self._errors.unsendable:
            return answer or Answer(failure=Failure.UNSENDABLE), None
        except self._errors.not_sent as error:
            return Answer(failure=Failure.NOT_SENT, fault=self._find_fault(error)), None
        except self._errors.failed as error:
            if answer is not None and not needs_body:
                # The status is what counts, whatever came after it.
                return answer, None
            failure = Failure.UNKNOWN if connection.wire.is_sent else Failure.NOT_SENT
            return Answer(failure=failure, fault=self._find_fault(error)), None
        return answer, body

    def _find_fault(self, error: Exception) -> Exception | None:
        if isinstance(error, self._core.ProxyError):
            return ProxyRefusedError(*error.args)
        return find_fault(error)

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

    async def _find_connection(self) -> _Connection:
        """Return an idle connection that is still good, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            http = connection.http
            # A connection through a proxy is a pool of one, which looks after itself.
            if self._proxy is not None or (http.is_available() and not http.has_expired()):
                return connection
            await _discard(connection)
        is_tls = self._url.scheme == "https" or (self._proxy and self._proxy.scheme == "https")
        context = await self._certificates.load() if is_tls else None
        wire = Wire(self._core)
        return _Connection(self._open_connection(context, wire), wire)

    def _open_connection(self, context: ssl.SSLContext | None, wire: Wire) -> Any:
        core, url, proxy = self._core, self._url, self._proxy
        if proxy is None:
            origin = core.Origin(url.raw_scheme, url.raw_host, url.port or _PORTS[url.scheme])
            return core.AsyncHTTPConnection(
                origin, context, keepalive_expiry=KEEPALIVE_S, network_backend=wire
            )
        options = {} if proxy.scheme != "https" else {"proxy_ssl_context": context}
        kind = core.AsyncSOCKSProxy if proxy.scheme.startswith("socks") else core.AsyncHTTPProxy
        return kind(
            proxy_url=core.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target="/"),
            proxy_auth=proxy.auth,
            ssl_context=context,
            max_connections=1,
            keepalive_expiry=KEEPALIVE_S,
            network_backend=wire,
            **options,
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


def _shorten(limit: asyncio.Timeout, seconds: float) -> None:
    """Let *limit* end in *seconds*, unless it does so before."""
    ends_at = asyncio.get_running_loop().time() + seconds
    before = limit.when()
    if before is None or ends_at < before:
        limit.reschedule(ends_at)


async def _discard(connection: _Connection) -> None:
    # A connection that cannot even be closed is gone.
    with suppress(Exception), making_request():
        await connection.http.aclose()
