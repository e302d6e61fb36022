"""One SQLite file of events, held by one process and one thread alone.

The file is locked for as long as it is open, so that SQLite needs no shared memory beside it (one that is
cut short would end the process), and a row is written with few steps: each step lets go of Python's lock
and has to get it back. WAL with synchronous NORMAL survives the death of the process; FULL survives that
of the machine.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

SCHEMA_VERSION = 1
# Rows in one statement; SQLite before 3.32 knows 999 variables at most.
MAX_ROWS = 240
# Reading a large file to the end takes seconds; what is damaged in one shows when it is read.
MAX_CHECKED_BYTES = 64_000_000
# Ids are given out here and never twice, so the table need not remember the largest.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    wall_s REAL NOT NULL,
    payload BLOB NOT NULL
)
"""
_COLUMNS = {"id", "fingerprint", "wall_s", "payload"}
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PARTS = ("", "-wal", "-shm")

# Device, inode, size and time of the last change, of the file and of its log.
_State = tuple[tuple[int, ...], tuple[int, ...]]


class Identity(NamedTuple):
    """What tells a file from any other that takes its name, or its place on the disk."""

    device: int
    inode: int
    token: int


class StoredRow(NamedTuple):
    """One row of the table, as it is found."""

    id: int
    fingerprint: str
    wall_s: float
    payload: bytes


class Share(NamedTuple):
    """What is in a part of the file.

    Attributes:
        last_id: The last row that was looked at, None where there was none.
        own: Rows of one account.
        foreign: Rows of others.
        oldest_wall_s: When the oldest of these was accepted.
    """

    last_id: int | None
    own: int
    foreign: int
    oldest_wall_s: float


class EventFile:
    """An open file. Everything may raise `sqlite3.Error` or `OSError`.

    Args:
        path: The file; made with mode 0600 where there is none.
        synchronous: ``NORMAL`` or ``FULL``.

    Attributes:
        identity: What tells this file from another that takes its name.
        last_id: The largest id that was in it when it was opened.
    """

    def __init__(self, path: Path, synchronous: str) -> None:
        self._path = os.fspath(path)
        self._wal_path = f"{self._path}-wal"
        self._synchronous = synchronous
        self._connection = _connect(path, synchronous)
        self.last_id: int = self._ask("SELECT max(id) FROM events")[0] or 0
        self._state = self._look()
        (token,) = self._ask("PRAGMA application_id")
        device, inode, *_ = self._state[0]
        self.identity = Identity(device, inode, token)

    def rename(self, token: int) -> None:
        """Give the file an identity that no other has."""
        self._connection.execute(f"PRAGMA application_id = {token}")
        self.identity = self.identity._replace(token=token)
        self._state = self._look()

    def describe(self, token: int | None = None) -> str:
        """Return in one word what tells this file from a copy of it, with another *token* if one is given.

        The device is no part of it: another mount may give it another number.
        """
        return f"{self.identity.inode}-{self.identity.token if token is None else token}"

    def is_in_place(self) -> bool:
        """Tell whether the file and its log stand at their path as they were left."""
        now = self._look()
        return now == self._state and self._is_ours(now[0])

    def _is_ours(self, measured: tuple[int, ...]) -> bool:
        return measured[:2] == self.identity[:2]

    def _look(self) -> _State:
        return _measure(self._path), _measure(self._wal_path)

    def insert(self, first_id: int, rows: Sequence[tuple[str, float, bytes]]) -> None:
        """Add (fingerprint, wall_s, payload) rows, with ids one after the other; committed when this returns."""
        if len(rows) <= MAX_ROWS:
            # One statement is a transaction of its own.
            self._insert(first_id, rows)
        else:
            with self._transaction():
                for start in range(0, len(rows), MAX_ROWS):
                    self._insert(first_id + start, rows[start : start + MAX_ROWS])
        self._state = self._look()

    def _insert(self, first_id: int, rows: Sequence[tuple[str, float, bytes]]) -> None:
        values = [value for id_, row in enumerate(rows, first_id) for value in (id_, *row)]
        self._connection.execute(_insert_statement(len(rows)), values)

    def delete(self, ids: Collection[int]) -> None:
        """Remove rows. A power loss may bring them back: that costs a repeat, and this no wait for the disk."""
        with self._unsynchronized():
            self._connection.execute(
                "DELETE FROM events WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(ids)),),
            )

    def delete_span(self, first_id: int, last_id: int) -> None:
        """Remove all rows from *first_id* to *last_id*."""
        with self._unsynchronized():
            self._connection.execute(
                "DELETE FROM events WHERE id BETWEEN ? AND ?", (first_id, last_id)
            )

    def delete_foreign(self, own: str, before_s: float, first_id: int, last_id: int) -> int:
        """Remove rows of other accounts accepted before a time, from *first_id* to *last_id*; count them."""
        cursor = self._connection.execute(
            "DELETE FROM events WHERE id BETWEEN ? AND ? AND fingerprint != ? AND wall_s < ?",
            (first_id, last_id, own, before_s),
        )
        self._state = self._look()
        return cursor.rowcount

    def read(
        self, first_id: int, last_id: int, limit: int, own: str | None = None
    ) -> list[StoredRow]:
        """Return at most *limit* rows from *first_id* to *last_id*, in order; of one account, or of all."""
        found = self._connection.execute(
            "SELECT id, fingerprint, wall_s, payload FROM events WHERE id BETWEEN :first AND :last"
            " AND (:own IS NULL OR fingerprint = :own) ORDER BY id LIMIT :limit",
            {"first": first_id, "last": last_id, "limit": limit, "own": own},
        )
        return [StoredRow(*row) for row in found.fetchall()]

    def survey(self, own: str, first_id: int, last_id: int, limit: int) -> Share:
        """Count at most *limit* rows from *first_id* to *last_id*."""
        last, rows, mine, oldest = self._ask(
            "SELECT max(id), count(*), coalesce(sum(fingerprint = :own), 0),"
            " min(CASE WHEN fingerprint != :own THEN wall_s END) FROM (SELECT id, fingerprint, wall_s"
            " FROM events WHERE id BETWEEN :first AND :last ORDER BY id LIMIT :limit)",
            {"own": own, "first": first_id, "last": last_id, "limit": limit},
        )
        oldest_s = float(oldest) if isinstance(oldest, (int, float)) else float("inf")
        return Share(last, mine, rows - mine, oldest_s)

    def find(self, ids: Collection[int]) -> set[int]:
        """Return those of *ids* that are in the file."""
        found = self._connection.execute(
            "SELECT id FROM events WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )
        return {row[0] for row in found.fetchall()}

    def close(self) -> None:
        """Let go of the file.

        Where another has taken its name, SQLite would leave the log, and read it into the other.
        """
        log = self._state[1]
        if self._is_ours(_measure(self._path)):
            self._connection.close()
            return
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        if any(log) and _measure(self._wal_path)[:2] == log[:2]:
            Path(self._wal_path).unlink(missing_ok=True)

    def _ask(
        self, statement: str, values: Mapping[str, str | int] | None = None
    ) -> tuple[int, ...]:
        row: tuple[int, ...] = self._connection.execute(statement, values or {}).fetchone()
        return row

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _unsynchronized(self) -> Iterator[None]:
        """Do not wait for the disk: what may come back after a power loss needs no more."""
        if self._synchronous == "NORMAL":
            yield
        else:
            self._connection.execute("PRAGMA synchronous = NORMAL")
            try:
                yield
            finally:
                self._connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        self._state = self._look()


def is_damage(error: BaseException) -> bool:
    """Tell whether *error* says that the file is no sound database."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Our own word for what SQLite itself would read.
        return not isinstance(error, sqlite3.OperationalError)
    return code & 0xFF in _DAMAGE


def set_aside(path: Path) -> None:
    """Rename the file, with what SQLite keeps beside it, so that nothing of it is lost."""
    stamp = time.time_ns()
    for suffix in _PARTS:
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(path.with_name(f"{path.name}.corrupt-{stamp}{suffix}"))


def unlink(path: Path) -> None:
    """Remove the file, with what SQLite keeps beside it."""
    for suffix in _PARTS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@lru_cache(maxsize=MAX_ROWS)
def _insert_statement(rows: int) -> str:
    values = ",".join(["(?,?,?,?)"] * rows)
    # No value of any row is in the text.
    return f"INSERT INTO events (id, fingerprint, wall_s, payload) VALUES {values}"  # noqa: S608


def _measure(path: str) -> tuple[int, ...]:
    """Return what tells this file from another of the same name, and from what it was before."""
    try:
        found = os.stat(path)  # noqa: PTH116 - twice before and after each commit, at a third of the time
    except OSError:
        return (0, 0, 0, 0)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _connect(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open *path*, made with mode 0600 where it is new, in the version that this module reads."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    # No waiting for whoever holds the file: the thread has other things to do until it is free.
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=True)
    try:
        _prepare(connection, path, synchronous)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: str) -> None:
    # Before anything is read, or SQLite would make the file of shared memory all the same.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    # A file that is cut short under a mapping would end the process.
    connection.execute("PRAGMA mmap_size = 0")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    columns = {row[1] for row in connection.execute("PRAGMA table_info(events)")}
    # Other software counts its versions too.
    is_ours = (version, names, columns) == (SCHEMA_VERSION, ["events"], _COLUMNS)
    if names and not is_ours:
        raise sqlite3.DatabaseError("another version")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise sqlite3.OperationalError("it cannot be put in WAL mode")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    # In one transaction, which also takes the lock and shows a disk that is full.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_SCHEMA)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
    # What a version before this one, or another tool, left; it is not used while the file is locked.
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    if path.stat().st_size > MAX_CHECKED_BYTES:
        return
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise sqlite3.DatabaseError("damaged")
