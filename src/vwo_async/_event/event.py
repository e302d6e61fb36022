"""From a decision to what goes over the wire.

An event's values (visitor, time, random number) are fixed when it is made, and its bytes follow from
them alone: every try sends the same. Rendering itself is left to the worker that sends, so that the
caller is not held by it. Formats are those of section 15 of the reference.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import quote

from .._core.goal import Revenue
from .._core.plan import Campaign, Goal, Variation
from .._core.visitor import make_namespace, make_visitor_id
from ..error import InvalidInputError
from ..user import User

MAX_PROPERTIES_BYTES = 64_000
# What a rendered event weighs on the queue beyond its own texts.
BASE_SIZE = 512
# encodeURIComponent leaves these alone, and so do the Node SDK's requests.
_SAFE = "!~*'()"
_ED = quote('{"p":"server"}', safe="")
_USER, _GOAL, _PUSH = 1, 2, 3
# The visitor property that names the environment, which no custom dimension may override.
ENVIRONMENT = "vwo_fs_environment"

Header = tuple[bytes, bytes]


class Request(NamedTuple):
    """One HTTP request, ready to send.

    Attributes:
        method: ``GET`` or ``POST``.
        target: Path and query below the base URL, in ASCII.
        headers: Beyond those that every request has.
        body: Empty for GET.
    """

    method: str
    target: str
    headers: tuple[Header, ...] = ()
    body: bytes = b""


class Account:
    """What is the same in all requests of one settings file: rendered once."""

    __slots__ = (
        "_batch_query",
        "_key",
        "event_query",
        "namespace",
        "path",
        "props",
        "query",
        "sdk_key",
        "usage",
    )

    def __init__(
        self,
        *,
        account_id: int | str,
        sdk_key: str | None,
        collection_prefix: str,
        sdk_name: str,
        sdk_version: str,
        usage: Mapping[str, int],
    ) -> None:
        account, name, version = _quote(str(account_id)), _quote(sdk_name), _quote(sdk_version)
        env = f"&env={_quote(sdk_key)}" if sdk_key else ""
        self.namespace = make_namespace(account_id)
        self.sdk_key = sdk_key
        self.path = f"/{collection_prefix}" if collection_prefix else ""
        self.usage = "".join(f"&{key}={value}" for key, value in usage.items())
        self.query = f"&sdk={name}&sdk-v={version}{env}&account_id={account}&ap=server"
        self.event_query = f"&a={account}{env}"
        self._batch_query = f"?a={account}&sdk={name}&sdk-v={version}{env}{self.usage}"
        self.props = {"vwo_sdkName": sdk_name, "vwo_sdkVersion": sdk_version}
        if sdk_key:
            self.props["vwo_envKey"] = sdk_key

    def render_batch(self, items: Sequence[str]) -> Request:
        """Return the one request that carries *items*."""
        headers: tuple[Header, ...] = ((b"Content-Type", b"application/json"),)
        if self.sdk_key:
            headers += ((b"Authorization", self.sdk_key.encode()),)
        body = f'{{"ev":[{",".join(items)}]}}'.encode()
        target = f"{self.path}/server-side/batch-events{self._batch_query}"
        return Request("POST", target, headers, body)

    def __repr__(self) -> str:
        return "<Account>"


class Event(Protocol):
    """Something to deliver.

    Attributes:
        account: Events of the same account may share a request.
        size: Its approximate weight in bytes.
        is_batchable: Whether it has a batch form.
        is_batch_only: Whether it goes in batch form even when alone.
    """

    account: Account
    size: int
    is_batchable: bool
    is_batch_only: bool

    def render(self) -> Request:
        """Return the request of this event alone."""

    def render_item(self) -> str:
        """Return its JSON text for a batch request."""

    def dump(self) -> dict[str, Any]:
        """Return what makes this event, as JSON can hold it, without the SDK key and the user id."""


class _ClassicEvent:
    """What the events of the classic endpoints share."""

    __slots__ = (
        "_id_bytes",
        "_visitor_id",
        "account",
        "ip",
        "is_batch_only",
        "random",
        "seconds",
        "size",
        "user_agent",
    )
    is_batchable = True

    def __init__(
        self, account: Account, user: User, seconds: int, number: float, *, is_batch_only: bool
    ) -> None:
        self.account = account
        self._id_bytes = user.id_bytes
        self._visitor_id = ""
        self.user_agent = user.user_agent
        self.ip = user.user_ip_address
        self.seconds = seconds
        self.random = number
        self.is_batch_only = is_batch_only
        self.size = BASE_SIZE + len(user.user_agent) + len(user.user_ip_address)

    def _visitor(self) -> str:
        if not self._visitor_id:
            self._visitor_id = make_visitor_id(self.account.namespace, self._id_bytes)
        return self._visitor_id

    def dump(self) -> dict[str, Any]:
        """Return what makes this event, as JSON can hold it, without the SDK key and the user id."""
        return {
            "visitor": self._visitor(),
            "user_agent": self.user_agent,
            "ip": self.ip,
            "seconds": self.seconds,
            "random": self.random,
            "is_batch_only": self.is_batch_only,
            **self._dump_own(),
        }

    def render(self) -> Request:
        """Return the request of this event alone."""
        raise NotImplementedError

    def render_item(self) -> str:
        """Return its batch form."""
        raise NotImplementedError

    def _dump_own(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def restore(cls, account: Account, data: Mapping[str, Any]) -> Self:
        """Return the event that `dump` was made of; it raises KeyError or TypeError where it was not."""
        event = cls.__new__(cls)
        event.account = account
        event._visitor_id = data["visitor"]
        event.user_agent, event.ip = data["user_agent"], data["ip"]
        event.seconds, event.random = data["seconds"], data["random"]
        event.is_batch_only = data["is_batch_only"]
        event.size = BASE_SIZE + len(event.user_agent) + len(event.ip)
        event._restore_own(data)
        return event

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _target(self, path: str, query: str) -> str:
        account = self.account
        return (
            f"{account.path}/server-side/{path}?{query}&sId={self.seconds}&u={self._visitor()}"
            f"&random={self.random}{account.query}"
        )

    def _agent_query(self) -> str:
        return f"visitor_ua={_quote(self.user_agent)}&visitor_ip={_quote(self.ip)}"

    def _item(self, kind: int, head: str, tail: str = "") -> str:
        return (
            f'{{{head}"sId":{self.seconds},"u":"{self._visitor()}","eT":{kind},'
            f'"visitor_ua":{json.dumps(self.user_agent)},"visitor_ip":{json.dumps(self.ip)}{tail}}}'
        )


class Impression(_ClassicEvent):
    """A user was given a variation."""

    __slots__ = ("campaign_id", "variation_id")

    campaign_id: int
    variation_id: int

    def render(self) -> Request:
        """Return GET track-user."""
        ids = f"experiment_id={self.campaign_id}&combination={self.variation_id}"
        target = self._target("track-user", f"{ids}&{self._agent_query()}")
        headers = _agent_headers(self.user_agent, self.ip)
        return Request("GET", f"{target}&ed={_ED}{self.account.usage}", headers)

    def _dump_own(self) -> dict[str, Any]:
        return {"kind": "user", "campaign": self.campaign_id, "variation": self.variation_id}

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        self.campaign_id, self.variation_id = data["campaign"], data["variation"]

    def render_item(self) -> str:
        """Return its batch form, eT 1."""
        return self._item(_USER, f'"e":{self.campaign_id},"c":{self.variation_id},')


class Conversion(_ClassicEvent):
    """A user reached a goal in one campaign."""

    __slots__ = ("campaign_id", "goal_id", "revenue", "variation_id")

    campaign_id: int
    variation_id: int
    goal_id: int
    revenue: Revenue

    def render(self) -> Request:
        """Return GET track-goal."""
        ids = f"experiment_id={self.campaign_id}&combination={self.variation_id}&goal_id={self.goal_id}"
        target = self._target("track-goal", f"{ids}&{self._agent_query()}")
        if self.revenue is not None:
            target = f"{target}&r={_quote(_revenue_text(self.revenue))}"
        return Request("GET", target, _agent_headers(self.user_agent, self.ip))

    def _dump_own(self) -> dict[str, Any]:
        revenue = self.revenue
        is_decimal = isinstance(revenue, Decimal)
        return {
            "kind": "goal",
            "campaign": self.campaign_id,
            "variation": self.variation_id,
            "goal": self.goal_id,
            "revenue": str(revenue) if is_decimal else revenue,
            "is_decimal": is_decimal,
        }

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        self.campaign_id, self.variation_id = data["campaign"], data["variation"]
        self.goal_id = data["goal"]
        self.revenue = Decimal(data["revenue"]) if data["is_decimal"] else data["revenue"]

    def render_item(self) -> str:
        """Return its batch form, eT 2."""
        tail = f',"g":{self.goal_id}'
        if self.revenue is not None:
            tail = f'{tail},"r":{_revenue_json(self.revenue)}'
        return self._item(_GOAL, f'"e":{self.campaign_id},"c":{self.variation_id},', tail)


class Tag(_ClassicEvent):
    """A custom dimension of a user."""

    __slots__ = ("tags",)

    tags: str

    def render(self) -> Request:
        """Return GET push."""
        return Request("GET", self._target("push", f"tags={_quote(self.tags)}"))

    def _dump_own(self) -> dict[str, Any]:
        return {"kind": "push", "tags": self.tags}

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        self.tags = data["tags"]
        self.size += 2 * len(self.tags)

    def render_item(self) -> str:
        """Return its batch form, eT 3; the tags are percent-encoded JSON, as Node and Java send them."""
        visitor = self._visitor()
        tags = json.dumps(_quote(self.tags))
        return f'{{"sId":{self.seconds},"u":"{visitor}","eT":{_PUSH},"t":{tags}}}'


class ArchEvent:
    """An event of the event architecture; its properties have no place in the batch form."""

    __slots__ = (
        "_has_usage",
        "_id_bytes",
        "_name",
        "_props",
        "_visitor_id",
        "_visitor_props",
        "account",
        "ip",
        "millis",
        "random",
        "size",
        "user_agent",
    )
    is_batchable = False
    is_batch_only = False

    def __init__(
        self,
        account: Account,
        user: User,
        name: str,
        millis: int,
        number: float,
        *,
        props: str,
        visitor_props: str = "",
        has_usage: bool = False,
    ) -> None:
        self.account = account
        self._id_bytes = user.id_bytes
        self._visitor_id = ""
        self.user_agent = user.user_agent
        self.ip = user.user_ip_address
        self.millis = millis
        self.random = number
        self.size = BASE_SIZE + len(props) + len(visitor_props) + len(user.user_agent)
        self._name = name
        self._props = props
        self._visitor_props = visitor_props
        self._has_usage = has_usage

    def render(self) -> Request:
        """Return POST events/t."""
        account = self.account
        target = (
            f"{account.path}/events/t?en={_quote(self._name)}{account.event_query}"
            f"&eTime={self.millis}&random={self.random}&p=FS"
            f"&visitor_ua={_quote(self.user_agent)}&visitor_ip={_quote(self.ip)}"
        )
        headers = (
            (b"Content-Type", b"application/json"),
            *_agent_headers(self.user_agent, self.ip),
        )
        usage = account.usage if self._has_usage else ""
        return Request("POST", target + usage, headers, self._body().encode())

    def _visitor(self) -> str:
        if not self._visitor_id:
            self._visitor_id = make_visitor_id(self.account.namespace, self._id_bytes)
        return self._visitor_id

    def dump(self) -> dict[str, Any]:
        """Return what makes this event, as JSON can hold it, without the SDK key and the user id."""
        return {
            "kind": "arch",
            "visitor": self._visitor(),
            "user_agent": self.user_agent,
            "ip": self.ip,
            "millis": self.millis,
            "random": self.random,
            "name": self._name,
            "props": self._props,
            "visitor_props": self._visitor_props,
            "has_usage": self._has_usage,
        }

    @classmethod
    def restore(cls, account: Account, data: Mapping[str, Any]) -> Self:
        """Return the event that `dump` was made of; it raises KeyError or TypeError where it was not."""
        event = cls.__new__(cls)
        event.account = account
        event._visitor_id = data["visitor"]
        event.user_agent, event.ip = data["user_agent"], data["ip"]
        event.millis, event.random = data["millis"], data["random"]
        event._name, event._props = data["name"], data["props"]
        event._visitor_props, event._has_usage = data["visitor_props"], data["has_usage"]
        event.size = BASE_SIZE + len(event._props) + len(event._visitor_props)
        return event

    def _body(self) -> str:
        visitor = self._visitor()
        ours = dict(self.account.props)
        environment = {ENVIRONMENT: self.account.sdk_key} if self.account.sdk_key else {}
        return (
            f'{{"d":{{"msgId":"{visitor}-{self.millis}","visId":"{visitor}",'
            f'"sessionId":{self.millis // 1000},"event":{{"props":{_join(_dump(ours), self._props)},'
            f'"name":{json.dumps(self._name)},"time":{self.millis}}},'
            f'"visitor":{{"props":{_join(_dump(environment), self._visitor_props)}}}}}}}'
        )

    def render_item(self) -> str:
        """Never called: it is not batchable."""
        raise NotImplementedError


_KINDS: Mapping[str, type[_ClassicEvent | ArchEvent]] = {
    "user": Impression,
    "goal": Conversion,
    "push": Tag,
    "arch": ArchEvent,
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


class EventPress:
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
        self._stamp = _Stamp()
        self.is_arch = is_arch and not is_batched

    def make_impression(self, user: User, campaign: Campaign, variation: Variation) -> Event:
        """Return the event that *user* was given *variation*."""
        if self.is_arch:
            props = {"id": campaign.id, "variation": variation.id, "isFirst": 1}
            return self._make_arch(user, "vwo_variationShown", _dump(props), has_usage=True)
        event = Impression(self.account, user, *self._draw(), is_batch_only=self._is_batched)
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
        is_batch_only: bool,
    ) -> Event:
        """Return the classic event that *user* reached *goal*."""
        is_batch_only = is_batch_only or self._is_batched
        event = Conversion(self.account, user, *self._draw(), is_batch_only=is_batch_only)
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
    ) -> Event:
        """Return the one event that *user* reached a goal in each of several campaigns.

        Args:
            user: Who.
            goal_identifier: The name of the event.
            goals: Campaign and goal of each conversion.
            revenue: Sent under the name that each revenue goal gives it.
            properties: JSON text of an object, from `dump_properties`.
        """
        meta: dict[str, Any] = {
            "metric": {f"id_{campaign.id}": [f"g_{goal.id}"] for campaign, goal in goals}
        }
        for _, goal in goals:
            if revenue and goal.is_revenue and goal.revenue_prop:
                meta[goal.revenue_prop] = _revenue_value(revenue)
        ours = _dump({"vwoMeta": meta, "isCustomEvent": True})
        return self._make_arch(user, goal_identifier, _join(ours, properties))

    def make_tags(self, user: User, tags: Mapping[str, str]) -> list[Event]:
        """Return the events that carry custom dimensions: one for each, or on the event architecture one."""
        if self.is_arch:
            own = {key: value for key, value in tags.items() if key != ENVIRONMENT}
            props, visitor_props = _dump({"isCustomEvent": True}), _dump(own)
            return [self._make_arch(user, "vwo_syncVisitorProp", props, visitor_props)]
        is_batch_only = len(tags) > 1 or self._is_batched
        return [self._make_tag(user, key, tags[key], is_batch_only=is_batch_only) for key in tags]

    def _make_tag(self, user: User, key: str, value: str, *, is_batch_only: bool) -> Event:
        event = Tag(self.account, user, *self._draw(), is_batch_only=is_batch_only)
        event.tags = json.dumps({"u": {key: value}}, ensure_ascii=False, separators=(",", ":"))
        event.size += 2 * len(event.tags)
        return event

    def _make_arch(
        self, user: User, name: str, props: str, visitor_props: str = "", *, has_usage: bool = False
    ) -> Event:
        millis = self._stamp.next(user.id_bytes, int(self._wall_clock() * 1000))
        return ArchEvent(
            self.account,
            user,
            name,
            millis,
            random.random(),
            props=props,
            visitor_props=visitor_props,
            has_usage=has_usage,
        )

    def _draw(self) -> tuple[int, float]:
        return int(self._wall_clock()), random.random()


class _Stamp:
    """Milliseconds that differ between two events of one visitor, since they make the message id."""

    __slots__ = ("_last", "_now")

    def __init__(self) -> None:
        self._now = 0
        self._last: dict[bytes, int] = {}

    def next(self, id_bytes: bytes, now: int) -> int:
        if now != self._now:
            self._now = now
            self._last = {key: last for key, last in self._last.items() if last >= now}
        millis = max(now, self._last.get(id_bytes, 0) + 1)
        self._last[id_bytes] = millis
        return millis


# What a caller's properties may not override, since VWO reads them.
_RESERVED = frozenset({"vwoMeta", "isCustomEvent", "vwo_sdkName", "vwo_sdkVersion", "vwo_envKey"})


def dump_properties(properties: Mapping[str, Any]) -> str:
    """Return the JSON text of a caller's event properties, less those that only VWO's SDKs may set.

    Raises:
        InvalidInputError: A key or value that JSON does not know, a number that is not finite, a
            cycle, a lone surrogate, or more than 64 kB in all.
    """
    own = {key: value for key, value in properties.items() if key not in _RESERVED}
    try:
        text = json.dumps(
            own, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_to_json
        )
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError):
        raise InvalidInputError("event_properties cannot be written as JSON") from None
    if size > MAX_PROPERTIES_BYTES:
        raise InvalidInputError(f"event_properties exceed {MAX_PROPERTIES_BYTES} bytes of JSON")
    return text


def _to_json(value: object) -> object:
    if isinstance(value, Decimal) and value.is_finite():
        return float(value)
    raise TypeError


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _join(first: str, second: str) -> str:
    """Join the JSON texts of two objects that share no key."""
    if second in ("", "{}"):
        return first
    return second if first == "{}" else f"{first[:-1]},{second[1:]}"


def _quote(text: str) -> str:
    return quote(text, safe=_SAFE)


def _agent_headers(user_agent: str, ip: str) -> tuple[Header, ...]:
    """Percent-encoded as in the Node SDK, so that no text can end a header or fail to encode."""
    headers: tuple[Header, ...] = ()
    if user_agent:
        headers += ((b"X-Device-User-Agent", _quote(user_agent).encode()),)
    if ip:
        headers += ((b"VWO-X-Forwarded-For", _quote(ip).encode()),)
    return headers


def _revenue_text(revenue: Revenue) -> str:
    if isinstance(revenue, bool):
        return "true" if revenue else "false"
    if isinstance(revenue, float) and revenue.is_integer():
        return str(int(revenue))
    return format(revenue, "f") if isinstance(revenue, Decimal) else str(revenue)


def _revenue_json(revenue: Revenue) -> str:
    """A number goes out as a number, to the last digit that the caller gave; a text as a text."""
    return json.dumps(revenue) if isinstance(revenue, str) else _revenue_text(revenue)


def _revenue_value(revenue: Revenue) -> str | int | float:
    if isinstance(revenue, (str, int)):
        return revenue
    number = float(revenue or 0)
    return int(number) if number.is_integer() else number
