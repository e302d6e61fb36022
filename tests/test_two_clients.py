"""Two clients in one process share nothing but code, and a client without settings comes to life."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import chosen_product
import pytest
import sample
from both_products import BOTH_PRODUCTS
from chosen_product import CHOSEN, FME, FULLSTACK, make_client, make_source
from sample import ACCOUNT, KEY
from server import Server, answer, running_server
from waiting import until

from vwo_async import VWOClient
from vwo_async.storage import MemoryUserStorage

pytestmark = pytest.mark.anyio

KEYS = ("firstkey1", "secondkey2")
ACCOUNTS = (111111, 222222)


@pytest.fixture(params=[(FULLSTACK, FME), (FME, FME), (FULLSTACK, FULLSTACK)], ids="-".join)
def products(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Two products, which may be one."""
    chosen: tuple[str, str] = request.param
    return chosen


def names_of(server: Server) -> set[tuple[str, str]]:
    """Return account and key of each request that arrived."""
    found = set()
    for one in server.requests:
        query = parse_qs(urlsplit(one.target).query)
        account = query.get("a", query.get("account_id", [""]))[0]
        found.add((account, query["env"][0]))
    return found


async def test_two_clients_share_nothing(
    products: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two clients of two accounts, with one outbox path: each one's events reach its own server in its own name."""
    clients: list[VWOClient] = []
    storages = [MemoryUserStorage(), MemoryUserStorage()]
    async with running_server() as first, running_server() as second:
        servers = (first, second)
        for place, product in enumerate(products):
            monkeypatch.setenv(CHOSEN, product)
            file = {
                **chosen_product.settings(),
                "accountId": ACCOUNTS[place],
                "sdkKey": KEYS[place],
            }
            clients.append(
                make_client(
                    file,
                    base_url=servers[place].base_url,
                    user_storage=storages[place],
                    outbox=tmp_path / "outbox.db",
                    return_promise_for={"all": True},
                )
            )

        async def visit(client: VWOClient, number: int) -> None:
            assert await client.activate("checkout", f"u{number}")
            assert await client.track("checkout", f"u{number}", "signup")

        await asyncio.gather(*(visit(one, number) for one in clients for number in range(50)))
        for place, server in enumerate(servers):
            assert names_of(server) == {(str(ACCOUNTS[place]), KEYS[place])}
            assert clients[place].statistics().delivered == 100
        # What one is told, or how one ends, is nothing to the other.
        clients[0].opt_out_user("u1")
        assert not await clients[0].track("checkout", "u1", "often")
        assert await clients[1].track("checkout", "u1", "often")
        first.default = answer(503)
        await clients[0].aclose(timeout_s=0.1)
        assert await clients[1].track("checkout", "u2", "often")
        report = await clients[1].aclose()
        assert report.remaining == 0
        assert clients[1].statistics().outbox_foreign == 0
        rows = [await one.get("u1", "checkout") for one in storages]
        assert all(rows)
        assert rows[0] is not rows[1]


# A client without settings


@BOTH_PRODUCTS
@pytest.mark.parametrize("poll_interval_s", [None, 60.0])
async def test_a_client_comes_to_life(
    poll_interval_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service starts without any settings, decides nothing, and goes on with the first good file."""
    monkeypatch.setattr("vwo_async._refresh.poller.FIRST_WAIT_S", 0.05)
    told: list[Any] = []
    async with running_server() as server:
        server.default = answer(404)
        source = make_source(
            ACCOUNT, KEY, base_url=server.base_url, poll_interval_s=poll_interval_s
        )
        settings = await source.load(or_empty=True)
        async with make_client(
            settings,
            settings_source=source,
            base_url=server.base_url,
            on_settings_change=told.append,
        ) as client:
            assert client.statistics().settings_origin == "empty"
            assert client.statistics().settings_age_s is None
            assert await client.activate("checkout", "Ashley") is None
            result = await client.track("checkout", "Ashley", "signup")
            assert not result
            assert client.statistics().accepted == 0
            server.default = answer(body=b"<html>")
            await until(lambda: client.statistics().settings_errors >= 3)
            server.default = answer(body=json.dumps(chosen_product.settings()).encode())
            await until(lambda: client.statistics().settings_origin == "vwo")
            asked = len(server.requests)
            server.default = answer()
            assert await client.activate("checkout", "Ashley", wait=True) is not None
            assert await client.track("checkout", "Ashley", "signup", wait=True)
            await asyncio.sleep(0.2)
            assert not [one for one in server.requests[asked:] if "settings" in one.target]
        assert len(told) == 1
    assert KEY not in repr(settings)


async def test_a_start_is_reported_once_there_are_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a client of FME that came to life later the start is reported then, and once."""
    monkeypatch.setenv(CHOSEN, FME)
    monkeypatch.setattr("vwo_async._refresh.poller.FIRST_WAIT_S", 0.05)
    async with running_server() as server:
        server.default = answer(404)
        source = make_source(ACCOUNT, KEY, base_url=server.base_url, poll_interval_s=None)
        settings = await source.load(or_empty=True)
        async with make_client(
            settings, settings_source=source, base_url=server.base_url
        ) as client:
            await asyncio.sleep(0.1)
            assert client.statistics().accepted == 0
            file = {**chosen_product.settings(), "sdkMetaInfo": {}}
            server.default = answer(body=json.dumps(file).encode())
            await until(lambda: client.statistics().settings_origin == "vwo")
            assert await client.refresh_settings()
            await client.flush_events()
        posted = [one.target for one in server.requests if one.method == "POST"]
        assert len(posted) == 1
        assert "en=vwo_fmeSdkInit" in posted[0]


@BOTH_PRODUCTS
async def test_a_file_of_the_other_product_from_vwo(
    product: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of the other product, fetched, change nothing, and the log names the right client."""
    own = chosen_product.settings()
    monkeypatch.setenv(CHOSEN, FULLSTACK if product == FME else FME)
    other = chosen_product.settings()
    monkeypatch.setenv(CHOSEN, product)
    async with running_server() as server:
        server.default = answer(body=json.dumps(other).encode())
        async with make_client(own, base_url=server.base_url) as client:
            assert not await client.refresh_settings()
            assert await client.activate("checkout", "Ashley")
            server.default = answer()
    right = "VWOClient" if product == FME else "FMEClient"
    assert f"give it to {right}" in caplog.text


def test_both_files_are_the_tests_own() -> None:
    """Without a product chosen the tests run on FullStack."""
    assert chosen_product.settings() == sample.settings()
