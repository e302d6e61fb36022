"""The least that keeping an event in SQLite can be: a row in the journal mode and at the level that ours has."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from worker import Request, Samples, Stopwatch, make_sample, serve, settle_memory

EVENT = {
    "visitor": "D7E2EAA667909A2DB8A6371FF0975C2A",
    "user_agent": "",
    "ip": "",
    "seconds": 1790000000,
    "random": 0.8473216459,
    "is_batch_only": False,
    "kind": "goal",
    "campaign": 1,
    "variation": 2,
    "goal": 3,
    "revenue": None,
    "is_decimal": False,
    "claims": [],
}


def measure_outbox(request: Request) -> Samples:
    """Time commits of as many rows as there are callers, each written as JSON and with its time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limit.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {request['synchronous']}")
            connection.execute(
                "CREATE TABLE events (id INTEGER PRIMARY KEY, wall_s REAL NOT NULL, payload BLOB NOT NULL)"
            )
            settle_memory()
            watch, held = Stopwatch(), []
            for _ in range(request["calls"]):
                began = time.perf_counter()
                _commit(connection, request["callers"])
                held += [time.perf_counter() - began] * request["callers"]
            return make_sample(held, watch)


def _commit(connection: sqlite3.Connection, number: int) -> None:
    rows = [(time.time(), json.dumps(EVENT).encode()) for _ in range(number)]
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO events (wall_s, payload) VALUES (?, ?)", rows)
    connection.execute("COMMIT")


serve({"outbox": measure_outbox})
