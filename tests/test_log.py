"""The log: what a service reads when something fails, and never more than it can read."""

from __future__ import annotations

import io
import logging

import pytest

from vwo_async._log import MAX_KINDS, FailureLog, log_info, log_warning


def test_no_logging_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a service has set up no logging, what is at WARNING and above is seen nevertheless."""
    seen = io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging, "lastResort", _last_resort(seen))
    log_info("opened")
    log_warning("the settings have no campaign %r", "hero")
    assert seen.getvalue() == "the settings have no campaign 'hero'\n"


def _last_resort(stream: io.StringIO) -> logging.Handler:
    """Return a handler like Python's own for this, which writes to *stream*."""
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.WARNING)
    return handler


def test_ladder(caplog: pytest.LogCaptureFixture) -> None:
    """Of 1,000 failures the 1st, 2nd, 4th, 8th... 512th are logged, and all are counted."""
    failures = FailureLog("user storage")
    for _ in range(1000):
        failures.add("get timed out")
    assert failures.count == 1000
    assert caplog.messages == [
        f"user storage: get timed out ({2**step} times so far)" for step in range(10)
    ]
    assert {one.levelno for one in caplog.records} == {logging.WARNING}


def test_kinds_are_apart(caplog: pytest.LogCaptureFixture) -> None:
    """A new kind of failure is logged at once, however often another one has been seen."""
    failures = FailureLog("outbox", logging.ERROR)
    for _ in range(100):
        failures.add("append timed out")
    failures.add("remove timed out")
    assert caplog.messages[-2:] == [
        "outbox: append timed out (64 times so far)",
        "outbox: remove timed out (1 times so far)",
    ]
    assert {one.levelno for one in caplog.records} == {logging.ERROR}
    assert failures.count == 101


def test_details_are_one_kind(caplog: pytest.LogCaptureFixture) -> None:
    """What differs from one failure to the next is logged and opens no new kind."""
    failures = FailureLog("settings")
    for number in range(1, 9):
        failures.add("unusable", detail=f"line {number}")
    assert caplog.messages == [
        f"settings: unusable: line {number} ({number} times so far)" for number in (1, 2, 4, 8)
    ]


def test_large_failures(caplog: pytest.LogCaptureFixture) -> None:
    """How much one failure counts for does not change which failures are logged."""
    failures = FailureLog("outbox")
    for _ in range(1000):
        failures.add("append timed out", number=3)
    assert failures.count == 3000
    assert len(caplog.messages) == 10


def test_endless_kinds(caplog: pytest.LogCaptureFixture) -> None:
    """Failures that are all of different kinds fill neither the log nor the memory."""
    failures = FailureLog("on_drop")
    for number in range(MAX_KINDS + 1000):
        failures.add(f"raised Error{number}")
    assert failures.count == MAX_KINDS + 1000
    assert len(caplog.messages) == MAX_KINDS + 10
