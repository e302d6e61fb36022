"""Which campaigns and goals a track call asks for, and which of them it refuses, and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

from .._reason import Reason
from .api_method import TRACK
from .decision import Stored, find_refusal
from .plan import Campaign, Goal, Plan

ANY_GOAL = "ALL"

Revenue: TypeAlias = "int | float | Decimal | str | None"


class Target(NamedTuple):
    """A campaign that a track call asks for, with its goal or with the reason why it is refused."""

    key: str
    campaign: Campaign | None
    goal: Goal | None
    refusal: Reason | None


def find_targets(
    plan: Plan,
    keys: Sequence[str] | None,
    goal_identifier: str,
    goal_type: str,
    *,
    has_storage: bool,
) -> list[Target]:
    """Return one target for each campaign asked for, in order and without duplicates.

    Args:
        plan: The compiled settings.
        keys: Campaign keys, or None for every campaign that has the goal with the right type.
        goal_identifier: The goal.
        goal_type: ``ALL``, or the one type that the goal must have.
        has_storage: Whether there is a user storage.
    """
    if keys is None:
        pairs = plan.goals.get(goal_identifier, ())
        return [
            _check(campaign.key, campaign, goal, goal_type, has_storage=has_storage)
            for campaign, goal in pairs
            if goal_type in (ANY_GOAL, goal.type)
        ]
    targets = []
    for key in dict.fromkeys(keys):
        campaign = plan.campaigns.get(key)
        goal = None if campaign is None else campaign.goals.get(goal_identifier)
        targets.append(_check(key, campaign, goal, goal_type, has_storage=has_storage))
    return targets


class ReadyTargets(dict[tuple[str, str], "tuple[Campaign, Goal] | None"]):
    """Campaign and goal by campaign key and goal identifier, for track calls without further checks.

    The value is None where `find_targets` must be called: for unknown or refused campaigns and goals, and
    on the event architecture. Only campaigns and goals that exist are cached, so that bad input takes no
    memory.

    Args:
        plan: The compiled settings.
        goal_type: ``ALL``, or the one type that the goal must have.
    """

    __slots__ = ("_goal_type", "_plan")

    def __init__(self, plan: Plan, goal_type: str) -> None:
        self._plan = plan
        self._goal_type = goal_type

    def __missing__(self, pair: tuple[str, str]) -> tuple[Campaign, Goal] | None:
        key, goal_identifier = pair
        campaign = self._plan.ready[TRACK.name].get(key)
        goal = None if campaign is None else campaign.goals.get(goal_identifier)
        if campaign is None or goal is None or self._plan.is_event_arch:
            return None
        if self._goal_type not in (ANY_GOAL, goal.type):
            return None
        self[pair] = found = campaign, goal
        return found


def _check(
    key: str, campaign: Campaign | None, goal: Goal | None, goal_type: str, *, has_storage: bool
) -> Target:
    refusal = find_refusal(campaign, TRACK, has_storage=has_storage)
    if refusal is None:
        if goal is None:
            refusal = Reason.GOAL_NOT_FOUND
        elif goal_type not in (ANY_GOAL, goal.type):
            refusal = Reason.GOAL_TYPE_MISMATCH
    return Target(key, campaign, goal, refusal)


def lacks_revenue(
    goal: Goal, revenue: Revenue, properties: Collection[Any], *, is_event_arch: bool
) -> bool:
    """Tell whether the goal needs a revenue and has none; 0 and an empty text count as none.

    On the event architecture the event property that the goal names can hold the revenue.
    """
    if revenue or not goal.is_revenue:
        return False
    if not is_event_arch:
        return True
    if goal.is_repeatable and goal.revenue_prop is None:
        return False
    return goal.revenue_prop not in properties


def is_repeat(goal: Goal, record: Stored | None, *, tracks_returning_user: bool) -> bool:
    """Tell whether the stored record shows that this conversion was already counted."""
    if record is None or goal.identifier not in record.goals:
        return False
    return counts_once(goal, tracks_returning_user=tracks_returning_user)


def counts_once(goal: Goal, *, tracks_returning_user: bool) -> bool:
    """Tell whether only a user's first conversion of this goal counts."""
    return not (goal.is_repeatable or goal.has_props or tracks_returning_user)
