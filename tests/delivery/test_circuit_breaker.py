"""The breaker: a server that is down, or refuses the account, is asked seldom, but never for the last time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vwo_async._delivery.circuit_breaker import CircuitBreaker


def fail(breaker: CircuitBreaker, times: int, *, now: float = 0.0, wait_s: float = 10.0) -> None:
    for _ in range(times):
        breaker.started()
        breaker.failed(now, wait_s)


def test_new() -> None:
    """A new breaker hinders nothing."""
    breaker = CircuitBreaker()
    assert breaker.admits(0)
    assert not breaker.is_open
    assert breaker.next_at() is None


def test_closed_admits_many() -> None:
    """While closed, any number of requests may be on their way."""
    breaker = CircuitBreaker()
    for _ in range(100):
        assert breaker.admits(0)
        breaker.started()


@pytest.mark.parametrize("failures", range(1, 8))
def test_opens_after_five_failures(failures: int) -> None:
    """Four failures in a row hinder nothing; from the fifth on nothing may go until the wait is over."""
    breaker = CircuitBreaker()
    fail(breaker, failures)
    assert breaker.is_open is (failures >= 5)
    assert breaker.admits(0) is (failures < 5)
    assert breaker.next_at() == (10 if failures >= 5 else None)


def test_a_success_starts_the_count_anew() -> None:
    """Only failures in a row count."""
    breaker = CircuitBreaker()
    for _ in range(3):
        fail(breaker, 4)
        breaker.started()
        breaker.succeeded()
    assert not breaker.is_open


def test_one_probe_at_a_time() -> None:
    """Once the wait is over one request may go, and no other until it is known what became of it."""
    breaker = CircuitBreaker()
    fail(breaker, 5)
    assert not breaker.admits(9.99)
    assert breaker.admits(10)
    breaker.started()
    assert not breaker.admits(10)
    assert not breaker.admits(10_000)
    assert breaker.next_at() is None


def test_probe_that_succeeds() -> None:
    """A probe that succeeds closes the breaker."""
    breaker = CircuitBreaker()
    fail(breaker, 5)
    breaker.started()
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.admits(10)
    fail(breaker, 4, now=10)
    assert breaker.admits(10)


def test_probe_that_fails() -> None:
    """A probe that fails keeps it open for as long as it is told, from then on."""
    breaker = CircuitBreaker()
    fail(breaker, 5)
    breaker.started()
    breaker.failed(12, 30)
    assert breaker.next_at() == 42
    assert not breaker.admits(41.99)
    assert breaker.admits(42)


def test_pause() -> None:
    """A server that refuses the account is left alone at once: for a second, at first."""
    breaker = CircuitBreaker()
    breaker.started()
    breaker.paused(5)
    assert breaker.is_open
    assert not breaker.admits(5.99)
    assert breaker.next_at() == 6
    assert breaker.admits(6)


def test_pause_again() -> None:
    """While the account is refused each pause is twice as long, up to a minute, for ever; then all may go at once."""
    breaker = CircuitBreaker()
    now = 0.0
    for pause_s in [1, 2, 4, 8, 16, 32, *[60] * 1000]:
        breaker.paused(now)
        assert not breaker.admits(now + pause_s - 0.01)
        now += pause_s
        assert breaker.admits(now)
        breaker.started()
        assert not breaker.admits(now)
    breaker.succeeded()
    assert breaker.admits(now)
    assert breaker.next_at() is None


def test_pauses_begin_anew() -> None:
    """An account that was taken in between is refused for the first time again."""
    breaker = CircuitBreaker()
    for now in (0, 100, 200):
        breaker.paused(now)
        assert breaker.next_at() == now + 1
        breaker.succeeded()


def test_probe_of_a_pause_that_fails() -> None:
    """A probe that fails after a pause keeps the others away for as long as it is told."""
    breaker = CircuitBreaker()
    breaker.paused(0)
    breaker.started()
    breaker.failed(60, 10)
    assert not breaker.admits(69.99)
    assert breaker.next_at() == 70


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["succeeded", "failed", "paused"]), st.floats(0, 100), st.floats(0, 300)
        )
    )
)
def test_never_for_good(steps: list[tuple[str, float, float]]) -> None:
    """Whatever happened, one request after the other: there is a time at which the next may go."""
    breaker = CircuitBreaker()
    now = 0.0
    for what, pause, wait in steps:
        now += pause
        next_at = breaker.next_at()
        if not breaker.admits(now):
            assert breaker.is_open and next_at is not None
            now = next_at
        assert breaker.admits(now)
        breaker.started()
        if what == "succeeded":
            breaker.succeeded()
        elif what == "failed":
            breaker.failed(now, wait)
        else:
            breaker.paused(now)
        assert breaker.next_at() is None or breaker.is_open
