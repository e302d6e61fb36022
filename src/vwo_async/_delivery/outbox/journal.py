"""Keeps the outbox in step with the queue: what was accepted is in it until it has ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

from ..._error import OutboxError
from ..._log import FailureLog, log_error
from ..._result import DeliveryStatus
from ..event import Event, restore_event
from ..request import Account
from .protocol import Outbox, Row

LOAD_LIMIT = 500
# How often to look for what other processes left, and for room when the queue is full.
LOOK_INTERVAL_S = 60.0
ROOM_INTERVAL_S = 0.5


class Claim(NamedTuple):
    """A conversion that the user storage has as tracked because of an event.

    Attributes:
        user_id: The user.
        campaign_key: The campaign.
        goal_identifier: The goal.
        owner: Under which name it was claimed; empty where it was not claimed, or by a storage without owners.
    """

    user_id: str
    campaign_key: str
    goal_identifier: str
    owner: str = ""


Restore = Callable[[Event, float, Sequence[Claim]], bool]


class Journal:
    """The outbox as the client uses it. Whatever fails is counted; the event goes on from memory.

    Args:
        outbox: Where events are kept.
        account: In whose name restored events are sent.
        restore: Puts a restored event, accepted at a time of the wall clock, on the queue; false
            where there is no room.
        timeout_s: How long a call waits for its event to be kept.
        wall_clock: Seconds since the epoch.
    """

    def __init__(
        self,
        outbox: Outbox,
        account: Account,
        restore: Restore,
        *,
        timeout_s: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._outbox = outbox
        self._account = account
        self._restore = restore
        self._timeout_s = timeout_s
        self._wall_clock = wall_clock
        self._ids: dict[Event, int] = {}
        self._appending: set[Event] = set()
        self._ended: set[int] = set()
        self._removing: asyncio.Task[None] | None = None
        self._appends: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Task[None] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._failures = FailureLog("outbox", logging.ERROR)
        self.restored = 0

    @property
    def errors(self) -> int:
        """How many events were affected by failures of the outbox."""
        return self._failures.count

    def start(self) -> None:
        """Begin to open the outbox and to load what is in it."""
        self._opening = asyncio.create_task(self._open(), name="vwo_async outbox open")
        self._loading = asyncio.create_task(self._load_on(), name="vwo_async outbox load")

    async def _open(self) -> None:
        await self._outbox.open(fingerprint(self._account))

    async def opened(self) -> None:
        """Wait until the outbox is open.

        Raises:
            OutboxError: It cannot be opened.
        """
        assert self._opening is not None
        await asyncio.shield(self._opening)

    def describe(self) -> str:
        """Return where the events are."""
        return self._outbox.describe()

    def holds(self, event: Event) -> bool:
        """Tell whether the outbox has *event*, or is about to, so that it outlives this process."""
        return event in self._ids or event in self._appending

    async def verify(self, timeout_s: float) -> None:
        """Find out whether what was kept is still there, so that closing does not promise what is gone."""
        try:
            async with asyncio.timeout(timeout_s):
                found = set(await self._outbox.find(self._ids.values()))
        except TimeoutError:
            # A slow disk is no lost one.
            return
        except Exception:  # noqa: BLE001 - the caller's outbox may raise anything
            found = set()
        self._ids = {event: id_ for event, id_ in self._ids.items() if id_ in found}

    def record(
        self, events: Sequence[Event], claims: Sequence[Sequence[Claim]]
    ) -> Callable[[], Awaitable[None]]:
        """Begin to keep *events*, each with its claims; return a function to wait for the end with.

        A cancelled caller does not undo it. Where it fails or takes too long, that is counted.
        """
        self._appending.update(events)
        task = asyncio.create_task(self._append(events, claims))
        self._appends.add(task)
        task.add_done_callback(self._appends.discard)
        return partial(self._recorded, task, len(events))

    async def _recorded(self, task: asyncio.Task[None], number: int) -> None:
        """Wait until the events would survive the process."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.shield(task)
        except TimeoutError:
            self._failed("append timed out", number)

    async def _append(self, events: Sequence[Event], claims: Sequence[Sequence[Claim]]) -> None:
        now = self._wall_clock()
        try:
            await self.opened()
            rows = [(now, dump(event, own)) for event, own in zip(events, claims, strict=True)]
            ids = await self._outbox.append(rows)
        except Exception as error:  # noqa: BLE001 - the caller's outbox may raise anything
            self._failed(f"append raised {type(error).__name__}", len(events))
            return
        finally:
            self._appending.difference_update(events)
        for event, id_ in zip(events, ids, strict=True):
            if event.outcome is None or event.outcome.status is DeliveryStatus.KEPT:
                self._ids[event] = id_
            else:
                self._ended.add(id_)
        self._remove_soon()

    def forget(self, ended: Collection[Event]) -> None:
        """Let go of what has ended."""
        for event in ended:
            id_ = self._ids.pop(event, None)
            if id_ is not None:
                self._ended.add(id_)
        self._remove_soon()

    def _remove_soon(self) -> None:
        if self._ended and (self._removing is None or self._removing.done()):
            self._removing = asyncio.create_task(self._remove(), name="vwo_async outbox remove")

    async def _remove(self) -> None:
        """Remove what has ended, and what ends meanwhile. The outbox remembers what it could not remove."""
        while self._ended:
            ids, self._ended = self._ended, set()
            try:
                await self._outbox.remove(ids)
            except Exception as error:  # noqa: BLE001 - the caller's outbox may raise anything
                self._failed(f"remove raised {type(error).__name__}", 1)

    async def _load_on(self) -> None:
        """Put on the queue what earlier processes left, now and from time to time."""
        try:
            await self.opened()
        except OutboxError:
            return
        while True:
            try:
                rows = await self._outbox.load(LOAD_LIMIT)
            except Exception as error:  # noqa: BLE001 - the caller's outbox may raise anything
                self._failed(f"load raised {type(error).__name__}", 1)
                rows = []
            for row in rows:
                await self._load_row(row)
            if not rows:
                await asyncio.sleep(LOOK_INTERVAL_S)

    async def _load_row(self, row: Row) -> None:
        try:
            event, claims = load(self._account, row.payload)
            wall_s = float(row.wall_s)
        except Exception:  # noqa: BLE001 - whatever is wrong with one row, those after it are sound
            self._failed("an event in it cannot be read", 1)
            self._ended.add(row.id)
            self._remove_soon()
            return
        while not self._restore(event, wall_s, claims):  # noqa: ASYNC110 - no end is signalled
            await asyncio.sleep(ROOM_INTERVAL_S)
        self._ids[event] = row.id
        self.restored += 1

    def _failed(self, what: str, number: int) -> None:
        self._failures.add(what, number=number)

    async def stop_loading(self) -> None:
        """Load nothing more."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)

    async def aclose(self, timeout_s: float) -> None:
        """End what is on its way within a deadline, and give the outbox up."""
        await self.stop_loading()
        try:
            async with asyncio.timeout(timeout_s):
                if self._opening is not None:
                    await asyncio.gather(self._opening, return_exceptions=True)
                await asyncio.gather(*self._appends)
                if self._removing is not None:
                    await asyncio.gather(self._removing, return_exceptions=True)
                await self._outbox.aclose()
        except TimeoutError:
            log_error("the outbox did not come to rest in time")
            late = [one for one in (self._opening, self._removing, *self._appends) if one]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def fingerprint(account: Account) -> str:
    """Return a name for an account and key from which the key cannot be told."""
    text = f"{account.event_query}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def dump(event: Event, claims: Sequence[Claim]) -> bytes:
    """Return the bytes under which an event rests."""
    return json.dumps({**event.dump(), "claims": claims}, separators=(",", ":")).encode()


def load(account: Account, payload: bytes) -> tuple[Event, list[Claim]]:
    """Return the event of `dump` with its claims.

    Raises:
        ValueError: The bytes are none of `dump`'s.
    """
    data = json.loads(payload)
    if not isinstance(data, dict):
        raise ValueError("not an event")
    try:
        claims = [Claim(*(str(part) for part in claim)) for claim in data.get("claims", ())]
    except TypeError:
        raise ValueError("not an event") from None
    return restore_event(account, data), claims
