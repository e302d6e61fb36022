"""Rows 1 to 14 of docs/faults.md: a server that fails, lies, hangs or hangs up."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS, once_in_fme
from chosen_product import make_client, settings
from chosen_transport import chosen_name
from every_transport import EVERY_TRANSPORT
from own_time import Stopwatch, assert_below
from rig import (
    SLACK_S,
    Authority,
    FaultServer,
    assert_same_bytes,
    child,
    delivery_to,
    fault_server,
    gaps_of,
    names_of,
    say,
    steady_loop,
)
from sample import SECRET
from waiting import until

from vwo_async import DeliveryStatus, Reason, TrackResult, VWOClient
from vwo_async.transport import Limits, Timeouts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20), EVERY_TRANSPORT]

BASE_S, CAP_S = 0.05, 0.1
QUICK = Limits(backoff_base_s=BASE_S, backoff_cap_s=CAP_S)
SINGLY = Limits(backoff_base_s=BASE_S, backoff_cap_s=CAP_S, coalesces=False)


def client_of(server: FaultServer, limits: Limits = QUICK, **options: Any) -> VWOClient:
    options.setdefault("transport", chosen_name())
    return make_client(settings(), base_url=server.base_url, limits=limits, **options)


async def track_users(client: VWOClient, number: int, first: int = 0) -> list[TrackResult]:
    results = []
    for user in range(first, first + number):
        results.append(await client.track("checkout", f"user {user}", "signup"))
        assert results[-1]
    return results


async def ended(*results: TrackResult) -> Counter[DeliveryStatus]:
    return Counter([(await result.delivery).status for result in results])


def assert_balanced(client: VWOClient) -> None:
    one = client.statistics()
    assert one.accepted == one.delivered + one.rejected + sum(one.dropped.values()) + one.pending


# Row 1


@BOTH_PRODUCTS
@pytest.mark.parametrize("arch", [False, True], ids=["classic", "arch"])
@pytest.mark.parametrize(("status", "times"), [(500, 3), (503, 3), (503, 7)])
async def test_row_01_failure_then_200(
    tmp_path: Path, status: int, times: int, *, arch: bool
) -> None:
    """An event that the server fails to take is sent again, to the byte, after each wait."""
    limits = Limits(backoff_base_s=0.15, backoff_cap_s=0.3)
    file = settings(isEventArchEnabled=arch)
    with fault_server(tmp_path) as server:
        async with (
            steady_loop(),
            make_client(
                file, base_url=server.base_url, limits=limits, transport=chosen_name()
            ) as client,
        ):
            await server.answer(status, times=times)
            result = await client.track("checkout", "Ashley", "signup")
            assert (await result.delivery).attempts == times + 1
            tries = await server.tries()
        assert [one.status for one in tries] == [status] * times + [200]
        assert_same_bytes(tries)
        assert min(gaps_of(tries)) >= 0.149
        assert_below(max(gaps_of(tries)), 0.3 + SLACK_S)
        assert server.ledger() == names_of(result)


@BOTH_PRODUCTS
async def test_row_01_failure_of_many(tmp_path: Path) -> None:
    """Many events that fail are all delivered once the server works again, each once."""
    with fault_server(tmp_path) as server:
        async with steady_loop(), client_of(server, SINGLY) as client:
            await server.answer(503, times=30)
            results = await track_users(client, 40)
            assert await ended(*results) == {DeliveryStatus.DELIVERED: 40}
            tries = await server.tries()
        assert server.ledger() == names_of(*results)
        for name in server.ledger():
            assert_same_bytes([one for one in tries if one.events == [name]])


# Row 2


def in_seconds(seconds: float) -> str:
    return formatdate(time.time() + seconds, usegmt=True)


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    ("header", "least_s", "most_s"),
    [
        (lambda: "2", 2.0, 2.0),
        # A date has whole seconds.
        (lambda: in_seconds(3), 1.9, 3.0),
        (lambda: "-1", BASE_S, CAP_S),
        (lambda: "nan", BASE_S, CAP_S),
        (lambda: "inf", BASE_S, CAP_S),
        (lambda: "1e9", BASE_S, CAP_S),
        (lambda: "9" * 10_000, BASE_S, CAP_S),
        (lambda: in_seconds(-3600), BASE_S, CAP_S),
        (lambda: "soon", BASE_S, CAP_S),
    ],
    ids=["seconds", "date", "negative", "nan", "inf", "1e9", "digits", "past date", "garbage"],
)
async def test_row_02_retry_after(
    tmp_path: Path, header: Callable[[], str], least_s: float, most_s: float
) -> None:
    """What Retry-After asks for is waited; what makes no sense leaves the own backoff."""
    with fault_server(tmp_path) as server:
        async with steady_loop(), client_of(server) as client:
            await server.answer(429, [("Retry-After", header())], times=1)
            result = await client.track("checkout", "Ashley", "signup")
            assert await result.delivery
            (gap,) = gaps_of(await server.tries())
        assert gap >= least_s - 0.001
        assert_below(gap, most_s + SLACK_S)
        assert server.ledger() == names_of(result)


@once_in_fme(
    "header",
    [lambda: "1000000000", lambda: "301", lambda: in_seconds(10**8)],
    ids=["seconds", "a little more", "date", "seconds in FME"],
)
async def test_row_02_retry_after_is_capped(tmp_path: Path, header: Callable[[], str]) -> None:
    """However long the server asks to stay away, after five minutes the event is sent again."""
    with fault_server(tmp_path) as server:
        await server.answer(429, [("Retry-After", header())], times=1)
        async with steady_loop(), delivery_to(server, QUICK) as delivery:
            event = delivery.put("Ashley")
            await until(lambda: delivery.queue.requests == 1)
            await asyncio.sleep(0.2)
            delivery.jump(298)
            await asyncio.sleep(0.3)
            assert len(await server.tries()) == 1
            delivery.jump(2)
            await until(lambda: event.outcome is not None)
            assert len(await server.tries()) == 2
            assert server.ledger() == delivery.accepted


# Row 3


@BOTH_PRODUCTS
async def test_row_03_one_bad_event_of_a_hundred(tmp_path: Path) -> None:
    """One event that the server refuses takes none of the 99 others of its request along."""
    with fault_server(tmp_path) as server:
        batches = {"events_per_request": 100, "request_time_interval": 60}
        async with steady_loop(), client_of(server, batch_events=batches) as client:
            await server.refuse_marked("MARKED")
            good = await track_users(client, 57)
            bad = await client.track("checkout", "bad", "signup", user_agent="MARKED")
            good += await track_users(client, 42, first=57)
            assert (await bad.delivery).status is DeliveryStatus.REJECTED
            assert await ended(*good) == {DeliveryStatus.DELIVERED: 99}
            tries = await server.tries()
        assert len(tries[0].events) == 100
        # Halved and halved again: two requests on each of seven floors.
        assert len(tries) <= 1 + 2 * math.ceil(math.log2(100))
        assert server.ledger() == names_of(*good)
        assert client.statistics().rejected == 1
        assert_balanced(client)


# Row 4


@BOTH_PRODUCTS
async def test_row_04_too_large(tmp_path: Path) -> None:
    """What is too large is halved down to single events; only one that is too large alone is dropped."""
    with fault_server(tmp_path) as server:
        batches = {"events_per_request": 32, "request_time_interval": 60}
        async with steady_loop(), client_of(server, batch_events=batches) as client:
            await server.refuse_larger(600)
            good = await track_users(client, 20)
            big = await client.track("checkout", "big", "signup", user_agent="x" * 2000)
            good += await track_users(client, 11, first=20)
            outcome = await big.delivery
            assert (outcome.status, outcome.reason) == (DeliveryStatus.DROPPED, "too_large")
            assert await ended(*good) == {DeliveryStatus.DELIVERED: 31}
            tries = await server.tries()
            await asyncio.sleep(0.3)
            assert await server.tries() == tries
        assert len(tries[0].events) == 32
        assert server.ledger() == names_of(*good)
        assert client.statistics().dropped == {"too_large": 1}
        assert_balanced(client)


@BOTH_PRODUCTS
async def test_row_04_everything_too_large(tmp_path: Path) -> None:
    """A server that finds even single events too large is not asked for ever."""
    with fault_server(tmp_path) as server:
        batches = {"events_per_request": 16, "request_time_interval": 60}
        async with steady_loop(), client_of(server, batch_events=batches) as client:
            await server.refuse_larger(10)
            results = await track_users(client, 16)
            assert await ended(*results) == {DeliveryStatus.DROPPED: 16}
            assert len(await server.tries()) == 31
        assert not server.ledger()
        assert_balanced(client)


# Row 5


@once_in_fme("status", [401, 403])
async def test_row_05_account_refused_for_a_minute(tmp_path: Path, status: int) -> None:
    """A refused account, which three visitors show, is probed ever more seldom, and delivered for again after."""
    with fault_server(tmp_path) as server:
        await server.answer(status)
        async with steady_loop(), delivery_to(server, SINGLY, workers=1) as delivery:
            first = delivery.put("first")
            await until(lambda: first.outcome is not None)
            events = [delivery.put(f"user {number}") for number in range(50)]
            for number in (3, 4, 5, 6):
                await until(lambda number=number: delivery.queue.requests == number)
                await asyncio.sleep(0.2)
                assert len(await server.tries()) == number
                delivery.jump(61)
            await until(lambda: delivery.queue.requests == 7)
            await server.answer(200)
            delivery.jump(61)
            await until(lambda: all(event.outcome is not None for event in events))
            tries = await server.tries()
        refused = Counter(name for one in tries[:3] for name in one.events)
        assert server.ledger() - (delivery.accepted - refused) == Counter()
        assert (delivery.accepted - refused) - server.ledger() == Counter()
        assert (delivery.queue.rejected, delivery.queue.delivered) == (3, 48)


# Row 6


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@BOTH_PRODUCTS
@pytest.mark.timeout(60)  # 50 000 calls take a busy machine a while
async def test_row_06_down_for_long(tmp_path: Path) -> None:
    """While the server is down memory is bounded and calls are quick; all that was kept arrives after."""
    with fault_server(tmp_path) as server:
        await server.stop()
        async with steady_loop(), client_of(server, close_timeout_s=1) as client:
            before = resident_bytes()
            kept, refused, took_s = [], 0, []
            for number in range(50_000):
                # It never waits, and the time of this thread alone is not that of a busy machine.
                begun = time.thread_time()
                result = await client.track("checkout", f"user {number}", "signup")
                took_s.append(time.thread_time() - begun)
                if result:
                    kept.append(result)
                else:
                    assert result.reason is Reason.QUEUE_FULL
                    refused += 1
                if not number % 100:
                    await asyncio.sleep(0)
            assert_below(sorted(took_s)[-50], 0.005)
            assert resident_bytes() - before < 60_000_000
            statistics = client.statistics()
            assert (len(kept), refused) == (statistics.accepted, statistics.refused)
            assert statistics.pending == 10_000
            assert statistics.pending_bytes <= 16_000_000
            await server.start()
            await until(lambda: not client.statistics().pending)
            state = await server.state()
        assert server.ledger() == names_of(*kept)
        assert state.peak <= 4
        assert state.connections <= 4
        assert_balanced(client)


# Row 7


async def have_ended(server: FaultServer) -> bool:
    return all(one.ended_at is not None for one in await server.tries())


@BOTH_PRODUCTS
@pytest.mark.parametrize("style", ["hang", "hang_after_headers", "drip", "drip_headers"])
async def test_row_07_hanging_server(tmp_path: Path, style: str) -> None:
    """A try ends at its total limit, also where a byte comes often enough for the read time-out.

    A status that was told counts, although the rest of the answer never comes.
    """
    is_told = style in ("hang_after_headers", "drip")
    unknown = 0 if is_told else 2
    limits = Timeouts(connect_s=0.3, read_s=0.3, write_s=0.3, total_s=0.6)
    with fault_server(tmp_path) as server:
        async with steady_loop(), client_of(server, timeouts=limits) as client:
            await server.misbehave(style, times=2)
            result = await client.track("checkout", "Ashley", "signup")
            assert (await result.delivery).attempts == unknown + 1
            # A server that drips notes only with its next bytes that nobody listens.
            await until(lambda: have_ended(server))
            tries = await server.tries()
        for hanging in tries[: unknown or 1]:
            assert hanging.ended_at is not None
            assert_below(hanging.ended_at - hanging.at, 0.6 + SLACK_S)
        assert_below(max(gaps_of(tries), default=0.0), 0.6 + CAP_S + SLACK_S)
        assert_same_bytes(tries)
        assert server.ledger().keys() == names_of(result).keys()
        assert client.statistics().unknown == unknown
        assert_balanced(client)


@BOTH_PRODUCTS
@pytest.mark.timed
async def test_row_07_close_while_hanging(tmp_path: Path) -> None:
    """A server that hangs does not hold up closing."""
    with fault_server(tmp_path) as server:
        await server.answer(style="hang")
        async with steady_loop():
            client = client_of(server)
            await track_users(client, 5)
            await until(lambda: client.statistics().requests > 0)
            watch = Stopwatch()
            report = await client.aclose(timeout_s=0.3)
            watch.assert_below(0.3 + 0.5)
        assert report.dropped == {"closed": 5}
        assert not server.ledger()


# Row 8


@BOTH_PRODUCTS
@pytest.mark.parametrize("style", ["read_then_reset", "reset_after_headers"])
@pytest.mark.parametrize("arch", [False, True], ids=["classic", "arch"])
async def test_row_08_read_then_reset(tmp_path: Path, style: str, *, arch: bool) -> None:
    """What may have arrived is sent again under the same name, and counted as unknown.

    With a status that says that it has, it is not.
    """
    unknown = 2 if style == "read_then_reset" else 0
    file = settings(isEventArchEnabled=arch)
    with fault_server(tmp_path) as server:
        async with (
            steady_loop(),
            make_client(
                file, base_url=server.base_url, limits=QUICK, transport=chosen_name()
            ) as client,
        ):
            await server.misbehave(style, times=2)
            result = await client.track("checkout", "Ashley", "signup")
            assert (await result.delivery).attempts == unknown + 1
            assert client.statistics().unknown == unknown
            tries = await server.tries()
        assert_same_bytes(tries)
        (name,) = names_of(result)
        # The server took it each time; that its copies can be told is what the promise is about.
        assert server.ledger() == {name: unknown + 1}


@BOTH_PRODUCTS
async def test_row_08_a_batch_read_then_reset(tmp_path: Path) -> None:
    """The same for a whole request of events, and none is lost from it."""
    with fault_server(tmp_path) as server:
        async with steady_loop(), client_of(server) as client:
            await server.misbehave("read_then_reset")
            results = await track_users(client, 50)
            assert await ended(*results) == {DeliveryStatus.DELIVERED: 50}
            tries = await server.tries()
        assert server.ledger().keys() == names_of(*results).keys()
        assert client.statistics().unknown == 1
        again = [one for one in tries if one.events == tries[0].events]
        assert len(again) == 2
        assert_same_bytes(again)


# Row 9


@BOTH_PRODUCTS
async def test_row_09_idle_connection_closed(tmp_path: Path) -> None:
    """The first event after the server closed an idle connection arrives at the first try."""
    with fault_server(tmp_path) as server:
        async with steady_loop(), client_of(server) as client:
            results = []
            for number in range(5):
                result = await client.track("checkout", f"user {number}", "signup")
                assert (await result.delivery).attempts == 1
                results.append(result)
                await asyncio.sleep(0.05)
                assert await server.close_idle() == 1
                await asyncio.sleep(0.05)
        assert server.ledger() == names_of(*results)


@BOTH_PRODUCTS
async def test_row_09_closed_while_sending(tmp_path: Path) -> None:
    """A connection that is closed just when an event is on its way costs a retry, not the event."""
    with fault_server(tmp_path) as server:
        async with steady_loop(), client_of(server) as client:
            results = []
            for number in range(30):
                result, _ = await asyncio.gather(
                    client.track("checkout", f"user {number}", "signup"), server.close_idle()
                )
                results.append(result)
                assert await result.delivery
        assert server.ledger().keys() == names_of(*results).keys()
        assert sum(server.ledger().values()) <= 30 + client.statistics().unknown


# Row 10


class Resolver:
    """Stands in for the resolver of a process: what it does at first, and then the real one."""

    def __init__(self, failure: Callable[[], None], times: int) -> None:
        self._real = socket.getaddrinfo
        self._failure = failure
        self._left = times

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left >= 0:
            self._failure()
        return self._real(*arguments, **options)


def fail_to_resolve() -> None:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def hang_for_long() -> None:
    time.sleep(30)


async def track_with_bad_dns(base_url: str, failure: str, times: str) -> None:
    """In a child: track while the resolver fails, say what was accepted, close and say how that went."""
    chosen = {"fails": fail_to_resolve, "hangs": hang_for_long}[failure]
    socket.getaddrinfo = Resolver(chosen, int(times))
    timeouts = Timeouts(connect_s=0.2, total_s=2)
    client = make_client(
        settings(), base_url=base_url, limits=QUICK, timeouts=timeouts, transport=chosen_name()
    )
    results = await track_users(client, 5)
    say(names_of(*results))
    async with asyncio.timeout(2):
        while client.statistics().pending and client.statistics().requests < 4:
            await asyncio.sleep(0.01)
    begun = time.monotonic()
    report = await client.aclose(timeout_s=0.5)
    say([time.monotonic() - begun, report.delivered, dict(report.dropped)])
    say(client.statistics().requests)
    # A thread that hangs in the resolver would hold the end of the interpreter.
    os._exit(0)


@BOTH_PRODUCTS
@pytest.mark.parametrize("failure", ["fails", "hangs"])
async def test_row_10_dns_comes_back(tmp_path: Path, failure: str) -> None:
    """A name that cannot be resolved for a while is a connection to try again, and nothing is lost."""
    with fault_server(tmp_path) as server:
        base_url = f"http://localhost:{server.port}"
        async with steady_loop(), child(track_with_bad_dns, base_url, failure, "3") as process:
            accepted = await process.hear()
            closing_s, delivered, dropped = await process.hear()
        assert (delivered, dropped) == (5, {})
        assert_below(closing_s, 0.5 + 0.5)
        assert server.ledger() == accepted


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    ("base_url", "failure", "times"),
    [
        ("https://no-such-host.invalid", "fails", "0"),
        ("http://localhost:1", "fails", "1000"),
        ("http://localhost:1", "hangs", "1000"),
    ],
    ids=["no such host", "fails", "hangs"],
)
async def test_row_10_close_without_dns(base_url: str, failure: str, times: str) -> None:
    """Without name resolution events are tried again, and closing returns in time."""
    async with steady_loop(), child(track_with_bad_dns, base_url, failure, times) as process:
        accepted = await process.hear()
        closing_s, delivered, dropped = await process.hear()
        assert await process.hear() >= 2
    assert (delivered, dropped) == (0, {"closed": len(accepted)})
    assert_below(closing_s, 0.5 + 0.5)


# Row 11


@BOTH_PRODUCTS
@pytest.mark.parametrize("case", ["expired", "wrong host", "unknown authority", "plain http"])
async def test_row_11_bad_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str) -> None:
    """Nothing is sent to a server that cannot prove who it is; once it can, all that waited arrives."""
    authority = Authority(tmp_path)
    good = authority.issue("good")
    with fault_server(tmp_path, good) as server:
        await server.start(None if case == "plain http" else authority.issue(case))
        async with (
            steady_loop(),
            client_of(server, ssl_context=authority.trusting) as client,
        ):
            results = await track_users(client, 10)
            await until(lambda: client.statistics().requests >= 6)
            assert not await server.tries()
            state = await server.state()
            assert state.connections >= 6 or case != "plain http"
            assert SECRET not in "".join(state.junk)
            assert client.statistics().unknown == 0
            said = [one for one in caplog.records if one.name == "vwo_async"]
            assert len(said) == 1
            await server.start(good)
            assert await ended(*results) == {DeliveryStatus.DELIVERED: 10}
        assert server.ledger() == names_of(*results)


# Row 12


@BOTH_PRODUCTS
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_row_12_redirect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """A redirect is not followed, so that no other server sees the key; three visitors' events are rejected."""
    with (
        fault_server(tmp_path) as server,
        fault_server(tmp_path, name="other") as other,
    ):
        async with steady_loop(), client_of(server, SINGLY) as client:
            await server.answer(status, [("Location", f"{other.base_url}/elsewhere")])
            await track_users(client, 5)
            # Where everything is redirected, that says nothing of those after them.
            await until(lambda: client.statistics().rejected == 3)
            assert client.statistics().pending == 2
            assert not await other.tries()
            assert (await other.state()).connections == 0
            assert len([one for one in caplog.records if one.name == "vwo_async"]) == 1
            await client.aclose(timeout_s=0)
        assert not server.ledger()
        assert not other.ledger()


# Row 13


@BOTH_PRODUCTS
@pytest.mark.parametrize("style", ["gzip_bomb", "endless"])
async def test_row_13_huge_answer(tmp_path: Path, style: str) -> None:
    """An answer that would fill the memory is neither unpacked nor read to its end; its status counts."""
    with fault_server(tmp_path) as server:
        async with steady_loop(), client_of(server) as client:
            await client.track("checkout", "first", "signup", wait=True)
            await server.misbehave(style)
            tracemalloc.start()
            try:
                result = await client.track("checkout", "Ashley", "signup")
                assert (await result.delivery).attempts == 1
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < 2_000_000
            last = await client.track("checkout", "last", "signup")
            assert await last.delivery
            await until(lambda: have_ended(server))
            tries = await server.tries()
        assert len(tries) == 3
        for one in tries:
            assert ["Accept-Encoding", "identity"] in one.headers
        assert tries[1].ended_at is not None
        # Beyond what was read, the buffers of the two sockets were filled.
        assert tries[1].written < 10_000_000
        assert sum(server.ledger().values()) == 3
        assert names_of(result, last).keys() <= server.ledger().keys()


# Row 14


async def track_some(base_url: str) -> None:
    """In a child: track, say what was accepted, and close."""
    client = make_client(settings(), base_url=base_url, limits=QUICK, transport=chosen_name())
    results = await track_users(client, 5)
    report = await client.aclose()
    say([names_of(*results), report.delivered])


@BOTH_PRODUCTS
async def test_row_14_proxy_of_the_environment(tmp_path: Path) -> None:
    """Proxy variables of the environment are not read: a dead proxy there changes nothing."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    with (
        fault_server(tmp_path) as server,
        fault_server(tmp_path, name="proxy") as proxy,
    ):
        given = dict.fromkeys((*names, *map(str.lower, names)), proxy.base_url)
        given |= {"NO_PROXY": "", "no_proxy": ""}
        await proxy.stop()
        async with steady_loop(), child(track_some, server.base_url, **given) as process:
            accepted, delivered = await process.hear()
        assert delivered == 5
        assert server.ledger() == accepted
        assert not await proxy.tries()


@BOTH_PRODUCTS
async def test_row_14_dead_proxy(tmp_path: Path) -> None:
    """A proxy that was asked for and is dead is a connection to try again, through it and never around."""
    with (
        fault_server(tmp_path) as server,
        fault_server(tmp_path, name="proxy") as proxy,
    ):
        await proxy.stop()
        async with steady_loop(), client_of(server, proxy=proxy.base_url) as client:
            results = await track_users(client, 5)
            await until(lambda: client.statistics().requests >= 3)
            assert client.statistics().pending == 5
            assert client.statistics().unknown == 0
            await proxy.start()
            assert await ended(*results) == {DeliveryStatus.DELIVERED: 5}
            assert not await server.tries()
            for one in await proxy.tries():
                assert one.target.startswith(server.base_url)
        assert proxy.ledger() == names_of(*results)
