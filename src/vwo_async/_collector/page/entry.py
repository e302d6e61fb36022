"""The requests and events that arrived last, as the page lists them: a bounded number of short lines."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import NAMESPACE_URL, uuid5

from ..product import Account
from ..received import Received

__all__ = ["KINDS", "Entries", "Entry", "EntryFilter", "EntryKind", "name_visitor"]

EntryKind: TypeAlias = Literal[
    "user", "goal", "push", "sdk", "refused", "faulty", "settings", "gateway"
]
KINDS: Sequence[EntryKind] = (
    "user",
    "goal",
    "push",
    "sdk",
    "refused",
    "faulty",
    "settings",
    "gateway",
)
MAX_ENTRIES = 2_000
MAX_TEXT = 200
_VWO_URL = "https://vwo.com"


class Entry(NamedTuple):
    """One line: an event, or a request that was none.

    Attributes:
        number: Its number among all lines, from 1.
        at_s: When it arrived, in seconds since 1970.
        kind: Of an event its kind. ``refused`` did not follow the wire format; ``faulty`` was answered as
            planned or as a fault has it; ``settings`` and ``gateway`` asked for something.
        request_number: The number of its request.
        product: Of which product it is, empty where that is not known.
        account_id: The account, empty where it is not known.
        visitor: The visitor's UUID, empty where there is none.
        campaign_ids: The campaigns that it names.
        variation_id: The variation that it names.
        goal_ids: The goals that it names.
        event_name: The name of the event, if it has one.
        revenue: What it is worth, as decimal text.
        status: The status of the answer; 0 where there was none.
        text: What was wrong; of an event its properties or attributes, as JSON.
    """

    number: int
    at_s: float
    kind: EntryKind
    request_number: int
    product: str = ""
    account_id: str = ""
    visitor: str = ""
    campaign_ids: tuple[int, ...] = ()
    variation_id: int | None = None
    goal_ids: tuple[int, ...] = ()
    event_name: str | None = None
    revenue: str | None = None
    status: int = 200
    text: str = ""


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries are asked for.

    Attributes:
        visitors: UUIDs in capitals, or ids as they are; empty for those of any visitor.
        visitor_start: What the UUID may begin with instead; empty for nothing.
        campaign: Product, account and number; None for those of any campaign.
        kind: Empty for those of any kind.
    """

    visitors: frozenset[str] = frozenset()
    visitor_start: str = ""
    campaign: tuple[str, str, int] | None = None
    kind: str = ""

    def is_met(self, entry: Entry) -> bool:
        """Tell whether an entry is asked for."""
        if self.kind and entry.kind != self.kind:
            return False
        if self.visitors and not self._is_of_visitor(entry.visitor):
            return False
        if self.campaign is None:
            return True
        product, account_id, campaign_id = self.campaign
        of_account = (entry.product, entry.account_id) == (product, account_id)
        return of_account and campaign_id in entry.campaign_ids

    def _is_of_visitor(self, visitor: str) -> bool:
        if visitor in self.visitors:
            return True
        return bool(self.visitor_start) and visitor.startswith(self.visitor_start)


class Entries:
    """The last entries.

    Attributes:
        last_number: The number of the newest entry ever.
    """

    def __init__(self) -> None:
        self.last_number = 0
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def add_events(self, events: Iterable[Received]) -> None:
        """Add the events of a request."""
        for event in events:
            self.last_number += 1
            self._entries.append(_read_event(self.last_number, event))

    def add(
        self, kind: EntryKind, at_s: float, request_number: int, status: int, text: str
    ) -> None:
        """Add a request that brought no event."""
        self.last_number += 1
        short = _shorten(text)
        self._entries.append(
            Entry(self.last_number, at_s, kind, request_number, status=status, text=short)
        )

    def find(self, wanted: EntryFilter, after: int, limit: int) -> tuple[list[Entry], int]:
        """Return the newest entries that are asked for, newest first.

        Args:
            wanted: What is asked for.
            after: Only what has a higher number.
            limit: How many.

        Returns:
            The entries, and how many more there are.
        """
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if entry.number <= after:
                break
            if wanted.is_met(entry):
                found.append(entry)
        return found[:limit], max(0, len(found) - limit)

    def dump(self) -> list[list[Any]]:
        """Return the entries as JSON-ready values."""
        return [list(entry) for entry in self._entries]

    def load(self, rows: Iterable[Sequence[Any]], last_number: int) -> None:
        """Take the entries of `dump`."""
        self.last_number = last_number
        for row in rows:
            entry = Entry(*row)
            self._entries.append(
                entry._replace(
                    campaign_ids=tuple(entry.campaign_ids), goal_ids=tuple(entry.goal_ids)
                )
            )


def name_visitor(account: Account, user_id: str) -> str:
    """Return the UUID by which SDKs name a user to VWO."""
    named = uuid5(uuid5(NAMESPACE_URL, _VWO_URL), account.account_id)
    return uuid5(named, user_id).hex.upper()


def _read_event(number: int, event: Received) -> Entry:
    product, account_id = event.account
    revenue = event.revenue
    return Entry(
        number,
        event.received_at_s,
        event.kind,
        event.request_number,
        product.value,
        account_id,
        _shorten(event.visitor),
        event.campaign_ids[:20],
        event.variation_id,
        event.goal_ids[:20],
        None if event.event_name is None else _shorten(event.event_name),
        None if revenue is None else _shorten(str(revenue)),
        200,
        _describe(event.props or event.tags),
    )


def _describe(values: Mapping[str, object]) -> str:
    return _shorten(json.dumps(values, ensure_ascii=False)) if values else ""


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
