"""How the client uses a user storage: bounded in time, sceptical of what comes back, never fatal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextvars import Context
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from .._core.decision import Stored
from .._log import FailureLog
from .._wake import Wake, wake_now
from ..storage.protocol import PlainUserStorage, StoredDecision, UserStorage
from ..storage.rounds import (
    AssignVariation,
    CountConversion,
    ReadRecord,
    StorageRequest,
    WithdrawConversion,
)
from .channel import CallChannel, Channel, RoundChannel, drop
from .claim_outcome import ClaimOutcome
from .health import PROBE_INTERVAL_S, RETRY_INTERVAL_S, StorageHealth
from .instant_channel import InstantChannel
from .late_claims import LateClaims
from .loop_clock import LoopClock
from .method_calls import MethodCalls
from .pending import NOT_ASKED, UNRESPONSIVE, PendingRequest, StorageFailure, name_kind
from .per_user_queue import UserCall, UserQueues
from .record import RowReader, make_data, read_row
from .round_calls import RoundCalls, find_rounds
from .window import Window
from .withdrawals import ConversionKey, Withdrawals
from .worker_thread import MAX_THREADS

# How many calls of methods may be under way, and how many more may wait although no caller awaits them.
MAX_CALLS = 1000
MAX_UNAWAITED = 1000
# So many rounds can be under way beside each other, where some take long.
MAX_ROUNDS = 4
MAX_REQUESTS = 64
MAX_TICK_S = 0.01


AnyChannel: TypeAlias = CallChannel | RoundChannel | InstantChannel


class _UnreadError(Exception):
    """The record could not be read, so that a goal cannot be taken out of it."""


class Found(NamedTuple):
    """What a round of reading brought.

    Attributes:
        records: By campaign key; None where nothing usable is.
        failed: The campaigns whose record is not known: there may be one.
        unread: Those among them for which the storage did not answer, or was not asked.
    """

    records: Mapping[str, Stored | None]
    failed: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()


class StorageAccess:
    """Reads and writes records; whatever goes wrong is counted, noted and never raised.

    Args:
        storage: The user's storage.
        timeout_s: How long one call of the API may wait for the storage in all.
        read_row: Returns what a row says of a user and campaign, see `record.read_row`.
        wake: Lets a call go on, now or in a later turn of the loop.
        is_crowded: Tells whether some wait for such a turn.
    """

    def __init__(
        self,
        storage: UserStorage | PlainUserStorage,
        timeout_s: float,
        read_row: RowReader = read_row,
        *,
        wake: Wake = wake_now,
        is_crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._read_row = read_row
        self._wake = wake
        self._timeout_s = timeout_s
        tick_s = min(MAX_TICK_S, timeout_s / 20)
        self._clock = LoopClock(tick_s, is_crowded)
        # What the storage was asked is limited by another: calls that wait for their turn hold up no answer.
        self._answer_clock = LoopClock(tick_s)
        self._queues = UserQueues(self._clock)
        rounds = find_rounds(storage)
        backend = MethodCalls(storage) if rounds is None else RoundCalls(rounds)
        self._backend: MethodCalls | RoundCalls = backend
        self.has_claims = backend.has_claims
        self.marks_with_claim = rounds is not None
        # One for reads and writes: a caller needs both, and nothing is gained by reading what cannot be written.
        self._window = Window(_find_most(backend), timeout_s)
        # Apart, since there are storages that read and cannot write, as a replica without its primary.
        self._reads = self._make_channel(PROBE_INTERVAL_S, is_for_reads=True)
        self._writes = self._make_channel(RETRY_INTERVAL_S, is_for_reads=False)
        if isinstance(self._reads, Channel) and isinstance(self._writes, Channel):
            self._reads.lead_to(self._writes)
        self._reads.health.on_change(self._on_read_health)
        self._writes.health.on_change(self._on_write_health)
        self._begin_by_kind = self._begin_by_methods if rounds is None else self._begin_by_round
        self._withdrawals = Withdrawals(
            self._begin_withdrawal,
            lambda: self._writes.health.is_stalled,
            self._clock,
            timeout_s,
        )
        self._late_claims = LateClaims()
        self._withdrawal_tasks: set[asyncio.Task[None]] = set()
        # Names of claims that a storage without names may have, and that a call has taken over.
        self._inherited: set[str] = set()
        self._owner_prefix = ""
        self._owners = 0
        self._failures = FailureLog("user storage")

    def _make_channel(self, probe_interval_s: float, *, is_for_reads: bool) -> AnyChannel:
        backend, clock, timeout_s = self._backend, self._answer_clock, self._timeout_s
        health = StorageHealth(clock, timeout_s, probe_interval_s)
        if isinstance(backend, RoundCalls) and backend.answer_now is not None:
            return InstantChannel(backend.answer_now, backend.name, health)
        options: dict[str, Any] = {
            "clock": clock,
            "timeout_s": timeout_s,
            "health": health,
            "probe": backend.probe,
            "window": self._window,
            "is_for_reads": is_for_reads,
        }
        if isinstance(backend, RoundCalls):
            options |= {"max_flights": MAX_ROUNDS, "abandon": backend.abandon}
            return RoundChannel(backend.answer, backend.name, max_requests=MAX_REQUESTS, **options)
        options["max_flights"] = MAX_THREADS if backend.has_plain_methods else MAX_CALLS
        joins = is_for_reads and backend.reads_many
        return CallChannel(backend.answer, backend.name, joins=joins, **options)

    def _on_read_health(self, is_stalled: bool) -> None:
        if not is_stalled and self._writes.health.is_stalled:
            # It had stopped altogether, and is back.
            self._writes.health.answered()

    def _on_write_health(self, is_stalled: bool) -> None:
        if not is_stalled:
            self._withdrawals.retry_all()

    @property
    def errors(self) -> int:
        """How many calls of the storage failed or were not waited for, and how many claims stayed for ever."""
        return self._failures.count

    def find_deadline(self) -> float:
        """Return when a call that begins now has waited long enough, by the storage's clock."""
        return self._clock.now + self._timeout_s

    def begin_call(self, user_id: str, ends_at: float) -> UserCall:
        """Begin a call about a user, behind those that are under way; see `UserCall`."""
        return self._queues.begin_call(user_id, ends_at)

    # Reading

    async def read(
        self, user_id: str, campaign_keys: Iterable[str], notes: list[str], ends_at: float
    ) -> Found:
        """Return what is stored for each campaign, all asked for at once.

        Args:
            user_id: The user.
            campaign_keys: The campaigns.
            notes: Takes a text for each failure.
            ends_at: How long to wait, see `find_deadline`.
        """
        since = self._withdrawals.ended
        requests = [ReadRecord(user_id, key) for key in campaign_keys]
        if self._reads.health.is_stalled:
            outcomes: list[Any] = [UNRESPONSIVE] * len(requests)
        else:
            outcomes = await self._exchange(self._reads, requests, ends_at)
        rows = [
            one
            if type(one) is StorageFailure
            else self._without_withdrawn(self._read(one, request), request, since)
            for one, request in zip(outcomes, requests, strict=True)
        ]
        self._note_all(rows, notes)
        pairs = [(request.campaign_key, row) for request, row in zip(requests, rows, strict=True)]
        failed = frozenset(key for key, row in pairs if type(row) is StorageFailure)
        records = {key: None if type(row) is StorageFailure else row for key, row in pairs}
        if not failed:
            return Found(records)
        asked = zip(requests, outcomes, strict=True)
        unread = frozenset(one.campaign_key for one, row in asked if type(row) is StorageFailure)
        return Found(records, failed, unread)

    def _without_withdrawn(
        self, stored: Stored | StorageFailure | None, read: ReadRecord, since: int
    ) -> Stored | StorageFailure | None:
        """Return what was read without the goals that are about to be taken back, or were meanwhile.

        Args:
            stored: What was read.
            read: Of whom.
            since: How many conversions had been taken back when it was asked for.
        """
        if type(stored) is not Stored or not (
            self._has_withdrawals or self._withdrawals.ended > since
        ):
            return stored
        keys = [(read.user_id, read.campaign_key, one) for one in stored.goals]
        goals = [key[2] for key in keys if not self._is_or_was_withdrawn(key, since)]
        return stored._replace(goals=tuple(goals))

    @property
    def _has_withdrawals(self) -> bool:
        """Whether some conversions are to be taken back."""
        return self._withdrawals.has_any or self._late_claims.has_left

    def _is_to_be_withdrawn(self, conversion: ConversionKey) -> bool:
        is_left = self._late_claims.find_left(conversion) is not None
        return is_left or self._withdrawals.has(conversion)

    def _is_or_was_withdrawn(self, conversion: ConversionKey, since: int) -> bool:
        return self._is_to_be_withdrawn(conversion) or self._withdrawals.has_had(conversion, since)

    async def read_one(
        self, user_id: str, campaign_key: str, notes: list[str], ends_at: float
    ) -> Stored | StorageFailure | None:
        """Return one record, or why it is not known; the quick way of `read`."""
        channel = self._reads
        since = self._withdrawals.ended
        request = ReadRecord(user_id, campaign_key)
        if isinstance(channel, InstantChannel):
            outcome: Any = channel.answer(request)
        elif channel.health.is_stalled:
            outcome = UNRESPONSIVE
        else:
            pending = channel.submit_one(request)
            if not pending.is_settled:
                try:
                    await self._wait_for_one(pending, ends_at)
                finally:
                    drop((pending,))
            outcome = pending.outcome if pending.is_settled else self._outcome_of(pending)
        stored = outcome if type(outcome) is StorageFailure else self._read(outcome, request)
        if type(stored) is StorageFailure:
            self._note_all((stored,), notes)
            return stored
        return self._without_withdrawn(stored, request, since)

    def _read(self, row: Any, request: ReadRecord) -> Stored | StorageFailure | None:
        try:
            stored = self._read_row(row, request.user_id, request.campaign_key)
        except Exception as error:  # noqa: BLE001 - a row of a class of the storage's own may raise anything
            stored = f"get returned what raised {name_kind(error)}"
        return StorageFailure(stored, is_answer=True) if isinstance(stored, str) else stored

    # Writing

    async def assign(
        self, data: Mapping[str, Any], replaced: str | None, notes: list[str], ends_at: float
    ) -> None:
        """Keep a record that was just made; see `AssignVariation`."""
        await self.mark([AssignVariation(data, replaced)], notes, ends_at)

    async def mark(
        self, requests: Sequence[StorageRequest], notes: list[str], ends_at: float
    ) -> None:
        """Write what became of users and conversions; each write runs to its end even if the caller is gone.

        It is waited for, but not where writes have timed out of late.
        """
        channel = self._writes
        if self._has_withdrawals:
            requests = self._put_off(requests)
        if channel.health.is_stalled:
            self._note_all([UNRESPONSIVE], notes)
            if channel.size < MAX_UNAWAITED:
                self._late_claims.add(channel.submit(requests), requests)
            return
        pending = channel.submit(requests)
        try:
            await self._wait(pending, ends_at)
        finally:
            self._late_claims.add(pending, requests)
        self._note_all([self._outcome_of(one) for one in pending], notes)

    def _put_off(self, requests: Sequence[StorageRequest]) -> list[StorageRequest]:
        """Return *requests* without marks of conversions that are to be taken back yet: they come after that."""
        now: list[StorageRequest] = []
        for one in requests:
            if isinstance(one, CountConversion) and self._is_to_be_withdrawn(one[:3]):
                self._mark_when_free(one)
            else:
                now.append(one)
        return now

    def _mark_when_free(self, mark: CountConversion) -> None:
        left = self._late_claims.find_left(mark[:3])
        if left is not None:
            left.on_settled(partial(self._mark_when_free, mark))
        else:
            self._withdrawals.on_free(_withdrawal_of(mark), partial(self._writes.submit_one, mark))

    async def count(
        self, wanted: Sequence[CountConversion], notes: list[str], ends_at: float
    ) -> list[ClaimOutcome]:
        """Claim conversions; tell for each whose it is to count.

        With `marks_with_claim` they are marked as well. Where the caller is cancelled meanwhile, what was
        claimed is given back.

        Args:
            wanted: The conversions.
            notes: Takes a text for each failure.
            ends_at: How long to wait, see `find_deadline`.
        """
        channel = self._writes
        inherited = self._inherited.intersection(one.owner for one in wanted)
        self._inherited -= inherited
        if channel.health.is_stalled:
            outcomes: Sequence[Any] = [UNRESPONSIVE] * len(wanted)
        else:
            outcomes = await self._claim(wanted, ends_at, inherited)
        self._note_all(outcomes, notes)
        return [
            # What there is may be the claim that was taken over, or another process's.
            ClaimOutcome.UNKNOWN
            if request.owner in inherited and (type(one) is StorageFailure or not one)
            else self._settle_claim(one, request)
            for one, request in zip(outcomes, wanted, strict=True)
        ]

    def _settle_claim(self, outcome: Any, request: CountConversion) -> ClaimOutcome:
        """Return what the answer to a claim, or that there is none, says."""
        if type(outcome) is StorageFailure:
            return ClaimOutcome.UNKNOWN if outcome.is_asked else ClaimOutcome.NOT_MADE
        if outcome:
            return ClaimOutcome.OURS
        # It may be another call's that is about to give it back.
        is_free = self._has_withdrawals and self._is_to_be_withdrawn(request[:3])
        return ClaimOutcome.NOT_MADE if is_free else ClaimOutcome.OTHERS

    async def _claim(
        self, wanted: Sequence[CountConversion], ends_at: float, inherited: Container[str] = ()
    ) -> list[Any]:
        """Return the outcome of each claim, or why it is not known.

        One that failed for a claim which was taken back meanwhile is made again.
        """
        since = self._withdrawals.ended
        pending = self._writes.submit(wanted)
        for one, request in zip(pending, wanted, strict=True):
            one.is_inherited = request.owner in inherited
        await self._wait_for_claims(pending, wanted, ends_at)
        outcomes = [self._outcome_of(one) for one in pending]
        if since == self._withdrawals.ended:
            return outcomes
        doubtful = [
            place
            for place, request in enumerate(wanted)
            if not outcomes[place] and self._withdrawals.has_had(request[:3], since)
        ]
        if doubtful:
            try:
                again = await self._claim_again([wanted[place] for place in doubtful], ends_at)
            except asyncio.CancelledError:
                self._leave_claims(pending, wanted)
                raise
            for place, outcome in zip(doubtful, again, strict=True):
                outcomes[place] = outcome
        return outcomes

    async def _claim_again(self, wanted: Sequence[CountConversion], ends_at: float) -> list[Any]:
        if self._clock.now >= ends_at or self._writes.health.is_stalled:
            return [NOT_ASKED] * len(wanted)
        return await self._claim(wanted, ends_at)

    async def count_one(
        self, request: CountConversion, notes: list[str], ends_at: float
    ) -> ClaimOutcome:
        """Claim one conversion; the quick way of `count`."""
        channel = self._writes
        if isinstance(channel, InstantChannel):
            outcome: Any = channel.answer(request)
        elif channel.health.is_stalled:
            outcome = UNRESPONSIVE
        else:
            since = self._withdrawals.ended
            pending = channel.submit_one(request)
            try:
                await self._wait_for_one(pending, ends_at)
            except asyncio.CancelledError:
                self._leave_claims((pending,), (request,))
                raise
            if not pending.is_ended:
                drop((pending,))
                self._look_after((pending,), (request,))
            outcome = pending.outcome if pending.is_settled else self._outcome_of(pending)
            if not outcome and self._withdrawals.has_had(request[:3], since):
                (outcome,) = await self._claim_again((request,), ends_at)
        if type(outcome) is StorageFailure:
            self._note_all((outcome,), notes)
        return self._settle_claim(outcome, request)

    async def _wait_for_claims(
        self,
        pending: Sequence[PendingRequest],
        wanted: Sequence[CountConversion],
        ends_at: float,
    ) -> None:
        """Wait for claims; those that are under way when the caller goes are looked after."""
        try:
            await self._wait(pending, ends_at)
        except asyncio.CancelledError:
            self._leave_claims(pending, wanted)
            raise
        drop(pending)
        self._look_after(pending, wanted)

    def _look_after(
        self, pending: Sequence[PendingRequest], wanted: Sequence[CountConversion]
    ) -> None:
        """Remember claims that are under way though their caller does not wait any more."""
        self._late_claims.add(pending, wanted)
        for one, request in zip(pending, wanted, strict=True):
            if not one.is_ended:
                one.on_ended(partial(self._forget_unmade, one, request))

    def _forget_unmade(self, claim: PendingRequest, request: CountConversion) -> None:
        """Take nothing back for a claim that failed in the end: what there is is another's."""
        if _is_unmade(claim):
            self._withdrawals.forget(_withdrawal_of(request))

    def _leave_claims(
        self, pending: Sequence[PendingRequest], wanted: Sequence[CountConversion]
    ) -> None:
        """Have claims given back whose caller is gone."""
        drop(pending)
        for one, request in zip(pending, wanted, strict=True):
            if one.is_inherited and not one.has_begun:
                self._undo(one, request)
            else:
                self._late_claims.leave(one, request, partial(self._undo, one, request))

    def begin_owner(self) -> str:
        """Return what `choose_owner` does where it need not wait; empty where it must."""
        return "" if self._has_withdrawals else self.make_owner()

    async def choose_owner(self, conversion: ConversionKey, ends_at: float) -> str:
        """Return the name under which a call claims *conversion*, which no other call has.

        An earlier claim that could not be given back yet is given back first. A storage that has only
        methods knows no names, and what it has is taken over.
        """
        while self._clock.now < ends_at:
            left = self._late_claims.find_left(conversion)
            if left is None:
                break
            await self._wait_for_one(left, ends_at)
        withdrawals = self._withdrawals
        if not withdrawals.has_any or not withdrawals.has(conversion):
            return self.make_owner()
        if not self.marks_with_claim:
            # Its withdrawal has not begun: it comes after this call, which has the turn of this user.
            owner = withdrawals.take_over(conversion) or self.make_owner()
            self._inherited.add(owner)
            return owner
        if not self._writes.health.is_stalled:
            withdrawals.retry(conversion)
        waiting = PendingRequest(WithdrawConversion(*conversion, ""))
        while self._clock.now < ends_at and withdrawals.on_ended(
            conversion, partial(waiting.settle, None)
        ):
            await self._wait_for_one(waiting, ends_at)
            waiting = PendingRequest(waiting.request)
        return self.make_owner()

    def make_owner(self) -> str:
        """Return a name that no other call has, in any process."""
        if not self._owner_prefix:
            # Not sooner: a process may have forked since the client was made.
            self._owner_prefix = os.urandom(12).hex()
        self._owners += 1
        return f"{self._owner_prefix}{self._owners:x}"

    def _undo(self, pending: PendingRequest, request: CountConversion) -> None:
        """Give back what a caller claimed who is gone; a claim that failed may have been made all the same."""
        if not _is_unmade(pending):
            self._withdrawals.add(_withdrawal_of(request), None)

    def give_back_inherited(self, withdrawals: Iterable[WithdrawConversion]) -> None:
        """Owe again what `choose_owner` has taken over for calls that came to no claim."""
        for one in withdrawals:
            if one.owner in self._inherited:
                self._inherited.discard(one.owner)
                self._withdrawals.add(one, None)

    # Asking

    async def _exchange(
        self, channel: AnyChannel, requests: Sequence[StorageRequest], ends_at: float
    ) -> list[Any]:
        """Return the outcome of each of *requests*, or why there is none, waiting for a stalled storage too."""
        pending = channel.submit(requests)
        try:
            await self._wait(pending, ends_at)
        finally:
            drop(pending)
        return [self._outcome_of(one) for one in pending]

    def _outcome_of(self, pending: PendingRequest) -> Any:
        """Return the outcome, or why the caller does not know it."""
        if pending.is_settled:
            return pending.outcome
        if not pending.has_begun:
            return NOT_ASKED
        pending.is_late = True
        return StorageFailure(f"{self._backend.name((pending.request,))} timed out")

    async def _wait_for_one(self, pending: PendingRequest, ends_at: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pending.on_settled(partial(self._go_on, waiter, (pending,)))
        timer = self._clock.call_at(ends_at, partial(wake_now, waiter, None))
        try:
            await waiter
        finally:
            timer.cancel()

    async def _wait(self, pending: Sequence[PendingRequest], ends_at: float) -> None:
        """Wait until every outcome is known, or the time is over."""
        missing = [one for one in pending if not one.is_settled]
        if len(missing) < 2:
            if missing:
                await self._wait_for_one(missing[0], ends_at)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number = len(missing)

        def end() -> None:
            nonlocal number
            number -= 1
            if not number:
                self._go_on(waiter, missing)

        for one in missing:
            one.on_settled(end)
        timer = self._clock.call_at(ends_at, partial(wake_now, waiter, None))
        try:
            await waiter
        finally:
            timer.cancel()

    def _go_on(self, waiter: asyncio.Future[None], settled: Iterable[PendingRequest]) -> None:
        """Let the call go on whose requests are settled: where many are, in turns of the loop.

        At once while conversions are taken back, which may have ended by a later turn, and what was read before
        would say that they count. And at once after a failure, by which there may be one to take back.
        """
        is_urgent = self._has_withdrawals or any(
            type(one.outcome) is StorageFailure for one in settled
        )
        (wake_now if is_urgent else self._wake)(waiter, None)

    # Taking back

    def withdraw_soon(self, withdrawal: WithdrawConversion, context: Context | None = None) -> None:
        """Take back that a conversion was tracked: its event came to nothing.

        Args:
            withdrawal: The conversion.
            context: That of the call which tracked it, for storages that keep something there.
        """
        self._queues.forget(*withdrawal[:2])
        self._withdrawals.add(withdrawal, context)

    def _begin_withdrawal(
        self, withdrawal: WithdrawConversion, context: Context | None, end: Callable[[bool], None]
    ) -> None:
        unended = self._late_claims.find_unended(withdrawal[:3])
        if unended is not None:
            # Not before the claim itself has ended, which it might overtake.
            unended.on_ended(partial(self._withdraw_after, unended, withdrawal, context, end))
        else:
            self._begin_by_kind(withdrawal, context, end)

    def _withdraw_after(
        self,
        claim: PendingRequest,
        withdrawal: WithdrawConversion,
        context: Context | None,
        end: Callable[[bool], None],
    ) -> None:
        """Take back what a claim may have made that has ended now: where it failed, nothing."""
        is_own = claim.request[:4] == withdrawal[:4]
        if not (is_own and _is_unmade(claim)):
            self._begin_withdrawal(withdrawal, context, end)
        elif self._withdrawals.is_under_way(withdrawal):
            end(True)

    def _begin_by_round(
        self, withdrawal: WithdrawConversion, context: Context | None, end: Callable[[bool], None]
    ) -> None:
        pending = self._writes.submit_one(withdrawal)

        def settled() -> None:
            outcome = pending.outcome
            if type(outcome) is StorageFailure:
                self._note_all([outcome], [])
            self._queues.forget(*withdrawal[:2])
            end(type(outcome) is not StorageFailure)

        pending.on_settled(settled)

    def _begin_by_methods(
        self, withdrawal: WithdrawConversion, context: Context | None, end: Callable[[bool], None]
    ) -> None:
        task = asyncio.get_running_loop().create_task(
            self._withdraw_by_methods(withdrawal, end), context=context
        )
        self._withdrawal_tasks.add(task)
        task.add_done_callback(self._withdrawal_tasks.discard)

    async def _withdraw_by_methods(
        self, withdrawal: WithdrawConversion, end: Callable[[bool], None]
    ) -> None:
        """Release the claim and take the goal out of the record, when the calls ahead have had their turn."""
        succeeded = False
        user_id, campaign_key, goal_identifier, _ = withdrawal
        try:
            with self.begin_call(user_id, self.find_deadline()) as user_call:
                async with user_call.exclusive():
                    if user_call.has_missed_turn or not self._withdrawals.is_under_way(withdrawal):
                        return
                    requests = await self._find_mark(user_id, campaign_key, goal_identifier)
                    if self.has_claims:
                        requests = [*requests, withdrawal]
                    outcomes = await self._exchange(self._writes, requests, self.find_deadline())
                    self._note_all(outcomes, [])
                    succeeded = not any(type(one) is StorageFailure for one in outcomes)
                    self._queues.forget(user_id, campaign_key)
        except _UnreadError:
            # Noted where it was found.
            pass
        finally:
            if self._withdrawals.is_under_way(withdrawal):
                end(succeeded)

    async def _find_mark(self, user_id: str, campaign_key: str, goal: str) -> list[StorageRequest]:
        """Return what writes the record without *goal*, nothing where it is not in there.

        Raises:
            _UnreadError: The record could not be read.
        """
        read = ReadRecord(user_id, campaign_key)
        (outcome,) = await self._exchange(self._reads, [read], self.find_deadline())
        stored = outcome if type(outcome) is StorageFailure else self._read(outcome, read)
        self._note_all([stored], [])
        if type(stored) is StorageFailure:
            raise _UnreadError
        if stored is None or goal not in stored.goals:
            return []
        goals = tuple(one for one in stored.goals if one != goal)
        record = StoredDecision(user_id, campaign_key, stored.variation_name, goals)
        return [AssignVariation(make_data(record, stored))]

    # Housekeeping

    def _note_all(self, outcomes: Iterable[Any], notes: list[str]) -> None:
        """Note what failed, each kind once."""
        for text in dict.fromkeys(one.text for one in outcomes if type(one) is StorageFailure):
            self._failures.add(text)
            notes.append(f"user storage: {text}")

    def note(self, failure: StorageFailure, notes: list[str]) -> None:
        """Note what failed."""
        self._note_all([failure], notes)

    async def aclose(self, timeout_s: float) -> None:
        """Take back what came to nothing and let writes end, for at most *timeout_s*; then cut off the rest."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        lost = await self._withdrawals.aclose(timeout_s)
        if lost:
            what = f"{lost} conversions that were not sent stay claimed"
            self._failures.add(what, number=lost)
        for task in list(self._withdrawal_tasks):
            task.cancel()
        self._reads.cut()
        await self._writes.aclose(ends_at)
        await self._reads.aclose(ends_at)


def _find_most(backend: MethodCalls | RoundCalls) -> int:
    """Return how many requests a storage is asked at a time where all goes well."""
    if isinstance(backend, RoundCalls):
        return MAX_ROUNDS * MAX_REQUESTS
    return MAX_THREADS if backend.has_plain_methods else MAX_CALLS


def _is_unmade(claim: PendingRequest) -> bool:
    """Tell whether the storage has refused a claim, and no earlier call may have made it."""
    return claim.outcome is False and not claim.is_inherited


def _withdrawal_of(request: CountConversion) -> WithdrawConversion:
    return WithdrawConversion(*request[:4])
