"""Where an `FMEClient` finds its settings and sends its events, and how often it asks (sections F14 and F15).

Also what it does without settings.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from fme_file import make_campaign, make_feature, make_file
from server import Received, Server, answer, running_server
from waiting import until

from vwo_async import (
    DeliveryError,
    FMEClient,
    FMESettingsSource,
    InvalidInputError,
    Reason,
    SettingsSource,
    VWOClient,
    fetch_fme_settings,
    parse_fme_settings,
)

pytestmark = pytest.mark.anyio

ACCOUNT, KEY = 888888, "5ecre7"
VWO = "dev.visualwebsiteoptimizer.com:443"
FILES, EVENTS = "edge.wingify.net:443", "collect.wingify.net:443"
BRANDS = [
    ({}, VWO, VWO),
    ({"brand": "vwo", "base_url": None}, VWO, VWO),
    ({"brand": "wingify"}, FILES, EVENTS),
    ({"brand": "wingify", "base_url": None}, FILES, EVENTS),
]


def sample(**fields: Any) -> dict[str, Any]:
    """Return a file of one feature that is on for everybody."""
    campaign = make_campaign(1, "r")
    return {**make_file([make_feature(1, campaign)], [campaign]), "sdkKey": KEY, **fields}


def tunnels(server: Server) -> list[str]:
    """Return the hosts to which a proxy was asked for a way, each once and in order."""
    return list(dict.fromkeys(one.target for one in server.requests if one.method == "CONNECT"))


# Brands


@pytest.mark.parametrize(("chosen", "files", "events"), BRANDS)
async def test_each_brand_has_its_hosts(chosen: Any, files: str, events: str) -> None:
    """The option brand chooses the hosts of the settings and of the events, in all places that take it.

    A base_url of None, as of a variable of the environment that is not set, is none.
    """
    async with running_server() as proxy:
        proxy.default = answer(403)
        with pytest.raises(DeliveryError):
            await fetch_fme_settings(ACCOUNT, KEY, proxy=proxy.base_url, **chosen)
        assert tunnels(proxy) == [files]
        proxy.requests.clear()
        source = FMESettingsSource(ACCOUNT, KEY, proxy=proxy.base_url, **chosen)
        with pytest.raises(DeliveryError):
            await source.load()
        assert tunnels(proxy) == [files]
        proxy.requests.clear()
        for given in ({}, {"settings_source": source}):
            options: Any = {"proxy": proxy.base_url, "wait_timeout_s": 0.2, **chosen, **given}
            async with FMEClient(sample(), **options) as client:
                assert not await client.track_event("purchase", "u1", wait=True)
                await until(lambda: tunnels(proxy)[:1] == [events])
                proxy.requests.clear()
                assert not await client.refresh_settings()
                await until(lambda: files in tunnels(proxy))
                await client.aclose(timeout_s=0.0)
            proxy.requests.clear()


async def test_an_address_takes_the_place_of_a_brands_hosts() -> None:
    """With base_url, settings and events go there, whatever the brand."""
    async with running_server() as server:
        server.default = answer(body=json.dumps(sample()).encode())
        url: Any = {"base_url": server.base_url, "brand": "wingify"}
        settings = await fetch_fme_settings(ACCOUNT, KEY, **url)
        assert await FMESettingsSource(ACCOUNT, KEY, **url).load() == settings
        async with FMEClient(settings, **url) as client:
            assert await client.track_event("purchase", "u1", wait=True)
            assert await client.refresh_settings()
    assert [one.method for one in server.requests[:2]] == ["GET", "GET"]
    assert {one.method for one in server.requests[2:]} == {"GET", "POST"}


async def test_brands_are_not_mixed() -> None:
    """A client and a source of two brands, and a brand that nobody has, are refused."""
    source = FMESettingsSource(ACCOUNT, KEY, brand="wingify")
    with pytest.raises(InvalidInputError, match="brand: is 'vwo', and that of settings_source"):
        FMEClient(sample(), settings_source=source)
    FMEClient(sample(), settings_source=source, brand="wingify")
    elsewhere = FMESettingsSource(ACCOUNT, KEY, base_url="http://127.0.0.1:9")
    FMEClient(sample(), settings_source=elsewhere, brand="wingify")
    wrongs: list[Any] = ["Wingify", "", None, 5, ["vwo"]]
    for wrong in wrongs:
        for refused in (
            lambda wrong=wrong: FMESettingsSource(ACCOUNT, KEY, brand=wrong),
            lambda wrong=wrong: FMEClient(sample(), brand=wrong),
        ):
            with pytest.raises(InvalidInputError, match="brand"):
                refused()
        with pytest.raises(InvalidInputError, match="brand"):
            await fetch_fme_settings(ACCOUNT, KEY, brand=wrong)


# Polling


@pytest.mark.parametrize(
    ("given", "asked_ms", "wanted_s"),
    [
        ({}, 30_000, 30.0),
        ({}, None, 600.0),
        ({}, 5, 1.0),
        ({}, "30000", 600.0),
        ({}, -1, 600.0),
        ({"poll_interval_s": "file"}, 30_000, 30.0),
        ({"poll_interval_s": 60.0}, 30_000, 60.0),
        ({"poll_interval_s": 1}, None, 1.0),
    ],
)
def test_the_interval(given: Any, asked_ms: Any, wanted_s: float) -> None:
    """The file says how often it is fetched, unless the caller does; never more often than once a second."""
    source = FMESettingsSource(ACCOUNT, KEY, **given)
    settings = parse_fme_settings(sample(pollInterval=asked_ms))
    assert source.find_poll_interval_s(settings) == wanted_s


def test_an_interval_that_is_none() -> None:
    """What is neither a number of seconds, nor None, nor ``file`` is refused."""
    wrongs: list[Any] = ["File", "60", 0, 0.5, float("nan"), True]
    for wrong in wrongs:
        with pytest.raises(InvalidInputError, match="poll_interval_s"):
            FMESettingsSource(ACCOUNT, KEY, poll_interval_s=wrong)
    assert "not polled" in repr(FMESettingsSource(ACCOUNT, KEY, poll_interval_s=None))


@pytest.mark.parametrize("is_empty", [False, True])
async def test_the_file_in_force_says_how_often(
    is_empty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client polls as its file asks, and as the next one asks once that is in force."""
    monkeypatch.setattr("vwo_async._refresh.poller.FIRST_WAIT_S", 0.05)
    file = sample(pollInterval=1000)
    async with running_server() as server:
        server.default = answer(404 if is_empty else 200, body=json.dumps(file).encode())
        source = FMESettingsSource(ACCOUNT, KEY, base_url=server.base_url)
        settings = await source.load(or_empty=True)
        async with FMEClient(settings, base_url=server.base_url, settings_source=source) as client:
            server.default = answer(body=json.dumps(file).encode())
            await until(lambda: client.statistics().settings_origin == "vwo")
            newer = sample(pollInterval=3_600_000, version=2)
            server.default = answer(body=json.dumps(newer).encode())
            await until(lambda: client.settings.version == 2)
            asked = len([one for one in server.requests if one.method == "GET"])
            await asyncio.sleep(1.5)
            assert len([one for one in server.requests if one.method == "GET"]) == asked


# Without settings


async def make_empty(server: Server, kind: type[SettingsSource]) -> tuple[Any, SettingsSource]:
    """Return what a source gives to start with while VWO has no file."""
    server.default = answer(404)
    source = kind(ACCOUNT, KEY, base_url=server.base_url, poll_interval_s=None)
    return await source.load(or_empty=True), source


@pytest.mark.parametrize("has_storage", [False, True])
async def test_calls_without_settings(
    has_storage: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without settings each call is falsy for that reason, nothing is sent or read, and the log says it once."""
    monkeypatch.setattr("vwo_async._refresh.poller.FIRST_WAIT_S", 0.5)

    class Storage:
        async def get(self, user_id: str, key: str) -> None:
            raise AssertionError

        async def set(self, data: Any) -> None:
            raise AssertionError

    async with running_server() as server:
        settings, source = await make_empty(server, FMESettingsSource)
        caplog.clear()
        options: Any = {"user_storage": Storage()} if has_storage else {}
        async with FMEClient(
            settings, settings_source=source, base_url=server.base_url, **options
        ) as client:
            flag = await client.get_flag("f1", {"id": "u1", "sessionId": 1700000000})
            assert (bool(flag), flag.reason) == (False, Reason.NO_SETTINGS)
            assert flag.get_session_id() == 1700000000
            assert await client.get_flags("u1") == {}
            assert (await client.explain("f1", "u1")).reason is Reason.NO_SETTINGS
            result = await client.track_event("purchase", "u1", wait=True)
            assert (bool(result), result.reason) == (False, Reason.NO_SETTINGS)
            assert await client.set_attribute("plan", "pro", "u1", wait=True) is False
            assert client.statistics().accepted == 0
            said = [one.getMessage() for one in caplog.records if "no settings yet" in one.message]
            assert len(said) == 1
            assert caplog.records[0].levelno == logging.WARNING
            if has_storage:
                return
            file = json.dumps(sample(collectionPrefix="eu01")).encode()
            server.default = answer(body=file)
            await until(lambda: client.statistics().settings_origin == "vwo")
            assert await client.get_flag("f1", "u1")
            assert await client.set_attribute("plan", "pro", "u1", wait=True)
    posts: list[Received] = [one for one in server.requests if one.method == "POST"]
    assert posts
    assert all(one.target.startswith("/eu01/") for one in posts)


async def test_calls_of_fullstack_without_settings() -> None:
    """A `VWOClient` without settings has the same reason, and sends nothing where it does not know where to."""
    async with running_server() as server:
        settings, source = await make_empty(server, SettingsSource)
        async with VWOClient(settings, settings_source=source, base_url=server.base_url) as client:
            assert await client.activate("a", "u1") is None
            result = await client.track("a", "u1", "goal")
            assert result["a"].reason is Reason.NO_SETTINGS
            assert (await client.track(None, "u1", "goal")).reason is Reason.NO_SETTINGS
            assert (await client.explain("a", "u1")).reason is Reason.NO_SETTINGS
            assert await client.push("plan", "pro", "u1") is False
            assert await client.decide_all("u1") == {}
            assert client.statistics().accepted == 0
