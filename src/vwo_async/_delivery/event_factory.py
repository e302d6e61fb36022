"""Making events: the one place where they get their time and random number."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from random import random
from typing import Any

from .._core.goal import Revenue
from .._core.plan import Campaign, Goal, Variation
from .._plain import MAX_ENTRIES, to_plain
from .._user import User, show_key
from .event import (
    ArchEvent,
    ConversionEvent,
    CustomDimensionEvent,
    Event,
    ImpressionEvent,
)
from .request import ENVIRONMENT, Account, dump_json, join_objects

MAX_PROPERTIES_BYTES = 64_000
# Names of events, of either product.
SHOWN = "vwo_variationShown"
ATTRIBUTES = "vwo_syncVisitorProp"
ATTRIBUTES_TEXT = dump_json({"isCustomEvent": True})


class EventFactory:
    """Makes events: the one place where they get their time and random number.

    Args:
        account: What is the same in all of them.
        is_arch: Whether they go to the event architecture.
        is_batched: Whether they are collected for batch requests, which know the classic form alone.
        wall_clock: Seconds since the epoch; replaced in tests of time.
    """

    __slots__ = ("_is_batched", "_stamp", "_wall_clock", "account", "is_arch")

    def __init__(
        self,
        account: Account,
        *,
        is_arch: bool = False,
        is_batched: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.account = account
        self._is_batched = is_batched
        self._wall_clock = wall_clock
        self._stamp = Stamp()
        self.is_arch = is_arch and not is_batched

    def make_impression(
        self, user: User, campaign: Campaign, variation: Variation, custom_properties: str = ""
    ) -> Event:
        """Return the event that *user* was given *variation*.

        Args:
            user: Who.
            campaign: Of which campaign.
            variation: What.
            custom_properties: JSON text of an object, which only the event architecture has a place for.
        """
        if self.is_arch:
            props = {"id": campaign.id, "variation": variation.id, "isFirst": 1}
            text = dump_json(props)
            if custom_properties:
                text = join_objects(text, f'{{"vwoMeta":{custom_properties}}}')
            return self._make_arch(user, SHOWN, text, has_usage=True)
        event = ImpressionEvent(
            self.account, user, int(self._wall_clock()), random(), self._is_batched
        )
        event.campaign_id = campaign.id
        event.variation_id = variation.id
        return event

    def make_conversion(
        self,
        user: User,
        campaign: Campaign,
        variation: Variation,
        goal: Goal,
        revenue: Revenue,
        *,
        is_batch_only: bool = False,
        at_s: float | None = None,
    ) -> Event:
        """Return the classic event that *user* reached *goal*, at *at_s* in seconds since the epoch or now."""
        event = ConversionEvent(
            self.account,
            user,
            int(self._wall_clock() if at_s is None else at_s),
            random(),
            is_batch_only or self._is_batched,
        )
        event.campaign_id = campaign.id
        event.variation_id = variation.id
        event.goal_id = goal.id
        event.revenue = revenue
        return event

    def make_arch_conversion(
        self,
        user: User,
        goal_identifier: str,
        goals: Sequence[tuple[Campaign, Goal]],
        revenue: Revenue,
        properties: str,
        *,
        at_s: float | None = None,
    ) -> Event:
        """Return the one event that *user* reached a goal in each of several campaigns.

        Args:
            user: Who.
            goal_identifier: The name of the event.
            goals: Campaign and goal of each conversion.
            revenue: Sent under the name that each revenue goal gives it.
            properties: JSON text of an object, from `dump_properties`.
            at_s: When, in seconds since the epoch; None for now.
        """
        meta: dict[str, Any] = {
            "metric": {f"id_{campaign.id}": [f"g_{goal.id}"] for campaign, goal in goals}
        }
        for _, goal in goals:
            if revenue and goal.is_revenue and goal.revenue_prop:
                meta[goal.revenue_prop] = revenue_value(revenue)
        ours = dump_json({"vwoMeta": meta, "isCustomEvent": True})
        return self._make_arch(user, goal_identifier, join_objects(ours, properties), at_s=at_s)

    def make_tags(self, user: User, tags: Mapping[str, str]) -> list[Event]:
        """Return the events that carry custom dimensions: one for each, or on the event architecture one."""
        if self.is_arch:
            own = {key: value for key, value in tags.items() if key != ENVIRONMENT}
            return [self._make_arch(user, ATTRIBUTES, ATTRIBUTES_TEXT, dump_json(own))]
        is_batch_only = len(tags) > 1 or self._is_batched
        return [self._make_tag(user, key, tags[key], is_batch_only=is_batch_only) for key in tags]

    def _make_tag(self, user: User, key: str, value: str, *, is_batch_only: bool) -> Event:
        now = int(self._wall_clock())
        event = CustomDimensionEvent(self.account, user, now, random(), is_batch_only)
        event.tags = json.dumps({"u": {key: value}}, ensure_ascii=False, separators=(",", ":"))
        event.size += 2 * len(event.tags)
        return event

    def _make_arch(
        self,
        user: User,
        name: str,
        props: str,
        visitor_props: str = "",
        *,
        has_usage: bool = False,
        at_s: float | None = None,
    ) -> Event:
        millis = self._stamp.next(user.id_bytes, int(self._wall_clock() * 1000))
        return ArchEvent(
            self.account,
            user,
            name,
            millis,
            random(),
            props=props,
            visitor_props=visitor_props,
            has_usage=has_usage,
            happened_ms=millis if at_s is None else int(at_s * 1000),
        )


class Stamp:
    """Milliseconds that differ between two events of one visitor, since they make the message id."""

    __slots__ = ("_last", "_now")

    def __init__(self) -> None:
        self._now = 0
        self._last: dict[bytes, int] = {}

    def next(self, id_bytes: bytes, now: int) -> int:
        """Return the milliseconds of the visitor's next event."""
        if now != self._now:
            self._now = now
            self._last = {key: last for key, last in self._last.items() if last >= now}
        last = self._last.get(id_bytes, 0)
        millis = last + 1 if last >= now else now
        self._last[id_bytes] = millis
        return millis


# What a caller's properties may not override, since VWO reads them.
_RESERVED = frozenset({"vwoMeta", "isCustomEvent", "vwo_sdkName", "vwo_sdkVersion", "vwo_envKey"})


def dump_properties(
    properties: Mapping[str, Any], notes: list[str], name: str = "event_properties"
) -> str:
    """Return the JSON text of a caller's event properties, less those that only VWO's SDKs may set.

    A property that cannot be sent costs itself and not the conversion: one that JSON does not know, a
    number that is not finite, a cycle, a lone surrogate, and what no longer fits into 64 kB.

    Args:
        properties: By name.
        notes: Takes a text for each property that is left out: which and why, never its value.
        name: What the caller calls them.
    """
    texts: list[str] = []
    size = 2
    for key, value in first_properties(properties, notes, name):
        if type(key) is str and key in _RESERVED:
            continue
        text = _dump_property(key, value)
        longer = size + len(text.encode()) + 1
        if not text:
            fault = "cannot be written as JSON"
        elif longer > MAX_PROPERTIES_BYTES:
            fault = f"exceeds {MAX_PROPERTIES_BYTES} bytes of JSON in all"
        else:
            size = longer
            texts.append(text)
            continue
        notes.append(f"{name}: {show_key(key)} {fault}: it is left out")
    return f"{{{','.join(texts)}}}"


def first_properties(
    properties: Mapping[str, Any], notes: list[str], name: str = "event_properties"
) -> Iterator[tuple[Any, Any]]:
    """Yield properties with plain keys; those after the first `MAX_ENTRIES` are left out unread."""
    if len(properties) > MAX_ENTRIES:
        notes.append(f"{name} has more than {MAX_ENTRIES} entries: the others are left out")
    for key, value in islice(properties.items(), MAX_ENTRIES):
        yield to_plain(key), value


def _dump_property(key: object, value: object) -> str:
    """Return ``"key":value`` as JSON, an empty text where that cannot be written."""
    try:
        text = _PROPERTY.encode({key: value})
        text.encode()
    except Exception:  # noqa: BLE001 - the caller's own class may raise anything
        return ""
    return text[1:-1]


def _to_json(value: object) -> object:
    if isinstance(value, Decimal) and value.is_finite():
        return float(value)
    raise TypeError


_PROPERTY = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_to_json
)


def revenue_value(revenue: Revenue) -> str | int | float:
    if isinstance(revenue, (str, int)):
        return revenue
    number = float(revenue or 0)
    return int(number) if number.is_integer() else number
