"""The HTTP interface of the inbox: VWO's paths, and ``/collector/...`` to control it from other processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from .fault import Fault
from .field import load_json
from .guard import Guard
from .inbox import Inbox, Reply
from .ledger_file import LedgerFile
from .page.asset import SECURITY_HEADERS
from .page.interface import Handler, PageInterface

__all__ = ["CLOSE_EXTENSION", "MAX_BODY_BYTES", "HttpInterface"]

MAX_BODY_BYTES = 16 * 1024 * 1024
"""The largest body that is read; a larger one is answered with 413."""

CLOSE_EXTENSION = "vwo_async.close"
"""In the scope of a request, what closes its connection at once."""
NO_ANSWER = 0
_POLL_S = 0.02

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class HttpInterface:
    """The HTTP interface of an inbox.

    Args:
        inbox: The inbox.
        ledger_file: The file in which events must be on the disk before a request is answered, if any.
        latency_s: How long to delay each answer, in seconds.
        token: See `Guard`.

    Attributes:
        guard: Decides who may control the collector and read what it received.
        latency_s: How long each answer is delayed, in seconds.
        is_ending: Whether the server is about to end: then nothing is waited for.
    """

    def __init__(
        self,
        inbox: Inbox,
        ledger_file: LedgerFile | None,
        latency_s: float,
        token: str | None = None,
    ) -> None:
        self.latency_s = latency_s
        self.guard = Guard(token)
        self.is_ending = False
        self._inbox = inbox
        self._ledger_file = ledger_file
        self._page = PageInterface(inbox, self)

    def app(self) -> Starlette:
        """Return an ASGI application."""
        return Starlette(
            routes=[
                *self._page.list_open_routes(),
                *self._page.list_guarded_routes(self._guarded),
                Route("/collector/report", self._guarded(self._report), methods=["GET"]),
                Route("/collector/ledger", self._guarded(self._ledger), methods=["GET"]),
                Route("/collector/totals", self._guarded(self._totals), methods=["GET"]),
                Route("/collector/reset", self._guarded(self._reset), methods=["POST"]),
                Route("/collector/settings", self._guarded(self._set_settings), methods=["PUT"]),
                Route("/collector/answer", self._guarded(self._answer_next), methods=["POST"]),
                Route("/{path:path}", self._receive, methods=_METHODS),
            ]
        )

    def _guarded(self, handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            fault = self.guard.find_fault(request.headers.raw, request.scope["query_string"])
            return _json({"error": fault}, 403) if fault else await handler(request)

        return answer

    async def _receive(self, request: Request) -> Response:
        headers = dict(request.headers)
        if fault := self.guard.find_sdk_fault(headers):
            return _json({"error": fault}, 403)
        try:
            body = await _read_body(request)
        except ClientDisconnect:
            # The request was not received; there is no client any more to read this answer.
            return Response(status_code=400)
        scope = request.scope
        answer = self._inbox.receive(
            scope["method"], scope["path"], scope["query_string"], headers, body
        )
        await self._write_ledger(answer)
        if self.latency_s > 0:
            await asyncio.sleep(self.latency_s)
        if answer.status == NO_ANSWER:
            return await self._answer_nothing(request, answer.fault)
        return Response(answer.body, answer.status, answer.headers)

    async def _answer_nothing(self, request: Request, fault: Fault | None) -> Response:
        """Let a request hang as long as the fault says so, and close its connection."""
        while fault is Fault.HANG is self._inbox.fault and not self.is_ending:
            if await request.is_disconnected():
                return Response(status_code=400)
            await asyncio.sleep(_POLL_S)
        close = request.scope.get("extensions", {}).get(CLOSE_EXTENSION)
        if close is None:
            # Another server than ours cannot be told to; this answer is none that a client could use.
            return Response(status_code=502)
        close()
        while not await request.is_disconnected():  # noqa: ASYNC110 - in the next turn of the loop
            await asyncio.sleep(0)
        return Response(status_code=400)

    async def read_body(self, request: Request) -> bytes | None:
        """Return the body, or None if it is larger than the bound."""
        return await _read_body(request)

    async def _write_ledger(self, answer: Reply) -> None:
        if self._ledger_file is not None and answer.events:
            self._ledger_file.add(answer.events)
            await self._ledger_file.sync()

    async def _report(self, request: Request) -> Response:
        return _json(self._inbox.report().as_dict())

    async def _ledger(self, request: Request) -> Response:
        events = [event.as_dict() for event in self._inbox.ledger]
        return _json(
            {"events": events, "refused": [refusal.as_dict() for refusal in self._inbox.refused]}
        )

    async def _totals(self, request: Request) -> Response:
        return _json(self._inbox.totals().as_dict())

    async def _reset(self, request: Request) -> Response:
        self._inbox.reset()
        return _json(self._inbox.totals().as_dict())

    async def _set_settings(self, request: Request) -> Response:
        body = await _read_body(request)
        try:
            self._inbox.set_settings(b"" if body is None else body)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return Response(status_code=204)

    async def _answer_next(self, request: Request) -> Response:
        try:
            self._inbox.answer_next(*_read_planned_answer(await _read_body(request)))
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return Response(status_code=204)


async def _read_body(request: Request) -> bytes | None:
    """Return the body, or None if it is larger than the bound."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _read_planned_answer(body: bytes | None) -> tuple[int, int, Mapping[str, str], bytes]:
    """Read ``{"status": 503, "times": 1, "headers": {}, "body": ""}``; only the status is required."""
    plan = load_json(body or b"null")
    if not isinstance(plan, dict):
        raise _malformed("must be an object with a status")
    status, times = plan.get("status"), plan.get("times", 1)
    headers, text = plan.get("headers", {}), plan.get("body", "")
    if type(status) is not int or type(times) is not int:
        raise _malformed("status, times: must be whole numbers")
    if not isinstance(text, str) or not isinstance(headers, dict):
        raise _malformed("headers, body: must be an object and a text")
    return status, times, {str(name): str(value) for name, value in headers.items()}, text.encode()


def _malformed(problem: str) -> ValueError:
    return ValueError(f"plan: {problem}")


def _json(document: object, status: int = 200) -> Response:
    # Starlette's JSON response cannot encode a lone surrogate, which loose rules accept.
    headers = {**SECURITY_HEADERS, "content-type": "application/json"}
    return Response(json.dumps(document), status, headers)
