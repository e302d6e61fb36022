"""What a transport must do, its limits, and where it may send to."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

from ..._error import InvalidInputError
from ..._plain import is_kind, to_plain
from ..answer import Answer, Failure
from ..request import Request

if TYPE_CHECKING:
    from httpx import URL

VWO_BASE_URL = "https://dev.visualwebsiteoptimizer.com"
MAX_ANSWER_BYTES = 64_000
# Servers and what stands before them close idle connections after a minute or more.
KEEPALIVE_S = 30.0
# How long the rest of an answer may take whose status is known; after that its connection is given up.
BODY_TIMEOUT_S = 1.0
PROXY_REFUSED = 407
MAX_PORT = 65_535
# Longer than a loop can be told to wait for.
MAX_TIMEOUT_S = 1e9
# A name, which for one outside ASCII has its own form, or an address.
_HOST = re.compile(r"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+(%\w+)?")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of one try, in seconds.

    Attributes:
        connect_s: For name resolution with TCP, and again for TLS; with httpx at most a third of *total_s*
            each, with aiohttp nine tenths of it together.
        read_s: Between two pieces of the answer.
        write_s: Between two pieces of the request; aiohttp has no such limit.
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
        ...

    async def aclose(self) -> None:
        """Close every connection."""


class Fetcher(Transport, Protocol):
    """A transport that also returns what was answered."""

    async def fetch(self, request: Request, max_bytes: int = ...) -> tuple[Answer, bytes]:
        """Send *request* once and return the answer with its body.

        A body of more than *max_bytes* is left unread and comes back empty.
        """
        ...


async def read_body(stream: AsyncIterable[bytes], max_bytes: int) -> bytes | None:
    """Return the whole body, or None where it is longer than *max_bytes*."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def read_answer(answer: Answer, status: int | None, *, is_from_proxy: bool) -> Answer:
    """Return what became of events, by what a library made of an answer and the status in its bytes.

    A proxy that wants a password has not sent them on; a server that answers so refuses them. A status
    below 200 is no end: a server that switches protocols unasked may have taken them or not.

    Args:
        answer: What the library made of it.
        status: What its first bytes say, None for nothing.
        is_from_proxy: Whether a proxy may have answered in the server's place.
    """
    if answer.failure in (Failure.NOT_SENT, Failure.UNSENDABLE):
        return answer
    if status == PROXY_REFUSED and is_from_proxy:
        return Answer(failure=Failure.NOT_SENT)
    if status is None or status < 200:
        return Answer(failure=Failure.UNKNOWN, fault=answer.fault)
    return Answer(status, None, answer.retry_after)


def check_timeouts(timeouts: Timeouts | None) -> Timeouts:
    """Return *timeouts*, or the default ones for None.

    Raises:
        InvalidInputError: They are no `Timeouts` of positive numbers of seconds.
    """
    if timeouts is None:
        return Timeouts()
    if not is_kind(timeouts, Timeouts):
        raise InvalidInputError("timeouts must be Timeouts")
    for one in fields(Timeouts):
        seconds = to_plain(getattr(timeouts, one.name))
        if type(seconds) not in (int, float) or not 0 < seconds <= MAX_TIMEOUT_S:
            raise InvalidInputError(f"timeouts: {one.name} must be a positive number of seconds")
    return timeouts


def choose_base_url(base_url: str | None) -> str:
    """Return *base_url*, or VWO's own where it is None, as a variable of the environment is that is not set."""
    return VWO_BASE_URL if base_url is None else base_url


def check_base_url(base_url: str, *, allows_http: bool = False) -> URL:
    """Return the parsed *base_url*: https, or http on a loopback host, or with *allows_http* on any.

    Raises:
        InvalidInputError: It is not such a URL, or holds a user name, query or fragment.
    """
    from httpx import URL, InvalidURL  # noqa: PLC0415 - not before it is needed

    text = to_plain(base_url)
    try:
        # The empty one has no host, and is refused below.
        url = URL(text if type(text) is str else "")
    except (InvalidURL, UnicodeError):
        raise InvalidInputError("base_url is not a URL") from None
    if (
        not is_reachable(url.raw_host.decode(), url.port)
        or url.userinfo
        or url.query
        or url.fragment
    ):
        raise InvalidInputError("base_url must be scheme, host and at most a port and a path")
    is_http_fit = allows_http or is_loopback(url.host)
    if url.scheme != "https" and not (url.scheme == "http" and is_http_fit):
        raise InvalidInputError("base_url must be https, or http on a loopback host")
    return url


def is_reachable(host: str, port: int | None) -> bool:
    """Tell whether a connection can be made to such a host and port, None for the usual one."""
    return _HOST.fullmatch(host) is not None and (port is None or 1 <= port <= MAX_PORT)


def is_loopback(host: str) -> bool:
    """Tell whether *host* is this machine, going by its name alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
