"""The skeleton under every API method: one life, one queue, one storage, one snapshot in force."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from ._core import api as apis
from ._core.api import Api
from ._core.decision import find_refusal
from ._core.plan import Campaign, Decision
from ._event.event import Event
from ._event.journal import Claim, Journal
from ._event.queue import Entry, Queue
from ._event.sender import LOG_INTERVAL_S, Sender
from ._event.transport import HttpxTransport
from .callback import Callback
from .consent import Consent
from .decider import Reading
from .error import ClosedError, DeliveryError, WrongLoopError
from .explanation import Explanation
from .integration import make_payload
from .log import log_warning
from .options import Options
from .reason import Reason
from .result import (
    DEVELOPMENT_DELIVERY,
    NO_DELIVERY,
    CampaignTrack,
    CloseReport,
    Delivery,
    DeliveryStatus,
    FlushReport,
    Outcome,
    Receipt,
    Statistics,
    TrackResult,
)
from .settings import Settings
from .snapshot import Snapshot
from .storage.access import StorageAccess
from .storage.protocol import StoredDecision
from .tracking import (
    Conversion,
    TrackCall,
    accept,
    conclude,
    find_conversions,
    in_order,
    make_events,
    make_record,
    sort_targets,
)
from .turn import Turn
from .user import User

# What closing may take beyond its deadline to bring kept events to rest.
CLOSE_GRACE_S = 0.4

_NO_LOCK: AbstractAsyncContextManager[None] = nullcontext()


class Engine:
    """Decides, puts events on the queue, tells storage and integrations, and can be opened and closed.

    Args:
        settings: The settings file in force at first.
        options: Launch options.
    """

    def __init__(self, settings: Settings, options: Options) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.is_closed = False
        self.options = options
        self.snapshot = self.compile(settings)
        self.consent = Consent(options.consent, options.storage_timeout_s)
        self.queue = Queue(options.limits, batching=options.batch_events)
        self._sender: Sender | None = None
        self._quiet_until = float("-inf")
        self.turn = Turn()
        self._closing: asyncio.Task[None] | None = None
        self._storage = (
            None
            if options.user_storage is None
            else StorageAccess(options.user_storage, options.storage_timeout_s)
        )
        self._integration = (
            Callback(options.integrations, "integrations") if options.integrations else None
        )
        self._drop_callback = Callback(options.on_drop, "on_drop") if options.on_drop else None
        self._journal: Journal | None = None
        self._pid = os.getpid()
        self._flush_callback = (
            Callback(options.flush_callback, "flush_callback") if options.flush_callback else None
        )

    # Life

    def enter(self) -> None:
        """Pass in the loop of the client, open it on first use, refuse everything else.

        Raises:
            ClosedError: It was closed.
            WrongLoopError: It is open in another loop.
        """
        loop = asyncio.get_running_loop()
        if loop is self.loop and os.getpid() == self._pid:
            return
        if os.getpid() != self._pid:
            raise ClosedError("the client was made before a fork; make a new one in this process")
        if self.is_closed:
            raise ClosedError("the client is closed")
        if self.loop is not None:
            raise WrongLoopError("the client belongs to another event loop; make one for each loop")
        self._start(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        options = self.options
        transport = options.transport or self.make_transport()
        self._sender = Sender(
            self.queue,
            transport,
            workers=options.workers,
            on_ended=self._on_ended,
        )
        self._sender.start()
        if options.outbox is not None and not options.development_mode:
            account = self.snapshot.press.account
            self._journal = Journal(
                options.outbox, account, self._restore, timeout_s=options.storage_timeout_s
            )
            self._journal.start()
        self.loop = loop

    async def opened(self) -> None:
        """Wait until the outbox is open.

        Raises:
            OutboxError: It cannot be opened.
        """
        if self._journal is not None:
            await self._journal.opened()

    def _restore(self, event: Event, wall_s: float, claims: Sequence[Claim]) -> Entry | None:
        """Put an event of an earlier process on the queue, as old as the wall clock says."""
        assert self._sender is not None
        age = max(time.time() - wall_s, 0.0)
        entry = self._sender.restore(event, time.monotonic() - age)
        if entry is not None:
            self._release_on_failure(entry, claims)
        return entry

    def compile(self, settings: Settings) -> Snapshot:
        """Return what would be in force with *settings*; may take a while and may run in a thread."""
        return Snapshot(settings, self.options, time.time)

    def make_transport(self) -> HttpxTransport:
        """Return a transport as the options describe it."""
        options = self.options
        return HttpxTransport(
            options.base_url,
            timeouts=options.timeouts,
            user_agent=f"{options.sdk_name}/{options.sdk_version}",
            ssl_context=options.ssl_context,
            proxy=options.proxy,
        )

    async def aclose(self, timeout_s: float | None) -> None:
        """Deliver what is pending within a deadline, then stop; only the first call does.

        Raises:
            WrongLoopError: The client is open in another loop.
        """
        loop = asyncio.get_running_loop()
        if self.loop not in (None, loop) and not self.is_closed:
            raise WrongLoopError("the client is open in another event loop: close it there")
        if self._closing is None and self.loop is loop:
            limit = self.options.close_timeout_s if timeout_s is None else timeout_s
            self._closing = loop.create_task(self._close(limit), name="vwo_async close")
        self.is_closed = True
        self.loop = None
        # A callback that closes the client must not wait for its own end.
        from_within = any(callback.is_running_here() for callback in self._callbacks())
        if self._closing is not None and not self._closing.done() and not from_within:
            await asyncio.shield(self._closing)

    async def _close(self, timeout_s: float) -> None:
        ends_at = time.monotonic() + timeout_s
        # At the same time, so that a callback or storage that hangs costs no event its delivery.
        await asyncio.gather(
            self._close_delivery(ends_at),
            *(callback.settle(timeout_s) for callback in self._callbacks()),
        )
        # What the end of the last events set off.
        grace_s = max(ends_at - time.monotonic(), CLOSE_GRACE_S)
        storage = () if self._storage is None else (self._storage.settle(grace_s),)
        await asyncio.gather(*storage, *(one.settle(grace_s) for one in self._callbacks()))

    async def _close_delivery(self, ends_at: float) -> None:
        if self._sender is None:
            return
        try:
            if self._journal is not None:
                await self._journal.stop_loading()
            await self._sender.drain(max(ends_at - time.monotonic(), 0.0))
        finally:
            if self._journal is None:
                await self._sender.stop()
            else:
                await self._journal.verify(CLOSE_GRACE_S / 2)
                await self._sender.stop(self._journal.holds)
                await self._journal.aclose(max(ends_at - time.monotonic(), CLOSE_GRACE_S))
        lost, kept = self.queue.dropped["closed"], self.queue.kept
        if lost or kept:
            log_warning("closed with %d events lost and %d kept in the outbox", lost, kept)

    def report_close(self) -> CloseReport:
        """Return what closing did and left."""
        queue = self.queue
        kept_in = self._journal.describe() if self._journal is not None and queue.kept else ""
        return CloseReport(
            queue.delivered, queue.rejected, dict(queue.dropped), queue.kept, kept_in
        )

    def _callbacks(self) -> list[Callback]:
        callbacks = (self._integration, self._flush_callback, self._drop_callback)
        return [one for one in callbacks if one is not None]

    def statistics(self) -> Statistics:
        """Return the ledger."""
        queue = self.queue
        return Statistics(
            accepted=queue.accepted,
            delivered=queue.delivered,
            rejected=queue.rejected,
            dropped=dict(queue.dropped),
            pending=queue.pending,
            pending_bytes=queue.pending_bytes,
            refused=queue.refused,
            requests=queue.requests,
            unknown=queue.unknown,
            storage_errors=0 if self._storage is None else self._storage.errors,
            callback_errors=sum(callback.errors for callback in self._callbacks()),
            outbox_errors=0 if self._journal is None else self._journal.errors,
            restored=0 if self._journal is None else self._journal.restored,
        )

    # Deciding

    def find_campaign(self, campaign_key: str, api: Api) -> Campaign | Reason:
        """Return the campaign of that key, or why *api* does not apply to it."""
        campaign = self.snapshot.plan.campaigns.get(campaign_key)
        refusal = find_refusal(campaign, api, has_storage=self._storage is not None)
        if refusal is not None:
            return refusal
        assert campaign is not None
        return campaign

    async def decide(
        self,
        api: Api,
        campaign_key: str,
        user: User,
        *,
        given: Mapping[str, Any] | None,
        meta_data: Mapping[str, Any],
        resends: bool = False,
        waits: bool = False,
    ) -> Decision | None:
        """Decide one campaign, report and store as *api* does; None where there is nothing to decide."""
        if not self.consent.is_unasked() and await self.consent.refuses(user.id):
            return None
        snapshot = self.snapshot
        campaign = self.find_campaign(campaign_key, api)
        if isinstance(campaign, Reason):
            return None
        reading = Reading(self._storage, user, given)
        (decision,) = await reading.decide(snapshot.plan, (campaign,), api)
        variation = decision.variation
        if variation is None:
            return decision
        self._tell_integration(snapshot, decision, user, api)
        delivery = NO_DELIVERY
        if api.assigns and (decision.reason is not Reason.STORED or resends):
            receipts = self._put([snapshot.press.make_impression(user, campaign, variation)])
            delivery = _delivery_of(receipts)
            if self._journal is not None:
                await self._record(receipts)
        is_new = decision.reason is Reason.ASSIGNED and not reading.is_blind
        if self._storage is not None and is_new:
            record = StoredDecision(user.id, campaign.key, variation.name, meta_data=meta_data)
            await self._storage.write(record, reading.notes)
        if waits:
            await self._await(delivery)
        return decision

    async def decide_all(
        self, user: User, given: Mapping[str, Any] | None
    ) -> tuple[list[Decision], tuple[str, ...]]:
        """Decide every campaign that can be decided, in one round of the storage; report nothing."""
        if not self.consent.is_unasked() and await self.consent.refuses(user.id):
            return [], ()
        plan = self.snapshot.plan
        found = [self.find_campaign(key, apis.DECIDE_ALL) for key in plan.campaigns]
        campaigns = [one for one in found if not isinstance(one, Reason)]
        reading = Reading(self._storage, user, given)
        await reading.prefetch(campaigns)
        return await reading.decide(plan, campaigns, apis.DECIDE_ALL), tuple(reading.notes)

    async def explain(
        self, campaign: Campaign, user: User, api: Api, given: Mapping[str, Any] | None
    ) -> Explanation:
        """Return how *campaign* is decided for *user* on behalf of *api*; report and store nothing."""
        reading = Reading(self._storage, user, given)
        return await reading.trace(self.snapshot.plan, campaign, api)

    # Reporting

    async def track(
        self, call: TrackCall, given: Mapping[str, Any] | None, *, waits: bool
    ) -> TrackResult:
        """Decide every campaign that *call* means, queue its conversions, then tell the storage."""
        if not self.consent.is_unasked() and await self.consent.refuses(call.user.id):
            return TrackResult({}, reason=Reason.OPTED_OUT)
        snapshot = self.snapshot
        storage = self._storage
        targets, results = sort_targets(snapshot, call, has_storage=storage is not None)
        reading = Reading(storage, call.user, given)
        delivery = NO_DELIVERY
        if len(results) < len(targets):
            lock = _NO_LOCK if storage is None else storage.serialised(call.user.id)
            async with lock:
                conversions = await find_conversions(snapshot, call, targets, reading, results)
                for one in conversions:
                    self._tell_integration(
                        snapshot, one.decision, call.user, apis.TRACK, call.goal_identifier
                    )
                if conversions:
                    receipts = self._put(make_events(snapshot, call, conversions, len(targets)))
                    delivery = _delivery_of(receipts)
                    accepted = _enter_receipts(conversions, receipts, results)
                    if self._journal is not None:
                        claims = _find_claims(call, accepted, receipts) if storage else None
                        await self._record(receipts, claims)
                    await self._store(call, accepted, reading, results)
        if waits:
            await self._await(delivery)
            results = conclude(results)
        return TrackResult(in_order(targets, results), delivery, notes=tuple(reading.notes))

    async def _store(
        self,
        call: TrackCall,
        accepted: Iterable[Conversion],
        reading: Reading,
        results: Mapping[str, CampaignTrack],
    ) -> None:
        """Mark accepted conversions as tracked, for as long as their events do not come to nothing."""
        if self._storage is None or reading.is_blind:
            return
        for one in accepted:
            record = make_record(call, one, reading)
            if record is None:
                continue
            await self._storage.write(record, reading.notes)
            receipt = results[one.campaign.key].receipt
            if receipt is not None:
                claim = Claim(call.user.id, one.campaign.key, one.goal.identifier)
                self._release_on_failure(receipt, [claim])

    def _release_on_failure(self, receipt: Receipt, claims: Sequence[Claim]) -> None:
        """Unmark conversions if their event is refused or given up, so that they can be tracked again."""
        storage = self._storage
        if storage is None or not claims:
            return

        def settled() -> None:
            outcome = receipt.outcome
            if outcome is not None and not outcome and outcome.status is not DeliveryStatus.KEPT:
                for claim in claims:
                    storage.release_soon(*claim)

        if receipt.outcome is None:
            receipt.on_settled(settled)
        else:
            settled()

    async def push(self, user: User, tags: Mapping[str, str], *, waits: bool) -> bool:
        """Report custom dimensions; true where all were accepted, or with *waits* received."""
        if not self.consent.is_unasked() and await self.consent.refuses(user.id):
            return False
        receipts = self._put(self.snapshot.press.make_tags(user, tags))
        if receipts is None:
            return True
        if self._journal is not None:
            await self._record(receipts)
        if waits:
            await self._await(_delivery_of(receipts))
            return all(receipt is not None and receipt.outcome for receipt in receipts)
        return all(receipt is not None for receipt in receipts)

    async def flush(self) -> FlushReport:
        """Send everything that waits, and wait for the end of all that was pending."""
        if self._sender is None:
            return FlushReport(0, 0, 0, 0, 0)
        pending = self._sender.release()
        await self._await(Delivery(tuple(pending)))
        outcomes = [entry.outcome for entry in pending]
        ends = ["pending" if one is None else one.status.value for one in outcomes]
        kinds = ("delivered", "rejected", "dropped", "pending")
        return FlushReport(len(pending), *(ends.count(kind) for kind in kinds))

    async def opt_out(self) -> bool:
        """Deliver what was accepted, then do nothing about anybody any more."""
        self.consent.has_opted_out = True
        await self.flush()
        return True

    def _put(self, events: Sequence[Event]) -> Sequence[Receipt | None] | None:
        """Put *events* on the queue; None in development mode, which sends nothing."""
        if self.options.development_mode:
            return None
        assert self._sender is not None
        if self._sender.is_closed:
            # This call was under way, waiting for a storage, when the client was closed.
            raise ClosedError("the client was closed during this call")
        receipts = self._sender.put(events)
        for event, receipt in zip(events, receipts, strict=True):
            if receipt is None:
                self._tell_refused(event)
        return receipts

    async def _record(
        self,
        receipts: Sequence[Receipt | None] | None,
        claims: Mapping[Receipt, Sequence[Claim]] | None = None,
    ) -> None:
        """Keep accepted events in the outbox before the call returns."""
        entries = [one for one in receipts or () if isinstance(one, Entry)]
        if entries and self._journal is not None:
            found = claims or {}
            await self._journal.record(entries, [found.get(entry, ()) for entry in entries])

    def _tell_refused(self, event: Event) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_INTERVAL_S
            log_warning("the event queue is full: %d events refused so far", self.queue.refused)
        if self._drop_callback is not None:
            outcome = Outcome(DeliveryStatus.DROPPED, "overflow")
            self._drop_callback.call_soon(outcome, event.dump())

    async def _await(self, delivery: Delivery) -> None:
        """Wait for the delivery, as long as launch allows; it goes on after that."""
        try:
            async with asyncio.timeout(self.options.wait_timeout_s):
                await delivery
        except TimeoutError:
            log_warning("a call waited %s s for its delivery", self.options.wait_timeout_s)

    def _tell_integration(
        self,
        snapshot: Snapshot,
        decision: Decision,
        user: User,
        api: Api,
        goal_identifier: str | None = None,
    ) -> None:
        if self._integration is not None:
            namespace = snapshot.plan.visitor_namespace
            version = self.options.sdk_version
            self._integration.call(
                make_payload(namespace, decision, user, api, version, goal_identifier)
            )

    def _on_ended(self, ended: Sequence[Entry]) -> None:
        """Take note of events that ended."""
        if self._journal is not None:
            self._journal.forget([one for one in ended if not _is_kept(one)])
        if self._drop_callback is not None:
            for entry in ended:
                if entry.outcome is not None and not entry.outcome and not _is_kept(entry):
                    self._drop_callback.call_soon(entry.outcome, entry.event.dump())
        if self._flush_callback is not None:
            self._tell_flush(ended)

    def _tell_flush(self, ended: Sequence[Entry]) -> None:
        """Tell the flush callback of the events of one request, with the error where they failed."""
        assert self._flush_callback is not None
        outcome = ended[0].outcome
        error = None
        if not outcome:
            status = "" if outcome is None else f"{outcome.status} {outcome.reason}"
            code = None if outcome is None else outcome.status_code
            error = DeliveryError(f"{status} after status {code}" if code else status)
        events = [json.loads(entry.event.render_item()) for entry in ended]
        self._flush_callback.call_soon(error, events)


def _is_kept(entry: Entry) -> bool:
    return entry.outcome is not None and entry.outcome.status is DeliveryStatus.KEPT


def _find_claims(
    call: TrackCall,
    accepted: Iterable[Conversion],
    receipts: Sequence[Receipt | None] | None,
) -> dict[Receipt, list[Claim]]:
    """Return what each event of the call claims: one conversion, or on the event architecture all."""
    found: dict[Receipt, list[Claim]] = {}
    live = [receipt for receipt in receipts or () if receipt is not None]
    conversions = list(accepted)
    shared = live * len(conversions) if len(live) == 1 else live
    for one, receipt in zip(conversions, shared, strict=True):
        claim = Claim(call.user.id, one.campaign.key, one.goal.identifier)
        found.setdefault(receipt, []).append(claim)
    return found


def _delivery_of(receipts: Sequence[Receipt | None] | None) -> Delivery:
    if receipts is None:
        return DEVELOPMENT_DELIVERY
    return Delivery(tuple(receipt for receipt in receipts if receipt is not None))


def _enter_receipts(
    conversions: Sequence[Conversion],
    receipts: Sequence[Receipt | None] | None,
    results: dict[str, CampaignTrack],
) -> Sequence[Conversion]:
    if receipts is not None:
        return accept(conversions, receipts, results)
    for one in conversions:
        results[one.campaign.key] = CampaignTrack(True, Reason.TRACKED, one.variation.name)
    return conversions
