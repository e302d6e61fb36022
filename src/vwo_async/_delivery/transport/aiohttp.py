"""The transport on aiohttp, an extra: the least time of the processor for a request."""

from __future__ import annotations

import ssl

import aiohttp
from yarl import URL

from ..answer import Answer, Failure
from ..request import Request
from .protocol import KEEPALIVE_S, MAX_ANSWER_BYTES, VWO_BASE_URL, Timeouts, check_base_url
from .tls import Certificates

_NOT_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
)
_UNSENDABLE = (aiohttp.InvalidURL, ValueError)
_UNKNOWN = (aiohttp.ClientError, TimeoutError, OSError)


class AiohttpTransport:
    """Sends through one session of aiohttp, with what it would add of its own turned off.

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
        url = check_base_url(base_url)
        self._origin = f"{url.scheme}://{url.netloc.decode()}{url.raw_path.decode().rstrip('/')}"
        self._host, self._is_tls = url.host, url.scheme == "https"
        limits = timeouts or Timeouts()
        self._timeout = aiohttp.ClientTimeout(
            total=limits.total_s,
            # All of connecting, and TCP alone: the first covers name resolution and TLS too.
            connect=min(2 * limits.connect_s, limits.total_s),
            sock_connect=limits.connect_s,
            sock_read=limits.read_s,
        )
        self._certificates = Certificates(ssl_context)
        self._proxy = proxy
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "*/*",
            # A compressed answer could be any size once unpacked.
            "Accept-Encoding": "identity",
        }
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request) -> Answer:
        """Send *request* once; see `Transport`."""
        try:
            session = self._session or await self._open()
            async with session.request(
                request.method,
                URL(f"{self._origin}{request.target}", encoded=True),
                headers=[(name.decode(), value.decode()) for name, value in request.headers],
                data=request.body or None,
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                return await _read(response)
        except _NOT_SENT:
            return Answer(failure=Failure.NOT_SENT)
        except _UNSENDABLE:
            return Answer(failure=Failure.UNSENDABLE)
        except _UNKNOWN:
            return Answer(failure=Failure.UNKNOWN)

    async def _open(self) -> aiohttp.ClientSession:
        context = await self._certificates.load() if self._is_tls else True
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # The number of workers bounds the requests on their way, and so the connections.
                connector=aiohttp.TCPConnector(
                    limit=0, ssl=context, keepalive_timeout=KEEPALIVE_S, use_dns_cache=False
                ),
                headers=self._headers,
                skip_auto_headers=("Content-Type",),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=self._timeout,
                trust_env=False,
            )
            # Whether to send again what may have arrived is not for the session to decide: it does so
            # unasked with every GET, and has no public switch.
            self._session._retry_connection = False  # noqa: SLF001
        return self._session

    async def aclose(self) -> None:
        """Close every connection."""
        await self._certificates.settle()
        if self._session is not None:
            await self._session.close()

    def __repr__(self) -> str:
        return f"<AiohttpTransport {self._host!r}>"


async def _read(response: aiohttp.ClientResponse) -> Answer:
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            # The rest is not for us: drop the connection with it unread.
            response.close()
            return Answer(response.status)
    return Answer(response.status, None, response.headers.get("Retry-After", ""))
