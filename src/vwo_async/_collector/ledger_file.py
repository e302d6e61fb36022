"""A file of received events, one JSON document a line, which outlives the collector."""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from .received import Received

__all__ = ["LedgerFile"]


class LedgerFile:
    """Appends events to a file, and waits until they are on the disk.

    The lines are in the order of the calls of `add`, even if many requests wait in `sync` at
    the same time. Only the owner can read the file, since it holds what visitors did; it never holds an
    SDK key.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = _read_path(path)
        self._pending: deque[bytes] = deque()
        self._lock = Lock()

    def add(self, events: Iterable[Received]) -> None:
        """Add events to those that will be written."""
        self._pending.extend(json.dumps(event.as_dict()).encode() + b"\n" for event in events)

    async def check(self) -> None:
        """See whether it can be written, before there is something to lose.

        Raises:
            OSError: It cannot.
        """
        await asyncio.to_thread(lambda: os.close(self._open()))

    async def sync(self) -> None:
        """Wait until all events that were added before are on the disk.

        Raises:
            OSError: If the file cannot be written.
        """
        await asyncio.to_thread(self._write)

    def _write(self) -> None:
        # A second caller waits for the lock, and by then the first has written its lines to the disk too.
        with self._lock:
            lines = b"".join(self._take())
            if not lines:
                return
            descriptor = self._open()
            with os.fdopen(descriptor, "ab", buffering=0) as file:
                file.write(lines)
                os.fsync(descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _take(self) -> Iterable[bytes]:
        while self._pending:
            yield self._pending.popleft()


def _read_path(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, str | os.PathLike) or not str(path) or "\0" in str(path):
        raise ValueError("ledger_path: must be a path")
    return Path(path)
