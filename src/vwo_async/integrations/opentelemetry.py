"""OpenTelemetry: decisions as events, requests as spans, and what the queue does as metrics.

One observer serves any number of clients of either product; it needs the API package alone::

    telemetry = OpenTelemetry()
    client = FMEClient(settings, observers=[telemetry])

What it gives follows the semantic conventions:

* for each decision the event ``feature_flag.evaluation``, on the context of the caller, so that it belongs to his
  trace; with ``adds_to_span=True`` on the caller's span as well;
* for each request to VWO a span of kind CLIENT, with method, server, URL without query, and status. Deliveries and
  polls are made on nobody's behalf, so their spans have no parent;
* `http.client.request.duration`, and under `vwo.` the ledger of all clients: see `COUNTERS` and `GAUGES`.

No SDK key, visitor, body or header is in any of it, and no header of a tracer goes to VWO. The user appears as
the hash that the log has too, see the launch option ``pseudonym_salt``.
"""

from __future__ import annotations

import os
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from .._extra import explain_missing
from .._observer import Evaluation, ObservedClient, Observer, RequestReport
from .._reason import Reason
from .._result import Statistics
from .._version import PACKAGE_NAME, __version__

try:
    from opentelemetry import _logs as logs
    from opentelemetry import metrics, trace
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ImportError as error:
    raise explain_missing(error, "opentelemetry") from None

__all__ = ["COUNTERS", "GAUGES", "OpenTelemetry"]

EVENT_NAME = "feature_flag.evaluation"
NS_PER_S = 1_000_000_000
# The bounds that the conventions advise for the durations of requests.
_DURATION_BOUNDS_S = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1, 2.5, 5, 7.5, 10),
)

UserId: TypeAlias = Literal["pseudonym", "plain", "none"]
Attributes: TypeAlias = dict[str, str | bool | int | float]

_PROVIDERS = {"fullstack": "VWO FullStack", "fme": "VWO FME"}
_REASONS = {
    Reason.ASSIGNED: "split",
    Reason.STORED: "cached",
    Reason.WHITELISTED: "targeting_match",
    Reason.CAMPAIGN_NOT_RUNNING: "disabled",
    Reason.NO_RULE: "disabled",
}
# The words of OpenFeature, which the conventions take over.
_ERRORS = {
    Reason.CAMPAIGN_NOT_FOUND: "flag_not_found",
    Reason.FEATURE_NOT_FOUND: "flag_not_found",
    Reason.CAMPAIGN_TYPE_MISMATCH: "type_mismatch",
    Reason.MALFORMED_SEGMENT: "parse_error",
    Reason.NO_SETTINGS: "provider_not_ready",
    Reason.INVALID_INPUT: "invalid_context",
    Reason.STORAGE_REQUIRED: "general",
    Reason.STORAGE_ERROR: "general",
}


class Metric(NamedTuple):
    """One number of the ledger.

    Attributes:
        unit: Its unit.
        description: What it counts.
        read: Returns it, by the value of its attribute where it has one.
        attribute: What tells the values of one metric apart, empty where there is one.
    """

    unit: str
    description: str
    read: Callable[[Statistics], dict[str, int]]
    attribute: str = ""


def _one(field: str) -> Callable[[Statistics], dict[str, int]]:
    return lambda statistics: {"": getattr(statistics, field)}


def _read_errors(statistics: Statistics) -> dict[str, int]:
    return {
        "storage": statistics.storage_errors,
        "settings": statistics.settings_errors,
        "gateway": statistics.gateway_errors,
        "outbox": statistics.outbox_errors,
        "callback": statistics.callback_errors,
        "worker": statistics.worker_restarts,
    }


COUNTERS = {
    "vwo.events.accepted": Metric("{event}", "Events put on the queue", _one("accepted")),
    "vwo.events.delivered": Metric("{event}", "Events that VWO has", _one("delivered")),
    "vwo.events.rejected": Metric("{event}", "Events that VWO refused", _one("rejected")),
    "vwo.events.dropped": Metric(
        "{event}", "Events given up", lambda one: dict(one.dropped), "vwo.drop.reason"
    ),
    "vwo.events.refused": Metric(
        "{event}", "Events for which the queue had no room", _one("refused")
    ),
    "vwo.events.restored": Metric(
        "{event}", "Events of an earlier process, from the outbox", _one("restored")
    ),
    "vwo.requests": Metric("{request}", "Requests made for events", _one("requests")),
    "vwo.retries": Metric("{request}", "Requests that were no first try", _one("retries")),
    "vwo.errors": Metric("{error}", "Failures, by what failed", _read_errors, "vwo.error.source"),
}
"""The counters, by name: what all clients of one product have counted since the process began."""

GAUGES = {
    "vwo.queue.events": Metric("{event}", "Events that wait or are on their way", _one("pending")),
    "vwo.queue.size": Metric("By", "Their approximate size", _one("pending_bytes")),
    "vwo.outbox.waiting": Metric(
        "{event}", "Events in the outbox that are not on the queue", _one("outbox_waiting")
    ),
}
"""The gauges, by name: how it stands with all open clients of one product."""


class OpenTelemetry(Observer):
    """Observes clients for OpenTelemetry; one for the whole process is enough.

    Args:
        user_id: How ``feature_flag.context.id`` names the user: by his ``pseudonym``; ``plain``, which is the id
            as the service gave it; or ``none``, not at all.
        adds_to_span: Whether each decision is added to the current span as well, as an event of that.
        tracer_provider: Makes the tracer; the global one by default, like those that follow.
        meter_provider: Makes the meter.
        logger_provider: Makes the logger of events.

    Raises:
        ValueError: *user_id* is none of these.
    """

    def __init__(
        self,
        *,
        user_id: UserId = "pseudonym",
        adds_to_span: bool = False,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        logger_provider: logs.LoggerProvider | None = None,
    ) -> None:
        if user_id not in ("pseudonym", "plain", "none"):
            raise ValueError("user_id must be 'pseudonym', 'plain' or 'none'")
        self._user_id: UserId = user_id
        self._adds_to_span = adds_to_span
        self._tracer = trace.get_tracer(PACKAGE_NAME, __version__, tracer_provider)
        self._logger = logs.get_logger(PACKAGE_NAME, __version__, logger_provider)
        # After a fork the parent still counts what it counted, and another of its threads may hold its lock.
        self._by_process: dict[int, _Ledgers] = {}
        meter = metrics.get_meter(PACKAGE_NAME, __version__, meter_provider)
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of requests to VWO",
            explicit_bucket_boundaries_advisory=_DURATION_BOUNDS_S,
        )
        for name, metric in COUNTERS.items():
            observe = partial(self._observe_counter, name)
            meter.create_observable_counter(name, [observe], metric.unit, metric.description)
        for name, metric in GAUGES.items():
            observe = partial(self._observe_gauge, name)
            meter.create_observable_gauge(name, [observe], metric.unit, metric.description)

    @property
    def _ledgers(self) -> _Ledgers:
        return self._by_process.setdefault(os.getpid(), _Ledgers())

    def _observe_counter(self, name: str, options: object) -> list[metrics.Observation]:
        return self._ledgers.observe_counter(name)

    def _observe_gauge(self, name: str, options: object) -> list[metrics.Observation]:
        return self._ledgers.observe_gauge(name)

    def on_open(self, client: ObservedClient) -> None:
        """Begin to count what the client counts."""
        self._ledgers.add(client)

    def on_close(self, client: ObservedClient) -> None:
        """Keep what it has counted."""
        self._ledgers.close(client)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Emit the event of a decision."""
        attributes = self._describe(evaluation)
        self._logger.emit(
            event_name=EVENT_NAME, attributes=attributes, severity_number=logs.SeverityNumber.INFO
        )
        if self._adds_to_span:
            trace.get_current_span().add_event(EVENT_NAME, attributes)

    def _describe(self, evaluation: Evaluation) -> Attributes:
        """Return the attributes of a decision, by the conventions."""
        error_type = _ERRORS.get(evaluation.reason)
        reason = "default" if error_type is None else "error"
        attributes: Attributes = {
            "feature_flag.key": evaluation.key,
            "feature_flag.provider.name": _PROVIDERS[evaluation.product],
            "feature_flag.result.reason": _REASONS.get(evaluation.reason, reason),
            "feature_flag.set.id": evaluation.account_id,
            "feature_flag.version": evaluation.settings_version,
            "vwo.reason": evaluation.reason.value,
        }
        if evaluation.variation_name is not None:
            attributes["feature_flag.result.variant"] = evaluation.variation_name
        if evaluation.is_enabled is not None:
            attributes["feature_flag.result.value"] = evaluation.is_enabled
        if error_type is not None:
            attributes["error.type"] = error_type
        user = self._name_user(evaluation)
        if user is not None:
            attributes["feature_flag.context.id"] = user
        return attributes

    def _name_user(self, evaluation: Evaluation) -> str | None:
        if self._user_id == "none":
            return None
        return evaluation.pseudonym if self._user_id == "pseudonym" else evaluation.user_id

    def on_request(self, request: RequestReport) -> None:
        """Write the span of a request that has ended, and measure it."""
        measured = _describe_request(request)
        url: Attributes = {}
        if request.base_url is not None:
            url = {"url.full": request.base_url.rstrip("/") + request.path}
        self._duration.record(request.took_s, measured)
        began_ns = int(request.began_at * NS_PER_S)
        span = self._tracer.start_span(
            f"{request.method} {request.path}",
            kind=SpanKind.CLIENT,
            start_time=began_ns,
            attributes={
                **measured,
                **url,
                "url.path": request.path,
                "http.request.body.size": request.body_bytes,
                "vwo.product": request.product,
            },
        )
        if "error.type" in measured:
            span.set_status(Status(StatusCode.ERROR))
        span.end(began_ns + int(request.took_s * NS_PER_S))


def _describe_request(request: RequestReport) -> Attributes:
    """Return what both the span of a request and its duration say, by the conventions."""
    attributes: Attributes = {
        "http.request.method": request.method,
        "vwo.request.purpose": request.purpose,
    }
    if request.base_url is not None:
        server = urlsplit(request.base_url)
        attributes["url.scheme"] = server.scheme
        attributes["server.address"] = server.hostname or ""
        attributes["server.port"] = server.port or (443 if server.scheme == "https" else 80)
    if request.status is not None:
        attributes["http.response.status_code"] = request.status
    if request.status is None or request.status >= 400:
        attributes["error.type"] = request.failure or str(request.status)
    return attributes


class _Ledgers:
    """The ledgers of all clients of one process as metrics; asked by a thread of OpenTelemetry's own.

    What a client has counted stays counted when it is closed.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: weakref.WeakSet[ObservedClient] = weakref.WeakSet()
        # By name, product and value of the attribute.
        self._closed: Counter[tuple[str, str, str]] = Counter()

    def add(self, client: ObservedClient) -> None:
        """Count a client that has been opened."""
        with self._lock:
            self._open.add(client)

    def close(self, client: ObservedClient) -> None:
        """Keep the counts of a client whose ledger does not change any more."""
        statistics = client.statistics()
        with self._lock:
            self._open.discard(client)
            for name, metric in COUNTERS.items():
                self._closed.update(_read(name, metric, client.product, statistics))

    def observe_counter(self, name: str) -> list[metrics.Observation]:
        """Return the values of a counter."""
        metric = COUNTERS[name]
        with self._lock:
            found = self._sum(name, metric)
            found.update({key: number for key, number in self._closed.items() if key[0] == name})
        return _observe(metric, found)

    def observe_gauge(self, name: str) -> list[metrics.Observation]:
        """Return the values of a gauge."""
        metric = GAUGES[name]
        with self._lock:
            found = self._sum(name, metric)
        return _observe(metric, found)

    def _sum(self, name: str, metric: Metric) -> Counter[tuple[str, str, str]]:
        found: Counter[tuple[str, str, str]] = Counter()
        for client in self._open:
            found.update(_read(name, metric, client.product, client.statistics()))
        return found


def _read(
    name: str, metric: Metric, product: str, statistics: Statistics
) -> dict[tuple[str, str, str], int]:
    return {(name, product, key): number for key, number in metric.read(statistics).items()}


def _observe(metric: Metric, found: Counter[tuple[str, str, str]]) -> list[metrics.Observation]:
    return [
        metrics.Observation(
            number,
            {"vwo.product": product, **({metric.attribute: key} if metric.attribute else {})},
        )
        for (_, product, key), number in found.items()
    ]
