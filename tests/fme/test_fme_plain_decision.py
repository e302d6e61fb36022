"""Flags that hashes and custom variables alone decide: the short way of deciding gives what the full one gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vwo_async import Reason, parse_fme_settings
from vwo_async._core.fme.decision import decide_feature
from vwo_async._core.fme.evaluation import NOTHING, Known
from vwo_async._core.fme.lazy_plan import compile_fme_plan
from vwo_async._core.fme.plan import FlagDecision, FMEPlan
from vwo_async._core.fme.user import FlagUser
from vwo_async.testing import FeatureBuilder, build_fme_settings, feature

LEAF = {"custom_variable": {"plan": "pro"}}
SEGMENTS = [
    None,
    {"or": [LEAF]},
    {"and": [{"not": LEAF}, {"custom_variable": {"age": "gte(18)"}}]},
    {"not": {"or": [LEAF, {"custom_variable": {"age": "regex(^1)"}}]}},
]
USERS = [{}, {"plan": "pro"}, {"age": 20}, {"plan": "team", "age": "17"}]
percents = st.integers(0, 100)
segments = st.sampled_from(SEGMENTS)


@st.composite
def features(draw: st.DrawFn) -> FeatureBuilder:
    """Return a feature: any number of rollouts, and then of experiments."""
    found = feature("search")
    for percent in draw(st.lists(percents, max_size=2)):
        found = found.rollout(percent, size=percent, segment=draw(segments))
    for first in draw(st.lists(percents, max_size=2)):
        shares = (first, draw(st.integers(0, 100 - first)))
        found = found.test(*shares, size=[1, 2], segment=draw(segments))
    return found


def compile_plan(*builders: FeatureBuilder) -> FMEPlan:
    return compile_fme_plan(parse_fme_settings(build_fme_settings(*builders)))


@given(features(), st.lists(st.text(min_size=1), min_size=1, max_size=20), st.sampled_from(USERS))
def test_the_short_way_gives_what_the_full_one_gives(
    builder: FeatureBuilder, user_ids: list[str], variables: dict[str, Any]
) -> None:
    """Variation, reason, rule and what is reported are the same object's."""
    plan = compile_plan(builder)
    assert plan.features["search"].is_plain
    for user_id in user_ids:
        user = FlagUser(user_id.encode("utf-8", "replace").decode(), variables)
        # Another value than the one that says that nothing is known takes the full way.
        full = decide_feature(plan, "search", user, Known())
        assert isinstance(full, FlagDecision)
        assert decide_feature(plan, "search", user) is full


@pytest.mark.parametrize(
    "segment",
    [
        {"user": "u1"},
        {"or": [{"user": "u1"}, LEAF]},
        {"and": [LEAF, {"country": "India"}]},
        {"or": [{"os": "Linux"}]},
        {"or": [{"featureId": {"1": "on"}}]},
        {"custom_variable": {"plan": "inlist(L1)"}},
        {"custom_variable": {"campaignVariation": "1"}},
        {"not": {"campaignVariation": "1"}},
        {"ua": "wildcard(*x*)"},
        {"ip_address": "1.2.3.4"},
        {"custom_variable": {"plan": 5}},
        {**LEAF, "country": "India"},
        {"and": "odd"},
    ],
    ids=str,
)
def test_what_asks_for_more_is_not_plain(segment: Any) -> None:
    """Whatever asks about the user himself, or looks odd, takes the full way, whichever rule has it."""
    kinds = (
        feature("a").rollout(100, segment=segment),
        feature("a").test(50, 50, segment=segment),
        feature("a").personalize(segment),
    )
    for builder in kinds:
        assert not compile_plan(builder).features["a"].is_plain


def test_a_malformed_part_turns_a_plain_flag_off() -> None:
    """A part that cannot be evaluated ends the decision as on the full way."""
    plan = compile_plan(feature("a").rollout(100, segment={"not": [LEAF]}))
    assert plan.features["a"].is_plain
    for known in (Known(), NOTHING):
        decision = decide_feature(plan, "a", FlagUser("u1"), known)
        assert isinstance(decision, FlagDecision)
        assert decision.reason is Reason.MALFORMED_SEGMENT
        assert decision.impressions == ()
