"""Rows 50, 51, 53 and 54 of docs/faults.md in FME: callers who pass on whatever a visitor sends."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from chosen_product import CHOSEN, FME, settings
from own_time import assert_below
from rig import P99_DELAY_S
from sample import KEY
from server import running_server
from test_fault_caller import (
    FORGED,
    LONE,
    REFUSED_IDS,
    STRANGE_IDS,
    assert_one_line_each,
    find_visitor,
    lines_of,
)
from vector import RecordingStorage

from vwo_async import FMEClient, FMEUser, InvalidInputError, Reason
from vwo_async.testing import RecordingTransport

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

# A context may be a mapping, and a whole number is taken as its text, as in the Node SDK.
REFUSED = {name: one for name, one in REFUSED_IDS.items() if name not in ("int", "dict")}


@pytest.fixture(autouse=True)
def _fme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN, FME)


def list_calls(client: FMEClient, user: Any) -> Iterator[Callable[[], Awaitable[Any]]]:
    """Yield a call of every method that takes a user, in every form."""
    handle = client.for_user(user)
    yield lambda: client.get_flag("checkout", user)
    yield lambda: client.get_flags(user)
    yield lambda: client.track_event("signup", user)
    yield lambda: client.set_attribute("plan", "pro", user)
    yield lambda: client.set_attribute({"plan": "pro"}, user)
    yield lambda: client.set_alias(user, "other")
    yield lambda: handle.get_flag("checkout")
    yield lambda: handle.track_event("signup")


def sent_by(bodies: list[bytes]) -> list[dict[str, Any]]:
    """Return every event in the bodies of requests."""
    found = [json.loads(body) for body in bodies if body]
    return [one["d"] for body in found for one in body.get("ev", [body])]


@pytest.mark.parametrize("name", STRANGE_IDS)
async def test_row_50_strange_ids_are_users_like_others_in_fme(name: str) -> None:
    """Any text that UTF-8 can write in 4096 bytes names one user, the same on every path and in every form."""
    user_id = STRANGE_IDS[name]
    storage = RecordingStorage()
    async with (
        running_server() as server,
        FMEClient(settings(), base_url=server.base_url, user_storage=storage) as client,
    ):
        for user in (user_id, {"id": user_id}, FMEUser(user_id)):
            flag = await client.get_flag("checkout", user, wait=True)
            assert (
                flag.variation == (await client.get_flags(user))["checkout"].variation is not None
            )
            assert await client.track_event("signup", user, {user_id: user_id}, wait=True)
            assert await client.set_attribute(user_id, user_id, user, wait=True)
        assert {one["userId"] for one in storage.sets} == {user_id}
        events = sent_by([one.body for one in server.requests])
        assert {one["visId"] for one in events} == {find_visitor(user_id)}
        assert len({one["msgId"] for one in events}) == len(events) >= 7
        named = [one for one in events if one["event"]["name"] == "signup"]
        assert all(one["event"]["props"][user_id] == user_id for one in named)
        attributes = [one for one in events if one["event"]["name"] == "vwo_syncVisitorProp"]
        assert all(one["visitor"]["props"][user_id] == user_id for one in attributes)


@pytest.mark.parametrize("name", REFUSED)
async def test_row_50_refused_ids_in_fme(name: str) -> None:
    """What is no such text is refused by every method, also inside a context, and costs next to nothing."""
    storage = RecordingStorage()
    transport = RecordingTransport()
    async with FMEClient(settings(), transport=transport, user_storage=storage) as client:
        for user in (REFUSED[name], {"id": REFUSED[name]}, FMEUser(REFUSED[name])):
            began = time.thread_time()
            for call in list_calls(client, user):
                result = await call()
                assert not result
                assert getattr(result, "reason", Reason.INVALID_INPUT) is Reason.INVALID_INPUT
            assert (await client.explain("checkout", user)).reason is Reason.INVALID_INPUT
            assert_below(time.thread_time() - began, P99_DELAY_S)
    sent = sent_by([one.body for one in transport.requests])
    assert not sent and not storage.gets and not storage.sets


@pytest.mark.parametrize("name", REFUSED)
async def test_row_50_refused_ids_when_strict_in_fme(name: str) -> None:
    """With strict every method raises, and says nothing of the id."""
    client = FMEClient(settings(), transport=RecordingTransport(), strict=True)
    async with client:
        for user in (REFUSED[name], {"id": REFUSED[name]}):
            for call in list_calls(client, user):
                with pytest.raises(InvalidInputError) as caught:
                    await call()
                assert "Ashley" not in str(caught.value) and len(str(caught.value)) < 100


HALVES = [LONE, "\udfff", "\ud83d ", "\ude42\ud83d"]


@pytest.mark.parametrize("bad", HALVES, ids=ascii)
async def test_row_51_lone_surrogates_in_fme(bad: str) -> None:
    """A lone surrogate is refused as a name or id, and elsewhere costs itself alone."""
    transport = RecordingTransport()
    async with FMEClient(settings(), transport=transport) as client:
        for call in list_calls(client, bad):
            assert not await call()
        assert (await client.get_flag(bad, "Ashley")).reason is Reason.INVALID_INPUT
        assert (await client.track_event(bad, "Ashley")).reason is Reason.INVALID_INPUT
        assert not await client.set_attribute(bad, "pro", "Ashley")
        assert not await client.set_attribute("plan", bad, "Ashley")
        assert not await client.set_attribute({"plan": "pro", "x": bad}, "Ashley")
        for fields in (
            {"custom_variables": {"x": bad}},
            {"custom_variables": {bad: "x"}},
            {"user_agent": bad},
            {"ip_address": bad},
            {"bucketing_seed": bad},
        ):
            flag = await client.get_flag("checkout", {"id": "Ashley", **fields})
            assert flag and len(flag.notes) == 1, fields
        properties = {"x": bad, bad: 1, "y": [{"z": bad}], "good": 1}
        result = await client.track_event("signup", "Ashley", properties, wait=True)
        assert result and len(result.notes) == 3
    events = sent_by([one.body for one in transport.requests])
    (event,) = [one for one in events if one["event"]["name"] == "signup"]
    assert event["event"]["props"]["good"] == 1


OURS = ("vwo_envKey", "vwo_sdkName", "vwo_sdkVersion", "isCustomEvent", "vwo_fs_environment")


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


async def test_row_53_properties_cannot_override_ours_in_fme() -> None:
    """Properties that are named like VWO's own change nothing of VWO's, none comes twice, all others arrive."""
    others = {"__proto__": {"x": 1}, "vwometa": 1, "colour": "red", "id": 7, "variation": 9, "": 2}
    evil: dict[str, Any] = dict.fromkeys(OURS, "evil") | {"vwo_anything": 1}
    transport = RecordingTransport()
    async with FMEClient(settings(), transport=transport) as client:
        assert await client.track_event("signup", "Ashley", {**evil, **others}, wait=True)
        assert await client.set_attribute(evil | {"plan": "pro"}, "Ashley")
        assert not await client.set_attribute(evil, "Ashley")
        await client.flush_events()
    found: dict[str, Any] = {}
    for one in transport.requests:
        body = json.loads(one.body, object_pairs_hook=without_doubles)
        for each in body.get("ev", [body]):
            found[each["d"]["event"]["name"]] = each["d"]
    props = found["signup"]["event"]["props"]
    assert {name: props[name] for name in others} == others
    assert (props["vwo_envKey"], props["isCustomEvent"]) == (KEY, True)
    assert "evil" not in props.values() and "vwo_anything" not in props
    assert found["vwo_syncVisitorProp"]["visitor"]["props"] == {
        "plan": "pro",
        "vwo_fs_environment": KEY,
    }


async def test_row_54_input_does_not_reach_the_log_in_fme(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever a visitor sends, the log says what is wrong with it and shows nothing of it."""
    odd: dict[str, Any] = {FORGED: object()}
    users: list[Any] = [
        FORGED * 10,
        {"id": FORGED * 10},
        {"id": "Ashley", **odd},
        {"id": "Ashley", "customVariables": odd},
        {"id": "Ashley", "variation_targeting_variables": {"x": [FORGED]}},
        {"id": "Ashley", "userAgent": FORGED * 10},
        {"id": "Ashley", "ip_address": FORGED * 10},
        {"id": "Ashley", "session_id": FORGED},
        {"id": "Ashley", "bucketingSeed": odd},
        {"id": "Ashley", "_vwo": FORGED},
        {"id": "Ashley", "platform_variables": FORGED},
        {"id": "Ashley", "post_segmentation_variables": FORGED},
        {"id": "Ashley", "use_id_for_web": True},
        FMEUser(FORGED, custom_variables=odd),
        odd,
    ]
    client: Any
    async with FMEClient(settings(), transport=RecordingTransport()) as client:
        for user in users:
            await client.get_flag("checkout", user)
            await client.track_event("signup", user)
            await client.explain("checkout", user)
        await client.get_flag(FORGED, FORGED)
        await client.get_flag(FORGED * 10, "Ashley", wait=FORGED)
        await client.track_event(FORGED, "Ashley", odd)
        await client.track_event("signup", "Ashley", FORGED, at=FORGED)
        await client.set_attribute(FORGED, FORGED, "Ashley")
        await client.set_attribute(odd, "Ashley")
        await client.set_alias("Ashley", FORGED * 10)
    assert len(lines_of(caplog)) >= len(users)
    assert_one_line_each(lines_of(caplog))
    assert "pwned" not in caplog.text
