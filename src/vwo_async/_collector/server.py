"""The collector, and an HTTP server that serves it on a port."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from starlette.types import Receive, Scope, Send

from .app import HttpInterface
from .fault import Fault
from .gateway import GatewayData
from .guard import is_loopback
from .inbox import AnyFile, Inbox, Refusal, Totals
from .ledger import Ledger
from .ledger_file import LedgerFile
from .page.state_file import StateFile
from .quiet_server import listening
from .report import Report
from .rule import CLOCK_WINDOW_S

__all__ = ["Collector", "serve"]


class Collector:
    """A local stand-in for VWO's servers, which checks, keeps and counts what SDKs send.

    It answers the SDKs of both products, FullStack and FME. It is an ASGI application; `serve` puts it on a
    port.

    A request that does not follow the wire format is answered with status 400 and ``{"error":
    reason}``, and kept in *refused*; the reason names the field and never holds received values.

    Args:
        settings: The settings file, as JSON or as the decoded JSON object; or a list of such files, of any
            accounts and of either product. A file is handed out byte for byte, and requests are checked
            against its account, key, campaigns and goals, in FME also against its features and metrics.
            With None nothing is handed out, and only the form of ids, account and key is checked.
        latency_s: How long to delay each answer, in seconds.
        ledger_path: A file to which each event is appended, one JSON document a line; it is on the disk
            before the request is answered. If that fails the answer is 500, although *ledger* has the
            event.
        strict: With False, requests that have the right facts in a looser form are accepted: with
            additional fields, headers that differ from the query, old times, a missing or wrong
            ``collectionPrefix``, custom dimensions that are not text, attributes that are no plain
            values, or a batch of FME without events.
        clock_window_s: How far times in requests may be from now, in seconds.
        clock: Returns the seconds since 1970; for tests with another time.
        gateway: What VWO's gateway service would know: then requests to it are answered too, and SDKs of FME
            must send events as to a gateway service, each alone and without ``collectionPrefix``.
        token: What requests to ``/collector/...`` have to show. Without a token they must name this
            machine as their host; `serve` makes one up where it listens beyond loopback.
        state_path: A file by which the counts of the page, and *totals* and *report*, go on where another
            collector ended. `serve` reads it at the start, and writes it every few seconds and at the end;
            what arrived in the last seconds before a crash is not in it.
        max_events: How many events *ledger* and *refused* keep, the newest ones; None for all of them.
            *totals* and *report* are about all events all the same, and take a bounded amount of memory.

    Raises:
        ValueError: *settings* is not a settings file, or two of them are of one product, account and key; or
            *ledger_path* or *state_path* is no path, *token* no text of visible ASCII characters, or
            *max_events* less than 1.
    """

    def __init__(
        self,
        settings: AnyFile | Sequence[AnyFile] | None = None,
        *,
        latency_s: float = 0.0,
        ledger_path: str | os.PathLike[str] | None = None,
        strict: bool = True,
        clock_window_s: float = CLOCK_WINDOW_S,
        clock: Callable[[], float] = time.time,
        gateway: GatewayData | None = None,
        token: str | None = None,
        state_path: str | os.PathLike[str] | None = None,
        max_events: int | None = None,
    ) -> None:
        files = _list_files(settings)
        self._inbox = Inbox(
            files,
            strict=strict,
            clock_window_s=clock_window_s,
            clock=clock,
            gateway=gateway,
            max_events=_read_max_events(max_events),
        )
        self._state_file = None if state_path is None else StateFile(state_path, self._inbox)
        self._ledger_file = None if ledger_path is None else LedgerFile(ledger_path)
        self._http_interface = HttpInterface(self._inbox, self._ledger_file, latency_s, token)
        self._app = self._http_interface.app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; this is the ASGI interface."""
        await self._app(scope, receive, send)

    def __repr__(self) -> str:
        totals = self.totals()
        return (
            f"<Collector requests={totals.requests} settings={totals.settings} "
            f"accepted={totals.accepted} refused={totals.refused} "
            f"answered={totals.answered} looked_up={totals.looked_up} events={totals.events}>"
        )

    @property
    def ledger(self) -> Ledger:
        """The events received since the start or the last reset."""
        return self._inbox.ledger

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """The requests that did not follow the wire format, in order."""
        return tuple(self._inbox.refused)

    @property
    def latency_s(self) -> float:
        """The delay of each answer, in seconds; may be set at any time."""
        return self._http_interface.latency_s

    @latency_s.setter
    def latency_s(self, latency_s: float) -> None:
        self._http_interface.latency_s = latency_s

    @property
    def fault(self) -> Fault | None:
        """What befalls every request of SDKs, None where nothing does; may be set at any time."""
        return self._inbox.fault

    @fault.setter
    def fault(self, fault: Fault | str | None) -> None:
        self._inbox.fault = None if fault is None else Fault(fault)

    @property
    def token(self) -> str | None:
        """What requests to ``/collector/...`` have to show, None where nothing."""
        return self._http_interface.guard.token

    def require_token(self) -> str:
        """Ask every request to ``/collector/...`` for the token, made up here if there is none; return it."""
        guard = self._http_interface.guard
        guard.token = guard.token or secrets.token_urlsafe(24)
        return guard.token

    def report(self) -> Report:
        """Return visitors, conversions, rates and revenue by campaign, variation and goal, and by event."""
        return self._inbox.report()

    def totals(self) -> Totals:
        """Return counts of requests and events."""
        return self._inbox.totals()

    def reset(self) -> None:
        """Forget all requests and planned answers.

        A fault stays on, the settings files stay in force, the ledger file keeps its lines, and request
        numbers go on. Of aliases those stay that the gateway service knew at first.
        """
        self._inbox.reset()

    def set_settings(self, settings: AnyFile) -> None:
        """Put another settings file in force, from the next request on.

        It takes the place of the file of the same product, account and key; else of the only one of this
        account; else of the only one of this product. Where there is no such file it is one more.

        Raises:
            ValueError: It is not a settings file; the old ones stay in force.
        """
        self._inbox.set_settings(settings)

    def answer_next(
        self,
        status: int,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        """Answer the next requests of SDKs in a fixed way, without checking or recording them.

        Plans add up: answers are given in the order in which they were planned. Requests to
        ``/collector/...`` are not concerned.

        Args:
            status: The HTTP status, from 200 to 599.
            times: How many requests to answer so.
            headers: Headers of the answer, such as ``{"Retry-After": "2"}``.
            body: Body of the answer.

        Raises:
            ValueError: If *status* or *times* is out of range.
        """
        self._inbox.answer_next(status, times, headers or {}, body)


def _read_max_events(max_events: int | None) -> int | None:
    if max_events is None:
        return None
    if type(max_events) is not int or max_events < 1:
        raise ValueError("max_events: must be at least 1")
    return max_events


def _list_files(settings: AnyFile | Sequence[AnyFile] | None) -> Sequence[AnyFile]:
    if settings is None:
        return ()
    if isinstance(settings, list | tuple):
        return settings
    if isinstance(settings, bytes | str | Mapping):
        return (settings,)
    raise ValueError("settings: must be JSON, a decoded JSON object, or a list of these")


@contextlib.asynccontextmanager
async def serve(
    collector: Collector, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Serve a collector in the running loop, for as long as the context lasts.

    No signal handler is installed and no logger is configured. On another address than loopback, requests
    to ``/collector/...`` must show `Collector.token`. At the end, requests in progress get
    two seconds to be answered.

    Args:
        collector: What to serve.
        host: The address to listen on.
        port: The port, 0 for any free one.

    Yields:
        The URL that stands for VWO's host, such as ``http://127.0.0.1:49152``.

    Raises:
        OSError: If the address cannot be listened on, the state file not be read or written, or the ledger file
            not be written.
        ValueError: If the state file is none.
    """
    if not is_loopback(host):
        collector.require_token()
    async with _keeping(collector), listening(collector, host, port) as base_url:
        try:
            yield base_url
        finally:
            collector._http_interface.is_ending = True  # noqa: SLF001 - as in _keeping


@contextlib.asynccontextmanager
async def _keeping(collector: Collector) -> AsyncIterator[None]:
    """Keep the state file, where there is one, and see that a ledger file can be kept."""
    # What a server does with a collector is of one piece with it.
    collector._http_interface.is_ending = False  # noqa: SLF001
    if collector._ledger_file is not None:  # noqa: SLF001
        await collector._ledger_file.check()  # noqa: SLF001
    state_file = collector._state_file  # noqa: SLF001
    if state_file is None:
        yield
        return
    async with state_file.kept():
        yield
