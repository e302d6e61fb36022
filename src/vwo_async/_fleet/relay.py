"""`Relay`: delivers to VWO what many pods have put into Redis Streams."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from .._delivery.bound import check_bounds
from .._delivery.queue import Limits
from .._delivery.transport.by_name import TransportName, check_transport_name, make_transport
from .._delivery.transport.config import TransportConfig
from .._delivery.transport.protocol import Timeouts
from .._error import InvalidInputError
from .._log import log_info
from .._plain import is_number_of
from .._version import USER_AGENT
from .account_relay import AccountRelay
from .entry import EntryReader
from .option import MAX_SHARDS, read_prefix, read_whole
from .rate_limit import RateLimit
from .redis_client import check_asynchronous, close_client, make_client
from .relay_account import RelayAccount, name_accounts
from .shard import Shard
from .stream_keys import StreamKeys

# A relay that has heard nothing from Redis for so long is not well.
SILENT_S = 5.0
# Each stream waits for entries on a connection of its own; these are for all else.
OTHER_CONNECTIONS = 4
MAX_DEAD = 100_000
MAX_MAX_DEAD = 2**40
MAX_WORKERS = 256


@dataclass(frozen=True)
class RelayStatistics:
    """What a relay has done for one account.

    Attributes:
        account: Product and account, as in ``fullstack:123456``; where several environments of one account are
            served, with the beginning of the name of its streams.
        read: Entries that it was the first to read.
        taken_over: Entries that another relay had held.
        delivered: Events that VWO has taken.
        buried: Events that came to nothing, and lie with the dead letters.
        trimmed: Dead letters that gave way to newer ones, since there were more than *max_dead*.
        held: Entries that it holds now.
        requests: Requests made.
        retries: Requests made again.
        redis_errors: How often Redis could not be used.
        is_healthy: Whether Redis has answered of late.
    """

    account: str
    read: int
    taken_over: int
    delivered: int
    buried: int
    trimmed: int
    held: int
    requests: int
    retries: int
    redis_errors: int
    is_healthy: bool


class RelayOptions(TypedDict, total=False):
    """The keyword arguments of `Relay`, for type checkers."""

    prefix: str
    shards: int
    workers: int
    limits: Limits | None
    lease_s: float
    events_per_s: float | None
    max_dead: int
    transport: TransportName
    timeouts: Timeouts | None
    ssl_context: ssl.SSLContext | None
    proxy: str | None


class Relay:
    """Reads the streams of `RedisStreamOutbox`, sends to VWO, and forgets only what VWO has answered.

    Any number of relays on any machines share the work. One that dies is replaced by the others after
    *lease_s*; what it had on its way then may arrive twice. What VWO refuses for good goes to a stream of
    dead letters, with the reason. Use it as an asynchronous context manager, or run ``vwo-async relay``.

    Args:
        client: A client of redis-py for one server or a cluster; it stays open. It needs a connection for
            each stream and a few more, and a socket time-out of more than a second.
        accounts: In whose name to deliver, of both products.
        prefix: As in `RedisStreamOutbox`.
        shards: As in `RedisStreamOutbox`.
        workers: How many requests may be on their way for each account.
        limits: The bounds of each account: ``max_events`` is how many entries a relay holds.
        lease_s: After how many seconds of silence other relays take over what one holds.
        events_per_s: How many events all relays together deliver a second for each account; None for as
            many as they can.
        max_dead: About how many dead letters are kept in each stream.
        transport: ``httpx``, ``httpx2`` or ``aiohttp``.
        timeouts: Limits of a request.
        ssl_context: To trust other certificates.
        proxy: URL of an HTTP proxy.

    Raises:
        InvalidInputError: An argument cannot be used.
    """

    def __init__(
        self,
        client: Any,
        accounts: Sequence[RelayAccount],
        *,
        prefix: str = "vwo",
        shards: int = 4,
        workers: int = 4,
        limits: Limits | None = None,
        lease_s: float = 30.0,
        events_per_s: float | None = None,
        max_dead: int = MAX_DEAD,
        transport: TransportName = "httpx",
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        check_asynchronous(client)
        if not is_number_of(lease_s, 0.5, 86_400):
            raise InvalidInputError("lease_s must be a number of seconds from 0.5 to a day")
        if events_per_s is not None and not is_number_of(events_per_s, 0.1, 1e9):
            raise InvalidInputError("events_per_s must be a number of at least 0.1")
        self._client = client
        self._is_own_client = False
        self._accounts = name_accounts(accounts)
        self._prefix = read_prefix(prefix)
        self._shards = read_whole("shards", shards, MAX_SHARDS)
        self._workers = read_whole("workers", workers, MAX_WORKERS)
        self._limits = _read_limits(limits)
        self._lease_s = float(lease_s)
        self._events_per_s = None if events_per_s is None else float(events_per_s)
        self._max_dead = read_whole("max_dead", max_dead, MAX_MAX_DEAD)
        self._transport: TransportName = _read_transport(transport)
        self._network = (timeouts, USER_AGENT, ssl_context, proxy)
        self._relays: dict[str, AccountRelay] = {}
        # So that a bad argument raises here.
        for account in self._accounts.values():
            make_transport(self._transport, self._config(account))

    @classmethod
    def from_url(
        cls, url: str, accounts: Sequence[RelayAccount], **options: Unpack[RelayOptions]
    ) -> Self:
        """Return a relay with a client of its own for one server; nothing is connected yet.

        Args:
            url: Begins with ``redis://``, ``rediss://`` for TLS, or ``unix://``.
            accounts: As for the class.
            options: As for the class.

        Raises:
            InvalidInputError: *url* or an option cannot be used.
        """
        shards = read_whole("shards", options.get("shards", 4), MAX_SHARDS)
        connections = len(name_accounts(accounts)) * shards + OTHER_CONNECTIONS
        made = cls(make_client(url, max_connections=connections), accounts, **options)
        made._is_own_client = True
        return made

    def _config(self, account: RelayAccount) -> TransportConfig:
        return TransportConfig(account.base_url, *self._network, account.allows_http)

    async def open(self) -> None:
        """Begin to deliver in the running loop, once. Redis need not be there yet."""
        if self._relays:
            return
        consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        for name, account in self._accounts.items():
            relay = self._make_relay(account, consumer)
            self._relays[name] = relay
            relay.start()
        log_info("relay: delivering for %s", ", ".join(self._relays))

    def _make_relay(self, account: RelayAccount, consumer: str) -> AccountRelay:
        keys = StreamKeys(self._prefix, account.fingerprint, self._shards)
        rate = self._events_per_s
        return AccountRelay(
            self._client,
            [
                Shard(self._client, keys, number, consumer, self._max_dead)
                for number in range(self._shards)
            ],
            EntryReader(account.sdk_key.get_secret_value()),
            make_transport(self._transport, self._config(account)),
            limits=self._limits,
            workers=self._workers,
            lease_s=self._lease_s,
            rate=None if rate is None else RateLimit(self._client, keys.rate, rate),
        )

    async def aclose(self, timeout_s: float = 10.0) -> list[RelayStatistics]:
        """Read nothing more, deliver what is held within *timeout_s*, and hand the rest to other relays.

        Returns:
            What was done, for each account.
        """
        relays, statistics = self._relays, self.statistics()
        await asyncio.gather(*(one.stop(timeout_s) for one in relays.values()))
        if relays:
            statistics = self.statistics()
        self._relays = {}
        if self._is_own_client:
            await close_client(self._client)
        return statistics

    def statistics(self) -> list[RelayStatistics]:
        """Return what was done so far, for each account."""
        now = time.monotonic()
        return [
            RelayStatistics(
                account=name,
                **_read_counts(one.counts),
                held=one.held,
                requests=one.queue.requests,
                retries=one.queue.retries,
                is_healthy=now - one.last_contact_at < SILENT_S,
            )
            for name, one in self._relays.items()
        ]

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _read_limits(limits: Limits | None) -> Limits:
    if limits is None:
        return Limits()
    with _named("limits"):
        check_bounds(limits, Limits)
    return limits


def _read_transport(name: object) -> TransportName:
    with _named("transport"):
        return check_transport_name(name)


@contextmanager
def _named(option: str) -> Iterator[None]:
    """Have an error that says what is wrong with a value say whose value it is."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"{option}: {error}") from None


def _read_counts(counts: Mapping[str, int]) -> dict[str, int]:
    names = ("read", "taken_over", "delivered", "buried", "trimmed", "redis_errors")
    return {name: counts[name] for name in names}
