"""The kinds of events, by the name that each has in an outbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .event import ArchEvent, ConversionEvent, CustomDimensionEvent, Event, ImpressionEvent
from .fme_event import FMEEvent
from .request import Account

_KINDS: Mapping[str, type[Event]] = {
    "user": ImpressionEvent,
    "goal": ConversionEvent,
    "push": CustomDimensionEvent,
    "arch": ArchEvent,
    "fme": FMEEvent,
}


def restore_event(account: Account, data: Mapping[str, Any]) -> Event:
    """Return the event that `dump` was made of, in the name of *account*; its bytes are the same again.

    Raises:
        ValueError: It is no such dump.
    """
    try:
        return _KINDS[data["kind"]].restore(account, data)
    except (KeyError, TypeError, ArithmeticError):
        raise ValueError("not an event") from None
