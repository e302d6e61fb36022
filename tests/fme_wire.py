"""Valid requests of the SDKs of FME, for tests of the collector to spoil, and fixtures."""

from __future__ import annotations

import copy
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from collector_wire import Item, WireCall
from plain_http import NO_AUTHORITIES

from vwo_async.collector import Collector, serve

__all__ = ["FMEWire", "fme", "fme_client", "fme_collector"]

_SDK_NAME = "vwo-fme-python-sdk"
_SDK_VERSION = "1.65.0"


class FMEWire:
    """Makes requests which the collector takes by strict rules, for one account and two visitors.

    Each call returns a request of its own. Each event has an id of its own, unless *at* gives its
    milliseconds.
    """

    account = 777002
    key = "fm3k3y" * 5 + "42"
    visitor = "0123456789ABCDEF0123456789ABCDEF"
    other = "FEDCBA9876543210FEDCBA9876543210"
    web_visitor = "D0123456789abcdef0123456789ABCDEF"

    def __init__(self) -> None:
        self._last_ms = int(time.time()) * 1000

    @property
    def settings(self) -> dict[str, Any]:
        """The settings file of the account, a new copy each time."""
        return {"sdkKey": self.key, "accountId": self.account, "version": 1, **copy.deepcopy(_FILE)}

    def client(self, base_url: str = "") -> httpx.AsyncClient:
        """Return an HTTP client which no proxy of the environment gets between."""
        return httpx.AsyncClient(
            base_url=base_url, timeout=30.0, trust_env=False, verify=NO_AUTHORITIES
        )

    def retrieval(self, path: str = "/server-side/v2-settings") -> WireCall:
        """Ask for the settings file."""
        query = {
            "i": self.key,
            "r": "0.5",
            "a": str(self.account),
            "platform": "server",
            "api-version": "1",
            "sn": _SDK_NAME,
            "sv": _SDK_VERSION,
            "s": "prod",
        }
        return WireCall("GET", path, query)

    def event(self, item: Item) -> WireCall:
        """Return an item as a request of its own."""
        data = item["d"]
        query = {
            "en": data["event"]["name"],
            "a": str(self.account),
            "eTime": str(data["event"]["time"]),
            "random": "0.5",
            "p": "FS",
            "visitor_ua": data.get("visitor_ua", ""),
            "visitor_ip": data.get("visitor_ip", ""),
            "sn": _SDK_NAME,
            "sv": _SDK_VERSION,
            "env": self.key,
        }
        headers: dict[str, str | bytes] = {"Content-Type": "application/json"}
        if query["visitor_ua"]:
            headers["X-Device-User-Agent"] = query["visitor_ua"]
        if query["visitor_ip"]:
            headers["VWO-X-Forwarded-For"] = query["visitor_ip"]
        return WireCall("POST", "/events/t", query, headers, copy.deepcopy(item))

    def batch(self, *items: Item) -> WireCall:
        """Return a batch of *items*, by default an impression, a metric's event and attributes."""
        chosen = items or (self.shown_item(), self.metric_item(), self.attributes_item())
        query = {"a": str(self.account), "env": self.key, "sn": _SDK_NAME, "sv": _SDK_VERSION}
        headers: dict[str, str | bytes] = {"Authorization": self.key}
        body = {"ev": copy.deepcopy(list(chosen))}
        return WireCall("POST", "/server-side/batch-events-v2", query, headers, body)

    def shown(self, campaign: int = 2, variation: int = 2) -> WireCall:
        """Return an impression."""
        return self.event(self.shown_item(campaign, variation))

    def metric(self, name: str = "purchase", **props: Any) -> WireCall:
        """Return an event that a metric counts; *props* are the caller's properties."""
        return self.event(self.metric_item(name, **props))

    def attributes(self) -> WireCall:
        """Return attributes."""
        return self.event(self.attributes_item())

    def holdout(self) -> WireCall:
        """Return the report that a visitor is in a holdout."""
        return self.event(self.shown_item(71, 1, fId=1))

    def started(self) -> WireCall:
        """Return the report that an SDK has started."""
        props = {
            "vwo_fs_environment": self.key,
            "product": "fme",
            "data": {"isSDKInitialized": True},
        }
        return self.event(self.item("vwo_fmeSdkInit", props))

    def used(self) -> WireCall:
        """Return the report that an SDK was used."""
        return self.event(self.item("vwo_feTrackUsage", {}))

    def shown_item(
        self, campaign: int = 2, variation: int = 2, visitor: str = visitor, **more: Any
    ) -> Item:
        """Return an impression for a batch; *more* adds properties."""
        props = {"id": campaign, "variation": variation, "isFirst": 1, **more}
        return self.item("vwo_variationShown", props, visitor=visitor)

    def metric_item(self, name: str = "purchase", visitor: str = visitor, **props: Any) -> Item:
        """Return an event that a metric counts, for a batch."""
        own = {"isCustomEvent": True, "variation": 1, "id": 1}
        return self.item(name, {**own, **props}, visitor=visitor)

    def attributes_item(self, **attributes: Any) -> Item:
        """Return attributes for a batch."""
        props = {"isCustomEvent": True, "vwo_fs_environment": self.key}
        return self.item("vwo_syncVisitorProp", props, attributes or {"plan": "pro", "age": 33})

    def item(
        self,
        name: str,
        props: dict[str, Any],
        visitor_props: dict[str, Any] | None = None,
        *,
        visitor: str = visitor,
    ) -> Item:
        """Return an event of any name."""
        self._last_ms += 1
        sdk_props = {
            "vwo_sdkName": _SDK_NAME,
            "vwo_sdkVersion": _SDK_VERSION,
            "vwo_envKey": self.key,
        }
        data = {
            "msgId": f"{visitor}-{self._last_ms}",
            "visId": visitor,
            "sessionId": self._last_ms // 1000,
            "visitor_ua": "Mozilla/5.0 (X11)",
            "visitor_ip": "10.0.0.1",
            "event": {"props": {**sdk_props, **props}, "name": name, "time": self._last_ms},
            "visitor": {"props": {"vwo_fs_environment": self.key, **(visitor_props or {})}},
        }
        return {"d": data}


@pytest.fixture
def fme() -> FMEWire:
    """What makes valid requests of FME."""
    return FMEWire()


@pytest.fixture
def fme_collector(fme: FMEWire) -> Collector:
    """A strict collector, with the settings file that the requests of *fme* are made for."""
    return Collector(fme.settings)


@pytest.fixture
async def fme_client(fme: FMEWire, fme_collector: Collector) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of *fme_collector*, which is served as long as the test lasts."""
    async with serve(fme_collector) as base_url, fme.client(base_url) as client:
        yield client


def _campaign(number: int, kind: str, names: list[str]) -> dict[str, Any]:
    return {
        "id": number,
        "key": f"checkout_rule{number}",
        "name": f"Rule {number}",
        "type": kind,
        "status": "RUNNING",
        "percentTraffic": 100,
        "segments": {},
        "variations": [
            {"id": place, "name": name, "weight": 100 / len(names), "segments": {}, "variables": []}
            for place, name in enumerate(names, start=1)
        ],
    }


def _feature(
    number: int, key: str, campaigns: list[int], metrics: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "id": number,
        "key": key,
        "name": key,
        "type": "FEATURE_FLAG",
        "status": "ON",
        "metrics": metrics,
        "rules": [
            {"type": "FLAG_TESTING", "ruleKey": f"rule{one}", "campaignId": one}
            for one in campaigns
        ],
        "impactCampaign": {},
    }


_PURCHASE = {
    "id": 501,
    "identifier": "purchase",
    "type": "REVENUE_TRACKING",
    "revenueProp": "revenue",
    "mca": -1,
}
# It counts once for a visitor.
_SIGNUP = {"id": 502, "identifier": "signup", "type": "CUSTOM_GOAL"}
_FILE = {
    "campaigns": [
        _campaign(1, "FLAG_ROLLOUT", ["Rollout"]),
        _campaign(2, "FLAG_TESTING", ["Control", "Green"]),
        _campaign(3, "FLAG_TESTING", ["Control", "Blue"]),
    ],
    "features": [
        {
            **_feature(1, "checkout", [1, 2], [_PURCHASE, _SIGNUP]),
            "impactCampaign": {"campaignId": 9, "type": "FLAG_IMPACT"},
        },
        # Another metric of the same event, which counts once for a visitor.
        _feature(2, "banner", [3], [{"id": 503, "identifier": "purchase", "type": "CUSTOM_GOAL"}]),
    ],
    "holdouts": [
        {
            "id": 71,
            "name": "winter",
            "segments": {},
            "percentTraffic": 10,
            "isGlobal": True,
            "featureIds": [],
            "metrics": [{"id": 504, "identifier": "renewal", "type": "CUSTOM_GOAL", "mca": -1}],
        }
    ],
    "pollInterval": 60000,
}
