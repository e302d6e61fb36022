"""Mutually exclusive groups: section 7 of docs/reference.md."""

from __future__ import annotations

from typing import Any

import pytest
from strategy import JsonObject, make_campaign, make_plan, make_variations

from vwo_async._core.api_method import ACTIVATE, TRACK
from vwo_async._core.bucketing import bucket_value, hash_seed
from vwo_async._core.decision import Needs, Records, Stored, decide, find_refusal
from vwo_async._core.plan import Decision, Plan
from vwo_async._reason import Reason
from vwo_async._user import User

KEYS = ("A", "B", "C3")
EQUAL: JsonObject = {"et": 1}
PRIORITY: JsonObject = {"et": 2, "p": [12]}
WEIGHTS: JsonObject = {"et": 2, "wt": {"11": 20, "13": 80}}
PAUSED: JsonObject = {"status": "PAUSED"}
NO_TRAFFIC: JsonObject = {"percentTraffic": 0}
PRO_ONLY: JsonObject = {"segments": {"custom_variable": {"plan": "pro"}}}


def make_group_plan(
    group: JsonObject,
    changes: dict[str, JsonObject] | None = None,
    *,
    ids: tuple[int, ...] = (11, 12, 13),
    **fields: Any,
) -> Plan:
    """Return the plan of group 5 with campaigns 11 A, 12 B and 13 C3, or only those in *ids*."""
    changes = changes or {}
    campaigns = [
        make_campaign(campaign_id, key, **changes.get(key, {}))
        for campaign_id, key in zip((11, 12, 13), KEYS, strict=True)
    ]
    file_fields = {
        "groups": {"5": {"name": "five", "campaigns": list(ids), **group}},
        "campaignGroups": dict.fromkeys(map(str, ids), 5),
        **fields,
    }
    return make_plan(*campaigns, **file_fields)


def decide_for(plan: Plan, key: str, user: User | str, records: Records | None = None) -> Decision:
    user = User(user) if isinstance(user, str) else user
    decision = decide(plan, plan.campaigns[key], user, ACTIVATE, records)
    assert isinstance(decision, Decision)
    return decision


def winners(plan: Plan, user: User | str) -> list[str]:
    """Return the keys of the campaigns that the user is assigned to."""
    decisions = [decide_for(plan, key, user) for key in KEYS]
    assert {one.reason for one in decisions} <= {
        Reason.ASSIGNED,
        Reason.NOT_GROUP_WINNER,
        Reason.NOT_IN_TRAFFIC,
        Reason.NOT_IN_SEGMENT,
    }
    return [one.campaign.key for one in decisions if one.variation is not None]


@pytest.mark.parametrize(
    ("user_id", "value"),
    [("Ashley", 876), ("Bill", 3423), ("user_1", 4735), ("m16", 3321), ("m244", 9999)],
)
def test_value(user_id: str, value: int) -> None:
    """The bucket value of a group is computed from the group's id and the user's."""
    plan = make_group_plan(EQUAL)
    group = plan.campaigns["A"].group
    assert group is not None
    assert bucket_value(hash_seed(group.seed_prefix + user_id.encode()), 10_000) == value
    assert bucket_value(hash_seed(f"5_{user_id}".encode()), 10_000) == value


# The border cases m16 and m244 have the answers of floor(100 / 3), as in the Node and Java SDKs.
WORKED: list[tuple[JsonObject, dict[str, list[str]]]] = [
    (EQUAL, {"Ashley": ["A"], "Bill": ["B"], "user_1": ["B"], "m16": ["B"], "m244": []}),
    ({}, {"Ashley": ["A"], "Bill": ["B"], "user_1": ["B"], "m16": ["B"], "m244": []}),
    (PRIORITY, {"Ashley": ["B"], "Bill": ["B"], "user_1": ["B"], "m244": ["B"]}),
    (WEIGHTS, {"Ashley": ["A"], "Bill": ["C3"], "user_1": ["C3"], "m244": ["C3"]}),
    # An unknown algorithm goes by priority and weight as 2 does.
    ({**WEIGHTS, "et": 3}, {"Ashley": ["A"], "Bill": ["C3"]}),
    ({**PRIORITY, "et": 3}, {"Ashley": ["B"]}),
    # Priority comes before weight, and its first eligible entry counts.
    ({**WEIGHTS, "p": [13]}, {"Ashley": ["C3"], "Bill": ["C3"]}),
    ({"et": 2, "p": [12, 11]}, {"Ashley": ["B"]}),
    ({"et": 2, "p": [99, 13]}, {"Ashley": ["C3"]}),
    ({"et": 2, "p": ["12"]}, {"Ashley": ["B"]}),
    # Weights are not rescaled: who is not covered gets no campaign.
    ({"et": 2, "wt": {"11": 20}}, {"Ashley": ["A"], "Bill": [], "user_1": []}),
    ({"et": 2, "wt": {"11": 0, "12": 10}}, {"Ashley": ["B"], "Bill": []}),
    ({"et": 2}, {"Ashley": [], "Bill": []}),
    ({"et": 2, "p": [], "wt": {}}, {"Ashley": []}),
]


@pytest.mark.parametrize(("group", "expected"), WORKED)
def test_worked_examples(group: JsonObject, expected: dict[str, list[str]]) -> None:
    """Each user gets the campaign that the rules of the group determine, and no other."""
    plan = make_group_plan(group)
    assert {user: winners(plan, user) for user in expected} == expected


@pytest.mark.parametrize(("members", "last"), [(3, 9900), (6, 9600), (7, 9800)])
def test_equal_shares_are_rounded_down(members: int, last: int) -> None:
    """Each of n eligible members gets floor(100/n) percent; users above these shares get no campaign."""
    ids = list(range(1, members + 1))
    plan = make_plan(
        *[make_campaign(one, f"C{one}") for one in ids],
        groups={"5": {"campaigns": ids}},
        campaignGroups={str(one): 5 for one in ids},
    )
    has_none = {}
    for number in range(3000):
        value = bucket_value(hash_seed(f"5_m{number}".encode()), 10_000)
        if abs(value - last) < 120:
            won = [key for key in plan.campaigns if decide_for(plan, key, f"m{number}").variation]
            has_none[value] = not won
    assert has_none
    assert has_none == {value: value > last for value in has_none}


def test_the_only_eligible_member_wins() -> None:
    """If only one member is eligible, it wins the user, whatever the rules say."""
    for group in (EQUAL, PRIORITY, WEIGHTS, {"et": 2}):
        plan = make_group_plan(group, {"B": NO_TRAFFIC, "C3": NO_TRAFFIC})
        assert winners(plan, "Bill") == ["A"]


def test_shares_of_the_eligible() -> None:
    """Members that are not eligible have no share: the other two get half of the users each."""
    plan = make_group_plan(EQUAL, {"A": NO_TRAFFIC})
    assert winners(plan, "Bill") == ["B"]
    assert winners(plan, "user_1") == ["B"]
    assert winners(plan, "m244") == ["C3"]
    assert winners(plan, "Ashley") == ["B"]


def test_segments_of_the_members() -> None:
    """A member whose segments exclude the user neither wins nor keeps the user from others."""
    plan = make_group_plan({"et": 2, "p": [13, 11]}, {"C3": PRO_ONLY})
    assert winners(plan, "Bill") == ["A"]
    assert winners(plan, User("Bill", custom_variables={"plan": "pro"})) == ["C3"]


def test_weights_of_the_eligible_are_not_rescaled() -> None:
    """The weights of members that are not eligible are not given to the others."""
    plan = make_group_plan(
        {"et": 2, "wt": {"11": 20, "12": 20, "13": 60}}, {"A": NO_TRAFFIC, "C3": NO_TRAFFIC}
    )
    assert winners(plan, "m244") == ["B"]
    plan = make_group_plan({"et": 2, "wt": {"11": 20, "12": 20, "13": 60}}, {"A": NO_TRAFFIC})
    assert winners(plan, "Ashley") == ["B"]
    assert winners(plan, "Bill") == ["C3"]
    assert winners(plan, "m244") == []


def test_a_member_without_a_weight_never_wins() -> None:
    """Whoever is outside the shares of the members that have a weight gets none of the campaigns."""
    plan = make_group_plan({"et": 2, "wt": {"11": 20}})
    won = [tuple(winners(plan, f"user {number}")) for number in range(400)]
    assert set(won) == {("A",), ()}


def test_a_paused_member_competes() -> None:
    """A paused member can win a user, who then gets none of the others."""
    plan = make_group_plan(EQUAL, {"A": PAUSED})
    assert decide_for(plan, "B", "Ashley").reason is Reason.NOT_GROUP_WINNER
    assert decide_for(plan, "C3", "Ashley").reason is Reason.NOT_GROUP_WINNER
    assert decide_for(plan, "B", "Bill").reason is Reason.ASSIGNED


def test_a_paused_member_of_priority() -> None:
    """By priority a member can win whatever its status is."""
    plan = make_group_plan(PRIORITY, {"B": PAUSED})
    assert decide_for(plan, "A", "Ashley").reason is Reason.NOT_GROUP_WINNER


def test_members_that_the_file_lacks() -> None:
    """Ids of campaigns that are not in the file have no share."""
    plan = make_plan(
        make_campaign(11, "A"),
        make_campaign(12, "B"),
        groups={"5": {"campaigns": [98, 11, 99, 12]}},
        campaignGroups={"11": 5, "12": 5},
    )
    won = [key for key in ("A", "B") if decide_for(plan, key, "Bill").variation is not None]
    assert won == ["A"]


def test_a_campaign_that_its_group_does_not_name() -> None:
    """A campaign whose group in campaignGroups does not list it never gets a user."""
    plan = make_group_plan(EQUAL, ids=(11, 12), campaignGroups={"11": 5, "12": 5, "13": 5})
    for user in ("Ashley", "Bill", "user_1", "m244"):
        decision = decide_for(plan, "C3", user)
        assert decision.variation is None
        assert decision.reason is Reason.NOT_GROUP_WINNER
    assert winners(plan, "Ashley") == ["A"]


def test_the_only_eligible_member_of_a_foreign_group() -> None:
    """Even if only one member is eligible, its variation is not given for another campaign."""
    plan = make_group_plan(EQUAL, ids=(11,), campaignGroups={"11": 5, "13": 5})
    assert decide_for(plan, "C3", "Ashley").variation is None


def test_a_listed_campaign_that_is_in_no_group() -> None:
    """A campaign that a group lists but campaignGroups does not is decided without the group."""
    plan = make_group_plan(PRIORITY, campaignGroups={"12": 5})
    assert decide_for(plan, "A", "Ashley").reason is Reason.ASSIGNED
    assert decide_for(plan, "B", "Ashley").reason is Reason.ASSIGNED


def test_an_unknown_group() -> None:
    """A campaign in an unknown group gets no users and is noted; others are not affected."""
    plan = make_group_plan(EQUAL, campaignGroups={"11": 6})
    for api in (ACTIVATE, TRACK):
        refusal = find_refusal(plan.campaigns["A"], api, has_storage=True)
        assert refusal is Reason.NOT_GROUP_WINNER
        assert find_refusal(plan.campaigns["B"], api, has_storage=True) is None
    assert plan.notes == (
        "campaignGroups.11: the group is not there, so nobody gets this campaign",
    )
    assert make_group_plan(EQUAL).notes == ()


@pytest.mark.parametrize("status", ["RUNNING", "PAUSED"])
def test_another_member_whitelists(status: str) -> None:
    """A user who is whitelisted in one member gets none of the other members."""
    variations = make_variations()
    variations[0]["segments"] = {"user": "Ashley"}
    forced = {"variations": variations, "isForcedVariationEnabled": True, "status": status}
    plan = make_group_plan(EQUAL, {"C3": {**forced, **NO_TRAFFIC}})
    assert decide_for(plan, "A", "Ashley").reason is Reason.NOT_GROUP_WINNER
    assert decide_for(plan, "C3", "Ashley").reason is Reason.WHITELISTED
    assert decide_for(plan, "A", "Bill").reason is Reason.ASSIGNED


def test_another_member_has_a_record() -> None:
    """A user with a record in one member gets none of the other members."""
    plan = make_group_plan(PRIORITY)
    records: Records = {"A": None, "B": None, "C3": Stored("Control")}
    for key in ("A", "B"):
        assert decide_for(plan, key, "Bill", records).reason is Reason.NOT_GROUP_WINNER
    assert decide_for(plan, "C3", "Bill", records).reason is Reason.STORED


def test_another_member_has_a_stale_record() -> None:
    """A record with a variation that no longer exists does not count."""
    plan = make_group_plan(PRIORITY)
    records: Records = {"A": None, "B": None, "C3": Stored("Gone")}
    assert decide_for(plan, "B", "Bill", records).reason is Reason.ASSIGNED


def test_own_record_needs_no_group() -> None:
    """A user with a record in a campaign keeps it, even if the group would choose another one."""
    plan = make_group_plan(PRIORITY)
    records: Records = {"A": Stored("Control")}
    assert decide_for(plan, "A", "Bill", records).reason is Reason.STORED


def test_lookup_of_the_other_members() -> None:
    """The other members' records are only read if the campaign itself is eligible."""
    plan = make_group_plan(EQUAL, {"A": PRO_ONLY})
    campaign, user = plan.campaigns["A"], User("Ashley")
    assert decide(plan, campaign, user, ACTIVATE, {}) == Needs(("A",))
    refused = decide(plan, campaign, user, ACTIVATE, {"A": None})
    assert isinstance(refused, Decision)
    assert refused.reason is Reason.NOT_IN_SEGMENT
    pro = User("Ashley", custom_variables={"plan": "pro"})
    assert decide(plan, campaign, pro, ACTIVATE, {"A": None}) == Needs(("B", "C3"))
    assert decide(plan, campaign, pro, ACTIVATE, {"A": None, "B": None}) == Needs(("C3",))
    found = decide(plan, campaign, pro, ACTIVATE, {"A": None, "B": None, "C3": None})
    assert isinstance(found, Decision)
    assert found.reason is Reason.ASSIGNED


def test_other_members_are_not_held_to_activation() -> None:
    """Missing records of other members do not exclude a user who was activated in this campaign."""
    plan = make_group_plan(PRIORITY)
    decision = decide(
        plan, plan.campaigns["B"], User("Bill"), TRACK, {"B": Stored("Gone"), "A": None, "C3": None}
    )
    assert isinstance(decision, Decision)
    assert decision.reason is Reason.ASSIGNED


def test_bucketing_within_the_group() -> None:
    """The winner buckets users as it would without a group."""
    grouped = make_group_plan(PRIORITY)
    alone = make_plan(make_campaign(12, "B"))
    for user in ("Ashley", "Bill", "user_1"):
        inside, outside = decide_for(grouped, "B", user), decide_for(alone, "B", user)
        assert inside.variation is not None and outside.variation is not None
        assert inside.variation.name == outside.variation.name
