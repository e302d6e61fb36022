"""Sentry's own SDK, with a transport that keeps what it would send, and clients of both products."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

import vwo_async.sync
from vwo_async import FMEClient, VWOClient
from vwo_async.integrations.sentry import Sentry
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
    campaign("checkout").goal("buy").split(50, 50),
    feature_test("search").variation("Big", 100, size=20).goal("buy"),
    campaign("closed").traffic(0),
)
FME = build_fme_settings(
    feature("search").metric("buy").rollout(size=20), feature("off").rollout(0)
)
OPTIONS: dict[str, Any] = {"observers": [Sentry()]}


class Reports(Transport):
    """Keeps what Sentry would send."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self.text = ""

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            self.text += item.get_bytes().decode()
            if item.type == "event":
                event: Any = item.payload.json
                self.events.append(event)

    def find_flags(self, message: str) -> dict[str, bool]:
        """Return the flags of the one event with that message."""
        (event,) = [one for one in self.events if one.get("message") == message]
        flags = event["contexts"].get("flags", {}).get("values", [])
        return {one["flag"]: one["result"] for one in flags}


@pytest.fixture
def reports() -> Iterator[Reports]:
    made = Reports()
    client = sentry_sdk.Client(dsn="https://key@sentry.invalid/1", transport=made)
    scope = sentry_sdk.get_global_scope()
    scope.set_client(client)
    yield made
    scope.set_client(None)
    client.close()


async def test_flags_of_fullstack(reports: Reports) -> None:
    """An error has the campaigns that its user was decided in, on or off, and the variations that he was given."""
    with sentry_sdk.isolation_scope():
        async with VWOClient(FULLSTACK, transport=RecordingTransport(), **OPTIONS) as client:
            variation = await client.activate("checkout", "Ashley")
            assert await client.is_feature_enabled("search", "Ashley")
            await client.activate("closed", "Ashley")
            await client.activate("unknown", "Ashley")
            await client.activate("checkout", "")
        sentry_sdk.capture_message("failed")
    assert reports.find_flags("failed") == {
        "checkout": True,
        f"checkout:{variation}": True,
        "search": True,
        "search:Big": True,
        "closed": False,
    }
    assert "Ashley" not in reports.text


async def test_flags_of_fme(reports: Reports) -> None:
    """The same of feature flags."""
    with sentry_sdk.isolation_scope():
        async with FMEClient(FME, transport=RecordingTransport(), **OPTIONS) as client:
            await client.get_flag("search", "Ashley")
            await client.get_flags("Ashley")
            await client.get_flag("unknown", "Ashley")
        sentry_sdk.capture_message("failed")
    assert reports.find_flags("failed") == {"search": True, "search:Rollout": True, "off": False}
    assert "Ashley" not in reports.text


async def test_requests_are_apart(reports: Reports) -> None:
    """Requests at the same time, each in the scope that Sentry gives it, have only their own flags."""

    async def handle(client: VWOClient, user: str) -> str | None:
        with sentry_sdk.isolation_scope():
            variation = await client.activate("checkout", user)
            await asyncio.sleep(0.01)
            sentry_sdk.capture_message(user)
            return variation

    users = [f"user {number}" for number in range(10)]
    async with VWOClient(FULLSTACK, transport=RecordingTransport(), **OPTIONS) as client:
        variations = await asyncio.gather(*(handle(client, user) for user in users))
    assert len(set(variations)) == 2
    for user, variation in zip(users, variations, strict=True):
        assert reports.find_flags(user) == {"checkout": True, f"checkout:{variation}": True}


async def test_a_synchronous_client(reports: Reports) -> None:
    """A call in a thread without a loop is in the scope of that thread."""

    def work(user: str) -> None:
        client = vwo_async.sync.VWOClient(FULLSTACK, transport=RecordingTransport(), **OPTIONS)
        with client, sentry_sdk.isolation_scope():
            client.is_feature_enabled("search", user)
            sentry_sdk.capture_message(user)

    await asyncio.to_thread(work, "user 1")
    assert reports.find_flags("user 1") == {"search": True, "search:Big": True}


async def test_without_sentry_being_set_up() -> None:
    """Where Sentry is installed and not set up, nothing fails."""
    async with VWOClient(FULLSTACK, transport=RecordingTransport(), **OPTIONS) as client:
        with sentry_sdk.isolation_scope():
            assert await client.activate("checkout", "Ashley")
    assert client.statistics().callback_errors == 0
