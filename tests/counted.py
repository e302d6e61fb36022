"""What a call costs, counted instead of timed: functions called, which a slow machine does not change."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

# A segment of five leaves, and variables that pass it.
SEGMENT = {
    "and": [
        {"or": [{"custom_variable": {"plan": "pro"}}, {"custom_variable": {"plan": "team"}}]},
        {"custom_variable": {"age": "gte(18)"}},
        {"not": {"custom_variable": {"country": "wildcard(x*)"}}},
        {"custom_variable": {"language": "lower(de)"}},
    ]
}
VARIABLES: dict[str, Any] = {"plan": "team", "age": 33, "country": "DE", "language": "De"}


class _Count:
    """How many functions, of Python and of C, this thread has called while it was noted."""

    def __init__(self) -> None:
        self.calls = 0

    def note(self, frame: Any, event: str, argument: Any) -> None:
        self.calls += event in ("call", "c_call")


def count_calls(call: Callable[[], Any]) -> int:
    """Return how many functions, of Python and of C, one *call* runs; one before it fills caches."""
    count = _Count()
    call()
    sys.setprofile(count.note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count.calls


@contextmanager
def logging_at(level: int) -> Iterator[None]:
    """Have the library log as a service would have it; the suite listens at every level."""
    logger = logging.getLogger("vwo_async")
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


async def count_awaited_calls(call: Callable[[], Awaitable[Any]]) -> int:
    """Return how many functions, of Python and of C, one *call* runs in this thread at least."""
    # The first call fills caches, and each may be the first in a turn of the loop, which costs more.
    counts = []
    with logging_at(logging.INFO):
        for _ in range(4):
            count = _Count()
            sys.setprofile(count.note)
            try:
                await call()
            finally:
                sys.setprofile(None)
            counts.append(count.calls)
    return min(counts)
