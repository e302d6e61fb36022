"""Who may steer the collector and read what it received: no foreign page, and no stranger without a token."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs

__all__ = ["TOKEN_HEADER", "Guard", "is_loopback"]

TOKEN_HEADER = "x-collector-token"  # noqa: S105 - the name of a header
_TOKEN = re.compile(r"[!-~]+")
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\s:@/\[\]]+)(:[0-9]*)?")
_FORWARDED_HOST = re.compile(r"(?i)\bhost=(\"[^\"]*\"|[^;,\s]*)")
_FOREIGN_PAGE = "a page of another origin may neither steer nor read the collector, nor send events"
_FOREIGN_HOST = "the Host header, and those of a proxy, must name this machine"
_SAME = frozenset({"same-origin", "none"})


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Decides about requests to ``/collector/...``.

    A browser lets any page send requests to this machine, and a page whose name was pointed at this
    machine may read the answers too. So what a browser sends for a page of another origin is refused,
    and a request must name this machine, or prove that it knows the token.

    Args:
        token: What a request has to show: as ``Authorization: Bearer``, as ``X-Collector-Token`` or as
            ``?token=``. None where the collector listens on loopback only.

    Raises:
        ValueError: The token is no text of visible ASCII characters, which a header can hold.
    """

    def __init__(self, token: str | None) -> None:
        if token is not None and not (isinstance(token, str) and _TOKEN.fullmatch(token)):
            raise ValueError("token: must be a text of visible ASCII characters")
        self.token = token

    def find_fault(self, headers: Iterable[tuple[bytes, bytes]], query: bytes) -> str:
        """Return why a request may not steer or read, an empty text where it may."""
        named = _decode(headers)
        if not _is_same_origin(named):
            return _FOREIGN_PAGE
        if self._knows_token(named, query):
            return ""
        if self.token is not None:
            return f"needs the token that was printed at the start, as header {TOKEN_HEADER}"
        return "" if _names_this_machine(named) else _FOREIGN_HOST

    @staticmethod
    def find_sdk_fault(headers: Mapping[str, str]) -> str:
        """Return why a request may not be one of an SDK, an empty text where it may.

        Args:
            headers: Header values by lower-case name.
        """
        return "" if _is_same_origin(headers) else _FOREIGN_PAGE

    def find_page_fault(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return why the page may not be shown, an empty text where it may.

        It shows nothing by itself, so that it needs no token; what it then asks for does. A link to it on a
        foreign page may be followed.
        """
        if self.token is not None or _names_this_machine(_decode(headers)):
            return ""
        return _FOREIGN_HOST

    def _knows_token(self, headers: Mapping[str, str], query: bytes) -> bool:
        if self.token is None:
            return False
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        shown = (
            bearer,
            headers.get(TOKEN_HEADER, ""),
            # In a query it may be written in ASCII as well as in bytes.
            *parse_qs(query.decode("latin-1"), encoding="latin-1").get("token", []),
        )
        wanted = self.token.encode()
        return any(hmac.compare_digest(one.encode("latin-1", "replace"), wanted) for one in shown)


def _decode(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def _names_this_machine(headers: Mapping[str, str]) -> bool:
    return all(is_loopback(_split_host(one)) for one in _list_hosts(headers))


def _is_same_origin(headers: Mapping[str, str]) -> bool:
    if headers.get("sec-fetch-site", "none") not in _SAME:
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    # As a browser writes it: anything else is no origin of a page.
    scheme, separator, netloc = origin.partition("://")
    host = headers.get("host", "").lower()
    return bool(separator) and scheme in {"http", "https"} and netloc.lower() == host


def _list_hosts(headers: Mapping[str, str]) -> list[str]:
    """Return which hosts a request was meant for, in its own words and in those of proxies on the way."""
    forwarded = headers.get("x-forwarded-host", "").split(",")
    forwarded += [one.strip('"') for one in _FORWARDED_HOST.findall(headers.get("forwarded", ""))]
    return [one for one in (headers.get("host", ""), *(name.strip() for name in forwarded)) if one]


def _split_host(host: str) -> str:
    """Return the host of a Host header without its port and brackets, empty for what is none."""
    found = _HOST.fullmatch(host)
    return found["name"].strip("[]") if found else ""
