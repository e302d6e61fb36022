"""Conversions that are kept for a while, since the impression of their visitor may still come.

An event that is sent again can arrive after one that was made later.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import NamedTuple

from ..product import Account

__all__ = ["EarlyConversion", "EarlyConversions"]

MAX_VISITORS = 20_000
MAX_EACH = 20


class EarlyConversion(NamedTuple):
    """A conversion that counts, of which no variation is known.

    Attributes:
        campaign_id: Its campaign; None in FME.
        goal_id: Its goal; None in FME.
        event_name: The name of the event in FME, else None.
        is_first: Whether it is the visitor's first.
        revenue: What it is worth, if the event says.
    """

    campaign_id: int | None
    goal_id: int | None
    event_name: str | None
    is_first: bool
    revenue: Decimal | None


class EarlyConversions:
    """The conversions of the visitors who converted last."""

    def __init__(self) -> None:
        self._by_visitor: OrderedDict[tuple[Account, str], list[EarlyConversion]] = OrderedDict()

    def add(self, account: Account, visitor: str, conversion: EarlyConversion) -> None:
        """Keep a conversion; whoever converted longest ago is forgotten where there is no more room."""
        found = self._by_visitor.setdefault((account, visitor), [])
        self._by_visitor.move_to_end((account, visitor))
        if len(found) < MAX_EACH:
            found.append(conversion)
        if len(self._by_visitor) > MAX_VISITORS:
            self._by_visitor.popitem(last=False)

    def take(self, account: Account, visitor: str, campaign_id: int) -> list[EarlyConversion]:
        """Return what a visitor has converted, and what of it no other campaign may still count goes."""
        found = self._by_visitor.get((account, visitor), [])
        kept = [one for one in found if one.campaign_id != campaign_id]
        taken = [one for one in found if one.campaign_id in (None, campaign_id)]
        if kept:
            self._by_visitor[account, visitor] = kept
        else:
            self._by_visitor.pop((account, visitor), None)
        return taken
