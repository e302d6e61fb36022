"""A process that tracks users until it is killed: ``claimer.py kind storage_url server_url outbox first``.

It prints a line for each conversion of which its caller was told that it counts. With ``drain`` in place of a
number it only delivers what is in the outbox.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from sample import settings

from vwo_async import VWOClient
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.storage.sql import SqlUserStorage

CALLERS = 40
STORAGES: dict[str, Any] = {"redis": RedisUserStorage, "sql": SqlUserStorage}


async def main(kind: str, url: str, server: str, outbox: str, first: str) -> None:
    """Say ``ready``, then track one user after another, several at a time."""
    async with STORAGES[kind].from_url(url) as storage:
        client = VWOClient(
            settings(), user_storage=storage, base_url=server, outbox=outbox, storage_timeout_s=20
        )
        async with client:
            if first == "drain":
                report = await client.flush_events()
                assert report, report
                return
            say("ready")
            users = iter(range(int(first), 1_000_000))
            await asyncio.gather(*(call(client, users) for _ in range(CALLERS)))


async def call(client: VWOClient, users: Any) -> None:
    for number in users:
        user = f"u{number}"
        await client.activate("checkout", user)
        if await client.track("checkout", user, "signup"):
            say(user)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


asyncio.run(main(*sys.argv[1:]))
