"""Flags that hashes alone decide: the short way of deciding gives what the full one gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vwo_async import parse_fme_settings
from vwo_async._core.fme.decision import decide_feature
from vwo_async._core.fme.evaluation import Known
from vwo_async._core.fme.lazy_plan import compile_fme_plan
from vwo_async._core.fme.plan import FlagDecision, FMEPlan
from vwo_async._core.fme.user import FlagUser
from vwo_async.testing import FeatureBuilder, build_fme_settings, feature

SEGMENT = {"or": [{"custom_variable": {"plan": "pro"}}]}
percents = st.integers(0, 100)


@st.composite
def features(draw: st.DrawFn) -> FeatureBuilder:
    """Return a feature without segments: any number of rollouts, and then of experiments."""
    found = feature("search")
    for percent in draw(st.lists(percents, max_size=2)):
        found = found.rollout(percent, size=percent)
    for first in draw(st.lists(percents, max_size=2)):
        found = found.test(first, draw(st.integers(0, 100 - first)), size=[1, 2])
    return found


def compile_plan(*builders: FeatureBuilder) -> FMEPlan:
    return compile_fme_plan(parse_fme_settings(build_fme_settings(*builders)))


@given(features(), st.lists(st.text(min_size=1), min_size=1, max_size=20))
def test_the_short_way_gives_what_the_full_one_gives(
    builder: FeatureBuilder, user_ids: list[str]
) -> None:
    """Variation, reason, rule and what is reported are the same object's."""
    plan = compile_plan(builder)
    assert plan.features["search"].is_plain
    for user_id in user_ids:
        user = FlagUser(user_id.encode("utf-8", "replace").decode())
        # Another value than the one that says that nothing is known takes the full way.
        full = decide_feature(plan, "search", user, Known())
        assert isinstance(full, FlagDecision)
        assert decide_feature(plan, "search", user) is full


@pytest.mark.parametrize(
    "builder",
    [
        feature("a").rollout(100, segment=SEGMENT),
        feature("a").test(50, 50, segment=SEGMENT),
        feature("a").personalize(SEGMENT),
    ],
)
def test_what_asks_more_than_a_hash_is_not_plain(builder: FeatureBuilder) -> None:
    """A segment takes the full way, whichever rule has it."""
    assert not compile_plan(builder).features["a"].is_plain
