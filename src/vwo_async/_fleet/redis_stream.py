"""`RedisStreamOutbox`: accepted events go to Redis Streams, and relays deliver them."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, Self, TypedDict, Unpack

from .._cancellation import is_failure
from .._delivery.answer import Answer
from .._delivery.event import Event
from .._delivery.event_stream import OnEnd
from .._delivery.outbox.protocol import Outbox
from .._delivery.outbox.row import fingerprint
from .._delivery.outbox.sqlite import SqliteOutbox
from .._error import InvalidInputError
from .._log import FailureLog, log_error, log_warning
from .._plain import to_plain
from .._result import DeliveryStatus, Outcome
from ..storage._backend.redis_pool import finish
from .entry import REPLY_S, dump_entries
from .option import MAX_SHARDS, read_prefix, read_whole
from .redis_client import (
    REDIS_ERRORS,
    check_asynchronous,
    check_listens,
    close_client,
    make_client,
    read_failure,
)
from .scripts import ADD, run_script
from .stream_keys import StreamKeys

# The status of what a stream has taken: accepted, and delivered by others later.
TAKEN = 202
FULL = 429
MAX_ENTRIES = 2**40
REPLY_AGAIN_S = 0.5
STATUSES: Mapping[str, DeliveryStatus] = MappingProxyType(
    {
        one.value: one
        for one in (DeliveryStatus.DELIVERED, DeliveryStatus.REJECTED, DeliveryStatus.DROPPED)
    }
)


class StreamOptions(TypedDict, total=False):
    """The keyword arguments of `RedisStreamOutbox`, for type checkers."""

    prefix: str
    shards: int
    max_entries: int
    when_full: Literal["keep", "drop_oldest"]
    durable: bool
    waits_for: Literal["stream", "delivery"]
    fallback: str | os.PathLike[str] | Outbox | None


class RedisStreamOutbox:
    """Hands accepted events to Redis Streams, from which relays deliver them (``vwo-async relay``).

    Given as ``outbox``, a client sends nothing to VWO itself: what it accepts goes to a stream, all events
    that wait at a moment in one round. A pod that dies takes with it only what has not left by then, and
    nothing with ``durable``. An event that a stream has taken counts as delivered, with status code 202.
    Each client needs an outbox of its own.

    While Redis cannot be reached, or the streams are full, events wait in memory within the launch options
    ``limits``, and in *fallback* as well where it is given; once it is back they leave.

    The server survives its own death with ``appendonly yes`` and ``appendfsync always``; with
    ``everysec`` it may lose the last second where the machine dies.

    Args:
        client: A client of redis-py for one server (6.2 or later) or a cluster, or for Valkey; it stays open
            when this is closed. With a socket time-out, and without retries of its own.
        prefix: What all keys begin with.
        shards: Over how many streams events are spread: with a cluster several times the number of
            masters. All pods and relays must agree.
        max_entries: How many events may be in one stream.
        when_full: ``keep`` takes no more events until there is room, so that they wait in the pods;
            ``drop_oldest`` lets the oldest give way, which is counted and logged.
        durable: Whether a call waits, at most ``storage_timeout_s``, until the stream has its events. Else
            it costs the caller no round trip.
        waits_for: What a call with ``wait=True`` waits for: that the stream has the event, or that VWO has
            it (``delivery``), as a relay tells then.
        fallback: A path or an outbox for what cannot leave while Redis is away; None for memory alone.

    Raises:
        InvalidInputError: An argument cannot be used.

    Attributes:
        trimmed: How many events gave way with ``drop_oldest``.
    """

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = "vwo",
        shards: int = 4,
        max_entries: int = 250_000,
        when_full: Literal["keep", "drop_oldest"] = "keep",
        durable: bool = False,
        waits_for: Literal["stream", "delivery"] = "stream",
        fallback: str | os.PathLike[str] | Outbox | None = None,
    ) -> None:
        check_asynchronous(client)
        if type(to_plain(durable)) is not bool:
            raise InvalidInputError("durable must be a bool")
        if when_full not in ("keep", "drop_oldest"):
            raise InvalidInputError("when_full must be keep or drop_oldest")
        if waits_for not in ("stream", "delivery"):
            raise InvalidInputError("waits_for must be stream or delivery")
        if waits_for == "delivery":
            check_listens(client, "waits_for='delivery'")
        if isinstance(fallback, (str, os.PathLike)):
            fallback = SqliteOutbox(fallback)
        if fallback is not None and not callable(getattr(fallback, "append", None)):
            raise InvalidInputError("fallback must be a path or an outbox")
        self._client = client
        self._make_client: Callable[[], Any] | None = None
        self._prefix = read_prefix(prefix)
        self._shards = read_whole("shards", shards, MAX_SHARDS)
        self._max_entries = read_whole("max_entries", max_entries, MAX_ENTRIES)
        self._drops_oldest = when_full == "drop_oldest"
        self.durable = durable
        self.tells_ends = waits_for == "delivery"
        self.max_events = min(500, self._max_entries)
        self.fallback: Outbox | None = fallback
        self.trimmed = 0
        self._trims = FailureLog("the stream is full: events gave way")
        self._turns = itertools.cycle(range(self._shards))
        self._replies = _Replies(client, self._prefix) if self.tells_ends else None

    @classmethod
    def from_url(cls, url: str, **options: Unpack[StreamOptions]) -> Self:
        """Return an outbox with a client of its own for one server; nothing is connected yet.

        Args:
            url: Begins with ``redis://``, ``rediss://`` for TLS, or ``unix://``.
            options: As for the class.

        Raises:
            InvalidInputError: *url* or an option cannot be used.
        """
        made = cls(make_client(url), **options)
        made._make_client = partial(make_client, url)
        return made

    def start(self, on_end: OnEnd) -> None:
        """Begin in the running loop."""
        if self._replies is not None:
            self._replies.start(on_end)

    async def hand_over(self, events: Sequence[Event]) -> Answer:
        """Have the next stream in turn take *events*, all or none; see `EventStream`."""
        return await finish(self._hand_over(events))

    async def _hand_over(self, events: Sequence[Event]) -> Answer:
        keys = StreamKeys(self._prefix, fingerprint(events[0].account), self._shards)
        shift_s = time.time() - time.monotonic()
        walls_s = [event.at + shift_s for event in events]
        replies = self._replies
        numbers = None if replies is None else replies.expect(events)
        entries = dump_entries(events, walls_s, numbers, "" if replies is None else replies.channel)
        limits = (self._max_entries, int(self._drops_oldest))
        try:
            taken, gone = await run_script(
                self._client, ADD, [keys.events(next(self._turns))], *limits, *entries
            )
        except BaseException as error:
            if replies is not None:
                replies.forget(numbers or ())
            if not isinstance(error, REDIS_ERRORS):
                raise
            return read_failure(error)
        if gone:
            self.trimmed += gone
            self._trims.add("", number=gone)
        if not taken and replies is not None:
            replies.forget(numbers or ())
        return Answer(TAKEN) if taken else Answer(FULL)

    async def aclose(self) -> None:
        """Close the client that `from_url` made; one that was passed in stays open."""
        if self._replies is not None:
            await self._replies.aclose()
        if self._make_client is not None:
            await close_client(self._client)

    def renew(self) -> Self:
        """Return an outbox like this one that has no connection yet, for the child of a fork."""
        renewed = getattr(self.fallback, "renew", None)
        made = type(self)(
            self._client if self._make_client is None else self._make_client(),
            prefix=self._prefix,
            shards=self._shards,
            max_entries=self._max_entries,
            when_full="drop_oldest" if self._drops_oldest else "keep",
            durable=self.durable,
            waits_for="delivery" if self.tells_ends else "stream",
            fallback=None if renewed is None else renewed(),
        )
        made._make_client = self._make_client  # noqa: SLF001 - of this class
        return made

    def __repr__(self) -> str:
        return f"<RedisStreamOutbox prefix {self._prefix!r}, {self._shards} shards>"


class _Replies:
    """Hears how events ended that a stream has taken.

    What is told while this process does not listen is not heard; who waits for it waits in vain then.
    """

    def __init__(self, client: Any, prefix: str) -> None:
        self.channel = f"{prefix}:ends:{secrets.token_hex(8)}"
        self._client = client
        self._numbers = itertools.count(1)
        self._expected: dict[int, tuple[Event, float]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self, on_end: OnEnd) -> None:
        if self._task is not None and not self._task.done():
            log_error(
                "a RedisStreamOutbox is used by two clients: the ends of events reach one alone"
            )
            self._task.cancel()
        self._on_end = on_end
        self._task = asyncio.get_running_loop().create_task(
            self._listen(), name="vwo_async stream ends", context=Context()
        )

    def expect(self, events: Sequence[Event]) -> list[int]:
        """Return what each of *events* is called where its end is told of."""
        now = time.monotonic()
        self._drop_old(now)
        numbers = list(itertools.islice(self._numbers, len(events)))
        for number, event in zip(numbers, events, strict=True):
            self._expected[number] = event, now
        return numbers

    def forget(self, numbers: Iterable[int]) -> None:
        """Expect nothing of events that the stream may not have taken: they are handed over again."""
        for number in numbers:
            self._expected.pop(number, None)

    def _drop_old(self, now: float) -> None:
        for number, (event, at) in list(self._expected.items()):
            if now - at < REPLY_S:
                return
            del self._expected[number]
            self._on_end(event, None)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(self.channel)
                    await self._read(pubsub)
            except BaseException as error:
                if not is_failure(error):
                    raise
                # Whatever redis-py raises while a server or a cluster is away.
                await asyncio.sleep(REPLY_AGAIN_S)

    async def _read(self, pubsub: Any) -> None:
        while True:
            message = await pubsub.get_message(timeout=1.0)
            self._drop_old(time.monotonic())
            if message is not None:
                self._take(message["data"])

    def _take(self, data: Any) -> None:
        try:
            ends = json.loads(data)
            for number, status, reason, code in ends:
                found = self._expected.pop(int(number), None)
                if found is not None:
                    self._on_end(found[0], Outcome(STATUSES[status], reason, code))
        except (ValueError, TypeError, KeyError):
            log_warning("redis: what a relay told cannot be read")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for event, _ in self._expected.values():
            self._on_end(event, None)
        self._expected.clear()
