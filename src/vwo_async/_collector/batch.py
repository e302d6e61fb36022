"""The call that carries many events: batch-events."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from .catalogue import Campaign
from .error import WireError
from .field import STATISTICS, Fields, read_json
from .received import Conversion, Received
from .request import Endpoint, WireRequest
from .rule import Rules
from .tag import read_encoded_tags

__all__ = ["read_batch"]

# Two official SDKs abbreviate the names of sdk and sdk-v in this call.
_QUERY = STATISTICS | {"a", "env", "sdk", "sdk-v"}
_SHORT_QUERY = STATISTICS | {"a", "env", "sd", "sv"}
_BODY = frozenset({"ev"})
_VISITOR = frozenset({"sId", "u", "eT", "visitor_ua", "visitor_ip"})
_USER = _VISITOR | {"e", "c"}
_GOAL = _VISITOR | {"e", "c", "g", "r"}
_PUSH = _VISITOR | {"t"}


def read_batch(request: WireRequest, fields: Fields, rules: Rules) -> tuple[Received, ...]:
    """Read a batch, all of it or nothing.

    Raises:
        WireError: For the first fault in query, headers or any item, whose number the field has:
            ``ev[3].u``.
    """
    _check_query(fields, rules)
    _check_authorization(request, fields)
    rules.check_no_agent_headers(request)
    items = _read_items(request, rules)
    return tuple(
        _read_item(request, item, f"ev[{index}]", rules) for index, item in enumerate(items)
    )


def _check_query(fields: Fields, rules: Rules) -> None:
    if "sd" in fields:
        rules.check_only(fields, _SHORT_QUERY)
        rules.check_sdk(fields, "sd", "sv")
    else:
        rules.check_only(fields, _QUERY)
        rules.check_sdk(fields)
    rules.check_account(fields, "a")
    rules.check_key(fields, "env")
    rules.check_statistics(fields)


def _check_authorization(request: WireRequest, fields: Fields) -> None:
    found = request.headers.get("authorization")
    if found is None:
        raise WireError("header authorization", "missing")
    if found != fields.text("env"):
        raise WireError("header authorization", "not the SDK key")


def _read_items(request: WireRequest, rules: Rules) -> list[object]:
    body = read_json(request.body, "body")
    if not isinstance(body, dict):
        raise WireError("body", "must be an object")
    fields = Fields(body)
    rules.check_only(fields, _BODY)
    items = fields.get("ev")
    if not isinstance(items, list) or not items:
        fields.fail("ev", "must be a list of at least one event")
    return items


def _read_item(request: WireRequest, item: object, field: str, rules: Rules) -> Received:
    if not isinstance(item, dict):
        raise WireError(field, "must be an object")
    fields = Fields(item, f"{field}.")
    reader = _READERS.get(fields.integer("eT"))
    if reader is None:
        fields.fail("eT", "must be 1, 2 or 3")
    return reader(request, fields, rules)


def _read_user(request: WireRequest, fields: Fields, rules: Rules) -> Received:
    rules.check_only(fields, _USER)
    campaign_id, _, variation_id = _read_campaign(fields, rules)
    return Received(
        kind="user",
        endpoint=Endpoint.BATCH,
        event_id=_digest(fields.values),
        request_number=request.number,
        received_at_s=request.at_s,
        visitor=_read_visitor(request, fields, rules),
        campaign_ids=(campaign_id,),
        variation_id=variation_id,
        user_agent=fields.text("visitor_ua"),
        ip=fields.text("visitor_ip"),
    )


def _read_goal(request: WireRequest, fields: Fields, rules: Rules) -> Received:
    rules.check_only(fields, _GOAL)
    campaign_id, campaign, variation_id = _read_campaign(fields, rules)
    return Received(
        kind="goal",
        endpoint=Endpoint.BATCH,
        event_id=_digest(fields.values),
        request_number=request.number,
        received_at_s=request.at_s,
        visitor=_read_visitor(request, fields, rules),
        campaign_ids=(campaign_id,),
        variation_id=variation_id,
        conversions=(_read_conversion(fields, rules, campaign_id, campaign),),
        user_agent=fields.text("visitor_ua"),
        ip=fields.text("visitor_ip"),
    )


def _read_push(request: WireRequest, fields: Fields, rules: Rules) -> Received:
    rules.check_only(fields, _PUSH)
    return Received(
        kind="push",
        endpoint=Endpoint.BATCH,
        event_id=_digest(fields.values),
        request_number=request.number,
        received_at_s=request.at_s,
        visitor=_read_visitor(request, fields, rules),
        user_agent=fields.text("visitor_ua") if "visitor_ua" in fields else "",
        ip=fields.text("visitor_ip") if "visitor_ip" in fields else "",
        tags=read_encoded_tags(fields.text("t"), fields.place("t"), rules),
    )


_READERS = {1: _read_user, 2: _read_goal, 3: _read_push}


def _read_visitor(request: WireRequest, fields: Fields, rules: Rules) -> str:
    rules.check_seconds(fields, "sId", fields.integer("sId"), request.at_s)
    return fields.visitor("u")


def _read_campaign(fields: Fields, rules: Rules) -> tuple[int, Campaign | None, int]:
    campaign_id, variation_id = fields.integer("e"), fields.integer("c")
    campaign = rules.find_campaign(fields, "e", campaign_id)
    rules.check_variation(fields, "c", campaign, variation_id)
    return campaign_id, campaign, variation_id


def _read_conversion(
    fields: Fields, rules: Rules, campaign_id: int, campaign: Campaign | None
) -> Conversion:
    goal_id = fields.integer("g")
    goal = rules.find_goal(fields, "g", campaign, goal_id)
    if goal is not None and not goal.is_revenue and "r" in fields:
        fields.fail("r", "the goal is not a revenue goal")
    revenue = fields.revenue("r") if "r" in fields else None
    return Conversion(campaign_id, goal_id, revenue, goal is not None and goal.is_repeatable)


def _digest(item: Mapping[str, object]) -> str:
    # Not the bytes of the request: an item keeps its id when a batch is split and sent again in
    # halves.
    # The form of Python tells all JSON values apart, in a quarter of the time of JSON.
    return blake2b(repr(item).encode(), digest_size=16).hexdigest()
