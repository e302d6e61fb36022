"""A service in a process of its own, which OpenTelemetry and Sentry observe at once."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from port import find_free_port
from server import Server, running_server

pytestmark = pytest.mark.anyio
USERS = [f"visitor-{number}" for number in range(6)]
SDK_KEY = "made-for-a-test"


@asynccontextmanager
async def running_service(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Run the service with uvicorn until the end of the block."""
    port = find_free_port()
    options = ["--port", str(port), "--app-dir", str(Path(__file__).parent)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "uvicorn", "observed_service:app", "--log-level", "critical", *options),
        env={**os.environ, "VWO_BASE_URL": base_url},
    )
    try:
        # uvicorn closes a connection on which a handler raised: none is used twice.
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=20, headers={"Connection": "close"}
        ) as web:
            ends_at = time.monotonic() + 60
            while time.monotonic() < ends_at:
                try:
                    await web.get("/openapi.json")
                    break
                except httpx.TransportError:
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
            yield web
    finally:
        process.terminate()
        await process.wait()


async def visit() -> tuple[dict[str, Any], Server]:
    """Let all users visit at once; return what the tools have kept, and what VWO was sent."""
    async with running_server() as server, running_service(server.base_url) as web:
        await asyncio.gather(*(web.get(f"/buy/{user}") for user in USERS))
        answer = await web.get("/told")
    told: dict[str, Any] = answer.json()
    return told, server


@pytest.mark.slow
async def test_both_tools() -> None:
    """Errors and traces of requests at the same time have each the decisions of their own, and nothing secret."""
    told, server = await visit()
    check_sentry(told)
    check_opentelemetry(told)
    received = "".join(f"{one.target}{one.body!r}" for one in server.requests)
    assert SDK_KEY in received
    shown = json.dumps(told)
    assert SDK_KEY not in shown
    headers = {name.lower() for one in server.requests for name, _ in one.headers}
    assert not {"sentry-trace", "baggage", "traceparent", "tracestate"} & headers


def check_sentry(told: dict[str, Any]) -> None:
    """Each error has the flags and variations of its own user."""
    seen = set()
    for error in told["errors"]:
        variation = error["exception"]["values"][-1]["value"].removeprefix("sold out: ")
        flags = {one["flag"]: one["result"] for one in error["contexts"]["flags"]["values"]}
        assert flags == {
            "checkout": True,
            f"checkout:{variation}": True,
            "search": True,
            "search:Rollout": True,
        }
        seen.add(variation)
    assert len(told["errors"]) == len(USERS)
    assert seen == {"Control", "Variation-1"}


def check_opentelemetry(told: dict[str, Any]) -> None:
    """Each trace has the two decisions of its user, under one pseudonym; requests are spans; the queue is measured."""
    spans = [json.loads(one) for one in told["spans"]]
    own = {
        one["context"]["span_id"]: one["name"] for one in spans if one["name"].startswith("buy ")
    }
    assert len(own) == len(USERS)
    users: dict[str, set[str]] = {name: set() for name in own.values()}
    # FastAPI writes records of its own.
    every = [json.loads(one) for one in told["records"]]
    records = [one for one in every if one["event_name"] == "feature_flag.evaluation"]
    assert len(records) == 2 * len(USERS)
    for record in records:
        name = own[record["span_id"]]
        users[name].add(record["attributes"]["feature_flag.context.id"])
    assert all(len(pseudonyms) == 1 for pseudonyms in users.values())
    assert len(set.union(*users.values())) == len(USERS)
    assert "visitor-" not in json.dumps(records)
    purposes = {one["attributes"].get("vwo.request.purpose") for one in spans}
    assert purposes == {None, "events"}
    assert "vwo.events.delivered" in told["metrics"]
