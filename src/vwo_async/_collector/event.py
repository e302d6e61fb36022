"""The call of the event architecture: one event as a JSON document, sent to ``/events/t``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from .catalogue import Goal
from .envelope import (
    ENVIRONMENT,
    SDK_PROPS,
    SHOWN,
    VISITOR_PROPS,
    check_event,
    check_event_query,
    check_message,
    read_body,
    read_props,
    read_visitor_props,
)
from .error import WireError
from .field import STATISTICS, Fields, read_decimal
from .received import Conversion, Kind, Received
from .request import Endpoint, WireRequest
from .rule import Rules

__all__ = ["read_event"]


_QUERY = frozenset({"en", "a", "env", "eTime", "random", "p", "visitor_ua", "visitor_ip"})
_DATA = frozenset({"msgId", "visId", "sessionId", "event", "visitor"})
_SHOWN_PROPS = SDK_PROPS | {"id", "variation", "isFirst", "vwoMeta"}
_SYNC_PROPS = SDK_PROPS | {"isCustomEvent"}
_GOAL_PROPS = SDK_PROPS | {"isCustomEvent", "vwoMeta"}

_CAMPAIGN = re.compile(r"id_(\d{1,18})", re.ASCII)
_GOAL = re.compile(r"g_(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Envelope:
    """One event as far as all events are read in the same way.

    Attributes:
        name: The name of the event.
        event: The event, still without what is particular to its kind.
        props: The properties of the event, not yet checked.
        visitor_props: The properties of the visitor, not yet checked.
    """

    name: str
    event: Received
    props: Fields
    visitor_props: Fields


def read_event(request: WireRequest, fields: Fields, rules: Rules) -> Received:
    """Read an impression, a conversion or custom dimensions, depending on the name of the event."""
    name = fields.filled("en")
    user_agent, ip = _check_query(request, fields, rules, name)
    data = read_body(request, rules).child("d")
    rules.check_only(data, _DATA)
    event = data.child("event")
    event.check_equal("name", name, "differs from en of the query")
    check_event(event, request, rules)
    visitor = data.visitor("visId")
    check_message(data, visitor, request, rules)
    rules.check_seconds(data, "sessionId", data.integer("sessionId"), request.at_s)
    kind, read = _READERS.get(name, ("goal", _read_goal))
    received = Received(
        kind=kind,
        account=rules.account,
        endpoint=Endpoint.EVENT,
        visitor=visitor,
        event_id=data.text("msgId"),
        request_number=request.number,
        received_at_s=request.at_s,
        event_name=name,
        user_agent=user_agent,
        ip=ip,
    )
    envelope = _Envelope(name, received, read_props(event, rules), read_visitor_props(data, rules))
    return read(envelope, rules)


def _check_query(request: WireRequest, fields: Fields, rules: Rules, name: str) -> tuple[str, str]:
    rules.check_only(fields, _QUERY | STATISTICS if name == SHOWN else _QUERY)
    rules.check_account(fields, "a")
    rules.check_key(fields, "env")
    check_event_query(request, fields, rules)
    rules.check_statistics(fields)
    return rules.read_user_agent_and_ip(request, fields)


def _read_shown(envelope: _Envelope, rules: Rules) -> Received:
    props = envelope.props
    rules.check_only(props, _SHOWN_PROPS)
    rules.check_only(envelope.visitor_props, frozenset({ENVIRONMENT}))
    props.check_equal("isFirst", 1, "must be 1")
    campaign_id, variation_id = props.integer("id"), props.integer("variation")
    campaign = rules.find_campaign(props, "id", campaign_id)
    rules.check_variation(props, "variation", campaign, variation_id)
    return replace(
        envelope.event,
        campaign_ids=(campaign_id,),
        variation_id=variation_id,
        props=props.child("vwoMeta").values if "vwoMeta" in props else {},
    )


def _read_sync(envelope: _Envelope, rules: Rules) -> Received:
    rules.check_only(envelope.props, _SYNC_PROPS)
    envelope.props.check_equal("isCustomEvent", expected=True, problem="must be true")
    tags = {name: tag for name, tag in envelope.visitor_props.values.items() if name != ENVIRONMENT}
    if not tags:
        raise WireError("d.visitor.props", "has no custom dimension")
    if rules.strict and not all(isinstance(tag, str) for tag in tags.values()):
        raise WireError("d.visitor.props", "values must be text")
    return replace(envelope.event, tags=tags)


def _read_goal(envelope: _Envelope, rules: Rules) -> Received:
    props = envelope.props
    rules.check_only(envelope.visitor_props, frozenset({ENVIRONMENT}))
    props.check_equal("isCustomEvent", expected=True, problem="must be true")
    caller_props = {name: value for name, value in props.values.items() if name not in _GOAL_PROPS}
    meta = props.child("vwoMeta")
    conversions = _read_conversions(meta, caller_props, envelope.name, rules)
    campaigns = {one.campaign_id: None for one in conversions if one.campaign_id is not None}
    return replace(
        envelope.event, campaign_ids=tuple(campaigns), conversions=conversions, props=caller_props
    )


_READERS: Mapping[str, tuple[Kind, Callable[[_Envelope, Rules], Received]]] = {
    SHOWN: ("user", _read_shown),
    VISITOR_PROPS: ("push", _read_sync),
}


def _read_conversions(
    meta: Fields, caller_props: Mapping[str, object], event_name: str, rules: Rules
) -> tuple[Conversion, ...]:
    pairs = _read_metric(meta)
    goals = [_find_goal(meta, event_name, campaign, goal, rules) for campaign, goal in pairs]
    amounts = {name: _read_amount(meta, name, rules) for name in meta.values if name != "metric"}
    if rules.strict and rules.catalogue is not None:
        _check_amounts(meta, amounts, goals)
    return tuple(
        Conversion(
            campaign_id,
            goal_id,
            _find_revenue(goal, amounts, caller_props),
            goal is not None and goal.is_repeatable,
        )
        for (campaign_id, goal_id), goal in zip(pairs, goals, strict=True)
    )


def _read_metric(meta: Fields) -> list[tuple[int, int]]:
    metric = meta.child("metric").values
    pairs = []
    for campaign, goals in metric.items():
        campaign_id = _CAMPAIGN.fullmatch(campaign)
        if campaign_id is None or not isinstance(goals, list) or not goals:
            meta.fail("metric", 'must map "id_<campaign>" to a list of "g_<goal>"')
        pairs += [(int(campaign_id[1]), _read_goal_id(meta, goal)) for goal in goals]
    if not pairs:
        meta.fail("metric", "names no campaign")
    return pairs


def _read_goal_id(meta: Fields, goal: object) -> int:
    found = _GOAL.fullmatch(goal) if isinstance(goal, str) else None
    if found is None:
        meta.fail("metric", 'must map "id_<campaign>" to a list of "g_<goal>"')
    return int(found[1])


def _find_goal(
    meta: Fields, event_name: str, campaign_id: int, goal_id: int, rules: Rules
) -> Goal | None:
    campaign = rules.find_campaign(meta, "metric", campaign_id)
    goal = rules.find_goal(meta, "metric", campaign, goal_id)
    if goal is not None and goal.identifier != event_name:
        raise WireError("en", "not the identifier of the goal in d.event.props.vwoMeta.metric")
    return goal


def _read_amount(meta: Fields, name: str, rules: Rules) -> Decimal | None:
    amount = read_decimal(meta.values[name])
    if amount is None and rules.strict:
        raise WireError(meta.place("<revenueProp>"), "must be numeric")
    return amount


def _check_amounts(meta: Fields, amounts: Mapping[str, object], goals: list[Goal | None]) -> None:
    expected = {goal.revenue_prop for goal in goals if goal is not None and goal.is_revenue}
    if not amounts.keys() <= expected:
        raise WireError(
            meta.place("<revenueProp>"), "not the revenueProp of a revenue goal of this event"
        )


def _find_revenue(
    goal: Goal | None, amounts: Mapping[str, Decimal | None], caller_props: Mapping[str, object]
) -> Decimal | None:
    """Return the amount in the goal's revenue property; without a settings file, the first amount."""
    if goal is None:
        return next(iter(amounts.values()), None)
    name = goal.revenue_prop
    if not goal.is_revenue or name is None:
        return None
    return amounts[name] if name in amounts else read_decimal(caller_props.get(name))
