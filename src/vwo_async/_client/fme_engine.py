"""What the API methods of an `FMEClient` work with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from .._delivery.transport.protocol import Fetcher
from .._flag import Flag
from .._log import is_debugging
from .._reason import Reason
from .._refresh.gil_pause import GilPause
from .._settings.endpoint import FME
from .._storage.fme_record import read_feature_row
from .engine import ClientEngine
from .fme_lookup import AliasCache, Lookup
from .fme_options import FMEOptions
from .fme_snapshot import FMESnapshot
from .fme_user import CallUser
from .gateway import Gateway

if TYPE_CHECKING:
    from .._settings import FMESettings


class FMEEngine(ClientEngine[FMESnapshot]):
    """What the API methods of an `FMEClient` work with.

    Args:
        settings: The v2 settings file in force at first.
        options: Launch options.

    Attributes:
        has_aliases: Whether the id of a user may be an alias.
        has_quick_path: Whether deciding has nothing to wait for.
        has_integration: Whether there is a callback to tell of decisions and events.
    """

    endpoint = FME
    product = "fme"

    def __init__(self, settings: FMESettings, options: FMEOptions) -> None:
        source = options.settings_source
        plan = None if source is None else source.take_plan(settings)
        snapshot = FMESnapshot(settings, options, time.time, plan=plan)
        super().__init__(snapshot, options, read_feature_row)
        self._fme_options = options
        self._gateway: Gateway | None = None
        if options.gateway_service is not None:
            config = options.transport_config
            self._gateway = Gateway(config, options.gateway_timeout_s, self._watch_gateway)
        self._aliases = AliasCache() if options.is_aliasing_enabled else None
        self._is_start_reported = False
        self.has_aliases = self._aliases is not None
        self.has_quick_path = self.storage is None and self._gateway is None
        self.has_integration = self._integration is not None
        self._start_kept: Awaitable[bool] | None = None

    def _watch_gateway(self, fetcher: Fetcher) -> Fetcher:
        base_url = self.options.destination.base_url
        return self.observation.watch_fetcher(fetcher, "gateway", base_url)

    def compile(self, settings: FMESettings, pause: GilPause) -> FMESnapshot:
        """Return what would be in force with *settings*; may take a while and may run in a thread."""
        like = self.snapshot.plan
        return FMESnapshot(settings, self._fme_options, time.time, pause=pause, like=like)

    def make_lookup(self) -> Lookup:
        """Return what one call asks the gateway by; it asks nothing by itself."""
        return Lookup(
            self._gateway,
            self.snapshot.settings.account_id,
            self.snapshot.account,
            self._aliases,
            self._fme_options.gateway_timeout_s,
        )

    async def find_user(self, user: CallUser, lookup: Lookup | None = None) -> CallUser | None:
        """Return the user about whom a call is, by his own id; None where he may not be decided about.

        Args:
            user: The user as the caller names him.
            lookup: The call's; needed where there are aliases.
        """
        consent = self.consent
        if consent.is_asked and await consent.refuses(user.id):
            return None
        if lookup is None or not self.has_aliases:
            return user
        own = await lookup.name_user(user)
        if own is not user and consent.is_asked and await consent.refuses(own.id):
            return None
        return own

    @property
    def answers_at_once(self) -> bool:
        """Whether deciding has nothing to wait for."""
        return self._gateway is None and super().answers_at_once

    async def close_lookups(self) -> None:
        """Ask the gateway nothing any more."""
        if self._gateway is not None:
            await self._gateway.aclose()

    def count_lookup_errors(self) -> int:
        """Return how many questions the gateway did not answer."""
        return 0 if self._gateway is None else self._gateway.errors

    def on_started(self) -> None:
        """Report that a client has started, once it has settings, unless VWO knows the SDKs of this account."""
        if self._is_start_reported or self.lacks_settings:
            return
        self._is_start_reported = True
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

    def on_updated(self) -> None:
        """Report the start now, if there were no settings before."""
        super().on_updated()
        if self.loop is not None:
            self.on_started()

    def tell_integration(self, payload: dict[str, Any]) -> None:
        """Tell the integrations callback of a decision or an event."""
        if self._integration is not None:
            self._integration.call(payload)

    def observe(self, api: str, flag: Flag, user_id: object) -> None:
        """Tell observers and log, if any want to know, of a decision."""
        if not (self.is_observed or is_debugging()):
            return
        name = None if flag.variation is None else flag.variation.name
        is_known = flag.reason not in (Reason.FEATURE_NOT_FOUND, Reason.INVALID_INPUT)
        state = flag.is_enabled() if is_known else None
        settings = self.snapshot.settings
        self.observation.tell(settings, api, flag.key, user_id, flag.reason, state, name)
