"""Claims: each conversion once, whoever else is at work, and none lost for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from sample import campaign, settings

from vwo_async import ClosedError, Reason, VWOClient
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Limits

pytestmark = pytest.mark.anyio

ROW = {"userId": "Ashley", "campaignKey": "checkout", "variationName": "Variation-1"}


class Shared(MemoryUserStorage):
    """A storage as several processes see it: another may come between any two calls."""

    def __init__(self, **options: Any) -> None:
        super().__init__([ROW], **options)
        self.claims: list[str] = []
        self.released: list[str] = []
        self.fault: Any = None

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        await asyncio.sleep(0)
        self.claims.append(goal_identifier)
        is_first = await super().claim_goal(user_id, campaign_key, goal_identifier)
        if isinstance(self.fault, Exception):
            raise self.fault
        if self.fault is not None:
            await asyncio.sleep(self.fault)
        return is_first

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        self.released.append(goal_identifier)
        await super().release_goal(user_id, campaign_key, goal_identifier)


def client_with(storage: Any, **options: Any) -> VWOClient:
    options.setdefault("transport", RecordingTransport())
    return VWOClient(settings(), user_storage=storage, **options)


async def test_two_clients_count_once() -> None:
    """Of many calls of several clients on one storage, one counts; the others say that it was counted."""
    storage = Shared()
    clients = [client_with(storage) for _ in range(4)]
    calls = [one.track("checkout", "Ashley", "signup") for one in clients for _ in range(25)]
    results = await asyncio.gather(*calls)
    assert sum(map(bool, results)) == 1
    reasons = [one["checkout"].reason for one in results if not one]
    assert reasons == [Reason.ALREADY_TRACKED] * 99
    assert {one["checkout"].variation_name for one in results} == {"Variation-1"}
    for client in clients:
        await client.aclose()
    assert sum(client.statistics().delivered for client in clients) == 1


async def test_overlapping_calls_of_one_client_ask_once() -> None:
    """A crowd of calls for one user shares what the first of them learnt from the storage."""

    class Counting(Shared):
        gets = 0

        async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
            self.gets += 1
            await asyncio.sleep(0)
            return await super().get(user_id, campaign_key)

    storage = Counting()
    async with client_with(storage) as client:
        calls = [client.track("checkout", "Ashley", "signup") for _ in range(500)]
        results = await asyncio.gather(*calls)
        assert sum(map(bool, results)) == 1
        # Those who came after it had begun to read may read once more.
        assert storage.gets < 10
        assert storage.claims == ["signup"]
        # Whoever comes later sees what is stored by then.
        await storage.set({**ROW, "variationName": "Control"})
        result = await client.track("checkout", "Ashley", "often")
        assert result["checkout"].variation_name == "Control"


async def test_repeatable_goals_are_not_claimed() -> None:
    """A goal that counts each time, and returning users that count again, claim nothing."""
    storage = Shared()
    async with client_with(storage) as client:
        for _ in range(2):
            assert await client.track("checkout", "Ashley", "often")
            assert await client.track(
                "checkout", "Ashley", "signup", should_track_returning_user=True
            )
    assert not storage.claims


async def test_forced_users_and_given_records_are_not_claimed() -> None:
    """A forced variation is not stored, and who brings the record answers for it: nothing to claim."""
    forced = campaign(11, "checkout", isForcedVariationEnabled=True)
    forced["variations"][1]["segments"] = {"or": [{"user": "Ashley"}]}
    storage = Shared()
    transport = RecordingTransport()
    async with VWOClient(settings(forced), user_storage=storage, transport=transport) as client:
        for _ in range(2):
            assert await client.track("checkout", "Ashley", "signup")
    async with client_with(storage) as client:
        for _ in range(2):
            assert await client.track("checkout", "Ashley", "signup", user_storage_data=ROW)
    assert not storage.claims


async def test_a_lost_conversion_can_be_claimed_again() -> None:
    """Where VWO refuses the event, claim and mark are taken back, and the next call counts."""
    storage = Shared()
    transport = RecordingTransport([Answer(400)])
    async with client_with(storage, transport=transport) as client:
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result["checkout"].reason is Reason.NOT_DELIVERED
        await asyncio.sleep(0.01)
        assert storage.released == ["signup"]
        stored = await storage.get("Ashley", "checkout")
        assert stored is not None and "goalIdentifier" not in stored
        assert await client.track("checkout", "Ashley", "signup", wait=True)
        assert not await client.track("checkout", "Ashley", "signup", wait=True)


async def test_a_full_queue_gives_the_claim_back() -> None:
    """What the queue refuses was not counted, so it can be claimed again."""
    storage = Shared()
    async with client_with(storage, limits=Limits(max_bytes=1)) as client:
        result = await client.track("checkout", "Ashley", "signup")
        assert result["checkout"].reason is Reason.QUEUE_FULL
    assert storage.released == ["signup"]
    async with client_with(storage) as client:
        assert await client.track("checkout", "Ashley", "signup")


async def test_a_cancelled_call_gives_the_claim_back() -> None:
    """A caller who is gone before his conversion was put takes no claim with him."""
    storage = Shared()
    storage.fault = 0.02
    async with client_with(storage) as client:
        call = asyncio.create_task(client.track("checkout", "Ashley", "signup"))
        while not storage.claims:
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()
        storage.fault = None
        assert client.statistics().accepted == 0
    assert storage.released == ["signup"]
    async with client_with(storage) as client:
        assert await client.track("checkout", "Ashley", "signup")


async def test_closing_meanwhile_gives_the_claim_back() -> None:
    """A call that finds the client closed when it has its claim puts nothing and claims nothing."""
    storage = Shared()
    storage.fault = 0.02
    client = client_with(storage)
    call = asyncio.create_task(client.track("checkout", "Ashley", "signup"))
    while not storage.claims:
        await asyncio.sleep(0)
    await client.aclose()
    with pytest.raises(ClosedError):
        await call
    while not storage.released:
        await asyncio.sleep(0)
    assert client.statistics().accepted == 0


@pytest.mark.parametrize("fault", [OSError("SECRETKEY123"), 3600], ids=["raises", "hangs"])
async def test_failing_claims(fault: Any) -> None:
    """Where nobody can say who counts, the policy decides: count, or refuse and give back."""
    storage = Shared()
    storage.fault = fault
    kind = "raised OSError" if isinstance(fault, Exception) else "timed out"
    async with client_with(storage, storage_timeout_s=0.02) as client:
        result = await client.track("checkout", "Ashley", "signup")
        assert result
        assert result.notes[0] == f"user storage: claim_goal {kind}"
        assert client.statistics().storage_errors == len(result.notes)
    storage = Shared()
    storage.fault = fault
    async with client_with(storage, storage_timeout_s=0.02, on_storage_error="refuse") as client:
        result = await client.track("checkout", "Ashley", "signup")
        assert result["checkout"].reason is Reason.STORAGE_ERROR
        assert result["checkout"].variation_name == "Variation-1"
        assert client.statistics().accepted == 0
    assert storage.released == ["signup"]


async def test_an_identifier_that_no_record_can_hold() -> None:
    """A goal whose identifier holds the separator counts each time, as in every SDK."""
    odd = campaign(11, "checkout")
    odd["goals"] = [{"id": 1, "identifier": "a_vwo_b", "type": "CUSTOM_GOAL"}]
    transport = RecordingTransport()
    async with VWOClient(settings(odd), user_storage=Shared(), transport=transport) as client:
        assert await client.track("checkout", "Ashley", "a_vwo_b")
        assert await client.track("checkout", "Ashley", "a_vwo_b")


async def test_claims_of_a_former_variation_count_for_nothing() -> None:
    """A user whose variation is gone is assigned anew, and his conversion counts for the new one."""
    storage = Shared()
    async with client_with(storage) as client:
        assert await client.track("checkout", "Ashley", "signup")
    row = await storage.get("Ashley", "checkout")
    assert row is not None
    await storage.set({**row, "variationName": "gone"})
    async with client_with(storage) as client:
        assert await client.track("checkout", "Ashley", "signup")
        assert not await client.track("checkout", "Ashley", "signup")


async def test_an_assignment_does_not_undo_a_conversion() -> None:
    """Two activations that overlap with a conversion leave it in the record."""

    class Slow(MemoryUserStorage):
        async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
            row = await super().get(user_id, campaign_key)
            if self.slow:
                self.slow = False
                await asyncio.sleep(0.02)
            return row

        slow = True

    storage = Slow()
    async with client_with(storage) as client:
        late = asyncio.create_task(client.activate("checkout", "Ashley"))
        await asyncio.sleep(0)
        await client.activate("checkout", "Ashley")
        assert await client.track("checkout", "Ashley", "signup")
        await late
    row = await storage.get("Ashley", "checkout")
    assert row is not None
    assert row["goalIdentifier"] == "signup"
