"""What may stand between this SDK and VWO in the service's own network: a gateway service, or a forwarding proxy.

Both take the requests that are meant for VWO at an address of their own. Their options are named and written
as in the official FME SDKs. Unlike VWO itself they may be spoken to in plain HTTP, by whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict

from ..._error import InvalidInputError
from ..._plain import copy_mapping, is_kind, read_fields, to_plain
from .protocol import MAX_PORT, VWO_BASE_URL, check_base_url

SCHEMES = ("http", "https")


class GatewayService(TypedDict, total=False):
    """Where a gateway service is.

    Attributes:
        url: Its URL, or its host with or without a port. A path in it does not count.
        protocol: ``http`` or ``https``, where the URL has none; https by default.
        port: Its port, where the URL has none.
    """

    url: str
    protocol: str
    port: int


class Destination(NamedTuple):
    """Where requests that are meant for VWO go.

    Attributes:
        base_url: The address.
        allows_http: Whether that may be plain HTTP to another host.
    """

    base_url: str = VWO_BASE_URL
    allows_http: bool = False


def read_gateway_service(value: object) -> Destination:
    """Return where the gateway service is that *value*, a `GatewayService`, describes.

    Raises:
        InvalidInputError: It describes none. The text never holds the URL.
    """
    fields = _read_fields(value)
    protocol, port = fields.get("protocol"), fields.get("port")
    if protocol is not None and not (type(protocol) is str and protocol in SCHEMES):
        raise InvalidInputError("protocol must be 'http' or 'https'")
    if port is not None and not (type(port) is int and 1 <= port <= MAX_PORT):
        raise InvalidInputError(f"port must be a whole number from 1 to {MAX_PORT}")
    return _read_address(fields["url"], protocol or "https", port)


def _read_fields(value: object) -> dict[str, Any]:
    """Return what describes a gateway service, as plain values."""
    given = copy_mapping(value, "it") if is_kind(value, Mapping) else {}
    fields = read_fields(given, "it")
    is_known = len(fields) == len(given) and fields.keys() <= GatewayService.__annotations__.keys()
    url = fields.get("url")
    if not is_known or url is None or (type(url) is str and not url):
        raise InvalidInputError("must be a mapping with url, and perhaps protocol and port")
    return fields


def read_proxy_url(value: object) -> Destination:
    """Return where a proxy is that takes requests in VWO's place and passes them on.

    Raises:
        InvalidInputError: It is no such URL. The text never holds it.
    """
    return _read_address(value, "https", None)


def find_destination(
    base_url: str, gateway_service: GatewayService | None, proxy_url: str | None
) -> Destination:
    """Return where requests go: to the gateway service if there is one, else to the proxy, else to *base_url*.

    Raises:
        InvalidInputError: One of them cannot be used.
    """
    if gateway_service is not None:
        return _read_named("gateway_service", read_gateway_service, gateway_service)
    if proxy_url is not None:
        return _read_named("proxy_url", read_proxy_url, proxy_url)
    return Destination(base_url)


def _read_named(name: str, read: Callable[[object], Destination], value: object) -> Destination:
    try:
        return read(value)
    except InvalidInputError as error:
        fault = error
    raise InvalidInputError(f"{name}: {fault}")


def _read_address(value: object, scheme: str, port: int | None) -> Destination:
    plain = to_plain(value)
    if type(plain) is not str:
        raise InvalidInputError("the URL must be a str")
    text = plain.strip()
    found, separator, rest = text.partition("://")
    if separator:
        scheme, text = found.lower(), rest
    if scheme not in SCHEMES:
        raise InvalidInputError("the URL must begin with http:// or https://")
    # As in the official SDKs, what follows the host does not count.
    host = text.partition("/")[0]
    try:
        url = check_base_url(f"{scheme}://{host}", allows_http=True)
    except InvalidInputError:
        raise InvalidInputError("the URL must be scheme, host and at most a port") from None
    name = url.raw_host.decode()
    number = url.port or port
    shown = f"[{name}]" if ":" in name else name
    return Destination(
        f"{scheme}://{shown}" if number is None else f"{scheme}://{shown}:{number}", True
    )
