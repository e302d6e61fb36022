"""The contract of user storages, as tests that you can run against your own storage.

They are plain test methods, for unittest and for pytest without any plugin::

    class TestMyStorage(UserStorageContract):
        @asynccontextmanager
        async def open_storage(self):
            async with MyStorage("db://localhost") as storage:
                yield storage

        @asynccontextmanager
        async def open_broken_storage(self):
            async with MyStorage("db://localhost:1") as storage:
                yield storage

Every test uses new users, so a server can be shared and need not be cleaned.
"""

from __future__ import annotations

import asyncio
import copy
import unittest
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from .. import Reason, TrackResult, VWOClient
from ..storage import StoredDecision
from .recording import RecordingTransport
from .storage_under_test import Call, StorageUnderTest, begin_and_cancel, parse, require, settle

Check: TypeAlias = "Callable[[Any, StorageUnderTest], Awaitable[None]]"
Place: TypeAlias = tuple[str, str]
"""User id and campaign key."""

CAMPAIGN = "checkout"
GOAL = "signup"
META_DATA: Mapping[str, Any] = {
    "plan": "pro",
    "visits": 3,
    "ratio": 0.5,
    "largest": 2**53 - 1,
    "beta": True,
    "referrer": None,
    "tags": ["a", "b"],
    "address": {"country": {"code": "pl"}, "lines": [1, 2]},
}
SOME_META_DATA: Mapping[str, Any] = {"n": 1}
HOSTILE_TEXTS = (
    "\r\nDEL everything\r\n",
    "a\x00b",
    "\x01\x1b[2J\x7f\x85",
    "\u202egnp.exe",
    "\ufeffbom\u200b\u2028",
    "👩‍👩‍👧‍👦🏴‍☠️",
    "\U0010ffff\uffff",
    "'; DROP TABLE users; --",
    '"},{"a":"',
    "100%s %n %(x)s {0} ${x}",
    "*?[a-z]_%",
    "\\x\\",
    "../../etc/passwd",
    "None",
    " ",
)
# Characters with which a storage may join user id and campaign key.
SEPARATORS = (":", "|", "/", "_", "-", ".", ",", " ", "\x00", "_vwo_", '","')
# Texts that a careless comparison takes to be equal.
SPELLINGS = ("ann", "Ann", "ANN", "an", "annn", "ann ", " ann", "ann\n", "ann\x00")
# a with grave accent, composed and not; sharp s; one, and a full-width one; i with and without dot.
ALPHABETS = (
    "\xe0",
    "a\u0300",
    "a",
    "\xdf",
    "ss",
    "\u1e9e",
    "1",
    "01",
    "1.0",
    "\uff11",
    "\u0131",
    "i",
)
# The longest user id that the client accepts, in bytes.
LONGEST_ID = 4096
# The times after which calls are cancelled, in seconds.
CUT_WAITS_S = (0.0003, 0.0006, 0.0012, 0.0025, 0.005)
# Turns of the loop, and seconds, after which calls are cancelled. The first turns come several times.
CANCEL_MOMENTS = (
    *((turns, 0.0) for turns in (*(1, 2, 3) * 5, *range(4, 12))),
    *((1, wait_s) for wait_s in CUT_WAITS_S),
)


def _run_on(opening: str) -> Callable[[Check], Callable[[Any], None]]:
    """Return a decorator that turns an async test into a plain one, run on a storage from *opening*."""

    def decorate(check: Check) -> Callable[[Any], None]:
        def test(self: UserStorageContract) -> None:
            __tracebackhide__ = True
            # Debug mode records a stack for every step, which takes longer than the time-outs of storages.
            asyncio.run(_run(self, getattr(self, opening)(), check), debug=False)

        # functools.wraps would set __wrapped__, and pytest would take its arguments for fixtures.
        test.__name__, test.__qualname__ = check.__name__, check.__qualname__
        test.__doc__, test.__module__ = check.__doc__, check.__module__
        return test

    return decorate


async def _run(
    contract: UserStorageContract, opening: AbstractAsyncContextManager[Any], check: Check
) -> None:
    __tracebackhide__ = True
    limit = asyncio.timeout(contract.timeout_s)
    try:
        async with limit, opening as storage:
            await check(contract, StorageUnderTest(storage))
    except TimeoutError:
        if not limit.expired():
            raise
        text = f"the storage hangs: this had not ended after {contract.timeout_s:g} s"
        raise AssertionError(text) from None


_on_storage = _run_on("open_storage")
_on_broken_storage = _run_on("open_broken_storage")


class UserStorageContract:
    """Tests that a user storage does what the client needs. Subclass it and override `open_storage`.

    Attributes:
        has_claims: Whether the storage must have `claim_goal` and `release_goal`. With None they are
            tested if the storage has them.
        has_get_many: The same for `get_many`.
        calls_at_once: How many calls run at the same time in tests with many calls.
        timeout_s: The most seconds that a test may take.
        error_within_s: The seconds within which a storage must raise if its server cannot be reached.
        storage_timeout_s: The launch option of the clients in tests.
    """

    has_claims: bool | None = None
    has_get_many: bool | None = None
    calls_at_once: int = 200
    timeout_s: float = 60.0
    error_within_s: float = 5.0
    storage_timeout_s: float = 5.0

    def open_storage(self) -> AbstractAsyncContextManager[Any]:
        """Return a context manager that opens a working storage, fresh or shared; must be overridden."""
        raise NotImplementedError("open_storage must say how to open the storage under test")

    def open_broken_storage(self) -> AbstractAsyncContextManager[Any]:
        """Return a context manager that opens a storage whose server cannot be reached.

        If it is not overridden, the tests about failures are skipped.
        """
        raise unittest.SkipTest("open_broken_storage is not defined")

    # Records

    @_on_storage
    async def test_an_unknown_user_has_no_record(self, storage: StorageUnderTest) -> None:
        """`get` returns None if `set` was never called for the user, or not for this campaign."""
        ann = _record()
        await storage.set(ann)
        for place in ((_id("bill"), CAMPAIGN), (ann.user_id, "another campaign")):
            found = await storage.get(*place)
            require(found is None, "get must return None where nothing was set")

    @_on_storage
    async def test_a_full_record_comes_back(self, storage: StorageUnderTest) -> None:
        """A record comes back with variation, goals in order, and meta data of every JSON type."""
        record = _record(goals=("signup", "purchase", "often"), meta_data=META_DATA)
        await storage.set(record)
        await _require_record(storage, record)

    @_on_storage
    async def test_a_minimal_record_comes_back(self, storage: StorageUnderTest) -> None:
        """A record without goals and meta data comes back, as `activate` writes it."""
        record = _record(meta_data={})
        await storage.set(record)
        await _require_record(storage, record)

    @_on_storage
    async def test_any_text_comes_back(self, storage: StorageUnderTest) -> None:
        """Names of variations and goals and meta data may hold any character of any script."""
        for text in HOSTILE_TEXTS:
            record = _record(
                variation=f"größe {text}", goals=(f"mål {text}",), meta_data={f"clé {text}": text}
            )
            await storage.set(record)
            await _require_record(storage, record, f"with the text {text!a}")

    @_on_storage
    async def test_set_replaces_the_record(self, storage: StorageUnderTest) -> None:
        """`set` replaces the whole record; nothing of the old one is left."""
        ann = _id("ann")
        for record in (
            _record(ann, goals=(GOAL,), meta_data=META_DATA),
            _record(ann, variation="Variation-1", meta_data={}),
            _record(ann, variation="Variation-1", goals=("purchase",), meta_data={"plan": "free"}),
        ):
            await storage.set(record)
            await _require_record(storage, record, "after it was replaced")

    @_on_storage
    async def test_users_and_campaigns_are_not_mixed_up(self, storage: StorageUnderTest) -> None:
        """User `a:b` in campaign `c` is not user `a` in campaign `b:c`, for any separator."""
        ann = _id("ann")
        places: list[Place] = [(ann, "a")]
        for one in SEPARATORS:
            places += [(f"{ann}{one}b", "c"), (ann, f"b{one}c")]
            places += [(f"b{one}{ann}", "c"), (ann, f"c{one}b")]
        await _require_apart(storage, places)

    @_on_storage
    async def test_users_are_told_apart_by_every_character(self, storage: StorageUnderTest) -> None:
        """Case, spaces, composed and decomposed letters, and digits of other scripts make different users."""
        number = uuid.uuid4().int
        ann = _id("")
        ids = [f"{ann}{one}" for one in (*SPELLINGS, *ALPHABETS)]
        ids += [f"{number}", f"0{number}", f"+{number}", f"{number}.0", f" {number}"]
        await _require_apart(storage, [(one, CAMPAIGN) for one in ids])

    @_on_storage
    async def test_campaigns_are_told_apart_by_every_character(
        self, storage: StorageUnderTest
    ) -> None:
        """Case, spaces, composed and decomposed letters make different campaigns."""
        ann = _id("ann")
        await _require_apart(storage, [(ann, one) for one in (*SPELLINGS, *ALPHABETS)])

    @_on_storage
    async def test_hostile_ids_come_back(self, storage: StorageUnderTest) -> None:
        """Ids may hold line breaks, NUL, quotes, wildcards and emoji."""
        for text in HOSTILE_TEXTS:
            for record in (_record(_id("") + text), _record(_id("") + text, f"sale {text}")):
                await storage.set(record)
                await _require_record(storage, record, f"of the user or campaign {text!a}")

    @_on_storage
    async def test_the_longest_ids_come_back(self, storage: StorageUnderTest) -> None:
        """Ids of 4096 bytes that differ only in the last byte are different users."""
        ann = _id("ann").ljust(LONGEST_ID - 1, "x")
        await _require_apart(storage, [(f"{ann}{one}", CAMPAIGN) for one in "ab"])
        wide = _id("ann") + "🙂" * ((LONGEST_ID - 36) // 4)
        await _require_apart(storage, [(wide, CAMPAIGN), (wide[:-1], CAMPAIGN)])

    @_on_storage
    async def test_a_returned_record_is_the_callers_own(self, storage: StorageUnderTest) -> None:
        """A caller that changes a returned record does not change the stored one."""
        record = _record(goals=(GOAL,), meta_data=META_DATA)
        await storage.set(record)
        _mutate(await storage.get_row(record.user_id, record.campaign_key))
        await _require_record(storage, record, "after the caller changed what get returned")

    @_on_storage
    async def test_set_keeps_a_copy(self, storage: StorageUnderTest) -> None:
        """`set` does not change its argument, and keeps a copy of it."""
        record = _record(goals=(GOAL,), meta_data=META_DATA)
        row = copy.deepcopy(record.as_dict())
        await storage.set_row(row)
        require(row == record.as_dict(), "set must not change the record that it is given")
        _mutate(row)
        await _require_record(storage, record, "after the caller changed what set was given")

    @_on_storage
    async def test_concurrent_users_are_not_mixed_up(self, storage: StorageUnderTest) -> None:
        """Concurrent calls for different users do not mix them up."""
        users = [_id(f"user {n}") for n in range(self.calls_at_once)]
        first = [_record(user, variation=f"V{n}") for n, user in enumerate(users)]
        await asyncio.gather(*map(storage.set, first))
        await _require_records(storage, first, "after many calls of set at once")
        half = len(first) // 2
        second = [_record(user, variation=f"W{n}") for n, user in enumerate(users[:half])]
        found = await asyncio.gather(
            *(storage.get(*_place(one)) for one in first[half:]), *map(storage.set, second)
        )
        is_right = list(found[: len(first) - half]) == first[half:]
        require(is_right, "get returned a wrong record while others called set")
        await _require_records(storage, second, "after many calls of get and set at once")

    # Many records

    @_on_storage
    async def test_get_many_agrees_with_get(self, storage: StorageUnderTest) -> None:
        """`get_many` returns each record under its campaign, and None or no entry if there is none."""
        self._need_get_many(storage)
        ann, bill = _id("ann"), _id("bill")
        keys = ["e", "a", "d", "b", "c", "A", "a:b"]
        for user, variation in ((ann, "Control"), (bill, "Variation-1")):
            for key in keys[1:6]:
                await storage.set(_record(user, key, variation=f"{variation} {key}"))
        for user in (ann, bill, _id("chris")):
            for asked in (keys, keys[::-1], keys[2:3], ["nope"]):
                found = await storage.get_many(user, asked)
                expected = {key: await storage.get(user, key) for key in asked}
                require(
                    found == expected, "get_many must return for each campaign what get returns"
                )

    @_on_storage
    async def test_get_many_takes_any_list_of_campaigns(self, storage: StorageUnderTest) -> None:
        """`get_many` takes no campaigns, one twice, or hundreds, in a list or a tuple."""
        self._need_get_many(storage)
        record = _record()
        await storage.set(record)
        ann, key = _place(record)
        found = await storage.get_many(ann, [])
        require(found == {}, "get_many must return an empty mapping for no campaigns")
        found = await storage.get_many(ann, (key, "nope", key))
        require(found == {key: record, "nope": None}, "get_many must accept a campaign twice")
        found = await storage.get_many(ann, [*(f"campaign {n}" for n in range(500)), key])
        require(found[key] == record, "get_many must accept hundreds of campaigns")

    def _need_get_many(self, storage: StorageUnderTest) -> None:
        _need(storage.reads_many, self.has_get_many, "get_many")

    # Claims

    @_on_storage
    async def test_the_first_claim_wins(self, storage: StorageUnderTest) -> None:
        """A conversion can be claimed once, with or without a record."""
        self._need_claims(storage)
        for record in (None, _record()):
            ann = _id("ann") if record is None else record.user_id
            if record is not None:
                await storage.set(record)
            answers = [await storage.claim(ann, CAMPAIGN, GOAL) for _ in range(3)]
            is_right = answers == [True, False, False]
            require(is_right, "claim_goal must return True the first time and False after that")

    @_on_storage
    async def test_claims_of_others_do_not_count(self, storage: StorageUnderTest) -> None:
        """Claims of different users, campaigns and goals are independent, even if their names are similar."""
        self._need_claims(storage)
        ann = _id("ann")
        claims = [(ann, CAMPAIGN, GOAL), (_id("bill"), CAMPAIGN, GOAL)]
        claims += [(ann, "search", GOAL), (ann, CAMPAIGN, "purchase"), (ann, GOAL, CAMPAIGN)]
        for one in SEPARATORS:
            claims += [(f"{ann}{one}a", "b", "c"), (ann, f"a{one}b", "c"), (ann, "a", f"b{one}c")]
        claims += [(ann, CAMPAIGN, one) for one in (*SPELLINGS, *ALPHABETS, *HOSTILE_TEXTS)]
        for claim in claims:
            is_first = await storage.claim(*claim)
            text = f"claim_goal mixed up two conversions: the second was {claim[1:]!a}"
            require(is_first, text)

    @_on_storage
    async def test_one_of_many_claims_wins(self, storage: StorageUnderTest) -> None:
        """Of many concurrent claims exactly one returns True: the claim is atomic."""
        self._need_claims(storage)
        for _ in range(3):
            ann = _id("ann")
            calls = (storage.claim(ann, CAMPAIGN, GOAL) for _ in range(self.calls_at_once))
            winners = sum(await asyncio.gather(*calls))
            require(winners == 1, f"of many claims at once one must win, not {winners}")

    @_on_storage
    async def test_a_released_goal_is_free(self, storage: StorageUnderTest) -> None:
        """A released goal can be claimed once again; other claims stay."""
        self._need_claims(storage)
        ann = _id("ann")
        for goal in (GOAL, "purchase"):
            await storage.claim(ann, CAMPAIGN, goal)
        await storage.release(ann, CAMPAIGN, GOAL)
        require(await storage.claim(ann, CAMPAIGN, GOAL), "a released goal can be claimed again")
        for goal in (GOAL, "purchase"):
            is_first = await storage.claim(ann, CAMPAIGN, goal)
            require(not is_first, f"after release_goal, {goal!r} was claimed twice")

    @_on_storage
    async def test_nothing_to_release_is_no_error(self, storage: StorageUnderTest) -> None:
        """Releasing a goal that is not claimed is no error and changes nothing."""
        self._need_claims(storage)
        ann = _id("ann")
        for _ in range(2):
            await storage.release(ann, CAMPAIGN, GOAL)
        require(await storage.claim(ann, CAMPAIGN, GOAL), "a goal that was never claimed is free")

    @_on_storage
    async def test_records_and_claims_leave_each_other_alone(
        self, storage: StorageUnderTest
    ) -> None:
        """`set` neither makes nor undoes claims; a claim neither makes nor changes records."""
        self._need_claims(storage)
        record = _record(goals=(GOAL,), meta_data=META_DATA)
        place = _place(record)
        await storage.claim(*place, "purchase")
        require(await storage.get(*place) is None, "a claim must not make a record")
        await storage.set(record)
        require(not await storage.claim(*place, "purchase"), "set must not undo a claim")
        require(await storage.claim(*place, GOAL), "a goal in a record is not a claim")
        await storage.release(*place, "purchase")
        await _require_record(storage, record, "after its goals were claimed and released")

    def _need_claims(self, storage: StorageUnderTest) -> None:
        _need(storage.has_claims, self.has_claims, "claim_goal and release_goal")

    # Cancelled calls

    @_on_storage
    async def test_cancelled_calls_do_no_harm(self, storage: StorageUnderTest) -> None:
        """After a cancelled call the next one works, and gets its own result and not that of another."""
        old = _record()
        new = _record(old.user_id, variation="Variation-1", goals=(GOAL,))
        bill = _record(_id("bill"), variation="of Bill")
        for record in (old, bill):
            await storage.set(record)
        for turns, wait_s in CANCEL_MOMENTS:
            for name, call in storage.calls(new, GOAL).items():
                await begin_and_cancel(call, turns, wait_s)
                await _require_record(storage, bill, f"after {name} of another user was cancelled")
                found = await storage.get(*_place(old))
                require(found in (old, new), f"a cancelled call of {name} left half a record")
                if storage.has_claims:
                    is_first = await storage.claim(_id("chris"), CAMPAIGN, GOAL)
                    require(is_first, f"a claim failed after {name} of another user was cancelled")
        await storage.set(new)
        await _require_record(storage, new, "that was set after others were cancelled")

    @_on_storage
    async def test_a_timeout_is_a_timeout(self, storage: StorageUnderTest) -> None:
        """A call whose time-out expires ends at once, with TimeoutError unless it has succeeded."""
        for wait_s in (0.0, *CUT_WAITS_S):
            for name, call in storage.calls(_record(), GOAL).items():
                task = await settle(_limited(call, wait_s), self.error_within_s)
                require(task is not None, f"{name} goes on although its time has run out")
                error = _error_of(task)
                is_right = error is None or isinstance(error, TimeoutError)
                kind = type(error).__name__
                require(is_right, f"{name} raised {kind} in place of TimeoutError")

    # A storage whose server cannot be reached

    @_on_broken_storage
    async def test_a_broken_storage_raises(self, storage: StorageUnderTest) -> None:
        """Every call, also one of many, soon raises an `Exception` and does not make up a result."""
        for name, task in await self._call_broken(storage, [_record() for _ in range(4)]):
            within = f"within {self.error_within_s:g} s where its server cannot be reached"
            require(task is not None, f"{name} must raise {within}")
            error = _error_of(task)
            require(error is not None, f"{name} must raise {within}, not return")
            kind = type(error).__name__
            require(isinstance(error, Exception), f"{name} must raise an Exception, not {kind}")

    @_on_broken_storage
    async def test_a_broken_storage_obeys_a_timeout(self, storage: StorageUnderTest) -> None:
        """If the server does not answer, the client's time-out ends the call."""
        for name, call in storage.calls(_record(), GOAL).items():
            task = await settle(_limited(call, 0.05), 1.0)
            require(task is not None, f"{name} does not end when its time has run out")

    @_on_broken_storage
    async def test_errors_do_not_name_the_user(self, storage: StorageUnderTest) -> None:
        """No error, cause or context holds the user id, which must not appear in logs."""
        record = _record()
        for name, task in await self._call_broken(storage, [record]):
            for one in _with_causes(_error_of(task)):
                is_told = any(record.user_id in text for text in (str(one), repr(one)))
                require(not is_told, f"{name} raised {type(one).__name__} that holds the user id")

    async def _call_broken(
        self, storage: StorageUnderTest, records: Sequence[StoredDecision]
    ) -> list[tuple[str, asyncio.Task[Any] | None]]:
        """Make all calls about all records at the same time; return name and task of each."""
        calls = [pair for one in records for pair in storage.calls(one, GOAL).items()]
        tasks = [settle(call, self.error_within_s) for _, call in calls]
        names = [name for name, _ in calls]
        return list(zip(names, await asyncio.gather(*tasks), strict=True))

    # With a client

    @_on_storage
    async def test_a_client_keeps_users_in_their_variation(self, storage: StorageUnderTest) -> None:
        """An activated user keeps the variation when the weights change, and is not reported again."""
        ann, bill = _id("ann"), _id("bill")
        async with self._open_client(storage, weights=(100, 0)) as (client, transport):
            name = await client.activate(CAMPAIGN, ann)
            require(name == "Control", "the client could not activate a new user")
        require(len(transport.requests) == 1, "a new user is reported")
        async with self._open_client(storage, weights=(0, 100)) as (client, transport):
            name = await client.activate(CAMPAIGN, ann)
            require(name == "Control", "a known user was given another variation")
            require(not transport.requests, "a known user was reported again")
            name = await client.activate(CAMPAIGN, bill)
            require(name == "Variation-1", "a new user was taken for a known one")

    @_on_storage
    async def test_a_client_counts_a_conversion_once(self, storage: StorageUnderTest) -> None:
        """A second call, by this client or another, reports that the conversion was already counted."""
        ann = _id("ann")
        async with self._open_client(storage) as (client, transport):
            await client.activate(CAMPAIGN, ann, wait=True)
            result = await client.track(CAMPAIGN, ann, GOAL, wait=True)
            require(bool(result), "the first conversion of a user was not counted")
            require(not result.notes, f"while the first conversion was counted: {result.notes}")
            again = await client.track(CAMPAIGN, ann, GOAL, wait=True)
            other = await client.track(CAMPAIGN, ann, "purchase", wait=True)
            require(bool(other), "another goal of the same user was not counted")
        require(_is_known(again), "the same conversion was counted twice")
        require(len(transport.requests) == 3, "each conversion is sent once")
        async with self._open_client(storage) as (client, _):
            for goal in (GOAL, "purchase"):
                again = await client.track(CAMPAIGN, ann, goal, wait=True)
                require(_is_known(again), "the same conversion was counted by two clients")

    @_on_storage
    async def test_clients_at_once_count_a_conversion_once(self, storage: StorageUnderTest) -> None:
        """If several clients track the same conversion at the same time, one of them counts it."""
        self._need_claims(storage)
        ann = _id("ann")
        async with (
            self._open_client(storage) as (one, _),
            self._open_client(storage) as (two, _),
            self._open_client(storage) as (three, _),
        ):
            await one.activate(CAMPAIGN, ann)
            calls = [client.track(CAMPAIGN, ann, GOAL) for client in (one, two, three) * 5]
            winners = sum(map(bool, await asyncio.gather(*calls)))
        require(winners == 1, f"one conversion was counted {winners} times")

    @asynccontextmanager
    async def _open_client(
        self, storage: StorageUnderTest, weights: tuple[float, float] = (50, 50)
    ) -> AsyncIterator[tuple[VWOClient, RecordingTransport]]:
        transport = RecordingTransport()
        async with VWOClient(
            _make_settings(weights),
            user_storage=storage.storage,
            storage_timeout_s=self.storage_timeout_s,
            transport=transport,
        ) as client:
            yield client, transport
            await client.flush_events()
            errors = client.statistics().storage_errors
            require(not errors, f"{errors} calls of the storage by the client failed")


def _need(is_there: bool, is_wanted: bool | None, what: str) -> None:
    if not is_there:
        require(not is_wanted, f"the storage must have {what}")
        raise unittest.SkipTest(f"the storage has no {what}")


def _id(name: str) -> str:
    """Return a user id that was never used before."""
    return f"{name}{uuid.uuid4().hex}"


def _record(
    user_id: str = "",
    campaign_key: str = CAMPAIGN,
    *,
    variation: str = "Control",
    goals: tuple[str, ...] = (),
    meta_data: Mapping[str, Any] = SOME_META_DATA,
) -> StoredDecision:
    """Return a record; by default for a new user."""
    return StoredDecision(user_id or _id("ann"), campaign_key, variation, goals, meta_data)


def _place(record: StoredDecision) -> Place:
    return record.user_id, record.campaign_key


async def _require_record(
    storage: StorageUnderTest, record: StoredDecision, which: str = ""
) -> None:
    __tracebackhide__ = True
    found = await storage.get(*_place(record))
    require(found is not None, f"get returned None in place of the record {which}".rstrip())
    for part in ("variation_name", "goals", "meta_data"):
        is_right = getattr(found, part) == getattr(record, part)
        require(is_right, f"get returned a wrong {part} of the record {which}".rstrip())


async def _require_records(
    storage: StorageUnderTest, records: Sequence[StoredDecision], when: str
) -> None:
    __tracebackhide__ = True
    found = await asyncio.gather(*(storage.get(*_place(one)) for one in records))
    wrong = sum(one != record for one, record in zip(found, records, strict=True))
    require(not wrong, f"{wrong} of {len(records)} records were wrong {when}")


async def _require_apart(storage: StorageUnderTest, places: Sequence[Place]) -> None:
    """Fail unless each place keeps a record of its own."""
    __tracebackhide__ = True
    records = [_record(*place, variation=f"V{n}") for n, place in enumerate(places)]
    for record in records:
        await storage.set(record)
    places_by_name = {record.variation_name: _place(record) for record in records}
    for record in records:
        place = _place(record)
        found = parse(await storage.get_row(*place), record.user_id)
        require(found is not None, f"the record of {_show(place)} is gone")
        other = places_by_name.get(getattr(found, "variation_name", ""), place)
        require(other == place, f"the record of {_show(place)} was lost to that of {_show(other)}")
        require(found == record, f"the record of {_show(place)} is not what was set")


def _show(place: Place) -> str:
    """Describe a user and campaign, in ASCII and not too long."""
    return " in ".join(ascii(one if len(one) < 99 else f"...{one[-40:]}") for one in place)


def _mutate(row: object) -> None:
    """Change everything in a record that is mutable."""
    if isinstance(row, StoredDecision):
        row = row.meta_data
    children: list[object] = []
    if isinstance(row, MutableMapping):
        children = list(row.values())
        for key in list(row):
            row[key] = "changed"
    elif isinstance(row, Mapping):
        children = list(row.values())
    elif isinstance(row, list):
        children = list(row)
        row[:] = ["changed"]
    for child in children:
        _mutate(child)


def _limited(call: Call, seconds: float) -> Call:
    async def limited() -> None:
        async with asyncio.timeout(seconds):
            await call()

    return limited


def _error_of(task: asyncio.Task[Any] | None) -> BaseException | None:
    """Return the exception of a task that has ended, or None."""
    if task is not None and task.cancelled():
        return asyncio.CancelledError()
    return None if task is None else task.exception()


def _with_causes(error: BaseException | None) -> list[BaseException]:
    """Return *error* with all its causes and contexts."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
            waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return found


def _is_known(result: TrackResult) -> bool:
    return not result and result[CAMPAIGN].reason is Reason.ALREADY_TRACKED


def _make_settings(weights: tuple[float, float]) -> dict[str, Any]:
    """Return a settings file with one A/B test with these weights."""
    names = ("Control", "Variation-1")
    variations = [
        {"id": number, "name": name, "weight": weight, "segments": {}, "changes": {}}
        for number, (name, weight) in enumerate(zip(names, weights, strict=True), 1)
    ]
    goals = [
        {"id": number, "identifier": identifier, "type": "CUSTOM_GOAL"}
        for number, identifier in enumerate((GOAL, "purchase"), 1)
    ]
    campaign = {
        "id": 1,
        "key": CAMPAIGN,
        "name": CAMPAIGN,
        "type": "VISUAL_AB",
        "status": "RUNNING",
        "percentTraffic": 100,
        "segments": {},
        "variations": variations,
        "goals": goals,
    }
    return {"sdkKey": "key", "accountId": 1, "version": 1, "campaigns": [campaign]}
