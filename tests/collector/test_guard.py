"""Who may steer the collector: no page of another origin, and nobody from outside without the token."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import httpx
import pytest
from collector_wire import FOREIGN_ORIGINS, name_header
from plain_http import NO_AUTHORITIES

from vwo_async.collector import Collector, serve

pytestmark = pytest.mark.anyio

PATHS = [
    ("GET", "report"),
    ("GET", "ledger"),
    ("GET", "totals"),
    ("POST", "reset"),
    ("PUT", "settings"),
    ("POST", "answer"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        *FOREIGN_ORIGINS,
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Origin": "127.0.0.1"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8080"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "10.0.0.7"},
        {"Host": "["},
        {"Host": "[::1]evil.example"},
        {"Host": "evil.example@127.0.0.1"},
        {"Host": "127.0.0.1:80:80"},
        {"Host": "[fe80::1%25lo]"},
        {"Host": "0x7f000001"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Host": "127.0.0.1, evil.example"},
        {"Forwarded": "for=10.0.0.7;host=evil.example"},
        {"Forwarded": 'for=127.0.0.1, for=10.0.0.7;Host="evil.example:80"'},
    ],
    ids=name_header,
)
async def test_row_83_foreign_origin(
    wire: Any,
    collector: Collector,
    client: httpx.AsyncClient,
    method: str,
    path: str,
    headers: dict[str, str],
) -> None:
    """A page of another origin, by its own name or one pointed at this machine, does and reads nothing."""
    await wire.push().send(client)
    answer = await client.request(method, f"/collector/{path}", headers=headers, content=b"{}")
    assert answer.status_code in (400, 403)
    assert len(collector.ledger) == 1
    assert "visitor" not in answer.text
    assert (await wire.push().send(client)).status_code == 200


@pytest.mark.parametrize("headers", FOREIGN_ORIGINS, ids=name_header)
async def test_row_83_events_of_a_foreign_page(
    wire: Any, collector: Collector, client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """What a page of another origin sends as an SDK would is refused, not counted, and uses up no planned answer."""
    collector.answer_next(503)
    client.headers.update(headers)
    assert (await wire.push().send(client)).status_code == 403
    assert (await client.get("/nothing")).status_code == 403
    assert collector.totals().requests == 0
    for name in headers:
        del client.headers[name]
    assert (await wire.push().send(client)).status_code == 503


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:80", "127.9.9.9"])
async def test_own_origin(collector: Collector, client: httpx.AsyncClient, host: str) -> None:
    """This machine by any of its names may steer, and so may the collector's own page."""
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    answer = await client.post("/collector/reset", headers=headers)
    assert answer.status_code == 200


async def test_row_83_token_beyond_loopback(wire: Any) -> None:
    """On another address than loopback, each request that steers or reads must show the token."""
    collector = Collector()
    async with (
        serve(collector, host="0.0.0.0") as base_url,
        httpx.AsyncClient(
            base_url=base_url.replace("0.0.0.0", "127.0.0.1"), verify=NO_AUTHORITIES
        ) as client,
    ):
        assert collector.token
        for method, path in PATHS:
            answer = await client.request(method, f"/collector/{path}", content=b"{}")
            assert answer.status_code == 403
            assert collector.token not in answer.text
        for shown in (
            {"headers": {"Authorization": f"Bearer {collector.token}"}},
            {"headers": {"X-Collector-Token": collector.token}},
            {"params": {"token": collector.token}},
        ):
            answer = await client.get("/collector/totals", **shown)  # type: ignore[arg-type]
            assert answer.status_code == 200
        wrong = {"X-Collector-Token": f"{collector.token}x"}
        assert (await client.get("/collector/totals", headers=wrong)).status_code == 403
        # Events are no secret of this machine: SDKs send them without a token.
        assert (await wire.push().send(client)).status_code == 200


def test_row_83_token_is_printed() -> None:
    """The process that listens beyond loopback prints its token."""
    command = [sys.executable, "-m", "vwo_async.collector", "--host", "0.0.0.0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        os.kill(process.pid, signal.SIGTERM)
    assert lines[0].startswith("listening on http://0.0.0.0:")
    assert re.fullmatch(r"x-collector-token: [A-Za-z0-9_-]{32}\n", lines[1])


@pytest.mark.parametrize("depth", [65, 900, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
async def test_row_83_depth(
    collector: Collector, client: httpx.AsyncClient, opening: str, depth: int
) -> None:
    """JSON that is nested without end is refused wherever it is read, and the collector goes on."""
    closing = "]" if opening == "[" else "}"
    text = f"{opening * depth}1{closing * depth}"
    for method, path in (("PUT", "/collector/settings"), ("POST", "/collector/answer")):
        answer = await client.request(method, path, content=text)
        assert answer.status_code == 400
    for path in ("/server-side/batch-events", "/events/t"):
        assert (await client.post(path, content=text)).status_code == 400
    tags = {"tags": text} if depth < 10_000 else {"tags": "["}
    assert (await client.get("/server-side/push", params=tags)).status_code == 400
    assert json.loads((await client.get("/collector/totals")).text)["requests"] == 3


class Odd:
    """Neither text nor anything else of use."""


@pytest.mark.parametrize(
    "token", ["", " ", "a b", "x\r\n", "\xe9", "\ud800", b"token", 5, True, Odd], ids=ascii
)
def test_row_83_token_that_guards_nothing(token: Any) -> None:
    """A token that nobody could show, or everybody shows, is refused."""
    with pytest.raises(ValueError, match="token: must be a text"):
        Collector(token=token)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": 5}, "settings: must be JSON"),
        ({"settings": Odd}, "settings: must be JSON"),
        ({"settings": [5]}, "must be an object"),
        ({"ledger_path": 5}, "ledger_path: must be a path"),
        ({"ledger_path": ""}, "ledger_path: must be a path"),
        ({"ledger_path": "x\0"}, "ledger_path: must be a path"),
    ],
    ids=ascii,
)
def test_row_83_odd_options(options: dict[str, Any], words: str) -> None:
    """What the collector cannot use is named where it is made."""
    with pytest.raises(ValueError, match=words):
        Collector(**options)


@pytest.mark.parametrize(
    "plan",
    [
        {"times": "x"},
        {"headers": 5},
        {"headers": {1: "x"}},
        {"headers": {"a\r\nb": "x"}},
        {"headers": {"a": "b\r\nc: d"}},
        {"headers": {"a": "\u20ac"}},
        {"body": "text"},
    ],
    ids=ascii,
)
def test_row_83_odd_plans(collector: Collector, plan: dict[str, Any]) -> None:
    """An answer that cannot be sent is refused where it is planned."""
    with pytest.raises(ValueError, match="must be"):
        collector.answer_next(200, **plan)
