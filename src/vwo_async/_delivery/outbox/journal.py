"""Keeps the outbox in step with the queue: what was accepted is in it until it has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from itertools import islice
from typing import Any

from ..._cancellation import PROCESS_ENDS, is_failure
from ..._error import OutboxError
from ..._log import FailureLog, log_error, log_info
from ..._result import DeliveryStatus
from ..._wake import Wake, wake_now
from ..event import Event
from ..request import Account
from .claim import Claim
from .protocol import Outbox
from .row import dump, fingerprint

# So many events are kept at once, and so many of those that could not be while it fails.
GROUP_LIMIT = 500
TRIAL_LIMIT = 50
# How long a call waits for an outbox that failed the last time.
FAILING_WAIT_S = 0.05
# When to try again with what could not be kept.
AGAIN_INTERVAL_S = 0.5
# How long what has ended may stay, so that many are removed at once; and how many may stay so. What is there
# when the process is killed is sent again.
REMOVE_DELAY_S = 0.02
REMOVE_AT_ONCE = 100
# How long closing an outbox may take that did not come to rest in time.
GIVE_UP_S = 0.1


class _Call:
    """Events that were put together, until they are in the outbox.

    Attributes:
        future: Whoever put them waits for it: true once all are in the outbox, or have ended.
        at: When they were put, on the loop's clock.
        left: How many of them are not yet.
        is_given_up: Whether they could not be kept in time, and have been counted.
    """

    __slots__ = ("at", "future", "is_given_up", "left")

    def __init__(self, future: asyncio.Future[bool], at: float, left: int) -> None:
        self.future = future
        self.at = at
        self.left = left
        self.is_given_up = False


# An event on its way to the outbox, its bytes, and who waits for it: None where nobody does any more.
# A plain tuple, since one is made for each event.
_Entry = tuple[Event, bytes, _Call | None]
_Group = Sequence[_Entry]
_Rows = Sequence[tuple[float, bytes]]
Submit = Callable[[_Rows, Callable[[Sequence[int] | None, BaseException | None], object]], object]


class Journal:
    """The outbox as the client uses it. Whatever fails is counted; the event goes on from memory.

    All events that wait while the outbox is busy are kept together when it is free again. What could not
    be kept is tried again for as long as it is pending. While the outbox does not answer calls do not wait
    for it, and while it fails not for long.

    Args:
        outbox: Where events are kept.
        account: In whose name.
        timeout_s: How long a call waits for its event to be kept.
        wall_clock: Seconds since the epoch.
        wake: Lets a call go on, now or in a later turn of the loop.
    """

    def __init__(
        self,
        outbox: Outbox,
        account: Account,
        *,
        timeout_s: float,
        wall_clock: Callable[[], float] = time.time,
        wake: Wake = wake_now,
    ) -> None:
        self.outbox = outbox
        self._failures = FailureLog("outbox", logging.ERROR)
        self._account = account
        self._timeout_s = timeout_s
        self._wall_clock = wall_clock
        self._wake = wake
        # Each pending event is in one of these: a call waits for it, the outbox is at it, it is kept, or
        # it could not be.
        self._waiting: list[_Entry] = []
        self._writing: _Group = ()
        self._ids: dict[Event, int] = {}
        self._unkept: dict[Event, None] = {}
        self._claims: dict[Event, Sequence[Claim]] = {}
        self._ended: list[int] = []
        self._is_failing = False
        self._is_stuck = False
        self._is_trial = False
        self._is_open = False
        # Where many come at once, the next group waits for all that this turn of the loop brings.
        self._was_alone = True
        self._is_due = False
        self._submit: Submit | None = getattr(outbox, "submit", None)
        self._since = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_given_up = False
        self._is_owner = False

    # Life

    def start(self) -> None:
        """Begin to open the outbox."""
        self._loop = asyncio.get_running_loop()
        self._begin("open", self._open)

    def _begin(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task of that name, unless it is running."""
        task = self._tasks.get(name)
        if task is None or task.done():
            # Not in the context of a caller: it would live for as long as the client.
            self._tasks[name] = self._loop.create_task(
                work(), name=f"vwo_async outbox {name}", context=Context()
            )

    def _begin_later(self, name: str, delay_s: float, function: Callable[[], object]) -> None:
        """Call *function* after a while, unless a call of that name is due."""
        if name not in self._timers:
            self._timers[name] = self._loop.call_later(delay_s, self._fire, name, function)

    def _fire(self, name: str, function: Callable[[], object]) -> None:
        del self._timers[name]
        function()

    async def _open(self) -> None:
        self._take()
        try:
            await self.outbox.open(fingerprint(self._account))
        except BaseException as error:
            if isinstance(error, OutboxError) or not is_failure(error):
                raise
            raise OutboxError(f"open raised {type(error).__name__}") from error
        self._is_open = True

    def _take(self) -> None:
        """Take the outbox as this client's own.

        Raises:
            OutboxError: Another client has it.
        """
        outbox: Any = self.outbox
        if not hasattr(outbox, "on_lost"):
            self._is_owner = True
        elif outbox.on_lost is None or self._is_owner:
            self._is_owner = True
            outbox.on_lost = self._on_lost
        else:
            # What it holds would be sent in the name of the other's account.
            raise OutboxError("another client has this outbox: each needs one of its own")

    async def opened(self) -> None:
        """Wait until the outbox is open.

        Raises:
            OutboxError: It cannot be opened.
        """
        await asyncio.shield(self._tasks["open"])

    async def open_again(self) -> None:
        """Wait until the outbox is open; where that failed, try again.

        Raises:
            OutboxError: It cannot be opened.
        """
        task = self._tasks["open"]
        if task.done() and (task.cancelled() or task.exception() is not None):
            self._begin("open", self._open)
        await self.opened()

    @property
    def has_failed_to_open(self) -> bool:
        """Whether the outbox cannot be opened."""
        task = self._tasks["open"]
        return task.done() and not task.cancelled() and task.exception() is not None

    def describe(self) -> str:
        """Return where the events are, as far as the outbox says so."""
        try:
            return str(self.outbox.describe())
        except Exception as error:  # noqa: BLE001 - the caller's outbox may raise anything
            self.failed(f"describe raised {type(error).__name__}", 1)
            return ""

    async def aclose(self, timeout_s: float) -> None:
        """End what is on its way within a deadline, and give the outbox up."""
        for timer in self._timers.values():
            timer.cancel()
        self._stop_reconciling()
        before = list(self._tasks.values())
        self._begin("close", lambda: self._end(before))
        _, late = await asyncio.wait(self._tasks.values(), timeout=max(timeout_s - GIVE_UP_S, 0.0))
        if late:
            log_error("the outbox did not come to rest in time")
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        # Whatever held it up, its files and locks are not kept.
        with suppress(TimeoutError):
            async with asyncio.timeout(GIVE_UP_S):
                await self._give_up()

    async def _end(self, before: Sequence[asyncio.Task[None]]) -> None:
        await asyncio.gather(*before, return_exceptions=True)
        await self._rest()
        while self._ended:
            await self._remove()
        await self._give_up()

    async def _give_up(self) -> None:
        """Close the outbox, once."""
        if self._is_given_up or not self._is_owner:
            return
        self._is_given_up = True
        outbox: Any = self.outbox
        if hasattr(outbox, "on_lost"):
            outbox.on_lost = None
        try:
            await self.outbox.aclose()
        except BaseException as error:
            if not is_failure(error):
                raise
            self.failed(f"aclose raised {type(error).__name__}", 1)

    @property
    def errors(self) -> int:
        """Events that could not be kept, or not at once, and other uses of the outbox that failed."""
        return self._failures.count

    def failed(self, what: str, number: int, detail: str = "") -> None:
        """Count what failed, and log it the 1st, 2nd, 4th, 8th... time."""
        self._failures.add(what, number=number, detail=detail)

    # Keeping

    def record(
        self, events: Sequence[Event], claims: Mapping[Event, Sequence[Claim]] | None = None
    ) -> asyncio.Future[bool] | None:
        """Begin to keep *events*, each with its claims.

        Returns:
            A future of the caller's own: true once all are in the outbox, false where that failed or
            took too long. None where the outbox is known not to answer. Cancelling it undoes nothing.
        """
        if claims:
            self._claims.update(claims)
        if self._is_stuck:
            self._unkept.update(dict.fromkeys(events))
            self.failed("it does not answer", len(events))
            return None
        loop = self._loop
        future: asyncio.Future[bool] = loop.create_future()
        call = _Call(future, loop.time(), len(events))
        self._waiting += self._make_entries(events, call)
        self._write_soon()
        return future

    def _make_entries(self, events: Iterable[Event], call: _Call | None) -> list[_Entry]:
        """Return *events* as they are written, without those that cannot be."""
        claims = self._claims
        entries: list[_Entry] = []
        for event in events:
            try:
                entries.append((event, dump(event, claims.get(event, ())), call))
            except Exception:  # noqa: BLE001 - whatever is wrong with one event, the others are sound
                self.failed("an event cannot be written", self._give_up_call(call))
        return entries

    def _make_rows(self, group: _Group) -> list[tuple[float, bytes]]:
        # The time of acceptance by the wall clock, from the queue's own.
        shift_s = self._wall_clock() - time.monotonic()
        return [(event.at + shift_s, payload) for event, payload, _ in group]

    def _write_soon(self) -> None:
        if not self._is_open or self._submit is None:
            self._begin("write", self._write_on)
        elif not (self._writing or self._is_due):
            if self._was_alone:
                self._submit_group()
            else:
                self._is_due = True
                self._loop.call_soon(self._submit_group)

    def _submit_group(self) -> None:
        """Keep what waits, or else what could not be kept before, without a task."""
        self._is_due = False
        while not self._writing and (group := self._take_group()):
            self._start_writing(group)
            try:
                assert self._submit is not None
                self._submit(self._make_rows(group), self._submitted)
            except PROCESS_ENDS:
                raise
            except BaseException as error:  # noqa: BLE001 - the caller's outbox may raise anything
                self._fail(group, error)
        self._try_again_later()

    def _submitted(self, ids: Sequence[int] | None, error: BaseException | None) -> None:
        group = self._writing
        if error is None and ids is not None:
            self._enter_ids(group, ids)
        else:
            self._fail(group, error or OutboxError())
        if self._waiting or self._unkept:
            self._submit_group()

    async def _write_on(self) -> None:
        """Keep what waits, and then what could not be kept before."""
        while not self._writing and (group := self._take_group()):
            await self._write(group)
        self._try_again_later()

    def _try_again_later(self) -> None:
        if self._unkept and not self._writing:
            self._begin_later("again", AGAIN_INTERVAL_S, self._try_again)

    def _try_again(self) -> None:
        if self._unkept:
            self._is_trial = True
            self._write_soon()

    def _take_group(self) -> _Group:
        waiting = self._waiting
        if waiting:
            self._waiting = waiting[GROUP_LIMIT:]
            return waiting[:GROUP_LIMIT]
        limit = GROUP_LIMIT
        if self._is_failing:
            limit = TRIAL_LIMIT if self._is_trial else 0
        self._is_trial = False
        events = list(islice(self._unkept, limit))
        for event in events:
            del self._unkept[event]
        return self._make_entries(events, None)

    def _start_writing(self, group: _Group) -> None:
        self._writing = group
        self._was_alone = len(group) == 1
        first = group[0][2]
        self._since = self._loop.time() if first is None else first.at
        if "timeout" not in self._timers:
            self._check_time()

    async def _write(self, group: _Group) -> None:
        self._start_writing(group)
        try:
            await self.open_again()
            ids = await self.outbox.append(self._make_rows(group))
        except BaseException as error:
            is_fault = is_failure(error)
            if is_fault or isinstance(error, asyncio.CancelledError):
                self._fail(group, error)
            if not is_fault:
                raise
        else:
            self._enter_ids(group, ids)

    def _enter_ids(self, group: _Group, given: Sequence[int]) -> None:
        self._writing = ()
        ids = _read_ids(given, len(group))
        if self._is_failing:
            self._is_failing = self._is_stuck = False
            log_info("outbox: it keeps events again")
        # One alone takes no turn from others.
        wake = self._wake if len(group) > 1 else wake_now
        for (event, _, call), id_ in zip(group, ids, strict=False):
            if _is_live(event):
                self._ids[event] = id_
            else:
                self._ended.append(id_)
            if call is not None:
                call.left -= 1
                if not call.left:
                    wake(call.future, True)
        if len(ids) < len(group):
            # It may have kept those without one, and has them for the next start.
            self.failed("append returned too few ids", self._give_up_group(group[len(ids) :]))
        self._remove_soon()

    def _fail(self, group: _Group, error: BaseException) -> None:
        self._writing = ()
        self._is_failing, self._is_stuck = True, False
        number = self._give_up_group(group)
        self._keep_later(group)
        timer = self._timers.pop("timeout", None)
        if timer is not None:
            # The next one is shorter.
            timer.cancel()
        self.failed(f"append raised {type(error).__name__}", number)

    def _check_time(self) -> None:
        """Let callers go once they have waited long enough for what is being written."""
        if not self._writing:
            return
        limit_s = min(FAILING_WAIT_S, self._timeout_s) if self._is_failing else self._timeout_s
        left_s = self._since + limit_s - self._loop.time()
        if left_s > 0:
            self._begin_later("timeout", left_s, self._check_time)
            return
        number = self._give_up_group(self._writing) + self._give_up_group(self._waiting)
        self._keep_later(self._waiting)
        self._waiting = []
        self._is_failing = self._is_stuck = True
        self.failed("append timed out", number)

    def _keep_later(self, group: _Group) -> None:
        self._unkept.update((event, None) for event, _, _ in group if _is_live(event))

    def _give_up_group(self, group: _Group) -> int:
        """Let those go on who wait for *group*; return how many events had not been given up before."""
        # All are looked at before the first is given up: a call of several events counts each of them.
        calls = [call for _, _, call in group if call is not None and not call.is_given_up]
        for call in calls:
            self._give_up_call(call)
        return len(calls)

    def _give_up_call(self, call: _Call | None) -> int:
        """Let a call go on; return whether it had not been given up before, as a number."""
        if call is None:
            return 0
        was_given_up, call.is_given_up = call.is_given_up, True
        self._wake(call.future, False)
        return int(not was_given_up)

    # Letting go

    def enter(self, event: Event, id_: int, claims: Sequence[Claim]) -> None:
        """Take note of an event that is in the outbox already."""
        self._ids[event] = id_
        if claims:
            self._claims[event] = claims

    def forget(self, ended: Collection[Event]) -> None:
        """Let go of what has ended."""
        for event in ended:
            if self._claims:
                self._claims.pop(event, None)
            id_ = self._ids.pop(event, None)
            if id_ is not None:
                self._ended.append(id_)
            elif self._unkept:
                self._unkept.pop(event, None)
        self._remove_soon()

    def discard(self, id_: int) -> None:
        """Remove a row that is of no use."""
        self._ended.append(id_)
        self._remove_soon()

    def _remove_soon(self) -> None:
        if "close" in self._tasks:
            return
        if len(self._ended) >= REMOVE_AT_ONCE:
            self._begin("remove", self._remove)
        elif self._ended:
            self._begin_later("remove", REMOVE_DELAY_S, lambda: self._begin("remove", self._remove))

    async def _remove(self) -> None:
        """Remove what has ended. The outbox remembers what it could not remove."""
        ids, self._ended = self._ended, []
        if not ids:
            return
        try:
            await self.outbox.remove(ids)
        except BaseException as error:
            if not is_failure(error):
                raise
            self.failed(f"remove raised {type(error).__name__}", 1)
        # What ended meanwhile waits for others again.
        self._remove_soon()

    # What is kept

    def holds(self, event: Event) -> bool:
        """Tell whether the outbox has *event*, so that it outlives this process."""
        return event in self._ids

    async def settle(self, timeout_s: float) -> None:
        """Bring to rest what is on its way to the outbox, and find out what is in it.

        After this `holds` promises nothing that is gone.
        """
        try:
            async with asyncio.timeout(timeout_s):
                self._try_again()
                await self._rest()
                await self._look()
                self._stop_reconciling()
                # What is gone with its file: a fresh one may be there by now.
                self._try_again()
                await self._rest()
        except TimeoutError:
            # A slow disk is no lost one: what is held was committed.
            return
        except BaseException as error:
            if not is_failure(error):
                raise
            self._lose(())

    async def _rest(self) -> None:
        # What was begun a moment ago starts first.
        await asyncio.sleep(0)
        while self._writing or self._waiting:  # noqa: ASYNC110 - only closing wants to know
            await asyncio.sleep(0.002)

    async def _look(self) -> None:
        """Find out what the outbox has lost."""
        before = set(self._ids.values())
        found = set(await self.outbox.find(before))
        # What was kept meanwhile is no loss.
        self._lose(found | ({*self._ids.values()} - before))

    def _lose(self, found: Collection[int]) -> None:
        """Take note that of what was kept only *found* still is."""
        lost = [event for event, id_ in self._ids.items() if id_ not in found]
        for event in lost:
            del self._ids[event]
            self._unkept[event] = None

    def _on_lost(self) -> None:
        self._begin("reconcile", self._reconcile)

    def _stop_reconciling(self) -> None:
        reconciling = self._tasks.get("reconcile")
        if reconciling is not None:
            reconciling.cancel()

    async def _reconcile(self) -> None:
        """Find out what the outbox has lost, and keep it again."""
        while True:
            try:
                await self._look()
            except BaseException as error:
                if not is_failure(error):
                    raise
                await asyncio.sleep(AGAIN_INTERVAL_S)
                continue
            self._try_again()
            return


def _read_ids(given: Any, number: int) -> Sequence[int]:
    """Return the ids that an outbox gave to *number* rows; fewer where it gave fewer, or none at all."""
    try:
        return given if type(given) in (range, list) else list(islice(given, number))
    except Exception:  # noqa: BLE001 - the caller's outbox may return anything
        return ()


def _is_live(event: Event) -> bool:
    """Tell whether *event* has not ended, as far as this process is concerned."""
    return event.outcome is None or event.outcome.status is DeliveryStatus.KEPT
