"""The skeleton under every API method: one life, one reporter, one storage, one snapshot in force."""

from __future__ import annotations

import asyncio
import os
import time
from asyncio import get_running_loop
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core import api_method as apis
from .._core.api_method import Api
from .._core.decision import decide, find_refusal
from .._core.goal import Revenue, Target
from .._core.lazy_plan import LazyPlan
from .._core.plan import Campaign, Decision, Plan
from .._delivery.event import Event
from .._delivery.outbox.journal import Claim
from .._delivery.transport.by_name import make_fetcher
from .._delivery.transport.protocol import Fetcher
from .._error import ClosedError, WrongLoopError
from .._explanation import Explanation
from .._reason import Reason
from .._refresh.pace import Pace
from .._result import (
    NO_DELIVERY,
    CampaignTrack,
    Delivery,
    Receipt,
    SingleTrack,
    Statistics,
    TrackResult,
)
from .._storage.access import StorageAccess
from .._storage.per_user_queue import UserCall
from .._user import User
from ..storage.protocol import StoredDecision
from .callback import Callback
from .consent import Consent
from .conversion_claims import ConversionClaims
from .fairness import MAX_HOLD_S, LoopShare
from .integration import make_payload
from .options import Options
from .reporter import CLOSE_GRACE_S, Reporter, delivery_of
from .settings_refresh import SettingsRefresh
from .snapshot import Snapshot
from .stored_records import StoredRecords
from .track import (
    Conversion,
    TrackCall,
    accept,
    conclude,
    find_conversions,
    in_order,
    make_events,
    sort_targets,
)

if TYPE_CHECKING:
    from .._settings import Settings

# A global is found sooner than a module's attribute.
_TRACK = apis.TRACK


class DecideCall(NamedTuple):
    """The checked arguments of one call about one campaign."""

    api: Api
    campaign_key: str
    user: User
    given: Mapping[str, Any] | None
    meta_data: Mapping[str, Any]
    resends: bool = False
    waits: bool = False


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
        source = options.settings_source
        plan = None if source is None else source.take_plan(settings)
        self.snapshot = Snapshot(settings, options, time.time, plan=plan)
        self.consent = Consent(options.consent, options.storage_timeout_s)
        self.reporter = Reporter(options)
        self.loop_share = LoopShare()
        self._closing: asyncio.Task[None] | None = None
        self._storage = (
            None
            if options.user_storage is None
            else StorageAccess(options.user_storage, options.storage_timeout_s)
        )
        # Where nothing has to be waited for, deciding and reporting are plain functions.
        self.is_simple = (
            options.user_storage is None
            and options.integrations is None
            and options.outbox is None
            and not options.development_mode
        )
        self._refuses = options.on_storage_error == "refuse"
        self._claims = (
            None
            if self._storage is None
            else ConversionClaims(self._storage, refuses=self._refuses)
        )
        self._integration = (
            Callback(options.integrations, "integrations") if options.integrations else None
        )
        self._pid = os.getpid()
        self.settings_refresh = SettingsRefresh(self, options, self.make_fetcher)

    # Life

    def enter(self) -> bool:
        """Pass in the loop of the client, open it on first use, refuse everything else.

        Returns:
            Whether the caller is to wait for a turn of its own first.

        Raises:
            ClosedError: It was closed.
            WrongLoopError: It is open in another loop.
        """
        share = self.loop_share
        if share.ends_at and get_running_loop() is self.loop:
            share.now = now = monotonic()
            return now >= share.ends_at
        self._enter()
        share.begin()
        return False

    async def next_turn(self) -> None:
        """Wait for a turn of one's own; `enter` again, since the client may have been closed meanwhile."""
        await self.loop_share.next()
        self._enter()

    def _enter(self) -> None:
        """Look closely, once in each turn of the loop: what is found holds until the next."""
        loop = get_running_loop()
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
        self.reporter.start(self.snapshot.event_factory.account, self._on_restored)
        self.settings_refresh.start()
        self.loop = loop

    def _on_restored(self, event: Event, claims: Sequence[Claim]) -> None:
        if self._claims is not None:
            self._claims.release_on_failure(event, claims)

    def compile(self, settings: Settings, pace: Pace) -> Snapshot:
        """Return what would be in force with *settings*; may take a while and may run in a thread."""
        return Snapshot(settings, self.options, time.time, like=self.snapshot, pause=pace)

    def make_fetcher(self) -> Fetcher:
        """Return a transport for settings files, as the options describe it."""
        options = self.options
        return make_fetcher(
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
        self.settings_refresh.stop()
        # At the same time, so that a callback or storage that hangs costs no event its delivery.
        await asyncio.gather(
            self.reporter.close(ends_at),
            *(callback.settle(timeout_s) for callback in self._callbacks()),
        )
        # What the end of the last events set off.
        grace_s = max(ends_at - time.monotonic(), CLOSE_GRACE_S)
        storage = () if self._storage is None else (self._storage.settle(grace_s),)
        await asyncio.gather(*storage, *(one.settle(grace_s) for one in self._callbacks()))
        await self.settings_refresh.aclose()

    def _callbacks(self) -> list[Callback]:
        own = [
            one for one in (self._integration, self.settings_refresh.callback) if one is not None
        ]
        return [*own, *self.reporter.list_callbacks()]

    def statistics(self) -> Statistics:
        """Return the ledger."""
        return Statistics(
            storage_errors=0 if self._storage is None else self._storage.errors,
            callback_errors=sum(callback.errors for callback in self._callbacks()),
            **self.reporter.count(),
            **self.settings_refresh.count(),
        )

    # Deciding

    def find_campaign(self, campaign_key: str, api: Api) -> Campaign | Reason:
        """Return the campaign of that key, or why *api* does not apply to it."""
        plan = self.snapshot.plan
        ready = plan.ready[api.name].get(campaign_key)
        if ready is not None:
            return ready
        campaign = plan.campaigns.get(campaign_key)
        refusal = find_refusal(campaign, api, has_storage=self._storage is not None)
        if refusal is not None:
            return refusal
        assert campaign is not None
        return campaign

    def find_ready(self, api: Api, campaign_key: object) -> Campaign | None:
        """Return the campaign of that key if *api* applies to it whatever the options are."""
        if type(campaign_key) is not str:
            return None
        return self.snapshot.plan.ready[api.name].get(campaign_key)

    def decide_now(self, api: Api, campaign: Campaign, user: User) -> tuple[Decision, Delivery]:
        """Decide one campaign and report it as *api* does, where the client is simple."""
        snapshot = self.snapshot
        decision = decide(snapshot.plan, campaign, user, api, None)
        if not api.sends or decision.variation is None:
            return decision, NO_DELIVERY
        event = snapshot.event_factory.make_impression(user, campaign, decision.variation)
        return decision, delivery_of(self.reporter.put([event]))

    async def decide(self, call: DecideCall) -> Decision | None:
        """Decide one campaign, report and store as the API does; None where there is nothing to decide."""
        if self.consent.is_asked and await self.consent.refuses(call.user.id):
            return None
        snapshot = self.snapshot
        campaign = self.find_campaign(call.campaign_key, call.api)
        if isinstance(campaign, Reason):
            return None
        if self._storage is None:
            stored_records = StoredRecords(None, call.user, call.given)
            return await self._decide(call, snapshot, campaign, stored_records)
        with self._storage.begin_call(call.user.id) as user_call:
            stored_records = self._read(call.user, call.given, user_call)
            return await self._decide(call, snapshot, campaign, stored_records)

    async def _decide(
        self,
        call: DecideCall,
        snapshot: Snapshot,
        campaign: Campaign,
        stored_records: StoredRecords,
    ) -> Decision:
        (decision,) = await stored_records.decide(snapshot.plan, (campaign,), call.api)
        variation = decision.variation
        if variation is None:
            return decision
        self._tell_integration(snapshot, decision, call.user, call.api)
        delivery, recorded = NO_DELIVERY, None
        if call.api.assigns and (decision.reason is not Reason.STORED or call.resends):
            receipts = self.reporter.put(
                [snapshot.event_factory.make_impression(call.user, campaign, variation)]
            )
            delivery = delivery_of(receipts)
            recorded = self.reporter.keep(receipts)
        if self._claims is not None and decision.reason is Reason.ASSIGNED:
            record = StoredDecision(
                call.user.id, campaign.key, variation.name, meta_data=call.meta_data
            )
            await self._claims.assign(record, campaign, stored_records)
        if recorded is not None:
            await recorded()
        if call.waits:
            await self.reporter.wait_for(delivery)
        return decision

    def _read(
        self, user: User, given: Mapping[str, Any] | None, user_call: UserCall | None = None
    ) -> StoredRecords:
        return StoredRecords(self._storage, user, given, user_call, refuses=self._refuses)

    async def decide_all(
        self, user: User, given: Mapping[str, Any] | None
    ) -> tuple[list[Decision], tuple[str, ...]]:
        """Decide every campaign that can be decided, in one round of the storage; report nothing."""
        if self.consent.is_asked and await self.consent.refuses(user.id):
            return [], ()
        plan = self.snapshot.plan
        await self._prepare(plan, None)
        found = [self.find_campaign(key, apis.DECIDE_ALL) for key in plan.campaigns]
        campaigns = [one for one in found if not isinstance(one, Reason)]
        stored_records = self._read(user, given)
        await stored_records.prefetch(campaigns)
        return await stored_records.decide(plan, campaigns, apis.DECIDE_ALL), tuple(
            stored_records.notes
        )

    async def _prepare(self, plan: Plan, keys: Iterable[str] | None) -> None:
        """Compile what of a large file is about to be used for the first time, a few in each turn of the loop."""
        if not isinstance(plan, LazyPlan):
            return
        ends_at = time.monotonic() + MAX_HOLD_S
        for key in plan.find_uncompiled(keys):
            plan.campaigns.get(key)
            if time.monotonic() >= ends_at:
                await asyncio.sleep(0)
                ends_at = time.monotonic() + MAX_HOLD_S

    async def explain(
        self, campaign: Campaign, user: User, api: Api, given: Mapping[str, Any] | None
    ) -> Explanation:
        """Return how *campaign* is decided for *user* on behalf of *api*; report and store nothing."""
        stored_records = self._read(user, given)
        return await stored_records.trace(self.snapshot.plan, campaign, api)

    # Reporting

    async def track(
        self, call: TrackCall, given: Mapping[str, Any] | None, *, waits: bool
    ) -> TrackResult:
        """Decide every campaign that *call* means, queue its conversions, then tell the storage."""
        if self.consent.is_asked and await self.consent.refuses(call.user.id):
            return TrackResult.refused(call.campaign_keys, Reason.OPTED_OUT)
        snapshot = self.snapshot
        storage = self._storage
        if isinstance(snapshot.plan, LazyPlan):
            keys = call.campaign_keys
            if keys is None:
                keys = snapshot.plan.find_goal_keys(call.goal_identifier)
            await self._prepare(snapshot.plan, keys)
        targets, results = sort_targets(snapshot, call, has_storage=storage is not None)
        if len(results) == len(targets):
            return TrackResult(in_order(targets, results))
        if storage is None:
            stored_records = StoredRecords(None, call.user, given)
            delivery = await self._convert(snapshot, call, targets, stored_records, results)
        else:
            with storage.begin_call(call.user.id) as user_call:
                stored_records = self._read(call.user, given, user_call)
                async with user_call.exclusive():
                    delivery = await self._convert(snapshot, call, targets, stored_records, results)
        if waits:
            await self.reporter.wait_for(delivery)
            results = conclude(results)
        return TrackResult(in_order(targets, results), delivery, notes=tuple(stored_records.notes))

    def track_now(
        self, campaign_key: str, goal_identifier: str, user: User, revenue: Revenue
    ) -> TrackResult | None:
        """Decide and put the conversion of one campaign, where the client is simple; None if it is not so."""
        snapshot = self.snapshot
        target = snapshot.targets[campaign_key, goal_identifier]
        if target is None:
            return None
        campaign, goal = target
        if goal.is_revenue and not revenue:
            return None
        decision = decide(snapshot.plan, campaign, user, _TRACK, None)
        variation = decision.variation
        if variation is None:
            return TrackResult({campaign_key: CampaignTrack(False, decision.reason)})
        sent = revenue if goal.is_revenue else None
        event = snapshot.event_factory.make_conversion(user, campaign, variation, goal, sent)
        sender = self.reporter.sender
        assert sender is not None
        if sender.put_one(event, self.loop_share.now):
            return SingleTrack(campaign_key, variation.name, event)
        self.reporter.tell_refused(event)
        refused = CampaignTrack(False, Reason.QUEUE_FULL, variation.name)
        return TrackResult({campaign_key: refused})

    async def concluded(self, result: TrackResult) -> TrackResult:
        """Await the delivery of *result*, and return it as it stands then."""
        delivery = result.delivery
        await self.reporter.wait_for(delivery)
        return result if delivery.outcome else TrackResult(conclude(result))

    async def _convert(
        self,
        snapshot: Snapshot,
        call: TrackCall,
        targets: Sequence[Target],
        stored_records: StoredRecords,
        results: dict[str, CampaignTrack],
    ) -> Delivery:
        """Decide what is still open, claim it, put it on the queue, and only then tell the storage."""
        marker = self._claims
        conversions = await find_conversions(snapshot, call, targets, stored_records, results)
        if not conversions:
            return NO_DELIVERY
        claimed: Sequence[Conversion] = ()
        if marker is not None:
            conversions, claimed = await marker.claim(call, conversions, stored_records, results)
            if not conversions:
                return NO_DELIVERY
        accepted: Sequence[Conversion] = ()
        try:
            for one in conversions:
                self._tell_integration(
                    snapshot, one.decision, call.user, apis.TRACK, call.goal_identifier
                )
            receipts = self.reporter.put(make_events(snapshot, call, conversions, len(targets)))
            accepted = _enter_receipts(conversions, receipts, results)
        finally:
            if marker is not None and len(accepted) < len(conversions):
                marker.release(call, [one for one in claimed if one not in accepted])
        claims = None
        if marker is not None and self.reporter.has_outbox:
            claims = _find_claims(call, accepted, receipts)
        recorded = self.reporter.keep(receipts, claims)
        if marker is not None:
            await marker.mark(call, accepted, stored_records, results)
        if recorded is not None:
            await recorded()
        return delivery_of(receipts)

    async def push(self, user: User, tags: Mapping[str, str], *, waits: bool) -> bool:
        """Report custom dimensions; true where all were accepted, or with *waits* received."""
        if self.consent.is_asked and await self.consent.refuses(user.id):
            return False
        receipts = self.reporter.put(self.snapshot.event_factory.make_tags(user, tags))
        if receipts is None:
            return True
        recorded = self.reporter.keep(receipts)
        if recorded is not None:
            await recorded()
        if waits:
            await self.reporter.wait_for(delivery_of(receipts))
            return all(receipt is not None and receipt.outcome for receipt in receipts)
        return all(receipt is not None for receipt in receipts)

    async def opt_out(self) -> bool:
        """Deliver what was accepted, then do nothing about anybody any more."""
        self.consent.opt_out_everybody()
        self.settings_refresh.stop()
        await self.reporter.flush()
        return True

    def _tell_integration(
        self,
        snapshot: Snapshot,
        decision: Decision,
        user: User,
        api: Api,
        goal_identifier: str | None = None,
    ) -> None:
        if self._integration is not None:
            name_visitor = snapshot.plan.name_visitor
            version = self.options.sdk_version
            self._integration.call(
                make_payload(name_visitor, decision, user, api, version, goal_identifier)
            )


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
