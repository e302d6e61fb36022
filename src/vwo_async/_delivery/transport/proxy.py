"""The address of a proxy, read the same way for every transport."""

from __future__ import annotations

from base64 import b64encode
from importlib.util import find_spec
from typing import NamedTuple

from ..._error import InvalidInputError
from .protocol import is_reachable

HTTP_SCHEMES = ("http", "https")
SOCKS_SCHEMES = ("socks5", "socks5h")
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


class ProxyAddress(NamedTuple):
    """Where a proxy is, and as whom to use it.

    Attributes:
        scheme: ``http``, ``https``, ``socks5`` or ``socks5h``.
        host: Its name or address in ASCII; of IPv6 without brackets.
        port: Its port.
        auth: User name and password in UTF-8, None for none.
    """

    scheme: str
    host: str
    port: int
    auth: tuple[bytes, bytes] | None

    @property
    def url(self) -> str:
        """Its URL without user name and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def answers_for(self, scheme: str) -> bool:
        """Tell whether it may answer for a server of that *scheme*: without a tunnel it reads what is sent."""
        return scheme == "http" and self.scheme in HTTP_SCHEMES

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries user name and password, where there are any."""
        if self.auth is None:
            return {}
        return {"Proxy-Authorization": f"Basic {b64encode(b':'.join(self.auth)).decode()}"}

    def __repr__(self) -> str:
        return f"<ProxyAddress {self.scheme}>"


def read_proxy(proxy: str, *, has_socks: bool = True) -> ProxyAddress:
    """Return the address that the URL *proxy* names.

    Args:
        proxy: ``scheme://host:port``, with ``user:password@`` before the host where it is asked for.
        has_socks: Whether the transport can speak SOCKS.

    Raises:
        InvalidInputError: It is no such URL, or the transport cannot use it. The text never holds the URL.
    """
    from httpx import URL  # noqa: PLC0415 - not before it is needed

    try:
        url = URL(proxy)
        scheme, host, port = url.scheme, url.raw_host.decode("ascii"), url.port
        auth = (url.username.encode(), url.password.encode()) if url.userinfo else None
    except Exception:  # noqa: BLE001 - whatever it is
        # What a parser says of a text may repeat it, with the password in it.
        raise InvalidInputError("must be a URL like http://user:password@host:3128") from None
    if scheme in SOCKS_SCHEMES:
        _check_socks(has_socks)
    elif scheme not in HTTP_SCHEMES:
        raise InvalidInputError("must begin with http://, https:// or socks5://")
    if not is_reachable(host, port) or url.path.strip("/") or url.query or url.fragment:
        raise InvalidInputError("must be scheme, host and port, with at most user and password")
    return ProxyAddress(scheme, host, port or _PORTS[scheme], auth)


def _check_socks(has_socks: bool) -> None:
    if not has_socks:
        raise InvalidInputError("this transport needs a proxy of http:// or https://")
    if find_spec("socksio") is None:
        raise InvalidInputError("a SOCKS proxy needs a package: pip install httpx[socks]")
