"""A client for each event loop: who loads the settings, when again, and what becomes of a failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from sample import settings

import vwo_async
from vwo_async import DeliveryError, Settings, VWOClient
from vwo_async.testing import RecordingTransport

FILE = vwo_async.parse_settings(settings())


def make(found: Settings) -> VWOClient:
    return VWOClient(found, transport=RecordingTransport())


class Loads:
    """Loads settings as told: an error is raised, and counts what was asked."""

    def __init__(self, *outcomes: Any) -> None:
        self._outcomes: Iterator[Any] = iter(outcomes)
        self.number = 0

    async def __call__(self) -> Settings:
        self.number += 1
        await asyncio.sleep(0)
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        assert isinstance(outcome, Settings)
        return outcome


async def use(clients: Any) -> VWOClient:
    """Use the client of a loop twice, and close it."""
    client = await clients.get()
    assert client is await clients.get()
    assert await client.track("checkout", "Ashley", "signup")
    assert len(clients) >= 1
    await clients.aclose()
    assert isinstance(client, VWOClient)
    return client


def test_a_client_for_each_loop() -> None:
    """Each loop has its own, closed with it; the settings are loaded once."""
    load = Loads(FILE)
    clients = vwo_async.per_loop(load, make)
    first, second = asyncio.run(use(clients)), asyncio.run(use(clients))
    assert first is not second
    assert load.number == 1
    assert repr(clients) == f"<PerLoop of {len(clients)} loops>"
    # A loop that has none has nothing to close.
    asyncio.run(clients.aclose())


def test_old_settings_are_loaded_again(caplog: pytest.LogCaptureFixture) -> None:
    """Settings that are too old are loaded again; where that fails those before are used, and the log says so."""
    caplog.set_level(logging.WARNING, "vwo_async")
    load = Loads(FILE, DeliveryError("VWO is down"), FILE)
    clients = vwo_async.per_loop(load, make, max_age_s=0.0)
    for number in (1, 2, 3):
        assert asyncio.run(use(clients)).settings.account_id == FILE.account_id
        assert load.number == number
    (line,) = [one for one in caplog.messages if "loaded" in one]
    assert line == ("the settings could not be loaded again, those before are used: VWO is down")


def test_a_first_failure_is_the_callers() -> None:
    """Without settings there is no client, and the next loop tries again."""
    load = Loads(DeliveryError("VWO is down"), FILE)
    clients = vwo_async.per_loop(load, make)
    with pytest.raises(DeliveryError):
        asyncio.run(use(clients))
    asyncio.run(use(clients))
    assert load.number == 2


def test_loops_at_once_load_once() -> None:
    """A loop that comes while another loads waits for it."""
    begun, may_end = Event(), Event()
    number = 0

    async def load() -> Settings:
        nonlocal number
        number += 1
        begun.set()
        while not may_end.is_set():
            await asyncio.sleep(0.001)
        return FILE

    clients = vwo_async.per_loop(load, make)

    async def use_one() -> str | None:
        client = await clients.get()
        try:
            return await client.activate("checkout", "Ashley")
        finally:
            await clients.aclose()

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(asyncio.run, use_one())
        assert begun.wait(10)
        second = threads.submit(asyncio.run, use_one())
        # It cannot have its client before the other has loaded.
        assert not second.done()
        may_end.set()
        assert first.result(10) == second.result(10) == "Control"
    assert number == 1
