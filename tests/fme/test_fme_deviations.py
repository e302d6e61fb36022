"""Where the official FME SDKs differ from one another, and no vector of both can show it: what this one does."""

from __future__ import annotations

from typing import Any

import pytest
from fme_file import make_campaign, make_feature, make_file, make_flag, make_variation
from own_time import Stopwatch
from replay import Caller, compile_file, list_impressions, make_user, name_variation

from vwo_async import Reason
from vwo_async._core.fme.user import FlagUser

ASHLEY = FlagUser("Ashley")
PRO = {"custom_variable": {"plan": "pro"}}
HOLDOUT = {"id": 9, "percentTraffic": 100, "isGlobal": True, "segments": {}}


def with_row(file: dict[str, Any], key: str = "f1", **row: Any) -> Caller:
    """Return a caller whose storage has that one row of Ashley."""
    rows = {f"{key}|Ashley": {"featureKey": key, "userId": "Ashley", **row}}
    return Caller(compile_file(file), rows)


def test_the_older_name_of_the_holdouts() -> None:
    """It counts where the newer one is absent, and not beside it."""
    file = make_flag(make_campaign(1), holdouts=[{**HOLDOUT, "percentTraffic": 0}])
    older = with_row(file, holdoutGroupId=[9]).decide("f1", ASHLEY)
    assert older.reason is Reason.IN_HOLDOUT
    both = with_row(file, holdoutGroupId=[9], isInHoldoutId=[]).decide("f1", ASHLEY)
    assert both.is_enabled


def test_a_stored_rollout_without_a_variation() -> None:
    """It is as if it were not there: the rollout's segment is judged again."""
    closed = make_campaign(1, "r", variations=[make_variation(1, 100, segments=PRO)])
    row: dict[str, Any] = {"rolloutId": 1, "rolloutKey": "campaign1"}
    assert not with_row(make_flag(closed), **row).decide("f1", ASHLEY).is_enabled
    whole = with_row(make_flag(closed), **row, rolloutVariationId=1).decide("f1", ASHLEY)
    assert whole.reason is Reason.STORED


def test_a_stored_winner_of_the_same_campaign() -> None:
    """The stored winner of a group is remembered, so that its rule passes after another rule has failed."""
    variations = [make_variation(1, 100), make_variation(2, 100)]
    campaign = make_campaign(1, "p", variations=variations)
    feature = make_feature(1, campaign, campaign)
    for number, rule in enumerate(feature["rules"], start=1):
        rule |= {"variationId": number, "ruleKey": f"p{number}"}
    members = ["1_1", "1_2"]
    file = make_file(
        [feature],
        [campaign],
        groups={"5": {"name": "g", "campaigns": members, "et": 1}},
        campaignGroups=dict.fromkeys(members, 5),
    )
    row: dict[str, Any] = {
        "experimentId": 1,
        "experimentKey": "campaign1",
        "experimentVariationId": 2,
    }
    caller = with_row(file, "_vwo_meta_meg_5", **row)
    assert name_variation(caller.decide("f1", ASHLEY)) == "v2"


def group_of(*rollouts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a file of two features in a group, whose first test has priority and is behind *rollouts*."""
    tests = [make_campaign(1), make_campaign(2)]
    features = [make_feature(1, *rollouts, tests[0]), make_feature(2, tests[1])]
    group = {"name": "g", "campaigns": ["1", "2"], "et": 2, "p": ["1"], "wt": {}}
    links = {"1": 5, "2": 5}
    campaigns = [*rollouts, *tests]
    return make_file(features, campaigns, groups={"5": group}, campaignGroups=links | fields)


def test_several_rollout_rules_of_a_group() -> None:
    """The first rollout rule whose segment passes decides whether its feature takes part, as for the flag itself."""
    nobody = make_campaign(11, "r", variations=[make_variation(1, 0)])
    everybody = make_campaign(12, "r")
    behind = Caller(compile_file(group_of(nobody, everybody))).decide("f2", ASHLEY)
    assert behind.is_enabled
    before = Caller(compile_file(group_of(everybody, nobody))).decide("f2", ASHLEY)
    assert before.reason is Reason.NOT_GROUP_WINNER


def test_a_rollout_rule_in_a_group() -> None:
    """A rollout rule that is in a group itself is decided, also from another feature, and comes to an end."""
    file = group_of(make_campaign(11, "r"), **{"11": 5})
    file["groups"]["5"]["campaigns"].append("11")
    for key in ("f1", "f2"):
        decision = Caller(compile_file(file)).decide(key, ASHLEY)
        assert decision.reason is Reason.NOT_GROUP_WINNER


def test_a_rule_of_a_group_with_a_variation_that_is_not_there() -> None:
    """A feature takes part in a group by the variation that its rule names, as in both official SDKs."""
    for named, wanted in ((1, True), (99, False), (None, False)):
        campaign = make_campaign(1, "p")
        feature = make_feature(1, campaign)
        feature["rules"][0]["variationId"] = named
        group = {"name": "g", "campaigns": ["1_1"], "et": 1}
        file = make_file([feature], [campaign], groups={"5": group}, campaignGroups={"1_1": 5})
        assert Caller(compile_file(file)).decide("f1", ASHLEY).is_enabled is wanted


def test_an_empty_node() -> None:
    """An empty object below the top is false, so that `not` of it is true; nothing is turned off."""
    for tree, wanted in (
        ({"or": [{}]}, False),
        ({"not": {}}, True),
        ({"custom_variable": {}}, False),
        ({"or": [{"custom_variable": {}}, {"not": PRO}]}, True),
    ):
        file = make_flag(make_campaign(1, "r", variations=[make_variation(1, 100, segments=tree)]))
        decision = Caller(compile_file(file)).decide("f1", ASHLEY)
        assert decision.is_enabled is wanted
        assert decision.reason is not Reason.MALFORMED_SEGMENT


def test_a_holdout_on_a_variable_that_the_user_lacks() -> None:
    """Its segment does not hold, so that the user is not in it."""
    file = make_flag(make_campaign(1), holdouts=[{**HOLDOUT, "segments": PRO}])
    decision = Caller(compile_file(file)).decide("f1", ASHLEY)
    assert decision.is_enabled
    assert list_impressions(decision)[0] == [9, 2]


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    ("tree", "is_in"),
    [
        ({"or": [{"featureId": {"1": "on"}}]}, True),
        ({"or": [{"featureId": {"1": "off"}}]}, False),
        ({"or": [{"featureId": {"2": "on"}}]}, False),
        ({"or": [{"featureId": {"2": "off"}}]}, True),
        ({"not": {"or": [{"featureId": {"1": "off"}}]}}, True),
        ({"ua": "curl"}, True),
        ({"ua": "other"}, False),
        ({"ip_address": "10.0.0.1"}, True),
        ({"os_version": "1.2"}, True),
        ({"or": [{"os": "linux"}]}, True),
        ({"and": [{"country": "India"}]}, True),
        ({"and": [{"country": "US"}]}, False),
        ({"campaignVariation": "122_2"}, True),
        (PRO, True),
    ],
)
def test_new_holdouts_beside_one_on_record(tree: Any, is_in: bool, is_first: bool) -> None:
    """Any segment of a new holdout is judged by the user of the call; the outcome is reported and stored."""
    context = {
        "id": "Ashley",
        "userAgent": "curl",
        "ipAddress": "10.0.0.1",
        "customVariables": {"plan": "pro"},
        "platformVariables": {"webTestingCampaigns": {"122": 2}},
        "_vwo": {
            "location": {"country": "India"},
            "userAgent": {"os": "Linux", "os_version": "1.2"},
        },
    }
    holdouts = [HOLDOUT, {**HOLDOUT, "id": 12, "segments": tree}]
    features = [make_feature(1, make_campaign(1)), make_feature(2, make_campaign(2))]
    campaigns = [make_campaign(1), make_campaign(2)]
    file = make_file(features, campaigns, holdouts=holdouts[::-1] if is_first else holdouts)
    decision = with_row(file, isInHoldoutId=[9]).decide("f1", make_user(context))
    assert decision.reason is Reason.IN_HOLDOUT
    assert list_impressions(decision) == [[12, 1 if is_in else 2]]
    (row,) = decision.make_rows("Ashley")
    assert row["isInHoldoutId"] == ([9, 12] if is_in else [9])
    assert row.get("notInHoldoutId", []) == ([] if is_in else [12])


@pytest.mark.parametrize("kind", ["experiment", "rollout"])
@pytest.mark.parametrize(
    "tree", [{}, {"or": [{"featureId": {"1": "on"}}]}, {"and": [{"country": "India"}]}, {"user": 5}]
)
def test_new_holdouts_beside_a_variation_on_record(kind: str, tree: Any) -> None:
    """The user is in none of them: no segment is looked at, be it one that cannot be evaluated."""
    campaign = make_campaign(1, "r" if kind == "rollout" else "t")
    file = make_flag(campaign, holdouts=[{**HOLDOUT, "segments": tree}])
    stored = {f"{kind}Id": 1, f"{kind}Key": "campaign1", f"{kind}VariationId": 1}
    rows = {"f1|Ashley": {"featureKey": "f1", "userId": "Ashley", **stored}}
    decision = Caller(compile_file(file), rows).decide("f1", ASHLEY)
    assert decision.reason is Reason.STORED
    assert list_impressions(decision) == [[9, 2]]
    (row,) = decision.make_rows("Ashley")
    assert row["notInHoldoutId"] == [9]
    assert stored.items() <= row.items()


def test_a_holdout_on_record_asks_no_gateway() -> None:
    """Where no new holdout is to be judged, nothing that a gateway knows can change the decision."""
    file = make_flag(
        make_campaign(1), holdouts=[{**HOLDOUT, "segments": {"and": [{"country": "India"}]}}]
    )
    rows = {"f1|Ashley": {"featureKey": "f1", "userId": "Ashley", "isInHoldoutId": [9]}}
    caller = Caller(compile_file(file), rows, has_gateway=True)
    user = make_user({"id": "Ashley", "ipAddress": "10.0.0.1"})
    assert caller.decide("f1", user).reason is Reason.IN_HOLDOUT
    assert not caller.asked_details
    rows["f1|Ashley"]["isInHoldoutId"] = []
    fresh = Caller(compile_file(file), rows, has_gateway=True)
    fresh.decide("f1", user)
    assert fresh.asked_details


def test_impressions_of_a_flag_that_is_off() -> None:
    """That the user is in no holdout, and that the flag is off for its impact campaign, is reported."""
    campaign = make_campaign(1, percentTraffic=0)
    feature = make_feature(1, campaign, impactCampaign={"campaignId": 8, "type": "FLAG_IMPACT"})
    file = make_file([feature], [campaign], holdouts=[{**HOLDOUT, "percentTraffic": 0}])
    decision = Caller(compile_file(file)).decide("f1", ASHLEY)
    assert not decision.is_enabled
    assert list_impressions(decision) == [[9, 2], [8, 1]]


def test_an_impact_campaign_hears_of_nobody_in_a_holdout() -> None:
    """Who is in a holdout is no part of what the impact campaign measures."""
    campaign = make_campaign(1)
    feature = make_feature(1, campaign, impactCampaign={"campaignId": 8, "type": "FLAG_IMPACT"})
    file = make_file([feature], [campaign], holdouts=[HOLDOUT])
    assert list_impressions(Caller(compile_file(file)).decide("f1", ASHLEY)) == [[9, 1]]


def test_a_groups_holdout_keeps_the_variation_on_record() -> None:
    """Where a holdout takes another feature out of a group, that feature's record keeps its variation."""
    file = group_of()
    file["holdouts"] = [{**HOLDOUT, "isGlobal": False, "featureIds": [2]}]
    row = {"experimentId": 2, "experimentKey": "campaign2", "experimentVariationId": 1}
    rows = with_row(file, "f2", **row).decide("f1", ASHLEY).make_rows("Ashley")
    (found,) = (one for one in rows if one["featureKey"] == "f2")
    assert found["isInHoldoutId"] == [9]
    assert {key: found[key] for key in row} == row


def test_a_spared_user_takes_part_in_his_group() -> None:
    """Who has a rollout on record is put into no new holdout, not even while the group of a test is decided."""
    rollout = make_campaign(11, "r")
    file = group_of(rollout)
    file["holdouts"] = [{**HOLDOUT, "isGlobal": False, "featureIds": [1]}]
    row: dict[str, Any] = {"rolloutId": 11, "rolloutKey": "campaign11", "rolloutVariationId": 1}
    decision = with_row(file, **row).decide("f1", ASHLEY)
    assert decision.rollout is not None
    assert decision.experiment is not None
    assert decision.experiment.campaign_id == 1
    (found,) = (one for one in decision.make_rows("Ashley") if one["featureKey"] == "f1")
    assert found["notInHoldoutId"] == [9]


def test_user_lists_of_a_group() -> None:
    """Each competitor of a group sees its user list in its own form: ids, or hashed ids."""
    tests = [make_campaign(1), make_campaign(2, isUserListEnabled=True)]
    hashed = compile_file(make_flag(make_campaign(1))).name_visitor(b"Ashley")
    tests[0]["segments"] = {"user": "Ashley"}
    tests[1]["segments"] = {"user": hashed}
    features = [make_feature(1, tests[0]), make_feature(2, tests[1])]
    group = {"name": "g", "campaigns": ["1", "2"], "et": 2, "p": ["1"], "wt": {}}
    file = make_file(features, tests, groups={"5": group}, campaignGroups={"1": 5, "2": 5})
    caller = Caller(compile_file(file))
    assert caller.decide("f1", ASHLEY).is_enabled
    assert not caller.decide("f2", ASHLEY).is_enabled


def admits(tree: Any, **fields: Any) -> bool:
    """Tell whether a segment lets a user with these details in."""
    file = make_flag(make_campaign(1, "r", variations=[make_variation(1, 100, segments=tree)]))
    return Caller(compile_file(file)).decide("f1", FlagUser("Ashley", **fields)).is_enabled


def test_quotes_within_a_place() -> None:
    """Quotes at the ends of a place's name do not count, those within it do."""
    delhi = {"location": {"region": 'De"lhi'}}
    for place, wanted in (('"De"lhi"', True), ("Delhi", False)):
        tree = {"and": [{"region": place}]}
        assert admits(tree, user_ip_address="1.2.3.4", details=delhi) is wanted


@pytest.mark.parametrize(("address", "wanted"), [("", True), ("1.2.3.4", True), (None, False)])
def test_places_of_an_empty_address(address: str | None, wanted: bool) -> None:
    """An empty address is one to places, and none to ``ip_address``; null is none to both."""
    india = {"location": {"country": "India"}}
    tree = {"and": [{"country": "India"}]}
    assert admits(tree, user_ip_address=address, details=india) is wanted
    listed = {"ip_address": "wildcard(*)"}
    assert admits(listed, user_ip_address=address, details=india) is bool(address)


def test_a_device_is_matched_from_its_start() -> None:
    """A wildcard without a leading star begins where the name of the device does."""
    linux = {"userAgent": {"os": "GNU Linux"}}
    for operand, wanted in (("wildcard(lin*)", False), ("wildcard(*lin*)", True)):
        tree = {"or": [{"os": operand}]}
        assert admits(tree, user_agent="x", details=linux) is wanted


@pytest.mark.parametrize(
    ("operand", "device", "wanted"),
    [
        ("wildcard(l.nux)", "Linux", True),
        ("wildcard(l.nux)", "Lnux", False),
        ("wildcard(linux|macos)", "macOS Ventura", True),
        ("wildcard(^(windows|lin))", "Linux", True),
        ("wildcard((windows|lin)$)", "Linux", False),
        ("wildcard([a-c]hrome*)", "Chrome", True),
        ("wildcard([A-C]HROME*)", "chrome", True),
        ("wildcard([d-f]hrome*)", "Chrome", False),
        ("wildcard(chrome \\d+)", "Chrome 120", True),
        # It is put into lower case first, as in both SDKs.
        ("wildcard(chrome \\D+)", "Chrome 120", True),
        ("wildcard(chrome (mobile)*)", "Chrome x", False),
        ("wildcard(chrome (mobile)*)", "Chrome mobile x", True),
        ("wildcard(chrome.120)", "Chrome 120", True),
        ("wildcard(10.15*)", "10.15.7", True),
        ("wildcard(10\\.15*)", "10x15.7", False),
        ("wildcard(chrome+)", "Chromeee", True),
        ("wildcard(chrome+)", "Chrom", False),
        ("wildcard((?i)linux|mac)", "macOS", True),
        ("wildcard((?x)lin ux # a system)", "Linux", True),
        ("wildcard([)", "[", False),
        ("wildcard(+)", "+", False),
        ("wildcard(a)(b)", "ab", False),
        ("wildcard()", "anything", True),
        ("wildcard(*)", "anything", True),
        # Texts between stars follow each other, and no letter is in two of them.
        ("wildcard(*ab*ba*)", "abba", True),
        ("wildcard(*ab*ba*)", "aba", False),
        ("wildcard(*ab*ba*)", "baab", False),
        ("wildcard(*a*a*)", "a", False),
        ("wildcard(*a*a*)", "aa", True),
        ("wildcard(b*a*)", "ab", False),
    ],
)
def test_a_devices_pattern_is_a_regex(operand: str, device: str, wanted: bool) -> None:
    """What stands in the wildcard of a device is a regex, whose stars are any text and whose case does not count."""
    details = {"userAgent": {"browser_string": device}}
    for values in (operand, [operand], ["firefox", operand]):
        tree = {"or": [{"browser_string": values}]}
        assert admits(tree, user_agent="x", details=details) is wanted


def test_a_devices_pattern_that_is_none() -> None:
    """A pattern that is no regex ends the comparison: what was found before it counts, nothing after it."""
    details = {"userAgent": {"os": "Linux", "browser_string": "Chrome"}}
    broken = "wildcard([)"
    for values, wanted in ((["linux", broken], False), (["wildcard(lin)", broken], True)):
        assert admits({"or": [{"os": values}]}, user_agent="x", details=details) is wanted
    # The details are gone through in their order.
    for kind, wanted in (("os", False), ("browser_string", True)):
        other = "browser_string" if kind == "os" else "os"
        name = {"os": "linux", "browser_string": "chrome"}[other]
        nodes = [{kind: broken}, {other: name}]
        assert admits({"or": nodes}, user_agent="x", details=details) is wanted
    # Then the nodes are judged as any others.
    both = [{"custom_variable": {"plan": "pro"}, "os": broken}]
    assert admits({"or": both}, custom_variables={"plan": "pro"}, user_agent="x", details=details)


@pytest.mark.parametrize(("others", "wanted"), [(0, True), (200, False)])
def test_patterns_of_devices_share_the_work(others: int, wanted: bool) -> None:
    """The more patterns a segment has, the shorter are the names in which each is searched."""
    operands = [f"wildcard({number}.*b.*c)" for number in range(others)]
    tree = {"or": [{"os": ["wildcard(a.*b.*c)", *operands]}]}
    details = {"userAgent": {"os": f"a{'-' * 60}b{'-' * 60}c"}}
    assert admits(tree, user_agent="x", details=details) is wanted


def test_a_devices_pattern_that_could_run_away() -> None:
    """It matches nothing, is answered in a moment, and is noted among the warnings of the file."""
    # With a reference to a group, since RE2 would bear the rest.
    operand = "wildcard((a+)+(a+)+\\1$)"
    tree = {"or": [{"os": operand}]}
    variation = make_variation(1, 100, segments=tree)
    plan = compile_file(make_flag(make_campaign(1, "r", variations=[variation])))
    assert any("could run away" in note and "wildcard" in note for note in plan.notes)
    watch = Stopwatch()
    details = {"userAgent": {"os": "a" * 4000 + "b"}}
    assert not admits(tree, user_agent="x", details=details)
    watch.assert_below(1)
    harmless = make_variation(1, 100, segments={"or": [{"os": "wildcard(*a*b*c*d*e*f*)"}]})
    assert not compile_file(make_flag(make_campaign(1, "r", variations=[harmless]))).notes


@pytest.mark.parametrize(
    "operand",
    [
        "inlist",
        "inlist(",
        "inlist()",
        "not inlisted",
        "inlist)",
        "lower(inlist)",
        "regex(inlist.*)",
    ],
)
def test_a_list_without_a_name(operand: str) -> None:
    """An operand that speaks of a list and names none holds for nobody, not even as a text."""
    tree = {"custom_variable": {"plan": operand}}
    for value in (operand, "inlist", "x"):
        assert not admits(tree, custom_variables={"plan": value})
        assert admits({"not": tree}, custom_variables={"plan": value})
    assert admits({"ua": "inlist"}, user_agent="inlist")


def test_a_user_agent_is_not_decoded() -> None:
    """A user agent is compared as it is, also where it could not be decoded."""
    assert admits({"ua": "a%20b"}, user_agent="a%20b")
    assert not admits({"ua": "a b"}, user_agent="a%20b")
    assert admits({"ua": "100%"}, user_agent="100%")


def test_holdouts_of_a_flag_that_cannot_be_decided() -> None:
    """Where a test cannot be evaluated, the new holdouts of a stored rollout are on record, and so are reported."""
    rollout, broken = make_campaign(11, "r"), make_campaign(1, segments={"user": 5})
    file = make_flag(rollout, broken, holdouts=[HOLDOUT])
    row: dict[str, Any] = {"rolloutId": 11, "rolloutKey": "campaign11", "rolloutVariationId": 1}
    decision = with_row(file, **row).decide("f1", ASHLEY)
    assert decision.reason is Reason.MALFORMED_SEGMENT
    assert list_impressions(decision) == [[9, 2]]
    (found,) = decision.make_rows("Ashley")
    assert found["notInHoldoutId"] == [9]
