"""Rows 50 to 56 of docs/faults.md: callers who pass on whatever a visitor sends."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import product
from math import floor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import NAMESPACE_URL, uuid5

import mmh3
import numpy as np
import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import fetch, is_fme, make_client, settings
from own_time import assert_below
from rig import P99_DELAY_S, steady_loop
from sample import ACCOUNT, KEY, REQUIRED, campaign, row
from server import Received, running_server
from vector import RecordingStorage

from vwo_async import InvalidInputError, Reason, StorageError, VWOClient, VWOError
from vwo_async.storage import MemoryUserStorage, StoredDecision
from vwo_async.testing import RecordingTransport

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

LONE = "a\ud800b"


# Row 50


def find_variation(user_id: str) -> str:
    """Return the variation of *user_id* by the formula of the documents."""
    hashed = mmh3.hash(user_id.encode(), 1, signed=False)
    return "Control" if floor(10_000 * hashed / 2**32 + 1) <= 5000 else "Variation-1"


def find_visitor(user_id: str) -> str:
    """Return the name under which VWO knows *user_id*."""
    return uuid5(uuid5(uuid5(NAMESPACE_URL, "https://vwo.com"), str(ACCOUNT)), user_id).hex.upper()


def visitors_of(request: Received) -> set[str]:
    """Return every visitor whom a request names."""
    query = parse_qs(urlsplit(request.target).query)
    found = set(query.get("u", []))
    if request.body:
        body = json.loads(request.body)
        found |= {item["u"] for item in body.get("ev", [])}
        if "d" in body:
            found |= {body["d"]["visId"], body["d"]["msgId"].partition("-")[0]}
    return found


STRANGE_IDS = {
    "CR LF": "a\r\nX-Evil: 1",
    "NUL": "a\x00b",
    "only NUL": "\x00",
    "escape": "\x1b[31mred",
    "right to left": "\u202eabc",
    "Hebrew": "\u05e9\u05dc\u05d5\u05dd",
    "emoji": "\U0001f642",
    "family": "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "decomposed": "e\u0301",
    "composed": "\u00e9",
    "no character": "\ufffe",
    "last": "\U0010ffff",
    "byte order mark": "\ufeffa",
    "separators": "\u2028\u2029\x85",
    "quotes": "'; DROP TABLE users; --\"\\",
    "URL": "a&b=c?d#e/../f%00%0d%0a+g h",
    "JSON": '{"a": [1, null]}',
    "format": "%s %d {0} {user} $(id) `id`",
    "blank": " ",
    "number": "123",
    "longest": "\u00e9" * 2048,
}


@pytest.mark.parametrize("name", STRANGE_IDS)
async def test_row_50_strange_ids_are_users_like_others(name: str) -> None:
    """Any text that UTF-8 can write in 4096 bytes names one user, the same on every path."""
    user_id = STRANGE_IDS[name]
    seen: set[str] = set()
    for more in ({}, {"isEventArchEnabled": True}):
        storage = RecordingStorage()
        async with (
            running_server() as server,
            make_client(settings(**more), base_url=server.base_url, user_storage=storage) as client,
        ):
            variation = await client.activate("checkout", user_id, wait=True)
            assert variation == find_variation(user_id)
            assert await client.get_variation_name("checkout", user_id) == variation
            assert (await client.decide_all(user_id))["checkout"].variation_name == variation
            assert await client.track("checkout", user_id, "signup", wait=True)
            assert await client.track(None, user_id, "often", wait=True)
            assert await client.push("plan", "pro", user_id, wait=True)
            assert {one["userId"] for one in storage.sets} == {user_id}
            seen |= {visitor for one in server.requests for visitor in visitors_of(one)}
            assert client.statistics().delivered == client.statistics().accepted > 3
    assert seen == {find_visitor(user_id)}


REFUSED_IDS: dict[str, Any] = {
    "1 MB": "x" * 1_000_000,
    "a byte too long": "x" * 4097,
    "a letter too long": "\u00e9" * 2049,
    "empty": "",
    "None": None,
    "int": 123,
    "bool": True,
    "float": 1.5,
    "bytes": b"Ashley",
    "list": ["Ashley"],
    "dict": {"id": "Ashley"},
    "lone surrogate": LONE,
    "surrogates in pair": "\ud83d\ude42",
}


async def call_everything(client: Any, user_id: Any) -> list[Any]:
    """Call every API method for *user_id*, wrong on purpose or not."""
    return [
        await client.activate("checkout", user_id),
        await client.get_variation_name("checkout", user_id),
        await client.is_feature_enabled("search", user_id),
        await client.get_feature_variable_value("search", "size", user_id),
        await client.track("checkout", user_id, "signup"),
        await client.track(None, user_id, "signup", wait=True),
        await client.push("plan", "pro", user_id),
        await client.push({"plan": "pro"}, user_id),
        await client.decide_all(user_id),
        await client.for_user(user_id).track("checkout", "signup"),
    ]


@pytest.mark.parametrize("name", REFUSED_IDS)
async def test_row_50_refused_ids(name: str) -> None:
    """What is no such text is refused by every method, never coerced or cut, and costs next to nothing."""
    user_id = REFUSED_IDS[name]
    storage = RecordingStorage()
    async with (
        running_server() as server,
        make_client(settings(), base_url=server.base_url, user_storage=storage) as client,
    ):
        began = time.thread_time()
        results = await call_everything(client, user_id)
        assert_below(time.thread_time() - began, P99_DELAY_S)
        assert not any(results)
        assert results[4].reason is Reason.INVALID_INPUT
        assert (await client.explain("checkout", user_id)).reason is Reason.INVALID_INPUT
        with pytest.raises(InvalidInputError):
            client.opt_out_user(user_id)
    assert not server.requests and not storage.gets and not storage.sets


@pytest.mark.parametrize("name", REFUSED_IDS)
async def test_row_50_refused_ids_when_strict(name: str) -> None:
    """With strict every method raises, and says nothing of the id."""
    client: Any = make_client(settings(), transport=RecordingTransport(), strict=True)
    user_id = REFUSED_IDS[name]
    calls: list[Callable[[], Any]] = [
        lambda: client.activate("checkout", user_id),
        lambda: client.get_variation_name("checkout", user_id),
        lambda: client.is_feature_enabled("search", user_id),
        lambda: client.get_feature_variable_value("search", "size", user_id),
        lambda: client.track("checkout", user_id, "signup"),
        lambda: client.push("plan", "pro", user_id),
        lambda: client.decide_all(user_id),
        lambda: client.explain("checkout", user_id),
    ]
    async with client:
        for call in calls:
            with pytest.raises(InvalidInputError, match=r"^user_id ") as caught:
                await call()
            assert "Ashley" not in str(caught.value) and len(str(caught.value)) < 100


# Row 51

CHILD = """
    import asyncio, json, sys
    sys.path.insert(0, {tests!r})
    from chosen_product import make_client, settings
    from vwo_async import SettingsError
    from vwo_async.storage import MemoryUserStorage
    from vwo_async.testing import RecordingTransport

    BAD = json.loads('"a\\\\ud800b"')
    OTHERS = [json.loads(one) for one in ('"\\\\udfff"', '"\\\\ud83d\\\\u0020"', '"\\\\ude42\\\\ud83d"')]
    HUGE = "x" * 1_000_000

    def places(bad):
        return [
            dict(user_id=bad), dict(campaign_key=bad), dict(campaign_key=["checkout", bad]),
            dict(goal_identifier=bad), dict(revenue_value=bad), dict(goal_type_to_track=bad),
        ]

    def left_out(bad):
        return [
            dict(custom_variables={{bad: "x"}}),
            dict(custom_variables={{"x": bad}}), dict(variation_targeting_variables={{"x": bad}}),
            dict(variation_targeting_variables={{bad: 1}}), dict(event_properties={{"x": bad}}),
            dict(event_properties={{bad: 1}}), dict(event_properties={{"x": [{{"y": bad}}]}}),
            dict(user_agent=bad), dict(user_ip_address=bad),
        ]

    async def check(client, bad):
        for place in places(bad):
            given = dict(campaign_key="checkout", user_id="Ashley", goal_identifier="signup")
            result = await client.track(**(given | place))
            assert not result and result.reason == "invalid_input", list(place)
        for place in left_out(bad):
            given = dict(campaign_key="checkout", user_id="Ashley", goal_identifier="often")
            result = await client.track(**(given | place))
            assert result.reason in ("tracked", "not_activated") and len(result.notes) == 1, place
        for name in ("activate", "get_variation_name", "is_feature_enabled"):
            method = getattr(client, name)
            for key, user in (("checkout", bad), (bad, "Ashley"), ("search", bad)):
                assert not await method(key, user)
        assert await client.get_feature_variable_value("search", bad, "Ashley") is None
        assert await client.get_feature_variable_value("search", "size", bad) is None
        for given in ((bad, "pro", "Ashley"), ("plan", bad, "Ashley"), ("plan", "pro", bad)):
            assert not await client.push(*given)
        for given in (({{bad: 1}}, "Ashley"), ({{"a": bad}}, "Ashley"), ({{"a": [bad]}}, "Ashley")):
            assert not await client.push(*given)
        assert not await client.decide_all(bad)
        assert (await client.explain(bad, bad)).reason == "invalid_input"
        # What is only passed on to the storage may hold anything, and harms nothing there.
        record = dict(userId="Ashley", campaignKey="checkout", variationName=bad, goalIdentifier=bad)
        for storage_data in (record, {{bad: bad}}, dict(record, userId=bad)):
            await client.activate("checkout", "Ashley", user_storage_data=storage_data)
            await client.track("checkout", "Ashley", "signup", user_storage_data=storage_data)
        await client.activate("checkout", "Ashley", meta_data={{bad: bad}})

    async def main():
        for more in ({{}}, {{"isEventArchEnabled": True}}):
            for storage in (None, MemoryUserStorage()):
                transport = RecordingTransport()
                client = make_client(settings(**more), transport=transport, user_storage=storage)
                async with client:
                    for bad in (BAD, *OTHERS, HUGE):
                        await check(client, bad)
                    await client.activate("checkout", "Billy")
                    assert await client.track("checkout", "Billy", "often", wait=True)
                    ledger = client.statistics()
                    assert ledger.delivered == ledger.accepted, ledger
        for bad in (settings(sdkKey=BAD), settings(accountId=BAD), settings(collectionPrefix=BAD)):
            for source in (bad, json.dumps(bad)):
                try:
                    make_client(source)
                except SettingsError as error:
                    str(error).encode()
                else:
                    raise AssertionError("accepted")
        print("alive")

    asyncio.run(main())
"""


def test_row_51_lone_surrogates_in_a_child() -> None:
    """A lone surrogate or a huge text anywhere gives a falsy result and a living process."""
    script = textwrap.dedent(CHILD).format(tests=str(Path(__file__).parent.parent))
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout == "alive\n"


# Row 52


class RawServer:
    """Keeps every byte that arrives, connection by connection, and answers 200 to each whole request."""

    def __init__(self) -> None:
        self.base_url = ""
        self.streams: list[bytearray] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read until the client hangs up."""
        stream = bytearray()
        self.streams.append(stream)
        answered = 0
        while piece := await reader.read(65536):
            stream += piece
            while (end := find_end(bytes(stream), answered)) is not None:
                answered = end
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        writer.close()


def find_end(stream: bytes, start: int) -> int | None:
    """Return where the request that begins at *start* ends, None where it has not ended."""
    head, blank, _ = stream[start:].partition(b"\r\n\r\n")
    if not blank:
        return None
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    size = int(lengths[0].partition(b":")[2]) if lengths else 0
    end = start + len(head) + len(blank) + size
    return end if end <= len(stream) else None


@asynccontextmanager
async def raw_server() -> AsyncIterator[RawServer]:
    """Run a `RawServer` on a free port of loopback."""
    server = RawServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


SMUGGLED = {
    "header": "a\r\nX-Evil: 1",
    "request": "a\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil\r\n\r\n",
    "LF": "a\nX-Evil: 1\n\nGET /evil HTTP/1.1\n\n",
    "CR": "a\rX-Evil: 1",
    "folded": "a\r\n X-Evil: 1\r\n\tX-Evil: 1",
    "length": "a\r\nContent-Length: 100000\r\nTransfer-Encoding: chunked",
    "encoded": "a%0d%0aX-Evil: 1%0a",
    "NUL": "a\x00b",
    "tab": "\t",
    "separators": "a\x85X-Evil: 1\u2028X-Evil: 1\x0b\x0c\x1c",
    # These are CR and LF to whoever keeps the low byte of a character only.
    "low bytes": "a\u010d\u010aX-Evil: 1",
    "Latin": "\u00e9",
    "emoji": "\U0001f642",
    "query": "a&env=evil&u=evil#",
    "quotes": 'a","u":"evil',
    "longest": "\u00e9" * 2048,
}
HEADERS = {
    b"host",
    b"user-agent",
    b"accept",
    b"accept-encoding",
    b"content-type",
    b"content-length",
    b"authorization",
    b"x-device-user-agent",
    b"vwo-x-forwarded-for",
}
CALLS: dict[str, tuple[dict[str, Any], Callable[[VWOClient, dict[str, Any]], Any]]] = {
    "classic": ({}, lambda client, text: client.track("checkout", "Ashley", "signup", **text)),
    "batch": ({}, lambda client, text: client.track(None, "Ashley", "signup", **text)),
    "event": (
        {"isEventArchEnabled": True},
        lambda client, text: client.track("checkout", "Ashley", "signup", **text),
    ),
    "impression": ({}, lambda client, text: client.activate("checkout", "Ashley", **text)),
}


def split_requests(stream: bytes) -> list[tuple[list[bytes], bytes]]:
    """Return the lines of the head and the body of every request in *stream*, of which nothing may be left."""
    found, start = [], 0
    while start < len(stream):
        end = find_end(stream, start)
        assert end is not None, "bytes that are no request"
        head, _, body = stream[start:end].partition(b"\r\n\r\n")
        found.append((head.split(b"\r\n"), body))
        start = end
    return found


@BOTH_PRODUCTS
@pytest.mark.parametrize("form", CALLS)
@pytest.mark.parametrize("name", SMUGGLED)
async def test_row_52_agents_cannot_write_headers(name: str, form: str) -> None:
    """No user agent and no address makes a header or a request of its own; the event arrives, whole."""
    text = SMUGGLED[name]
    more, call = CALLS[form]
    async with (
        raw_server() as server,
        make_client(settings(**more), base_url=server.base_url) as client,
    ):
        assert await call(client, {"user_agent": text, "user_ip_address": text, "wait": True})
        statistics = client.statistics()
        assert statistics.delivered == statistics.accepted
        assert statistics.requests == 1
    requests = [one for stream in server.streams for one in split_requests(bytes(stream))]
    ((lines, body),) = requests
    for line in lines:
        assert line.isascii() and line.decode().isprintable(), line
    names = [line.partition(b":")[0].lower() for line in lines[1:]]
    assert len(set(names)) == len(names)
    assert set(names) <= HEADERS
    assert lines[0].count(b" ") == 2
    assert_arrived(text, lines, body)


def assert_arrived(text: str, lines: list[bytes], body: bytes) -> None:
    """Assert that *text* is there as agent and as address, exactly as it was given."""
    query = parse_qs(urlsplit(lines[0].split(b" ")[1].decode()).query, keep_blank_values=True)
    if body and "ev" in json.loads(body):
        for item in json.loads(body)["ev"]:
            assert item["visitor_ua"] == item["visitor_ip"] == text
            assert item["u"] == find_visitor("Ashley")
        return
    assert query["visitor_ua"] == query["visitor_ip"] == [text]
    assert query["env"] == [KEY]
    assert query.get("u", [find_visitor("Ashley")]) == [find_visitor("Ashley")]
    headers = dict(line.split(b": ", 1) for line in lines[1:])
    assert unquote(headers[b"X-Device-User-Agent"].decode()) == text
    assert unquote(headers[b"VWO-X-Forwarded-For"].decode()) == text


@pytest.mark.parametrize("text", [*SMUGGLED.values(), "", LONE], ids=[*SMUGGLED, "empty", "lone"])
async def test_row_52_accounts_and_keys_cannot_write_headers(text: str) -> None:
    """Neither does an account or a key for which the settings are asked."""
    for account, key in ((text, KEY), (ACCOUNT, text)):
        async with raw_server() as server:
            with pytest.raises(VWOError):
                await fetch(account, key, base_url=server.base_url)
        for stream in server.streams:
            ((lines, body),) = split_requests(bytes(stream))
            assert not body
            assert all(line.isascii() and line.decode().isprintable() for line in lines)
            assert {line.partition(b":")[0].lower() for line in lines[1:]} <= HEADERS
            query = parse_qs(urlsplit(lines[0].split(b" ")[1].decode()).query)
            assert (query["a"], query["i"]) == ([str(account)], [key])


# Row 53

OURS = ["vwoMeta", "isCustomEvent", "vwo_sdkName", "vwo_sdkVersion", "vwo_envKey"]


async def send_arch(call: Callable[[VWOClient], Any], file: dict[str, Any]) -> dict[str, Any]:
    """Return the body of the one request that *call* makes on the event architecture."""
    async with running_server() as server, make_client(file, base_url=server.base_url) as client:
        assert await call(client)
    (request,) = server.requests
    body: dict[str, Any] = json.loads(request.body, object_pairs_hook=without_doubles)
    return body["d"]  # type: ignore[no-any-return]


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values of one name some readers take the first, others the last: there may be none."""
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


async def test_row_53_properties_cannot_override_ours() -> None:
    """Event properties that are named like VWO's own change nothing of VWO's; all others arrive."""
    others = {"__proto__": {"x": 1}, "constructor": "y", "vwometa": 1, "colour": "red", "": 2}
    evil: dict[str, Any] = {**dict.fromkeys(OURS, "evil"), "vwoMeta": {"metric": {}}}
    file = settings(isEventArchEnabled=True)
    plain = await send_arch(
        lambda client: client.track("checkout", "Ashley", "signup", wait=True), file
    )
    event = await send_arch(
        lambda client: client.track(
            "checkout", "Ashley", "signup", event_properties=evil | others, wait=True
        ),
        file,
    )
    props = event["event"]["props"]
    assert {name: props.pop(name) for name in others} == others
    assert props == plain["event"]["props"]
    assert props["vwoMeta"] == {"metric": {"id_11": ["g_1101"]}}
    assert props["vwo_envKey"] == KEY
    assert props["isCustomEvent"] is True
    assert event["visitor"] == plain["visitor"]


async def test_row_53_dimensions_cannot_override_ours() -> None:
    """Nor does a custom dimension that is named like the environment."""
    tags = {"vwo_fs_environment": "evil", "__proto__": "x", "plan": "pro"} | dict.fromkeys(
        OURS, "z"
    )
    event = await send_arch(
        lambda client: client.push(tags, "Ashley", wait=True), settings(isEventArchEnabled=True)
    )
    assert event["visitor"]["props"] == {**tags, "vwo_fs_environment": KEY}
    assert event["event"]["props"]["vwo_envKey"] == KEY


# Row 54

FORGED = "a\nCRITICAL root pwned\r\x1b[31m\x07\u2028\u202e" + "x" * 1000


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the package logged, as it was."""
    return [one.getMessage() for one in caplog.records if one.name.startswith("vwo_async")]


def assert_one_line_each(lines: list[str]) -> None:
    """Assert that nothing in *lines* could pass for another line, or for more than text."""
    for line in lines:
        assert line.isascii() and line.isprintable(), line
        assert len(line) < 500


async def test_row_54_input_does_not_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a visitor sends, the log says what is wrong with it and shows nothing of it."""
    variables = {FORGED: object()}
    places: list[dict[str, Any]] = [
        {"user_id": FORGED * 10},
        {"user_id": FORGED, "campaign_key": FORGED},
        {"goal_identifier": FORGED},
        {"goal_type_to_track": FORGED},
        {"revenue_value": FORGED},
        {"custom_variables": variables},
        {"variation_targeting_variables": {"x": [FORGED]}},
        {"event_properties": variables},
        {"user_agent": FORGED * 10},
        {"user_ip_address": FORGED * 10},
        {"should_track_returning_user": FORGED},
        {"user_storage_data": FORGED},
        {"meta_data": FORGED},
        {"wait": FORGED},
    ]
    client: Any
    async with make_client(settings(), transport=RecordingTransport()) as client:
        for place in places:
            given = {"campaign_key": "checkout", "user_id": "Ashley", "goal_identifier": "signup"}
            await client.track(**(given | place))
        for name in ("activate", "get_variation_name", "is_feature_enabled", "explain"):
            await getattr(client, name)(FORGED, FORGED * 10)
        await client.explain("checkout", "Ashley", api=FORGED)
        await client.get_feature_variable_value("search", FORGED * 10, "Ashley")
        await client.push(FORGED, FORGED, FORGED)
        await client.push({FORGED * 10: object()}, FORGED)
        await client.get_and_update_settings_file(FORGED, "")
    assert len(lines_of(caplog)) >= len(places)
    assert_one_line_each(lines_of(caplog))
    assert "pwned" not in caplog.text


@BOTH_PRODUCTS
async def test_row_54_files_and_storages_do_not_write_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What a settings file or a storage holds is escaped and cut where it is logged at all."""

    class ForgedError(Exception):
        pass

    class Storage(MemoryUserStorage):
        async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
            if user_id == "Ashley":
                raise ForgedError(FORGED)
            if user_id == "Bill":
                raise StorageError(FORGED)
            return {"userId": FORGED, "campaignKey": FORGED, "variationName": FORGED}

    def fail(_: dict[str, Any]) -> None:
        raise ForgedError(FORGED)

    bad: list[dict[str, Any]] = [
        settings(groups={FORGED: 5}),
        settings(campaignGroups={FORGED: "x"}),
        settings(groups={"5": {"wt": {FORGED: -1}}}),
        settings(version=[FORGED]),
        settings(campaign(11, FORGED), campaign(12, FORGED)),
    ]
    async with running_server() as server:
        client = make_client(
            settings(campaign(11, "checkout", FORGED)),
            base_url=server.base_url,
            user_storage=Storage(),
            integrations=fail,
        )
        async with client:
            for user in ("Ashley", "Bill", "Billy"):
                await client.activate("checkout", user)
                await client.track(None, user, "signup")
            for file in bad:
                body = json.dumps(file).encode()

                async def reply(
                    _: Received, writer: asyncio.StreamWriter, body: bytes = body
                ) -> None:
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                    writer.write(head.encode() + body)

                server.replies.append(reply)
                await client.get_and_update_settings_file()
            assert_one_line_each(list(client.settings_warnings))
    lines = lines_of(caplog)
    assert sum("the settings stay as they are" in line for line in lines) >= 3
    assert_one_line_each(lines)


# Row 55

cyclic_list: list[Any] = []
cyclic_list.append(cyclic_list)
cyclic_dict: dict[str, Any] = {}
cyclic_dict["self"] = cyclic_dict
# Deeper than anything that recurses may go. Python 3.13.0 copies lists of any depth, so it takes its time.
deep: Any = "x"
for _ in range(20_000):
    deep = [deep]


class Unprintable:
    """Raises wherever it is asked for a text, a number, a hash or a likeness."""

    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __float__(self) -> float:
        raise RuntimeError("float")

    def __len__(self) -> int:
        raise RuntimeError("len")


class Raising(Mapping[str, Any]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("iter")

    def __len__(self) -> int:
        return 1


REFUSED_VALUES: dict[str, Any] = {
    "list": ["pro"],
    "dict": {"plan": "pro"},
    "set": {"pro"},
    "NaN": float("nan"),
    "infinity": float("inf"),
    "Decimal NaN": Decimal("NaN"),
    "Decimal sNaN": Decimal("sNaN"),
    "Decimal infinity": Decimal("-Infinity"),
    "Decimal beyond doubles": Decimal("1E+400"),
    "Decimal far beyond": Decimal("1E+999999999"),
    "datetime": datetime(2026, 1, 1, tzinfo=UTC),
    "date": date(2026, 1, 1),
    "bytes": b"pro",
    "complex": 1j,
    "int beyond doubles": 2**1023,
    "int of a million digits": 1 << 3_400_000,
    "cyclic list": cyclic_list,
    "cyclic dict": cyclic_dict,
    "deep": deep,
    "unprintable": Unprintable(),
    "class": Unprintable,
    "text too long": "x" * 1_000_000,
    "lone surrogate": LONE,
}
PLACES = ["custom_variables", "variation_targeting_variables"]


async def refuse_quickly(client: Any, **given: Any) -> None:
    """Assert that no method uses these arguments, and that finding out takes no time to speak of."""
    began = time.thread_time()
    result = await client.track("checkout", "Ashley", "signup", **given)
    assert result.reason is Reason.INVALID_INPUT
    if "event_properties" not in given:
        assert await client.activate("checkout", "Ashley", **given) is None
        assert await client.is_feature_enabled("search", "Ashley", **given) is False
        assert not await client.decide_all("Ashley", **given)
    assert_below(time.thread_time() - began, P99_DELAY_S)


def name_variation(decided: Any) -> object:
    """Return the name of the variation, of a decision or of a flag."""
    return decided.variation and decided.variation.name if is_fme() else decided.variation_name


async def leave_out_quickly(client: Any, **given: Any) -> None:
    """Assert that the methods answer as if the odd part were not there, and that this takes no time."""
    began = time.thread_time()
    result = await client.track("checkout", "Ashley", "signup", **given)
    assert result
    assert len(result.notes) == 1
    if "event_properties" not in given:
        assert await client.activate("checkout", "Ashley", **given) == find_variation("Ashley")
        odd, usual = await client.decide_all("Ashley", **given), await client.decide_all("Ashley")
        assert list(map(name_variation, odd.values())) == [*map(name_variation, usual.values())]
    assert_below(time.thread_time() - began, 2 * P99_DELAY_S)


async def refuse_strictly(**given: Any) -> None:
    """Assert that in development the same arguments are an error, which does not show them."""
    async with make_client(settings(), transport=RecordingTransport(), strict=True) as client:
        with pytest.raises(InvalidInputError):
            await client.track("checkout", "Ashley", "signup", **given)


@BOTH_PRODUCTS
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", REFUSED_VALUES)
async def test_row_81_values_left_out(name: str, place: str) -> None:
    """A variable that is not a plain finite value of bounded size costs itself and not the conversion."""
    given = {place: {"fine": 1, "plan": REFUSED_VALUES[name]}}
    async with make_client(settings(), transport=RecordingTransport()) as client:
        await leave_out_quickly(client, **given)
        assert client.statistics().accepted == 2
    await refuse_strictly(**given)


@BOTH_PRODUCTS
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "variables",
    [
        {f"v{number}": number for number in range(10_000)},
        Raising(),
        {1: "x"},
        {None: "x"},
        {"k" * 5000: 1},
        {LONE: 1},
    ],
    ids=["10 000", "raising", "int", "None", "long", "lone"],
)
async def test_row_81_variables_left_out(variables: Any, place: str) -> None:
    """So do too many variables, names that are no texts, and a mapping that cannot be read."""
    async with make_client(settings(), transport=RecordingTransport()) as client:
        await leave_out_quickly(client, **{place: variables})
    await refuse_strictly(**{place: variables})


@BOTH_PRODUCTS
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "variables",
    [cyclic_list, deep, Unprintable(), "plan=pro"],
    ids=["cycle", "deep", "unprintable", "text"],
)
async def test_row_55_refused_variables(variables: Any, place: str) -> None:
    """What is no mapping at all is refused, in no time."""
    async with make_client(settings(), transport=RecordingTransport()) as client:
        await refuse_quickly(client, **{place: variables})


@BOTH_PRODUCTS
async def test_row_81_segments_that_ask_for_it() -> None:
    """A variable that cannot be used is absent to the segments that ask for it, and is named."""
    tree = {"custom_variable": {"plan": "pro"}}
    file = settings(campaign(11, "checkout", segments=tree), campaign(12, "banner"))
    odd: Any = {"plan": ["pro"], "age": 5}
    async with make_client(file, transport=RecordingTransport()) as client:
        assert await client.activate("checkout", "Ashley", custom_variables=odd) is None
        assert await client.activate("banner", "Ashley", custom_variables=odd)
        result = await client.track("banner", "Ashley", "signup", custom_variables=odd)
        assert result
        (note,) = result.notes
        assert "'plan'" in note
        assert "list" in note
        explained = await client.explain("checkout", "Ashley", custom_variables=odd)
        assert explained.steps[0].name == "arguments"
        assert "'plan'" in explained.steps[0].text


class Plan(str, Enum):  # noqa: UP042 - an older enum, which does not print as its value
    PRO = "pro"


class Whole(int, Enum):
    FIVE = 5


class Broken(float, Enum):
    FIVE = 5.5


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (Plan.PRO, "pro"),
        (Whole.FIVE, 5),
        (Broken.FIVE, 5.5),
        (np.int64(5), 5),
        (np.float32(5.5), 5.5),
        (np.float64(5.5), 5.5),
        (np.str_("pro"), "pro"),
        (np.bool_(True), True),
        (Fraction(11, 2), 5.5),
    ],
    ids=lambda value: f"{type(value).__module__}.{type(value).__name__}",
)
async def test_row_81_derived_values(given: Any, plain: Any) -> None:
    """What is derived from a str or number, or is another library's number, counts as the plain one."""

    async def tell(value: Any) -> list[Any]:
        transport = RecordingTransport()
        segments = {"custom_variable": {"plan": f"regex(^{str(plain).lower()}$)"}}
        held = settings(campaign(11, "checkout"), campaign(16, "members", segments=segments))
        async with make_client(held, transport=transport) as client:
            # One at a time: events that wait together share a request.
            name = await client.activate("members", "u1", custom_variables={"plan": value})
            await client.flush_events()
            tracked = await client.track("checkout", "u1", "purchase", revenue_value=value)
            await client.flush_events()
            pushed = [await client.push("plan", value, "u1")]
            await client.flush_events()
            pushed.append(await client.push({"plan": value}, "u1"))
        sent = sorted(re.sub(r"&(random|sId)=[^&]*", "", one.target) for one in transport.requests)
        return [str(name), tracked.as_dict(), pushed, sent]

    assert await tell(given) == await tell(plain)
    assert (await tell(given))[0] != "None"


@BOTH_PRODUCTS
async def test_row_81_a_user_id_of_an_enum() -> None:
    """A user id that prints otherwise than it is goes out, and is stored, as it is."""
    storage = MemoryUserStorage()
    transport = RecordingTransport()
    async with make_client(settings(), transport=transport, user_storage=storage) as client:
        await client.activate("checkout", Plan.PRO)
    stored = await storage.get("pro", "checkout")
    assert stored is not None
    assert type(stored["userId"]) is str
    assert not [one for one in transport.requests if "Plan" in one.target]


@BOTH_PRODUCTS
async def test_row_81_log(caplog: pytest.LogCaptureFixture) -> None:
    """What is left out is logged by name, the first, second, fourth... time and never by value."""
    odd: Any = {"plan": ["SECRET"]}
    async with make_client(settings(), transport=RecordingTransport()) as client:
        for _ in range(100):
            await client.get_variation_name("checkout", "Ashley", custom_variables=odd)
    lines = [record.getMessage() for record in caplog.records if "'plan'" in record.getMessage()]
    assert len(lines) == 7
    assert "SECRET" not in caplog.text


@BOTH_PRODUCTS
@pytest.mark.parametrize("agent", ["Mozilla/5.0 \ud83d", "x" * 5_000, "\udcff", b"Mozilla", 5])
@pytest.mark.parametrize("is_event_arch", [False, True])
async def test_row_81_odd_agent(agent: Any, *, is_event_arch: bool) -> None:
    """A user agent that cannot be sent as it is is cleaned or cut, and the conversion counted."""
    transport = RecordingTransport()
    file = settings(isEventArchEnabled=is_event_arch)
    async with make_client(file, transport=transport) as client:
        result = await client.track(
            "checkout", "Ashley", "signup", user_agent=agent, user_ip_address=agent, wait=True
        )
        assert result
        address = "ip_address" if is_fme() else "user_ip_address"
        assert [note.split(" ")[0] for note in result.notes] == ["user_agent", address]
    assert len(transport.requests) == 1


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    ("value", "operand"),
    [
        (Decimal("10.50"), "10.5"),
        (10.5, "10.50"),
        (10, "10.0"),
        (True, "true"),
        (False, "false"),
        (Decimal("1E+3"), "1000"),
        ("10.50", "10.5"),
        (2**1023 - 1, str(2**1023 - 1)),
        (Decimal("1E-400"), "0"),
        ("", ""),
    ],
)
async def test_row_55_documented_coercion(value: Any, operand: str) -> None:
    """Numbers are compared as numbers whatever their type and spelling; True is the text true."""
    tree = {"custom_variable": {"v": operand}}
    async with make_client(
        settings(campaign(11, "checkout", segments=tree)), transport=RecordingTransport()
    ) as client:
        assert await client.activate("checkout", "Ashley", custom_variables={"v": value})
        assert not await client.activate("checkout", "Ashley", custom_variables={"v": None})
        assert not await client.activate(
            "checkout", "Ashley", custom_variables={"v": f"{operand}x"}
        )


@BOTH_PRODUCTS
async def test_row_55_as_much_as_is_allowed() -> None:
    """A thousand variables of 4 kB each, against a thousand operands, are compared in bounded time."""
    variables = {f"v{number}": "1" * 4095 + "x" for number in range(1000)}
    leaves = [{"custom_variable": {f"v{number}": "gt(5)"}} for number in range(1000)]
    file = settings(campaign(11, "checkout", segments={"or": leaves}))
    async with make_client(file, transport=RecordingTransport()) as client, steady_loop():
        began = time.thread_time()
        assert await client.activate("checkout", "Ashley", custom_variables=variables) is None
        assert_below(time.thread_time() - began, 4 * P99_DELAY_S)


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    "properties",
    [
        {"x": cyclic_list},
        cyclic_dict,
        {"x": deep},
        {"x": float("nan")},
        {"x": Decimal("Infinity")},
        {"x": datetime(2026, 1, 1, tzinfo=UTC)},
        {"x": Unprintable()},
        {"x": b"x"},
        {"x": {1, 2}},
        {("a", "b"): 1},
        {"x": "y" * 100_000},
        {"x": LONE},
    ],
    ids=lambda value: type(next(iter(value.values()))).__name__,
)
async def test_row_81_event_properties(properties: Any) -> None:
    """An event property that JSON cannot write, or for which there is no room, costs itself alone."""
    transport = RecordingTransport()
    async with make_client(settings(isEventArchEnabled=True), transport=transport) as client:
        await leave_out_quickly(client, event_properties={"fine": 1, **properties})
    bodies = [json.loads(request.body) for request in transport.requests]
    props = [one["d"]["event"]["props"] for one in bodies if one["d"]["event"]["name"] == "signup"]
    assert [one["fine"] for one in props] == [1]
    assert "x" not in props[0]
    await refuse_strictly(event_properties=properties)


@BOTH_PRODUCTS
@pytest.mark.parametrize("properties", [Raising(), deep], ids=["mapping", "list"])
async def test_row_55_event_properties(properties: Any) -> None:
    """Event properties that are no dict are refused."""
    transport = RecordingTransport()
    async with make_client(settings(isEventArchEnabled=True), transport=transport) as client:
        await refuse_quickly(client, event_properties=properties)
    assert not transport.requests


@pytest.mark.parametrize("name", REFUSED_VALUES)
async def test_row_55_custom_dimensions(name: str) -> None:
    """A custom dimension is sent as its JSON, or refused; nothing is raised, and it takes no time."""
    transport = RecordingTransport()
    client: Any
    async with make_client(settings(), transport=transport) as client:
        value = REFUSED_VALUES[name]
        began = time.thread_time()
        is_sent = await client.push({"plan": value}, "Ashley", wait=True)
        # JSON knows whole numbers of any length.
        assert is_sent is (name in {"list", "dict", "int beyond doubles"})
        assert not await client.push("plan", value, "Ashley")
        assert_below(time.thread_time() - began, P99_DELAY_S)
        assert client.statistics().delivered == client.statistics().accepted == is_sent


@pytest.mark.parametrize("name", REFUSED_VALUES)
async def test_row_55_what_is_only_stored(name: str) -> None:
    """Meta data and given records may hold anything: the call is decided and sent all the same."""
    value = REFUSED_VALUES[name]
    record = {"userId": "Ashley", "campaignKey": "checkout", "variationName": value}
    for storage in (None, MemoryUserStorage()):
        async with make_client(
            settings(), transport=RecordingTransport(), user_storage=storage
        ) as client:
            expected = find_variation("Ashley")
            began = time.thread_time()
            given: Any
            for given in (
                {"meta_data": {"x": value}},
                {"user_storage_data": record},
                {"user_storage_data": {**record, "userId": value}},
                {"user_storage_data": {**record, "goalIdentifier": value}},
                {"user_storage_data": {"x": value}},
            ):
                assert await client.activate("checkout", "Ashley", **given) in (expected, None)
                await client.track("checkout", "Ashley", "often", **given)
            assert_below(time.thread_time() - began, 4 * P99_DELAY_S)
            assert await client.activate("checkout", "Billy") == find_variation("Billy")


ARGUMENTS = {**REQUIRED, "explain": (*REQUIRED["explain"], "api")}
OPTIONS = {
    "custom_variables",
    "variation_targeting_variables",
    "user_storage_data",
    "meta_data",
    "user_agent",
    "user_ip_address",
    "should_track_returning_user",
    "wait",
    "revenue_value",
    "goal_type_to_track",
    "event_properties",
}


@pytest.mark.parametrize(
    "value", [Unprintable(), [], {}, deep], ids=["object", "list", "dict", "deep"]
)
@pytest.mark.parametrize("method", ARGUMENTS)
async def test_row_55_any_argument(method: str, value: Any) -> None:
    """An object of no use in place of any argument gives the empty result, whatever it answers or raises."""
    usable = {"campaign_key": "checkout", "user_id": "Ashley", "goal_identifier": "signup"}
    usable |= {"variable_key": "size", "tag_key": "plan", "tag_value": "pro", "api": "activate"}
    client: Any
    async with make_client(settings(), transport=RecordingTransport()) as client:
        call = getattr(client, method)
        names = ARGUMENTS[method]
        for name in names:
            given = {one: usable[one] for one in names} | {name: value}
            result = await call(**given)
            assert not result or method == "explain", name
            assert method != "explain" or result.reason is Reason.INVALID_INPUT, name
        options = OPTIONS & inspect.signature(call).parameters.keys()
        for name in options:
            result = await call(**{one: usable[one] for one in names}, **{name: value})
            # An empty mapping means none, and an odd header is left out.
            is_used = name not in {"user_agent", "user_ip_address"} and not isinstance(value, dict)
            if method == "track" and is_used:
                assert result.reason is Reason.INVALID_INPUT, name
        ledger = client.statistics()
        assert ledger.accepted == ledger.delivered + ledger.pending


class RaisingDict(dict[str, Any]):
    """A dict whose own methods raise, as a proxy's may whose request is over."""

    def __bool__(self) -> bool:
        raise RuntimeError

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    def items(self) -> Any:
        """Raise."""
        raise RuntimeError


class RaisingList(list[Any]):
    """A list that cannot be read."""

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError


class Unnameable:
    """A key that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError


class Endless(Mapping[str, int]):
    """A mapping whose entries have no end, as one over a stream or a database might be."""

    def __getitem__(self, key: str) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        return (f"k{number}" for number in itertools.count())

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    "value",
    [
        Raising(),
        RaisingDict(a=1),
        RaisingList([1]),
        {Unnameable(): 1},
        {"a": RaisingDict(b=1)},
        Endless(),
        {"a": Endless()},
    ],
    ids=["mapping", "dict", "list", "key", "value", "endless", "endless value"],
)
@pytest.mark.parametrize("method", ARGUMENTS)
async def test_row_55_a_container_that_raises(method: str, value: Any) -> None:
    """What raises or has no end when it is read, in place of any argument, is bad input and nothing else."""
    usable = {"campaign_key": "checkout", "user_id": "Ashley", "goal_identifier": "signup"}
    usable |= {"variable_key": "size", "tag_key": "plan", "tag_value": "pro", "api": "activate"}
    client: Any
    file = settings(isEventArchEnabled=True)
    async with make_client(file, transport=RecordingTransport()) as client:
        call = getattr(client, method)
        names = ARGUMENTS[method]
        for name in names:
            result = await call(**({one: usable[one] for one in names} | {name: value}))
            assert not result or method == "explain", name
        if method == "push":
            assert not await call(value, "Ashley")
        for name in OPTIONS & inspect.signature(call).parameters.keys():
            await call(**{one: usable[one] for one in names}, **{name: value})
        ledger = client.statistics()
        assert ledger.accepted == ledger.delivered + ledger.pending


class Nameless(Unprintable):
    """Raises, too, where it is asked of which class it is."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("class")


async def test_row_55_a_record_of_what_raises() -> None:
    """Nor does a record that the caller gives raise, whatever stands in its fields."""
    names = ("userId", "campaignKey", "variationName", "goalIdentifier", "goalIdentifiers")
    storage = MemoryUserStorage()
    async with make_client(
        settings(), user_storage=storage, transport=RecordingTransport()
    ) as client:
        for name in names:
            given = {**row(), name: Nameless()}
            assert await client.activate("checkout", "Ashley", user_storage_data=given)
            await client.track("checkout", "Ashley", "signup", user_storage_data=given)


# Row 56

ODD = [
    "a",
    "b:c",
    "a:b",
    "c",
    "1:a",
    ":",
    "::",
    "",
    "_",
    "a_vwo_b",
    "('a', 'b')",
    "nul\0",
    "\u00e9",
]


async def test_row_56_memory_key_collisions() -> None:
    """No two users and campaigns share a record or a claim, however their names join."""
    storage = MemoryUserStorage()
    pairs = list(product(ODD, ODD))
    for user, key in pairs:
        await storage.set(StoredDecision(user, key, f"{user}|{key}").as_dict())
        assert await storage.claim_goal(user, key, "signup")
    for user, key in pairs:
        row = await storage.get(user, key)
        assert row is not None
        assert row["variationName"] == f"{user}|{key}"
        assert not await storage.claim_goal(user, key, "signup")
    assert len(storage) == len(pairs)


async def test_row_56_calls_do_not_collide() -> None:
    """Overlapping calls about users and campaigns whose names join alike each count their own conversion."""
    users, keys = ["c", "b:c", "a:b:c", ":c"], ["a:b", "a", "b", ":"]
    file = settings(*(campaign(11 + number, key) for number, key in enumerate(keys)))
    storage = MemoryUserStorage()
    async with make_client(file, transport=RecordingTransport(), user_storage=storage) as client:
        pairs = list(product(users, keys))
        await asyncio.gather(*(client.activate(key, user) for user, key in pairs))
        for expected in (True, False):
            calls = [client.track(key, user, "signup") for user, key in pairs]
            assert {bool(one) for one in await asyncio.gather(*calls)} == {expected}
    assert len(storage) == len(pairs)
