"""A FastAPI service whose clients are observed by OpenTelemetry and Sentry, which keep all in memory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sentry_sdk
from fastapi import FastAPI
from log_exporter import make_log_exporter, write_record
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from vwo_async import FMEClient, VWOClient
from vwo_async.integrations.opentelemetry import OpenTelemetry
from vwo_async.integrations.sentry import Sentry
from vwo_async.testing import build_fme_settings, build_settings, campaign, feature

BASE_URL = os.environ["VWO_BASE_URL"]
SENT: list[str] = []
ERRORS: list[dict[str, Any]] = []


class Capturing(Transport):
    """Keeps what Sentry would send."""

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            SENT.append(item.get_bytes().decode())
            if item.type == "event":
                event: Any = item.payload.json
                ERRORS.append(event)


sentry_sdk.init(dsn="https://key@sentry.invalid/1", transport=Capturing(), traces_sample_rate=1.0)
spans, records, reader = InMemorySpanExporter(), make_log_exporter(), InMemoryMetricReader()
tracers, loggers = TracerProvider(), LoggerProvider()
tracers.add_span_processor(SimpleSpanProcessor(spans))
loggers.add_log_record_processor(SimpleLogRecordProcessor(records))
trace.set_tracer_provider(tracers)
_logs.set_logger_provider(loggers)
metrics.set_meter_provider(MeterProvider([reader]))
clients: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    options: dict[str, Any] = {
        "base_url": BASE_URL,
        "observers": [OpenTelemetry(adds_to_span=True), Sentry()],
    }
    async with (
        VWOClient(build_settings(campaign("checkout").goal("buy").split(50, 50)), **options) as vwo,
        FMEClient(build_fme_settings(feature("search").metric("buy").rollout()), **options) as fme,
    ):
        clients.update(vwo=vwo, fme=fme)
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/buy/{user}")
async def buy(user: str) -> None:
    with trace.get_tracer("service").start_as_current_span(f"buy {user}"):
        variation = await clients["vwo"].activate("checkout", user)
        await clients["fme"].get_flag("search", user)
    raise RuntimeError(f"sold out: {variation}")


@app.get("/told")
async def told() -> dict[str, Any]:
    """Return all that both tools have kept."""
    for client in clients.values():
        await client.flush_events()
    return {
        "sent": SENT,
        "errors": ERRORS,
        "spans": [one.to_json() for one in spans.get_finished_spans()],
        "records": [write_record(one) for one in records.get_finished_logs()],
        "metrics": str(reader.get_metrics_data()),
    }
