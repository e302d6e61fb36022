"""Keeping the settings of one client fresh: by polling, when somebody asks, and never too often."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._delivery.transport.protocol import Fetcher
from .._error import InvalidInputError
from .._refresh.fetch import fetch_body
from .._refresh.poller import Poller
from .._refresh.source import SettingsSource
from .callback import Callback
from .options import Options
from .settings_update import SettingsUpdate, SnapshotHolder

if TYPE_CHECKING:
    from .._settings import Settings

# Between two refreshes of a client that has no source.
MIN_INTERVAL_S = 1.0


class SettingsRefresh:
    """The settings of one client over its life.

    Args:
        holder: The client.
        options: Launch options.
        make_transport: Returns a transport for settings files, where there is no source.

    Attributes:
        callback: The function that is called when settings changed, None where there is none.
        settings_update: What became of the settings so far.
    """

    def __init__(
        self, holder: SnapshotHolder, options: Options, make_transport: Callable[[], Fetcher]
    ) -> None:
        self._holder = holder
        self._options = options
        self._source = source = options.settings_source
        if source is not None:
            _check_source(source, holder.snapshot.settings)
        self._make_transport = make_transport if source is None else source.make_transport
        hook = options.on_settings_change
        self.callback = None if hook is None else Callback(hook, "on_settings_change")
        self.settings_update = SettingsUpdate(holder, source, self.callback)
        self._poller = Poller(
            self._refresh,
            min_interval_s=MIN_INTERVAL_S if source is None else source.min_refresh_interval_s,
            poll_interval_s=None if source is None else source.poll_interval_s,
        )
        # One for as long as the client lives, since loading certificates takes its time.
        self._transport: Fetcher | None = None

    def start(self) -> None:
        """Begin to poll, if that is wanted."""
        self._poller.start()

    async def refresh(self) -> bool:
        """Have the settings fetched as VWO's webhook asks, soon; tell whether that succeeded.

        Raises:
            InvalidInputError: It is not known with which key.
        """
        if self._source is None:
            self._read_key()
        return await self._poller.refresh(via_webhook=True)

    async def _refresh(self, via_webhook: bool) -> bool:
        source = self._source
        if self._transport is None:
            self._transport = self._make_transport()
        if source is None:
            account_id, key = self._holder.snapshot.settings.account_id, self._read_key()
        else:
            account_id, key = source.account_id, source.reveal_key()
        return await self._update_from(self._transport, account_id, key, via_webhook=via_webhook)

    async def update(
        self, account_id: int | str | None, sdk_key: str | None, *, via_webhook: bool
    ) -> bool:
        """Fetch the settings now, of that account and key; tell whether that succeeded.

        Raises:
            InvalidInputError: They cannot be asked for.
        """
        if account_id is None:
            account_id = self._holder.snapshot.settings.account_id
        transport = self._make_transport()
        try:
            key = self._read_key() if sdk_key is None else sdk_key
            return await self._update_from(transport, account_id, key, via_webhook=via_webhook)
        finally:
            await transport.aclose()

    async def _update_from(
        self, transport: Fetcher, account_id: int | str, sdk_key: str, *, via_webhook: bool
    ) -> bool:
        async def fetch() -> bytes:
            return await fetch_body(
                transport,
                account_id,
                sdk_key,
                sdk_name=self._options.sdk_name,
                sdk_version=self._options.sdk_version,
                via_webhook=via_webhook,
            )

        return await self.settings_update.apply_from(fetch, account_id, sdk_key)

    def _read_key(self) -> str:
        key = self._holder.snapshot.settings.sdk_key
        if key is None:
            raise InvalidInputError("account_id and sdk_key are required")
        return key.get_secret_value()

    def stop(self) -> None:
        """Refresh no more, and end what is under way."""
        self._poller.stop()

    async def aclose(self) -> None:
        """Come to rest."""
        self._poller.stop()
        await self._poller.settle()
        if self._transport is not None:
            await self._transport.aclose()

    def count(self) -> dict[str, Any]:
        """Return the statistics of the settings by their names."""
        settings_update, source = self.settings_update, self._source
        return {
            "settings_refreshes": settings_update.refreshes,
            "settings_errors": settings_update.errors,
            "settings_keep_errors": 0 if source is None else source.keep_errors,
            "settings_age_s": settings_update.age_s,
            "settings_origin": settings_update.origin,
        }


def _check_source(source: SettingsSource, settings: Settings) -> None:
    key = settings.sdk_key
    if not source.is_of(
        settings.account_id, source.reveal_key() if key is None else key.get_secret_value()
    ):
        raise InvalidInputError(
            "settings_source: is of another account or SDK key than the settings"
        )
