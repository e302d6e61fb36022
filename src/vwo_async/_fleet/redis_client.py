"""The client of redis-py that a fleet's parts use, and what its errors mean for a request."""

from __future__ import annotations

from .._delivery.answer import Answer, Failure
from .._error import InvalidInputError
from .._extra import explain_missing
from ..storage._backend.redis_pool import MAX_CONNECTIONS, make_pool

try:
    from redis.asyncio import Redis
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisError, ResponseError
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ImportError as error:
    raise explain_missing(error, "redis") from None

# Whatever redis-py and the sockets under it raise; anything else is a mistake of ours.
REDIS_ERRORS = (RedisError, OSError, TimeoutError)


def make_client(url: str, *, max_connections: int = MAX_CONNECTIONS) -> Redis:
    """Return a client for one server; nothing is connected yet.

    Raises:
        InvalidInputError: *url* is no redis://, rediss:// or unix:// URL.
    """
    return Redis.from_pool(make_pool(url, max_connections))


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
