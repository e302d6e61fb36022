"""Connections of redis-py to one server, as storages and a fleet have them, and calls that are never cut short."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from ..._cancellation import Ending
from ..._error import InvalidInputError
from ..._extra import explain_missing
from ..._plain import is_kind, to_plain

try:
    import redis
    from redis.asyncio import BlockingConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.client import NEVER_DECODE
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import (
        MasterDownError,
        MaxConnectionsError,
        ReadOnlyError,
        ResponseError,
    )
except ImportError as error:
    raise explain_missing(error, "redis") from None

MAX_CONNECTIONS = 20
# Longer than the default of `storage_timeout_s`, so that the client ends a call before Redis does.
TIMEOUT_S = 2.0

# How long to wait before a pool is asked again that has no connection to spare.
FULL_POOL_S = 0.01
_AS_BYTES: Mapping[str, Any] = {NEVER_DECODE: True}

# Where this option exists, redis-py would read its own version from disk for each connection.
_WITHOUT_GREETING: Mapping[str, Any] = {"driver_info": None} if hasattr(redis, "DriverInfo") else {}

# Redis 6 has the code of what failed in a script behind the place. No user's text comes before it.
_CODE = re.compile(r"(?:Error running script [^']*@user_script: ?\d+: ?-)?([A-Z]{2,20}) ")

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


async def run_pipeline(client: Any, commands: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Return what the server answers to each command, errors among it, and texts as bytes; see `leave_replica`.

    A pool that has no connection to spare refuses at once, unless it is one that waits: that is waited for
    here, for as long as such a pool does.

    Args:
        client: A client of redis-py.
        commands: Each with its arguments.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + TIMEOUT_S
    while True:
        try:
            answers = await _send(client, commands)
        except RedisConnectionError as error:
            if not _is_of_full_pool(error) or loop.time() > ends_at:
                raise
        else:
            await leave_replica(client, *answers)
            return answers
        await asyncio.sleep(FULL_POOL_S)


async def _send(client: Any, commands: Sequence[Sequence[Any]]) -> Sequence[Any]:
    # Texts as bytes: one that is no UTF-8 would, with a client that decodes, fail all that are read with it.
    if len(commands) == 1:
        # A pipeline of one would cost a fourth more.
        try:
            return [await client.execute_command(*commands[0], **_AS_BYTES)]
        except ResponseError as error:
            return [error]
    pipeline = client.pipeline(transaction=False)
    for one in commands:
        pipeline.execute_command(*one, **_AS_BYTES)
    answers: Sequence[Any] = await pipeline.execute(raise_on_error=False)
    return answers


def _is_of_full_pool(error: RedisConnectionError) -> bool:
    # redis-py 5 has no class for it.
    return isinstance(error, MaxConnectionsError) or str(error) == "Too many connections"


async def leave_replica(client: Any, *answers: object) -> None:
    """Have a client connect anew for what it asks next, where an answer says that its server is a replica.

    After a failover the name of a server leads to another one, and the one that was made a replica keeps its
    connections: writes would fail on them for ever. Clients of a Sentinel or of a cluster find the new master
    themselves.

    Args:
        client: A client of redis-py.
        *answers: What the server answered, errors among it.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is not None and any(map(_is_of_replica, answers)):
        await pool.disconnect(inuse_connections=False)


def _is_of_replica(answer: object) -> bool:
    if not isinstance(answer, ResponseError):
        return False
    # Without its master it may not even read. Before redis-py 6 the class does not say so.
    is_named = isinstance(answer, ReadOnlyError | MasterDownError)
    return is_named or find_code(answer) in {"READONLY", "MASTERDOWN"}


def find_code(error: BaseException) -> str:
    """Return the code of the server, such as WRONGTYPE or OOM, where the class does not say it; else nothing."""
    match = _CODE.match(str(error)) if isinstance(error, ResponseError) else None
    return match[1] if match else ""


@asynccontextmanager
async def leaving_replica(client: Any) -> AsyncIterator[None]:
    """Do what `leave_replica` does where a command within the block is answered so."""
    try:
        yield
    except ResponseError as error:
        await leave_replica(client, error)
        raise


async def finish(call: Coroutine[Any, Any, T]) -> T:
    """Run *call* to its end, and return what it returns or raise what it raises.

    It runs in a task of its own, since redis-py cannot bear every cancellation: on Python 3.11 it may go
    on as if there was none, and a second one may cost it a connection. So a caller who is cancelled goes at
    once, and *call* is cancelled once.
    """
    ending: Ending[T] = Ending()
    task = ending.begin(call)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        raise
    return ending.get()
