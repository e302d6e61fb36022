"""What a relay answers over HTTP: whether it is well, and its figures for Prometheus."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .._collector.quiet_server import listening
from ..fleet import Relay, RelayStatistics

_GAUGES = {"held"}


@asynccontextmanager
async def serve_pages(relay: Relay, host: str, port: int) -> AsyncIterator[str]:
    """Answer ``/health`` and ``/metrics`` in the running loop, for as long as the context lasts.

    Yields:
        The address, such as ``http://127.0.0.1:49152``.

    Raises:
        OSError: The address cannot be listened on.
    """
    async with listening(_make_app(relay), host, port) as address:
        yield address


def _make_app(relay: Relay) -> Starlette:
    async def health(request: Request) -> Response:
        found = relay.statistics()
        is_well = bool(found) and all(one.is_healthy for one in found)
        return PlainTextResponse(
            "ok\n" if is_well else "redis does not answer\n", 200 if is_well else 503
        )

    async def metrics(request: Request) -> Response:
        text = write_metrics(relay.statistics())
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    return Starlette(routes=[Route("/health", health), Route("/metrics", metrics)])


def write_metrics(found: list[RelayStatistics]) -> str:
    """Return the figures in the text format of Prometheus."""
    lines = []
    for one in fields(RelayStatistics):
        if one.name in ("account", "is_healthy"):
            continue
        kind = "gauge" if one.name in _GAUGES else "counter"
        name = f"vwo_relay_{one.name}" + ("" if kind == "gauge" else "_total")
        lines.append(f"# TYPE {name} {kind}")
        # A label is quoted as a text in JSON is.
        labels = [json.dumps(row.account, ensure_ascii=False) for row in found]
        figures = [getattr(row, one.name) for row in found]
        lines += [
            f"{name}{{account={label}}} {figure}"
            for label, figure in zip(labels, figures, strict=True)
        ]
    return "\n".join(lines) + "\n"
