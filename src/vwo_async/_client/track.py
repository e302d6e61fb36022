"""A track call: from its arguments to the conversions on the queue.

The full path is `track_conversions`: each of its steps returns what goes on to the next step and, by
campaign key, what it refused, and `count` keeps the order claim, put on the queue, mark as tracked. Two
quick paths give the same results for the calls that `find_quick` names: `track_now` here, a plain function
that has nothing to wait for, and `track_stored` beside it, which waits for a storage that settles claim and
mark in one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from .._core.api_method import TRACK
from .._core.decision import decide
from .._core.goal import Revenue, Target, find_targets, is_repeat, lacks_revenue
from .._core.lazy_plan import LazyPlan
from .._core.plan import Campaign, Goal, Plan
from .._delivery.event import Event
from .._delivery.outbox.claim import Claim
from .._reason import Reason
from .._result import (
    NO_DELIVERY,
    CampaignTrack,
    Delivery,
    Receipt,
    SingleTrack,
    TrackResult,
    receipt_of,
)
from .._user import User
from .arguments import TrackCall, read_revenue
from .conversion import Accepted, Conversion, Refused
from .decide import compile_campaigns
from .drafts import Drafts
from .engine import ClientEngine, Engine
from .reporter import delivery_of
from .snapshot import Snapshot
from .stored_records import StoredRecords
from .track_stored import track_stored

# The quick path


QuickTarget: TypeAlias = tuple[Campaign, Goal, Revenue]
"""What a quick path needs of a call, beside its user."""


def find_quick(
    engine: Engine,
    user: User,
    campaign_key: object,
    goal_identifier: object,
    revenue_value: object,
) -> QuickTarget | None:
    """Return campaign, goal and revenue of a call without further options, which is most calls.

    The arguments are those of `VWOClient.track`, as the caller gave them.

    Returns:
        None for a call that is not for a quick path.

    Raises:
        InvalidInputError: The revenue cannot be used.
    """
    if (
        engine.consent.is_asked
        or type(campaign_key) is not str
        or type(goal_identifier) is not str
        or user.notes
    ):
        return None
    target = engine.snapshot.targets[campaign_key, goal_identifier]
    if target is None:
        return None
    campaign, goal = target
    revenue = None if revenue_value is None else read_revenue(revenue_value)
    if not goal.is_revenue:
        return campaign, goal, None
    return (campaign, goal, revenue) if revenue else None


async def track_quickly(engine: Engine, user: User, target: QuickTarget) -> TrackResult | None:
    """Track the conversion of one campaign on a quick path, and wait for storage or outbox.

    Returns:
        The result as it is before delivery; None if the full path has to be taken, and nothing was done.
    """
    if engine.has_stored_path:
        return await track_stored(engine, user, *target)
    if not engine.has_quick_path:
        return None
    result = track_now(engine, user, target)
    kept = engine.reporter.keep_quickly(result)
    if kept is not None:
        await kept
    return result


def track_now(
    engine: Engine, user: User, target: QuickTarget, at_s: float | None = None
) -> TrackResult:
    """Track the conversion of one campaign where nothing has to be waited for; see `Engine.has_quick_path`.

    Args:
        engine: The engine.
        user: Who.
        target: From `find_quick`.
        at_s: When, in seconds since the epoch; None for now.
    """
    campaign, goal, revenue = target
    snapshot = engine.snapshot
    campaign_key = campaign.key
    decision = decide(snapshot.plan, campaign, user, TRACK, None)
    variation = decision.variation
    if variation is None:
        return TrackResult({campaign_key: CampaignTrack(False, decision.reason)})
    event = snapshot.event_factory.make_conversion(
        user, campaign, variation, goal, revenue, at_s=at_s
    )
    sender = engine.reporter.sender
    assert sender is not None
    if sender.put_one(event, engine.loop_share.now):
        return SingleTrack(campaign_key, variation.name, event)
    engine.reporter.tell_refused(event)
    refused = CampaignTrack(False, Reason.QUEUE_FULL, variation.name)
    return TrackResult({campaign_key: refused})


async def await_delivery(engine: ClientEngine[Any], result: TrackResult) -> TrackResult:
    """Await the delivery of what `track_now` returned, and return the result as it is then."""
    delivery = result.delivery
    await engine.reporter.wait_for(delivery)
    return result if delivery.outcome else TrackResult(_apply_outcomes(result), notes=result.notes)


# The full path


async def track_conversions(engine: Engine, call: TrackCall) -> TrackResult:
    """Decide every campaign that *call* names, and count the conversions."""
    if engine.consent.is_asked and await engine.consent.refuses(call.user.id):
        return TrackResult.refused(call.campaign_keys, Reason.OPTED_OUT)
    if engine.lacks_settings:
        engine.note_lack()
        return TrackResult.refused(call.campaign_keys, Reason.NO_SETTINGS)
    snapshot = engine.snapshot
    targets = await _find_targets(snapshot.plan, call, has_storage=engine.has_storage)
    open_targets, not_open = sort_targets(snapshot.plan, call, targets)
    _name_unknown(engine, call, not_open)
    if not targets:
        engine.unknown_keys.add("goal", call.goal_identifier, snapshot.plan.goals)
    if not open_targets:
        return TrackResult(not_open, notes=call.notes)
    with engine.make_stored_records(call.user, call.given_record) as stored_records:
        async with stored_records.exclusive():
            conversions, not_decided = await decide_targets(
                snapshot.plan, call, open_targets, stored_records
            )
            counted = await count(
                engine, snapshot, call, conversions, stored_records, is_batch_only=len(targets) > 1
            )
    results = {**not_open, **not_decided, **counted.results}
    if call.waits:
        await engine.reporter.wait_for(counted.delivery)
        results = _apply_outcomes(results)
    in_order = {target.key: results[target.key] for target in targets}
    notes = (*call.notes, *stored_records.notes)
    return TrackResult(in_order, counted.delivery, notes=notes)


def _name_unknown(engine: Engine, call: TrackCall, refused: Refused) -> None:
    """Take note of keys that the settings do not have.

    Raises:
        InvalidInputError: With ``strict``.
    """
    campaigns = engine.snapshot.plan.campaigns
    for key, result in refused.items():
        if result.reason is Reason.CAMPAIGN_NOT_FOUND:
            engine.unknown_keys.add("campaign", key, campaigns)
        elif result.reason is Reason.GOAL_NOT_FOUND:
            goals = campaigns[key].goals if key in campaigns else ()
            engine.unknown_keys.add("goal", call.goal_identifier, goals, owner=key)


async def _find_targets(plan: Plan, call: TrackCall, *, has_storage: bool) -> list[Target]:
    if isinstance(plan, LazyPlan):
        keys = call.campaign_keys
        await compile_campaigns(
            plan, plan.find_goal_keys(call.goal_identifier) if keys is None else keys
        )
    return find_targets(
        plan, call.campaign_keys, call.goal_identifier, call.goal_type, has_storage=has_storage
    )


def sort_targets(
    plan: Plan, call: TrackCall, targets: Iterable[Target]
) -> tuple[list[tuple[Campaign, Goal]], Refused]:
    """Return campaign and goal of the targets that are to be decided, and what is refused before that."""
    open_targets, refused = [], {}
    for key, campaign, goal, refusal in targets:
        if refusal is not None or campaign is None or goal is None:
            refused[key] = CampaignTrack(False, refusal or Reason.GOAL_NOT_FOUND)
        elif lacks_revenue(
            goal, call.revenue, call.properties.given, is_event_arch=plan.is_event_arch
        ):
            refused[key] = CampaignTrack(False, Reason.REVENUE_REQUIRED)
        else:
            open_targets.append((campaign, goal))
    return open_targets, refused


async def decide_targets(
    plan: Plan,
    call: TrackCall,
    targets: Sequence[tuple[Campaign, Goal]],
    stored_records: StoredRecords,
) -> tuple[list[Conversion], Refused]:
    """Return the conversions of the campaigns that the user is in, and those that do not count."""
    decisions = await stored_records.decide(plan, [campaign for campaign, _ in targets], TRACK)
    conversions: list[Conversion] = []
    refused: dict[str, CampaignTrack] = {}
    for (campaign, goal), decision in zip(targets, decisions, strict=True):
        if decision.variation is None:
            refused[campaign.key] = CampaignTrack(False, decision.reason)
            continue
        conversion = Conversion(call.user, campaign, goal, decision, decision.variation)
        record = stored_records.find_used(decision)
        if is_repeat(goal, record, tracks_returning_user=call.tracks_returning_user):
            refused[campaign.key] = conversion.refuse(Reason.ALREADY_TRACKED)
        else:
            conversions.append(conversion)
    return conversions, refused


class Counted(NamedTuple):
    """What became of conversions: the result of each by campaign key, and the delivery of those accepted."""

    results: Mapping[str, CampaignTrack]
    delivery: Delivery


async def count(
    engine: Engine,
    snapshot: Snapshot,
    call: TrackCall,
    conversions: Sequence[Conversion],
    stored_records: StoredRecords,
    *,
    is_batch_only: bool,
) -> Counted:
    """Claim conversions in the storage, put their events on the queue, and only then mark them as tracked.

    With an outbox it has the event before the claim is made; see `Drafts`.
    In this order no conversion is marked as tracked that was never sent, and none is counted by two calls.
    A conversion that does not reach the queue gives its claim back: the queue may be full, or an error or a
    cancellation may come in between.
    """
    claims, reporter = engine.claims, engine.reporter
    drafts = Drafts(reporter, partial(make_events, snapshot, call, is_batch_only=is_batch_only))
    accepted: Sequence[Accepted] = ()
    claimed: Sequence[Conversion] = ()
    owned: Sequence[Conversion] = ()
    try:
        owned = await claims.choose_owners(call, conversions, stored_records)
        await drafts.keep(owned)
        claimed, refused = await claims.claim(call, owned, stored_records)
        if not claimed:
            return Counted(refused, NO_DELIVERY)
        events = await drafts.choose(claimed)
        for one in claimed:
            engine.tell_integration(snapshot, one.decision, call.user, TRACK, call.goal_identifier)
        receipts = reporter.put(events)
        accepted, no_room = sort_receipts(claimed, receipts)
    finally:
        claims.give_back_unclaimed(owned)
        claims.withdraw(_list_unused_claims(claimed, accepted))
        drafts.take_back(one.receipt for one in accepted)
    recorded = reporter.keep(
        [one for one in receipts or () if not drafts.is_kept(one)],
        claims.group(accepted) if reporter.has_outbox else None,
    )
    await claims.mark(call, accepted, stored_records)
    if recorded is not None:
        await recorded
    tracked = {one.conversion.campaign.key: one.conversion.accept(one.receipt) for one in accepted}
    return Counted({**refused, **no_room, **tracked}, delivery_of(receipts))


def sort_receipts(
    conversions: Sequence[Conversion], receipts: Sequence[Receipt | None] | None
) -> tuple[list[Accepted], Refused]:
    """Return the conversions that the queue took, and those for which it had no room.

    Args:
        conversions: What was put.
        receipts: See `Reporter.put`: one for each, or one that stands for all.
    """
    if receipts is None:
        return [Accepted(one, None) for one in conversions], {}
    if len(receipts) == 1:
        receipts = [receipts[0]] * len(conversions)
    accepted, refused = [], {}
    for one, receipt in zip(conversions, receipts, strict=True):
        if receipt is None:
            refused[one.campaign.key] = one.refuse(Reason.QUEUE_FULL)
        else:
            accepted.append(Accepted(one, receipt))
    return accepted, refused


def _list_unused_claims(claimed: Iterable[Conversion], accepted: Iterable[Accepted]) -> list[Claim]:
    used = {one.conversion.campaign.key for one in accepted}
    return [one.claim for one in claimed if one.owner and one.campaign.key not in used]


def make_events(
    snapshot: Snapshot, call: TrackCall, conversions: Sequence[Conversion], *, is_batch_only: bool
) -> list[Event]:
    """Return the events of a call: one for each conversion, or on the event architecture one for all.

    Args:
        snapshot: In whose name.
        call: The call.
        conversions: At least one.
        is_batch_only: Whether classic events go in batch form even when one is left alone.
    """
    factory = snapshot.event_factory
    if factory.is_arch:
        goals = [(one.campaign, one.goal) for one in conversions]
        return [
            factory.make_arch_conversion(
                call.user,
                call.goal_identifier,
                goals,
                call.revenue,
                call.properties.json,
                at_s=call.at_s,
            )
        ]
    return [
        factory.make_conversion(
            call.user,
            one.campaign,
            one.variation,
            one.goal,
            _find_revenue(snapshot.plan, call, one.goal),
            is_batch_only=is_batch_only,
            at_s=call.at_s,
        )
        for one in conversions
    ]


def _find_revenue(plan: Plan, call: TrackCall, goal: Goal) -> Revenue:
    """Return the revenue of a classic event: only a revenue goal carries it.

    Batched events of the event architecture may have it from the property that the goal names.
    """
    if call.revenue and goal.is_revenue:
        return call.revenue
    if plan.is_event_arch and goal.revenue_prop is not None:
        value = call.properties.given.get(goal.revenue_prop)
        return value if isinstance(value, (str, int, float, Decimal)) else None
    return None


def _apply_outcomes(results: Mapping[str, CampaignTrack]) -> dict[str, CampaignTrack]:
    """Return the results as they stand once delivery was awaited: tracked only what VWO received."""
    return {key: _apply_outcome(one) for key, one in results.items()}


def _apply_outcome(one: CampaignTrack) -> CampaignTrack:
    receipt = receipt_of(one)
    if receipt is None:
        return one
    outcome = receipt.outcome
    if outcome is None:
        return CampaignTrack(False, Reason.PENDING, one.variation_name, receipt)
    if not outcome:
        return CampaignTrack(False, Reason.NOT_DELIVERED, one.variation_name, receipt)
    return one
