"""How two v2 settings files differ in meaning."""

from __future__ import annotations

from typing import Any

import pytest
from fme_file import make_campaign, make_feature, make_file, make_variation

from vwo_async._settings import parse_fme_settings
from vwo_async._settings.change import SettingsChange
from vwo_async._settings.fme_change import compare_fme_settings
from vwo_async.testing import build_fme_settings, feature

TREE = {"or": [{"user": "u1"}], "and": []}
# The same members in another order: the first one names the kind of the node.
TURNED = {"and": [], "or": [{"user": "u1"}]}
METRIC = {"id": 2, "type": "CUSTOM_GOAL", "identifier": "signup"}


def file(campaign: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a file with the features ``f2`` and ``f1``, in this order, and a group of one rule."""
    campaigns = [make_campaign(1, **(campaign or {})), make_campaign(2)]
    features = [make_feature(2, campaigns[1]), make_feature(1, campaigns[0])]
    group = {"name": "g", "campaigns": ["1"], "et": 1}
    defaults: dict[str, Any] = {"groups": {"5": group}, "campaignGroups": {"1": 5}}
    return make_file(features, campaigns) | defaults | fields


def compare(old: dict[str, Any], new: dict[str, Any]) -> SettingsChange:
    return compare_fme_settings(parse_fme_settings(old), parse_fme_settings(new))


SAME = [
    ("nothing", {}),
    ("the account as text", {"accountId": "888888"}),
    ("how often VWO wants to be asked", {"pollInterval": 1000}),
]


@pytest.mark.parametrize("fields", [one for _, one in SAME], ids=[name for name, _ in SAME])
def test_no_change(fields: dict[str, Any]) -> None:
    """What changes nothing for any user is no change."""
    assert not compare(file(), file(**fields))


def test_names_and_status_are_no_change() -> None:
    """Nobody looks at the name and the status of a campaign."""
    assert not compare(file(), file({"name": "other", "status": "PAUSED"}))


CHANGES = [
    ({}, {"accountId": 1}, {"account": ("account_id",)}),
    ({}, {"isMAU": True}, {"account": ("is_mau",)}),
    ({}, {"groups": {}}, {"groups": ("5",)}),
    ({}, {"campaignGroups": {}}, {"groups": ("5",)}),
    ({}, {"campaignGroups": {"1": 6}}, {"groups": ("5", "6")}),
    ({"salt": "s"}, {}, {"features": ("f1",)}),
    (
        {"variations": [make_variation(1, 100)]},
        {},
        {"features": ("f1",), "weights": {"f1": {"rule1: Variation-1": (50.0, 100.0)}}},
    ),
    ({}, {"features": []}, {"stopped": ("f2", "f1")}),
]


@pytest.mark.parametrize(("campaign", "fields", "expected"), CHANGES)
def test_changes(
    campaign: dict[str, Any], fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    """What can change a decision is named, and nothing else is."""
    assert compare(file(), file(campaign, **fields)) == SettingsChange(**expected)


def test_the_order_of_a_segments_members_counts() -> None:
    """The first member of a segment's node names its kind, so another order is another segment."""
    change = compare(file({"segments": TREE}), file({"segments": TURNED}))
    assert change == SettingsChange(features=("f1",))


def test_weights_are_named_by_rule_and_variation() -> None:
    """Who only moved the weights of a test reads from what to what, not merely that the feature changed."""
    old, new = (
        build_fme_settings(feature("menu").test(first, 100 - first, size=[1, 2]))
        for first in (30, 70)
    )
    change = compare(old, new)
    assert change.features == ("menu",)
    assert change.weights == {"menu": {"test: Control": (30, 70), "test: Variation-1": (70, 30)}}
    assert "weights: menu (test: Control 30 -> 70, test: Variation-1 70 -> 30)" in str(change)


def test_features_and_events_come_and_go() -> None:
    """New features are named in the order of the new file, events by feature."""
    new = file()
    new["features"] = [
        make_feature(3),
        *new["features"],
        make_feature(4),
    ]
    new["features"][1]["metrics"] = [METRIC]
    assert compare(file(), new) == SettingsChange(
        started=("f3", "f4"),
        goals_added={"f2": ("signup",)},
        goals_gone={"f2": ("purchase",)},
    )
