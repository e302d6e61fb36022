"""The life of a client: opening, closing, loops, and what is said about events left behind."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, settings
from held import count_held
from own_time import Stopwatch
from server import answer, running_server

from vwo_async import (
    ClosedError,
    DeliveryStatus,
    InvalidInputError,
    SettingsError,
    VWOClient,
    WrongLoopError,
    launch,
)
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Limits, Timeouts

pytestmark = pytest.mark.anyio


def new_client(**options: Any) -> VWOClient:
    return make_client(settings(), transport=RecordingTransport(), **options)


def test_construction_starts_nothing() -> None:
    """A client can be made without a loop, and one never opened needs no closing."""
    client = launch(settings(), transport=RecordingTransport())
    assert "new" in repr(client)
    del client
    gc.collect()


@BOTH_PRODUCTS
async def test_first_call_opens() -> None:
    """Without open, the first call opens in its loop."""
    client = new_client()
    assert await client.track("checkout", "Ashley", "signup", wait=True)
    assert "open" in repr(client)
    await client.aclose()
    assert "closed" in repr(client)


@BOTH_PRODUCTS
async def test_open_and_close_in_different_tasks() -> None:
    """One task may open and another close, as lifespans do."""
    client = new_client()
    await asyncio.create_task(client.open())
    assert await client.track("checkout", "Ashley", "signup")
    statistics = await asyncio.create_task(client.aclose())
    assert statistics.delivered == 1


@BOTH_PRODUCTS
async def test_open_twice() -> None:
    """Opening again is no error and starts nothing twice."""
    client = new_client()
    async with client:
        tasks = len(asyncio.all_tasks())
        assert await client.open() is client
        assert len(asyncio.all_tasks()) == tasks


@BOTH_PRODUCTS
async def test_use_after_close() -> None:
    """After close every API method says so, and close itself is no error."""
    client = new_client()
    async with client:
        pass
    for call in (
        client.track("checkout", "Ashley", "signup"),
        client.activate("checkout", "Ashley"),
        client.get_variation_name("checkout", "Ashley"),
        client.is_feature_enabled("search", "Ashley"),
        client.get_feature_variable_value("search", "x", "Ashley"),
        client.open(),
    ):
        with pytest.raises(ClosedError):
            await call
    await client.aclose()
    await asyncio.gather(client.aclose(), client.aclose())


@BOTH_PRODUCTS
async def test_close_before_open() -> None:
    """A client that was never opened can be closed, and stays closed."""
    client = new_client()
    await client.aclose()
    with pytest.raises(ClosedError):
        await client.open()


@BOTH_PRODUCTS
async def test_concurrent_close_is_one_drain() -> None:
    """Closing from several tasks at once drains once, and all of them see the end."""
    async with running_server() as server:
        client = make_client(settings(), base_url=server.base_url)
        await client.open()
        await client.track("checkout", "Ashley", "signup")
        ledgers = await asyncio.gather(*(client.aclose() for _ in range(5)))
        assert {one.delivered for one in ledgers} == {1}
        assert len(server.requests) == 1


@BOTH_PRODUCTS
async def test_calls_that_wait_for_their_turn_while_closing() -> None:
    """A burst that is closed in the middle: what was accepted is delivered, the other calls say why not."""
    async with running_server() as server:
        client = make_client(settings(), base_url=server.base_url)
        await client.open()
        calls = [
            asyncio.create_task(client.track("checkout", f"u{number}", "signup"))
            for number in range(2000)
        ]
        await asyncio.sleep(0)
        await client.aclose()
        results = await asyncio.gather(*calls, return_exceptions=True)
        accepted = sum(1 for one in results if not isinstance(one, BaseException))
        assert all(one or isinstance(one, ClosedError) for one in results)
        assert 0 < accepted < 2000
        statistics = client.statistics()
        assert statistics.accepted == statistics.delivered == accepted


@BOTH_PRODUCTS
async def test_close_drains() -> None:
    """Everything accepted before close is delivered by it."""
    async with running_server() as server:
        async with make_client(settings(), base_url=server.base_url) as client:
            for number in range(500):
                assert await client.track("checkout", f"u{number}", "signup")
        assert client.statistics().delivered == 500
        assert client.statistics().pending == 0


@BOTH_PRODUCTS
@pytest.mark.timed
async def test_close_keeps_its_deadline() -> None:
    """While the server hangs, close returns in time and says what remains; waiters are told."""

    async def never(*_: object) -> None:
        await asyncio.sleep(3600)

    async with running_server() as server:
        server.default = never
        client = make_client(settings(), base_url=server.base_url)
        results = [await client.track("checkout", f"u{number}", "signup") for number in range(5)]
        waiter = asyncio.create_task(_follow(results[0].delivery))
        await asyncio.sleep(0.05)
        watch = Stopwatch()
        statistics = await client.aclose(timeout_s=0.2)
        watch.assert_below(0.7)
        assert statistics.dropped == {"closed": 5}
        assert statistics.remaining == 0
        assert not statistics
        assert (await waiter).status is DeliveryStatus.DROPPED
        for result in results:
            assert (await result.delivery).reason == "closed"


async def _follow(delivery: Any) -> Any:
    return await delivery


@BOTH_PRODUCTS
async def test_close_from_an_integration() -> None:
    """A callback that closes the client does not wait for itself."""
    clients: list[VWOClient] = []

    async def close(_: dict[str, Any]) -> None:
        await clients[0].aclose()

    clients.append(new_client(integrations=close))
    await clients[0].track("checkout", "Ashley", "signup")
    async with asyncio.timeout(5):
        await clients[0].aclose()
    assert clients[0].statistics().delivered == 1


@BOTH_PRODUCTS
async def test_cancelled_close_goes_on() -> None:
    """Cancelling who closes does not undo the closing."""
    async with running_server() as server:
        client = make_client(settings(), base_url=server.base_url)
        await client.track("checkout", "Ashley", "signup")
        closing = asyncio.create_task(client.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        statistics = await client.aclose()
        assert statistics.delivered == 1


@BOTH_PRODUCTS
def test_second_loop_is_a_clear_error() -> None:
    """A client used in a second loop says so at once; its own loop may then still close it."""
    client = new_client()
    first = asyncio.new_event_loop()
    try:
        first.run_until_complete(client.open())

        async def misuse() -> None:
            with pytest.raises(WrongLoopError):
                await client.track("checkout", "Ashley", "signup")
            with pytest.raises(WrongLoopError):
                await client.aclose()

        asyncio.run(misuse())
        first.run_until_complete(client.aclose())
    finally:
        first.close()


def test_unclosed_client_warns() -> None:
    """A client that is forgotten while open warns with its ledger, and does no I/O about it."""

    async def forget() -> None:
        client = new_client()
        await client.open()

    def run() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(forget())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        gc.collect()

    with pytest.warns(ResourceWarning, match="VWOClient open: 0 accepted"):
        run()


async def test_statistics_balance_at_every_moment() -> None:
    """The ledger balances while events come, fail, are retried and end."""
    async with running_server() as server:
        limits = Limits(backoff_base_s=0.001, backoff_cap_s=0.002)
        async with make_client(settings(), base_url=server.base_url, limits=limits) as client:
            server.replies.extend(answer(status) for status in (503, 400, 429, 500, 413) * 3)
            for number in range(60):
                await client.track("checkout", f"u{number}", "signup")
                if not number % 7:
                    await asyncio.sleep(0.003)
                one = client.statistics()
                ended = one.delivered + one.rejected + sum(one.dropped.values())
                assert one.accepted == ended + one.pending
                assert count_held(client._engine.reporter.queue) == one.pending
        assert client.statistics().pending == 0
        assert repr(client).startswith("<VWOClient closed: 60 accepted == ")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"user_storage": object()}, ["user_storage"]),
        ({"goal_type_to_track": "x", "strict": 1}, ["goal_type_to_track", "strict"]),
        ({"return_promise_for": {"nope": True}}, ["return_promise_for"]),
        ({"return_promise_for": "track"}, ["return_promise_for"]),
        ({"return_promise_for": {"track": 1}}, ["return_promise_for"]),
        ({"integrations": 5}, ["integrations"]),
        ({"base_url": "http://example.org"}, ["base_url"]),
        ({"base_url": "https://u:p@example.org"}, ["base_url"]),
        ({"base_url": "https://example.org/?a=b"}, ["base_url"]),
        ({"base_url": "ftp://localhost"}, ["base_url"]),
        ({"base_url": "nonsense"}, ["base_url"]),
        ({"sdk_name": "a\nb"}, ["sdk_name"]),
        ({"workers": 0, "storage_timeout_s": -1}, ["workers", "storage_timeout_s"]),
        ({"wait_timeout_s": float("nan")}, ["wait_timeout_s"]),
        ({"limits": 5, "timeouts": 5}, ["limits", "timeouts"]),
        ({"limits": Limits(max_events=-1)}, ["limits: max_events"]),
        ({"limits": Limits(max_batch_events=2.5)}, ["limits: max_batch_events"]),  # type: ignore[arg-type]
        ({"limits": Limits(linger_s=float("nan"))}, ["limits: linger_s"]),
        ({"limits": Limits(coalesces=1)}, ["limits: coalesces"]),  # type: ignore[arg-type]
        ({"limits": Limits(max_attempts=True)}, ["limits: max_attempts"]),
        ({"limits": Limits(on_unknown="keep")}, ["limits: on_unknown"]),  # type: ignore[arg-type]
        ({"timeouts": Timeouts(total_s="1")}, ["timeouts: total_s"]),  # type: ignore[arg-type]
        ({"ssl_context": 5, "transport": 5}, ["ssl_context", "transport"]),
    ],
)
def test_wrong_options_are_all_named(options: dict[str, Any], names: list[str]) -> None:
    """One error names every launch option that cannot be used."""
    with pytest.raises(InvalidInputError) as caught:
        make_client(settings(), **options)
    for name in names:
        assert f"{name}: " in str(caught.value)


UNKNOWN = [
    ("user_storge", "perhaps 'user_storage' is meant"),
    ("userStorageService", "use 'user_storage'"),
    ("storage", "no such option"),
    ("pollInterval", "use settings_source=SettingsSource"),
    ("isDevelopmentMode", "use 'development_mode'"),
    ("shouldTrackReturningUser", "use 'should_track_returning_user'"),
    ("goal_type_to_trak", "perhaps 'goal_type_to_track' is meant"),
    ("xyz", "VWOClient has no such option;"),
]


@pytest.mark.parametrize(("name", "text"), UNKNOWN)
@pytest.mark.parametrize("make", [VWOClient, launch])
def test_an_unknown_option_is_named_with_the_others(make: Any, name: str, text: str) -> None:
    """An option that does not exist stands in the one error, with what may be meant, whoever launches."""
    with pytest.raises(InvalidInputError) as caught:
        make(settings(), **{name: None, "strict": 1, "workers": 0})
    assert [part.partition(":")[0] for part in str(caught.value).split("; ")] == [
        name,
        "strict",
        "workers",
    ]
    assert f"{name}: " in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ({"trak": True}, "'trak' is no API method, perhaps 'track' is meant"),
        (["get_flag"], "'get_flag' is a method of FMEClient"),
        ({"getFlag": False}, "'getFlag' is a method of FMEClient"),
        ({"isFeatureEnable"}, "perhaps 'is_feature_enabled' is meant"),
        (["x", "y", 5], "3 of the names are no API methods"),
        ({"track": True, "trackEvent": True}, "'trackEvent' is a method of FMEClient"),
    ],
)
def test_what_cannot_await_delivery_is_named(names: Any, text: str) -> None:
    """A wrong name of return_promise_for is told with what may be meant, and with the right names."""
    with pytest.raises(InvalidInputError) as caught:
        VWOClient(settings(), return_promise_for=names)
    assert text in str(caught.value)
    assert str(caught.value).endswith("choose of activate, decide, is_feature_enabled, push, track")


def test_what_awaits_delivery() -> None:
    """Official names and this package's choose the same; those that send nothing change nothing."""
    for names in (
        {"isFeatureEnabled": True, "push": False},
        ["is_feature_enabled", "getVariationName", "decide_all"],
    ):
        client = VWOClient(settings(), return_promise_for=names)
        assert client._options.return_promise_for == {"is_feature_enabled"}


@BOTH_PRODUCTS
def test_bad_settings_raise_at_construction() -> None:
    """A settings file that cannot be used is an error at once."""
    with pytest.raises(SettingsError, match="accountId"):
        make_client(b"{}")


async def test_two_clients_share_nothing() -> None:
    """Clients in one process keep to their own settings, prefix and hooks."""
    first, second = RecordingTransport(), RecordingTransport()
    file = settings(collectionPrefix="eu01", accountId=1, isNB=True, isNBv2=True)
    async with (
        make_client(settings(), transport=first) as one,
        make_client(file, transport=second) as other,
    ):
        before = [await one.get_variation_name("checkout", f"u{n}") for n in range(100)]
        theirs = [await other.get_variation_name("checkout", f"u{n}") for n in range(100)]
        assert [await one.get_variation_name("checkout", f"u{n}") for n in range(100)] == before
        assert theirs != before
        await one.track("checkout", "Ashley", "signup", wait=True)
        await other.track("checkout", "Ashley", "signup", wait=True)
    assert first.requests[0].target.startswith("/server-side/track-goal")
    assert second.requests[0].target.startswith("/eu01/server-side/track-goal")


def test_timeouts_are_values() -> None:
    """Two equal sets of limits are equal, so that options can be compared."""
    assert Timeouts() == Timeouts()
    assert Limits() == Limits()
