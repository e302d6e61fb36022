"""Valid requests of each of VWO's endpoints, for tests of the collector to spoil, and fixtures."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, Literal, TypeAlias

import httpx
import pytest
from plain_http import NO_AUTHORITIES

from vwo_async.collector import Collector, serve

__all__ = ["FOREIGN_ORIGINS", "Wire", "WireCall", "client", "collector", "name_header", "wire"]

Item: TypeAlias = dict[str, Any]
"""One event of a batch."""

# The headers of a page of another origin, one alone being enough.
FOREIGN_ORIGINS: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]

_TAGS = {"plan": "pro"}
_SDK_NAME = "vwo-python-sdk"
_SDK_VERSION = "1.68.2"
_TIMEOUT_S = 30.0


def name_header(headers: Mapping[str, str]) -> str:
    """Return the id of a test with one header."""
    return "-".join(next(iter(headers.items())))


@dataclass
class WireCall:
    """One request that is still to be sent, of which a test may alter anything.

    Attributes:
        method: The HTTP method.
        path: The path, or a whole URL for a client without base URL.
        query: The parameters of the query string, not yet encoded.
        headers: The headers besides those of the HTTP client; bytes go out as they are.
        body: What the JSON of the body stands for, None for no body.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str | bytes] = field(default_factory=dict)
    body: dict[str, Any] | None = None

    def change(
        self, part: Literal["query", "headers", "body"], name: str, value: Any | EllipsisType
    ) -> None:
        """Set one field of a part, or take it out if *value* is ``...``.

        In the body, *name* is a path such as ``ev.0.sId``; elsewhere, a full stop is like any other
        character, since tests also put user ids into names.
        """
        owner: Any = getattr(self, part)
        key: str | int = name
        if part == "body":
            owner, key = _find(owner, name)
        if value is ...:
            del owner[key]
        else:
            owner[key] = value

    async def send(self, client: httpx.AsyncClient) -> httpx.Response:
        """Send the request as it now is; it may be sent again, with the same bytes."""
        return await client.request(
            self.method,
            self.path,
            params=self.query,
            headers=[(name.encode(), _as_bytes(value)) for name, value in self.headers.items()],
            content=None if self.body is None else json.dumps(self.body).encode(),
        )


class Wire:
    """Makes requests which the collector takes by strict rules, for one account and two visitors.

    Each call returns a request of its own, with the times of now. Two equal calls in the same
    second are the same bytes, unless they are given different *random* parameters.
    """

    account = 777001
    key = "k3y" * 10 + "k3"
    visitor = "0123456789ABCDEF0123456789ABCDEF"
    other = "FEDCBA9876543210FEDCBA9876543210"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings file of the account, a new copy each time."""
        return {
            "sdkKey": self.key,
            "accountId": self.account,
            "version": 1,
            "campaigns": copy.deepcopy(_CAMPAIGNS),
        }

    def client(self, base_url: str = "") -> httpx.AsyncClient:
        """Return an HTTP client which no proxy of the environment gets between."""
        return httpx.AsyncClient(
            base_url=base_url, timeout=_TIMEOUT_S, trust_env=False, verify=NO_AUTHORITIES
        )

    def retrieval(self, path: str = "/server-side/settings") -> WireCall:
        """Ask for the settings file."""
        query = {
            "a": str(self.account),
            "i": self.key,
            "r": "0.5",
            "platform": "server",
            "sdk": _SDK_NAME,
            "sdk-v": _SDK_VERSION,
        }
        return WireCall("GET", path, query)

    def track_user(self, campaign: int = 41, variation: int = 2, **query: str) -> WireCall:
        """Return an impression; *query* replaces parameters."""
        own = {**self._shown_in(campaign, variation), "ed": '{"p":"server"}'}
        return self._single("track-user", own | query)

    def track_goal(
        self,
        campaign: int = 41,
        variation: int = 2,
        goal: int = 501,
        revenue: str | None = None,
        **query: str,
    ) -> WireCall:
        """Return a conversion, with revenue if that is given; *query* replaces parameters."""
        own = {**self._shown_in(campaign, variation), "goal_id": str(goal)}
        if revenue is not None:
            own["r"] = revenue
        return self._single("track-goal", own | query)

    def push(self) -> WireCall:
        """Return one custom dimension, without the user agent and IP that a push may have."""
        return self._single("push", {"tags": _as_json({"u": _TAGS})})

    def user_item(self, visitor: str = visitor) -> Item:
        """Return an impression for a batch."""
        return {**self._item(1), "u": visitor, **self._item_campaign()}

    def goal_item(self, goal: int = 501, **more: Any) -> Item:
        """Return a conversion for a batch; *more* adds fields, such as ``r``."""
        return {**self._item(2), **self._item_campaign(), "g": goal, **more}

    def push_item(self, tags: str | None = None) -> Item:
        """Return a custom dimension for a batch, as plain JSON unless *tags* has another form."""
        return {**self._item(3), "t": _as_json({"u": _TAGS}) if tags is None else tags}

    def batch(self, *items: Item) -> WireCall:
        """Return a batch of *items*, by default an impression, a conversion and a push."""
        chosen = items or (self.user_item(), self.goal_item(), self.push_item())
        query = {
            "a": str(self.account),
            "sdk": _SDK_NAME,
            "sdk-v": _SDK_VERSION,
            "env": self.key,
        }
        return WireCall(
            "POST",
            "/server-side/batch-events",
            query,
            headers={"Authorization": self.key},
            body={"ev": copy.deepcopy(list(chosen))},
        )

    def shown(self, campaign: int = 41, variation: int = 2) -> WireCall:
        """Return an impression of the event architecture."""
        props = {"id": campaign, "variation": variation, "isFirst": 1}
        return self._event("vwo_variationShown", props)

    def goal(
        self, name: str = "signup", metric: Mapping[str, list[str]] | None = None, **props: Any
    ) -> WireCall:
        """Return a conversion of the event architecture.

        Args:
            name: The identifier of the goal.
            metric: The goals by campaign, by default *signup* of both campaigns that have it.
            props: Properties that the caller of an SDK gives to the event.
        """
        chosen = {"id_41": ["g_501"], "id_42": ["g_501"]} if metric is None else metric
        meta = {"metric": copy.deepcopy(dict(chosen))}
        return self._event(name, {"vwoMeta": meta, "isCustomEvent": True, **props})

    def sync(self) -> WireCall:
        """Return a custom dimension of the event architecture."""
        return self._event("vwo_syncVisitorProp", {"isCustomEvent": True}, _TAGS)

    def _single(self, endpoint: str, own: Mapping[str, str]) -> WireCall:
        """Return a call that is a query string only."""
        common = {
            "sId": str(_now_s()),
            "u": self.visitor,
            "sdk": _SDK_NAME,
            "sdk-v": _SDK_VERSION,
            "env": self.key,
            "account_id": str(self.account),
            "random": "0.5",
            "ap": "server",
        }
        return WireCall("GET", f"/server-side/{endpoint}", {**common, **own})

    def _shown_in(self, campaign: int, variation: int) -> dict[str, str]:
        """Return the parameters that impressions and conversions share, but pushes do not need."""
        return {
            "experiment_id": str(campaign),
            "combination": str(variation),
            "visitor_ua": "",
            "visitor_ip": "",
        }

    def _item(self, kind: int) -> Item:
        """Return what all events of a batch have."""
        return {"sId": _now_s(), "u": self.visitor, "eT": kind}

    def _item_campaign(self) -> Item:
        """Return what impressions and conversions of a batch have besides."""
        return {"e": 41, "c": 2, "visitor_ua": "", "visitor_ip": ""}

    def _event(
        self, name: str, props: Mapping[str, Any], tags: Mapping[str, str] | None = None
    ) -> WireCall:
        """Return a call of the event architecture."""
        now_ms = _now_s() * 1000
        query = {
            "en": name,
            "a": str(self.account),
            "env": self.key,
            "eTime": str(now_ms),
            "random": "0.5",
            "p": "FS",
            "visitor_ua": "",
            "visitor_ip": "",
        }
        data = {
            "msgId": f"{self.visitor}-{now_ms}",
            "visId": self.visitor,
            "sessionId": now_ms // 1000,
            "event": {"props": {**self._sdk_props(), **props}, "name": name, "time": now_ms},
            "visitor": {"props": {"vwo_fs_environment": self.key, **(tags or {})}},
        }
        return WireCall("POST", "/events/t", query, body={"d": data})

    def _sdk_props(self) -> dict[str, str]:
        """Return the properties by which an event tells where it comes from."""
        return {
            "vwo_sdkName": _SDK_NAME,
            "vwo_sdkVersion": _SDK_VERSION,
            "vwo_envKey": self.key,
        }


@pytest.fixture
def wire() -> Wire:
    """What makes valid requests."""
    return Wire()


@pytest.fixture
def collector(wire: Wire) -> Collector:
    """A strict collector, with the settings file that the requests of *wire* are made for."""
    return Collector(wire.settings)


@pytest.fixture
async def client(wire: Wire, collector: Collector) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of *collector*, which is served as long as the test lasts."""
    async with serve(collector) as base_url, wire.client(base_url) as client:
        yield client


def _campaign(
    number: int, key: str, names: list[str], goals: list[dict[str, Any]] | dict[str, Any]
) -> dict[str, Any]:
    """Return a running campaign of equal variations."""
    variations = [
        {"id": place, "name": name, "weight": 100 / len(names)}
        for place, name in enumerate(names, start=1)
    ]
    return {
        "id": number,
        "key": key,
        "type": "VISUAL_AB",
        "status": "RUNNING",
        "percentTraffic": 100,
        "variations": variations,
        "goals": goals,
    }


_SIGNUP = {"id": 501, "identifier": "signup", "type": "CUSTOM_GOAL"}
# Its revenue has no property in the event architecture.
_ORDER = {"id": 502, "identifier": "order", "type": "REVENUE_TRACKING"}
# It counts each time.
_REFILL = {
    "id": 503,
    "identifier": "refill",
    "type": "REVENUE_TRACKING",
    "revenueProp": "price",
    "mca": -1,
}
_CAMPAIGNS = [
    _campaign(41, "button", ["Control", "Green"], [_SIGNUP, _ORDER, _REFILL]),
    _campaign(42, "title", ["Control"], [_SIGNUP]),
    # VWO's server writes an empty list as an object.
    _campaign(43, "footer", ["Control"], {}),
]


def _now_s() -> int:
    return int(time.time())


def _as_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _as_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _find(document: Any, path: str) -> tuple[Any, str | int]:
    """Return the object or list that *path* leads into, and the key or index there."""
    *way, last = path.split(".")
    owner = document
    for step in way:
        owner = owner[_key(owner, step)]
    return owner, _key(owner, last)


def _key(owner: Any, step: str) -> str | int:
    return int(step) if isinstance(owner, list) else step
