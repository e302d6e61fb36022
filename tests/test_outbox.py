"""The SQLite outbox: what was accepted survives the process and is delivered once it can be."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from outbox_file import read_payloads
from sample import SECRET, campaign, settings
from server import answer, running_server
from waiting import until

from vwo_async import DeliveryStatus, InvalidInputError, OutboxError, VWOClient
from vwo_async._delivery.outbox import journal
from vwo_async.outbox import SqliteOutbox
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Limits

pytestmark = pytest.mark.anyio

DOWN = "http://127.0.0.1:9"


async def leave_behind(path: Path, number: int, **options: Any) -> list[str]:
    """Accept events while nobody listens, close at once, and return the user ids."""
    users = [f"u{n}" for n in range(number)]
    client = VWOClient(settings(**options), base_url=DOWN, outbox=path)
    async with client:
        for user in users:
            assert await client.track("checkout", user, "signup")
        report = await client.aclose(timeout_s=0)
        assert report.remaining == number
        assert report.kept_in == str(path)
        assert not report
    return users


async def drained(client: VWOClient) -> None:
    """Wait until the client has sent what it found."""
    async with asyncio.timeout(10):
        while client.statistics().restored == 0 or client.statistics().pending:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
async def test_what_a_commit_waits_for(tmp_path: Path, synchronous: str, level: int) -> None:
    """With FULL, SQLite is told to wait for the disk with each event, also after events were removed."""
    outbox = SqliteOutbox(tmp_path / "outbox.db", synchronous=synchronous)
    async with VWOClient(settings(), transport=RecordingTransport(), outbox=outbox) as client:
        assert await client.track("checkout", "Ashley", "signup", wait=True)
        assert await client.track("checkout", "Ben", "signup", wait=True)
        thread, file = outbox._thread, outbox._file
        assert thread is not None
        assert file is not None
        asked = thread.do(lambda: file._connection.execute("PRAGMA synchronous").fetchone())
        assert await asked == (level,)


def test_a_level_that_does_not_exist(tmp_path: Path) -> None:
    """Anything but the two levels is bad input."""
    with pytest.raises(InvalidInputError, match="synchronous must be NORMAL or FULL"):
        SqliteOutbox(tmp_path / "outbox.db", synchronous="OFF")


@pytest.mark.parametrize("is_arch", [False, True])
async def test_events_outlive_their_client(tmp_path: Path, is_arch: bool) -> None:
    """What one client could not deliver the next one does, byte for byte, and then it is gone."""
    path = tmp_path / "outbox.db"
    recorder = RecordingTransport([Answer(503)] * 4)
    file = settings(isEventArchEnabled=is_arch)
    client = VWOClient(file, transport=recorder, outbox=path, limits=Limits(coalesces=False))
    async with client:
        await client.activate("checkout", "Ashley", user_agent="é", user_ip_address="1.2.3.4")
        await client.track("checkout", "Ashley", "purchase", revenue_value=12.5)
        await client.push("k", "v", "Ashley")
        await client.track(None, "Ashley", "signup")
        await asyncio.sleep(0.05)
        await client.aclose(timeout_s=0)
    first = recorder.requests
    assert len(first) == 4
    recorder = RecordingTransport()
    client = VWOClient(file, transport=recorder, outbox=path, limits=Limits(coalesces=False))
    async with client:
        await drained(client)
        statistics = client.statistics()
        assert statistics.accepted == statistics.delivered == statistics.restored
    if is_arch:
        assert recorder.requests == first
    else:
        # A bundle of several conversions comes back as its parts.
        assert recorder.requests[:3] == first[:3]
        assert len(recorder.requests) == 5
    assert read_payloads(path) == []


async def test_nothing_secret_at_rest(tmp_path: Path) -> None:
    """The file is the owner's alone, and holds neither the SDK key nor the user id."""
    path = tmp_path / "outbox.db"
    await leave_behind(path, 3)
    assert len(read_payloads(path)) == 3
    for one in tmp_path.iterdir():
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
        content = one.read_bytes()
        assert SECRET.encode() not in content
        assert b'"u1"' not in content


async def test_delivered_events_leave_the_file(tmp_path: Path) -> None:
    """An event that ended, well or not, is removed."""
    path = tmp_path / "outbox.db"
    async with running_server() as server:
        async with VWOClient(settings(), base_url=server.base_url, outbox=path) as client:
            server.replies.append(answer(307))
            assert not await client.track("checkout", "Ashley", "signup", wait=True)
            assert await client.track("checkout", "Bill", "signup", wait=True)
        assert client.statistics().outbox_errors == 0
    assert read_payloads(path) == []


async def test_what_has_ended_is_removed_by_the_hundred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few wait to be removed together: kill -9 sends what is in the file again, and that is no more."""
    monkeypatch.setattr(journal, "REMOVE_DELAY_S", 60)
    path = tmp_path / "outbox.db"
    async with VWOClient(settings(), transport=RecordingTransport(), outbox=path) as client:
        for start in range(0, 400, 50):
            users = range(start, start + 50)
            await asyncio.gather(*(client.track("checkout", f"u{n}", "signup") for n in users))
        await client.flush_events()
        await until(lambda: len(read_payloads(path)) < journal.REMOVE_AT_ONCE)
    assert read_payloads(path) == []


async def test_other_accounts_are_left_alone(tmp_path: Path) -> None:
    """Events of another account or key are not sent in this one's name."""
    path = tmp_path / "outbox.db"
    await leave_behind(path, 2, accountId=5)
    transport = RecordingTransport()
    async with VWOClient(settings(), transport=transport, outbox=path) as client:
        await client.track("checkout", "Ashley", "signup", wait=True)
    assert len(transport.requests) == 1
    assert len(read_payloads(path)) == 2
    async with VWOClient(settings(accountId=5), transport=transport, outbox=path) as client:
        await drained(client)
    assert read_payloads(path) == []


async def test_events_from_the_future_are_new(tmp_path: Path) -> None:
    """Events of a process whose clock was ahead are not held back until that time comes."""
    path = tmp_path / "outbox.db"
    await leave_behind(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET wall_s = wall_s + 3600")
    connection.close()
    transport = RecordingTransport()
    batching: Any = {"events_per_request": 100, "request_time_interval": 1}
    file = settings()
    async with VWOClient(file, transport=transport, outbox=path, batch_events=batching) as client:
        await drained(client)
    assert len(transport.requests) == 1
    assert read_payloads(path) == []


async def test_an_event_that_is_kept_while_the_client_closes(tmp_path: Path) -> None:
    """What reaches the disk only after closing has given up on it stays there for the next client."""

    class LateOutbox(SqliteOutbox):
        async def append(self, rows: Sequence[tuple[float, bytes]]) -> Sequence[int]:
            await asyncio.sleep(0.2)
            return await super().append(rows)

    path = tmp_path / "outbox.db"
    outbox = LateOutbox(path)
    async with VWOClient(
        settings(), base_url=DOWN, outbox=outbox, storage_timeout_s=0.05
    ) as client:
        assert await client.track("checkout", "Ashley", "signup")
        report = await client.aclose(timeout_s=0.05)
        assert report.remaining == 1
    assert len(read_payloads(path)) == 1
    transport = RecordingTransport()
    async with VWOClient(settings(), transport=transport, outbox=path) as client:
        await drained(client)
    assert len(transport.requests) == 1


async def test_two_clients_on_one_path(tmp_path: Path) -> None:
    """A second client on a path has a file of its own; what it leaves is taken over once."""
    path = tmp_path / "outbox.db"
    transport = RecordingTransport()
    async with VWOClient(settings(), transport=transport, outbox=path) as first:
        await first.track("checkout", "Ashley", "signup", wait=True)
        async with VWOClient(settings(), base_url=DOWN, outbox=path) as second:
            await second.track("checkout", "Bill", "signup")
            report = await second.aclose(timeout_s=0)
            assert report.kept_in == f"{path}.1"
    async with VWOClient(settings(), transport=transport, outbox=path) as third:
        await drained(third)
        assert third.statistics().restored == 1
    assert not (tmp_path / "outbox.db.1").exists()
    assert len(transport.requests) == 2


@pytest.mark.parametrize("damage", ["header", "page", "truncated", "text", "version", "empty"])
async def test_damaged_files_are_set_aside(tmp_path: Path, damage: str) -> None:
    """A file that cannot be used is kept under another name and replaced by a fresh one."""
    path = tmp_path / "outbox.db"
    await leave_behind(path, 200)
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:16] = b"x" * 16
    elif damage == "page":
        content[4096:8192] = b"x" * 4096
    elif damage == "truncated":
        content = content[: len(content) // 2 + 100]
    elif damage == "text":
        content = bytearray(b"hello, this is no database at all" * 100)
    elif damage == "empty":
        content = bytearray()
    path.write_bytes(content)
    if damage == "version":
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    async with VWOClient(settings(), transport=RecordingTransport(), outbox=path) as client:
        assert await client.track("checkout", "Ashley", "signup", wait=True)
        assert client.statistics().outbox_errors == 0
    aside = [one.name for one in tmp_path.iterdir() if ".corrupt-" in one.name]
    assert bool(aside) is (damage != "empty")
    assert read_payloads(path) == []


async def test_unreadable_row_is_skipped(tmp_path: Path) -> None:
    """A row that is no event is counted and removed; the others are delivered."""
    path = tmp_path / "outbox.db"
    await leave_behind(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET payload = ? WHERE id = 2", (b"[1]",))
    connection.close()
    async with VWOClient(settings(), transport=RecordingTransport(), outbox=path) as client:
        await drained(client)
        assert client.statistics().delivered == 2
        assert client.statistics().outbox_errors == 1
    assert read_payloads(path) == []


@pytest.mark.parametrize("kind", ["folder", "no folder"])
async def test_unusable_path(tmp_path: Path, kind: str) -> None:
    """A path that can never work is a clear error when the client is opened, and names no path."""
    path = tmp_path if kind == "folder" else tmp_path / "nowhere" / "outbox.db"
    client = VWOClient(settings(), transport=RecordingTransport(), outbox=path)
    with pytest.raises(OutboxError) as caught:
        await client.open()
    assert str(tmp_path) not in str(caught.value)


async def test_unusable_path_without_open(tmp_path: Path) -> None:
    """Where the client opens with its first call, events go on from memory and are counted."""
    client = VWOClient(settings(), transport=RecordingTransport(), outbox=tmp_path)
    assert await client.track("checkout", "Ashley", "signup", wait=True)
    assert client.statistics().outbox_errors == 1
    await client.aclose()


async def test_full_disk(tmp_path: Path) -> None:
    """While the disk is full events go on from memory and are counted; it heals when there is room."""
    path = tmp_path / "outbox.db"
    outbox = SqliteOutbox(path)
    transport = RecordingTransport()
    async with VWOClient(settings(), transport=transport, outbox=outbox) as client:
        assert await client.track("checkout", "u0", "signup", wait=True)

        async def limit(pages: int) -> None:
            thread, statement = outbox._thread, f"PRAGMA max_page_count = {pages}"
            assert thread is not None
            await thread.do(lambda: outbox._ensure_open()._connection.execute(statement))

        await limit(1)
        for number in range(300):
            assert await client.track(
                "checkout", f"u{number}", "often", wait=False, user_agent="x" * 4000
            )
        await client.flush_events()
        assert client.statistics().outbox_errors > 0
        await limit(1_000_000)
        before = client.statistics().outbox_errors
        assert await client.track("checkout", "last", "signup", wait=True)
        assert client.statistics().outbox_errors == before
    assert client.statistics().delivered == client.statistics().accepted == 302
    assert read_payloads(path) == []


async def test_failed_conversions_are_unmarked(tmp_path: Path) -> None:
    """A conversion whose event VWO refuses can be tracked again, also after a restart."""
    row = {"userId": "Ashley", "campaignKey": "checkout", "variationName": "Control"}
    storage = MemoryUserStorage([row])
    path = tmp_path / "outbox.db"
    async with running_server() as server:
        async with VWOClient(
            settings(), base_url=server.base_url, user_storage=storage, outbox=path
        ) as client:
            server.replies.append(answer(307))
            assert not await client.track("checkout", "Ashley", "signup", wait=True)
        assert "goalIdentifier" not in (await storage.get("Ashley", "checkout") or {})
        client = VWOClient(settings(), base_url=DOWN, user_storage=storage, outbox=path)
        async with client:
            assert await client.track("checkout", "Ashley", "signup")
            await client.aclose(timeout_s=0)
        # Kept, not lost: it stays marked until its end is known.
        assert (await storage.get("Ashley", "checkout") or {})["goalIdentifier"] == "signup"
        server.replies.append(answer(307))
        async with VWOClient(
            settings(), base_url=server.base_url, user_storage=storage, outbox=path
        ) as client:
            await drained(client)
        assert "goalIdentifier" not in (await storage.get("Ashley", "checkout") or {})


async def test_kept_events_tell_their_waiters(tmp_path: Path) -> None:
    """Who awaits an event that closing left in the outbox learns that it is kept."""
    client = VWOClient(settings(), base_url=DOWN, outbox=tmp_path / "outbox.db")
    async with client:
        result = await client.track("checkout", "Ashley", "signup")
        await client.aclose(timeout_s=0)
        assert (await result.delivery).status is DeliveryStatus.KEPT
        assert client.statistics().pending == 1


async def test_on_drop(tmp_path: Path) -> None:
    """The hook hears of each event that did not reach VWO, and of those that found no room."""
    heard: list[tuple[str, str]] = []

    def hear(outcome: Any, event: dict[str, Any]) -> None:
        heard.append((outcome.reason, event["kind"]))

    transport = RecordingTransport([Answer(413)])
    async with VWOClient(
        settings(), transport=transport, on_drop=hear, limits=Limits(max_events=1)
    ) as client:
        await client.track("checkout", "u0", "signup")
        await client.track("checkout", "u1", "signup")
        await client.flush_events()
    assert heard == [("overflow", "goal"), ("too_large", "goal")]


async def test_fork_is_noticed() -> None:
    """A client that a fork inherited says so in the child, and the parent goes on unharmed."""
    transport = RecordingTransport()
    async with VWOClient(settings(), transport=transport) as client:
        client._engine._pid = os.getpid() + 1
        # It is looked for once in each turn of the loop: in a fork's child no turn goes on.
        await asyncio.sleep(0)
        with pytest.raises(Exception, match="fork"):
            await client.track("checkout", "Ashley", "signup")
        client._engine._pid = os.getpid()
        assert await client.track("checkout", "Ashley", "signup", wait=True)


async def test_long_outage_does_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """1,000 failures, each of several events, give 10 lines, and every event is counted."""
    file = settings(*(campaign(number, f"campaign {number}") for number in (1, 2, 3)))
    client = VWOClient(file, transport=RecordingTransport(), outbox=tmp_path)
    for number in range(1000):
        assert await client.track(None, f"u{number}", "signup")
    await client.aclose()
    assert client.statistics().outbox_errors == 3000
    lines = [line for line in caplog.messages if line.startswith("outbox: append raised")]
    assert len(lines) == 10
