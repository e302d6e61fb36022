"""Deciding one campaign or all of them, and reporting what was decided.

`decide_now` with `report_now` is the quick path, for calls that have nothing to wait for;
`decide_campaign` is the full one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Any

from .._core.api_method import APIS, DECIDE, DECIDE_ALL, Api
from .._core.decision import decide, find_refusal
from .._core.feature_variable import is_enabled, read_variables
from .._core.lazy_plan import LazyPlan
from .._core.plan import Campaign, Decision, Plan
from .._explanation import Explanation, Step
from .._log import is_debugging
from .._reason import Reason
from .._result import NO_DELIVERY, CampaignDecision, Delivery
from .._settings.campaign_type import AB_TEST, FULLSTACK_TYPES
from .._user import User
from ..storage.protocol import StoredDecision
from .arguments import DecideCall
from .engine import Engine
from .fairness import MAX_HOLD_S
from .reporter import delivery_of
from .snapshot import Snapshot
from .stored_records import StoredRecords

# Of a campaign's key no more than that is shown in a log line.
MAX_SHOWN_KEY = 60


def find_campaign(engine: Engine, campaign_key: str, api: Api) -> Campaign | Reason:
    """Return the campaign of that key, or why *api* does not apply to it."""
    plan = engine.snapshot.plan
    ready = plan.ready[api.name].get(campaign_key)
    if ready is not None:
        return ready
    campaign = plan.campaigns.get(campaign_key)
    refusal = find_refusal(campaign, api, has_storage=engine.has_storage)
    if refusal is not None:
        return refusal
    assert campaign is not None
    return campaign


def decide_now(engine: Engine, api: Api, campaign_key: object, user: User) -> Decision | None:
    """Decide one campaign where nothing has to be waited for; None where only `decide_campaign` can."""
    if (
        not engine.has_quick_path
        or engine.consent.is_asked
        # A key of another kind may not be one that can be looked up.
        or type(campaign_key) is not str
    ):
        return None
    plan = engine.snapshot.plan
    campaign = plan.ready[api.name].get(campaign_key)
    if campaign is None:
        return None
    decision = decide(plan, campaign, user, api, None)
    # Asked here too, since most calls end with this question.
    if engine.is_observed or is_debugging():
        engine.observe(api, campaign_key, user.id, decision)
    return decision


def report_now(
    engine: Engine, decision: Decision, user: User, *, waits: bool
) -> Awaitable[None] | None:
    """Report what `decide_now` has just decided.

    Returns:
        What the caller must await: the outbox, where there is one, and with *waits* the delivery. None where
        there is nothing to wait for.
    """
    if decision.variation is None:
        return None
    factory, reporter = engine.snapshot.event_factory, engine.reporter
    event = factory.make_impression(user, decision.campaign, decision.variation)
    is_accepted = reporter.put_one(event)
    if not is_accepted or not (waits or engine.has_outbox):
        return None
    return reporter.follow(event, waits=waits)


async def decide_campaign(engine: Engine, call: DecideCall) -> Decision | Reason:
    """Decide one campaign, and report and store the decision as the API method does.

    Returns:
        The decision; a reason if the user has opted out, or the API method does not apply to the campaign.

    Raises:
        InvalidInputError: With ``strict``, if no campaign has the key.
    """
    snapshot = engine.snapshot
    campaign = await _find_open_campaign(engine, call)
    if isinstance(campaign, Reason):
        engine.observe(call.api, call.campaign_key, call.user.id, campaign)
        return campaign
    with engine.make_stored_records(call.user, call.given_record) as stored_records:
        (decision,) = await stored_records.decide(snapshot.plan, (campaign,), call.api)
        engine.observe(call.api, campaign.key, call.user.id, decision)
        if decision.variation is not None:
            delivery = await _report(engine, snapshot, call, decision, stored_records)
            if call.waits:
                await engine.reporter.wait_for(delivery)
    return decision


async def _find_open_campaign(engine: Engine, call: DecideCall) -> Campaign | Reason:
    """Return the campaign of a call, or why nothing may be decided.

    Raises:
        InvalidInputError: See `decide_campaign`.
    """
    if engine.consent.is_asked and await engine.consent.refuses(call.user.id):
        return Reason.OPTED_OUT
    if engine.lacks_settings:
        engine.note_lack()
        return Reason.NO_SETTINGS
    campaign = find_campaign(engine, call.campaign_key, call.api)
    if isinstance(campaign, Reason):
        _log_refusal(engine, call, campaign)
    return campaign


def _log_refusal(engine: Engine, call: DecideCall, reason: Reason) -> None:
    """Log what only a change of the service or its account can mend, since what the method returns is empty."""
    campaign = engine.snapshot.plan.campaigns.get(call.campaign_key)
    if campaign is None:
        engine.unknown_keys.add("campaign", call.campaign_key, engine.snapshot.plan.campaigns)
        return
    name = f"{call.api.name} gives nothing for {campaign.key[:MAX_SHOWN_KEY]!a}"
    # Of a type that nobody knows, `settings_warnings` tells.
    if reason is Reason.CAMPAIGN_TYPE_MISMATCH and campaign.type in FULLSTACK_TYPES:
        fitting = [
            one.name
            for one in APIS
            if campaign.type in one.types and one not in (DECIDE, DECIDE_ALL)
        ]
        engine.refusals.add(f"{name}, of type {campaign.type}: call {', '.join(fitting)}")
    elif reason is Reason.STORAGE_REQUIRED:
        engine.refusals.add(f"{name}, a multi-armed bandit, without a user storage")


async def _report(
    engine: Engine,
    snapshot: Snapshot,
    call: DecideCall,
    decision: Decision,
    stored_records: StoredRecords,
) -> Delivery:
    """Report a decision that gave a variation, and store it where it is new."""
    campaign, variation = decision.campaign, decision.variation
    assert variation is not None
    engine.tell_integration(snapshot, decision, call.user, call.api)
    delivery, recorded = NO_DELIVERY, None
    if call.api.assigns and (decision.reason is not Reason.STORED or call.tracks_returning_user):
        receipts = engine.reporter.put(
            [
                snapshot.event_factory.make_impression(
                    call.user, campaign, variation, call.custom_properties
                )
            ]
        )
        delivery = delivery_of(receipts)
        recorded = engine.reporter.keep(receipts)
    if decision.reason is Reason.ASSIGNED:
        record = StoredDecision(call.user.id, campaign.key, variation.name)
        await engine.claims.assign(record, call.meta_data, campaign, stored_records)
    if recorded is not None:
        await recorded
    return delivery


async def decide_all_campaigns(
    engine: Engine, user: User, given_record: Mapping[str, Any] | None
) -> dict[str, CampaignDecision]:
    """Decide every campaign that can be decided, in one round of the storage; report nothing."""
    if engine.consent.is_asked and await engine.consent.refuses(user.id):
        return {}
    if engine.lacks_settings:
        engine.note_lack()
        return {}
    plan = engine.snapshot.plan
    await compile_campaigns(plan, None)
    found = [find_campaign(engine, key, DECIDE_ALL) for key in plan.campaigns]
    campaigns = [one for one in found if not isinstance(one, Reason)]
    stored_records = engine.make_stored_records(user, given_record)
    await stored_records.prefetch(campaigns)
    decisions = await stored_records.decide(plan, campaigns, DECIDE_ALL)
    for one in decisions:
        engine.observe(DECIDE_ALL, one.campaign.key, user.id, one)
    return {one.campaign.key: describe_decision(one) for one in decisions}


def name_variation(decision: Decision | Reason) -> str | None:
    """Return the name of the variation that was given, None where there is none."""
    if isinstance(decision, Reason) or decision.variation is None:
        return None
    return decision.variation.name


def describe_decision(decision: Decision | Reason) -> CampaignDecision:
    """Return what callers get of a decision, or of the reason why there is none."""
    if isinstance(decision, Reason):
        return CampaignDecision(None, decision)
    campaign, variation = decision.campaign, decision.variation
    if variation is None or campaign.type == AB_TEST:
        name = None if variation is None else variation.name
        return CampaignDecision(name, decision.reason, campaign_type=campaign.type)
    return CampaignDecision(
        variation.name,
        decision.reason,
        is_enabled(campaign, variation),
        read_variables(campaign, variation),
        campaign.type,
    )


async def compile_campaigns(plan: Plan, keys: Iterable[str] | None) -> None:
    """Compile what of a large file is about to be used for the first time, a few in each turn of the loop.

    Args:
        plan: The settings in force.
        keys: The campaigns that are about to be used; None for all.
    """
    if not isinstance(plan, LazyPlan):
        return
    ends_at = monotonic() + MAX_HOLD_S
    for key in plan.find_uncompiled(keys):
        plan.campaigns.get(key)
        if monotonic() >= ends_at:
            await asyncio.sleep(0)
            ends_at = monotonic() + MAX_HOLD_S


async def explain_campaign(
    engine: Engine, campaign_key: str, user: User, api: Api, given_record: Mapping[str, Any] | None
) -> Explanation:
    """Return how a campaign is decided for *user* on behalf of *api*; report and store nothing."""
    if engine.consent.is_asked and await engine.consent.refuses(user.id):
        return explain_refusal(
            campaign_key, Reason.OPTED_OUT, "nothing may be decided about the user"
        )
    if engine.lacks_settings:
        return explain_refusal(campaign_key, Reason.NO_SETTINGS, "there are no settings yet")
    # Whatever its type, so that one question fits every campaign.
    campaign = find_campaign(engine, campaign_key, DECIDE_ALL)
    if isinstance(campaign, Reason):
        return explain_refusal(campaign_key, campaign, campaign.value.replace("_", " "))
    stored_records = engine.make_stored_records(user, given_record)
    explained = await stored_records.trace(engine.snapshot.plan, campaign, api)
    left_out = tuple(Step("arguments", False, note) for note in user.notes)
    return replace(explained, steps=(*left_out, *explained.steps)) if left_out else explained


def explain_refusal(campaign_key: str, reason: Reason, text: str) -> Explanation:
    """Return the explanation of what was refused before any decision."""
    return Explanation(campaign_key, None, reason, (Step("campaign", False, text),))
