"""The gateway service: what is asked there, for how long, what is sent through it, and aliases (section F16)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from fme_file import make_campaign, make_feature, make_file
from own_time import Stopwatch
from redact import MARK
from server import Received, Server, answer, running_server

from vwo_async import (
    FMEClient,
    FMESettingsSource,
    FMEUser,
    InvalidInputError,
    Reason,
    fetch_fme_settings,
)
from vwo_async._client.gateway import Gateway
from vwo_async._delivery.circuit_breaker import FAILURES_TO_OPEN
from vwo_async._delivery.transport.intermediary import read_gateway_service, read_proxy_url
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio

KEY = "5ecre7"
INDIA = {"location": {"country": "India", "region": "Delhi", "city": "New Delhi"}}
PLACE: dict[str, Any] = {"and": [{"country": "India"}]}
LISTED: dict[str, Any] = {"custom_variable": {"plan": "inlist(L1)"}}
VISITOR = FMEUser(
    "u1", custom_variables={"plan": "a b&c=d"}, ip_address="1.2.3.4", user_agent="M/5 (x)"
)
TIMEOUT_S = 0.3
# The id that is an alias, and whose.
ALIAS = [{"aliasId": "anna@x", "userId": "u1"}]


def sample(*segments: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a file with a test for each of *segments*, in the features f1, f2, ..."""
    campaigns = [
        make_campaign(number, segments=segment) for number, segment in enumerate(segments, start=1)
    ]
    features = [make_feature(number, one) for number, one in enumerate(campaigns, start=1)]
    file = make_file(features, campaigns, sdkMetaInfo={"wasInitializedEarlier": True})
    return {**file, "sdkKey": KEY, **fields}


def path_of(request: Received) -> str:
    return urlsplit(request.target).path


def query_of(request: Received) -> dict[str, str]:
    query = parse_qsl(urlsplit(request.target).query, keep_blank_values=True, strict_parsing=True)
    return dict(query)


@asynccontextmanager
async def gateway(answers: Mapping[str, Any]) -> AsyncIterator[Server]:
    """Run a gateway that gives these answers by path: JSON, or a number as status."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        content = answers.get(path_of(request), {})
        if isinstance(content, int) and not isinstance(content, bool):
            await answer(content)(request, writer)
        else:
            await answer(body=json.dumps(content).encode())(request, writer)

    async with running_server() as server:
        server.default = reply
        yield server


def client_of(file: dict[str, Any], server: Server, **options: Any) -> FMEClient:
    options.setdefault("gateway_timeout_s", TIMEOUT_S)
    return FMEClient(file, gateway_service={"url": server.base_url}, **options)


def list_asked(server: Server, path: str) -> list[dict[str, str]]:
    return [query_of(one) for one in server.requests if path_of(one) == path]


# What is asked


async def test_a_place_is_asked_for_once() -> None:
    """A segment on places asks the gateway once a call, every value encoded; the answer decides."""
    async with (
        gateway({"/get-user-details": INDIA}) as server,
        client_of(sample(PLACE), server) as client,
    ):
        flag = await client.get_flag("f1", VISITOR)
        assert flag
        assert flag.notes == ()
        (asked,) = list_asked(server, "/get-user-details")
        assert asked == {"accountId": "888888", "userAgent": "M/5 (x)", "ipAddress": "1.2.3.4"}
        # Who brings the details, or has nothing to ask with, costs no request.
        given = FMEUser("u1", ip_address="1.2.3.4", details={"location": {"country": "Peru"}})
        assert not await client.get_flag("f1", given)
        assert not await client.get_flag("f1", "u1")
        assert not await client.get_flag("f1", FMEUser("u1", ip_address="1.2.3.4", details={}))
        assert len(list_asked(server, "/get-user-details")) == 1


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        *((True, True), ("true", True), (False, False), ("false", False), (None, False)),
        *((404, False), ({"status": 0}, False), ({"status": 1}, True)),
    ],
)
async def test_a_list(content: Any, holds: bool) -> None:
    """A list holds a value if the gateway says so; the value is encoded, whatever is in it."""
    async with (
        gateway({"/check-attribute": content}) as server,
        client_of(sample(LISTED), server) as client,
    ):
        assert bool(await client.get_flag("f1", VISITOR)) is holds
        (asked,) = list_asked(server, "/check-attribute")
        assert asked == {"accountId": "888888", "attribute": "a b&c=d", "listId": "L1"}


async def test_all_flags_ask_together() -> None:
    """`get_flags` asks for the user once, and for each list once, however many flags want to know."""
    answers = {"/get-user-details": INDIA, "/check-attribute": True}
    storage = MemoryUserStorage()
    async with (
        gateway(answers) as server,
        client_of(sample(PLACE, LISTED, PLACE, LISTED), server, user_storage=storage) as client,
    ):
        flags = await client.get_flags(VISITOR)
        assert [bool(one) for one in flags.values()] == [True] * 4
        assert sorted(map(path_of, server.requests)) == ["/check-attribute", "/get-user-details"]


class CountingRounds:
    """A storage of rounds that counts them."""

    def __init__(self) -> None:
        self.rounds: list[int] = []

    async def run_round(self, requests: Sequence[Any]) -> list[None]:
        self.rounds.append(len(requests))
        return [None] * len(requests)

    async def get(self, user_id: str, key: str) -> None:
        raise AssertionError("it takes rounds")

    async def set(self, data: Mapping[str, Any]) -> None:
        raise AssertionError("nothing is stored")


async def test_all_flags_take_one_round_of_the_storage() -> None:
    """Groups, other features' records and questions to the gateway add no round to `get_flags`."""
    watching: dict[str, Any] = {"or": [{"featureId": {"1": "on"}}]}
    segments: list[dict[str, Any]] = [PLACE, LISTED, watching, {}, {}]
    group = {"name": "g", "campaigns": ["4", "5"], "et": 1}
    file = sample(*segments, groups={"7": group}, campaignGroups={"4": 7, "5": 7})
    storage = CountingRounds()
    answers = {"/get-user-details": INDIA, "/check-attribute": True}
    async with (
        gateway(answers) as server,
        client_of(file, server, user_storage=storage) as client,
    ):
        flags = await client.get_flags(VISITOR)
    assert [bool(one) for one in list(flags.values())[:3]] == [True, True, False]
    assert sum(map(bool, list(flags.values())[3:])) == 1
    # Five features and the group.
    assert storage.rounds == [6]


async def test_the_same_question_at_the_same_time_is_asked_once() -> None:
    """A hundred calls about one visitor at once cost one request."""
    async with (
        gateway({"/get-user-details": INDIA}) as server,
        client_of(sample(PLACE), server, development_mode=True) as client,
    ):
        flags = await asyncio.gather(*(client.get_flag("f1", VISITOR) for _ in range(100)))
        assert all(flags)
        assert len(server.requests) == 1


async def test_a_cancelled_caller_disturbs_nobody() -> None:
    """Who is cancelled while the gateway is asked takes the answer from no other caller, and leaves no task."""
    async with (
        gateway({"/get-user-details": INDIA}) as server,
        client_of(sample(PLACE), server) as client,
    ):
        calls = [asyncio.create_task(client.get_flag("f1", VISITOR)) for _ in range(10)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in found] == [True, False] * 5
        assert all(found[1::2])


# What is sent


async def test_events_and_settings_go_through_the_gateway() -> None:
    """Each event goes to the gateway alone and without prefix, and so do requests for settings."""
    file = sample({}, collectionPrefix="eu01")
    async with gateway({"/server-side/v2-pull": file, "/server-side/v2-settings": file}) as server:
        service: Any = {"url": server.base_url}
        settings = await fetch_fme_settings(888888, KEY, gateway_service=service)
        source = FMESettingsSource(888888, KEY, gateway_service=service, poll_interval_s=None)
        assert await source.load() == settings
        async with FMEClient(settings, gateway_service=service) as client:
            for number in range(20):
                assert await client.get_flag("f1", f"u{number}")
                assert await client.track_event("purchase", f"u{number}")
            assert await client.flush_events()
            assert await client.refresh_settings()
    posts = [path_of(one) for one in server.requests if one.method == "POST"]
    assert posts == ["/events/t"] * 40
    gets = [path_of(one) for one in server.requests if one.method == "GET"]
    assert gets == [*["/server-side/v2-settings"] * 2, "/server-side/v2-pull"]


async def test_what_one_flag_reports_goes_through_the_gateway_singly() -> None:
    """A flag of a rollout and a test reports two impressions: a gateway gets each alone."""
    campaigns = [make_campaign(1, "r"), make_campaign(2)]
    file = make_file(
        [make_feature(1, *campaigns)], campaigns, sdkMetaInfo={"wasInitializedEarlier": True}
    )
    async with gateway({}) as server, client_of(file, server) as client:
        for number in range(5):
            assert await client.get_flag("f1", f"u{number}", wait=True)
        assert client.statistics().accepted == 10
        assert [path_of(one) for one in server.requests] == ["/events/t"] * 10


async def test_a_proxy_takes_the_place_of_vwo() -> None:
    """With proxy_url everything goes there, prefix and batches as to VWO; a gateway goes before it."""
    file = sample({}, collectionPrefix="eu01")
    async with gateway({"/server-side/v2-settings": file}) as server:
        url = f"{server.base_url}/some/path"
        settings = await fetch_fme_settings(888888, KEY, proxy_url=url)
        async with FMEClient(settings, proxy_url=url) as client:
            assert await client.track_event("purchase", "u1", wait=True)
        assert path_of(server.requests[-1]) == "/eu01/events/t"
        down = "http://127.0.0.1:9"
        async with FMEClient(settings, proxy_url=down, gateway_service={"url": url}) as client:
            assert await client.track_event("purchase", "u1", wait=True)
        assert path_of(server.requests[-1]) == "/events/t"


@pytest.mark.parametrize(
    ("service", "address"),
    [
        ({"url": "gate.example"}, "https://gate.example"),
        ({"url": "gate.example:8000"}, "https://gate.example:8000"),
        ({"url": "gate.example", "protocol": "http", "port": 8000}, "http://gate.example:8000"),
        ({"url": "http://gate.example:1", "port": 8000}, "http://gate.example:1"),
        ({"url": "http://gate.example", "protocol": "https", "port": 8}, "http://gate.example:8"),
        ({"url": "http://[::1]:8000/path"}, "http://[::1]:8000"),
    ],
)
def test_addresses_of_gateways(service: Any, address: str) -> None:
    """Scheme and port of the URL go first, then the options protocol and port, then https."""
    assert read_gateway_service(service).base_url == address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://proxy.example/base/path", "https://proxy.example"),
        ("proxy.example:8080", "https://proxy.example:8080"),
        ("http://proxy.example:8080", "http://proxy.example:8080"),
    ],
)
def test_addresses_of_proxies(url: str, address: str) -> None:
    """A path does not count, and without a scheme it is https."""
    assert read_proxy_url(url).base_url == address


@pytest.mark.parametrize(
    "service",
    [
        {},
        "http://gate.example",
        {"url": ""},
        {"url": 3},
        {"url": "ftp://gate.example"},
        {"url": "http://"},
        {"url": "http://user:s3cret@gate.example"},
        {"url": "gate.example", "protocol": "ftp"},
        {"url": "gate.example", "port": "8000"},
        {"url": "gate.example", "port": 0},
        {"url": "gate example"},
        {"url": "gate.example", "host": "x"},
    ],
    ids=str,
)
def test_bad_addresses(service: Any) -> None:
    """What is no address is refused when the client or source is made, and is not repeated."""
    for make in (
        lambda: FMEClient(sample({}), gateway_service=service),
        lambda: FMESettingsSource(888888, KEY, gateway_service=service),
    ):
        with pytest.raises(InvalidInputError) as error:
            make()
        assert str(error.value).startswith("gateway_service: ")
        assert "s3cret" not in str(error.value)


# A gateway that fails


async def test_without_a_gateway() -> None:
    """What only a gateway knows does not hold without one, and the flag says so."""
    async with FMEClient(sample(PLACE, LISTED), transport=RecordingTransport()) as client:
        for key in ("f1", "f2"):
            flag = await client.get_flag(key, VISITOR)
            assert (bool(flag), flag.reason) == (False, Reason.NOT_IN_SEGMENT)
            assert "gateway" in flag.notes[0]


async def hang(request: Received, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize("key", ["f1", "f2"])
async def test_a_gateway_that_hangs(key: str) -> None:
    """It costs a call one time-out; after five in a row it is not asked, and the calls are quick."""
    storage = MemoryUserStorage()
    async with (
        gateway({}) as server,
        client_of(
            sample(PLACE, LISTED), server, user_storage=storage, close_timeout_s=0.1
        ) as client,
    ):
        server.default = hang
        for number in range(FAILURES_TO_OPEN):
            began_at, watch = time.monotonic(), Stopwatch()
            user = FMEUser(f"u{number}", custom_variables={"plan": "pro"}, ip_address="1.2.3.4")
            flag = await client.get_flag(key, user)
            assert time.monotonic() - began_at >= TIMEOUT_S - 0.02
            watch.assert_below(TIMEOUT_S + 0.4)
            assert (bool(flag), flag.reason) == (False, Reason.NOT_IN_SEGMENT)
            assert "gateway" in flag.notes[0]
            # The time of the gateway is not the storage's.
            assert await storage.get(f"u{number}", key)
        asked = len(server.requests)
        watch = Stopwatch()
        for _ in range(20):
            assert not await client.get_flag(key, VISITOR)
        watch.assert_below(20 * TIMEOUT_S / 4)
        assert len(server.requests) == asked == FAILURES_TO_OPEN
        assert client.statistics().gateway_errors >= FAILURES_TO_OPEN + 20
        assert client.statistics().storage_errors == 0


async def test_a_gateway_that_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is down one call at a time tries it, and with the first answer all ask again."""
    monkeypatch.setattr("vwo_async._client.gateway.PAUSE_S", 0.1)
    async with (
        gateway({"/get-user-details": INDIA}) as server,
        client_of(sample(PLACE), server, development_mode=True) as client,
    ):
        server.replies = [answer(503)] * FAILURES_TO_OPEN
        for _ in range(FAILURES_TO_OPEN + 3):
            assert not await client.get_flag("f1", VISITOR)
        assert len(server.requests) == FAILURES_TO_OPEN
        await asyncio.sleep(0.15)
        assert await client.get_flag("f1", VISITOR)
        assert await client.get_flag("f1", VISITOR)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"3", b"null", b'{"location": 3}', b"[" * 5000, b'"' + b"x" * 70_000],
    ids=range(8),
)
async def test_answers_that_make_no_sense(body: bytes) -> None:
    """Whatever a gateway answers, the call is decided, and what was asked for does not hold."""
    async with gateway({}) as server:
        server.default = answer(body=body)
        async with client_of(
            sample(PLACE), server, is_aliasing_enabled=True, development_mode=True
        ) as client:
            flag = await client.get_flag("f1", VISITOR)
            assert (bool(flag), flag.reason) == (False, Reason.NOT_IN_SEGMENT)
            assert await client.track_event("purchase", "u1")
            assert not await client.set_alias("u1", "anna@x")


async def test_a_crowd_at_the_gateway() -> None:
    """A crowd opens no more connections than twenty, and nobody is lost."""
    async with (
        gateway({"/get-user-details": INDIA}) as server,
        client_of(sample(PLACE), server, development_mode=True, gateway_timeout_s=20.0) as client,
    ):
        users = [
            FMEUser(f"u{one}", ip_address=f"10.0.{one // 250}.{one % 250}") for one in range(500)
        ]
        flags = await asyncio.gather(*(client.get_flag("f1", one) for one in users))
        assert all(flags)
        assert len(server.requests) == 500
        assert server.connections <= 20


# Aliases


def decide_once(file: dict[str, Any], user_id: str) -> Any:
    async def decide() -> Any:
        async with FMEClient(file, transport=RecordingTransport()) as client:
            return (await client.get_flag("f1", user_id)).variation

    return decide()


async def test_an_alias_is_its_user() -> None:
    """An alias is decided, reported and stored as the user whose it is; found once, it is not asked again."""
    storage = MemoryUserStorage()
    answers = {
        "/user-alias/getAliasUserId": ALIAS,
        "/user-alias/setUserAlias": {"isAliasSet": True},
    }
    async with (
        gateway(answers) as server,
        client_of(sample({}), server, is_aliasing_enabled=True, user_storage=storage) as client,
    ):
        result = await client.set_alias("u1", " anna@x ")
        assert (bool(result), result.reason) == (True, None)
        flag = await client.get_flag("f1", {"id": "anna@x", "bucketingSeed": None})
        assert flag.variation == await decide_once(sample({}), "u1")
        assert await client.track_event("purchase", "anna@x")
        assert await client.set_attribute("plan", "pro", "anna@x")
        assert (await client.get_flags("anna@x"))["f1"].reason is Reason.STORED
        assert await client.flush_events()
        assert await storage.get("u1", "f1")
        assert await storage.get("anna@x", "f1") is None
    (told,) = [one for one in server.requests if path_of(one) == "/user-alias/setUserAlias"]
    assert json.loads(told.body) == {"userId": "u1", "aliasId": "anna@x"}
    expected = {"accountId": "888888", "sdkKey": KEY}
    assert query_of(told) == {**expected, "userId": "u1", "aliasId": "anna@x"}
    (asked,) = list_asked(server, "/user-alias/getAliasUserId")
    assert asked == {**expected, "userId": '["anna@x"]'}
    events = [json.loads(one.body)["d"] for one in server.requests if path_of(one) == "/events/t"]
    assert {one["visId"] for one in events} == {"C3EB79FD751F5745B948C10CF823F69E"}
    assert len(events) == 3


async def test_a_seed_stays_where_an_alias_is_named() -> None:
    """The bucketing seed counts for the user too, also where it reads like the alias."""
    async with (
        gateway({"/user-alias/getAliasUserId": [{"aliasId": "a", "userId": "b"}]}) as server,
        client_of(sample({}), server, is_aliasing_enabled=True) as client,
    ):
        flag = await client.get_flag("f1", {"id": "a", "bucketingSeed": "a"})
        assert flag.variation == await decide_once(sample({}), "a")
        flag = await client.get_flag("f1", "a")
        assert flag.variation == await decide_once(sample({}), "b")


async def test_a_web_visitor_stays_one_where_ids_may_be_aliases() -> None:
    """A web visitor id is the visitor id also where it was looked up, and where it is the owner of an alias."""
    web_id = "D" + "0123456789abcdef" * 2
    owner = [{"aliasId": "anna@x", "userId": web_id}]
    async with (
        gateway({"/user-alias/getAliasUserId": owner}) as server,
        client_of(sample({}), server, is_aliasing_enabled=True) as client,
    ):
        for user_id in (web_id, "anna@x"):
            assert (await client.get_flag("f1", user_id)).get_uuid() == web_id
            assert await client.track_event("purchase", user_id)
        alias = {"id": "anna@x", "useIdForWeb": True}
        assert (await client.get_flag("f1", alias)).reason is Reason.INVALID_INPUT
        assert (await client.track_event("purchase", alias)).reason is Reason.INVALID_INPUT
        assert await client.track_event("purchase", {"id": web_id, "useIdForWeb": True})
        assert await client.flush_events()
    events = [json.loads(one.body)["d"] for one in server.requests if path_of(one) == "/events/t"]
    assert {one["visId"] for one in events} == {web_id}


async def test_a_flag_that_cannot_be_evaluated_is_not_reported() -> None:
    """What was passed before the part that cannot be evaluated is not reported, gateway or not."""
    holdout = {"id": 501, "name": "H", "percentTraffic": 0, "isGlobal": True, "segments": {}}
    file = sample({"custom_variable": {"plan": 5}}, holdouts=[holdout])
    async with gateway({}) as server, client_of(file, server) as client:
        flag = await client.get_flag("f1", VISITOR)
        assert flag.reason is Reason.MALFORMED_SEGMENT
        assert await client.flush_events()
    assert not [one for one in server.requests if path_of(one) == "/events/t"]


@pytest.mark.parametrize(
    "content",
    [[], None, 404, 500, [{"aliasId": "other", "userId": "u1"}], [{"aliasId": "u7", "userId": 3}]],
    ids=str,
)
async def test_an_id_that_is_no_alias(content: Any) -> None:
    """Where nobody's alias is known the id is the user's own; a failure is noted."""
    async with (
        gateway({"/user-alias/getAliasUserId": content}) as server,
        client_of(sample({}), server, is_aliasing_enabled=True) as client,
    ):
        flag = await client.get_flag("f1", "u7")
        result = await client.track_event("purchase", "u7")
        assert flag.variation == await decide_once(sample({}), "u7")
        assert result
        is_failed = isinstance(content, int)
        assert bool(flag.notes) is bool(result.notes) is is_failed


async def test_row_57_logs_of_answers(caplog: pytest.LogCaptureFixture) -> None:
    """What the gateway says of a user is in no log, not even where the loop tells all it does."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    async with (
        gateway({"/user-alias/getAliasUserId": [{"aliasId": MARK, "userId": MARK}]}) as server,
        client_of(sample({}), server, is_aliasing_enabled=True) as client,
    ):
        loop.slow_callback_duration = 0
        await client.get_flag("f1", MARK)
        loop.slow_callback_duration = 60
    assert "vwo_async gateway" in caplog.text
    assert MARK not in caplog.text


@pytest.mark.parametrize(
    "user", [{"id": "u1", "useIdForWeb": True}, {"id": "u1", "customVariables": 5}, FMEUser("u1")]
)
async def test_only_the_id_counts_for_an_alias(user: Any) -> None:
    """Nothing else of a user keeps the gateway from being told of an alias, as in the official SDKs."""
    async with (
        gateway({"/user-alias/setUserAlias": {"isAliasSet": True}}) as server,
        client_of(sample({}), server, is_aliasing_enabled=True) as client,
    ):
        assert await client.set_alias(user, "anna@x")
    (told,) = [one for one in server.requests if path_of(one) == "/user-alias/setUserAlias"]
    assert json.loads(told.body) == {"userId": "u1", "aliasId": "anna@x"}


async def test_consent_of_an_alias() -> None:
    """Who opted out by either id is not decided about, and before he is asked for, nobody is told his id."""
    async with (
        gateway({"/user-alias/getAliasUserId": ALIAS}) as server,
        client_of(sample({}), server, is_aliasing_enabled=True) as client,
    ):
        client.opt_out_user("anna@x")
        assert (await client.get_flag("f1", "anna@x")).reason is Reason.OPTED_OUT
        assert (await client.set_alias("anna@x", "other")).reason is Reason.OPTED_OUT
        assert server.requests == []
        client.opt_in_user({"id": "anna@x"})
        client.opt_out_user(FMEUser("u1"))
        assert (await client.get_flag("f1", "anna@x")).reason is Reason.OPTED_OUT
        assert (await client.track_event("purchase", "anna@x")).reason is Reason.OPTED_OUT
        assert await client.set_attribute("plan", "pro", "anna@x") is False


async def test_setting_an_alias_that_cannot_be_set() -> None:
    """The answer is falsy and says why: no gateway, no sense, or a gateway that does not do it."""
    async with FMEClient(sample({}), transport=RecordingTransport()) as client:
        result = await client.set_alias("u1", "anna@x")
        assert (bool(result), result.reason) == (False, Reason.ALIASING_OFF)
    async with (
        gateway({"/user-alias/setUserAlias": {"isAliasSet": False}}) as server,
        client_of(sample({}), server, is_aliasing_enabled=True) as client,
    ):
        bad: list[tuple[Any, Any]] = [("u1", " u1 "), ("u1", ""), ("u1", 3), ("", "a"), (None, "a")]
        for user, alias in [*bad, ("u1", "\ud800"), ("  ", "a"), ("u1", "  ")]:
            assert (await client.set_alias(user, alias)).reason is Reason.INVALID_INPUT
        assert server.requests == []
        assert (await client.set_alias("u1", "a")).reason is Reason.GATEWAY_ERROR
        server.default = hang
        watch = Stopwatch()
        assert (await client.set_alias("u1", "b")).reason is Reason.GATEWAY_ERROR
        watch.assert_below(TIMEOUT_S + 0.4)


async def test_aliases_need_a_gateway() -> None:
    """Aliases without a gateway are refused when the client is made."""
    with pytest.raises(InvalidInputError, match="is_aliasing_enabled: needs gateway_service"):
        FMEClient(sample({}), is_aliasing_enabled=True)


async def test_batches_are_the_gateways() -> None:
    """With a gateway `batch_events` is not used, and one line says so."""
    async with gateway({}) as server:
        batch: Any = {"events_per_request": 100, "request_time_interval": 600}
        async with client_of(sample({}), server, batch_events=batch) as client:
            assert await client.track_event("purchase", "u1", wait=True)
        assert [path_of(one) for one in server.requests] == ["/events/t"]


def test_nothing_shows_a_user() -> None:
    """What a client remembers of aliases and of the gateway is in no repr."""
    client = FMEClient(
        sample({}), gateway_service={"url": "http://gate.example"}, is_aliasing_enabled=True
    )
    assert "gate" not in repr(client)
    assert Gateway.__repr__(None) == "<Gateway>"  # type: ignore[arg-type]
