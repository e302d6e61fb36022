"""Rows 57 and 58 of docs/faults.md: the SDK key and who the visitors are is told to VWO alone."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import ssl
import stat
import subprocess
import sys
import textwrap
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import fetch, make_client, make_source, parse, settings
from redact import (
    ADDRESS,
    AGENT,
    SECRETS,
    USER_ID,
    VARIABLES,
    Listener,
    describe_error,
    find_secrets,
    listening,
)
from sample import ACCOUNT, KEY, SECRET, campaign
from server import Received, Reply, answer, running_server
from waiting import until

from vwo_async import (
    ClosedError,
    DeliveryError,
    FlushReport,
    InvalidInputError,
    SettingsError,
    VWOError,
    compare_settings,
)
from vwo_async.outbox import Row
from vwo_async.storage import MemoryUserStorage, StoredDecision
from vwo_async.storage.rounds import (
    AssignVariation,
    CountConversion,
    ReadRecord,
    WithdrawConversion,
)
from vwo_async.testing import RecordingTransport
from vwo_async.transport import HttpxTransport, Limits, Request, Timeouts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

QUICK = Limits(backoff_base_s=0.01, backoff_cap_s=0.02)
HURRIED = Timeouts(connect_s=0.2, read_s=0.2, write_s=0.2, total_s=0.3)
DECIDING: dict[str, Any] = {
    "custom_variables": VARIABLES,
    "variation_targeting_variables": VARIABLES,
}
WHO: dict[str, Any] = {**DECIDING, "user_agent": AGENT, "user_ip_address": ADDRESS}


def is_installed(name: str) -> bool:
    """Tell whether an optional library is there; it is imported here, not when it is first used."""
    with suppress(ImportError):
        import_module(name)
        return True
    return False


TRANSPORTS = [
    name
    for name, library in (("httpx", "httpcore"), ("httpx2", "httpcore2"), ("aiohttp", "aiohttp"))
    if is_installed(library)
]


class LeakError(Exception):
    """What code of the service raises: it may say anything of what it was told."""

    def __init__(self) -> None:
        super().__init__(SECRET, USER_ID, ADDRESS)


@asynccontextmanager
async def telling_all() -> AsyncIterator[Listener]:
    """Have the event loop log every step as if it were slow, and hold all loggers to silence."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    with listening() as listener:
        try:
            yield listener
        finally:
            loop.slow_callback_duration = 60
    assert listener.count > 20
    assert not listener.found


async def call_everything(client: Any) -> None:
    """Call every API method about the marked visitor, rightly and wrongly."""
    handle = client.for_user(USER_ID, **WHO)
    await client.activate("checkout", USER_ID, **WHO, meta_data={"who": USER_ID})
    await client.get_variation_name("checkout", USER_ID, **DECIDING)
    await client.is_feature_enabled("search", USER_ID, **WHO)
    await client.get_feature_variable_value("search", "size", USER_ID, **DECIDING)
    await client.decide_all(USER_ID, **DECIDING)
    await client.explain("checkout", USER_ID, **DECIDING)
    await client.track("checkout", USER_ID, "signup", **WHO)
    await client.track(None, USER_ID, "often", event_properties=VARIABLES, **WHO)
    await client.push("plan", USER_ID, USER_ID)
    await client.push(VARIABLES, USER_ID)
    await handle.activate("checkout")
    await handle.track("checkout", "often", wait=True)
    await asyncio.gather(*(handle.track("checkout", "often") for _ in range(5)))
    record = {"userId": USER_ID, "campaignKey": "checkout", "variationName": USER_ID}
    await client.activate("checkout", USER_ID, user_storage_data=record, **WHO)
    await client.flush_events()
    for bad in (f"{USER_ID}\ud800", USER_ID * 1000, [USER_ID], {USER_ID: ADDRESS}, object()):
        await client.activate("checkout", bad)
        await client.track(bad, bad, bad)
        await client.track("checkout", USER_ID, "signup", custom_variables={USER_ID: bad})
        await client.track("checkout", USER_ID, "signup", event_properties={USER_ID: object()})
        await client.track("checkout", USER_ID, "signup", user_agent=bad, user_ip_address=ADDRESS)
        await client.push({USER_ID: object()}, bad)
    client.opt_out_user(USER_ID)
    await handle.track("checkout", "signup")
    client.opt_in_user(USER_ID)


# Row 57: logs


def hang_up(_: Received, writer: asyncio.StreamWriter) -> Awaitable[None]:
    """Close the connection in place of an answer."""
    writer.close()
    return writer.wait_closed()


async def stay_silent(_: Received, writer: asyncio.StreamWriter) -> None:
    """Do not answer for longer than a client waits."""
    with suppress(ConnectionError):
        await asyncio.sleep(1)
        writer.close()


ANSWERS: dict[str, Reply] = {
    "200": answer(200),
    "400": answer(400),
    "401": answer(401),
    "404": answer(404),
    "413": answer(413),
    "429": answer(429, "Retry-After: 1\r\n"),
    "500": answer(500),
    "hangs up": hang_up,
    "silent": stay_silent,
}


async def echo(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer what was asked, headers and all, and ask to be called elsewhere."""
    body = request.raw_head + request.body
    head = f"HTTP/1.1 307 X\r\nContent-Length: {len(body)}\r\nLocation: {request.target}\r\n\r\n"
    writer.write(head.encode() + body)


async def speak_nonsense(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with no HTTP, but with what was asked."""
    writer.write(request.raw_head[:200] + b"\r\n\r\n")
    await writer.drain()
    writer.close()


ECHOES: dict[str, Reply] = {
    "redirect": echo,
    "header": answer(429, f"Retry-After: {SECRET}\r\nX-User: {USER_ID}\r\n"),
    "nonsense": speak_nonsense,
}


both_forms = pytest.mark.parametrize("arch", [False, True], ids=["classic", "arch"])


@BOTH_PRODUCTS
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", ANSWERS)
@both_forms
async def test_row_57_logs_of_delivery(name: str, transport: Any, *, arch: bool) -> None:
    """Whatever VWO answers, no logger of any package shows the key or the visitor, at any level."""
    await deliver_in_silence(ANSWERS[name], transport, arch=arch)


@BOTH_PRODUCTS
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", ECHOES)
@both_forms
async def test_row_57_logs_of_echoes(name: str, transport: Any, *, arch: bool) -> None:
    """Nor where the answer repeats what was asked, as a redirect repeats the whole URL."""
    await deliver_in_silence(ECHOES[name], transport, arch=arch)


async def deliver_in_silence(reply: Reply, transport: Any, *, arch: bool) -> None:
    """Call everything while VWO answers so, and assert that nobody tells."""
    async with running_server() as server:
        server.default = reply
        client = make_client(
            settings(isEventArchEnabled=arch),
            base_url=server.base_url,
            transport=transport,
            limits=QUICK,
            timeouts=HURRIED if reply is stay_silent else Timeouts(),
            wait_timeout_s=0.1,
            close_timeout_s=0.2,
        )
        async with telling_all():
            flushing = asyncio.create_task(client.flush_events())
            calls = asyncio.create_task(call_everything(client))
            await asyncio.wait([calls, flushing], timeout=1)
            await until(lambda: bool(server.requests))
            await client.aclose()
            for task in (calls, flushing):
                task.cancel()
            for end in await asyncio.gather(calls, flushing, return_exceptions=True):
                # Those that closing has overtaken.
                allowed = FlushReport | ClosedError | asyncio.CancelledError
                assert end is None or isinstance(end, allowed), end
        assert SECRET.encode() in server.requests[0].raw_head


@asynccontextmanager
async def plain_port() -> AsyncIterator[int]:
    """Answer whatever is sent first, a TLS handshake too, as web servers answer what is no HTTP."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
    yield int(listener.sockets[0].getsockname()[1])
    listener.close()
    await listener.wait_closed()


@BOTH_PRODUCTS
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_row_57_logs_without_a_connection(transport: Any, scheme: str) -> None:
    """Nor where nobody listens, or who listens does not speak TLS."""
    async with plain_port() as port, telling_all():
        client = make_client(
            settings(),
            base_url=f"{scheme}://127.0.0.1:{port if scheme == 'https' else 1}",
            transport=transport,
            # One try, which has ended before the client is closed.
            limits=Limits(backoff_base_s=60, backoff_cap_s=60),
            timeouts=HURRIED,
            ssl_context=ssl.create_default_context(),
        )
        await client.track("checkout", USER_ID, "signup", **WHO)
        await client.get_and_update_settings_file()
        await asyncio.sleep(0.5)
        await client.aclose(timeout_s=0.1)
        assert client.statistics().dropped == {"closed": 1}


class LeakyStorage(MemoryUserStorage):
    """Fails, saying all it knows, in one method."""

    def __init__(self, method: str, *, hangs: bool) -> None:
        super().__init__()
        self._method = method
        self._hangs = hangs

    async def _fail(self, method: str) -> None:
        if method == self._method:
            if self._hangs:
                await asyncio.sleep(60)
            raise LeakError

    async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        await self._fail("get")
        return await super().get(user_id, campaign_key)

    async def set(self, data: Mapping[str, Any]) -> None:
        await self._fail("set")
        await super().set(data)

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        await self._fail("claim_goal")
        return await super().claim_goal(user_id, campaign_key, goal_identifier)

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> None:
        await self._fail("release_goal")
        await super().release_goal(user_id, campaign_key, goal_identifier)


@BOTH_PRODUCTS
@pytest.mark.parametrize("hangs", [False, True], ids=["raises", "hangs"])
@pytest.mark.parametrize("method", ["get", "set", "claim_goal", "release_goal"])
async def test_row_57_logs_of_storage(method: str, *, hangs: bool) -> None:
    """Nor where a user storage fails and says whom it was asked about, or is cut short."""
    async with running_server() as server, telling_all():
        server.default = answer(400)
        client = make_client(
            settings(),
            base_url=server.base_url,
            user_storage=LeakyStorage(method, hangs=hangs),
            storage_timeout_s=0.02,
            limits=QUICK,
            close_timeout_s=0.2,
        )
        async with client:
            await call_everything(client)
            cancelled = asyncio.create_task(client.track("checkout", USER_ID, "purchase", **WHO))
            await asyncio.sleep(0.01)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)


class StallingStorage(MemoryUserStorage):
    """Hangs where it is asked first; then it answers, or fails and says all it knows."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self._fails = fails
        self.asked = 0

    async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        self.asked += 1
        if self.asked == 1:
            await asyncio.sleep(60)
        if self._fails:
            raise LeakError
        return {"userId": user_id, "campaignKey": campaign_key, "variationName": "Control"}


@BOTH_PRODUCTS
@pytest.mark.parametrize("fails", [False, True], ids=["answers", "fails"])
async def test_row_57_logs_of_probes(*, fails: bool) -> None:
    """Nor where a storage that hung is probed, and tells of the user about whom it is asked."""
    async with running_server() as server, telling_all():
        storage = StallingStorage(fails=fails)
        client = make_client(
            settings(), base_url=server.base_url, user_storage=storage, storage_timeout_s=0.02
        )
        async with client:
            await client.activate("checkout", USER_ID, **WHO)
            while storage.asked < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)


class PlainStorage:
    """A storage of the official SDKs' kind, which runs in threads."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Mapping[str, Any]] = {}

    def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        return self.rows.get((user_id, campaign_key))

    def set(self, data: Mapping[str, Any]) -> None:
        self.rows[data["userId"], data["campaignKey"]] = data
        raise LeakError


@BOTH_PRODUCTS
async def test_row_57_logs_of_plain_storage() -> None:
    """Nor where a storage of plain functions is asked in threads."""
    client = make_client(settings(), transport=RecordingTransport(), user_storage=PlainStorage())
    async with telling_all(), client:
        await call_everything(client)


@BOTH_PRODUCTS
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("batches", [False, True], ids=["single", "batch"])
async def test_row_57_logs_of_callbacks(*, is_async: bool, batches: bool) -> None:
    """Nor where the service's own functions, which are told all, fail or are slow."""
    told: list[Any] = []

    def tell(*arguments: Any) -> Any:
        told.append(arguments)
        if is_async:
            return fail()
        raise LeakError

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LeakError

    async with running_server() as server, telling_all():
        server.default = answer(400)
        batching: Any = {"events_per_request": 3, "flush_callback": tell} if batches else None
        client = make_client(
            settings(),
            base_url=server.base_url,
            integrations=tell,
            on_drop=tell,
            on_settings_change=tell,
            batch_events=batching,
            limits=Limits(max_events=4, backoff_base_s=0.01, backoff_cap_s=0.02),
        )
        async with client:
            await call_everything(client)
            result = await client.track("checkout", USER_ID, "often", **WHO)
            if not is_async:
                result.delivery.add_done_callback(tell)
            await client.flush_events()
        consenting = make_client(settings(), base_url=server.base_url, consent=tell)
        async with consenting:
            await call_everything(consenting)
    assert find_secrets(repr(told))


def make_bodies() -> dict[str, Any]:
    """Return what a server may answer in place of good settings of the product, and at the end good ones."""
    return {
        "another account": settings(accountId=int("203")),
        "another key": settings(sdkKey=f"{SECRET}2"),
        "wrong types": {**settings(version=[SECRET]), "campaigns": [{SECRET: USER_ID}]},
        "wrong groups": settings(groups={"5": SECRET}, campaignGroups={"11": USER_ID}),
        "wrong key": settings(sdkKey=f"{SECRET}\r\n"),
        "no JSON": f'{{"sdkKey": "{SECRET}", "accountId": {USER_ID}',
        "error page": f"<html>No settings for {SECRET} at {ADDRESS}</html>",
        "not UTF-8": f'{{"sdkKey": "{SECRET}'.encode() + b"\xff",
        "good": settings(version=2),
        "good again": settings(campaign(11, "checkout"), version=3),
    }


def encode(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


@BOTH_PRODUCTS
async def test_row_57_logs_of_settings(tmp_path: Path) -> None:
    """Nor where the settings that VWO gives are bad, foreign, or new."""
    async with running_server() as server, telling_all() as listener:
        source = make_source(
            ACCOUNT, KEY, base_url=server.base_url, last_known_good=tmp_path / "settings.json"
        )
        client = make_client(settings(), base_url=server.base_url, settings_source=source)
        async with client:
            for body in make_bodies().values():
                server.replies.append(answer(200, body=encode(body)))
                await client.get_and_update_settings_file()
            server.default = answer(500)
            await client.get_and_update_settings_file(ADDRESS, SECRET)
            await client.refresh_settings()
        assert client.settings.version == 3
        with pytest.raises(VWOError):
            await make_source(ACCOUNT, f"{SECRET}3", base_url=server.base_url).load()
        assert (await source.load()).version == 3
    assert listener.count > 50


# Row 57: errors


@contextmanager
def silent_error(kind: type[BaseException]) -> Iterator[None]:
    """Assert that the body raises *kind*, and that nothing that hangs on it shows a secret."""
    with pytest.raises(kind) as caught:
        yield
    for text in describe_error(caught.value):
        assert not find_secrets(text)


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", [name for name in make_bodies() if not name.startswith("good")])
async def test_row_57_errors_of_settings(name: str) -> None:
    """A refused settings file is in no error: neither as text, nor as its cause, nor by a request."""
    body = make_bodies()[name]
    async with running_server() as server:
        server.default = answer(200, body=encode(body))
        with silent_error(SettingsError):
            await fetch(ACCOUNT, KEY, base_url=server.base_url)
    if not name.startswith("another"):
        for source in (body, encode(body)):
            with silent_error(SettingsError):
                make_client(source)


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", [*ANSWERS, *ECHOES, "nobody"])
async def test_row_57_errors_of_fetching(name: str) -> None:
    """Nor is the key in the error where VWO fails to give the settings."""
    async with running_server() as server:
        server.default = {**ANSWERS, **ECHOES}.get(name, answer(200))
        url = "http://127.0.0.1:1" if name == "nobody" else server.base_url
        with silent_error(SettingsError if name == "200" else DeliveryError):
            await fetch(ACCOUNT, KEY, base_url=url, timeouts=HURRIED)


@BOTH_PRODUCTS
async def test_row_57_errors_of_calls() -> None:
    """With strict, and after the end, every method says what is wrong without the value."""
    client: Any = make_client(settings(), transport=RecordingTransport(), strict=True)
    bad = [f"{USER_ID}\ud800", USER_ID * 1000, [USER_ID], {USER_ID: ADDRESS}]
    async with client:
        for one in bad:
            calls: tuple[Callable[..., Awaitable[object]], ...] = (
                lambda one=one: client.activate("checkout", one),
                lambda one=one: client.activate(one, USER_ID),
                lambda one=one: client.track("checkout", USER_ID, "signup", user_agent=one),
                lambda one=one: client.track("checkout", USER_ID, "signup", user_ip_address=one),
                lambda one=one: client.track(
                    "checkout", USER_ID, "signup", custom_variables={USER_ID: one, "x": object()}
                ),
                lambda one=one: client.track(
                    "checkout", USER_ID, "signup", event_properties={USER_ID: object()}
                ),
                lambda one=one: client.push("plan", USER_ID, one),
                lambda one=one: client.push({USER_ID: f"{USER_ID}\ud800"}, USER_ID),
                lambda one=one: client.push({"x": {"y": object()}}, USER_ID),
                lambda one=one: client.decide_all(one),
                lambda one=one: client.explain(one, one),
            )
            for call in calls:
                with silent_error(InvalidInputError):
                    await call()
    with silent_error(VWOError):
        await client.track("checkout", USER_ID, "signup", **WHO)


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    "options",
    [
        {"proxy": f"http://user:{SECRET}@127.0.0.1\n"},
        {"base_url": f"https://{SECRET}:{SECRET}@127.0.0.1"},
        {"base_url": f"ftp://{SECRET}"},
        {"sdk_name": f"{SECRET}\n"},
        {"transport": SECRET},
        {"user_storage": SECRET},
        {"return_promise_for": {SECRET: True}},
        {"goal_type_to_track": SECRET},
        {"batch_events": {SECRET: 1}},
        {"on_storage_error": SECRET},
    ],
    ids=lambda options: next(iter(options)),
)
def test_row_57_errors_of_options(options: dict[str, Any]) -> None:
    """Wrong launch options are named, and what they hold is not shown."""
    with silent_error(InvalidInputError):
        make_client(settings(), **options)


@BOTH_PRODUCTS
async def test_row_57_errors_of_an_outbox(tmp_path: Path) -> None:
    """An outbox that cannot be opened is named, without whose it is."""
    client = make_client(settings(), transport=RecordingTransport(), outbox=tmp_path)
    with silent_error(VWOError):
        await client.open()


# Row 57: what is printed


@BOTH_PRODUCTS
async def test_row_57_reprs(tmp_path: Path) -> None:
    """No public object shows the key or the visitor when it is printed; what explains a decision may."""
    storage = MemoryUserStorage()
    transport = RecordingTransport()
    client = make_client(
        settings(isEventArchEnabled=True),
        transport=transport,
        user_storage=storage,
        outbox=tmp_path / "outbox.db",
        proxy=f"http://user:{SECRET}@127.0.0.1:1",
    )
    shown: list[object] = [client, storage, transport]
    async with client:
        await client.activate("checkout", USER_ID, **WHO)
        result = await client.track("checkout", USER_ID, "signup", wait=True, **WHO)
        shown += [result, result.delivery, await result.delivery, dict(result), result.as_dict()]
        shown += [client.for_user(USER_ID, **WHO), client.settings, client.settings_warnings]
        shown += [
            client.statistics(),
            await client.flush_events(),
            await client.decide_all(USER_ID),
        ]
        shown += [await client.track(USER_ID, USER_ID, [USER_ID], **WHO)]  # type: ignore[arg-type]
        explained = await client.explain("checkout", "Ashley", **DECIDING)
        assert not {SECRET} & set(find_secrets(f"{explained!r} {explained}"))
    shown += [client, await client.aclose(), *transport.requests]
    shown += [parse(settings()), HttpxTransport(proxy=f"http://user:{SECRET}@127.0.0.1:1")]
    shown += [
        make_source(ACCOUNT, KEY),
        compare_settings(parse(settings()), parse(settings(sdkKey="other"))),
    ]
    record = StoredDecision(USER_ID, "checkout", "Control", meta_data=VARIABLES)
    shown += [
        record,
        ReadRecord(USER_ID, "checkout"),
        AssignVariation(record.as_dict()),
        CountConversion(USER_ID, "checkout", "signup", "owner", record.as_dict()),
        WithdrawConversion(USER_ID, "checkout", "signup", "owner"),
        Row(1, 0.0, USER_ID.encode()),
    ]
    shown += [
        Request("GET", f"/server-side/track-goal?env={SECRET}", ((b"Authorization", KEY.encode()),))
    ]
    shown += [client.settings.model_dump(), client.settings.model_dump_json()]
    for one in shown:
        assert not find_secrets(f"{one!r} {one}"), type(one)


@BOTH_PRODUCTS
async def test_row_57_warnings() -> None:
    """A client that is not closed warns of it, in numbers."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client = make_client(settings(), transport=RecordingTransport())
        await client.track("checkout", USER_ID, "signup", **WHO)
        client.__del__()
        await client.aclose()
    texts = [f"{one.message} {one.message!r} {one.source!r}" for one in caught]
    assert any("was not closed" in text for text in texts)
    assert not any(find_secrets(text) for text in texts)


@BOTH_PRODUCTS
def test_row_57_clients_do_not_travel() -> None:
    """A client cannot be pickled, which would write the key wherever the pickle goes."""
    client = make_client(settings(), transport=RecordingTransport())
    with pytest.raises(Exception) as caught:  # noqa: PT011 - what pickle raises differs
        pickle.dumps(client)
    for text in describe_error(caught.value):
        assert not find_secrets(text)


CHILD = """
    import asyncio, logging, sys
    sys.path[:0] = {paths!r}
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    from redact import USER_ID
    from chosen_product import make_client, settings
    from server import answer, running_server
    from test_fault_secret import ANSWERS, HURRIED, QUICK, WHO, call_everything

    async def main():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0
        async with running_server() as server:
            for name in ("200", "400", "500", "hangs up"):
                server.default = ANSWERS[name]
                client = make_client(
                    settings(), base_url=server.base_url, limits=QUICK, timeouts=HURRIED,
                    wait_timeout_s=0.1, close_timeout_s=0.1, outbox=sys.argv[1],
                )
                async with client:
                    await call_everything(client)
        forgotten = make_client(settings(), base_url=server.base_url, close_timeout_s=0.1)
        await forgotten.track("checkout", USER_ID, "signup", **WHO)
        print("alive", flush=True)
        strict = make_client(settings(), base_url=server.base_url, strict=True)
        async with strict:
            await strict.track("checkout", USER_ID + "\\ud800", "signup", **WHO)

    asyncio.run(main())
"""


def test_row_57_streams_of_a_process(tmp_path: Path) -> None:
    """A service that logs everything, in development mode, and dies of an error prints none of it."""
    faults = Path(__file__).parent
    script = textwrap.dedent(CHILD).format(paths=[str(faults), str(faults.parent)])
    child = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script, str(tmp_path / "outbox.db")],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert child.stdout == "alive\n", child.stderr[-2000:]
    assert "InvalidInputError" in child.stderr
    assert "closed: 1 event lost" in child.stderr
    assert "DEBUG:asyncio" in child.stderr and "WARNING:vwo_async" in child.stderr
    lines = [line for line in child.stderr.splitlines() if find_secrets(line)]
    assert not lines, lines[0][:500]


@pytest.mark.shows_secrets
async def test_row_57_the_listener_hears() -> None:
    """What these tests listen with would notice a secret, wherever it were logged."""
    cause = RuntimeError("plain")
    cause.__cause__ = ValueError(USER_ID)
    ways: list[Callable[[logging.Logger], object]] = [
        lambda logger: logger.debug("key %s", SECRET),
        lambda logger: logger.debug("%s", [{"x": ADDRESS}]),
        lambda logger: logger.debug("plain", extra={"who": AGENT}),
        lambda logger: logger.error("plain", exc_info=cause),
        lambda logger: logger.debug("of %(id)s", {"id": USER_ID, "other": SECRET}),
    ]
    for way in ways:
        with listening() as listener:
            way(logging.getLogger("some.package"))
        assert listener.found
        assert not find_secrets(" ".join(listener.found))


# Row 58


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the content of every file in *folder*."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_at_rest(folder: Path) -> None:
    """Assert that nobody but the owner may read what is in *folder*, and that the key is not there."""
    found = files_in(folder)
    assert found
    for path, content in found.items():
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600, path
        for form in (SECRET.encode(), SECRET.encode("utf-16-le"), SECRET[::-1].encode()):
            assert form not in content, path


@BOTH_PRODUCTS
@both_forms
async def test_row_58_outbox_at_rest(tmp_path: Path, *, arch: bool) -> None:
    """The outbox is its owner's alone, whatever the umask; the key is added when an event is sent."""
    folder = tmp_path / "outbox"
    folder.mkdir()
    file = settings(isEventArchEnabled=arch)
    before = os.umask(0)
    try:
        async with running_server() as server:
            server.default = answer(503)
            for number in range(2):
                client = make_client(
                    file,
                    base_url=server.base_url,
                    outbox=folder / "events.db",
                    user_storage=MemoryUserStorage(),
                    limits=QUICK,
                )
                async with client:
                    await client.activate("checkout", USER_ID, **WHO)
                    assert await client.track("checkout", USER_ID, "often", **WHO)
                    assert_at_rest(folder)
                    report = await client.aclose(timeout_s=0.2)
                    assert report.remaining == 2 * (number + 1)
                assert_at_rest(folder)
            server.default = answer(200)
            server.requests.clear()
            async with make_client(
                file, base_url=server.base_url, outbox=folder / "events.db"
            ) as client:
                await asyncio.sleep(0.2)
                await client.flush_events()
                assert client.statistics().delivered == client.statistics().accepted == 4
            assert all(
                SECRET in f"{one.target}{one.headers}{one.body!r}" for one in server.requests
            )
            assert_at_rest(folder)
    finally:
        os.umask(before)


@BOTH_PRODUCTS
async def test_row_58_damaged_outbox_at_rest(tmp_path: Path) -> None:
    """Neither is it in what is set aside of a damaged file, nor in what takes its place."""
    folder = tmp_path / "outbox"
    folder.mkdir()
    before = os.umask(0)
    try:
        path = folder / "events.db"
        path.write_bytes(b"no database" * 1000)
        path.chmod(0o600)
        client = make_client(settings(), transport=RecordingTransport(), outbox=path)
        async with client:
            await client.track("checkout", USER_ID, "signup", **WHO)
        assert len(files_in(folder)) >= 2
        assert_at_rest(folder)
    finally:
        os.umask(before)


@BOTH_PRODUCTS
async def test_row_58_last_known_good_at_rest(tmp_path: Path) -> None:
    """The settings that are kept for a start without VWO are kept without their key."""
    folder = tmp_path / "settings"
    folder.mkdir()
    before = os.umask(0)
    try:
        async with running_server() as server:
            server.default = answer(200, body=json.dumps(settings()).encode())
            path = folder / "settings.json"
            source = make_source(ACCOUNT, KEY, base_url=server.base_url, last_known_good=path)
            assert (await source.load()).sdk_key is not None
            assert_at_rest(folder)
            server.default = answer(500)
            kept = await source.load()
            assert kept.sdk_key is not None
            assert kept.sdk_key.get_secret_value() == KEY
    finally:
        os.umask(before)


def test_secrets_are_told_apart() -> None:
    """The marked values are found by what is looked for."""
    told = [USER_ID, AGENT, ADDRESS, KEY, *VARIABLES, *VARIABLES.values()]
    assert all(find_secrets(one) for one in told)
    assert len(set(SECRETS)) == 4
