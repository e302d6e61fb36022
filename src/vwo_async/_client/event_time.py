"""When something happened, as callers say it: a datetime or seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from math import isfinite
from typing import TypeAlias, cast

from .._error import InvalidInputError
from .._plain import is_kind, read_foreign, to_plain

EventTime: TypeAlias = datetime | float
"""A datetime with a time zone, or seconds since 1970 in UTC."""

# What is before 2000 was no time: a clock that counts from something else, or minutes.
EARLIEST_S = 946_684_800.0
# Clocks of two machines differ by that much; it counts as now.
TOLERANCE_S = 1.0


def read_time(value: object, clock: Callable[[], float]) -> float | None:
    """Return the time of an event in seconds since the epoch, None for now.

    Args:
        value: As the caller gave it.
        clock: Returns the seconds since the epoch.

    Raises:
        InvalidInputError: It is no datetime with a time zone and no number of seconds, before 2000, or in
            the future.
    """
    if value is None:
        return None
    seconds = (
        _read_datetime(cast("datetime", value)) if is_kind(value, datetime) else to_plain(value)
    )
    if type(seconds) is not int and not (type(seconds) is float and isfinite(seconds)):
        raise InvalidInputError("at must be a datetime with a time zone, or seconds since 1970")
    now = clock()
    if seconds >= 1000 * EARLIEST_S:
        raise InvalidInputError("at is in the future: it is in seconds, not milliseconds")
    if seconds > now + TOLERANCE_S:
        raise InvalidInputError("at is in the future")
    if seconds < EARLIEST_S:
        raise InvalidInputError("at is before the year 2000: it is in seconds since 1970")
    return float(min(seconds, now))


def _read_datetime(value: datetime) -> float:
    """Return a datetime as seconds since the epoch, whatever its class and time zone are."""
    if read_foreign(lambda: datetime.utcoffset(value), "at") is None:
        raise InvalidInputError(
            "at has no time zone: give datetime.now(UTC), or value.replace(tzinfo=...)"
        )
    return read_foreign(lambda: datetime.timestamp(value), "at")
