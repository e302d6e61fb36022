"""What a track call asks for: sections 10.2 to 10.5 of docs/reference.md."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from strategy import JsonObject, make_campaign, make_plan

from vwo_async._core.decision import Stored
from vwo_async._core.goal import (
    ReadyTargets,
    Revenue,
    find_targets,
    is_repeat,
    lacks_revenue,
)
from vwo_async._core.plan import Goal, Plan
from vwo_async._reason import Reason

CUSTOM: JsonObject = {"id": 201, "identifier": "bought", "type": "CUSTOM_GOAL"}
REVENUE: JsonObject = {"id": 202, "identifier": "paid", "type": "REVENUE_TRACKING"}
# The same identifier with another type.
PAID: JsonObject = {"id": 301, "identifier": "bought", "type": "REVENUE_TRACKING"}

PLAN = make_plan(
    make_campaign(1, "AB", goals=[CUSTOM, REVENUE]),
    make_campaign(2, "FT", type="FEATURE_TEST", goals=[PAID]),
    make_campaign(3, "PAUSED", status="PAUSED", goals=[CUSTOM]),
    make_campaign(4, "FR", type="FEATURE_ROLLOUT", goals=[CUSTOM]),
    make_campaign(5, "MAB", isMAB=True, goals=[CUSTOM]),
    make_campaign(6, "OTHER", goals=[{**REVENUE, "id": 401}]),
)


def targets(
    keys: list[str] | None,
    goal: str = "bought",
    goal_type: str = "ALL",
    *,
    plan: Plan = PLAN,
    has_storage: bool = True,
) -> dict[str, Reason | None]:
    """Return campaign key and refusal of each target, in order."""
    found = find_targets(plan, keys, goal, goal_type, has_storage=has_storage)
    pairs = [(one.key, one.refusal) for one in found]
    assert len(dict(pairs)) == len(pairs)
    for one in found:
        if one.refusal is None:
            assert one.campaign is not None and one.campaign.key == one.key
            assert one.goal is one.campaign.goals[goal]
    return dict(pairs)


@pytest.mark.parametrize(
    ("key", "goal", "expected"),
    [
        ("AB", "bought", None),
        ("FT", "bought", None),
        ("MAB", "bought", None),
        ("nope", "bought", Reason.CAMPAIGN_NOT_FOUND),
        ("ab", "bought", Reason.CAMPAIGN_NOT_FOUND),
        ("", "bought", Reason.CAMPAIGN_NOT_FOUND),
        ("PAUSED", "bought", Reason.CAMPAIGN_NOT_RUNNING),
        ("FR", "bought", Reason.CAMPAIGN_TYPE_MISMATCH),
        ("AB", "sold", Reason.GOAL_NOT_FOUND),
        ("AB", "Bought", Reason.GOAL_NOT_FOUND),
        ("FT", "paid", Reason.GOAL_NOT_FOUND),
        # The campaign is looked at before the goal.
        ("PAUSED", "sold", Reason.CAMPAIGN_NOT_RUNNING),
        ("FR", "sold", Reason.CAMPAIGN_TYPE_MISMATCH),
    ],
)
def test_single_key(key: str, goal: str, expected: Reason | None) -> None:
    """A key that is asked for is always a target, with the reason if it cannot be tracked."""
    assert targets([key], goal) == {key: expected}


def test_list() -> None:
    """Every key of a list is a target, in the order of the list; refused keys do not affect the others."""
    assert list(targets(["FR", "nope", "AB", "PAUSED", "FT"]).items()) == [
        ("FR", Reason.CAMPAIGN_TYPE_MISMATCH),
        ("nope", Reason.CAMPAIGN_NOT_FOUND),
        ("AB", None),
        ("PAUSED", Reason.CAMPAIGN_NOT_RUNNING),
        ("FT", None),
    ]


def test_list_with_duplicates() -> None:
    """A key that is given twice is tracked once."""
    assert list(targets(["AB", "FT", "AB", "AB"])) == ["AB", "FT"]


def test_empty_list() -> None:
    """An empty list asks for nothing."""
    assert targets([]) == {}


def test_all_campaigns() -> None:
    """None means every campaign with the goal; those that cannot be tracked have their reason."""
    assert targets(None) == {
        "AB": None,
        "FT": None,
        "PAUSED": Reason.CAMPAIGN_NOT_RUNNING,
        "FR": Reason.CAMPAIGN_TYPE_MISMATCH,
        "MAB": None,
    }
    assert list(targets(None)) == ["AB", "FT", "PAUSED", "FR", "MAB"]


def test_all_campaigns_of_a_type() -> None:
    """None leaves out campaigns whose goal has another type."""
    assert list(targets(None, goal_type="REVENUE_TRACKING")) == ["FT"]
    assert list(targets(None, goal_type="CUSTOM_GOAL")) == ["AB", "PAUSED", "FR", "MAB"]
    assert list(targets(None, "paid", "CUSTOM_GOAL")) == []


def test_all_campaigns_without_the_goal() -> None:
    """If no campaign has the goal there is no target."""
    assert targets(None, "sold") == {}


@pytest.mark.parametrize(
    ("key", "goal_type", "expected"),
    [
        ("AB", "ALL", None),
        ("AB", "CUSTOM_GOAL", None),
        ("AB", "REVENUE_TRACKING", Reason.GOAL_TYPE_MISMATCH),
        ("FT", "ALL", None),
        ("FT", "CUSTOM_GOAL", Reason.GOAL_TYPE_MISMATCH),
        ("FT", "REVENUE_TRACKING", None),
    ],
)
def test_goal_type(key: str, goal_type: str, expected: Reason | None) -> None:
    """A key is refused if its goal has another type; ALL matches both types."""
    assert targets([key], goal_type=goal_type) == {key: expected}


def test_mab_without_storage() -> None:
    """Without a storage a multi-armed bandit campaign is refused, alone and among others."""
    assert targets(["MAB"], has_storage=False) == {"MAB": Reason.STORAGE_REQUIRED}
    assert targets(None, has_storage=False)["MAB"] is Reason.STORAGE_REQUIRED
    assert targets(None, has_storage=False)["AB"] is None


def test_first_goal_of_an_identifier() -> None:
    """If two goals of a campaign have the same identifier, the first counts, also for its type."""
    plan = make_plan(make_campaign(goals=[CUSTOM, {**REVENUE, "identifier": "bought"}]))
    assert plan.campaigns["AB"].goals["bought"].id == 201
    assert targets(["AB"], goal_type="REVENUE_TRACKING", plan=plan) == {
        "AB": Reason.GOAL_TYPE_MISMATCH
    }
    assert list(targets(None, plan=plan)) == ["AB"]


@pytest.mark.parametrize(
    "goal", [{}, {"id": 1}, {"identifier": "bought"}, {"id": 1, "identifier": ""}]
)
def test_goals_that_cannot_be_named(goal: JsonObject) -> None:
    """A goal without an identifier or an id is ignored."""
    plan = make_plan(make_campaign(goals=[goal]))
    for name in ("bought", ""):
        assert targets(["AB"], name, plan=plan) == {"AB": Reason.GOAL_NOT_FOUND}
        assert targets(None, name, plan=plan) == {}


def test_goal_without_a_type() -> None:
    """A goal without a type is tracked, but is neither custom nor revenue."""
    plan = make_plan(make_campaign(goals=[{"id": 1, "identifier": "bought"}]))
    assert targets(["AB"], plan=plan) == {"AB": None}
    assert targets(["AB"], goal_type="CUSTOM_GOAL", plan=plan) == {"AB": Reason.GOAL_TYPE_MISMATCH}
    assert targets(None, goal_type="REVENUE_TRACKING", plan=plan) == {}
    assert (
        lacks_revenue(plan.campaigns["AB"].goals["bought"], None, {}, is_event_arch=False) is False
    )


def make_goal(**fields: Any) -> Goal:
    """Return a compiled revenue goal; *fields* replace the default fields."""
    plan = make_plan(make_campaign(goals=[{**REVENUE, **fields}]))
    return plan.campaigns["AB"].goals["paid"]


PLAIN: JsonObject = {}
PROP: JsonObject = {"revenueProp": "price"}
REPEATABLE: JsonObject = {"mca": -1}


@pytest.mark.parametrize("revenue", [1, 49.9, -5, "10", "abc", "0", True, Decimal("0.01")])
@pytest.mark.parametrize("fields", [PLAIN, PROP, REPEATABLE, {**PROP, **REPEATABLE}])
@pytest.mark.parametrize("is_event_arch", [False, True])
def test_revenue_is_present(revenue: Revenue, fields: JsonObject, *, is_event_arch: bool) -> None:
    """If there is a revenue, no goal lacks one, and no property is needed."""
    assert lacks_revenue(make_goal(**fields), revenue, {}, is_event_arch=is_event_arch) is False


@pytest.mark.parametrize("revenue", [None, 0, 0.0, "", False, Decimal(0)])
@pytest.mark.parametrize("fields", [PLAIN, PROP, REPEATABLE, {**PROP, **REPEATABLE}])
def test_revenue_is_missing_on_classic(revenue: Revenue, fields: JsonObject) -> None:
    """On the classic endpoints a revenue goal needs a revenue; 0 and an empty text count as none."""
    properties = {"price": 5}
    goal = make_goal(**fields)
    assert lacks_revenue(goal, revenue, properties, is_event_arch=False) is True


@pytest.mark.parametrize("revenue", [None, 0, ""])
@pytest.mark.parametrize(
    ("fields", "properties", "expected"),
    [
        (PLAIN, {}, True),
        (PLAIN, {"price": 5}, True),
        (PROP, {}, True),
        (PROP, {"cost": 5}, True),
        (PROP, {"price": 5}, False),
        (PROP, {"price": 0}, False),
        ({**PROP, "mca": 1}, {}, True),
        ({**PROP, "mca": 1}, {"price": 5}, False),
        ({"mca": 1}, {}, True),
        (REPEATABLE, {}, False),
        ({**REPEATABLE, **PROP}, {}, True),
        ({**REPEATABLE, **PROP}, {"price": 5}, False),
        ({**REPEATABLE, "revenueProp": ""}, {}, False),
    ],
)
def test_revenue_is_missing_on_event_architecture(
    revenue: Revenue, fields: JsonObject, properties: JsonObject, *, expected: bool
) -> None:
    """On the event architecture the property that the goal names may stand in for the revenue; a
    repeatable goal that names none needs neither."""
    goal = make_goal(**fields)
    assert lacks_revenue(goal, revenue, properties, is_event_arch=True) is expected


@pytest.mark.parametrize("is_event_arch", [False, True])
def test_custom_goals_need_no_revenue(*, is_event_arch: bool) -> None:
    """A custom goal never lacks revenue."""
    goal = make_goal(type="CUSTOM_GOAL")
    assert lacks_revenue(goal, None, {}, is_event_arch=is_event_arch) is False


FIRST = Stored("Control", ("bought",))
SECOND = Stored("Control", ("bought", "paid"))


@pytest.mark.parametrize(
    ("fields", "record", "tracks_returning_user", "expected"),
    [
        (PLAIN, None, False, False),
        (PLAIN, Stored("Control"), False, False),
        (PLAIN, FIRST, False, False),
        (PLAIN, SECOND, False, True),
        (PLAIN, SECOND, True, False),
        (REPEATABLE, SECOND, False, False),
        ({"mca": 1}, SECOND, False, True),
        ({"mca": None}, SECOND, False, True),
        ({"hasProps": True}, SECOND, False, False),
        ({"hasProps": False}, SECOND, False, True),
        (PLAIN, Stored("Control", ("PAID", "paid_", "pai")), False, False),
    ],
)
def test_repeats(
    fields: JsonObject, record: Stored | None, *, tracks_returning_user: bool, expected: bool
) -> None:
    """A stored conversion is counted again only if mca is -1, hasProps is set, or the call asks for it."""
    goal = make_goal(**fields)
    assert is_repeat(goal, record, tracks_returning_user=tracks_returning_user) is expected


def test_mca_as_a_float() -> None:
    """An mca of -1.0 counts as -1, as in JavaScript and Python."""
    assert is_repeat(make_goal(mca=-1.0), SECOND, tracks_returning_user=False) is False


@pytest.mark.parametrize("goal_type", ["ALL", "CUSTOM_GOAL", "REVENUE_TRACKING"])
def test_ready_targets_are_those_that_nothing_refuses(goal_type: str) -> None:
    """What is ready to be tracked is what a single key would find, also without a storage; else it says nothing."""
    ready = ReadyTargets(PLAN, goal_type)
    kept = 0
    for key in (*PLAN.campaigns, "nope", ""):
        for goal in ("bought", "paid", "sold"):
            (one,) = find_targets(PLAN, [key], goal, goal_type, has_storage=False)
            wanted = (one.campaign, one.goal) if one.refusal is None else None
            assert ready[key, goal] == wanted
            kept += wanted is not None
    # Names that lead nowhere, which a caller may make up, take no memory.
    assert len(ready) == kept > 0


def test_nothing_is_ready_on_the_event_architecture() -> None:
    """There a call is one event for all of its campaigns, so that no goal is ready by itself."""
    plan = make_plan(make_campaign(1, "AB", goals=[CUSTOM]), isEventArchEnabled=True)
    assert plan.is_event_arch
    assert ReadyTargets(plan, "ALL")["AB", "bought"] is None
