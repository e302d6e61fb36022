"""The files of the page, and the headers under which a browser lets them do no more than they should."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

__all__ = ["PAGE", "SECURITY_HEADERS", "read_asset"]

PAGE = "index.html"
_FOLDER = Path(__file__).parent / "static"
_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    "": "text/plain; charset=utf-8",
}
_FILES = frozenset(
    {
        PAGE,
        "chart.js",
        "collector.svg",
        "control.js",
        "dom.js",
        "entries.js",
        "look_up.js",
        "page.css",
        "page.js",
        "results.js",
        "server.js",
        "vendor/uplot/LICENSE",
        "vendor/uplot/uPlot.iife.min.js",
        "vendor/uplot/uPlot.min.css",
    }
)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
"""Of every answer to the page: it runs its own scripts alone, and nobody else may embed or read it."""


async def read_asset(name: str) -> tuple[bytes, str] | None:
    """Return a file of the page and its media type, None where there is none of that name."""
    if name not in _FILES:
        return None
    path = _FOLDER / name
    return await asyncio.to_thread(path.read_bytes), _TYPES[path.suffix]
