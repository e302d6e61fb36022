"""The call with many events: batch-events."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from .campaign_event import FieldNames, read_campaign_part
from .envelope import read_body
from .error import WireError
from .field import STATISTICS, Fields
from .received import Kind, Received
from .request import Endpoint, WireRequest
from .rule import Rules
from .tag import read_encoded_tags

__all__ = ["check_authorization", "read_batch", "read_items"]

# Two official SDKs abbreviate the names of sdk and sdk-v in this call.
_QUERY = STATISTICS | {"a", "env", "sdk", "sdk-v"}
_SHORT_QUERY = STATISTICS | {"a", "env", "sd", "sv"}
_BODY = frozenset({"ev"})
_KINDS: Mapping[int, Kind] = {1: "user", 2: "goal", 3: "push"}
_COMMON = frozenset({"sId", "u", "eT", "visitor_ua", "visitor_ip"})
_ALLOWED: Mapping[Kind, frozenset[str]] = {
    "user": _COMMON | {"e", "c"},
    "goal": _COMMON | {"e", "c", "g", "r"},
    "push": _COMMON | {"t"},
}
_NAMES = FieldNames("e", "c", "g", Fields.integer)


def read_batch(request: WireRequest, fields: Fields, rules: Rules) -> tuple[Received, ...]:
    """Read a batch, all of it or nothing.

    Raises:
        WireError: For the first fault in query, headers or items. The field of an item is given with
            the item's number: ``ev[3].u``.
    """
    _check_query(fields, rules)
    check_authorization(request, fields)
    rules.check_no_visitor_headers(request)
    items = read_items(request, rules)
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


def check_authorization(request: WireRequest, fields: Fields) -> None:
    """Refuse a batch whose header does not repeat the SDK key of the query."""
    found = request.headers.get("authorization")
    if found is None:
        raise WireError("header authorization", "missing")
    if found != fields.text("env"):
        raise WireError("header authorization", "not the SDK key")


def read_items(request: WireRequest, rules: Rules, *, may_be_empty: bool = False) -> list[object]:
    """Return the items of a batch, not yet checked."""
    fields = read_body(request, rules, _BODY)
    items = fields.get("ev")
    if not isinstance(items, list) or not (items or may_be_empty):
        fields.fail("ev", "must be a list of at least one event")
    return items


def _read_item(request: WireRequest, item: object, field: str, rules: Rules) -> Received:
    if not isinstance(item, dict):
        raise WireError(field, "must be an object")
    fields = Fields(item, f"{field}.")
    kind = _KINDS.get(fields.integer("eT"))
    if kind is None:
        fields.fail("eT", "must be 1, 2 or 3")
    rules.check_only(fields, _ALLOWED[kind])
    rules.check_seconds(fields, "sId", fields.integer("sId"), request.at_s)
    part = read_campaign_part(kind, fields, rules, _NAMES)
    return Received(
        kind=kind,
        account=rules.account,
        endpoint=Endpoint.BATCH,
        event_id=_digest(fields.values),
        request_number=request.number,
        received_at_s=request.at_s,
        visitor=fields.visitor("u"),
        user_agent=_read_about_visitor(fields, "visitor_ua", kind),
        ip=_read_about_visitor(fields, "visitor_ip", kind),
        campaign_ids=part.campaign_ids,
        variation_id=part.variation_id,
        conversions=part.conversions,
        tags=_read_tags(fields, rules) if kind == "push" else {},
    )


def _read_tags(fields: Fields, rules: Rules) -> Mapping[str, object]:
    return read_encoded_tags(fields.text("t"), fields.place("t"), rules)


def _read_about_visitor(fields: Fields, name: str, kind: Kind) -> str:
    """Return user agent or IP address, which only a push may leave out."""
    return "" if kind == "push" and name not in fields else fields.text(name)


def _digest(item: Mapping[str, object]) -> str:
    # A digest of the item and not of the request: the id stays the same when a batch is split and its
    # halves are sent again. repr() differs for different JSON values, and is four times as fast as JSON.
    return blake2b(repr(item).encode(), digest_size=16).hexdigest()
