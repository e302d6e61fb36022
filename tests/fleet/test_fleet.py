"""Pods hand their events to Redis Streams, and relays deliver them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio
import numpy as np
import pytest
import redis
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, result_key, settings, translate
from database import running_cluster, running_redis
from fleet_redis import connect
from fleet_rig import make_users, running_fleet, track
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ReadOnlyError
from waiting import until

from vwo_async import DeliveryStatus, FMEClient, InvalidInputError, Reason
from vwo_async._fleet import entry as entry_module
from vwo_async._fleet.dead_letters import DeadLetters
from vwo_async._fleet.redis_client import warn_of_eviction
from vwo_async.collector import Collector, GatewayData, serve
from vwo_async.fleet import RedisSettings, RedisStreamOutbox, Relay, RelayAccount
from vwo_async.storage._backend.redis_pool import leaving_replica, make_pool
from vwo_async.transport import Limits

pytestmark = pytest.mark.anyio


@BOTH_PRODUCTS
async def test_events_reach_vwo(redis_url: str) -> None:
    """What pods accept arrives, once, through whichever relay; the streams are empty then."""
    async with running_fleet(redis_url, relays=2) as fleet:
        pods = [fleet.make_pod() for _ in range(2)]
        for number, pod in enumerate(pods):
            async with pod:
                results = await track(pod, make_users(40, f"pod {number}"))
                assert all(results)
        await fleet.arrived(80)
        assert fleet.collector.ledger.conversions == 80
        for pod in pods:
            found = pod.statistics()
            assert (found.accepted, found.delivered, found.pending) == (40, 40, 0)
    assert await fleet.count_dead() == 0


@BOTH_PRODUCTS
async def test_no_key_and_no_user_in_redis(redis_url: str) -> None:
    """Neither the names of keys nor what they hold tells an SDK key or a user."""
    async with running_fleet(redis_url, relays=0) as fleet, fleet.make_pod() as pod:
        await track(pod, ["Ashley@example.com"], wait=True)
        async with connect(redis_url) as client:
            dumped = b"".join(
                [bytes(key) + bytes(await client.dump(key)) for key in await client.keys()]
            )
    assert fleet.file["sdkKey"].encode() not in dumped
    assert b"Ashley" not in dumped
    assert b"reply" not in dumped


async def test_a_wait_is_for_the_stream(redis_url: str) -> None:
    """With ``wait=True`` a call returns when the stream has the event: its status code says so."""
    async with running_fleet(redis_url, relays=0) as fleet, fleet.make_pod() as pod:
        (result,) = await track(pod, ["Ashley"], wait=True)
        assert await fleet.count() == 1
        assert await result.delivery
        assert (await result.delivery).status_code == 202


@BOTH_PRODUCTS
async def test_a_wait_may_be_for_vwo(redis_url: str) -> None:
    """With ``waits_for="delivery"`` it returns when VWO has taken the event, or has refused it."""
    async with running_fleet(redis_url) as fleet, fleet.make_pod(waits_for="delivery") as pod:
        (result,) = await track(pod, ["Ashley"], wait=True)
        assert fleet.collector.ledger.conversions == 1
        assert (await result.delivery).status_code == 200
        fleet.collector.answer_next(400)
        (refused,) = await track(pod, ["Bill"], wait=True)
        outcome = await refused.delivery
        assert (outcome.status, outcome.status_code) == (DeliveryStatus.REJECTED, 400)
        assert not refused
        assert refused[result_key()].reason is Reason.NOT_DELIVERED


async def test_nobody_tells_of_the_end(redis_url: str) -> None:
    """Without a relay a call that waits for VWO ends within its time, and the event stays on its way."""
    async with running_fleet(redis_url, relays=0) as fleet:
        pod = fleet.make_pod(waits_for="delivery")
        pod._engine.reporter._delivery_wait._timeout_s = 0.2
        async with pod:
            (result,) = await track(pod, ["Ashley"], wait=True)
            assert result["checkout"].reason is Reason.PENDING
            assert await fleet.count() == 1
        # Closed, the pod knows that the stream has it.
        assert (await result.delivery).status_code == 202


async def test_durable_calls_return_when_the_stream_has_the_event(redis_url: str) -> None:
    """After each call the entry is there."""
    async with running_fleet(redis_url, relays=0) as fleet, fleet.make_pod(durable=True) as pod:
        for number in range(1, 20):
            await track(pod, [f"user {number}"])
            assert await fleet.count() == number


async def test_a_call_makes_no_round_trip(tmp_path: Path) -> None:
    """Unless it is durable a call does not wait for Redis, which may hang; all arrives when it is back."""
    with running_redis(tmp_path / "redis") as server:
        async with running_fleet(server.url) as fleet, fleet.make_pod() as pod:
            await track(pod, ["first"], wait=True)
            server.pause()
            requests = pod.statistics().requests
            results = await track(pod, make_users(50))
            assert all(results)
            assert pod.statistics().requests <= requests + 4
            server.resume()
            await fleet.arrived(51)


@pytest.mark.parametrize("durable", [False, True])
async def test_memory_takes_over_while_redis_is_away(tmp_path: Path, durable: bool) -> None:
    """What is accepted while Redis is dead leaves when it is back, and durable calls do not hang for long."""
    with running_redis(tmp_path / "redis") as server:
        async with running_fleet(server.url) as fleet, fleet.make_pod(durable=durable) as pod:
            await track(pod, ["first"])
            server.kill()
            results = await asyncio.gather(*(track(pod, [user]) for user in make_users(30)))
            assert all(result for (result,) in results)
            server.start()
            await fleet.arrived(31)


@BOTH_PRODUCTS
async def test_a_file_takes_over_while_redis_is_away(tmp_path: Path) -> None:
    """With a fallback a pod may even end meanwhile: the next one hands over what it left."""
    with running_redis(tmp_path / "redis") as server:
        async with running_fleet(server.url) as fleet:
            server.kill()
            pod = fleet.make_pod(fallback=tmp_path / "events.db")
            await pod.open()
            assert all(await track(pod, make_users(20)))
            report = await pod.aclose(timeout_s=0.2)
            assert report.remaining == 20
            server.start()
            async with fleet.make_pod(fallback=tmp_path / "events.db"):
                await fleet.arrived(20)
        assert fleet.collector.ledger.conversions == 20


async def test_with_a_fallback_nothing_is_written_while_redis_is_there(
    redis_url: str, tmp_path: Path
) -> None:
    """The file is for bad times: in good ones no call waits for a disk."""
    path = tmp_path / "events.db"
    async with running_fleet(redis_url) as fleet, fleet.make_pod(fallback=path) as pod:
        await track(pod, make_users(20))
        await until(lambda: pod.statistics().delivered == 20)
        assert not pod._engine.reporter._journal._ids  # type: ignore[union-attr]
        await fleet.arrived(20)


async def test_a_full_stream_keeps_what_it_has(redis_url: str) -> None:
    """With ``keep`` events wait in the pods until there is room, and none is lost."""
    limits = Limits(backoff_base_s=0.01, backoff_cap_s=0.05)
    async with (
        running_fleet(redis_url, relays=0) as fleet,
        fleet.make_pod(shards=1, max_entries=10, limits=limits) as pod,
    ):
        await track(pod, make_users(40))
        await until(lambda: pod.statistics().retries > 2)
        assert await fleet.count(1) <= 10
        async with fleet.make_relay(shards=1):
            await fleet.arrived(40)
    assert fleet.collector.ledger.conversions == 40


async def test_a_full_stream_may_drop_its_oldest(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With ``drop_oldest`` the newest are there; how many gave way is counted and logged."""
    async with running_fleet(redis_url, relays=0) as fleet:
        outbox = RedisStreamOutbox.from_url(
            redis_url, shards=1, max_entries=10, when_full="drop_oldest"
        )
        async with make_client(fleet.file, outbox=outbox) as pod:
            for number in range(40):
                await track(pod, [f"user {number}"], wait=True)
        assert await fleet.count(1) == 10
        assert outbox.trimmed == 30
    assert "the stream is full" in caplog.text


@BOTH_PRODUCTS
async def test_what_vwo_refuses_lies_with_the_dead_letters(redis_url: str) -> None:
    """It names its reason, delays nobody, and can be tried again or thrown away."""
    async with running_fleet(redis_url) as fleet, fleet.make_pod() as pod:
        fleet.collector.answer_next(400, times=1)
        await track(pod, ["refused"], wait=True)

        async def is_dead() -> bool:
            return await fleet.count_dead() == 1

        await until(is_dead)
        await track(pod, make_users(10))
        await until(lambda: fleet.collector.ledger.conversions == 10)
        async with connect(redis_url) as client:
            dead = DeadLetters(client, fleet.keys())
            letters = [one async for one in dead.read()]
            assert [one.reason for one in letters] == ["http 400"]
            assert letters[0].event["visitor"]
            assert await dead.replay(letters) == 1
            assert await dead.replay(letters) == 0
            await until(lambda: fleet.collector.ledger.conversions == 11)
            assert await dead.count() == await dead.purge() == 0


async def test_what_cannot_be_read_is_buried(redis_url: str) -> None:
    """Whatever stands in a stream, what comes after it is delivered."""
    async with running_fleet(redis_url, relays=0) as fleet:
        async with connect(redis_url) as client:
            for fields in ({"e": "{"}, {"e": b"\xff\xfe"}, {"other": "1"}):
                await client.xadd(fleet.keys().events(0), fields)
        async with fleet.make_pod() as pod:
            await track(pod, make_users(10), wait=True)
        async with fleet.make_relay() as relay:
            await fleet.arrived(10)
            assert relay.statistics()[0].buried == 3
            async with connect(redis_url) as client:
                letters = [one async for one in DeadLetters(client, fleet.keys()).read()]
    assert {one.reason for one in letters} == {"unreadable"}


async def test_a_relay_that_is_gone_is_replaced(redis_url: str) -> None:
    """Entries that a relay held and does not hold on to any more are delivered by another."""
    async with running_fleet(redis_url, relays=0) as fleet:
        async with fleet.make_pod() as pod:
            await track(pod, make_users(30), wait=True)
        async with connect(redis_url) as client:
            for shard in range(4):
                key = fleet.keys().events(shard)
                await client.xgroup_create(key, "relays", id="0", mkstream=True)
                await client.xreadgroup("relays", "dead relay", {key: ">"}, count=100)
        async with fleet.make_relay(lease_s=0.6) as relay:
            await fleet.arrived(30)
            assert relay.statistics()[0].taken_over == 30
            assert relay.statistics()[0].read == 0


async def test_what_a_relay_holds_is_its_own(redis_url: str) -> None:
    """While VWO answers slowly nobody takes over what a living relay holds: nothing arrives twice."""
    async with running_fleet(redis_url, relays=2, lease_s=2.0) as fleet:
        fleet.collector.latency_s = 4.0
        async with fleet.make_pod() as pod:
            await track(pod, make_users(20), wait=True)
            await fleet.arrived(20)
        assert fleet.collector.ledger.conversions == 20


async def test_a_relay_that_stops_hands_back_at_once(redis_url: str) -> None:
    """What it could not deliver in time another delivers, long before the lease is over."""
    async with running_fleet(redis_url, relays=0) as fleet:
        fleet.collector.answer_next(503, times=10_000)
        async with fleet.make_pod() as pod:
            await track(pod, make_users(20), wait=True)
        relay = fleet.make_relay(lease_s=60.0)
        await relay.open()
        await until(lambda: relay.statistics()[0].held == 20)
        (found,) = await relay.aclose(timeout_s=0.1)
        assert (found.held, found.delivered) == (20, 0)
        fleet.collector.reset()
        async with fleet.make_relay(lease_s=0.6):
            await fleet.arrived(20)


async def test_newer_entries_wait_for_newer_relays(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a rolling upgrade old relays deliver old entries and leave new ones to new relays."""
    async with running_fleet(redis_url, relays=0) as fleet:
        async with fleet.make_pod() as pod:
            await track(pod, make_users(5, "old"), wait=True)
            monkeypatch.setattr(entry_module, "LAYOUT", 2)
            await track(pod, make_users(7, "new"), wait=True)
            monkeypatch.undo()
        async with fleet.make_relay(lease_s=0.6) as old:
            await until(lambda: fleet.collector.ledger.conversions == 5)
            await asyncio.sleep(1.0)
            assert await fleet.count() == 7
            assert old.statistics()[0].buried == 0
            monkeypatch.setattr(entry_module, "LAYOUT", 2)
            async with fleet.make_relay(lease_s=0.6):
                await fleet.arrived(12)
    assert fleet.collector.ledger.conversions == 12


async def test_all_relays_share_one_limit(redis_url: str) -> None:
    """However many relays there are, they take no more events a second than was said."""
    began_at = time.monotonic()
    async with running_fleet(redis_url, relays=3, events_per_s=40) as fleet:
        async with fleet.make_pod() as pod:
            await track(pod, make_users(200), wait=True)
        await until(lambda: fleet.collector.ledger.conversions >= 100)
        allowed = 40 * (time.monotonic() - began_at) + 40
        assert fleet.collector.ledger.conversions <= allowed
        await fleet.arrived(200)


async def test_a_flushed_redis(redis_url: str) -> None:
    """Where the streams are gone with all that was in them, relays make them anew and go on."""
    async with running_fleet(redis_url) as fleet, fleet.make_pod() as pod:
        await track(pod, make_users(5, "before"))
        await fleet.arrived(5)
        async with connect(redis_url) as client:
            await client.flushall()
        await track(pod, make_users(5, "after"))
        await fleet.arrived(10)


async def test_a_cluster(tmp_path: Path) -> None:
    """The streams of an account are on several masters, and pods and relays use them as one."""
    with running_cluster(tmp_path, 3) as nodes:
        pod_client: Any = RedisCluster.from_url(nodes[0].url)
        relay_client: Any = RedisCluster.from_url(nodes[0].url, max_connections=50)
        async with pod_client, relay_client, running_fleet("redis://127.0.0.1:1", 0) as fleet:
            # The oldest redis-py has no cluster that listens.
            listens = hasattr(pod_client, "pubsub")
            options: Any = {"waits_for": "delivery"} if listens else {}
            outbox = RedisStreamOutbox(pod_client, shards=12, **options)
            async with Relay(relay_client, [fleet.account], shards=12, events_per_s=100_000):
                async with make_client(fleet.file, outbox=outbox) as pod:
                    (result,) = await track(pod, ["waits"], wait=True)
                    assert (await result.delivery).status_code == (200 if listens else 202)
                    for number in range(24):
                        await track(pod, make_users(5, f"round {number}"), wait=True)
                await until(lambda: fleet.collector.ledger.conversions == 121)
        used = [node for node in nodes if node.command("DBSIZE")]
    assert len(used) == 3


def test_a_client_that_cannot_listen_is_refused() -> None:
    """A client without pubsub, as an old cluster's, would never hear of an end or of news: an error says so."""
    makes: tuple[Any, ...] = (RedisSettings, partial(RedisStreamOutbox, waits_for="delivery"))
    for make in makes:
        with pytest.raises(
            InvalidInputError, match=r"needs a client of redis\.asyncio with pubsub"
        ):
            make(object())
    assert RedisStreamOutbox(object())


def make_account(**changes: Any) -> RelayAccount:
    return RelayAccount(**{"account_id": 1, "sdk_key": "key", **changes})


@pytest.mark.parametrize(
    "options",
    [
        {"shards": 0},
        {"shards": 1.5},
        {"shards": "4"},
        {"shards": 5000},
        {"max_entries": 0},
        {"max_entries": "many"},
        {"when_full": "wait"},
        {"waits_for": "ever"},
        {"fallback": 7},
        {"prefix": 7},
        {"prefix": "\ud800"},
        {"durable": "no"},
    ],
)
def test_options_of_an_outbox(options: dict[str, Any]) -> None:
    """What cannot be used is an InvalidInputError that names the option."""
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        RedisStreamOutbox.from_url("redis://localhost", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"lease_s": 0},
        {"events_per_s": 0},
        {"shards": 0},
        {"prefix": 7},
        {"accounts": []},
        {"accounts": make_account()},
        {"accounts": [7]},
        {"workers": 0},
        {"max_dead": -1},
        {"max_dead": 1.5},
        {"limits": 7},
        {"limits": Limits(max_events=0)},
        {"limits": Limits(backoff_cap_s=float("nan"))},
        {"transport": "carrier pigeon"},
        {"transport": []},
    ],
)
def test_options_of_a_relay(options: dict[str, Any]) -> None:
    """The same for a relay."""
    given = {"accounts": [make_account()], **options}
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        Relay.from_url("redis://localhost", **given)


@pytest.mark.parametrize("prefix", [7, "\ud800"])
def test_options_of_shared_settings(prefix: Any) -> None:
    """The same for settings that are shared."""
    with pytest.raises(InvalidInputError, match="prefix"):
        RedisSettings.from_url("redis://localhost", prefix=prefix)


async def test_whole_numbers_of_any_type(redis_url: str) -> None:
    """A number that is whole will do whatever its type, as one that a file or a calculation gives."""
    options: dict[str, Any] = {"shards": np.int64(2)}
    async with running_fleet(redis_url, relays=0) as fleet:
        relay = fleet.make_relay(**options, workers=2.0, events_per_s=np.float64(1000))
        async with fleet.make_pod(**options, max_entries=100.0) as pod, relay:
            await track(pod, make_users(3), wait=True)
            await fleet.arrived(3)


async def test_a_client_that_was_passed_in_stays_open(redis_url: str) -> None:
    """Whoever made it may use it for more: whatever is closed leaves it its connections."""
    async with connect(redis_url) as client:
        number = await client.client_id()
        users = (RedisSettings(client), RedisStreamOutbox(client), Relay(client, [make_account()]))
        for user in users:
            await user.aclose()
        assert await client.client_id() == number


def test_a_client_that_blocks_is_refused() -> None:
    """A client without asyncio would add an event again with each try, since what it answers cannot be awaited."""
    client: Any = redis.Redis()
    makes = (RedisSettings, RedisStreamOutbox, lambda one: Relay(one, [make_account()]))
    for make in makes:
        with pytest.raises(InvalidInputError, match=r"must be one of redis\.asyncio"):
            make(client)


@pytest.mark.parametrize(
    "changes",
    [
        {"product": "web"},
        {"base_url": "ftp://x"},
        {"base_url": "http://vwo.internal"},
        {"sdk_key": ""},
        {"product": "fme", "gateway_service": {"url": ""}},
        {"product": "fme", "proxy_url": 7},
        {"gateway_service": {"url": "http://gateway.internal"}},
        {"proxy_url": "http://proxy.internal"},
    ],
)
def test_options_of_an_account(changes: dict[str, Any]) -> None:
    """The same for an account, whose repr does not show its key."""
    with pytest.raises(InvalidInputError):
        make_account(**changes)
    assert "secret" not in repr(make_account(sdk_key="secret"))


async def test_a_gateway_service(redis_url: str) -> None:
    """Events of pods that have a gateway service go there too, each alone and without the collection prefix."""
    file = {**translate(settings()), "collectionPrefix": "eu01"}
    collector = Collector([json.dumps(file).encode()], gateway=GatewayData())
    async with serve(collector) as url:
        gateway: Any = {"url": url}
        account = RelayAccount(
            file["accountId"], file["sdkKey"], product="fme", gateway_service=gateway
        )
        outbox = RedisStreamOutbox.from_url(redis_url)
        async with (
            Relay.from_url(redis_url, [account]),
            FMEClient(file, gateway_service=gateway, outbox=outbox) as pod,
        ):
            for user in make_users(5):
                await pod.track_event("signup", user)
            await until(lambda: collector.ledger.conversions == 5)
    assert not collector.refused


def test_an_intermediary_may_speak_plain_http() -> None:
    """As with a client: a gateway service or a proxy runs in the service's own network."""
    gateway = make_account(
        product="fme", gateway_service={"url": "http://gateway.internal", "port": 8000}
    )
    proxy = make_account(product="fme", account_id=2, proxy_url="http://proxy.internal")
    assert gateway.base_url == "http://gateway.internal:8000"
    assert proxy.base_url == "http://proxy.internal"
    assert Relay.from_url("redis://localhost", [gateway, proxy])


def test_urls() -> None:
    """A URL that is none is refused, without a word of it."""
    for made in (RedisStreamOutbox.from_url, lambda url: Relay.from_url(url, [make_account()])):
        with pytest.raises(InvalidInputError, match="no redis://") as caught:
            made("https://user:password@host")
        assert "password" not in str(caught.value)


def test_two_products_of_one_account_share_no_stream() -> None:
    """Keys, too: a stream is of one product, account and key."""
    accounts = [
        make_account(),
        make_account(product="fme"),
        make_account(account_id=2),
        make_account(sdk_key="other"),
    ]
    assert len({one.fingerprint for one in accounts}) == 4


async def test_fork_child_has_an_outbox_of_its_own() -> None:
    """`renew` returns one with the same options and no connection of the parent's."""
    outbox = RedisStreamOutbox.from_url(
        "redis://localhost", shards=7, durable=True, waits_for="delivery", when_full="drop_oldest"
    )
    other = outbox.renew()
    assert other is not outbox
    assert repr(other) == repr(outbox)
    assert (other.durable, other.tells_ends) == (True, True)
    assert other._client is not outbox._client


# A Redis in trouble


@pytest.fixture
async def full_redis(redis_url: str) -> AsyncIterator[str]:
    """A Redis whose memory can be filled, and is set free again."""
    yield redis_url
    async with connect(redis_url) as client:
        await client.config_set("maxmemory", "0")


@pytest.mark.parametrize("options", [{}, {"events_per_s": 1000}], ids=["no limit", "limit"])
async def test_row_91_a_redis_without_memory_is_drained(
    full_redis: str, options: dict[str, Any]
) -> None:
    """Pods keep what it does not take, and a relay that starts then makes room in it, dead letters included."""
    limits = Limits(backoff_base_s=0.01, backoff_cap_s=0.05)
    async with running_fleet(full_redis, relays=0) as fleet, fleet.make_pod(limits=limits) as pod:
        await track(pod, make_users(20), wait=True)
        async with connect(full_redis) as client:
            await client.xadd(fleet.keys().events(1), {"e": "{"})
            await client.config_set("maxmemory", "1")
            await track(pod, make_users(10, "later"))
            await until(lambda: pod.statistics().retries > 2)
            assert (await fleet.count(), pod.statistics().pending) == (21, 10)
            assert pod.statistics().unknown == 0
            async with fleet.make_relay(**options) as relay:
                await until(lambda: fleet.collector.ledger.conversions == 20)
                await until(lambda: relay.statistics()[0].buried == 1)
                await client.config_set("maxmemory", "0")
                await fleet.arrived(30)


async def test_row_91_a_master_that_is_none_any_more(redis_url: str) -> None:
    """A connection on which it says so is given up: the next one may lead to the new master."""
    async with connect(redis_url) as client:
        numbers = [await client.client_id()]
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(ReadOnlyError):
                async with leaving_replica(client):
                    await client.xadd("stream", {"e": "1"})
        finally:
            numbers.append(await client.client_id())
            await client.execute_command("REPLICAOF", "NO", "ONE")
    assert numbers[0] != numbers[1]


async def test_row_91_what_surely_was_not_sent(redis_url: str, tmp_path: Path) -> None:
    """Where no connection comes about nothing is `unknown`: with ``on_unknown="drop"`` nothing is lost."""
    limits = Limits(backoff_base_s=0.01, backoff_cap_s=0.05, on_unknown="drop")
    hosts = {
        "wrong password": redis_url.replace("redis://", "redis://:word@"),
        "refused": "redis://127.0.0.1:1",
        "no such host": "redis://nowhere.invalid",
        "no socket": f"unix://{tmp_path / 'socket'}",
        "no TLS": redis_url.replace("redis://", "rediss://"),
    }
    async with AsyncExitStack() as stack:
        pods = [
            await stack.enter_async_context(
                make_client(
                    settings(),
                    outbox=RedisStreamOutbox.from_url(url),
                    limits=limits,
                    close_timeout_s=0.1,
                )
            )
            for url in hosts.values()
        ]
        for pod in pods:
            await track(pod, make_users(3))
        await until(lambda: all(one.statistics().retries for one in pods))
        found = [(one.statistics().unknown, one.statistics().pending) for one in pods]
    assert dict(zip(hosts, found, strict=True)) == dict.fromkeys(hosts, (0, 3))


class MoodyRedis(Redis):
    """Raises once for each of its methods what is none of redis-py's errors, as a cluster that is away does."""

    raised: ClassVar[set[str]] = set()

    def _raise_once(self, name: str) -> None:
        if name not in self.raised:
            self.raised.add(name)
            raise AttributeError(name)

    def pubsub(self, **options: Any) -> Any:
        self._raise_once("pubsub")
        return super().pubsub(**options)

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        self._raise_once(words[0])
        client: Any = super()
        return await client.execute_command(*words, **options)


async def test_row_91_whatever_redis_py_raises(redis_url: str) -> None:
    """No part of a pod or a relay ends of it."""
    MoodyRedis.raised.clear()
    limits = Limits(backoff_base_s=0.01, backoff_cap_s=0.05)
    async with (
        running_fleet(redis_url, relays=0) as fleet,
        MoodyRedis.from_pool(make_pool(redis_url)) as one,
        MoodyRedis.from_pool(make_pool(redis_url)) as other,
        Relay(one, [fleet.account], lease_s=0.6),
    ):
        outbox = RedisStreamOutbox(other, waits_for="delivery")
        async with make_client(fleet.file, outbox=outbox, limits=limits) as pod:
            await until(lambda: "pubsub" in MoodyRedis.raised)
            await asyncio.sleep(1.0)
            results = await track(pod, make_users(5), wait=True)
            assert [(await one.delivery).status_code for one in results] == [200] * 5
        await fleet.arrived(5)
    assert {"pubsub", "EVALSHA", "XREADGROUP", "XAUTOCLAIM", "PUBLISH"} <= MoodyRedis.raised


async def test_row_91_a_group_that_is_gone(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Relays make it again, say so, and deliver what is in the stream."""
    async with running_fleet(redis_url) as fleet, fleet.make_pod() as pod:
        await track(pod, make_users(5, "before"))
        await fleet.arrived(5)
        async with connect(redis_url) as client:
            for shard in range(4):
                await client.xgroup_destroy(fleet.keys().events(shard), "relays")
        await track(pod, make_users(5, "after"))
        await fleet.arrived(10)
    assert "its group was gone" in caplog.text


async def test_row_91_a_redis_that_evicts_streams(
    full_redis: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A relay says that events may be thrown away; not where only keys with a time to live are."""
    async with connect(full_redis) as client:
        await client.config_set("maxmemory", "1gb")
        for policy, said in (("volatile-lru", 0), ("noeviction", 0), ("allkeys-lru", 1)):
            await client.config_set("maxmemory-policy", policy)
            await warn_of_eviction(client)
            assert caplog.text.count("throws away events") == said
        await client.config_set("maxmemory-policy", "noeviction")


async def test_row_91_durable_calls_do_not_wait_in_an_outage(redis_url: str) -> None:
    """Once it is known that Redis is away they return at once, one after the other too."""
    pod = make_client(
        settings(),
        outbox=RedisStreamOutbox.from_url("redis://127.0.0.1:1", durable=True),
        limits=Limits(backoff_base_s=0.05, backoff_cap_s=0.2),
        storage_timeout_s=60.0,
        close_timeout_s=0.1,
    )
    async with asyncio.timeout(50), pod:
        # Who waits while it becomes known is let go then.
        results = await track(pod, make_users(20))
        assert all(results)
    assert pod.statistics().accepted == 20


# Entries that a relay cannot deliver


async def test_row_92_newer_entries_hold_up_nobody(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many entries of a newer layout there are, an old relay looks at each once in a while only."""
    async with running_fleet(redis_url, relays=0) as fleet:
        async with fleet.make_pod() as pod:
            monkeypatch.setattr(entry_module, "LAYOUT", 2)
            await track(pod, make_users(12, "new"), wait=True)
            monkeypatch.undo()
        async with fleet.make_relay(lease_s=0.6) as relay, connect(redis_url) as client:
            await until(lambda: relay.statistics()[0].taken_over > 0)
            await client.config_resetstat()
            before = relay.statistics()[0].taken_over
            await asyncio.sleep(1.0)
            looks = (await client.info("commandstats"))["cmdstat_xautoclaim"]["calls"]
            assert looks <= 4 * 6
            assert 0 < relay.statistics()[0].taken_over - before <= 12 * 6


@BOTH_PRODUCTS
async def test_row_92_an_entry_too_large_for_the_relay(redis_url: str) -> None:
    """It lies with the dead letters; those behind it arrive."""
    async with running_fleet(redis_url, relays=0) as fleet:
        async with fleet.make_pod(shards=1) as pod:
            agents = ["a" * 200, "b" * 4000, "c" * 200]
            for number, agent in enumerate(agents):
                await pod.track("checkout", f"user {number}", "signup", user_agent=agent, wait=True)
        async with fleet.make_relay(shards=1, limits=Limits(max_bytes=3000)) as relay:
            await fleet.arrived(2)
            assert relay.statistics()[0].buried == 1
        async with connect(redis_url) as client:
            letters = [one async for one in DeadLetters(client, fleet.keys(1)).read()]
    assert [one.reason for one in letters] == ["too_large"]


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    ("visitor", "reason"), [(r'"\ud800"', "unserializable"), ('{"a":1}', "unreadable")]
)
async def test_row_92_an_entry_that_no_request_can_hold(
    redis_url: str, visitor: str, reason: str
) -> None:
    """It lies with the dead letters at once, is not tried for a day and ends no worker."""
    async with running_fleet(redis_url, relays=0) as fleet:
        async with fleet.make_pod(shards=1) as pod:
            await track(pod, ["user", "another"], wait=True)
        async with connect(redis_url) as client:
            key = fleet.keys(1).events(0)
            (id_, fields), _ = await client.xrange(key)
            payload = re.sub(
                rb'"visitor":"\w+"', lambda _: b'"visitor":' + visitor.encode(), fields[b"e"]
            )
            await client.xdel(key, id_)
            await client.xadd(key, {"e": payload})
            async with fleet.make_relay(shards=1) as relay:
                await until(lambda: relay.statistics()[0].buried == 1)
                await until(lambda: relay.statistics()[0].delivered == 1)
            letters = [one async for one in DeadLetters(client, fleet.keys(1)).read()]
    assert [one.reason for one in letters] == [reason]


@pytest.mark.parametrize("at", ["NaN", "-Infinity"])
async def test_row_92_an_entry_of_no_time(redis_url: str, at: str) -> None:
    """It counts as accepted when it is read, and does not live for ever."""
    async with running_fleet(redis_url, relays=0) as fleet:
        async with fleet.make_pod(shards=1) as pod:
            await track(pod, ["user"], wait=True)
        async with connect(redis_url) as client:
            key = fleet.keys(1).events(0)
            ((id_, fields),) = await client.xrange(key)
            payload = re.sub(rb'"at":[0-9.]+', f'"at":{at}'.encode(), fields[b"e"])
            await client.xdel(key, id_)
            await client.xadd(key, {"e": payload})
        fleet.collector.answer_next(503, times=1)
        async with fleet.make_relay(shards=1):
            await fleet.arrived(1)


async def test_row_92_dead_letters_that_give_way(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond ``max_dead`` the oldest go, which is counted and logged."""
    async with running_fleet(redis_url, relays=0) as fleet:
        async with connect(redis_url) as client:
            for number in range(400):
                await client.xadd(fleet.keys(1).events(0), {"e": str(number)})
        async with fleet.make_relay(shards=1, max_dead=100) as relay:
            await until(lambda: relay.statistics()[0].buried == 400)
            (found,) = relay.statistics()
    assert found.trimmed == 400 - await fleet.count_dead(1) > 100
    assert "too many dead letters" in caplog.text


# A relay that has no more room


async def test_row_93_no_lease_is_lost_for_want_of_room(redis_url: str) -> None:
    """A relay whose queue is full goes on to hold what it has, and says that Redis answers."""
    async with running_fleet(redis_url, relays=0) as fleet:
        fleet.collector.answer_next(503, times=10_000)
        async with fleet.make_pod() as pod:
            await track(pod, make_users(40), wait=True)
        full = fleet.make_relay(lease_s=0.6, limits=Limits(max_bytes=6000))
        async with full, connect(redis_url) as client:
            await until(lambda: full.statistics()[0].held == 40)
            dead = fleet.keys().events(0)
            await client.xadd(dead, {"e": "{}"})
            await client.xreadgroup("relays", "dead relay", {dead: ">"}, count=1)
            async with fleet.make_relay(lease_s=0.6) as other:
                await asyncio.sleep(1.5)
                assert other.statistics()[0].taken_over <= 1
                assert full.statistics()[0].held == 40
                assert full.statistics()[0].is_healthy
            fleet.collector.reset()
            await fleet.arrived(40)
    assert fleet.collector.ledger.conversions == 40


async def test_row_93_a_full_relay_tells_that_redis_is_gone(tmp_path: Path) -> None:
    """What it does without asking Redis, since it has no room or nothing has ended, is no sign of life."""
    with running_redis(tmp_path / "redis") as server:
        async with running_fleet(server.url, relays=0) as fleet:
            fleet.collector.answer_next(503, times=10_000)
            async with fleet.make_pod() as pod:
                await track(pod, make_users(4), wait=True)
            relay = fleet.make_relay(lease_s=0.6, limits=Limits(max_events=1))
            await relay.open()
            await until(lambda: relay.statistics()[0].held == 1)
            (inner,) = relay._relays.values()
            server.kill()
            await until(lambda: relay.statistics()[0].redis_errors > 1)
            heard_at, errors = inner.last_contact_at, relay.statistics()[0].redis_errors
            await until(lambda: relay.statistics()[0].redis_errors > errors + 4)
            await relay.aclose(timeout_s=0.1)
            assert inner.last_contact_at == heard_at


async def test_row_93_what_others_hold_hides_nothing(redis_url: str) -> None:
    """Entries of a dead relay are found behind however many that living ones hold."""
    async with running_fleet(redis_url, relays=0) as fleet:
        async with fleet.make_pod(shards=1) as pod:
            await asyncio.gather(*(track(pod, [user]) for user in make_users(120)))
            await until(lambda: pod.statistics().pending == 0)
        async with connect(redis_url) as client:
            key = fleet.keys(1).events(0)
            await client.xgroup_create(key, "relays", id="0")
            await client.xreadgroup("relays", "dead relay", {key: ">"}, count=120)
            ids = [id_ for id_, _ in await client.xrange(key, count=100)]
            relay = fleet.make_relay(shards=1, lease_s=0.9, limits=Limits(max_events=3))
            async with relay:
                with anyio.fail_after(30):
                    while fleet.collector.ledger.conversions < 20:
                        await client.xclaim(key, "relays", "living relay", 0, ids, justid=True)
                        await asyncio.sleep(0.1)
    assert fleet.collector.ledger.conversions == 20


@pytest.mark.parametrize("number", [0, 1])
async def test_row_93_a_stream_that_cannot_be_used(redis_url: str, number: int) -> None:
    """It holds up no other: what they have is forgotten when VWO has it, and it goes on when it can."""
    limits = Limits(backoff_base_s=0.01, backoff_cap_s=0.05)
    async with running_fleet(redis_url, relays=0) as fleet, connect(redis_url) as client:
        fleet.collector.answer_next(503, times=10_000)
        async with fleet.make_pod(shards=2) as pod:
            for user in make_users(6):
                await track(pod, [user], wait=True)
        broken, sound = (fleet.keys(2).events(one) for one in (number, 1 - number))
        async with fleet.make_relay(shards=2, limits=limits) as relay:
            await until(lambda: relay.statistics()[0].held == 6)
            await client.rename(broken, "aside")
            await client.set(broken, "no stream")
            fleet.collector.reset()
            await until(lambda: relay.statistics()[0].delivered == 3)
            assert (await client.xlen(sound), relay.statistics()[0].held) == (0, 3)
            await client.rename("aside", broken)
            await until(lambda: relay.statistics()[0].delivered == 6)
    assert fleet.collector.ledger.conversions == 6


async def test_row_92_an_end_that_cannot_be_told(redis_url: str) -> None:
    """A channel to which nothing can be published holds up neither other ends nor what is to be forgotten."""
    async with running_fleet(redis_url, relays=0) as fleet, connect(redis_url) as client:
        key = fleet.keys(1).events(0)
        async with fleet.make_pod(shards=1) as pod:
            await track(pod, ["first"], wait=True)
        ((id_, fields),) = await client.xrange(key)
        await client.xdel(key, id_)
        await client.xadd(key, {"e": fields[b"e"][:-1] + rb',"reply":1,"reply_to":"\ud800"}'})
        async with fleet.make_relay(shards=1):
            await fleet.arrived(1)
            async with fleet.make_pod(shards=1, waits_for="delivery") as pod:
                (result,) = await track(pod, ["second"], wait=True)
                assert (await result.delivery).status_code == 200


# Several environments


@BOTH_PRODUCTS
async def test_row_94_environments_of_one_account(redis_url: str) -> None:
    """Each is read and reported under a name of its own, and all of them end with the relay."""
    async with running_fleet(redis_url, relays=0) as fleet:
        other = dataclasses.replace(fleet, file={**fleet.file, "sdkKey": "another-key"})
        for one in (fleet, other):
            async with one.make_pod() as pod:
                await track(pod, make_users(5), wait=True)
        relay = Relay.from_url(redis_url, [fleet.account, other.account], lease_s=0.6)
        async with relay:
            await until(lambda: [one.read for one in relay.statistics()] == [5, 5])
            await until(lambda: relay.statistics()[0].delivered == 5)
            names = [one.account for one in relay.statistics()]
    assert len(set(names)) == 2
    assert all(name.startswith(fleet.account.name + ":") for name in names)
    assert not any("key" in name for name in names)


def test_row_94_one_environment_twice() -> None:
    """It is refused: its streams would be read twice."""
    with pytest.raises(InvalidInputError, match="twice"):
        Relay.from_url("redis://localhost", [make_account(), make_account(base_url="http://[::1]")])
