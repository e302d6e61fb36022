"""How the client uses a user storage: bounded in time, sceptical of what comes back, never fatal."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextvars import Context
from typing import Any, NamedTuple, TypeVar

from .._core.decision import Stored
from .._log import FailureLog
from ..storage.memory import MemoryUserStorage
from ..storage.protocol import GoalClaims, ManyReader, PlainUserStorage, StoredDecision, UserStorage
from .health import StorageHealth
from .per_user_queue import UserCall, UserQueues
from .record import read_row
from .worker_thread import WorkerThreads

UNRESPONSIVE = "not waited for, since it timed out a moment ago"
# How many calls may be under way that nobody waits for.
MAX_TASKS = 1000

T = TypeVar("T")


class Found(NamedTuple):
    """What a round of reading brought.

    Attributes:
        records: By campaign key; None where nothing usable is.
        failed: The campaigns whose record could not be read.
        is_silent: Whether the storage did not answer in time, or was not asked because of that.
    """

    records: Mapping[str, Stored | None]
    failed: frozenset[str] = frozenset()
    is_silent: bool = False


class StorageAccess:
    """Reads and writes records; whatever goes wrong is counted, noted and never raised.

    Args:
        storage: The user's storage.
        timeout_s: Limit of one round of reads or claims, and of one write.
    """

    def __init__(self, storage: UserStorage | PlainUserStorage, timeout_s: float) -> None:
        adapt = WorkerThreads().adapt
        self._get = adapt(storage.get)
        self._set = adapt(storage.set)
        self._get_many = adapt(storage.get_many) if isinstance(storage, ManyReader) else None
        self._claim_goal = adapt(storage.claim_goal) if isinstance(storage, GoalClaims) else None
        self._release_goal = (
            adapt(storage.release_goal) if isinstance(storage, GoalClaims) else None
        )
        self._timeout_s = timeout_s
        # Nothing to bound, and nothing that could be cancelled half-way.
        self._never_waits = type(storage) is MemoryUserStorage
        self._queues = UserQueues(timeout_s)
        self._tasks: set[asyncio.Task[Any]] = set()
        # Apart, since there are storages that read and cannot write, as a replica without its primary.
        self._read_health = StorageHealth(timeout_s)
        self._write_health = StorageHealth(timeout_s)
        self._failures = FailureLog("user storage")

    @property
    def errors(self) -> int:
        """How many calls of the storage failed or were not waited for."""
        return self._failures.count

    @property
    def has_claims(self) -> bool:
        """Whether the storage settles who counts a conversion."""
        return self._claim_goal is not None

    def begin_call(self, user_id: str) -> UserCall:
        """Stand in the line of a user, see `UserCall`."""
        return self._queues.begin_call(user_id)

    # Reading

    async def read(self, user_id: str, campaign_keys: Iterable[str], notes: list[str]) -> Found:
        """Return what is stored for each campaign, all asked for at once.

        Args:
            user_id: The user.
            campaign_keys: The campaigns.
            notes: Takes a text for each failure.
        """
        keys = tuple(campaign_keys)
        if self._read_health.is_unresponsive(lambda: self._get(user_id, keys[0])):
            self._note(UNRESPONSIVE, notes)
            return _silence(keys)
        begun = time.monotonic()
        if self._never_waits:
            rows = await self._read_rows(user_id, keys)
        else:
            found = await self._bounded(self._read_rows(user_id, keys), self._read_health)
            if isinstance(found, CallFailure):
                self._note(f"get {found}", notes)
                return _silence(keys)
            rows = found
        faults = {key: row for key, row in zip(keys, rows, strict=True) if isinstance(row, str)}
        for fault in faults.values():
            self._note(fault, notes)
        if faults:
            self._note_slow_failure(begun, self._read_health)
        pairs = zip(keys, rows, strict=True)
        records = {key: None if isinstance(row, str) else row for key, row in pairs}
        return Found(records, frozenset(faults))

    async def _read_rows(self, user_id: str, keys: Sequence[str]) -> Sequence[Stored | str | None]:
        if len(keys) == 1 or self._never_waits:
            return [await self._read_row(user_id, key) for key in keys]
        if self._get_many is None:
            return await asyncio.gather(*(_begin(self._read_row(user_id, key)) for key in keys))
        try:
            rows = await self._get_many(user_id, keys)
            return [read_row(rows.get(key), user_id, key) for key in keys]
        except Exception as error:  # noqa: BLE001 - the caller's storage may raise anything
            return [f"get_many raised {type(error).__name__}"] * len(keys)

    async def _read_row(self, user_id: str, key: str) -> Stored | str | None:
        """Return a usable record, None, or a text that says what is wrong."""
        try:
            return read_row(await self._get(user_id, key), user_id, key)
        except Exception as error:  # noqa: BLE001 - the caller's storage may raise anything
            return f"get raised {type(error).__name__}"

    # Writing

    async def write(self, records: Sequence[StoredDecision], notes: list[str]) -> None:
        """Write *records*, all at once; each write runs to its end even if the caller is cancelled.

        Where writes have timed out of late, this one is not waited for.
        """
        first = records[0]
        is_unresponsive = self._write_health.is_unresponsive(
            lambda: self._get(first.user_id, first.campaign_key)
        )
        if is_unresponsive:
            self._note(UNRESPONSIVE, notes)
            if len(self._tasks) + len(records) > MAX_TASKS:
                return
        if self._never_waits:
            for one in records:
                answer = await _settle(self._set(one.as_dict()))
                if isinstance(answer, CallFailure):
                    self._note(f"set {answer}", notes)
            return
        tasks = [
            self._keep(self._bounded(self._set(one.as_dict()), self._write_health))
            for one in records
        ]
        for task in () if is_unresponsive else tasks:
            answer = task.result() if task.done() else await asyncio.shield(task)
            if isinstance(answer, CallFailure):
                self._note(f"set {answer}", notes)

    async def claim(
        self, user_id: str, wanted: Sequence[tuple[str, str]], notes: list[str]
    ) -> list[bool | None]:
        """Claim conversions; tell for each whether it is the caller's to count, None where not known.

        Where the caller is cancelled meanwhile, what was claimed is given back.

        Args:
            user_id: The user.
            wanted: Campaign key and goal identifier of each.
            notes: Takes a text for each failure.
        """
        if self._write_health.is_unresponsive(lambda: self._get(user_id, wanted[0][0])):
            self._note(UNRESPONSIVE, notes)
            return [None] * len(wanted)
        if self._never_waits and self._claim_goal is not None:
            return [bool(await self._claim_goal(user_id, *one)) for one in wanted]
        task = self._keep(self._claim_all(user_id, wanted))
        try:
            answers = task.result() if task.done() else await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda ended: self._undo(user_id, wanted, ended))
            raise
        for answer in answers:
            if isinstance(answer, CallFailure):
                self._note(f"claim_goal {answer}", notes)
        return [None if isinstance(answer, CallFailure) else bool(answer) for answer in answers]

    async def _claim_all(self, user_id: str, wanted: Sequence[tuple[str, str]]) -> list[object]:
        assert self._claim_goal is not None
        claim, health = self._claim_goal, self._write_health
        claims = [self._bounded(claim(user_id, *one), health) for one in wanted]
        if len(claims) == 1:
            return [await claims[0]]
        return list(await asyncio.gather(*map(_begin, claims)))

    def _undo(
        self, user_id: str, wanted: Sequence[tuple[str, str]], task: asyncio.Task[list[object]]
    ) -> None:
        if task.cancelled():
            return
        for (campaign_key, goal), answer in zip(wanted, task.result(), strict=True):
            # A claim that failed may have been taken all the same.
            if answer:
                self.release_soon(user_id, campaign_key, goal)

    async def _bounded(
        self, call: Coroutine[Any, Any, T], health: StorageHealth
    ) -> T | CallFailure:
        """Return what *call* returns, or how it failed.

        It runs in a task of its own, for there are storages that swallow being cancelled.
        """
        begun = time.monotonic()
        task = _begin(_settle(call))
        try:
            if not task.done():
                await asyncio.wait((task,), timeout=self._timeout_s)
        finally:
            if not task.done():
                self._abandon(task)
        if not task.done() or task.cancelled():
            health.timed_out()
            return CallFailure("timed out")
        answer = task.result()
        health.answered()
        if isinstance(answer, CallFailure):
            self._note_slow_failure(begun, health)
        return answer

    def _note_slow_failure(self, begun: float, health: StorageHealth) -> None:
        """Leave a storage alone whose own time-out is shorter than ours: it stalls all the same."""
        if time.monotonic() - begun > self._timeout_s / 2:
            health.timed_out()

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        """Cancel *task* and let it end when it will."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_forget)
        task.cancel()

    # Taking back

    def release_soon(
        self, user_id: str, campaign_key: str, goal: str, context: Context | None = None
    ) -> None:
        """Take back that *goal* was tracked, in a task of its own: its event came to nothing.

        Args:
            user_id: The user.
            campaign_key: The campaign.
            goal: Its identifier.
            context: That of the call which tracked it, for storages that keep something there.
        """
        release = self._release(user_id, campaign_key, goal)
        task = asyncio.create_task(release, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _release(self, user_id: str, campaign_key: str, goal: str) -> None:
        notes: list[str] = []
        with self.begin_call(user_id) as user_call:
            async with user_call.exclusive():
                if self._release_goal is not None:
                    call = self._release_goal(user_id, campaign_key, goal)
                    answer = await self._bounded(call, self._write_health)
                    if isinstance(answer, CallFailure):
                        self._note(f"release_goal {answer}", notes)
                await self._unmark(user_id, campaign_key, goal, notes)
                user_call.forget(campaign_key)

    async def _unmark(self, user_id: str, campaign_key: str, goal: str, notes: list[str]) -> None:
        found = await self.read(user_id, [campaign_key], notes)
        stored = found.records[campaign_key]
        if stored is not None and goal in stored.goals:
            goals = tuple(one for one in stored.goals if one != goal)
            record = StoredDecision(user_id, campaign_key, stored.variation_name, goals)
            await self.write([record], notes)

    # Housekeeping

    def _keep(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start *coroutine* and hold its task until it has ended."""
        task = _begin(coroutine)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return task

    def _note(self, fault: str, notes: list[str]) -> None:
        notes.append(f"user storage: {fault}")
        self._failures.add(fault)

    async def settle(self, timeout_s: float) -> None:
        """Wait for calls that outlived their callers, for at most *timeout_s*."""
        ends_at = time.monotonic() + timeout_s
        while self._tasks and time.monotonic() < ends_at:
            await asyncio.wait(self._tasks, timeout=ends_at - time.monotonic())
        for late in self._tasks:
            late.cancel()
        tries = [health.cancel() for health in (self._read_health, self._write_health)]
        under_way = [one for one in tries if one is not None]
        if under_way:
            await asyncio.wait(under_way, timeout=timeout_s)


class CallFailure(str):
    """How a call of the storage failed, in place of what it would have returned."""

    __slots__ = ()


async def _settle(call: Coroutine[Any, Any, T]) -> T | CallFailure:
    """Return what *call* returns, or what it raised: asyncio's debug log shows what a task raised."""
    try:
        return await call
    except Exception as error:  # noqa: BLE001 - the caller's storage may raise anything
        return CallFailure(f"raised {type(error).__name__}")


def _forget(task: asyncio.Task[Any]) -> None:
    """Look at how an abandoned task ended, so that asyncio does not report it as unseen."""
    if not task.cancelled():
        task.exception()


def _silence(keys: Iterable[str]) -> Found:
    return Found(dict.fromkeys(keys), frozenset(keys), is_silent=True)


def _begin(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start *coroutine*; a storage that need not wait has then ended without a turn of the loop."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), eager_start=True)
    return asyncio.create_task(coroutine)
