"""OpenTelemetry's own SDK, with its exporters in memory, and clients of both products."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import opentelemetry.semconv._incubating.attributes.feature_flag_attributes as conventions
import pytest
from log_exporter import make_log_exporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from server import Server, answer, running_server

import vwo_async.sync
from vwo_async import FMEClient, GatewayService, Reason, VWOClient
from vwo_async._delivery.transport.by_name import load_transport
from vwo_async.integrations.opentelemetry import COUNTERS, GAUGES, OpenTelemetry
from vwo_async.testing import (
    RecordingTransport,
    build_fme_settings,
    build_settings,
    campaign,
    feature,
    feature_test,
)

pytestmark = pytest.mark.anyio
FULLSTACK = build_settings(
    campaign("checkout").goal("buy").split(0, 100),
    feature_test("search").variation("Big", 100, size=20).goal("buy"),
    campaign("closed").traffic(0),
    campaign("paused").paused(),
)
FME = build_fme_settings(
    feature("search").metric("buy").rollout(size=20), feature("off").rollout(0)
)


class Telemetry:
    """An observer whose providers keep everything in memory."""

    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.records: Any = make_log_exporter()
        self.loggers = LoggerProvider()
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.records))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    def observe(self, **options: Any) -> OpenTelemetry:
        """Return an observer."""
        return OpenTelemetry(
            tracer_provider=self.tracers,
            meter_provider=self.meters,
            logger_provider=self.loggers,
            **options,
        )

    @property
    def events(self) -> list[Any]:
        """The events so far."""
        return [one.log_record for one in self.records.get_finished_logs()]

    def list_attributes(self) -> list[dict[str, Any]]:
        """Return the attributes of each event so far."""
        return [dict(one.attributes or {}) for one in self.events]

    def find_spans(self, purpose: str) -> list[ReadableSpan]:
        """Return the spans of requests of one kind."""
        found = self.spans.get_finished_spans()
        return [
            one for one in found if (one.attributes or {}).get("vwo.request.purpose") == purpose
        ]

    def measure(self) -> dict[str, dict[Any, Any]]:
        """Return each metric by name: its values by product and the value of its other attribute."""
        data = self.reader.get_metrics_data()
        assert data is not None
        found: dict[str, dict[Any, Any]] = {}
        for scope in (one for each in data.resource_metrics for one in each.scope_metrics):
            for metric in scope.metrics:
                points = found.setdefault(metric.name, {})
                for point in metric.data.data_points:
                    named = dict(point.attributes or {})
                    product = named.pop("vwo.product", None)
                    points[product, *named.values()] = point
        return found

    def count(self, name: str, *attributes: str) -> int:
        """Return the value of one point of a metric."""
        value: int = self.measure()[name][attributes].value
        return value

    def show(self) -> str:
        """Return everything that was exported."""
        spans = [one.to_json() for one in self.spans.get_finished_spans()]
        records = [one.log_record for one in self.records.get_finished_logs()]
        return f"{spans}{records}{self.reader.get_metrics_data()}"


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    yield made
    made.meters.shutdown()


def make_client(product: str, **options: Any) -> Any:
    """Return a client of the product."""
    return FMEClient(FME, **options) if product == "fme" else VWOClient(FULLSTACK, **options)


async def evaluate(client: Any, key: str, user_id: Any) -> None:
    """Decide, in the words of the product."""
    if isinstance(client, FMEClient):
        await client.get_flag(key, user_id)
    else:
        await client.decide(key, user_id)


BOTH = pytest.mark.parametrize("product", ["fullstack", "fme"])


# Events


@BOTH
async def test_an_event_follows_the_conventions(telemetry: Telemetry, product: str) -> None:
    """Each decision is one event with the attributes of today's conventions, and with no user id."""
    transport = RecordingTransport()
    options = {"observers": [telemetry.observe()], "pseudonym_salt": "of the shop"}
    async with make_client(product, transport=transport, **options) as client:
        await evaluate(client, "search", "Ashley")
    (event,) = telemetry.events
    assert event.event_name == "feature_flag.evaluation"
    attributes = dict(event.attributes)
    user = attributes.pop(conventions.FEATURE_FLAG_CONTEXT_ID)
    assert len(user) == 16
    assert attributes == {
        conventions.FEATURE_FLAG_KEY: "search",
        conventions.FEATURE_FLAG_PROVIDER_NAME: "VWO FME" if product == "fme" else "VWO FullStack",
        conventions.FEATURE_FLAG_RESULT_REASON: "split",
        conventions.FEATURE_FLAG_RESULT_VALUE: True,
        conventions.FEATURE_FLAG_RESULT_VARIANT: "Rollout" if product == "fme" else "Big",
        conventions.FEATURE_FLAG_SET_ID: str(client.settings.account_id),
        conventions.FEATURE_FLAG_VERSION: str(client.settings.version),
        "vwo.reason": "assigned",
    }
    assert "Ashley" not in telemetry.show()


@BOTH
@pytest.mark.parametrize(
    ("key", "user_id", "error_type"),
    [("unknown", "Ashley", "flag_not_found"), ("search", "", "invalid_context")],
)
async def test_an_event_of_a_failure(
    telemetry: Telemetry, product: str, key: str, user_id: str, error_type: str
) -> None:
    """What could not be decided is an event too, with the type of the error and no value."""
    async with make_client(
        product, transport=RecordingTransport(), observers=[telemetry.observe()]
    ) as client:
        await evaluate(client, key, user_id)
    (attributes,) = telemetry.list_attributes()
    assert attributes["error.type"] == error_type
    assert attributes["feature_flag.result.reason"] == "error"
    assert "feature_flag.result.value" not in attributes
    assert ("feature_flag.context.id" in attributes) == (error_type == "flag_not_found")


async def test_reasons(telemetry: Telemetry) -> None:
    """The conventions' reason says the kind, ``vwo.reason`` the very reason; an A/B test has no value."""
    options: dict[str, Any] = {
        "observers": [telemetry.observe()],
        "transport": RecordingTransport(),
    }
    async with VWOClient(FULLSTACK, **options) as client:
        await client.activate("checkout", "Ashley")
        await client.get_variation_name("closed", "Ashley")
        await client.activate("paused", "Ashley")
        await client.activate("search", "Ashley")
        await client.get_feature_variable_value("search", "size", "Ashley")
        await client.decide_all("Ashley")
    found = telemetry.list_attributes()
    assert [(one["feature_flag.key"], one["feature_flag.result.reason"]) for one in found] == [
        ("checkout", "split"),
        ("closed", "default"),
        ("paused", "disabled"),
        ("search", "error"),
        ("search", "split"),
        ("checkout", "split"),
        ("search", "split"),
        ("closed", "default"),
    ]
    assert found[0]["feature_flag.result.variant"] == "Variation-1"
    assert "feature_flag.result.value" not in found[0]
    assert [one["vwo.reason"] for one in found[1:4]] == [
        Reason.NOT_IN_TRAFFIC,
        Reason.CAMPAIGN_NOT_RUNNING,
        Reason.CAMPAIGN_TYPE_MISMATCH,
    ]


@BOTH
async def test_the_user(telemetry: Telemetry, product: str) -> None:
    """The user appears by a pseudonym that depends on the salt, by his id, or not at all, as asked."""

    async def find_user(salt: str | None = None, **options: Any) -> Any:
        telemetry.records.clear()
        observers = [telemetry.observe(**options)]
        async with make_client(
            product, transport=RecordingTransport(), observers=observers, pseudonym_salt=salt
        ) as client:
            await evaluate(client, "search", "Ashley")
        return telemetry.list_attributes()[0].get("feature_flag.context.id")

    assert await find_user(user_id="plain") == "Ashley"
    assert await find_user(user_id="none") is None
    assert await find_user("a") == await find_user("a") != await find_user("b")
    assert await find_user() == await find_user() != await find_user("a")
    with pytest.raises(ValueError, match="user_id"):
        telemetry.observe(user_id="all")


@BOTH
async def test_who_opted_out_is_not_observed(telemetry: Telemetry, product: str) -> None:
    """Nothing is told of a user about whom nothing may be decided."""
    async with make_client(
        product,
        transport=RecordingTransport(),
        observers=[telemetry.observe()],
        consent=lambda user_id: user_id != "Ashley",
    ) as client:
        await evaluate(client, "search", "Ashley")
        await evaluate(client, "search", "Billy")
    assert len(telemetry.events) == 1


@BOTH
async def test_an_event_belongs_to_the_trace_of_its_caller(
    telemetry: Telemetry, product: str
) -> None:
    """Calls at the same time each have their event in their own trace, and on their span where asked."""
    tracer = telemetry.tracers.get_tracer("service")
    observers = [telemetry.observe(adds_to_span=True)]
    async with make_client(product, transport=RecordingTransport(), observers=observers) as client:

        async def handle(number: int) -> None:
            with tracer.start_as_current_span(f"request {number}"):
                await asyncio.sleep(0)
                await evaluate(client, "search", f"user {number}")

        await asyncio.gather(*(handle(number) for number in range(5)))
    spans = {one.context.span_id: one for one in telemetry.spans.get_finished_spans() if one.events}
    assert len(spans) == 5
    for event in telemetry.events:
        span = spans.pop(event.span_id)
        assert event.trace_id == span.context.trace_id
        (added,) = span.events
        assert added.name == "feature_flag.evaluation"
        assert dict(added.attributes or {}) == dict(event.attributes)


# Requests


@BOTH
@pytest.mark.parametrize("transport", ["httpx", "httpx2", "aiohttp"])
async def test_spans_of_requests(telemetry: Telemetry, product: str, transport: Any) -> None:
    """Each delivery and each fetch of settings is a span of the conventions, without query, key and user."""
    await asyncio.to_thread(load_transport, transport)
    async with (
        running_server() as server,
        make_client(
            product,
            base_url=server.base_url,
            transport=transport,
            observers=[telemetry.observe()],
        ) as client,
    ):
        with telemetry.tracers.get_tracer("service").start_as_current_span("webhook") as own:
            await evaluate(client, "search", "Ashley")
            await client.flush_events()
            await client.refresh_settings()
        port = int(server.base_url.rpartition(":")[2])
    (fetch,) = telemetry.find_spans("settings")
    settings_path = str((fetch.attributes or {})["url.path"])
    assert fetch.parent is not None
    assert fetch.parent.span_id == own.get_span_context().span_id
    sent = [one for one in server.requests if not one.target.startswith(settings_path)]
    assert len(sent) == len(server.requests) - 1
    spans = telemetry.find_spans("events")
    assert len(spans) == len(sent) > 0
    for span, request in zip(spans, sent, strict=True):
        path = request.target.partition("?")[0]
        assert (span.name, span.kind, span.parent) == (
            f"{request.method} {path}",
            SpanKind.CLIENT,
            None,
        )
        assert dict(span.attributes or {}) == {
            "http.request.method": request.method,
            "http.request.body.size": len(request.body),
            "http.response.status_code": 200,
            "server.address": "127.0.0.1",
            "server.port": port,
            "url.full": server.base_url + path,
            "url.path": path,
            "url.scheme": "http",
            "vwo.product": product,
            "vwo.request.purpose": "events",
        }
        assert span.status.status_code is StatusCode.UNSET
        assert span.start_time is not None
        assert span.end_time is not None
        assert 0 < span.end_time - span.start_time < 10**10
    key = client.settings.sdk_key.get_secret_value()
    assert key in "".join(one.target for one in server.requests)
    shown = telemetry.show()
    assert key not in shown
    assert "Ashley" not in shown
    own_headers = {"traceparent", "tracestate", "baggage"}
    assert not [
        one for each in server.requests for one, _ in each.headers if one.lower() in own_headers
    ]


async def test_a_request_that_fails(telemetry: Telemetry) -> None:
    """A status of an error and a request without an answer are errors of their spans, and count as tries."""
    telemetry_options: dict[str, Any] = {"observers": [telemetry.observe()], "close_timeout_s": 0.5}
    async with running_server() as server:
        server.replies = [answer(503)]
        async with VWOClient(FULLSTACK, base_url=server.base_url, **telemetry_options) as client:
            assert await client.activate("checkout", "Ashley", wait=True)
    async with VWOClient(FULLSTACK, base_url=server.base_url, **telemetry_options) as client:
        assert await client.activate("checkout", "Ashley")
        await asyncio.sleep(0.1)
    first, second, *rest = telemetry.find_spans("events")
    assert (first.attributes or {})["error.type"] == "503"
    assert first.status.status_code is StatusCode.ERROR
    assert second.status.status_code is StatusCode.UNSET
    assert {(one.attributes or {})["error.type"] for one in rest} == {"not_sent"}
    assert telemetry.count("vwo.retries", "fullstack") >= 1
    assert telemetry.count("vwo.events.dropped", "fullstack", "closed") == 1


async def test_a_question_to_the_gateway(telemetry: Telemetry) -> None:
    """What is asked of a gateway service is a span in the trace of the call that asks."""
    file = build_fme_settings(feature("search").personalize({"or": [{"country": "DE"}]}))
    async with running_server() as server:
        gateway: GatewayService = {"url": server.base_url}
        async with FMEClient(
            file, gateway_service=gateway, observers=[telemetry.observe()]
        ) as client:
            with telemetry.tracers.get_tracer("service").start_as_current_span("request") as own:
                await client.get_flag("search", {"id": "Ashley", "ipAddress": "203.0.113.7"})
    (span,) = telemetry.find_spans("gateway")
    assert span.parent is not None
    assert span.parent.span_id == own.get_span_context().span_id
    assert any("203.0.113.7" in one.target for one in server.requests)
    assert "203.0.113.7" not in telemetry.show()


# Metrics


@BOTH
async def test_metrics(telemetry: Telemetry, product: str) -> None:
    """The ledgers of all clients are metrics; what a client counted stays counted when it is closed."""
    observer = telemetry.observe()
    async with running_server() as server:
        options: dict[str, Any] = {"base_url": server.base_url, "observers": [observer]}
        async with make_client(product, **options) as client:
            for user in ("Ashley", "Billy"):
                await evaluate(client, "search", user)
            await client.flush_events()
            first = client.statistics()
            assert telemetry.count("vwo.events.accepted", product) == first.accepted >= 2
            async with make_client(product, **options) as other:
                await evaluate(other, "search", "Clara")
                assert telemetry.count("vwo.queue.events", product) == other.statistics().pending
                await other.flush_events()
    measured = telemetry.measure()
    statistics = [client.statistics(), other.statistics()]
    assert measured.keys() == {*COUNTERS, *GAUGES, "http.client.request.duration"} - {
        # Nothing was dropped, and nobody is open.
        "vwo.events.dropped",
        *GAUGES,
    }
    for name, field in (
        ("vwo.events.accepted", "accepted"),
        ("vwo.events.delivered", "delivered"),
        ("vwo.requests", "requests"),
    ):
        assert measured[name][(product,)].value == sum(getattr(one, field) for one in statistics)
    assert measured["vwo.errors"][product, "storage"].value == 0
    durations = measured["http.client.request.duration"].values()
    assert sum(one.count for one in durations) == sum(one.requests for one in statistics)


# Other shapes of clients


async def test_a_synchronous_client(telemetry: Telemetry) -> None:
    """A call in a thread without a loop is in the trace of that thread."""
    tracer = telemetry.tracers.get_tracer("service")

    def work(server: Server) -> int:
        client = vwo_async.sync.VWOClient(
            FULLSTACK, base_url=server.base_url, observers=[telemetry.observe()]
        )
        with client, tracer.start_as_current_span("request") as span:
            assert client.activate("checkout", "Ashley") == "Variation-1"
            return span.get_span_context().span_id

    async with running_server() as server:
        span_id = await asyncio.to_thread(work, server)
    (event,) = telemetry.events
    assert event.span_id == span_id
    assert telemetry.find_spans("events")


async def test_without_an_sdk() -> None:
    """Where the API package alone is installed or nothing is set up, nothing happens and nothing fails."""
    async with VWOClient(
        FULLSTACK, transport=RecordingTransport(), observers=[OpenTelemetry(adds_to_span=True)]
    ) as client:
        assert await client.activate("checkout", "Ashley")
    assert client.statistics().callback_errors == 0


def test_names_of_the_conventions() -> None:
    """Every attribute of a flag has a name that the conventions know today."""
    known = {value for name, value in vars(conventions).items() if name.startswith("FEATURE_FLAG")}
    source = json.dumps(OpenTelemetry._describe.__code__.co_consts, default=str)
    used = [one for one in source.split('"') if one.startswith("feature_flag.")]
    assert len(used) >= 6
    assert not set(used) - known
