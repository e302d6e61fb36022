"""The visitor id: section 20 of docs/reference.md."""

from __future__ import annotations

from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vwo_async._core.visitor import make_namer, make_namespace

UUIDS: list[tuple[str, int | str, str]] = [
    ("Ashley", 888888, "A46F7AA3A53150368683EE064793BAFD"),
    ("użytkownik", 888888, "A0F7F27993AC5A2B903523DB4BFDC3DC"),
    ("🙂", "888888", "CE9084A1606A567E91227BB53C65E406"),
    ("1", 1, "21E4CB4CC298510CB1DD917040920C5E"),
]


@pytest.mark.parametrize(("user_id", "account_id", "expected"), UUIDS)
def test_visitor_id(user_id: str, account_id: int | str, expected: str) -> None:
    """The visitor id is that of the official SDKs."""
    assert make_namer(make_namespace(account_id))(user_id.encode()) == expected


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.one_of(st.integers(), st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_visitor_id_is_uuid5(user_id: str, account_id: int | str) -> None:
    """For any user id and account the visitor id is the standard library's version 5 UUID, without dashes."""
    namespace = make_namespace(account_id)
    expected = uuid5(UUID(bytes=namespace), user_id).hex.upper()
    assert make_namer(namespace)(user_id.encode()) == expected


def test_account_id_spelling() -> None:
    """An account has the same namespace whether its id is a number or text."""
    assert make_namespace(888888) == make_namespace("888888")
    assert make_namespace("0888888") != make_namespace("888888")
