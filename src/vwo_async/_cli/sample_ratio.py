"""Whether a split is as its weights say: the chi-square test for sample ratio mismatch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from .._core.bucketing import MAX_BUCKET_VALUE, range_size

# Below it the distribution of the statistic is too far from chi-square.
MIN_EXPECTED = 5


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


@dataclass(frozen=True)
class RatioTest:
    """The test of one split.

    Attributes:
        chi_square: The statistic.
        p_value: How likely an honest split is at least as far from its weights as this one.
        is_reliable: Whether there are enough users: at least 5 are expected for each variation.
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
    if len(shares) < 2 or not sum(one.observed for one in shares):
        return None
    from scipy.special import chdtrc  # noqa: PLC0415 - slow to import, and needed here alone

    chi_square = sum((one.observed - one.expected) ** 2 / one.expected for one in shares)
    p_value = float(chdtrc(len(shares) - 1, chi_square))
    is_reliable = min(one.expected for one in shares) >= MIN_EXPECTED
    return RatioTest(chi_square, p_value, is_reliable, is_reliable and p_value < alpha)
