"""Forced variations: section 4 of docs/reference.md."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_effort import examples
from strategy import make_campaign, make_only_campaign, make_variations, user_ids

from vwo_async._core.api_method import ACTIVATE
from vwo_async._core.bucketing import bucket_value, hash_seed
from vwo_async._core.decision import Needs, Stored, decide, find_forced
from vwo_async._core.plan import Campaign, Plan
from vwo_async._reason import Reason
from vwo_async._user import User

EVERYBODY = {"not": {"user": "nobody"}}
ASHLEY = {"user": "Ashley"}
ASHLEY_UUID = "A46F7AA3A53150368683EE064793BAFD"
THIRDS = (("Control", 20.0), ("Variation-1", 20.0), ("Variation-2", 60.0))


def make_forced(
    *segments: dict[str, Any],
    shares: tuple[tuple[str, float], ...] = THIRDS,
    **fields: Any,
) -> tuple[Plan, Campaign]:
    """Return a campaign with one forced variation for each of the *segments*."""
    variations = make_variations(shares)
    for variation, segment in zip(variations, segments, strict=False):
        variation["segments"] = segment
    fields = {"isForcedVariationEnabled": True, **fields}
    return make_only_campaign(make_campaign(variations=variations, **fields))


def forced_name(made: tuple[Plan, Campaign], user: User | str) -> str | None:
    plan, campaign = made
    user = User(user) if isinstance(user, str) else user
    variation = find_forced(plan, campaign, user)
    return None if variation is None else variation.name


@pytest.mark.parametrize(
    ("user_id", "value", "expected"),
    [
        ("Ashley", 4986, "Variation-2"),
        ("Bill", 2379, "Control"),
        ("user_1", 7225, "Variation-2"),
    ],
)
def test_several_matches(user_id: str, value: int, expected: str) -> None:
    """Control with weight 20 and Variation-2 with 60 both match: they get 25 and 75 percent of the users."""
    assert bucket_value(hash_seed(user_id.encode()), 10_000) == value
    assert forced_name(make_forced(EVERYBODY, {}, EVERYBODY), user_id) == expected


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [("Ashley", "Control"), ("Bill", "Control"), ("user_1", "Variation-2")],
)
def test_several_matches_without_weights(user_id: str, expected: str) -> None:
    """If the matches have no weight, they get equal shares of the users."""
    shares = (("Control", 0.0), ("Variation-1", 100.0), ("Variation-2", 0.0))
    made = make_forced(EVERYBODY, {}, EVERYBODY, shares=shares)
    assert forced_name(made, user_id) == expected


def test_equal_shares_are_not_rounded_down() -> None:
    """Three matches without weight get 33.3 percent each, and cover every bucket value."""
    shares = (("Control", 0.0), ("Variation-1", 0.0), ("Variation-2", 0.0))
    made = make_forced(EVERYBODY, EVERYBODY, EVERYBODY, shares=shares)
    assert bucket_value(hash_seed(b"m540"), 10_000) == 3303
    assert forced_name(made, "m540") == "Control"
    assert bucket_value(hash_seed(b"m508"), 10_000) == 9999
    assert forced_name(made, "m508") == "Variation-2"


def test_a_match_of_no_weight_among_others() -> None:
    """Among several matches, one of weight 0 is forced on nobody."""
    shares = (("Control", 0.0), ("Variation-1", 100.0))
    made = make_forced(EVERYBODY, EVERYBODY, shares=shares)
    assert {forced_name(made, user) for user in ("Ashley", "Bill", "user_1")} == {"Variation-1"}


def test_the_only_match_wins() -> None:
    """If only one variation matches, it is forced, whatever its weight is."""
    shares = (("Control", 100.0), ("Variation-1", 0.0))
    assert forced_name(make_forced({}, ASHLEY, shares=shares), "Ashley") == "Variation-1"


def test_nobody_matches() -> None:
    """A user who matches no variation is decided as usual."""
    plan, campaign = make_forced({}, ASHLEY)
    assert find_forced(plan, campaign, User("Bill")) is None
    decision = decide(plan, campaign, User("Bill"), ACTIVATE, None)
    assert not isinstance(decision, Needs)
    assert decision.reason is Reason.ASSIGNED


def test_several_matches_ignore_traffic_multiplier() -> None:
    """The bucket value for several matches is not multiplied when the traffic is below 100."""
    made = make_forced(EVERYBODY, {}, EVERYBODY, percentTraffic=10)
    assert forced_name(made, "Bill") == "Control"
    assert forced_name(made, "Ashley") == "Variation-2"


def test_several_matches_use_the_campaign_seed() -> None:
    """The value comes from the seed of the traffic (7_Ashley is 6184), never from that of new bucketing."""
    shares = (("Control", 40.0), ("Variation-1", 20.0), ("Variation-2", 40.0))
    made = make_forced(EVERYBODY, {}, EVERYBODY, shares=shares, isBucketingSeedEnabled=True)
    assert forced_name(made, "Ashley") == "Variation-2"
    variations = make_variations(shares)
    variations[0]["segments"] = variations[2]["segments"] = EVERYBODY
    campaign = make_campaign(variations=variations, isForcedVariationEnabled=True)
    assert forced_name(make_only_campaign(campaign), "Ashley") == "Control"
    for flags in ({"isNB": True}, {"isNB": True, "isNBv2": True}):
        made = make_only_campaign(campaign, **dict[str, Any](flags))
        assert forced_name(made, "Ashley") == "Variation-2"


@pytest.mark.parametrize("flag", [False, None, 0])
def test_switched_off(flag: Any) -> None:
    """Without isForcedVariationEnabled no variation is forced."""
    made = make_forced(ASHLEY, isForcedVariationEnabled=flag)
    assert forced_name(made, "Ashley") is None


def test_empty_segments_force_nobody() -> None:
    """Empty segments let everybody into a campaign, but force a variation on nobody."""
    assert forced_name(make_forced({}, {}, {}), "Ashley") is None


def test_malformed_segments_force_nobody() -> None:
    """A malformed tree does not match and does not affect other variations."""
    assert forced_name(make_forced({"and": {}}, {}, ASHLEY), "Ashley") == "Variation-2"


def test_hashed_user_list() -> None:
    """With isUserListEnabled the lists hold visitor ids in place of user ids."""
    hashed = make_forced({"user": f"X,{ASHLEY_UUID}"}, isUserListEnabled=True)
    assert forced_name(hashed, "Ashley") == "Control"
    assert forced_name(hashed, "Bill") is None
    assert forced_name(make_forced(ASHLEY, isUserListEnabled=True), "Ashley") is None
    assert forced_name(make_forced({"user": ASHLEY_UUID}), "Ashley") is None


def test_variables_of_whitelisting() -> None:
    """Whitelisting uses its own variables, not those for segmentation."""
    made = make_forced({"custom_variable": {"browser": "chrome"}})
    variables = {"browser": "chrome"}
    assert forced_name(made, User("Bill", variation_targeting_variables=variables)) == "Control"
    assert forced_name(made, User("Bill", custom_variables=variables)) is None


def test_the_callers_variables_stay_as_they_are() -> None:
    """The user id is not written into the caller's own dictionary."""
    variables = {"browser": "chrome"}
    made = make_forced(ASHLEY)
    assert forced_name(made, User("Ashley", variation_targeting_variables=variables)) == "Control"
    assert variables == {"browser": "chrome"}


def test_overrides_everything_else() -> None:
    """A forced variation ignores storage, segments and traffic, and reads no storage."""
    plan, campaign = make_forced(
        {}, ASHLEY, percentTraffic=0, segments={"custom_variable": {"plan": "pro"}}
    )
    for records in (None, {}, {"AB": Stored("Control")}):
        decision = decide(plan, campaign, User("Ashley"), ACTIVATE, records)
        assert not isinstance(decision, Needs)
        assert decision.reason is Reason.WHITELISTED
        assert decision.variation is not None
        assert decision.variation.name == "Variation-1"


@given(user_ids(), st.lists(st.floats(0, 100), min_size=2, max_size=8))
@settings(max_examples=examples(200))
def test_rescaled_weights_leave_no_gap(user_id: str, weights: list[float]) -> None:
    """The rounded ranges of rescaled weights cover every value: one of several matches is always forced."""
    shares = tuple((f"V{number}", weight) for number, weight in enumerate(weights))
    made = make_forced(*([EVERYBODY] * len(shares)), shares=shares)
    name = forced_name(made, user_id)
    assert name is not None
    assert dict(shares)[name] > 0 or not any(weights)
