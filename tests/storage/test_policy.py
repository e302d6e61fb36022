"""What happens without an answer of the storage, and with storages of plain functions."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import pytest
from own_time import Stopwatch
from sample import settings

from vwo_async import InvalidInputError, Reason, VWOClient
from vwo_async._storage.health import PROBE_INTERVAL_S
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio

ROW = {"userId": "Ashley", "campaignKey": "checkout", "variationName": "Variation-1"}
VISITOR = ContextVar("visitor", default="")
# For storages that are too slow; one that answers at once has time also on a busy machine.
SHORT_S = 0.05
LONG_S = 5.0


class Broken(MemoryUserStorage):
    """A storage that raises, or hangs, for some campaigns."""

    def __init__(self, *keys: str, hangs: bool = False) -> None:
        super().__init__([ROW])
        self._keys = keys
        self._hangs = hangs

    async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        if campaign_key in self._keys:
            if self._hangs:
                await asyncio.sleep(3600)
            raise ConnectionError("SECRETKEY123")
        return await super().get(user_id, campaign_key)


def client_with(storage: Any, **options: Any) -> VWOClient:
    options.setdefault("transport", RecordingTransport())
    options.setdefault("storage_timeout_s", LONG_S)
    return VWOClient(settings(), user_storage=storage, **options)


@pytest.mark.parametrize("hangs", [False, True])
async def test_refuse(hangs: bool) -> None:
    """With refuse, nobody gets a variation, or is counted, by a record that could not be read."""
    storage = Broken("checkout", hangs=hangs)
    timeout_s = SHORT_S if hangs else LONG_S
    async with client_with(
        storage, on_storage_error="refuse", storage_timeout_s=timeout_s
    ) as client:
        assert await client.activate("checkout", "Ashley") is None
        result = await client.track("checkout", "Ashley", "signup")
        assert result["checkout"].reason is Reason.STORAGE_ERROR
        decisions = await client.decide_all("Ashley")
        assert decisions["checkout"].reason is Reason.STORAGE_ERROR
        explanation = await client.explain("checkout", "Ashley")
        assert explanation.reason is Reason.STORAGE_ERROR
        assert client.statistics().accepted == 0
        assert client.statistics().storage_errors >= 4


async def test_refuse_is_about_the_campaign() -> None:
    """One record that cannot be read leaves the other campaigns alone."""
    async with client_with(Broken("checkout"), on_storage_error="refuse") as client:
        decisions = await client.decide_all("Ashley")
        assert decisions["checkout"].variation_name is None
        assert decisions["search"].variation_name is not None


async def test_decide_is_the_default() -> None:
    """Without a policy the user is decided by his hash, and is not stored over what was not read."""
    storage = Broken("checkout", hangs=True)
    async with client_with(storage, storage_timeout_s=SHORT_S) as client:
        assert await client.activate("checkout", "Ashley") == "Control"
    assert await MemoryUserStorage.get(storage, "Ashley", "checkout") == ROW


def test_unknown_policy() -> None:
    """A policy that does not exist is refused at launch."""
    with pytest.raises(InvalidInputError, match="on_storage_error"):
        client_with(Broken(), on_storage_error="ignore")


class Official:
    """A storage as one writes it for the official SDKs: plain functions, which may block."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Any] = {("Ashley", "checkout"): ROW}
        self.threads: set[int] = set()
        self.delay_s = 0.0

    def get(self, user_id: str, campaign_key: str) -> Any:
        self.threads.add(threading.get_ident())
        time.sleep(self.delay_s)
        return self.rows.get((user_id, campaign_key))

    def set(self, user_data: Mapping[str, Any]) -> None:
        self.threads.add(threading.get_ident())
        self.rows[user_data["userId"], user_data["campaignKey"]] = user_data


async def test_plain_functions() -> None:
    """The storage of an official SDK is used as it is, in threads that are not the loop's."""
    storage = Official()
    async with client_with(storage) as client:
        assert await client.activate("checkout", "Ashley") == "Variation-1"
        assert await client.track("checkout", "Ashley", "signup")
        assert not await client.track("checkout", "Ashley", "signup")
        assert storage.rows["Ashley", "checkout"]["goalIdentifier"] == "signup"
    assert threading.get_ident() not in storage.threads


async def test_each_call_is_made_in_its_own_context() -> None:
    """Also a call that had to wait for a thread sees the context variables of whoever made it."""

    class Tenants(Official):
        def __init__(self) -> None:
            super().__init__()
            self.visitors: dict[str, str] = {}

        def get(self, user_id: str, campaign_key: str) -> Any:
            self.visitors[user_id] = VISITOR.get()
            return super().get(user_id, campaign_key)

    storage = Tenants()
    storage.delay_s = 0.01
    users = [f"u{number}" for number in range(40)]
    async with client_with(storage) as client:

        async def visit(user_id: str) -> None:
            VISITOR.set(user_id)
            await client.get_variation_name("checkout", user_id)

        await asyncio.gather(*map(visit, users))
        assert client.statistics().storage_errors == 0
    assert storage.visitors == {one: one for one in users}


@pytest.mark.timed
async def test_a_plain_function_that_blocks() -> None:
    """A plain function that takes too long costs its time-out once, and the loop nothing."""
    storage = Official()
    storage.delay_s = 0.3
    async with client_with(storage, storage_timeout_s=SHORT_S) as client:
        watch = Stopwatch()
        call = asyncio.create_task(client.activate("checkout", "Ashley"))
        ticks = 0
        while not call.done():
            await asyncio.sleep(0.005)
            ticks += 1
        assert await call == "Control"
        assert ticks >= 4
        assert await client.activate("checkout", "Ashley") == "Control"
        watch.assert_below(0.25)
        await asyncio.sleep(0.3)


@pytest.mark.timed
async def test_a_storage_that_swallows_cancellation() -> None:
    """A call that cannot be cancelled costs its time-out all the same, and ends when it will."""
    ended = asyncio.Event()

    class Stubborn(MemoryUserStorage):
        async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            await asyncio.sleep(0.3)
            ended.set()
            raise OSError

    async with client_with(Stubborn(), storage_timeout_s=SHORT_S) as client:
        watch = Stopwatch()
        assert await client.activate("checkout", "Ashley") == "Control"
        watch.assert_below(0.25)
        assert not ended.is_set()
    assert ended.is_set()


async def test_a_storage_with_a_shorter_time_out_of_its_own() -> None:
    """A storage that gives up by itself, but late, is left alone like one that does not answer."""

    class GivingUp(MemoryUserStorage):
        asked = 0

        async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
            self.asked += 1
            await asyncio.sleep(0.04)
            raise ConnectionError

    storage = GivingUp()
    async with client_with(storage, storage_timeout_s=SHORT_S) as client:
        begun = time.monotonic()
        assert await client.activate("checkout", "Ashley") is not None
        assert storage.asked == 1
        for number in range(20):
            assert await client.activate("checkout", f"u{number}") is not None
        # Whether it is back is tried now and then.
        assert storage.asked <= 1 + (time.monotonic() - begun) / PROBE_INTERVAL_S


async def test_mixed_methods() -> None:
    """Each method may be of its own kind, and a plain one may return what is to be awaited."""

    class Mixed(Official):
        async def set(self, user_data: Mapping[str, Any]) -> None:  # type: ignore[override]
            super().set(user_data)

        def get(self, user_id: str, campaign_key: str) -> Any:
            async def answer() -> Any:
                return self.rows.get((user_id, campaign_key))

            return answer()

    async with client_with(Mixed()) as client:
        assert await client.activate("checkout", "Ashley") == "Variation-1"
        assert await client.activate("checkout", "Bill") is not None
        assert await client.get_variation_name("checkout", "Bill") is not None


async def test_many_records_in_one_call() -> None:
    """A storage that can read many records at once is asked once for all campaigns of a call."""

    class Many(MemoryUserStorage):
        asked: list[list[str]]

        async def get_many(self, user_id: str, campaign_keys: Any) -> Mapping[str, Any]:
            self.asked.append(list(campaign_keys))
            return {key: await self.get(user_id, key) for key in campaign_keys}

    storage = Many([ROW])
    storage.asked = []
    async with client_with(storage) as client:
        result = await client.track(["checkout", "search"], "Ashley", "signup")
        assert result["checkout"].variation_name == "Variation-1"
        assert storage.asked == [["checkout", "search"]]


@pytest.mark.parametrize("answer", [OSError(), 5, None, {"checkout": 5}])
async def test_broken_get_many(answer: Any) -> None:
    """What get_many answers is trusted no more than what get does."""

    class Many(MemoryUserStorage):
        async def get_many(self, user_id: str, campaign_keys: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    async with client_with(Many([ROW])) as client:
        result = await client.track(["checkout", "search"], "Ashley", "signup")
        # Only who was looked up is known not to have been activated.
        expected = Reason.NOT_ACTIVATED if isinstance(answer, dict) else Reason.STORAGE_ERROR
        assert {one.reason for one in result.values()} == {expected}
        assert result.notes[0].startswith("user storage: get")


async def test_memory_is_bounded() -> None:
    """The least recently used record goes first, and its claims with it."""
    storage = MemoryUserStorage(max_records=2)
    rows = [{**ROW, "userId": name} for name in "abc"]
    await storage.set(rows[0])
    await storage.set(rows[1])
    assert await storage.claim_goal("b", "checkout", "signup")
    assert await storage.get("a", "checkout") == rows[0]
    await storage.set(rows[2])
    assert await storage.get("b", "checkout") is None
    assert await storage.get("a", "checkout") == rows[0]
    assert len(storage) == 2
    assert await storage.claim_goal("b", "checkout", "signup")


async def test_memory_forgets_in_time() -> None:
    """A record is gone when its time is over, which begins anew with each write."""
    now = 0.0
    storage = MemoryUserStorage(ttl_s=10, clock=lambda: now)
    await storage.set(ROW)
    now = 9.0
    await storage.set(ROW)
    now = 18.0
    assert await storage.get("Ashley", "checkout") == ROW
    now = 19.0
    assert await storage.get("Ashley", "checkout") is None
    assert len(storage) == 0


@pytest.mark.parametrize("bounds", [{"max_records": 0}, {"ttl_s": 0}, {"ttl_s": -1}])
def test_memory_bounds(bounds: dict[str, Any]) -> None:
    """A bound that would keep nothing is refused."""
    with pytest.raises(InvalidInputError):
        MemoryUserStorage(**bounds)
