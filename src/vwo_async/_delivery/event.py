"""From a decision to what goes over the wire.

An event's values (visitor, time, random number) are fixed when it is made, and its bytes follow from
them alone: every try sends the same. Rendering itself is left to the worker that sends, so that the
caller is not held by it. Formats are those of docs/reference.md, section 15.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Self
from urllib.parse import quote

from .._core.goal import Revenue
from .._result import Receipt
from .._user import User
from .request import (
    JSON_HEADER,
    Account,
    Request,
    join_objects,
    make_agent_headers,
    quote_text,
)

# What a rendered event weighs on the queue beyond its own texts.
BASE_SIZE = 512
_ED = quote('{"p":"server"}', safe="")
_USER, _GOAL, _PUSH = 1, 2, 3


class Event(Receipt):
    """Something to deliver, and the receipt for it: one object, since one is made for each call.

    Attributes:
        account: Events of the same account may share a request.
        at: When the queue accepted it, in monotonic seconds.
        size: Its approximate weight in bytes.
        is_batchable: Whether it has a batch form.
        is_batch_only: Whether it goes in batch form even when alone.
    """

    __slots__ = (
        "_id_bytes",
        "_visitor_id",
        "account",
        "at",
        "ip",
        "random",
        "size",
        "user_agent",
    )
    _id_bytes: bytes
    _visitor_id: str
    account: Account
    at: float
    ip: str
    random: float
    size: int
    user_agent: str
    is_batchable: bool
    is_batch_only: bool

    def render(self) -> Request:
        """Return the request of this event alone."""
        raise NotImplementedError

    def render_item(self) -> str:
        """Return its JSON text for a batch request."""
        raise NotImplementedError

    def dump(self) -> dict[str, Any]:
        """Return what makes this event, as JSON can hold it, without the SDK key and the user id."""
        data = {
            "visitor": self._visitor(),
            "user_agent": self.user_agent,
            "ip": self.ip,
            "random": self.random,
        }
        self._dump_own(data)
        return data

    def _dump_own(self, data: dict[str, Any]) -> None:
        """Add to *data* what events of this class have."""
        raise NotImplementedError

    @classmethod
    def restore(cls, account: Account, data: Mapping[str, Any]) -> Self:
        """Return the event that `dump` was made of; it raises KeyError or TypeError where it was not."""
        event = cls.__new__(cls)
        Receipt.__init__(event)
        event.account = account
        visitor, agent, ip = data["visitor"], data["user_agent"], data["ip"]
        if not type(visitor) is type(agent) is type(ip) is str:
            raise TypeError
        event._visitor_id, event.user_agent, event.ip = visitor, agent, ip
        event.random = data["random"]
        event._restore_own(data)
        return event

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _agent_query(self) -> str:
        return f"visitor_ua={quote_text(self.user_agent)}&visitor_ip={quote_text(self.ip)}"

    def _visitor(self) -> str:
        """Return the visitor id, made when an event is first written: off the caller's time.

        Not public, since an event is a receipt too: what stands behind a result names no visitor.
        """
        if not self._visitor_id:
            self._visitor_id = self.account.name_visitor(self._id_bytes)
        return self._visitor_id


def read_user_id(event: Event) -> str:
    """Return the id of the user an event is about; empty for one from before this process.

    No attribute of the event, since callers get events as receipts.
    """
    return getattr(event, "_id_bytes", b"").decode()


def read_happened_s(event: Event) -> int:
    """Return when what *event* tells of happened, in whole seconds since the epoch."""
    if isinstance(event, NamedEvent):
        return event.happened_ms // 1000
    assert isinstance(event, _ClassicEvent)
    return event.seconds


class _ClassicEvent(Event):
    """What the events of the classic endpoints share."""

    __slots__ = ("is_batch_only", "seconds")
    is_batchable = True

    seconds: int

    def __init__(
        self, account: Account, user: User, seconds: int, number: float, is_batch_only: bool
    ) -> None:
        # All in one place, the base's too: this is most of what making an event costs.
        self.outcome = self._callbacks = None
        self.account = account
        self._id_bytes = user.id_bytes
        self._visitor_id = ""
        self.user_agent = agent = user.user_agent
        self.ip = ip = user.user_ip_address
        self.random = number
        self.seconds = seconds
        self.is_batch_only = is_batch_only
        self.size = BASE_SIZE + len(agent) + len(ip) if agent or ip else BASE_SIZE

    def _dump_own(self, data: dict[str, Any]) -> None:
        data["seconds"], data["is_batch_only"] = self.seconds, self.is_batch_only

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        self.seconds, self.is_batch_only = data["seconds"], data["is_batch_only"]
        self.size = BASE_SIZE + len(self.user_agent) + len(self.ip)

    def _target(self, path: str, query: str) -> str:
        account = self.account
        return (
            f"{account.path}/server-side/{path}?{query}&sId={self.seconds}&u={self._visitor()}"
            f"&random={self.random}{account.query}"
        )


class _CampaignEvent(_ClassicEvent):
    """What the events about a variation of a campaign share."""

    __slots__ = ("campaign_id", "variation_id")

    campaign_id: int
    variation_id: int

    def _dump_own(self, data: dict[str, Any]) -> None:
        super()._dump_own(data)
        data["campaign"], data["variation"] = self.campaign_id, self.variation_id

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        super()._restore_own(data)
        self.campaign_id, self.variation_id = data["campaign"], data["variation"]

    def _item(self, kind: int, tail: str = "") -> str:
        agent, ip = self.user_agent, self.ip
        visitor = '"visitor_ua":"","visitor_ip":""'
        if agent or ip:
            visitor = f'"visitor_ua":{json.dumps(agent)},"visitor_ip":{json.dumps(ip)}'
        return (
            f'{{"e":{self.campaign_id},"c":{self.variation_id},"sId":{self.seconds},'
            f'"u":"{self._visitor()}","eT":{kind},{visitor}{tail}}}'
        )


class ImpressionEvent(_CampaignEvent):
    """A user was given a variation."""

    __slots__ = ()

    def render(self) -> Request:
        """Return GET track-user."""
        ids = f"experiment_id={self.campaign_id}&combination={self.variation_id}"
        target = self._target("track-user", f"{ids}&{self._agent_query()}")
        headers = make_agent_headers(self.user_agent, self.ip)
        return Request("GET", f"{target}&ed={_ED}{self.account.usage}", headers)

    def _dump_own(self, data: dict[str, Any]) -> None:
        super()._dump_own(data)
        data["kind"] = "user"

    def render_item(self) -> str:
        """Return its batch form, eT 1."""
        return self._item(_USER)


class ConversionEvent(_CampaignEvent):
    """A user reached a goal in one campaign."""

    __slots__ = ("goal_id", "revenue")

    goal_id: int
    revenue: Revenue

    def render(self) -> Request:
        """Return GET track-goal."""
        ids = f"experiment_id={self.campaign_id}&combination={self.variation_id}&goal_id={self.goal_id}"
        target = self._target("track-goal", f"{ids}&{self._agent_query()}")
        if self.revenue is not None:
            target = f"{target}&r={quote_text(revenue_text(self.revenue))}"
        return Request("GET", target, make_agent_headers(self.user_agent, self.ip))

    def _dump_own(self, data: dict[str, Any]) -> None:
        super()._dump_own(data)
        revenue = self.revenue
        is_decimal = isinstance(revenue, Decimal)
        data["kind"], data["goal"] = "goal", self.goal_id
        data["revenue"] = str(revenue) if is_decimal else revenue
        data["is_decimal"] = is_decimal

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        super()._restore_own(data)
        self.goal_id = data["goal"]
        self.revenue = Decimal(data["revenue"]) if data["is_decimal"] else data["revenue"]

    def render_item(self) -> str:
        """Return its batch form, eT 2."""
        tail = f',"g":{self.goal_id}'
        if self.revenue is not None:
            tail = f'{tail},"r":{revenue_json(self.revenue)}'
        return self._item(_GOAL, tail)


class CustomDimensionEvent(_ClassicEvent):
    """A custom dimension of a user."""

    __slots__ = ("tags",)

    tags: str

    def render(self) -> Request:
        """Return GET push."""
        return Request("GET", self._target("push", f"tags={quote_text(self.tags)}"))

    def _dump_own(self, data: dict[str, Any]) -> None:
        super()._dump_own(data)
        data["kind"], data["tags"] = "push", self.tags

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        super()._restore_own(data)
        self.tags = data["tags"]
        self.size += 2 * len(self.tags)

    def render_item(self) -> str:
        """Return its batch form, eT 3; the tags are percent-encoded JSON, as Node and Java send them."""
        visitor = self._visitor()
        tags = json.dumps(quote_text(self.tags))
        return f'{{"sId":{self.seconds},"u":"{visitor}","eT":{_PUSH},"t":{tags}}}'


class NamedEvent(Event):
    """What the events of ``events/t`` share, of either product: a name and properties.

    Attributes:
        millis: When it was made, in milliseconds since the epoch: a part of its id.
        happened_ms: When what it tells of happened.
    """

    __slots__ = ("_name", "_props", "_visitor_props", "happened_ms", "millis")

    _name: str
    _props: str
    _visitor_props: str
    happened_ms: int
    millis: int

    def _dump_own(self, data: dict[str, Any]) -> None:
        data["millis"], data["name"] = self.millis, self._name
        if self.happened_ms != self.millis:
            data["happened"] = self.happened_ms
        data["props"], data["visitor_props"] = self._props, self._visitor_props

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        self.millis, self._name = data["millis"], data["name"]
        self.happened_ms = data.get("happened", self.millis)
        self._props, self._visitor_props = data["props"], data["visitor_props"]
        self.size = BASE_SIZE + len(self._props) + len(self._visitor_props)
        self.size += len(self.user_agent)

    def _make_target(self, product: str = "") -> str:
        """Return the path and query of ``events/t``, with what the *product* adds in the middle."""
        account = self.account
        return (
            f"{account.path}/events/t?en={quote_text(self._name)}{account.event_query}"
            f"&eTime={self.happened_ms}&random={self.random}{product}&{self._agent_query()}"
        )

    def _body_end(self, ours: str) -> str:
        """Return the end of its body, from the event on.

        Args:
            ours: JSON text of the account's properties, which go before the event's own.
        """
        visitor_props = join_objects(self.account.environment_text, self._visitor_props)
        return (
            f'"event":{{"props":{join_objects(ours, self._props)},'
            f'"name":{json.dumps(self._name)},"time":{self.happened_ms}}},'
            f'"visitor":{{"props":{visitor_props}}}}}}}'
        )


class ArchEvent(NamedEvent):
    """An event of the event architecture; its properties have no place in the batch form."""

    __slots__ = ("_has_usage",)
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
        happened_ms: int,
    ) -> None:
        super().__init__()
        self.account = account
        self._id_bytes = user.id_bytes
        self._visitor_id = ""
        self.user_agent = user.user_agent
        self.ip = user.user_ip_address
        self.random = number
        self.millis = millis
        self.happened_ms = happened_ms
        self.size = BASE_SIZE + len(props) + len(visitor_props) + len(user.user_agent)
        self._name = name
        self._props = props
        self._visitor_props = visitor_props
        self._has_usage = has_usage

    def render(self) -> Request:
        """Return POST events/t."""
        target = self._make_target("&p=FS")
        headers = (JSON_HEADER, *make_agent_headers(self.user_agent, self.ip))
        usage = self.account.usage if self._has_usage else ""
        return Request("POST", target + usage, headers, self.render_item().encode())

    def _dump_own(self, data: dict[str, Any]) -> None:
        super()._dump_own(data)
        data["kind"], data["has_usage"] = "arch", self._has_usage

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        super()._restore_own(data)
        self._has_usage = data["has_usage"]

    def render_item(self) -> str:
        """Return its body: it is not batchable, but the flush callback is shown what was sent."""
        visitor = self._visitor()
        return (
            f'{{"d":{{"msgId":"{visitor}-{self.millis}","visId":"{visitor}",'
            f'"sessionId":{self.happened_ms // 1000},{self._body_end(self.account.props_text)}'
        )


def find_visitor(event: Event) -> str:
    """Return the id under which VWO knows the visitor of *event*."""
    return event._visitor()


def revenue_text(revenue: Revenue) -> str:
    if isinstance(revenue, bool):
        return "true" if revenue else "false"
    if isinstance(revenue, float) and revenue.is_integer():
        return str(int(revenue))
    return format(revenue, "f") if isinstance(revenue, Decimal) else str(revenue)


def revenue_json(revenue: Revenue) -> str:
    """A number goes out as a number, to the last digit that the caller gave; a text as a text."""
    return json.dumps(revenue) if isinstance(revenue, str) else revenue_text(revenue)
