"""What becomes of events: the queue and who empties it, the outbox, and whom the client tells of their ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._delivery.event import Event
from .._delivery.event_stream import EventStream
from .._delivery.outbox.claim import Claim
from .._delivery.outbox.protocol import Outbox, Stock
from .._delivery.queue import Limits, Queue
from .._delivery.request import Account
from .._delivery.sender import LOG_INTERVAL_S, Sender
from .._delivery.transport.by_name import load_transport, make_transport
from .._delivery.transport.protocol import Transport
from .._error import ClosedError, DeliveryError
from .._log import log_warning
from .._result import (
    DEVELOPMENT_DELIVERY,
    CloseReport,
    Delivery,
    DeliveryStatus,
    FlushReport,
    Outcome,
    Receipt,
    SingleTrack,
    TrackResult,
    is_lost,
    list_pending,
    receipt_of_single,
)
from .._wake import Wake
from .._wording import count_of
from .callback import Callback
from .delivery_wait import DeliveryWait
from .handed_over import HandedOver
from .observation import Observation
from .options import Options
from .room_wait import RoomWait

if TYPE_CHECKING:
    from .._delivery.outbox.journal import Journal
    from .._delivery.outbox.restorer import Confirm, Restore, Restorer

# What closing may take beyond its deadline to bring kept events to rest.
CLOSE_GRACE_S = 0.4
# What a report may take longer to say whether it knows all that is in the outbox.
LOOK_S = 0.1
# Of the time for closing, how much requests on their way have where the loop ends before the client is closed.
LOOP_END_SHARE = 0.5
# Events of an earlier process take up no more of the queue than this: what is new needs room as well.
RESTORED_SHARE = 4


class Reporter:
    """Owns the events of one client from the moment they are put until they have ended.

    Args:
        options: Launch options.
        wake: Lets who waits for the outbox go on, now or in a later turn of the loop.
        observation: Is told of requests.

    Attributes:
        queue: Where they are.
        sender: What empties it; None before `start`.
    """

    def __init__(self, options: Options, wake: Wake, observation: Observation) -> None:
        self._options = options
        self._wake = wake
        self._observation = observation
        stream = options.event_stream
        self._stream = stream
        self._handed_over = HandedOver(
            tells_ends=stream is not None and stream.tells_ends,
            timeout_s=options.storage_timeout_s,
        )
        # What a stream takes it takes at once: those who deliver from it make requests of many.
        self.queue = (
            Queue(options.limits, batching=options.batch_events)
            if stream is None
            else Queue(_bound(options.limits, stream), takes_all=True)
        )
        self.sender: Sender | None = None
        self._journal: Journal | None = None
        # Of what waits for a stream.
        self._claims: dict[Event, Sequence[Claim]] = {}
        self._restorer: Restorer | None = None
        self._delivery_wait = DeliveryWait(options.wait_timeout_s)
        # Whoever flushes has time, also while VWO is down.
        self._flush_wait = DeliveryWait(options.wait_timeout_s)
        self._room = RoomWait(self.queue, options.limits)
        self._quiet_until = float("-inf")
        self._drop_callback = Callback(options.on_drop, "on_drop") if options.on_drop else None
        self._flush_callback = (
            Callback(options.flush_callback, "flush_callback") if options.flush_callback else None
        )
        if isinstance(options.transport, str):
            load_transport(options.transport)

    @property
    def limits(self) -> Limits:
        """The bounds of the queue."""
        return self._options.limits

    # Life

    def start(
        self,
        account: Account,
        on_restored: Callable[[Event, Sequence[Claim]], object],
        confirm: Confirm,
    ) -> None:
        """Start sending in the running loop.

        Args:
            account: In whose name events of an earlier process are sent.
            on_restored: Called with each of these that was put on the queue, and its claims.
            confirm: Tells of the claims of each whether it still counts.
        """
        options, stream = self._options, self._stream
        sender = Sender(
            self.queue,
            self._make_transport() if stream is None else stream,
            workers=options.workers,
            grace_s=options.close_timeout_s * LOOP_END_SHARE,
            settle=self._handed_over.settle,
            on_ended=self._on_ended,
            on_halted=self._on_halted,
        )
        if stream is not None:
            stream.start(self._handed_over.on_end)
        sender.start()
        self.sender = sender
        if options.local_outbox is not None and not options.development_mode:
            self._start_outbox(options.local_outbox, sender, account, on_restored, confirm)

    def _make_transport(self) -> Transport:
        options = self._options
        transport, base_url = options.transport, None
        if isinstance(transport, str):
            base_url = options.destination.base_url
            transport = make_transport(transport, options.transport_config)
        return self._observation.watch_transport(transport, base_url)

    def _on_halted(self) -> None:
        """Let nobody wait for what does not answer; what a stream does not take is kept meanwhile."""
        self._delivery_wait.end_all()
        self._handed_over.end_all()
        self._spill()

    def _spill(self) -> None:
        """Keep what waits for a stream in the outbox that stands in for it."""
        if self._stream is None or self._journal is None:
            return
        events = [one for one in self.queue.list_pending() if one not in self._handed_over.spilled]
        if events:
            self._handed_over.spilled.update(events)
            claims = {one: self._claims[one] for one in events if one in self._claims}
            self._journal.record(events, claims)

    def _start_outbox(
        self,
        outbox: Outbox,
        sender: Sender,
        account: Account,
        on_restored: Callable[[Event, Sequence[Claim]], object],
        confirm: Confirm,
    ) -> None:
        # Not before there is an outbox: they are slow to import.
        from .._delivery.outbox.journal import Journal  # noqa: PLC0415
        from .._delivery.outbox.restorer import Restorer  # noqa: PLC0415

        limits, wall_clock = self._options.limits, _make_cautious_clock()
        self._journal = Journal(
            outbox, account, timeout_s=self._options.storage_timeout_s, wake=self._wake
        )
        self._restorer = Restorer(
            self._journal,
            account,
            _make_restore(sender, on_restored, wall_clock),
            max_events=limits.max_events // RESTORED_SHARE,
            max_bytes=limits.max_bytes // RESTORED_SHARE,
            max_age_s=limits.max_age_s,
            confirm=confirm,
            release=sender.release,
            wall_clock=wall_clock,
        )
        self._journal.start()
        self._restorer.start()

    async def opened(self) -> None:
        """Wait until the outbox is open.

        Raises:
            OutboxError: It cannot be opened.
        """
        if self._journal is not None:
            await self._journal.opened()

    async def close(self, ends_at: float) -> None:
        """Deliver what is pending until *ends_at*, in monotonic seconds, then stop."""
        if self.sender is None:
            return
        self._room.end_all()
        try:
            if self._restorer is not None:
                await self._restorer.stop()
            await self.sender.drain(max(ends_at - time.monotonic(), 0.0))
        finally:
            if self._journal is None:
                await self.sender.stop()
            else:
                await self._stop_with(self._journal, self.sender, ends_at)
            if self._restorer is not None:
                self._restorer.end_waits()
            # Also where the loop ends meanwhile, and cancels this.
            self._log_rest()

    def _log_rest(self) -> None:
        lost, kept = self.queue.dropped["closed"], self.queue.kept
        if lost or kept:
            log_warning("closed: %s lost, %d kept in the outbox", count_of(lost, "event"), kept)

    async def _stop_with(self, journal: Journal, sender: Sender, ends_at: float) -> None:
        """Stop; what the outbox has by now is kept, and all else that is pending is dropped."""
        # An event accepted after this would be neither kept nor counted.
        sender.refuse()
        self._spill()
        if self._restorer is not None:
            await self._restorer.look(LOOK_S)
        await journal.settle(max(ends_at - time.monotonic(), CLOSE_GRACE_S / 2))
        await sender.stop(journal.holds)
        await journal.aclose(max(ends_at - time.monotonic(), CLOSE_GRACE_S))

    def report_close(self) -> CloseReport:
        """Return what closing did and left."""
        queue, restorer = self.queue, self._restorer
        remaining = queue.kept + (0 if restorer is None else restorer.stock.waiting)
        kept_in = self._journal.describe() if self._journal is not None and remaining else ""
        return CloseReport(
            queue.delivered,
            queue.rejected,
            dict(queue.dropped),
            remaining,
            kept_in,
            is_outbox_read=restorer is None or restorer.is_read,
        )

    def list_callbacks(self) -> list[Callback]:
        """Return the callbacks that are told of the ends of events."""
        return [one for one in (self._flush_callback, self._drop_callback) if one is not None]

    def count(self) -> dict[str, Any]:
        """Return the ledger, by the names of `Statistics`."""
        queue, journal, restorer = self.queue, self._journal, self._restorer
        stock = Stock() if restorer is None else restorer.stock
        return {
            "accepted": queue.accepted,
            "delivered": queue.delivered,
            "rejected": queue.rejected,
            "dropped": dict(queue.dropped),
            "pending": queue.pending,
            "pending_bytes": queue.pending_bytes,
            "refused": queue.refused,
            "requests": queue.requests,
            "retries": queue.retries,
            "unknown": queue.unknown,
            "outbox_errors": 0 if journal is None else journal.errors,
            "restored": 0 if restorer is None else restorer.restored,
            "outbox_waiting": stock.waiting,
            "outbox_foreign": stock.foreign,
            "outbox_expired": stock.expired,
            "worker_restarts": 0 if self.sender is None else self.sender.restarts,
        }

    # Events

    def put(self, events: Sequence[Event]) -> Sequence[Receipt | None] | None:
        """Put *events* on the queue: None for what was refused; None for all in development mode.

        Raises:
            ClosedError: The client was closed while the call was under way, waiting for a storage.
        """
        if self._options.development_mode:
            return None
        assert self.sender is not None
        if self.sender.is_closed:
            raise ClosedError("the client was closed during this call")
        receipts = self.sender.put(events)
        if None in receipts:
            for event, receipt in zip(events, receipts, strict=True):
                if receipt is None:
                    self.tell_refused(event)
        return receipts

    async def report(self, events: Sequence[Event], *, waits: bool) -> bool:
        """Put *events*, and see them kept; true where all were accepted, or with *waits* received.

        Raises:
            ClosedError: As `put`.
        """
        receipts = self.put(events)
        if receipts is None:
            return True
        recorded = self.keep(receipts)
        if recorded is not None:
            await recorded
        if waits:
            await self.wait_for(delivery_of(receipts))
            return all(receipt is not None and receipt.outcome for receipt in receipts)
        return all(receipt is not None for receipt in receipts)

    def put_one(self, event: Event) -> bool:
        """Put *event* on the queue where there is no development mode; false if there is no room for it.

        Raises:
            ClosedError: As `put`.
        """
        sender = self.sender
        assert sender is not None
        if sender.is_closed:
            raise ClosedError("the client was closed during this call")
        if sender.put_one(event, time.monotonic()):
            return True
        self.tell_refused(event)
        return False

    @property
    def has_outbox(self) -> bool:
        """Whether accepted events are kept in an outbox."""
        return self._journal is not None

    def keep(
        self,
        receipts: Sequence[Receipt | None] | None,
        claims: Mapping[Receipt, Sequence[Claim]] | None = None,
    ) -> Awaitable[bool] | None:
        """Begin to keep what was put in the outbox, each with its claims.

        Returns:
            What the caller alone may await: true once all of it survives this process, false where that
            failed or took too long, after ``storage_timeout_s`` at the latest. None where there is
            nothing to wait for: no outbox, or one that is known not to answer.
        """
        if self._journal is None and self._stream is None:
            return None
        events = [one for one in receipts or () if isinstance(one, Event)]
        if not events:
            return None
        given = claims or {}
        own = {event: given[event] for event in events if event in given}
        return (
            self._record(events, own) if self._stream is None else self._await_stream(events, own)
        )

    def _record(
        self, events: Sequence[Event], claims: Mapping[Event, Sequence[Claim]]
    ) -> Awaitable[bool] | None:
        return None if self._journal is None else self._journal.record(events, claims)

    def _await_stream(
        self, events: Sequence[Event], claims: Mapping[Event, Sequence[Claim]]
    ) -> Awaitable[bool] | None:
        """See *events* into the stream where calls wait for that, or while it is away into the outbox."""
        assert self._stream is not None
        if self._journal is not None:
            self._claims.update(claims)
            if self.queue.is_halted:
                self._handed_over.spilled.update(events)
                return self._journal.record(events, claims)
        is_hopeless = self.queue.is_halted and not self.queue.may_go(time.monotonic())
        if is_hopeless or not self._stream.durable:
            return None
        return self._handed_over.wait_for(events)

    def keep_ahead(self, claims: Mapping[Event, Sequence[Claim]]) -> Awaitable[bool] | None:
        """Begin to keep events that are not put yet, each with its claims; see `keep`."""
        if self._journal is None or self._stream is not None:
            return None
        now = time.monotonic()
        for event in claims:
            event.at = now
        return self._journal.record(list(claims), claims)

    def take_back(self, events: Iterable[Event]) -> None:
        """Let go of events that were kept ahead and came to nothing."""
        given = list(events)
        for event in given:
            # Where it is still being written, this is how the outbox learns that nobody needs it.
            event.settle(Outcome(DeliveryStatus.NOTHING))
        if self._journal is not None and given:
            self._journal.forget(given)

    def keep_quickly(self, result: TrackResult) -> Awaitable[bool] | None:
        """Begin to keep what a quick call has put; see `keep`."""
        if not isinstance(result, SingleTrack):
            return None
        return self.keep((receipt_of_single(result),))

    async def follow(self, receipt: Receipt, *, waits: bool) -> None:
        """Keep what was put, see `keep`, and with *waits* wait for its delivery."""
        kept = self.keep((receipt,))
        if kept is not None:
            await kept
        if waits:
            await self.wait_for(Delivery((receipt,)))

    async def wait_until_kept(self, delivery: Delivery) -> None:
        """Keep what was put, and wait until it is kept; see `keep`."""
        kept = self.keep(list_pending(delivery))
        if kept is not None:
            await kept

    async def wait_for(self, delivery: Delivery) -> None:
        """Wait for the delivery, as long as launch allows and there is hope; it goes on after that."""
        if self.queue.is_halted and not self.queue.may_go(time.monotonic()):
            return
        is_ended = await self._delivery_wait.wait_for(list_pending(delivery))
        if not is_ended and not self.queue.is_halted:
            log_warning("a call waited %s s for its delivery", self._options.wait_timeout_s)

    async def flush(self) -> FlushReport:
        """Send everything that waits, in the outbox too, and wait for the end of all that was pending."""
        if self.sender is None:
            return FlushReport(0, 0, 0, 0, 0)
        restorer = self._restorer
        pending = self.sender.release()
        if restorer is None:
            await self._flush_wait.wait_for(pending)
            return _report_flush(Counter(_status_of(event) for event in pending))
        own = [event for event in pending if not restorer.is_restored(event)]
        before = restorer.ends.copy()
        await asyncio.gather(
            self._flush_wait.wait_for(own), restorer.drain(self._options.wait_timeout_s)
        )
        await restorer.look(LOOK_S)
        ends = Counter(_status_of(event) for event in own) + (restorer.ends - before)
        ends["pending"] += restorer.pending + restorer.stock.waiting
        return _report_flush(ends, is_outbox_read=restorer.is_read)

    def has_room(self, events: int, others: int, other_bytes: int) -> bool:
        """Tell whether there is room, see `RoomWait.has_room`, and nobody waits for it."""
        return self._room.is_free(events, others, other_bytes)

    async def wait_for_room(self, events: int, timeout_s: float | None) -> bool:
        """Wait until the queue has room for *events*; false where it had none in time."""
        return await self._room.wait_for(events, timeout_s)

    # Whom to tell

    def tell_refused(self, event: Event) -> None:
        """Tell of an event that the full queue did not accept."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_INTERVAL_S
            refused = count_of(self.queue.refused, "event")
            log_warning("the event queue is full: %s refused so far", refused)
        if self._drop_callback is not None:
            outcome = Outcome(DeliveryStatus.DROPPED, "overflow")
            self._drop_callback.call_soon(outcome, event.dump())

    def _on_ended(self, ended: Sequence[Event]) -> None:
        """Take note of events that ended."""
        self._room.look()
        if self._journal is not None and self._restorer is not None:
            self._journal.forget([one for one in ended if not _is_kept(one)])
            self._restorer.forget(ended)
        if self._drop_callback is not None:
            for event in ended:
                if event.outcome is not None and is_lost(event):
                    self._drop_callback.call_soon(event.outcome, event.dump())
        if self._flush_callback is not None:
            self._tell_flush(ended)
        if self._stream is not None:
            for event in ended:
                self._claims.pop(event, None)
            self._handed_over.note(ended)

    def _tell_flush(self, ended: Sequence[Event]) -> None:
        """Tell the flush callback of the events of one request, with the error where they failed."""
        assert self._flush_callback is not None
        outcome = ended[0].outcome
        error = None
        if not outcome:
            status = "" if outcome is None else f"{outcome.status} {outcome.reason}"
            code = None if outcome is None else outcome.status_code
            error = DeliveryError(f"{status} after status {code}" if code else status)
        self._flush_callback.call_soon(error, [_show(event) for event in ended])


def _show(event: Event) -> Any:
    """Return *event* as the flush callback is told of it; None for one that cannot be written."""
    try:
        return json.loads(event.render_item())
    except Exception:  # noqa: BLE001 - so it ended, or it is from another version; it has been counted
        return None


def _bound(limits: Limits, stream: EventStream) -> Limits:
    """Return *limits* with no more events in a round than the stream takes."""
    return replace(limits, max_batch_events=min(limits.max_batch_events, stream.max_events))


def _status_of(event: Event) -> str:
    return "pending" if event.outcome is None else event.outcome.status.value


def _report_flush(ends: Counter[str], *, is_outbox_read: bool = True) -> FlushReport:
    return FlushReport(
        ends.total(),
        ends["delivered"],
        ends["rejected"],
        ends["dropped"],
        ends["pending"] + ends["kept"],
        is_outbox_read=is_outbox_read,
    )


def delivery_of(receipts: Sequence[Receipt | None] | None) -> Delivery:
    """Return the delivery of what `Reporter.put` said."""
    if receipts is None:
        return DEVELOPMENT_DELIVERY
    return Delivery(tuple([receipt for receipt in receipts if receipt is not None]))


def _make_cautious_clock() -> Callable[[], float]:
    """Return a clock in seconds since the epoch that does not jump ahead: nothing in an outbox may expire early."""
    shift_s = time.time() - time.monotonic()
    return lambda: min(time.time(), time.monotonic() + shift_s)


def _make_restore(
    sender: Sender,
    on_restored: Callable[[Event, Sequence[Claim]], object],
    wall_clock: Callable[[], float],
) -> Restore:
    def restore(event: Event, wall_s: float, claims: Sequence[Claim]) -> bool:
        """Put an event of an earlier process on the queue, as old as the wall clock says."""
        age = max(wall_clock() - wall_s, 0.0)
        is_accepted = sender.restore(event, time.monotonic() - age)
        if is_accepted:
            on_restored(event, claims)
        return is_accepted

    return restore


def _is_kept(event: Event) -> bool:
    return event.outcome is not None and event.outcome.status is DeliveryStatus.KEPT
