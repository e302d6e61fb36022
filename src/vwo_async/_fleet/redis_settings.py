"""`RedisSettings`: one process asks VWO for settings, all have them within a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from .._cancellation import is_failure
from .._log import FailureLog
from ..storage._backend.redis_pool import leaving_replica
from .option import read_prefix
from .redis_client import check_asynchronous, check_listens, close_client, make_client

AGAIN_S = 0.5
# A copy of an account that nobody uses any more goes away.
KEEP_S = 30 * 86_400
_NEWS = "news"


class RedisSettings:
    """Shares settings files through Redis, for the option ``shared`` of a `SettingsSource`.

    Of all processes whose sources share, one at a time asks VWO; the others read its copy, at once when it
    has changed. A service starts from the copy while VWO is away, and a source without Redis asks VWO itself.
    The copy lacks the SDK key and is signed with it, as the last known good file on disk is.

    Args:
        client: A client of redis-py for one server or a cluster; it stays open when this is closed.
        prefix: What all keys begin with.

    Raises:
        InvalidInputError: An argument cannot be used.
    """

    def __init__(self, client: Any, *, prefix: str = "vwo") -> None:
        check_asynchronous(client)
        check_listens(client, "RedisSettings")
        self._client = client
        self._is_own_client = False
        self._prefix = read_prefix(prefix)
        self._failures = FailureLog("redis: settings are not heard of")

    @classmethod
    def from_url(cls, url: str, *, prefix: str = "vwo") -> Self:
        """Return one with a client of its own for one server; nothing is connected yet.

        Raises:
            InvalidInputError: *url* or *prefix* cannot be used.
        """
        made = cls(make_client(url), prefix=prefix)
        made._is_own_client = True
        return made

    def _key(self, name: str, what: str) -> str:
        return f"{self._prefix}:{{{name}}}:{what}"

    async def read(self, name: str) -> bytes | None:
        """Return what `write` kept last."""
        found = await self._client.get(self._key(name, "settings"))
        # A client that decodes answers has made a text of it.
        return found.encode() if isinstance(found, str) else found

    async def write(self, name: str, content: bytes, *, is_news: bool) -> None:
        """Keep *content*; where it is news, tell all who `watch`."""
        async with leaving_replica(self._client):
            await self._client.set(self._key(name, "settings"), content, ex=KEEP_S)
        if is_news:
            await self._client.execute_command("PUBLISH", self._key(name, _NEWS), "")

    async def lead(self, name: str, lead_s: float) -> bool:
        """Tell whether the caller is the one process that asks VWO for the next so many seconds."""
        lease_ms = max(int(lead_s * 1000), 1)
        async with leaving_replica(self._client):
            return bool(
                await self._client.set(self._key(name, "leader"), "1", nx=True, px=lease_ms)
            )

    async def watch(self, name: str, on_news: Callable[[], object]) -> None:
        """Call *on_news* at each news, and whenever some may have been missed; until cancelled."""
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(self._key(name, _NEWS))
                    on_news()
                    while True:
                        if await pubsub.get_message(timeout=1.0) is not None:
                            on_news()
            except BaseException as error:
                if not is_failure(error):
                    raise
                self._failures.add(type(error).__name__)
                await asyncio.sleep(AGAIN_S)

    async def aclose(self) -> None:
        """Close the client that `from_url` made; one that was passed in stays open."""
        if self._is_own_client:
            await close_client(self._client)

    def __repr__(self) -> str:
        return f"<RedisSettings prefix {self._prefix!r}>"
