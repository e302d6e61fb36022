"""Events as a test asks about them: one for each conversion, by the keys and names of the settings file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from math import floor, inf
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

from .._client.event_time import EventTime, read_time
from .._collector.catalogue import Campaign, Catalogue
from .._collector.received import Conversion, Kind, Received
from .._collector.request import WireRequest
from .._collector.rule import Rules
from .._collector.settings_files import SettingsFiles
from .._collector.wire import parse
from .._delivery.batch import Batch
from .._delivery.event import Event, read_happened_s, read_user_id
from .._error import InvalidInputError

EventKind: TypeAlias = Literal["impression", "conversion", "attributes", "sdk"]

_KINDS: Mapping[Kind, EventKind] = {
    "user": "impression",
    "goal": "conversion",
    "push": "attributes",
    "sdk": "sdk",
}


@dataclass(frozen=True, slots=True)
class SentEvent:
    """One thing that a client has reported; of a request about several campaigns there is one for each.

    Its repr shows the user: it is made for tests.

    Attributes:
        kind: ``impression`` for who was shown a variation, ``conversion`` for a goal or an event of FME,
            ``attributes`` for custom dimensions and attributes, ``sdk`` for what a client tells of itself.
        user: The user id.
        campaign: The key of the campaign; None where the event names none, as conversions of FME.
        variation: The name of the variation, None where the event names none.
        goal: The identifier of the goal; in FME the name of the event.
        revenue: As a number, None where there is none.
        feature: In FME, the key of the feature of an impression.
        rule: In FME, the key of the rule of an impression.
        properties: The event's own properties.
        attributes: Custom dimensions or attributes by name.
        status: What has become of it: ``pending``, ``delivered``, ``rejected`` or ``dropped``.
        at: When it happened, in UTC and whole seconds: the ``at`` of a conversion, else when it was reported.
    """

    kind: EventKind
    user: str
    campaign: str | None = None
    variation: str | None = None
    goal: str | None = None
    revenue: float | None = None
    feature: str | None = None
    rule: str | None = None
    properties: Mapping[str, Any] | None = None
    attributes: Mapping[str, Any] | None = None
    status: str = "pending"
    at: datetime = field(kw_only=True)

    def matches(self, wanted: Mapping[str, Any]) -> bool:
        """Tell whether every attribute that *wanted* names has that value."""
        return all(getattr(self, name) == value for name, value in wanted.items())

    def __str__(self) -> str:
        """Return it in one line, without what is absent."""
        named = ((one.name, getattr(self, one.name)) for one in fields(self) if one.name != "kind")
        texts = ((name, str(value) if name == "at" else value) for name, value in named)
        shown = [f"{name}={value!r}" for name, value in texts if value not in (None, {}, "pending")]
        return f"{self.kind} {' '.join(shown)}"


class EventFilter(TypedDict, total=False):
    """What an event is asked for, by the attributes of `SentEvent`."""

    kind: EventKind
    user: str
    campaign: str | None
    variation: str | None
    goal: str | None
    revenue: float | None
    feature: str | None
    rule: str | None
    status: str
    at: EventTime


def read_filter(**wanted: Unpack[EventFilter]) -> Mapping[str, Any]:
    """Return *wanted*, with a time as events have it.

    Raises:
        InvalidInputError: It names what no event has: such a question would match nothing for ever.
    """
    unknown = wanted.keys() - EventFilter.__annotations__.keys()
    if unknown:
        known = ", ".join(EventFilter.__annotations__)
        raise InvalidInputError(f"{', '.join(sorted(unknown))}: ask for some of {known}")
    kinds = (*_KINDS.values(), None)
    if wanted.get("kind") not in kinds:
        raise InvalidInputError(f"kind must be one of {', '.join(_KINDS.values())}")
    if "at" not in wanted:
        return wanted
    return {**wanted, "at": _read_at(wanted["at"])}


def _read_at(at: object) -> datetime:
    # Whatever time it is: an event that would be in the future is not there, and the question is none the worse.
    seconds = read_time(at, lambda: inf)
    if seconds is None:
        raise InvalidInputError("at must be a datetime with a time zone, or seconds since 1970")
    return datetime.fromtimestamp(floor(seconds), UTC)


# A test may tell of conversions of any time, and of a revenue that is no number and counts nothing.
_RULES = Rules(strict=False, clock_window_s=inf)


class EventReader:
    """Reads events against a settings file, as VWO's servers would.

    Args:
        file: The settings file with which they were made.
    """

    def __init__(self, file: Mapping[str, Any]) -> None:
        self._catalogue = Catalogue.read(file)
        self._files = SettingsFiles((self._catalogue,))
        self._rules_of: dict[int, tuple[str, str | None]] = {}
        for feature in file.get("features") or ():
            impact = feature.get("impactCampaign") or {}
            for rule in (impact, *(feature.get("rules") or ())):
                if "campaignId" in rule:
                    self._rules_of[rule["campaignId"]] = feature["key"], rule.get("ruleKey")

    def read(self, event: Event, at_s: float) -> Iterator[SentEvent]:
        """Yield what one event on the queue reports.

        Args:
            event: The event.
            at_s: When it was made, in seconds since 1970.
        """
        (received,) = parse(_to_wire(event, at_s), self._files, _RULES)
        base = SentEvent(
            _KINDS[received.kind],
            read_user_id(event),
            at=datetime.fromtimestamp(read_happened_s(event), UTC),
            properties=dict(received.props),
            attributes=dict(received.tags),
            status=_name_status(event),
        )
        if received.kind == "goal":
            for one in received.conversions:
                yield self._read_conversion(base, received, one)
        else:
            yield self._read_other(base, received)

    def _read_conversion(
        self, base: SentEvent, received: Received, conversion: Conversion
    ) -> SentEvent:
        campaign = self._find(conversion.campaign_id)
        goal = None if campaign is None else campaign.goals.get(conversion.goal_id or 0)
        return _replace(
            base,
            campaign=None if campaign is None else campaign.key,
            variation=_name_variation(campaign, received.variation_id),
            goal=received.event_name if goal is None else goal.identifier,
            revenue=None if conversion.revenue is None else float(conversion.revenue),
        )

    def _read_other(self, base: SentEvent, received: Received) -> SentEvent:
        campaign_id = next(iter(received.campaign_ids), None)
        campaign = self._find(campaign_id)
        feature, rule = self._rules_of.get(campaign_id or 0, (None, None))
        return _replace(
            base,
            campaign=None if campaign is None else campaign.key,
            variation=_name_variation(campaign, received.variation_id),
            feature=feature,
            rule=rule,
        )

    def _find(self, campaign_id: int | None) -> Campaign | None:
        return None if campaign_id is None else self._catalogue.campaigns.get(campaign_id)


def _replace(event: SentEvent, **changed: Any) -> SentEvent:
    given = {one.name: getattr(event, one.name) for one in fields(event)}
    return SentEvent(**given | changed)


def _name_variation(campaign: Campaign | None, variation_id: int | None) -> str | None:
    if campaign is None or variation_id is None:
        return None
    return campaign.variations.get(variation_id)


def _name_status(event: Event) -> str:
    return "pending" if event.outcome is None else str(event.outcome.status)


def _to_wire(event: Event, at_s: float) -> WireRequest:
    """Return the request of an event alone, as a server reads it."""
    request = Batch((event,)).render()
    path, _, query = request.target.partition("?")
    headers = {name.decode().lower(): value.decode() for name, value in request.headers}
    return WireRequest(1, at_s, request.method, path, query.encode(), headers, request.body)
