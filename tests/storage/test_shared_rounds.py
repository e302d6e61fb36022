"""Calls that share rounds of a storage: how many there are, and that each call has its own outcome."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from own_time import Stopwatch
from sample import row, settings

from vwo_async import Reason, StorageError, TrackResult, VWOClient
from vwo_async._core.decision import Stored
from vwo_async._storage.access import MAX_REQUESTS, StorageAccess
from vwo_async._wake import wake_now
from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.rounds import (
    AssignVariation,
    CountConversion,
    ReadRecord,
    StorageOutcome,
    StorageRequest,
    WithdrawConversion,
)
from vwo_async.storage.sql import SqlUserStorage
from vwo_async.testing import RecordingTransport

pytestmark = [pytest.mark.anyio, pytest.mark.no_debug]

TIMEOUT_S = 0.3
VISITOR = ContextVar("visitor", default="")


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


@asynccontextmanager
async def counting_turns() -> AsyncIterator[Callable[[], int]]:
    """Count the turns of the loop; yield what returns their number."""
    turn = 0

    async def count() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    counter = asyncio.create_task(count())
    try:
        yield lambda: turn
    finally:
        counter.cancel()


async def test_those_who_share_a_round_go_on_in_turns() -> None:
    """Of 128 calls that a round has answered a hundred go on in one turn of the loop, and the rest in another."""
    users = [f"u{number}" for number in range(128)]
    storage = Rounds(*users)
    ended_in: Counter[int] = Counter()
    async with (
        client_with(storage, storage_timeout_s=10) as client,
        counting_turns() as find_turn,
    ):

        async def activate(user: str) -> None:
            assert await client.activate("checkout", user)
            ended_in[find_turn()] += 1

        await asyncio.gather(*map(activate, users))
    # On a busy machine they may come in two turns, which makes two rounds.
    assert sum(map(len, storage.rounds)) == 128
    assert max(ended_in.values()) <= 100
    assert ended_in.total() == 128


async def test_full_rounds_begin_in_turns_of_their_own() -> None:
    """However many calls ask at once, a turn of the loop writes no more than one full round of reads."""
    users = [f"u{number}" for number in range(400)]
    begun_in: list[int] = []

    class Noting(Rounds):
        async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
            begun_in.append(find_turn())
            return await super().run_round(requests)

    async with counting_turns() as find_turn:
        access = StorageAccess(Noting(*users), 10)
        found = await asyncio.gather(
            *(access.read_one(one, "checkout", [], access.find_deadline()) for one in users)
        )
        await access.aclose(1)
    assert all(type(one) is Stored for one in found)
    assert len(set(begun_in)) == len(begun_in) == ceil(len(users) / MAX_REQUESTS)


@pytest.mark.parametrize("trouble", ["none", "withdrawal", "failure"])
async def test_in_trouble_calls_go_on_at_once(trouble: str) -> None:
    """What was read stays no longer in hand than need be while a conversion is taken back, or after a failure."""
    free = asyncio.Event()

    class Hanging(Rounds):
        async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
            if isinstance(requests[0], WithdrawConversion):
                await free.wait()
            elif trouble == "failure":
                raise StorageError("gone")
            return await super().run_round(requests)

    waiting: list[asyncio.Future[Any]] = []

    def wake_later(waiter: asyncio.Future[Any], result: object) -> None:
        waiting.append(waiter)
        asyncio.get_running_loop().call_soon(wake_now, waiter, result)

    access = StorageAccess(Hanging("Ashley", "Bill"), 10, wake=wake_later)
    if trouble == "withdrawal":
        access.withdraw_soon(WithdrawConversion("Chris", "checkout", "signup", "x"))
    await asyncio.gather(
        *(
            access.read_one(one, "checkout", [], access.find_deadline())
            for one in ("Ashley", "Bill")
        )
    )
    assert len(waiting) == (2 if trouble == "none" else 0)
    free.set()
    await access.aclose(1)


async def test_an_answer_that_is_older_than_what_was_taken_back() -> None:
    """A goal that was taken back while its record was on its way does not count as reached."""
    free = asyncio.Event()

    class Late(Rounds):
        async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
            answers = await super().run_round(requests)
            if isinstance(requests[0], ReadRecord):
                await free.wait()
            return answers

    storage = Late("Ashley")
    access = StorageAccess(storage, 10)
    claim = ("Ashley", "checkout", "signup", "an owner")
    assert await storage.answer(CountConversion(*claim, None))

    async def read() -> Any:
        return await access.read_one("Ashley", "checkout", [], access.find_deadline())

    reading = asyncio.create_task(read())
    while not storage.rounds:
        await asyncio.sleep(0)
    access.withdraw_soon(WithdrawConversion(*claim))
    while storage.under_way or len(storage.rounds) < 2:
        await asyncio.sleep(0.001)
    free.set()
    assert (await reading).goals == ()
    # What is asked for later is as the storage says.
    assert await storage.answer(CountConversion(*claim, None))
    assert (await read()).goals == ("signup",)
    await access.aclose(1)


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


async def test_a_lone_caller_waits_for_nobody() -> None:
    """Who asks alone, again and again, is asked for at once; two in one turn of the loop share the next round."""
    storage = Rounds("Ashley", "Bill", "Chris")
    async with client_with(storage) as client:
        for _ in range(3):
            await client.activate("checkout", "Ashley")
        assert [len(one) for one in storage.rounds] == [1, 1, 1]
        storage.rounds.clear()
        await track_all(client, ["Ashley", "Bill", "Chris"])
        await track_all(client, ["Ashley", "Bill", "Chris"])
        reads = [len(one) for one in storage.rounds if isinstance(one[0], ReadRecord)]
        assert reads == [1, 2, 3]


async def test_campaigns_of_a_call_go_together() -> None:
    """What one call asks is one round, also after rounds of one request."""
    storage = Rounds("Ashley")
    async with client_with(storage) as client:
        for _ in range(2):
            await client.activate("checkout", "Ashley")
        storage.rounds.clear()
        await client.track(["checkout", "search"], "Ashley", "signup")
        assert [one.campaign_key for one in storage.rounds[0] if isinstance(one, ReadRecord)] == [
            "checkout",
            "search",
        ]


async def test_nobody_waits_for_a_round_that_has_ended() -> None:
    """A call that comes when no round is under way leaves in this turn of the loop, whatever was before."""
    storage = Rounds("Ashley", "Bill", "Chris")
    async with client_with(storage) as client:
        first = asyncio.ensure_future(client.activate("checkout", "Ashley"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(storage.rounds) == 1
        await asyncio.gather(first, client.activate("checkout", "Bill"))
        assert len(storage.rounds) == 2
        last = asyncio.ensure_future(client.activate("checkout", "Chris"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(storage.rounds) == 3
        await last


async def test_a_round_is_in_the_context_of_nobody() -> None:
    """It is of many callers, and begins while one of them, or the round before, is running."""

    visitors: set[str] = set()

    class Looking(Rounds):
        async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
            visitors.add(VISITOR.get())
            return await super().run_round(requests)

    users = [f"u{number}" for number in range(300)]
    storage = Looking(*users)
    async with client_with(storage, storage_timeout_s=10) as client:

        async def visit(user_id: str) -> None:
            VISITOR.set(user_id)
            assert await client.track("checkout", user_id, "signup")

        await visit("u0")
        await asyncio.gather(*map(visit, users[1:]))
    assert visitors == {""}


async def test_rounds_that_need_not_wait() -> None:
    """Any number of calls that have waited are answered by a storage that then answers each round at once."""
    gate = asyncio.Event()

    class AtOnce(Rounds):
        async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
            if not gate.is_set():
                await gate.wait()
            return [self._inner.answer(one) for one in requests]

    users = [f"u{number}" for number in range(30_000)]
    async with client_with(AtOnce(*users), storage_timeout_s=60) as client:
        calls = [asyncio.ensure_future(client.activate("checkout", one)) for one in users]
        while client._engine.storage._reads.size < 29_000:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        gate.set()
        assert set(await asyncio.gather(*calls)) == {"Variation-1"}
        assert client.statistics().storage_errors == 0


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_subclass_with_rounds_of_its_own(kind: str, tmp_path: Path) -> None:
    """Its `run_round` is used: no shorter way of the class above goes past it."""
    base: Any = MemoryUserStorage if kind == "memory" else SqlUserStorage
    asked: list[type] = []

    class Mine(base):  # type: ignore[misc]
        async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
            asked.extend(map(type, requests))
            outcomes: Sequence[StorageOutcome] = await super().run_round(requests)
            return outcomes

    storage = Mine() if kind == "memory" else Mine.from_url(f"sqlite:///{tmp_path / 'users.db'}")
    if kind == "sqlite":
        await storage.create_tables()
    async with client_with(storage, storage_timeout_s=10) as client:
        assert await client.activate("checkout", "Ashley")
    assert asked == [ReadRecord, AssignVariation]
    if kind == "sqlite":
        await storage.aclose()


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
        watch = Stopwatch()
        for start in range(0, 200, 20):
            assert await track_all(client, users[start : start + 20]) == {Reason.TRACKED: 20}
        watch.assert_below(TIMEOUT_S)
        assert reason_of(await hanging) is Reason.STORAGE_ERROR
        watch.assert_below(2 * TIMEOUT_S)
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
