"""A user storage in Redis or Valkey: one server, one found through Sentinels, or a cluster."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import redis
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ResponseError

from .._error import InvalidInputError, StorageError
from .protocol import Row

__all__ = ["RedisUserStorage"]

MAX_CONNECTIONS = 20
# Longer than the client's own default limit of a storage call, which is to be the one that is felt.
TIMEOUT_S = 2.0
# A thousand years: more would overflow the server's clock, after the field was written.
MAX_TTL_S = 1000 * 365 * 86400

RECORD = b"record"
CLAIM = b"goal:"

# A field is never written without the time after which its key expires.
WRITE_EXPIRING = """
local answer = redis.call(ARGV[1], KEYS[1], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return answer
"""
WRITE_EXPIRING_SHA = hashlib.sha1(WRITE_EXPIRING.encode(), usedforsecurity=False).hexdigest()

# Where this option exists, redis-py would read its own version from disk for each connection.
WITHOUT_GREETING: Mapping[str, Any] = {"driver_info": None} if hasattr(redis, "DriverInfo") else {}

T = TypeVar("T")


class RedisUserStorage:
    """Keeps each record together with the claims on its goals, in one hash per user and campaign.

    The key of the hash is ``prefix:length:campaign:user``, where length is that of the campaign key in
    bytes: no two users and campaigns have the same. In a cluster each hash is in one slot, and hashes of
    one user may be in several. Servers from Redis 6 on and Valkey will do.

    Every method raises `StorageError`, which names the kind of error and nothing else, where the server
    cannot be reached or refuses, or where what is stored is no record.

    A client that was passed in is used as it is, whether it decodes responses or not. Give it a socket
    time-out above the launch option ``storage_timeout_s`` and no retries of its own; those of redis-py's
    defaults go on for seconds after a server was killed.
    A `RedisCluster` has a bound of its own, 100 connections to a node by default, above which calls fail at
    once: ``max_connections`` raises it.

    Args:
        client: A client of redis-py; it stays open when this storage is closed.
        prefix: What all keys begin with.
        ttl_s: Seconds after which a record and its claims expire, counted anew from each write; None to
            keep them for ever. A conversion can be counted again once its claim has expired, or was
            evicted by a server that is short of memory.
        reads_official: Whether to read, where there is no record, the one that the Redis storage of the
            official Python SDK wrote, so that its users stay in their variations. Such records are
            never written.

    Raises:
        InvalidInputError: *ttl_s* is not between a millisecond and a thousand years.
    """

    def __init__(
        self,
        client: Redis | RedisCluster,
        *,
        prefix: str = "vwo",
        ttl_s: float | None = None,
        reads_official: bool = True,
    ) -> None:
        if ttl_s is not None and not 0.001 <= ttl_s <= MAX_TTL_S:
            raise InvalidInputError("ttl_s must be between 0.001 and a thousand years")
        self._client: Any = client
        self._is_own_client = False
        self._prefix = prefix
        self._ttl_ms = None if ttl_s is None else round(ttl_s * 1000)
        self._reads_official = reads_official

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        prefix: str = "vwo",
        ttl_s: float | None = None,
        reads_official: bool = True,
    ) -> Self:
        """Return a storage with a client of its own for one server; nothing is connected yet.

        At most 20 connections are open at a time; a call waits at most 2 s for one of them, to connect and
        for each answer, and is not tried again. The query of the URL may say otherwise, as in
        ``redis://host/0?max_connections=50&socket_timeout=5``, which suits a ``storage_timeout_s`` of 4.

        Args:
            url: Begins with ``redis://``, ``rediss://`` for TLS, or ``unix://``.
            prefix: As for the class.
            ttl_s: As for the class.
            reads_official: As for the class.

        Raises:
            InvalidInputError: *url* or *ttl_s* cannot be used.
        """
        client = Redis.from_pool(_make_pool(url))
        storage = cls(client, prefix=prefix, ttl_s=ttl_s, reads_official=reads_official)
        storage._is_own_client = True
        return storage

    async def get(self, user_id: str, campaign_key: str) -> Row:
        """Return the record, or None.

        Raises:
            StorageError: Redis failed, or the record is no JSON object.
        """
        return (await self.get_many(user_id, [campaign_key])).get(campaign_key)

    async def get_many(self, user_id: str, campaign_keys: Sequence[str]) -> Mapping[str, Row]:
        """Return the records by campaign key, all asked for in one round trip.

        Raises:
            StorageError: Redis failed, or a record is no JSON object.
        """
        return await _ask(self._read(user_id, campaign_keys))

    async def set(self, data: Mapping[str, Any]) -> None:
        """Keep *data*, and for *ttl_s* from now.

        Raises:
            StorageError: Redis failed, or *data* is no JSON.
        """
        await _ask(self._write_record(data))

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        """Tell whether the caller is the first to claim this conversion; the server decides.

        Raises:
            StorageError: Redis failed; the claim may have been taken all the same.
        """
        field = CLAIM + _encode(goal_identifier)
        call = self._write("HSETNX", self._make_key(user_id, campaign_key), field, b"1")
        return bool(await _ask(call))

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        """Give a claim back, so that the conversion can be claimed again; no error where there is none.

        Raises:
            StorageError: Redis failed.
        """
        field = CLAIM + _encode(goal_identifier)
        key = self._make_key(user_id, campaign_key)
        await _ask(self._client.execute_command("HDEL", key, field))

    async def aclose(self) -> None:
        """Close the client that `from_url` made; one that was passed in stays open.

        Raises:
            StorageError: A connection could not be closed.
        """
        if self._is_own_client:
            await _ask(self._client.aclose())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        lasting = "kept for ever" if self._ttl_ms is None else f"kept {self._ttl_ms / 1000:g} s"
        return f"<RedisUserStorage prefix {self._prefix!r}, records {lasting}>"

    async def _read(self, user_id: str, campaign_keys: Sequence[str]) -> dict[str, Row]:
        """Return the records that there are, with one pipeline: it may go to many nodes of a cluster."""
        pipeline = self._client.pipeline(transaction=False)
        for campaign_key in campaign_keys:
            pipeline.execute_command("HGET", self._make_key(user_id, campaign_key), RECORD)
            if self._reads_official:
                pipeline.execute_command("GET", _make_official_key(user_id, campaign_key))
        answers = iter(await pipeline.execute(raise_on_error=False))
        rows: dict[str, Row] = {}
        for campaign_key in campaign_keys:
            rows[campaign_key] = _read_own(next(answers))
            official = next(answers) if self._reads_official else None
            if rows[campaign_key] is None:
                rows[campaign_key] = _read_official(official, user_id, campaign_key)
        return rows

    async def _write_record(self, data: Mapping[str, Any]) -> None:
        text = json.dumps(dict(data), ensure_ascii=False, separators=(",", ":"))
        # Half of a surrogate pair stands within a string, where JSON has the same escape as Python.
        value = text.encode("utf-8", "backslashreplace")
        await self._write(
            "HSET", self._make_key(data["userId"], data["campaignKey"]), RECORD, value
        )

    async def _write(self, command: str, key: bytes, field: bytes, value: bytes) -> object:
        if self._ttl_ms is None:
            return await self._client.execute_command(command, key, field, value)
        arguments = (1, key, command, field, value, self._ttl_ms)
        try:
            return await self._client.execute_command("EVALSHA", WRITE_EXPIRING_SHA, *arguments)
        except NoScriptError:
            # A server that has just started, or has taken over. EVAL makes it know the script.
            return await self._client.execute_command("EVAL", WRITE_EXPIRING, *arguments)

    def _make_key(self, user_id: str, campaign_key: str) -> bytes:
        campaign = _encode(campaign_key)
        parts = (_encode(self._prefix), b"%d" % len(campaign), campaign, _encode(user_id))
        return b":".join(parts)


def _make_pool(url: str) -> BlockingConnectionPool:
    try:
        return BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            # With protocol 3 the pool hands out connections that the server has closed meanwhile.
            protocol=2,
            **WITHOUT_GREETING,
        )
    except ValueError:
        # Its text may hold a part of the URL.
        pass
    raise InvalidInputError("the URL is no redis://, rediss:// or unix:// URL")


def _make_official_key(user_id: str, campaign_key: str) -> bytes:
    return _encode(f"{campaign_key}:{user_id}")


def _encode(text: str) -> bytes:
    # Names of campaigns and goals come from files, where any string may stand.
    return text.encode("utf-8", "surrogatepass")


def _read_own(answer: Any) -> Row:
    if isinstance(answer, Exception):
        raise answer
    return None if answer is None else _parse(answer)


def _read_official(answer: Any, user_id: str, campaign_key: str) -> Row:
    """Return the record that the official Python SDK wrote, or None.

    Its keys are ambiguous, and what is there may be another user's or another application's: whatever
    does not name this user and campaign is no record of theirs, and no error.
    """
    if isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE"):
        return None
    if isinstance(answer, Exception):
        raise answer
    if answer is None:
        return None
    try:
        row = _parse(answer)
    except (StorageError, ValueError, RecursionError):
        return None
    named = (row.get("userId"), row.get("campaignKey"))
    return row if named == (user_id, campaign_key) else None


def _parse(text: str | bytes) -> Mapping[str, Any]:
    row = json.loads(text)
    if not isinstance(row, dict):
        raise StorageError("redis: a record is no JSON object")
    return row


async def _ask(call: Coroutine[Any, Any, T]) -> T:
    """Return what *call* returns; an error of it becomes one that tells no URL, key or user.

    It runs in a task of its own, since redis-py cannot bear every cancellation: on Python 3.11 it may go
    on as if there was none, and a second one may cost it a connection. So the caller goes at once, and
    *call* is cancelled once.
    """
    task = asyncio.create_task(call)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(_forget)
        raise
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, StorageError) or not isinstance(error, Exception):
        raise error
    # Besides its own errors redis-py raises those of sockets, codecs and the event loop.
    raise StorageError(f"redis: {type(error).__name__}")


def _forget(task: asyncio.Task[Any]) -> None:
    """Take notice of the error of a task that nobody waits for."""
    if not task.cancelled():
        task.exception()
