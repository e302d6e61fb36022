"""`RedisUserStorage`, in Redis or Valkey: one server, one found through Sentinels, or a cluster."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from .._error import InvalidInputError, StorageError
from .._extra import explain_missing
from .._plain import is_number_of
from ._backend.redis_pool import find_code, finish, leaving_replica, make_pool, run_pipeline
from ._backend.redis_script import SCRIPT, SHA
from .protocol import SEPARATOR, AnyRecord
from .rounds import (
    AssignVariation,
    ReadRecord,
    StorageOutcome,
    StorageRequest,
    WithdrawConversion,
)

try:
    from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
    from redis.exceptions import NoScriptError, ResponseError
except ImportError as error:
    raise explain_missing(error, "redis") from None

__all__ = ["RedisUserStorage"]

# A thousand years: more would overflow the server's clock, after the field was written.
MAX_TTL_S = 1000 * 365 * 86400

RECORD = b"record"
GOALS = b"goals"
CLAIM = b"goal:"
# The value of a claim that names no owner.
UNOWNED = b"1"

T = TypeVar("T")
_Command: TypeAlias = tuple[Any, ...]


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
    One that has no connection to spare is waited for, up to 2 s.
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
        if ttl_s is not None and not is_number_of(ttl_s, 0.001, MAX_TTL_S):
            raise InvalidInputError("ttl_s must be between 0.001 and a thousand years")
        self._client: Any = client
        self._is_own_client = False
        self._make_pool: Callable[[], BlockingConnectionPool] | None = None
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
        client = Redis.from_pool(make_pool(url))
        storage = cls(client, prefix=prefix, ttl_s=ttl_s, reads_official=reads_official)
        storage._is_own_client = True
        storage._make_pool = partial(make_pool, url)
        return storage

    def renew(self) -> Self:
        """Return a storage like this one that has no connection yet, for the child of a fork.

        One that was made with a client that was passed in uses that client, whatever it has connected.
        """
        other = copy.copy(self)
        if self._make_pool is not None:
            other._client = Redis.from_pool(self._make_pool())  # noqa: SLF001 - of this class
        return other

    async def get(self, user_id: str, campaign_key: str) -> AnyRecord:
        """Return the record, or None.

        Raises:
            StorageError: Redis failed, or the record is no JSON object.
        """
        return (await self.get_many(user_id, [campaign_key])).get(campaign_key)

    async def get_many(self, user_id: str, campaign_keys: Sequence[str]) -> Mapping[str, AnyRecord]:
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
        call = self._write("HSETNX", self._make_key(user_id, campaign_key), field, UNOWNED)
        return bool(await _ask(call))

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        """Give a claim back, so that the conversion can be claimed again; no error where there is none.

        Raises:
            StorageError: Redis failed.
        """
        field = CLAIM + _encode(goal_identifier)
        key = self._make_key(user_id, campaign_key)
        await _ask(self._run_command("HDEL", key, field))

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

    async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
        """Answer *requests* with one pipeline; see `StorageRounds`.

        Raises:
            StorageError: The server cannot be reached, so that none is answered.
        """
        try:
            return await self._run_round(requests)
        except Exception as error:  # noqa: BLE001 - see `_hide`
            failure = _hide(error)
        raise failure

    async def _run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
        reads = [one for one in requests if isinstance(one, ReadRecord)]
        if len(reads) == len(requests):
            return await self._read_all(reads)
        return await self._write_all(requests)

    async def _read(self, user_id: str, campaign_keys: Sequence[str]) -> dict[str, AnyRecord]:
        """Return the records that there are."""
        reads = [ReadRecord(user_id, key) for key in campaign_keys]
        rows = {}
        for one, row in zip(reads, await self._read_all(reads), strict=True):
            if isinstance(row, Exception):
                raise row
            rows[one.campaign_key] = row
        return rows

    async def _read_all(self, reads: Sequence[ReadRecord]) -> list[AnyRecord | Exception]:
        """Return the record of each, with one pipeline: it may go to many nodes of a cluster."""
        commands: list[_Command] = [("HMGET", self._make_key(*one), RECORD, GOALS) for one in reads]
        keys = [_make_official_key(*one) for one in reads] if self._reads_official else []
        is_cluster = isinstance(self._client, RedisCluster)
        if is_cluster:
            commands += [("GET", key) for key in keys]
        elif keys:
            # One command for all. It answers nothing, too, for a key that holds anything but a text.
            commands.append(("MGET", *keys))
        answers = await run_pipeline(self._client, commands)
        official: Sequence[Any] = answers[len(reads) :]
        if not keys:
            official = [None] * len(reads)
        elif not is_cluster:
            official = _spread(official[0], len(reads))
        return [
            _read_row(own, other, one)
            for own, other, one in zip(answers[: len(reads)], official, reads, strict=True)
        ]

    async def _write_all(self, requests: Sequence[StorageRequest]) -> list[StorageOutcome]:
        outcomes: list[Any] = [None] * len(requests)
        commands: dict[int, tuple[Any, ...]] = {}
        for number, one in enumerate(requests):
            try:
                commands[number] = self._make_command(one)
            except Exception as error:  # noqa: BLE001 - a record may hold anything
                # What cannot be written as JSON is the trouble of this one alone.
                outcomes[number] = _hide(error)
        for number, answer in (await self._run_scripts(commands)).items():
            outcomes[number] = _hide(answer) if isinstance(answer, Exception) else bool(answer)
        return outcomes

    async def _run_scripts(self, commands: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Run the script in one pipeline; a server that does not know it is told in a second one.

        Args:
            commands: Key and arguments by number.
        """
        answers: dict[int, Any] = {}
        unknown = list(commands)
        for name, text in (("EVALSHA", SHA), ("EVAL", SCRIPT)):
            calls = [(name, text, 1, *commands[number]) for number in unknown]
            found = await run_pipeline(self._client, calls)
            answers.update(zip(unknown, found, strict=True))
            unknown = [one for one in unknown if isinstance(answers[one], NoScriptError)]
            if not unknown:
                break
        return answers

    async def _run_command(self, *command: Any) -> object:
        async with leaving_replica(self._client):
            return await self._client.execute_command(*command)

    def _make_command(self, request: StorageRequest) -> tuple[Any, ...]:
        """Return key and arguments with which the script does what is asked."""
        ttl_ms = self._ttl_ms or 0
        if isinstance(request, AssignVariation):
            record, goals = _split(request.data)
            key = self._make_key(request.data["userId"], request.data["campaignKey"])
            return key, b"assign", ttl_ms, record, goals, _encode(request.replaced or "")
        if isinstance(request, ReadRecord):
            raise StorageError("redis: a round is of reads alone, or of none")
        key = self._make_key(request.user_id, request.campaign_key)
        goal, owner = _encode(request.goal_identifier), _encode(request.owner)
        if isinstance(request, WithdrawConversion):
            return key, b"withdraw", ttl_ms, CLAIM + goal, owner, goal
        record, goals = (b"", b"") if request.data is None else _split(request.data)
        claim = CLAIM + goal if owner else b""
        return key, b"count", ttl_ms, claim, owner, goal, record, goals, int(request.is_new)

    async def _write_record(self, data: Mapping[str, Any]) -> None:
        key = self._make_key(data["userId"], data["campaignKey"])
        await self._write("HSET", key, RECORD, _dump(data), GOALS, b"")

    async def _write(self, command: str, key: bytes, *arguments: bytes) -> object:
        if self._ttl_ms is None:
            return await self._run_command(command, key, *arguments)
        answers = await self._run_scripts({0: (key, b"write", self._ttl_ms, command, *arguments)})
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    def _make_key(self, user_id: str, campaign_key: str) -> bytes:
        campaign = _encode(campaign_key)
        parts = (_encode(self._prefix), b"%d" % len(campaign), campaign, _encode(user_id))
        return b":".join(parts)


def _make_official_key(user_id: str, campaign_key: str) -> bytes:
    return _encode(f"{campaign_key}:{user_id}")


def _encode(text: str) -> bytes:
    # Names of campaigns and goals come from files, where any string may stand.
    return text.encode("utf-8", "surrogatepass")


def _dump(data: Mapping[str, Any]) -> bytes:
    text = json.dumps(dict(data), ensure_ascii=False, separators=(",", ":"))
    # Half of a surrogate pair stands within a string, where JSON has the same escape as Python.
    return text.encode("utf-8", "backslashreplace")


def _split(data: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return a record as JSON without its goals, and its goals, which scripts add to and take from."""
    rest = {key: value for key, value in data.items() if key != "goalIdentifier"}
    return _dump(rest), _encode(data.get("goalIdentifier", ""))


def _spread(answer: Any, number: int) -> Sequence[Any]:
    """Return the answers to each of many keys; an error is that of all."""
    return [answer] * number if isinstance(answer, Exception) else answer


def _read_row(own: Any, official: Any, read: ReadRecord) -> AnyRecord | Exception:
    """Return the record that there is, or what is wrong with it."""
    try:
        row = _read_own(own)
        return _read_official(official, *read) if row is None else row
    except Exception as error:  # noqa: BLE001 - a damaged record may fail in any way
        return _hide(error)


def _read_own(answer: Any) -> AnyRecord:
    if isinstance(answer, Exception):
        raise answer
    record, goals = answer
    if record is None:
        return None
    row = _parse(record)
    if goals:
        marked = goals if isinstance(goals, str) else goals.decode("utf-8", "surrogatepass")
        known = row.get("goalIdentifier")
        joined = f"{known}{SEPARATOR}{marked}" if isinstance(known, str) and known else marked
        row["goalIdentifier"] = SEPARATOR.join(dict.fromkeys(joined.split(SEPARATOR)))
    return row


def _read_official(answer: Any, user_id: str, campaign_key: str) -> AnyRecord:
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


def _parse(text: str | bytes) -> dict[str, Any]:
    row = json.loads(text)
    if not isinstance(row, dict):
        raise StorageError("redis: a record is no JSON object")
    return row


async def _ask(call: Coroutine[Any, Any, T]) -> T:
    """Return what *call* returns; an error of it becomes one that tells no URL, key or user. See `finish`."""
    try:
        return await finish(call)
    except Exception as raised:  # noqa: BLE001 - anything that a library raises may tell too much
        error = raised
    # Not within the block above, or the error would be its context.
    raise _hide(error)


def _hide(error: Exception) -> StorageError:
    """Return an error that tells its kind and the server's code, but no URL, key or user.

    Besides its own errors redis-py raises those of sockets, codecs and the event loop.
    """
    if isinstance(error, StorageError):
        return error
    code = find_code(error)
    return StorageError(f"redis: {type(error).__name__}{code and ' '}{code}")
