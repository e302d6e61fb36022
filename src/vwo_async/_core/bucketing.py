"""From a seed to a bucket value to the owner of that value.

The only module that calls mmh3, and only with bytes: given a text with a lone surrogate, mmh3 5
crashes the process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from math import ceil
from typing import Generic, TypeVar

import mmh3

MAX_TRAFFIC_VALUE = 100
MAX_BUCKET_VALUE = 10_000

T = TypeVar("T")

_murmur = mmh3.hash


def hash_seed(seed: bytes) -> int:
    """Return MurmurHash3 x86 32-bit of *seed* with seed 1, unsigned."""
    return _murmur(seed, 1, False)


def bucket_value(hashed: int, maximum: int, multiplier: float = 1) -> int:
    """Spread a hash over 1..maximum, then stretch by *multiplier*: the official formula in doubles.

    With a multiplier over 1 the result can exceed the maximum by up to the multiplier.
    """
    # The value is positive, so int() rounds down as the formula asks.
    return int((maximum * hashed / 4294967296 + 1) * multiplier)


def range_size(weight: float) -> int:
    """Return how many of the 10,000 bucket values a weight of 0..100 percent owns.

    The product is taken in binary floating point before rounding up, as everywhere else: 1.1 owns 111.
    """
    return min(ceil(weight * 100), MAX_BUCKET_VALUE)


class Ranges(Generic[T]):
    """Closed, adjoining ranges of bucket values from 1 upwards, each with one owner."""

    __slots__ = ("_ends", "_owners")

    def __init__(self, shares: Iterable[tuple[float, T]]) -> None:
        """Lay out the ranges of *shares*: (weight in percent, owner) in order; weight 0 owns nothing."""
        self._ends: list[int] = []
        self._owners: list[T] = []
        at = 0
        for weight, owner in shares:
            size = range_size(weight)
            if size:
                at += size
                self._ends.append(at)
                self._owners.append(owner)

    def find(self, value: int) -> T | None:
        """Return the owner of *value* (1 or more), or None where no range covers it."""
        index = bisect_left(self._ends, value)
        return self._owners[index] if index < len(self._owners) else None

    def find_bounds(self, value: int) -> tuple[int, int] | None:
        """Return the first and last value of the range that covers *value*, or None."""
        index = bisect_left(self._ends, value)
        if index == len(self._ends):
            return None
        return (self._ends[index - 1] + 1 if index else 1), self._ends[index]
