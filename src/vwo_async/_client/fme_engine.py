"""What the API methods of an `FMEClient` work with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from .._refresh.gil_pause import GilPause
from .._settings.endpoint import FME
from .._storage.fme_record import read_feature_row
from .engine import ClientEngine
from .fme_snapshot import FmeSnapshot
from .options import Options

if TYPE_CHECKING:
    from .._settings import FMESettings


class FmeEngine(ClientEngine[FmeSnapshot]):
    """That of VWO FME.

    Args:
        settings: The v2 settings file in force at first.
        options: Launch options.
    """

    endpoint = FME

    def __init__(self, settings: FMESettings, options: Options) -> None:
        source = options.settings_source
        plan = None if source is None else source.take_plan(settings)
        snapshot = FmeSnapshot(settings, options, time.time, plan=plan)
        super().__init__(snapshot, options, read_feature_row)
        self._start_kept: Awaitable[bool] | None = None

    def compile(self, settings: FMESettings, pause: GilPause) -> FmeSnapshot:
        """Return what would be in force with *settings*; may take a while and may run in a thread."""
        return FmeSnapshot(settings, self.options, time.time, pause=pause)

    def on_started(self) -> None:
        """Report that a client has started, unless VWO knows the SDKs of this account."""
        snapshot = self.snapshot
        if not snapshot.settings.sdk_meta_info.was_initialized_earlier:
            receipts = self.reporter.put([snapshot.event_factory.make_initialized()])
            self._start_kept = self.reporter.keep(receipts)

    async def opened(self) -> None:
        """Wait until the outbox is open, and has the report of the start.

        Raises:
            OutboxError: It cannot be opened.
        """
        await super().opened()
        if self._start_kept is not None:
            # Whoever else opens it waits for the same.
            await asyncio.shield(self._start_kept)
            self._start_kept = None

    def tell_integration(self, payload: dict[str, Any]) -> None:
        """Tell the integrations callback of a decision or an event."""
        if self._integration is not None:
            self._integration.call(payload)

    @property
    def has_integration(self) -> bool:
        """Whether there is a callback to tell."""
        return self._integration is not None
