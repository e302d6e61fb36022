"""Requests that were recorded from the official SDKs of FME."""

from __future__ import annotations

import asyncio
import json
import lzma
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from vwo_async.collector import Collector, serve

VECTORS = Path(__file__).parent.parent / "vectors" / "fme" / "wire.json.xz"
WIRE = json.loads(lzma.decompress(VECTORS.read_bytes()))
SDKS = ("python", "node", "node-head")
CASES = [f"{group}/{name}" for group, content in WIRE.items() for name in content["cases"]]

KEY = "0123456789abcdef0123456789abcdef"

EMPTY = {"ev: must be a list of at least one event"}
PREFIX = "path: not the collectionPrefix of the settings file"
# What must be refused, and why.
REFUSED = {
    # The caller of the SDK has overwritten what the SDK itself has to say.
    "attributes/reserved": {
        "d.visitor.props.vwo_fs_environment: not the SDK key of the settings file"
    },
    "track/reserved": {"d.event.props.vwo_envKey: not the SDK key of the settings file"},
    # The name of the event ends the query too early.
    # The user agent ends the value of its parameter too early.
    "track/user_agent_ip": {"field 7 of 11: not part of this request"},
    "track/odd_name": {"c: not part of this request"},
    # The id is none, and so is the visitor's.
    "track/no_context": {"d.visId: must be a text"},
    # A gateway, which is not VWO, is sent no prefix; and the prefix changes in mid case.
    "hosts/gateway": {PREFIX},
    "hosts/prefix_changes": {PREFIX},
    # The file has neither features nor campaigns, so that it is not one of FME.
    "init/invalid_settings": {"path: this collector was given no settings file of VWO FME"},
}
# Those in which an SDK sends a request without an event.
EMPTY_BATCHES = {
    "batch/flush",
    "batch/idle_timer",
    "holdouts/stored",
    "hosts/gateway_missing",
    "impressions/empty_user",
    "impressions/integrations",
    "impressions/mau",
    "impressions/off",
    "storage/hooks_returning",
    "storage/off",
    "storage/rollout_returning",
}

Request = dict[str, Any]


def find_case(name: str) -> tuple[dict[str, Any], Any]:
    """Return a case and the settings file with which it begins."""
    group, _, case_name = name.partition("/")
    case = WIRE[group]["cases"][case_name]
    file = WIRE[group]["settings"][case["settings"]]
    return case, file[0] if isinstance(file, list) else file


def list_requests(case: dict[str, Any], sdk: str) -> Iterator[Request]:
    """Yield the requests of an SDK to VWO's servers, without those that only a gateway answers."""
    for request in case.get(sdk, {}).get("requests", ()):
        path = request["path"]
        if path.endswith("/events/t") or "/server-side/" in path:
            yield request


def fill(value: Any, name: str = "") -> Any:
    """Replace the marks in what was recorded with present values."""
    if isinstance(value, dict):
        return {key: fill(entry, key) for key, entry in value.items()}
    if isinstance(value, list):
        return [fill(entry, name) for entry in value]
    if not isinstance(value, str):
        return value
    now_s = int(time.time())
    numbers = {"<now s>": now_s, "<now ms>": now_s * 1000, "<duration ms>": 12.5}
    if value in numbers:
        return numbers[value]
    text = value.replace("<now ms>", str(now_s * 1000))
    return text.replace("<random 0..1>", "0.8437").replace("<random>", "0.8437")


def as_bytes(request: Request, host: str) -> bytes:
    """Return the request as the SDK sent it."""
    query = fill(request.get("raw_query")) or "&".join(
        f"{key}={quote(str(fill(value)), safe='')}" for key, value in request["query"]
    )
    body = request.get("body")
    content = b"" if body is None else json.dumps(fill(body)).encode()
    headers = {**request["headers"], "host": host, "connection": "close"}
    headers["content-length"] = str(len(content))
    lines = [f"{request['method']} {request['path']}?{query} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


async def send(base_url: str, request: Request) -> int:
    """Send one recorded request, and return the status of its answer."""
    host = base_url.removeprefix("http://")
    reader, writer = await asyncio.open_connection(*host.split(":"))
    writer.write(as_bytes(request, host))
    status = int((await reader.readline()).split()[1])
    await reader.read()
    writer.close()
    await writer.wait_closed()
    return status


@pytest.mark.anyio
@pytest.mark.parametrize("name", CASES)
async def test_official_requests(name: str) -> None:
    """Strict rules accept every request of the official SDKs, except for the listed exceptions."""
    case, file = find_case(name)
    collector = Collector(file)
    statuses = {}
    async with serve(collector) as base_url:
        for sdk in SDKS:
            statuses[sdk] = [await send(base_url, one) for one in list_requests(case, sdk)]

    reasons = {refusal.reason for refusal in collector.refused}
    assert reasons == (EMPTY if name in EMPTY_BATCHES else REFUSED.get(name, set()))
    refused = sum(status != 200 for found in statuses.values() for status in found)
    assert refused == len(collector.refused)
    assert KEY not in json.dumps([event.as_dict() for event in collector.ledger])


@pytest.mark.anyio
async def test_loose_rules_take_empty_batches() -> None:
    """Loose rules also accept the empty batches that the official Python SDK sends."""
    case, file = find_case("impressions/off")
    collector = Collector(file, strict=False)
    async with serve(collector) as base_url:
        statuses = [await send(base_url, one) for one in list_requests(case, "python")]

    assert (set(statuses), collector.refused) == ({200}, ())


def test_all_cases_are_replayed() -> None:
    """The file with the recordings is complete, and each exception is one of its cases."""
    assert len(CASES) == 126
    assert {*REFUSED, *EMPTY_BATCHES} <= set(CASES)
