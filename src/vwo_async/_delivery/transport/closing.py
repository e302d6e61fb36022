"""Ends what may be code of the user's own, within a time, whatever it does."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextvars import Context
from typing import Any

from ..._cancellation import is_failure, retrieve_error
from ..._log import log_error
from ..event_stream import EventStream
from .protocol import Transport

# How long a transport may take to close its connections, and requests to end that were cancelled.
END_TIMEOUT_S = 0.2
# How long it may then take to hear that it is not waited for.
LEAVE_S = 0.02


async def close_transport(transport: Transport | EventStream) -> None:
    """Close *transport*. What it raises is logged; one that takes too long is left to itself."""
    closing = asyncio.get_running_loop().create_task(
        _close(transport), name="vwo_async transport close", context=Context()
    )
    await asyncio.wait({closing}, timeout=END_TIMEOUT_S)
    if not closing.done():
        closing.cancel()
        await asyncio.wait({closing}, timeout=LEAVE_S)
        log_error("the transport did not close in time")
    if closing.done():
        retrieve_error(closing)


async def _close(transport: Transport | EventStream) -> None:
    try:
        await transport.aclose()
    except BaseException as error:
        if not is_failure(error):
            raise
        log_error("closing the transport raised %s", type(error).__name__)


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel *tasks* and wait until they have ended; those that do not in time are left to themselves."""
    for task in tasks:
        task.cancel()
    if tasks:
        ended, late = await asyncio.wait(tasks, timeout=END_TIMEOUT_S)
        for task in ended:
            retrieve_error(task)
        if late:
            log_error("requests that were cancelled did not end in time: %d", len(late))
