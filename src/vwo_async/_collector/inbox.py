"""Receives requests: checks them, records their events and returns the answers, without any I/O."""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeAlias

from .catalogue import Catalogue
from .error import WireError
from .fault import Fault
from .gateway import GatewayData, answer_gateway, is_of_gateway
from .ledger import Ledger
from .page.entry import Entries, EntryKind
from .page.tally import Tally
from .page.tally_report import report_tally
from .received import Kind, Received
from .report import Report, build_report
from .request import WireRequest, locate
from .rule import Rules
from .settings_files import SettingsFiles
from .wire import parse, read_retrieval

__all__ = ["AnyFile", "Inbox", "Refusal", "Reply", "Totals"]

AnyFile: TypeAlias = bytes | str | Mapping[str, object]
"""A settings file, as JSON or as the decoded JSON object."""

_JSON = {"content-type": "application/json"}
# A name, and a value in Latin-1 without controls, at whose ends nothing is blank.
_HEADER = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:([!-~\xa0-\xff]([\t -~\xa0-\xff]*[!-~\xa0-\xff])?)?"
)
_STATUSES = range(200, 600)
COUNTERS = ("requests", "settings", "accepted", "refused", "answered", "looked_up")
"""Those of `Totals` that count requests."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request, and the events that must be on the disk before it is sent.

    With a *fault* whose status is 0 there is no answer.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    events: tuple[Received, ...] = ()
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that did not follow the wire format.

    Attributes:
        request_number: The number of the request, counted from 1.
        status: The status of the answer.
        field: The field with the fault, such as ``u`` or ``ev[3].sId``.
        reason: The field and what is wrong with it. It never holds received values.
    """

    request_number: int
    status: int
    field: str
    reason: str

    def as_dict(self) -> dict[str, object]:
        """Return the refusal as JSON-ready values."""
        return {
            "request_number": self.request_number,
            "status": self.status,
            "field": self.field,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts since the start or the last reset.

    At every moment ``requests == settings + accepted + refused + answered + looked_up``.

    Attributes:
        requests: All requests of SDKs.
        settings: Requests answered with a settings file.
        accepted: Tracking requests that were accepted.
        refused: Requests that did not follow the wire format.
        answered: Requests that were answered as `Inbox.answer_next` planned, or met a `Fault`; they are not
            checked.
        events: Events received; each item of a batch is one.
        conversions: Conversions in all events, repetitions included.
        unique_conversions: Conversions that count.
        visitors: Different visitors who were shown a variation.
        by_kind: Events by kind.
        looked_up: Questions that the gateway service answered.
    """

    requests: int
    settings: int
    accepted: int
    refused: int
    answered: int
    events: int
    conversions: int
    unique_conversions: int
    visitors: int
    by_kind: Mapping[Kind, int]
    looked_up: int = 0

    def as_dict(self) -> dict[str, object]:
        """Return the counts as JSON-ready values."""
        return asdict(self)


class Inbox:
    """Receives requests, records their events and returns the answers.

    Args:
        settings: The settings files to hand out and to check requests against.
        strict: See `Collector`.
        clock_window_s: How far times in requests may be from now, in seconds.
        clock: Returns the seconds since 1970.
        gateway: What the gateway service knows; None where there is none.
        max_events: How many events and refusals are kept, None for all.

    Attributes:
        files: The settings files in force.
        fault: What befalls every request, None where nothing does.
        ledger: The events.
        refused: The requests that did not follow the wire format.
        tally: The counts.
        entries: What arrived last.
        resets: How often everything was forgotten.
    """

    def __init__(
        self,
        settings: Iterable[AnyFile],
        *,
        strict: bool,
        clock_window_s: float,
        clock: Callable[[], float],
        gateway: GatewayData | None = None,
        max_events: int | None = None,
    ) -> None:
        self.files = SettingsFiles.collect(map(Catalogue.read, settings))
        self._rules = Rules(None, strict, clock_window_s, is_gateway=gateway is not None)
        self._gateway_at_first = gateway
        self._clock = clock
        self._max_events = max_events
        self._last_number = 0
        self.fault: Fault | None = None
        self.resets = 0
        self.reset()

    def reset(self) -> None:
        """Forget all requests and planned answers; keep settings files, request number and fault."""
        self.ledger = Ledger(self._max_events)
        self.refused: deque[Refusal] = deque(maxlen=self._max_events)
        self.tally = Tally()
        self.entries = Entries()
        self.resets += 1
        self._planned: deque[tuple[Reply, int]] = deque()
        self._gateway = self._gateway_at_first
        self._counter: Counter[str] = Counter()

    def set_settings(self, settings: AnyFile) -> None:
        """Put another settings file in force; after a ValueError the old ones stay in force."""
        self.files = self.files.put(Catalogue.read(settings))

    def answer_next(self, status: int, times: int, headers: Mapping[str, str], body: bytes) -> None:
        """Plan answers, after those already planned; ValueError for what cannot be sent."""
        if status not in _STATUSES:
            raise ValueError("status: must be from 200 to 599")
        if type(times) is not int or times < 1:
            raise ValueError("times: must be at least 1")
        if not isinstance(headers, Mapping) or not all(map(_is_header, headers.items())):
            raise ValueError("headers: must be names and values that HTTP can send")
        if not isinstance(body, bytes):
            raise ValueError("body: must be bytes")
        self._planned.append((Reply(status, dict(headers), body), times))

    @property
    def planned(self) -> int:
        """How many answers are planned."""
        return sum(times for _, times in self._planned)

    def totals(self) -> Totals:
        """Return the counts."""
        counted = self.ledger if self.ledger.is_whole else self.tally
        return Totals(
            **{one: self._counter[one] for one in COUNTERS},
            events=self.ledger.received,
            conversions=self.ledger.conversions,
            unique_conversions=counted.unique_conversions,
            visitors=counted.visitors,
            by_kind=self.ledger.by_kind,
        )

    def report(self) -> Report:
        """Return the report of all events, also of those that are no longer kept."""
        if self.ledger.is_whole:
            return build_report(self.ledger, self.files)
        return report_tally(self.tally, self.files)

    def resume(self, totals: Totals, tally: Tally, entries: Entries) -> None:
        """Go on where another inbox ended, whose events are no longer kept."""
        self._counter = Counter({one: getattr(totals, one) for one in COUNTERS})
        self._last_number = max(self._last_number, totals.requests)
        self.ledger.resume(totals.events, totals.by_kind, totals.conversions)
        self.tally, self.entries = tally, entries

    def receive(
        self, method: str, path: str, query: bytes, headers: Mapping[str, str], body: bytes | None
    ) -> Reply:
        """Receive one request.

        Args:
            method: The HTTP method.
            path: The path, percent-decoded.
            query: The query string as sent.
            headers: Header values by lower-case name.
            body: The body, or None if it was too large.
        """
        self._counter["requests"] += 1
        self._last_number += 1
        if self._planned or self.fault is not None:
            return self._fail()
        request = WireRequest(
            self._last_number, self._clock(), method, path, query, headers, body or b""
        )
        try:
            return self._accept(request, is_whole=body is not None)
        except WireError as error:
            return self._refuse(request, error)

    def _accept(self, request: WireRequest, *, is_whole: bool) -> Reply:
        if not is_whole:
            raise WireError("body", "too large", 413)
        if self._gateway is not None and is_of_gateway(request):
            return self._look_up(request, self._gateway)
        endpoint, _ = locate(request)
        if endpoint.is_retrieval:
            return self._hand_out(request)
        events = parse(request, self.files, self._rules)
        self._counter["accepted"] += 1
        self.ledger.add(events)
        self.tally.add(events, self.files)
        self.entries.add_events(events)
        return _json_answer(200, {"received": len(events)}, events)

    def _refuse(self, request: WireRequest, error: WireError) -> Reply:
        self._counter["refused"] += 1
        self.refused.append(Refusal(request.number, error.status, error.field, str(error)))
        self._enter("refused", error.status, str(error))
        return _json_answer(error.status, {"error": str(error)})

    def _hand_out(self, request: WireRequest) -> Reply:
        source = read_retrieval(request, self.files, self._rules)
        self._counter["settings"] += 1
        self._enter("settings", 200, "")
        return Reply(200, _JSON, source)

    def _look_up(self, request: WireRequest, gateway: GatewayData) -> Reply:
        answer, self._gateway = answer_gateway(request, gateway, self.files, self._rules)
        self._counter["looked_up"] += 1
        self._enter("gateway", 200, "")
        return _json_answer(200, answer)

    def _fail(self) -> Reply:
        """Return the answer that is planned, or that the fault has."""
        self._counter["answered"] += 1
        if self._planned:
            answer = self._take_planned()
            self._enter("faulty", answer.status, "an answer that was planned")
            return answer
        assert self.fault is not None
        status = self.fault.status
        self._enter("faulty", status, f"the fault {self.fault.value} is on")
        body = json.dumps({"error": "a fault is switched on"}).encode()
        return Reply(status, _JSON, body, fault=self.fault)

    def _take_planned(self) -> Reply:
        answer, times = self._planned.popleft()
        if times > 1:
            self._planned.appendleft((answer, times - 1))
        return answer

    def _enter(self, kind: EntryKind, status: int, text: str) -> None:
        self.entries.add(kind, self._clock(), self._last_number, status, text)


def _json_answer(status: int, document: object, events: tuple[Received, ...] = ()) -> Reply:
    return Reply(status, _JSON, json.dumps(document).encode(), events)


def _is_header(field: tuple[object, object]) -> bool:
    name, value = field
    is_text = isinstance(name, str) and isinstance(value, str)
    return is_text and bool(_HEADER.fullmatch(f"{name}:{value}"))
