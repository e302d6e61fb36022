"""The fixtures of the pytest plugin, in this process: what they force, find and refuse."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

import pytest
from sample import campaign, settings

from vwo_async import InvalidInputError
from vwo_async.testing import (
    FMEFixture,
    VWOFixture,
    build_fme_settings,
    build_settings,
    feature,
    feature_rollout,
)
from vwo_async.testing import campaign as ab_test

pytestmark = pytest.mark.anyio


def make_fme(*features: Any) -> FMEFixture:
    return FMEFixture(build_fme_settings(*features), {})


async def test_what_hangs_is_let_go() -> None:
    """A request that hangs is answered once VWO is back, and the event arrives then."""
    vwo = VWOFixture(settings(), {})
    vwo.hang()
    result = await vwo.client.track("checkout", "Ashley", "signup")
    flushing = asyncio.ensure_future(vwo.client.flush_events())
    for _ in range(20):
        await asyncio.sleep(0)
    assert [one.status for one in vwo.events] == ["pending"]
    vwo.recover()
    assert await flushing
    assert await result.delivery
    await vwo.client.aclose()


@pytest.mark.parametrize("file", ["[]", "7", "null"])
def test_a_file_is_an_object(file: str) -> None:
    """What is no JSON object is no settings file."""
    with pytest.raises(InvalidInputError, match="a settings file is a JSON object"):
        VWOFixture(file, {})


def test_users_of_a_campaign_that_does_not_run() -> None:
    """A campaign that does not run gives nobody a variation, and everybody none."""
    vwo = VWOFixture(settings(campaign(11, "paused", status="PAUSED")), {})
    assert vwo.user("paused", None) == "user-1"
    with pytest.raises(InvalidInputError, match="nobody gets 'Control'"):
        vwo.user("paused", "Control")


def test_users_of_a_feature() -> None:
    """Users for whom a feature is on are another's than those for whom it is off."""
    vwo = VWOFixture(build_settings(feature_rollout("beta").traffic(50)), {})
    on, off = (list(islice(vwo.users("beta", wanted), 5)) for wanted in (True, False))
    assert not set(on) & set(off)


async def test_a_flag_without_rules_cannot_be_forced() -> None:
    """A feature that no rule gives to anybody cannot be turned on, and the error says why."""
    file = build_fme_settings(feature("search"))
    file["features"][0]["rules"] = []
    vwo = FMEFixture(file, {})
    with pytest.raises(InvalidInputError, match="'search' has no rule"):
        vwo.force("search", True)


async def test_a_campaign_of_two_features_is_forced_for_one() -> None:
    """A rule that two features share is forced for the one that is meant; the other keeps what it gives."""
    file = build_fme_settings(feature("one").rollout(50), feature("two").rollout(50))
    one, two = file["features"]
    two["rules"] = one["rules"]
    vwo = FMEFixture(file, {})
    before = [bool(await vwo.client.get_flag("two", f"u{n}")) for n in range(10)]
    assert {True, False} == {*before}
    vwo.force("one", True)
    assert all([await vwo.client.get_flag("one", f"u{n}") for n in range(10)])
    assert [bool(await vwo.client.get_flag("two", f"u{n}")) for n in range(10)] == before
    await vwo.client.aclose()


async def test_what_stands_in_the_way_is_taken_away() -> None:
    """A forced variation is everybody's, also of a campaign in a group and of a feature with a holdout."""
    grouped = settings(
        campaign(11, "A"),
        campaign(12, "B"),
        campaignGroups={"11": 5, "12": 5},
        groups={"5": {"name": "g", "campaigns": [11, 12]}},
    )
    vwo = VWOFixture(grouped, {})
    vwo.force("A", "Variation-1")
    users = [f"u{n}" for n in range(10)]
    assert {await vwo.client.activate("A", user) for user in users} == {"Variation-1"}
    await vwo.client.aclose()
    held = build_fme_settings(feature("search").rollout(100), feature("other").rollout(100))
    held["holdouts"] = [{"id": 9, "percentTraffic": 100, "isGlobal": True}]
    fme = FMEFixture(held, {})
    assert not await fme.client.get_flag("search", "u1")
    fme.force("search", True)
    assert all([await fme.client.get_flag("search", user) for user in users])
    assert not await fme.client.get_flag("other", "u1")
    await fme.client.aclose()


def test_builders_name_what_is_wrong() -> None:
    """Two features of one key, and values that do not fit the split, are errors."""
    with pytest.raises(InvalidInputError, match="two features have the same key"):
        build_fme_settings(feature("one"), feature("one"))
    with pytest.raises(InvalidInputError, match="2 values, one for each variation"):
        feature("one").test(50, 50, size=[1])


def test_a_repeatable_goal() -> None:
    """A goal that may be reached again is written as VWO writes it."""
    file = build_settings(ab_test("checkout").goal("often", repeatable=True))
    (goal,) = file["campaigns"][0]["goals"]
    assert goal["mca"] == -1
