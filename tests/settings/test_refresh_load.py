"""Loading and refreshing a settings file of six megabytes does not block the event loop."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sample import ACCOUNT, KEY, campaign, settings, variation

from vwo_async import SettingsChange, SettingsSource, VWOClient
from vwo_async.transport import Answer, Request

sys.path.insert(0, str(Path(__file__).parent.parent / "faults"))

from rig import Pulse, steady_loop

pytestmark = [pytest.mark.anyio, pytest.mark.no_debug, pytest.mark.timeout(180)]

CAMPAIGNS = 7700
# What one service asks for of them.
USED = 40
CALLS_PER_TICK = 50
TICK_S = 0.005


class Sink:
    """A transport that accepts every request and records none."""

    async def send(self, request: Request) -> Answer:
        return Answer(200)

    async def aclose(self) -> None:
        pass


def make_campaign(number: int, traffic: int) -> dict[str, Any]:
    city = {"custom_variable": {"city": f"wildcard(*berg{number}*)"}}
    mail = {"custom_variable": {"mail": f"regex(^a{number}[^@]*@example)"}}
    plan = {"custom_variable": {"plan": "lower(pro)"}}
    return campaign(
        number,
        f"campaign-{number}",
        percentTraffic=traffic,
        segments={"and": [{"or": [plan, city]}, {"not": mail if number % 10 == 0 else city}]},
        isForcedVariationEnabled=number % 3 == 0,
        variations=[
            variation(1, "Control", 50, segments={"or": [{"user": "Ashley,Bill"}]}),
            variation(2, "Variation-1", 50),
        ],
    )


def make_file(version: int) -> str:
    """Return a file in which the traffic of every campaign differs from the version before."""
    traffic = 100 - version
    campaigns = (make_campaign(number, traffic) for number in range(1, CAMPAIGNS + 1))
    return json.dumps(settings(*campaigns, version=version))


class Load:
    """Calls without an end, a burst at each tick."""

    def __init__(self, client: VWOClient) -> None:
        self._client = client
        self.calls = 0

    async def run(self) -> None:
        while True:
            for _ in range(CALLS_PER_TICK):
                self.calls += 1
                result = await self._client.track(
                    f"campaign-{self.calls % USED + 1}",
                    f"user{self.calls}",
                    "signup",
                    custom_variables={"plan": "pro"},
                )
                assert len(result) == 1
            await asyncio.sleep(TICK_S)


class FileServer:
    """Serves a settings file in a process of its own."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self._folder = folder
        self.base_url = base_url

    def show(self, body: str) -> None:
        """Answer *body* from now on, to polls and to webhooks."""
        for name in ("settings", "pull"):
            new = self._folder / f"{name}.new"
            new.write_text(body)
            new.replace(self._folder / name)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    folder = tmp_path / "vwo" / "server-side"
    folder.mkdir(parents=True)
    root = str(folder.parent)
    arguments = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", root]
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().partition(" port ")[2].split(" ")[0]
            yield FileServer(folder, f"http://127.0.0.1:{port}")
        finally:
            process.kill()


@asynccontextmanager
async def under_load(client: VWOClient) -> AsyncIterator[Load]:
    load = Load(client)
    task = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def describe(name: str, pulse: Pulse) -> str:
    """Return the delays of the event loop as one line."""
    ordered = sorted(pulse.delays_s)
    p99, most = ordered[len(ordered) * 99 // 100], ordered[-1]
    return f"{name}: {len(ordered)} ticks, p99 {p99 * 1000:.1f} ms, max {most * 1000:.1f} ms"


@pytest.mark.timed
async def test_large_file_under_load(server: FileServer, tmp_path: Path) -> None:
    """Loading, refreshing and comparing six megabytes does not block the event loop; calls go on."""
    bodies = [make_file(version) for version in (1, 2, 3)]
    assert min(map(len, bodies)) >= 6_000_000
    heard: list[SettingsChange] = []
    figures = []
    server.show(bodies[0])
    source = SettingsSource(
        ACCOUNT,
        KEY,
        poll_interval_s=None,
        last_known_good=tmp_path / "settings.json",
        base_url=server.base_url,
    )
    async with steady_loop() as pulse:
        found = await source.load()
        client = VWOClient(
            found, settings_source=source, transport=Sink(), on_settings_change=heard.append
        )
    figures.append(describe("load", pulse))
    async with client, under_load(client) as load:
        for version, body in enumerate(bodies[1:], start=2):
            await asyncio.to_thread(server.show, body)
            before = load.calls
            async with steady_loop() as pulse:
                assert await client.refresh_settings() is True
                # The same again, which is not read.
                assert await client.refresh_settings() is True
            figures.append(describe("refresh", pulse))
            assert load.calls - before > 1000
            assert client.settings.version == version
    statistics = client.statistics()
    sys.stdout.write("\n".join(figures))
    assert statistics.settings_refreshes == 2
    assert statistics.settings_errors == statistics.settings_keep_errors == 0
    assert statistics.accepted > 1000
    assert [len(change.traffic) for change in heard] == [CAMPAIGNS, CAMPAIGNS]


@pytest.mark.timed
@pytest.mark.parametrize("kind", ["cut off", "one bad campaign", "of another account"])
async def test_bad_large_file_under_load(server: FileServer, kind: str) -> None:
    """A large file that is refused blocks the event loop no more than a valid one."""
    body = make_file(2)
    if kind == "cut off":
        body = body[: len(body) * 9 // 10]
    elif kind == "one bad campaign":
        head, _, tail = body.rpartition('"percentTraffic": 98')
        body = f'{head}"percentTraffic": 980{tail}'
    else:
        body = body.replace(f'"accountId": {ACCOUNT}', '"accountId": 5')
    server.show(body)
    source = SettingsSource(ACCOUNT, KEY, poll_interval_s=None, base_url=server.base_url)
    file = settings(*(make_campaign(number, 100) for number in range(1, USED + 1)))
    client = VWOClient(file, settings_source=source, transport=Sink())
    async with client, under_load(client), steady_loop() as pulse:
        assert await client.refresh_settings() is False
    sys.stdout.write(describe(kind, pulse))
    assert client.statistics().settings_refreshes == 0
    assert client.statistics().settings_errors == 1
