"""The client of redis-py that a fleet's parts use, and what its errors mean for a request."""

from __future__ import annotations

from typing import Any

from .._delivery.answer import Answer, Failure
from .._error import InvalidInputError
from .._extra import explain_missing
from .._plain import is_kind, to_plain

try:
    import redis
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisError, ResponseError
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ImportError as error:
    raise explain_missing(error, "redis") from None

TIMEOUT_S = 2.0
MAX_CONNECTIONS = 20
# Where this option exists, redis-py would read its own version from disk for each connection.
_WITHOUT_GREETING: dict[str, Any] = {"driver_info": None} if hasattr(redis, "DriverInfo") else {}

# Whatever redis-py and the sockets under it raise; anything else is a mistake of ours.
REDIS_ERRORS = (RedisError, OSError, TimeoutError)


def make_client(url: str, *, max_connections: int = MAX_CONNECTIONS) -> Redis:
    """Return a client for one server; nothing is connected yet.

    Raises:
        InvalidInputError: *url* is no redis://, rediss:// or unix:// URL.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            str(to_plain(url)) if is_kind(url, str) else "",
            max_connections=max_connections,
            timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            **_WITHOUT_GREETING,
        )
    except ValueError:
        # Its text may hold a part of the URL.
        pass
    else:
        return Redis.from_pool(pool)
    raise InvalidInputError("the URL is no redis://, rediss:// or unix:// URL")


def read_failure(error: BaseException) -> Answer:
    """Return what an error of redis-py means for what was sent: an error reply means that it was not taken."""
    if isinstance(error, ResponseError):
        return Answer(status=503)
    is_unsent = isinstance(error, (RedisConnectionError, OSError)) and not isinstance(
        error, (RedisTimeoutError, TimeoutError)
    )
    if is_unsent and isinstance(error.__cause__ or error.__context__, ConnectionRefusedError):
        return Answer(failure=Failure.NOT_SENT)
    return Answer(failure=Failure.UNKNOWN)
