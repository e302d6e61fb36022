"""Row 82: fetching the settings tries again where that helps, and says who has to do what."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
from both_products import BOTH_PRODUCTS
from chosen_product import is_fme, make_client, make_source, settings
from chosen_transport import chosen_name
from every_transport import EVERY_TRANSPORT
from own_time import Stopwatch
from port import find_free_port
from sample import ACCOUNT, KEY, campaign
from waiting import until

import vwo_async
from vwo_async import DeliveryError, InvalidInputError, SettingsChange
from vwo_async.collector import Collector, serve
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Timeouts

pytestmark = pytest.mark.anyio


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    ("statuses", "tries"),
    [([503], 2), ([500, 429, 503], 4), ([401], 1), ([403], 1), ([404], 1), ([302], 1)],
)
async def test_row_82_load_tries_again(statuses: list[int], tries: int) -> None:
    """What may pass is tried again when a service starts; a refusal is not."""
    collector = Collector(settings())
    for status in statuses:
        collector.answer_next(status)
    async with serve(collector) as base_url:
        source = make_source(ACCOUNT, KEY, poll_interval_s=None, base_url=base_url)
        if tries > len(statuses):
            assert (await source.load()).account_id == ACCOUNT
        else:
            with pytest.raises(DeliveryError, match=f"status {statuses[0]}"):
                await source.load()
    assert collector.totals().requests == tries


@BOTH_PRODUCTS
async def test_row_82_load_within_its_time() -> None:
    """However often it tries, loading takes no longer than one request may."""
    collector = Collector(settings())
    collector.answer_next(503, times=100)
    async with serve(collector) as base_url:
        source = make_source(
            ACCOUNT, KEY, poll_interval_s=None, base_url=base_url, timeouts=Timeouts(total_s=0.5)
        )
        watch = Stopwatch()
        with pytest.raises(DeliveryError, match="status 503"):
            await source.load()
    watch.assert_below(1.5)
    assert 2 <= collector.totals().requests <= 3


@asynccontextmanager
async def unhelpful_server(answer: bytes | None) -> AsyncIterator[int]:
    """Serve the *answer* to all that is said and hang up; nothing at all for None. Yield the port."""
    is_over = asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if answer is None:
            await is_over.wait()
        writer.write(answer or b"")
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        is_over.set()


@contextmanager
def untrusted_server(certificate: trustme.LeafCert) -> Iterator[int]:
    """Serve with a *certificate*, and yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    def serve_all() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), connection:
                context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_all)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def issue(authority: trustme.CA, kind: str) -> trustme.LeafCert:
    """Return a certificate that is bad in this way, if it is not its authority that is."""
    day, now = timedelta(days=1), datetime.now(UTC)
    match kind:
        case "expired":
            return authority.issue_cert("127.0.0.1", not_before=now - 2 * day, not_after=now - day)
        case "early":
            return authority.issue_cert("127.0.0.1", not_before=now + day, not_after=now + 2 * day)
    return authority.issue_cert("another.example" if kind == "other host" else "127.0.0.1")


@contextmanager
def bad_certificate(kind: str) -> Iterator[dict[str, Any]]:
    """Yield the options of a client of a server whose certificate is bad in this way."""
    authority, trusting = trustme.CA(), ssl.create_default_context()
    if kind != "unknown authority":
        authority.configure_trust(trusting)
    with untrusted_server(issue(authority, kind)) as port:
        yield {"base_url": f"https://127.0.0.1:{port}", "ssl_context": trusting}


@contextmanager
def full_server() -> Iterator[int]:
    """Listen and accept nobody, with no room for who waits to be; yield the port."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@asynccontextmanager
async def fault(kind: str) -> AsyncIterator[dict[str, Any]]:
    """Yield the options of a client that meets a fault of this kind whenever it sends."""
    limits = Timeouts(connect_s=0.5, read_s=0.5, total_s=1)
    options: dict[str, Any] = {"timeouts": limits}
    match kind:
        case "name":
            yield options | {"base_url": "https://nowhere.invalid"}
        case "refused":
            yield options | {"base_url": f"http://127.0.0.1:{find_free_port()}"}
        case "unknown authority" | "expired" | "early" | "other host":
            with bad_certificate(kind) as more:
                yield options | more
        case "no connection":
            with full_server() as port:
                yield options | {"base_url": f"http://127.0.0.1:{port}"}
        case "no TLS":
            async with unhelpful_server(b"HTTP/1.1 200 OK\r\n\r\n") as port:
                yield options | {"base_url": f"https://127.0.0.1:{port}"}
        case "silence":
            async with unhelpful_server(None) as port:
                yield options | {"base_url": f"http://127.0.0.1:{port}"}
        case "proxy":
            async with unhelpful_server(b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n") as port:
                proxy = f"http://user:secret@127.0.0.1:{port}"
                yield options | {"base_url": "https://127.0.0.1", "proxy": proxy}
        case "no proxy":
            proxy = f"http://user:secret@127.0.0.1:{find_free_port()}"
            yield options | {"base_url": "https://127.0.0.1", "proxy": proxy}


FAULTS = pytest.mark.parametrize(
    ("kind", "words", "cause"),
    [
        ("name", "the name of the host was not found", socket.gaierror),
        ("refused", "the connection was refused", ConnectionRefusedError),
        (
            "unknown authority",
            "not valid: it is signed by an authority that is not known",
            ssl.SSLCertVerificationError,
        ),
        ("expired", "not valid: it has expired", ssl.SSLCertVerificationError),
        ("early", "not valid: it is not valid yet", ssl.SSLCertVerificationError),
        ("other host", "not valid: it is that of another host", ssl.SSLCertVerificationError),
        ("no TLS", "the server speaks no TLS", ssl.SSLError),
        ("silence", "time ran out before there was an answer", TimeoutError),
        ("no connection", "time ran out before there was a connection", TimeoutError),
        ("proxy", "the proxy refused", ConnectionError),
        ("no proxy", "the connection was refused", ConnectionRefusedError),
    ],
)


@FAULTS
async def test_row_82_each_fault_has_its_words(
    kind: str, words: str, cause: type[Exception]
) -> None:
    """A fetch without an answer says what happened, and has the error of the system as its cause."""
    async with fault(kind) as options:
        with pytest.raises(DeliveryError, match=words) as caught:
            await vwo_async.fetch_settings(ACCOUNT, KEY, **options)
    assert isinstance(caught.value.__cause__, cause)
    assert caught.value.status_code is None
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@EVERY_TRANSPORT
@FAULTS
async def test_row_82_each_fault_has_its_words_in_the_log(
    kind: str, words: str, cause: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """An event that is not delivered for such a fault says the same in the log, on each transport."""
    del cause
    async with fault(kind) as options:
        client = make_client(settings(), transport=chosen_name(), close_timeout_s=0.1, **options)
        async with client:
            await client.track("checkout", "Ashley", "signup")
            await until(lambda: "VWO did not take events" in caplog.text, timeout_s=10)
    assert words in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nX: 1"])
async def test_row_82_hung_up(answer: bytes) -> None:
    """A connection that ends without an answer of HTTP is said to be broken, and of which address that is."""
    async with unhelpful_server(answer) as port:
        base_url = f"http://127.0.0.1:{port}"
        with pytest.raises(DeliveryError, match=f"no answer from {base_url}: the connection broke"):
            await vwo_async.fetch_settings(ACCOUNT, KEY, base_url=base_url)


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "account id or the SDK key"),
        (403, "account id or the SDK key"),
        (404, "no such account"),
        (407, "proxy"),
        (302, "base_url"),
        (304, "without a settings file"),
        (204, "without a settings file"),
        (206, "without a settings file"),
        (418, "VWO refused"),
        (502, "VWO has a fault"),
    ],
)
async def test_row_82_each_status_has_its_words(status: int, words: str) -> None:
    """A status says who has to do something, and is there as a number."""
    collector = Collector(settings())
    collector.answer_next(status)
    async with serve(collector) as base_url:
        with pytest.raises(DeliveryError, match=words) as caught:
            await vwo_async.fetch_settings(ACCOUNT, KEY, base_url=base_url)
    assert caught.value.status_code == status


@BOTH_PRODUCTS
async def test_row_82_callback_that_refreshes() -> None:
    """A callback that asks for the settings anew is held to the rate of webhooks."""
    collector = Collector(settings())
    number = 0
    async with serve(collector) as base_url:
        source = make_source(
            ACCOUNT, KEY, poll_interval_s=None, base_url=base_url, min_refresh_interval_s=0.2
        )
        settings_ = await source.load()

        async def hear(change: SettingsChange) -> None:
            nonlocal number
            number += 1
            collector.set_settings(settings(campaign(11, f"checkout-{number}")))
            await (client.refresh_settings if is_fme() else client.get_and_update_settings_file)()

        client = make_client(
            settings_,
            settings_source=source,
            on_settings_change=hear,
            transport=RecordingTransport(),
        )
        async with client:
            collector.set_settings(settings(campaign(11, "checkout-0")))
            before = collector.totals().settings
            await client.refresh_settings()
            await asyncio.sleep(1)
            assert 2 <= collector.totals().settings - before <= 8


class Hostile:
    """A value whose own code raises."""

    def __bool__(self) -> bool:
        raise RuntimeError("secret")

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("secret")


class HostileMapping(dict[str, Any]):
    """A mapping whose own code raises."""

    def keys(self) -> Any:
        raise RuntimeError("secret")

    items = get = __iter__ = __getitem__ = keys  # type: ignore[assignment]


# Made in the test, since pytest looks at what it is given.
ODD: dict[str, Callable[[], Any]] = {
    "number": lambda: 5,
    "empty": str,
    "bytes": lambda: b"x",
    "list": list,
    "key": lambda: {1: 2},
    "url": lambda: {"url": Hostile()},
    "hostile": Hostile,
    "hostile mapping": lambda: HostileMapping(url="x"),
}


@pytest.mark.parametrize("name", ["via_webhook", "gateway_service", "proxy_url"])
@pytest.mark.parametrize("kind", ODD)
async def test_row_82_odd_arguments(name: str, kind: str) -> None:
    """An argument that cannot be used is named, and nothing is fetched."""
    options: dict[str, Any] = {name: ODD[kind]()}
    with pytest.raises(InvalidInputError, match=name) as caught:
        await vwo_async.fetch_fme_settings(ACCOUNT, KEY, **options)
    assert "secret" not in str(caught.value)
    # pytest would look at it.
    options.clear()
