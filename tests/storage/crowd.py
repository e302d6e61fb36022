"""A process that tracks one goal of some users many times at once: ``crowd.py kind url server calls users``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from sample import settings

from vwo_async import VWOClient
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.storage.sql import SqlUserStorage

STORAGES: dict[str, Any] = {"redis": RedisUserStorage, "sql": SqlUserStorage}


async def main(kind: str, url: str, server: str, calls: int, users: int) -> None:
    """Say ``ready``, wait for a line, track, and print what became of it."""
    async with STORAGES[kind].from_url(url) as storage:
        client = VWOClient(settings(), user_storage=storage, base_url=server, storage_timeout_s=20)
        async with client:
            names = [f"crowd{number % users}" for number in range(calls)]
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await asyncio.to_thread(sys.stdin.readline)
            results = await asyncio.gather(
                *(client.track("checkout", name, "signup") for name in names)
            )
            await client.flush_events()
            report = {
                "tracked": sum(map(bool, results)),
                "reasons": sorted({one["checkout"].reason for one in results}),
                "notes": sorted({note for one in results for note in one.notes}),
                "delivered": client.statistics().delivered,
            }
    sys.stdout.write(json.dumps(report) + "\n")


kind, url, server, calls, users = sys.argv[1:]
asyncio.run(main(kind, url, server, int(calls), int(users)))
