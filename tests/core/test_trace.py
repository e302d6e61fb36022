"""What `explain` shows of each step of a decision: whether it was passed, its words, and its facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sample import campaign, settings, variation

from vwo_async import Explanation, Reason
from vwo_async._core.api_method import ACTIVATE, TRACK
from vwo_async._core.plan import Plan
from vwo_async._core.trace import find_fault, trace
from vwo_async._settings import parse_settings
from vwo_async._user import User
from vwo_async.storage import StoredDecision

FORCED = campaign(
    11,
    "A",
    isForcedVariationEnabled=True,
    percentTraffic=50,
    variations=[
        variation(1, "Control", 50),
        variation(2, "Variation-1", 50, segments={"or": [{"user": "Bill"}]}),
    ],
)
PLAN = Plan(
    parse_settings(
        settings(
            FORCED,
            campaign(12, "B"),
            campaign(13, "nobody", percentTraffic=0),
            campaign(14, "members", segments={"custom_variable": {"plan": "pro"}}),
            campaign(15, "half", percentTraffic=50, variations=[variation(1, "Control", 50)]),
            campaignGroups={"11": 5, "12": 5},
            groups={"5": {"name": "g", "campaigns": [11, 12], "et": 2, "p": [12]}},
        )
    )
)
# The hash of Ashley, and of her in the group, as in the examples of the formats.
HASH, GROUP_HASH = 2141232222, 376067586
PRO = {"plan": "pro"}

Shown = tuple[str, bool, str, dict[str, Any]]


def explain(
    key: str,
    user_id: str,
    variables: Mapping[str, Any] | None = None,
    *,
    api: Any = ACTIVATE,
    records: Any = None,
) -> tuple[Reason, list[Shown]]:
    """Return the reason, and each step but the first as a tuple."""
    found = trace(PLAN, PLAN.campaigns[key], User(user_id, variables), api, records)
    assert isinstance(found, Explanation)
    first, *steps = [(one.name, one.passed, one.text, dict(one.facts)) for one in found.steps]
    number = PLAN.campaigns[key].id
    assert first == ("campaign", True, "running, of type VISUAL_AB", {"id": number})
    return found.reason, steps


def traffic(percent: float, *, passed: bool = True) -> Shown:
    """Return Ashley's step of traffic."""
    facts = {"seed": "Ashley", "hash": HASH, "value": 50, "percent_traffic": percent}
    text = f"50 is {'' if passed else 'not '}within {percent:g} %"
    return "traffic", passed, text, facts


OFF: Shown = ("whitelisting", True, "off", {})
EVERYBODY: Shown = ("segment", True, "everybody", {})
GROUP = {
    "group": "g",
    "eligible": ["A", "B"],
    "winner": "B",
    "hash": GROUP_HASH,
    "value": 876,
}
GIVEN = {
    "seed": "Ashley",
    "hash": HASH,
    "multiplier": 1.0,
    "value": 4986,
    "variation_name": "Control",
    "start": 1,
    "end": 5000,
    "decides": True,
}
VARIATION = ("variation", True, "'Control' owns 1..5000, which has 4986", GIVEN)


def test_whoever_is_forced() -> None:
    """A forced variation ends it; whoever is not forced is told that something could have been."""
    facts = {"variation_name": "Variation-1", "decides": True}
    forced = ("whitelisting", True, "'Variation-1' is forced", facts)
    assert explain("A", "Bill") == (Reason.WHITELISTED, [forced])
    _, steps = explain("A", "Ashley")
    assert steps[0] == ("whitelisting", True, "forces nothing on this user", {})


def test_a_group() -> None:
    """The group says who was eligible, who won and by which hash."""
    text = "'B' wins among 2 eligible campaigns"
    reason, steps = explain("A", "Ashley")
    assert reason is Reason.NOT_GROUP_WINNER
    assert steps[1:] == [EVERYBODY, traffic(50), ("group", False, text, GROUP)]
    won = [OFF, EVERYBODY, traffic(100), ("group", True, text, GROUP), VARIATION]
    assert explain("B", "Ashley") == (Reason.ASSIGNED, won)


@pytest.mark.parametrize(
    ("user_id", "records"),
    [("Bill", None), ("Chris", {"A": StoredDecision("Chris", "A", "Variation-1"), "B": None})],
)
def test_a_group_that_another_campaign_has_taken(user_id: str, records: Any) -> None:
    """Where another campaign forces a variation, or has one on record, the winner by hash does not win."""
    reason, steps = explain("B", user_id, records=records)
    name, passed, text, facts = steps[-1]
    assert reason is Reason.NOT_GROUP_WINNER
    assert (name, passed) == ("group", False)
    assert text == "another campaign whitelists or has stored the user"
    assert facts["winner"] == "B"


def test_traffic_and_ranges() -> None:
    """Whoever is outside sees the value and the limit, and whom no range covers sees the value."""
    outside = [OFF, EVERYBODY, traffic(0, passed=False)]
    assert explain("nobody", "Ashley") == (Reason.NOT_IN_TRAFFIC, outside)
    reason, steps = explain("half", "Ashley")
    facts = {"seed": "Ashley", "hash": HASH, "multiplier": 2.0, "value": 9972}
    uncovered = ("variation", False, "no range covers 9972", facts)
    assert (reason, steps) == (Reason.NO_VARIATION, [OFF, EVERYBODY, traffic(50), uncovered])


def test_a_segment() -> None:
    """A segment says that it holds, or what of it does not."""
    fault = "'plan' is 'pro', but it is absent"
    failed = ("segment", False, f"does not hold: {fault}", {"fault": fault})
    assert explain("members", "Ashley") == (Reason.NOT_IN_SEGMENT, [OFF, failed])
    passed = [OFF, ("segment", True, "holds", {}), traffic(100), VARIATION]
    assert explain("members", "Ashley", PRO) == (Reason.ASSIGNED, passed)


def test_a_record() -> None:
    """What is on record decides; without one, or of a variation that is gone, it goes on and says so."""
    stored = {"members": StoredDecision("Ashley", "members", "Variation-1")}
    facts = {"variation_name": "Variation-1", "decides": True}
    found = ("storage", True, "'Variation-1' is on record", facts)
    assert explain("members", "Ashley", records=stored) == (Reason.STORED, [OFF, found])
    gone = {"members": StoredDecision("Ashley", "members", "gone")}
    reason, steps = explain("members", "Ashley", PRO, records=gone)
    text = "the variation on record is no longer there"
    assert (reason, steps[1]) == (
        Reason.ASSIGNED,
        ("storage", True, text, {"variation_name": "gone"}),
    )
    none = {"members": None}
    reason, steps = explain("members", "Ashley", PRO, records=none)
    assert (reason, steps[1]) == (Reason.ASSIGNED, ("storage", True, "no record", {}))
    reason, steps = explain("members", "Ashley", api=TRACK, records=none)
    refused: Shown = ("storage", False, "no record, and this API does not activate", {})
    assert (reason, steps) == (Reason.NOT_ACTIVATED, [OFF, refused])


@pytest.mark.parametrize(
    ("tree", "fault"),
    [
        ({}, "a part that no SDK can evaluate"),
        ([1], "a part that no SDK can evaluate"),
        ({"or": []}, "none of ()"),
        ({"or": {}}, "none of ()"),
        ({"and": [[]]}, "a part that no SDK can evaluate"),
        ({"not": {"custom_variable": {"a": "1"}}}, "not ('a' is '1'), which holds"),
        ({"custom_variable": {"a": "1"}}, "'a' is '1', but it is 2"),
        ({"custom_variable": {"b": "1"}}, "'b' is '1', but it is absent"),
        ({"custom_variable": {}}, "a part of kind 'custom_variable'"),
        ({"custom_variable": []}, "a part of kind 'custom_variable'"),
        ({"user": "Bill"}, "a part of kind 'user'"),
        ({"not": []}, "not (a part of kind ''), which holds"),
    ],
)
def test_what_is_to_blame(tree: Any, fault: str) -> None:
    """The part because of which a segment does not hold is named, whatever the tree."""
    assert find_fault(tree, {"a": 2}) == fault
