"""Visitors, conversions, rates and revenue."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from vwo_async.collector import CampaignReport, Collector, GoalReport, VariationReport

if TYPE_CHECKING:
    import httpx


def find(collector: Collector, campaign_id: int) -> CampaignReport:
    """Return the report of one campaign."""
    return next(c for c in collector.report().campaigns if c.campaign_id == campaign_id)


def find_goal(variation: VariationReport, goal_id: int) -> GoalReport:
    """Return the report of one goal."""
    return next(goal for goal in variation.goals if goal.goal_id == goal_id)


@pytest.mark.anyio
async def test_classic(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """Classic events are reported under their own variation."""
    visitors = [f"{n:032X}" for n in range(10)]
    for number, visitor in enumerate(visitors):
        variation = 1 if number < 4 else 2
        for random in ("0.1", "0.2"):
            await wire.track_user(variation=variation, u=visitor, random=random).send(client)
    for visitor in visitors[4:7]:
        await wire.track_goal(goal=502, revenue="1.10", u=visitor).send(client)

    campaign = find(collector, 41)
    control, green = campaign.variations
    assert (campaign.key, campaign.visitors) == ("button", 10)
    assert (control.name, control.visitors, green.name, green.visitors) == (
        "Control",
        4,
        "Green",
        6,
    )
    assert find_goal(control, 502) == GoalReport(502, "order", 0, 0.0, Decimal(0))
    assert find_goal(green, 502) == GoalReport(502, "order", 3, 0.5, Decimal("3.30"))


@pytest.mark.anyio
async def test_event_goals_take_the_visitors_variation(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """A goal of the event architecture counts for the variation that the visitor was shown, even later."""
    await wire.goal().send(client)
    unknown = find(collector, 41).variations[-1]
    assert (unknown.variation_id, unknown.visitors) == (None, 0)
    assert find_goal(unknown, 501) == GoalReport(501, "signup", 1, None, Decimal(0))

    await wire.shown(variation=2).send(client)
    control, green = find(collector, 41).variations
    assert find_goal(control, 501).conversions == 0
    assert find_goal(green, 501) == GoalReport(501, "signup", 1, 1.0, Decimal(0))


@pytest.mark.anyio
async def test_visitor_of_two_variations(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """A visitor of two variations counts once for the campaign and once for each variation."""
    await wire.shown(variation=2).send(client)
    await wire.track_user(variation=1).send(client)
    await wire.goal().send(client)

    campaign = find(collector, 41)
    assert campaign.visitors == 1
    assert [variation.visitors for variation in campaign.variations] == [1, 1]
    assert [find_goal(v, 501).conversions for v in campaign.variations] == [0, 1]


def test_nothing_received(collector: Collector) -> None:
    """Before anything is received, the whole settings file is listed with zeros."""
    campaigns = collector.report().as_dict()["campaigns"]

    assert isinstance(campaigns, list)
    assert [campaign["campaign_id"] for campaign in campaigns] == [41, 42, 43]
    assert campaigns[1]["variations"] == [
        {
            "variation_id": 1,
            "name": "Control",
            "visitors": 0,
            "goals": [
                {
                    "goal_id": 501,
                    "identifier": "signup",
                    "conversions": 0,
                    "rate": None,
                    "revenue": "0",
                }
            ],
        }
    ]
