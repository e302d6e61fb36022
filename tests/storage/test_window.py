"""How much a storage is asked at a time: less where it is too late, and more again where it is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vwo_async._storage.window import LEAST, Window

MOST, TIMEOUT_S = 256, 1.0
# How long an answer takes that has waited for nothing.
QUICK_S = 0.002
_LATE = st.tuples(st.just("late"), st.floats(0, 10))
_ANSWER = st.tuples(st.integers(1, 64), st.floats(0.0001, TIMEOUT_S))


def make_narrow() -> Window:
    """Return a window of which a part was answered too late."""
    window = Window(MOST, TIMEOUT_S)
    for asked_at in range(5):
        window.note_late(asked_at, asked_at + TIMEOUT_S)
    assert window.size == LEAST
    return window


def answer(window: Window, took_s: float, waited_s: float = 0.0, *, times: int = 1) -> None:
    """Have full rounds answered soon after all that was late."""
    for _ in range(times):
        window.note_answer(min(window.size, 64), took_s, waited_s, 5.9)


@given(st.lists(st.one_of(_LATE, _ANSWER)))
def test_something_is_always_asked(events: list[tuple[str | int, float]]) -> None:
    """It never closes, and is never wider than at first."""
    window = Window(MOST, TIMEOUT_S)
    for what, time_s in events:
        if isinstance(what, int):
            window.note_answer(what, time_s, time_s / 2, time_s)
        else:
            window.note_late(time_s, time_s)
        assert LEAST <= window.size <= MOST


def test_what_was_late_together_counts_once() -> None:
    """Requests that left before the window shrank say nothing of what it is now."""
    window = Window(MOST, TIMEOUT_S)
    window.note_late(asked_at=1.0, now=2.0)
    shrunk = window.size
    assert shrunk < MOST
    window.note_late(asked_at=1.5, now=2.1)
    assert window.size == shrunk
    window.note_late(asked_at=2.0, now=3.0)
    assert window.size < shrunk


def test_quick_answers_open_it() -> None:
    """After some hundred requests that are answered as quickly as ever it is as wide as at first."""
    window = make_narrow()
    answer(window, QUICK_S, times=30)
    assert not window.is_narrow


def test_time_opens_it() -> None:
    """Where hardly anything is asked, and nothing is late for some seconds, it is as wide as at first."""
    window = make_narrow()
    for now in range(6, 13):
        window.note_answer(1, QUICK_S, 0, now)
    assert not window.is_narrow


def test_a_storage_that_is_far_away_is_not_slow() -> None:
    """Where answers take as long though hardly anything is asked, it opens, and stays so for a while."""
    window = make_narrow()
    answer(window, 0.8, waited_s=0.8, times=7)
    assert window.is_narrow
    answer(window, 0.8, waited_s=0.8)
    assert not window.is_narrow
    window.note_late(asked_at=20, now=21)
    assert not window.is_narrow
    window.note_late(asked_at=60, now=61)
    assert window.is_narrow


def test_answers_that_have_waited_close_it() -> None:
    """Where they come in time and yet much later than the quickest, it is not for long that they come in time."""
    window = make_narrow()
    answer(window, QUICK_S, times=10)
    before = window.size
    answer(window, 0.5, waited_s=0.5)
    assert LEAST <= window.size < before


def test_a_storage_that_hangs_for_some_is_not_slow() -> None:
    """While others are answered as quickly as ever, those that are not say nothing of how much is too much."""
    window = Window(MOST, TIMEOUT_S)
    for now in range(10):
        window.note_answer(64, QUICK_S, 0, now)
        window.note_late(now - TIMEOUT_S, now + 0.1)
    assert not window.is_narrow
