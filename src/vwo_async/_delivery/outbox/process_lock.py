"""One file of an outbox path for each process that uses it.

The first process on a path takes the path itself, the next ``path.1``, and so on. A lock beside the file
says whether its owner lives: the kernel gives it up when the process ends, however it ends. So a file
whose lock can be had belongs to nobody, and whoever has the lock may take over what is in it, once.
"""

from __future__ import annotations

import fcntl
import os
import re
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

MAX_FILES = 1000
MAX_MARK_BYTES = 200


class ProcessLock:
    """A file that is this process's own while the lock is held.

    Attributes:
        path: The file, which need not exist.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        _locks.add(self)

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Take the lock of *path*, or return None where another process has it.

        Raises:
            OSError: The lock file cannot be made or opened.
        """
        descriptor = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def is_in_place(self) -> bool:
        """Tell whether the lock file still stands at its path, so that others see the lock."""
        try:
            found = _lock_path(self.path).stat()
            held = os.fstat(-1 if self._descriptor is None else self._descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)

    def read_mark(self) -> str:
        """Return what `write_mark` has written, in whatever process; empty for nothing."""
        with suppress(OSError):
            if self._descriptor is not None:
                return os.pread(self._descriptor, MAX_MARK_BYTES, 0).decode("ascii", "replace")
        return ""

    def write_mark(self, mark: str) -> None:
        """Write a line of ASCII into the lock file, where there is room."""
        with suppress(OSError):
            if self._descriptor is not None:
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, mark.encode("ascii"), 0)

    def release(self) -> None:
        """Give the lock up. The lock file stays: removing it would let two processes lock two files."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


# All locks that this process holds. Each cannot have a hook of its own: nothing can be taken from the hooks
# of a fork again.
_locks: weakref.WeakSet[ProcessLock] = weakref.WeakSet()


def _release_in_child() -> None:
    """A child of a fork inherits the locks: left open there, they would outlive their owner."""
    for lock in list(_locks):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)


def lock_first_free(path: Path) -> ProcessLock:
    """Take the first free lock of *path*.

    Raises:
        OSError: No lock can be taken.
    """
    for candidate in _candidates(path):
        lock = ProcessLock.take(candidate)
        if lock is not None:
            return lock
    raise OSError("too many processes on one path")


def _candidates(path: Path) -> Iterator[Path]:
    yield path
    for number in range(1, MAX_FILES):
        yield path.with_name(f"{path.name}.{number}")


def find_other_files(path: Path, own: Path) -> list[Path]:
    """Return the files of other processes on *path*, of those that live and those that do not."""
    pattern = re.compile(re.escape(path.name) + r"(\.[0-9]+)?")
    return sorted(
        one for one in path.parent.iterdir() if pattern.fullmatch(one.name) and one != own
    )
