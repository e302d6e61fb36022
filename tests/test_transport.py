"""The built-in transport against real sockets: bounds, TLS, redirects, secrets."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
import trustme
from chosen_transport import chosen_transport
from every_transport import EVERY_TRANSPORT
from own_time import Stopwatch
from server import Received, answer, running_server

from vwo_async import InvalidInputError
from vwo_async.transport import Answer, Failure, HttpxTransport, Request, Timeouts, Transport

pytestmark = [pytest.mark.anyio, EVERY_TRANSPORT]

GET = Request("GET", "/server-side/track-goal?a=b%20c")
QUICK = Timeouts(connect_s=0.3, read_s=0.2, write_s=0.3, total_s=0.4)


@asynccontextmanager
async def transport_to(base_url: str, **options: Any) -> AsyncIterator[Transport]:
    transport = chosen_transport(base_url, **options)
    try:
        yield transport
    finally:
        await transport.aclose()


async def test_what_is_sent() -> None:
    """Target, headers and body arrive byte for byte, with nothing that was not asked for."""
    async with running_server() as server, transport_to(server.base_url) as transport:
        assert await transport.send(GET) == Answer(200)
        post = Request("POST", "/events/t?x=1", ((b"Authorization", b"k"),), b'{"a":1}')
        assert await transport.send(post) == Answer(200)
        get, posted = server.requests
        assert (get.method, get.target, get.body) == ("GET", GET.target, b"")
        assert (posted.method, posted.target, posted.body) == ("POST", post.target, post.body)
        assert posted.header("Authorization") == "k"
        names = [name.lower() for name, _ in get.headers]
        assert names == ["host", "user-agent", "accept", "accept-encoding"]
        assert get.header("Accept-Encoding") == "identity"
        assert get.header("Host") == server.base_url.removeprefix("http://")


async def test_base_url_with_a_path() -> None:
    """A proxy of one's own may live below a path."""
    async with running_server() as server, transport_to(f"{server.base_url}/vwo/") as transport:
        await transport.send(GET)
        assert server.requests[0].target == f"/vwo{GET.target}"


async def test_connections_are_reused() -> None:
    """Requests that follow one another share a connection."""
    async with running_server() as server, transport_to(server.base_url) as transport:
        for _ in range(5):
            await transport.send(GET)
        assert server.connections == 1


async def test_connection_closed_while_idle() -> None:
    """The first request after the server closed an idle connection arrives."""
    async with running_server() as server, transport_to(server.base_url) as transport:
        await transport.send(GET)
        for writer in list(server.open_writers):
            writer.close()
        await asyncio.sleep(0.05)
        assert await transport.send(GET) == Answer(200)
        assert len(server.requests) == 2


async def test_statuses_and_retry_after() -> None:
    """A status comes back as it is, with the header that says when to come again."""
    async with running_server() as server, transport_to(server.base_url) as transport:
        server.replies.append(answer(503, "Retry-After: 7\r\n"))
        assert await transport.send(GET) == Answer(503, None, "7")


async def test_redirects_are_not_followed() -> None:
    """A redirect is an answer like any other: the key is not shown to where it points."""
    async with (
        running_server() as server,
        running_server() as other,
        transport_to(server.base_url) as transport,
    ):
        server.replies.append(answer(307, f"Location: {other.base_url}/x\r\n"))
        assert (await transport.send(GET)).status == 307
        assert not other.requests


async def test_nobody_listens() -> None:
    """A refused connection is known not to have sent anything."""
    async with running_server() as server:
        base_url = server.base_url
    async with transport_to(base_url) as transport:
        assert await transport.send(GET) == Answer(failure=Failure.NOT_SENT)


async def test_reset_after_reading() -> None:
    """A connection that breaks after the request was read may have delivered it."""

    async def hang_up(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with running_server() as server, transport_to(server.base_url) as transport:
        server.replies.append(hang_up)
        assert await transport.send(GET) == Answer(failure=Failure.UNKNOWN)
        assert await transport.send(GET) == Answer(200)


@pytest.mark.timed
@pytest.mark.parametrize("style", ["silent", "headers", "drip"])
async def test_hanging_server(style: str) -> None:
    """The whole try is bounded, also where a byte comes often enough to fool the read time-out.

    What the status says stands, although the rest of the answer never comes.
    """

    async def hang(_: Received, writer: asyncio.StreamWriter) -> None:
        if style != "silent":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            if style == "drip":
                writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    expected = Answer(failure=Failure.UNKNOWN) if style == "silent" else Answer(200)
    async with (
        running_server() as server,
        transport_to(server.base_url, timeouts=QUICK) as transport,
    ):
        server.replies.append(hang)
        watch = Stopwatch()
        assert await transport.send(GET) == expected
        watch.assert_below(0.8)
        assert await transport.send(GET) == Answer(200)


async def test_endless_answer() -> None:
    """At most 64 kB of an answer are read; the status counts, the connection does not live on."""

    async def endless(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            await writer.drain()

    async with running_server() as server, transport_to(server.base_url) as transport:
        server.replies.append(endless)
        assert await transport.send(GET) == Answer(200)
        assert await transport.send(GET) == Answer(200)
        assert server.connections == 2


async def test_large_body_on_request() -> None:
    """`fetch` returns a body up to the size asked for, and nothing of a larger one."""
    async with running_server() as server:
        transport = HttpxTransport(server.base_url)
        server.replies.extend([answer(body=b"x" * 100_000), answer(body=b"x" * 100_000)])
        assert (await transport.fetch(GET, 100_000))[1] == b"x" * 100_000
        assert (await transport.fetch(GET, 99_999))[1] == b""
        await transport.aclose()


async def test_cancelled_requests_leave_no_trace() -> None:
    """However many requests are cut off, the next one finds a free connection."""

    async def slow(*arguments: Any) -> None:
        await asyncio.sleep(0.01)
        await answer()(*arguments)

    async with running_server() as server, transport_to(server.base_url) as transport:
        server.default = slow
        for number in range(100):
            task = asyncio.create_task(transport.send(GET))
            await asyncio.sleep(number % 13 / 1000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await transport.send(GET) == Answer(200)


@contextmanager
def accepting(context: ssl.SSLContext | None) -> Iterator[tuple[int, list[bytes]]]:
    """A server in a thread, since asyncio reports a client that hangs up in the handshake as its own error."""
    arrived: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        connection.settimeout(3)
        # A client that refuses the certificate hangs up: what arrived until then is what counts.
        with suppress(OSError), connection:
            stream = connection if context is None else context.wrap_socket(connection, True)
            with stream:
                arrived.append(stream.recv(65536))
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], arrived
    finally:
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    "case", ["trusted", "unknown authority", "wrong host", "expired", "plain http"]
)
async def test_tls(case: str) -> None:
    """Only a valid certificate of a trusted authority for this host is sent to; nothing is downgraded."""
    authority = trustme.CA()
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) if case == "expired" else None
    name = "elsewhere.example" if case == "wrong host" else "127.0.0.1"
    certificate = authority.issue_cert(name, not_after=past)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(serving)
    trusting = ssl.create_default_context()
    (trustme.CA() if case == "unknown authority" else authority).configure_trust(trusting)
    with accepting(None if case == "plain http" else serving) as (port, arrived):
        async with transport_to(
            f"https://127.0.0.1:{port}", ssl_context=trusting, timeouts=Timeouts(total_s=3)
        ) as transport:
            result = await transport.send(GET)
    if case == "trusted":
        assert result == Answer(200)
        assert len(arrived) == 1
    else:
        assert result == Answer(failure=Failure.NOT_SENT)
        assert not any(b"track-goal" in one for one in arrived)


def test_verification_cannot_be_turned_off() -> None:
    """A context that verifies nothing is refused."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(InvalidInputError, match="verify"):
        HttpxTransport(ssl_context=context)


@pytest.mark.parametrize(
    "base_url",
    ["https://vwo.example", "http://localhost:1", "http://127.9.9.9", "http://[::1]:80/x"],
)
def test_good_base_urls(base_url: str) -> None:
    """https anywhere, http on this machine."""
    assert "HttpxTransport" in repr(HttpxTransport(base_url))


@pytest.mark.parametrize(
    "base_url",
    ["http://vwo.example", "http://localhost.evil.example", "http://10.0.0.1", "https://", "x"],
)
def test_bad_base_urls(base_url: str) -> None:
    """Everything else would show the key to the network."""
    with pytest.raises(InvalidInputError):
        HttpxTransport(base_url)


async def test_environment_proxies_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables change nothing; a proxy is an option."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with running_server() as server, transport_to(server.base_url) as transport:
        assert await transport.send(GET) == Answer(200)


async def test_proxy_option() -> None:
    """With a proxy, requests go through it; a dead one is a connection that did not come about."""
    async with running_server() as proxy:
        async with transport_to("http://localhost:1", proxy=proxy.base_url) as transport:
            assert await transport.send(GET) == Answer(200)
        assert proxy.requests[0].target == f"http://localhost:1{GET.target}"
        base_url = proxy.base_url
    async with transport_to("http://localhost:1", proxy=base_url) as transport:
        assert await transport.send(GET) == Answer(failure=Failure.NOT_SENT)


async def test_unsendable_request() -> None:
    """What cannot be written as HTTP is known to be so, and harms nothing else."""
    bad = Request("GET", "/x", ((b"X", b"a\r\nb"),))
    async with running_server() as server, transport_to(server.base_url) as transport:
        assert await transport.send(bad) == Answer(failure=Failure.UNSENDABLE)
        assert await transport.send(GET) == Answer(200)


@pytest.mark.parametrize("end", ["cancelled", "late"])
async def test_a_handshake_that_is_given_up_closes_its_connection(end: str) -> None:
    """A request that is cancelled, or has no more time, while TLS is being set up leaves no socket open."""
    has_begun, is_closed = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        has_begun.set()
        with suppress(OSError):
            await reader.read()
        is_closed.set()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    # All limits alike, so that it is the limit of the whole that ends it.
    limits = Timeouts(connect_s=0.3, read_s=0.3, write_s=0.3, total_s=0.3)
    async with listener, transport_to(url, timeouts=limits) as transport:
        sending = asyncio.create_task(transport.send(GET))
        await asyncio.wait_for(has_begun.wait(), 5)
        if end == "cancelled":
            sending.cancel()
        await asyncio.wait([sending])
        await asyncio.wait_for(is_closed.wait(), 5)
