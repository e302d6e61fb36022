"""The events of VWO FME: one as a POST to ``/events/t``, or many in ``batch-events-v2``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from .batch import check_authorization, read_items
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
from .field import Fields, read_decimal
from .received import Conversion, Kind, Received
from .request import Endpoint, WireRequest
from .rule import Rules

__all__ = ["read_fme_batch", "read_fme_event"]

_STARTED = "vwo_fmeSdkInit"
# What official SDKs tell VWO about themselves: it goes to an account of VWO's own.
_USAGE_STATISTICS = "vwo_sdkUsageStats"

_SDK_QUERY = frozenset({"a", "env", "sn", "sv"})
# An older Node SDK adds an url.
_QUERY = _SDK_QUERY | {"en", "eTime", "random", "p", "visitor_ua", "visitor_ip", "url"}
_DATA = frozenset({"msgId", "visId", "sessionId", "visitor_ua", "visitor_ip", "event", "visitor"})
_ITEM = frozenset({"d"})
_SHOWN_PROPS = SDK_PROPS | {"id", "variation", "isFirst", "vwoMeta", "fId"}
_ATTRIBUTES_PROPS = SDK_PROPS | {"isCustomEvent", ENVIRONMENT}
_STARTED_PROPS = SDK_PROPS | {ENVIRONMENT, "product", "data"}
_METRIC_PROPS = SDK_PROPS | {"isCustomEvent"}
# The official SDKs send the same two numbers in each event of a metric.
_CONSTANTS = ("id", "variation")
_OWN_PREFIX = "vwo_"
_VARIATION = re.compile(r"\d{1,18}", re.ASCII)
# How the official SDKs write in a query that they know no user agent or address.
_UNKNOWN = frozenset({"", "None", "undefined", "null"})


class _Part(NamedTuple):
    """What is particular to the kind of an event; see `Received`."""

    campaign_ids: tuple[int, ...] = ()
    variation_id: int | None = None
    conversions: tuple[Conversion, ...] = ()
    props: Mapping[str, object] = {}
    tags: Mapping[str, object] = {}


def read_fme_event(request: WireRequest, fields: Fields, rules: Rules) -> Received:
    """Read the one event of a POST to ``/events/t``."""
    name = fields.filled("en")
    rules.check_only(fields, _QUERY)
    rules.check_sdk(fields, "sn", "sv")
    _check_account(fields, rules, name)
    check_event_query(request, fields, rules)
    event = _read_data(read_body(request, rules).child("d"), request, rules, Endpoint.EVENT)
    if event.event_name != name:
        raise WireError("d.event.name", "differs from en of the query")
    _check_visitor(request, fields, event, rules)
    return event


def read_fme_batch(request: WireRequest, fields: Fields, rules: Rules) -> tuple[Received, ...]:
    """Read a batch, all of it or nothing.

    Raises:
        WireError: For the first fault in query, headers or items. The field of an item is given with
            the item's number: ``ev[3].d.visId``.
    """
    rules.check_only(fields, _SDK_QUERY)
    rules.check_sdk(fields, "sn", "sv")
    rules.check_account(fields, "a")
    rules.check_key(fields, "env")
    check_authorization(request, fields)
    rules.check_no_visitor_headers(request)
    # The official Python SDK sends batches of nothing; whoever wants to see that is strict.
    items = read_items(request, rules, may_be_empty=not rules.strict)
    return tuple(
        _read_item(item, f"ev[{index}]", request, rules) for index, item in enumerate(items)
    )


def _read_item(item: object, field: str, request: WireRequest, rules: Rules) -> Received:
    if not isinstance(item, dict):
        raise WireError(field, "must be an object")
    fields = Fields(item, f"{field}.")
    rules.check_only(fields, _ITEM)
    return _read_data(fields.child("d"), request, rules, Endpoint.BATCH_V2)


def _check_account(fields: Fields, rules: Rules, name: str) -> None:
    if name != _USAGE_STATISTICS:
        rules.check_account(fields, "a")
        rules.check_key(fields, "env")
    else:
        fields.digits("a")


def _check_visitor(request: WireRequest, fields: Fields, event: Received, rules: Rules) -> None:
    """Refuse a query or headers that tell another user agent or IP address than the body."""
    for name, told in (("visitor_ua", event.user_agent), ("visitor_ip", event.ip)):
        found = fields.text(name)
        if rules.strict and found != told and (told or found not in _UNKNOWN):
            fields.fail(name, "differs from the body")
    rules.check_visitor_headers(request, event.user_agent, event.ip)


def _read_data(data: Fields, request: WireRequest, rules: Rules, endpoint: Endpoint) -> Received:
    rules.check_only(data, _DATA)
    visitor = data.any_visitor("visId")
    check_message(data, visitor, request, rules)
    # The session is the caller's to name, and may be an old one.
    data.integer("sessionId")
    event = data.child("event")
    check_event(event, request, rules)
    name = event.filled("name")
    kind, read = _READERS.get(name, ("goal", _read_metric))
    part = read(data, event, rules)
    return Received(
        kind=kind,
        account=rules.account,
        endpoint=endpoint,
        event_id=data.text("msgId"),
        request_number=request.number,
        received_at_s=request.at_s,
        visitor=visitor,
        event_name=name,
        user_agent=_read_optional(data, "visitor_ua"),
        ip=_read_optional(data, "visitor_ip"),
        campaign_ids=part.campaign_ids,
        variation_id=part.variation_id,
        conversions=part.conversions,
        props=part.props,
        tags=part.tags,
    )


def _read_optional(data: Fields, name: str) -> str:
    return data.text(name) if name in data else ""


def _read_shown(data: Fields, event: Fields, rules: Rules) -> _Part:
    """Read what a visitor was shown: by a rule, by the measurement of impact, or by a holdout."""
    props = read_props(event, rules)
    rules.check_only(props, _SHOWN_PROPS)
    props.check_equal("isFirst", 1, "must be 1")
    campaign_id, variation_id = props.integer("id"), _read_variation(props)
    campaign = rules.find_campaign(props, "id", campaign_id)
    rules.check_variation(props, "variation", campaign, variation_id)
    if campaign is not None and campaign.is_holdout != ("fId" in props):
        props.fail("fId", "must name the feature in the event of a holdout, and only there")
    if "fId" in props:
        rules.check_feature(props, "fId", props.integer("fId"))
    return _Part((campaign_id,), variation_id, tags=_read_tags(data, rules))


def _read_variation(props: Fields) -> int:
    """Return a variation: one official SDK sends it as text, the other as a number."""
    value = props.get("variation")
    if isinstance(value, str) and _VARIATION.fullmatch(value):
        return int(value)
    return props.integer("variation")


def _read_attributes(data: Fields, event: Fields, rules: Rules) -> _Part:
    props = read_props(event, rules)
    rules.check_only(props, _ATTRIBUTES_PROPS)
    rules.check_key(props, ENVIRONMENT)
    props.check_equal("isCustomEvent", expected=True, problem="must be true")
    tags = _read_tags(data, rules)
    place = data.place("visitor.props")
    if not tags:
        raise WireError(place, "has no attribute")
    if rules.strict and not all(isinstance(tag, str | int | float) for tag in tags.values()):
        raise WireError(place, "values must be texts, numbers or booleans")
    return _Part(tags=tags)


def _read_tags(data: Fields, rules: Rules) -> Mapping[str, object]:
    props = read_visitor_props(data, rules).values
    return {name: value for name, value in props.items() if name != ENVIRONMENT}


def _read_metric(data: Fields, event: Fields, rules: Rules) -> _Part:
    """Read an event that metrics count; it is one conversion, whatever number of features has them."""
    props = read_props(event, rules)
    rules.check_only(read_visitor_props(data, rules), frozenset({ENVIRONMENT}))
    props.check_equal("isCustomEvent", expected=True, problem="must be true")
    for name in _CONSTANTS:
        props.get(name)
    caller_props = _read_caller_props(props, rules)
    metrics = rules.find_metrics(event, "name", event.text("name"))
    conversion = Conversion(
        None,
        None,
        _read_revenue(props, [one.revenue_prop for one in metrics if one.is_revenue], rules),
        any(metric.is_repeatable for metric in metrics),
    )
    return _Part(conversions=(conversion,), props=caller_props)


def _read_caller_props(props: Fields, rules: Rules) -> Mapping[str, object]:
    """Return what the caller of an SDK gave; the two constants are his where he has replaced them."""
    found = {name: value for name, value in props.values.items() if name not in _METRIC_PROPS}
    for name in _CONSTANTS:
        if type(found[name]) is int and found[name] == 1:
            del found[name]
    if rules.strict and any(name.startswith(_OWN_PREFIX) for name in found):
        raise WireError(props.place("vwo_..."), "such a name is for VWO's SDKs alone")
    return found


def _read_revenue(props: Fields, names: list[str | None], rules: Rules) -> Decimal | None:
    """Return the amount in the property that a revenue metric names, None where there is none."""
    for name in names:
        if name is None or name not in props:
            continue
        amount = read_decimal(props.get(name))
        if amount is not None:
            return amount
        if rules.strict:
            raise WireError(props.place("<revenueProp>"), "must be numeric")
    return None


def _read_started(data: Fields, event: Fields, rules: Rules) -> _Part:
    """Read that an SDK has started."""
    props = read_props(event, rules)
    rules.check_only(props, _STARTED_PROPS)
    rules.check_key(props, ENVIRONMENT)
    props.check_equal("product", "fme", "must be fme")
    props.child("data").check_equal("isSDKInitialized", expected=True, problem="must be true")
    read_visitor_props(data, rules)
    return _Part()


def _read_used(data: Fields, event: Fields, rules: Rules) -> _Part:
    """Read that an SDK was used for a visitor."""
    rules.check_only(read_props(event, rules), SDK_PROPS)
    rules.check_only(read_visitor_props(data, rules), frozenset({ENVIRONMENT}))
    return _Part()


def _read_about_sdk(data: Fields, event: Fields, rules: Rules) -> _Part:
    """Read what an official SDK tells about itself. It may hold the SDK key, so that nothing is kept."""
    event.child("props")
    return _Part()


_READERS: Mapping[str, tuple[Kind, Callable[[Fields, Fields, Rules], _Part]]] = {
    SHOWN: ("user", _read_shown),
    VISITOR_PROPS: ("push", _read_attributes),
    _STARTED: ("sdk", _read_started),
    "vwo_feTrackUsage": ("sdk", _read_used),
    _USAGE_STATISTICS: ("sdk", _read_about_sdk),
    "vwo_sdkDebug": ("sdk", _read_about_sdk),
    "vwo_log": ("sdk", _read_about_sdk),
}
