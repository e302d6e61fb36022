"""The files of an outbox, looked at without a client: what waits in them, and whether a process has them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .._delivery.outbox.event_file import unlink
from .._delivery.outbox.process_lock import ProcessLock, find_other_files
from .exit_code import CommandError, ExitCode

_LOG = "-wal"
_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True)
class FileState:
    """One file.

    Attributes:
        path: Where it is.
        events: How many events are in it; None if it cannot be read.
        accounts: Of how many accounts or SDK keys they are.
        oldest_s: When the oldest was accepted, in seconds since the epoch; None without events.
        bytes: Its size, with what SQLite keeps beside it.
        is_in_use: Whether a running process has it.
    """

    path: Path
    events: int | None
    accounts: int
    oldest_s: float | None
    bytes: int
    is_in_use: bool


def list_files(path: Path) -> list[Path]:
    """Return the files of an outbox: its own, and one for each further process that used it.

    Raises:
        CommandError: There is none, or one of the files is something else.
        OSError: The folder cannot be read.
    """
    files = find_other_files(path, path)
    if path.is_file():
        files.insert(0, path)
    if not files:
        raise CommandError(f"{path}: there is no outbox: look at the path", ExitCode.FILE)
    for one in files:
        _check_kind(one)
    return files


def _check_kind(path: Path) -> None:
    """Refuse a file that is no database: nothing of it may be locked, set aside or removed.

    Raises:
        CommandError: It is none.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(len(_SQLITE))
    # A file that was just made is empty.
    if head and head != _SQLITE:
        raise CommandError(f"{path}: is no outbox: look at the path", ExitCode.FILE)


def check_files(path: Path) -> list[FileState]:
    """Return what is in the files of an outbox, none of which may be anything else.

    Raises:
        CommandError: There is none, or one cannot be read as an outbox: it may be the database of something else.
        OSError: One cannot be read.
    """
    files = [read_state(one) for one in list_files(path)]
    for one in files:
        if one.events is None:
            raise CommandError(
                f"{one.path}: cannot be read as an outbox: look at the path, and move the file if it is damaged",
                ExitCode.FILE,
            )
    return files


def list_set_aside(path: Path) -> list[Path]:
    """Return the damaged files that were set aside."""
    found = path.parent.glob(f"{path.name}*.corrupt-*")
    return sorted(one for one in found if not one.name.endswith((_LOG, "-shm")))


def read_state(path: Path) -> FileState:
    """Return what is in a file, of a running process or not; changes nothing.

    Raises:
        OSError: It cannot be read.
    """
    lock = ProcessLock.take(path)
    if lock is not None:
        # At once: a service that starts meanwhile would have to take another file.
        lock.release()
    return _look_at(path, is_in_use=lock is None)


def _look_at(path: Path, *, is_in_use: bool) -> FileState:
    log = path.with_name(path.name + _LOG)
    size = sum(one.stat().st_size for one in (path, log) if one.exists())
    try:
        return FileState(path, *_read_copy(path), size, is_in_use)
    except sqlite3.Error:
        return FileState(path, None, 0, None, size, is_in_use)


def _read_copy(path: Path) -> tuple[int, int, float | None]:
    """Count the events in a copy, since the file itself is locked for as long as it is in use."""
    with TemporaryDirectory() as folder:
        copied = Path(folder, path.name)
        for suffix in ("", _LOG):
            part = path.with_name(path.name + suffix)
            if part.exists():
                shutil.copyfile(part, copied.with_name(copied.name + suffix))
        with closing(sqlite3.connect(copied)) as connection:
            row: tuple[int, int, float | None] = connection.execute(
                "SELECT count(*), count(DISTINCT fingerprint), min(wall_s) FROM events"
            ).fetchone()
            return row


def purge(path: Path) -> Iterator[FileState]:
    """Remove the files that no process has, with all events in them; yield what was in each file.

    Those that a process has are left alone, and yielded too.

    Raises:
        OSError: One cannot be removed.
    """
    for one in list_files(path):
        lock = ProcessLock.take(one)
        state = _look_at(one, is_in_use=lock is None)
        if lock is not None:
            try:
                unlink(one)
            finally:
                lock.release()
        yield state
