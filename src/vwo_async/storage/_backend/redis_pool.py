"""Connections of redis-py to one server, as storages and a fleet have them, and calls that are never cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from ..._cancellation import retrieve_error
from ..._error import InvalidInputError
from ..._extra import explain_missing
from ..._plain import is_kind, to_plain

try:
    import redis
    from redis.asyncio import BlockingConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as error:
    raise explain_missing(error, "redis") from None

MAX_CONNECTIONS = 20
# Longer than the default of `storage_timeout_s`, so that the client ends a call before Redis does.
TIMEOUT_S = 2.0

# Where this option exists, redis-py would read its own version from disk for each connection.
_WITHOUT_GREETING: Mapping[str, Any] = {"driver_info": None} if hasattr(redis, "DriverInfo") else {}

T = TypeVar("T")


def make_pool(url: str, max_connections: int = MAX_CONNECTIONS) -> BlockingConnectionPool:
    """Return a pool for one server; nothing is connected yet.

    Raises:
        InvalidInputError: *url* is no redis://, rediss:// or unix:// URL.
    """
    try:
        return BlockingConnectionPool.from_url(
            str(to_plain(url)) if is_kind(url, str) else "",
            max_connections=max_connections,
            timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            # With protocol 3 the pool hands out connections that the server has closed meanwhile.
            protocol=2,
            **_WITHOUT_GREETING,
        )
    except ValueError:
        # Its text may hold a part of the URL.
        pass
    raise InvalidInputError("the URL is no redis://, rediss:// or unix:// URL")


async def finish(call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run *call* to its end, and return its task, which has ended.

    It runs in a task of its own, since redis-py cannot bear every cancellation: on Python 3.11 it may go
    on as if there was none, and a second one may cost it a connection. So a caller who is cancelled goes at
    once, and *call* is cancelled once.
    """
    task = asyncio.create_task(call)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(retrieve_error)
        raise
    return task
