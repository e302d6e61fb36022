"""Reads what the page asks: which entries, which user, which fault."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..fault import Fault
from ..field import load_json
from ..product import Account
from .entry import KINDS, EntryFilter, name_visitor

__all__ = [
    "AskedFault",
    "list_visitors",
    "read_campaign",
    "read_fault",
    "read_filter",
    "read_object",
]

MAX_LATENCY_S = 3_600.0
# As much of a UUID as the page shows, or more.
_START = re.compile(r"[0-9A-Fa-f]{8,32}")


@dataclass(frozen=True, slots=True)
class AskedFault:
    """What is to be switched on or off.

    Attributes:
        fault: The fault, None for none.
        latency_s: How long to delay each answer, in seconds.
    """

    fault: Fault | None
    latency_s: float


def read_object(body: bytes | None) -> Mapping[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: It is none.
    """
    try:
        found = load_json(body or b"null")
    except ValueError:
        raise ValueError("body: not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("body: must be an object")
    return found


def read_fault(body: bytes | None, now: AskedFault) -> AskedFault:
    """Read ``{"fault": "500", "latency_s": 0.5}``; what is left out stays as it is *now*.

    Raises:
        ValueError: There is no such fault or delay.
    """
    asked = read_object(body)
    return AskedFault(
        _read_fault(asked.get("fault", now.fault)),
        _read_latency(asked.get("latency_s", now.latency_s)),
    )


def _read_fault(value: Any) -> Fault | None:
    if value is None:
        return None
    if value not in list(Fault):
        raise ValueError(f"fault: must be null or one of {', '.join(Fault)}")
    return Fault(value)


def _read_latency(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 0 <= value <= MAX_LATENCY_S:
        return float(value)
    raise ValueError(f"latency_s: must be from 0 to {MAX_LATENCY_S:g}")


def read_filter(query: Mapping[str, str], accounts: Iterable[Account]) -> EntryFilter:
    """Read which entries are asked for: ``user``, ``campaign`` and ``kind``, each of which may be missing.

    Args:
        query: The parameters.
        accounts: Whose user it may be: an id stands for the visitor that each account's SDK makes of it.

    Raises:
        ValueError: There is no such kind or campaign.
    """
    kind, campaign = query.get("kind", ""), query.get("campaign", "")
    if kind and kind not in KINDS:
        raise ValueError(f"kind: must be one of {', '.join(KINDS)}")
    user = query.get("user", "")
    return EntryFilter(
        list_visitors(user, accounts),
        user.upper() if _START.fullmatch(user) else "",
        read_campaign(campaign) if campaign else None,
        kind,
    )


def list_visitors(user: str, accounts: Iterable[Account]) -> frozenset[str]:
    """Return by which names a user may be in events; none of nobody."""
    if not user:
        return frozenset()
    try:
        named = [name_visitor(one, user) for one in accounts]
    except UnicodeEncodeError:
        named = []
    return frozenset({user, user.upper(), *named})


def read_campaign(text: str) -> tuple[str, str, int]:
    """Read what `name_campaign` has written.

    Raises:
        ValueError: It is no such text.
    """
    product, _, rest = text.partition("/")
    account_id, _, number = rest.rpartition("/")
    if not (number.isascii() and number.isdecimal()):
        raise ValueError("campaign: must be PRODUCT/ACCOUNT/NUMBER")
    return product, account_id, int(number)
