"""How an event lies in a stream: JSON without the SDK key, in a layout that has a number.

Old and new processes share a stream while a fleet is upgraded. A reader skips what it does not know within
an entry; what it could not deliver rightly without knowing has a higher number, and is left to newer ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from inspect import signature
from typing import Any

from .._delivery.event import Event
from .._delivery.event_kind import restore_event
from .._delivery.fme_event import FMEAccount
from .._delivery.request import Account

# The layout that this version writes, and the newest that it reads.
LAYOUT = 1
# How long the end of an event is listened for that a relay was to tell of.
REPLY_S = 60.0

_KINDS: Mapping[str, type[Account]] = {"fullstack": Account, "fme": FMEAccount}
_FACTS = {kind: signature(kind).parameters.keys() - {"sdk_key"} for kind in _KINDS.values()}

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class NewerLayoutError(Exception):
    """An entry has a layout that a later version wrote."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in a stream.

    Attributes:
        event: The event, in the name of an account.
        wall_s: When it was accepted, in seconds since the epoch.
        reply_to: Where its end is to be told of; empty for nowhere.
        reply_id: What it is called there.
    """

    event: Event
    wall_s: float
    reply_to: str = ""
    reply_id: int = 0


def dump_entries(
    events: Sequence[Event], walls_s: Sequence[float], replies: Sequence[int] | None, reply_to: str
) -> list[bytes]:
    """Return the entries of *events* of one account.

    Args:
        events: What to write.
        walls_s: When each was accepted.
        replies: What each is called where its end is told of; None for no telling.
        reply_to: Where that is.
    """
    head = f'{{"v":{LAYOUT},"for":{_encode(events[0].account.facts)}'
    tails = [""] * len(events)
    if replies is not None:
        tails = [f',"reply":{one},"reply_to":{json.dumps(reply_to)}' for one in replies]
    return [
        f'{head}{tail},"at":{wall_s!r},"event":{_encode(event.dump())}}}'.encode()
        for event, wall_s, tail in zip(events, walls_s, tails, strict=True)
    ]


class EntryReader:
    """Reads entries in the name of one account.

    Args:
        sdk_key: The key, which no entry holds.
    """

    def __init__(self, sdk_key: str | None) -> None:
        self._make_account: Callable[[str], Account] = lru_cache(64)(
            lambda facts: make_account(json.loads(facts), sdk_key)
        )

    def read(self, payload: bytes) -> Entry:
        """Return the entry of `dump_entries`.

        Raises:
            NewerLayoutError: A later version wrote it.
            ValueError: It is no entry.
        """
        data = json.loads(payload)
        if not isinstance(data, dict) or type(data.get("v")) is not int:
            raise ValueError("not an entry")
        if data["v"] > LAYOUT:
            raise NewerLayoutError
        try:
            account = self._make_account(json.dumps(data["for"]))
            event = restore_event(account, data["event"])
            reply_to, reply = str(data.get("reply_to", "")), int(data.get("reply", 0))
            return Entry(event, float(data["at"]), reply_to, reply)
        except (KeyError, TypeError, AttributeError):
            raise ValueError("not an entry") from None


def make_account(facts: Mapping[str, Any], sdk_key: str | None) -> Account:
    """Return the account that has these `Account.facts`, with its key; facts that are not known are skipped.

    Raises:
        KeyError: They name no product that is known.
        TypeError: Some are missing, or are none.
    """
    kind = _KINDS[facts["product"]]
    known = {name: facts[name] for name in _FACTS[kind] if name in facts}
    return kind(**known, sdk_key=sdk_key)
