"""The user storage: sticky users, each conversion once, and never a page held up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from own_time import Stopwatch
from sample import campaign, row, settings
from vector import RecordingStorage

from vwo_async import Reason, VWOClient
from vwo_async.storage import MemoryUserStorage, StoredDecision
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio


def client_with(storage: Any, **options: Any) -> VWOClient:
    return VWOClient(settings(), user_storage=storage, transport=RecordingTransport(), **options)


@pytest.mark.parametrize("spelling", ["goalIdentifier", "goalIdentifiers"])
async def test_both_spellings_are_read(spelling: str) -> None:
    """Goals that either official spelling records are not counted again."""
    async with client_with(MemoryUserStorage([row(**{spelling: "x_vwo_signup"})])) as client:
        again = await client.track("checkout", "Ashley", "signup", wait=True)
        assert again["checkout"].reason is Reason.ALREADY_TRACKED
        assert again["checkout"].variation_name == "Variation-1"
        assert await client.track("checkout", "Ashley", "often", wait=True)


async def test_goals_are_joined() -> None:
    """A second goal is appended to the record, so that neither is counted again."""
    storage = RecordingStorage([row()])
    async with client_with(storage) as client:
        for goal in ("signup", "purchase"):
            assert await client.track("checkout", "Ashley", goal, revenue_value=5)
        for goal in ("signup", "purchase"):
            assert not await client.track("checkout", "Ashley", goal, revenue_value=5)
    assert [one["goalIdentifier"] for one in storage.sets] == ["signup", "signup_vwo_purchase"]


async def test_stored_variation_wins() -> None:
    """A stored user keeps his variation, whatever bucketing says, and is not reported again."""
    storage = RecordingStorage([row()])
    transport = RecordingTransport()
    async with VWOClient(settings(), user_storage=storage, transport=transport) as client:
        assert await client.activate("checkout", "Ashley", wait=True) == "Variation-1"
        assert not transport.requests
        assert not storage.sets
        await client.activate("checkout", "Ashley", should_track_returning_user=True, wait=True)
        assert len(transport.requests) == 1


async def test_activation_is_mandatory() -> None:
    """With a storage, track and get_variation_name know only users who were activated."""
    async with client_with(MemoryUserStorage()) as client:
        result = await client.track("checkout", "Ashley", "signup")
        assert result["checkout"].reason is Reason.NOT_ACTIVATED
        assert await client.get_variation_name("checkout", "Ashley") is None
        assert await client.activate("checkout", "Ashley") == "Control"
        assert await client.track("checkout", "Ashley", "signup")


async def test_returning_users_can_be_tracked_again() -> None:
    """should_track_returning_user counts a conversion again, by call or by launch, the call first."""
    stored = row(goalIdentifier="signup")
    async with client_with(MemoryUserStorage([stored])) as client:
        assert not await client.track("checkout", "Ashley", "signup")
        assert await client.track("checkout", "Ashley", "signup", should_track_returning_user=True)
    async with client_with(MemoryUserStorage([stored]), should_track_returning_user=True) as client:
        assert await client.track("checkout", "Ashley", "signup")
        assert not await client.track(
            "checkout", "Ashley", "signup", should_track_returning_user=False
        )


async def test_repeatable_goal() -> None:
    """A goal with mca -1 counts every time."""
    async with client_with(MemoryUserStorage([row(goalIdentifier="often")])) as client:
        assert await client.track("checkout", "Ashley", "often")
        assert await client.track("checkout", "Ashley", "often")


async def test_meta_data_is_stored() -> None:
    """What the caller gives as meta_data reaches the storage with the decision."""
    storage = RecordingStorage()
    async with client_with(storage) as client:
        await client.activate("checkout", "Ashley", meta_data={"browser": "x"})
        await client.track("checkout", "Ashley", "signup", meta_data={"browser": "y"})
    assert storage.sets == [
        {
            "userId": "Ashley",
            "campaignKey": "checkout",
            "variationName": "Control",
            "metaData": {"browser": "x"},
        },
        {
            "userId": "Ashley",
            "campaignKey": "checkout",
            "variationName": "Control",
            "goalIdentifier": "signup",
            "metaData": {"browser": "y"},
        },
    ]


@pytest.mark.parametrize("variation_name", ["Variation-1", "gone"])
async def test_empty_meta_data_takes_the_place_of_what_is_stored(variation_name: str) -> None:
    """An empty meta_data leaves none in the record; a call without it leaves what is there."""
    stored = row(variationName=variation_name, metaData={"browser": "x"})
    left: list[object] = []
    given: tuple[dict[str, str] | None, ...] = (None, {})
    for meta_data in given:
        storage = RecordingStorage([stored])
        async with client_with(storage) as client:
            assert await client.track("checkout", "Ashley", "signup", meta_data=meta_data)
            assert len(storage.sets) == 1
            left.append(storage.sets[0].get("metaData"))
    assert left == [{"browser": "x"}, None]


async def test_a_stale_record_is_replaced_with_one_write() -> None:
    """A storage with get and set alone is written once where the stored variation is gone."""
    storage = RecordingStorage([row(variationName="gone")])
    async with client_with(storage) as client:
        assert await client.track("checkout", "Ashley", "signup")
    assert [one["goalIdentifier"] for one in storage.sets] == ["signup"]


async def test_user_storage_data_stands_in_for_get() -> None:
    """A record given with the call is used in place of reading; writing goes on."""
    storage = RecordingStorage()
    async with client_with(storage) as client:
        result = await client.track("checkout", "Ashley", "signup", user_storage_data=row())
        assert result["checkout"].variation_name == "Variation-1"
        assert not storage.gets
        assert storage.sets[0]["variationName"] == "Variation-1"
        foreign = row(userId="Bill")
        result = await client.track("checkout", "Ashley", "signup", user_storage_data=foreign)
        assert result["checkout"].reason is Reason.NOT_ACTIVATED


async def test_whitelisted_users_are_not_stored() -> None:
    """A forced variation must not stick."""
    forced = campaign(11, "checkout", isForcedVariationEnabled=True)
    forced["variations"][1]["segments"] = {"or": [{"user": "Ashley"}]}
    storage = RecordingStorage()
    async with VWOClient(
        settings(forced), user_storage=storage, transport=RecordingTransport()
    ) as client:
        assert await client.activate("checkout", "Ashley") == "Variation-1"
        assert await client.track("checkout", "Ashley", "signup")
    assert not storage.gets
    assert not storage.sets


class Broken:
    """A storage that fails in one of many ways."""

    def __init__(self, fault: Any) -> None:
        self.fault = fault

    async def get(self, user_id: str, campaign_key: str) -> Any:
        return await self._fail()

    async def set(self, data: Mapping[str, Any]) -> Any:
        return await self._fail()

    async def _fail(self) -> Any:
        if isinstance(self.fault, Exception):
            raise self.fault
        if self.fault == "hang":
            await asyncio.sleep(3600)
        return self.fault


@pytest.mark.parametrize(
    "fault",
    [
        RuntimeError("SECRETKEY123"),
        "hang",
        "garbage",
        5,
        [],
        row(userId="Bill"),
        row(campaignKey="search"),
    ],
    ids=repr,
)
async def test_broken_storage(fault: Any) -> None:
    """A storage that raises, hangs or answers nonsense means no record, in bounded time, and is noted.

    That a user was not activated is said only where the storage has answered.
    """
    transport = RecordingTransport()
    async with VWOClient(
        settings(), user_storage=Broken(fault), transport=transport, storage_timeout_s=0.02
    ) as client:
        assert await client.activate("checkout", "Ashley", wait=True) == "Control"
        assert len(transport.requests) == 1
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        is_unread = isinstance(fault, Exception) or fault == "hang"
        expected = Reason.STORAGE_ERROR if is_unread else Reason.NOT_ACTIVATED
        assert result["checkout"].reason is expected
        assert result.notes[0].startswith("user storage: ")
        assert client.statistics().storage_errors >= 2


@pytest.mark.timed
async def test_hanging_storage_is_left_alone() -> None:
    """A storage that hangs adds its time-out to the first calls and nothing to the next, and heals alone."""
    storage = Broken("hang")
    transport = RecordingTransport()
    async with VWOClient(
        settings(), user_storage=storage, transport=transport, storage_timeout_s=0.05
    ) as client:
        watch = Stopwatch()
        await asyncio.gather(*(client.track("checkout", "Ashley", "signup") for _ in range(20)))
        watch.assert_below(0.5)
        watch = Stopwatch()
        for number in range(50):
            await client.get_variation_name("checkout", f"u{number}")
        watch.assert_below(0.5)
        # It is tried again beside the calls, none of which waits for that either.
        await asyncio.sleep(0.2)
        watch = Stopwatch()
        assert await client.get_variation_name("checkout", "Ashley") is None
        watch.assert_below(0.04)
        storage.fault = row()
        await asyncio.sleep(0.5)
        # It has answered meanwhile, so even the first call after the stall has its answer.
        assert await client.get_variation_name("checkout", "Ashley") == "Variation-1"


async def test_unread_records_are_not_written_over() -> None:
    """Where the storage did not answer in time, what it holds is not known and stays as it is."""

    class Stalling(MemoryUserStorage):
        stalls = True

        async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
            if self.stalls and user_id == "other":
                await asyncio.sleep(3600)
            return await super().get(user_id, campaign_key)

    storage = Stalling([row(goalIdentifier="signup")])
    async with client_with(storage, storage_timeout_s=0.02) as client:
        for user in ("other", "Ashley"):
            assert await client.activate("checkout", user) == "Control"
    assert await storage.get("Ashley", "checkout") == row(goalIdentifier="signup")
    storage.stalls = False
    assert await storage.get("other", "checkout") is None


async def test_what_was_read_is_marked_and_what_was_not_stays() -> None:
    """Where only some was read in time, a conversion of what was is marked; nothing else is written."""

    class Stalling(MemoryUserStorage):
        stalls = True

        async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
            if self.stalls and campaign_key == "member":
                await asyncio.sleep(3600)
            return await super().get(user_id, campaign_key)

    file = settings(
        campaign(11, "checkout"),
        campaign(12, "search"),
        campaign(13, "member"),
        campaignGroups={"12": 5, "13": 5},
        groups={"5": {"name": "g", "campaigns": [12, 13], "p": [12], "et": 2}},
    )
    # The variation of the second is gone, so that its group is asked for, of which one does not answer.
    gone = row(campaignKey="search", variationName="gone")
    storage = Stalling([row(), gone])
    client = VWOClient(
        file, user_storage=storage, storage_timeout_s=0.2, transport=RecordingTransport()
    )
    async with client:
        result = await client.track(["checkout", "search"], "Ashley", "signup", wait=True)
        assert result.as_dict() == {"checkout": True, "search": True}
    assert await storage.get("Ashley", "checkout") == row(goalIdentifier="signup")
    assert await storage.get("Ashley", "search") == gone


async def test_failing_write_does_not_lose_the_event() -> None:
    """The event is on its way before the storage is told, so a failing write cannot lose it."""

    class ReadOnly(MemoryUserStorage):
        async def set(self, data: Mapping[str, Any]) -> None:
            raise OSError

    transport = RecordingTransport()
    async with VWOClient(settings(), user_storage=ReadOnly([row()]), transport=transport) as client:
        result = await client.track("checkout", "Ashley", "signup", wait=True)
        assert result
        assert result.notes == ("user storage: set raised OSError",)
        assert len(transport.requests) == 1


async def test_the_queue_is_first() -> None:
    """A conversion that the queue refuses is not marked as tracked."""
    from vwo_async.transport import Limits

    storage = RecordingStorage([row()])
    async with client_with(storage, limits=Limits(max_bytes=1)) as client:
        result = await client.track("checkout", "Ashley", "signup")
        assert result["checkout"].reason is Reason.QUEUE_FULL
    assert not storage.sets


async def test_concurrent_calls_of_one_user_count_once() -> None:
    """Calls for one user follow one another, so that a hundred at once count one conversion."""

    class Slow(MemoryUserStorage):
        async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
            await asyncio.sleep(0)
            return await super().get(user_id, campaign_key)

    async with client_with(Slow([row()])) as client:
        results = await asyncio.gather(
            *(client.track("checkout", "Ashley", "signup") for _ in range(100))
        )
        assert sum(map(bool, results)) == 1
        assert client.statistics().accepted == 1


async def test_campaigns_are_read_together() -> None:
    """All records of a call are asked for at once, not one after the other."""

    class Gate(MemoryUserStorage):
        waiting = 0
        opened = asyncio.Event()

        async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
            self.waiting += 1
            if self.waiting == 2:
                self.opened.set()
            await self.opened.wait()
            return None

    async with client_with(Gate(), storage_timeout_s=5) as client:
        result = await client.track(["checkout", "search"], "Ashley", "signup")
        assert {one.reason for one in result.values()} == {Reason.NOT_ACTIVATED}
        assert not result.notes


async def test_cancelled_caller_does_not_cut_a_write() -> None:
    """A write that has begun ends even where its caller is gone."""
    written = asyncio.Event()
    begun = asyncio.Event()

    class Slow(MemoryUserStorage):
        async def set(self, data: Mapping[str, Any]) -> None:
            begun.set()
            await asyncio.sleep(0.02)
            await super().set(data)
            written.set()

    storage = Slow()
    async with client_with(storage) as client:
        task = asyncio.create_task(client.activate("checkout", "Ashley"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert written.is_set()
    assert await storage.get("Ashley", "checkout")


def test_record_shapes() -> None:
    """A record survives its official shape; what names no campaign or variation is none."""
    record = StoredDecision("u", "c", "v", ("a", "b"), {"k": 1})
    assert record.as_dict() == {
        "userId": "u",
        "campaignKey": "c",
        "variationName": "v",
        "goalIdentifier": "a_vwo_b",
        "metaData": {"k": 1},
    }
    assert StoredDecision.from_mapping(record.as_dict()) == record
    assert StoredDecision.from_mapping({"userId": "u", "campaignKey": "c"}) is None
    # The Java SDK leaves a separator at the end.
    java = StoredDecision.from_mapping({**record.as_dict(), "goalIdentifier": "a_vwo_b_vwo_"})
    assert java == record
