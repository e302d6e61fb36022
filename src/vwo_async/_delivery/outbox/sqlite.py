"""An outbox in SQLite, used by one thread that belongs to it.

Every write that waits when the thread comes round goes into one transaction, so that a burst of events
costs one commit. WAL with synchronous NORMAL survives the death of the process; FULL survives that of
the machine.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..._error import OutboxError
from ..._log import log_error, log_info
from .process_lock import ProcessLock, find_other_files, lock_first_free
from .protocol import Row

SCHEMA_VERSION = 1
ADOPT_INTERVAL_S = 60.0
GENERATION = 2**48
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    wall_s REAL NOT NULL,
    payload BLOB NOT NULL
)
"""


class _Job(NamedTuple):
    work: Callable[[], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class SqliteOutbox:
    """Keeps accepted events in a file until they are delivered.

    Several processes may use one path: each has a file of its own beside it, and what a dead one left is
    taken over once. A file that is damaged, or of another version, is set aside and a fresh one made.

    Args:
        path: The file; its folder must exist. Made with mode 0600.
        synchronous: ``NORMAL`` survives the death of the process, ``FULL`` also that of the machine.
    """

    def __init__(self, path: str | os.PathLike[str], *, synchronous: str = "NORMAL") -> None:
        if synchronous not in ("NORMAL", "FULL"):
            raise ValueError("synchronous must be NORMAL or FULL")
        self._path = self._file = Path(path)
        self._synchronous = synchronous
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock: ProcessLock | None = None
        self._connection: sqlite3.Connection | None = None
        self._fingerprint = ""
        # Rows that processes before this one left, not yet handed out.
        self._left: deque[int] = deque()
        # Ended events whose rows could not be removed yet: a full disk refuses deletes too.
        self._unremoved: set[int] = set()
        self._removed_in_round: set[int] = set()
        self._identity = (0, 0)
        # Added to the row ids of each file that takes the place of one that is gone, so that an id names
        # one event for as long as the process lives.
        self._base = 0
        self._stopped: asyncio.Future[None] | None = None
        self._adopt_at = time.monotonic() + ADOPT_INTERVAL_S

    # The awaiting half

    async def open(self, fingerprint: str) -> None:
        """Start the thread and take a file.

        Raises:
            OutboxError: The path cannot be used.
        """
        self._fingerprint = fingerprint
        loop = asyncio.get_running_loop()
        self._stopped = loop.create_future()
        self._thread = threading.Thread(
            target=self._run, args=(loop, self._stopped), name="vwo_async outbox", daemon=True
        )
        self._thread.start()
        try:
            await self._do(self._open)
        except (OSError, sqlite3.Error) as error:
            await self.aclose()
            raise OutboxError(f"the outbox cannot be opened: {_reason(error)}") from None

    async def load(self, limit: int) -> Sequence[Row]:
        """Return events of earlier processes, oldest first, each once."""
        rows: Sequence[Row] = await self._do(lambda: self._load(limit))
        return rows

    async def append(self, rows: Sequence[tuple[float, bytes]]) -> Sequence[int]:
        """Keep events; committed when this returns."""
        ids: Sequence[int] = await self._do(lambda: self._append(rows))
        return ids

    async def remove(self, ids: Collection[int]) -> None:
        """Forget events that ended."""
        await self._do(lambda: self._remove(ids))

    async def aclose(self) -> None:
        """Stop the thread and give the file up; what is in it stays."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._jobs.put(None)
        # Not thread.join in an executor: a disk that hangs would then hold the end of the loop.
        if self._stopped is not None:
            await asyncio.shield(self._stopped)
            while thread.is_alive():  # noqa: ASYNC110 - its last word is said, and it ends in no time
                await asyncio.sleep(0.001)

    async def find(self, ids: Collection[int]) -> Collection[int]:
        """Return those of *ids* whose rows are in the file that stands at the path."""
        wanted = set(ids)
        found: set[int] = await self._do(lambda: wanted & self._find_all())
        return found

    def describe(self) -> str:
        """Return the path."""
        return str(self._file)

    async def _do(self, work: Callable[[], Any]) -> Any:
        if self._thread is None:
            raise OutboxError("the outbox is not open")
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._jobs.put(_Job(work, future, loop))
        return await future

    # The thread

    def _run(self, loop: asyncio.AbstractEventLoop, stopped: asyncio.Future[None]) -> None:
        try:
            while self._run_round():
                pass
        finally:
            self._close()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_set_done, stopped)

    def _run_round(self) -> bool:
        """Do all jobs that wait, in one transaction; return False when asked to stop."""
        wait_s = self._adopt_at - time.monotonic()
        if wait_s <= 0:
            # By the clock and not when idle, since a busy process may never be.
            self._adopt_quietly()
            return True
        try:
            jobs = [self._jobs.get(timeout=wait_s)]
        except queue.Empty:
            return True
        while not self._jobs.empty():
            jobs.append(self._jobs.get())
        wanted = [job for job in jobs if job is not None]
        if wanted:
            self._do_jobs(wanted)
        return len(wanted) == len(jobs)

    def _do_jobs(self, jobs: Sequence[_Job]) -> None:
        results: list[tuple[_Job, Any, Exception | None]] = []
        for job in jobs:
            try:
                results.append((job, job.work(), None))
            except Exception as error:  # noqa: BLE001 - each job's error goes to whoever asked for it
                results.append((job, None, error))
        fault = self._commit()
        for job, value, failure in results:
            _answer(job, value, failure or fault)

    def _commit(self) -> Exception | None:
        removed, self._removed_in_round = self._removed_in_round, set()
        connection = self._connection
        if connection is None or not connection.in_transaction:
            return None
        try:
            connection.commit()
        except sqlite3.Error as error:
            # A full disk shows here, and what was to be removed is still there.
            self._rollback()
            return error
        self._unremoved -= removed
        return None

    def _rollback(self) -> None:
        try:
            if self._connection is not None:
                self._connection.rollback()
        except sqlite3.Error:
            self._connection = None

    def _open(self) -> None:
        if self._path.is_dir():
            raise IsADirectoryError("it is a directory")
        self._lock = lock_first_free(self._path)
        self._file = self._lock.path
        found = self._execute(
            "SELECT id FROM events WHERE fingerprint = ? ORDER BY id", (self._fingerprint,)
        )
        self._left.extend(row[0] for row in found)
        self._adopt_quietly()

    def _connect_sound(self, path: Path) -> sqlite3.Connection:
        """Open the file; set it aside and make a fresh one where it is damaged or of another version."""
        try:
            return _connect(path, self._synchronous)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
                raise
            _set_aside(path)
            log_error("the outbox was damaged or of another version, and has been set aside")
            return _connect(path, self._synchronous)

    def _sound(self) -> sqlite3.Connection:
        """Return the connection, made again where it was lost to an error or its file is gone."""
        if self._lock is None:
            raise OutboxError("the outbox is not open")
        connection = self._connection
        if connection is not None and (connection.in_transaction or self._is_in_place()):
            return connection
        if connection is not None:
            connection.close()
        self._connection = connection = self._connect_sound(self._lock.path)
        identity = _identify(self._lock.path)
        if self._identity not in ((0, 0), identity):
            self._base += GENERATION
            self._left.clear()
        self._identity = identity
        return connection

    def _is_in_place(self) -> bool:
        return self._lock is not None and _identify(self._lock.path) == self._identity

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        connection = self._sound()
        try:
            return connection.execute(statement, values)
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                self._abandon(connection)
            raise

    def _abandon(self, connection: sqlite3.Connection) -> None:
        """Let go of a damaged file, so that the next use sets it aside."""
        connection.close()
        self._connection = None
        if self._lock is not None:
            _set_aside(self._lock.path)
            log_error("the outbox is damaged and has been set aside")

    def _append(self, rows: Sequence[tuple[float, bytes]]) -> list[int]:
        return [self._insert(self._fingerprint, wall_s, payload) for wall_s, payload in rows]

    def _find_all(self) -> set[int]:
        return {row[0] + self._base for row in self._execute("SELECT id FROM events")}

    def _insert(self, fingerprint: str, wall_s: float, payload: bytes) -> int:
        statement = "INSERT INTO events (fingerprint, wall_s, payload) VALUES (?, ?, ?)"
        return (
            self._execute(statement, (fingerprint, wall_s, payload)).lastrowid or 0
        ) + self._base

    def _remove(self, ids: Collection[int]) -> None:
        self._unremoved.update(ids)
        self._sound()
        for one in self._unremoved - self._removed_in_round:
            if one > self._base:
                self._execute("DELETE FROM events WHERE id = ?", (one - self._base,))
            self._removed_in_round.add(one)

    def _load(self, limit: int) -> list[Row]:
        self._sound()
        rows: list[Row] = []
        while self._left and len(rows) < limit:
            statement = "SELECT id, wall_s, payload FROM events WHERE id = ?"
            id_ = self._left.popleft()
            found = self._execute(statement, (id_ - self._base,))
            rows.extend(Row(id_, wall_s, payload) for _, wall_s, payload in found)
        return rows

    def _adopt_quietly(self) -> None:
        self._adopt_at = time.monotonic() + ADOPT_INTERVAL_S
        try:
            self._adopt()
        except Exception:  # noqa: BLE001 - what could not be taken over stays for the next time
            self._rollback()

    def _adopt(self) -> None:
        """Take over what processes left that are no more."""
        if self._lock is None:
            return
        for path in find_other_files(self._path, self._lock.path):
            orphan = ProcessLock.take(path)
            if orphan is None:
                continue
            try:
                self._take_over(path)
            except (OSError, sqlite3.Error):
                # One that cannot be read must not keep the others from being taken over.
                self._rollback()
            finally:
                orphan.release()

    def _take_over(self, path: Path) -> None:
        """Move the rows of *path* into the own file: committed there before they are removed here."""
        other = self._connect_sound(path)
        try:
            statement = "SELECT fingerprint, wall_s, payload FROM events ORDER BY id"
            rows = other.execute(statement).fetchall()
            ids = [(row[0], self._insert(*row)) for row in rows]
            self._sound().commit()
            other.execute("DELETE FROM events")
            other.commit()
        finally:
            other.close()
        if rows:
            log_info("took over %d events that another process left", len(rows))
        self._left.extend(id_ for fingerprint, id_ in ids if fingerprint == self._fingerprint)
        _unlink(path)

    def _close(self) -> None:
        if self._unremoved and self._connection is not None:
            # There may be room again since the last time.
            with suppress(sqlite3.Error, OSError, OutboxError):
                self._remove(())
                self._commit()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __repr__(self) -> str:
        return "<SqliteOutbox>"


def _answer(job: _Job, value: Any, error: Exception | None) -> None:
    def settle() -> None:
        if job.future.done():
            return
        if error is None:
            job.future.set_result(value)
        else:
            job.future.set_exception(error)

    if not job.loop.is_closed():
        job.loop.call_soon_threadsafe(settle)


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _identify(path: Path) -> tuple[int, int]:
    """Return what tells this file from another of the same name, (0, 0) where there is none."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def _connect(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open *path*, made with mode 0600 where it is new, in the version that this module reads."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    connection = sqlite3.connect(
        path, timeout=5, isolation_level="DEFERRED", check_same_thread=True
    )
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version != SCHEMA_VERSION and tables:
            raise sqlite3.DatabaseError("another version")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("damaged")
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def _set_aside(path: Path) -> None:
    """Rename the file, with what SQLite keeps beside it, so that nothing of it is lost."""
    stamp = time.time_ns()
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(path.with_name(f"{path.name}.corrupt-{stamp}{suffix}"))


def _unlink(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """Return what is wrong without the path, which may name a customer or a user."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
