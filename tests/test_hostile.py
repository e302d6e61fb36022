"""Hostile input: the process lives, the page is served, and nothing is smuggled onto the wire or into logs."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from sample import KEY, SECRET, campaign, settings
from server import running_server
from vector import RecordingStorage

from vwo_async import Reason, VWOClient

pytestmark = pytest.mark.anyio

CHILD = """
    import asyncio, json, sys
    sys.path.insert(0, {tests!r})
    from sample import settings
    from vwo_async import VWOClient
    from vwo_async.testing import RecordingTransport

    BAD = json.loads('"a\\\\ud800b"')
    PLACES = [
        dict(user_id=BAD), dict(campaign_key=BAD), dict(campaign_key=["checkout", BAD]),
        dict(goal_identifier=BAD), dict(revenue_value=BAD), dict(custom_variables={{BAD: "x"}}),
        dict(custom_variables={{"x": BAD}}), dict(variation_targeting_variables={{"x": BAD}}),
        dict(event_properties={{"x": BAD}}), dict(event_properties={{BAD: 1}}),
        dict(user_agent=BAD), dict(user_ip_address=BAD), dict(user_id="x" * 1_000_000),
        dict(goal_type_to_track=BAD),
    ]

    async def main():
        transport = RecordingTransport()
        async with VWOClient(settings(), transport=transport) as client:
            for place in PLACES:
                given = dict(campaign_key="checkout", user_id="Ashley", goal_identifier="signup")
                result = await client.track(**(given | place))
                assert not result and result.reason == "invalid_input", place
                for name in ("activate", "get_variation_name", "is_feature_enabled"):
                    method = getattr(client, name)
                    for key, user in (("checkout", BAD), (BAD, "Ashley"), ("search", BAD)):
                        assert not await method(key, user)
                assert await client.get_feature_variable_value("search", BAD, BAD) is None
            assert await client.track("checkout", "Ashley", "signup", wait=True)
            assert len(transport.requests) == 1
        print("alive")

    asyncio.run(main())
"""


def test_lone_surrogates_in_a_child() -> None:
    """A lone surrogate or a huge id anywhere gives a falsy result and a living process."""
    script = textwrap.dedent(CHILD).format(tests=str(Path(__file__).parent))
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout == "alive\n"


@pytest.mark.parametrize(
    "user_id",
    ["a\r\nX-Evil: 1", "nul\x00", "\u202eright to left", "🙂", "e\u0301", "\ufffe", "'; DROP --"],
)
async def test_strange_ids_are_users_like_others(user_id: str) -> None:
    """Any text that UTF-8 can hold names one user, the same on every path."""
    storage = RecordingStorage()
    async with (
        running_server() as server,
        VWOClient(settings(), base_url=server.base_url, user_storage=storage) as client,
    ):
        name = await client.activate("checkout", user_id, wait=True)
        assert name in {"Control", "Variation-1"}
        assert await client.get_variation_name("checkout", user_id) == name
        assert await client.track("checkout", user_id, "signup", wait=True)
        assert {one["userId"] for one in storage.sets} == {user_id}
        visitors = [one.target.partition("&u=")[2][:32] for one in server.requests]
        assert len(visitors) == 2
        assert len(set(visitors)) == 1


@pytest.mark.parametrize(
    "agent", ["a\r\nX-Evil: 1\r\n\r\nGET / HTTP/1.1", "é", "🙂", "a\x00b", "\t", "x" * 4000]
)
async def test_agents_cannot_write_headers(agent: str) -> None:
    """User agent and IP arrive whole in the query, and as one harmless header each."""
    async with (
        running_server() as server,
        VWOClient(settings(), base_url=server.base_url) as client,
    ):
        assert await client.track(
            "checkout", "Ashley", "signup", user_agent=agent, user_ip_address=agent[:100], wait=True
        )
        (request,) = server.requests
        assert len(request.headers) == 6
        assert request.header("X-Evil") is None
        assert request.raw_head.count(b"\r\n\r\n") == 1
        header = request.header("X-Device-User-Agent")
        assert header is not None
        assert header.isascii()


async def test_properties_cannot_override_ours() -> None:
    """Event properties named like VWO's own change nothing of VWO's."""
    file = settings(isEventArchEnabled=True)
    properties = {
        "vwoMeta": {"metric": {}},
        "vwo_envKey": "evil",
        "vwo_sdkName": "evil",
        "isCustomEvent": False,
        "__proto__": {"x": 1},
        "colour": "red",
    }
    async with running_server() as server, VWOClient(file, base_url=server.base_url) as client:
        assert await client.track(
            "checkout", "Ashley", "signup", event_properties=properties, wait=True
        )
        props = json.loads(server.requests[0].body)["d"]["event"]["props"]
        assert props["vwoMeta"] == {"metric": {"id_11": ["g_1101"]}}
        assert props["vwo_envKey"] == KEY
        assert props["vwo_sdkName"] != "evil"
        assert props["isCustomEvent"] is True
        assert props["colour"] == "red"


async def test_event_ids_of_one_visitor_differ() -> None:
    """Two events of one user in the same millisecond have different message ids."""
    file = settings(isEventArchEnabled=True)
    async with running_server() as server:
        async with VWOClient(file, base_url=server.base_url) as client:
            for _ in range(20):
                await client.track("checkout", "Ashley", "often")
        ids = [json.loads(one.body)["d"]["msgId"] for one in server.requests]
        assert len(set(ids)) == 20


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Through success and every kind of failure, no logger shows SDK key, user id or address."""
    root = logging.getLogger()
    assert root.level == logging.DEBUG
    secrets = {
        "user_id": "secret user",
        "user_agent": "secret agent",
        "user_ip_address": "10.9.8.7",
    }
    broken: dict[str, Any] = {"custom_variables": {"secret variable": object()}}

    def fail(_: dict[str, Any]) -> None:
        raise RuntimeError(SECRET, "secret user")

    async with running_server() as server:
        from server import answer

        server.replies.extend([answer(400), answer(307), answer(413), answer(401)])
        # Any: the argument sets are wrong on purpose.
        client: Any = VWOClient(settings(), base_url=server.base_url, integrations=fail)
        async with client:
            for _ in range(4):
                await client.track("checkout", goal_identifier="signup", wait=True, **secrets)
            await client.track("checkout", goal_identifier="signup", **secrets, **broken)
            await client.track("checkout", goal_identifier="signup", **secrets)
            await client.aclose(timeout_s=0.05)
    shown = caplog.text + repr(client)
    assert "vwo_async" in caplog.text
    for secret in (SECRET, "secret", "10.9.8.7", "A46F7AA3"):
        assert secret not in shown


async def test_log_injection(caplog: pytest.LogCaptureFixture) -> None:
    """Input never reaches the log, so that it cannot forge a line there."""
    forged = "a\nCRITICAL root pwned\x1b[31m" + "x" * 5000
    async with VWOClient(settings()) as client:
        result = await client.track(forged, forged, forged, goal_type_to_track=forged)
        assert result.reason is Reason.INVALID_INPUT
    assert "pwned" not in caplog.text


async def test_strange_settings_names_survive() -> None:
    """Names from the settings file go through every wire form unharmed."""
    odd = 'a&b=c "\\é\n🙂'
    one, other = campaign(11, odd), campaign(12, "plain")
    for chosen in (one, other):
        chosen["goals"] = [{"id": chosen["id"], "identifier": odd, "type": "CUSTOM_GOAL"}]
    for is_arch in (False, True):
        file = settings(one, other, isEventArchEnabled=is_arch)
        async with running_server() as server, VWOClient(file, base_url=server.base_url) as client:
            assert await client.track(odd, "Ashley", odd, wait=True)
            assert await client.track(None, "Ashley", odd, wait=True)
            assert client.statistics().delivered == (2 if is_arch else 3)
            if is_arch:
                assert json.loads(server.requests[0].body)["d"]["event"]["name"] == odd
