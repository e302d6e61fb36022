"""`FMEClient` against a real server: what it answers, sends, stores and keeps."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fme_file import make_campaign, make_feature, make_file, make_variation
from outbox_file import read_payloads
from sample import settings as fullstack_file
from server import Received, Server, answer, running_server

from vwo_async import (
    AliasResult,
    ClosedError,
    Flag,
    FlagExplanation,
    FMEClient,
    FMESettingsSource,
    FMEUser,
    FMEUserHandle,
    InvalidInputError,
    Reason,
    SettingsError,
    SettingsSource,
    TrackResult,
    VWOClient,
    fetch_fme_settings,
)
from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.sql import SqlUserStorage
from vwo_async.sync import FMEClient as SyncFMEClient
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio

KEY = "5ecre7"
DOWN = "http://127.0.0.1:9"


def sample(**fields: Any) -> dict[str, Any]:
    """Return a file of one feature with a rollout and a test, and one that is off for everybody."""
    campaigns = [make_campaign(1, "r"), make_campaign(2)]
    nobody = make_campaign(3, "r", variations=[make_variation(1, 0)])
    features = [make_feature(1, *campaigns), make_feature(2, nobody)]
    return {**make_file(features, [*campaigns, nobody]), "sdkKey": KEY, **fields}


def list_events(requests: list[Received]) -> list[dict[str, Any]]:
    """Return the events that arrived, but that of the client's start."""
    bodies = [json.loads(one.body) for one in requests if one.method == "POST"]
    found = [one["d"] for body in bodies for one in body.get("ev", [body])]
    return [one for one in found if one["event"]["name"] != "vwo_fmeSdkInit"]


WEB_ID = "D" + "0123456789abcdef" * 2


@pytest.mark.parametrize("has_storage", [False, True])
async def test_a_flag_knows_visitor_and_session(has_storage: bool) -> None:
    """A flag has the visitor id and the session that its events have, whatever it is and wherever it is read."""
    options: dict[str, Any] = {"user_storage": MemoryUserStorage()} if has_storage else {}
    async with (
        running_server() as server,
        FMEClient(sample(), base_url=server.base_url, **options) as client,
    ):
        began = int(time.time())
        flag = await client.get_flag("f1", "user_1", wait=True)
        # As the official SDKs have it for this account and user.
        visitor = "9418A7F829B956E0AAC3FBBBD816617C"
        assert flag.get_uuid() == visitor
        assert began <= flag.get_session_id() == flag.session_id <= time.time()
        events = list_events(server.requests)
        assert {one["visId"] for one in events} == {visitor}
        assert {one["sessionId"] for one in events} == {flag.session_id}
        web = await client.get_flag("f1", {"id": WEB_ID, "sessionId": 1700000000})
        assert (web.get_uuid(), web.get_session_id()) == (WEB_ID, 1700000000)
        for key in ("f2", "nope"):
            off = await client.get_flag(key, "user_1")
            assert (bool(off), off.get_uuid()) == (False, visitor)
        assert (await client.get_flags("user_1"))["f1"].get_uuid() == visitor
        refused = await client.get_flag("f1", "")
        assert refused.get_uuid() is None
        assert refused.get_session_id() >= began
        client.opt_out_user("user_1")
        assert (await client.get_flag("f1", "user_1")).get_uuid() is None
    for again in (pickle.loads(pickle.dumps(flag)), copy.copy(flag), copy.deepcopy(flag)):
        assert again.get_uuid() == visitor
        assert (again.session_id, again.variables) == (flag.session_id, flag.variables)
    assert flag.as_json()["session_id"] == flag.session_id
    assert visitor not in f"{flag!r} {flag.as_json()}"
    with pytest.raises(AttributeError):
        flag.session_id = 5  # type: ignore[misc]


async def test_the_handle_of_a_user() -> None:
    """The methods of a handle are the client's for one user, in both forms of set_attribute."""
    user = {"id": "u1", "customVariables": {"plan": "pro"}, "sessionId": 1700000000}
    async with running_server() as server, FMEClient(sample(), base_url=server.base_url) as client:
        handle = client.for_user(user)
        flag = await handle.get_flag("f1", wait=True)
        assert flag == replace(await client.get_flag("f1", user), delivery=flag.delivery)
        assert list(await handle.get_flags()) == ["f1", "f2"]
        assert (await handle.explain("f1")).steps == (await client.explain("f1", user)).steps
        server.requests.clear()
        assert await handle.track_event("purchase", {"revenue": 5}, wait=True)
        assert await handle.set_attribute("plan", "pro", wait=True)
        assert await handle.set_attribute({"plan": "pro"}, wait=True)
        bought, *attributes = list_events(server.requests)[-3:]
        assert bought["event"]["props"]["revenue"] == 5
        assert [one["visitor"]["props"]["plan"] for one in attributes] == ["pro", "pro"]
        assert {one["sessionId"] for one in (bought, *attributes)} == {1700000000}
        assert (await handle.set_alias("other")).reason is Reason.ALIASING_OFF
        set_attribute: Any = handle.set_attribute
        wrongs: list[tuple[Any, ...]] = [("plan",), ("plan", None), (None,), (5, "pro"), ({},)]
        for wrong in wrongs:
            assert await set_attribute(*wrong) is False
        assert (await client.for_user("").get_flag("f1")).reason is Reason.INVALID_INPUT
    assert "u1" not in repr(handle)


@pytest.mark.parametrize(
    "method", ["get_flag", "get_flags", "explain", "track_event", "set_attribute", "set_alias"]
)
def test_a_handle_takes_what_the_client_takes(method: str) -> None:
    """Each method of a handle has the client's parameters, less the user."""
    own = inspect.signature(getattr(FMEUserHandle, method)).parameters
    whole = inspect.signature(getattr(FMEClient, method)).parameters
    assert list(own) == [one for one in whole if one != "user"]
    if method != "set_attribute":
        # There the value may be left out of both, for a mapping.
        assert all(own[one] == whole[one] for one in own)


async def test_a_flag() -> None:
    """A flag is a value with its state, its variables as in the official SDKs, and the reason."""
    async with FMEClient(sample(), transport=RecordingTransport()) as client:
        flag = await client.get_flag("f1", "u1")
        assert flag
        assert flag.is_enabled()
        assert flag.get_variables() == [{"key": "who", "value": "v1", "type": "string", "id": 1}]
        assert flag.get_variable("who", "nobody") == "v1"
        assert flag.get_variable("other", "nobody") == "nobody"
        assert flag.reason is Reason.ASSIGNED
        assert flag.rule is not None
        assert flag.rule.key == "rule2"
        assert flag.variation is not None
        assert flag.variation.campaign_key == "campaign2"
        off = await client.get_flag("f2", "u1")
        assert not off
        assert off.reason is Reason.NO_VARIATION or off.reason is Reason.NOT_IN_TRAFFIC
        unknown = await client.get_flag("nope", "u1")
        assert (bool(unknown), unknown.reason) == (False, Reason.FEATURE_NOT_FOUND)
        await client.flush_events()
    again = pickle.loads(pickle.dumps(flag))
    assert (again.key, again.variables, again.reason) == ("f1", flag.variables, flag.reason)
    assert (again == flag, len({again, flag, off, unknown})) == (True, 3)
    assert flag not in (off, "f1")
    assert json.loads(json.dumps(flag.as_json()))["is_enabled"] is True
    assert "u1" not in repr(flag)


async def test_a_handler_may_return_what_it_got() -> None:
    """FastAPI answers with flags, results and explanations, typed or not, and describes them in OpenAPI."""
    app = FastAPI()
    async with FMEClient(sample(), transport=RecordingTransport()) as client:

        @app.get("/bare")
        async def bare():  # type: ignore[no-untyped-def]  # noqa: ANN202
            return await client.get_flag("f1", "u1")

        @app.get("/typed")
        async def typed() -> Flag:
            return await client.get_flag("f1", "u1")

        @app.get("/flags")
        async def flags() -> Mapping[str, Flag]:
            return await client.get_flags("u1")

        @app.get("/event")
        async def event() -> TrackResult:
            return await client.track_event("nope", "u1")

        @app.get("/alias")
        async def alias() -> AliasResult:
            return await client.set_alias("u1", "u2")

        @app.get("/why")
        async def why() -> FlagExplanation:
            return await client.explain("f1", "u1")

        web = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")
        async with web:

            async def get(path: str) -> Any:
                response = await web.get(path)
                assert response.status_code == 200
                return response.json()

            shown = await get("/typed")
            assert shown == await get("/bare")
            assert (shown["key"], shown["reason"]) == ("f1", "assigned")
            assert shown["variables"][0]["value"] == "v1"
            assert set(shown["delivery"]) == {"status", "reason", "status_code", "attempts"}
            assert (await get("/flags"))["f2"]["variation"] is None
            assert (await get("/event"))["nope"]["reason"] == "event_not_found"
            assert (await get("/alias"))["reason"] == "aliasing_off"
            assert (await get("/why"))["is_enabled"] is True
            assert "Flag" in (await get("/openapi.json"))["components"]["schemas"]


async def test_what_a_caller_changes_is_his_own() -> None:
    """Changing the variables of a flag changes neither the settings nor other flags."""
    file = sample()
    file["campaigns"][1]["variations"][0]["variables"][0]["value"] = {"list": [1]}
    async with FMEClient(file, transport=RecordingTransport()) as client:
        flag = await client.get_flag("f1", "u1")
        flag.get_variable("who")["list"].append(2)
        again = await client.get_flag("f1", "u1")
        assert again.get_variable("who") == {"list": [1]}


USERS: list[Any] = [
    "u1",
    {"id": "u1"},
    FMEUser("u1"),
    {"id": "u1", "customVariables": {"plan": "pro"}, "userAgent": "a", "ipAddress": "1.2.3.4"},
    {"id": "u1", "custom_variables": {"plan": "pro"}, "user_agent": "a", "ip_address": "1.2.3.4"},
    FMEUser("u1", custom_variables={"plan": "pro"}, user_agent="a", ip_address="1.2.3.4"),
]


@pytest.mark.parametrize("user", USERS, ids=map(str, range(len(USERS))))
async def test_a_user_in_each_form(user: Any) -> None:
    """A plain id, a context of the official SDKs in both spellings, and an `FMEUser` are one user."""
    async with running_server() as server, FMEClient(sample(), base_url=server.base_url) as client:
        assert (await client.get_flag("f1", user)).get_variable("who") == "v1"
        assert await client.track_event("purchase", user)
        assert await client.set_attribute("plan", "gold", user)
        assert await client.set_attribute({"plan": "gold", "age": 3}, user)
        assert (await client.get_flags(user))["f1"]
        await client.flush_events()
    found = list_events(server.requests)
    assert {one["visId"] for one in found} == {"C3EB79FD751F5745B948C10CF823F69E"}
    assert len({one["msgId"] for one in found}) == len(found) == 5
    assert "u1" not in repr(user) or not isinstance(user, FMEUser)


async def test_a_context_says_all_that_the_official_ones_do() -> None:
    """Session, seed, reported variables and platform variables of a context count."""
    context = {
        "id": "u1",
        "sessionId": 1700000000,
        "bucketingSeed": "team",
        "customVariables": {"plan": "pro", "age": 3},
        "postSegmentationVariables": ["plan", "missing"],
        "ipAddress": "1.2.3.4",
    }
    async with running_server() as server, FMEClient(sample(), base_url=server.base_url) as client:
        seeded = await client.get_flag("f1", context)
        other = await client.get_flag("f1", {**context, "id": "u2"})
        assert seeded.variation == other.variation
        await client.flush_events()
    first = list_events(server.requests)[0]
    assert first["sessionId"] == 1700000000
    assert first["visitor"]["props"] == {
        "vwo_fs_environment": KEY,
        "plan": "pro",
        "ip": "1.2.3.4",
    }


async def test_values_of_null_in_a_context() -> None:
    """Null is as absent everywhere in a context, and so is a session of 0."""
    names = ("customVariables", "variationTargetingVariables", "postSegmentationVariables")
    context: dict[str, Any] = {"id": "u1", "sessionId": 0, **dict.fromkeys(names)}
    async with running_server() as server, FMEClient(sample(), base_url=server.base_url) as client:
        assert (await client.get_flag("f1", context)).get_variable("who") == "v1"
        await client.flush_events()
    for event in list_events(server.requests):
        assert abs(event["sessionId"] - time.time()) < 60
        assert event["visitor"]["props"] == {"vwo_fs_environment": KEY}


BAD_USERS: list[Any] = [
    None,
    "",
    {},
    {"id": ""},
    {"id": None},
    {"id": True},
    [],
    b"u1",
    "\ud800",
    {"id": "u1", "customVariables": 3},
    {"id": "u1", "useIdForWeb": True},
    2.5,
    FMEUser.__new__(FMEUser),
]


@pytest.mark.parametrize("user", BAD_USERS, ids=map(str, range(len(BAD_USERS))))
async def test_bad_users(user: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Who is no user gets false results with a reason and one line each; nothing is sent; strict raises."""
    recorder = RecordingTransport()
    async with FMEClient(sample(), transport=recorder) as client:
        flag = await client.get_flag("f1", user)
        assert (bool(flag), flag.reason) == (False, Reason.INVALID_INPUT)
        assert flag.detail
        result = await client.track_event("purchase", user)
        assert (bool(result), result.reason) == (False, Reason.INVALID_INPUT)
        assert result.as_dict() == {"purchase": False}
        assert await client.get_flags(user) == {}
        assert await client.set_attribute("plan", "gold", user) is False
        assert len([one for one in caplog.records if one.name == "vwo_async"]) == 4
        assert client.statistics().accepted == 1
    async with FMEClient(sample(), transport=RecordingTransport(), strict=True) as client:
        for call in (
            client.get_flag("f1", user),
            client.track_event("purchase", user),
            client.get_flags(user),
            client.set_attribute("plan", "gold", user),
        ):
            with pytest.raises(InvalidInputError):
                await call


@pytest.mark.parametrize(
    "name",
    [None, 3, "", b"x", "\ud800", ["f1"]],
    ids=["none", "number", "empty", "bytes", "surrogate", "list"],
)
async def test_bad_names(name: Any) -> None:
    """What is no name of a feature or event gives a false result with a reason."""
    async with FMEClient(sample(), transport=RecordingTransport()) as client:
        assert (await client.get_flag(name, "u1")).reason is Reason.INVALID_INPUT
        assert (await client.track_event(name, "u1")).reason is Reason.INVALID_INPUT


@pytest.mark.parametrize(
    "attributes", [{}, {"": 1}, {"a": None}, {"a": [1]}, {"a": float("nan")}, {1: 2}, None, 5]
)
async def test_bad_attributes(attributes: Any) -> None:
    """Attributes that VWO's SDKs do not send are refused, all of them."""
    async with FMEClient(sample(), transport=RecordingTransport()) as client:
        assert await client.set_attribute(attributes, "u1") is False
        assert client.statistics().accepted == 1


async def test_an_event_of_no_metric() -> None:
    """An event that no metric counts is not sent, and says so."""
    async with FMEClient(sample(), transport=RecordingTransport()) as client:
        result = await client.track_event("nope", "u1")
        assert (bool(result), result.reason) == (False, Reason.EVENT_NOT_FOUND)
        assert client.statistics().accepted == 1


async def test_properties_that_cannot_be_sent_cost_themselves_alone() -> None:
    """One property that JSON cannot hold is left out and noted; the event and the others are sent."""
    properties = {"revenue": 9.5, "bad": float("nan"), "when": object(), "vwo_envKey": "x", "id": 7}
    async with running_server() as server, FMEClient(sample(), base_url=server.base_url) as client:
        result = await client.track_event("purchase", "u1", properties, wait=True)
        assert result
        assert len(result.notes) == 3
        assert (await result.delivery).status_code == 200
    (event,) = list_events(server.requests)
    props = event["event"]["props"]
    assert (props["revenue"], props["id"], props["vwo_envKey"]) == (9.5, 7, KEY)
    assert server.requests[-1].body.count(b'"id"') == 1
    assert not {"bad", "when"} & props.keys()


async def test_unknown_fields_of_a_context_are_named_once() -> None:
    """A field of an unknown name is left out; the note names the first, to find a slip, and counts the others."""
    given = {
        "id": "u1",
        "custom_varables": {"plan": "gold"},
        **dict.fromkeys(map(str, range(50_000))),
    }
    async with FMEClient(sample(), transport=RecordingTransport()) as client:
        flag = await client.get_flag("f1", given)
        assert flag.reason is Reason.ASSIGNED
        (note,) = flag.notes
        assert (
            note
            == "fields of the user are left out, for their names: 'custom_varables' and 50000 others"
        )


@pytest.mark.parametrize("where", [("details",), ("details", "location"), ("details", "userAgent")])
async def test_details_without_end_are_left_out(where: tuple[str, ...]) -> None:
    """Details that no gateway would give are as none."""
    details: Any = dict.fromkeys(map(str, range(50_000)), "x")
    for name in reversed(where):
        details = {name: details}
    async with FMEClient(sample(), transport=RecordingTransport()) as client:
        flag = await client.get_flag("f1", {"id": "u1", **details})
    assert flag.reason is Reason.ASSIGNED
    assert bool(flag.notes) is (where == ("details",))


@pytest.mark.parametrize(
    "user", [5, {"id": 5}, {"userId": "5"}, FMEUser(5), FMEUser("5")], ids=repr
)
async def test_whoever_is_a_user_can_opt_out(user: Any) -> None:
    """A user opts out, and in again, in each form in which he may be given."""
    async with FMEClient(sample(), transport=RecordingTransport()) as client:
        client.opt_out_user(user)
        assert (await client.get_flag("f1", "5")).reason is Reason.OPTED_OUT
        client.opt_in_user(user)
        assert (await client.get_flag("f1", 5)).reason is Reason.ASSIGNED
        nobody: list[Any] = [None, "", {}, [5], FMEUser("")]
        for one in nobody:
            with pytest.raises(InvalidInputError):
                client.opt_out_user(one)


async def test_waiting_tells_what_vwo_answered() -> None:
    """A call that waits is true where VWO has the event, and false with the outcome where it refused it."""
    async with running_server() as server:
        options: dict[str, Any] = {"return_promise_for": {"track_event": True, "getFlag": True}}
        async with FMEClient(sample(), base_url=server.base_url, **options) as client:
            flag = await client.get_flag("f1", "u1")
            assert flag.delivery.outcome
            server.default = answer(400)
            result = await client.track_event("purchase", "u1")
            assert (bool(result), result.reason) == (False, Reason.NOT_DELIVERED)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_users_keep_their_variation(kind: str, tmp_path: Path) -> None:
    """What was decided stays when the weights change, in each storage, and is not reported again."""
    if kind == "memory":
        await check_that_users_are_kept(MemoryUserStorage())
        return
    async with SqlUserStorage.from_url(f"sqlite:///{tmp_path}/users.db") as storage:
        await storage.create_tables()
        await check_that_users_are_kept(storage)


async def check_that_users_are_kept(storage: Any) -> None:
    async with running_server() as server:
        options: dict[str, Any] = {"base_url": server.base_url, "user_storage": storage}
        async with FMEClient(sample(), **options) as client:
            first = await client.get_flag("f1", "u1")
            off = await client.get_flag("f2", "u1")
            assert not off
        row = await storage.get("u1", "f1")
        assert row is not None
        sent = len(list_events(server.requests))
        file = sample()
        for one, weight in zip(file["campaigns"][1]["variations"], (0, 100), strict=True):
            one["weight"] = weight
        async with FMEClient(file, **options) as client:
            again = await client.get_flag("f1", "u1")
            assert again.reason is Reason.STORED
            assert again.variation == first.variation
            assert (await client.get_flags("u1"))["f1"].variation == first.variation
            other = await client.get_flag("f1", "u2")
            assert other.get_variable("who") == "v2"
        assert client.statistics().storage_errors == 0
    assert len(list_events(server.requests)) == sent + 2


class OfficialStorage:
    """Rows as an official SDK writes them, by feature and user."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[str] = []

    async def get(self, user_id: str, feature_key: str) -> Any:
        self.asked.append(feature_key)
        return self.rows.get((user_id, feature_key))

    async def set(self, data: Mapping[str, Any]) -> None:
        self.rows[data["userId"], data["featureKey"]] = dict(data)


async def test_rows_of_the_official_sdks_are_read() -> None:
    """A row that an official SDK wrote keeps its user in his variation; ours has the same fields."""
    storage = OfficialStorage()
    storage.rows["u1", "f1"] = {
        "featureKey": "f1",
        "userId": "u1",
        "rolloutId": 1,
        "rolloutKey": "campaign1",
        "rolloutVariationId": 1,
        "experimentId": 2,
        "experimentKey": "f1_rule2",
        "experimentVariationId": 2,
    }
    async with FMEClient(sample(), transport=RecordingTransport(), user_storage=storage) as client:
        assert (await client.get_flag("f1", "u1")).get_variable("who") == "v2"
        await client.get_flag("f1", "u2")
    assert storage.rows["u2", "f1"].keys() > storage.rows["u1", "f1"].keys()


async def test_a_row_of_somebody_else_is_not_used() -> None:
    """A row of another user or feature counts as no answer, is noted, and is not written over."""
    storage = OfficialStorage()
    foreign = {"featureKey": "f1", "userId": "other", "experimentKey": "campaign2"}
    storage.rows["u1", "f1"] = foreign
    async with FMEClient(sample(), transport=RecordingTransport(), user_storage=storage) as client:
        flag = await client.get_flag("f1", "u1")
        assert flag
        assert any("another user" in one for one in flag.notes)
        assert client.statistics().storage_errors == 1
    assert storage.rows["u1", "f1"] is foreign


async def test_a_storage_that_fails_and_refusing() -> None:
    """Where the storage fails the flag is decided all the same, or with ``refuse`` it is off and says so."""

    class Broken(OfficialStorage):
        async def get(self, user_id: str, feature_key: str) -> Any:
            raise OSError

    options: dict[str, Any] = {"user_storage": Broken()}
    async with FMEClient(sample(), transport=RecordingTransport(), **options) as client:
        assert await client.get_flag("f1", "u1")
    options["on_storage_error"] = "refuse"
    async with FMEClient(sample(), transport=RecordingTransport(), **options) as client:
        flag = await client.get_flag("f1", "u1")
        assert (bool(flag), flag.reason) == (False, Reason.STORAGE_ERROR)
        assert (await client.get_flags("u1"))["f1"].reason is Reason.STORAGE_ERROR
        assert client.statistics().accepted == 1


async def test_all_flags_take_one_round_of_the_storage() -> None:
    """`get_flags` reads all records at once, and neither reports nor stores anything."""

    class Many(OfficialStorage):
        async def get_many(self, user_id: str, keys: Any) -> Mapping[str, Any]:
            self.asked.append("many")
            return {}

    storage = Many()
    async with FMEClient(sample(), transport=RecordingTransport(), user_storage=storage) as client:
        flags = await client.get_flags("u1")
        assert list(flags) == ["f1", "f2"]
        assert [bool(one) for one in flags.values()] == [True, False]
        assert client.statistics().accepted == 1
    assert storage.asked == ["many"]
    assert storage.rows == {}


async def test_who_opted_out() -> None:
    """About a user who opted out nothing is decided, stored or sent."""
    storage = OfficialStorage()
    async with FMEClient(sample(), transport=RecordingTransport(), user_storage=storage) as client:
        client.opt_out_user("u1")
        assert (await client.get_flag("f1", "u1")).reason is Reason.OPTED_OUT
        assert (await client.track_event("purchase", "u1")).reason is Reason.OPTED_OUT
        assert await client.set_attribute("a", 1, "u1") is False
        assert await client.get_flags("u1") == {}
        assert client.statistics().accepted == 1
        assert await client.get_flag("f1", "u2")
        await client.set_opt_out()
        assert not await client.get_flag("f1", "u2")
    assert {user for user, _ in storage.rows} == {"u2"}


async def test_development_mode_sends_nothing() -> None:
    """In development mode calls answer as usual and nothing is sent."""
    recorder = RecordingTransport()
    async with FMEClient(sample(), transport=recorder, development_mode=True) as client:
        assert await client.get_flag("f1", "u1")
        assert await client.track_event("purchase", "u1", wait=True)
        assert await client.set_attribute("a", 1, "u1")
    assert recorder.requests == []


async def test_a_file_of_the_other_product() -> None:
    """A file, or a source, of the other product gives one clear error that names the right client."""
    with pytest.raises(SettingsError, match="give it to VWOClient"):
        FMEClient(fullstack_file())
    with pytest.raises(SettingsError, match="give it to FMEClient"):
        VWOClient(sample())
    with pytest.raises(InvalidInputError, match="FMESettingsSource"):
        FMEClient(sample(), settings_source=SettingsSource(888888, KEY))
    with pytest.raises(InvalidInputError, match="VWOClient takes a SettingsSource"):
        VWOClient(fullstack_file(), settings_source=FMESettingsSource(888888, KEY))


@pytest.mark.parametrize(
    "option", ["goal_type_to_track", "should_track_returning_user", "user_id_encoding"]
)
async def test_options_of_fullstack_alone(option: str) -> None:
    """An option that means nothing here is refused by name, together with what else is wrong."""
    with pytest.raises(InvalidInputError) as caught:
        FMEClient(sample(), **{option: None, "strict": 1, "worker": 2})  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"{option}: is an option of VWOClient alone; strict: must be a bool;"
        " worker: FMEClient has no such option, perhaps 'workers' is meant"
    )


async def test_methods_of_fullstack_alone() -> None:
    """The methods that are to await delivery are those of this client."""
    with pytest.raises(InvalidInputError) as caught:
        FMEClient(sample(), return_promise_for={"track": True, "trackEvnt": True})
    assert str(caught.value) == (
        "return_promise_for: 'track' is a method of VWOClient, 'trackEvnt' is no API method, perhaps"
        " 'track_event' is meant: choose of get_flag, set_attribute, track_event"
    )


async def test_two_products_in_one_process_share_nothing() -> None:
    """Two clients of two products and accounts send each its own events, in its own name."""
    async with running_server() as first, running_server() as second:
        fme = FMEClient(sample(accountId=1, sdkKey="one"), base_url=first.base_url)
        fullstack = VWOClient(fullstack_file(), base_url=second.base_url)
        async with fme, fullstack:
            for number in range(20):
                user = f"u{number}"
                await asyncio.gather(
                    fme.track_event("purchase", user),
                    fullstack.track("checkout", user, "signup"),
                    fme.get_flag("f1", user),
                )
            fme.opt_out_user("u1")
            assert await fullstack.track("checkout", "u1", "signup")
        assert fme.statistics().delivered == 61
    bodies = b"".join(one.body for one in first.requests)
    assert all("a=1&" in one.target and "env=one" in one.target for one in first.requests)
    assert b'"vwo_envKey":"one"' in bodies
    assert not any("batch-events-v2" in one.target for one in second.requests)
    assert not any("env=one" in one.target for one in second.requests)
    assert len(list_events(first.requests)) == 60


async def test_events_outlive_their_client(tmp_path: Path) -> None:
    """What one client could not deliver the next one does, byte for byte."""
    path = tmp_path / "outbox.db"
    agent = {"id": "u1", "user_agent": "é", "ip_address": "1.2.3.4"}
    async with FMEClient(sample(), base_url=DOWN, outbox=path) as client:
        assert await client.get_flag("f1", agent)
        assert await client.track_event("purchase", agent, {"a": [1]})
        assert await client.set_attribute("plan", "gold", agent)
        report = await client.aclose(timeout_s=0)
        assert report.remaining >= 4
    kept = read_payloads(path)
    assert KEY not in str(kept)
    async with running_server() as server:
        async with FMEClient(sample(), base_url=server.base_url, outbox=path) as client:
            assert await client.flush_events()
            assert client.statistics().restored >= 4
        found = list_events(server.requests)
    assert sorted(one["event"]["name"] for one in found) == [
        "purchase",
        "vwo_syncVisitorProp",
        "vwo_variationShown",
        "vwo_variationShown",
    ]
    assert {(one["visitor_ua"], one["visitor_ip"]) for one in found} == {("é", "1.2.3.4")}
    assert read_payloads(path) == []


KILLED = """
import asyncio, json, sys
from vwo_async import FMEClient
async def main():
    client = FMEClient(json.loads(sys.argv[1]), base_url="http://127.0.0.1:9", outbox=sys.argv[2])
    await client.open()
    for number in range(20):
        assert await client.track_event("purchase", f"u{number}")
    print("accepted", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_events_survive_a_kill(tmp_path: Path) -> None:
    """Events that a process had accepted when it was killed are sent by the next one, each once."""
    path = tmp_path / "outbox.db"
    arguments = [sys.executable, "-c", KILLED, json.dumps(sample()), str(path)]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"accepted\n"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    async with (
        running_server() as server,
        FMEClient(sample(), base_url=server.base_url, outbox=path) as client,
    ):
        assert await client.flush_events()
        # The start of the process that was killed, too.
        assert client.statistics().restored == 21
    found = [one for one in list_events(server.requests) if one["event"]["name"] == "purchase"]
    assert len({one["msgId"] for one in found}) == len(found) == 20


async def test_the_report_of_the_start_is_kept(tmp_path: Path) -> None:
    """Once a client is open, the outbox holds what says so, as any event that was accepted."""
    path = tmp_path / "outbox.db"
    async with FMEClient(sample(), base_url=DOWN, outbox=path) as client:
        assert ["vwo_fmeSdkInit" in str(one) for one in read_payloads(path)] == [True]
        await client.aclose(timeout_s=0)


async def test_the_other_product_does_not_take_events_from_an_outbox(tmp_path: Path) -> None:
    """Events of FME in an outbox are foreign to a FullStack client of the same account and key."""
    path = tmp_path / "outbox.db"
    file = sample()
    async with FMEClient(file, base_url=DOWN, outbox=path) as client:
        assert await client.track_event("purchase", "u1")
        await client.aclose(timeout_s=0)
    other = fullstack_file(accountId=file["accountId"], sdkKey=file["sdkKey"])
    recorder = RecordingTransport()
    async with VWOClient(other, transport=recorder, outbox=path) as fullstack:
        await fullstack.flush_events()
        assert fullstack.statistics().outbox_foreign >= 1
    assert recorder.requests == []


def serve_settings(server: Server, file: Mapping[str, Any]) -> None:
    server.default = answer(body=json.dumps(file).encode())


async def test_fetching_and_refreshing_settings() -> None:
    """Settings are fetched from VWO's addresses for FME, and replaced as a whole."""
    async with running_server() as server:
        serve_settings(server, sample())
        settings = await fetch_fme_settings(888888, KEY, base_url=server.base_url)
        assert settings.features[0].key == "f1"
        changes: list[Any] = []
        client = FMEClient(settings, base_url=server.base_url, on_settings_change=changes.append)
        async with client:
            assert await client.get_flag("f1", "u1")
            serve_settings(server, sample(features=[], collectionPrefix="eu01"))
            assert await client.refresh_settings()
            assert (await client.get_flag("f1", "u1")).reason is Reason.FEATURE_NOT_FOUND
            assert await client.set_attribute("a", 1, "u1", wait=True)
            assert changes[0].stopped == ("f1", "f2")
            assert changes[0].account == ("collection_prefix",)
    targets = [one.target for one in server.requests]
    assert targets[0].startswith("/server-side/v2-settings?a=888888&i=5ecre7&r=")
    assert "&platform=server&api-version=1&sn=vwo-async-python-sdk&sv=" in targets[0]
    assert targets[0].endswith("&s=prod")
    assert any(one.startswith("/server-side/v2-pull?") for one in targets)
    assert targets[-1].startswith("/eu01/events/t?")


async def test_a_source_serves_the_last_known_good_file(tmp_path: Path) -> None:
    """A source starts a service while VWO is down, and the client comes to the new file by polling."""
    kept = tmp_path / "settings.json"
    async with running_server() as server:
        serve_settings(server, sample())
        source = FMESettingsSource(888888, KEY, base_url=server.base_url, last_known_good=kept)
        await source.load()
        server.default = answer(400)
        again = FMESettingsSource(
            888888, KEY, base_url=server.base_url, last_known_good=kept, poll_interval_s=1.0
        )
        async with FMEClient(
            await again.load(), base_url=server.base_url, settings_source=again
        ) as client:
            assert await client.get_flag("f1", "u1")
            assert client.statistics().settings_origin == "disk"
            serve_settings(server, sample(features=[]))
            async with asyncio.timeout(10):
                while await client.get_flag("f1", "u1"):
                    await asyncio.sleep(0.05)
            assert client.statistics().settings_origin == "vwo"


async def test_a_client_is_closed_like_the_other() -> None:
    """Closing delivers what is pending, again is no error, and what follows raises `ClosedError`."""
    async with running_server() as server:
        client = FMEClient(sample(), base_url=server.base_url)
        assert await client.track_event("purchase", "u1")
        report = await client.aclose()
        assert report.delivered == 2
        assert await client.aclose()
        with pytest.raises(ClosedError):
            await client.get_flag("f1", "u1")
    assert repr(client).startswith("<FMEClient closed: 2 accepted == 2 delivered")


async def test_a_start_that_vwo_knows_is_not_reported() -> None:
    """The start of a client is reported once, and not at all where VWO knows the SDKs of the account."""
    file = sample(sdkMetaInfo={"wasInitializedEarlier": True})
    async with FMEClient(file, transport=RecordingTransport()) as client:
        assert client.statistics().accepted == 0


HELD = {"id": 9, "name": "h", "percentTraffic": 0, "isGlobal": True, "segments": {}}


async def test_a_web_id_is_only_asked_for_where_it_counts() -> None:
    """Where the file switches web connectivity off, use_id_for_web means nothing, and the user is decided."""
    user = {"id": "u1", "useIdForWeb": True}
    async with FMEClient(sample(), transport=RecordingTransport()) as client:
        assert (await client.get_flag("f1", user)).reason is Reason.INVALID_INPUT
    file = sample(isWebConnectivityEnabled=False)
    async with FMEClient(file, transport=RecordingTransport()) as client:
        assert await client.get_flag("f1", user)


async def test_a_holdouts_event_has_the_session_of_the_call() -> None:
    """All events of a call have its session, that of a holdout too."""
    file = sample(holdouts=[HELD])
    async with running_server() as server, FMEClient(file, base_url=server.base_url) as client:
        await client.get_flag("f1", {"id": "u1", "sessionId": 1700000000})
        await client.flush_events()
    events = list_events(server.requests)
    assert "fId" in events[0]["event"]["props"]
    assert {one["sessionId"] for one in events} == {1700000000}


async def test_usage_is_reported_where_nothing_else_is() -> None:
    """A stored decision reports usage, unless a new holdout of it is reported."""
    names: list[list[str]] = []
    storage = MemoryUserStorage()
    for fields in ({}, {}, {"holdouts": [HELD]}):
        file = sample(isMAU=True, **fields)
        async with (
            running_server() as server,
            FMEClient(file, base_url=server.base_url, user_storage=storage) as client,
        ):
            await client.get_flag("f1", "u1")
            await client.flush_events()
        names.append([one["event"]["name"] for one in list_events(server.requests)])
    shown = "vwo_variationShown"
    assert names == [[shown, shown], ["vwo_feTrackUsage"], [shown]]


async def test_reported_variables() -> None:
    """A variable that is to be reported is, whatever its value."""
    context = {
        "id": "u1",
        "customVariables": {"a": 0, "b": "", "c": False},
        "postSegmentationVariables": ["a", "b", "c", "missing"],
    }
    async with running_server() as server, FMEClient(sample(), base_url=server.base_url) as client:
        await client.get_flag("f1", context)
        await client.flush_events()
    props = list_events(server.requests)[0]["visitor"]["props"]
    assert props == {"vwo_fs_environment": KEY, "a": 0, "b": "", "c": False}


async def test_a_flag_that_cannot_be_decided_is_not_reported() -> None:
    """A malformed segment turns the flag off without any event, also where the account wants usage."""
    broken = make_campaign(1, "r", variations=[make_variation(1, 100, segments={"user": 5})])
    file = {**make_file([make_feature(1, broken)], [broken]), "sdkKey": KEY, "isMAU": True}
    async with running_server() as server, FMEClient(file, base_url=server.base_url) as client:
        assert (await client.get_flag("f1", "u1")).reason is Reason.MALFORMED_SEGMENT
        await client.flush_events()
    assert list_events(server.requests) == []


class DocumentedStorage:
    """The storage in VWO's documents, which keeps a few fields of a row; its ``get`` as this package calls it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def get(self, user_id: str, feature_key: str) -> dict[str, Any] | None:
        return self.rows.get(f"{feature_key}_{user_id}")

    def set(self, data: Mapping[str, Any]) -> None:
        names = [f"{kind}{name}" for kind in ("rollout", "experiment") for name in ("Id", "Key")]
        names += ["rolloutVariationId", "experimentVariationId"]
        row = {name: data.get(name) for name in names}
        self.rows[f"{data.get('featureKey')}_{data.get('userId')}"] = row


async def test_a_storage_like_that_in_vwos_documents() -> None:
    """A row of nothing but the decision, without user and feature, keeps the user in his variation."""
    storage = DocumentedStorage()
    async with FMEClient(
        sample(), transport=RecordingTransport(), user_storage=storage, strict=True
    ) as client:
        first = await client.get_flag("f1", "u1")
        assert first.reason is Reason.ASSIGNED
        second = await client.get_flag("f1", "u1")
        assert (second.reason, second.variation) == (Reason.STORED, first.variation)
    assert storage.rows.keys() == {"f1_u1"}


class SwappedStorage(DocumentedStorage):
    """The same as for an official FME SDK."""

    def get(self, key: str, user_id: str) -> dict[str, Any] | None:  # type: ignore[override]
        return super().get(user_id, key)


@pytest.mark.parametrize("make", [FMEClient, SyncFMEClient])
def test_a_storage_of_an_official_sdk_is_refused_by_name(make: Any) -> None:
    """One whose ``get`` takes the user last would find no record, and nobody would stay in his variation."""
    with pytest.raises(
        InvalidInputError, match=r"user_storage: get is called as get\(user_id, key\)"
    ):
        make(sample(), user_storage=SwappedStorage())
