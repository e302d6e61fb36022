"""Bucketing: from a seed to its hash, to a bucket value, to the owner of that value.

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
    """Map a hash to 1..maximum, then multiply by *multiplier*: the official formula, in doubles.

    With a multiplier above 1 the result can exceed the maximum.
    """
    # The value is positive, so int() rounds down as the formula asks.
    return int((maximum * hashed / 4294967296 + 1) * multiplier)


def last_hash(value: float, maximum: int, multiplier: float = 1) -> int:
    """Return the largest hash whose bucket value is at most *value*, -1 if there is none.

    A larger hash never has a smaller bucket value, so comparing hashes with this one gives the same
    result as comparing bucket values. Because of rounding, the inverse of the formula is only a first
    guess; the formula itself finds the exact hash.
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

    As in every official SDK, the product is rounded up in binary floating point: 1.1 owns 111 values.
    """
    return min(ceil(weight * 100), MAX_BUCKET_VALUE)


class Ranges(Generic[T]):
    """Adjacent ranges of bucket values, the first of them from 1, each with one owner."""

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


def rescale(shares: Sequence[tuple[float, T]]) -> list[tuple[float, T]]:
    """Return *shares* (weight, owner) with weights that add up to 100; equal ones if all are 0."""
    total = sum(weight for weight, _ in shares)
    if not total:
        return [(100 / len(shares), owner) for _, owner in shares]
    return [(weight / total * 100, owner) for weight, owner in shares]


def draw(shares: Iterable[tuple[float, T]], seed: bytes) -> T | None:
    """Return the owner of the bucket value of *seed* among *shares*, see `Ranges`; None if it has none."""
    return Ranges(shares).find(bucket_value(hash_seed(seed), MAX_BUCKET_VALUE))


class Bucketer(Generic[T]):
    """Assigns users by their hash alone: whether a user is in the traffic, and who owns the bucket value.

    Args:
        traffic_prefix: Prefix of the user id in the seed of the traffic.
        percent_traffic: 0..100.
        bucket_prefix: Prefix of the user id in the seed of the bucket.
        multiplier: Factor of the bucket value.
        ranges: The owners of the bucket values.
        not_in_traffic: The result for users outside the traffic.
        unowned: The result for users whose bucket value has no owner.
    """

    __slots__ = (
        "_bucket_prefix",
        "_ends",
        "_not_in_traffic",
        "_owners",
        "_traffic_end",
        "_traffic_prefix",
    )

    def __init__(
        self,
        traffic_prefix: bytes,
        percent_traffic: float,
        bucket_prefix: bytes,
        multiplier: float,
        ranges: Ranges[T],
        *,
        not_in_traffic: T,
        unowned: T,
    ) -> None:
        self._traffic_prefix = traffic_prefix
        self._traffic_end = last_hash(percent_traffic, MAX_TRAFFIC_VALUE)
        self._bucket_prefix = None if bucket_prefix == traffic_prefix else bucket_prefix
        if self._traffic_end == MAX_HASH and self._bucket_prefix is not None:
            # Everybody is in the traffic, so only the hash of the bucket is needed.
            self._traffic_prefix, self._bucket_prefix = self._bucket_prefix, None
        self._ends = ranges.find_last_hashes(multiplier)
        self._owners = [*ranges.owners, unowned]
        self._not_in_traffic = not_in_traffic

    def is_in_traffic(self, hash_bytes: bytes) -> bool:
        """Tell whether the user is in the traffic."""
        return _murmur(self._traffic_prefix + hash_bytes, 1, False) <= self._traffic_end

    def assign(self, hash_bytes: bytes) -> T:
        """Return the owner of the user's bucket value, or the result for a user without one."""
        hashed = _murmur(self._traffic_prefix + hash_bytes, 1, False)
        if hashed > self._traffic_end:
            return self._not_in_traffic
        if self._bucket_prefix is not None:
            hashed = _murmur(self._bucket_prefix + hash_bytes, 1, False)
        return self._owners[bisect_left(self._ends, hashed)]
