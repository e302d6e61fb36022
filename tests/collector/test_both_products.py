"""Accounts of FullStack and FME side by side, and the real clients of both on one collector."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from plain_http import NO_AUTHORITIES

import vwo_async
from vwo_async import DeliveryError, FMEClient, FMESettingsSource, FMEUser, VWOClient
from vwo_async.collector import Collector, Product, serve
from vwo_async.transport import Timeouts

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def both(wire: Any, fme: Any) -> Collector:
    """A strict collector with an account of each product."""
    return Collector([wire.settings, fme.settings])


async def test_both_clients(wire: Any, fme: Any, both: Collector) -> None:
    """A client of each product fetches its file, decides and sends; nothing is refused or mixed up."""
    async with serve(both) as base_url:
        old = await vwo_async.fetch_settings(wire.account, wire.key, base_url=base_url)
        new = await vwo_async.fetch_fme_settings(fme.account, fme.key, base_url=base_url)
        async with (
            VWOClient(old, base_url=base_url) as fullstack,
            FMEClient(new, base_url=base_url) as client,
        ):
            assert await fullstack.activate("button", "u1")
            assert await fullstack.track("button", "u1", "order", revenue_value=7, wait=True)
            user = FMEUser("u1", user_agent="Mozilla/5.0 (é)", ip_address="10.0.0.1")
            flag = await client.get_flag("checkout", user)
            assert await client.track_event("purchase", user, {"revenue": 49.9}, wait=True)
            assert await client.set_attribute({"plan": "pro", "age": 33}, user, wait=True)

    assert both.refused == ()
    totals = both.totals()
    assert totals.requests == totals.settings + totals.accepted
    assert (totals.settings, totals.unique_conversions) == (2, 2)
    assert totals.by_kind["sdk"] == 1
    purchase = both.report().event("purchase")
    assert (purchase.conversions, purchase.revenue) == (1, Decimal("49.9"))
    assert flag.variation is not None
    shown = {
        (campaign.product, campaign.campaign_id, variation.variation_id)
        for campaign in both.report().campaigns
        for variation in campaign.variations
        if variation.visitors
    }
    assert (Product.FME, 2, flag.variation.id) in shown
    assert {product for product, *_ in shown} == {Product.FULLSTACK, Product.FME}


async def test_batches_of_the_client(fme: Any, fme_collector: Collector) -> None:
    """Events that the client collects arrive as batches, each once and with an id of its own."""
    async with (
        serve(fme_collector) as base_url,
        FMEClient(
            fme.settings,
            base_url=base_url,
            batch_events={"events_per_request": 25, "request_time_interval": 60},
        ) as client,
    ):
        for number in range(60):
            await client.track_event("signup", f"u{number % 40}")
        await client.flush_events()

    signup = fme_collector.report().event("signup")
    assert (signup.received, signup.duplicates, signup.visitors) == (60, 0, 40)
    assert {event.endpoint.path for event in fme_collector.ledger} == {
        "/server-side/batch-events-v2"
    }
    assert fme_collector.refused == ()


@pytest.mark.parametrize("status", [503, 429])
async def test_planned_answers(fme: Any, fme_collector: Collector, status: int) -> None:
    """An event of the client survives answers that are planned, and is counted once."""
    async with (
        serve(fme_collector) as base_url,
        FMEClient(fme.settings, base_url=base_url) as client,
    ):
        fme_collector.answer_next(status, times=2, headers={"Retry-After": "0"})
        assert await client.track_event("purchase", "u1", wait=True)

    purchase = fme_collector.report().event("purchase")
    assert (purchase.received, purchase.duplicates) == (1, 0)
    assert fme_collector.totals().answered == 2


async def test_answers_that_come_too_late(fme: Any, fme_collector: Collector) -> None:
    """Events whose answers the client did not wait for come again, and are told as copies by their msgId."""
    hurried = Timeouts(connect_s=1, read_s=0.2, write_s=1, total_s=0.5)
    fme_collector.latency_s = 0.4
    async with (
        serve(fme_collector) as base_url,
        FMEClient(fme.settings, base_url=base_url, timeouts=hurried) as client,
    ):
        results = [
            await client.track_event("purchase", f"u{number}", {"revenue": "0.10"})
            for number in range(5)
        ]
        while not fme_collector.ledger:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        fme_collector.latency_s = 0.0
        await client.flush_events()

    assert all(results)
    purchase = fme_collector.report().event("purchase")
    assert (purchase.received, purchase.visitors, purchase.conversions) == (5, 5, 5)
    assert purchase.revenue == Decimal("0.50")
    assert purchase.duplicates >= 1
    assert fme_collector.totals().conversions == 5 + purchase.duplicates


async def test_an_outage_of_both(wire: Any, fme: Any, both: Collector) -> None:
    """While every request of two busy clients fails now and then, each event of both arrives once."""
    async with (
        serve(both) as base_url,
        VWOClient(wire.settings, base_url=base_url) as fullstack,
        FMEClient(fme.settings, base_url=base_url) as client,
    ):
        for number in range(200):
            if number % 40 == 0:
                both.answer_next((500, 503, 429)[number // 40 % 3], times=2)
            await fullstack.track("button", f"u{number}", "signup")
            await client.track_event("signup", f"u{number}")
            await asyncio.sleep(0.002)
        await fullstack.flush_events()
        await client.flush_events()
        accepted = fullstack.statistics().accepted + client.statistics().accepted

    assert (both.refused, both.totals().answered) == ((), 10)
    assert both.totals().events == accepted
    signup = both.report().event("signup")
    assert (signup.received, signup.duplicates, signup.visitors) == (200, 0, 200)
    goals = {one.visitor for one in both.ledger.counted if one.goal_id == 501}
    assert len(goals) == 200


async def test_a_source(fme: Any, fme_collector: Collector) -> None:
    """A source of FME's settings fetches from the collector, and a new file is in force from then on."""
    async with serve(fme_collector) as base_url:
        source = FMESettingsSource(fme.account, fme.key, base_url=base_url)
        async with FMEClient(
            await source.load(), settings_source=source, base_url=base_url
        ) as client:
            assert not await client.track_event("renamed", "u1")
            changed = fme.settings
            changed["version"] = 2
            changed["features"][0]["metrics"][1]["identifier"] = "renamed"
            fme_collector.set_settings(changed)
            await client.refresh_settings()
            assert await client.track_event("renamed", "u1", wait=True)

    assert fme_collector.report().event("renamed").received == 1


async def test_the_wrong_product(wire: Any, fme: Any) -> None:
    """An SDK that asks for a file of the product that the collector does not have is told so."""
    for file, fetch, owner, product in (
        (fme.settings, vwo_async.fetch_settings, fme, "VWO FullStack"),
        (wire.settings, vwo_async.fetch_fme_settings, wire, "VWO FME"),
    ):
        collector = Collector(file)
        async with serve(collector) as base_url:
            with pytest.raises(DeliveryError):
                await fetch(owner.account, owner.key, base_url=base_url)
        assert {one.reason for one in collector.refused} == {
            f"path: this collector was given no settings file of {product}"
        }


async def test_accounts_are_apart(wire: Any, fme: Any) -> None:
    """The same campaign and visitor of two accounts, and of two products, are counted apart."""
    second = {**fme.settings, "accountId": 5, "sdkKey": "another"}
    same = {**wire.settings, "accountId": fme.account}
    same["campaigns"][0]["id"] = 2
    collector = Collector([same, fme.settings, second])
    other = type(fme)()
    other.account, other.key = 5, "another"
    old = type(wire)()
    old.account = fme.account
    calls = [fme.shown(), other.shown(), old.shown(2, 2), other.metric(), fme.metric(revenue=1)]
    async with serve(collector) as base_url, fme.client(base_url) as client:
        answers = [await call.send(client) for call in calls]
        files = [await one.retrieval().send(client) for one in (fme, other, old)]

    assert [answer.status_code for answer in answers] == [200] * 5, collector.refused
    assert [file.json()["sdkKey"] for file in files] == [fme.key, "another", wire.key]
    report = collector.report()
    assert [
        (one.product, one.account_id, one.visitors)
        for one in report.campaigns
        if one.campaign_id == 2
    ] == [("fme", "5", 1), ("fme", "777002", 1), ("fullstack", "777002", 1)]
    assert report.event("purchase", 5).revenue == 0
    assert report.event("purchase", fme.account).revenue == 1
    assert collector.totals().visitors == 3


async def test_an_sdk_without_a_name(fme: Any, both: Collector) -> None:
    """An event of FME that does not name its SDK is refused for that, and is not taken for one of FullStack."""
    request = fme.metric()
    del request.query["sn"], request.query["sv"]
    async with serve(both) as base_url, fme.client(base_url) as client:
        answer = await request.send(client)

    assert answer.json() == {"error": "sn: missing"}


async def test_a_key_of_another_account(fme: Any) -> None:
    """With many accounts, an event in one's name with the other's key is refused."""
    second = {**fme.settings, "accountId": 5, "sdkKey": "another"}
    collector = Collector([fme.settings, second])
    request = fme.metric()
    request.query["a"] = "5"
    async with serve(collector) as base_url, fme.client(base_url) as client:
        answer = await request.send(client)

    assert answer.json() == {"error": "env: not the SDK key of the settings file"}


def test_two_files_of_one_key(fme: Any) -> None:
    """Two files of one account and key cannot be served at once."""
    with pytest.raises(ValueError, match="two files are of the same product, account and key"):
        Collector([fme.settings, fme.settings])


async def test_put_settings(wire: Any, fme: Any, both: Collector) -> None:
    """A new file takes the place of the one of its product and account; a new product is one more."""
    changed = {**fme.settings, "version": 2}
    other = {**fme.settings, "accountId": 5, "sdkKey": "another"}
    alone = Collector(wire.settings)
    async with serve(both) as base_url, fme.client(base_url) as client:
        put = await client.put("/collector/settings", content=json.dumps(changed))
        assert (put.status_code, (await fme.retrieval().send(client)).json()) == (204, changed)
        # The only file of its product, of whatever account.
        await client.put("/collector/settings", content=json.dumps(other))
        assert (await fme.retrieval().send(client)).status_code == 401
        assert (await wire.retrieval().send(client)).json() == wire.settings
    alone.set_settings(fme.settings)
    async with serve(alone) as base_url, fme.client(base_url) as client:
        assert (await fme.retrieval().send(client)).json() == fme.settings
        assert (await wire.retrieval().send(client)).json() == wire.settings


@pytest.mark.parametrize("depth", [65, 900, 100_000])
async def test_row_83_depth_fme(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient, depth: int
) -> None:
    """JSON that is nested without end is refused in events of FME too, and the collector goes on."""
    text = f"{'[' * depth}1{']' * depth}"
    for request in (fme.metric(), fme.batch()):
        answer = await fme_client.post(request.path, params=request.query, content=text)
        assert answer.status_code == 400
        assert "alice" not in answer.text
    body = json.dumps(fme.metric(coupon="DEEP").body).replace('"DEEP"', text)
    request = fme.metric()
    answer = await fme_client.post(
        request.path, params=request.query, headers=request.headers, content=body
    )
    assert (answer.status_code, len(fme_collector.ledger)) == (400, 0)
    assert (await fme.metric().send(fme_client)).status_code == 200


async def test_row_83_foreign_origin_fme(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient
) -> None:
    """What was received of FME is read by nobody whose page has another origin."""
    await fme.metric().send(fme_client)
    for path in ("report", "ledger", "totals"):
        answer = await fme_client.get(
            f"/collector/{path}", headers={"Origin": "https://evil.example"}
        )
        assert answer.status_code == 403
        assert "visitor" not in answer.text
    assert len(fme_collector.ledger) == 1


def test_own_process(wire: Any, fme: Any, tmp_path: Path) -> None:
    """The command serves the files of both products, and exits cleanly on SIGTERM."""
    files = []
    for name, owner in (("old", wire), ("new", fme)):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(owner.settings))
    options = [part for file in files for part in ("--settings", str(file))]
    command = [sys.executable, "-m", "vwo_async.collector", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip().removeprefix("listening on ")
        with httpx.Client(base_url=base_url, trust_env=False, verify=NO_AUTHORITIES) as client:
            found = [
                client.get(request.path, params=request.query).json()
                for request in (wire.retrieval(), fme.retrieval())
            ]
        os.kill(process.pid, signal.SIGTERM)
    assert process.returncode == 0
    assert found == [wire.settings, fme.settings]
