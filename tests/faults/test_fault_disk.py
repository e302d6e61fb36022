"""Rows 36 to 41 of docs/faults.md: the outbox on a disk that is full, damaged, gone or slow."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tracking
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, settings
from outbox_file import count_rows
from own_time import Stopwatch, assert_below
from rig import FaultServer, names_of, steady_loop
from tracking import track
from waiting import until

from vwo_async import OutboxError, TrackResult, VWOClient
from vwo_async._delivery.outbox import restorer
from vwo_async.outbox import SqliteOutbox
from vwo_async.transport import Limits

pytestmark = [pytest.mark.anyio, pytest.mark.no_debug, pytest.mark.timeout(20)]

NOBODY = 65534
# A row of several pages, so that a small disk is soon full.
LARGE = "x" * 4000
SOON = Limits(backoff_base_s=0.02, backoff_cap_s=0.05)


# Events are large, so that few of them fill a disk.
track_many = partial(tracking.track_many, user_agent=LARGE)
leave_behind = partial(tracking.leave_behind, user_agent=LARGE)


def assert_books(vwo: FaultServer, client: VWOClient, results: list[TrackResult]) -> None:
    """Assert that VWO has the events of *results*, each once, and that the client says the same."""
    assert vwo.ledger() == names_of(*results)
    statistics = client.statistics()
    assert statistics.delivered == statistics.accepted == len(results)


def errors_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the error lines of the package."""
    return [
        one.getMessage()
        for one in caplog.records
        if one.name == "vwo_async" and one.levelno >= logging.ERROR
    ]


# Rows 36 and 37


class Disk:
    """A disk of 600 kB that can be filled to the last byte, with an outbox on it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "outbox.db"
        self.outbox = SqliteOutbox(self.path)
        self._ballast = folder / "ballast"

    async def fill(self) -> None:
        """Leave no room."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (4096, 1):
                while _write(file.fileno(), size):
                    pass

    async def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


def _write(descriptor: int, size: int) -> bool:
    try:
        os.write(descriptor, b"x" * size)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


async def execute(outbox: SqliteOutbox, statement: str) -> None:
    """Execute *statement* in the outbox's own thread, which has the file locked."""
    assert outbox._thread is not None
    await outbox._thread.do(lambda: outbox._ensure_open()._connection.execute(statement))


class CountedPages(Disk):
    """The same for who may not mount: SQLite itself sees to the limit, and a trigger to deletes."""

    async def _execute(self, statement: str) -> None:
        await execute(self.outbox, statement)

    async def fill(self) -> None:
        await self._execute(
            "CREATE TRIGGER full BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        await self._execute("PRAGMA max_page_count = 1")

    async def free(self) -> None:
        await self._execute("PRAGMA max_page_count = 1000000")
        await self._execute("DROP TRIGGER full")


def mount(folder: Path) -> bool:
    """Put a file system of 600 kB on *folder*; tell whether that is permitted."""
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or os.geteuid() != 0:
        return False
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def unmount(folder: Path) -> None:
    """Take the file system away, used or not."""
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk: a real one where mounting is permitted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder):
        yield CountedPages(folder)
        return
    try:
        yield Disk(folder)
    finally:
        unmount(folder)


async def track_until_full(client: VWOClient) -> list[TrackResult]:
    """Track until the outbox has failed to keep events."""
    results: list[TrackResult] = []
    while client.statistics().outbox_errors < 5:
        assert len(results) < 500
        results += await track_many(client, 5, f"full{len(results)}-")
    return results


async def assert_idle() -> None:
    """Assert that nothing spins."""
    begin = time.process_time()
    await asyncio.sleep(0.5)
    assert_below(time.process_time() - begin, 0.25)


@BOTH_PRODUCTS
async def test_row_36_disk_full_at_insert(
    vwo: FaultServer, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """While the disk is full events go on from memory and are counted; it heals when there is room."""
    client = make_client(settings(), base_url=vwo.base_url, outbox=disk.outbox, limits=SOON)
    async with client, steady_loop():
        results = [await track(client, "before", wait=True)]
        await disk.fill()
        results += await track_until_full(client)
        await client.flush_events()
        assert client.statistics().delivered == len(results)
        await assert_idle()
        assert len(errors_of(caplog)) < 40

        await disk.free()
        await vwo.answer(503)
        errors = client.statistics().outbox_errors
        results.append(await track(client, "healed", user_agent=LARGE))
        assert count_rows(disk.path) >= 1
        assert client.statistics().outbox_errors == errors
        await vwo.answer(200)
        await client.flush_events()
    assert_books(vwo, client, results)
    assert count_rows(disk.path) == 0


async def fail_deletes(
    vwo: FaultServer, disk: Disk, client: VWOClient, caplog: pytest.LogCaptureFixture
) -> list[TrackResult]:
    """Deliver 20 events whose rows cannot be removed, because the disk is full by then."""
    await vwo.answer(503)
    results = await track_many(client, 20)
    assert count_rows(disk.path) == 20
    await disk.fill()
    await vwo.answer(200)
    await client.flush_events()
    await until(lambda: any("remove raised" in one for one in errors_of(caplog)))
    return results


@BOTH_PRODUCTS
async def test_row_37_disk_full_at_delete(
    vwo: FaultServer,
    disk: Disk,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was sent and cannot be removed is not sent again by this process, and leaves once there is room."""
    monkeypatch.setattr(restorer, "LOOK_INTERVAL_S", 0.02)
    client = make_client(settings(), base_url=vwo.base_url, outbox=disk.outbox, limits=SOON)
    async with client, steady_loop():
        results = await fail_deletes(vwo, disk, client, caplog)
        await assert_idle()
        assert vwo.ledger() == names_of(*results)
        assert client.statistics().restored == 0

        await disk.free()
        results.append(await track(client, "after", wait=True))
        await until(lambda: count_rows(disk.path) == 0, 5)
    assert_books(vwo, client, results)


@BOTH_PRODUCTS
async def test_row_37_room_before_closing(
    vwo: FaultServer, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """What could not be removed is removed at the latest by closing, so that nobody sends it again."""
    client = make_client(settings(), base_url=vwo.base_url, outbox=disk.outbox, limits=SOON)
    async with client, steady_loop():
        results = await fail_deletes(vwo, disk, client, caplog)
        await disk.free()
    assert count_rows(disk.path) == 0
    async with make_client(settings(), base_url=vwo.base_url, outbox=disk.path) as second:
        await asyncio.sleep(0.2)
        assert second.statistics().restored == 0
    assert_books(vwo, client, results)


# Row 38


def damage_header(content: bytearray) -> bytes:
    """Overwrite what says that it is a database."""
    content[:16] = os.urandom(16)
    return bytes(content)


def damage_page(content: bytearray) -> bytes:
    """Overwrite the root of the table."""
    content[4096:8192] = os.urandom(4096)
    return bytes(content)


def damage_zero(content: bytearray) -> bytes:
    """Lose a page in the middle, as a power failure does."""
    middle = len(content) // 8192 * 4096
    content[middle : middle + 4096] = bytes(4096)
    return bytes(content)


def damage_end(content: bytearray) -> bytes:
    """Lose the second half."""
    return bytes(content[: len(content) // 2 + 100])


def damage_all(content: bytearray) -> bytes:
    """Be something else."""
    return b"hello, this is no database at all\n" * 1000


DAMAGES = {
    "header": damage_header,
    "page": damage_page,
    "lost page": damage_zero,
    "truncated": damage_end,
    "no database": damage_all,
}


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", DAMAGES)
async def test_row_38_damaged_file(
    vwo: FaultServer, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged file is set aside as it is, with one error in the log, and a fresh one serves."""
    path = tmp_path / "outbox.db"
    await leave_behind(path, 100)
    damaged = DAMAGES[name](bytearray(path.read_bytes()))
    path.write_bytes(damaged)
    client = make_client(settings(), base_url=vwo.base_url, outbox=path, limits=SOON)
    async with client, steady_loop():
        assert len(errors_of(caplog)) == 1
        (aside,) = tmp_path.glob("outbox.db.corrupt-*")
        # SQLite may have counted the opening in its header.
        assert aside.read_bytes()[100:] == damaged[100:]
        await vwo.answer(503)
        results = await track_many(client, 10)
        assert count_rows(path) == 10
        await vwo.answer(200)
        # Nobody knows how many events are in the file that was set aside.
        report = await client.flush_events()
        assert (report.pending, report.is_outbox_read, bool(report)) == (0, False, False)
        assert client.statistics().outbox_errors == 0
    assert_books(vwo, client, results)
    assert count_rows(path) == 0


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", ["header", "page", "no database"])
async def test_row_38_damaged_while_open(
    vwo: FaultServer, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is damaged in use costs no event, and later events are kept again."""
    path = tmp_path / "outbox.db"
    await leave_behind(path, 100, "earlier")
    await vwo.answer(503)
    async with make_client(settings(), base_url=vwo.base_url, outbox=path, limits=SOON) as client:
        async with steady_loop():
            await until(lambda: client.statistics().restored == 100)
            damaged = DAMAGES[name](bytearray(path.read_bytes()))
            for suffix in ("", "-wal"):
                part = path.with_name(path.name + suffix)
                with part.open("r+b") as file:
                    file.write(damaged)
            results = await track_many(client, 50)
            await vwo.answer(200)
            await client.flush_events()
            assert len(errors_of(caplog)) < 20
            results += [await track(client, f"later{number}", wait=True) for number in range(5)]
        assert client.statistics().delivered == 155
    assert not names_of(*results) - vwo.ledger()
    assert max(vwo.ledger().values()) == 1
    assert vwo.ledger().total() == 155


# Row 39


DEEP = b'{"kind":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
POISONS: dict[str, dict[str, Any]] = {
    "no JSON": {"payload": b"{"},
    "not UTF-8": {"payload": b"\xff\xfe\x00"},
    "list": {"payload": b"[1]"},
    "number": {"payload": 5},
    "text": {"payload": "hello"},
    "empty": {"payload": b""},
    "deep": {"payload": DEEP},
    "no kind": {"payload": b"{}"},
    "kind of a wrong type": {"payload": b'{"kind": []}'},
    "claims of a wrong type": {"payload": b'{"kind": "goal", "claims": 5}'},
    "time of a wrong type": {"wall_s": "yesterday"},
    "time out of range": {"wall_s": 1e300},
}


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", POISONS)
async def test_row_39_poisoned_row(vwo: FaultServer, tmp_path: Path, name: str) -> None:
    """A row that cannot be read is skipped, counted and removed; those after it are delivered."""
    path = tmp_path / "outbox.db"
    left = await leave_behind(path, 10)
    with closing(sqlite3.connect(path)) as connection:
        for column, value in POISONS[name].items():
            connection.execute(f"UPDATE events SET {column} = ? WHERE id = 1", (value,))
        connection.commit()
    async with make_client(settings(), base_url=vwo.base_url, outbox=path) as client, steady_loop():
        await until(lambda: vwo.ledger().total() >= 9, 5)
        await client.flush_events()
        statistics = client.statistics()
        # A time that makes no sense may be all that is wrong with it.
        skipped = 10 - statistics.delivered
        assert skipped == statistics.outbox_errors + sum(statistics.dropped.values())
        assert skipped == 1 or "time" in name
        assert statistics.pending == 0
    assert not vwo.ledger() - names_of(*left)
    assert vwo.ledger().total() == 10 - skipped
    assert count_rows(path) == 0


@BOTH_PRODUCTS
@pytest.mark.parametrize("version", [0, 1, 99])
async def test_row_39_another_schema(
    vwo: FaultServer, tmp_path: Path, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of another version is set aside with all that is in it, and a fresh one serves."""
    path = tmp_path / "outbox.db"
    await leave_behind(path, 10)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE events RENAME COLUMN payload TO body")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    content = path.read_bytes()
    async with make_client(settings(), base_url=vwo.base_url, outbox=path) as client, steady_loop():
        results = [await track(client, f"new{number}", wait=True) for number in range(3)]
        assert client.statistics().outbox_errors == 0
    (aside,) = tmp_path.glob("outbox.db.corrupt-*")
    assert aside.read_bytes() == content
    assert len(errors_of(caplog)) == 1
    assert_books(vwo, client, results)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up the rights of root, to whom modes mean nothing."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter and write to, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="vwo_async"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


@BOTH_PRODUCTS
@pytest.mark.parametrize("kind", ["file", "folder", "lock", "path is a folder"])
async def test_row_39_unusable_path(vwo: FaultServer, open_folder: Path, kind: str) -> None:
    """A path that cannot be used is a clear error at open, without the path; no thread stays."""
    path = open_folder / "outbox.db"
    if kind == "path is a folder":
        path.mkdir()
    elif kind == "folder":
        open_folder.chmod(0o555)
    else:
        one = path if kind == "file" else path.with_name("outbox.db.lock")
        one.touch()
        one.chmod(0o000)
    client = make_client(settings(), base_url=vwo.base_url, outbox=path)
    with as_nobody(), pytest.raises(OutboxError) as caught:
        await client.open()
    expected = "directory" if kind == "path is a folder" else "Permission denied"
    assert expected in str(caught.value)
    assert str(open_folder) not in str(caught.value)
    # The thread may still be on its way out.
    await until(lambda: all(one.name != "vwo_async outbox" for one in threading.enumerate()), 5)


@BOTH_PRODUCTS
async def test_row_39_unusable_path_without_open(vwo: FaultServer, open_folder: Path) -> None:
    """Where nobody called open, events go on from memory, each counted."""
    path = open_folder / "outbox.db"
    path.touch()
    path.chmod(0o000)
    client = make_client(settings(), base_url=vwo.base_url, outbox=path)
    with as_nobody():
        results = [await track(client, f"u{number}", wait=True) for number in range(5)]
        assert client.statistics().outbox_errors == 5
        await client.aclose()
    assert_books(vwo, client, results)


@BOTH_PRODUCTS
async def test_row_39_orphan_that_cannot_be_read(vwo: FaultServer, tmp_path: Path) -> None:
    """What another process left is taken over also where something beside it cannot be."""
    path = tmp_path / "outbox.db"
    left = await leave_behind(path, 5)
    path.rename(tmp_path / "outbox.db.2")
    (tmp_path / "outbox.db.1").mkdir()
    async with make_client(settings(), base_url=vwo.base_url, outbox=path) as client, steady_loop():
        await until(lambda: vwo.ledger().total() == 5, 5)
        await client.flush_events()
    assert_books(vwo, client, left)


# Row 40


def unlink(folder: Path) -> None:
    """Delete the files of the outbox."""
    for one in folder.iterdir():
        one.unlink()


def lose(folder: Path) -> Callable[[Path], None]:
    """Return what takes the files away: the volume where it is one, else the files."""
    return unmount if os.path.ismount(folder) else unlink


@BOTH_PRODUCTS
@pytest.mark.parametrize("kind", ["deleted", "volume gone"])
async def test_row_40_file_gone_while_open(vwo: FaultServer, disk: Disk, kind: str) -> None:
    """With its file or volume gone the client goes on: every event is delivered, once."""
    folder = disk.path.parent
    client = make_client(settings(), base_url=vwo.base_url, outbox=disk.outbox, limits=SOON)
    async with client, steady_loop():
        results = [await track(client, "before", wait=True)]
        await vwo.answer(503)
        results += await track_many(client, 10, "pending")
        (unlink if kind == "deleted" else lose(folder))(folder)
        results += await track_many(client, 10, "gone")
        await assert_idle()
        await vwo.answer(200)
        await client.flush_events()
        results += await track_many(client, 10, "after")
    assert_books(vwo, client, results)


@BOTH_PRODUCTS
@pytest.mark.parametrize("kind", ["deleted", "volume gone"])
async def test_row_40_what_is_kept_can_be_found(vwo: FaultServer, disk: Disk, kind: str) -> None:
    """What closing reports as kept the next client finds; what went with the file is not called kept."""
    folder = disk.path.parent
    await vwo.answer(503)
    client = make_client(settings(), base_url=vwo.base_url, outbox=disk.outbox, limits=SOON)
    async with client, steady_loop():
        await track_many(client, 10, "pending")
        (unlink if kind == "deleted" else lose(folder))(folder)
        await track_many(client, 10, "gone")
        report = await client.aclose(timeout_s=0)
    assert report.remaining + report.dropped.get("closed", 0) == 20
    await vwo.answer(200)
    async with make_client(settings(), base_url=vwo.base_url, outbox=disk.path) as second:
        await asyncio.sleep(0.3)
        await second.flush_events()
        assert second.statistics().restored == report.remaining
    assert vwo.ledger().total() == report.remaining


# Row 41


class SlowOutbox(SqliteOutbox):
    """An outbox on a disk that takes its time over every commit."""

    def __init__(self, path: Path, delay_s: float) -> None:
        super().__init__(path)
        self.delay_s = delay_s
        self.commits = 0

    def _append(self, rows: Sequence[tuple[float, bytes]]) -> Sequence[int]:
        self.commits += 1
        time.sleep(self.delay_s)
        return super()._append(rows)

    def _remove(self, ids: Collection[int]) -> None:
        self.commits += 1
        time.sleep(self.delay_s)
        super()._remove(ids)


@BOTH_PRODUCTS
async def test_row_41_slow_disk(vwo: FaultServer, tmp_path: Path) -> None:
    """A disk that takes 500 ms to sync blocks no loop; calls that come together wait once."""
    path = tmp_path / "outbox.db"
    outbox = SlowOutbox(path, 0.5)
    client = make_client(
        settings(), base_url=vwo.base_url, outbox=outbox, storage_timeout_s=3, close_timeout_s=5
    )
    async with client, steady_loop():
        watch = Stopwatch()
        results = await track_many(client, 100)
        watch.assert_below(2.5)
        await client.flush_events()
        await until(lambda: count_rows(path) == 0)
        assert client.statistics().outbox_errors == 0
        assert outbox.commits < 20
    assert_books(vwo, client, results)


@BOTH_PRODUCTS
@pytest.mark.timed
async def test_row_41_too_slow_disk(vwo: FaultServer, tmp_path: Path) -> None:
    """Where the disk takes longer than calls may, they go on without it, counted, and nothing is sent twice."""
    path = tmp_path / "outbox.db"
    client = make_client(
        settings(),
        base_url=vwo.base_url,
        outbox=SlowOutbox(path, 0.5),
        storage_timeout_s=0.1,
        close_timeout_s=5,
    )
    async with client, steady_loop():
        watch = Stopwatch()
        results = await track_many(client, 20)
        watch.assert_below(0.1 + 0.3)
        assert client.statistics().outbox_errors == 20
        await client.flush_events()
        await until(lambda: count_rows(path) == 0)
    assert_books(vwo, client, results)


@BOTH_PRODUCTS
@pytest.mark.timed
async def test_row_41_stuck_disk_does_not_hold_close(vwo: FaultServer, tmp_path: Path) -> None:
    """A disk that does not answer holds closing no longer than closing may take."""
    outbox = SlowOutbox(tmp_path / "outbox.db", 0)
    client = make_client(settings(), base_url=vwo.base_url, outbox=outbox, storage_timeout_s=0.1)
    async with client, steady_loop():
        results = [await track(client, "before", wait=True)]
        outbox.delay_s = 3
        results += await track_many(client, 5, "stuck")
        await client.flush_events()
        watch = Stopwatch()
        await client.aclose(timeout_s=0.3)
        watch.assert_below(0.3 + 0.5)
    assert_books(vwo, client, results)
