"""Results are values: a reason for everything asked for, named forms, pickles that hold no secret."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast, get_type_hints

import httpx
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from redact import ADDRESS, AGENT, USER_ID, VARIABLES, find_secrets
from sample import settings
from server import running_server

from vwo_async import (
    AliasResult,
    CampaignDecision,
    CampaignTrack,
    Delivery,
    DeliveryError,
    DeliveryStatus,
    Explanation,
    Outcome,
    Reason,
    SettingsChange,
    Statistics,
    Step,
    TrackResult,
    VWOClient,
)
from vwo_async._client import call_options
from vwo_async._client.user_handle import UserHandle
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Limits

pytestmark = pytest.mark.anyio

WHO: dict[str, Any] = {"user_agent": AGENT, "user_ip_address": ADDRESS}
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def new_client(**options: Any) -> VWOClient:
    return VWOClient(settings(), **{"transport": RecordingTransport(), **options})


# A reason for everything that was asked for


class Text(str):
    """A text of the caller's own, which must not be asked anything."""

    __slots__ = ()

    def __hash__(self) -> int:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError


class Keys(list[Any]):
    """A list of the caller's own, which must not be asked anything either."""

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ("checkout", ["checkout"]),
        ("nope", ["nope"]),
        ("", [""]),
        (["checkout", "search"], ["checkout", "search"]),
        (("search", "checkout", "search"), ["search", "checkout"]),
        ({"checkout"}, ["checkout"]),
        (frozenset({"checkout"}), ["checkout"]),
        ([f"c{number}" for number in range(1001)], [f"c{number}" for number in range(1001)]),
        (["checkout", 5, None, ["search"]], ["checkout"]),
        (Text("checkout"), ["checkout"]),
        (Keys([Text("checkout"), "search"]), ["checkout", "search"]),
        (None, []),
        (5, []),
        (b"checkout", []),
        ({"checkout": True}, []),
        ([], []),
    ],
)
def test_refused(asked: Any, keys: list[str]) -> None:
    """A refusal has each key that can be read from what was asked for, and runs no code of the caller's."""
    result = TrackResult.refused(asked, Reason.INVALID_INPUT, "user_id must be a non-empty str")
    assert not result
    assert list(result) == keys
    assert result.as_dict() == dict.fromkeys(keys, False)
    assert {result[key].reason for key in keys} <= {Reason.INVALID_INPUT}
    assert (result.reason, result.detail) == (
        Reason.INVALID_INPUT,
        "user_id must be a non-empty str",
    )
    with pytest.raises(KeyError):
        result["another"]


@pytest.mark.parametrize("asked", ["checkout", ["checkout", "search"], ("nope",), {"checkout"}])
@pytest.mark.parametrize(
    "wrong",
    [
        {"user_id": ""},
        {"user_id": 5},
        {"goal_identifier": None},
        {"revenue_value": float("nan")},
        {"custom_variables": []},
        {"event_properties": 5},
        {"wait": "yes"},
    ],
    ids=lambda one: next(iter(one)),
)
async def test_bad_input_has_a_reason(asked: Any, wrong: dict[str, Any]) -> None:
    """Whatever argument is at fault, each campaign asked for is false, with that reason."""
    given = {"campaign_key": asked, "user_id": "Ashley", "goal_identifier": "signup", **wrong}
    async with new_client() as client:
        result = await client.track(**given)
    keys = [asked] if isinstance(asked, str) else list(asked)
    assert result.as_dict() == dict.fromkeys(keys, False)
    assert {one.reason for one in result.values()} == {Reason.INVALID_INPUT}
    with pytest.raises(KeyError):
        result["another"]


async def test_bad_input_about_all_campaigns() -> None:
    """Where no campaign is named, a refusal holds none."""
    async with new_client() as client:
        result = await client.track(None, "", "signup")
        assert (dict(result), result.reason) == ({}, Reason.INVALID_INPUT)


async def test_bad_input_is_not_shown() -> None:
    """Bad input may have the user's data for a key: what is printed shows no key of it."""
    async with new_client() as client:
        result = await client.track(USER_ID, "Ashley", cast("str", None))
    assert not find_secrets(repr(result))
    assert result.detail in repr(result)


@pytest.mark.parametrize("how", ["the user", "everybody", "the hook"])
async def test_an_opted_out_user_has_a_reason(how: str) -> None:
    """Each campaign asked for says that the user opted out."""
    options: dict[str, Any] = {"consent": lambda user: False} if how == "the hook" else {}
    async with new_client(**options) as client:
        if how == "the user":
            client.opt_out_user("Ashley")
        if how == "everybody":
            await client.set_opt_out()
        for asked in ("checkout", ["checkout", "search"]):
            result = await client.track(asked, "Ashley", "signup")
            keys = [asked] if isinstance(asked, str) else asked
            assert result.as_dict() == dict.fromkeys(keys, False)
            assert {one.reason for one in result.values()} == {Reason.OPTED_OUT}
        assert not await client.track(None, "Ashley", "signup")


@pytest.mark.parametrize("asked", ["checkout", ["checkout", "search"]])
@pytest.mark.parametrize("storage", [None, MemoryUserStorage()])
async def test_a_full_queue_has_a_reason(asked: Any, storage: Any) -> None:
    """Each campaign asked for says that there was no room, in the short way and in the long one."""
    async with new_client(limits=Limits(max_bytes=1), user_storage=storage) as client:
        if storage is not None:
            for key in ("checkout", "search"):
                row = {"userId": "Ashley", "campaignKey": key, "variationName": "Control"}
                await storage.set(row)
        result = await client.track(asked, "Ashley", "signup")
    keys = [asked] if isinstance(asked, str) else asked
    assert result.as_dict() == dict.fromkeys(keys, False)
    assert {one.reason for one in result.values()} == {Reason.QUEUE_FULL}
    assert result.delivery.done()


# What stands behind a result


def walk(root: object) -> Iterator[object]:
    """Yield *root* and all that can be reached from it by public attributes, entries and calls without arguments."""
    seen: list[object] = []
    todo = [root]
    while todo:
        one = todo.pop()
        if any(one is other for other in seen) or isinstance(one, type) or len(seen) > 5000:
            continue
        seen.append(one)
        yield one
        if isinstance(one, Mapping):
            todo += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple)):
            todo += one
        if not type(one).__module__.startswith("vwo_async"):
            continue
        for name in dir(one):
            if not name.startswith("_"):
                found = getattr(one, name)
                todo.append(found() if inspect.ismethod(found) and takes_nothing(found) else found)


def takes_nothing(method: Callable[..., object]) -> bool:
    needed = [
        one for one in inspect.signature(method).parameters.values() if one.default is one.empty
    ]
    return not needed


@pytest.mark.parametrize("is_arch", [False, True])
@pytest.mark.parametrize("has_storage", [False, True])
async def test_no_secret_behind_a_result(is_arch: bool, has_storage: bool) -> None:
    """By no attribute, entry or pickle of a result does one come to the key or to who the user is."""
    storage = MemoryUserStorage() if has_storage else None
    file = settings(isEventArchEnabled=is_arch)
    async with VWOClient(file, transport=RecordingTransport(), user_storage=storage) as client:
        await client.activate("checkout", USER_ID, **WHO)
        await client.is_feature_enabled("search", USER_ID, **WHO)
        results = [
            await client.track(asked, USER_ID, "often", custom_variables=VARIABLES, **WHO)
            for asked in ("checkout", ["checkout", "search"], None)
        ]
        for result in results:
            assert result
            found = list(walk(result))
            assert any(isinstance(one, Delivery) for one in found)
            for one in found:
                assert not find_secrets(f"{one!r} {one} {getattr(one, '__dict__', '')}"), type(one)
            for protocol in PROTOCOLS:
                assert not find_secrets(pickle.dumps(result, protocol).decode("latin-1"))
        await client.flush_events()
        for result in results:
            assert not find_secrets(pickle.dumps(result).decode("latin-1"))


# Pickles and copies


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_pickle_says_what_the_result_said(protocol: int) -> None:
    """What is read back from a pickle is equal, in all that can be asked, and names public places only."""
    async with new_client(transport=RecordingTransport([Answer(200), Answer(400)])) as client:
        results = [
            await client.track("checkout", "Ashley", "signup", wait=True),
            await client.track("checkout", "Ashley", "signup", wait=True),
            await client.track(["checkout", "nope"], "Ashley", "signup", wait=True),
            await client.track("checkout", "", "signup"),
            await client.track(None, "Ashley", "nope"),
        ]
    for result in results:
        text = pickle.dumps(result, protocol)
        again = pickle.loads(text)
        assert type(again) is TrackResult
        assert again == result
        assert (bool(again), again.reason, again.detail) == (
            bool(result),
            result.reason,
            result.detail,
        )
        assert again.as_json() == result.as_json()
        assert await again.delivery == await result.delivery
        assert again.delivery.outcomes == result.delivery.outcomes
        for key, one in again.items():
            assert await one.delivery == await result[key].delivery
        assert b"vwo_async._" not in text


async def test_a_pickle_of_what_is_pending() -> None:
    """A delivery that was pending when it was pickled says so; to wait for it is a clear error, not a hang."""
    async with (
        running_server() as server,
        VWOClient(settings(), base_url=server.base_url) as client,
    ):
        result = await client.track("checkout", "Ashley", "signup")
        again = pickle.loads(pickle.dumps(result))
        assert again["checkout"].tracked
        assert (await result.delivery).status is DeliveryStatus.DELIVERED
        for delivery in (again.delivery, again["checkout"].delivery):
            assert not delivery.done()
            assert delivery.outcome is None
            assert delivery.as_json()["status"] == "pending"
            assert "pending" in repr(delivery)
            async with asyncio.timeout(1):
                with pytest.raises(DeliveryError, match="pending when it was pickled"):
                    await delivery
            with pytest.raises(DeliveryError, match="pending when it was pickled"):
                delivery.add_done_callback(lambda ended: None)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
async def test_a_copy_keeps_its_promise(duplicate: Callable[[Any], Any]) -> None:
    """A copy within the process can be awaited like the result itself."""
    async with new_client() as client:
        result = duplicate(await client.track("checkout", "Ashley", "signup"))
        one = duplicate(result["checkout"])
        assert (await result.delivery).status is DeliveryStatus.DELIVERED
        assert (await one.delivery).status is DeliveryStatus.DELIVERED


def test_values_cannot_be_changed() -> None:
    """Nothing public of a result can be set."""
    one = CampaignTrack(True, Reason.TRACKED, "Control")
    with pytest.raises(AttributeError):
        one.tracked = False  # type: ignore[misc]
    with pytest.raises(AttributeError):
        TrackResult({}).reason = Reason.TRACKED  # type: ignore[misc]
    with pytest.raises(AttributeError):
        CampaignDecision("Control", Reason.ASSIGNED).variables = {}  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Outcome(DeliveryStatus.DELIVERED).status = DeliveryStatus.DROPPED  # type: ignore[misc]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_every_value_can_be_pickled(protocol: int) -> None:
    """Decisions, explanations, reports and changes come back equal from a pickle, and are found in public places."""
    async with new_client() as client:
        values = [
            *(await client.decide_all("Ashley")).values(),
            await client.explain("checkout", "Ashley"),
            await client.flush_events(),
            client.statistics(),
            SettingsChange(started=("a",), traffic={"a": (50.0, 100.0)}),
            AliasResult(False, Reason.GATEWAY_ERROR, "it did not set the alias"),
        ]
    for value in [*values, await client.aclose()]:
        text = pickle.dumps(value, protocol)
        assert pickle.loads(text) == value == copy.deepcopy(value)
        assert b"vwo_async._" not in text


# Forms that JSON can hold


def through_json(value: Any) -> Any:
    """Return *value* after a way through JSON, which changes nothing where it is plain."""
    return json.loads(json.dumps(value, allow_nan=False))


async def test_every_result_has_a_plain_form() -> None:
    """as_json names everything, and holds only what JSON can."""
    async with new_client() as client:
        result = await client.track(["checkout", "nope"], "Ashley", "signup", wait=True)
        decisions = await client.decide_all("Ashley")
        explanation = await client.explain("members", "Ashley", custom_variables={"plan": "free"})
        flushed, statistics = await client.flush_events(), client.statistics()
    closed = await client.aclose()
    delivered = {"status": "delivered", "reason": "", "status_code": 200, "attempts": 1}
    tracked = {"tracked": True, "reason": "tracked", "variation_name": "Control"}
    unknown = {"tracked": False, "reason": "campaign_not_found", "variation_name": None}
    assert result.as_dict() == {"checkout": True, "nope": False}
    assert result.as_json() == {
        "tracked": True,
        "reason": "tracked",
        "detail": "",
        "notes": [],
        "campaigns": {"checkout": tracked, "nope": unknown},
        "delivery": delivered,
    }
    assert result["checkout"].as_json() == tracked
    assert (await result.delivery).as_json() == result.delivery.as_json() == delivered
    assert result["nope"].delivery.as_json()["status"] == "nothing"
    assert decisions["checkout"].as_json() == {
        "variation_name": "Control",
        "reason": "assigned",
        "is_feature_enabled": False,
        "variables": {},
        "campaign_type": "VISUAL_AB",
    }
    assert flushed.as_json() == {
        "events": 0,
        "delivered": 0,
        "rejected": 0,
        "dropped": 0,
        "pending": 0,
        "is_outbox_read": True,
    }
    assert statistics.as_json()["accepted"] == statistics.accepted == 1
    assert set(statistics.as_json()) == set(get_type_hints(Statistics))
    assert closed.as_json()["dropped"] == {}
    change = SettingsChange(started=("a",), traffic={"a": (50.0, 100.0)})
    assert change.as_json()["traffic"] == {"a": [50.0, 100.0]}
    assert explanation.as_json() == explanation.as_dict()
    assert explanation.as_json()["steps"][0]["name"] == "campaign"
    values: list[Any] = [
        result,
        *decisions.values(),
        explanation,
        flushed,
        statistics,
        closed,
        change,
    ]
    for one in values:
        form = one.as_json()
        assert through_json(form) == form


def test_a_plain_form_is_one_s_own() -> None:
    """What is done to a plain form is nothing to the value."""
    decision = CampaignDecision("a", Reason.ASSIGNED, True, {"list": [{"a": 1}]})
    decision.as_json()["variables"]["list"][0]["a"] = 2
    assert decision.variables == {"list": [{"a": 1}]}
    explanation = Explanation(
        "a", None, Reason.NO_VARIATION, (Step("group", False, "", {"a": (1, 2)}),)
    )
    assert explanation.as_json()["steps"][0]["facts"] == {"a": [1, 2]}


# In a web framework


async def test_a_handler_may_return_a_result() -> None:
    """FastAPI answers with the mapping, with a return annotation and without, and describes it in OpenAPI."""
    app = FastAPI()
    async with new_client() as client:

        @app.get("/bare/{user}")
        async def bare(user: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
            return await client.track(["checkout", "nope"], user, "signup")

        @app.get("/typed/{user}")
        async def typed(user: str) -> TrackResult:
            return await client.track(["checkout", "nope"], user, "signup")

        @app.get("/full/{user}")
        async def full(user: str) -> dict[str, Any]:
            return (await client.track("checkout", user, "signup")).as_json()

        @app.get("/decisions/bare/{user}")
        async def decisions_bare(user: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
            return await client.decide_all(user)

        @app.get("/decisions/typed/{user}")
        async def decisions_typed(user: str) -> Mapping[str, CampaignDecision]:
            return await client.decide_all(user)

        @app.get("/statistics/bare")
        async def statistics_bare():  # type: ignore[no-untyped-def]  # noqa: ANN202
            return client.statistics()

        @app.get("/statistics/typed")
        async def statistics_typed() -> Statistics:
            return client.statistics()

        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as web:

            async def get(path: str) -> Any:
                response = await web.get(path)
                assert response.status_code == 200
                return response.json()

            tracked = {"tracked": True, "reason": "tracked", "variation_name": "Control"}
            unknown = {"tracked": False, "reason": "campaign_not_found", "variation_name": None}
            both = {"checkout": tracked, "nope": unknown}
            assert await get("/bare/Ashley") == await get("/typed/Ashley") == both
            assert (await get("/full/Ashley"))["campaigns"] == {"checkout": tracked}
            decisions = await get("/decisions/typed/Ashley")
            assert decisions == await get("/decisions/bare/Ashley")
            assert (
                decisions["checkout"] == (await client.decide_all("Ashley"))["checkout"].as_json()
            )
            await client.flush_events()
            typed_statistics = await get("/statistics/typed")
            assert typed_statistics == await get("/statistics/bare")
            assert typed_statistics["accepted"] == typed_statistics["delivered"] == 3
            schema = (await get("/openapi.json"))["components"]["schemas"]["CampaignTrack"]
            assert set(schema["properties"]) == {"tracked", "reason", "variation_name"}


def test_pydantic_reads_and_writes_values() -> None:
    """A value that pydantic makes of its plain form is as good as any other."""
    adapter = TypeAdapter(CampaignTrack)
    one = CampaignTrack(True, Reason.TRACKED, "Control")
    again = adapter.validate_python(one.as_json())
    assert again == one
    assert again.delivery.done()
    assert adapter.dump_python(again, mode="json") == one.as_json()
    assert pickle.loads(pickle.dumps(again)) == one
    result = TrackResult({"checkout": one})
    written = TypeAdapter(TrackResult).dump_json(result)
    assert json.loads(written) == {"checkout": one.as_json()}


# The handle of one user


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("activate", call_options.ActivateOptions),
        ("get_variation_name", call_options.DecideOptions),
        ("is_feature_enabled", call_options.ActivateOptions),
        ("decide", call_options.ActivateOptions),
        ("get_feature_variable_value", call_options.VariableOptions),
        ("track", call_options.TrackOptions),
        ("decide_all", call_options.DecideAllOptions),
        ("explain", call_options.ExplainOptions),
    ],
)
def test_a_handle_has_the_options_of_the_client(method: str, options: Any) -> None:
    """What a client's method takes by name, the handle's takes, of the same type, and nothing else."""
    signature = inspect.signature(getattr(VWOClient, method))
    named = {one.name for one in signature.parameters.values() if one.kind is one.KEYWORD_ONLY}
    assert named == set(get_type_hints(options))
    hints = get_type_hints(getattr(VWOClient, method))
    assert {name: hints[name] for name in named} == get_type_hints(options)
    assert get_type_hints(getattr(UserHandle, method))["options"].__args__ == (options,)


async def test_a_handle_refuses_what_the_client_refuses() -> None:
    """A name that is no option is an error at once."""
    async with new_client() as client:
        user = client.for_user("Ashley")
        with pytest.raises(TypeError, match="revenu_value"):
            await user.track("checkout", "signup", revenu_value=3)  # type: ignore[call-arg]


async def test_a_handle_pushes_in_both_forms() -> None:
    """push of a handle takes a key and a value, or a mapping; anything else is refused, and raises nothing."""
    transport = RecordingTransport()
    async with new_client(transport=transport) as client:
        user = client.for_user("Ashley")
        assert await user.push("plan", "pro", wait=True)
        assert await user.push({"plan": "pro"}, wait=True)
        alone, mapped = ("tags=" + one.target.partition("tags=")[2] for one in transport.requests)
        assert alone.partition("&")[0] == mapped.partition("&")[0]
        push: Any = user.push
        wrongs: list[tuple[Any, ...]] = [("plan",), ("plan", None), (None,), (5, "pro"), ({},)]
        for wrong in wrongs:
            assert await push(*wrong, wait=True) is False
        assert len(transport.requests) == 2
