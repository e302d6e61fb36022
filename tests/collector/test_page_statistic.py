"""The statistics of the page: each number is what scipy computes for the same counts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vwo_async._collector.page.statistic import (
    Sample,
    check_ratio,
    find_probability,
    find_uplift,
    wilson_interval,
)

# One process imports scipy, which takes a second, and where it is needed.
pytestmark = pytest.mark.xdist_group("scipy")

samples = st.integers(1, 10**6).flatmap(
    lambda visitors: st.builds(Sample, st.integers(0, visitors), st.just(visitors))
)


@settings(max_examples=40, deadline=None)
@given(samples, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_is_that_of_scipy(sample: Sample, confidence: float) -> None:
    """Both ends of the interval are those of scipy's Wilson interval."""
    from scipy import stats

    found = wilson_interval(sample, confidence)
    known = stats.binomtest(sample.converted, sample.visitors).proportion_ci(confidence, "wilson")
    assert found == pytest.approx((known.low, known.high), abs=1e-12)
    assert 0 <= found[0] <= sample.converted / sample.visitors <= found[1] <= 1


@pytest.mark.parametrize("sample", [Sample(0, 0), Sample(2, 1), Sample(-1, 5)])
def test_what_is_no_proportion_has_no_numbers(sample: Sample) -> None:
    """More conversions than visitors, and no visitors, give no interval, uplift or probability."""
    with pytest.raises(ValueError, match="at least one visitor"):
        wilson_interval(sample)
    for pair in ((sample, Sample(1, 2)), (Sample(1, 2), sample)):
        assert find_uplift(*pair) is None
        assert find_probability(*pair) is None


@pytest.mark.parametrize(
    ("control", "variation", "uplift"),
    [
        (Sample(10, 100), Sample(15, 100), 0.5),
        (Sample(10, 100), Sample(10, 200), -0.5),
        (Sample(1, 3), Sample(1, 3), 0.0),
        (Sample(0, 3), Sample(1, 3), None),
        (Sample(1, 3), Sample(0, 3), -1.0),
    ],
)
def test_uplift(control: Sample, variation: Sample, uplift: float | None) -> None:
    """The uplift is relative to the control's rate, and there is none above nothing."""
    assert find_uplift(control, variation) == (None if uplift is None else pytest.approx(uplift))


def integrate_probability(control: Sample, variation: Sample) -> float:
    """Return the probability that the variation's rate is above the control's, by scipy's quadrature."""
    from scipy import integrate, stats

    ours, theirs = (
        stats.beta(1 + one.converted, 1 + one.visitors - one.converted)
        for one in (variation, control)
    )
    middle, sd = ours.mean(), ours.std()
    ends = max(0.0, middle - 12 * sd), min(1.0, middle + 30 * sd)
    points = [min(max(theirs.mean() + n * theirs.std(), ends[0]), ends[1]) for n in (-3, 0, 3)]
    found, _ = integrate.quad(
        lambda rate: ours.pdf(rate) * theirs.cdf(rate), *ends, limit=500, points=[*points, middle]
    )
    return float(found)


@pytest.mark.parametrize(
    ("control", "variation"),
    [
        (Sample(0, 1), Sample(0, 1)),
        (Sample(0, 1), Sample(1, 1)),
        (Sample(0, 1_000), Sample(3, 1_000)),
        (Sample(1_000, 1_000), Sample(999, 1_000)),
        (Sample(10, 100), Sample(15, 100)),
        (Sample(100, 1_000), Sample(125, 1_000)),
        (Sample(1, 10), Sample(20_000, 200_000)),
        (Sample(20_000, 200_000), Sample(1, 10)),
        (Sample(100_000, 1_000_000), Sample(100_500, 1_000_000)),
        (Sample(5, 1_000_000), Sample(9, 1_000_000)),
    ],
)
def test_probability_is_that_of_scipy(control: Sample, variation: Sample) -> None:
    """The probability is the integral over both beta distributions, and the other's is the rest."""
    found = find_probability(control, variation)
    assert found == pytest.approx(integrate_probability(control, variation), abs=1e-4)
    other = find_probability(variation, control)
    assert found is not None and other is not None
    assert found + other == pytest.approx(1, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(samples, samples)
def test_probability_of_any_counts(control: Sample, variation: Sample) -> None:
    """Whatever the counts, there is a probability, and it is above one half where the mean is above."""
    found, other = find_probability(control, variation), find_probability(variation, control)
    assert found is not None and other is not None
    assert 0 <= found <= 1
    assert found + other == pytest.approx(1, abs=1e-4)


splits = st.lists(
    st.tuples(st.integers(0, 10**6), st.floats(0.1, 100)), min_size=2, max_size=12
).filter(lambda pairs: any(seen for seen, _ in pairs))


@settings(max_examples=40, deadline=None)
@given(splits)
def test_ratio_is_that_of_scipy(pairs: list[tuple[int, float]]) -> None:
    """Statistic and p-value are those of scipy's chi-square test."""
    from scipy import stats

    observed, weights = [seen for seen, _ in pairs], [weight for _, weight in pairs]
    found = check_ratio(observed, weights)
    expected = [sum(observed) * one / sum(weights) for one in weights]
    known = stats.chisquare(observed, expected)
    assert found is not None
    assert found.chi_square == pytest.approx(known.statistic, rel=1e-9, abs=1e-9)
    assert found.p_value == pytest.approx(known.pvalue, rel=1e-6, abs=1e-12)
    assert found.is_reliable == (min(expected) >= 5)


def test_mismatch() -> None:
    """A split that is far from its weights is a mismatch, but not while too few are expected of one."""
    for observed, weights, is_mismatch in (
        ([5_000, 5_000], [50, 50], False),
        ([5_000, 5_400], [50, 50], True),
        ([5_000, 5_200], [50, 50], False),
        ([9_000, 1_000], [90, 10], False),
        ([9, 0], [50, 50], False),
        ([10, 90, 100], [0, 50, 50], False),
    ):
        found = check_ratio(observed, weights)
        assert found is not None
        assert found.is_mismatch is is_mismatch, (observed, weights)
    assert check_ratio([10], [100]) is None
    assert check_ratio([0, 0], [50, 50]) is None
    assert check_ratio([5, 5], [100, 0]) is None
