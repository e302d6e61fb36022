"""The page over HTTP: what it streams, explains, switches and hands out, and to whom."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from collector_wire import FOREIGN_ORIGINS, name_header
from plain_http import NO_AUTHORITIES
from sample import ACCOUNT, KEY
from sample import settings as make_settings
from waiting import until

from vwo_async import VWOClient
from vwo_async._collector.page.asset import SECURITY_HEADERS
from vwo_async.collector import Collector, Fault, serve
from vwo_async.collector.__main__ import main

pytestmark = pytest.mark.anyio

STATIC = Path(__file__).parents[2] / "src" / "vwo_async" / "_collector" / "page" / "static"
HOSTILE = "<img src=x onerror=alert(1)>"


class Messages:
    """The messages of one stream."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def read(self, wanted: str) -> Any:
        """Return the next message of that name, without those before it."""
        name = b""
        async with asyncio.timeout(20):
            while line := await self._reader.readline():
                if line.startswith(b"event: "):
                    name = line.removeprefix(b"event: ").strip()
                elif line.startswith(b"data: ") and name == wanted.encode():
                    return json.loads(line.removeprefix(b"data: "))
        raise AssertionError("the stream has ended")


@asynccontextmanager
async def watching(client: httpx.AsyncClient, **wanted: str) -> AsyncIterator[Messages]:
    """Open the stream as a browser does."""
    url = client.build_request("GET", "/collector/stream", params=wanted).url
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=2**24)
    target = url.raw_path.decode()
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {url.netloc.decode()}\r\n\r\n".encode())
    try:
        assert (await reader.readline()).split()[1] == b"200"
        yield Messages(reader)
    finally:
        writer.close()
        await writer.wait_closed()
        await until(is_idle)


def is_idle() -> bool:
    """Tell whether the server, which runs in this loop, has noticed that a browser is gone."""
    return not any("run_asgi" in repr(task) for task in asyncio.all_tasks())


# The page and its files


async def test_files(client: httpx.AsyncClient) -> None:
    """Every file of the page is served, nothing else is, and each under headers that bind a browser."""
    for path in STATIC.rglob("*"):
        if path.is_file():
            name = path.relative_to(STATIC)
            answer = await client.get(f"/collector/static/{name}")
            assert answer.content == path.read_bytes(), name
            assert answer.headers.items() >= SECURITY_HEADERS.items()
    page = await client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for wrong in ("../asset.py", "%2e%2e/asset.py", "/etc/passwd", "", "vendor", "page.css/x"):
        assert (await client.get(f"/collector/static/{wrong}")).status_code == 404


async def test_nothing_comes_from_elsewhere() -> None:
    """Neither page nor scripts name another host, and nothing in the page runs that is not a file."""
    for path in [*STATIC.glob("*.html"), *STATIC.glob("*.js"), *STATIC.glob("*.css")]:
        text = path.read_text()
        assert not re.findall(r"(?:https?:)?//[a-z]+\.", text), path.name
        assert not re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text
        )
        assert not re.findall(r"<script(?![^>]* src=)|<style|\son[a-z]+=|\sstyle=", text), path.name
    assert "script-src 'self';" in SECURITY_HEADERS["content-security-policy"]
    assert "unsafe" not in SECURITY_HEADERS["content-security-policy"]
    assert (STATIC / "vendor" / "uplot" / "LICENSE").read_text().startswith("The MIT License")


GUARDED = [
    ("GET", "stream"),
    ("GET", "series"),
    ("POST", "look-up"),
    ("GET", "fault"),
    ("PUT", "fault"),
    ("GET", "results.csv"),
    ("GET", "results.json"),
    ("GET", "entries.csv"),
    ("GET", "entries.json"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    "headers",
    [
        *FOREIGN_ORIGINS,
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example"},
    ],
    ids=name_header,
)
async def test_a_foreign_origin_gets_nothing(
    wire: Any, client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]
) -> None:
    """A page of another origin neither reads what arrived nor switches a fault on."""
    await wire.track_user().send(client)
    body = b'{"fault": "cut", "user_id": "a"}'
    answer = await client.request(method, f"/collector/{path}", headers=headers, content=body)
    assert answer.status_code == 403
    assert wire.visitor not in answer.text
    assert "access-control-allow-origin" not in answer.headers
    assert (await client.get("/collector/fault")).json()["fault"] is None


async def test_the_page_under_a_foreign_name(client: httpx.AsyncClient) -> None:
    """A name that was pointed at this machine shows no page; a link from elsewhere may be followed."""
    assert (await client.get("/", headers={"Host": "evil.example"})).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await client.get("/", headers=link)).status_code == 200


async def test_the_token_beyond_loopback() -> None:
    """Beyond loopback the page is shown to anybody, and what it shows to those with the token alone."""
    collector = Collector()
    async with (
        serve(collector, host="0.0.0.0") as base_url,
        httpx.AsyncClient(
            base_url=base_url.replace("0.0.0.0", "127.0.0.1"), verify=NO_AUTHORITIES
        ) as client,
    ):
        assert (await client.get("/")).status_code == 200
        for method, path in GUARDED:
            answer = await client.request(method, f"/collector/{path}", content=b"{}")
            assert answer.status_code == 403
        async with watching(client, token=str(collector.token)) as messages:
            assert await messages.read("state")


# The stream


async def test_stream(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """A page is told everything at first and then what is new, with what was wrong in refused requests."""
    await wire.track_user().send(client)
    async with watching(client) as messages:
        state = await messages.read("state")
        assert (state["totals"]["events"], state["fault"], state["latency_s"]) == (1, None, 0)
        campaigns = {one["key"]: one for one in await messages.read("campaigns")}
        assert list(campaigns) == ["button", "title", "footer"]
        assert campaigns["button"]["visitors"] == 1
        first = await messages.read("entries")
        await wire.track_goal(goal=502, revenue="2.50").send(client)
        await wire.track_user(campaign=999).send(client)
        changed = await messages.read("campaigns")
        assert [one["key"] for one in changed] == ["button"]
        second = await messages.read("entries")
        await client.post("/collector/reset")
        await messages.read("reset")
        assert (await messages.read("state"))["totals"]["events"] == 0
    assert [one["kind"] for one in first["entries"]] == ["user"]
    kinds = {one["kind"]: one for one in second["entries"]}
    assert kinds["goal"]["revenue"] == "2.50"
    assert (kinds["refused"]["status"], kinds["refused"]["text"]) == (
        400,
        "experiment_id: no campaign of the settings file",
    )


async def test_statistics_of_a_campaign(wire: Any, client: httpx.AsyncClient) -> None:
    """A campaign is told with rates, intervals, revenue for each visitor, uplift and a mismatch."""
    items = [wire.user_item(f"{number:032X}") for number in range(300)]
    for number, item in enumerate(items):
        item["c"] = 1 if number < 200 else 2
    goals = [
        wire.goal_item(502, u=f"{number:032X}", c=1 if number < 200 else 2, r="4")
        for number in range(180, 240)
    ]
    assert (await wire.batch(*items, *goals).send(client)).status_code == 200
    campaign = (await client.get("/collector/results.json")).json()[0]
    control, green = campaign["variations"]
    place = [goal["name"] for goal in campaign["goals"]].index("order")
    order, theirs = green["goals"][place], control["goals"][place]
    assert (control["is_control"], green["is_control"]) == (True, False)
    assert (theirs["converted"], theirs["rate"]) == (20, 0.1)
    assert (order["converted"], order["conversions"], order["rate"]) == (40, 40, 0.4)
    assert order["low"] < 0.4 < order["high"]
    assert (order["revenue"], order["revenue_per_visitor"]) == ("160", "1.6")
    assert order["uplift"] == pytest.approx(3.0)
    assert order["probability"] > 0.999
    assert theirs["uplift"] is theirs["probability"] is None
    assert campaign["ratio"]["is_mismatch"]


async def test_filter(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """The stream has only what is asked for: of one user by UUID, of a campaign, of a kind."""
    await wire.track_user(41).send(client)
    await wire.track_user(42, 1, u=wire.other).send(client)
    await wire.track_user(999).send(client)
    campaign = f"fullstack/{wire.account}/42"
    for wanted, visitors in (
        ({"user": wire.visitor}, [wire.visitor]),
        ({"user": wire.visitor.lower()}, [wire.visitor]),
        ({"user": wire.other[:8].lower()}, [wire.other]),
        ({"campaign": campaign}, [wire.other]),
        ({"kind": "user"}, [wire.other, wire.visitor]),
        ({"kind": "refused"}, [""]),
        ({"kind": "user", "campaign": campaign}, [wire.other]),
    ):
        async with watching(client, **wanted) as messages:
            found = await messages.read("entries")
            assert [one["visitor"] for one in found["entries"]] == visitors, wanted
    for wrong in (
        {"kind": "x"},
        {"campaign": "x"},
        {"campaign": "a/b/²"},
        {"campaign": "9" * 5000},
    ):
        assert (await client.get("/collector/stream", params=wrong)).status_code == 400


@pytest.mark.parametrize("file", [make_settings(), None], ids=["settings", "no settings"])
async def test_filter_by_user_id(file: Any) -> None:
    """A user is found by his own id, although events name him by a UUID alone."""
    collector = Collector(file)
    async with (
        serve(collector) as base_url,
        VWOClient(make_settings(), base_url=base_url) as vwo,
        httpx.AsyncClient(base_url=base_url, trust_env=False, verify=NO_AUTHORITIES) as client,
    ):
        for user_id in ("anna", HOSTILE):
            await vwo.activate("checkout", user_id)
            await vwo.flush_events()
            async with watching(client, user=user_id) as messages:
                found = await messages.read("entries")
            assert [one["kind"] for one in found["entries"]] == ["user"]


async def test_a_page_that_stays_open_does_not_hold_the_end(collector: Collector) -> None:
    """Open streams and requests that hang end with the server, without its grace."""
    async with httpx.AsyncClient(trust_env=False, verify=NO_AUTHORITIES, timeout=30) as client:
        async with asyncio.timeout(1.5 * 5), serve(collector) as base_url:
            stream = await client.send(
                client.build_request("GET", f"{base_url}/collector/stream"), stream=True
            )
            collector.fault = Fault.HANG
            hanging = asyncio.create_task(client.get(f"{base_url}/server-side/push"))
            await until(lambda: collector.totals().answered == 1)
        with pytest.raises(httpx.TransportError):
            await hanging
        await stream.aclose()


# Faults


@pytest.mark.parametrize("fault", ["500", "429", "403"])
async def test_fault_of_a_status(
    wire: Any, collector: Collector, client: httpx.AsyncClient, fault: str
) -> None:
    """Every request of an SDK is answered so, and nothing is recorded, until the fault is switched off."""
    assert (await client.put("/collector/fault", json={"fault": fault})).json()["fault"] == fault
    for call in (wire.track_user(), wire.retrieval(), wire.batch()):
        assert (await call.send(client)).status_code == int(fault)
    assert collector.totals().answered == 3
    assert (await client.get("/collector/totals")).status_code == 200
    await client.put("/collector/fault", json={"fault": None})
    assert (await wire.track_user().send(client)).status_code == 200
    assert len(collector.ledger) == 1


async def test_fault_cut(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """The connection is closed without an answer, and the collector goes on."""
    collector.fault = Fault.CUT
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await wire.track_user().send(client)
    assert (await client.get("/collector/fault")).json()["fault"] == "cut"
    collector.fault = None
    assert (await wire.track_user().send(client)).status_code == 200
    assert len(collector.ledger) == 1


async def test_fault_hang(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """No answer comes while the fault is on; when it is switched off the connections close."""
    collector.fault = Fault.HANG
    waiting = [asyncio.create_task(wire.track_user().send(client)) for _ in range(3)]
    await until(lambda: collector.totals().answered == 3)
    done, _ = await asyncio.wait(waiting, timeout=0.2)
    assert not done
    waiting[0].cancel()
    await client.put("/collector/fault", json={"fault": None})
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(one, httpx.TransportError) for one in found[1:]] == [True, True]
    assert len(collector.ledger) == 0
    assert (await wire.track_user().send(client)).status_code == 200


async def test_latency_and_planned_answers(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """The delay is set in seconds; answers that were planned go before a fault."""
    found = await client.put("/collector/fault", json={"latency_s": 0.25})
    assert found.json() == {"fault": None, "latency_s": 0.25}
    assert collector.latency_s == 0.25
    collector.latency_s = 0
    collector.fault = "500"
    collector.answer_next(429)
    assert [(await wire.track_user().send(client)).status_code for _ in range(2)] == [429, 500]


@pytest.mark.parametrize(
    "asked",
    [
        b"",
        b"{",
        b"[]",
        b'{"fault": 500}',
        b'{"fault": "x"}',
        b'{"fault": []}',
        b'{"latency_s": -1}',
        b'{"latency_s": "1"}',
        b'{"latency_s": true}',
        b'{"latency_s": NaN}',
        b'{"latency_s": 1e999}',
        b'{"latency_s": null}',
        b'{"fault": "cut", "latency_s": 3601}',
    ],
    ids=ascii,
)
async def test_a_fault_that_is_none(
    collector: Collector, client: httpx.AsyncClient, asked: bytes
) -> None:
    """What cannot be switched on is refused, and nothing changes."""
    answer = await client.put("/collector/fault", content=asked)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert (collector.fault, collector.latency_s) == (None, 0)
    with pytest.raises(ValueError, match="not a valid Fault"):
        collector.fault = "x"


# The look-up


async def test_look_up_is_what_explain_says(command: Any) -> None:
    """The page explains what ``vwo-async explain`` does, for files of both products."""
    files = [Path(one).read_bytes() for one in (command.fullstack, command.fme)]
    async with (
        serve(Collector(files)) as base_url,
        httpx.AsyncClient(base_url=base_url, trust_env=False, verify=NO_AUTHORITIES) as client,
    ):
        asked = {"user_id": "Ashley", "custom_variables": {"plan": "pro"}}
        found = (await client.post("/collector/look-up", json=asked)).json()["files"]
        one = (await client.post("/collector/look-up", json={**asked, "key": "search"})).json()
        for file, source in zip(found, (command.fullstack, command.fme), strict=True):
            said = await asyncio.to_thread(
                command.ask, "explain", "Ashley", "--var", "plan=pro", "-s", source
            )
            assert file["decisions"] == list(said.values())
        assert [one["feature_key"] for one in one["files"][1]["decisions"]] == ["search"]


async def test_look_up_shows_what_arrived(wire: Any, tmp_path: Path) -> None:
    """With the decision come the user's UUID and the events that arrived of him."""
    collector = Collector(make_settings())
    async with (
        serve(collector) as base_url,
        VWOClient(make_settings(), base_url=base_url) as vwo,
        httpx.AsyncClient(base_url=base_url, trust_env=False, verify=NO_AUTHORITIES) as client,
    ):
        await vwo.activate("checkout", "anna")
        await vwo.flush_events()
        found = (await client.post("/collector/look-up", json={"user_id": "anna"})).json()
        assert found["files"][0]["visitor"] == collector.ledger[0].visitor
        assert [one["kind"] for one in found["entries"]] == ["user"]
        assert KEY not in json.dumps(found)
        assert found["files"][0]["account_id"] == str(ACCOUNT)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"user_id": 5},
        {"user_id": ""},
        {"user_id": "\ud800"},
        {"user_id": "a", "key": 5},
        {"user_id": "a", "custom_variables": "x"},
        {"user_id": "a", "user_agent": []},
        {"user_id": "a", "other": 1},
        [],
    ],
    ids=ascii,
)
async def test_a_question_that_is_none(asked: Any) -> None:
    """What cannot be decided is answered with what is wrong."""
    async with (
        serve(Collector(make_settings())) as base_url,
        httpx.AsyncClient(base_url=base_url, trust_env=False, verify=NO_AUTHORITIES) as client,
    ):
        answer = await client.post("/collector/look-up", content=json.dumps(asked))
        assert answer.status_code == 400
        assert answer.json()["error"]


async def test_look_up_of_a_file_that_no_client_could_use(
    client: httpx.AsyncClient, wire: Any
) -> None:
    """A settings file that the SDK refuses is named as such, and the others are explained."""
    file = {**wire.settings, "campaigns": [{**wire.settings["campaigns"][0], "status": 5}]}
    await client.put("/collector/settings", content=json.dumps(file))
    found = (await client.post("/collector/look-up", json={"user_id": "a"})).json()["files"]
    assert found[0]["decisions"] == []
    assert found[0]["error"]
    assert wire.key not in found[0]["error"]


# Downloads


async def test_downloads(wire: Any, client: httpx.AsyncClient) -> None:
    """Results and events are there as CSV and JSON, as files to keep."""
    await wire.track_user().send(client)
    await wire.track_goal(goal=502, revenue="2.50").send(client)
    answer = await client.get("/collector/results.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="vwo-results.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    found = [
        row
        for row in rows
        if (row["key"], row["goal"], row["name"]) == ("button", "order", "Green")
    ]
    assert [(row["visitors"], row["converted"], row["revenue"]) for row in found] == [
        ("1", "1", "2.50")
    ]
    events = list(csv.DictReader(io.StringIO((await client.get("/collector/entries.csv")).text)))
    assert [row["kind"] for row in events] == ["user", "goal"]
    assert len((await client.get("/collector/entries.json")).json()) == 2
    assert len((await client.get("/collector/results.json")).json()) == 3


async def test_a_download_has_no_formula(wire: Any) -> None:
    """A text that a spreadsheet would run is kept from it, and numbers stay numbers."""
    settings = wire.settings
    settings["campaigns"][0]["key"] = "=HYPERLINK(1)"
    settings["campaigns"][0]["variations"][0]["name"] = "-1"
    settings["campaigns"][0]["variations"][1]["name"] = 'a;=1;"@x";b-1\n+2;; =3'
    settings["campaigns"][0]["goals"][0]["identifier"] = "\uff1d1"
    async with serve(Collector(settings)) as base_url, wire.client(base_url) as client:
        rows = list(csv.DictReader(io.StringIO((await client.get("/collector/results.csv")).text)))
    assert rows[0]["key"] == "'=HYPERLINK(1)"
    assert rows[0]["name"] == "-1"
    assert rows[0]["goal"] == "'\uff1d1"
    # Also where a spreadsheet takes the semicolons and line ends within a text for those of the table.
    other = next(one["name"] for one in rows if one["name"].startswith("a"))
    assert other == "a;'=1;'\"@x\";b-1\n'+2;; =3"


# The process


def test_the_process_prints_its_page(tmp_path: Path) -> None:
    """The address of the page is printed, and with ``--state`` a restart goes on where the last one ended."""
    state = tmp_path / "state.json"
    command = [sys.executable, "-m", "vwo_async.collector", "--state", str(state)]
    for requests in (1, 2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            base_url = process.stdout.readline().removeprefix("listening on ").strip()
            assert process.stdout.readline() == f"page: {base_url}/\n"
            assert (
                httpx.get(f"{base_url}/", trust_env=False, verify=NO_AUTHORITIES).status_code == 200
            )
            httpx.get(f"{base_url}/nothing", trust_env=False, verify=NO_AUTHORITIES)
            found = httpx.get(
                f"{base_url}/collector/totals", trust_env=False, verify=NO_AUTHORITIES
            ).json()
            process.send_signal(signal.SIGTERM)
        assert (found["requests"], found["refused"]) == (requests, requests)


@pytest.mark.parametrize(
    ("text", "fault"), [(None, "No such file"), ("{", "not JSON"), ("{}", "a file cannot be used")]
)
def test_the_process_says_which_file_is_at_fault(
    text: str | None, fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A settings file that cannot be used is one line, and no traceback."""
    file = tmp_path / "settings.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["--settings", str(file)])
    assert ended.value.code == 2
    assert fault in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("--port {taken}", "127.0.0.1:{taken}: Address already in use"),
        ("--port 65536", "65536 is no port"),
        ("--host 192.0.2.1", "192.0.2.1:0: Cannot assign requested address"),
        ("--state {file}", "state_path: the file is not one"),
        ("--state {file}/state", "Not a directory"),
        ("--ledger {file}/ledger", "Not a directory"),
    ],
)
def test_the_process_says_why_it_does_not_start(
    arguments: str, fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An address or a file that cannot be used is one line, and no traceback."""
    file = tmp_path / "file"
    file.write_text("no state")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        names = {"file": file, "taken": listener.getsockname()[1]}
        with pytest.raises(SystemExit) as ended:
            main(arguments.format(**names).split())
    assert ended.value.code == 2
    assert fault.format(**names) in capfd.readouterr().err.splitlines()[-1]
