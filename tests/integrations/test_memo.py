"""Within a request a question is decided and reported once; what differs is another question."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from chosen_product import translate
from sample import campaign, settings, variation

from vwo_async import FMEClient, FMEUser, InvalidInputError, UserHandle, VWOClient
from vwo_async.integrations._memo import RequestMemo
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio


def file() -> dict[str, Any]:
    tags = [{"id": 1, "key": "tags", "type": "json", "value": {"a": [1]}}]
    on = [variation(1, "Control", 100, variables=tags, isFeatureEnabled=True)]
    members = campaign(16, "members", segments={"custom_variable": {"plan": "pro"}})
    return settings(
        campaign(11, "checkout"), campaign(12, "search", "FEATURE_TEST", variations=on), members
    )


def handle_of(client: VWOClient, user_id: str = "Ashley", **more: Any) -> UserHandle:
    return UserHandle(cast("Any", RequestMemo(client)), user_id, **more)


async def test_a_question_at_the_same_time() -> None:
    """Calls that overlap share one answer and one impression."""
    async with VWOClient(file(), transport=RecordingTransport()) as client:
        user = handle_of(client)
        names = await asyncio.gather(*(user.activate("checkout") for _ in range(5)))
        assert len(set(names)) == 1
        assert client.statistics().accepted == 1


async def test_a_decision_with_its_reason() -> None:
    """`decide` is remembered like the methods that it stands for."""
    async with VWOClient(file(), transport=RecordingTransport()) as client:
        user = handle_of(client)
        assert await user.decide("search") == await user.decide("search")
        assert client.statistics().accepted == 1


async def test_other_questions() -> None:
    """Another user, campaign, method or variable is another question."""
    async with VWOClient(file(), transport=RecordingTransport()) as client:
        memo = cast("Any", RequestMemo(client))
        first, other = UserHandle(memo, "Ashley"), UserHandle(memo, "Becky")
        await first.activate("checkout")
        await other.activate("checkout")
        await first.is_feature_enabled("search")
        assert client.statistics().accepted == 3
        assert await first.activate("members") is None
        assert await first.activate("members", custom_variables={"plan": "pro"}) is not None
        assert await first.activate("members", custom_variables={"plan": "free"}) is None
        assert client.statistics().accepted == 4


async def test_equal_values_of_other_types_are_other_questions() -> None:
    """1, True and 1.0 are equal in Python and not in a segment."""
    plan = campaign(16, "members", segments={"custom_variable": {"plan": "true"}})
    async with VWOClient(settings(plan), transport=RecordingTransport()) as client:
        user = handle_of(client)
        answers = [
            await user.activate("members", custom_variables={"plan": value})
            for value in (1, True, 1.0)
        ]
        alone = [
            await client.activate("members", "Ashley", custom_variables={"plan": value})
            for value in (1, True, 1.0)
        ]
        assert answers == alone


async def test_what_does_not_decide_is_no_other_question() -> None:
    """Meta data and what is said of the visitor do not make a second impression."""
    async with VWOClient(file(), transport=RecordingTransport()) as client:
        user = handle_of(client, custom_variables={"plan": "pro"})
        await user.activate("checkout")
        await user.activate("checkout", user_agent="another", meta_data={"page": "2"})
        await user.activate("checkout", custom_variables={"plan": "pro"})
        assert client.statistics().accepted == 1


async def test_values_that_are_not_plain_are_asked_again() -> None:
    """A value of an odd class is compared with nothing, and none of its methods is run."""

    class Odd(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __hash__(self) -> int:
            raise AssertionError

    async with VWOClient(file(), transport=RecordingTransport()) as client:
        user = handle_of(client)
        for _ in range(2):
            assert await user.activate("members", custom_variables={"plan": Odd("pro")})
        assert client.statistics().accepted == 2


async def test_conversions_count_each_time() -> None:
    """Only decisions are remembered: a conversion that happens twice is reported twice."""
    async with VWOClient(file(), transport=RecordingTransport()) as client:
        user = handle_of(client)
        for _ in range(2):
            assert await user.track("checkout", "often")
        assert client.statistics().accepted == 2


async def test_waiting_for_an_answer_that_is_known() -> None:
    """Who asks again and wants to wait, waits for the impression of the first answer."""
    async with VWOClient(file(), transport=RecordingTransport()) as client:
        user = handle_of(client)
        await user.activate("checkout")
        assert client.statistics().delivered == 0
        await user.activate("checkout", wait=True)
        assert client.statistics().delivered == client.statistics().accepted == 1


async def test_an_assignment_is_seen_by_what_reads() -> None:
    """With a storage a user has no variation before he is activated, and has one after it."""
    storage = MemoryUserStorage()
    async with VWOClient(file(), transport=RecordingTransport(), user_storage=storage) as client:
        user = handle_of(client)
        assert await user.get_variation_name("checkout") is None
        name = await user.activate("checkout")
        assert await user.get_variation_name("checkout") == name is not None


async def test_a_value_belongs_to_who_asked() -> None:
    """Changing the value of a variable changes nobody else's."""
    async with VWOClient(file(), transport=RecordingTransport()) as client:
        user = handle_of(client)
        (await user.get_feature_variable_value("search", "tags"))["a"].append(2)
        assert await user.get_feature_variable_value("search", "tags") == {"a": [1]}


async def test_integrations_hear_of_a_decision_once() -> None:
    """The function that is told of decisions is told once a request."""
    told: list[Any] = []
    async with VWOClient(
        file(), transport=RecordingTransport(), integrations=told.append
    ) as client:
        user = handle_of(client)
        for _ in range(2):
            await user.activate("checkout")
            await user.is_feature_enabled("search")
        assert len(told) == 2


async def test_a_call_that_is_cancelled_answers_nobody() -> None:
    """If who asked first goes away, who waits for the answer asks himself."""

    class Slow(MemoryUserStorage):
        async def run_round(self, requests: Any) -> Any:
            await asyncio.sleep(0.1)
            return await super().run_round(requests)

    async with VWOClient(file(), transport=RecordingTransport(), user_storage=Slow()) as client:
        user = handle_of(client)
        first = asyncio.create_task(user.activate("checkout"))
        second = asyncio.create_task(user.activate("checkout"))
        await asyncio.sleep(0.02)
        first.cancel()
        assert await second is not None
        assert first.cancelled()


async def test_an_error_is_no_answer() -> None:
    """Where bad input raises, it raises each time."""
    async with VWOClient(file(), transport=RecordingTransport(), strict=True) as client:
        user = handle_of(client)
        for _ in range(2):
            with pytest.raises(InvalidInputError):
                await user.activate("")


async def test_flags() -> None:
    """A flag is one object within a request; another fact about the user is another question."""
    async with FMEClient(translate(file()), transport=RecordingTransport()) as client:
        memo = cast("Any", RequestMemo(client))
        handle = client.for_user("Ashley")
        plain, rich = (
            type(handle)(memo, FMEUser("Ashley")),
            type(handle)(memo, FMEUser("Ashley", {"plan": "pro"})),
        )
        assert await plain.get_flag("checkout") is await plain.get_flag("checkout", wait=True)
        assert client.statistics().delivered == 1
        assert not await plain.get_flag("members")
        assert await rich.get_flag("members")
        assert await client.get_flag("checkout", "Ashley") is not await plain.get_flag("checkout")
        assert "FMEClient open" in repr(plain)
