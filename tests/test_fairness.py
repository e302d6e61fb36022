"""Fairness: of a burst of calls so many go on in each turn of the loop, in the order in which they came."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, settings

from vwo_async._client.fairness import LoopShare
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio


async def test_a_hundred_calls_follow_in_each_turn() -> None:
    """In each turn of the loop a hundred of those who wait go on, the first first, until none waits."""
    share = LoopShare()
    went_on: list[int] = []

    async def wait(number: int) -> None:
        await share.next()
        went_on.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(250):
            group.create_task(wait(number))
        await asyncio.sleep(0)
        share.begin()
        counts = []
        while len(went_on) < 250:
            await asyncio.sleep(0)
            counts.append(len(went_on))
    assert went_on == list(range(250))
    assert sorted(set(counts) - {0}) == [100, 200, 250]


async def test_who_has_gone_takes_nobody_s_turn() -> None:
    """Cancelled callers leave a turn to the others, and the last who goes on ends the waiting."""
    share = LoopShare()
    waiters = [asyncio.create_task(share.next()) for _ in range(3)]
    await asyncio.sleep(0)
    share.begin()
    waiters[0].cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert [one.cancelled() for one in waiters] == [True, False, False]
    assert share.ends_at == 0


async def test_who_is_woken_goes_on_by_hundreds() -> None:
    """Of those who are woken at once a hundred go on in the next turn of the loop, and all of them with time."""
    share = LoopShare()
    loop = asyncio.get_running_loop()
    waiters: list[asyncio.Future[int]] = [loop.create_future() for _ in range(250)]
    waiters[7].cancel()
    for number, one in enumerate(waiters):
        share.wake(one, number)
    counts = [sum(one.done() for one in waiters)]
    while counts[-1] < 250:
        await asyncio.sleep(0)
        counts.append(sum(one.done() for one in waiters))
    assert sorted(set(counts)) == [101, 201, 250]
    assert [one.result() for one in waiters if not one.cancelled()] == [*range(7), *range(8, 250)]


async def test_calls_that_take_long_are_fewer_in_a_turn() -> None:
    """Where each call holds the loop for long, fewer of them go on in one turn."""
    share = LoopShare()
    went_on = 0

    async def work() -> None:
        nonlocal went_on
        await share.next()
        ends_at = time.thread_time() + 0.0002
        while time.thread_time() < ends_at:
            pass
        went_on += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(400):
            group.create_task(work())
        await asyncio.sleep(0)
        share.begin()
        counts = [0]
        while went_on < 400:
            await asyncio.sleep(0)
            counts.append(went_on)
    steps = [after - before for before, after in pairwise(counts) if after != before]
    assert steps[0] == 100
    assert min(steps[:-1]) <= 50


@BOTH_PRODUCTS
async def test_other_tasks_go_on_during_a_burst() -> None:
    """While thousands of calls are made at once, another task of the loop has its turn again and again."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with make_client(settings(), transport=RecordingTransport()) as client:
        await client.get_variation_name("checkout", "Ashley")
        counter = asyncio.create_task(count_turns())
        await asyncio.sleep(0)
        before = turns
        calls = [client.get_variation_name("checkout", f"user {number}") for number in range(5000)]
        assert None not in await asyncio.gather(*calls)
        counter.cancel()
        # All but those of the first few milliseconds go on by hundreds.
        assert turns - before > 5
