"""Rows 61 to 63, 77 and 84: answers that come early, broken or twice, proxies, and waiting while VWO is down."""

from __future__ import annotations

import asyncio
import socket
import struct
from base64 import b64decode
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, settings
from chosen_transport import chosen_name
from own_time import Stopwatch
from raw_answer import TRANSPORTS, Serve, listening, transport_to
from rig import Authority, fault_server, names_of, steady_loop
from waiting import until

from vwo_async import InvalidInputError, Reason, SettingsSource, VWOClient, fetch_settings
from vwo_async._delivery.transport.by_name import TransportName, check_transport_name
from vwo_async.transport import Answer, Failure, Limits, Request, Timeouts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

QUICK = Limits(backoff_base_s=0.05, backoff_cap_s=0.1)
LIMITS = Timeouts(connect_s=0.5, read_s=1, write_s=3, total_s=4)
GET = Request("GET", "/server-side/track-user?u=1&sId=1")
SMALL = Request("POST", "/server-side/batch-events?a=b", (), b"x" * 100)
LARGE = Request("POST", "/server-side/batch-events?a=b", (), b"x" * 5_000_000)
PASSWORD = "pässwört-日本"

# Row 62

ENDINGS = ["reads on", "stops reading", "closes", "resets", "resets at once"]


def answer_early(status: int, ending: str) -> Serve:
    """Answer from the headers alone, then treat the body so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 %d X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        writer.write(head % status)
        await writer.drain()
        if ending == "stops reading":
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(20)
        elif ending == "reads on":
            await reader.readexactly(len(LARGE.body))
        elif ending.startswith("resets"):
            await asyncio.sleep(0 if ending.endswith("once") else 0.05)
            linger = struct.pack("ii", 1, 0)
            peer = writer.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    return serve


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("status", [200, 302, 403, 413, 500])
@pytest.mark.parametrize("name", TRANSPORTS)
async def test_row_62_an_early_answer(name: TransportName, status: int, ending: str) -> None:
    """A server that answers before it has read a large body is heard, whatever it does with the rest."""
    async with (
        listening(answer_early(status, ending)) as port,
        transport_to(name, f"http://127.0.0.1:{port}", LIMITS) as transport,
    ):
        watch = Stopwatch()
        for _ in range(3):
            assert await transport.send(LARGE) == Answer(status)
        watch.assert_below(9)


@pytest.mark.parametrize("ending", ["closes", "resets"])
@pytest.mark.parametrize("name", TRANSPORTS)
async def test_row_62_an_early_answer_to_little(name: TransportName, ending: str) -> None:
    """The same where the body is small and on its way already."""
    async with (
        listening(answer_early(403, ending)) as port,
        transport_to(name, f"http://127.0.0.1:{port}", LIMITS) as transport,
    ):
        for _ in range(20):
            assert await transport.send(SMALL) == Answer(403)


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_row_62_an_interim_answer_is_not_the_end(name: TransportName) -> None:
    """A server that says 100 or 103 while the body is being written still gets all of it."""
    received: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n")
        await asyncio.sleep(0.5)
        received.append(len(await reader.readexactly(len(LARGE.body))))
        writer.write(b"HTTP/1.1 201 X\r\nContent-Length: 0\r\n\r\n")

    async with (
        listening(serve) as port,
        transport_to(name, f"http://127.0.0.1:{port}", LIMITS) as transport,
    ):
        assert await transport.send(LARGE) == Answer(201)
    assert received == [len(LARGE.body)]


@BOTH_PRODUCTS
async def test_row_62_a_batch_of_five_megabytes(tmp_path: Path) -> None:
    """A server that refuses large bodies from their headers gets the events in smaller requests: all arrive."""
    taken: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
            size = int(length or 0)
            if size > 200_000:
                writer.write(b"HTTP/1.1 413 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
                return
            body = await reader.readexactly(size)
            taken.append(body.count(b'"eT"') or body.count(b'"msgId"') or 1)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with listening(serve) as port:
        client = make_client(
            settings(),
            base_url=f"http://127.0.0.1:{port}",
            transport=chosen_name(),
            limits=QUICK,
            batch_events={"events_per_request": 5000, "request_time_interval": 60},
        )
        async with client:
            for number in range(5000):
                await client.track("checkout", f"u{number}", "signup", user_agent="x" * 900)
            await until(lambda: client.statistics().delivered == 5000)
    assert sum(taken) == 5000


# Row 63


def parse_proxy_auth(head: bytes) -> str:
    """Return user name and password that a request to a proxy carries."""
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b": ")
        if key.lower() == b"proxy-authorization":
            return b64decode(value.split(b" ")[1]).decode()
    return ""


@pytest.mark.parametrize(
    "style", ["hangs", "refuses", "wants a password", "hangs up", "fails", "drips"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", TRANSPORTS)
async def test_row_63_not_sent_through_a_proxy(
    name: TransportName, scheme: str, style: str
) -> None:
    """What a proxy never passed on is known not to have been sent."""
    if scheme == "http" and style != "wants a password":
        pytest.skip("without a tunnel the proxy answers for the server")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answers = {
            "refuses": b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n",
            "wants a password": b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n",
            "fails": b"HTTP/1.1 502 X\r\nContent-Length: 0\r\n\r\n",
        }
        writer.write(answers.get(style, b""))
        if style == "hangs":
            await asyncio.sleep(20)
        while style == "drips":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    host = "127.0.0.1:9" if scheme == "http" else "vwo.invalid"
    async with (
        listening(serve) as port,
        transport_to(
            name, f"{scheme}://{host}", LIMITS, proxy=f"http://127.0.0.1:{port}"
        ) as transport,
    ):
        assert await transport.send(GET) == Answer(failure=Failure.NOT_SENT)


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_row_63_refused_as_by_a_proxy(name: TransportName) -> None:
    """A server that answers 407 where there is no proxy refuses, as with any other status."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n")

    async with (
        listening(serve) as port,
        transport_to(name, f"http://127.0.0.1:{port}", LIMITS) as transport,
    ):
        assert await transport.send(GET) == Answer(407)


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_row_63_not_sent_in_a_handshake(name: TransportName) -> None:
    """A server that accepts and never shakes hands has been sent nothing."""

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await asyncio.sleep(20)

    async with (
        listening(serve) as port,
        transport_to(name, f"https://127.0.0.1:{port}", LIMITS) as transport,
    ):
        assert await transport.send(GET) == Answer(failure=Failure.NOT_SENT)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", TRANSPORTS)
async def test_row_63_a_proxy_password(name: TransportName, scheme: str) -> None:
    """Name and password are sent in UTF-8 by every transport, in whichever way the proxy is used."""
    heard: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(parse_proxy_auth(await reader.readuntil(b"\r\n\r\n")))
        writer.write(b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n")

    host = "127.0.0.1:9" if scheme == "http" else "vwo.invalid"
    async with listening(serve) as port:
        proxy = f"http://us%40er:{PASSWORD}@127.0.0.1:{port}"
        async with transport_to(name, f"{scheme}://{host}", LIMITS, proxy=proxy) as transport:
            await transport.send(GET)
    assert heard == [f"us@er:{PASSWORD}"]


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_row_63_a_tunnel(tmp_path: Path, name: TransportName) -> None:
    """Through a tunnel requests arrive, and an answer of the server is its own."""
    authority = Authority(tmp_path)
    with fault_server(tmp_path, authority.issue("good")) as server:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT ")
            writer.write(b"HTTP/1.1 200 X\r\n\r\n")
            away, back = await asyncio.open_connection("127.0.0.1", server.port)
            with suppress(OSError):
                await asyncio.gather(copy(reader, back), copy(away, writer))

        async with (
            listening(serve) as port,
            transport_to(
                name,
                server.base_url,
                LIMITS,
                proxy=f"http://127.0.0.1:{port}",
                ssl_context=authority.trusting,
            ) as transport,
        ):
            await server.answer(503, times=1)
            assert await transport.send(GET) == Answer(503)
            assert await transport.send(replace(LARGE, body=b'{"ev":[]}')) == Answer(200)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


# Row 77

SECRET = "s3cret-p4ss"
BAD_PROXIES = [
    f"user:{SECRET}@proxy:3128",
    f"http://user:{SECRET}@",
    f"http://user:{SECRET}@:80",
    f"http://user:{SECRET}@proxy:99999",
    f"http://user:{SECRET}@proxy:0",
    f"http://user:{SECRET}@proxy:port",
    f"http://user:{SECRET}@proxy/path",
    f"http://user:{SECRET}@proxy?a=b",
    f"http://user:{SECRET}@pro xy",
    f"http://user:{SECRET}@[::1",
    f"http://user:{SECRET}\n@proxy",
    f"ftp://user:{SECRET}@proxy",
    f"socks4://user:{SECRET}@proxy",
    f"//user:{SECRET}@proxy",
    f"http://user:{SECRET}#@proxy",
    "http://",
    "http://" + "x" * 70_000,
    "\ud800",
    "",
]


@BOTH_PRODUCTS
@pytest.mark.parametrize("proxy", BAD_PROXIES, ids=lambda text: ascii(text)[:40])
@pytest.mark.parametrize("name", TRANSPORTS)
async def test_row_77_a_bad_proxy(name: TransportName, proxy: str) -> None:
    """A proxy that cannot be used is refused where it is given, and its password is not repeated."""
    transport = check_transport_name(name)
    for make in (
        lambda: make_client(settings(), transport=transport, proxy=proxy),
        lambda: SettingsSource(1, "key", proxy=proxy),
    ):
        with pytest.raises(InvalidInputError) as raised:
            make()
        assert SECRET not in str(raised.value)
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__ or raised.value.__context__ is None
    with pytest.raises(InvalidInputError) as raised:
        await fetch_settings(1, "key", proxy=proxy)
    assert SECRET not in str(raised.value)


@BOTH_PRODUCTS
def test_row_77_a_proxy_of_a_kind_that_a_transport_lacks() -> None:
    """SOCKS is refused where the transport, or what it needs for it, is not there."""
    for name in TRANSPORTS:
        with pytest.raises(InvalidInputError, match="proxy: "):
            make_client(
                settings(),
                transport=check_transport_name(name),
                proxy=f"socks5://user:{SECRET}@proxy:1080",
            )
    with pytest.raises(InvalidInputError, match="begin with"):
        make_client(settings(), proxy="gopher://proxy")


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "https://vwo.example:0"},
        {"base_url": "https://vwo.example:99999"},
        {"base_url": "https://vwo example"},
        {"limits": Limits(max_batch_events=0)},
        {"limits": Limits(max_age_s=float("inf"))},
        {"limits": Limits(max_attempts=0)},
        {"limits": Limits(backoff_base_s=0)},
        {"timeouts": Timeouts(total_s=0)},
        {"timeouts": Timeouts(connect_s=float("inf"))},
    ],
    ids=str,
)
def test_row_77_other_bad_arguments(options: dict[str, Any]) -> None:
    """What could never work is refused at launch."""
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        make_client(settings(), **options)


@BOTH_PRODUCTS
def test_row_77_a_context_that_verifies_nothing() -> None:
    """It is refused at launch, not where the first event is sent."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with pytest.raises(InvalidInputError, match="ssl_context: "):
        make_client(settings(), ssl_context=context)


# Row 84


async def see_vwo_down(client: VWOClient) -> None:
    """Track until the client knows that VWO is down."""
    for number in range(8):
        await client.track("checkout", f"early {number}", "signup")
        await asyncio.sleep(0.02)
    await until(lambda: client._engine.reporter.queue.is_halted)


@BOTH_PRODUCTS
@pytest.mark.parametrize("style", ["stopped", "503", "403"])
async def test_row_84_waiting_while_vwo_is_down(tmp_path: Path, style: str) -> None:
    """While VWO is known to be down, a call that awaits delivery answers at once; its event arrives later."""
    with fault_server(tmp_path) as server:
        async with make_client(
            settings(), base_url=server.base_url, transport=chosen_name(), limits=QUICK
        ) as client:
            if style == "stopped":
                await server.stop()
            else:
                await server.answer(int(style))
            await see_vwo_down(client)
            watch = Stopwatch()
            results = [
                await client.track("checkout", f"user {number}", "signup", wait=True)
                for number in range(20)
            ]
            watch.assert_below(2)
            assert not any(results)
            reasons = {result.reason for result in results}
            assert reasons <= {Reason.PENDING, Reason.NOT_DELIVERED}
            assert Reason.PENDING in reasons
            if style == "403":
                return  # A pause takes a minute.
            await (server.start() if style == "stopped" else server.answer(200))
            for result in results:
                assert await result.delivery
        assert names_of(*results).keys() <= server.ledger().keys()


@BOTH_PRODUCTS
async def test_row_84_waiting_when_vwo_goes_down(tmp_path: Path) -> None:
    """Calls that wait already are answered as soon as VWO is known to be down."""
    with fault_server(tmp_path) as server:
        await server.answer(503)
        async with (
            steady_loop(),
            make_client(
                settings(),
                base_url=server.base_url,
                transport=chosen_name(),
                limits=QUICK,
                close_timeout_s=0.1,
            ) as client,
        ):
            watch = Stopwatch()
            results = await asyncio.gather(
                *(client.track("checkout", f"u{one}", "signup", wait=True) for one in range(20))
            )
            watch.assert_below(2)
            assert {result.reason for result in results} == {Reason.PENDING}


@BOTH_PRODUCTS
async def test_row_84_the_first_call_after_an_outage(tmp_path: Path) -> None:
    """Once VWO may be tried again, a call waits for its answer, which is the true one."""
    with fault_server(tmp_path) as server:
        await server.answer(503)
        async with make_client(
            settings(), base_url=server.base_url, transport=chosen_name(), limits=QUICK
        ) as client:
            await see_vwo_down(client)
            await server.answer(200)
            await until(lambda: not client.statistics().pending)
            assert await client.track("checkout", "late", "signup", wait=True)
