"""Awaited calls while VWO is down: each has an answer in time, and soon none waits at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, settings
from own_time import assert_below
from server import answer, running_server
from waiting import until

from vwo_async import Reason, VWOClient
from vwo_async.transport import Limits, Timeouts

pytestmark = [pytest.mark.anyio, BOTH_PRODUCTS]

WAIT_S = 0.5
QUICK: dict[str, Any] = {
    "wait_timeout_s": WAIT_S,
    "timeouts": Timeouts(total_s=0.2),
    "limits": Limits(backoff_base_s=0.05, backoff_cap_s=0.1),
    "close_timeout_s": 0.1,
}


async def track(client: VWOClient, number: int) -> tuple[Reason, float]:
    """Return what an awaited call says, and how long it took."""
    begun = monotonic()
    result = await client.track("checkout", f"user {number}", "signup", wait=True)
    assert not result
    return result.reason, monotonic() - begun


@asynccontextmanager
async def refusing() -> AsyncIterator[str]:
    """Give an address at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@asynccontextmanager
async def hanging() -> AsyncIterator[str]:
    """Give the address of a server that takes requests and never answers."""

    async def never(*given: Any) -> None:
        await asyncio.Event().wait()

    async with running_server() as server:
        server.default = never
        yield server.base_url


@pytest.mark.parametrize("outage", [refusing, hanging])
async def test_soon_nobody_waits(outage: Any) -> None:
    """Each call ends within the time-out; once VWO is known to be down a call answers at once, with the same."""
    async with outage() as url:
        client = make_client(settings(), base_url=url, **QUICK)
        first = await asyncio.gather(*(track(client, number) for number in range(8)))
        assert {reason for reason, _ in first} == {Reason.PENDING}
        # The machine may be busy; without the bound it would be as long as the event lives.
        assert_below(max(seconds for _, seconds in first), WAIT_S + 5)
        await until(lambda: client._engine.reporter.queue.is_halted)
        later = [await track(client, number) for number in range(8, 28)]
        assert {reason for reason, _ in later} == {Reason.PENDING}
        assert_below(sorted(seconds for _, seconds in later)[10], WAIT_S / 5)
        assert client.statistics().pending >= 28
        await client.aclose()


async def test_what_was_not_waited_for_arrives() -> None:
    """When VWO is back the events of these calls arrive, and calls wait for their delivery again."""
    async with running_server() as server:
        server.default = answer(503)
        async with make_client(settings(), base_url=server.base_url, **QUICK) as client:
            await asyncio.gather(*(track(client, number) for number in range(8)))
            await until(lambda: client._engine.reporter.queue.is_halted)
            kept = await client.track("checkout", "Ashley", "signup", wait=True)
            assert kept.reason is Reason.PENDING
            server.default = answer()
            assert await asyncio.wait_for(_outcome(kept), 10)
            await until(lambda: not client.statistics().pending)
            assert await client.track("checkout", "Ben", "signup", wait=True)


async def _outcome(result: Any) -> bool:
    return bool(await result.delivery)
