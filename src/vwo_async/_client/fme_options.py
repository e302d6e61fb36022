"""Launch options of `FMEClient`: those of both clients, and its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._delivery.transport.brand import HOSTS, Brand, read_brand
from .._delivery.transport.intermediary import (
    Destination,
    GatewayService,
    read_gateway_service,
    read_proxy_url,
)
from .._delivery.transport.protocol import VWO_BASE_URL
from .._error import InvalidInputError
from .._log import log_warning
from .._refresh.source import FMESettingsSource
from .api_names import FME, FULLSTACK, awaiting_methods
from .option_readers import optional, read_bool, read_seconds
from .options import (
    Launch,
    Options,
    SharedLaunchOptions,
    option,
    read_launch_values,
    readers_of,
)


class FMELaunchOptions(SharedLaunchOptions, total=False):
    """The keyword arguments of `FMEClient`, for type checkers."""

    brand: Brand
    gateway_service: GatewayService | None
    gateway_timeout_s: float
    is_aliasing_enabled: bool
    proxy_url: str | None


@dataclass(frozen=True, slots=True)
class FMEOptions(Options):
    """Launch options of `FMEClient`, checked."""

    return_promise_for: frozenset[str] = option(awaiting_methods(FME, FULLSTACK), frozenset())
    """As for `Options`."""

    brand: Brand = option(read_brand, "vwo")
    """``vwo``, or ``wingify`` for an account of Wingify: whose hosts have the settings and take the events.
    ``base_url`` takes the place of both hosts."""

    gateway_service: Destination | None = option(optional(read_gateway_service), None)
    """Where VWO's gateway service runs: ``{"url": ..., "protocol": ..., "port": ...}``. It is asked what only
    it knows of a user, and takes all events and requests for settings."""

    gateway_timeout_s: float = option(read_seconds, 1.0)
    """How long one call waits for the gateway service at most, for all that it asks there."""

    is_aliasing_enabled: bool = option(read_bool, False)
    """Whether the id of each user may be an alias, of which the gateway service knows the user."""

    proxy_url: Destination | None = option(optional(read_proxy_url), None)
    """URL of a proxy that takes requests in VWO's place and passes them on; a path in it does not count. With
    a gateway service it is not used. An ordinary HTTP proxy is the option ``proxy``."""

    # What follows from them.

    settings_url: str = VWO_BASE_URL
    """Where VWO has the settings; `base_url` is where events go."""

    @property
    def destination(self) -> Destination:
        """Where events go."""
        return self.gateway_service or self.proxy_url or Destination(self.base_url)

    @property
    def settings_destination(self) -> Destination:
        """Where requests for settings go."""
        return self.gateway_service or self.proxy_url or Destination(self.settings_url)


_READERS = readers_of(FMEOptions)
_LAUNCH = Launch(
    FME.client,
    {name: _READERS[name] for name in FMELaunchOptions.__annotations__},
    dict.fromkeys(_READERS.keys() - FMELaunchOptions.__annotations__, FULLSTACK.client),
)


def read_fme_options(given: Mapping[str, Any]) -> FMEOptions:
    """Return checked options of an `FMEClient`.

    Raises:
        InvalidInputError: See `read_options`; also for options of FullStack alone.
    """
    options = _find_hosts(FMEOptions(**read_launch_values(given, _LAUNCH)), given)
    if options.gateway_service is None:
        if options.is_aliasing_enabled:
            raise InvalidInputError("is_aliasing_enabled: needs gateway_service")
        return options
    if options.proxy_url is not None:
        log_warning("proxy_url is not used, since there is a gateway_service")
    if options.batch_events is not None:
        log_warning("batch_events is not used: the gateway service makes batches itself")
        return replace(options, batch_events=None)
    return options


def _find_hosts(options: FMEOptions, given: Mapping[str, Any]) -> FMEOptions:
    """Return the options with the hosts that follow from them.

    Raises:
        InvalidInputError: The settings source is one of the other brand.
    """
    if given.get("base_url") is not None:
        return replace(options, settings_url=options.base_url)
    source, brand = options.settings_source, options.brand
    is_direct = options.gateway_service is None and options.proxy_url is None
    if is_direct and isinstance(source, FMESettingsSource) and source.brand not in (None, brand):
        raise InvalidInputError(
            f"brand: is {brand!r}, and that of settings_source {source.brand!r}"
        )
    hosts = HOSTS[brand]
    return replace(options, base_url=hosts.events_url, settings_url=hosts.settings_url)
