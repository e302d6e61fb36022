"""Rows 64 to 68 of the failure matrix: what an outbox, a row or a function of the service may do."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import coroutine
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, result_key, settings
from outbox_file import count_rows
from own_time import Stopwatch, assert_below
from rig import SLACK_S, FaultServer, child, names_of, say, steady_loop
from tracking import DOWN, leave_behind, track, track_many
from waiting import until

from vwo_async import DeliveryStatus, FlushReport, OutboxError, TrackResult, VWOClient
from vwo_async._cancellation import is_failure
from vwo_async._delivery.outbox import restorer, sqlite
from vwo_async._delivery.outbox.row import fingerprint
from vwo_async._delivery.transport import closing as closing_of_transports
from vwo_async._result import receipt_of
from vwo_async.outbox import SqliteOutbox, Stock
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Failure, Limits

pytestmark = [pytest.mark.anyio, pytest.mark.no_debug, pytest.mark.timeout(30)]

SOON = Limits(backoff_base_s=0.02, backoff_cap_s=0.05)
SINGLY = Limits(backoff_base_s=0.02, backoff_cap_s=0.05, coalesces=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the outbox is: in a folder of its own."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "outbox.db"


def fill(path: Path, number: int, **row: Any) -> None:
    """Put *number* copies of the first row into the file, changed as told; two threads of work, not hours."""
    columns = ", ".join(f"{name} = ?" for name in row)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO events (fingerprint, wall_s, payload) SELECT fingerprint, wall_s, payload"
            " FROM events, (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
            " WHERE i < ?) SELECT i FROM n) WHERE id = (SELECT min(id) FROM events)",
            (number,),
        )
        if row:
            connection.execute(f"UPDATE events SET {columns}", tuple(row.values()))


# Row 64: a start that only drains


@BOTH_PRODUCTS
@pytest.mark.parametrize("number", [1, 40, 3000])
async def test_row_64_a_start_that_only_drains(vwo: FaultServer, path: Path, number: int) -> None:
    """Open, flush, close: what an earlier process left is delivered, and both reports count it."""
    left = await leave_behind(path, number)
    async with make_client(settings(), base_url=vwo.base_url, outbox=path) as client:
        report = await client.flush_events()
        closed = await client.aclose()
    assert vwo.ledger() == names_of(*left)
    assert report and report == FlushReport(number, number, 0, 0, 0)
    assert closed and closed.delivered == number
    assert count_rows(path) == 0


@BOTH_PRODUCTS
async def test_row_64_what_another_process_left(vwo: FaultServer, path: Path) -> None:
    """That is so too where it lies in the file of another process on the path."""
    left = await leave_behind(path, 20)
    path.rename(f"{path}.3")
    async with make_client(settings(), base_url=vwo.base_url, outbox=path) as client:
        assert await client.flush_events() == FlushReport(20, 20, 0, 0, 0)
    assert vwo.ledger() == names_of(*left)


@BOTH_PRODUCTS
async def test_row_64_nothing_can_be_sent(path: Path) -> None:
    """Where the server is down, flush ends with its time and says what still waits in the file."""
    await leave_behind(path, 30)
    client = make_client(
        settings(), base_url=DOWN, outbox=path, wait_timeout_s=0.5, limits=Limits(max_events=40)
    )
    async with client:
        watch = Stopwatch()
        report = await client.flush_events()
        watch.assert_below(0.5 + SLACK_S)
        # Only a part of them is on the queue.
        assert 0 < client.statistics().pending < 30
        assert client.statistics().pending + client.statistics().outbox_waiting == 30
        assert not report and report == FlushReport(30, 0, 0, 0, 30)
        closed = await client.aclose(timeout_s=0)
    assert not closed and closed.remaining == count_rows(path) == 30
    assert closed.kept_in == str(path)


@BOTH_PRODUCTS
@pytest.mark.parametrize("wait_timeout_s", [20.0, None])
async def test_row_64_closed_while_flushing(path: Path, wait_timeout_s: float | None) -> None:
    """Closing ends a flush that is under way: what is kept is reported as pending, on the queue or in the file."""
    await leave_behind(path, 30)
    limits = Limits(max_events=40)
    async with make_client(
        settings(), base_url=DOWN, outbox=path, wait_timeout_s=wait_timeout_s, limits=limits
    ) as client:
        await until(lambda: client.statistics().restored > 0)
        await track_many(client, 5)
        flushing = asyncio.create_task(client.flush_events())
        await asyncio.sleep(0)
        closed = await client.aclose(timeout_s=0)
        async with asyncio.timeout(10):
            assert await flushing == FlushReport(35, 0, 0, 0, 35)
    assert closed.remaining == count_rows(path) == 35


@BOTH_PRODUCTS
async def test_row_64_close_alone_counts_the_file(path: Path) -> None:
    """Closing at once loses nothing, and reports every row that is in the file."""
    await leave_behind(path, 700)
    async with make_client(settings(), base_url=DOWN, outbox=path) as client:
        report = await client.aclose(timeout_s=0)
    assert not report and report.remaining == count_rows(path) == 700


@BOTH_PRODUCTS
async def test_row_64_an_outbox_that_cannot_be_read(vwo: FaultServer, path: Path) -> None:
    """A flush that could not look into the file is no success."""
    await leave_behind(path, 5)
    with locked(path):
        client = make_client(settings(), base_url=vwo.base_url, outbox=path, wait_timeout_s=0.4)
        async with client:
            report = await client.flush_events()
            assert not report and not report.is_outbox_read
            closed = await client.aclose(timeout_s=0.2)
            assert not closed and not closed.is_outbox_read
    assert count_rows(path) == 5


# Row 65: the file goes and comes


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file as another tool does, in a process of its own."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN EXCLUSIVE'); c.execute('CREATE TABLE IF NOT EXISTS tool (id)');"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def find_writer() -> threading.Thread:
    """Return the thread of the outbox, which there must be."""
    (thread,) = [one for one in threading.enumerate() if one.name == "vwo_async outbox"]
    return thread


async def assert_quick(client: VWOClient, number: int, prefix: str) -> list[TrackResult]:
    """Track one after the other: of many calls none but the first may wait for the outbox."""
    watch = Stopwatch()
    results = [await track(client, f"{prefix}{user}") for user in range(number)]
    watch.assert_below(1.0 + SLACK_S)
    return results


def move_folder(path: Path) -> Callable[[], None]:
    """Take the folder away, and return what brings it back."""
    away = path.parent.with_name("away")
    path.parent.rename(away)

    def bring_back() -> None:
        away.rename(path.parent)

    return bring_back


def move_file(path: Path) -> Callable[[], None]:
    """Take the file away, with what is beside it, and return what brings it back."""
    away = path.parent.with_name("away")
    away.mkdir()
    for part in path.parent.iterdir():
        part.rename(away / part.name)

    def bring_back() -> None:
        for part in away.iterdir():
            part.rename(path.parent / part.name)

    return bring_back


def delete(path: Path) -> Callable[[], None]:
    """Delete everything in the folder."""
    for part in path.parent.iterdir():
        part.unlink()
    return lambda: None


def delete_folder(path: Path) -> Callable[[], None]:
    """Delete the folder with everything in it, and return what makes it anew."""
    delete(path)
    path.parent.rmdir()
    return path.parent.mkdir


def delete_log(path: Path) -> Callable[[], None]:
    """Delete the write-ahead log."""
    path.with_name(f"{path.name}-wal").unlink()
    return lambda: None


def replace(path: Path) -> Callable[[], None]:
    """Put an empty file in the place of the file."""
    other = path.with_name("other")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE tool (id)")
    other.replace(path)
    return lambda: None


def cut(*suffixes: str, to: int = 0) -> Callable[[Path], Callable[[], None]]:
    """Return what truncates the file or what is beside it."""

    def truncate(path: Path) -> Callable[[], None]:
        for suffix in suffixes:
            part = path.with_name(path.name + suffix)
            # SQLite removes a part of the file when it was not needed any more.
            with suppress(FileNotFoundError):
                os.truncate(part, to)
        return lambda: None

    return truncate


LOSSES: dict[str, Callable[[Path], Callable[[], None]]] = {
    "folder moved": move_folder,
    "file moved": move_file,
    "deleted": delete,
    "folder deleted": delete_folder,
    "log deleted": delete_log,
    "replaced": replace,
    "truncated": cut(""),
    "truncated to a page": cut("", to=4096),
    "log truncated": cut("-wal"),
    "log cut": cut("-wal", to=5000),
    "all truncated": cut("", "-wal"),
    "touched": lambda path: path.touch,
}


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", LOSSES)
async def test_row_65_the_file_goes_and_comes(vwo: FaultServer, path: Path, name: str) -> None:
    """Whatever becomes of the file, calls go on, and soon it holds again all that is pending."""
    await vwo.answer(503)
    client = make_client(settings(), base_url=vwo.base_url, outbox=path, limits=SOON)
    async with client, steady_loop():
        writer = find_writer()
        results = await track_many(client, 20, "before")
        bring_back = LOSSES[name](path)
        results += await assert_quick(client, 20, "during")
        bring_back()
        # Without another call: by itself.
        await until(lambda: path.exists() and count_rows(path) == 40, 5)
        results += await track_many(client, 20, "after")
        assert count_rows(path) == 60
        assert find_writer() is writer
        report = await client.aclose(timeout_s=0)
        assert report.remaining == 60
    await vwo.answer(200)
    async with make_client(settings(), base_url=vwo.base_url, outbox=path) as second:
        assert await second.flush_events()
    assert not names_of(*results) - vwo.ledger()
    # What lay in a file that was away, and was kept again meanwhile, is in none of them twice.
    assert vwo.ledger() == names_of(*results)


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", LOSSES)
async def test_row_65_with_a_healthy_server(vwo: FaultServer, path: Path, name: str) -> None:
    """With the server up every event is delivered, once, and nothing is left behind."""
    client = make_client(settings(), base_url=vwo.base_url, outbox=path, limits=SOON)
    async with client, steady_loop():
        results = await track_many(client, 20, "before")
        bring_back = LOSSES[name](path)
        results += await assert_quick(client, 20, "during")
        bring_back()
        await asyncio.sleep(1.2)
        results += await track_many(client, 20, "after")
        report = await client.flush_events()
        assert report.delivered == report.events
        # What another tool has put there was set aside, and nobody knows what is in it.
        assert report.is_outbox_read is (name != "replaced")
    assert vwo.ledger() == names_of(*results)
    assert count_rows(path) == 0


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", ["log truncated", "log deleted", "truncated", "touched"])
async def test_row_65_a_path_that_is_a_link(vwo: FaultServer, path: Path, name: str) -> None:
    """Behind a symbolic link the file is watched as any: what is called kept is in it and arrives."""
    link = path.with_name("link.db")
    link.symlink_to(path)
    await vwo.answer(503)
    client = make_client(settings(), base_url=vwo.base_url, outbox=link, limits=SOON)
    async with client:
        results = await track_many(client, 40, "before")
        LOSSES[name](path)
        results += await track_many(client, 1, "after")
        report = await client.aclose(timeout_s=0)
        assert report.remaining == 41
    assert link.is_symlink()
    await vwo.answer(200)
    async with make_client(settings(), base_url=vwo.base_url, outbox=link) as second:
        assert await second.flush_events()
    assert vwo.ledger() == names_of(*results)


@BOTH_PRODUCTS
async def test_row_65_two_names_of_one_path(vwo: FaultServer, path: Path) -> None:
    """Who comes to a file by another name has one beside it, as who comes by the same."""
    link = path.with_name("link.db")
    link.symlink_to(path)
    await vwo.answer(503)
    first, second = (
        make_client(settings(), base_url=vwo.base_url, outbox=one, limits=SOON)
        for one in (link, path)
    )
    async with first, second:
        results = await track_many(first, 5, "first") + await track_many(second, 5, "second")
        assert first.statistics().outbox_errors == second.statistics().outbox_errors == 0
        assert (await second.aclose(timeout_s=0)).remaining == 5
        assert (await first.aclose(timeout_s=0)).remaining == 5
    await vwo.answer(200)
    async with make_client(settings(), base_url=vwo.base_url, outbox=path) as third:
        assert await third.flush_events()
    assert vwo.ledger() == names_of(*results)


@BOTH_PRODUCTS
async def test_row_65_a_link_that_is_turned(
    vwo: FaultServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the path leads to another folder, as after a deployment, what is pending is soon kept there."""
    monkeypatch.setattr(sqlite, "CHECK_INTERVAL_S", 0.05)
    folder, link = path.with_name("release-2"), path.with_name("current")
    folder.mkdir()
    link.symlink_to(path.parent)
    await vwo.answer(503)
    client = make_client(settings(), base_url=vwo.base_url, outbox=link / path.name, limits=SOON)
    async with client:
        await track_many(client, 10)
        turned = path.with_name("turned")
        turned.symlink_to(folder)
        turned.replace(link)
        await until(lambda: (folder / path.name).exists() and count_rows(link / path.name) == 10, 5)
        await client.aclose(timeout_s=0)


class SlowToClose(RecordingTransport):
    """A transport that nothing gets through, and that closes when it is told to."""

    def __init__(self) -> None:
        super().__init__([Answer(503)] * 100)
        self.is_asked = asyncio.Event()
        self.may_close = asyncio.Event()

    async def aclose(self) -> None:
        self.is_asked.set()
        await self.may_close.wait()


async def test_row_65_the_file_goes_while_closing(
    vwo: FaultServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What closing has counted as kept already is kept again where the file goes before all is closed."""
    monkeypatch.setattr(sqlite, "CHECK_INTERVAL_S", 0.02)
    monkeypatch.setattr(closing_of_transports, "END_TIMEOUT_S", 10)
    transport = SlowToClose()
    client = VWOClient(settings(), transport=transport, outbox=path, limits=SOON)
    async with client, steady_loop():
        results = await track_many(client, 10)
        closing_client = asyncio.create_task(client.aclose(timeout_s=0.2))
        await transport.is_asked.wait()
        delete(path)
        await until(lambda: path.exists() and count_rows(path) == 10, 5)
        transport.may_close.set()
        assert (await closing_client).remaining == 10
    async with VWOClient(settings(), base_url=vwo.base_url, outbox=path) as second:
        assert await second.flush_events()
    assert vwo.ledger() == names_of(*results)


async def shared_memory_cut(path: str) -> None:
    """Be a client that has the file of shared memory cut under it."""
    file = Path(path)
    async with make_client(settings(), base_url=DOWN, outbox=file) as client:
        for number in range(5):
            await track(client, f"a{number}")
        part = file.with_name(f"{file.name}-shm")
        if part.exists():
            os.truncate(part, 0)
        for number in range(5):
            await track(client, f"b{number}")
        report = await client.aclose(timeout_s=0)
        say(report.remaining)


async def test_row_65_shared_memory_cut(path: Path) -> None:
    """No file that is cut short ends the process: there is no mapping of one."""
    async with child(shared_memory_cut, str(path)) as process:
        assert await process.hear() == 10


@BOTH_PRODUCTS
@pytest.mark.parametrize("is_lazy", [False, True], ids=["open", "lazy"])
async def test_row_65_locked_at_the_start(vwo: FaultServer, path: Path, is_lazy: bool) -> None:
    """A file that another tool has locked when the client starts is used once it is free."""
    await leave_behind(path, 5)
    await vwo.answer(503)
    client = make_client(settings(), base_url=vwo.base_url, outbox=path, limits=SOON)
    try:
        with locked(path):
            if not is_lazy:
                await client.open()
            results = await assert_quick(client, 20, "locked")
            assert client.statistics().outbox_errors >= 20
            assert not client.statistics().restored
        await until(lambda: count_rows(path) == 25, 5)
        await until(lambda: client.statistics().restored == 5, 5)
        await vwo.answer(200)
        assert await client.flush_events()
        assert not names_of(*results) - vwo.ledger()
        assert vwo.ledger().total() == 25
    finally:
        await client.aclose()


@BOTH_PRODUCTS
@pytest.mark.parametrize("is_lazy", [False, True], ids=["open", "lazy"])
async def test_row_65_no_room_at_the_start(
    vwo: FaultServer, path: Path, is_lazy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk without room, or without an inode, at the start is used once it has some."""
    real = os.open

    def refuse(file: Any, *arguments: Any, **options: Any) -> int:
        if path.name in str(file):
            raise OSError(28, "No space left on device")
        return real(file, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    await vwo.answer(503)
    client = make_client(settings(), base_url=vwo.base_url, outbox=path, limits=SOON)
    try:
        if not is_lazy:
            await client.open()
        results = await assert_quick(client, 20, "full")
        monkeypatch.setattr(os, "open", real)
        await until(lambda: path.exists() and count_rows(path) == 20, 5)
        results += await track_many(client, 5, "room")
        assert count_rows(path) == 25
        await vwo.answer(200)
        assert await client.flush_events()
        assert vwo.ledger() == names_of(*results)
    finally:
        await client.aclose()


@BOTH_PRODUCTS
async def test_row_65_folder_made_later(vwo: FaultServer, path: Path) -> None:
    """A client that opened with its first call finds the folder when there is one."""
    path.parent.rmdir()
    await vwo.answer(503)
    client = make_client(settings(), base_url=vwo.base_url, outbox=path, limits=SOON)
    try:
        await assert_quick(client, 10, "none")
        path.parent.mkdir()
        await until(lambda: path.exists() and count_rows(path) == 10, 5)
    finally:
        await client.aclose(timeout_s=0)


class StuckOutbox(SqliteOutbox):
    """An outbox on a disk that does not answer until it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.answers = threading.Event()
        self.answers.set()

    def _append(self, rows: Any) -> Any:
        self.answers.wait(20)
        return super()._append(rows)


@BOTH_PRODUCTS
async def test_row_65_stuck_disk(vwo: FaultServer, path: Path) -> None:
    """While the disk does not answer one call waits, not each; then it holds what is still pending."""
    await vwo.answer(503)
    outbox = StuckOutbox(path)
    client = make_client(
        settings(), base_url=vwo.base_url, outbox=outbox, limits=SOON, storage_timeout_s=0.5
    )
    async with client, steady_loop():
        await track(client, "before")
        outbox.answers.clear()
        tasks = len(asyncio.all_tasks())
        await assert_quick(client, 3000, "stuck")
        assert len(asyncio.all_tasks()) <= tasks + 2
        assert client.statistics().outbox_errors == 3000
        outbox.answers.set()
        await until(lambda: count_rows(path) == 3001, 5)
        assert client.statistics().outbox_errors == 3000
        await client.aclose(timeout_s=0)


@BOTH_PRODUCTS
async def test_row_65_kept_is_what_is_in_the_file(path: Path) -> None:
    """What a disk that hangs at the end did not take is not called kept."""
    outbox = StuckOutbox(path)
    client = make_client(settings(), base_url=DOWN, outbox=outbox, storage_timeout_s=0.2)
    async with client:
        kept = [await track(client, f"kept{number}") for number in range(5)]
        outbox.answers.clear()
        lost = [await track(client, f"lost{number}") for number in range(5)]
        report = await client.aclose(timeout_s=0)
        outbox.answers.set()
    assert report.remaining == 5 and report.dropped == {"closed": 5}
    assert {(await one.delivery).status for one in kept} == {DeliveryStatus.KEPT}
    assert {(await one.delivery).status for one in lost} == {DeliveryStatus.DROPPED}


# Row 66: rows of others


def copy_over(path: Path, copy: Path) -> None:
    """Put the bytes of a copy back into the file that is there."""
    path.write_bytes(copy.read_bytes())


def copy_in_place(path: Path, copy: Path) -> None:
    """Put a copy back under the name of the file."""
    path.unlink(missing_ok=True)
    shutil.copy(copy, path)


def copy_beside(path: Path, copy: Path) -> None:
    """Put a copy where it looks like the file of another process that is no more."""
    shutil.copy(copy, f"{path}.7")


COPIED = "the outbox file is not the one that was last in use here"


@BOTH_PRODUCTS
@pytest.mark.parametrize("put_back", [copy_over, copy_in_place, copy_beside])
async def test_row_90_a_copy_that_is_put_back(
    vwo: FaultServer,
    path: Path,
    put_back: Callable[[Path, Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Events that were sent, and come back with a copy of the file, are sent again, and a warning says so."""
    left = await leave_behind(path, 5)
    copy = path.parent.parent / "copy.db"
    shutil.copy(path, copy)
    async with make_client(settings(), base_url=vwo.base_url, outbox=path) as client:
        assert await client.flush_events()
    assert COPIED not in caplog.text
    put_back(path, copy)
    async with make_client(settings(), base_url=vwo.base_url, outbox=path) as client:
        assert await client.flush_events()
    assert COPIED in caplog.text
    assert vwo.ledger() == names_of(*left) + names_of(*left)


@BOTH_PRODUCTS
async def test_row_90_the_file_of_a_process_that_ended_is_no_copy(
    vwo: FaultServer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However a process ends, its file is taken up, or taken over, without a warning."""
    await leave_behind(path, 5)
    async with (
        make_client(settings(), base_url=DOWN, outbox=path) as first,
        make_client(settings(), base_url=DOWN, outbox=path) as second,
    ):
        for client in (first, second):
            assert await client.track("checkout", "u1", "signup")
            await client.aclose(timeout_s=0)
    async with make_client(settings(), base_url=vwo.base_url, outbox=path) as client:
        await client.flush_events()
        await until(lambda: client.statistics().outbox_waiting == 0)
    assert COPIED not in caplog.text


async def test_row_66_event_architecture_rows_in_batches(path: Path) -> None:
    """Rows of the event architecture are delivered where batches and a flush callback were asked for."""
    await leave_behind(path, 10, file=settings(isEventArchEnabled=True))
    told: list[Any] = []
    transport = RecordingTransport()
    client = make_client(
        settings(),
        transport=transport,
        outbox=path,
        batch_events={
            "events_per_request": 3,
            "flush_callback": lambda error, events: told.append((error, events)),
        },
    )
    async with client:
        await until(lambda: client.statistics().restored == 10)
        for user in range(7):
            await track(client, f"new{user}")
        assert await client.flush_events()
        assert await client.aclose()
    assert client.statistics().delivered == 17
    assert client.statistics().worker_restarts == 0
    assert [error for error, _ in told] == [None] * len(told)
    assert sum(len(events) for _, events in told) == 17
    assert sum("/events/t" in one.target for one in transport.requests) == 10
    assert count_rows(path) == 0


STRANGE: dict[str, dict[str, Any]] = {
    "unknown kind": {"kind": "of tomorrow"},
    "numbers for texts": {"visitor": 5, "user_agent": 7, "ip": 8},
    "visitor no text": {"visitor": {"a": 1}},
    "list for a campaign": {"campaign": [1], "variation": {"a": 1}},
    "object for a revenue": {"revenue": {"a": 1}},
    "no decimal": {"revenue": "x", "is_decimal": True},
    "seconds no number": {"seconds": None},
    "surrogate": {"user_agent": "\udcff"},
    "claims of strange things": {"claims": [[1, 2, 3], ["a", None, {}]]},
    "much too long": {"user_agent": "x" * 3_000_000},
    "larger than the queue": {"user_agent": "x" * 4_500_000},
}


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", STRANGE)
async def test_row_66_rows_of_another_version(path: Path, name: str) -> None:
    """Whatever a row holds, it ends delivered, rejected, dropped or counted as an error; others are sent."""
    await leave_behind(path, 10)
    with closing(sqlite3.connect(path)) as connection, connection:
        (payload,) = connection.execute("SELECT payload FROM events WHERE id = 4").fetchone()
        strange = json.dumps({**json.loads(payload), **STRANGE[name]}).encode()
        connection.execute("UPDATE events SET payload = ? WHERE id = 4", (strange,))
    heard: list[Any] = []
    client = make_client(
        settings(),
        transport=RecordingTransport(),
        outbox=path,
        limits=Limits(max_bytes=4_000_000),
        on_drop=lambda outcome, event: heard.append(outcome.reason),
        batch_events={"events_per_request": 4, "flush_callback": lambda *told: None},
    )
    async with client, steady_loop():
        await client.flush_events()
        one = client.statistics()
        ended = one.delivered + one.rejected + sum(one.dropped.values())
        assert ended + one.outbox_errors == 10
        assert one.pending == one.outbox_waiting == one.worker_restarts == 0
        assert len(heard) == sum(one.dropped.values()) + one.rejected
        await track(client, "new")
        assert await client.flush_events()
        assert one.delivered >= 9
    assert count_rows(path) == 0


@BOTH_PRODUCTS
async def test_row_66_rows_of_another_key(
    vwo: FaultServer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows of a rotated SDK key are kept, counted and said once; the key's own client sends them."""
    left = await leave_behind(path, 12, file=settings(sdkKey="f" * 32))
    async with make_client(settings(), base_url=vwo.base_url, outbox=path) as client:
        assert await client.flush_events()
        assert client.statistics().outbox_foreign == 12
        assert client.statistics().outbox_waiting == 0
        await track(client, "own", wait=True)
        assert await client.aclose()
    said = [one.getMessage() for one in caplog.records if "another account or SDK key" in one.msg]
    assert len(said) == 1 and "12" in said[0]
    assert "f" * 32 not in caplog.text
    assert vwo.ledger().total() == 1
    file = settings(sdkKey="f" * 32)
    async with make_client(file, base_url=vwo.base_url, outbox=path) as client:
        assert await client.flush_events() == FlushReport(12, 12, 0, 0, 0)
    assert vwo.ledger().total() == 13 and len(left) == 12


@BOTH_PRODUCTS
async def test_row_66_old_rows_of_another_key_end(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Foreign rows end with the age at which one's own would, and are counted and said."""
    await leave_behind(path, 6, file=settings(sdkKey="f" * 32))
    fill(path, 12_000)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE events SET wall_s = wall_s - 100000 WHERE id % 2")
        (old,) = connection.execute("SELECT count(*) FROM events WHERE id % 2").fetchone()
    transport = RecordingTransport()
    async with make_client(settings(), transport=transport, outbox=path) as client:
        await until(lambda: client.statistics().outbox_expired == old)
        assert client.statistics().outbox_foreign == 12_006 - old
        assert "were too old" in caplog.text
    assert not transport.requests
    assert count_rows(path) == 12_006 - old


@BOTH_PRODUCTS
async def test_row_66_one_outbox_of_two_clients(path: Path) -> None:
    """An outbox object is of one client: else its rows would be sent in the name of another account."""
    outbox = SqliteOutbox(path)
    first = make_client(settings(), base_url=DOWN, outbox=outbox)
    second = make_client(settings(sdkKey="f" * 32), base_url=DOWN, outbox=outbox)
    async with first:
        with pytest.raises(OutboxError, match="another client"):
            await second.open()
        await track(first, "first")
        await second.aclose()
        assert (await first.aclose(timeout_s=0)).remaining == 1
    # One that was closed leaves it to others, with all that is in it.
    third = make_client(settings(), transport=RecordingTransport(), outbox=outbox)
    async with third:
        assert await third.flush_events() == FlushReport(1, 1, 0, 0, 0)


# Row 67: a backlog


@BOTH_PRODUCTS
async def test_row_67_a_backlog_leaves_room(vwo: FaultServer, path: Path) -> None:
    """While a backlog far larger than the queue is sent, live events find room, and all arrive."""
    await leave_behind(path, 1)
    fill(path, 20_000)
    limits = Limits(max_events=2000)
    client = make_client(settings(), base_url=vwo.base_url, outbox=path, limits=limits)
    async with client, steady_loop():
        for number in range(1500):
            await track(client, f"live{number}")
            assert client.statistics().pending <= 2000
        assert client.statistics().refused == 0
        assert await client.flush_events()
        assert client.statistics().restored == 20_001
        assert client.statistics().delivered == 21_501


@BOTH_PRODUCTS
async def test_row_67_a_backlog_with_the_server_down(path: Path) -> None:
    """A backlog that cannot be sent takes a share of the queue, by count and by bytes, and no more."""
    await leave_behind(path, 1)
    fill(path, 3000)
    limits = Limits(max_events=400, max_bytes=400 * 600)
    client = make_client(settings(), base_url=DOWN, outbox=path, limits=limits)
    async with client:
        await until(lambda: client.statistics().restored > 50)
        await asyncio.sleep(0.3)
        assert client.statistics().restored <= 100
        for number in range(250):
            await track(client, f"live{number}")
        assert client.statistics().refused == 0
        report = await client.aclose(timeout_s=0)
    assert report.remaining == count_rows(path) == 3251


@pytest.mark.slow
@BOTH_PRODUCTS
@pytest.mark.timeout(120)
async def test_row_67_a_million_rows(path: Path) -> None:
    """A million rows are restored in a stream: bounded memory, a free loop, and new events served meanwhile."""
    await leave_behind(path, 1)
    fill(path, 1_000_000)

    class Quick:
        async def send(self, request: object) -> Answer:
            await asyncio.sleep(0.001)
            return Answer(200)

        async def aclose(self) -> None:
            pass

    client = make_client(settings(), transport=Quick(), outbox=path)
    before_kb = read_rss_kb()
    async with client, steady_loop():
        waits: list[float] = []
        for number in range(300):
            watch = Stopwatch()
            await track(client, f"live{number}")
            waits.append(watch.read_s())
            await asyncio.sleep(0.01)
        statistics = client.statistics()
        assert statistics.restored > 1000
        assert statistics.outbox_errors == statistics.refused == 0
        assert statistics.restored + statistics.outbox_waiting == 1_000_001
        assert_below(sorted(waits)[-4], 0.2)
        assert read_rss_kb() - before_kb < 60_000
        await client.aclose(timeout_s=0)


def read_rss_kb() -> int:
    """Return the memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


# Row 68: nothing ends a worker or the writer


class Odd(BaseException):
    """What is no `Exception`."""


class Moody:
    """A transport that fails as told for its first requests."""

    def __init__(self, *faults: Callable[[], Any]) -> None:
        self.faults = list(faults)
        self.requests = 0

    async def send(self, request: object) -> Any:
        self.requests += 1
        if self.faults:
            return await self.faults.pop(0)()
        return Answer(200)

    async def aclose(self) -> None:
        """Do nothing."""


async def cancel_within() -> None:
    """Await what was cancelled by nobody who asked."""
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.cancel)
    await future


async def raise_cancelled() -> None:
    """Raise what a cancelled task raises."""
    raise asyncio.CancelledError


async def raise_odd() -> None:
    """Raise what is no `Exception`."""
    raise Odd


async def return_nothing() -> None:
    """Return no answer."""


async def return_odd_fields() -> Any:
    """Return an answer with fields of other types than it says."""
    odd: Any = None
    return Answer(503, retry_after=odd)


async def return_odd_status() -> Any:
    """Return an answer whose status is no number."""
    odd: Any = "200"
    return Answer(odd)


TRANSPORT_FAULTS = {
    "future cancelled within": cancel_within,
    "CancelledError": raise_cancelled,
    "BaseException": raise_odd,
    "no answer": return_nothing,
    "odd fields": return_odd_fields,
    "odd status": return_odd_status,
}


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", TRANSPORT_FAULTS)
@pytest.mark.parametrize("has_outbox", [False, True], ids=["memory", "outbox"])
async def test_row_68_transport(path: Path, name: str, has_outbox: bool) -> None:
    """Whatever a transport does is a failure of that try: every worker lives, and the event is sent again."""
    transport = Moody(*[TRANSPORT_FAULTS[name]] * 12)
    client = make_client(
        settings(), transport=transport, outbox=path if has_outbox else None, limits=SOON
    )
    async with client:
        for number in range(8):
            await track(client, f"u{number}")
        assert await client.flush_events()
        assert client.statistics().delivered == 8
        assert client.statistics().worker_restarts == 0
        workers = [one for one in asyncio.all_tasks() if one.get_name() == "vwo_async sender"]
        assert len(workers) == 4


@BOTH_PRODUCTS
async def test_row_68_workers_cancelled_from_outside(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers that somebody cancelled, even while they send, are replaced with the next use, counted and logged."""
    transport = Moody(lambda: asyncio.sleep(60))
    client = make_client(settings(), transport=transport, outbox=path, limits=SOON)
    async with client:
        first = await track(client, "first")
        await until(lambda: transport.requests == 1)
        for task in asyncio.all_tasks():
            if task.get_name() == "vwo_async sender":
                task.cancel()
        await asyncio.sleep(0.05)
        for number in range(5):
            assert await track(client, f"u{number}", wait=True)
        assert (await first.delivery).status is DeliveryStatus.DELIVERED
        assert client.statistics().worker_restarts == 4
    # The 1st, 2nd and 4th.
    lines = [one for one in caplog.messages if "a worker that sends is replaced" in one]
    assert len(lines) == 3
    assert lines[-1].endswith("CancelledError ended it (4 times so far)")


async def time_out_instead() -> Answer:
    """Take any cancellation for a time-out of one's own, as a library that counts them wrongly does."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
    return Answer(failure=Failure.UNKNOWN)


@BOTH_PRODUCTS
@pytest.mark.parametrize("has_outbox", [False, True], ids=["memory", "outbox"])
async def test_row_68_a_transport_that_swallows_cancellation(path: Path, has_outbox: bool) -> None:
    """Closing ends although a transport answers where it was cancelled, and all is accounted for."""
    transport = Moody(*[time_out_instead] * 8)
    client = make_client(
        settings(), transport=transport, outbox=path if has_outbox else None, limits=SINGLY
    )
    async with client:
        for number in range(8):
            await track(client, f"u{number}")
        await until(lambda: transport.requests == 4)
        async with asyncio.timeout(5):
            report = await client.aclose(timeout_s=0.1)
    assert report.remaining == (8 if has_outbox else 0)
    assert report.dropped == ({} if has_outbox else {"closed": 8})
    assert client.statistics().pending == report.remaining


async def return_unknown() -> Answer:
    """Say that nobody knows."""
    return Answer(failure=Failure.UNKNOWN)


async def wait_for_ever() -> None:
    """Never return."""
    await asyncio.get_running_loop().create_future()


async def hear_nothing() -> None:
    """Return after a while, however often it is cancelled."""
    ends_at = time.monotonic() + 1
    while time.monotonic() < ends_at:
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()


def return_at_once() -> None:
    """Return what cannot be awaited."""


async def raise_group() -> None:
    """Raise a group of what is no `Exception`."""
    raise BaseExceptionGroup("group", [Odd()])


CLOSING_FAULTS: dict[str, Callable[[], Any]] = {
    **TRANSPORT_FAULTS,
    "group": raise_group,
    "hangs": wait_for_ever,
    "hears nothing": hear_nothing,
    "not async": return_at_once,
}


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", CLOSING_FAULTS)
@pytest.mark.parametrize("has_outbox", [False, True], ids=["memory", "outbox"])
async def test_row_68_a_transport_that_does_not_close(
    path: Path, name: str, has_outbox: bool
) -> None:
    """Whatever a transport does when it is closed, closing ends in time, and all that comes after it is done."""
    transport = Moody(*[return_unknown] * 1000)
    transport.aclose = CLOSING_FAULTS[name]  # type: ignore[method-assign]
    outbox = path if has_outbox else None
    client = make_client(settings(), transport=transport, outbox=outbox)
    async with client:
        await client.activate("checkout", "Ashley")
        watch = Stopwatch()
        report = await client.aclose(timeout_s=0.1)
        watch.assert_below(0.6 + SLACK_S)
    pending = client.statistics().accepted
    assert report.remaining == (pending if has_outbox else 0)
    assert report.dropped == ({} if has_outbox else {"closed": pending})
    assert not [one for one in threading.enumerate() if one.name == "vwo_async outbox"]
    if name == "hears nothing":
        await asyncio.sleep(1.2)


@BOTH_PRODUCTS
async def test_row_68_a_transport_that_hears_nothing() -> None:
    """Requests that do not end when they are cancelled hold no close."""
    client = make_client(settings(), transport=Moody(*[hear_nothing] * 8), limits=SINGLY)
    async with client:
        for number in range(8):
            await track(client, f"u{number}")
        await asyncio.sleep(0)
        watch = Stopwatch()
        report = await client.aclose(timeout_s=0.1)
        watch.assert_below(0.6 + SLACK_S)
        assert report.dropped == {"closed": 8}
    await asyncio.sleep(1.2)


@BOTH_PRODUCTS
async def test_row_68_a_hook_that_breaks_the_end_of_events(path: Path) -> None:
    """What is told of the end of an event may raise anything: the others are told, and work goes on."""
    client = make_client(settings(), transport=RecordingTransport(), outbox=path)
    async with client:
        results = [await track(client, f"u{number}") for number in range(3)]

        def burst() -> None:
            raise ValueError

        for result in results:
            receipt = receipt_of(result[result_key()])
            if receipt is not None and receipt.outcome is None:
                receipt.on_settled(burst)
        assert await client.flush_events()
        assert client.statistics().delivered == 3
        assert await track(client, "later", wait=True)


class OddOutbox(SqliteOutbox):
    """An outbox whose every use ends as told a few times."""

    def __init__(self, path: Path, error: BaseException) -> None:
        super().__init__(path)
        self.error = error
        self.left = 0

    def _burst(self) -> None:
        if self.left:
            self.left -= 1
            raise self.error

    def _append(self, rows: Any) -> Any:
        self._burst()
        return super()._append(rows)

    def _remove(self, ids: Any) -> Any:
        self._burst()
        return super()._remove(ids)

    def _load(self, limit: int) -> Any:
        self._burst()
        return super()._load(limit)

    def _tick(self) -> None:
        self._burst()
        super()._tick()


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    "error",
    [ValueError(), MemoryError(), SystemExit(), Odd(), StopIteration(), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
async def test_row_68_writer(
    vwo: FaultServer, path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised in the writer's thread, wherever, the same thread goes on, and so do calls."""
    monkeypatch.setattr(sqlite, "CHECK_INTERVAL_S", 0.02)
    monkeypatch.setattr(restorer, "LOOK_INTERVAL_S", 0.02)
    await vwo.answer(503)
    outbox = OddOutbox(path, error)
    client = make_client(settings(), base_url=vwo.base_url, outbox=outbox, limits=SOON)
    async with client, steady_loop():
        writer = find_writer()
        results = []
        for number in range(10):
            outbox.left = 3
            results.append(await track(client, f"u{number}"))
            await asyncio.sleep(0.05)
        outbox.left = 0
        await until(lambda: count_rows(path) == 10, 5)
        assert find_writer() is writer
        await vwo.answer(200)
        assert await client.flush_events()
    assert vwo.ledger() == names_of(*results)
    assert count_rows(path) == 0


class ForeignOutbox:
    """Somebody's own outbox, which raises a CancelledError that nobody asked for."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[float, bytes]] = {}
        self.faults = 3

    async def open(self, name: str) -> None:
        assert name == fingerprint_of()

    async def load(self, limit: int) -> list[Any]:
        await self._burst()
        return []

    async def append(self, rows: Any) -> list[int]:
        await self._burst()
        ids = [len(self.rows) + number for number, _ in enumerate(rows)]
        self.rows.update(zip(ids, rows, strict=True))
        return ids

    async def remove(self, ids: Any) -> None:
        await self._burst()
        for one in ids:
            self.rows.pop(one, None)

    async def find(self, ids: Any) -> list[int]:
        return [one for one in ids if one in self.rows]

    async def aclose(self) -> None:
        pass

    def describe(self) -> str:
        return "elsewhere"

    async def _burst(self) -> None:
        if self.faults:
            self.faults -= 1
            await cancel_within()


def fingerprint_of() -> str:
    """Return the fingerprint of the sample account."""
    client = make_client(settings())
    return fingerprint(client._engine.snapshot.event_factory.account)


@BOTH_PRODUCTS
async def test_row_68_outbox_of_ones_own() -> None:
    """An outbox of one's own that lets a CancelledError out has failed; no call and no task ends of it."""
    outbox = ForeignOutbox()
    client = make_client(settings(), base_url=DOWN, outbox=outbox)
    async with client:
        for number in range(5):
            await track(client, f"u{number}")
        await until(lambda: len(outbox.rows) == 5)
        report = await client.aclose(timeout_s=0)
    assert report.remaining == 5 and report.kept_in == "elsewhere"


ODD_ANSWERS: dict[str, Any] = {
    "append": [None, (), 7, [[]] * 9],
    "take_stock": [None, (1, 2), Stock(-1), Stock("many")],  # type: ignore[arg-type]
    "find": [None, [[]]],
    "load": [None, [7], "rows"],
    "describe": [None],
}


@BOTH_PRODUCTS
@pytest.mark.parametrize("method", ODD_ANSWERS)
async def test_row_68_an_outbox_that_answers_nonsense(method: str) -> None:
    """Calls do not wait for it, what it cannot be believed is counted, and reports come all the same."""
    for odd in ODD_ANSWERS[method]:
        outbox: Any = ForeignOutbox()

        async def answer(*_: Any, odd: Any = odd) -> Any:
            return odd

        setattr(outbox, method, (lambda: 1 / 0) if method == "describe" else answer)
        client = make_client(settings(), base_url=DOWN, outbox=outbox, storage_timeout_s=60.0)
        async with asyncio.timeout(30), client:
            for number in range(3):
                assert await track(client, f"u{number}")
            await client.aclose(timeout_s=0.1)
            found = client.statistics()
            assert found.accepted == found.pending + sum(found.dropped.values()) == 3
            assert found.outbox_errors or method in ("find", "load")


class OwnOutbox(ForeignOutbox):
    """Somebody's own outbox of which one method raises once what is no `Exception`."""

    def __init__(self, method: str, error: BaseException) -> None:
        super().__init__()
        self.faults = 0
        self.has_raised = False
        whole = getattr(self, method)

        async def burst(*arguments: Any) -> Any:
            if not self.has_raised:
                self.has_raised = True
                raise error
            return await whole(*arguments)

        setattr(self, method, burst)


@BOTH_PRODUCTS
@pytest.mark.parametrize("method", ["load", "append", "remove", "find", "aclose"])
@pytest.mark.parametrize("error", [Odd(), GeneratorExit()], ids=lambda one: type(one).__name__)
async def test_row_68_an_outbox_that_raises_no_exception(method: str, error: BaseException) -> None:
    """What is no `Exception` fails that one use of an outbox; events go on being kept and removed."""
    outbox = OwnOutbox(method, error)
    client = make_client(settings(), transport=RecordingTransport(), outbox=outbox)
    async with client:
        for number in range(5):
            assert await track(client, f"u{number}")
            await asyncio.sleep(0.02)
        assert await track(client, "last", wait=True)
        await until(lambda: client.statistics().delivered == 6)
        report = await client.aclose()
    assert outbox.has_raised
    assert report.remaining == 0
    assert not outbox.rows or method == "remove"


@BOTH_PRODUCTS
@pytest.mark.parametrize("error", [Odd(), GeneratorExit(), ValueError()])
async def test_row_68_an_outbox_that_cannot_open(error: BaseException) -> None:
    """Whatever `open` of an outbox raises, the client says that the outbox cannot be used."""
    outbox = OwnOutbox("open", error)
    client = make_client(settings(), transport=RecordingTransport(), outbox=outbox)
    with pytest.raises(OutboxError, match=f"open raised {type(error).__name__}") as raised:
        await client.open()
    assert raised.value.__cause__ is error


async def assert_hook_fails_alone(hook: Any) -> None:
    """Assert that a hook which fails is counted, and as consent says no, while calls go on."""
    client = make_client(settings(), transport=RecordingTransport(), integrations=hook)
    async with client:
        assert await client.track("checkout", "Ashley", "signup", wait=True)
        await until(lambda: client.statistics().callback_errors == 1)
    async with make_client(settings(), transport=RecordingTransport(), consent=hook) as client:
        assert not await client.track("checkout", "Ashley", "signup")


@BOTH_PRODUCTS
@pytest.mark.parametrize("error", [Odd, GeneratorExit])
@pytest.mark.parametrize("is_plain", [False, True], ids=["async", "plain"])
async def test_row_68_hooks_that_raise_no_exception(
    is_plain: bool, error: type[BaseException]
) -> None:
    """What is no `Exception` is a failure of consent, which then says no, or of integrations, too."""

    async def burst(*_: object) -> bool:
        raise error

    def plain(*_: object) -> bool:
        raise error

    await assert_hook_fails_alone(plain if is_plain else burst)


async def _judge(work: Any, judged: list[bool]) -> None:
    try:
        await work
    except BaseException as error:
        judged.append(is_failure(error))
        if not judged[-1]:
            raise


def test_row_68_what_ends_a_coroutine_is_no_failure() -> None:
    """A coroutine that is closed ends; a GeneratorExit that what it awaits raised has failed."""
    judged: list[bool] = []

    async def burst() -> None:
        raise GeneratorExit

    @coroutine
    def wait() -> Any:
        yield

    asyncio.run(_judge(burst(), judged))
    waiting = _judge(wait(), judged)
    waiting.send(None)
    waiting.close()
    assert judged == [True, False]


@BOTH_PRODUCTS
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_row_68_what_ends_the_process_passes(error: type[BaseException]) -> None:
    """A hook may end the process: KeyboardInterrupt and SystemExit are nobody's failure."""

    def burst(*_: object) -> bool:
        raise error

    async def ask() -> None:
        async with make_client(settings(), transport=RecordingTransport(), consent=burst) as client:
            await client.track("checkout", "Ashley", "signup")

    with pytest.raises(error):
        asyncio.run(ask())


@BOTH_PRODUCTS
@pytest.mark.parametrize("is_plain", [False, True], ids=["async", "plain"])
async def test_row_68_consent_and_integrations(is_plain: bool) -> None:
    """A CancelledError that consent or an integration lets out is its failure, and ends no call."""

    async def burst(*_: object) -> bool:
        await cancel_within()
        return True

    def plain(*_: object) -> bool:
        raise asyncio.CancelledError

    await assert_hook_fails_alone(plain if is_plain else burst)


@BOTH_PRODUCTS
async def test_row_68_consent_that_hears_nothing() -> None:
    """Consent that goes on where it is cancelled counts as no, and holds no call."""

    async def consent(user_id: str) -> bool:
        await hear_nothing()
        return True

    client = make_client(
        settings(), transport=RecordingTransport(), consent=consent, storage_timeout_s=0.05
    )
    async with client:
        watch = Stopwatch()
        assert not await client.track("checkout", "Ashley", "signup")
        watch.assert_below(0.1 + SLACK_S)
    await asyncio.sleep(1.2)
