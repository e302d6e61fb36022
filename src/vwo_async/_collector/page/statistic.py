"""What the numbers of an experiment say: intervals, uplift and its probability, and sample ratio mismatch.

Pure functions of counts. Their results are compared with those of scipy in the tests.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import erfc, exp, lgamma, log, log1p, sqrt
from statistics import NormalDist
from typing import NamedTuple

__all__ = [
    "RatioTest",
    "Sample",
    "check_ratio",
    "find_probability",
    "find_uplift",
    "wilson_interval",
]

# Below it the distribution of the statistic is too far from chi-square.
MIN_EXPECTED = 5
# A smaller p-value is a mismatch, as is usual for this test, which is looked at all the time.
RATIO_ALPHA = 0.001
# Of a posterior this many standard deviations are looked at, in so many cells.
_REACH_SD = 14.0
_CELLS = 600
# So far apart, one posterior is above the other for certain.
_CERTAIN_SD = 40.0


class Sample(NamedTuple):
    """The visitors of one variation.

    Attributes:
        converted: How many of them converted, at least once.
        visitors: How many there are.
    """

    converted: int
    visitors: int

    @property
    def is_proportion(self) -> bool:
        """Whether it is a share of at least one visitor: conversions may come without their visitors."""
        return 0 <= self.converted <= self.visitors > 0


class RatioTest(NamedTuple):
    """The chi-square test of a split.

    Attributes:
        chi_square: The statistic.
        p_value: How likely an honest split is at least as far from its weights as this one.
        is_reliable: Whether there are enough visitors: at least 5 are expected for each variation.
        is_mismatch: Whether the split is not as its weights say.
    """

    chi_square: float
    p_value: float
    is_reliable: bool
    is_mismatch: bool

    def __str__(self) -> str:
        if not self.is_reliable:
            return "too few users to tell: each variation must be expected at least 5 times"
        words = f"p = {self.p_value:.2g}: an honest split is as far off as this one"
        often = f"{words} in {self.p_value:.2%} of all samples"
        if self.is_mismatch:
            return f"SAMPLE RATIO MISMATCH, {often}: do not trust results of this split"
        return f"no sample ratio mismatch, {often}"


class _Posterior(NamedTuple):
    """The beta distribution of a rate, after a uniform prior, in cells of equal width.

    Attributes:
        mean: Of the distribution.
        sd: Of the distribution.
        edges: Where the cells begin, and where the last one ends.
        below: The probability below each of the edges.
    """

    mean: float
    sd: float
    edges: Sequence[float]
    below: Sequence[float]

    def find_below(self, rate: float) -> float:
        """Return the probability of a smaller rate."""
        if rate <= self.edges[0]:
            return 0.0
        if rate >= self.edges[-1]:
            return 1.0
        cell = bisect_right(self.edges, rate) - 1
        start, end = self.edges[cell : cell + 2]
        share = (rate - start) / (end - start)
        return self.below[cell] + share * (self.below[cell + 1] - self.below[cell])


def wilson_interval(sample: Sample, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a rate: its lower and its upper end, without a correction.

    Raises:
        ValueError: The sample is no proportion.
    """
    if not sample.is_proportion:
        raise ValueError("sample: must be a share of at least one visitor")
    converted, visitors = sample
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, weight = converted / visitors, z * z / visitors
    middle = rate + weight / 2
    half = z * sqrt(rate * (1 - rate) / visitors + weight / (4 * visitors))
    low, high = (middle - half) / (1 + weight), (middle + half) / (1 + weight)
    # At the ends rounding would leave a little more or less than 0 and 1.
    return (low if converted else 0.0), (high if converted < visitors else 1.0)


def find_uplift(control: Sample, variation: Sample) -> float | None:
    """Return by how much the variation's rate is above the control's, relative to it: 0.1 is 10 %.

    Returns:
        None where there is no rate to compare with.
    """
    if not (control.is_proportion and variation.is_proportion and control.converted):
        return None
    return variation.converted * control.visitors / (variation.visitors * control.converted) - 1


def find_probability(control: Sample, variation: Sample) -> float | None:
    """Return how probable it is that the variation's rate is above the control's.

    Each rate is taken as beta distributed, with a uniform prior: ``Beta(1 + converted, 1 + others)``. The
    probability is their integral, with an error below 1e-4.

    Returns:
        None where one of them is no proportion.
    """
    if not (control.is_proportion and variation.is_proportion):
        return None
    ours, theirs = _find_posterior(variation), _find_posterior(control)
    distance = (ours.mean - theirs.mean) / sqrt(ours.sd**2 + theirs.sd**2)
    if abs(distance) > _CERTAIN_SD:
        return float(distance > 0)
    # Integrated over the narrower of both, whose cells are the finer ones.
    if ours.sd <= theirs.sd:
        return _find_above(ours, theirs)
    return 1 - _find_above(theirs, ours)


def _find_above(narrow: _Posterior, wide: _Posterior) -> float:
    """Return how probable it is that a value of *narrow* is above one of *wide*."""
    total = 0.0
    for cell in range(len(narrow.edges) - 1):
        middle = (narrow.edges[cell] + narrow.edges[cell + 1]) / 2
        total += (narrow.below[cell + 1] - narrow.below[cell]) * wide.find_below(middle)
    return min(max(total, 0.0), 1.0)


def _find_posterior(sample: Sample) -> _Posterior:
    a, b = 1 + sample.converted, 1 + sample.visitors - sample.converted
    mean = a / (a + b)
    sd = sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
    low, high = max(0.0, mean - _REACH_SD * sd), min(1.0, mean + _REACH_SD * sd)
    width = (high - low) / _CELLS
    # In the middle of a cell no rate is 0 or 1, whose logarithm there is none.
    logs = [
        (a - 1) * log(rate) + (b - 1) * log1p(-rate)
        for rate in (low + (cell + 0.5) * width for cell in range(_CELLS))
    ]
    highest = max(logs)
    sums = list(accumulate((exp(one - highest) for one in logs), initial=0.0))
    edges = [low + cell * width for cell in range(_CELLS + 1)]
    return _Posterior(mean, sd, edges, [one / sums[-1] for one in sums])


def _find_chi_square_tail(statistic: float, freedom: int) -> float:
    """Return how probable a larger statistic is: the regularized upper incomplete gamma function.

    For whole degrees of freedom it is a finite sum.
    """
    half = statistic / 2
    if half == 0:
        return 1.0
    # An odd degree begins with that of degree 1, and goes on in halves.
    first, begin = (erfc(sqrt(half)), 0.5) if freedom % 2 else (0.0, 0.0)
    powers = (begin + number for number in range(freedom // 2))
    return min(
        1.0, first + sum(exp(power * log(half) - half - lgamma(power + 1)) for power in powers)
    )


def check_ratio(
    observed: Sequence[int],
    weights: Sequence[float],
    alpha: float = RATIO_ALPHA,
    find_tail: Callable[[float, int], float] = _find_chi_square_tail,
) -> RatioTest | None:
    """Return the chi-square test for sample ratio mismatch.

    Args:
        observed: The visitors of each variation.
        weights: What each variation should get, on any scale. One without weight takes no part.
        alpha: A smaller p-value is a mismatch.
        find_tail: Returns how probable a larger statistic is, with so many degrees of freedom.

    Returns:
        None where there is nothing to divide.
    """
    pairs = [(seen, weight) for seen, weight in zip(observed, weights, strict=True) if weight > 0]
    visitors, whole = sum(seen for seen, _ in pairs), sum(weight for _, weight in pairs)
    if len(pairs) < 2 or not visitors:
        return None
    expected = [visitors * weight / whole for _, weight in pairs]
    chi_square = sum(
        (seen - hoped) ** 2 / hoped for (seen, _), hoped in zip(pairs, expected, strict=True)
    )
    p_value = find_tail(chi_square, len(pairs) - 1)
    is_reliable = min(expected) >= MIN_EXPECTED
    return RatioTest(chi_square, p_value, is_reliable, is_reliable and p_value < alpha)
