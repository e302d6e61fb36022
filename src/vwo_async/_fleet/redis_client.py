"""The client of redis-py that a fleet's parts use, and what its errors mean for a request."""

from __future__ import annotations

from traceback import walk_tb
from typing import Any

from .._delivery.answer import Answer, Failure
from .._error import InvalidInputError
from .._extra import explain_missing
from .._log import log_warning
from .._plain import is_kind
from ..storage._backend.redis_pool import MAX_CONNECTIONS, make_pool

try:
    import redis
    from redis.asyncio import Redis
    from redis.exceptions import (
        BusyLoadingError,
        RedisClusterException,
        RedisError,
        ResponseError,
    )
except ImportError as error:
    raise explain_missing(error, "redis") from None

# Whatever redis-py and the sockets under it raise; anything else is a mistake of ours.
REDIS_ERRORS = (RedisError, RedisClusterException, OSError, TimeoutError)
# What redis-py is doing, by the names of its functions, while it has no connection yet.
_CONNECTING = frozenset({"connect", "get_connection"})


def make_client(url: str, *, max_connections: int = MAX_CONNECTIONS) -> Redis:
    """Return a client for one server; nothing is connected yet.

    Raises:
        InvalidInputError: *url* is no redis://, rediss:// or unix:// URL.
    """
    return Redis.from_pool(make_pool(url, max_connections))


async def close_client(client: Any) -> None:
    """Close a client; what redis-py raises then is logged."""
    try:
        await client.aclose()
    except REDIS_ERRORS as error:
        log_warning("redis: closing raised %s", type(error).__name__)


def check_asynchronous(client: object) -> None:
    """Refuse redis-py's other clients: one would do what it is asked, and then fail to be awaited.

    Raises:
        InvalidInputError: It is one of them.
    """
    if is_kind(client, redis.Redis, redis.RedisCluster):
        raise InvalidInputError(
            "client must be one of redis.asyncio, which does not block the loop"
        )


def check_listens(client: object, what: str) -> None:
    """Refuse a client that cannot subscribe: nothing would ever be heard, and nobody would say so.

    Raises:
        InvalidInputError: It cannot, and *what* needs it.
    """
    if not callable(getattr(client, "pubsub", None)):
        raise InvalidInputError(
            f"{what} needs a client of redis.asyncio with pubsub(), which RedisCluster has in newer"
            " versions of redis-py alone"
        )


async def warn_of_eviction(client: Any) -> None:
    """Say so where the server may throw whole streams away to make room for something else.

    Streams have no time to live, so that only policies for all keys reach them. A server that does not tell
    its policy is taken at its word.
    """
    try:
        found = await client.info("memory")
    except REDIS_ERRORS:
        return
    nodes = [found] if "maxmemory_policy" in found else list(found.values())
    policies = {str(one.get("maxmemory_policy", "")) for one in nodes if one.get("maxmemory")}
    for policy in policies:
        if policy.startswith("allkeys"):
            log_warning(
                "redis: with maxmemory-policy %s it throws away events without a word when its memory is"
                " full: set noeviction, or a policy for volatile keys",
                policy,
            )


def read_failure(error: BaseException) -> Answer:
    """Return what an error of redis-py means for what was sent: an error reply means that it was not taken."""
    if isinstance(error, (ResponseError, BusyLoadingError)):
        return Answer(status=503)
    names = {frame.f_code.co_name for frame, _ in walk_tb(error.__traceback__)}
    is_unsent = not _CONNECTING.isdisjoint(names)
    return Answer(failure=Failure.NOT_SENT if is_unsent else Failure.UNKNOWN)
