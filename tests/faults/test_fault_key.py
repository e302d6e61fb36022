"""Row 79: the SDK key is held in a type that no repr, pickle, traceback or error report shows."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import sentry_sdk
from both_products import BOTH_PRODUCTS, once_in_fme
from chosen_product import make_client, make_source, parse, settings
from packaging.version import Version
from sample import ACCOUNT, KEY, SECRET
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from waiting import until

import vwo_async
from vwo_async import InvalidInputError, SettingsError, VWOError
from vwo_async._delivery.transport.by_name import load_transport, make_transport
from vwo_async._delivery.transport.config import TransportConfig
from vwo_async.collector import Collector, serve
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Failure, Request, Timeouts

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2-of-the-proxy"
BROKEN = json.dumps({**settings(), "campaigns": [5]})
GOOD = json.dumps(settings())


def frames_of(error: BaseException) -> Iterator[TracebackType]:
    one: BaseException | None = error
    while one is not None:
        traceback = one.__traceback__
        while traceback is not None:
            yield traceback
            traceback = traceback.tb_next
        one = one.__cause__ or one.__context__


def assert_hidden(error: BaseException) -> None:
    """Assert that no frame of the package holds a secret, as a report with the locals would show it."""
    found = [
        (frame.tb_frame.f_code.co_name, name)
        for frame in frames_of(error)
        if "vwo_async" in frame.tb_frame.f_code.co_filename
        and "tests" not in frame.tb_frame.f_code.co_filename
        for name, value in frame.tb_frame.f_locals.items()
        if KEY in repr(value) or PASSWORD in repr(value)
    ]
    assert not found
    assert KEY not in repr(error)
    assert KEY not in str(error)


async def fetch(answer: bytes | int, call: str, **options: Any) -> None:
    collector = Collector(settings())
    async with serve(collector) as base_url:
        if isinstance(answer, int):
            collector.answer_next(answer, times=20)
        else:
            collector.answer_next(200, body=answer, times=20)
        if call == "fetch_settings":
            await vwo_async.fetch_settings(ACCOUNT, KEY, base_url=base_url, **options)
        else:
            await make_source(ACCOUNT, KEY, base_url=base_url, **options).load()


@BOTH_PRODUCTS
@pytest.mark.parametrize("call", ["fetch_settings", "SettingsSource.load"])
@pytest.mark.parametrize(
    "answer",
    [
        401,
        500,
        b"",
        b"<html>",
        BROKEN.encode(),
        json.dumps(settings(accountId=1)).encode(),
        json.dumps(settings(sdkKey="another")).encode(),
    ],
    ids=["401", "500", "empty", "page", "broken", "account", "key"],
)
async def test_row_79_failed_fetch(answer: bytes | int, call: str) -> None:
    """Whatever is wrong with what VWO answers, no frame between the caller and the fault holds the key."""
    with pytest.raises(VWOError) as caught:
        await fetch(answer, call)
    assert_hidden(caught.value)


@BOTH_PRODUCTS
@pytest.mark.parametrize("call", ["fetch_settings", "SettingsSource.load"])
async def test_row_79_no_answer(call: str, tmp_path: Path) -> None:
    """Nor where nobody answers, and the last known good file does not help."""
    bad = tmp_path / "vwo.json"
    bad.write_text("{}")
    source = make_source(ACCOUNT, KEY, base_url="http://127.0.0.1:1", last_known_good=bad)
    is_source = call == "SettingsSource.load"
    with pytest.raises(VWOError) as caught:
        await (
            source.load()
            if is_source
            else vwo_async.fetch_settings(ACCOUNT, KEY, base_url="http://127.0.0.1:1")
        )
    assert_hidden(caught.value)


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    "make",
    [
        lambda: make_client(BROKEN),
        lambda: make_client(BROKEN.encode()),
        lambda: make_client(json.loads(BROKEN)),
        lambda: vwo_async.launch(BROKEN),
        lambda: vwo_async.parse_settings(BROKEN),
        lambda: make_client(GOOD, proxy=f"ftp://u:{PASSWORD}@h:1", workers=-1),
        lambda: vwo_async.launch(GOOD, proxy=f"http://u:{PASSWORD}@h:1\n"),
        lambda: make_source(ACCOUNT, f"{KEY}\n"),
        lambda: make_source(True, KEY),
        lambda: make_source(ACCOUNT, KEY, max_age_s=-1),
    ],
)
def test_row_79_failed_construction(make: Any) -> None:
    """A settings file, key or option that cannot be used is refused in frames that do not hold it."""
    with pytest.raises((SettingsError, InvalidInputError)) as caught:
        make()
    assert_hidden(caught.value)


class Capturing(Transport):
    """Keeps what Sentry would send."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.texts += [str(item.payload.get_bytes()) for item in envelope.items]


@BOTH_PRODUCTS
async def test_row_79_sentry() -> None:
    """A report that Sentry makes with its defaults of a failed fetch does not hold the key."""
    reports = Capturing()
    client = sentry_sdk.Client(dsn="https://key@sentry.invalid/1", transport=reports)
    # The key is the caller's own to show in his own frame; here it is held by no frame but ours.
    with sentry_sdk.new_scope() as scope:
        scope.set_client(client)
        try:
            await vwo_async.fetch_settings(ACCOUNT, KEY, base_url="http://127.0.0.1:1")
        except VWOError as error:
            scope.capture_exception(error)
        try:
            make_client(BROKEN)
        except VWOError as error:
            scope.capture_exception(error)
    client.close()
    assert len(reports.texts) == 2
    assert all("vwo_async" in text for text in reports.texts)
    # The source lines around a frame name the variable, never its value.
    assert not [text for text in reports.texts if KEY in text]


@BOTH_PRODUCTS
async def test_row_79_bad_input_when_strict() -> None:
    """Of what was bad the method alone shows it that was given it, and no frame that took it apart."""
    async with make_client(settings(), transport=RecordingTransport(), strict=True) as client:
        with pytest.raises(InvalidInputError) as caught:
            await client.activate("checkout", SECRET, custom_variables=5)  # type: ignore[arg-type]
    frames = [one.tb_frame for one in frames_of(caught.value)]
    ours = [one for one in frames if one.f_globals["__name__"].startswith("vwo_async.")]
    shown = {one.f_code.co_name for one in ours if SECRET in repr(one.f_locals)}
    assert ours and shown <= {"activate", "_decide", "get_flag"}


class Reporting:
    """A transport of one's own that reports a failure to Sentry, or leaves that to the client's log."""

    def __init__(self, reports_itself: bool) -> None:
        self.reports_itself = reports_itself

    async def send(self, request: Request) -> Answer:
        try:
            raise OSError
        except OSError:
            if not self.reports_itself:
                raise
            logging.getLogger("service").exception("down")
        return Answer(failure=Failure.UNKNOWN)

    async def aclose(self) -> None:
        pass


@BOTH_PRODUCTS
@pytest.mark.parametrize("reports_itself", [True, False], ids=["transport", "client"])
async def test_row_79_sentry_in_a_transport(reports_itself: bool) -> None:
    """What Sentry reports of a transport that fails shows the frames it came through, and no key."""
    if Version(sentry_sdk.VERSION) < Version("2.33.2"):
        pytest.skip("an older Sentry reports nothing where its client is that of the global scope")
    reports = Capturing()
    client = sentry_sdk.Client(
        dsn="https://key@sentry.invalid/1", transport=reports, attach_stacktrace=True
    )
    # Of all scopes only this one is seen by workers, which have a context of their own.
    scope = sentry_sdk.get_global_scope()
    scope.set_client(client)
    try:
        transport = Reporting(reports_itself)
        async with make_client(settings(), transport=transport, close_timeout_s=0.1) as vwo:
            await vwo.track("checkout", "Ashley", "signup")
            await until(lambda: bool(reports.texts))
    finally:
        scope.set_client(None)
        client.close()
    place = "<Request " if reports_itself else "sender.py"
    assert any(place in text for text in reports.texts)
    assert not [text for text in reports.texts if KEY in text or "Ashley" in text]


@pytest.mark.parametrize("proxy", ["", "http://visitor:%s@127.0.0.1:%d"], ids=["direct", "proxy"])
@pytest.mark.parametrize("name", ["httpx", "aiohttp", "httpx2"])
async def test_row_79_fault_of_an_answer(name: Any, proxy: str) -> None:
    """The error that an answer carries holds no key, password or frame, in any text or attribute of it."""
    await asyncio.to_thread(load_transport, name)

    def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.append(writer)

    silent: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = proxy % (KEY, port) if proxy else None
    base_url = "https://vwo.invalid" if proxy else f"https://127.0.0.1:{port}"
    limits = Timeouts(connect_s=0.2, read_s=0.2, total_s=1.0)
    transport = make_transport(name, TransportConfig(base_url, limits, "agent", None, url))
    try:
        answer = await transport.send(Request("GET", f"/a?env={KEY}"))
    finally:
        await transport.aclose()
        for writer in silent:
            writer.close()
        server.close()
    fault = answer.fault
    assert isinstance(fault, TimeoutError)
    assert KEY not in f"{fault!r} {fault} {fault.args} {vars(fault)}"
    assert (fault.__traceback__, fault.__cause__, fault.__context__) == (None, None, None)


def test_row_79_request_is_no_sequence() -> None:
    """A request is compared by its fields, cannot be changed, and is shown without query and headers."""
    request = Request("GET", f"/a?env={KEY}", ((b"Authorization", KEY.encode()),))
    assert request == Request("GET", f"/a?env={KEY}", ((b"Authorization", KEY.encode()),), b"")
    assert hash(request) != hash(Request("POST", "/a"))
    assert not isinstance(request, Iterable)
    assert repr(request) == str(request) == "<Request GET /a>"
    with pytest.raises(AttributeError):
        request.method = "POST"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises((AttributeError, TypeError)):
        request.other = 1  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    "encode",
    [lambda file: file, json.dumps, lambda file: json.dumps(file).encode()],
    ids=["mapping", "str", "bytes"],
)
def test_row_79_pickled_settings(encode: Callable[[Any], Any]) -> None:
    """Pickled settings do not hold the key; what is unpickled says so where the key is needed."""
    parsed = parse(encode(settings()))
    pickled = pickle.dumps(parsed)
    assert KEY.encode() not in pickled
    again = pickle.loads(pickled)
    assert again.account_id == parsed.account_id
    with pytest.raises(InvalidInputError, match="left out of pickles"):
        make_client(again)
    assert KEY not in repr(parsed)
    assert KEY not in parsed.model_dump_json()
    assert KEY not in repr(parsed.model_dump())
    for copied in (copy.copy(parsed), copy.deepcopy(parsed), parsed.model_copy(deep=True)):
        assert copied == parsed
        assert copied.sdk_key is not None
        assert copied.sdk_key.get_secret_value() == KEY


@BOTH_PRODUCTS
def test_row_79_key() -> None:
    """The key is equal to itself alone, and shows its text to who asks for it."""
    key = parse(settings()).sdk_key
    assert key == parse(settings()).sdk_key
    assert key != parse(settings(sdkKey="another")).sdk_key
    assert key != KEY
    assert key is not None
    assert (str(key), repr(key)) == ("**********", "SdkKey('**********')")
    assert len({key, copy.deepcopy(key)}) == 1
    client = make_client(settings(), transport=RecordingTransport())
    assert KEY not in repr(client)


TRACED = """
    import asyncio, json, sys
    from contextvars import ContextVar
    sys.path.insert(0, {tests!r})
    import aiohttp, httpcore, httpcore2, wrapt
    import sentry_sdk
    from opentelemetry import trace
    from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from chosen_product import make_client, settings
    from sentry_sdk.transport import Transport
    from chosen_product import fetch, is_fme
    from sample import ACCOUNT, KEY, SECRET
    from server import answer, running_server
    from vwo_async.integrations.opentelemetry import OpenTelemetry
    from vwo_async.integrations.sentry import Sentry

    class Capturing(Transport):
        texts = []

        def capture_envelope(self, envelope):
            self.texts += [item.payload.get_bytes().decode() for item in envelope.items]

    sentry_sdk.init(
        dsn="https://key@sentry.invalid/1", transport=Capturing(), traces_sample_rate=1.0
    )
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    AioHttpClientInstrumentor().instrument()
    HTTPXClientInstrumentor().instrument()

    # As agents do that patch libraries themselves: one traces what is done on behalf of a request to the
    # service, another each request of a session.
    is_traced, seen = ContextVar("is_traced", default=False), []

    async def trace_connection(wrapped, instance, args, kwargs):
        if is_traced.get():
            args[0].headers.append((b"traceparent", b"00"))
        return await wrapped(*args, **kwargs)

    async def trace_session(wrapped, instance, args, kwargs):
        seen.append(str(args[1:]))
        kwargs["headers"] = dict(kwargs["headers"]) | {{"traceparent": "00"}}
        return await wrapped(*args, **kwargs)

    for core in (httpcore, httpcore2):
        wrapt.wrap_function_wrapper(core, "AsyncHTTPConnection.handle_async_request", trace_connection)
    wrapt.wrap_function_wrapper(aiohttp, "ClientSession._request", trace_session)

    async def main():
        is_traced.set(True)
        async with running_server() as server:
            gateway = {{"gateway_service": {{"url": server.base_url}}, "is_aliasing_enabled": True}}
            client = make_client(
                settings(),
                base_url=server.base_url,
                transport={transport!r},
                observers=[OpenTelemetry(adds_to_span=True), Sentry()],
                **(gateway if is_fme() else {{}}),
            )
            server.default = answer(body=json.dumps(settings()).encode())
            with sentry_sdk.start_transaction(name="request"):
                async with client:
                    for user in ("Ashley", "Billy"):
                        await client.activate("checkout", user)
                        assert await client.track("checkout", user, "signup", wait=True)
                    await client.refresh_settings()
                await fetch(ACCOUNT, KEY, base_url=server.base_url)
            sentry_sdk.capture_message("done")
            targets = [one.target.partition("?")[0] for one in server.requests]
            headers = [name.lower() for one in server.requests for name, _ in one.headers]
        sentry_sdk.flush()
        spans = [span.to_json() for span in exporter.get_finished_spans()]
        assert not seen
        print(json.dumps([Capturing.texts, spans, headers, targets]))

    asyncio.run(main())
"""


@pytest.mark.slow
@once_in_fme("transport", ["httpx", "httpx2", "aiohttp"])
def test_row_79_tracers(transport: str, product: str) -> None:
    """Tools that trace every request of a process see ours by our observers alone, and add no header to them.

    Events, a refresh and a fetch of the settings, and questions to a gateway service.
    """
    script = textwrap.dedent(TRACED).format(
        tests=str(Path(__file__).parents[1]), transport=transport
    )
    child = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, text=True, timeout=60
    )
    assert child.returncode == 0, child.stderr
    reports, spans, headers, targets = json.loads(child.stdout)
    assert any('"request"' in text for text in reports)
    shown = "".join([*reports, *spans])
    assert KEY not in shown
    assert "Ashley" not in shown
    assert "Billy" not in shown
    ours = [one for one in map(json.loads, spans) if "vwo.request.purpose" in one["attributes"]]
    # All but the fetch, which is no client's, and the spans are ours alone.
    assert len(ours) == len(spans) == len(targets) - 1
    assert any(one["attributes"]["vwo.request.purpose"] == "settings" for one in ours)
    purposes = {one["attributes"]["vwo.request.purpose"] for one in ours}
    assert ("gateway" in purposes) == (product == "fme")
    assert any('"checkout:' in text for text in reports)
    assert not {"sentry-trace", "baggage", "traceparent"} & {*headers}
    assert "user-agent" in headers
