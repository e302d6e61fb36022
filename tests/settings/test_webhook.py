"""Webhooks: only a request with the secret in its header is VWO's, and no header can do harm."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from vwo_async import verify_webhook

SECRET = "s3cret-\u00e9\u4e16"
RAW = SECRET.encode()


class Odd:
    """A value whose repr and str raise."""

    def __str__(self) -> str:
        raise RuntimeError(SECRET)

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError(SECRET)

    __hash__ = object.__hash__


class Raising(Mapping[str, str]):
    """Headers that raise when they are read."""

    def __getitem__(self, key: str) -> str:
        raise RuntimeError(SECRET)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError(SECRET)

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("secret", [SECRET, RAW, bytearray(RAW)], ids=["str", "bytes", "bytearray"])
@pytest.mark.parametrize(
    "headers",
    [
        {"x-vwo-auth": SECRET},
        {"X-VWO-Auth": SECRET},
        {b"x-vwo-auth": RAW},
        {b"X-Vwo-AUTH": bytearray(RAW)},
        {"x-vwo-auth": RAW},
        {"Host": "shop", "x-vwo-auth": SECRET, "x-vwo-author": "x"},
        MappingProxyType({"x-vwo-auth": SECRET}),
        [("x-vwo-auth", SECRET)],
        [(b"host", b"shop"), (b"x-vwo-auth", RAW), (b"\xff", b"\xff")],
        ((b"x-vwo-auth", RAW),),
    ],
    ids=repr,
)
def test_vwo(headers: Any, secret: Any) -> None:
    """The secret is found under the name in any case, as text or bytes, in a mapping or in pairs."""
    assert verify_webhook(headers, secret) is True


def test_frameworks() -> None:
    """The headers of a Starlette request can be passed in both of their forms."""
    raw = [(b"host", b"shop"), (b"x-vwo-auth", b"s3cret")]
    assert verify_webhook(Headers(raw=raw), "s3cret") is True
    assert verify_webhook(raw, "s3cret") is True
    twice = [*raw, (b"x-vwo-auth", b"s3cret")]
    assert verify_webhook(Headers(raw=twice), "s3cret") is False


@pytest.mark.parametrize(
    "headers",
    [
        {},
        [],
        {"Host": "shop"},
        {"x-vwo-auth": ""},
        {"x-vwo-auth": b""},
        {"x-vwo-auth": None},
        {"x-vwo-auth": True},
        {"x-vwo-auth": 5},
        {"x-vwo-auth": [SECRET]},
        {"x-vwo-auth": Odd()},
        {"x-vwo-auth": SECRET[:-1]},
        {"x-vwo-auth": SECRET + "x"},
        {"x-vwo-auth": f" {SECRET}"},
        {"x-vwo-auth": SECRET.upper()},
        {"x-vwo-auth": SECRET + "\0"},
        {"x-vwo-auth": "\ud800"},
        {"x_vwo_auth": SECRET},
        {"authorization": SECRET},
        {"x-vwo-auth ": SECRET},
        {"x-vwo-auth": SECRET, "X-VWO-AUTH": SECRET},
        [("x-vwo-auth", SECRET), ("x-vwo-auth", SECRET)],
        [("x-vwo-auth", "x"), ("x-vwo-auth", SECRET)],
        [("x-vwo-auth", SECRET), ("x-vwo-auth", "")],
        [(b"x-vwo-auth", RAW), ("X-Vwo-Auth", SECRET)],
        [("x-vwo-auth", SECRET, "more")],
        ["x-vwo-auth"],
        "x-vwo-auth",
        None,
        5,
        Raising(),
        [(Odd(), SECRET)],
    ],
    ids=range(31),
)
def test_not_vwo(headers: Any) -> None:
    """Without the secret, or with the header more than once, a request is not VWO's; nothing is raised."""
    assert verify_webhook(headers, SECRET) is False


@pytest.mark.parametrize("secret", [None, "", b"", "\ud800", 5, True, [SECRET], Odd()])
@pytest.mark.parametrize("value", ["", b"", "None", SECRET, None, "5"])
def test_no_secret(secret: Any, value: Any) -> None:
    """If no secret is configured, no request is VWO's."""
    assert verify_webhook({"x-vwo-auth": value}, secret) is False


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a good nor a bad request is logged."""
    caplog.set_level(logging.DEBUG)
    verify_webhook({"x-vwo-auth": SECRET}, SECRET)
    verify_webhook({"x-vwo-auth": "guess"}, SECRET)
    verify_webhook(Raising(), SECRET)
    assert not caplog.records


texts = st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])), max_size=8)
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary(max_size=8)
)
names = st.one_of(
    anything, st.sampled_from(["x-vwo-auth", "X-VWO-AUTH", b"x-vwo-auth", b"X-Vwo-Auth"])
)


@given(
    st.one_of(
        st.dictionaries(names, anything, max_size=4),
        st.lists(st.tuples(names, anything), max_size=4),
        st.lists(anything, max_size=4),
        anything,
    ),
    st.one_of(texts, st.binary(max_size=8), st.none()),
)
def test_any_headers(headers: Any, secret: Any) -> None:
    """For any headers and secret nothing is raised, and only the secret itself is accepted."""
    found = verify_webhook(headers, secret)
    if found:
        pairs = headers.items() if isinstance(headers, dict) else headers
        values = [value for name, value in pairs if str(name).lower().find("x-vwo-auth") >= 0]
        assert secret
        wanted = secret.encode() if isinstance(secret, str) else secret
        assert [one.encode() if isinstance(one, str) else one for one in values] == [wanted]


@given(texts.filter(bool), st.booleans())
def test_any_secret(secret: str, in_bytes: bool) -> None:
    """Any secret that a header can hold is recognised."""
    try:
        raw = secret.encode()
    except UnicodeEncodeError:
        assert verify_webhook({"x-vwo-auth": secret}, secret) is False
        return
    headers: Any = {"x-vwo-auth": raw if in_bytes else secret}
    assert verify_webhook(headers, secret) is True
