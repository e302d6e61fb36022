"""The HTTP interface of the page: its files, what it shows as it happens, and what it asks."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..guard import Guard
from ..inbox import Inbox
from ..product import Account
from .asset import PAGE, SECURITY_HEADERS, read_asset
from .download import list_results, write_csv, write_json
from .entry import EntryFilter
from .event_stream import EventStream
from .look_up import LookUps
from .question import (
    AskedFault,
    list_visitors,
    read_campaign,
    read_fault,
    read_filter,
    read_object,
)
from .watcher import Watcher, list_summaries

__all__ = ["Control", "Handler", "PageInterface"]

TICK_S = 1.0

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class Control(Protocol):
    """What the page can see and set of the collector besides the inbox.

    Attributes:
        guard: Decides who may see and steer it.
        latency_s: How long each answer is delayed, in seconds.
        is_ending: Whether the server is about to end.
    """

    guard: Guard
    latency_s: float
    is_ending: bool

    async def read_body(self, request: Request) -> bytes | None:
        """Return the body, or None if it is too large."""
        ...


class PageInterface:
    """The HTTP interface of the page of an inbox."""

    def __init__(self, inbox: Inbox, control: Control) -> None:
        self._inbox = inbox
        self._control = control
        self._look_ups = LookUps()
        # By it a page that stayed open sees that it talks to another collector than before.
        self._instance = secrets.token_hex(8)

    def list_open_routes(self) -> list[Route]:
        """Return the page and its files, which show nothing of what was received."""
        return [
            Route("/", self._show_page, methods=["GET"]),
            Route("/collector/static/{name:path}", self._show_asset, methods=["GET"]),
        ]

    def list_guarded_routes(self, guarded: Callable[[Handler], Handler]) -> list[Route]:
        """Return what steers the collector, and shows what it received."""
        found: list[tuple[str, str, Handler]] = [
            ("GET", "stream", self._stream),
            ("GET", "series", self._show_series),
            ("POST", "look-up", self._look_up),
            ("GET", "fault", self._show_fault),
            ("PUT", "fault", self._set_fault),
            ("GET", "results.csv", self._download_results),
            ("GET", "results.json", self._download_results),
            ("GET", "entries.csv", self._download_entries),
            ("GET", "entries.json", self._download_entries),
        ]
        return [
            Route(f"/collector/{path}", guarded(handler), methods=[method])
            for method, path, handler in found
        ]

    # Files

    async def _show_page(self, request: Request) -> Response:
        return await self._send_asset(request, PAGE)

    async def _show_asset(self, request: Request) -> Response:
        return await self._send_asset(request, request.path_params["name"])

    async def _send_asset(self, request: Request, name: str) -> Response:
        fault = self._control.guard.find_page_fault(request.headers.raw)
        if fault:
            return _json({"error": fault}, 403)
        found = await read_asset(name)
        if found is None:
            return Response(status_code=404, headers=SECURITY_HEADERS)
        body, media_type = found
        return Response(body, headers={**SECURITY_HEADERS, "content-type": media_type})

    # What happens

    async def _stream(self, request: Request) -> Response:
        try:
            wanted = read_filter(request.query_params, self._list_accounts())
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        watcher = Watcher(self._inbox, wanted)
        return EventStream(
            lambda: watcher.read(self._describe_state()),
            TICK_S,
            lambda: self._control.is_ending,
            SECURITY_HEADERS,
        )

    def _list_accounts(self) -> set[Account]:
        """Return all accounts of settings files and of events."""
        counted = {campaign.account for campaign in self._inbox.tally.campaigns.values()}
        return counted | {file.account for file in self._inbox.files.files}

    def _describe_state(self) -> dict[str, Any]:
        inbox = self._inbox
        return {
            "instance": f"{self._instance}.{inbox.resets}",
            "totals": inbox.totals().as_dict(),
            "kept": len(inbox.ledger),
            "is_partial": inbox.tally.is_partial,
            "planned": inbox.planned,
            **self._describe_fault(),
            "files": [
                {
                    "product": file.product.value,
                    "account_id": file.account_id,
                    "label": file.product.label,
                }
                for file in inbox.files.files
            ],
        }

    async def _show_series(self, request: Request) -> Response:
        try:
            product, account_id, number = read_campaign(request.query_params.get("campaign", ""))
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        for account, campaign in self._inbox.tally.campaigns.items():
            if account == ((product, account_id), number):
                return _json(campaign.describe_series())
        return _json({"columns": [], "points": []})

    # Questions

    async def _look_up(self, request: Request) -> Response:
        inbox = self._inbox
        try:
            asked = read_object(await self._control.read_body(request))
            found = await self._look_ups.explain(inbox.files, asked)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        wanted = EntryFilter(list_visitors(asked["user_id"], self._list_accounts()))
        entries, more = inbox.entries.find(wanted, 0, 50)
        rows = [entry._asdict() for entry in entries]
        return _json({"files": found, "entries": rows, "more": more})

    async def _show_fault(self, request: Request) -> Response:
        return _json(self._describe_fault())

    async def _set_fault(self, request: Request) -> Response:
        now = AskedFault(self._inbox.fault, self._control.latency_s)
        try:
            asked = read_fault(await self._control.read_body(request), now)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        self._inbox.fault, self._control.latency_s = asked.fault, asked.latency_s
        return _json(self._describe_fault())

    def _describe_fault(self) -> dict[str, object]:
        fault = self._inbox.fault
        return {"fault": fault and fault.value, "latency_s": self._control.latency_s}

    # Downloads

    async def _download_results(self, request: Request) -> Response:
        summaries = list_summaries(self._inbox)
        campaigns = await asyncio.to_thread(lambda: [one.as_dict() for one in summaries])
        if request.url.path.endswith("csv"):
            return _download("results.csv", write_csv([*list_results(campaigns)]))
        return _download("results.json", write_json(campaigns))

    async def _download_entries(self, request: Request) -> Response:
        rows = [entry._asdict() for entry in self._inbox.entries]
        if request.url.path.endswith("csv"):
            return _download("entries.csv", write_csv(rows))
        return _download("entries.json", write_json(rows))


def _download(name: str, body: bytes) -> Response:
    media_type = "text/csv; charset=utf-8" if name.endswith("csv") else "application/json"
    disposition = f'attachment; filename="vwo-{name}"'
    headers = {"content-type": media_type, "content-disposition": disposition}
    return Response(body, headers={**SECURITY_HEADERS, **headers})


def _json(document: object, status: int = 200) -> Response:
    headers = {**SECURITY_HEADERS, "content-type": "application/json"}
    return Response(json.dumps(document), status, headers)
