"""The golden wire vectors of FME: what reaches VWO says the same as what the official SDKs send (section F13)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from replay import load
from server import Received, Reply, Server, answer, running_server

from vwo_async import FMEClient

WIRE = load("wire")
KEY = "0123456789abcdef0123456789abcdef"

# What is not sent, and what is not compared: docs/fme.md says why.
UNSENT = {"vwo_sdkDebug", "vwo_sdkUsageStats"}
OWN_PROPS = {"vwo_sdkName", "vwo_sdkVersion", "vwoMeta"}

# Cases that this client answers otherwise on purpose, or that ask for what it has by another name.
ELSEWHERE = {
    "an address without a scheme is read in a test of its own": {
        "hosts/gateway_no_scheme",
        "hosts/gateway_protocol",
        "hosts/proxy_no_scheme",
    },
    "aliases without a gateway are refused when the client is made": {"alias/no_gateway"},
    "a gateway that is down has tests of its own: it costs a second and not fourteen": {
        "alias/gateway_down"
    },
    "fetching and polling have tests of their own": {
        *(
            f"init/{name}"
            for name in WIRE["init"]["cases"]
            if name.startswith(("settings_", "poll"))
        ),
        *(f"init/{name}" for name in WIRE["init"]["cases"] if name.startswith("update_settings")),
        "hosts/prefix_changes",
        "init/invalid_settings",
        "lifecycle/init_500",
        "lifecycle/init_recovers",
    },
    "how a process ends is tested with processes": {
        "lifecycle/exit_idle",
        "lifecycle/exit_after_shutdown",
    },
    "slow servers and tries have tests of their own": {
        *(f"lifecycle/{name}" for name in ("slow_4s", "slow_11s", "post_500", "retry_config")),
        "lifecycle/reset",
    },
    "a client that was closed raises": {"batch/shutdown"},
    "wrong values of options raise when the client is made": {
        "batch/invalid_options",
        "batch/too_many",
        "init/integrations_none",
    },
}
NOT_REPLAYED = frozenset[str]().union(*ELSEWHERE.values())
CASES = [
    f"{group}/{name}"
    for group, content in WIRE.items()
    for name in content["cases"]
    if f"{group}/{name}" not in NOT_REPLAYED
]
# A user id that is a number is accepted as text, as in the Node SDK, and an empty one is refused.
LIKE_NODE = {
    "impressions/numeric_user",
    "track/no_context",
    # An id that is nobody's alias is the user's own, and lists are asked for.
    "alias/unknown",
    "hosts/gateway_inlist_plain",
}


# Where a server fails at first each try of the official SDKs is a request of its own.
RETRIED = {"track/retry_500", "batch/fail_400"}

# Paths of what is asked of a gateway; the account is named each time, as the Node SDK does.
QUESTIONS = ("/get-user-details", "/check-attribute", "/user-alias/")
ACCOUNT_NAMED = {"accountId": "888888"}
# Blanks within an alias are the caller's; Python's SDK takes them out, and Node's fails on them.
# A list is asked for, encoded: Python's SDK never does it.
ASKED_OTHERWISE = {"alias/set_and_use", "hosts/gateway_inlist"}
RESULTS: Mapping[str, Any] = {
    "hosts/gateway_inlist": [{"enabled": True, "variables": {"int": 140, "str": "v140"}}]
}

Sent = dict[str, Any]


def keep_empty_value(sent: list[Sent]) -> list[Sent]:
    """An empty value is sent in both forms of the call, not in one alone."""
    return [*sent, next(one for one in sent if one["name"] == "vwo_syncVisitorProp")]


def keep_environment(sent: list[Sent]) -> list[Sent]:
    """What VWO's SDKs name themselves is not the caller's to set."""
    for one in sent:
        one["visitor_props"]["vwo_fs_environment"] = one["props"]["vwo_envKey"] = KEY
        if "isCustomEvent" in one["props"]:
            one["props"]["isCustomEvent"] = True
    return sent


def keep_timer(sent: list[Sent]) -> list[Sent]:
    """After a flush events leave in time all the same: Python's timer has ended by then."""
    lost = next(one for one in sent if one["name"] == "signup")
    return [*sent, {**lost, "visitor": "98EFA54F98A95C76A679F46E0E91CAC3"}]


def keep_visitor(sent: list[Sent]) -> list[Sent]:
    """One user is one visitor in one session, also where holdouts are reported."""
    for one in sent:
        if "fId" in one["props"]:
            one["visitor"], one["session"] = "D7E2EAA667909A2DB8A6371FF0975C2A5", 1700000000
    return sent


def keep_agents(sent: list[Sent]) -> list[Sent]:
    """A user agent that no header can hold costs no event: the official SDKs lose it."""
    base = {**sent[0], "name": "signup", "visitor": "9418A7F829B956E0AAC3FBBBD816617C"}
    base["props"] = {"vwo_envKey": KEY, "isCustomEvent": True, "variation": 1, "id": 1}
    return [*sent, {**base, "agent": "iPhone → x"}, {**base, "agent": "a\nb"}]


def keep_listed(sent: list[Sent]) -> list[Sent]:
    """A value with blanks is looked up in a list too: the official SDKs do not find it."""
    shown = {"vwo_envKey": KEY, "id": 14, "variation": 1, "isFirst": 1}
    visitor_props = {"vwo_fs_environment": KEY, "ip": "1.2.3.4"}
    base = {**sent[0], "name": "vwo_variationShown", "props": shown, "agent": "ua", "ip": "1.2.3.4"}
    visitor = "9418A7F829B956E0AAC3FBBBD816617C"
    return [*sent, {**base, "visitor": visitor, "visitor_props": visitor_props}]


# What we send otherwise, on purpose.
BETTER = {
    "attributes/invalid": keep_empty_value,
    "attributes/reserved": keep_environment,
    "batch/after_flush": keep_timer,
    "holdouts/session": keep_visitor,
    "hosts/gateway_inlist": keep_listed,
    "track/odd_agent": keep_agents,
    "track/reserved": keep_environment,
}


def test_every_case_has_a_place() -> None:
    """Each case is either replayed or named with the reason why it is not."""
    assert {f"{group}/{name}" for group, one in WIRE.items() for name in one["cases"]} == {
        *CASES,
        *NOT_REPLAYED,
    }
    assert len(CASES) == 96


def list_sent(requests: list[Mapping[str, Any]]) -> Iterator[Sent]:
    """Yield what each event says that an official SDK sent."""
    for request in requests:
        body = request.get("body")
        if isinstance(body, dict) and "events" in request["path"]:
            for one in body.get("ev", [body]):
                if one["d"]["event"]["name"] not in UNSENT:
                    yield normalise(one["d"])


def list_received(server: Server) -> list[Sent]:
    """Return what each event says that arrived."""
    bodies = [json.loads(one.body) for one in server.requests if is_event(one)]
    return [normalise(one["d"]) for body in bodies for one in body.get("ev", [body])]


def is_event(request: Received) -> bool:
    """Tell whether a request carries events."""
    return "events" in urlsplit(request.target).path


def normalise(data: Mapping[str, Any]) -> Sent:
    """Return what an event says, without times, random numbers and the name of the SDK."""
    assert data["msgId"].startswith(f"{data['visId']}-")
    event = data["event"]
    props = {key: value for key, value in event["props"].items() if key not in OWN_PROPS}
    if event["name"] == "vwo_variationShown":
        props["variation"] = int(props["variation"])
    if event["name"] == "vwo_fmeSdkInit":
        props["data"] = {"isSDKInitialized": props["data"]["isSDKInitialized"]}
    session = data["sessionId"]
    is_given = session == 1700000000
    return {
        "name": event["name"],
        "visitor": data["visId"],
        "agent": data.get("visitor_ua") or "",
        "ip": data.get("visitor_ip") or "",
        "session": session if is_given else "now",
        "props": props,
        "visitor_props": data["visitor"]["props"],
    }


class Storage:
    """A storage in the shape of the official SDKs, whose methods may fail."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.fail = options.get("fail")
        self.rows = {(one["userId"], one["featureKey"]): one for one in options.get("rows", ())}
        self.log: list[list[Any]] = []

    async def get(self, user_id: str, key: str) -> Any:
        self.log.append(["get", key, user_id])
        if self.fail == "get":
            raise OSError
        return self.rows.get((user_id, key))

    async def set(self, data: Mapping[str, Any]) -> None:
        self.log.append(["set", dict(data)])
        if self.fail == "set":
            raise OSError
        self.rows[data["userId"], data["featureKey"]] = dict(data)


def read_options(given: Mapping[str, Any], told: list[Any], base_url: str) -> dict[str, Any]:
    """Return our options for those of a case, with the server that runs in place of the one named there."""
    options: dict[str, Any] = {"base_url": base_url}
    if "proxy_url" in given:
        options["proxy_url"] = base_url + urlsplit(given["proxy_url"]).path
    if "gateway_service" in given:
        options["gateway_service"] = {"url": base_url}
    if given.get("is_aliasing_enabled"):
        options["is_aliasing_enabled"] = True
    if "storage" in given:
        options["user_storage"] = Storage(given["storage"])
    if given.get("integrations"):
        options["integrations"] = told.append
    batch = given.get("batch_event_data")
    if batch:
        options["batch_events"] = {
            key: value for key, value in batch.items() if key != "flush_callback"
        }
    return options


async def make_call(client: FMEClient, call: Mapping[str, Any]) -> Any:
    """Make one call of a case, and return the result in the official shape."""
    match call["api"]:
        case "get_flag":
            flag = await client.get_flag(call["feature"], call["context"])
            variables = {one["key"]: one["value"] for one in flag.get_variables()}
            return {"enabled": flag.is_enabled(), "variables": variables}
        case "track_event":
            result = await client.track_event(
                call["event"], call["context"], call.get("properties")
            )
            return result.as_dict()
        case "set_attribute" if "attributes" in call:
            await client.set_attribute(call["attributes"], call["context"])
        case "set_attribute":
            await client.set_attribute(call["key"], call["value"], call["context"])
        case "set_alias":
            return bool(await client.set_alias(call["user"], call["alias"]))
        case "flush_events":
            await client.flush_events()
    return None


def clean(told: Mapping[str, Any]) -> Any:
    """Return an official result without what changes from call to call."""
    result = told.get("result")
    if isinstance(result, dict) and "enabled" in result:
        return {key: result[key] for key in ("enabled", "variables")}
    return result if isinstance(result, dict) or told["api"] == "set_alias" else None


def sort_key(sent: Mapping[str, Any]) -> str:
    return json.dumps(sent, sort_keys=True)


@pytest.mark.anyio
@pytest.mark.parametrize("name", CASES)
async def test_wire(name: str) -> None:
    """Each call answers as in the official Python SDK, and what arrives says the same as what it sends."""
    group, _, case_name = name.partition("/")
    case = WIRE[group]["cases"][case_name]
    official = case["node-head" if name in LIKE_NODE else "python"]
    told: list[Any] = []
    async with running_server() as server:
        options = read_options(case["options"], told, server.base_url)
        server.default = answer_by_path((case.get("server") or {}).get("gateway", {}))
        for status in (case.get("server") or {}).get("post_status", ()):
            server.replies.append(answer(status))
        file = WIRE[group]["settings"][case["settings"]]
        async with FMEClient(file, **options) as client:
            calls = [one for one in case["calls"] if one["api"] not in ("wait", "shutdown")]
            results = [await make_call(client, one) for one in calls]
            await client.flush_events()
    expected = [one for one in official["results"] if one["api"] not in ("init", "shutdown")]
    assert results == RESULTS.get(name, [clean(one) for one in expected])
    check_requests([one for one in server.requests if is_event(one)])
    check_questions(name, server.requests, official["requests"])
    sent = BETTER.get(name, list)(list(list_sent(official["requests"])))
    received = list_received(server)
    if name in RETRIED:
        sent, received = drop_copies(sent), drop_copies(received)
    assert sorted(received, key=sort_key) == sorted(sent, key=sort_key)
    check_callbacks(told, official.get("callbacks") or [])


def answer_by_path(answers: Mapping[str, Any]) -> Reply:
    """Return the reply of a gateway that answers so; all else is answered as VWO does."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        content = answers.get(urlsplit(request.target).path)
        body = b"" if content is None else json.dumps(content).encode()
        await answer(body=body)(request, writer)

    return reply


def check_questions(name: str, ours: list[Received], official: list[Mapping[str, Any]]) -> None:
    """What is asked of a gateway is what the official SDK asks, and each thing once."""
    if name in ASKED_OTHERWISE:
        return
    asked = {}
    for one in ours:
        url = urlsplit(one.target)
        if url.path.startswith(QUESTIONS):
            query = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=True))
            key = json.dumps([one.method, url.path, query], sort_keys=True)
            assert key not in asked, "it is asked once"
            asked[key] = query
    wanted = {
        json.dumps(
            [one["method"], one["path"], {**ACCOUNT_NAMED, **dict(one["query"])}], sort_keys=True
        )
        for one in official
        if one["path"].startswith(QUESTIONS)
    }
    assert asked.keys() == wanted


def drop_copies(sent: list[Sent]) -> list[Sent]:
    return list({sort_key(one): one for one in sent}.values())


def check_callbacks(told: list[Any], official: list[Any]) -> None:
    """The integrations callback is told the same; Python names the user's variables only once it has used them."""
    names = ("custom_variables", "variation_targeting_variables")
    for ours, theirs in zip(told, official, strict=True):
        assert ours == {**{name: ours[name] for name in names if name in ours}, **theirs}


def check_requests(requests: list[Received]) -> None:
    """Hold each request to the form of the official ones."""
    for one in requests:
        url = urlsplit(one.target)
        query = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=True))
        assert query["a"] == "888888"
        assert query["env"] == KEY
        assert {"sn", "sv"} <= query.keys()
        if url.path.endswith("/events/t"):
            event = json.loads(one.body)["d"]["event"]
            assert query["en"] == event["name"]
            assert query["eTime"] == str(event["time"])
            assert query["p"] == "FS"
            assert 0 <= float(query["random"]) < 1
            assert query.keys() == {
                *("en", "a", "env", "eTime", "random", "p", "visitor_ua", "visitor_ip", "sn", "sv")
            }
        else:
            assert url.path.endswith("/server-side/batch-events-v2")
            assert query.keys() == {"a", "env", "sn", "sv"}
            assert one.header("Authorization") == KEY
