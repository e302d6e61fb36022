"""The order of a decision: section 8 of docs/reference.md, and properties of all settings and users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_effort import examples
from strategy import (
    JsonObject,
    make_campaign,
    make_only_campaign,
    make_plan,
    make_variations,
    members_of,
    settings_files,
    users,
    weights,
)

from vwo_async._core.api_method import (
    ACTIVATE,
    GET_FEATURE_VARIABLE_VALUE,
    GET_VARIATION_NAME,
    IS_FEATURE_ENABLED,
    TRACK,
    Api,
)
from vwo_async._core.bucketing import bucket_value, hash_seed
from vwo_async._core.decision import Needs, Records, Stored, decide, find_refusal
from vwo_async._core.plan import Campaign, Decision, Plan
from vwo_async._reason import Reason
from vwo_async._settings import parse_settings
from vwo_async._user import User

PRO = {"custom_variable": {"plan": "pro"}}
ASHLEY = User("Ashley")
APIS = (ACTIVATE, GET_VARIATION_NAME, IS_FEATURE_ENABLED, GET_FEATURE_VARIABLE_VALUE, TRACK)
ASSIGNING = (ACTIVATE, IS_FEATURE_ENABLED)


def ids(value: Any) -> str | None:
    return value.name if isinstance(value, Api) else None


def decide_for(
    plan: Plan, campaign: Campaign, user: User, api: Api = ACTIVATE, records: Records | None = None
) -> Decision:
    decision = decide(plan, campaign, user, api, records)
    assert isinstance(decision, Decision)
    return decision


# What keeps Ashley from a variation, in the order in which it is looked at; each of them alone suffices.
def make_hurdles(*, forced: bool = False) -> JsonObject:
    """Return a campaign that refuses Ashley at every step but the first two."""
    variations = make_variations((("Control", 0), ("Variation-1", 0)))
    variations[1]["segments"] = {"user": "Ashley"}
    return make_campaign(
        segments=PRO, percentTraffic=0, variations=variations, isForcedVariationEnabled=forced
    )


def test_whitelisting_comes_first() -> None:
    """A forced variation needs no record, segment, traffic or weight."""
    plan, campaign = make_only_campaign(make_hurdles(forced=True))
    for api in APIS:
        for records in (None, {}, {"AB": None}, {"AB": Stored("Control")}):
            decision = decide_for(plan, campaign, ASHLEY, api, records)
            assert decision.reason is Reason.WHITELISTED
            assert decision.variation is campaign.variations[1]


def test_the_record_comes_second() -> None:
    """A stored variation is kept, whatever segments, traffic and weights say."""
    plan, campaign = make_only_campaign(make_hurdles())
    for api in APIS:
        decision = decide_for(plan, campaign, ASHLEY, api, {"AB": Stored("Control")})
        assert decision.reason is Reason.STORED
        assert decision.variation is campaign.variations[0]


def test_segments_come_before_traffic() -> None:
    """If segment and traffic both exclude the user, the reason is the segment; else the one that does."""
    plan, campaign = make_only_campaign(make_hurdles())
    assert decide_for(plan, campaign, ASHLEY).reason is Reason.NOT_IN_SEGMENT
    pro = User("Ashley", custom_variables={"plan": "pro"})
    assert decide_for(plan, campaign, pro).reason is Reason.NOT_IN_TRAFFIC


def test_traffic_comes_before_the_group() -> None:
    """For a user outside the traffic the group is not checked and its records are not needed."""
    plan = make_plan(
        make_campaign(11, "A", percentTraffic=0),
        make_campaign(12, "B"),
        groups={"5": {"campaigns": [11, 12]}},
        campaignGroups={"11": 5, "12": 5},
    )
    decision = decide_for(plan, plan.campaigns["A"], ASHLEY, records={"A": None})
    assert decision.reason is Reason.NOT_IN_TRAFFIC


def test_weights_come_last() -> None:
    """A user who passes all other steps gets no variation only if no range covers the bucket value."""
    plan, campaign = make_only_campaign(make_campaign(variations=make_variations((("C", 0),))))
    assert decide_for(plan, campaign, ASHLEY).reason is Reason.NO_VARIATION


def test_no_lookup_without_storage() -> None:
    """Without a user storage a decision never asks for records."""
    plan, campaign = make_only_campaign()
    for api in APIS:
        assert decide_for(plan, campaign, ASHLEY, api).reason is Reason.ASSIGNED


def test_lookup_of_the_record() -> None:
    """With a user storage only the campaign's own record is asked for."""
    plan, campaign = make_only_campaign()
    for api in APIS:
        assert decide(plan, campaign, ASHLEY, api, {}) == Needs(("AB",))
        assert decide(plan, campaign, ASHLEY, api, {"other": None}) == Needs(("AB",))


@pytest.mark.parametrize("api", APIS, ids=ids)
def test_activation_is_mandatory(api: Api) -> None:
    """With a user storage only activate and is_feature_enabled assign a variation to users without a record."""
    plan, campaign = make_only_campaign()
    decision = decide_for(plan, campaign, ASHLEY, api, {"AB": None})
    assert decision.reason is (Reason.ASSIGNED if api in ASSIGNING else Reason.NOT_ACTIVATED)
    assert (decision.variation is not None) is (api in ASSIGNING)


@pytest.mark.parametrize("api", APIS, ids=ids)
def test_activation_comes_before_segments(api: Api) -> None:
    """A user who was never activated gets that reason, even if the segment excludes the user too."""
    plan, campaign = make_only_campaign(make_hurdles())
    decision = decide_for(plan, campaign, ASHLEY, api, {"AB": None})
    expected = Reason.NOT_IN_SEGMENT if api in ASSIGNING else Reason.NOT_ACTIVATED
    assert decision.reason is expected


@pytest.mark.parametrize("api", APIS, ids=ids)
def test_stale_record(api: Api) -> None:
    """A user with a stored variation that no longer exists counts as activated and is decided again."""
    plan, campaign = make_only_campaign()
    decision = decide_for(plan, campaign, ASHLEY, api, {"AB": Stored("Gone")})
    assert decision.reason is Reason.ASSIGNED
    assert decision.variation is not None and decision.variation.name == "Control"
    plan, campaign = make_only_campaign(make_hurdles())
    decision = decide_for(plan, campaign, ASHLEY, api, {"AB": Stored("Gone")})
    assert decision.reason is Reason.NOT_IN_SEGMENT


def test_variation_names_are_case_sensitive() -> None:
    """A record with the variation name in another case matches no variation."""
    plan, campaign = make_only_campaign()
    decision = decide_for(plan, campaign, ASHLEY, TRACK, {"AB": Stored("CONTROL")})
    assert decision.reason is Reason.ASSIGNED


def test_first_variation_of_a_name() -> None:
    """If two variations have the same name, a record means the first."""
    plan, campaign = make_only_campaign(
        make_campaign(variations=make_variations((("A", 10), ("A", 90))))
    )
    decision = decide_for(plan, campaign, ASHLEY, ACTIVATE, {"AB": Stored("A")})
    assert decision.variation is campaign.variations[0]


TYPES = {
    ACTIVATE: {"VISUAL_AB"},
    GET_VARIATION_NAME: {"VISUAL_AB", "FEATURE_TEST"},
    IS_FEATURE_ENABLED: {"FEATURE_TEST", "FEATURE_ROLLOUT"},
    GET_FEATURE_VARIABLE_VALUE: {"FEATURE_TEST", "FEATURE_ROLLOUT"},
    TRACK: {"VISUAL_AB", "FEATURE_TEST"},
}


@pytest.mark.parametrize("kind", ["VISUAL_AB", "FEATURE_TEST", "FEATURE_ROLLOUT", "NEW", ""])
@pytest.mark.parametrize("api", APIS, ids=ids)
def test_campaign_types(api: Api, kind: str) -> None:
    """Each API applies to the campaign types of section 9, and no API to an unknown type."""
    _, campaign = make_only_campaign(make_campaign(type=kind))
    refusal = find_refusal(campaign, api, has_storage=False)
    assert refusal is (None if kind in TYPES[api] else Reason.CAMPAIGN_TYPE_MISMATCH)


@pytest.mark.parametrize("status", ["PAUSED", "running", "", "NOT_STARTED"])
@pytest.mark.parametrize("api", APIS, ids=ids)
def test_campaign_status(api: Api, status: str) -> None:
    """Only a campaign with exactly the status RUNNING is running."""
    _, campaign = make_only_campaign(make_campaign(status=status))
    refusal = find_refusal(campaign, api, has_storage=True)
    assert refusal is Reason.CAMPAIGN_NOT_RUNNING


def test_unknown_campaign() -> None:
    """A campaign that is not in the file is refused with that reason; keys are case-sensitive."""
    plan, _ = make_only_campaign()
    for api in APIS:
        refusal = find_refusal(plan.campaigns.get("ab"), api, has_storage=False)
        assert refusal is Reason.CAMPAIGN_NOT_FOUND


@pytest.mark.parametrize("api", APIS, ids=ids)
def test_mab_needs_storage(api: Api) -> None:
    """Without a storage, the APIs that send events refuse a multi-armed bandit campaign."""
    _, campaign = make_only_campaign(make_campaign(type="FEATURE_TEST", isMAB=True))
    fits = campaign.type in api.types
    without = find_refusal(campaign, api, has_storage=False)
    if api in (GET_VARIATION_NAME, GET_FEATURE_VARIABLE_VALUE):
        assert without is None
    else:
        assert without is Reason.STORAGE_REQUIRED
    with_storage = find_refusal(campaign, api, has_storage=True)
    assert with_storage is (None if fits else Reason.CAMPAIGN_TYPE_MISMATCH)


@pytest.mark.parametrize("flag", [False, 0, None])
def test_mab_flag_counts_by_value(flag: Any) -> None:
    """A flag that is present but false is not set."""
    _, campaign = make_only_campaign(make_campaign(isMAB=flag))
    assert find_refusal(campaign, TRACK, has_storage=False) is None


def test_refusals_in_order() -> None:
    """The status is checked before the storage, and the storage before the type."""
    _, campaign = make_only_campaign(
        make_campaign(status="PAUSED", isMAB=True, type="FEATURE_ROLLOUT")
    )
    assert find_refusal(campaign, TRACK, has_storage=False) is Reason.CAMPAIGN_NOT_RUNNING
    _, campaign = make_only_campaign(make_campaign(isMAB=True, type="FEATURE_ROLLOUT"))
    assert find_refusal(campaign, TRACK, has_storage=False) is Reason.STORAGE_REQUIRED


# What holds for any settings and any user.

Answer = tuple[str | None, Reason]


def answer(plan: Plan, key: str, user: User) -> Answer:
    """Return the decision without a storage, as plain values."""
    decision = decide_for(plan, plan.campaigns[key], user)
    variation = decision.variation
    return None if variation is None else variation.name, decision.reason


def answers(file: Mapping[str, Any], user: User) -> dict[str, Answer]:
    plan = Plan(parse_settings(file))
    return {key: answer(plan, key, user) for key in plan.campaigns}


@given(settings_files(forced=True), users())
@settings(max_examples=examples(100))
def test_deterministic(file: JsonObject, user: User) -> None:
    """The same user gets the same decision again, from the same plan and from a newly compiled one."""
    plan = Plan(parse_settings(file))
    once = {key: answer(plan, key, user) for key in plan.campaigns}
    assert {key: answer(plan, key, user) for key in sorted(plan.campaigns)} == once
    assert answers(file, User(user.id, custom_variables=user.custom_variables)) == once


@given(settings_files(forced=True), users(), st.data())
@settings(max_examples=examples(100))
def test_independent_of_other_campaigns(file: JsonObject, user: User, data: st.DataObject) -> None:
    """No decision depends on the order of the file or on campaigns outside the group."""
    everything = answers(file, user)
    shuffled = {**file, "campaigns": data.draw(st.permutations(file["campaigns"]))}
    assert answers(shuffled, user) == everything
    for campaign in file["campaigns"]:
        alone = {**file, "campaigns": members_of(file, campaign)}
        assert answers(alone, user)[campaign["key"]] == everything[campaign["key"]]


@given(settings_files(), users())
@settings(max_examples=examples(120))
def test_one_campaign_of_a_group(file: JsonObject, user: User) -> None:
    """A user who is not whitelisted is assigned to at most one campaign of a group."""
    given_to = [
        key for key, (_, reason) in answers(file, user).items() if reason is Reason.ASSIGNED
    ]
    grouped = [f"C{one}" for one in file.get("campaignGroups", {})]
    assert len(set(given_to) & set(grouped)) <= 1


@given(settings_files(forced=True), users())
@settings(max_examples=examples(120))
def test_outside_the_traffic(file: JsonObject, user: User) -> None:
    """Users outside the traffic get a variation only if it is forced; with traffic 0 all users are outside."""
    for campaign in file["campaigns"]:
        by_campaign = file.get("isNB") or campaign.get("isBucketingSeedEnabled")
        seed = f"{campaign['id']}_{user.id}" if by_campaign else user.id
        value = bucket_value(hash_seed(seed.encode()), 100)
        name, reason = answers(file, user)[campaign["key"]]
        if value > campaign["percentTraffic"]:
            assert reason in (Reason.WHITELISTED, Reason.NOT_IN_TRAFFIC, Reason.NOT_IN_SEGMENT)
            assert (name is not None) is (reason is Reason.WHITELISTED)
        else:
            assert reason is not Reason.NOT_IN_TRAFFIC


@given(settings_files(forced=True), users())
@settings(max_examples=examples(100))
def test_assigned_variations_have_weight(file: JsonObject, user: User) -> None:
    """No user is assigned to a variation of weight 0, and every variation belongs to its campaign."""
    found = answers(file, user)
    for campaign in file["campaigns"]:
        shares = {one["name"]: one["weight"] for one in campaign["variations"]}
        name, reason = found[campaign["key"]]
        assert name is None or name in shares
        assert reason is not Reason.ASSIGNED or shares[name or ""] > 0


def records_of(names: list[str]) -> st.SearchStrategy[Stored | None]:
    return st.one_of(st.none(), st.sampled_from([*names, "Gone"]).map(Stored))


@given(settings_files(forced=True), users(), st.sampled_from(APIS), st.data())
@settings(max_examples=examples(120))
def test_lookups_end(file: JsonObject, user: User, api: Api, data: st.DataObject) -> None:
    """At most two rounds of reading give a decision; each asks for what is not known yet, once, and no more
    than the campaign and its group."""
    plan = Plan(parse_settings(file))
    for entry in file["campaigns"]:
        campaign = plan.campaigns[entry["key"]]
        others = {one["key"]: one for one in members_of(file, entry)}
        records: dict[str, Stored | None] = {}
        for _ in range(3):
            found = decide(plan, campaign, user, api, records)
            if isinstance(found, Decision):
                break
            assert found.keys and len(set(found.keys)) == len(found.keys)
            assert not set(found.keys) & records.keys()
            assert set(found.keys) <= others.keys()
            for key in found.keys:
                names = [one["name"] for one in others[key]["variations"]]
                records[key] = data.draw(records_of(names))
        assert isinstance(found, Decision)
        if found.reason is Reason.WHITELISTED:
            assert not records
        if found.reason is Reason.STORED:
            record = records[campaign.key]
            assert record is not None and found.variation is not None
            assert found.variation.name == record.variation_name


@given(settings_files(), users(), st.data())
@settings(max_examples=examples(100))
def test_storage_keeps_users(file: JsonObject, user: User, data: st.DataObject) -> None:
    """With a storage a user keeps the variation, and one campaign of the group, when the rules change."""
    stored: dict[str, Stored | None] = {one["key"]: None for one in file["campaigns"]}
    grouped = {f"C{one}" for one in file.get("campaignGroups", {})}
    for _ in range(3):
        plan = Plan(parse_settings(file))
        for key in data.draw(st.permutations(list(stored))):
            decision = decide_for(plan, plan.campaigns[key], user, ACTIVATE, stored)
            name = None if decision.variation is None else decision.variation.name
            before = stored[key]
            if before is not None:
                assert (name, decision.reason) == (before.variation_name, Reason.STORED)
            elif name is not None:
                stored[key] = Stored(name)
        held = {key for key, record in stored.items() if record is not None}
        assert len(held & grouped) <= 1
        for campaign in file["campaigns"]:
            campaign["percentTraffic"] = data.draw(st.integers(0, 100))
            for variation in campaign["variations"]:
                variation["weight"] = data.draw(weights())
