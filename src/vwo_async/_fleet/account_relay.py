"""Delivers the streams of one account: reads, sends, and forgets only what has ended.

An entry that is read stays in its stream until its event has ended. While it is held, its relay says so
again and again; where that stops, another relay takes it over.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from typing import Any, NamedTuple

from .._cancellation import is_failure
from .._delivery.event import Event
from .._delivery.queue import Limits, Queue
from .._delivery.sender import Sender
from .._delivery.transport.closing import end_tasks
from .._delivery.transport.protocol import Transport
from .._log import FailureLog, log_error
from .._result import DeliveryStatus, Outcome
from ..storage._backend.redis_pool import leaving_replica
from .entry import REPLY_S, Entry, EntryReader, NewerLayoutError
from .rate_limit import RateLimit
from .redis_client import warn_of_eviction
from .shard import FIRST_CURSOR, Buried, Shard, StreamRow

READ_ROWS = 500
AGAIN_S = 0.5
# What has ended is forgotten together.
SETTLE_S = 0.01
ROOM_S = 0.02
# After so many entries everything else has its turn.
TURN_ROWS = 25
# How long reads have to end by themselves at least.
STOP_S = 1.5
# How often Redis is asked for a sign of life where nothing else is asked of it.
CONTACT_S = 1.5
# Entries are held on to so many times before another relay may take them over.
HOLDS_PER_LEASE = 3
# So many pages of what other relays hold are looked through at once.
PAGES = 10


class _Held(NamedTuple):
    shard: int
    row: StreamRow
    entry: Entry


@dataclass(slots=True)
class _Untold:
    """How events ended about which one channel is still to be told, and since when."""

    ends: list[tuple[int, str, str, int | None]] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


class AccountRelay:
    """See the module.

    Args:
        client: A client of redis-py.
        shards: The streams.
        reader: Reads entries in the account's name.
        transport: Sends requests.
        limits: The bounds of a relay for this account.
        workers: How many requests may be on their way.
        lease_s: After how long another relay may take over what this one holds.
        rate: The limit of all relays; None for none.

    Attributes:
        counts: What became of entries: ``read``, ``taken_over``, ``delivered``, ``buried``, ``trimmed``,
            ``redis_errors``.
    """

    def __init__(
        self,
        client: Any,
        shards: Sequence[Shard],
        reader: EntryReader,
        transport: Transport,
        *,
        limits: Limits,
        workers: int,
        lease_s: float,
        rate: RateLimit | None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._client = client
        self._shards = shards
        self._reader = reader
        self._max_held = limits.max_events
        self.queue = Queue(limits)
        self._sender = Sender(self.queue, transport, workers=workers, on_ended=self._note_ended)
        self._lease_s = lease_s
        self._rate = rate
        self._held: dict[Event, _Held] = {}
        self._ids: set[tuple[int, bytes]] = set()
        self._asked = 0
        self._ended: dict[int, list[tuple[_Held, Outcome]]] = defaultdict(list)
        self._untold: dict[str, _Untold] = defaultdict(_Untold)
        self._has_ended = asyncio.Event()
        self._failures = FailureLog("redis")
        self._trims = FailureLog("there are too many dead letters: the oldest gave way")
        # Streams that were read before, and where to go on looking for what others have let go.
        self._known: set[int] = set()
        self._cursors: dict[int, bytes] = {}
        self._is_stopping = False
        self._readers: list[asyncio.Task[None]] = []
        self._others: list[asyncio.Task[None]] = []

    @property
    def held(self) -> int:
        """How many entries this relay holds."""
        return len(self._ids)

    @property
    def last_contact_at(self) -> float:
        """When Redis answered last, in monotonic seconds."""
        return max(one.last_answer_at for one in self._shards)

    # Life

    def start(self) -> None:
        """Begin in the running loop."""
        self._sender.start()
        self._readers = [
            self._begin(f"read {number}", self._read_on(number))
            for number in range(len(self._shards))
        ]
        self._others = [
            self._begin("settle", self._settle_on()),
            self._begin("lease", self._keep_lease()),
            self._begin("take over", self._take_over_on()),
            self._begin("contact", self._keep_contact()),
        ]

    def _begin(self, name: str, work: Any) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        return loop.create_task(work, name=f"vwo_async relay {name}", context=Context())

    async def stop(self, timeout_s: float) -> None:
        """Read nothing more, deliver what is held within a time, and hand back the rest at once."""
        ends_at = time.monotonic() + timeout_s
        self._is_stopping = True
        # Each read ends by itself, unless Redis hangs and the client has no time-out.
        await asyncio.wait(self._readers, timeout=max(timeout_s, STOP_S))
        await end_tasks(self._readers)
        await self._sender.drain(max(ends_at - time.monotonic(), 0.0))
        await self._sender.stop(lambda event: True)
        for task in self._others:
            task.cancel()
        await asyncio.gather(*self._others, return_exceptions=True)
        while not await self._settle() and time.monotonic() < ends_at:  # noqa: ASYNC110 - it does not tell when it is back
            await asyncio.sleep(SETTLE_S)
        await self._tell()
        # Other relays may take over at once what this one still holds.
        await self._hold_all(idle_s=self._lease_s)

    async def _hold_all(self, idle_s: float = 0.0) -> None:
        """Hold on to what is held, see `Shard.hold`. A stream that cannot be used holds up no other."""
        works = [
            partial(self._shards[number].hold, ids, idle_s=idle_s)
            for number, ids in self._group_held().items()
        ]
        await asyncio.gather(*map(self._try, works))

    def _group_held(self) -> dict[int, list[bytes]]:
        grouped: dict[int, list[bytes]] = defaultdict(list)
        for number, id_ in self._ids:
            grouped[number].append(id_)
        return grouped

    async def _try(self, work: Callable[[], Awaitable[Any]]) -> bool:
        """Do what needs Redis; false where it cannot be reached. Nothing else ends who asks for it, either."""
        try:
            async with leaving_replica(self._client):
                await work()
        except BaseException as error:
            if not is_failure(error):
                raise
            self.counts["redis_errors"] += 1
            self._failures.add(type(error).__name__)
            return False
        return True

    # Reading

    async def _read_on(self, number: int) -> None:
        is_ready = False
        while not self._is_stopping:
            room = min(self._max_held - len(self._ids) - self._asked, READ_ROWS)
            if not is_ready:
                is_ready = await self._try(partial(self._make_ready, number))
            elif room > 0:
                is_ready = await self._try(partial(self._read, number, room))
            else:
                await asyncio.sleep(ROOM_S)
            if not is_ready:
                await asyncio.sleep(AGAIN_S)

    async def _make_ready(self, number: int) -> None:
        """Make the stream and its group where they are not there; say so where they were before."""
        is_new = await self._shards[number].ensure_group()
        if is_new and number in self._known:
            log_error(
                "redis: a stream or its group was gone, and is made again: events in it that no relay held"
                " are lost if the stream was gone, and those held may arrive twice"
            )
        is_first = not self._known
        self._known.add(number)
        if is_first:
            await warn_of_eviction(self._client)

    async def _read(self, number: int, room: int) -> None:
        """Read once, at most *room* entries, as the common limit allows."""
        self._asked += room
        try:
            allowed = room if self._rate is None else await self._rate.take(room)
            if not allowed:
                return
            rows: list[StreamRow] = []
            try:
                rows = await self._shards[number].read(allowed)
            finally:
                if self._rate is not None:
                    await self._rate.give_back(allowed - len(rows))
        finally:
            self._asked -= room
        self.counts["read"] += len(rows)
        await self._accept(number, rows)

    async def _accept(self, number: int, rows: Sequence[StreamRow]) -> int:
        """Put what was read on the queue, and bury what cannot be delivered; return how much was not held yet."""
        fresh = [row for row in rows if (number, row.id) not in self._ids]
        # From here on this relay holds on to them, however long they wait for room.
        self._ids.update((number, row.id) for row in fresh)
        waiting = deque(fresh)
        try:
            await self._sort(number, waiting)
        except BaseException:
            self._ids.difference_update((number, row.id) for row in waiting)
            raise
        return len(fresh)

    async def _sort(self, number: int, waiting: deque[StreamRow]) -> None:
        """Take each of *waiting* to where it belongs."""
        newer: list[bytes] = []
        letters: list[Buried] = []
        sound: list[_Held] = []
        for place, row in enumerate(waiting):
            if not place % TURN_ROWS:
                await asyncio.sleep(0)
            try:
                held = _Held(number, row, self._reader.read(row.payload))
            except NewerLayoutError:
                newer.append(row.id)
            except Exception:  # noqa: BLE001 - whatever is wrong with one entry, those after it are sound
                letters.append(Buried(row.id, "unreadable", row.payload))
            else:
                sound.append(held)
        if newer:
            # A relay of a later version takes them over, at its next look.
            await self._try(partial(self._shards[number].hold, newer, idle_s=self._lease_s))
        if letters:
            await self._try(partial(self._bury, number, letters))
        # Where that failed, it is done when they are taken over again.
        self._ids.difference_update((number, one) for one in newer)
        self._ids.difference_update((number, letter.id) for letter in letters)
        waiting.clear()
        waiting.extend(held.row for held in sound)
        for held in sound:
            await self._put(held)
            waiting.popleft()

    async def _bury(self, number: int, letters: Sequence[Buried]) -> None:
        """Move entries to the dead letters."""
        buried, trimmed = await self._shards[number].bury(letters)
        self.counts["buried"] += buried
        if trimmed:
            self.counts["trimmed"] += trimmed
            self._trims.add("", number=trimmed)

    async def _put(self, held: _Held) -> None:
        self._held[held.entry.event] = held
        wall_s, now_s = held.entry.wall_s, time.time()
        at = time.monotonic() - (max(now_s - wall_s, 0.0) if isfinite(wall_s) else 0.0)
        while not self._sender.restore(held.entry.event, at):
            await asyncio.sleep(ROOM_S)
            if self._is_stopping:
                return

    # What has ended

    def _note_ended(self, events: Sequence[Event]) -> None:
        for event in events:
            held, outcome = self._held.pop(event, None), event.outcome
            if held is None or outcome is None or outcome.status is DeliveryStatus.KEPT:
                continue
            self._ended[held.shard].append((held, outcome))
        self._has_ended.set()

    async def _settle_on(self) -> None:
        while True:
            await self._has_ended.wait()
            self._has_ended.clear()
            await asyncio.sleep(SETTLE_S)
            is_settled = await self._settle()
            if not await self._tell() or not is_settled:
                self._has_ended.set()
                await asyncio.sleep(AGAIN_S)

    async def _settle(self) -> bool:
        """Forget or bury what has ended; false where Redis did not take all of it, which stays for later.

        A stream that cannot be used holds up no other.
        """
        works = [
            partial(self._settle_shard, number) for number, ended in self._ended.items() if ended
        ]
        return all(await asyncio.gather(*map(self._try, works)))

    async def _settle_shard(self, number: int) -> None:
        ended = self._ended[number]
        while ended:
            some = ended[:READ_ROWS]
            await self._settle_some(number, some)
            del ended[: len(some)]
            for held, outcome in some:
                if held.entry.reply_to:
                    end = (
                        held.entry.reply_id,
                        outcome.status.value,
                        outcome.reason,
                        outcome.status_code,
                    )
                    self._untold[held.entry.reply_to].ends.append(end)

    async def _settle_some(self, number: int, ended: Sequence[tuple[_Held, Outcome]]) -> None:
        delivered: list[bytes] = []
        buried: list[Buried] = []
        for held, outcome in ended:
            if (number, held.row.id) not in self._ids:
                # Forgotten before, when the others could not be buried.
                continue
            if outcome:
                delivered.append(held.row.id)
            else:
                reason = (
                    f"{outcome.reason or outcome.status.value} {outcome.status_code or ''}".strip()
                )
                buried.append(Buried(held.row.id, reason, held.row.payload))
        if delivered:
            await self._shards[number].forget(delivered)
            self.counts["delivered"] += len(delivered)
            self._ids.difference_update((number, id_) for id_ in delivered)
        if buried:
            await self._bury(number, buried)
            self._ids.difference_update((number, letter.id) for letter in buried)

    async def _tell(self) -> bool:
        """Tell those who asked how their events ended; false where some are still to be told."""
        untold, now = list(self._untold.items()), time.monotonic()
        works = [partial(self._publish, channel, one.ends) for channel, one in untold]
        told = await asyncio.gather(*map(self._try, works))
        for (channel, one), is_told in zip(untold, told, strict=True):
            # Nobody listens for ever: a channel that nothing can be told through does not stay.
            if is_told or now - one.since >= REPLY_S:
                del self._untold[channel]
        return not self._untold

    async def _publish(self, channel: str, ends: Sequence[Any]) -> None:
        await self._client.execute_command("PUBLISH", channel, json.dumps(ends))

    # Leases

    async def _keep_lease(self) -> None:
        """Hold on to what is held."""
        while not self._is_stopping:
            await asyncio.sleep(self._lease_s / HOLDS_PER_LEASE)
            await self._hold_all()

    async def _keep_contact(self) -> None:
        """Ask for a sign of life where nothing else is asked, as while there is no room for more."""
        while not self._is_stopping:
            await asyncio.sleep(CONTACT_S)
            if time.monotonic() - self.last_contact_at >= CONTACT_S:
                await self._try(self._shards[0].count)

    async def _take_over_on(self) -> None:
        """Take over what others have let go. It may wait for room, so that no lease depends on it."""
        while not self._is_stopping:
            await asyncio.sleep(self._lease_s / HOLDS_PER_LEASE)
            for number in range(len(self._shards)):
                await self._try(partial(self._take_over, number))

    async def _take_over(self, number: int) -> None:
        """Look through some of what is held, from where the last look ended."""
        shard = self._shards[number]
        for _ in range(PAGES):
            room = min(self._max_held - len(self._ids), READ_ROWS)
            if self._is_stopping or room <= 0:
                return
            cursor = self._cursors.get(number, FIRST_CURSOR)
            self._cursors[number], rows = await shard.take_over(self._lease_s, room, cursor)
            self.counts["taken_over"] += await self._accept(number, rows)
            if self._cursors[number] == FIRST_CURSOR:
                break
        await shard.forget_idle_consumers()
