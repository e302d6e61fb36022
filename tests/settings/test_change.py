"""How a new settings file differs in meaning from the old one."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample import KEY, campaign, variation
from sample import settings as make_file
from search_effort import examples

from vwo_async import Settings, SettingsChange, compare_settings, parse_settings
from vwo_async._core.api_method import ACTIVATE, APIS
from vwo_async._core.decision import decide, find_refusal
from vwo_async._core.plan import Decision, Plan
from vwo_async._settings.large_file import read_large
from vwo_async._user import User

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))

from strategy import settings_files, users

PRO = {"custom_variable": {"plan": "pro"}}
FILE = make_file(
    campaign(
        11,
        "checkout",
        isForcedVariationEnabled=True,
        variations=[
            variation(1, "Control", 50, segments={"user": "Ashley"}),
            variation(2, "Variation-1", 50),
        ],
    ),
    campaign(
        12,
        "search",
        "FEATURE_TEST",
        variations=[
            variation(1, "Control", 50, isFeatureEnabled=False),
            variation(2, "Variation-1", 50, variables=[{"key": "size", "value": 1}]),
        ],
    ),
    campaign(13, "paused", status="PAUSED"),
    campaign(14, "draft", status="DRAFT"),
    campaign(15, "third"),
    groups={"5": {"name": "five", "campaigns": [11, 13], "et": 2, "p": [11], "wt": {"11": 50}}},
    campaignGroups={"11": 5, "13": 5},
)

C, S, P, D = ("campaigns", 0), ("campaigns", 1), ("campaigns", 2), ("campaigns", 3)
G = ("groups", "5")
GONE = object()


def changed(*changes: tuple[tuple[Any, ...], Any]) -> dict[str, Any]:
    """Return the file with the value at each path replaced or removed."""
    file = copy.deepcopy(FILE)
    for path, value in changes:
        node: Any = file
        for step in path[:-1]:
            node = node[step]
        if value is GONE:
            del node[path[-1]]
        elif isinstance(node, list) and path[-1] == len(node):
            node.append(value)
        else:
            node[path[-1]] = value
    return file


def read_as_text(file: Any) -> Settings:
    """Parse *file* as if it were a large one."""
    found = read_large(json.dumps(file).encode(), lambda: None)
    assert isinstance(found, Settings)
    return found


READERS = [parse_settings, read_as_text]


def compare(old: Any, new: Any) -> SettingsChange:
    """Compare two files as small and as large ones in every combination; the result must be the same."""
    found = [compare_settings(one(old), other(new)) for one in READERS for other in READERS]
    assert all(one == found[0] for one in found)
    return found[0]


NEW = campaign(20, "new")
NEW_VARIATION = variation(3, "Variation-2", 0)
GOAL = {"id": 9, "identifier": "order", "type": "CUSTOM_GOAL"}

CHANGES: list[tuple[str, tuple[Any, ...], Any, dict[str, Any]]] = [
    ("started", (*D, "status"), "RUNNING", {"started": ("draft",)}),
    ("stopped", (*C, "status"), "PAUSED", {"stopped": ("checkout",)}),
    ("gone", ("campaigns", 4), GONE, {"stopped": ("third",)}),
    ("new", ("campaigns", 5), NEW, {"started": ("new",)}),
    ("renamed", (*S, "key"), "found", {"started": ("found",), "stopped": ("search",)}),
    ("traffic", (*C, "percentTraffic"), 30, {"traffic": {"checkout": (100, 30)}}),
    (
        "weight",
        (*C, "variations", 0, "weight"),
        20,
        {"weights": {"checkout": {"Control": (50, 20)}}},
    ),
    (
        "variation added",
        (*C, "variations", 2),
        NEW_VARIATION,
        {"variations_added": {"checkout": ("Variation-2",)}},
    ),
    (
        "variation gone",
        (*C, "variations", 1),
        GONE,
        {"variations_gone": {"checkout": ("Variation-1",)}},
    ),
    (
        "variation renamed",
        (*C, "variations", 1, "name"),
        "Blue",
        {
            "variations_gone": {"checkout": ("Variation-1",)},
            "variations_added": {"checkout": ("Blue",)},
        },
    ),
    ("segments", (*C, "segments"), PRO, {"segments": ("checkout",)}),
    (
        "whitelisting",
        (*C, "variations", 0, "segments", "user"),
        "Bill",
        {"whitelisting": ("checkout",)},
    ),
    ("whitelisting off", (*C, "isForcedVariationEnabled"), False, {"whitelisting": ("checkout",)}),
    ("hashed list", (*C, "isUserListEnabled"), True, {"whitelisting": ("checkout",)}),
    ("goal added", (*C, "goals", 3), GOAL, {"goals_added": {"checkout": ("order",)}}),
    ("goal gone", (*C, "goals", 0), GONE, {"goals_gone": {"checkout": ("signup",)}}),
    ("goal id", (*C, "goals", 0, "id"), 77, {"goals_changed": {"checkout": ("signup",)}}),
    ("goal mca", (*C, "goals", 0, "mca"), -1, {"goals_changed": {"checkout": ("signup",)}}),
    ("goal type", (*C, "goals", 0, "type"), "X", {"goals_changed": {"checkout": ("signup",)}}),
    ("switch", (*S, "variations", 0, "isFeatureEnabled"), True, {"features": ("search",)}),
    (
        "variable",
        (*S, "variations", 1, "variables", 0, "value"),
        True,
        {"features": ("search",)},
    ),
    ("rollout variable", (*S, "variables"), [{"key": "a"}], {"features": ("search",)}),
    ("type", (*C, "type"), "FEATURE_TEST", {"bucketing": ("checkout",)}),
    ("id", (*S, "id"), 99, {"bucketing": ("search",)}),
    ("variation id", (*C, "variations", 1, "id"), 9, {"bucketing": ("checkout",)}),
    ("flag", (*C, "isOB"), True, {"bucketing": ("checkout",)}),
    ("group member", (*G, "campaigns"), [11], {"groups": ("5",)}),
    ("group rule", (*G, "et"), 1, {"groups": ("5",)}),
    ("group weight", (*G, "wt"), {"11": 60}, {"groups": ("5",)}),
    ("group left", ("campaignGroups", "11"), GONE, {"groups": ("5",)}),
    ("group joined", ("campaignGroups", "15"), 5, {"groups": ("5",)}),
    ("group new", ("groups", "6"), {"campaigns": []}, {"groups": ("6",)}),
    ("group gone", G, GONE, {"groups": ("5",)}),
    ("old bucketing", ("isNB",), True, {"account": ("is_nb",)}),
    ("prefix", ("collectionPrefix",), "eu01", {"account": ("collection_prefix",)}),
    ("event", ("isEventArchEnabled",), True, {"account": ("is_event_arch_enabled",)}),
    ("account", ("accountId",), 5, {"account": ("account_id",)}),
    ("key", ("sdkKey",), "other", {"account": ("sdk_key",)}),
    # A campaign that does not run competes in its group all the same.
    ("paused in a group", (*P, "percentTraffic"), 30, {"traffic": {"paused": (100, 30)}}),
]


@pytest.mark.parametrize(
    ("path", "value", "expected"), [one[1:] for one in CHANGES], ids=[one[0] for one in CHANGES]
)
def test_change(path: tuple[Any, ...], value: Any, expected: dict[str, Any]) -> None:
    """Each change is reported as what it is, and nothing else is reported."""
    change = compare(FILE, changed((path, value)))
    assert change == SettingsChange(**expected)
    assert change
    assert str(change) != "no change"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("future",), {"a": 1}),
        ((*C, "name"), "Another name"),
        ((*C, "percentTraffic"), 100.0),
        ((*C, "isOB"), False),
        ((*C, "variations", 0, "changes"), {"a": 1}),
        ((*S, "variations", 0, "segments"), PRO),
        ((*C, "goals", 3), {"identifier": "without id"}),
        ((*C, "goals", 0, "mca"), 5),
        ((*C, "goals", 0, "revenueProp"), ""),
        ((*D, "percentTraffic"), 30),
        ((*D, "variations"), []),
        (D, GONE),
        (("campaigns", 5), campaign(20, "new", status="DRAFT")),
        ((*G, "name"), "another name"),
        (("accountId",), "888888"),
        (("campaigns",), FILE["campaigns"][::-1]),
    ],
    ids=range(17),
)
def test_no_change(path: tuple[Any, ...], value: Any) -> None:
    """Names, descriptions, drafts and the order of campaigns are not compared."""
    change = compare(FILE, changed((path, value)))
    assert change == SettingsChange()
    assert not change
    assert str(change) == "no change"


def test_order_counts_where_it_means_something() -> None:
    """The order of variations matters, and so does the first key of an object in a segment."""
    order = changed(((*C, "variations"), FILE["campaigns"][0]["variations"][::-1]))
    assert compare(FILE, order) == SettingsChange(
        bucketing=("checkout",), whitelisting=("checkout",)
    )
    one, other = ({"user": "a", "not": {}}, {"not": {}, "user": "a"})
    change = compare(changed(((*S, "segments"), one)), changed(((*S, "segments"), other)))
    assert change.segments == ("search",)


def test_variations_of_one_name() -> None:
    """Among variations with the same name, a changed weight is reported."""
    variations = [variation(1, "A", 10), variation(2, "A", 20), variation(3, "B", 70)]
    moved = [variation(1, "A", 10), variation(2, "A", 30), variation(3, "B", 70)]
    change = compare(
        changed(((*S, "variations"), variations)), changed(((*S, "variations"), moved))
    )
    assert change.bucketing == ("search",)


def test_text() -> None:
    """The text is one line with at most ten names of each kind, and never holds the SDK key."""
    file = changed(
        ((*C, "percentTraffic"), 30),
        ((*C, "variations", 0, "weight"), 12.5),
        ((*S, "goals", 0), GONE),
        (("sdkKey",), "other"),
    )
    change = compare(FILE, file)
    assert str(change) == (
        "traffic: checkout 100 -> 30; weights: checkout (Control 50 -> 12.5);"
        " goals gone: search (signup); account: sdk_key"
    )
    many = compare(make_file(), make_file(*(campaign(one, f"c{one}") for one in range(1, 31))))
    assert "c10 and 20 more" in str(many)
    assert "c11" not in str(many)
    odd = str(compare(make_file(), make_file(campaign(1, "a\nCRITICAL \u001b[31m" + "x" * 500))))
    assert "\n" not in odd
    assert "\u001b" not in odd
    assert len(odd) < 400
    for text in (str(change), repr(change), odd):
        assert KEY not in text
        assert "other" not in text


def test_frozen() -> None:
    """A change is a value: it can be compared but not changed."""
    change = compare(FILE, FILE)
    with pytest.raises(AttributeError):
        change.started = ("x",)  # type: ignore[misc]


def test_pause() -> None:
    """*pause* is called between two campaigns."""
    rests: list[int] = []
    compare_settings(parse_settings(FILE), parse_settings(FILE), pause=lambda: rests.append(1))
    assert len(rests) == 5


@given(settings_files(forced=True))
@settings(max_examples=examples(50))
def test_same_file(file: dict[str, Any]) -> None:
    """A file compared with itself, in any form, has no changes."""
    assert not compare(file, file)
    assert not compare(file, json.loads(json.dumps(file, indent=1)))
    assert not compare(file, {**file, "campaigns": file["campaigns"][::-1]})


@given(settings_files(forced=True), settings_files(forced=True))
@settings(max_examples=examples(50))
def test_there_and_back(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The change back is the opposite change."""
    there, back = compare(one, other), compare(other, one)
    assert bool(there) == bool(back)
    assert set(there.started) == set(back.stopped)
    assert set(there.stopped) == set(back.started)
    assert there.traffic == {key: pair[::-1] for key, pair in back.traffic.items()}
    assert there.variations_added == back.variations_gone
    assert there.goals_gone == back.goals_added
    assert set(there.segments) == set(back.segments)
    assert set(there.groups) == set(back.groups)


def show(plan: Plan, user: User) -> dict[str, Any]:
    """Return the decisions of *plan* about *user*, by campaign."""
    found: dict[str, Any] = {}
    for key, one in plan.campaigns.items():
        if one.refusal is not None:
            continue
        found[key] = {api.name: find_refusal(one, api, has_storage=False) for api in APIS}
        decision = decide(plan, one, user, ACTIVATE, None)
        assert isinstance(decision, Decision)
        name = None if decision.variation is None else decision.variation.name
        found[key]["decision"] = decision.reason, name
    return found


@given(
    settings_files(forced=True),
    st.data(),
    st.lists(users(), min_size=3, max_size=3),
)
@settings(max_examples=examples(150))
def test_no_change_decides_alike(
    file: dict[str, Any], data: st.DataObject, people: list[User]
) -> None:
    """If no change is reported, the decisions about every user are the same."""
    other = copy.deepcopy(file)
    for _ in range(data.draw(st.integers(1, 2))):
        campaign_ = data.draw(st.sampled_from(other["campaigns"]))
        name = data.draw(
            st.sampled_from(
                ["percentTraffic", "status", "type", "isOB", "isOBv2", "segments", "variations"]
            )
        )
        donor = data.draw(st.sampled_from(data.draw(settings_files(forced=True))["campaigns"]))
        campaign_[name] = donor.get(name, False)
    old, new = parse_settings(file), parse_settings(other)
    if not compare_settings(old, new):
        for user in people:
            assert show(Plan(old), user) == show(Plan(new), user)
