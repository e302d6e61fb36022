"""Reading in a thread of its own, ahead of the loop: a pipe that has nothing yet holds up no delivery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from threading import Thread
from typing import TypeVar

ItemT = TypeVar("ItemT")
_AHEAD = 4


async def read_ahead(items: Iterator[ItemT]) -> AsyncIterator[ItemT]:
    """Yield what an iterator gives that may block; it is a few items ahead.

    The thread is not waited for: it may read from a terminal that never ends.

    Raises:
        Exception: What the iterator raises.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[ItemT | BaseException | None] = asyncio.Queue(_AHEAD)

    def put(one: ItemT | BaseException | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(one), loop).result()

    def read() -> None:
        end: BaseException | None = None
        try:
            for item in items:
                put(item)
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are taken
            end = error
        try:
            put(end)
        except BaseException:  # noqa: BLE001 - nobody takes them any more
            return

    Thread(target=read, name="vwo_async rows", daemon=True).start()
    while (one := await queue.get()) is not None:
        if isinstance(one, BaseException):
            raise one
        yield one
