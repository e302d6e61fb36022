"""Rows 59 and 60 of the failure matrix: one bad event takes no other with it, and time alone ends events."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS, once_in_fme
from chosen_product import make_client, settings
from chosen_transport import chosen_name
from rig import fault_server, names_of, steady_loop
from simulation import (
    DOWN,
    HANGS,
    OK,
    RESET,
    UNREACHABLE,
    Server,
    Simulation,
    dislikes,
    is_down,
    live_through,
    outcomes,
    simulation,
)
from virtual_time import run_virtually
from waiting import until

from vwo_async import DeliveryStatus
from vwo_async._delivery.sender import STUCK_FACTOR
from vwo_async.transport import Answer, Limits

pytestmark = pytest.mark.timeout(30)

QUICK = Limits(backoff_base_s=0.02, backoff_cap_s=0.05)
REFUSALS = [301, 302, 400, 401, 402, 403, 404, 405, 406, 410, 418, 422, 451]
FAILURES = [408, 425, 429, 500, 502, 503, 599]
HOUR_S = 3600.0


def simulate(
    server: Server,
    body: Callable[[Simulation], Coroutine[Any, Any, None]],
    limits: Limits | None = None,
    **options: Any,
) -> None:
    """Run *body* with a client's delivery to *server*, in virtual time."""

    async def main() -> None:
        async with simulation(server, limits, **options) as one:
            await body(one)

    run_virtually(main())


# Row 59


async def deliver_a_hundred(folder: Path, status: int, style: str) -> list[int]:
    """Send a hundred events, one of which the server dislikes; return the sizes of the requests made."""
    with fault_server(folder) as server:
        async with (
            steady_loop(),
            make_client(
                settings(),
                base_url=server.base_url,
                limits=QUICK,
                transport=chosen_name(),
                batch_events={"events_per_request": 100, "request_time_interval": 60},
                close_timeout_s=0.1,
            ) as client,
        ):
            await server.refuse_marked("MARKED", status, style)
            good = []
            for number in range(100):
                agent = "MARKED" if number == 57 else ""
                result = await client.track("checkout", f"u{number}", "signup", user_agent=agent)
                if number != 57:
                    good.append(result)
            await until(lambda: client.statistics().delivered == 99)
            tries = await server.tries()
            for one in good:
                assert (await one.delivery).status is DeliveryStatus.DELIVERED
        # An event that may have arrived is sent again under its own name, and nothing else is.
        assert server.ledger() == names_of(*good)
    return [len(one.events) for one in tries]


@BOTH_PRODUCTS
@pytest.mark.anyio
@pytest.mark.parametrize("status", REFUSALS)
async def test_row_59_one_refused_of_a_hundred(tmp_path: Path, status: int) -> None:
    """Whatever the status with which one event is refused, its ninety-nine companions arrive."""
    sizes = await deliver_a_hundred(tmp_path, status, "answer")
    assert sizes[0] == 100
    assert len(sizes) <= 1 + 2 * math.ceil(math.log2(100))


@BOTH_PRODUCTS
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "style"),
    [*((status, "answer") for status in FAILURES), (400, "read_then_reset")],
)
async def test_row_59_one_failing_of_a_hundred(tmp_path: Path, status: int, style: str) -> None:
    """Whatever failure one event brings about each time, its ninety-nine companions arrive."""
    sizes = await deliver_a_hundred(tmp_path, status, style)
    assert sizes[:2] == [100, 100]
    # Twice as it is, then two requests on each of seven floors, and the bad event alone a few times.
    assert len([size for size in sizes if size > 1]) <= 2 + 2 * math.ceil(math.log2(100))


@pytest.mark.parametrize("answer", [Answer(403), Answer(401), Answer(302), DOWN, RESET], ids=str)
def test_row_59_a_firewall(answer: Answer) -> None:
    """A server that dislikes one visitor in a hundred takes all the others at once, for hardly more requests."""

    async def body(one: Simulation) -> None:
        await one.run(130, per_s=93, bad_share=0.01)
        late = [event for event in one.good[:-93] if not event.outcome]
        assert len(late) < 50
        assert await one.until_delivered(15) < 15
        assert len(one.good) > 11_000
        assert len(one.bad) > 100
        assert len(one.network.sizes) < 1.15 * len(one.good)

    simulate(dislikes(answer), body)


DISLIKES = pytest.mark.parametrize("answer", [Answer(403), Answer(400), DOWN, HANGS], ids=str)
EITHER_ARCHITECTURE = pytest.mark.parametrize("is_arch", [False, True], ids=["classic", "arch"])


@DISLIKES
@EITHER_ARCHITECTURE
def test_row_59_a_burst(answer: Answer, *, is_arch: bool) -> None:
    """However many visitors the server dislikes come at once, the others arrive within seconds."""

    async def body(one: Simulation) -> None:
        await one.run(5, per_s=10)
        for _ in range(100):
            one.put(is_bad=True)
        await one.run(40, per_s=10)
        await one.until_delivered(5)
        delays = sorted(one.delays(one.good))
        assert delays[-1] < 8
        assert delays[len(delays) // 2] < 2

    simulate(dislikes(answer), body, is_arch=is_arch)


@DISLIKES
@EITHER_ARCHITECTURE
def test_row_59_a_burst_in_a_quiet_hour(answer: Answer, *, is_arch: bool) -> None:
    """The same where the next honest visitor comes only after the one before was counted."""

    async def body(one: Simulation) -> None:
        await one.run(5, per_s=10)
        for _ in range(40):
            one.put(is_bad=True)
        for _ in range(30):
            await asyncio.sleep(0.001)
            one.put()
            assert await one.until_delivered(5) < 5

    simulate(dislikes(answer), body, is_arch=is_arch)


def test_row_59_texts_that_make_a_server_hang() -> None:
    """A visitor each two seconds who makes a request hang for twenty holds up nobody for longer than a few."""

    async def body(one: Simulation) -> None:
        await one.run(120, per_s=10, bad_share=0.05)
        await one.until_delivered(30)
        delays = sorted(one.delays(one.good))
        assert delays[len(delays) // 2] < 1
        assert delays[len(delays) * 99 // 100] < 10

    simulate(dislikes(HANGS), body, is_arch=True)


@pytest.mark.parametrize(
    ("bad", "good", "per_s", "most_s"), [(1, 99, 10, 35), (1, 99, 0.1, 35), (20, 1000, 10, 60)]
)
def test_row_59_who_travels_with_texts_that_hang(
    bad: int, good: int, per_s: float, most_s: float
) -> None:
    """A request that has no answer costs the others in it its time-out, which is 20 s, and then seconds."""

    async def body(one: Simulation) -> None:
        await one.run(5, per_s=10)
        order = [True] * bad + [False] * good
        one.draw.shuffle(order)
        for is_bad in order:
            one.put(is_bad=is_bad)
        await one.run(60, per_s=per_s)
        await one.until_delivered(most_s)
        assert max(one.delays(one.good)) < most_s

    simulate(dislikes(HANGS), body)


def test_row_59_a_hundred_texts_that_hang_among_a_thousand() -> None:
    """Many of them are tried side by side, those with company first."""

    async def body(one: Simulation) -> None:
        order = [True] * 100 + [False] * 1000
        one.draw.shuffle(order)
        for is_bad in order:
            one.put(is_bad=is_bad)
        await one.run(60, per_s=10)
        await one.until_delivered(300)
        delays = sorted(one.delays(one.good))
        assert delays[len(delays) // 2] < 60
        assert one.network.most <= 4 * STUCK_FACTOR

    simulate(dislikes(HANGS), body)


@pytest.mark.parametrize("is_arch", [False, True], ids=["classic", "arch"])
def test_row_59_more_texts_that_hang_than_places(*, is_arch: bool) -> None:
    """Where more requests hang than there are places, the first make room: whoever is new goes at once."""

    async def body(one: Simulation) -> None:
        await one.run(60, per_s=50, bad_share=0.04)
        since = len(one.good)
        await one.run(60, per_s=50, bad_share=0.04)
        await one.until_delivered(600)
        delays = sorted(one.delays(one.good[since:]))
        assert delays[len(delays) // 2] < 1

    simulate(dislikes(HANGS), body, is_arch=is_arch)


@EITHER_ARCHITECTURE
def test_row_59_texts_that_hang_for_minutes(*, is_arch: bool) -> None:
    """Two hanging visitors a second for minutes: nine in ten go at once, who travels with one within seconds more."""

    async def body(one: Simulation) -> None:
        await one.run(180, per_s=50, bad_share=0.04)
        await one.until_delivered(60)
        delays = sorted(one.delays(one.good))
        assert delays[len(delays) * 9 // 10] < 1
        assert delays[-1] < 35
        assert one.network.most <= 4 * STUCK_FACTOR

    simulate(dislikes(HANGS), body, is_arch=is_arch)


@pytest.mark.parametrize("share", [0.1, 0.5])
@DISLIKES
@EITHER_ARCHITECTURE
def test_row_59_much_is_disliked(answer: Answer, share: float, *, is_arch: bool) -> None:
    """Where a tenth, or half, of all events is disliked for as long as one likes, the others arrive in seconds."""

    async def body(one: Simulation) -> None:
        await one.run(30, per_s=40, bad_share=share)
        await one.run(30, per_s=5)
        await one.until_delivered(60)
        delays = sorted(one.delays(one.good))
        assert delays[len(delays) // 2] < 0.5
        assert delays[len(delays) * 9 // 10] < 10
        assert one.queue.refused == 0

    simulate(dislikes(answer), body, is_arch=is_arch)


@EITHER_ARCHITECTURE
@pytest.mark.parametrize("latency_s", [0.02, 0.2])
def test_row_59_texts_that_hang_by_the_dozen(
    latency_s: float, monkeypatch: pytest.MonkeyPatch, *, is_arch: bool
) -> None:
    """A dozen hanging visitors a second, without end: nine in ten of the others go within seconds."""
    monkeypatch.setattr("simulation.LATENCY_S", latency_s)

    async def body(one: Simulation) -> None:
        await one.run(30, per_s=60, bad_share=0.2)
        await one.until_delivered(60)
        delays = sorted(one.delays(one.good))
        assert delays[len(delays) // 2] < 1
        assert delays[len(delays) * 9 // 10] < 10
        assert delays[-1] < 60
        assert one.network.most <= 4 * STUCK_FACTOR

    simulate(dislikes(HANGS), body, is_arch=is_arch)


@EITHER_ARCHITECTURE
@pytest.mark.parametrize("per_s", [50, 10])
def test_row_59_one_server_of_ten_hangs(per_s: float, *, is_arch: bool) -> None:
    """Of many servers behind one address one does not answer: no event waits much longer than for one time-out."""
    draw = random.Random(3)

    async def body(one: Simulation) -> None:
        await one.run(120, per_s=per_s)
        await one.until_delivered(60)
        delays = sorted(one.delays(one.good))
        assert delays[len(delays) * 8 // 10] < 1
        assert delays[-1] < 40

    simulate(lambda *_: HANGS if draw.random() < 0.1 else OK, body, is_arch=is_arch)


def test_row_59_a_wait_that_is_asked_for_one_of_many() -> None:
    """A server that asks for a long wait because of one event, and takes others, is asked again with its company."""

    async def body(one: Simulation) -> None:
        order = [True] * 3 + [False] * 300
        one.draw.shuffle(order)
        for is_bad in order:
            one.put(is_bad=is_bad)
        await one.run(60, per_s=10)
        # The wait that was asked for before anything else was tried, and then seconds.
        await one.until_delivered(90)

    simulate(dislikes(Answer(429, retry_after="120")), body)


def test_row_59_stuck_requests_are_bounded() -> None:
    """However many requests hang, a bounded number is on its way; once they end, no more than there were before."""

    async def body(one: Simulation) -> None:
        await one.run(120, per_s=50, bad_share=0.04)
        assert one.network.most == 4 * STUCK_FACTOR
        await one.until_delivered(600)
        await asyncio.sleep(200)
        one.network.most = 0
        await one.run(10, per_s=400)
        assert one.network.most <= 5

    simulate(dislikes(HANGS), body, is_arch=True, hang_s=60.0)


@pytest.mark.parametrize("answer", [Answer(403), DOWN, RESET], ids=str)
@pytest.mark.parametrize(("number", "bad"), [(500, 1), (500, 20), (5000, 1), (5000, 50)])
def test_row_59_many_at_once(answer: Answer, number: int, bad: int) -> None:
    """Bad events among many that wait together are found with few requests each."""

    async def body(one: Simulation) -> None:
        places = set(one.draw.sample(range(number), bad))
        for place in range(number):
            one.put(is_bad=place in places)
        await one.until_delivered(120)
        found = 2 * math.ceil(math.log2(500)) * bad
        assert len(one.network.sizes) < number / 500 + 20 + 2 * found

    simulate(dislikes(answer), body)


@pytest.mark.parametrize("answer", [DOWN, RESET, UNREACHABLE, Answer(429), Answer(403)], ids=str)
def test_row_59_a_whole_outage_is_no_bad_event(answer: Answer) -> None:
    """A server that takes nothing is probed with single events; after that events travel together again."""

    async def body(one: Simulation) -> None:
        sizes = one.network.sizes
        await one.run(100, per_s=8)
        begun = len(sizes)
        await one.run(900, per_s=8)
        assert 15 < len(sizes) - begun < 80
        assert set(sizes[-10:]) == {1}
        ended = len(sizes)
        await asyncio.sleep(70)
        assert len(sizes) - ended < 60
        assert max(sizes[ended:]) == 500
        # Those that showed that the account is refused are lost, and nothing else.
        lost = [event for event in one.good if not event.outcome]
        assert len(lost) <= (6 if answer.status == 403 else 0)

    simulate(is_down(100, 1000, answer), body)


@pytest.mark.parametrize("answer", [DOWN, RESET], ids=str)
def test_row_59_a_bad_event_alone_holds_up_nobody(answer: Answer) -> None:
    """One event that fails each time is tried more and more seldom; whatever comes later goes at once."""

    async def body(one: Simulation) -> None:
        one.put(is_bad=True)
        for _ in range(200):
            await asyncio.sleep(30)
            event = one.put()
            await asyncio.sleep(0.1)
            assert event is not None and event.outcome
        assert len(one.network.sizes) - 200 < 150
        await asyncio.sleep(86_400)
        assert outcomes(one.bad) == {"dropped expired": 1}
        assert len(one.network.sizes) - 200 < 300

    simulate(dislikes(answer), body)


@pytest.mark.parametrize("answer", [DOWN, RESET], ids=str)
def test_row_59_a_probe_is_another_event(answer: Answer) -> None:
    """With several bad events before it and nothing delivered for long, an honest one still gets its turn."""

    async def body(one: Simulation) -> None:
        for _ in range(12):
            one.put(is_bad=True)
        await asyncio.sleep(1000)
        one.put()
        assert await one.until_delivered(61) <= 60.5

    simulate(dislikes(answer), body)


@pytest.mark.parametrize("answer", [DOWN, RESET], ids=str)
def test_row_59_bad_events_make_room(answer: Answer) -> None:
    """Where events that fail each time would fill the queue, they give way, and no honest one is refused."""

    async def body(one: Simulation) -> None:
        await one.run(1500, per_s=2, bad_share=0.2)
        await one.until_delivered(15)
        assert one.queue.refused == 0
        assert outcomes(one.bad)["dropped overflow"] > 300
        assert one.queue.pending <= 200

    simulate(dislikes(answer), body, Limits(max_events=200))


@pytest.mark.parametrize("status", [401, 403])
def test_row_59_one_visitor_is_not_the_account(status: int) -> None:
    """A visitor whose every event is refused, and nobody else about, pauses nothing."""

    async def body(one: Simulation) -> None:
        for _ in range(30):
            one.put(is_bad=True, visitor="disliked")
            await asyncio.sleep(1)
        event = one.put()
        await asyncio.sleep(0.1)
        assert event is not None and event.outcome
        assert outcomes(one.bad) == {"rejected http": 30}

    simulate(dislikes(Answer(status)), body)


# How many visitors show that everything is refused, by the status with which it is.
EVERYTHING = pytest.mark.parametrize(
    ("status", "visitors"), [(302, 3), (401, 3), (403, 3), (400, 10), (404, 10), (421, 10)]
)


@EVERYTHING
def test_row_59_an_account_that_is_refused(status: int, visitors: int) -> None:
    """An account whose events are refused one by one is probed ever more seldom; all that waited arrives after."""

    async def body(one: Simulation) -> None:
        for _ in range(1000):
            one.put()
        await asyncio.sleep(600)
        assert len(one.network.sizes) < 50 + 3 * visitors
        assert one.queue.rejected == visitors
        await one.run(10, per_s=10)
        await asyncio.sleep(120)
        assert one.queue.delivered == one.queue.accepted - visitors

    simulate(is_down(0, 600, Answer(status)), body)


@EVERYTHING
@EITHER_ARCHITECTURE
def test_row_05_a_quiet_hour(status: int, visitors: int, *, is_arch: bool) -> None:
    """One event a minute, and an hour in which a login page or a lost route answers: who shows it is lost, no other."""

    async def body(one: Simulation) -> None:
        await one.run(5000, per_s=1 / 60)
        await asyncio.sleep(130)
        assert outcomes(one.good) == {
            "rejected http": visitors,
            "delivered": len(one.good) - visitors,
        }

    simulate(is_down(600, 600 + HOUR_S, Answer(status)), body, is_arch=is_arch)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_row_59_a_flaky_server(share: float) -> None:
    """Failures that come at random are owed to no event: requests are not divided into crowds."""

    async def body(one: Simulation) -> None:
        await one.run(300, per_s=20)
        await one.until_delivered(3600)
        assert len(one.network.sizes) < 2 * len(one.good)

    draw = random.Random(7)
    simulate(lambda *_: DOWN if draw.random() < share else OK, body)


# Row 60


@once_in_fme("answer", [DOWN, RESET, UNREACHABLE, Answer(429)], ids=str)
@pytest.mark.parametrize(
    ("outage_s", "per_s"),
    [(25 * 60, 1 / 60), (HOUR_S, 1 / 60), (HOUR_S, 1 / 600), (HOUR_S, 1), (20 * HOUR_S, 1 / 60)],
)
def test_row_60_a_quiet_service_in_an_outage(answer: Answer, outage_s: float, per_s: float) -> None:
    """However few events there are, an outage of less than a day costs none of them."""

    async def body(one: Simulation) -> None:
        await one.run(600 + outage_s, per_s=per_s)
        # At most a retry's longest wait after its end.
        await asyncio.sleep(outage_s / 20 + 65)
        assert outcomes(one.good) == {"delivered": len(one.good)}
        # While it lasts, no more than a few requests a minute.
        assert len(one.network.sizes) < 3 * len(one.good) + outage_s / 8

    simulate(is_down(600, 600 + outage_s, answer), body)


@BOTH_PRODUCTS
def test_row_60_one_event_in_an_outage() -> None:
    """An event that is all there is outlives any number of tries, and ends by its age alone."""

    async def body(one: Simulation) -> None:
        event = one.put()
        assert event is not None
        await asyncio.sleep(86_000)
        assert event.outcome is None
        await asyncio.sleep(86_400)
        assert outcomes(one.good) == {"dropped expired": 1}
        assert one.queue.requests > 100

    simulate(lambda *_: DOWN, body)


@BOTH_PRODUCTS
def test_row_60_attempts_are_limited_on_request() -> None:
    """Who sets `max_attempts` has a limit: of an event alone, since a request of many fails for one of them."""

    async def body(one: Simulation) -> None:
        for number in range(100):
            one.put(is_bad=number == 57)
        await asyncio.sleep(120)
        assert outcomes(one.good) == {"delivered": 99}
        assert outcomes(one.bad) == {"dropped expired": 1}

    simulate(dislikes(DOWN), body, Limits(max_attempts=3))


# Seeds whose weather takes a few thousand requests to live through, not fifty thousand.
@once_in_fme("seed", [0, 1, 2, 3, 4, 7])
def test_row_60_hours_of_bad_weather(seed: int) -> None:
    """Hours of outages of every kind, with a firewall that dislikes some events: every other one arrives."""
    figures = run_virtually(live_through(seed, 12))
    assert figures["honest outcomes"] == {"delivered": figures["honest"]}, figures
