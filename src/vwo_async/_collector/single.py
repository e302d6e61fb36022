"""The calls that carry one event in a query string: track-user, track-goal and push."""

from __future__ import annotations

from hashlib import blake2b

from .field import STATISTICS, Fields, read_json
from .received import Conversion, Received
from .request import Endpoint, WireRequest
from .rule import Rules
from .tag import read_tags

__all__ = ["read_push", "read_track_goal", "read_track_user"]

_ORIGIN = {"p": "server"}
_COMMON = frozenset(
    {"sId", "u", "sdk", "sdk-v", "env", "account_id", "random", "ap", "visitor_ua", "visitor_ip"}
)
_TRACK_USER = _COMMON | STATISTICS | {"experiment_id", "combination", "ed"}
_TRACK_GOAL = _COMMON | {"experiment_id", "combination", "goal_id", "r"}
_PUSH = _COMMON | {"tags"}


def read_track_user(request: WireRequest, fields: Fields, rules: Rules) -> Received:
    """Read an impression."""
    rules.check_only(fields, _TRACK_USER)
    visitor = _read_common(request, fields, rules)
    rules.check_statistics(fields)
    if read_json(fields.text("ed"), "ed") != _ORIGIN:
        fields.fail("ed", 'must be {"p":"server"}')
    campaign_id, variation_id = fields.digits("experiment_id"), fields.digits("combination")
    campaign = rules.find_campaign(fields, "experiment_id", campaign_id)
    rules.check_variation(fields, "combination", campaign, variation_id)
    agent, ip = rules.read_agent(request, fields)
    return Received(
        kind="user",
        endpoint=Endpoint.TRACK_USER,
        event_id=_digest(Endpoint.TRACK_USER, request),
        request_number=request.number,
        received_at_s=request.at_s,
        visitor=visitor,
        campaign_ids=(campaign_id,),
        variation_id=variation_id,
        user_agent=agent,
        ip=ip,
    )


def read_track_goal(request: WireRequest, fields: Fields, rules: Rules) -> Received:
    """Read a conversion."""
    rules.check_only(fields, _TRACK_GOAL)
    visitor = _read_common(request, fields, rules)
    campaign_id, variation_id = fields.digits("experiment_id"), fields.digits("combination")
    campaign = rules.find_campaign(fields, "experiment_id", campaign_id)
    rules.check_variation(fields, "combination", campaign, variation_id)
    goal_id = fields.digits("goal_id")
    goal = rules.find_goal(fields, "goal_id", campaign, goal_id)
    if goal is not None and not goal.is_revenue and "r" in fields:
        fields.fail("r", "the goal is not a revenue goal")
    revenue = fields.revenue("r") if "r" in fields else None
    agent, ip = rules.read_agent(request, fields)
    return Received(
        kind="goal",
        endpoint=Endpoint.TRACK_GOAL,
        event_id=_digest(Endpoint.TRACK_GOAL, request),
        request_number=request.number,
        received_at_s=request.at_s,
        visitor=visitor,
        campaign_ids=(campaign_id,),
        variation_id=variation_id,
        conversions=(
            Conversion(campaign_id, goal_id, revenue, goal is not None and goal.is_repeatable),
        ),
        user_agent=agent,
        ip=ip,
    )


def read_push(request: WireRequest, fields: Fields, rules: Rules) -> Received:
    """Read custom dimensions; user agent and IP may be there or not."""
    rules.check_only(fields, _PUSH)
    visitor = _read_common(request, fields, rules)
    told = Fields({"visitor_ua": "", "visitor_ip": "", **fields.values})
    agent, ip = rules.read_agent(request, told)
    return Received(
        kind="push",
        endpoint=Endpoint.PUSH,
        event_id=_digest(Endpoint.PUSH, request),
        request_number=request.number,
        received_at_s=request.at_s,
        visitor=visitor,
        user_agent=agent,
        ip=ip,
        tags=read_tags(fields.text("tags"), "tags", rules),
    )


def _read_common(request: WireRequest, fields: Fields, rules: Rules) -> str:
    rules.check_account(fields, "account_id")
    rules.check_key(fields, "env")
    rules.check_sdk(fields)
    rules.check_seconds(fields, "sId", fields.digits("sId"), request.at_s)
    fields.check_random("random")
    fields.check_equal("ap", "server", "must be server")
    return fields.visitor("u")


def _digest(endpoint: Endpoint, request: WireRequest) -> str:
    return blake2b(endpoint.encode() + b"?" + request.query, digest_size=16).hexdigest()
