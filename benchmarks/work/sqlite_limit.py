"""The least that keeping an event in SQLite can be: a row in the journal mode and at the level that ours has."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
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


@contextmanager
def open_table(level: str) -> Iterator[sqlite3.Connection]:
    """Open a file of its own with an empty table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limit.db"
        # The thread that uses it need not be the one that opened it.
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        with closing(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {level}")
            connection.execute(
                "CREATE TABLE events (id INTEGER PRIMARY KEY, wall_s REAL NOT NULL, payload BLOB NOT NULL)"
            )
            yield connection


def measure_outbox(request: Request) -> Samples:
    """Time commits of as many rows as there are callers, each written as JSON and with its time.

    They are made by whoever asks for them, or with ``in_thread`` by a thread for which an event loop waits.
    """
    with open_table(request["synchronous"]) as connection:
        commit = partial(_commit, connection, request["callers"])
        if request.get("in_thread"):
            return asyncio.run(_time_in_thread(request, commit))
        settle_memory()
        watch, held = Stopwatch(), []
        for _ in range(request["calls"]):
            began = time.perf_counter()
            commit()
            held += [time.perf_counter() - began] * request["callers"]
        return make_sample(held, watch)


async def _time_in_thread(request: Request, commit: partial[None]) -> Samples:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as thread:
        await loop.run_in_executor(thread, commit)
        settle_memory()
        watch, held = Stopwatch(), []
        for _ in range(request["calls"]):
            began = time.perf_counter()
            await loop.run_in_executor(thread, commit)
            held += [time.perf_counter() - began] * request["callers"]
        return make_sample(held, watch)


def _commit(connection: sqlite3.Connection, number: int) -> None:
    rows = [(time.time(), json.dumps(EVENT).encode()) for _ in range(number)]
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO events (wall_s, payload) VALUES (?, ?)", rows)
    connection.execute("COMMIT")


serve({"outbox": measure_outbox})
