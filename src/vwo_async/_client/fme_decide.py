"""Deciding feature flags, and reporting and storing what was decided."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic, time
from typing import Any

from .._core.decision import Stored
from .._core.fme.decision import decide_feature
from .._core.fme.evaluation import NOTHING, Known, Needs, Records, join_needs
from .._core.fme.plan import FlagDecision, FMEPlan
from .._core.fme.record import read_record
from .._core.fme.trace import trace_feature
from .._explanation import FlagExplanation, Step
from .._flag import Flag, Visitor
from .._reason import Reason
from .._result import NO_DELIVERY, Delivery
from .._storage.fme_record import make_feature_data
from .._storage.pending import NOT_ASKED
from ..storage.rounds import AssignVariation
from .fairness import MAX_HOLD_S
from .fme_engine import FMEEngine
from .fme_integration import make_flag_payload
from .fme_lookup import Lookup
from .fme_snapshot import FMESnapshot
from .fme_user import CallUser
from .reporter import delivery_of
from .stored_records import StoredRecords

# What stands for the variation in the record of a flag that is off, and in that of a group.
NO_VARIATION = "none"


def get_flag_now(engine: FMEEngine, feature_key: str, user: CallUser) -> Flag:
    """Decide one flag where there is nobody to ask, and report it; see `FMEEngine.has_quick_path`."""
    snapshot = engine.snapshot
    factory = snapshot.event_factory
    decision = decide_feature(snapshot.plan, feature_key, user, NOTHING)
    assert isinstance(decision, FlagDecision)
    if decision.feature is None:
        engine.unknown_keys.add("feature", feature_key, snapshot.plan.features)
    session_id = user.session_id or factory.find_session(0)
    delivery = _report(engine, snapshot, decision, user, session_id)
    visitor = factory.find_visitor(user)
    return make_flag(feature_key, decision, delivery, user.notes, session_id, visitor)


async def get_flag(engine: FMEEngine, feature_key: str, named: CallUser) -> Flag:
    """Decide one flag by what the user storage and the gateway say, and report and store the decision."""
    lookup = engine.make_lookup()
    user = await engine.find_user(named, lookup)
    if user is None:
        return refuse_flag(feature_key, Reason.OPTED_OUT, named.session_id)
    if engine.lacks_settings:
        engine.note_lack()
        return refuse_flag(feature_key, Reason.NO_SETTINGS, named.session_id)
    snapshot = engine.snapshot
    session_id = snapshot.event_factory.find_session(user.session_id)
    visitor = snapshot.event_factory.find_visitor(user)
    with engine.make_stored_records(user, None) as stored_records:
        (decision,) = await _decide(snapshot, [feature_key], user, stored_records, lookup)
        if decision.feature is None:
            engine.unknown_keys.add("feature", feature_key, snapshot.plan.features)
        if stored_records.has_failed and engine.refuses:
            notes = (*user.notes, *lookup.notes, *stored_records.notes)
            return _fail_flag(feature_key, notes, session_id, visitor)
        # First the event: what is stored would never be reported again.
        delivery = _report(engine, snapshot, decision, user, session_id)
        await _store(engine, decision, user, stored_records)
        if engine.has_outbox:
            await engine.reporter.wait_until_kept(delivery)
        notes = (*user.notes, *lookup.notes, *stored_records.notes)
    return make_flag(feature_key, decision, delivery, notes, session_id, visitor)


def refuse_flag(feature_key: str, reason: Reason, session_id: int, detail: str = "") -> Flag:
    """Return the flag of a call that was refused before any decision; *session_id* is 0 where none was given."""
    session_id = session_id or int(time())
    return Flag(feature_key, reason, detail=detail, session_id=session_id)


def _fail_flag(feature_key: str, notes: tuple[str, ...], session_id: int, visitor: Visitor) -> Flag:
    return Flag(
        feature_key, Reason.STORAGE_ERROR, notes=notes, session_id=session_id, visitor=visitor
    )


async def _decide(
    snapshot: FMESnapshot,
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
    plan: FMEPlan, feature_keys: Sequence[str], user: CallUser, known: Known
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
    engine: FMEEngine,
    snapshot: FMESnapshot,
    decision: FlagDecision,
    user: CallUser,
    session_id: int,
) -> Delivery:
    """Report a decision, and tell the integrations callback."""
    if engine.has_integration and decision.feature is not None:
        payload = make_flag_payload(decision, user)
        if payload is not None:
            engine.tell_integration(payload)
    factory = snapshot.event_factory
    impressions = decision.impressions
    if len(impressions) == 1 and not engine.options.development_mode:
        # Most flags: the short way.
        event = factory.make_impression(
            user, decision, impressions[0], session_id, user.reported_variables
        )
        return Delivery((event,)) if engine.reporter.put_one(event) else NO_DELIVERY
    if impressions:
        events = factory.make_impressions(user, decision, session_id, user.reported_variables)
    # A flag that cannot be decided is not reported at all, as in the official SDKs.
    elif snapshot.settings.is_mau and decision.reason is not Reason.MALFORMED_SEGMENT:
        events = [factory.make_usage(user, session_id=session_id)]
    else:
        return NO_DELIVERY
    return delivery_of(engine.reporter.put(events))


async def _store(
    engine: FMEEngine, decision: FlagDecision, user: CallUser, stored_records: StoredRecords
) -> None:
    """Store the decision (section F9.3), unless it is on record already or a newer one is, or none could be read."""
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


async def get_flags(engine: FMEEngine, named: CallUser) -> dict[str, Flag]:
    """Decide every flag, in one round of the storage; report and store nothing."""
    lookup = engine.make_lookup()
    user = await engine.find_user(named, lookup)
    if user is None:
        return {}
    if engine.lacks_settings:
        engine.note_lack()
        return {}
    snapshot = engine.snapshot
    plan, factory = snapshot.plan, snapshot.event_factory
    session_id, visitor = factory.find_session(user.session_id), factory.find_visitor(user)
    stored_records = engine.make_stored_records(user, None)
    if engine.storage is not None:
        keys = [key for one in plan.features.values() for key in plan.list_record_keys(one)]
        await stored_records.read(dict.fromkeys(keys))
        if stored_records.has_failed and engine.refuses:
            notes = (*user.notes, *lookup.notes, *stored_records.notes)
            return {key: _fail_flag(key, notes, session_id, visitor) for key in plan.features}
    decisions = await _decide(snapshot, list(plan.features), user, stored_records, lookup)
    notes = (*user.notes, *lookup.notes, *stored_records.notes)
    return {
        key: make_flag(key, decision, NO_DELIVERY, notes, session_id, visitor)
        for key, decision in zip(plan.features, decisions, strict=True)
    }


async def explain_flag(engine: FMEEngine, feature_key: str, named: CallUser) -> FlagExplanation:
    """Return how a flag is decided; report and store nothing."""
    lookup = engine.make_lookup()
    user = await engine.find_user(named, lookup)
    if user is None:
        return explain_refusal(
            feature_key, Reason.OPTED_OUT, "nothing may be decided about the user"
        )
    if engine.lacks_settings:
        return explain_refusal(feature_key, Reason.NO_SETTINGS, "there are no settings yet")
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
    feature_key: str,
    decision: FlagDecision,
    delivery: Delivery,
    notes: tuple[str, ...],
    session_id: int,
    visitor: Visitor,
) -> Flag:
    """Return what callers get of a decision."""
    variation = decision.variation
    return Flag(
        feature_key,
        decision.reason,
        None if decision.rule is None else decision.rule.shown,
        None if variation is None else variation.shown,
        () if variation is None else variation.copy_variables(),
        delivery,
        "",
        (*notes, *decision.notes) if decision.notes else notes,
        session_id,
        visitor,
    )
