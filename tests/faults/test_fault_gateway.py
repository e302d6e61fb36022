"""Row 89 of docs/faults.md: a gateway service that is down, slow, or something else."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chosen_product import CHOSEN, FME, settings
from own_time import Stopwatch
from port import find_free_port
from raw_answer import Serve, head, listening
from rig import SLACK_S, steady_loop
from sample import campaign

from vwo_async import FMEClient, FMEUser, Reason
from vwo_async._delivery.circuit_breaker import FAILURES_TO_OPEN
from vwo_async.storage import MemoryUserStorage

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

TIMEOUT_S = 0.2


@pytest.fixture(autouse=True)
def _fme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN, FME)


KNOWN = json.dumps({"location": {"country": "India"}}).encode()
HTML = b"<!doctype html><html><body>Welcome to nginx!</body></html>"


def with_body(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    return head(f"Content-Length: {len(body)}", *lines, status=status) + body


# What is written once a request was read, and whether the gateway hangs up after it.
WRITTEN: dict[str, tuple[bytes, bool]] = {
    "closes": (b"", True),
    "hangs": (b"", False),
    "hangs in the head": (b"HTTP/1.1 200 OK\r\nContent-", False),
    "hangs in the body": (head("Content-Length: 100") + KNOWN[:10], False),
    "cuts the body": (head("Content-Length: 100") + KNOWN[:10], True),
    "no HTTP": (b"\x00\xff\x15\x03\x01 hello\r\n\r\n", True),
    "HTML": (with_body(HTML, "Content-Type: text/html"), False),
    "nothing": (with_body(b""), False),
    "no content": (head(status="204 No Content"), False),
    "half a document": (with_body(KNOWN[:-3]), False),
    "bytes": (with_body(b"\xff\xfe\x00\x80"), False),
    "compressed": (with_body(b"\x1f\x8b\x08\x00xx", "Content-Encoding: gzip"), False),
    "too deep": (with_body(b"[" * 60_000), False),
    "a number without end": (with_body(b"9" * 60_000), False),
    "huge": (with_body(b'"' + b"x" * 200_000 + b'"'), False),
    "a huge length": (head("Content-Length: 99999999999999") + b" " * 200_000, False),
    "500": (with_body(KNOWN, status="500 X"), False),
    "503": (with_body(HTML, "Retry-After: 100", status="503 X"), False),
    "429": (with_body(KNOWN, status="429 X"), False),
}
REDIRECTS = ["301", "302", "307", "308"]
# A status below 500 says nothing of the next question.
REFUSALS = ["400", "401", "404", "414"]


def write_once(data: bytes, *, closes: bool) -> Serve:
    """Answer each request so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(data)
            await writer.drain()
            if closes:
                return

    return serve


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a request and reset the connection."""
    await reader.readuntil(b"\r\n\r\n")
    peer = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one byte now and then, so that no single read takes long."""
    await reader.readuntil(b"\r\n\r\n")
    for byte in with_body(KNOWN):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer without end."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(head("Transfer-Encoding: chunked"))
    while True:
        writer.write(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        await writer.drain()


SERVES: dict[str, Serve] = {
    **{name: write_once(data, closes=closes) for name, (data, closes) in WRITTEN.items()},
    "resets": reset,
    "drips": drip,
    "floods": flood,
}


def make_sample() -> dict[str, Any]:
    """Return a file whose first feature asks for the place, the second for a list, the third for nothing."""
    place: dict[str, Any] = {"and": [{"country": "India"}]}
    listed: dict[str, Any] = {"custom_variable": {"plan": "inlist(L1)"}}
    return settings(
        *(campaign(n, f"f{n}", segments=one) for n, one in enumerate((place, listed, {}), start=1))
    )


@asynccontextmanager
async def client_to(port: int, **options: Any) -> AsyncIterator[FMEClient]:
    options.setdefault("gateway_service", {"url": f"http://127.0.0.1:{port}"})
    async with FMEClient(
        make_sample(), gateway_timeout_s=TIMEOUT_S, close_timeout_s=0.1, **options
    ) as client:
        yield client


def make_visitor(name: str) -> FMEUser:
    return FMEUser(name, custom_variables={"plan": name}, ip_address="1.2.3.4")


async def assert_costs_little(client: FMEClient) -> None:
    """Assert that each call costs one time-out at most, and after some nothing; all else is as always."""
    for number in range(FAILURES_TO_OPEN):
        watch = Stopwatch()
        flag = await client.get_flag(f"f{1 + number % 2}", make_visitor(f"u{number}"))
        watch.assert_below(TIMEOUT_S + SLACK_S)
        assert (bool(flag), flag.reason) == (False, Reason.NOT_IN_SEGMENT)
        assert flag.notes and all("gateway" in one for one in flag.notes)
    watch = Stopwatch()
    for number in range(20):
        assert (await client.get_flag("f2", make_visitor(f"later {number}"))).notes
        flags = await client.get_flags(make_visitor(f"last {number}"))
        assert [bool(one) for one in flags.values()] == [False, False, True]
        flag = await client.get_flag("f3", make_visitor(f"other {number}"))
        assert (bool(flag), flag.notes) == (True, ())
        assert await client.track_event("signup", f"other {number}")
        assert await client.set_attribute("plan", "pro", f"other {number}")
    # Of these calls forty ask the gateway: were each to wait for it, that would take eight seconds.
    watch.assert_below(10 * TIMEOUT_S)
    statistics = client.statistics()
    assert statistics.gateway_errors >= FAILURES_TO_OPEN + 20
    assert statistics.storage_errors == 0


@pytest.mark.timed
@pytest.mark.parametrize("kind", SERVES)
async def test_row_89_a_bad_gateway(kind: str) -> None:
    """Whatever it does, a call is decided in time, says so, and the gateway is asked no more for a while."""
    async with (
        listening(SERVES[kind]) as port,
        steady_loop(),
        client_to(port, user_storage=MemoryUserStorage()) as client,
    ):
        await assert_costs_little(client)


@pytest.mark.timed
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_row_89_no_gateway_there(scheme: str) -> None:
    """The same where nothing listens."""
    service: Any = {"url": f"{scheme}://127.0.0.1:{find_free_port()}"}
    async with steady_loop(), client_to(0, gateway_service=service) as client:
        await assert_costs_little(client)


@pytest.mark.timed
async def test_row_89_a_gateway_without_tls() -> None:
    """The same where the port does not speak TLS."""
    async with (
        listening(write_once(with_body(KNOWN), closes=False)) as port,
        steady_loop(),
        client_to(port, gateway_service={"url": f"https://127.0.0.1:{port}"}) as client,
    ):
        await assert_costs_little(client)


@pytest.mark.timed
@pytest.mark.parametrize("status", REDIRECTS)
async def test_row_89_a_gateway_that_redirects(status: str) -> None:
    """A redirect is not followed, since the SDK key and the user's id are in the request."""
    strangers = 0

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal strangers
        strangers += 1

    async with listening(stranger) as other:
        line = f"Location: http://127.0.0.1:{other}/get-user-details"
        data = with_body(b"", line, status=f"{status} X")
        async with listening(write_once(data, closes=False)) as port, client_to(port) as client:
            await assert_costs_little(client)
    assert strangers == 0


@pytest.mark.parametrize("status", REFUSALS)
async def test_row_89_a_question_that_is_refused(status: str) -> None:
    """What one visitor sends cannot keep the gateway from being asked about others."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            is_bad = b"bad" in request
            writer.write(with_body(HTML, status=f"{status} X") if is_bad else with_body(b"true"))

    async with listening(serve) as port, client_to(port, development_mode=True) as client:
        for number in range(3 * FAILURES_TO_OPEN):
            flag = await client.get_flag("f2", make_visitor(f"bad {number}"))
            assert (bool(flag), bool(flag.notes)) == (False, True)
        assert await client.get_flag("f2", make_visitor("good"))


@pytest.mark.timed
@pytest.mark.parametrize("kind", ["hangs", "drips", "resets", "HTML"])
async def test_row_89_one_limit_for_all_that_a_call_asks(kind: str) -> None:
    """Alias, place and lists together take no longer than the time-out, in every method."""
    async with listening(SERVES[kind]) as port, client_to(port, is_aliasing_enabled=True) as client:
        user = make_visitor("Ashley")
        for call in (
            client.get_flags(user),
            client.get_flag("f1", user),
            client.explain("f2", user),
            client.track_event("signup", user),
            client.set_attribute("plan", "pro", user),
            client.set_alias(user, "anna"),
        ):
            watch = Stopwatch()
            await call
            watch.assert_below(TIMEOUT_S + SLACK_S)
        assert await client.track_event("signup", "Bill")


@pytest.mark.timed
@pytest.mark.no_debug
async def test_row_89_a_crowd_at_a_gateway_that_hangs() -> None:
    """A crowd of different visitors waits once, all together, and leaves nothing behind."""
    async with (
        listening(SERVES["hangs"]) as port,
        steady_loop(),
        client_to(port, development_mode=True) as client,
    ):
        watch = Stopwatch()
        users = [make_visitor(f"u{number}") for number in range(500)]
        flags = await asyncio.gather(*(client.get_flag("f2", one) for one in users))
        watch.assert_below(2 * TIMEOUT_S + SLACK_S)
        assert not any(flags)
        assert all(one.notes for one in flags)
