"""A variation with its reason in one call, defaults of variables, and keys that the settings do not have."""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sample
from both_products import BOTH_PRODUCTS
from chosen_product import FMEShop, make_client
from chosen_product import settings as product_settings
from sample import campaign, row, settings, variation

import vwo_async.sync
from vwo_async import CampaignDecision, FMEClient, InvalidInputError, Reason, VWOClient
from vwo_async._client.unknown_key import MAX_NAMED, UnknownKeys
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio

SIZE = [{"id": 1, "key": "size", "type": "integer", "value": 10}]
SEARCH = campaign(
    12,
    "search",
    "FEATURE_TEST",
    variations=[
        variation(1, "Control", 50, variables=SIZE),
        variation(2, "Variation-1", 50, variables=SIZE, isFeatureEnabled=True),
    ],
)
FILE = settings(*settings()["campaigns"], SEARCH | {"id": 22, "key": "sized"})


def on_quick_path() -> dict[str, Any]:
    """Options of a client that decides and reports with plain functions."""
    return {}


def on_stored_path() -> dict[str, Any]:
    """Options of a client with a storage."""
    return {"user_storage": MemoryUserStorage()}


def on_full_path() -> dict[str, Any]:
    """Options of a client that has somebody to tell of each decision."""
    return {"integrations": lambda told: None}


PATHS = pytest.mark.parametrize("path", [on_quick_path, on_stored_path, on_full_path])
Path = Callable[[], dict[str, Any]]


@asynccontextmanager
async def recording(
    path: Path = on_quick_path, **options: Any
) -> AsyncIterator[tuple[VWOClient, RecordingTransport]]:
    """Give a client, and what it sends."""
    transport = RecordingTransport()
    file = options.pop("file", FILE)
    async with VWOClient(file, transport=transport, **path(), **options) as client:
        yield client, transport


# Deciding with the reason


@PATHS
@pytest.mark.parametrize("key", ["checkout", "search", "banner"])
async def test_decide_is_activate_and_is_feature_enabled(path: Path, key: str) -> None:
    """It gives and reports what the method of the campaign's type does, whatever the type."""
    async with recording(path) as (client, transport):
        decision = await client.decide(key, "Ashley", wait=True)
    async with recording(path) as (other, others):
        if key == "checkout":
            assert await other.activate(key, "Ashley", wait=True) == decision.variation_name
        else:
            on = await other.is_feature_enabled(key, "Ashley", wait=True)
            assert decision.is_feature_enabled is on
    assert decision.reason is Reason.ASSIGNED
    sent = [
        [one.target.partition("&sId")[0] for one in requests]
        for requests in (transport.requests, others.requests)
    ]
    assert sent[0] == sent[1]
    assert len(sent[0]) == 1


@PATHS
async def test_decide_says_why(path: Path) -> None:
    """Each reason why there is no variation, with nothing reported."""
    async with recording(path) as (client, transport):
        client.opt_out_user("Olaf")
        found = {
            key: await client.decide(key, user)
            for key, user in (
                ("members", "Ashley"),
                ("closed", "Ashley"),
                ("paused", "Ashley"),
                ("nowhere", "Ashley"),
                ("checkout", "Olaf"),
                ("search", ""),
            )
        }
    assert {key: one.reason for key, one in found.items()} == {
        "members": Reason.NOT_IN_SEGMENT,
        "closed": Reason.NOT_IN_TRAFFIC,
        "paused": Reason.CAMPAIGN_NOT_RUNNING,
        "nowhere": Reason.CAMPAIGN_NOT_FOUND,
        "checkout": Reason.OPTED_OUT,
        "search": Reason.INVALID_INPUT,
    }
    assert not any(one.variation_name for one in found.values())
    assert not transport.requests


async def test_decide_of_a_stored_user() -> None:
    """A user whom the storage knows keeps his variation, with that reason, and is not reported again."""
    storage = MemoryUserStorage()
    async with recording(lambda: {"user_storage": storage}) as (client, transport):
        first = await client.decide("checkout", "Ashley", wait=True)
        again = await client.decide("checkout", "Ashley", wait=True)
        assert (first.reason, again.reason) == (Reason.ASSIGNED, Reason.STORED)
        assert first.variation_name == again.variation_name
        assert len(transport.requests) == 1
        repeated = await client.decide(
            "checkout", "Ashley", should_track_returning_user=True, wait=True
        )
        assert repeated.reason is Reason.STORED
        assert len(transport.requests) == 2
        given = await client.decide("checkout", "Ben", user_storage_data=row("Ben"))
        assert (given.variation_name, given.reason) == ("Variation-1", Reason.STORED)


@PATHS
async def test_decide_gives_the_variables(path: Path) -> None:
    """With a feature its variables come along."""
    async with recording(path) as (client, _):
        decision = await client.decide("sized", "Ashley")
        assert decision.variables["size"] in (10, 20)
        assert decision.as_json()["reason"] == "assigned"
        user = client.for_user("Ashley")
        assert (await user.decide("sized")).variables == decision.variables


def test_decide_without_await() -> None:
    """The synchronous client and its handle decide in the same way."""
    with vwo_async.sync.VWOClient(FILE, transport=RecordingTransport()) as client:
        decision = client.decide("checkout", "Ashley")
        assert isinstance(decision, CampaignDecision)
        assert client.for_user("Ashley").decide("checkout") == decision


async def test_decide_can_await_delivery() -> None:
    """``return_promise_for`` knows it by its name."""
    async with recording(return_promise_for={"decide": True}) as (client, transport):
        await client.decide("checkout", "Ashley")
        assert client.statistics().delivered == len(transport.requests) == 1


# Defaults


@PATHS
async def test_a_default_stands_in_for_what_is_not_there(path: Path) -> None:
    """Where the user gets no value: no variation, no such campaign or variable, bad input."""
    default = object()

    async def ask(client: VWOClient, *names: Any) -> Any:
        return await client.get_feature_variable_value(*names, default=default)

    async with recording(path) as (client, _):
        await client.is_feature_enabled("sized", "Ashley")
        assert await ask(client, "sized", "size", "Ashley") == 10
        for names in (
            ("sized", "colour", "Ashley"),
            ("nowhere", "size", "Ashley"),
            ("checkout", "size", "Ashley"),
            ("sized", "size", ""),
            ("sized", 5, "Ashley"),
        ):
            assert await ask(client, *names) is default
        assert await client.get_feature_variable_value("nowhere", "size", "Ashley") is None
        user = client.for_user("Ashley")
        assert await user.get_feature_variable_value("nowhere", "size", default=3) == 3


async def test_a_value_that_is_false_is_a_value() -> None:
    """0, False and an empty text are values, and no default takes their place."""
    values = [("integer", 0), ("boolean", False), ("string", "")]
    variables = [
        {"id": number, "key": kind, "type": kind, "value": value}
        for number, (kind, value) in enumerate(values, 1)
    ]
    one = variation(1, "website", 100, variables=variables)
    rollout = campaign(13, "banner", "FEATURE_ROLLOUT", variations=[one], variables=variables)
    async with recording(file=settings(rollout)) as (client, _):
        for kind, value in values:
            found = await client.get_feature_variable_value("banner", kind, "Ashley", default="?")
            assert (found, type(found)) == (value, type(value))


# Keys that the settings do not have


def named(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines about unknown keys."""
    return [
        one.getMessage()
        for one in caplog.records
        if one.levelno == logging.WARNING and one.name == "vwo_async" and " no " in one.getMessage()
    ]


CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "activate": (
        lambda it: it.activate("chekout", "Ashley"),
        "no campaign 'chekout': did you mean 'checkout'",
    ),
    "decide": (
        lambda it: it.decide("chekout", "Ashley"),
        "no campaign 'chekout': did you mean 'checkout'",
    ),
    "is_feature_enabled": (
        lambda it: it.is_feature_enabled("serch", "Ashley"),
        "no campaign 'serch': did you mean 'search'",
    ),
    "get_variation_name": (
        lambda it: it.get_variation_name("chekout", "Ashley"),
        "no campaign 'chekout': did you mean 'checkout'",
    ),
    "campaign of a variable": (
        lambda it: it.get_feature_variable_value("serch", "size", "Ashley"),
        "no campaign 'serch': did you mean 'search'",
    ),
    "variable": (
        lambda it: it.get_feature_variable_value("sized", "sice", "Ashley"),
        "'sized' has no variable 'sice': did you mean 'size'",
    ),
    "campaign of a conversion": (
        lambda it: it.track("chekout", "Ashley", "signup"),
        "no campaign 'chekout': did you mean 'checkout'",
    ),
    "goal": (
        lambda it: it.track("checkout", "Ashley", "singup"),
        "'checkout' has no goal 'singup': did you mean 'signup'",
    ),
    "campaign of several": (
        lambda it: it.track(["checkout", "chekout"], "Ashley", "signup"),
        "no campaign 'chekout': did you mean 'checkout'",
    ),
    "goal of several": (
        lambda it: it.track(["checkout"], "Ashley", "singup"),
        "'checkout' has no goal 'singup': did you mean 'signup'",
    ),
    "goal of all": (
        lambda it: it.track(None, "Ashley", "singup"),
        "no goal 'singup': did you mean 'signup'",
    ),
}


@PATHS
@pytest.mark.parametrize("what", CALLS)
async def test_each_unknown_key_is_named_once(
    path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelt key is one line in the log, with the key that may be meant, however often it is used."""
    call, text = CALLS[what]
    async with recording(path) as (client, _):
        await client.is_feature_enabled("sized", "Ashley")
        for _ in range(3):
            await call(client)
    (line,) = named(caplog)
    assert text in line


@PATHS
@pytest.mark.parametrize("what", CALLS)
async def test_strict_raises_before_anything_is_done(path: Path, what: str) -> None:
    """With ``strict`` it is an error, and nothing is sent, stored, or claimed."""
    call, text = CALLS[what]
    storage = MemoryUserStorage()
    options = path()
    if "user_storage" in options:
        options["user_storage"] = storage
    async with recording(lambda: options, strict=True) as (client, transport):
        if what == "variable":
            await client.is_feature_enabled("sized", "Ashley", wait=True)
        sent = len(transport.requests)
        kept = await storage.get("Ashley", "sized")
        for _ in range(2):
            with pytest.raises(InvalidInputError, match=text):
                await call(client)
        await client.flush_events()
        assert len(transport.requests) == sent
    assert await storage.get("Ashley", "checkout") is None
    assert await storage.get("Ashley", "sized") == kept


async def test_known_keys_are_not_named(caplog: pytest.LogCaptureFixture) -> None:
    """What is there but gives nothing, such as a paused campaign or a goal of another, is no mistake."""
    async with recording(strict=True) as (client, _):
        for key in ("paused", "closed", "members"):
            await client.activate(key, "Ashley")
            await client.track(key, "Ashley", "signup")
        await client.track(None, "Ashley", "signup")
        await client.get_feature_variable_value("sized", "size", "Ashley")
    assert not named(caplog)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda it: it.get_flag("serch", "Ashley"), "no feature 'serch': did you mean 'search'"),
        (
            lambda it: it.track_event("singup", "Ashley"),
            "no metric of the event 'singup': did you mean 'signup'",
        ),
    ],
)
async def test_unknown_keys_of_fme(
    call: Callable[[Any], Any], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An unknown feature or event is named once, and raised with ``strict``."""
    from test_event_time import FME_FILE

    transport = RecordingTransport()
    async with FMEClient(FME_FILE, transport=transport) as client:
        for _ in range(3):
            assert not await call(client)
    (line,) = named(caplog)
    assert text in line
    async with FMEClient(FME_FILE, transport=transport, strict=True) as client:
        with pytest.raises(InvalidInputError, match=text):
            await call(client)
    assert not transport.requests


@BOTH_PRODUCTS
async def test_keys_of_visitors_fill_neither_log_nor_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A service that takes keys from its visitors logs a hundred, and keeps no more."""
    async with make_client(product_settings(), transport=RecordingTransport()) as client:

        async def use(key: str) -> None:
            if isinstance(client, FMEShop):
                await client.get_flag(key, "Ashley")
                await client.track_event(key, "Ashley")
            else:
                await client.activate(key, "Ashley")
                await client.track("checkout", "Ashley", key)

        for number in range(500):
            await use(f"key {number}")
        assert len(named(caplog)) == MAX_NAMED == 100
        before = _count_keys()
        for number in range(500, 1000):
            await use(f"key {number}")
        assert len(named(caplog)) == MAX_NAMED
        assert _count_keys() <= before


def _count_keys() -> int:
    gc.collect()
    return sum(len(one._named) for one in gc.get_objects() if type(one) is UnknownKeys)


async def test_a_long_or_odd_key_is_shown_short(caplog: pytest.LogCaptureFixture) -> None:
    """A key of any length or script takes little of a line, and cannot begin a new one."""
    async with recording() as (client, _):
        await client.activate("x" * 3000, "Ashley")
        await client.activate("two\nlines", "Ashley")
    lines = named(caplog)
    assert len(lines) == 2
    assert all(len(line) < 300 and "\n" not in line for line in lines)


def test_the_hostile_tests_know_every_method() -> None:
    """Each method that decides or reports for a user is put through the tests about all methods."""
    named = {
        name
        for name, method in vars(VWOClient).items()
        if not name.startswith("_")
        and inspect.iscoroutinefunction(method)
        and "user_id" in inspect.signature(method).parameters
    }
    # The other name of `get_variation_name`.
    assert named - {"get_variation"} == sample.REQUIRED.keys()
