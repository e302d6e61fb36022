"""One client for each event loop: for code that runs many loops, one after the other or beside each other."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from .._error import VWOError
from .._log import log_warning
from .base_client import Client, engine_of

ClientT = TypeVar("ClientT", bound=Client[Any])
SettingsT = TypeVar("SettingsT")

# How long a loop holds its client, if nothing closes either: as good as for ever.
HOLD_S = 30 * 86400.0


class PerLoop(Generic[ClientT]):
    """Gives each event loop a client of its own, with settings that all of them share; made by `per_loop`.

    The loop holds the client, which is closed with it, see `VWOClient`. Nothing is remembered of a loop that
    is gone.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[Any]],
        make: Callable[[Any], ClientT],
        max_age_s: float,
    ) -> None:
        self._settings = _SharedSettings(load, max_age_s)
        self._make = make
        # The loop holds the client, by a timer; here are only names for both.
        self._clients: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, weakref.ref[ClientT]
        ] = weakref.WeakKeyDictionary()

    async def get(self) -> ClientT:
        """Return the client of the running loop, open; a new one where there is none, or it was closed.

        Raises:
            VWOError: What loading the settings or opening the client raises; the next call tries again.
        """
        client = self._find()
        if client is None:
            settings = await self._settings.get()
            # Another task may have been quicker.
            client = self._find() or self._start(settings)
        await client.open()
        return client

    async def aclose(self, *, timeout_s: float | None = None) -> None:
        """Deliver what is pending in the running loop, and close its client; `get` makes a new one."""
        client = self._find()
        if client is not None:
            await client.aclose(timeout_s=timeout_s)

    def _find(self) -> ClientT | None:
        found = self._clients.get(asyncio.get_running_loop())
        client = None if found is None else found()
        # One that was open in the parent of a fork is not this process's.
        return client if client is not None and engine_of(client).is_usable_here else None

    def _start(self, settings: Any) -> ClientT:
        loop = asyncio.get_running_loop()
        client = self._make(settings)
        loop.call_later(HOLD_S, _hold, client)
        self._clients[loop] = weakref.ref(client)
        return client

    def __len__(self) -> int:
        """Return how many loops have a client."""
        return len(self._clients)

    def __repr__(self) -> str:
        return f"<PerLoop of {len(self)} loops>"


def per_loop(
    load: Callable[[], Awaitable[SettingsT]],
    make: Callable[[SettingsT], ClientT],
    *,
    max_age_s: float = 300.0,
) -> PerLoop[ClientT]:
    """Return what gives each event loop a client of its own: ``client = await clients.get()``.

    For services that run a loop for each task, request or test: AWS Lambda and Celery with `asyncio.run`,
    async views under WSGI, test suites. Nothing is loaded or made before the first `PerLoop.get`.

    Args:
        load: Loads the settings, as ``lambda: fetch_settings(account_id, sdk_key)`` does. Called by the first
            loop that needs them, and not again for the others.
        make: Returns a client with the settings, as ``VWOClient`` does. Give it storages of its own:
            connections belong to a loop.
        max_age_s: How old the settings may be when a client is made. Where they cannot be loaded
            again, those before are used, and the log says so.
    """
    return PerLoop(load, make, max_age_s)


def _hold(client: object) -> None:
    """Hold it no longer."""


class _SharedSettings:
    """Settings that are loaded once for all loops, in whatever threads these run.

    Args:
        load: Loads them.
        max_age_s: After so long they are loaded again.
    """

    def __init__(self, load: Callable[[], Awaitable[Any]], max_age_s: float) -> None:
        self._load = load
        self._max_age_s = max_age_s
        self._loaded: tuple[Any, float] | None = None
        self._loading: Future[Any] | None = None

    async def get(self) -> Any:
        """Return the settings."""
        while True:
            loaded = self._loaded
            if loaded is not None and time.monotonic() - loaded[1] < self._max_age_s:
                return loaded[0]
            others = self._loading
            if others is None:
                return await self._load_for_all(loaded)
            # What comes of it is looked at in the next round: where it fails, this loop tries itself.
            await asyncio.wait([asyncio.wrap_future(others)])

    async def _load_for_all(self, before: tuple[Any, float] | None) -> Any:
        done: Future[Any] = Future()
        self._loading = done
        try:
            settings = await self._load()
        except VWOError as error:
            if before is None:
                raise
            log_warning("the settings could not be loaded again, those before are used: %s", error)
            settings = before[0]
            self._loaded = settings, time.monotonic()
        else:
            self._loaded = settings, time.monotonic()
        finally:
            self._loading = None
            done.set_result(None)
        return settings
