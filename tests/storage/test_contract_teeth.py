"""The contract of storages bites: every storage that is broken in one way fails the tests meant for it."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import re
import subprocess
import sys
import unicodedata
import unittest
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from vwo_async import StorageError
from vwo_async.testing import UserStorageContract

Row = dict[str, Any]
T = TypeVar("T")


class Sound:
    """A storage that keeps the contract; the others differ from it in one thing.

    Attributes:
        has_server: Whether its server can be reached.
    """

    def __init__(self, *, has_server: bool = True) -> None:
        self.has_server = has_server
        self.rows: dict[Any, Row] = {}
        self.claims: set[Any] = set()

    def key(self, user_id: str, campaign_key: str) -> Any:
        return user_id, campaign_key

    def claim_key(self, user_id: str, campaign_key: str, goal: str) -> Any:
        return user_id, campaign_key, goal

    async def reach(self, user_id: str) -> None:
        """Reach the server, or raise."""
        if not self.has_server:
            raise OSError("no server")

    async def get(self, user_id: str, campaign_key: str) -> Row | None:
        await self.reach(user_id)
        return copy.deepcopy(self.rows.get(self.key(user_id, campaign_key)))

    async def set(self, data: Mapping[str, Any]) -> None:
        await self.reach(data["userId"])
        key = self.key(data["userId"], data["campaignKey"])
        self.rows[key] = copy.deepcopy(dict(data))

    async def get_many(self, user_id: str, campaign_keys: Sequence[str]) -> dict[str, Row | None]:
        await self.reach(user_id)
        return {key: await self.get(user_id, key) for key in campaign_keys}

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        await self.reach(user_id)
        claim = self.claim_key(user_id, campaign_key, goal_identifier)
        is_first = claim not in self.claims
        self.claims.add(claim)
        return is_first

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        await self.reach(user_id)
        self.claims.discard(self.claim_key(user_id, campaign_key, goal_identifier))


# Ids


class JoinsIds(Sound):
    """Makes one text of user and campaign."""

    def key(self, user_id: str, campaign_key: str) -> Any:
        return f"{campaign_key}:{user_id}"


class FoldsCase(Sound):
    """Compares ids as a case-insensitive collation does."""

    def key(self, user_id: str, campaign_key: str) -> Any:
        return user_id.casefold(), campaign_key


class StripsIds(Sound):
    """Pads or strips ids, as CHAR columns do."""

    def key(self, user_id: str, campaign_key: str) -> Any:
        return user_id.rstrip(" "), campaign_key


class ReadsNumbers(Sound):
    """Lets a number be a number, however it is written."""

    def key(self, user_id: str, campaign_key: str) -> Any:
        return int(user_id) if user_id.isdecimal() and user_id.isascii() else user_id, campaign_key


class ComposesCampaigns(Sound):
    """Normalises campaign keys."""

    def key(self, user_id: str, campaign_key: str) -> Any:
        return user_id, unicodedata.normalize("NFC", campaign_key)


class CutsIds(Sound):
    """Keeps what fits into a column."""

    def key(self, user_id: str, campaign_key: str) -> Any:
        return user_id[:255], campaign_key


class FormatsIds(Sound):
    """Writes ids into a query, in which a per cent sign means something."""

    def key(self, user_id: str, campaign_key: str) -> Any:
        return user_id % (), campaign_key


# Records


class AnswersEmpty(Sound):
    """Has an empty record of everybody."""

    async def get(self, user_id: str, campaign_key: str) -> Row | None:
        return await super().get(user_id, campaign_key) or {}


class KeepsOneGoal(Sound):
    """Has room for one goal."""

    async def set(self, data: Mapping[str, Any]) -> None:
        goals = data.get("goalIdentifier", "").split("_vwo_")
        await super().set({**data, "goalIdentifier": goals[-1]})


class AddsMetaData(Sound):
    """Cannot tell no meta data from some."""

    async def set(self, data: Mapping[str, Any]) -> None:
        await super().set({"metaData": {"": ""}, **data})


class KeepsLatin(Sound):
    """Keeps texts in an encoding of one byte."""

    async def get(self, user_id: str, campaign_key: str) -> Row | None:
        row = await super().get(user_id, campaign_key)
        if row is None:
            return None
        del row["userId"]
        text = json.dumps(row, ensure_ascii=False).encode("latin-1", "replace").decode("latin-1")
        return {**json.loads(text), "campaignKey": campaign_key}


class Merges(Sound):
    """Writes new fields over the old record."""

    async def set(self, data: Mapping[str, Any]) -> None:
        await super().set(
            {**self.rows.get(self.key(data["userId"], data["campaignKey"]), {}), **data}
        )


class GivesAwayItsOwn(Sound):
    """Returns the very record that it keeps."""

    async def get(self, user_id: str, campaign_key: str) -> Row | None:
        await self.reach(user_id)
        return self.rows.get(self.key(user_id, campaign_key))


class GivesAwayMetaData(Sound):
    """Returns a copy that is not deep."""

    async def get(self, user_id: str, campaign_key: str) -> Row | None:
        await self.reach(user_id)
        row = self.rows.get(self.key(user_id, campaign_key))
        return None if row is None else dict(row)


class KeepsTheCallers(Sound):
    """Keeps the very record that it is given."""

    async def set(self, data: Mapping[str, Any]) -> None:
        await self.reach(data["userId"])
        self.rows[self.key(data["userId"], data["campaignKey"])] = data  # type: ignore[assignment]


class MarksTheCallers(Sound):
    """Writes into the record that it is given."""

    async def set(self, data: Mapping[str, Any]) -> None:
        data["version"] = 1  # type: ignore[index]
        await super().set(data)


class MixesUpCalls(Sound):
    """Keeps what a call is about where the next call finds it."""

    place = ("", "")

    async def get(self, user_id: str, campaign_key: str) -> Row | None:
        self.place = (user_id, campaign_key)
        await asyncio.sleep(0)
        return await super().get(*self.place)


class IgnoresCaseOfMany(Sound):
    """Reads many records with a comparison that takes letters for one another."""

    async def get_many(self, user_id: str, campaign_keys: Sequence[str]) -> dict[str, Row | None]:
        rows = await super().get_many(user_id, campaign_keys)
        folded = {key.lower(): row for key, row in rows.items()}
        return {key: folded[key.lower()] for key in campaign_keys}


class MixesUpMany(Sound):
    """Takes for granted that rows come in the order in which they were asked for."""

    async def get_many(self, user_id: str, campaign_keys: Sequence[str]) -> dict[str, Row | None]:
        found = await super().get_many(user_id, sorted(set(campaign_keys)))
        return dict(zip(dict.fromkeys(campaign_keys), found.values(), strict=True))


class RefusesNone(Sound):
    """Writes a query that is none where there is nothing to ask."""

    async def get_many(self, user_id: str, campaign_keys: Sequence[str]) -> dict[str, Row | None]:
        if not campaign_keys:
            raise StorageError("syntax error at or near ')'")
        return await super().get_many(user_id, campaign_keys)


# Claims


class ClaimsInTwoSteps(Sound):
    """Asks whether a goal is claimed, and then claims it."""

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        claim = self.claim_key(user_id, campaign_key, goal_identifier)
        is_first = claim not in self.claims
        await asyncio.sleep(0)
        await super().claim_goal(user_id, campaign_key, goal_identifier)
        return is_first


class ClaimsForAllCampaigns(Sound):
    """Forgets that a goal belongs to a campaign."""

    def claim_key(self, user_id: str, campaign_key: str, goal: str) -> Any:
        return user_id, goal


class JoinsClaims(Sound):
    """Makes one text of what is claimed."""

    def claim_key(self, user_id: str, campaign_key: str, goal: str) -> Any:
        return f"{user_id}/{campaign_key}/{goal}"


class ClaimsWithinRecords(Sound):
    """Keeps claims in the record, which `set` writes over."""

    async def set(self, data: Mapping[str, Any]) -> None:
        await super().set(data)
        place = (data["userId"], data["campaignKey"])
        self.claims = {claim for claim in self.claims if claim[:2] != place}


class ClaimsMakeRecords(Sound):
    """Needs a record to keep a claim in, and makes one."""

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        row = {"userId": user_id, "campaignKey": campaign_key, "variationName": "?"}
        self.rows.setdefault(self.key(user_id, campaign_key), row)
        return await super().claim_goal(user_id, campaign_key, goal_identifier)


class RecordsAreClaims(Sound):
    """Takes the goals of a record for claims."""

    async def set(self, data: Mapping[str, Any]) -> None:
        await super().set(data)
        for goal in data.get("goalIdentifier", "").split("_vwo_"):
            self.claims.add(self.claim_key(data["userId"], data["campaignKey"], goal))


class ClaimsAgain(Sound):
    """Takes a second claim for the first answer that was lost."""

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        await asyncio.sleep(0)
        await super().claim_goal(user_id, campaign_key, goal_identifier)
        return True


class AnswersNumbers(Sound):
    """Answers what the database answers."""

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> Any:
        return int(await super().claim_goal(user_id, campaign_key, goal_identifier))


class ReleasesNothing(Sound):
    """Keeps claims for ever."""

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        await self.reach(user_id)


class ReleasesAll(Sound):
    """Gives back all that a user has claimed in a campaign."""

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        await self.reach(user_id)
        place = (user_id, campaign_key)
        self.claims = {claim for claim in self.claims if claim[:2] != place}


class NeedsAClaim(Sound):
    """Cannot release what is free."""

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        await self.reach(user_id)
        self.claims.remove(self.claim_key(user_id, campaign_key, goal_identifier))


# Calls that are cut short


class LeavesAnswersBehind(Sound):
    """Talks over one connection, on which the answer to a cancelled question waits for the next."""

    def __init__(self, *, has_server: bool = True) -> None:
        super().__init__(has_server=has_server)
        self.connection = asyncio.Lock()
        self.answers: asyncio.Queue[Row | None] = asyncio.Queue()

    async def get(self, user_id: str, campaign_key: str) -> Row | None:
        async with self.connection:
            answer = await super().get(user_id, campaign_key)
            asyncio.get_running_loop().call_later(0.0001, self.answers.put_nowait, answer)
            return await self.answers.get()


class LosesConnections(Sound):
    """Has few connections, and does not get back what a cancelled call had."""

    def __init__(self, *, has_server: bool = True) -> None:
        super().__init__(has_server=has_server)
        self.free = 5

    async def get(self, user_id: str, campaign_key: str) -> Row | None:
        while not self.free:
            await asyncio.sleep(0.001)
        self.free -= 1
        await asyncio.sleep(0)
        self.free += 1
        return await super().get(user_id, campaign_key)


class RenamesCancellation(Sound):
    """Takes being cancelled for a failure of the server."""

    async def get(self, user_id: str, campaign_key: str) -> Row | None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            raise StorageError("the connection was lost") from None
        return await super().get(user_id, campaign_key)


class GoesOnAnyway(Sound):
    """Does not let itself be cancelled while it waits."""

    async def set(self, data: Mapping[str, Any]) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await asyncio.sleep(3600)
        await super().set(data)


class WritesHalf(Sound):
    """Writes a record in two steps, of which a cancelled call does one."""

    async def set(self, data: Mapping[str, Any]) -> None:
        await super().set({name: data[name] for name in ("userId", "campaignKey", "variationName")})
        await asyncio.sleep(0)
        await super().set(data)


# Without a server


class MakesUpAnswers(Sound):
    """Answers whatever the server would have."""

    async def reach(self, user_id: str) -> None:
        pass


class ClaimsWithoutServer(Sound):
    """Rather counts a conversion twice than says that it does not know."""

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        if not self.has_server:
            return True
        return await super().claim_goal(user_id, campaign_key, goal_identifier)


class WaitsForTheServer(Sound):
    """Waits until the server is there again."""

    async def reach(self, user_id: str) -> None:
        if not self.has_server:
            await asyncio.sleep(3600)


class WaitsWhateverComes(Sound):
    """Waits for the server even when its caller waits no more."""

    async def reach(self, user_id: str) -> None:
        if not self.has_server:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await asyncio.sleep(3600)


class CancelsItself(Sound):
    """Lets what it cancelled inside get out."""

    async def reach(self, user_id: str) -> None:
        if not self.has_server:
            raise asyncio.CancelledError


class NamesTheUser(Sound):
    """Raises an error that tells everything."""

    async def reach(self, user_id: str) -> None:
        if not self.has_server:
            raise StorageError(f"GET {user_id!r} failed")


class NamesTheUserBehind(Sound):
    """Raises an error behind which another tells everything."""

    async def reach(self, user_id: str) -> None:
        if not self.has_server:
            try:
                raise KeyError(user_id)
            except KeyError:
                raise StorageError("no server") from None


class NamesTheUserInAGroup(Sound):
    """Raises a group of errors, one of which tells everything."""

    async def reach(self, user_id: str) -> None:
        if not self.has_server:
            raise ExceptionGroup("no server", [OSError(), OSError(user_id)])


# With a client


class IsSlow(Sound):
    """Takes longer than the client waits."""

    async def set(self, data: Mapping[str, Any]) -> None:
        # Much longer, since the client does not count the time in which a busy machine holds its loop.
        await asyncio.sleep(0.03)
        await super().set(data)


class WritesOnce(Sound):
    """Does not write a record again whose variation is the same, and claims nothing."""

    async def set(self, data: Mapping[str, Any]) -> None:
        row = self.rows.get(self.key(data["userId"], data["campaignKey"]), {})
        if row.get("variationName") != data["variationName"]:
            await super().set(data)


class Contract(UserStorageContract):
    """The contract for one kind of storage."""

    has_claims = True
    has_get_many = True
    calls_at_once = 20
    timeout_s = 3.0
    error_within_s = 0.3

    def __init__(self, kind: type[Sound]) -> None:
        self.kind = kind
        if kind is IsSlow:
            self.storage_timeout_s = 0.003

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[Sound]:
        yield self.kind()

    @asynccontextmanager
    async def open_broken_storage(self) -> AsyncIterator[Sound]:
        yield self.kind(has_server=False)


TESTS = sorted(name for name in dir(UserStorageContract) if name.startswith("test_"))


def run_all(contract: UserStorageContract) -> tuple[set[str], set[str]]:
    """Return the tests that fail, and those that are skipped."""
    failed, skipped = set(), set()
    for name in TESTS:
        try:
            getattr(contract, name)()
        except unittest.SkipTest:
            skipped.add(name)
        except Exception:  # noqa: BLE001 - a broken storage may fail in any way
            failed.add(name)
    return failed, skipped


def test_a_sound_storage_passes() -> None:
    """The storage from which the broken ones are made passes every test."""
    assert run_all(Contract(Sound)) == (set(), set())


KINDS: dict[type[Sound], set[str]] = {
    JoinsIds: {"users_and_campaigns_are_not_mixed_up"},
    FoldsCase: {"users_are_told_apart_by_every_character"},
    StripsIds: {"users_are_told_apart_by_every_character"},
    ReadsNumbers: {"users_are_told_apart_by_every_character"},
    ComposesCampaigns: {"campaigns_are_told_apart_by_every_character"},
    CutsIds: {"the_longest_ids_come_back"},
    FormatsIds: {"hostile_ids_come_back"},
    AnswersEmpty: {
        "an_unknown_user_has_no_record",
        "get_many_agrees_with_get",
        "get_many_takes_any_list_of_campaigns",
        "records_and_claims_leave_each_other_alone",
    },
    KeepsOneGoal: {"a_full_record_comes_back"},
    AddsMetaData: {"a_minimal_record_comes_back", "set_replaces_the_record"},
    KeepsLatin: {"any_text_comes_back"},
    Merges: {"set_replaces_the_record"},
    GivesAwayItsOwn: {"a_returned_record_is_the_callers_own"},
    GivesAwayMetaData: {"a_returned_record_is_the_callers_own"},
    KeepsTheCallers: {"set_keeps_a_copy"},
    MarksTheCallers: {"set_keeps_a_copy"},
    MixesUpCalls: {"concurrent_users_are_not_mixed_up"},
    IgnoresCaseOfMany: {"get_many_agrees_with_get"},
    MixesUpMany: {"get_many_agrees_with_get"},
    RefusesNone: {"get_many_takes_any_list_of_campaigns"},
    ClaimsInTwoSteps: {"clients_at_once_count_a_conversion_once", "one_of_many_claims_wins"},
    ClaimsForAllCampaigns: {"claims_of_others_do_not_count"},
    JoinsClaims: {"claims_of_others_do_not_count"},
    ClaimsWithinRecords: {"records_and_claims_leave_each_other_alone"},
    ClaimsMakeRecords: {"records_and_claims_leave_each_other_alone"},
    RecordsAreClaims: {"records_and_claims_leave_each_other_alone"},
    ClaimsAgain: {
        "a_released_goal_is_free",
        "clients_at_once_count_a_conversion_once",
        "one_of_many_claims_wins",
        "records_and_claims_leave_each_other_alone",
        "the_first_claim_wins",
    },
    AnswersNumbers: {
        "a_released_goal_is_free",
        "cancelled_calls_do_no_harm",
        "claims_of_others_do_not_count",
        "nothing_to_release_is_no_error",
        "one_of_many_claims_wins",
        "records_and_claims_leave_each_other_alone",
        "the_first_claim_wins",
    },
    ReleasesNothing: {"a_released_goal_is_free"},
    ReleasesAll: {"a_released_goal_is_free"},
    NeedsAClaim: {"nothing_to_release_is_no_error"},
    LeavesAnswersBehind: {"cancelled_calls_do_no_harm"},
    LosesConnections: {"cancelled_calls_do_no_harm"},
    RenamesCancellation: {"a_timeout_is_a_timeout"},
    GoesOnAnyway: {"a_timeout_is_a_timeout", "cancelled_calls_do_no_harm"},
    WritesHalf: {"cancelled_calls_do_no_harm"},
    MakesUpAnswers: {"a_broken_storage_raises"},
    ClaimsWithoutServer: {"a_broken_storage_raises"},
    WaitsForTheServer: {"a_broken_storage_raises"},
    WaitsWhateverComes: {"a_broken_storage_obeys_a_timeout", "a_broken_storage_raises"},
    CancelsItself: {"a_broken_storage_raises"},
    NamesTheUser: {"errors_do_not_name_the_user"},
    NamesTheUserBehind: {"errors_do_not_name_the_user"},
    NamesTheUserInAGroup: {"errors_do_not_name_the_user"},
    IsSlow: {
        "a_client_counts_a_conversion_once",
        "a_client_keeps_users_in_their_variation",
        "clients_at_once_count_a_conversion_once",
    },
    WritesOnce: {"set_replaces_the_record"},
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_broken_storage_fails(kind: type[Sound]) -> None:
    """A storage that is broken in one way fails the tests that are meant for it, and no others."""
    failed, skipped = run_all(Contract(kind))
    assert {name.removeprefix("test_") for name in failed} == KINDS[kind]
    assert not skipped


def test_every_test_has_something_to_catch() -> None:
    """There is no test in the contract that no broken storage fails."""
    assert set().union(*KINDS.values()) == {name.removeprefix("test_") for name in TESTS}


def failure_of(contract: UserStorageContract, name: str) -> str:
    """Return the text with which a test of the contract fails."""
    with pytest.raises(AssertionError) as caught:
        getattr(contract, f"test_{name}")()
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        (AnswersEmpty, "an_unknown_user_has_no_record", "must have campaignKey"),
        (JoinsIds, "users_and_campaigns_are_not_mixed_up", "was lost to that of"),
        (KeepsOneGoal, "a_full_record_comes_back", "wrong goals"),
        (ClaimsInTwoSteps, "one_of_many_claims_wins", "one must win, not 20"),
        (LosesConnections, "cancelled_calls_do_no_harm", "the storage hangs"),
        (RenamesCancellation, "a_timeout_is_a_timeout", "get raised StorageError in place of"),
        (MakesUpAnswers, "a_broken_storage_raises", "get must raise within 0.3 s"),
        (NamesTheUserBehind, "errors_do_not_name_the_user", "get raised KeyError that holds"),
        (IsSlow, "a_client_keeps_users_in_their_variation", "calls of the storage by the client"),
    ],
)
def test_a_failure_says_what_is_wrong(kind: type[Sound], name: str, text: str) -> None:
    """Without pytest's help, the text alone tells what the storage did."""
    assert text in failure_of(Contract(kind), name)


class Modest:
    """A storage with no more than `get` and `set`."""

    def __init__(self, *, has_server: bool = True) -> None:
        self._sound = Sound(has_server=has_server)

    async def get(self, user_id: str, campaign_key: str) -> Row | None:
        return await self._sound.get(user_id, campaign_key)

    async def set(self, data: Mapping[str, Any]) -> None:
        await self._sound.set(data)


class Plain:
    """The same with plain functions, which may block a thread but not the loop."""

    def __init__(self, *, has_server: bool = True) -> None:
        self._sound = Sound(has_server=has_server)

    def get(self, user_id: str, campaign_key: str) -> Row | None:
        return self._run(self._sound.get(user_id, campaign_key))

    def set(self, data: Mapping[str, Any]) -> None:
        self._run(self._sound.set(data))

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        # In the thread of the loop this would be an error.
        return asyncio.run(call)


@pytest.mark.parametrize("kind", [Modest, Plain])
def test_what_a_storage_has_not_is_skipped(kind: Any) -> None:
    """Claims and get_many are tested where they are there, unless they are demanded."""
    contract = Contract(kind)
    contract.has_claims = contract.has_get_many = None  # type: ignore[assignment]
    failed, skipped = run_all(contract)
    assert not failed
    assert skipped == {
        name for name in TESTS if re.search("claim|get_many|release|clients_at_once", name)
    }
    contract.has_claims = contract.has_get_many = True
    assert run_all(contract) == (skipped, set())
    assert "must have get_many" in failure_of(contract, "get_many_agrees_with_get")


def test_a_contract_must_say_how_to_open_a_storage() -> None:
    """Without open_storage no test passes by accident; without open_broken_storage its tests are skipped."""
    failed, skipped = run_all(UserStorageContract())
    assert skipped == {name for name in TESTS if "broken" in name or "errors" in name}
    assert failed == set(TESTS) - skipped


@pytest.mark.parametrize("kind", [Sound, JoinsIds])
def test_the_contract_runs_under_unittest(kind: type[Sound]) -> None:
    """The same tests run as those of a TestCase."""

    class Case(UserStorageContract, unittest.TestCase):
        @asynccontextmanager
        async def open_storage(self) -> AsyncIterator[Sound]:
            yield kind()

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Case)
    result = unittest.TextTestRunner(io.StringIO()).run(suite)
    assert result.testsRun == len(TESTS)
    assert len(result.skipped) == 3
    assert not result.errors
    names = [case.id().rpartition(".test_")[2] for case, _ in result.failures]
    assert set(names) == KINDS.get(kind, set())


def test_the_contract_needs_no_pytest() -> None:
    """It can be imported and run where pytest is not installed, and with assertions left out."""
    program = """
import sys
sys.modules["pytest"] = None
from contextlib import asynccontextmanager
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport, UserStorageContract

class Forgets(MemoryUserStorage):
    async def set(self, data):
        pass

class Contract(UserStorageContract):
    @asynccontextmanager
    async def open_storage(self):
        yield self.kind()

contract = Contract()
contract.kind = MemoryUserStorage
contract.test_a_full_record_comes_back()
contract.kind = Forgets
try:
    contract.test_a_full_record_comes_back()
except AssertionError as error:
    print(error)
"""
    command = [sys.executable, "-O", "-c", program]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout == "get returned None in place of the record\n"
