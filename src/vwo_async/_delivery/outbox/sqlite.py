"""An outbox in SQLite, used by one thread that belongs to it.

What goes wrong with the file or its folder is told to who asked for something, and tried again with the
next: the thread never ends of it, and a file that is gone, damaged or cut short is replaced.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

from ..._error import InvalidInputError, OutboxError
from ..._log import log_error, log_info, log_warning
from ..._plain import read_path, to_plain
from .event_file import (
    MAX_ROWS,
    EventFile,
    Identity,
    Share,
    StoredRow,
    is_damage,
    set_aside,
    unlink,
)
from .process_lock import ProcessLock, find_other_files, lock_first_free
from .protocol import Row, Stock
from .writer_thread import OnDone, WriterThread

# How often to look for the file, and for what other processes left; sooner where that was not to be had.
CHECK_INTERVAL_S = 1.0
ADOPT_INTERVAL_S = 60.0
ADOPT_AGAIN_S = 2.0
# So many rows are looked at, or removed, in one step.
SURVEY_ROWS = 5_000
REMOVE_ROWS = 500
# Added to the ids of each file that takes the place of another, so that an id names one event for as long
# as the process lives.
GENERATION = 2**48
# What waiting alone will not mend.
_PERMANENT = frozenset(
    {
        errno.EACCES,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)
# Errors that pass, and leave the file sound.
_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)


class _Span(NamedTuple):
    """Rows that no one has loaded yet: ids as in the file, and how many are of this account."""

    first_id: int
    last_id: int
    own: int


class _Generation:
    """What is known of one file that has stood at the path.

    Args:
        base: Added to its ids.
        last_id: The largest id that was in it at first.

    Attributes:
        next_id: The next id in it.
        survey_id: What begins here, and ends before *survey_end*, has not been looked at.
        left: What has been looked at and not been loaded, oldest first.
        foreign: Rows of other accounts.
        oldest_wall_s: When the oldest of these was accepted.
    """

    def __init__(self, base: int, last_id: int) -> None:
        self.base = base
        self.next_id = self.survey_end = last_id + 1
        self.survey_id = 1
        self.left: deque[_Span] = deque()
        self.foreign = 0
        self.oldest_wall_s = float("inf")

    def list_unloaded(self) -> list[_Span]:
        """Return what has not been loaded, looked at or not."""
        rest = _Span(self.survey_id, self.survey_end - 1, 0)
        return sorted([*self.left, rest]) if self.survey_id < self.survey_end else [*self.left]


class SqliteOutbox:
    """Keeps accepted events in a file until they are delivered.

    Several processes may use one path: each has a file of its own beside it, and what a dead one left is
    taken over once. A file that is damaged, or of another version, is set aside and a fresh one made.
    While it is open the file is locked, also for those who would only read; a copy of it, taken with the
    ``-wal`` beside it, can be read.

    Args:
        path: The file; its folder must exist. Made with mode 0600.
        synchronous: ``NORMAL`` survives the death of the process, ``FULL`` also that of the machine, for which
            each commit waits until the disk has it.

    Raises:
        InvalidInputError: *synchronous* is neither.

    Attributes:
        on_lost: Called in the loop when what was kept may be gone.
    """

    def __init__(self, path: str | os.PathLike[str], *, synchronous: str = "NORMAL") -> None:
        plain = to_plain(synchronous)
        if type(plain) is not str or plain not in ("NORMAL", "FULL"):
            raise InvalidInputError("synchronous must be NORMAL or FULL")
        self.on_lost: Callable[[], object] | None = None
        # As it was given; what it points to, which a link may change; and the file of this process there.
        self._path = self._target = self._place = read_path(path, "path")
        self._synchronous = plain
        self._thread: WriterThread | None = None
        self._lock: ProcessLock | None = None
        self._file: EventFile | None = None
        self._fingerprint = ""
        self._know_nothing()

    def _know_nothing(self) -> None:
        """Begin anew: what is in the files is what earlier clients left."""
        self._generation = _Generation(0, 1)
        self._generations: dict[Identity, _Generation] = {}
        # Ended events whose rows could not be removed yet: a full disk refuses deletes too.
        self._unremoved: set[int] = set()
        self._expired = 0
        self._vanished = 0
        self._unread = 0
        self._adopt_at = 0.0

    def renew(self) -> Self:
        """Return an outbox like this one that was not opened, for the child of a fork."""
        return type(self)(self._path, synchronous=self._synchronous)

    # The awaiting half

    async def open(self, fingerprint: str) -> None:
        """Start the thread and take a file; where that is locked or the disk full, it is tried again later.

        Raises:
            OutboxError: The path cannot be used.
        """
        self._fingerprint = fingerprint
        if self._thread is None:
            self._know_nothing()
            self._thread = WriterThread(self._tick, CHECK_INTERVAL_S, self._close)
        try:
            await self._thread.do(self._ensure_open)
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, OSError) and error.errno in _PERMANENT:
                raise OutboxError(f"the outbox cannot be opened: {_reason(error)}") from None
            log_error("the outbox cannot be used yet: %s", _reason(error))

    async def load(self, limit: int) -> Sequence[Row]:
        """Return events of earlier processes, oldest first, each once."""
        thread = self._running()
        while True:
            rows: Sequence[Row] = await thread.do_idly(lambda: self._load(limit))
            if rows or not thread.has_steps:
                return rows

    async def append(self, rows: Sequence[tuple[float, bytes]]) -> Sequence[int]:
        """Keep events; committed when this returns."""
        ids: Sequence[int] = await self._running().do(partial(self._append, rows))
        return ids

    def submit(self, rows: Sequence[tuple[float, bytes]], on_done: OnDone) -> None:
        """Begin to keep events, and call ``on_done(ids, error)`` in the loop when that has ended."""
        self._running().do_and_call(partial(self._append, rows), on_done)

    async def remove(self, ids: Collection[int]) -> None:
        """Forget events that ended. Never before what is to be kept, and few at a time."""
        thread, waiting = self._running(), iter(ids)
        fault: Exception | None = None
        while some := list(islice(waiting, REMOVE_ROWS)):
            try:
                await thread.do_idly(partial(self._remove, some))
            except (OSError, sqlite3.Error) as error:
                fault = error
        if fault is not None:
            raise fault

    async def take_stock(self, oldest_wall_s: float) -> Stock:
        """Count what is in the file, and remove foreign events accepted before a time."""
        thread = self._running()
        for work in (self._ensure_open, partial(self._expire, oldest_wall_s)):
            await thread.do_idly(work)
            while thread.has_steps:
                await thread.do_idly(_do_nothing)
        stock: Stock = await thread.do_idly(self._take_stock)
        return stock

    async def find(self, ids: Collection[int]) -> Collection[int]:
        """Return those of *ids* whose rows are in the file that stands at the path."""
        found: set[int] = await self._running().do_idly(lambda: self._find(ids))
        return found

    async def aclose(self) -> None:
        """Stop the thread and give the file up; what is in it stays."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.stop()

    def describe(self) -> str:
        """Return the path."""
        return str(self._place)

    def _running(self) -> WriterThread:
        if self._thread is None:
            raise OutboxError("the outbox is not open")
        return self._thread

    # The thread: the file

    def _tick(self) -> None:
        """Look whether the file is still there, and for what could not be done before."""
        try:
            self._follow_links()
            self._ensure_open()
            if self._unremoved:
                self._remove(())
        except (OSError, sqlite3.Error):
            # Whoever uses the file next is told.
            return
        if time.monotonic() >= self._adopt_at:
            self._adopt_at = time.monotonic() + ADOPT_INTERVAL_S
            self._run_steps(self._adopt())

    def _run_steps(self, steps: Iterator[object]) -> None:
        thread = self._thread
        if thread is not None:
            thread.do_in_steps(steps)

    def _ensure_open(self) -> EventFile:
        """Return the file, opened again where it was lost to an error or is gone from its path."""
        file = self._file
        if file is not None and file.is_in_place():
            return file
        if file is not None and not self._target.parent.is_dir():
            # The folder may come back with all that is in it.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self._let_go()
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if self._lock is None or not self._lock.is_in_place():
            self._take_lock()
        assert self._lock is not None
        self._file = file = self._open_or_replace(self._lock.path)
        self._enter_file(file)
        return file

    def _follow_links(self) -> None:
        """Leave a file that the path no longer leads to."""
        if self._lock is not None and os.path.realpath(self._path) != os.fspath(self._target):
            self._let_go()
            self._release_lock()

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(sqlite3.Error, OSError):
                file.close()

    def _take_lock(self) -> None:
        self._release_lock()
        # SQLite keeps its log beside the file itself, and who comes by another name must find our lock.
        self._target = Path(os.path.realpath(self._path))
        self._lock = lock_first_free(self._target)
        self._place = self._lock.path

    def _release_lock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _open_or_replace(self, path: Path) -> EventFile:
        """Open the file; set it aside and make a fresh one where it is damaged or of another version."""
        try:
            return EventFile(path, self._synchronous)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        set_aside(path)
        self._unread += 1
        log_error("the outbox was damaged or of another version, and has been set aside")
        return EventFile(path, self._synchronous)

    def _enter_file(self, file: EventFile) -> None:
        """Take up a file that was just opened: the first, the same as before, one from earlier, or another's."""
        before, is_first = self._generation, not self._generations
        known = self._generations.get(file.identity)
        if known is None:
            known = _Generation(len(self._generations) * GENERATION, file.last_id)
            self._rename(file)
            self._generations[file.identity] = known
        elif known is not before:
            self._run_steps(self._forget_loaded(file, known))
        known.next_id = max(known.next_id, file.last_id + 1)
        self._generation = known
        if known.survey_id < known.survey_end:
            self._run_steps(self._survey(file, known))
        if is_first:
            self._adopt_at = time.monotonic() + ADOPT_INTERVAL_S
            self._run_steps(self._adopt())
        elif self._thread is not None and self.on_lost is not None:
            self._thread.call_in_loop(self.on_lost)

    def _rename(self, file: EventFile) -> None:
        """Give a file a name that no other has, and keep it beside the lock, so that a copy can be told."""
        lock = self._lock
        assert lock is not None
        _warn_of_copy(file, lock)
        token = secrets.randbits(31)
        # Either is right if the process ends in between.
        lock.write_mark(f"{file.describe(token)} {file.describe()}")
        file.rename(token)
        lock.write_mark(file.describe())

    @contextmanager
    def _use(self) -> Iterator[EventFile]:
        """Use the file; let go of one that fails, so that the next use opens it again."""
        file = self._ensure_open()
        try:
            yield file
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._abandon()
            elif getattr(error, "sqlite_errorcode", 0) & 0xFF not in _PASSING:
                self._let_go()
            raise

    def _abandon(self) -> None:
        self._let_go()
        if self._lock is not None:
            set_aside(self._lock.path)
            # What was loaded is in memory, and is kept again.
            self._unread += bool(self._generation.list_unloaded() or self._generation.foreign)
            log_error("the outbox is damaged and has been set aside")

    # The thread: rows

    def _append(self, rows: Sequence[tuple[float, bytes]]) -> Sequence[int]:
        fingerprint = self._fingerprint
        return self._insert([(fingerprint, wall_s, payload) for wall_s, payload in rows])

    def _insert(self, rows: Sequence[tuple[str, float, bytes]]) -> Sequence[int]:
        with self._use() as file:
            generation = self._generation
            first_id = generation.next_id
            file.insert(first_id, rows)
        generation.next_id = first_id + len(rows)
        first = generation.base + first_id
        return range(first, first + len(rows))

    def _find(self, ids: Collection[int]) -> set[int]:
        with self._use() as file:
            base = self._generation.base
            return {one + base for one in file.find(self._list_own(ids))}

    def _list_own(self, ids: Iterable[int]) -> list[int]:
        """Return the ids of the file in use, as they are in it. Those of a file that is gone went with it."""
        base = self._generation.base
        return [one - base for one in ids if base < one < base + GENERATION]

    def _remove(self, ids: Collection[int]) -> None:
        """Remove rows, also some that could not be removed before."""
        self._unremoved.update(ids)
        wanted = list(islice(self._unremoved, 2 * REMOVE_ROWS))
        with self._use() as file:
            file.delete(self._list_own(wanted))
        self._unremoved.difference_update(wanted)

    def _load(self, limit: int) -> list[Row]:
        rows: list[Row] = []
        with self._use() as file:
            generation = self._generation
            while generation.left and len(rows) < limit:
                rows += self._load_span(file, generation, limit - len(rows))
        return rows

    def _load_span(self, file: EventFile, generation: _Generation, limit: int) -> list[Row]:
        """Return at most *limit* rows of the oldest that are left."""
        span = generation.left[0]
        found = file.read(span.first_id, span.last_id, limit, self._fingerprint)
        generation.left.popleft()
        if len(found) == limit and found[-1].id < span.last_id:
            own = max(span.own - limit, 0)
            generation.left.appendleft(_Span(found[-1].id + 1, span.last_id, own))
        else:
            self._vanished += max(span.own - len(found), 0)
        return [Row(one.id + generation.base, one.wall_s, one.payload) for one in found]

    # The thread: what others left

    def _survey(self, file: EventFile, generation: _Generation) -> Iterator[object]:
        """Find what is in a file before it is used, in steps."""
        while generation.survey_id < generation.survey_end:
            share = self._look_at(file, generation.survey_id, generation.survey_end - 1)
            if share is None:
                return
            last_id = generation.survey_end - 1 if share.last_id is None else share.last_id
            if share.own:
                generation.left.append(_Span(generation.survey_id, last_id, share.own))
            generation.foreign += share.foreign
            generation.oldest_wall_s = min(generation.oldest_wall_s, share.oldest_wall_s)
            generation.survey_id = last_id + 1
            yield share

    def _look_at(self, file: EventFile, first_id: int, last_id: int) -> Share | None:
        """Count a few rows; None where the file is not in use any more."""
        with self._use() as current:
            if current is not file:
                return None
            return file.survey(self._fingerprint, first_id, last_id, SURVEY_ROWS)

    def _expire(self, oldest_wall_s: float) -> None:
        file, generation = self._ensure_open(), self._generation
        if generation.oldest_wall_s < oldest_wall_s:
            self._run_steps(self._remove_foreign(file, generation, oldest_wall_s))

    def _remove_foreign(
        self, file: EventFile, generation: _Generation, before_s: float
    ) -> Iterator[object]:
        """Remove foreign rows that are too old, in steps."""
        oldest_s, first_id, last_id = float("inf"), 1, generation.next_id - 1
        while share := self._look_at(file, first_id, last_id):
            if share.last_id is None:
                generation.oldest_wall_s = oldest_s
                return
            if share.oldest_wall_s < before_s:
                with self._use():
                    removed = file.delete_foreign(
                        self._fingerprint, before_s, first_id, share.last_id
                    )
                self._expired += removed
                generation.foreign -= removed
                # Whatever is left of these is not older than that.
                oldest_s = min(oldest_s, before_s)
            else:
                oldest_s = min(oldest_s, share.oldest_wall_s)
            first_id = share.last_id + 1
            yield share

    def _forget_loaded(self, file: EventFile, generation: _Generation) -> Iterator[object]:
        """Remove what was loaded from a file that is back: it has ended, or is in memory and kept again."""
        first_id = 1
        end = _Span(file.last_id + 1, file.last_id + 1, 0)
        for span in (*generation.list_unloaded(), end):
            with self._use() as current:
                if current is not file:
                    return
                if first_id < span.first_id:
                    file.delete_span(first_id, span.first_id - 1)
            first_id = max(first_id, span.last_id + 1)
            yield span

    def _take_stock(self) -> Stock:
        self._ensure_open()
        generation = self._generation
        waiting = sum(span.own for span in generation.left)
        return Stock(waiting, generation.foreign, self._expired, self._vanished, self._unread)

    def _adopt(self) -> Iterator[object]:
        """Take over what processes left that are no more, in steps."""
        if self._lock is None:
            return
        for path in find_other_files(self._target, self._lock.path):
            orphan = ProcessLock.take(path)
            if orphan is None:
                continue
            try:
                yield from self._take_over(path, orphan)
            except sqlite3.Error:
                # One that cannot be read must not keep the others from being taken over.
                self._adopt_at = min(self._adopt_at, time.monotonic() + ADOPT_AGAIN_S)
            except OSError:
                continue
            finally:
                orphan.release()

    def _take_over(self, path: Path, lock: ProcessLock) -> Iterator[object]:
        """Move the rows of *path* into the own file: committed there before they are removed here."""
        other = self._open_or_replace(path)
        _warn_of_copy(other, lock)
        moved = 0
        try:
            while rows := other.read(0, other.last_id, MAX_ROWS):
                self._adopt_rows(rows)
                other.delete_span(0, rows[-1].id)
                moved += len(rows)
                yield rows
        finally:
            other.close()
            if moved:
                log_info("took over events that another process left: %d", moved)
        unlink(path)

    def _adopt_rows(self, rows: Sequence[StoredRow]) -> None:
        ids = self._insert([row[1:] for row in rows])
        generation = self._generation
        own = sum(row.fingerprint == self._fingerprint for row in rows)
        first_id = ids[0] - generation.base
        if own:
            generation.left.append(_Span(first_id, first_id + len(rows) - 1, own))
        foreign = [row.wall_s for row in rows if row.fingerprint != self._fingerprint]
        generation.foreign += len(foreign)
        times = [one for one in foreign if isinstance(one, (int, float))]
        generation.oldest_wall_s = min(generation.oldest_wall_s, *times, float("inf"))

    def _close(self) -> None:
        if self._unremoved and self._file is not None:
            # There may be room again since the last time.
            with suppress(sqlite3.Error, OSError):
                while self._unremoved:
                    self._remove(())
        self._let_go()
        self._release_lock()

    def __repr__(self) -> str:
        return "<SqliteOutbox>"


def _warn_of_copy(file: EventFile, lock: ProcessLock) -> None:
    """Say so where a file with events is not the one that its last process left."""
    if file.last_id and file.describe() not in lock.read_mark().split():
        log_warning(
            "the outbox file is not the one that was last in use here, as after a restore, a copy or a move:"
            " events in it may be sent again"
        )


def _do_nothing() -> None:
    """Wait for one's turn."""


def _reason(error: Exception) -> str:
    """Return what is wrong without the path, which may name a customer or a user."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
