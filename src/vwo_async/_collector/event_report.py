"""The report of events by their name: how many arrived, whose, twice or not, with which properties."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from .field import read_decimal
from .ledger import Counted, Ledger
from .product import Account, Product
from .received import Received
from .settings_files import SettingsFiles

__all__ = ["EventReport", "PropertyReport", "report_events"]


@dataclass(frozen=True, slots=True)
class PropertyReport:
    """A property of the events of one name.

    Attributes:
        name: Its name.
        events: How many events have it.
        total: The sum of its values, where at least one is a number or numeric text; else None.
    """

    name: str
    events: int
    total: Decimal | None

    def as_dict(self) -> dict[str, object]:
        """Return the property as JSON-ready values; the total is decimal text."""
        total = None if self.total is None else str(self.total)
        return {"name": self.name, "events": self.events, "total": total}


@dataclass(frozen=True, slots=True)
class EventReport:
    """The events of one name: what metrics count, or what an SDK sends by itself.

    Attributes:
        product: Of which product.
        account_id: Of which account.
        name: The name, for a metric of FME its identifier.
        metric_ids: The metrics of the settings file that count it, by id; of FME only.
        received: How many different events arrived.
        duplicates: How many arrived again with the same ``msgId``; nothing else here counts them.
        visitors: How many different visitors they are about.
        conversions: The conversions that count.
        revenue: The sum over the conversions that count, in the account's currency.
        properties: The caller's properties by name.
    """

    product: Product
    account_id: str
    name: str
    metric_ids: tuple[int, ...]
    received: int
    duplicates: int
    visitors: int
    conversions: int
    revenue: Decimal
    properties: tuple[PropertyReport, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the event as JSON-ready values; amounts are decimal text."""
        return {
            "product": self.product,
            "account_id": self.account_id,
            "name": self.name,
            "metric_ids": list(self.metric_ids),
            "received": self.received,
            "duplicates": self.duplicates,
            "visitors": self.visitors,
            "conversions": self.conversions,
            "revenue": str(self.revenue),
            "properties": [one.as_dict() for one in self.properties],
        }


@dataclass(slots=True)
class PropertyCount:
    """A property of the events of one name: how many have it, and the sum of its numbers."""

    events: int = 0
    total: Decimal | None = None

    def add(self, value: object) -> None:
        """Add a value; what is no number is only counted."""
        self.events += 1
        amount = read_decimal(value)
        if amount is not None:
            self.total = amount if self.total is None else self.total + amount


@dataclass(slots=True)
class _Tally:
    """The events of one name, while they are added up."""

    metric_ids: set[int] = field(default_factory=set)
    ids: set[tuple[object, ...]] = field(default_factory=set)
    duplicates: int = 0
    visitors: set[str] = field(default_factory=set)
    conversions: int = 0
    revenue: Decimal = Decimal(0)
    properties: dict[str, PropertyCount] = field(default_factory=dict)

    def add(self, event: Received) -> None:
        # Official SDKs give the impressions of one call the same id, when they are made in one millisecond.
        event_id = event.event_id, event.campaign_ids if event.kind == "user" else None
        if event_id in self.ids:
            self.duplicates += 1
            return
        self.ids.add(event_id)
        self.visitors.add(event.visitor)
        for name, value in event.props.items():
            self.properties.setdefault(name, PropertyCount()).add(value)

    def count(self, counted: Counted) -> None:
        self.conversions += 1
        self.revenue += counted.revenue or 0

    def report(self, account: Account, name: str) -> EventReport:
        return EventReport(
            account.product,
            account.account_id,
            name,
            tuple(sorted(self.metric_ids)),
            len(self.ids),
            self.duplicates,
            len(self.visitors),
            self.conversions,
            self.revenue,
            tuple(
                PropertyReport(key, one.events, one.total)
                for key, one in sorted(self.properties.items())
            ),
        )


def report_events(ledger: Ledger, files: SettingsFiles) -> tuple[EventReport, ...]:
    """Return the reports of all events that have a name, and of those that metrics of the files count."""
    tallies: dict[tuple[Account, str], _Tally] = {}
    for file in files.files:
        for name, metrics in file.metrics.items():
            ids = {metric.id for metric in metrics}
            tallies.setdefault((file.account, name), _Tally()).metric_ids |= ids
    _add_events(tallies, ledger)
    _count_conversions(tallies, ledger.counted)
    return tuple(tallies[one].report(*one) for one in sorted(tallies))


def _add_events(tallies: dict[tuple[Account, str], _Tally], events: Iterable[Received]) -> None:
    for event in events:
        if event.event_name is not None:
            tallies.setdefault((event.account, event.event_name), _Tally()).add(event)


def _count_conversions(
    tallies: dict[tuple[Account, str], _Tally], conversions: Iterable[Counted]
) -> None:
    for one in conversions:
        if one.event_name is not None:
            tallies[one.account, one.event_name].count(one)
