"""The arguments of API methods: read, checked, and put together for one call."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, Final, NamedTuple

from .._core.api_method import Api
from .._core.goal import Revenue
from .._delivery.event_factory import dump_properties
from .._error import InvalidInputError
from .._plain import copy_mapping, is_kind, is_plain, read_fields, read_foreign, to_plain
from .._user import User, read_text
from .call_options import ActivateOptions, TrackOptions
from .event_time import read_time
from .options import GoalType, Options, read_goal_type

MAX_CAMPAIGN_KEYS = 1000
MAX_DIGITS = 100
# As VWO reads amounts.
_AMOUNT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)

RETURNING: Final = "should_track_returning_user"


class EventProperties(NamedTuple):
    """Event properties, their JSON text, and a note about each that is not in it."""

    given: Mapping[str, Any]
    json: str
    notes: tuple[str, ...] = ()


NO_PROPERTIES = EventProperties({}, "")


class DecideCall(NamedTuple):
    """A call that decides one campaign.

    Attributes:
        api: On whose behalf.
        campaign_key: The campaign.
        user: The user.
        given_record: The caller's ``user_storage_data``, which stands in for every read of the storage.
        meta_data: Stored with the decision, in place of what is stored; None to leave that as it is.
        tracks_returning_user: Whether a user whom the storage knows is reported again.
        custom_properties: JSON text of what goes with the impression; empty for nothing.
        waits: Whether the call awaits delivery.
        notes: What of the properties was left out, and why; never a value.
    """

    api: Api
    campaign_key: str
    user: User
    given_record: Mapping[str, Any] | None
    meta_data: Mapping[str, Any] | None
    tracks_returning_user: bool
    custom_properties: str
    waits: bool
    notes: tuple[str, ...]


class TrackCall(NamedTuple):
    """A call that tracks conversions.

    Attributes:
        user: The user.
        campaign_keys: The campaigns, None for every one that has the goal.
        goal_identifier: The goal.
        goal_type: Only goals of this type.
        revenue: For a revenue goal.
        properties: Sent with the event, on the event architecture.
        given_record: The caller's ``user_storage_data``, which stands in for every read of the storage.
        meta_data: Stored with the decision, in place of what is stored; None to leave that as it is.
        tracks_returning_user: Whether conversions that the storage knows are reported again.
        waits: Whether the call awaits delivery.
        at_s: When, in seconds since the epoch; None for now.
    """

    user: User
    campaign_keys: Sequence[str] | None
    goal_identifier: str
    goal_type: GoalType
    revenue: Revenue
    properties: EventProperties
    given_record: Mapping[str, Any] | None
    meta_data: Mapping[str, Any] | None
    tracks_returning_user: bool
    waits: bool
    at_s: float | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the arguments was left out, and why; never a value."""
        return (*self.user.notes, *self.properties.notes)


def read_name(value: object, name: str) -> str:
    """Return the key of a campaign or variable, or the identifier of a goal, as a plain str.

    Raises:
        InvalidInputError: It is no non-empty str that can be sent.
    """
    plain = to_plain(value)
    if type(plain) is not str or not plain:
        raise InvalidInputError(f"{name} must be a non-empty str")
    return read_text(plain, name)


def read_flag(value: bool | None, default: bool, name: str) -> bool:
    """Return *value*, where the caller gave one.

    Raises:
        InvalidInputError: It is no bool.
    """
    if value is None:
        return default
    # A class cannot be derived from bool.
    if type(value) is not bool:
        raise InvalidInputError(f"{name} must be a bool")
    return value


def read_record(value: Any) -> Mapping[str, Any] | None:
    """Return the ``user_storage_data`` of a call; an empty one says nothing, so the storage is asked.

    Raises:
        InvalidInputError: It is no mapping.
    """
    return None if value is None else read_fields(value, "user_storage_data") or None


def read_meta_data(value: Any) -> Mapping[str, Any] | None:
    """Return the ``meta_data`` of a call; an empty one takes away what is stored.

    Raises:
        InvalidInputError: It is no mapping.
    """
    return None if value is None else copy_mapping(value, "meta_data")


# Of room


def read_room(
    events: object, timeout_s: object, default_s: float | None
) -> tuple[int, float | None]:
    """Return for how many events room is wanted, and how long it is waited for.

    Raises:
        InvalidInputError: One of them cannot be used.
    """
    number, limit_s = to_plain(events), to_plain(timeout_s)
    if type(number) is not int or number < 1:
        raise InvalidInputError("events must be a whole number, 1 or more")
    if limit_s is None:
        return number, default_s
    if type(limit_s) not in (int, float) or not limit_s >= 0:
        raise InvalidInputError("timeout_s must be a number of seconds, 0 or more")
    return number, limit_s


# Of what decides one campaign


def read_decide_call(
    launch: Options,
    api: Api,
    campaign_key: object,
    user: User,
    given: ActivateOptions,
    *,
    waits: bool,
) -> DecideCall:
    """Return a call that decides one campaign with its arguments read.

    Args:
        launch: Launch options, for what the call leaves open.
        api: On whose behalf.
        campaign_key: As the caller gave it.
        user: Has what *given* says of the user.
        given: The caller's other arguments.
        waits: Whether the call awaits delivery.

    Raises:
        InvalidInputError: One of them cannot be used.
    """
    properties = read_properties(given.get("custom_properties"), "custom_properties")
    return DecideCall(
        api=api,
        campaign_key=read_name(campaign_key, "campaign_key"),
        user=user,
        given_record=read_record(given.get("user_storage_data")),
        meta_data=read_meta_data(given.get("meta_data")),
        # As in the Node SDK, a call can ask for it but not take back what launch asked for.
        tracks_returning_user=read_flag(given.get(RETURNING), False, RETURNING)
        or launch.should_track_returning_user,
        custom_properties=properties.json,
        waits=waits,
        notes=properties.notes,
    )


# Of track


def read_track_call(
    launch: Options,
    user: User,
    campaign_key: object,
    goal_identifier: object,
    given: TrackOptions,
    *,
    waits: bool,
) -> TrackCall:
    """Return a `VWOClient.track` call with its arguments read.

    Args:
        launch: Launch options, for what the call leaves open.
        user: Has what *given* says of the user.
        campaign_key: As the caller gave it.
        goal_identifier: As the caller gave it.
        given: The caller's other arguments.
        waits: Whether the call awaits delivery.

    Raises:
        InvalidInputError: One of them cannot be used.
    """
    goal = read_name(goal_identifier, "goal_identifier")
    return TrackCall(
        user=user,
        campaign_keys=read_campaign_keys(campaign_key),
        goal_identifier=goal,
        goal_type=read_goal_choice(given.get("goal_type_to_track"), launch.goal_type_to_track),
        revenue=read_revenue(given.get("revenue_value")),
        properties=read_properties(given.get("event_properties")),
        tracks_returning_user=read_flag(
            given.get(RETURNING), launch.should_track_returning_user, RETURNING
        ),
        meta_data=read_meta_data(given.get("meta_data")),
        given_record=read_record(given.get("user_storage_data")),
        waits=waits,
        at_s=read_time(given.get("at"), time.time),
    )


def read_campaign_keys(specifier: object) -> Sequence[str] | None:
    """Return the campaign keys that *specifier* names, None for all campaigns.

    Raises:
        InvalidInputError: It is no non-empty str, no list, tuple or set of str, and not None.
    """
    if specifier is None:
        return None
    if is_kind(specifier, list, tuple, set, frozenset):
        keys: Any = specifier
        return _read_key_list(read_foreign(lambda: list(keys), "campaign_key"))
    plain = to_plain(specifier)
    if type(plain) is str and plain:
        return (read_text(plain, "campaign_key"),)
    raise InvalidInputError("campaign_key must be a non-empty str, a list of str, or None")


def _read_key_list(keys: list[Any]) -> Sequence[str]:
    if len(keys) > MAX_CAMPAIGN_KEYS:
        raise InvalidInputError(f"campaign_key names more than {MAX_CAMPAIGN_KEYS} campaigns")
    return [read_text(key, "a campaign key") for key in keys]


def read_goal_choice(value: object, default: GoalType) -> GoalType:
    """Return the ``goal_type_to_track`` of a call.

    Raises:
        InvalidInputError: It names no goal type.
    """
    if value is None:
        return default
    try:
        return read_goal_type(value)
    except InvalidInputError as error:
        raise InvalidInputError(f"goal_type_to_track {error}") from None


def read_revenue(value: Any) -> Revenue:
    """Return *value* as revenue; None, 0, False and an empty text mean none, and True is 1.

    Numbers of other libraries, and values of derived classes, count as the plain ones that they are.

    Raises:
        InvalidInputError: It is not a finite int, float or Decimal, nor a text of at most 100 characters
            that spells a number: VWO would refuse it, and with it the conversion.
    """
    plain: Any = to_plain(value)
    if plain is None or type(plain) is bool:
        return 1 if plain else None
    if type(plain) is str:
        return _read_amount(plain)
    if not is_plain(plain):
        raise InvalidInputError("revenue_value must be an int, float, Decimal or str")
    if not _is_printable(plain):
        raise InvalidInputError("revenue_value must be finite, with at most 100 digits")
    number: Revenue = plain
    return number


def _read_amount(text: str) -> str:
    """Return a text that spells an amount, without the blanks around it."""
    amount = read_text(text, "revenue_value", 100).strip()
    if amount and _AMOUNT.fullmatch(amount) is None:
        raise InvalidInputError(
            "revenue_value must spell a number such as 49.90: a full stop before the fraction,"
            " no currency, no thousands separator"
        )
    return amount


def _is_printable(value: float | Decimal) -> bool:
    """Tell whether a number is finite and short: printing must not take long, whoever chose it."""
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        return (
            isinstance(exponent, int) and exponent >= -MAX_DIGITS and value.adjusted() < MAX_DIGITS
        )
    return isfinite(value) if isinstance(value, float) else value.bit_length() < 3 * MAX_DIGITS


def read_properties(properties: object, name: str = "event_properties") -> EventProperties:
    """Return the properties of a call, which calls them *name*, with their JSON text.

    Raises:
        InvalidInputError: Not a dict.
    """
    if properties is None:
        return NO_PROPERTIES
    if not is_kind(properties, dict):
        raise InvalidInputError(f"{name} must be a dict")
    notes: list[str] = []
    text = dump_properties(copy_mapping(properties, name), notes, name)
    return EventProperties(read_fields(properties, name), text, tuple(notes))
