"""What `explain` shows of each step of a flag: whether it was passed, its words, and its facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from fme_file import make_campaign, make_feature, make_file, make_flag, make_variation
from replay import compile_file
from test_fme_explain import Explaining

from vwo_async import Reason
from vwo_async._core.fme.evaluation import Evaluation, Known
from vwo_async._core.fme.trace import find_fault
from vwo_async._core.fme.user import FlagUser

PRO = {"plan": "pro"}
MEMBERS = {"custom_variable": PRO}
ROLLOUT = make_campaign(1, "r", variations=[make_variation(1, 100, segments=MEMBERS)])
TEST = make_campaign(2)
NAMES_BILL = [make_variation(1, 50), make_variation(2, 50, segments={"or": [{"user": "Bill"}]})]
FORCED = make_campaign(2, isForcedVariationEnabled=True, variations=NAMES_BILL)
FAULT = "'plan' is 'pro', but it is absent"

OUTSIDE = (
    "segment",
    False,
    f"of 'rule1': does not hold: {FAULT}",
    {"rule": "rule1", "fault": FAULT},
)
EVERYBODY = ("segment", True, "of 'rule2': everybody", {"rule": "rule2"})
# Ashley's hashes in the rollout and in the test.
BUCKETS = [
    (
        "traffic",
        True,
        "17 is within 100 %",
        {
            "rule": "rule2",
            "seed": "2_Ashley",
            "hash": 717588322,
            "value": 17,
            "percent_traffic": 100.0,
        },
    ),
    (
        "variation",
        True,
        "'Variation-2' owns 5001..10000, which has 5792",
        {
            "rule": "rule2",
            "seed": "2_888888_Ashley",
            "hash": 2487398622,
            "value": 5792,
            "variation_name": "Variation-2",
            "start": 5001,
            "end": 10000,
            "decides": True,
        },
    ),
]
ROLLED_OUT = [
    ("segment", True, "of 'rule1': holds", {"rule": "rule1"}),
    (
        "traffic",
        True,
        "46 is within 100 %",
        {
            "rule": "rule1",
            "seed": "1_Ashley",
            "hash": 1949244533,
            "value": 46,
            "percent_traffic": 100.0,
        },
    ),
    (
        "variation",
        True,
        "'Variation-1' owns 1..10000, which has 4539",
        {
            "rule": "rule1",
            "seed": "1_Ashley",
            "hash": 1949244533,
            "value": 4539,
            "variation_name": "Variation-1",
            "start": 1,
            "end": 10000,
            "decides": True,
        },
    ),
]


Shown = tuple[str, bool, str, dict[str, Any]]


def explain(
    file: Any, user_id: str = "Ashley", row: Mapping[str, Any] | None = None, **more: Any
) -> tuple[Reason, list[Shown]]:
    """Return the reason of ``f1``, and each step but the first as a tuple.

    Args:
        file: The settings file.
        user_id: The user.
        row: What is stored; nothing where it is empty, and there is no storage where it is None.
        **more: Custom variables.
    """
    stored = {f"f1|{user_id}": {"featureKey": "f1", "userId": user_id, **row}} if row else row
    explained = Explaining(compile_file(file), stored).explain("f1", FlagUser(user_id, more))
    first, *steps = [(one.name, one.passed, one.text, dict(one.facts)) for one in explained.steps]
    number = len(file["features"][0]["rules"])
    text = f"has {number} rule{'' if number == 1 else 's'}"
    assert first == ("feature", True, text, {"id": 1, "rules": number})
    return explained.reason, steps


def test_a_rollout_and_a_test() -> None:
    """A rollout that admits the user leads to the test; one that does not ends it."""
    file = make_flag(ROLLOUT, TEST)
    assert explain(file) == (Reason.NOT_IN_SEGMENT, [OUTSIDE])
    assert explain(file, plan="pro") == (Reason.ASSIGNED, [*ROLLED_OUT, EVERYBODY, *BUCKETS])


def test_traffic() -> None:
    """Whoever is outside sees the value and the limit."""
    reason, steps = explain(make_flag(make_campaign(2, percentTraffic=0)))
    name, _, _, facts = BUCKETS[0]
    outside = (name, False, "17 is not within 0 %", {**facts, "percent_traffic": 0})
    assert (reason, steps) == (Reason.NOT_IN_TRAFFIC, [EVERYBODY, outside])


def test_whoever_is_forced() -> None:
    """A forced variation ends it; whoever is not forced is told that something could have been."""
    facts = {"rule": "rule2", "variation_name": "Variation-2", "decides": True}
    forced = ("whitelisting", True, "'Variation-2' is forced", facts)
    assert explain(make_flag(FORCED), "Bill") == (Reason.WHITELISTED, [forced])
    nothing = ("whitelisting", True, "forces nothing on this user", {"rule": "rule2"})
    assert explain(make_flag(FORCED)) == (Reason.ASSIGNED, [nothing, EVERYBODY, *BUCKETS])


def test_holdouts() -> None:
    """A holdout says by which hash the user is in it or not; whoever is in it gets no further."""
    file = make_flag(TEST, holdouts=[{"id": 9, "percentTraffic": 100, "isGlobal": True}])
    facts = {"id": 9, "seed": "888888_9_Ashley", "hash": 1002404865, "value": 24}
    held = ("holdout", False, "in holdout 9", {**facts, "percent_traffic": 100.0, "decides": True})
    assert explain(file) == (Reason.IN_HOLDOUT, [held])
    file = make_flag(TEST, holdouts=[{"id": 9, "percentTraffic": 0, "isGlobal": True}])
    free = ("holdout", True, "not in holdout 9", {**facts, "percent_traffic": 0.0})
    assert explain(file) == (Reason.ASSIGNED, [free, EVERYBODY, *BUCKETS])


@pytest.mark.parametrize(
    ("priority", "is_own", "winner"), [("2", True, 2), ("3", False, None)], ids=["won", "lost"]
)
def test_a_group(priority: str, winner: int | None, *, is_own: bool) -> None:
    """The group says whether the rule won it; a winner of another flag counts as nobody."""
    campaigns = [TEST, make_campaign(3)]
    file = make_file(
        [make_feature(number, one) for number, one in enumerate(campaigns, start=1)],
        campaigns,
        groups={"5": {"name": "g", "campaigns": ["2", "3"], "et": 2, "p": [priority]}},
        campaignGroups={"2": 5, "3": 5},
    )
    text = "wins its group" if is_own else "another rule of the group wins, or none"
    group = ("group", is_own, text, {"rule": "rule2", "group": "5", "winner": winner})
    reason = Reason.ASSIGNED if is_own else Reason.NOT_GROUP_WINNER
    assert explain(file) == (reason, [EVERYBODY, group, *(BUCKETS if is_own else ())])


ROLLED = {"rolloutId": 1, "rolloutKey": "campaign1", "rolloutVariationId": 1}


def test_a_test_on_record() -> None:
    """The variation on record decides."""
    row = {**ROLLED, "experimentId": 2, "experimentKey": "campaign2", "experimentVariationId": 1}
    facts = {"variation_name": "Variation-1", "decides": True}
    found = ("storage", True, "'Variation-1' is on record", facts)
    assert explain(make_flag(ROLLOUT, TEST), row=row) == (Reason.STORED, [found])


def test_a_rollout_on_record() -> None:
    """A rollout on record is not judged again, and the test is."""
    found: Shown = ("storage", True, "the rollout is on record, and no experiment", {})
    steps = explain(make_flag(ROLLOUT, TEST), row=ROLLED)[1]
    assert steps == [found, EVERYBODY, *BUCKETS]


def test_a_group_of_whoever_is_spared() -> None:
    """Whoever has the rollout on record is put into no new holdout: he competes in the group as he was decided."""
    campaigns = [ROLLOUT, TEST, make_campaign(3)]
    file = make_file(
        [make_feature(1, ROLLOUT, TEST), make_feature(2, campaigns[2])],
        campaigns,
        groups={"5": {"name": "g", "campaigns": ["2", "3"], "et": 2, "p": ["2"]}},
        campaignGroups={"2": 5, "3": 5},
        holdouts=[{"id": 9, "percentTraffic": 100, "featureIds": [1]}],
    )
    reason, steps = explain(file, row=ROLLED)
    assert reason is Reason.ASSIGNED
    assert [(name, passed) for name, passed, _, _ in steps] == [
        ("storage", True),
        ("holdout", True),
        ("segment", True),
        ("group", True),
        ("traffic", True),
        ("variation", True),
    ]


def test_a_record_that_is_gone() -> None:
    """Without a record, or with one of what is gone, the rules are asked, and it says so."""
    row = {**ROLLED, "rolloutId": 7, "rolloutKey": "gone"}
    gone: Shown = ("storage", True, "a record without a variation that is still there", {})
    assert explain(make_flag(ROLLOUT, TEST), row=row) == (Reason.NOT_IN_SEGMENT, [gone, OUTSIDE])
    none: Shown = ("storage", True, "no record", {})
    assert explain(make_flag(TEST), row={}) == (Reason.ASSIGNED, [none, EVERYBODY, *BUCKETS])


def test_a_holdout_on_record() -> None:
    """Who is in a holdout on record stays in it."""
    file = make_flag(TEST, holdouts=[{"id": 9, "percentTraffic": 100, "isGlobal": True}])
    facts = {"holdouts": [9], "decides": True}
    held = ("storage", False, "in a holdout on record", facts)
    assert explain(file, row={"isInHoldoutId": [9]}) == (Reason.IN_HOLDOUT, [held])


def test_a_segment_that_cannot_be_evaluated() -> None:
    """It turns the flag off, and the last step says so."""
    broken = make_campaign(2, segments={"and": [{"or": 7}]})
    text = "a part that cannot be evaluated, which turns the flag off"
    last: Shown = ("segment", False, text, {})
    assert explain(make_flag(broken)) == (Reason.MALFORMED_SEGMENT, [last])
    # What was passed before it is shown, be it judged or on record.
    behind = make_flag(ROLLOUT, broken)
    assert explain(behind, plan="pro") == (Reason.MALFORMED_SEGMENT, [*ROLLED_OUT, last])
    found: Shown = ("storage", True, "the rollout is on record, and no experiment", {})
    assert explain(behind, row=ROLLED) == (Reason.MALFORMED_SEGMENT, [found, last])


@pytest.mark.parametrize(
    ("tree", "fault"),
    [
        ({}, "a part that cannot be evaluated"),
        ([1], "a part that cannot be evaluated"),
        ({"and": [{"country": "India"}]}, "the place of the user"),
        ({"and": [{"country": "India"}, MEMBERS]}, FAULT),
        ({"and": [{"or": 7}]}, "a part of kind 'or'"),
        ({"or": [MEMBERS, {"user": "Bill"}]}, f"none of ({FAULT} | a part of kind 'user')"),
        ({"not": {"custom_variable": {"a": "1"}}}, "not ('a' is '1'), which holds"),
    ],
)
def test_what_is_to_blame(tree: Any, fault: str) -> None:
    """The part because of which a segment does not hold is named, whatever the tree."""
    evaluation = Evaluation(compile_file(make_flag(TEST)), FlagUser("Ashley"), Known())
    assert find_fault(tree, evaluation) == fault
