"""The address of a visitor whose request came through proxies, as far as these can be trusted.

Each proxy appends the address from which a request reached it, so the right end of a header is what the
nearest proxy saw, and everything beyond the first address that is no proxy's may have been made up by the
visitor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

from .._error import InvalidInputError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

UNIX = "unix"
"""A proxy that reaches the service through a Unix socket, and so has no address."""

# The longest text of an IPv6 address, with a zone.
_MAX_ADDRESS_LENGTH = 64
_MAPPED_BITS = 96
# An address with a port, as some proxies write it; a bare IPv6 address is none of these.
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[\w.-]{1,40})?", re.ASCII)
# One `name=value` of the header Forwarded (RFC 7239), with what ends it: a comma ends the element too.
_PAIR = re.compile(
    r'[\s,]*([^\s;,="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*(?:(,)|;\s*(,?))', re.ASCII
)
_ESCAPED = re.compile(r"\\(.)")


class TrustedProxies:
    """The proxies whose word about a visitor's address counts.

    Args:
        networks: Addresses and networks, as ``"10.0.0.0/8"`` or ``"fd00::/8"``, and ``"unix"`` for a proxy
            that reaches the service through a Unix socket. None at all where visitors reach the service
            itself.

    Raises:
        InvalidInputError: Some of them are none; the text names each.
    """

    def __init__(self, networks: Iterable[str | Network]) -> None:
        if isinstance(networks, (str, bytes)) or not isinstance(networks, Iterable):
            raise InvalidInputError("trusted_proxies must be a list of networks")
        given = list(networks)
        self._trusts_unix = UNIX in given
        read = {str(one): _read_network(one) for one in given if one != UNIX}
        wrong = [name for name, network in read.items() if network is None]
        if wrong:
            raise InvalidInputError(f"trusted_proxies: no network: {', '.join(wrong)}")
        self._networks = [network for network in read.values() if network is not None]

    def find_client(
        self, peer: str | None, forwarded_for: Sequence[str], forwarded: Sequence[str]
    ) -> str | None:
        """Return the address of the visitor, None where it is not known.

        Where both headers are there and disagree it is not known, since a proxy that writes one of them
        passes the other on as the visitor made it up.

        Args:
            peer: The address at the other end of the connection; None or empty for a Unix socket.
            forwarded_for: The headers ``X-Forwarded-For``, in order.
            forwarded: The headers ``Forwarded``, in order.
        """
        address = read_address(peer) if peer else None
        is_trusted = self._trusts(address) if peer else self._trusts_unix
        if not is_trusted:
            return None if address is None else str(address)
        chains = [read_forwarded_for(forwarded_for), read_forwarded(forwarded)]
        found = {self._find_in(chain) for chain in chains if chain}
        return found.pop() if len(found) == 1 else None

    def _find_in(self, chain: Sequence[str | None]) -> str | None:
        """Return the right-most address that is no proxy's; where all are proxies', the left-most."""
        address = None
        for node in reversed(chain):
            address = None if node is None else read_node(node)
            if not self._trusts(address):
                break
        return None if address is None else str(address)

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def read_forwarded_for(headers: Sequence[str]) -> list[str | None]:
    """Return the nodes of ``X-Forwarded-For``, in order."""
    return [node for node in ",".join(headers).split(",") if node.strip()]


def read_forwarded(headers: Sequence[str]) -> list[str | None]:
    """Return the ``for`` of each element of ``Forwarded``, in order; None where it has none.

    A header that is not well-formed says nothing: a quote that a visitor opens could hide what a proxy
    appends.
    """
    text = ",".join(headers).strip(" \t,")
    if not text:
        return []
    text += ","
    nodes: list[str | None] = []
    node, place = None, 0
    while place < len(text):
        pair = _PAIR.match(text, place)
        if pair is None:
            return [None]
        name, quoted, token, comma, late_comma = pair.groups()
        if name.lower() == "for":
            node = token if quoted is None else _ESCAPED.sub(r"\1", quoted)
        if comma or late_comma:
            nodes.append(node)
            node = None
        place = pair.end()
    return nodes


def read_node(text: str) -> Address | None:
    """Return the address in a node of either header, with or without port; None where there is none."""
    text = text.strip()
    found = _NODE.fullmatch(text)
    return read_address((found[1] or found[2]) if found else text)


def read_address(text: str) -> Address | None:
    """Return an address in its one form: no zone, and no IPv4 in the clothes of IPv6."""
    if len(text) > _MAX_ADDRESS_LENGTH:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _read_network(given: object) -> Network | None:
    if not isinstance(given, (str, IPv4Network, IPv6Network)):
        return None
    try:
        network = ip_network(given, strict=False)
    except ValueError:
        return None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:
        return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network
