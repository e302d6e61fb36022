"""A pod that tracks one user after the other, and writes down whom the stream has durably: a child process.

Usage: python pod.py REDIS_URL SETTINGS_FILE ACKNOWLEDGED_FILE NAME
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from vwo_async import VWOClient
from vwo_async.fleet import RedisStreamOutbox

TASKS = 20


async def main(url: str, settings: str, acknowledged: str, name: str) -> None:
    outbox = RedisStreamOutbox.from_url(url, durable=True)
    numbers = itertools.count()
    client = VWOClient(Path(settings).read_bytes(), outbox=outbox, storage_timeout_s=5.0)
    with Path(acknowledged).open("a", encoding="utf-8") as file:  # noqa: ASYNC230 - before all else

        async def visit() -> None:
            for one in numbers:
                user = f"{name} {one}"
                result = await client.track("checkout", user, "signup", wait=True)
                if result and (await result.delivery).status_code == 202:
                    file.write(user + "\n")
                    file.flush()

        async with client, asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(visit())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
