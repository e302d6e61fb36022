"""Settings sources: loading, polling, webhooks, and starting without VWO."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from own_time import Stopwatch
from port import find_free_port
from sample import ACCOUNT, KEY, campaign, settings
from server import Received, Server, answer, running_server
from waiting import until

from vwo_async import (
    ClosedError,
    DeliveryError,
    InvalidInputError,
    Settings,
    SettingsChange,
    SettingsError,
    SettingsSource,
    VWOClient,
    WrongLoopError,
    fetch_settings,
)
from vwo_async._refresh import source as source_module
from vwo_async._sdk_key import SdkKey
from vwo_async._settings.last_known_good import LastKnownGood
from vwo_async._settings.seal import UnusableError
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Timeouts

pytestmark = pytest.mark.anyio

OLD = settings()
NEW = settings(campaign(11, "checkout", percentTraffic=30), campaign(17, "fresh"), version=2)
QUICK = Timeouts(connect_s=1, read_s=1, write_s=1, total_s=1)


def serve(server: Server, file: Any, status: int = 200) -> None:
    """Let *server* answer with *file* from now on."""
    server.default = answer(status, body=file if isinstance(file, bytes) else dump(file))


def dump(file: Any) -> bytes:
    return json.dumps(file).encode()


def make_source(server: Server | None = None, **changes: Any) -> SettingsSource:
    """Return a source without a minimum interval; without a server its port is closed."""
    base_url = f"http://127.0.0.1:{find_free_port()}" if server is None else server.base_url
    options: dict[str, Any] = {
        "poll_interval_s": None,
        "min_refresh_interval_s": 0.0,
        "base_url": base_url,
        "timeouts": QUICK,
    }
    return SettingsSource(ACCOUNT, KEY, **{**options, **changes})


def make_client(found: Any, source: SettingsSource | None, **options: Any) -> VWOClient:
    return VWOClient(found, settings_source=source, transport=RecordingTransport(), **options)


@asynccontextmanager
async def serving(
    source_options: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[VWOClient, Server]]:
    """Run a server with the old file, and a client that has loaded it."""
    async with running_server() as server:
        serve(server, OLD)
        source = make_source(server, **(source_options or {}))
        async with make_client(await source.load(), source, **options) as client:
            yield client, server


async def keep(path: Path, body: bytes, wall_s: float) -> None:
    """Keep a settings file on disk, as an earlier process did."""
    keeper = LastKnownGood(path, ACCOUNT, SdkKey(KEY), max_age_s=1)
    await asyncio.to_thread(keeper.save, body, wall_s)


def paths_of(server: Server) -> list[str]:
    return [urlsplit(one.target).path for one in server.requests]


def mentions(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


# Loading


async def test_load() -> None:
    """Settings are loaded from VWO, and the statistics say so."""
    async with serving() as (client, server):
        assert client.settings.account_id == ACCOUNT
        assert await client.get_variation_name("checkout", "Ashley") == "Control"
        statistics = client.statistics()
        assert statistics.settings_origin == "vwo"
        assert statistics.settings_age_s is not None
        assert 0 <= statistics.settings_age_s < 5
        assert statistics.settings_refreshes == statistics.settings_errors == 0
        assert paths_of(server) == ["/server-side/settings"]


async def test_settings_that_were_given() -> None:
    """The age of settings that the source did not load is unknown."""
    async with make_client(settings(), make_source()) as client:
        assert client.statistics().settings_origin == "given"
        assert client.statistics().settings_age_s is None
    async with make_client(settings(), None) as client:
        assert client.statistics().settings_origin == "given"


async def test_load_fails() -> None:
    """Without VWO and without a last known good file, loading raises with the reason."""
    with pytest.raises(DeliveryError):
        await make_source().load()
    async with running_server() as server:
        serve(server, b"<html>")
        with pytest.raises(SettingsError):
            await make_source(server).load()
        serve(server, b"", 503)
        with pytest.raises(DeliveryError):
            await make_source(server).load()


async def test_start_without_vwo(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without VWO a service starts with the last known good file, says so, and updates when it can."""
    path = tmp_path / "settings.json"
    async with running_server() as server:
        serve(server, OLD)
        await make_source(server, last_known_good=path).load()
    source = make_source(last_known_good=path, wall_clock=lambda: time.time() + 100)
    heard: list[SettingsChange] = []
    found = await source.load()
    assert mentions(caplog, "the last known good ones are used, 10") == 1
    async with make_client(found, source, on_settings_change=heard.append) as client:
        assert await client.get_variation_name("checkout", "Ashley") == "Control"
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result["checkout"].variation_name == "Control"
        statistics = client.statistics()
        assert statistics.settings_origin == "disk"
        assert statistics.settings_age_s == pytest.approx(100, abs=20)
        # Events are sent with the key, although the file has none.
        assert client.settings.sdk_key is not None
        assert client.settings.sdk_key.get_secret_value() == KEY
        assert await client.refresh_settings() is False
        assert client.statistics().settings_errors == 1
    async with running_server() as server:
        serve(server, b"", 503)
        source = make_source(server, last_known_good=path)
        async with make_client(
            await source.load(), source, on_settings_change=heard.append
        ) as client:
            assert client.statistics().settings_origin == "disk"
            serve(server, OLD)
            assert await client.refresh_settings() is True
            assert client.statistics().settings_origin == "vwo"
            assert client.statistics().settings_refreshes == 1
            assert client.statistics().settings_age_s == pytest.approx(0, abs=5)
    assert not heard


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"account_id": 5}, "of another account or SDK key"),
        ({"sdk_key": "other"}, "of another account or SDK key"),
        ({"max_age_s": 50}, "too old"),
        ({"last_known_good": "elsewhere"}, "there is none"),
    ],
    ids=range(4),
)
async def test_start_with_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], why: str
) -> None:
    """A last known good file that cannot be used counts as none; one line gives the reason."""
    path = tmp_path / "settings.json"
    await keep(path, dump(OLD), time.time() - 100)
    options = {"account_id": ACCOUNT, "sdk_key": KEY, "last_known_good": path, **changes}
    if isinstance(options["last_known_good"], str):
        options["last_known_good"] = tmp_path / options["last_known_good"]
    source = SettingsSource(
        base_url=f"http://127.0.0.1:{find_free_port()}", timeouts=QUICK, **options
    )
    with pytest.raises(DeliveryError):
        await source.load()
    lines = [one.getMessage() for one in caplog.records if one.name == "vwo_async"]
    assert len(lines) == 1
    assert why in lines[0]
    assert str(tmp_path) not in lines[0]


async def test_start_with_no_settings_on_disk(tmp_path: Path) -> None:
    """A correctly signed file that is not a valid settings file (any more) is refused too."""
    path = tmp_path / "settings.json"
    await keep(path, b'{"accountId": 1}', time.time())
    with pytest.raises(DeliveryError):
        await make_source(last_known_good=path).load()


async def test_bad_answer_at_start(tmp_path: Path) -> None:
    """If VWO's answer cannot be used, the last known good file is used too."""
    path = tmp_path / "settings.json"
    await keep(path, dump(OLD), time.time())
    async with running_server() as server:
        serve(server, b"{}")
        source = make_source(server, last_known_good=path)
        async with make_client(await source.load(), source) as client:
            assert client.statistics().settings_origin == "disk"
            assert json.loads(path.read_bytes().partition(b"\n")[2])["version"] == 1


async def test_two_loops() -> None:
    """Settings that were loaded in one event loop can be used in another."""

    async def load() -> tuple[Settings, SettingsSource]:
        async with running_server() as server:
            serve(server, OLD)
            source = make_source(server)
            return await source.load(), source

    async def use(found: Settings, source: SettingsSource) -> str:
        async with make_client(found, source) as client:
            await client.refresh_settings()
            return client.statistics().settings_origin

    def run() -> str:
        return asyncio.run(use(*asyncio.run(load())))

    assert await asyncio.to_thread(run) == "vwo"


# Refreshing

BAD: dict[str, tuple[int, bytes]] = {
    "empty": (200, b""),
    "empty object": (200, b"{}"),
    "list": (200, b"[]"),
    "page": (200, b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"),
    "cut off": (200, dump(NEW)[:-10]),
    "other account": (200, dump(settings(accountId=5))),
    "other key": (200, dump(settings(sdkKey="other"))),
    "no version": (200, b'{"accountId": 888888, "campaigns": []}'),
    "campaign without status": (200, dump(settings({"id": 1, "key": "a", "type": "VISUAL_AB"}))),
    "weight too high": (200, dump(NEW).replace(b'"weight": 50', b'"weight": 500')),
    "two of one key": (200, dump(settings(campaign(1, "a"), campaign(2, "a")))),
    "not UTF-8": (200, dump(NEW).replace(b"fresh", b"fr\xffsh")),
    "too deep": (
        200,
        dump(NEW).replace(b'"segments": {}', b'"segments": ' + b'{"not":' * 60 + b"{}" + b"}" * 60),
    ),
    "oversized": (200, b"{" + b" " * 10_000_001),
    "400": (400, dump(NEW)),
    "404": (404, b"not found"),
    "500": (500, dump(NEW)),
    "redirect": (307, dump(NEW)),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_answers(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No bad answer replaces good settings, in memory or on disk; failures are counted and logged."""
    heard: list[SettingsChange] = []
    path = tmp_path / "settings.json"
    async with serving({"last_known_good": path}, on_settings_change=heard.append) as (
        client,
        server,
    ):
        good, on_disk = client.settings, path.read_bytes()
        status, body = BAD[name]
        serve(server, body, status)
        for _ in range(5):
            assert await client.refresh_settings() is False
        assert client.settings is good
        assert await client.get_variation_name("checkout", "Ashley") == "Control"
        assert client.statistics().settings_errors == 5
        assert client.statistics().settings_refreshes == 0
        assert client.statistics().settings_origin == "vwo"
        # The 1st, 2nd and 4th.
        assert mentions(caplog, "the settings stay as they are") == 3
        serve(server, NEW)
        assert await client.refresh_settings() is True
        assert client.settings.version == 2
    assert [change.started for change in heard] == [("fresh",)]
    assert path.read_bytes() != on_disk


async def test_log_tells_kinds_apart(caplog: pytest.LogCaptureFixture) -> None:
    """A new kind of failure is logged at once, however many there were of another kind."""
    async with serving() as (client, server):
        for status in [500] * 9 + [503] + [500] * 3:
            serve(server, b"", status)
            await client.refresh_settings()
        assert mentions(caplog, "status 500") == 4
        assert mentions(caplog, "status 503") == 1


async def test_no_answer() -> None:
    """A server that hangs or disconnects makes the refresh fail in time, and nothing else."""

    async def hang(_: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async def hang_up(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving({"timeouts": Timeouts(total_s=0.3)}) as (client, server):
        for reply in (hang, hang_up):
            server.default = reply
            async with asyncio.timeout(5):
                assert await client.refresh_settings() is False
        serve(server, NEW)
        assert await client.refresh_settings() is True


async def test_same_file() -> None:
    """The same bytes are not parsed or compiled again; only the age of the settings starts again."""
    heard: list[SettingsChange] = []
    async with serving(on_settings_change=heard.append) as (client, _):
        snapshot = client._engine.snapshot
        await asyncio.sleep(0.3)
        before = client.statistics().settings_age_s
        assert await client.refresh_settings() is True
        assert client._engine.snapshot is snapshot
        after = client.statistics().settings_age_s
        assert before is not None and after is not None and after < before
        assert client.statistics().settings_refreshes == 0
    assert not heard


async def test_same_meaning() -> None:
    """A file that differs only in form is put in force, but no change is reported."""
    heard: list[SettingsChange] = []
    async with serving(on_settings_change=heard.append) as (client, server):
        serve(server, json.dumps(OLD, indent=1).encode())
        assert await client.refresh_settings() is True
        assert client.statistics().settings_refreshes == 1
    assert not heard


async def test_change() -> None:
    """The hook is called once with the change, after the new file is in force."""
    heard: list[tuple[SettingsChange, object]] = []

    def hear(change: SettingsChange) -> None:
        heard.append((change, client.settings.version))

    async with serving(on_settings_change=hear) as (client, server):
        serve(server, NEW)
        assert await client.refresh_settings() is True
        assert await client.refresh_settings() is True
        await asyncio.sleep(0)
    ((change, version),) = heard
    assert change.started == ("fresh",)
    assert change.traffic == {"checkout": (100, 30)}
    assert "search" in change.stopped
    assert version == 2


async def test_change_in_async_function() -> None:
    """The hook may be async, raise, refresh again, or close the client."""
    steps: list[str] = []

    async def hear(change: SettingsChange) -> None:
        steps.append("called")
        await client.refresh_settings()
        steps.append("refreshed")
        await client.aclose()
        raise ValueError

    async with serving(on_settings_change=hear) as (client, server):
        serve(server, NEW)
        await client.refresh_settings()
        await until(lambda: client.statistics().callback_errors == 1)
    assert steps == ["called", "refreshed"]


async def test_webhook_path() -> None:
    """A refresh uses the address for VWO's webhook calls, with account and key."""
    async with serving() as (client, server):
        await client.refresh_settings()
        assert paths_of(server)[1:] == ["/server-side/pull"]
        query = parse_qs(urlsplit(server.requests[1].target).query)
        assert query["a"] == [str(ACCOUNT)]
        assert query["i"] == [KEY]


async def test_many_at_once() -> None:
    """A hundred webhook calls at once are one request, or two if one is already running."""
    async with serving() as (client, server):
        server.requests.clear()
        results = await asyncio.gather(*(client.refresh_settings() for _ in range(100)))
        assert results == [True] * 100
        assert len(server.requests) == 1
        opened = asyncio.Event()

        async def wait(_: Received, writer: asyncio.StreamWriter) -> None:
            await opened.wait()
            await answer(body=dump(NEW))(_, writer)

        server.replies = [wait]
        server.requests.clear()
        calls = [asyncio.create_task(client.refresh_settings())]
        await until(lambda: len(server.requests) == 1)
        calls += [asyncio.create_task(client.refresh_settings()) for _ in range(100)]
        await asyncio.sleep(0.05)
        opened.set()
        assert await asyncio.gather(*calls) == [True] * 101
        assert len(server.requests) == 2


@pytest.mark.timed
async def test_rate() -> None:
    """However often it is called, requests keep the minimum interval."""
    times: list[float] = []

    async def note(request: Received, writer: asyncio.StreamWriter) -> None:
        times.append(time.monotonic())
        await answer(body=dump(OLD))(request, writer)

    async with serving({"min_refresh_interval_s": 0.2}) as (client, server):
        server.default = note
        ends_at = time.monotonic() + 1
        while time.monotonic() < ends_at:
            await client.refresh_settings()
    assert 2 <= len(times) <= 7
    assert all(after - before > 0.15 for before, after in pairwise(times))


async def test_overtaken() -> None:
    """An answer is not put in force if that of a later request already is."""
    async with serving() as (client, server):
        opened = asyncio.Event()

        async def late(request: Received, writer: asyncio.StreamWriter) -> None:
            await opened.wait()
            await answer(body=dump(settings(version="late")))(request, writer)

        server.replies = [late]
        server.requests.clear()
        slow = asyncio.create_task(client.get_and_update_settings_file())
        await until(lambda: len(server.requests) == 1)
        serve(server, NEW)
        assert await client.refresh_settings() is True
        opened.set()
        assert await slow is client.settings
        assert client.settings.version == 2


async def test_without_source() -> None:
    """A client without a source refreshes with account and key of its settings."""
    async with running_server() as server:
        serve(server, NEW)
        client = VWOClient(settings(), base_url=server.base_url, sdk_name="x")
        async with client:
            assert await client.refresh_settings() is True
            assert client.settings.version == 2
            assert client.statistics().settings_origin == "vwo"
        query = parse_qs(urlsplit(server.requests[0].target).query)
        assert (query["a"], query["i"], query["sdk"]) == ([str(ACCOUNT)], [KEY], ["x"])


async def test_without_key() -> None:
    """Settings without a key cannot be refreshed: false, or an error with strict."""
    file = settings()
    del file["sdkKey"]
    async with make_client(file, None) as client:
        assert await client.refresh_settings() is False
        assert await client.get_and_update_settings_file() is client.settings
    async with make_client(file, None, strict=True) as client:
        for call in (client.refresh_settings, client.get_and_update_settings_file):
            with pytest.raises(InvalidInputError):
                await call()
    async with running_server() as server:
        serve(server, OLD)
        async with make_client(file, make_source(server)) as client:
            assert await client.refresh_settings() is True


# Polling

SOON = {"poll_interval_s": 1.0}


async def test_polling() -> None:
    """While the client is open a change is found, reported to the hook, and used by calls."""
    heard: list[SettingsChange] = []
    async with serving(SOON, on_settings_change=heard.append) as (client, server):
        serve(server, NEW)
        began = time.monotonic()
        assert client.settings.version == 1
        await until(lambda: client.settings.version == 2)
        assert 0.5 < time.monotonic() - began < 3
        assert await client.track("fresh", "Ashley", "signup", wait=True)
        polls = len(server.requests)
        assert set(paths_of(server)) == {"/server-side/settings"}
        await asyncio.sleep(1.3)
        assert len(server.requests) - polls in (1, 2)
    closed_with = len(server.requests)
    assert [change.started for change in heard] == [("fresh",)]
    await asyncio.sleep(1.2)
    assert len(server.requests) == closed_with


async def test_polling_survives() -> None:
    """Neither bad answers nor our own errors end polling."""
    async with serving(SOON) as (client, server):
        settings_update: Any = client._engine.settings_refresh.settings_update
        real = settings_update._prepare
        failures = iter([RuntimeError(KEY)])

        def prepare(*arguments: Any) -> Any:
            for failure in failures:
                raise failure
            return real(*arguments)

        settings_update._prepare = prepare
        serve(server, NEW)
        await until(lambda: client.settings.version == 2)
        assert client.statistics().settings_errors == 1


async def test_polling_ends_with_opting_out() -> None:
    """After opting out there are no more requests, and a refresh is refused."""
    async with serving(SOON) as (client, server):
        await client.set_opt_out()
        server.requests.clear()
        assert await client.refresh_settings() is False
        assert await client.get_and_update_settings_file() is None
        await asyncio.sleep(1.3)
        assert not server.requests


@pytest.mark.timed
async def test_closing_does_not_wait() -> None:
    """A running poll or refresh does not delay closing; its caller is told that it failed."""

    async def hang(_: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async with serving({**SOON, "timeouts": Timeouts()}) as (client, server):
        server.default = hang
        server.requests.clear()
        await until(lambda: len(server.requests) == 1)
        waiting = asyncio.create_task(client.refresh_settings())
        await asyncio.sleep(0.01)
        watch = Stopwatch()
        await client.aclose()
        watch.assert_below(1)
        with pytest.raises(ClosedError):
            await waiting


async def test_usage() -> None:
    """Polling is in the usage statistics, as with the official SDKs; a source without polling is not."""
    for interval, expected in ((60.0, "1"), (None, None)):
        async with running_server() as server:
            source = make_source(server, poll_interval_s=interval)
            client = VWOClient(settings(), settings_source=source, base_url=server.base_url)
            async with client:
                await client.activate("checkout", "Ashley", wait=True)
            query = parse_qs(urlsplit(server.requests[-1].target).query)
            assert query.get("pi", [None])[0] == expected
            assert query.get("_l", [None])[0] == expected


# Keeping


async def read_version(path: Path) -> object:
    """Return the version of the settings file that is kept at *path*."""
    kept = await asyncio.to_thread(LastKnownGood(path, ACCOUNT, SdkKey(KEY), max_age_s=3600).load)
    return json.loads(kept.body)["version"]


async def test_keeping(tmp_path: Path) -> None:
    """Each new file is kept, without the SDK key; the same file is not written again."""
    path = tmp_path / "settings.json"
    async with serving({"last_known_good": path}) as (client, server):
        assert await read_version(path) == 1
        before = path.stat()
        await client.refresh_settings()
        assert path.stat().st_ino == before.st_ino
        serve(server, NEW)
        await client.refresh_settings()
        assert await read_version(path) == 2
        assert path.stat().st_mode & 0o777 == 0o600
        assert KEY.encode() not in path.read_bytes()
        serve(server, settings(version=3))
        await client.get_and_update_settings_file()
        assert await read_version(path) == 3


async def test_keeping_of_another_account(tmp_path: Path) -> None:
    """Settings of another account can be put in force by a call, but are not kept on disk."""
    path = tmp_path / "settings.json"
    async with serving({"last_known_good": path}) as (client, server):
        serve(server, settings(accountId=5, version=2))
        await client.get_and_update_settings_file(5)
        assert client.settings.account_id == 5
        assert await read_version(path) == 1


async def test_time_is_renewed(tmp_path: Path) -> None:
    """While VWO sends the same file again, the file on disk does not become too old."""
    path = tmp_path / "settings.json"
    now = [time.time()]
    changes = {"last_known_good": path, "wall_clock": lambda: now[0]}

    async def read_time() -> float:
        keeper = LastKnownGood(path, ACCOUNT, SdkKey(KEY), max_age_s=1e9, wall_clock=lambda: now[0])
        return (await asyncio.to_thread(keeper.load)).wall_s

    async with serving(changes) as (client, _):
        first = await read_time()
        now[0] += 1800
        await client.refresh_settings()
        assert await read_time() == first
        now[0] += 1801
        await client.refresh_settings()
        assert await read_time() == now[0]
        # The clock was put back.
        now[0] -= 7200
        await client.refresh_settings()
        assert await read_time() == now[0]


async def test_keeping_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If nothing can be written, loading and refreshing still work; failures are counted and logged."""
    path = tmp_path / "missing" / "settings.json"
    async with serving({"last_known_good": path}) as (client, server):
        assert client.statistics().settings_keep_errors == 1
        for version in range(2, 7):
            serve(server, settings(version=version))
            assert await client.refresh_settings() is True
            assert client.settings.version == version
        assert client.statistics().settings_keep_errors == 6
        assert client.statistics().settings_errors == 0
        assert mentions(caplog, "the settings could not be kept: ENOENT") == 3
        assert str(tmp_path) not in caplog.text
        path.parent.mkdir()
        assert await client.refresh_settings() is True
        assert await read_version(path) == 6


@contextmanager
def hanging_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let every sync of a file hang during the block; yields an event that is set when one hangs."""
    freed, entered = threading.Event(), threading.Event()

    def hang(number: int) -> None:
        entered.set()
        freed.wait()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", hang)
        patch.setattr(source_module, "DISK_TIMEOUT_S", 0.2)
        try:
            yield entered
        finally:
            freed.set()


async def test_hanging_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs does not block start, refresh or close, and is used again when it works."""
    path = tmp_path / "settings.json"
    async with running_server() as server:
        serve(server, OLD)
        source = make_source(server, last_known_good=path)
        with hanging_disk(monkeypatch) as entered:
            watch = Stopwatch()
            client = make_client(await source.load(), source)
            assert entered.is_set()
            async with client:
                for version in (2, 3, 4):
                    serve(server, settings(version=version))
                    assert await client.refresh_settings() is True
            watch.assert_below(2)
            assert client.statistics().settings_keep_errors == 4
            assert not path.exists()
        await until(path.exists)

        async def is_kept() -> bool:
            # The write that hung may not have ended wholly yet, and no other begins before that.
            await source.load()
            return await read_version(path) == 4

        await until(is_kept)


async def test_hanging_disk_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without VWO and with a disk that hangs, the start fails in time."""
    freed = threading.Event()

    def hang(_: LastKnownGood) -> Any:
        freed.wait()
        raise UnusableError("there is none")

    monkeypatch.setattr(LastKnownGood, "load", hang)
    monkeypatch.setattr(source_module, "DISK_TIMEOUT_S", 0.2)
    source = make_source(last_known_good=tmp_path / "settings.json")
    with pytest.raises(DeliveryError):
        await source.load()
    freed.set()


async def test_no_address_is_vwos() -> None:
    """A base_url of None, as of a variable of the environment that is not set, is VWO's, wherever one is given."""
    async with running_server() as proxy:
        proxy.default = answer(403)
        nowhere: Any = {"base_url": None, "proxy": proxy.base_url}
        with pytest.raises(DeliveryError):
            await fetch_settings(ACCOUNT, KEY, **nowhere)
        with pytest.raises(DeliveryError):
            await SettingsSource(ACCOUNT, KEY, **nowhere).load()
        async with VWOClient(OLD, wait_timeout_s=0.2, close_timeout_s=0.1, **nowhere) as client:
            assert not await client.push("plan", "pro", "Ashley", wait=True)
            await until(lambda: len(proxy.requests) > 2)
    assert {one.target for one in proxy.requests} == {"dev.visualwebsiteoptimizer.com:443"}


# Wrong use


@pytest.mark.parametrize(
    "changes",
    [
        {"account_id": None},
        {"account_id": ""},
        {"account_id": True},
        {"account_id": 1.5},
        {"sdk_key": ""},
        {"sdk_key": None},
        {"sdk_key": "a\r\nb"},
        {"sdk_key": "\u00e9"},
        {"poll_interval_s": 0},
        {"poll_interval_s": 0.5},
        {"poll_interval_s": -1},
        {"poll_interval_s": float("nan")},
        {"poll_interval_s": float("inf")},
        {"poll_interval_s": "60"},
        {"poll_interval_s": True},
        {"max_age_s": -1},
        {"max_age_s": None},
        {"min_refresh_interval_s": -1},
        {"base_url": "http://example.com"},
        {"base_url": "ftp://127.0.0.1"},
    ],
    ids=repr,
)
def test_wrong_arguments(changes: dict[str, Any]) -> None:
    """Bad arguments raise when the source is made, without showing the SDK key."""
    with pytest.raises(InvalidInputError) as caught:
        SettingsSource(**{"account_id": ACCOUNT, "sdk_key": KEY, **changes})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"settings_source": "x"},
        {"settings_source": KEY},
        {"on_settings_change": 5},
        {"settings_source": SettingsSource(5, KEY)},
        {"settings_source": SettingsSource(ACCOUNT, "other")},
    ],
    ids=range(5),
)
def test_wrong_options(options: dict[str, Any]) -> None:
    """A source that is not one, or is for another account or key, is refused at launch."""
    with pytest.raises(InvalidInputError, match=r"settings_source|on_settings_change") as caught:
        VWOClient(settings(), **options)
    assert KEY not in str(caught.value)


def test_source_hides_the_key() -> None:
    """The repr of a source describes it without the SDK key."""
    text = repr(SettingsSource(ACCOUNT, KEY))
    assert text == f"<SettingsSource of account {ACCOUNT}, polled every 60 s>"
    assert "not polled" in repr(SettingsSource(ACCOUNT, KEY, poll_interval_s=None))


async def test_closed() -> None:
    """After close a refresh raises, like every method."""
    async with serving() as (client, server):
        pass
    server.requests.clear()
    for call in (client.refresh_settings, client.get_and_update_settings_file):
        with pytest.raises(ClosedError):
            await call()
    assert not server.requests


async def test_other_loop() -> None:
    """In another event loop than the client's a refresh is refused, and the client goes on."""
    async with serving() as (client, _):

        def use() -> None:
            with pytest.raises(WrongLoopError):
                asyncio.run(client.refresh_settings())

        await asyncio.to_thread(use)
        assert await client.refresh_settings() is True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked() -> None:
    """In a forked child a refresh is refused; the parent goes on."""

    async def open_client() -> VWOClient:
        return await make_client(settings(), make_source()).open()

    with asyncio.Runner() as runner:
        client = runner.run(open_client())
        if child := os.fork():
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            assert runner.run(client.refresh_settings()) is False
            runner.run(client.aclose())
            return
        try:
            asyncio.run(client.refresh_settings())
        except ClosedError as error:
            os._exit(7 if "fork" in str(error) else 1)
        os._exit(2)


async def test_one_source_for_two_clients() -> None:
    """Several clients can share a source; each has its own settings in force."""
    async with running_server() as server:
        serve(server, OLD)
        source = make_source(server)
        found = await source.load()
        async with make_client(found, source) as one, make_client(found, source) as other:
            assert one._engine.snapshot.plan is not other._engine.snapshot.plan
            serve(server, NEW)
            assert await one.refresh_settings() is True
            assert (one.settings.version, other.settings.version) == (2, 1)
            assert other.statistics().settings_origin == "vwo"


async def test_loaded_settings_are_let_go() -> None:
    """A source keeps no reference to settings that its client has replaced."""
    async with serving() as (client, server):
        source = client._engine.options.settings_source
        assert source is not None
        first = source._loaded
        assert first is not None and first[0]() is client.settings
        serve(server, NEW)
        await client.refresh_settings()
        await until(lambda: first[0]() is None)
