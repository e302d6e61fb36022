"""What the tests of a fleet share: a collector for both products, pods and relays on a real Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from chosen_product import is_fme, make_client, settings
from fleet_redis import connect
from waiting import until

from vwo_async import VWOClient
from vwo_async._fleet.stream_keys import StreamKeys
from vwo_async.collector import Collector, serve
from vwo_async.fleet import RedisStreamOutbox, Relay, RelayAccount


@dataclass
class Fleet:
    """One account, its Redis and its VWO."""

    url: str
    collector: Collector
    base_url: str
    file: dict[str, Any]

    @property
    def account(self) -> RelayAccount:
        product: Literal["fullstack", "fme"] = "fme" if is_fme() else "fullstack"
        return RelayAccount(
            self.file["accountId"], self.file["sdkKey"], product=product, base_url=self.base_url
        )

    def make_pod(self, *, limits: Any = None, **options: Any) -> VWOClient:
        """Return a client that hands its events to Redis."""
        outbox = RedisStreamOutbox.from_url(self.url, **options)
        more = {} if limits is None else {"limits": limits}
        return make_client(self.file, outbox=outbox, storage_timeout_s=2.0, **more)

    def make_relay(self, **options: Any) -> Relay:
        return Relay.from_url(self.url, [self.account], **options)

    def keys(self, shards: int = 4) -> StreamKeys:
        return StreamKeys("vwo", self.account.fingerprint, shards)

    async def count(self, shards: int = 4) -> int:
        """Return how many entries wait in the streams."""
        keys = self.keys(shards)
        async with connect(self.url) as client:
            return sum([await client.xlen(keys.events(one)) for one in range(shards)])

    async def count_dead(self, shards: int = 4) -> int:
        """Return how many dead letters there are."""
        keys = self.keys(shards)
        async with connect(self.url) as client:
            return sum([await client.xlen(keys.dead(one)) for one in range(shards)])

    async def arrived(self, number: int) -> None:
        """Wait until VWO has *number* conversions, and the streams are empty."""
        await until(lambda: self.collector.ledger.conversions >= number)

        async def is_empty() -> bool:
            return await self.count() == 0

        await until(is_empty)
        assert not self.collector.refused


@asynccontextmanager
async def running_fleet(url: str, relays: int = 1, **options: Any) -> AsyncIterator[Fleet]:
    """Run a collector and so many relays."""
    file = settings()
    collector = Collector([json.dumps(file).encode()])
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(serve(collector))
        fleet = Fleet(url, collector, base_url, file)
        for _ in range(relays):
            await stack.enter_async_context(fleet.make_relay(**options))
        yield fleet


async def track(client: VWOClient, users: Sequence[str], **options: Any) -> list[Any]:
    """Track one conversion of each of *users*."""
    return [await client.track("checkout", user, "signup", **options) for user in users]


def make_users(number: int, name: str = "user") -> list[str]:
    return [f"{name} {one}" for one in range(number)]
