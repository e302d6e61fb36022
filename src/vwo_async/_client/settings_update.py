"""Putting a new settings file in force: all of it, off the event loop, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from anyio import to_thread

from .._error import DeliveryError, InvalidInputError, SettingsError
from .._log import FailureLog, log_info
from .._refresh.pace import Pace
from .._refresh.source import GIVEN, VWO, SettingsSource
from .._settings.change import SettingsChange, compare_settings
from .._settings.endpoint import read_settings
from .callback import Callback
from .snapshot import Snapshot

if TYPE_CHECKING:
    from .._settings import Settings

MAX_DETAIL = 300


class SnapshotHolder(Protocol):
    """What has settings in force."""

    snapshot: Snapshot

    def compile(self, settings: Settings, pace: Pace) -> Snapshot:
        """Return what would be in force with *settings*; runs in a thread."""
        ...


class _Prepared(NamedTuple):
    digest: bytes
    snapshot: Snapshot
    change: SettingsChange | None


class SettingsUpdate:
    """The settings in force of one client: where they come from, and how they are replaced.

    Args:
        holder: The client.
        source: Where its settings come from, if it was told.
        hook: Called with what changed.

    Attributes:
        refreshes: Files put in force.
        origin: Where the file in force is from: ``given``, ``vwo`` or ``disk``.
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
        self.refreshes = 0
        self._failures = FailureLog("the settings stay as they are")
        self._begun = self._put = 0
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
        """How long ago VWO last gave the file in force, None where that is not known."""
        return None if self._fetched_at is None else max(time.monotonic() - self._fetched_at, 0.0)

    async def apply_from(
        self, fetch: Callable[[], Awaitable[bytes]], account_id: int | str, sdk_key: str
    ) -> bool:
        """Fetch the settings file and put it in force where it is another one; tell whether that succeeded.

        Raises:
            InvalidInputError: By *fetch*, where the account or key cannot be asked for.
        """
        self._begun += 1
        number, began_at = self._begun, time.monotonic()
        try:
            body = await fetch()
            async with self._lock:
                if number < self._put:
                    # Overtaken by a request that began later.
                    return True
                digest = await self._apply(body, account_id, sdk_key)
                self._put, self._fetched_at = number, began_at
        except InvalidInputError:
            raise
        except SettingsError as error:
            detail = str(error)[:MAX_DETAIL]
            self._failures.add("what VWO answered cannot be used", detail=detail)
            return False
        except DeliveryError as error:
            self._failures.add(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - the caller's transport or source may raise anything
            self._failures.add(f"refreshing them raised {type(error).__name__}")
            return False
        if self._source is not None and self._source.is_of(account_id, sdk_key):
            await self._source.keep(body, digest)
        return True

    async def _apply(self, body: bytes, account_id: int | str, sdk_key: str) -> bytes:
        """Put *body* in force, where it is another file; return its digest."""
        pace = Pace()
        try:
            prepared = await to_thread.run_sync(
                partial(self._prepare, body, account_id, sdk_key, pace), abandon_on_cancel=True
            )
        finally:
            pace.end()
        self.origin = VWO
        if prepared is None:
            return self._digest
        self._digest, self._holder.snapshot = prepared.digest, prepared.snapshot
        self.refreshes += 1
        log_info(
            "a settings file of %d campaigns is in force", len(prepared.snapshot.plan.campaigns)
        )
        if self._hook is not None and prepared.change:
            self._hook.call_soon(prepared.change)
        return prepared.digest

    def _prepare(
        self, body: bytes, account_id: int | str, sdk_key: str, pace: Pace
    ) -> _Prepared | None:
        """Return what *body* puts in force, None where it is to the letter the file in force."""
        digest = hashlib.sha256(body).digest()
        if digest == self._digest:
            return None
        settings = read_settings(body, account_id, sdk_key, pace)
        snapshot = self._holder.compile(settings, pace)
        if self._hook is None:
            return _Prepared(digest, snapshot, None)
        change = compare_settings(self._holder.snapshot.settings, settings, pause=pace)
        return _Prepared(digest, snapshot, change)
