"""Calls that share rounds of a storage: how many there are, and that each call has its own outcome."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from sample import settings

from vwo_async import Reason, TrackResult, VWOClient
from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.rounds import (
    AssignVariation,
    CountConversion,
    ReadRecord,
    StorageOutcome,
    StorageRequest,
)
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio

TIMEOUT_S = 0.3


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """A loop as services run it."""
    return "asyncio", {"debug": False}


def row(user_id: str) -> dict[str, Any]:
    return {"userId": user_id, "campaignKey": "checkout", "variationName": "Variation-1"}


class Rounds:
    """A storage that takes rounds, and keeps a list of them."""

    def __init__(self, *users: str) -> None:
        self._inner = MemoryUserStorage([row(user) for user in users])
        self.rounds: list[Sequence[StorageRequest]] = []
        self.under_way = 0
        self.most_at_once = 0

    async def get(self, user_id: str, campaign_key: str) -> Any:
        raise NotImplementedError

    async def set(self, data: Any) -> None:
        raise NotImplementedError

    async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
        self.rounds.append(requests)
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await asyncio.sleep(0.001)
            return [await self.answer(one) for one in requests]
        finally:
            self.under_way -= 1

    async def answer(self, request: StorageRequest) -> StorageOutcome:
        return self._inner.answer(request)


def client_with(storage: Any, **options: Any) -> VWOClient:
    options.setdefault("storage_timeout_s", TIMEOUT_S)
    return VWOClient(settings(), user_storage=storage, transport=RecordingTransport(), **options)


def reason_of(result: TrackResult) -> Reason:
    return result["checkout"].reason


async def track_all(client: VWOClient, users: Sequence[str]) -> Counter[Reason]:
    results = await asyncio.gather(*(client.track("checkout", one, "signup") for one in users))
    return Counter(map(reason_of, results))


async def test_a_thousand_callers_share_a_few_rounds() -> None:
    """Of 1,000 calls in one turn of the loop nobody waits for a round of his own, and none is too large."""
    users = [f"u{number}" for number in range(1000)]
    storage = Rounds(*users)
    async with client_with(storage, storage_timeout_s=10) as client:
        assert await track_all(client, users) == {Reason.TRACKED: 1000}
    assert len(storage.rounds) < 40
    assert max(map(len, storage.rounds)) <= 128
    # Reads and writes are apart, and four of each at a time at most.
    assert storage.most_at_once <= 8
    kinds = [{type(one) for one in requests} for requests in storage.rounds]
    assert all(kind in ({ReadRecord}, {CountConversion}) for kind in kinds)


async def test_two_requests_for_a_conversion() -> None:
    """A known user is read, and his conversion claimed and marked in one step; a new one is read and stored."""
    storage = Rounds("Ashley")
    async with client_with(storage) as client:
        assert await client.track("checkout", "Ashley", "signup")
        assert [type(one) for requests in storage.rounds for one in requests] == [
            ReadRecord,
            CountConversion,
        ]
        storage.rounds.clear()
        assert await client.activate("checkout", "Bill")
        assert [type(one) for requests in storage.rounds for one in requests] == [
            ReadRecord,
            AssignVariation,
        ]
        storage.rounds.clear()
        assert not await client.track("checkout", "Ashley", "signup")
        assert await client.activate("checkout", "Ashley") == "Variation-1"
        assert [type(one) for requests in storage.rounds for one in requests] == [ReadRecord] * 2


@pytest.mark.parametrize("kind", [ReadRecord, CountConversion])
async def test_one_poisoned_request(kind: type) -> None:
    """Where one request of a round fails, one caller hears of it."""

    class Poisoned(Rounds):
        async def answer(self, request: StorageRequest) -> StorageOutcome:
            if isinstance(request, kind) and request[0] == "u7":
                return ValueError("of u7")
            return await super().answer(request)

    users = [f"u{number}" for number in range(20)]
    async with client_with(Poisoned(*users), on_storage_error="refuse") as client:
        calls = [client.track("checkout", one, "signup") for one in users]
        results = await asyncio.gather(*calls)
        failed = [user for user, one in zip(users, results, strict=True) if not one]
        assert failed == ["u7"]
        assert reason_of(results[7]) is Reason.STORAGE_ERROR
        assert [len(one.notes) for one in results] == [user == "u7" for user in users]
        assert "of u7" not in str(results[7].notes)
        assert client.statistics().storage_errors == 1


async def test_a_round_that_hangs() -> None:
    """It costs those who share it the time-out, and the calls beside and after it nothing."""

    class OneHangs(Rounds):
        async def answer(self, request: StorageRequest) -> StorageOutcome:
            if request[0] == "hanging":
                await asyncio.sleep(3600)
            return await super().answer(request)

    users = [f"u{number}" for number in range(200)]
    async with client_with(OneHangs("hanging", *users)) as client:
        hanging = asyncio.ensure_future(client.track("checkout", "hanging", "signup"))
        await asyncio.sleep(0)
        begin = time.monotonic()
        for start in range(0, 200, 20):
            assert await track_all(client, users[start : start + 20]) == {Reason.TRACKED: 20}
        assert time.monotonic() - begin < TIMEOUT_S
        assert reason_of(await hanging) is Reason.STORAGE_ERROR
        assert time.monotonic() - begin < 2 * TIMEOUT_S
        # The others were answered meanwhile, so the storage is well.
        assert await client.activate("checkout", "u1") == "Variation-1"


@pytest.mark.parametrize("fault", ["raises", "cancelled", "too few", "no sequence"])
async def test_rounds_that_fail(fault: str) -> None:
    """What a round raises, or answers against the protocol, is the failure of each who shares it."""

    class Failing(Rounds):
        async def run_round(self, requests: Sequence[StorageRequest]) -> Any:
            if fault == "raises":
                raise ConnectionError("Ashley")
            if fault == "cancelled":
                raise asyncio.CancelledError
            return [None] if fault == "too few" else None

    async with client_with(Failing("Ashley")) as client:
        calls = [client.track("checkout", user, "signup") for user in ("Ashley", "Bill", "Chris")]
        results = await asyncio.gather(*calls)
        assert {reason_of(one) for one in results} == {Reason.STORAGE_ERROR}
        assert all(one.notes for one in results)
        assert not any("Ashley" in note for one in results for note in one.notes)


async def test_a_subclass_with_methods_of_its_own() -> None:
    """A `get` or `set` that a subclass replaces is used: rounds would go past it."""
    asked: list[str] = []

    class Mine(MemoryUserStorage):
        async def get(self, user_id: str, campaign_key: str) -> Any:
            asked.append(user_id)
            return await super().get(user_id, campaign_key)

    class Wrapped(MemoryUserStorage):
        pass

    wrapped = Wrapped([row("Ashley")])

    async def set_elsewhere(data: Any) -> None:
        asked.append("set")

    wrapped.set = set_elsewhere  # type: ignore[method-assign]
    async with client_with(Mine([row("Ashley")])) as client:
        assert await client.activate("checkout", "Ashley") == "Variation-1"
    assert asked == ["Ashley"]
    async with client_with(wrapped) as client:
        assert await client.track("checkout", "Ashley", "signup")
    assert asked == ["Ashley", "set"]


def show(result: TrackResult) -> Any:
    """Return what a result says of each campaign, whatever has become of its delivery."""
    return {key: (one.tracked, one.reason, one.variation_name) for key, one in result.items()}


@pytest.mark.parametrize("campaigns", [["checkout"], ["checkout", "search"]])
async def test_both_ways_of_a_call_agree(campaigns: list[str]) -> None:
    """The quick way of a call about one campaign and the full one give the same results."""
    users = {
        "known": row("known"),
        "counted": {**row("counted"), "goalIdentifier": "signup"},
        "gone": {**row("gone"), "variationName": "gone"},
    }
    found = []
    for meta_data in (None, {"n": 1}):
        storage = MemoryUserStorage(users.values())
        async with client_with(storage) as client:
            for user in (*users, "unknown"):
                for goal in ("signup", "often", "signup", "purchase", "nothing"):
                    result = await client.track(campaigns, user, goal, meta_data=meta_data)
                    single = await client.track("checkout", user, goal, meta_data=meta_data)
                    found += [(show(one), one.notes) for one in (result, single)]
    half = len(found) // 2
    assert found[:half] == found[half:]
