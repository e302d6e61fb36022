"""The address of a visitor behind proxies: never one that he made up, whatever he sends."""

from __future__ import annotations

import time
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_time import assert_below

from vwo_async import InvalidInputError
from vwo_async.integrations._address import TrustedProxies, read_address, read_node

PROXIES = TrustedProxies(["10.0.0.0/8", "192.0.2.1", "fd00::/8", ip_network("127.0.0.0/8")])
TABLE = [
    # peer, X-Forwarded-For, Forwarded, the visitor
    ("203.0.113.7", [], [], "203.0.113.7"),
    ("203.0.113.7", ["6.6.6.6"], ["for=6.6.6.6"], "203.0.113.7"),
    ("2001:db8::1", ["6.6.6.6"], [], "2001:db8::1"),
    ("fe80::1%eth0", ["6.6.6.6"], [], "fe80::1"),
    ("::ffff:203.0.113.7", ["6.6.6.6"], [], "203.0.113.7"),
    ("::ffff:10.0.0.1", ["203.0.113.7"], [], "203.0.113.7"),
    ("testclient", ["6.6.6.6"], [], None),
    ("", ["6.6.6.6"], [], None),
    (None, ["6.6.6.6"], [], None),
    ("10.0.0.1", [], [], None),
    ("10.0.0.1", [""], [""], None),
    ("10.0.0.1", ["203.0.113.7"], [], "203.0.113.7"),
    ("10.0.0.1", ["6.6.6.6, 203.0.113.7 ,10.2.3.4"], [], "203.0.113.7"),
    ("10.0.0.1", ["6.6.6.6", "203.0.113.7", "192.0.2.1"], [], "203.0.113.7"),
    ("10.0.0.1", ["6.6.6.6, 203.0.113.7:50123"], [], "203.0.113.7"),
    ("fd00::1", ["6.6.6.6, [2001:DB8::0:1]:443, fd00::2"], [], "2001:db8::1"),
    ("fd00::1", ["6.6.6.6, 2001:db8::1"], [], "2001:db8::1"),
    ("10.0.0.1", ["6.6.6.6, ::ffff:203.0.113.7"], [], "203.0.113.7"),
    # All of them are proxies: it is the one furthest away, of an inner network.
    ("10.0.0.1", ["10.9.9.9, 10.2.3.4"], [], "10.9.9.9"),
    ("10.0.0.1", ["203.0.113.7,,"], [], "203.0.113.7"),
    # What a proxy saw is not an address, and what is left of it is the visitor's word.
    ("10.0.0.1", ["203.0.113.7, unknown"], [], None),
    ("10.0.0.1", ["203.0.113.7, 1.2.3"], [], None),
    ("10.0.0.1", ["rubbish, 203.0.113.7"], [], "203.0.113.7"),
    ("10.0.0.1", ["203.0.113.7, 999.1.1.1"], [], None),
    ("10.0.0.1", ["203.0.113.7, \u0661.2.3.4"], [], None),
    ("10.0.0.1", ["\x00\xff, 203.0.113.7"], [], "203.0.113.7"),
    ("10.0.0.1", [], ["for=203.0.113.7"], "203.0.113.7"),
    ("10.0.0.1", [], ["For=6.6.6.6;by=10.0.0.9 , fOr = 203.0.113.7;proto=https"], "203.0.113.7"),
    ("10.0.0.1", [], ['for="[2001:db8::1]:4711", for=10.2.3.4;'], "2001:db8::1"),
    (
        "10.0.0.1",
        [],
        ["for=6.6.6.6", 'for="203.0.113.7:80";host="a, b; \\"for=6.6.6.6"'],
        "203.0.113.7",
    ),
    ("10.0.0.1", [], ["for=203.0.113.7, for=_hidden"], None),
    ("10.0.0.1", [], ["for=203.0.113.7, for=unknown"], None),
    ("10.0.0.1", [], ["for=203.0.113.7, by=10.0.0.9"], None),
    # A quote that the visitor opened and the proxy's part closed, or nobody.
    ("10.0.0.1", [], ['for="6.6.6.6, for=203.0.113.7'], None),
    ("10.0.0.1", [], ['for=6.6.6.6;x=", for="203.0.113.7"'], None),
    ("10.0.0.1", [], ["nonsense"], None),
    # Both headers: a proxy that writes one passes the other on.
    ("10.0.0.1", ["203.0.113.7"], ["for=203.0.113.7"], "203.0.113.7"),
    ("10.0.0.1", ["203.0.113.7"], ["for=6.6.6.6"], None),
    ("10.0.0.1", ["6.6.6.6"], ["for=203.0.113.7"], None),
]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "forwarded", "visitor"),
    TABLE,
    ids=[str(number) for number in range(len(TABLE))],
)
def test_the_visitor(
    peer: str | None, forwarded_for: list[str], forwarded: list[str], visitor: str | None
) -> None:
    """The right-most address that is no proxy's; none where that is not known."""
    assert PROXIES.find_client(peer, forwarded_for, forwarded) == visitor


def test_no_proxies_at_all() -> None:
    """Where visitors reach the service itself, headers say nothing."""
    none = TrustedProxies([])
    assert none.find_client("127.0.0.1", ["6.6.6.6"], ["for=6.6.6.6"]) == "127.0.0.1"


def test_a_proxy_behind_a_unix_socket() -> None:
    """A peer without an address is trusted where one says so, and no other is."""
    unix = TrustedProxies(["unix"])
    for peer in (None, ""):
        assert unix.find_client(peer, ["6.6.6.6, 203.0.113.7"], []) == "203.0.113.7"
    assert unix.find_client("127.0.0.1", ["6.6.6.6"], []) == "127.0.0.1"


def test_networks_may_be_written_in_any_way() -> None:
    """An address within a network stands for it, and IPv4 written as IPv6 is IPv4."""
    proxies = TrustedProxies(["10.1.2.3/8", "::ffff:192.0.2.0/120"])
    assert proxies.find_client("10.0.0.1", ["203.0.113.7, 192.0.2.9"], []) == "203.0.113.7"


@pytest.mark.parametrize("given", ["10.0.0.0/8", b"10.0.0.0/8", 7, None])
def test_one_network_is_no_list(given: object) -> None:
    """A text would be a list of letters."""
    with pytest.raises(InvalidInputError, match="must be a list of networks"):
        TrustedProxies(given)  # type: ignore[arg-type]


def test_what_is_no_network_is_named() -> None:
    """All wrong networks are in one error."""
    with pytest.raises(InvalidInputError, match=r"no network: \*, 10\.0\.0\.0/99, 7$"):
        TrustedProxies(["*", "10.0.0.0/8", "10.0.0.0/99", 7])  # type: ignore[list-item]


@given(
    spoof=st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    | st.text('for=",;[]:.\\ 16', max_size=60),
    header=st.sampled_from(["forwarded_for", "forwarded"]),
    seen=st.ip_addresses(),
)
def test_no_text_makes_up_an_address(spoof: str, header: str, seen: object) -> None:
    """Whatever a visitor sends, the proxy appends what it saw: that is found, or nothing is."""
    proxies = TrustedProxies(["10.0.0.0/8"])
    normal = read_address(str(seen))
    if normal is None or normal in ip_network("10.0.0.0/8"):
        return
    node = f'for="[{seen}]"' if ":" in str(seen) else f"for={seen}"
    chain = [f"{spoof}, {seen}"] if header == "forwarded_for" else []
    elements = [f"{spoof}, {node}"] if header == "forwarded" else []
    found = proxies.find_client("10.0.0.1", chain, elements)
    assert found == str(normal) or (header == "forwarded" and found is None)


@given(st.text(max_size=80))
def test_a_node_is_an_address_or_nothing(text: str) -> None:
    """No text raises, and what is found is an address in its one form."""
    found = read_node(text)
    assert found is None or found == ip_address(str(found))


@pytest.mark.parametrize(
    "text", [" ", ",", '"', ";", "for=1;", 'for="', "\\", "a=b ", "1.1.1.1,", "10.0.0.1,"]
)
def test_a_large_header_takes_no_time(text: str) -> None:
    """64 kB of anything are read in a time that grows with their number, and no faster."""
    header = text * (65_536 // len(text))
    began = time.process_time()
    PROXIES.find_client("10.0.0.1", [f"{header},6.6.6.6"], [f"{header},for=6.6.6.6"])
    assert_below(time.process_time() - began, 0.5)
