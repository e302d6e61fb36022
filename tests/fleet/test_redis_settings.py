"""Settings that many processes share through Redis."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, make_source, settings, translate
from database import running_redis
from fleet_redis import connect
from own_time import Stopwatch
from redis.exceptions import ReadOnlyError
from sample import ACCOUNT, KEY
from sample import settings as fullstack_settings
from server import Server, answer, running_server
from slow_path import slow_path
from waiting import until

from vwo_async import (
    DeliveryError,
    FMEClient,
    FMESettingsSource,
    InvalidInputError,
    SettingsSource,
)
from vwo_async._refresh import shared_settings
from vwo_async._sdk_key import SdkKey
from vwo_async.fleet import RedisSettings, RedisStreamOutbox

pytestmark = pytest.mark.anyio


def serve(server: Server, file: Any) -> None:
    """Let *server* answer with *file* from now on."""
    server.default = answer(body=json.dumps(file).encode())


def make_shared(server: Server, shared: RedisSettings, **options: Any) -> Any:
    """Return a source whose file is shared."""
    given = {"base_url": server.base_url, "poll_interval_s": 1.0, "min_refresh_interval_s": 0.05}
    return make_source(ACCOUNT, KEY, shared=shared, **{**given, **options})


@BOTH_PRODUCTS
async def test_one_process_asks_for_all(redis_url: str) -> None:
    """Of many clients one asks VWO in an interval; all have what is new within a second."""
    async with running_server() as server:
        serve(server, settings(version=1))
        clients = []
        sharing = [RedisSettings.from_url(redis_url) for _ in range(6)]
        for shared in sharing:
            source = make_shared(server, shared, poll_interval_s=3.0)
            clients.append(make_client(await source.load(), settings_source=source))
        assert len(server.requests) == 1
        for client in clients:
            await client.open()
        serve(server, settings(version=2))
        await until(lambda: any(version_of(client) == 2 for client in clients))
        watch = Stopwatch()
        await until(lambda: all(version_of(client) == 2 for client in clients))
        watch.assert_below(1.0)
        assert len(server.requests) <= 4
        for client in clients:
            await client.aclose()
        for shared in sharing:
            await shared.aclose()


def version_of(client: Any) -> int:
    return int(client.settings.version)


async def test_the_file_says_how_often_one_asks_for_all(redis_url: str) -> None:
    """A source of FME that polls as often as its file says shares at this pace, and not at that of its default."""
    file = {**translate(fullstack_settings()), "pollInterval": 1000}
    async with running_server() as server, connect(redis_url) as redis:
        serve(server, file)
        shared = RedisSettings.from_url(redis_url)
        source = FMESettingsSource(ACCOUNT, KEY, base_url=server.base_url, shared=shared)
        client = FMEClient(await source.load(), settings_source=source)
        (leader,) = await redis.keys("*:leader")
        # Whoever starts cannot know the file, and asks for a minute.
        assert 0 < await redis.pttl(leader) <= 60_000
        await redis.delete(leader)
        async with client:
            await until(lambda: len(server.requests) > 1)
            serve(server, {**file, "version": 2})
            await until(lambda: version_of(client) == 2)
        await shared.aclose()


async def test_a_start_from_the_copy(redis_url: str) -> None:
    """While VWO is away a service starts from what others have got, and says so."""
    shared = RedisSettings.from_url(redis_url)
    async with running_server() as server:
        serve(server, settings(version=7))
        await make_shared(server, shared).load()
    source = make_shared(server, shared, wall_clock=lambda: time.time() + 1000)
    client = make_client(await source.load(), settings_source=source)
    assert version_of(client) == 7
    assert client.statistics().settings_origin == "shared"
    assert client.settings.sdk_key == SdkKey.read(KEY)
    await shared.aclose()


async def test_without_settings_nobody_asks_for_long(redis_url: str) -> None:
    """Who has no settings yet asks for a minute at most, whatever the default: the file may want more."""
    shared = RedisSettings.from_url(redis_url)
    async with running_server() as server, connect(redis_url) as redis:
        server.default = answer(404)
        source = FMESettingsSource(ACCOUNT, KEY, base_url=server.base_url, shared=shared)
        client = FMEClient(await source.load(or_empty=True), settings_source=source)
        (leader,) = await redis.keys("*:leader")
        await redis.delete(leader)
        async with client:
            await until(lambda: len(server.requests) > 1)
            assert 0 < await redis.pttl(leader) <= 60_000
    await shared.aclose()


async def test_two_products_of_one_account(redis_url: str) -> None:
    """They share no file, though they have one account and key, as where a service moves from one to the other."""
    shared = RedisSettings.from_url(redis_url)
    file = fullstack_settings()
    sources = (SettingsSource, file), (FMESettingsSource, translate(file))
    async with running_server() as server:
        for kind, one in sources:
            serve(server, one)
            source = kind(ACCOUNT, KEY, base_url=server.base_url, shared=shared)
            assert (await source.load()).account_id == ACCOUNT
    await shared.aclose()


async def test_a_copy_that_is_too_old(redis_url: str) -> None:
    """A copy is used for ``max_age_s`` at most."""
    shared = RedisSettings.from_url(redis_url)
    async with running_server() as server:
        serve(server, settings())
        await make_shared(server, shared).load()
    late = make_shared(server, shared, max_age_s=60.0, wall_clock=lambda: time.time() + 100)
    with pytest.raises(DeliveryError):
        await late.load()
    await shared.aclose()


async def test_nobody_else_can_write_or_read_the_copy(redis_url: str) -> None:
    """It lacks the key and is signed with it: what another has written there is not believed."""
    shared = RedisSettings.from_url(redis_url)
    async with running_server() as server:
        serve(server, settings(version=3))
        await make_shared(server, shared).load()
        async with connect(redis_url) as client:
            (name,) = await client.keys("*:settings")
            content = await client.get(name)
            assert KEY.encode() not in b"".join([name, content])
            await client.set(name, content.replace(b'"version":3', b'"version":4'))
        source = make_shared(server, shared)
        assert (await source.load()).version == 3
    await shared.aclose()


@pytest.mark.parametrize(("fault", "timeout_s"), [("dead", 0.3), ("hangs", 0.3), ("hangs", 60)])
async def test_without_redis_each_asks_vwo(
    tmp_path: Path, fault: str, timeout_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that is dead or hangs delays a start by its time-outs and no more; news of VWO arrive.

    Where the client has none, or a long one, each call is given up after a time of our own.
    """
    monkeypatch.setattr(shared_settings, "SHARED_TIMEOUT_S", 0.5)
    with running_redis(tmp_path / "redis") as redis:
        shared = RedisSettings.from_url(f"{redis.url}?socket_timeout={timeout_s}")
        async with running_server() as server:
            serve(server, settings(version=1))
            source = make_shared(server, shared)
            client = make_client(await source.load(), settings_source=source)
            redis.kill() if fault == "dead" else redis.pause()
            async with client:
                serve(server, settings(version=2))
                await until(lambda: version_of(client) == 2)
            assert (await make_shared(server, shared).load()).version == 2
        redis.start_again()
        await shared.aclose()


@BOTH_PRODUCTS
async def test_a_webhook_call_asks_vwo(redis_url: str) -> None:
    """Whoever hears VWO's webhook fetches the file, and all others have it at once."""
    first, second = RedisSettings.from_url(redis_url), RedisSettings.from_url(redis_url)
    async with running_server() as server:
        serve(server, settings(version=1))
        clients = []
        for shared in (first, second):
            source = make_shared(server, shared, poll_interval_s=None)
            clients.append(make_client(await source.load(), settings_source=source))
            await clients[-1].open()
        serve(server, settings(version=2))
        assert await clients[0].refresh_settings()
        await until(lambda: version_of(clients[1]) == 2)
        for client in clients:
            await client.aclose()
    await first.aclose()
    await second.aclose()


def test_what_shares_nothing_is_refused() -> None:
    """``shared`` takes what has the methods of RedisSettings."""
    with pytest.raises(InvalidInputError, match="shared"):
        make_source(ACCOUNT, KEY, shared="redis://localhost")
    with pytest.raises(InvalidInputError, match="redis://"):
        RedisSettings.from_url("localhost")


async def test_a_redis_that_becomes_a_replica(tmp_path: Path) -> None:
    """After a failover what a fleet writes goes to the server to which the name leads then."""
    with running_redis(tmp_path / "one") as one, running_redis(tmp_path / "other") as other:
        async with slow_path(one.port) as (path, port):
            url = f"redis://127.0.0.1:{port}"
            shared = RedisSettings.from_url(url)
            async with make_client(settings(), outbox=RedisStreamOutbox.from_url(url)) as client:
                await shared.write("account", b"{}", is_news=True)
                assert await client.track("checkout", "Ashley", "signup", wait=True)
                path.port = other.port
                one.command("REPLICAOF", "127.0.0.1", other.port)
                with pytest.raises(ReadOnlyError):
                    await shared.write("account", b"{}", is_news=True)
                await shared.write("account", b"{}", is_news=True)
                assert await client.track("checkout", "Bill", "signup")
                await until(lambda: client.statistics().delivered == 2)
            await shared.aclose()
        assert len(other.command("KEYS", "*")) == 2
