"""Observers of a service's own: what they are told, and what becomes of the call if they fail."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from counted import count_awaited_calls, logging_at
from sample import ACCOUNT, KEY
from server import answer, running_server

import vwo_async.sync
from vwo_async import DeliveryError, FMEClient, InvalidInputError, Reason, VWOClient
from vwo_async.observer import Evaluation, ObservedClient, Observer, RequestReport
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import (
    RecordingTransport,
    build_fme_settings,
    build_settings,
    campaign,
    feature,
    feature_test,
)

pytestmark = pytest.mark.anyio
FULLSTACK = build_settings(
    campaign("checkout").goal("buy").split(0, 100),
    feature_test("search").variation("Big", 100, size=20).goal("buy"),
)
FME = build_fme_settings(feature("search").metric("buy").rollout(size=20))


class Noting(Observer):
    """Notes all that it is told."""

    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []
        self.requests: list[RequestReport] = []
        self.life: list[str] = []

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)

    def on_request(self, request: RequestReport) -> None:
        self.requests.append(request)

    def on_open(self, client: ObservedClient) -> None:
        self.life.append(f"{client.product} opened")

    def on_close(self, client: ObservedClient) -> None:
        self.life.append(f"{client.product} closed: {client.statistics().accepted} accepted")


def launch(product: str, **options: Any) -> Any:
    """Return a client of the product that sends nothing."""
    options = {"transport": RecordingTransport(), **options}
    return FMEClient(FME, **options) if product == "fme" else VWOClient(FULLSTACK, **options)


BOTH = pytest.mark.parametrize("product", ["fullstack", "fme"])


@BOTH
async def test_a_life(product: str) -> None:
    """An observer hears of opening, each decision, each request and closing, whatever else there is."""
    first, second = Noting(), Noting()
    async with launch(product, observers=[first, second]) as client:
        await (client.get_flag if product == "fme" else client.decide)("search", "Ashley")
    for one in (first, second):
        (evaluation,) = one.evaluations
        assert (evaluation.key, evaluation.is_on, evaluation.reason) == (
            "search",
            True,
            Reason.ASSIGNED,
        )
        assert evaluation.user_id == "Ashley"
        assert "Ashley" not in repr(evaluation)
        assert {each.status for each in one.requests} == {200}
        accepted = client.statistics().accepted
        assert one.life == [f"{product} opened", f"{product} closed: {accepted} accepted"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"user_storage": MemoryUserStorage()},
        {"development_mode": True},
        {"consent": lambda user_id: True},
        {"integrations": lambda payload: None},
    ],
    ids=lambda options: "_".join(options) or "quick",
)
async def test_every_path_is_observed(options: dict[str, Any]) -> None:
    """Whatever way a decision takes, it is told once, by the method that was called."""
    noting = Noting()
    async with launch("fullstack", observers=[noting], **options) as client:
        await client.activate("checkout", "Ashley")
        await client.get_variation_name("checkout", "Ashley")
        await client.is_feature_enabled("search", "Ashley")
        await client.get_feature_variable_value("search", "size", "Ashley")
        await client.decide("search", "Ashley")
        await client.for_user("Ashley").activate("checkout")
        await client.track("checkout", "Ashley", "buy")
    assert [(one.api, one.key) for one in noting.evaluations] == [
        ("activate", "checkout"),
        ("get_variation_name", "checkout"),
        ("is_feature_enabled", "search"),
        ("get_feature_variable_value", "search"),
        ("decide", "search"),
        ("activate", "checkout"),
    ]
    assert {one.variation_name for one in noting.evaluations} == {"Variation-1", "Big"}


@BOTH
async def test_one_that_raises_harms_nobody(product: str) -> None:
    """What an observer raises is counted and changes nothing, and the next one is told all the same."""

    class Failing(Noting):
        def on_evaluation(self, evaluation: Evaluation) -> None:
            raise KeyError(evaluation.user_id)

        def on_request(self, request: RequestReport) -> None:
            raise asyncio.CancelledError

    noting = Noting()
    async with launch(product, observers=[Failing(), noting]) as client:
        call = client.get_flag if product == "fme" else client.decide
        assert (await call("search", "Ashley")).reason is Reason.ASSIGNED
        assert await client.flush_events()
    statistics = client.statistics()
    assert statistics.callback_errors == 1 + statistics.requests
    assert len(noting.evaluations) == 1
    assert len(noting.requests) == statistics.requests


@pytest.mark.parametrize(
    "observers", [[print], "abc", 3, [Observer]], ids=["function", "text", "number", "class"]
)
def test_what_is_no_observer(observers: Any) -> None:
    """Anything but observers is refused at launch."""
    with pytest.raises(InvalidInputError, match="observers: must be instances"):
        launch("fullstack", observers=observers)


@pytest.mark.parametrize("salt", ["", b"", 3])
def test_what_is_no_salt(salt: Any) -> None:
    """So is a salt that is none; the text does not repeat it."""
    with pytest.raises(InvalidInputError, match="pseudonym_salt: must be a non-empty str or bytes"):
        launch("fme", pseudonym_salt=salt)


async def test_an_observer_that_hears_nothing_costs_nothing() -> None:
    """One that has only `on_open` adds not one function to a decision."""

    class Opened(Observer):
        def on_open(self, client: ObservedClient) -> None:
            pass

    async def count(**options: Any) -> int:
        async with launch("fullstack", **options) as client:
            return await count_awaited_calls(lambda: client.activate("checkout", "Ashley"))

    assert await count(observers=[Opened()]) == await count()


def test_the_thread_of_the_caller() -> None:
    """A synchronous client tells of a decision in the thread that asked for it."""
    threads: list[threading.Thread] = []

    class Where(Observer):
        def on_evaluation(self, evaluation: Evaluation) -> None:
            threads.append(threading.current_thread())

    client = vwo_async.sync.VWOClient(
        FULLSTACK, transport=RecordingTransport(), observers=[Where()]
    )
    with client:
        client.activate("checkout", "Ashley")
    assert threads == [threading.current_thread()]


# The log


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        one.getMessage()
        for one in caplog.records
        if one.name == "vwo_async" and one.levelno == logging.DEBUG
    ]


Run = Callable[[], Any]


@BOTH
async def test_decisions_in_the_log(caplog: pytest.LogCaptureFixture, product: str) -> None:
    """At DEBUG each decision is a line with key, variation, reason and pseudonym; at INFO there is none."""
    noting = Noting()
    async with launch(product, observers=[noting]) as client:
        call = client.get_flag if product == "fme" else client.decide
        with logging_at(logging.INFO):
            await call("search", "Ashley")
        assert not lines_of(caplog)
        with logging_at(logging.DEBUG):
            await call("search", "Ashley")
            await call("unknown", "Ashley")
    pseudonym = noting.evaluations[0].pseudonym
    api, name = ("get_flag", "Rollout") if product == "fme" else ("decide", "Big")
    unknown = "feature_not_found" if product == "fme" else "campaign_not_found"
    assert lines_of(caplog) == [
        f"{api} 'search': on, '{name}' (assigned), user {pseudonym}",
        f"{api} 'unknown': no variation ({unknown}), user {pseudonym}",
    ]
    assert "Ashley" not in caplog.text


async def test_conversions_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG each conversion is a line for each campaign, with what became of it."""
    with logging_at(logging.DEBUG):
        async with launch("fullstack", pseudonym_salt="of the shop") as client:
            await client.track(None, "Ashley", "buy")
            await client.track("checkout", "Ashley", "buy")
            await client.track("checkout", "Ashley", "unknown")
        async with launch("fme", pseudonym_salt="of the shop") as fme:
            await fme.track_event("buy", "Ashley")
    found = [line.rpartition(", user ") for line in lines_of(caplog)]
    assert [line for line, _, _ in found] == [
        "track 'buy' in 'checkout': 'Variation-1' (tracked)",
        "track 'buy' in 'search': 'Big' (tracked)",
        "track 'buy' in 'checkout': 'Variation-1' (tracked)",
        "track 'unknown' in 'checkout': no variation (goal_not_found)",
        "track_event 'buy': tracked",
    ]
    assert len({user for _, _, user in found}) == 1
    assert "Ashley" not in caplog.text


class Failing(Observer):
    """Fails whatever it is told."""

    def on_request(self, request: RequestReport) -> None:
        raise LookupError


def fetch(product: str, base_url: str, way: str, **options: Any) -> Any:
    """Return what fetches settings in one of the ways there are before a client is made."""
    is_fme = product == "fme"
    ask = vwo_async.fetch_fme_settings if is_fme else vwo_async.fetch_settings
    if way == "fetch":
        return ask(ACCOUNT, KEY, base_url=base_url, **options)
    kind = vwo_async.FMESettingsSource if is_fme else vwo_async.SettingsSource
    return kind(ACCOUNT, KEY, base_url=base_url, **options).load()


@BOTH
@pytest.mark.parametrize("way", ["fetch", "load"])
async def test_the_first_fetch(product: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Those of `fetch_settings` and `SettingsSource` hear of their requests, answered or not, without a key; one
    that fails changes nothing."""
    noting = Noting()
    file = {**(FME if product == "fme" else FULLSTACK), "accountId": ACCOUNT, "sdkKey": KEY}
    async with running_server() as server:
        server.replies.append(answer(401))
        server.default = answer(body=json.dumps(file).encode())
        with pytest.raises(DeliveryError):
            await fetch(product, server.base_url, way, observers=[noting])
        assert await fetch(product, server.base_url, way, observers=[Failing(), noting])
    assert [one.status for one in noting.requests] == [401, 200]
    for one in noting.requests:
        assert (one.product, one.purpose, one.method) == (product, "settings", "GET")
        assert one.base_url == server.base_url
        assert one.path.endswith("settings") and KEY not in repr(one)
    assert caplog.text.count("observers: on_request raised LookupError") == 1
    with pytest.raises(InvalidInputError, match="observers must be instances"):
        await fetch(product, server.base_url, way, observers=[print])
