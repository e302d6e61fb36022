"""Puts a new settings file in force: as a whole or not at all, compiled off the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from anyio import to_thread

from .._cancellation import is_failure
from .._delivery.request import Account
from .._error import DeliveryError, InvalidInputError, SettingsError
from .._log import FailureLog, log_info
from .._refresh.gil_pause import GilPause
from .._refresh.source import GIVEN, VWO, SettingsSource
from .._sdk_key import SdkKey
from .._settings.change import SettingsChange
from .._settings.endpoint import SettingsEndpoint
from .callback import Callback

MAX_DETAIL = 300


class AnySnapshot(Protocol):
    """What is in force, of either product."""

    @property
    def settings(self) -> Any:
        """The settings file."""
        ...

    @property
    def account(self) -> Account:
        """In whose name events are sent."""
        ...

    @property
    def summary(self) -> str:
        """What the file holds, in a few words for the log."""
        ...


class SnapshotHolder(Protocol):
    """The owner of the settings in force."""

    endpoint: SettingsEndpoint[Any]
    snapshot: Any

    def compile(self, settings: Any, pause: GilPause) -> AnySnapshot:
        """Return the snapshot of *settings*; called in a thread."""
        ...

    def on_updated(self) -> None:
        """Take note that another file is in force; it must not raise."""


class _Prepared(NamedTuple):
    digest: bytes
    snapshot: AnySnapshot
    change: SettingsChange | None


class SettingsUpdate:
    """Replaces the settings in force of one client, and knows where they came from.

    Args:
        holder: The client.
        source: The client's settings source, if it has one.
        hook: Called with the changes.

    Attributes:
        updates: How many files were put in force.
        origin: Where the file in force came from: ``given``, ``vwo``, ``disk``, or ``empty`` for none.
    """

    def __init__(
        self, holder: SnapshotHolder, source: SettingsSource | None, hook: Callback | None
    ) -> None:
        self._holder = holder
        self._source = source
        self._hook = hook
        self._digest = b""
        self._fetched_at: float | None = None
        self.origin = GIVEN
        self.updates = 0
        self._failures = FailureLog("the settings stay as they are")
        self._fetch_count = self._newest_fetch = 0
        self._lock = asyncio.Lock()
        loaded = None if source is None else source.find_loaded(holder.snapshot.settings)
        if loaded is not None:
            self.origin, self._digest, self._fetched_at = loaded

    @property
    def errors(self) -> int:
        """How many refreshes failed."""
        return self._failures.count

    @property
    def age_s(self) -> float | None:
        """Seconds since VWO last sent the file in force; None if that is not known."""
        return None if self._fetched_at is None else max(time.monotonic() - self._fetched_at, 0.0)

    async def fetch_and_update(
        self, fetch: Callable[[], Awaitable[bytes]], account_id: int | str, sdk_key: SdkKey
    ) -> bool:
        """Fetch the settings file and put it in force if it is a new one; tell whether that succeeded.

        Raises:
            InvalidInputError: From *fetch*: the account or key is missing or cannot be used.
        """
        self._fetch_count += 1
        number, started_at = self._fetch_count, time.monotonic()
        try:
            body = await fetch()
            async with self._lock:
                if number < self._newest_fetch:
                    # A fetch that started later has already been put in force.
                    return True
                digest = await self._update(body, account_id, sdk_key)
                self._newest_fetch, self._fetched_at = number, started_at
        except InvalidInputError:
            raise
        except SettingsError as error:
            detail = str(error)[:MAX_DETAIL]
            self._failures.add("what VWO answered cannot be used", detail=detail)
            return False
        except DeliveryError as error:
            self._failures.add(str(error))
            return False
        except BaseException as error:
            # The caller's transport or source may raise anything.
            if not is_failure(error):
                raise
            self._failures.add(f"refreshing them raised {type(error).__name__}")
            return False
        if self._source is not None and self._source.is_for(account_id, sdk_key):
            await self._source.keep(body, digest)
        return True

    async def _update(self, body: bytes, account_id: int | str, sdk_key: SdkKey) -> bytes:
        """Put *body* in force if it differs from the file in force; return its digest."""
        pause = GilPause()
        try:
            prepared = await to_thread.run_sync(
                partial(self._prepare, body, account_id, sdk_key, pause), abandon_on_cancel=True
            )
        finally:
            pause.cancel()
        self.origin = VWO
        if prepared is None:
            return self._digest
        self._digest, self._holder.snapshot = prepared.digest, prepared.snapshot
        self.updates += 1
        self._holder.on_updated()
        log_info("a settings file of %s is in force", prepared.snapshot.summary)
        if self._hook is not None and prepared.change:
            self._hook.call_soon(prepared.change)
        return prepared.digest

    def _prepare(
        self, body: bytes, account_id: int | str, sdk_key: SdkKey, pause: GilPause
    ) -> _Prepared | None:
        """Parse and compile *body*; return None if it is byte for byte the file in force."""
        digest = hashlib.sha256(body).digest()
        if digest == self._digest:
            return None
        endpoint = self._holder.endpoint
        settings = endpoint.read(body, account_id, sdk_key, pause)
        snapshot = self._holder.compile(settings, pause)
        if self._hook is None:
            return _Prepared(digest, snapshot, None)
        change = endpoint.compare(self._holder.snapshot.settings, settings, pause)
        return _Prepared(digest, snapshot, change)
