"""The decision of a flag: what it needs, what it stores, and that it depends on nothing else (section F4)."""

from __future__ import annotations

from typing import Any

import pytest
from fme_file import files, make_campaign, make_feature, make_file, make_flag, make_variation, users
from hypothesis import given
from hypothesis import strategies as st
from replay import GATEWAY, Caller, compile_file, list_impressions, make_user, name_variation

from vwo_async import InvalidInputError, Reason
from vwo_async._core.fme.decision import decide_feature
from vwo_async._core.fme.evaluation import Known, Needs
from vwo_async._core.fme.plan import FlagDecision
from vwo_async._core.fme.record import read_record
from vwo_async._core.fme.user import FlagUser, read_details

ASHLEY = FlagUser("Ashley")


def describe(decision: FlagDecision) -> tuple[Any, ...]:
    """Return all that a decision says."""
    return (
        decision.reason,
        name_variation(decision),
        decision.variation and decision.variation.campaign_key,
        list_impressions(decision),
        decision.records,
        decision.notes,
    )


@given(files(), users(), st.booleans())
def test_all_at_once_or_on_demand(file: dict[str, Any], user: FlagUser, has_gateway: bool) -> None:
    """A decision is the same whether all that is known is given at once or as it is asked for."""
    plan = compile_file(file)
    caller = Caller(plan, {}, has_gateway=has_gateway)
    for key in [*plan.features, *plan.features]:
        on_demand = caller.decide(key, user)
        asked = set(caller.asked)
        at_once = caller.decide(key, user, at_once=True)
        assert describe(at_once) == describe(on_demand)
        assert asked <= set(plan.list_record_keys(plan.features[key]))
        assert not caller.asked, "the keys announced are all that are needed"
        for row in on_demand.make_rows(user.id):
            caller.store(row)


@given(files(), users())
def test_a_decision_is_remembered(file: dict[str, Any], user: FlagUser) -> None:
    """Who got an experiment keeps it: the next call answers from the record, and reports nothing again."""
    plan = compile_file(file)
    caller = Caller(plan, {})
    for key in plan.features:
        first = caller.decide(key, user)
        for row in first.make_rows(user.id):
            caller.store(row)
        second = caller.decide(key, user)
        if first.experiment is not None and second.reason is not Reason.IN_HOLDOUT:
            assert second.reason is Reason.STORED
            assert name_variation(second) == name_variation(first)
            assert not second.impressions
            assert not second.records


@given(files(), users())
def test_nothing_changes_by_itself(file: dict[str, Any], user: FlagUser) -> None:
    """The same question has the same answer, from the same plan and from another one of the same file."""
    plan, other = compile_file(file), compile_file(file)
    for key in plan.features:
        found = describe(Caller(plan).decide(key, user))
        assert describe(Caller(plan).decide(key, user)) == found
        assert describe(Caller(other).decide(key, user)) == found


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), st.integers(1, 100)
)
def test_more_traffic_moves_nobody(user_id: str, traffic: int) -> None:
    """Who is in a test at some traffic has the same variation at all higher ones."""
    user = FlagUser(user_id)
    few = compile_file(make_flag(make_campaign(7, percentTraffic=traffic)))
    everybody = compile_file(make_flag(make_campaign(7)))
    found = name_variation(Caller(few).decide("f1", user))
    assert found is None or found == name_variation(Caller(everybody).decide("f1", user))


@given(users())
def test_a_seed_takes_the_place_of_the_id(user: FlagUser) -> None:
    """Users with one bucketing seed have one variation, that of a user whose id it is."""
    plan = compile_file(make_flag(make_campaign(7)))
    seeded = FlagUser(user.id, bucketing_seed="team")
    wanted = name_variation(Caller(plan).decide("f1", FlagUser("team")))
    assert name_variation(Caller(plan).decide("f1", seeded)) == wanted


@pytest.mark.parametrize("seed", ["", "  ", 5, {}, [], "\ud800", "x" * 5000])
def test_a_seed_that_cannot_be_used(seed: Any) -> None:
    """A bucketing seed that is blank or no text is as none, and noted without its value."""
    user = FlagUser("Ashley", bucketing_seed=seed)
    assert user.hash_bytes == b"Ashley"
    assert len(user.notes) == 1
    assert "xxx" not in user.notes[0]


def test_a_user_without_id() -> None:
    """A user id that cannot be hashed is refused, like FullStack's."""
    for user_id in ("", None, 5, "\ud800"):
        with pytest.raises(InvalidInputError):
            FlagUser(user_id)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given_", "read"),
    [
        (None, None),
        ("", None),
        ({"12": 1, 13: "2", "14": None}, {"12": "1", "13": "2"}),
        ('{"12": 1}', {"12": "1"}),
        ("{", {}),
        ("[" * 4000, {}),
        ("[]", {}),
        ([], {}),
        (5, {}),
    ],
)
def test_web_testing_campaigns(given_: Any, read: Any) -> None:
    """A mapping or a JSON text of one is read; anything else is as an empty one."""
    assert FlagUser("u", web_testing_campaigns=given_).web_testing_campaigns == read


@pytest.mark.parametrize("details", [5, [], {}, {"location": 5}, {"location": {"country": None}}])
def test_details_that_cannot_be_used(details: Any) -> None:
    """Whatever a caller or a gateway says of a user, a segment on places is false and nothing is raised."""
    tree = {"and": [{"country": "India"}]}
    plan = compile_file(
        make_flag(make_campaign(1, "r", variations=[make_variation(1, 100, segments=tree)]))
    )
    user = FlagUser("u", user_ip_address="10.0.0.1", details=details)
    assert not Caller(plan).decide("f1", user).is_enabled


def in_segment(tree: Any) -> dict[str, Any]:
    """Return a file with a rollout to those who pass the segment."""
    return make_flag(make_campaign(1, "r", variations=[make_variation(1, 100, segments=tree)]))


def test_the_gateway_is_asked_once_and_only_if_needed() -> None:
    """A segment on places asks the gateway if there is one, and no detail was given; else nobody is asked."""
    context = {"id": "u", "ipAddress": "10.0.0.1"}
    tree = {"and": [{"country": "India"}]}
    needing, other = compile_file(in_segment(tree)), compile_file(in_segment({}))
    asking = Caller(needing, has_gateway=True)
    assert asking.decide("f1", make_user(context)).is_enabled
    assert asking.asked_details
    assert asking.rounds == 1
    for caller, asked in (
        (Caller(other, has_gateway=True), context),
        (asking, {"id": "u"}),
        (asking, {**context, "_vwo": {"location": {"country": "India"}}}),
    ):
        caller.decide("f1", make_user(asked))
        assert not caller.asked_details


def test_whitelisting_alone_asks_no_gateway() -> None:
    """As in both official SDKs, places in whitelisting are not asked for, and hold for nobody who brings none."""
    forced = make_variation(1, 0, segments={"and": [{"country": "India"}]})
    variations = [forced, make_variation(2, 100)]
    campaign = make_campaign(1, variations=variations, isForcedVariationEnabled=True)
    caller = Caller(compile_file(make_flag(campaign)), has_gateway=True)
    context = {"id": "u", "ipAddress": "10.0.0.1"}
    decision = caller.decide("f1", make_user(context))
    assert decision.variation is not None
    assert (caller.asked_details, decision.variation.id) == (False, 2)
    known = {**context, "_vwo": {"location": {"country": "India"}}}
    assert caller.decide("f1", make_user(known)).reason is Reason.WHITELISTED


def test_without_a_gateway() -> None:
    """What only a gateway knows is false without one, and the decision says so."""
    for tree in ({"and": [{"country": "India"}]}, {"custom_variable": {"x": "inlist(L1)"}}):
        context = {"id": "u", "ipAddress": "10.0.0.1", "customVariables": {"x": "gold"}}
        decision = Caller(compile_file(in_segment(tree))).decide("f1", make_user(context))
        assert decision.reason is Reason.NOT_IN_SEGMENT
        assert len(decision.notes) == 1
        assert "gateway" in decision.notes[0]


@pytest.mark.parametrize("tree", [{"user": 5}, {"and": [5]}, {"not": {"or": None}}, {"or": "x"}])
def test_a_malformed_segment(tree: Any) -> None:
    """A part that cannot be evaluated turns the flag off; nothing is raised, stored or reported."""
    campaigns = (make_campaign(1, "r"), make_campaign(2, segments=tree))
    decision = Caller(compile_file(make_flag(*campaigns)), {}).decide("f1", ASHLEY)
    assert not decision.is_enabled
    assert decision.reason is Reason.MALFORMED_SEGMENT
    assert not decision.records
    assert not decision.impressions


def test_reasons() -> None:
    """Why a flag is on or off is told in one word."""
    pro = {"custom_variable": {"plan": "pro"}}
    cases: list[tuple[dict[str, Any], Reason]] = [
        (make_flag(), Reason.NO_RULE),
        (make_flag(make_campaign(1, "r")), Reason.ASSIGNED),
        (in_segment(pro), Reason.NOT_IN_SEGMENT),
        (make_flag(make_campaign(1, percentTraffic=0)), Reason.NOT_IN_TRAFFIC),
        (make_flag(make_campaign(1, variations=[make_variation(1, 0)])), Reason.NO_VARIATION),
        (make_flag(make_campaign(1), campaignGroups={"1": 9}), Reason.NOT_GROUP_WINNER),
        (
            make_flag(
                make_campaign(1),
                holdouts=[{"id": 9, "percentTraffic": 100, "isGlobal": True}],
            ),
            Reason.IN_HOLDOUT,
        ),
        (
            make_flag(
                make_campaign(
                    1,
                    percentTraffic=0,
                    isForcedVariationEnabled=True,
                    variations=[make_variation(1, 100, segments={"user": "Ashley"})],
                )
            ),
            Reason.WHITELISTED,
        ),
    ]
    for file, reason in cases:
        assert Caller(compile_file(file)).decide("f1", ASHLEY).reason is reason
    found = Caller(compile_file(make_flag())).decide("f9", ASHLEY)
    assert found.reason is Reason.FEATURE_NOT_FOUND
    assert found.feature is None


def test_a_refusal_does_not_hide_the_rollout() -> None:
    """A flag that its rollout turned on stays on, with the rollout's reason, if no experiment takes the user."""
    campaigns = (make_campaign(1, "r"), make_campaign(2, percentTraffic=0))
    decision = Caller(compile_file(make_flag(*campaigns))).decide("f1", ASHLEY)
    assert decision.is_enabled
    assert decision.reason is Reason.ASSIGNED
    assert decision.rule is not None
    assert decision.rule.key == "rule1"


@pytest.mark.parametrize(
    "row",
    [
        {"experimentKey": "campaign1", "experimentId": 1, "experimentVariationId": 2},
        {"experimentKey": "f1_rule1", "experimentVariationId": "2"},
        {"experimentKey": "campaign1", "experimentVariationId": 2.0, "featureId": None},
    ],
)
def test_records_of_both_sdks(row: dict[str, Any]) -> None:
    """A decision is read in the form of either official SDK, and from storages that make text of numbers."""
    plan = compile_file(make_flag(make_campaign(1)))
    caller = Caller(plan, {"f1|Ashley": {"featureKey": "f1", "userId": "Ashley", **row}})
    decision = caller.decide("f1", ASHLEY)
    assert decision.reason is Reason.STORED
    assert name_variation(decision) == "v2"


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers()),
)
FIELDS = [
    "rolloutId",
    "rolloutKey",
    "rolloutVariationId",
    "experimentId",
    "experimentKey",
    "experimentVariationId",
    "isInHoldoutId",
    "notInHoldoutId",
    "holdoutGroupId",
]


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_any_record(row: dict[str, Any]) -> None:
    """Whatever stands in a record, it is read without an error and a decision is made."""
    holdout = {"id": 9, "percentTraffic": 50, "isGlobal": True}
    plan = compile_file(make_flag(make_campaign(1, "r"), make_campaign(2), holdouts=[holdout]))
    known = Known({"f1": read_record(row)})
    decision = decide_feature(plan, "f1", ASHLEY, known)
    assert isinstance(decision, FlagDecision)
    decision.make_rows("Ashley")


@pytest.mark.parametrize("number", [1.5, float("inf"), float("nan"), True, "1.0", [1]])
def test_ids_in_records_are_whole_numbers(number: Any) -> None:
    """An id in a record that is no whole number is none; what else the record says is read."""
    record = read_record(
        {"experimentId": number, "experimentKey": "c7", "experimentVariationId": number}
    )
    assert record is not None
    assert record.experiment == (None, "c7", None)


def test_impact_is_not_reported_again() -> None:
    """The impact campaign of a flag is reported with a new decision, and not with one that is on record."""
    campaign = make_campaign(7)
    feature = make_feature(1, campaign, impactCampaign={"campaignId": 9, "type": "FLAG_IMPACT"})
    caller = Caller(compile_file(make_file([feature], [campaign])), {})
    first = caller.decide("f1", ASHLEY)
    assert [campaign_id for campaign_id, _ in list_impressions(first)] == [7, 9]
    for row in first.make_rows(ASHLEY.id):
        caller.store(row)
    again = caller.decide("f1", ASHLEY)
    assert again.reason is Reason.STORED
    assert list_impressions(again) == []


def test_a_stored_decision_is_never_forgotten() -> None:
    """A holdout that comes later is noted beside the variation on record, and takes nobody's variation away."""
    row = {"experimentKey": "campaign1", "experimentId": 1, "experimentVariationId": 2}
    holdout = {"id": 9, "percentTraffic": 100, "isGlobal": True}
    plan = compile_file(make_flag(make_campaign(1), holdouts=[holdout]))
    caller = Caller(plan, {"f1|Ashley": {"featureKey": "f1", "userId": "Ashley", **row}})
    (written,) = caller.decide("f1", ASHLEY).make_rows("Ashley")
    assert written == {
        "featureKey": "f1",
        "userId": "Ashley",
        "featureId": 1,
        **row,
        "notInHoldoutId": [9],
    }
    caller.store(written)
    again = caller.decide("f1", ASHLEY)
    assert name_variation(again) == "v2"
    assert not again.impressions


def test_holdouts_that_were_judged_stay_so() -> None:
    """Who was found not to be in a holdout stays out of it, however often the flag is off in between."""
    holdout = {"id": 9, "percentTraffic": 0, "isGlobal": True}
    off = make_flag(make_campaign(1, percentTraffic=0), holdouts=[holdout])
    caller = Caller(compile_file(off), {})
    for wanted in ([[9, 2]], [], []):
        decision = caller.decide("f1", ASHLEY)
        assert list_impressions(decision) == wanted
        for row in decision.make_rows("Ashley"):
            caller.store(row)


def test_a_group_is_read_in_one_round() -> None:
    """Deciding in a group of many features asks twice: for the flag's own record, then for all others."""
    campaigns = [make_campaign(number) for number in range(1, 21)]
    features = [make_feature(number, one) for number, one in enumerate(campaigns, start=1)]
    names = [str(one["id"]) for one in campaigns]
    file = make_file(
        features,
        campaigns,
        groups={"5": {"name": "g", "campaigns": names, "et": 1}},
        campaignGroups=dict.fromkeys(names, 5),
    )
    caller = Caller(compile_file(file), {})
    caller.decide("f1", ASHLEY)
    assert caller.rounds == 2
    assert len(caller.asked) == 21


def make_pair(**fields: Any) -> dict[str, Any]:
    """Return a file with two flags of one group, of which the first has a segment of its own."""
    campaigns = [make_campaign(1, **fields), make_campaign(2)]
    features = [make_feature(number, one) for number, one in enumerate(campaigns, start=1)]
    group = {"name": "g", "campaigns": ["1", "2"], "et": 2, "p": ["1"]}
    links = {"1": 5, "2": 5}
    return make_file(
        [*features, make_feature(3)], campaigns, groups={"5": group}, campaignGroups=links
    )


def test_what_was_learnt_for_others_changes_nothing() -> None:
    """A flag that needs no gateway is decided without one, also if another flag had the gateway asked."""
    plan = compile_file(make_pair(segments={"and": [{"country": "India"}]}))
    records = dict.fromkeys(plan.list_record_keys(plan.features["f2"]))
    details = read_details(GATEWAY, [])
    user = FlagUser("Ashley", user_ip_address="10.0.0.1")
    alone = decide_feature(plan, "f2", user, Known(records, has_gateway=True))
    together = decide_feature(plan, "f2", user, Known(records, has_gateway=True, details=details))
    assert isinstance(alone, FlagDecision)
    assert isinstance(together, FlagDecision)
    assert alone.reason is Reason.ASSIGNED
    assert describe(alone) == describe(together)


def test_the_records_that_a_group_can_need_are_announced() -> None:
    """What a flag can need includes what the segments of the other flags of its group ask about."""
    plan = compile_file(make_pair(segments={"or": [{"featureId": {"3": "on"}}]}))
    assert set(plan.list_record_keys(plan.features["f2"])) == {"f1", "f2", "f3", "_vwo_meta_meg_5"}


def test_needs_say_what_is_missing() -> None:
    """A decision that cannot be made yet names the records, and nothing that is known already."""
    plan = compile_file(make_flag(make_campaign(1)))
    assert decide_feature(plan, "f1", ASHLEY, Known({})) == Needs(("f1",))
    assert isinstance(decide_feature(plan, "f1", ASHLEY, Known({"f1": None})), FlagDecision)


def test_nothing_shows_the_visitor() -> None:
    """No repr of what a decision is made of or asks for holds what is known of the user."""
    context = {
        "id": "SECRET",
        "customVariables": {"x": "SECRET"},
        "userAgent": "SECRET",
        "ipAddress": "SECRET",
        "bucketingSeed": "SECRET",
        "_vwo": {"location": {"country": "SECRET"}},
    }
    user = make_user(context)
    plan = compile_file(in_segment({"custom_variable": {"x": "inlist(L1)"}}))
    known = Known(None, has_gateway=True, details=user.details)
    needs = decide_feature(plan, "f1", user, known)
    assert isinstance(needs, Needs)
    assert needs.lists == (("L1", "SECRET"),)
    answered = known._replace(lists={needs.lists[0]: True})
    decision = decide_feature(plan, "f1", user, answered)
    for shown in (user, needs, known, answered, user.details, decision):
        assert "SECRET" not in repr(shown)
