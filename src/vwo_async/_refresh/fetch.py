"""Fetching the settings file from VWO."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import to_thread

from .._delivery.answer import Answer, Failure, is_temporary
from .._delivery.request import Request
from .._delivery.transport.brand import Brand, find_fme_address
from .._delivery.transport.by_name import load_transport, make_fetcher
from .._delivery.transport.config import TransportConfig
from .._delivery.transport.fault import describe_fault
from .._delivery.transport.intermediary import GatewayService, find_destination
from .._delivery.transport.protocol import VWO_BASE_URL, Fetcher, Timeouts, choose_base_url
from .._error import DeliveryError, InvalidInputError, SettingsError, VWOError, without_frames
from .._observer import Observer
from .._plain import to_plain
from .._sdk_key import SdkKey
from .._settings.endpoint import FME, FULLSTACK, SettingsEndpoint
from .._settings.size_limit import MAX_SETTINGS_BYTES
from .._user import read_text
from .._version import PACKAGE_NAME, USER_AGENT, __version__
from .gil_pause import GilPause
from .observed_fetch import check_observers, watch_fetcher

if TYPE_CHECKING:
    from .._settings import FMESettings, Settings

# An account has a dozen digits at most; the text of a huge number would take long.
MAX_ACCOUNT_BITS = 256
_SettingsT = TypeVar("_SettingsT", "Settings", "FMESettings")


async def fetch_settings(
    account_id: int | str,
    sdk_key: str,
    *,
    via_webhook: bool = False,
    base_url: str | None = None,
    timeouts: Timeouts | None = None,
    ssl_context: ssl.SSLContext | None = None,
    proxy: str | None = None,
    observers: Iterable[Observer] = (),
) -> Settings:
    """Return the settings file that VWO holds for an account and environment.

    Args:
        account_id: The VWO account.
        sdk_key: The key of the environment.
        via_webhook: Whether to fetch from the address that is meant for calls of VWO's webhook.
        base_url: Where VWO is: https, or http on a loopback host. None: at VWO's own address.
        timeouts: Limits of the request.
        ssl_context: To trust other certificates; verification cannot be turned off.
        proxy: URL of an HTTP proxy. Proxy variables of the environment are not read.
        observers: Are told of the request, see `vwo_async.observer`; the client has observers of its own.

    Raises:
        InvalidInputError: An argument cannot be used.
        DeliveryError: VWO could not be reached, or refused.
        SettingsError: The answer is not a settings file of this account and key, or it is too large.
    """
    try:
        return await _fetch_checked(
            FULLSTACK,
            account_id,
            sdk_key,
            TransportConfig(choose_base_url(base_url), timeouts, USER_AGENT, ssl_context, proxy),
            via_webhook=via_webhook,
            observers=observers,
        )
    finally:
        # Tools that report errors show the locals of each frame.
        del sdk_key, proxy


async def fetch_fme_settings(
    account_id: int | str,
    sdk_key: str,
    *,
    via_webhook: bool = False,
    brand: Brand = "vwo",
    base_url: str | None = None,
    timeouts: Timeouts | None = None,
    ssl_context: ssl.SSLContext | None = None,
    proxy: str | None = None,
    gateway_service: GatewayService | None = None,
    proxy_url: str | None = None,
    observers: Iterable[Observer] = (),
) -> FMESettings:
    """Return the v2 settings file that VWO FME holds for an account and environment, for an `FMEClient`.

    See `fetch_settings` for the arguments and errors. ``brand="wingify"`` fetches from Wingify's host in place
    of VWO's; ``base_url`` takes the place of both. See the launch options for ``gateway_service`` and
    ``proxy_url``, which take the place of all.
    """
    try:
        address = find_fme_address(brand, base_url)
        address, allows_http = find_destination(address, gateway_service, proxy_url)
        return await _fetch_checked(
            FME,
            account_id,
            sdk_key,
            TransportConfig(address, timeouts, USER_AGENT, ssl_context, proxy, allows_http),
            via_webhook=via_webhook,
            observers=observers,
        )
    finally:
        del sdk_key, proxy


async def _fetch_checked(
    endpoint: SettingsEndpoint[_SettingsT],
    account_id: int | str,
    sdk_key: str,
    config: TransportConfig,
    *,
    via_webhook: bool,
    observers: object,
) -> _SettingsT:
    try:
        key = SdkKey.read(sdk_key)
    finally:
        del sdk_key
    account_id = read_account(account_id)
    check_via_webhook(via_webhook)
    told = check_observers(observers)
    try:
        return await _fetch(endpoint, config, account_id, key, told, via_webhook=via_webhook)
    except VWOError as error:
        failure = error
    raise without_frames(failure)


async def _fetch(
    endpoint: SettingsEndpoint[_SettingsT],
    config: TransportConfig,
    account_id: int | str,
    sdk_key: SdkKey,
    observers: Sequence[Observer],
    *,
    via_webhook: bool,
) -> _SettingsT:
    # The first import of a transport would block the event loop for too long.
    await to_thread.run_sync(load_transport, "httpx")
    transport = watch_fetcher(make_fetcher(config), observers, endpoint.product, config.base_url)
    try:
        body = await fetch_body(
            transport,
            account_id,
            sdk_key,
            via_webhook=via_webhook,
            endpoint=endpoint,
            base_url=config.base_url,
        )
    finally:
        await transport.aclose()
    return await to_thread.run_sync(endpoint.read, body, account_id, sdk_key, GilPause())


def read_account(account_id: object) -> int | str:
    """Return the account that a caller gave, as a plain value.

    Raises:
        InvalidInputError: It is no whole number and no text, or cannot be sent.
    """
    plain = to_plain(account_id)
    if type(plain) is int and plain.bit_length() < MAX_ACCOUNT_BITS:
        return plain
    if type(plain) is not str or not plain:
        raise InvalidInputError("account_id must be a number or a text")
    return read_text(plain, "account_id")


def check_via_webhook(via_webhook: object) -> None:
    """Refuse what is no bool.

    Raises:
        InvalidInputError: It is none.
    """
    if type(to_plain(via_webhook)) is not bool:
        raise InvalidInputError("via_webhook must be True or False")


async def fetch_body(
    transport: Fetcher,
    account_id: int | str,
    sdk_key: SdkKey,
    *,
    sdk_name: str = PACKAGE_NAME,
    sdk_version: str = __version__,
    via_webhook: bool,
    endpoint: SettingsEndpoint[Any] = FULLSTACK,
    base_url: str = VWO_BASE_URL,
) -> bytes:
    """Return the body of VWO's answer to a request for the settings file.

    *base_url* is where *transport* asks, to be named where nobody answers.

    Raises:
        DeliveryError: VWO could not be reached, or refused.
        SettingsError: The answer is empty, or larger than any settings file.
    """
    target = endpoint.make_target(
        account_id, sdk_key, sdk_name, sdk_version, via_webhook=via_webhook
    )
    answer, body = await transport.fetch(Request("GET", target), MAX_SETTINGS_BYTES)
    if answer.status != 200:
        text = f"the settings could not be fetched: {_describe(answer, base_url)}"
        raise DeliveryError(text, answer.status) from answer.fault
    if not body:
        raise SettingsError(f"the answer is empty, or larger than {MAX_SETTINGS_BYTES} bytes")
    return body


# What a status says about who has to do something; others are named by their number.
_STATUSES = {
    401: "VWO refused the account id or the SDK key",
    403: "VWO refused the account id or the SDK key",
    404: "VWO knows no such account or SDK key, or base_url is not VWO's",
    407: "a proxy on the way wants other credentials",
    429: "VWO is asked too often",
}


NOT_MODIFIED = 304
_NO_CONNECTION = "no connection came about, for want of a network, name, valid certificate or proxy"
_NO_END = "the connection broke, or what answered does not speak HTTP"


def _describe(answer: Answer, base_url: str) -> str:
    status = answer.status
    if status is None:
        is_sent = answer.failure is not Failure.NOT_SENT
        words = _NO_END if is_sent else _NO_CONNECTION
        where = "VWO" if base_url == VWO_BASE_URL else base_url
        return f"no answer from {where}: {describe_fault(answer.fault, is_sent=is_sent) or words}"
    if status < 300 or status == NOT_MODIFIED:
        return f"VWO answered without a settings file (status {status})"
    if status < 400:
        return f"redirected, which is not followed (status {status}): check base_url"
    words = _STATUSES.get(status, "VWO has a fault" if status >= 500 else "VWO refused")
    return f"{words} (status {status})"


def may_pass(error: DeliveryError | SettingsError) -> bool:
    """Tell whether a fetch that failed so may succeed a moment later."""
    if isinstance(error, SettingsError):
        # An error page with status 200, or a file that was cut off.
        return True
    status = error.status_code
    return status is None or is_temporary(status)
