"""What all events of the event architecture have around them, in FullStack and in FME."""

from __future__ import annotations

import re

from .error import WireError
from .field import Fields, read_json
from .request import WireRequest
from .rule import Rules

__all__ = [
    "ENVIRONMENT",
    "SDK_PROPS",
    "SHOWN",
    "VISITOR_PROPS",
    "check_event",
    "check_event_query",
    "check_message",
    "read_body",
    "read_props",
    "read_visitor_props",
]

ENVIRONMENT = "vwo_fs_environment"
# The names of events that both products have: what a visitor was shown, and what is known of him.
SHOWN = "vwo_variationShown"
VISITOR_PROPS = "vwo_syncVisitorProp"
SDK_PROPS = frozenset({"vwo_sdkName", "vwo_sdkVersion", "vwo_envKey"})

_BODY = frozenset({"d"})
_EVENT = frozenset({"props", "name", "time"})
_VISITOR = frozenset({"props"})
_MESSAGE = re.compile(r"([0-9A-F]{32}|[DJ][0-9A-Fa-f]{32})-(\d{13})", re.ASCII)


def check_event_query(request: WireRequest, fields: Fields, rules: Rules) -> None:
    """Refuse a query of ``events/t`` without a time of now, a random number and the product."""
    rules.check_milliseconds(fields, "eTime", fields.digits("eTime"), request.at_s)
    fields.check_random("random")
    fields.check_equal("p", "FS", "must be FS")


def read_body(request: WireRequest, rules: Rules, allowed: frozenset[str] = _BODY) -> Fields:
    """Return the JSON object in the body."""
    body = read_json(request.body, "body")
    if not isinstance(body, dict):
        raise WireError("body", "must be an object")
    fields = Fields(body)
    rules.check_only(fields, allowed)
    return fields


def check_message(data: Fields, visitor: str, request: WireRequest, rules: Rules) -> None:
    """Refuse an id of an event that is not made of its visitor and its time."""
    message = _MESSAGE.fullmatch(data.text("msgId"))
    if message is None:
        data.fail("msgId", "must be the visitor's UUID, a hyphen and milliseconds since 1970")
    if message[1] != visitor:
        data.fail("msgId", "differs from visId")
    rules.check_milliseconds(data, "msgId", int(message[2]), request.at_s)


def check_event(event: Fields, request: WireRequest, rules: Rules) -> None:
    """Refuse additional fields, and a time far from now."""
    rules.check_only(event, _EVENT)
    rules.check_milliseconds(event, "time", event.integer("time"), request.at_s)


def read_props(event: Fields, rules: Rules) -> Fields:
    """Return the properties of an event, of which only those of the SDK are checked."""
    props = event.child("props")
    rules.check_sdk(props, "vwo_sdkName", "vwo_sdkVersion")
    rules.check_key(props, "vwo_envKey")
    return props


def read_visitor_props(data: Fields, rules: Rules) -> Fields:
    """Return the properties of the visitor, of which only the environment is checked."""
    visitor = data.child("visitor")
    rules.check_only(visitor, _VISITOR)
    props = visitor.child("props")
    rules.check_key(props, ENVIRONMENT)
    return props
