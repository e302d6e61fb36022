"""Requests that were recorded from the official SDKs."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vwo_async.collector import Collector, serve

VECTORS = Path(__file__).parent.parent / "vectors" / "wire.json"

# What must be refused, and why: the value of this push is encoded before it is put between the
# quotes of the JSON, and its own quote ends the text too early once the server has decoded it.
BROKEN = {("push-special", "node"): "tags: must be JSON in UTF-8"}
# Refused by strict rules only: the values of custom dimensions are not text.
LOOSE = {("push-map-types", "python"): "tags.u: values must be text"}


@dataclass(frozen=True)
class Capture:
    """A recorded request of an SDK, and the settings file that the SDK had."""

    case: str
    sdk: str
    settings: dict[str, Any]
    request: dict[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """Return the key under which exceptions are listed."""
        return self.case, self.sdk


def read_captures() -> Iterator[Capture]:
    for case in json.loads(VECTORS.read_text("utf-8"))["cases"]:
        for call in case["calls"]:
            for sdk in ("node", "python"):
                for request in call[sdk]["requests"]:
                    yield Capture(case["name"], sdk, case["settings"], request)


def fill_query(raw: str) -> str:
    """Replace the marks in the recorded query with present values."""
    now_s = int(time.time())
    values = {"random": "0.8437", "sId": str(now_s), "eTime": str(now_s * 1000)}
    return re.sub(r"(\w+)=<dynamic>", lambda found: f"{found[1]}={values[found[1]]}", raw)


def fill_body(value: Any, name: str = "", visitor: str = "") -> Any:
    """Replace the marks in the recorded body with present values."""
    if isinstance(value, dict):
        visitor = value.get("visId", visitor)
        return {key: fill_body(entry, key, visitor) for key, entry in value.items()}
    if isinstance(value, list):
        return [fill_body(entry) for entry in value]
    if not (isinstance(value, str) and value.startswith("<dynamic")):
        return value
    now_s = int(time.time())
    moments = {"sId": now_s, "sessionId": now_s, "time": now_s * 1000}
    return moments.get(name, f"{visitor}-{now_s * 1000}")


def as_bytes(request: dict[str, Any], host: str) -> bytes:
    """Return the request as the SDK sent it: query unchanged, header values raw."""
    body = b"" if request["body"] is None else json.dumps(fill_body(request["body"])).encode()
    target = f"{request['path']}?{fill_query(request['raw_query'])}"
    headers = {**request["headers"], "Host": host, "Connection": "close"}
    headers["Content-Length"] = str(len(body))
    lines = [f"{request['method']} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def replay(capture: Capture, *, strict: bool) -> tuple[Collector, int]:
    """Send one recorded request to a collector with its settings file; return collector and status."""
    collector = Collector(capture.settings, strict=strict)
    async with serve(collector) as base_url:
        host = base_url.removeprefix("http://")
        reader, writer = await asyncio.open_connection(*host.split(":"))
        writer.write(as_bytes(capture.request, host))
        status = int((await reader.readline()).split()[1])
        await reader.read()
        writer.close()
        await writer.wait_closed()
    return collector, status


CAPTURES = list(read_captures())
NAMES = [f"{c.case}-{c.sdk}-{number}" for number, c in enumerate(CAPTURES)]


@pytest.mark.anyio
@pytest.mark.parametrize("capture", CAPTURES, ids=NAMES)
async def test_official_requests(capture: Capture) -> None:
    """Strict rules accept every request of the official SDKs, except for the listed exceptions."""
    expected = BROKEN.get(capture.key) or LOOSE.get(capture.key)

    collector, status = await replay(capture, strict=True)

    assert [refusal.reason for refusal in collector.refused] == ([expected] if expected else [])
    assert status == (400 if expected else 200)
    body = capture.request["body"] or {}
    assert len(collector.ledger) == (0 if expected else len(body.get("ev", [0])))


@pytest.mark.anyio
async def test_loose_rules_take_more() -> None:
    """Loose rules also accept custom dimensions that are not text, but never invalid JSON."""
    odd = [c for c in CAPTURES if c.key in LOOSE]
    broken = [c for c in CAPTURES if c.key in BROKEN]

    assert [(await replay(c, strict=False))[1] for c in odd] == [200] * 3
    assert [(await replay(c, strict=False))[1] for c in broken] == [400]


def test_all_captures_are_replayed() -> None:
    """The file with the recordings is complete."""
    assert len(CAPTURES) == 133
