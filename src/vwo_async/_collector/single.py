"""The calls with one event in a query string: track-user, track-goal and push."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

from .campaign_event import FieldNames, read_campaign_part
from .field import STATISTICS, Fields, read_json
from .received import Kind, Received
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
_OPTIONAL = {"visitor_ua": "", "visitor_ip": ""}
_NAMES = FieldNames("experiment_id", "combination", "goal_id", Fields.digits)


def read_track_user(request: WireRequest, fields: Fields, rules: Rules) -> Received:
    """Read an impression."""
    rules.check_only(fields, _TRACK_USER)
    event = _read_common("user", Endpoint.TRACK_USER, request, fields, rules)
    rules.check_statistics(fields)
    if read_json(fields.text("ed"), "ed") != _ORIGIN:
        fields.fail("ed", 'must be {"p":"server"}')
    return replace(event, **read_campaign_part(event.kind, fields, rules, _NAMES)._asdict())


def read_track_goal(request: WireRequest, fields: Fields, rules: Rules) -> Received:
    """Read a conversion."""
    rules.check_only(fields, _TRACK_GOAL)
    event = _read_common("goal", Endpoint.TRACK_GOAL, request, fields, rules)
    return replace(event, **read_campaign_part(event.kind, fields, rules, _NAMES)._asdict())


def read_push(request: WireRequest, fields: Fields, rules: Rules) -> Received:
    """Read custom dimensions; the user agent and IP address are optional."""
    rules.check_only(fields, _PUSH)
    event = _read_common("push", Endpoint.PUSH, request, fields, rules)
    return replace(event, tags=read_tags(fields.text("tags"), "tags", rules))


def _read_common(
    kind: Kind, endpoint: Endpoint, request: WireRequest, fields: Fields, rules: Rules
) -> Received:
    rules.check_account(fields, "account_id")
    rules.check_key(fields, "env")
    rules.check_sdk(fields)
    rules.check_seconds(fields, "sId", fields.digits("sId"), request.at_s)
    fields.check_random("random")
    fields.check_equal("ap", "server", "must be server")
    visitor = fields.visitor("u")
    user_agent, ip = rules.read_user_agent_and_ip(
        request, fields.with_defaults(_OPTIONAL) if kind == "push" else fields
    )
    return Received(
        kind=kind,
        account=rules.account,
        endpoint=endpoint,
        event_id=_digest(endpoint, request),
        request_number=request.number,
        received_at_s=request.at_s,
        visitor=visitor,
        user_agent=user_agent,
        ip=ip,
    )


def _digest(endpoint: Endpoint, request: WireRequest) -> str:
    return blake2b(endpoint.encode() + b"?" + request.query, digest_size=16).hexdigest()
