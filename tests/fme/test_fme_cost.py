"""What a decision of a flag costs, counted instead of timed: functions called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from fme_file import make_campaign, make_feature, make_file
from replay import compile_file

from vwo_async._core.fme.decision import decide_feature
from vwo_async._core.fme.evaluation import Known
from vwo_async._core.fme.user import FmeUser


def count_calls(call: Callable[[], Any]) -> int:
    """Return how many functions, of Python and of C, one *call* runs."""
    calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    call()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return calls


def file_of(number: int) -> dict[str, Any]:
    """Return a file of so many features, each with a rollout and a test."""
    features: list[dict[str, Any]] = []
    campaigns: list[dict[str, Any]] = []
    for one in range(1, number + 1):
        own = (make_campaign(2 * one, "r"), make_campaign(2 * one + 1))
        campaigns += own
        features.append(make_feature(one, *own))
    return make_file(features, campaigns)


def test_a_decision() -> None:
    """A decision runs a handful of functions, as many with 1,000 features as with one."""

    def count(number: int) -> int:
        plan = compile_file(file_of(number))
        return count_calls(lambda: decide_feature(plan, f"f{number}", FmeUser("Ashley")))

    assert count(1) <= 40
    assert count(1000) == count(1)


def test_a_decision_with_a_record() -> None:
    """Noting what has to be stored takes a few calls more."""
    plan = compile_file(file_of(1))
    user = FmeUser("Ashley")
    assert count_calls(lambda: decide_feature(plan, "f1", user, Known({"f1": None}))) <= 130


def test_compiling() -> None:
    """Reading and compiling a file takes time in proportion to its features."""

    def count(number: int) -> int:
        file = file_of(number)
        return count_calls(lambda: compile_file(file))

    few, many = count(20), count(200)
    assert (many - few) / 180 <= 2 * few / 20
