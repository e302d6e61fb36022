"""Reading the file of an outbox, also while a client has it locked."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

PARTS = ("", "-wal")


@contextmanager
def copy_of(path: Path) -> Iterator[Path]:
    """Make a copy of the file and its log: what a client would find that starts after a kill -9 now."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy.db")
        for part in PARTS:
            source = Path(f"{path}{part}")
            if source.exists():
                shutil.copyfile(source, f"{copy}{part}")
        yield copy


def read_payloads(path: Path) -> list[dict[str, Any]]:
    """Return the events at rest in *path*."""
    with copy_of(path) as copy, closing(sqlite3.connect(copy)) as connection:
        return [json.loads(one) for (one,) in connection.execute("SELECT payload FROM events")]


def count_rows(path: Path) -> int:
    """Count the events at rest in *path*; none where the file is only being made."""
    with copy_of(path) as copy, closing(sqlite3.connect(copy)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return 0
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])
