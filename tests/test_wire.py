"""What goes over a real socket is what the official SDKs send, apart from the SDK's name."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from server import Received, running_server
from vector import call, launch_options, load

from vwo_async import VWOClient

pytestmark = pytest.mark.anyio

APIS = {"track", "activate", "isFeatureEnabled"}
CASES = [
    case
    for case in load("wire")["cases"]
    if "batchEvents" not in case["launch"] and {one["call"]["api"] for one in case["calls"]} <= APIS
]
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
        # Row 2: Node hashes other bytes of this user id, and so gets the other variation.
        request["query"] = [
            [key, "1" if key == "combination" else value] for key, value in request["query"]
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
    check_same(theirs, ours)
    assert [received.header(name) for name in HEADERS] == [
        expected["headers"].get(name) for name in HEADERS
    ]
    if expected["body"] is None:
        assert received.body == b""
    else:
        assert received.header("Content-Type") == "application/json"
        check_same(expected["body"], json.loads(received.body))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_requests(case: dict[str, Any]) -> None:
    """Path, parameters, headers and body of each request are those captured from the Node SDK."""
    options = launch_options(case["launch"])
    async with (
        running_server() as server,
        VWOClient(case["settings"], base_url=server.base_url, **options) as client,
    ):
        for step in case["calls"]:
            server.requests.clear()
            await call(client, step["call"])
            expected = [correct(case, one, step["call"]) for one in step["node"]["requests"]]
            assert len(server.requests) == len(expected)
            for one, received in zip(expected, server.requests, strict=True):
                check_request(one, received)


def test_cases_are_there() -> None:
    """Every track case of the captures that does not batch is run by the test above."""
    unbatched = [one for one in load("wire")["cases"] if "batchEvents" not in one["launch"]]
    tracks = {one["name"] for one in unbatched if one["calls"][0]["call"]["api"] == "track"}
    assert tracks
    assert tracks <= {case["name"] for case in CASES}
