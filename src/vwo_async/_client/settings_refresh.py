"""Keeps the settings of one client fresh: by polling and when somebody asks, but never too often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .._delivery.transport.protocol import Fetcher
from .._error import InvalidInputError
from .._refresh.fetch import check_via_webhook, fetch_body, read_account
from .._refresh.poller import Poller
from .._refresh.source import EMPTY, SettingsSource
from .._sdk_key import SdkKey
from .callback import Callback
from .options import Options
from .settings_update import SettingsUpdate, SnapshotHolder

# The least time between two refreshes of a client without a settings source.
MIN_INTERVAL_S = 1.0


class SettingsRefresh:
    """Refreshes the settings of one client while it is open.

    Args:
        holder: The client.
        options: Launch options.
        make_transport: Returns a transport for settings files.

    Attributes:
        callback: The hook that is called when settings have changed, or None.
        settings_update: Puts fetched files in force, and counts them.
    """

    def __init__(
        self, holder: SnapshotHolder, options: Options, make_transport: Callable[[], Fetcher]
    ) -> None:
        self._holder = holder
        self._options = options
        self._source = source = options.settings_source
        if source is not None:
            _check_source(source, holder)
        self._make_transport = make_transport
        hook = options.on_settings_change
        self.callback = None if hook is None else Callback(hook, "on_settings_change")
        self.settings_update = SettingsUpdate(holder, source, self.callback)
        self._poller = Poller(
            self._run_refresh,
            min_interval_s=MIN_INTERVAL_S if source is None else source.min_refresh_interval_s,
            find_interval_s=None if source is None else self._make_find_interval(source),
        )
        self._watching: asyncio.Task[None] | None = None
        # Kept for the life of the client, since loading certificates takes time.
        self._transport: Fetcher | None = None

    def _make_find_interval(self, source: SettingsSource) -> Callable[[], float] | None:
        if source.poll_interval_s is None:
            return None
        return lambda: source.find_poll_interval_s(self._holder.snapshot.settings)

    def start(self) -> None:
        """Start polling, if the settings source has a poll interval or there are no settings yet."""
        self._poller.start(lacks_settings=self.settings_update.origin == EMPTY)
        if self._source is not None and self._source.is_shared:
            self._watching = asyncio.create_task(
                self._source.watch(self._refresh_soon), name="vwo_async settings watch"
            )

    def _refresh_soon(self) -> None:
        """Have the poller fetch what another process has got."""
        self._poller.refresh_soon()

    async def refresh(self) -> bool:
        """Refresh the settings soon, as a call of VWO's webhook asks; tell whether that succeeded.

        Raises:
            InvalidInputError: The SDK key is not known.
        """
        if self._source is None:
            self._read_key()
        return await self._poller.refresh(via_webhook=True)

    async def _run_refresh(self, via_webhook: bool) -> bool:
        source = self._source
        if self._transport is None:
            self._transport = self._make_transport()
        if source is None:
            account_id, key = self._holder.snapshot.settings.account_id, self._read_key()
        else:
            account_id, key = source.account_id, source.sdk_key
        return await self._fetch_and_update(
            self._transport, account_id, key, via_webhook=via_webhook
        )

    async def refresh_now(
        self, account_id: int | str | None, sdk_key: str | None, *, via_webhook: bool
    ) -> bool:
        """Refresh the settings at once, from this account and key; tell whether that succeeded.

        Args:
            account_id: The account; None: that of the settings in force.
            sdk_key: The SDK key; None: that of the settings in force.
            via_webhook: See `fetch_body`.

        Raises:
            InvalidInputError: The account or key is missing or cannot be used.
        """
        check_via_webhook(via_webhook)
        in_force = self._holder.snapshot.settings
        account = in_force.account_id if account_id is None else read_account(account_id)
        transport = self._make_transport()
        try:
            key = self._read_key() if sdk_key is None else SdkKey.read(sdk_key)
            return await self._fetch_and_update(transport, account, key, via_webhook=via_webhook)
        finally:
            await transport.aclose()

    async def _fetch_and_update(
        self, transport: Fetcher, account_id: int | str, sdk_key: SdkKey, *, via_webhook: bool
    ) -> bool:
        asked = self._options.settings_source or self._options.settings_config

        async def fetch() -> bytes:
            return await fetch_body(
                transport,
                account_id,
                sdk_key,
                sdk_name=self._options.sdk_name,
                sdk_version=self._options.sdk_version,
                via_webhook=via_webhook,
                endpoint=self._holder.endpoint,
                base_url=asked.base_url,
            )

        return await self.settings_update.fetch_and_update(fetch, account_id, sdk_key)

    def _read_key(self) -> SdkKey:
        key: SdkKey | None = self._holder.snapshot.settings.sdk_key
        if key is None:
            raise InvalidInputError("account_id and sdk_key are required")
        return key

    def stop(self) -> None:
        """Stop polling and cancel running refreshes."""
        self._poller.stop()
        if self._watching is not None:
            self._watching.cancel()

    async def aclose(self) -> None:
        """Stop, and wait until nothing runs any more."""
        self.stop()
        await self._poller.settle()
        if self._watching is not None:
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._transport is not None:
            await self._transport.aclose()

    def count(self) -> dict[str, Any]:
        """Return the statistics about the settings by name."""
        settings_update, source = self.settings_update, self._source
        return {
            "settings_refreshes": settings_update.updates,
            "settings_errors": settings_update.errors,
            "settings_keep_errors": 0 if source is None else source.keep_errors,
            "settings_age_s": settings_update.age_s,
            "settings_origin": settings_update.origin,
        }


def _check_source(source: SettingsSource, holder: SnapshotHolder) -> None:
    if source.endpoint is not holder.endpoint:
        raise InvalidInputError(
            "settings_source: is for the other product: VWOClient takes a SettingsSource, FMEClient an"
            " FMESettingsSource"
        )
    settings = holder.snapshot.settings
    key = settings.sdk_key
    if not source.is_for(settings.account_id, source.sdk_key if key is None else key):
        raise InvalidInputError(
            "settings_source: is for another account or SDK key than the settings"
        )
