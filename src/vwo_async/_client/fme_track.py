"""Events and attributes of an `FMEClient`: from the arguments to the queue."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from .._delivery.event_factory import MAX_PROPERTIES_BYTES, dump_properties
from .._delivery.fme_event_factory import dump_event_properties, is_own_name
from .._error import InvalidInputError
from .._plain import copy_mapping, to_plain
from .._reason import Reason
from .._result import DEVELOPMENT_DELIVERY, CampaignTrack, SingleTrack, TrackResult
from .._user import MAX_VARIABLES
from .arguments import read_name
from .fme_engine import FMEEngine
from .fme_integration import make_event_payload
from .fme_user import CallUser
from .track import await_delivery


async def track_event(
    engine: FMEEngine,
    event_name: str,
    named: CallUser,
    properties: str,
    notes: tuple[str, ...],
    *,
    at_s: float | None,
    waits: bool,
) -> TrackResult:
    """Report that a user did what a metric counts, under the rules in force."""
    lookup = engine.make_lookup() if engine.has_aliases else None
    user = await engine.find_user(named, lookup)
    if user is None:
        return TrackResult.refused(event_name, Reason.OPTED_OUT)
    if lookup is not None and lookup.notes:
        notes = (*notes, *lookup.notes)
    if engine.lacks_settings:
        engine.note_lack()
        return TrackResult.refused(event_name, Reason.NO_SETTINGS)
    event_names = engine.snapshot.event_names
    if event_name not in event_names:
        engine.unknown_keys.add("metric of the event", event_name, event_names)
        return TrackResult.refused(event_name, Reason.EVENT_NOT_FOUND)
    result = _put_metric(engine, user, event_name, properties, notes, at_s)
    if engine.has_outbox:
        kept = engine.reporter.keep_quickly(result)
        if kept is not None:
            await kept
    is_on_its_way = type(result) is SingleTrack
    return await await_delivery(engine, result) if waits and is_on_its_way else result


def _put_metric(
    engine: FMEEngine,
    user: CallUser,
    event_name: str,
    properties: str,
    notes: tuple[str, ...],
    at_s: float | None,
) -> TrackResult:
    """Put the event on the queue, and tell the integration where there was room for it."""
    event = engine.snapshot.event_factory.make_metric(
        user, event_name, properties, session_id=user.session_id, at_s=at_s
    )
    receipts = engine.reporter.put([event])
    if receipts is not None and receipts[0] is None:
        return TrackResult.refused(event_name, Reason.QUEUE_FULL)
    if engine.has_integration:
        engine.tell_integration(make_event_payload(event_name))
    if receipts is not None:
        return SingleTrack(event_name, None, event, notes)
    done = {event_name: CampaignTrack(True, Reason.TRACKED)}
    return TrackResult(done, DEVELOPMENT_DELIVERY, notes=notes)


def read_event_properties(properties: object, notes: list[str]) -> str:
    """Return the JSON text of the properties of a call, empty for none.

    Raises:
        InvalidInputError: They are no mapping.
    """
    if properties is None:
        return ""
    text = dump_event_properties(copy_mapping(properties, "event_properties"), notes)
    return "" if text == "{}" else text


async def set_attributes(
    engine: FMEEngine, attributes: str, named: CallUser, *, waits: bool
) -> bool:
    """Report attributes of a user; true where they were accepted, or with *waits* received."""
    user = await engine.find_user(named, engine.make_lookup() if engine.has_aliases else None)
    if user is None:
        return False
    if engine.lacks_settings:
        # Where the account's events go is not known yet.
        engine.note_lack()
        return False
    factory = engine.snapshot.event_factory
    event = factory.make_attributes(user, attributes, session_id=user.session_id)
    return await engine.reporter.report([event], waits=waits)


def read_attributes(attributes: Mapping[Any, Any], notes: list[str]) -> str:
    """Return the JSON text of attributes.

    Args:
        attributes: Plain values by name.
        notes: Takes a text where names are left out, since VWO's SDKs use them themselves.

    Raises:
        InvalidInputError: There is none, or one has a name or value that cannot be sent.
    """
    found = copy_mapping(attributes, "the attributes")
    if not 0 < len(found) <= MAX_VARIABLES:
        raise InvalidInputError(f"attributes must be 1 to {MAX_VARIABLES}")
    given = {
        read_name(key, "the name of an attribute"): _read_attribute(value)
        for key, value in found.items()
    }
    usable = {name: value for name, value in given.items() if not is_own_name(name)}
    if not usable:
        raise InvalidInputError("the attributes have names that VWO's SDKs use themselves")
    if len(usable) < len(given):
        notes.append("an attribute has a name that VWO's SDKs use themselves: it is left out")
    left_out: list[str] = []
    text = dump_properties(usable, left_out)
    if left_out:
        raise InvalidInputError(
            f"an attribute cannot be written as JSON, or all of them exceed {MAX_PROPERTIES_BYTES} bytes"
        )
    return text


def _read_attribute(value: object) -> str | float | bool:
    plain = to_plain(value)
    if type(plain) in (str, int, bool) or (type(plain) is float and isfinite(plain)):
        return plain  # type: ignore[no-any-return]
    raise InvalidInputError("an attribute must be a str, int, float or bool")
