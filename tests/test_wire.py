"""What goes over a real socket is what the official SDKs send, apart from the SDK's name."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from server import Received, running_server
from vector import call, launch_options, load

from vwo_async import FlushReport, VWOClient

pytestmark = pytest.mark.anyio

CASES = load("wire")["cases"]
SDK = {"sdk", "sdk-v"}
SDK_PROPS = {"vwo_sdkName", "vwo_sdkVersion"}
HEADERS = ("X-Device-User-Agent", "VWO-X-Forwarded-For", "Authorization")


def is_dynamic(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("<dynamic")


def check_dynamic(kind: str, value: Any) -> None:
    """A dynamic value has the shape that the vectors describe."""
    if "float in [0,1)" in kind:
        assert 0 <= float(value) < 1
    elif "<uuid>-<unix milliseconds>" in kind:
        visitor, _, millis = value.partition("-")
        assert len(visitor) == 32
        assert len(millis) == 13
    elif "milliseconds" in kind:
        assert len(str(int(value))) == 13
    else:
        assert "unix seconds" in kind
        assert len(str(int(value))) == 10


def check_same(expected: Any, value: Any) -> None:
    """Compare deeply, dynamic values by shape and the SDK's name not at all."""
    if is_dynamic(expected):
        check_dynamic(expected, value)
    elif isinstance(expected, dict):
        assert expected.keys() == value.keys()
        for key in expected.keys() - SDK_PROPS:
            check_same(expected[key], value[key])
    elif isinstance(expected, list):
        assert len(expected) == len(value)
        for one, other in zip(expected, value, strict=True):
            check_same(one, other)
    else:
        assert value == expected


def correct(case: dict[str, Any], request: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    """Return Node's request without Node's bugs: for several campaigns it swaps user agent and IP."""
    if case["name"] == "track-goal-list-ua-ip":
        for item in request["body"]["ev"]:
            item["visitor_ua"] = call["options"]["userAgent"]
            item["visitor_ip"] = call["options"]["userIpAddress"]
    if case["name"] == "track-user-unicode":
        # Row 2 of docs/deviations.md: Node hashes other bytes of this id, and gets the other variation.
        request["query"] = [
            [key, "1" if key == "combination" else value] for key, value in request["query"]
        ]
    if case["name"] == "push-special":
        # Row 52 of docs/deviations.md: Node does not escape the quote, so that its tags are no JSON.
        tags = json.dumps({"u": {call["args"]["tagKey"]: call["args"]["tagValue"]}})
        request["query"] = [
            [key, tags if key == "tags" else value] for key, value in request["query"]
        ]
    return request


def check_request(expected: dict[str, Any], received: Received) -> None:
    url = urlsplit(received.target)
    query = parse_qsl(url.query, keep_blank_values=True, strict_parsing=True)
    assert (received.method, url.path) == (expected["method"], expected["path"])
    theirs = {key: value for key, value in expected["query"] if key not in SDK}
    ours = {key: value for key, value in query if key not in SDK}
    assert len(query) == len(dict(query)), "a parameter is there twice"
    assert dict(query).keys() >= SDK & {key for key, _ in expected["query"]}
    if "tags" in theirs:
        assert json.loads(ours.pop("tags")) == json.loads(theirs.pop("tags"))
    check_same(theirs, ours)
    assert [received.header(name) for name in HEADERS] == [
        expected["headers"].get(name) for name in HEADERS
    ]
    if expected["body"] is None:
        assert received.body == b""
    else:
        assert received.header("Content-Type") == "application/json"
        check_same(expected["body"], json.loads(received.body))


def check_value(expected: Any, value: Any) -> None:
    """Compare what a call returned, in the shapes that this package has for push and flush."""
    if isinstance(value, FlushReport):
        assert value
    elif isinstance(value, bool):
        assert value is bool(expected)
    elif isinstance(value, dict):
        assert value == {key: one for key, one in expected.items() if key != "isDevelopmentMode"}
    else:
        assert value == expected


async def settle(client: VWOClient) -> None:
    """Wait until nothing is pending, or only what batching holds back."""
    for _ in range(100):
        await asyncio.sleep(0.001)
        if not client.statistics().pending:
            return


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_requests(case: dict[str, Any]) -> None:
    """Values, and path, parameters, headers and body of each request are those of the Node SDK."""
    options = launch_options(case["launch"])
    batches = "batchEvents" in case["launch"]
    async with (
        running_server() as server,
        VWOClient(case["settings"], base_url=server.base_url, **options) as client,
    ):
        for step in case["calls"]:
            server.requests.clear()
            value = await call(client, step["call"], wait=not batches)
            await settle(client)
            if case["name"] != "track-user-unicode":
                check_value(step["node"]["return"], value)
            expected = [correct(case, one, step["call"]) for one in step["node"]["requests"]]
            assert len(server.requests) == len(expected)
            for one, received in zip(expected, server.requests, strict=True):
                check_request(one, received)
