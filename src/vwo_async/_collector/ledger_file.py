"""A file that outlives the collector: what was received, a JSON document a line."""

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
    """Appends events to a file and says when they are on the disk.

    Lines are in the order of :meth:`add`, however many requests wait in :meth:`sync` together. The
    file is readable by its owner only, since it tells what visitors did; it never holds an SDK key.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._pending: deque[bytes] = deque()
        self._lock = Lock()

    def add(self, events: Iterable[Received]) -> None:
        """Put events in line to be written."""
        self._pending.extend(json.dumps(event.as_dict()).encode() + b"\n" for event in events)

    async def sync(self) -> None:
        """Return once all events added before are on the disk.

        Raises:
            OSError: If the file cannot be written.
        """
        await asyncio.to_thread(self._write)

    def _write(self) -> None:
        # Whoever comes second finds its lines written, and waited for the disk while it waited for
        # the lock.
        with self._lock:
            lines = b"".join(self._take())
            if not lines:
                return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "ab", buffering=0) as file:
                file.write(lines)
                os.fsync(descriptor)

    def _take(self) -> Iterable[bytes]:
        while self._pending:
            yield self._pending.popleft()
