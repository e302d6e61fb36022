"""Who may steer the collector and read what it received: no foreign page, and no stranger without a token."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs

__all__ = ["TOKEN_HEADER", "Guard", "is_loopback"]

TOKEN_HEADER = "x-collector-token"  # noqa: S105 - the name of a header
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\s:@/\[\]]+)(:[0-9]*)?")
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
    """

    def __init__(self, token: str | None) -> None:
        self.token = token

    def find_fault(self, headers: Iterable[tuple[bytes, bytes]], query: bytes) -> str:
        """Return why a request may not steer or read, an empty text where it may."""
        named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
        host = named.get("host", "")
        if not _is_same_origin(named, host):
            return "a page of another origin may not steer or read the collector"
        if self._knows_token(named, query):
            return ""
        if self.token is not None:
            return f"needs the token that was printed at the start, as header {TOKEN_HEADER}"
        if host and not is_loopback(_split_host(host)):
            return "the Host header must name this machine"
        return ""

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


def _is_same_origin(headers: Mapping[str, str], host: str) -> bool:
    if headers.get("sec-fetch-site", "none") not in _SAME:
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    # As a browser writes it: anything else is no origin of a page.
    scheme, separator, netloc = origin.partition("://")
    return bool(separator) and scheme in {"http", "https"} and netloc.lower() == host.lower()


def _split_host(host: str) -> str:
    """Return the host of a Host header without its port and brackets, empty for what is none."""
    found = _HOST.fullmatch(host)
    return found["name"].strip("[]") if found else ""
