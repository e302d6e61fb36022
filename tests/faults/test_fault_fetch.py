"""Row 82: fetching the settings tries again where that helps, and says who has to do what."""

from __future__ import annotations

import asyncio
import time

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, make_source, settings
from sample import ACCOUNT, KEY, campaign

import vwo_async
from vwo_async import DeliveryError, SettingsChange
from vwo_async.collector import Collector, serve
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Timeouts

pytestmark = pytest.mark.anyio


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    ("statuses", "tries"),
    [([503], 2), ([500, 429, 503], 4), ([401], 1), ([403], 1), ([404], 1), ([302], 1)],
)
async def test_row_82_load_tries_again(statuses: list[int], tries: int) -> None:
    """What may pass is tried again when a service starts; a refusal is not."""
    collector = Collector(settings())
    for status in statuses:
        collector.answer_next(status)
    async with serve(collector) as base_url:
        source = make_source(ACCOUNT, KEY, poll_interval_s=None, base_url=base_url)
        if tries > len(statuses):
            assert (await source.load()).account_id == ACCOUNT
        else:
            with pytest.raises(DeliveryError, match=f"status {statuses[0]}"):
                await source.load()
    assert collector.totals().requests == tries


@BOTH_PRODUCTS
async def test_row_82_load_within_its_time() -> None:
    """However often it tries, loading takes no longer than one request may."""
    collector = Collector(settings())
    collector.answer_next(503, times=100)
    async with serve(collector) as base_url:
        source = make_source(
            ACCOUNT, KEY, poll_interval_s=None, base_url=base_url, timeouts=Timeouts(total_s=0.5)
        )
        began = time.monotonic()
        with pytest.raises(DeliveryError, match="status 503"):
            await source.load()
    assert time.monotonic() - began < 1.5
    assert 2 <= collector.totals().requests <= 3


@BOTH_PRODUCTS
async def test_row_82_no_answer_says_how_far_it_came() -> None:
    """Whether there was a connection is said of a fetch that had no answer."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(DeliveryError, match="the connection broke or time ran out"):
        await vwo_async.fetch_settings(ACCOUNT, KEY, base_url=base_url)
    server.close()
    await server.wait_closed()
    with pytest.raises(DeliveryError, match="no connection came about"):
        await vwo_async.fetch_settings(ACCOUNT, KEY, base_url=base_url)


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "account id or the SDK key"),
        (403, "account id or the SDK key"),
        (404, "no such account"),
        (407, "proxy"),
        (302, "base_url"),
        (418, "VWO refused"),
        (502, "VWO has a fault"),
    ],
)
async def test_row_82_each_status_has_its_words(status: int, words: str) -> None:
    """A status says who has to do something, and is there as a number."""
    collector = Collector(settings())
    collector.answer_next(status)
    async with serve(collector) as base_url:
        with pytest.raises(DeliveryError, match=words) as caught:
            await vwo_async.fetch_settings(ACCOUNT, KEY, base_url=base_url)
    assert caught.value.status_code == status


async def test_row_82_callback_that_refreshes() -> None:
    """A callback that asks for the settings anew is held to the rate of webhooks."""
    collector = Collector(settings())
    number = 0
    async with serve(collector) as base_url:
        source = make_source(
            ACCOUNT, KEY, poll_interval_s=None, base_url=base_url, min_refresh_interval_s=0.2
        )
        settings_ = await source.load()

        async def hear(change: SettingsChange) -> None:
            nonlocal number
            number += 1
            collector.set_settings(settings(campaign(11, f"checkout-{number}")))
            await client.get_and_update_settings_file()

        client = make_client(
            settings_,
            settings_source=source,
            on_settings_change=hear,
            transport=RecordingTransport(),
        )
        async with client:
            collector.set_settings(settings(campaign(11, "checkout-0")))
            before = collector.totals().settings
            await client.refresh_settings()
            await asyncio.sleep(1)
            assert 2 <= collector.totals().settings - before <= 8
