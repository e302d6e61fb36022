"""One event as received, after it was checked against the wire format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, TypeAlias

from .product import Account
from .request import Endpoint

__all__ = ["Conversion", "Kind", "Received"]

Kind: TypeAlias = Literal["user", "goal", "push", "sdk"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """One goal of one campaign, reached; in FME, one event that metrics count.

    Attributes:
        campaign_id: The campaign; None in FME, whose events name none.
        goal_id: The goal; None in FME, where the name of the event says which metrics count it.
        revenue: What the conversion is worth in the account's currency, None where the wire does
            not say. In FME it is the property that a revenue metric of the file names as ``revenueProp``.
        is_repeatable: Whether each event counts (``mca`` of the goal or metric is -1), and not only the
            visitor's first.
    """

    campaign_id: int | None
    goal_id: int | None
    revenue: Decimal | None = None
    is_repeatable: bool = False

    def as_dict(self) -> dict[str, object]:
        """Return the conversion as JSON-ready values; revenue is decimal text."""
        return {
            "campaign_id": self.campaign_id,
            "goal_id": self.goal_id,
            "revenue": None if self.revenue is None else str(self.revenue),
            "is_repeatable": self.is_repeatable,
        }


@dataclass(frozen=True, slots=True)
class Received:
    """One event as it came over the wire: a GET, an item of a batch, or a POST to ``/events/t``.

    Attributes:
        kind: ``user`` for an impression, ``goal`` for conversions, ``push`` for custom dimensions or
            attributes, ``sdk`` for what an SDK of FME tells about itself.
        account: The account, as the settings file or else the request names it.
        endpoint: Where it came in.
        event_id: ``msgId`` of ``/events/t`` and of FME's batches; for other calls a digest of the content,
            so that a resend of the same bytes has the same id. Items of FullStack's batches have no id in
            the wire format: two equal items of the same second get the same id.
        request_number: The number of its request, counted from 1.
        received_at_s: When that request was read, in seconds since 1970.
        visitor: The visitor's UUID, 32 upper-case hexadecimal digits; in FME it may be the id that VWO's
            code in web pages has given him.
        campaign_ids: The campaigns named, in order; an impression names one. In FME that is a rule, a
            holdout or the measurement of an impact, and other events name none.
        variation_id: The variation of an impression, and of a goal outside ``/events/t``; else None.
        conversions: The conversions of a goal event; empty for the other kinds.
        event_name: The name of an event of ``/events/t`` or of FME, else None.
        user_agent: The visitor's user agent; empty if unknown.
        ip: The visitor's IP address; empty if unknown.
        props: The caller's event properties (``/events/t`` and FME only).
        tags: Custom dimensions or attributes of a push; what an impression of FME says of the visitor.
    """

    kind: Kind
    account: Account
    endpoint: Endpoint
    event_id: str
    request_number: int
    received_at_s: float
    visitor: str
    campaign_ids: tuple[int, ...] = ()
    variation_id: int | None = None
    conversions: tuple[Conversion, ...] = ()
    event_name: str | None = None
    user_agent: str = ""
    ip: str = ""
    props: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, object] = field(default_factory=dict)

    @property
    def goal_ids(self) -> tuple[int, ...]:
        """The goals converted, in the order of *conversions*; empty in FME."""
        return tuple(one.goal_id for one in self.conversions if one.goal_id is not None)

    @property
    def revenue(self) -> Decimal | None:
        """The revenue of the first conversion that has one."""
        return next((c.revenue for c in self.conversions if c.revenue is not None), None)

    def as_dict(self) -> dict[str, object]:
        """Return the event as JSON-ready values; revenue is decimal text."""
        return {
            "product": self.account.product,
            "account_id": self.account.account_id,
            "kind": self.kind,
            "endpoint": self.endpoint.path,
            "event_id": self.event_id,
            "request_number": self.request_number,
            "received_at_s": self.received_at_s,
            "visitor": self.visitor,
            "campaign_ids": list(self.campaign_ids),
            "variation_id": self.variation_id,
            "goal_ids": list(self.goal_ids),
            "revenue": None if self.revenue is None else str(self.revenue),
            "conversions": [conversion.as_dict() for conversion in self.conversions],
            "event_name": self.event_name,
            "user_agent": self.user_agent,
            "ip": self.ip,
            "props": dict(self.props),
            "tags": dict(self.tags),
        }
