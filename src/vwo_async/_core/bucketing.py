"""From a seed to a bucket value to the owner of that value.

The only module that calls mmh3, and only with bytes: given a text with a lone surrogate, mmh3 5
crashes the process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import ceil, floor
from typing import Generic, TypeVar

import mmh3

MAX_TRAFFIC_VALUE = 100
MAX_BUCKET_VALUE = 10_000
MAX_HASH = 2**32 - 1

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


def last_hash(value: float, maximum: int, multiplier: float = 1) -> int:
    """Return the largest hash whose bucket value is at most *value*, -1 where there is none.

    The bucket value never falls as the hash grows, so that comparing with this one hash is comparing
    bucket values. Where doubles put the border, only the formula itself can tell: it has the last word.
    """
    whole = floor(value)
    guess = ((whole + 1) / multiplier - 1) * 4294967296 / maximum
    hashed = min(max(ceil(guess) - 1, -1), MAX_HASH)
    while hashed < MAX_HASH and bucket_value(hashed + 1, maximum, multiplier) <= whole:
        hashed += 1
    while hashed >= 0 and bucket_value(hashed, maximum, multiplier) > whole:
        hashed -= 1
    return hashed


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

    def find_last_hashes(self, multiplier: float) -> list[int]:
        """Return for each range the largest hash that is in it or below it."""
        return [last_hash(end, MAX_BUCKET_VALUE, multiplier) for end in self._ends]

    @property
    def owners(self) -> Sequence[T]:
        """The owners, in the order of their ranges."""
        return self._owners


class Draw(Generic[T]):
    """What the hash alone makes of a user: whether the traffic has him, and whose he is then.

    Args:
        traffic_seed: What stands before the user id in the seed of the traffic.
        percent_traffic: 0..100.
        bucket_seed: What stands before it in the seed of the bucket.
        multiplier: Stretches the bucket value.
        ranges: Who owns which bucket value.
        outside: The answer for users outside the traffic.
        nobody: The answer where no range covers the user.
    """

    __slots__ = ("_bucket_seed", "_ends", "_outside", "_owners", "_traffic_end", "_traffic_seed")

    def __init__(
        self,
        traffic_seed: bytes,
        percent_traffic: float,
        bucket_seed: bytes,
        multiplier: float,
        ranges: Ranges[T],
        *,
        outside: T,
        nobody: T,
    ) -> None:
        self._traffic_seed = traffic_seed
        self._traffic_end = last_hash(percent_traffic, MAX_TRAFFIC_VALUE)
        self._bucket_seed = None if bucket_seed == traffic_seed else bucket_seed
        if self._traffic_end == MAX_HASH and self._bucket_seed is not None:
            # The traffic has everybody, so that only the hash of the bucket says anything.
            self._traffic_seed, self._bucket_seed = self._bucket_seed, None
        self._ends = ranges.find_last_hashes(multiplier)
        self._owners = [*ranges.owners, nobody]
        self._outside = outside

    def admits(self, hash_bytes: bytes) -> bool:
        """Tell whether the traffic has the user."""
        return _murmur(self._traffic_seed + hash_bytes, 1, False) <= self._traffic_end

    def find(self, hash_bytes: bytes) -> T:
        """Return the answer for the user."""
        hashed = _murmur(self._traffic_seed + hash_bytes, 1, False)
        if hashed > self._traffic_end:
            return self._outside
        if self._bucket_seed is not None:
            hashed = _murmur(self._bucket_seed + hash_bytes, 1, False)
        return self._owners[bisect_left(self._ends, hashed)]
