"""Whether a split is as its weights say: the chi-square test for sample ratio mismatch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from .._collector.page import statistic as collector_statistic
from .._collector.page.statistic import RatioTest
from .._core.bucketing import MAX_BUCKET_VALUE, range_size


@dataclass(frozen=True)
class Share:
    """One variation of a split.

    Attributes:
        name: Its name.
        observed: How many users got it.
        expected: How many would, were all users of the split divided exactly.
    """

    name: str
    observed: int
    expected: float


def list_shares(weights: Sequence[tuple[str, float]], observed: Sequence[int]) -> list[Share]:
    """Return the variations of a split that can be given to anybody, each with what is expected of it.

    Args:
        weights: For each variation its name and its weight in percent, in the order of the file.
        observed: How many users got each.
    """
    # As the SDKs lay out the ranges: rounded up, one after the other, until the values are used up.
    ends = [min(one, MAX_BUCKET_VALUE) for one in accumulate(range_size(w) for _, w in weights)]
    sizes = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    total, covered = sum(observed), sum(sizes)
    return [
        Share(name, seen, total * size / covered)
        for (name, _), size, seen in zip(weights, sizes, observed, strict=True)
        if size
    ]


def check_ratio(shares: Sequence[Share], alpha: float) -> RatioTest | None:
    """Return the test of a split, None where there is nothing to divide.

    Args:
        shares: Its variations.
        alpha: A smaller p-value is a mismatch.
    """
    observed, expected = [one.observed for one in shares], [one.expected for one in shares]
    return collector_statistic.check_ratio(observed, expected, alpha, _find_tail)


def _find_tail(statistic: float, freedom: int) -> float:
    """Return how probable a larger statistic is."""
    from scipy.special import chdtrc  # noqa: PLC0415 - slow to import, and needed here alone

    return float(chdtrc(freedom, statistic))
