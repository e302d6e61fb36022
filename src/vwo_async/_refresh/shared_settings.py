"""Settings that many processes share: one of them asks VWO, all have the answer within a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from anyio import to_thread

from .._cancellation import Ending
from .._delivery.answer import Answer
from .._delivery.request import Request
from .._delivery.transport.protocol import MAX_ANSWER_BYTES, Fetcher
from .._log import FailureLog
from .._sdk_key import SdkKey
from .._settings.endpoint import SettingsEndpoint
from .._settings.seal import KeptSettings, SettingsSeal, UnusableError, add_sdk_key

# A copy that nobody has renewed for so many poll intervals is asked for at VWO again.
STALE_INTERVALS = 3
# The part of a poll interval for which one process alone asks VWO.
LEAD_SHARE = 0.9
# How long each call of what is shared with may take: a client of redis-py may have no time-out.
SHARED_TIMEOUT_S = 3.0


class SharedSettings(Protocol):
    """Keeps sealed settings files where many processes find them. Each method may raise any error."""

    async def read(self, name: str) -> bytes | None:
        """Return what `write` kept last under a name."""
        ...

    async def write(self, name: str, content: bytes, *, is_news: bool) -> None:
        """Keep *content*; where it is news, tell all who `watch`."""
        ...

    async def lead(self, name: str, lead_s: float) -> bool:
        """Tell whether the caller is the one process that asks VWO for the next so many seconds."""
        ...

    async def watch(self, name: str, on_news: Callable[[], object]) -> None:
        """Call *on_news* in the loop at each news, until cancelled."""
        ...


def name_shared(endpoint: SettingsEndpoint[Any], seal: SettingsSeal) -> str:
    """Return the name of what is shared: of one product, account and key, from which the key cannot be told."""
    return f"{endpoint.product}:{seal.fingerprint}"


class SharedFetcher:
    """Fetches a settings file from VWO if this process is to ask, else from where the processes share it.

    Where the sharing fails it is as if there was none. A request of VWO's webhook goes to VWO.

    Args:
        fetcher: Asks VWO.
        endpoint: Where VWO has the file.
        shared: Where the file is shared.
        seal: Seals the file.
        sdk_key: The key, which the shared file lacks.
        find_interval_s: Returns how often VWO is asked, which the settings in force may say.
        wall_clock: Seconds since the epoch.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        endpoint: SettingsEndpoint[Any],
        shared: SharedSettings,
        seal: SettingsSeal,
        sdk_key: SdkKey,
        find_interval_s: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._fetcher = fetcher
        self._endpoint = endpoint
        self._shared = shared
        self._seal = seal
        self._name = name_shared(endpoint, seal)
        self._sdk_key = sdk_key
        self._find_interval_s = find_interval_s
        self._wall_clock = wall_clock
        self._failures = FailureLog("the settings cannot be shared")

    async def send(self, request: Request) -> Answer:
        """Send *request* to VWO."""
        return await self._fetcher.send(request)

    async def fetch(
        self, request: Request, max_bytes: int = MAX_ANSWER_BYTES
    ) -> tuple[Answer, bytes]:
        """Return the settings file, from VWO or as shared; see `Fetcher.fetch`."""
        is_leading = self._endpoint.is_pull(request.target) or await self._leads()
        kept = await self.read_kept()
        if kept is not None and not is_leading and self._is_fresh(kept):
            return Answer(200), add_sdk_key(kept.body, self._sdk_key)
        answer, body = await self._fetcher.fetch(request, max_bytes)
        if answer.status == 200 and body:
            await self._share(body, kept)
        return answer, body

    async def aclose(self) -> None:
        """Close the connections to VWO; what is shared with stays open."""
        await self._fetcher.aclose()

    async def _leads(self) -> bool:
        call = self._shared.lead(self._name, self._find_interval_s() * LEAD_SHARE)
        return bool(await self._try(call, default=True))

    async def read_kept(self) -> KeptSettings | None:
        """Return the file as it is shared, None where there is none that can be used."""
        content = await self._try(self._shared.read(self._name), default=None)
        try:
            return None if content is None else await to_thread.run_sync(self._seal.open, content)
        except UnusableError as error:
            self._failures.add(str(error))
            return None

    def _is_fresh(self, kept: KeptSettings) -> bool:
        return self._wall_clock() - kept.wall_s < STALE_INTERVALS * self._find_interval_s()

    async def _share(self, body: bytes, kept: KeptSettings | None) -> None:
        try:
            content = await to_thread.run_sync(self._seal.seal, body, self._wall_clock())
            shared = content.partition(b"\n")[2]
        except (UnusableError, ValueError):
            # No settings file: who asked for it will say so.
            return
        is_news = kept is None or kept.body != shared
        await self._try(self._shared.write(self._name, content, is_news=is_news), None)

    async def _try(self, call: Awaitable[Any], default: Any) -> Any:
        """Return what *call* returns; *default* where it fails or takes too long.

        It runs in a task of its own, since a client of redis-py may ignore that it is cancelled.
        """
        ending: Ending[Any] = Ending()
        task = ending.begin(call, "vwo_async settings share")
        try:
            await asyncio.wait((task,), timeout=SHARED_TIMEOUT_S)
        finally:
            task.cancel()
        error = ending.error if task.done() else TimeoutError()
        if error is not None or task.cancelled():
            self._failures.add(type(error).__name__)
            return default
        return ending.value
