"""What the page remembers whom it counted by: a map that is as good as a dict, and has an end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vwo_async._collector.page.fingerprint import FingerprintMap

texts = st.text(st.characters(), max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts, st.integers(0, 254)), max_size=200))
def test_as_a_dict(pairs: list[tuple[str, int]]) -> None:
    """The first number of each text stays, whatever the text, also after a dump."""
    found, known = FingerprintMap(10_000), dict[str, int]()
    for text, number in pairs:
        assert found.put(text, number) == known.get(text)
        known.setdefault(text, number)
    again = FingerprintMap.load(found.dump(), 10_000)
    for one in (found, again):
        assert len(one) == len(known)
        assert {text: one.find(text) for text in known} == known
        assert one.find("not among them") is None


def test_many() -> None:
    """Tens of thousands are told apart, at 24 bytes each or fewer."""
    found = FingerprintMap(1_000_000)
    for number in range(30_000):
        assert found.put(f"visitor {number}", number % 255) is None
    for number in range(30_000):
        assert found.put(f"visitor {number}") == number % 255
    assert sum(len(one) * one.itemsize for one in found._shards) <= 24 * 30_000


def test_the_end() -> None:
    """What comes after the last is not remembered, and what came before stays."""
    found = FingerprintMap(2)
    assert [found.put(one) for one in ("a", "b", "c", "c", "a")] == [None, None, None, None, 0]
    assert found.is_full
    assert len(found) == 2


def test_a_broken_dump() -> None:
    """What is no dump is refused."""
    with pytest.raises(ValueError, match="multiple"):
        FingerprintMap.load(b"1234567", 10)
