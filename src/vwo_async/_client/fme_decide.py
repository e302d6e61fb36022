"""Deciding feature flags, and reporting and storing what was decided."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from time import monotonic
from typing import Any

from .._core.decision import Stored
from .._core.fme.decision import decide_feature
from .._core.fme.evaluation import NOTHING, Known, Needs, Records, join_needs
from .._core.fme.plan import FlagDecision, FmePlan, Variation
from .._core.fme.record import read_record
from .._core.fme.trace import trace_feature
from .._delivery.event import Event
from .._explanation import FlagExplanation, Step
from .._flag import Flag, FlagRule, FlagVariation
from .._reason import Reason
from .._result import NO_DELIVERY, Delivery
from .._storage.fme_record import make_feature_data
from .._storage.pending import NOT_ASKED
from ..storage.rounds import AssignVariation
from .fairness import MAX_HOLD_S
from .fme_engine import FmeEngine
from .fme_integration import make_flag_payload
from .fme_lookup import Lookup
from .fme_snapshot import FmeSnapshot
from .fme_user import CallUser
from .reporter import delivery_of
from .stored_records import StoredRecords

# What stands for the variation in the record of a flag that is off, and in that of a group.
NO_VARIATION = "none"


async def get_flag(engine: FmeEngine, feature_key: str, user: CallUser, *, waits: bool) -> Flag:
    """Decide one flag, and report and store the decision."""
    if engine.has_quick_path:
        flag = await _get_flag_at_once(engine, feature_key, user)
    else:
        flag = await _get_flag_by_asking(engine, feature_key, user)
    if waits:
        await engine.reporter.wait_for(flag.delivery)
    return flag


async def _get_flag_at_once(engine: FmeEngine, feature_key: str, user: CallUser) -> Flag:
    """Decide one flag where there is nobody to ask."""
    if engine.consent.is_asked and await engine.consent.refuses(user.id):
        return Flag(feature_key, Reason.OPTED_OUT)
    snapshot = engine.snapshot
    decision = decide_feature(snapshot.plan, feature_key, user, NOTHING)
    assert isinstance(decision, FlagDecision)
    delivery = _report(engine, snapshot, decision, user)
    if engine.has_outbox:
        await engine.reporter.wait_until_kept(delivery)
    return make_flag(feature_key, decision, delivery, user.notes)


async def _get_flag_by_asking(engine: FmeEngine, feature_key: str, named: CallUser) -> Flag:
    """Decide one flag by what the user storage and the gateway say."""
    lookup = engine.make_lookup()
    user = await engine.find_user(named, lookup)
    if user is None:
        return Flag(feature_key, Reason.OPTED_OUT)
    snapshot = engine.snapshot
    with engine.make_stored_records(user, None) as stored_records:
        (decision,) = await _decide(snapshot, [feature_key], user, stored_records, lookup)
        if stored_records.has_failed and engine.refuses:
            notes = (*user.notes, *lookup.notes, *stored_records.notes)
            return Flag(feature_key, Reason.STORAGE_ERROR, notes=notes)
        # First the event: what is stored would never be reported again.
        delivery = _report(engine, snapshot, decision, user)
        await _store(engine, decision, user, stored_records)
        if engine.has_outbox:
            await engine.reporter.wait_until_kept(delivery)
        notes = (*user.notes, *lookup.notes, *stored_records.notes)
    return make_flag(feature_key, decision, delivery, notes)


async def _decide(
    snapshot: FmeSnapshot,
    feature_keys: Sequence[str],
    user: CallUser,
    stored_records: StoredRecords,
    lookup: Lookup,
) -> list[FlagDecision]:
    """Decide flags; each round of asking brings all that any of them needs next."""
    while True:
        known = lookup.make_known(_read_records(stored_records.known))
        found = await _decide_in_turns(snapshot.plan, feature_keys, user, known)
        needs = join_needs(one for one in found if isinstance(one, Needs))
        if needs == Needs():
            return [one for one in found if isinstance(one, FlagDecision)]
        await _ask(needs, user, stored_records, lookup)


async def _ask(needs: Needs, user: CallUser, stored_records: StoredRecords, lookup: Lookup) -> None:
    """Find out what a decision needs."""
    if needs.keys:
        await stored_records.read(needs.keys)
    began_at = monotonic()
    await lookup.find(needs, user)
    stored_records.extend(monotonic() - began_at)


async def _decide_in_turns(
    plan: FmePlan, feature_keys: Sequence[str], user: CallUser, known: Known
) -> list[FlagDecision | Needs]:
    """Decide flags as far as is known, and let others have the event loop in between."""
    found = []
    ends_at = monotonic() + MAX_HOLD_S
    for key in feature_keys:
        found.append(decide_feature(plan, key, user, known))
        if monotonic() >= ends_at:
            await asyncio.sleep(0)
            ends_at = monotonic() + MAX_HOLD_S
    return found


def _read_records(known: Mapping[str, Stored | None] | None) -> Records | None:
    if known is None:
        return None
    return {key: None if one is None else read_record(one.rest) for key, one in known.items()}


def _report(
    engine: FmeEngine, snapshot: FmeSnapshot, decision: FlagDecision, user: CallUser
) -> Delivery:
    """Report a decision, and tell the integrations callback."""
    if engine.has_integration and decision.feature is not None:
        payload = make_flag_payload(decision, user)
        if payload is not None:
            engine.tell_integration(payload)
    events = _make_events(snapshot, decision, user)
    return delivery_of(engine.reporter.put(events)) if events else NO_DELIVERY


def _make_events(snapshot: FmeSnapshot, decision: FlagDecision, user: CallUser) -> list[Event]:
    if decision.impressions:
        return snapshot.event_factory.make_impressions(
            user,
            decision,
            session_id=user.session_id,
            reported_variables=user.reported_variables,
        )
    # A flag that cannot be decided is not reported at all, as in the official SDKs.
    if snapshot.settings.is_mau and decision.reason is not Reason.MALFORMED_SEGMENT:
        return [snapshot.event_factory.make_usage(user, session_id=user.session_id)]
    return []


async def _store(
    engine: FmeEngine, decision: FlagDecision, user: CallUser, stored_records: StoredRecords
) -> None:
    """Store the decision, unless it is stored so already, there is a newer one, or none could be read."""
    user_call, storage = stored_records.user_call, engine.storage
    if user_call is None or storage is None or stored_records.has_failed:
        return
    rows = [row for row in decision.make_rows(user.id) if _is_new(row, stored_records)]
    if not rows:
        return
    label = NO_VARIATION if decision.variation is None else decision.variation.name or NO_VARIATION
    async with user_call.exclusive():
        known = stored_records.known or {}
        keys = [row["featureKey"] for row in rows]
        recalled = user_call.recall(keys)
        # A call about the same user may have gone further since this one read what was stored.
        fresh = [
            row
            for row, key in zip(rows, keys, strict=True)
            if recalled.get(key, known.get(key)) == known.get(key)
        ]
        if user_call.has_missed_turn:
            storage.note(NOT_ASKED, stored_records.notes)
            return
        requests = []
        for row in fresh:
            before = known.get(row["featureKey"])
            replaced = None if before is None else before.variation_name
            requests.append(AssignVariation(make_feature_data(row, label), replaced))
            stored_records.share(row["featureKey"], Stored(label, (), row))
        if requests:
            await storage.mark(requests, stored_records.notes, stored_records.ends_at)


def _is_new(row: Mapping[str, Any], stored_records: StoredRecords) -> bool:
    before = (stored_records.known or {}).get(row["featureKey"])
    return before is None or read_record(before.rest) != read_record(row)


async def get_flags(engine: FmeEngine, named: CallUser) -> dict[str, Flag]:
    """Decide every flag, in one round of the storage; report and store nothing."""
    lookup = engine.make_lookup()
    user = await engine.find_user(named, lookup)
    if user is None:
        return {}
    snapshot = engine.snapshot
    plan = snapshot.plan
    stored_records = engine.make_stored_records(user, None)
    if engine.storage is not None:
        keys = [key for one in plan.features.values() for key in plan.list_record_keys(one)]
        await stored_records.read(dict.fromkeys(keys))
        if stored_records.has_failed and engine.refuses:
            notes = (*user.notes, *lookup.notes, *stored_records.notes)
            return {key: Flag(key, Reason.STORAGE_ERROR, notes=notes) for key in plan.features}
    decisions = await _decide(snapshot, list(plan.features), user, stored_records, lookup)
    notes = (*user.notes, *lookup.notes, *stored_records.notes)
    return {
        key: make_flag(key, decision, NO_DELIVERY, notes)
        for key, decision in zip(plan.features, decisions, strict=True)
    }


async def explain_flag(engine: FmeEngine, feature_key: str, named: CallUser) -> FlagExplanation:
    """Return how a flag is decided; report and store nothing."""
    lookup = engine.make_lookup()
    user = await engine.find_user(named, lookup)
    if user is None:
        return explain_refusal(
            feature_key, Reason.OPTED_OUT, "nothing may be decided about the user"
        )
    plan = engine.snapshot.plan
    stored_records = engine.make_stored_records(user, None)
    while True:
        known = lookup.make_known(_read_records(stored_records.known))
        found = trace_feature(plan, feature_key, user, known)
        if stored_records.has_failed and engine.refuses:
            return explain_refusal(
                feature_key, Reason.STORAGE_ERROR, "the record could not be read"
            )
        if not isinstance(found, Needs):
            break
        await _ask(found, user, stored_records, lookup)
    asides = [
        ("arguments", user.notes),
        ("gateway", lookup.notes),
        ("storage", stored_records.notes),
    ]
    steps = [Step(name, False, note) for name, notes in asides for note in notes]
    return replace(found, steps=(*steps, *found.steps)) if steps else found


def explain_refusal(feature_key: str, reason: Reason, text: str) -> FlagExplanation:
    """Return the explanation of what was refused before any decision."""
    return FlagExplanation(feature_key, False, None, reason, (Step("feature", False, text),))


def make_flag(
    feature_key: str, decision: FlagDecision, delivery: Delivery, notes: tuple[str, ...]
) -> Flag:
    """Return what callers get of a decision."""
    rule, variation = decision.rule, decision.variation
    return Flag(
        feature_key,
        decision.reason,
        None if rule is None else FlagRule(rule.key, rule.type, rule.campaign_id),
        None
        if variation is None
        else FlagVariation(
            variation.id, variation.name, variation.campaign_id, variation.campaign_key
        ),
        () if variation is None else _make_variables(variation),
        delivery,
        "",
        (*notes, *decision.notes) if decision.notes else notes,
    )


def _make_variables(variation: Variation) -> tuple[dict[str, Any], ...]:
    """Return the variables, of which nothing is shared with the settings: a caller may change what he gets."""
    return tuple(
        {
            "key": one.key,
            "value": one.value if isinstance(one.value, (str, int, float)) else deepcopy(one.value),
            "type": one.type,
            "id": one.id,
        }
        for one in variation.variables
    )
