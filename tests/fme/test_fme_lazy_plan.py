"""The plan of a large v2 file, whose features are compiled when they are first used: it decides like any other."""

from __future__ import annotations

import copy
import gc
import json
import pickle
from typing import Any

import pytest
from fme_file import make_large_file
from replay import Caller, compile_cases, list_impressions, load, make_user

from vwo_async import FMEClient, FMESettings, parse_fme_settings
from vwo_async._core.fme.lazy_plan import LazyFMEPlan, compile_fme_plan
from vwo_async._core.fme.plan import FlagDecision, FMEPlan
from vwo_async._settings.large_fme_file import read_large_fme
from vwo_async._settings.lazy_entries import FeatureTexts, FlagCampaignTexts
from vwo_async.testing import RecordingTransport

CASES = ("decisions_everything", "meg_holdouts", "storage_everything", "storage_meg")


def read_lazily(file: Any) -> FMESettings:
    """Return the settings of a file of any size as a large one is read."""
    found = read_large_fme(json.dumps(file).encode(), lambda: None)
    assert isinstance(found, FMESettings), found
    return found


def compile_lazily(file: Any) -> FMEPlan:
    """Return the plan of a file of any size as that of a large one is made."""
    return compile_fme_plan(read_lazily(file))


def show(decision: FlagDecision, user_id: str) -> Any:
    """Return all that a decision says."""
    return (
        decision.reason,
        None if decision.rule is None else decision.rule.shown,
        None if decision.variation is None else decision.variation.shown,
        list_impressions(decision),
        decision.make_rows(user_id),
        decision.notes,
    )


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.xdist_group(one)) for one in CASES]
)
def test_every_decision_is_that_of_the_whole_plan(name: str) -> None:
    """All of a decision: variation, reason, rule, what is reported, stored and noted; and the plan's own notes."""
    for case, whole in zip(load(name)["cases"], compile_cases(name), strict=True):
        lazy = compile_lazily(case["settings"])
        assert isinstance(lazy, LazyFMEPlan)
        assert list(lazy.features) == list(whole.features)
        assert lazy.notes == whole.notes
        one, other = Caller(whole, case.get("storage")), Caller(lazy, case.get("storage"))
        for call in case["calls"]:
            user = make_user(call["context"])
            decided = one.decide(call["feature"], user)
            found = other.decide(call["feature"], user)
            assert show(found, user.id) == show(decided, user.id), call
            for row in decided.make_rows(user.id):
                one.store(row)
                other.store(row)


def test_it_has_all_that_a_plan_has() -> None:
    """Every attribute, and no more compiled than was asked for, or is in a group with it."""
    file = load("storage_meg")["cases"][0]["settings"]
    whole, lazy = compile_fme_plan(parse_fme_settings(file)), compile_lazily(make_large_file(50))
    assert all(hasattr(lazy, name) for name in FMEPlan.__slots__)
    assert not lazy.ready
    assert lazy.features["f7"] is lazy.features_by_id[lazy.features["f7"].id] is lazy.ready["f7"]
    assert list(lazy.ready) == ["f7"]
    assert "f50" in lazy.features and "f51" not in lazy.features
    assert lazy.features.get("f51") is lazy.features_by_id.get(5100) is None
    grouped = compile_lazily(file)
    for key, feature in whole.features.items():
        assert whole.list_record_keys(feature) == grouped.list_record_keys(grouped.features[key])
    # The plan that replaces it has ready what was used before.
    assert list(compile_fme_plan(read_lazily(make_large_file(60)), like=lazy).ready) == ["f7"]


def test_entries_are_like_those_of_a_small_file() -> None:
    """What is kept as text is equal to what is not, in every form that settings are given away in."""
    file = make_large_file(5)
    whole, lazy = parse_fme_settings(file), read_lazily(file)
    features, campaigns = lazy.features, lazy.campaigns
    assert isinstance(features, FeatureTexts)
    assert isinstance(campaigns, FlagCampaignTexts)
    assert lazy == whole
    assert whole == lazy
    assert features[1:3] == whole.features[1:3]
    assert (features != whole.features[1:]) and features != [1]
    assert lazy.model_dump_json() == whole.model_dump_json()
    assert (
        copy.deepcopy(lazy)
        == lazy
        == pickle.loads(pickle.dumps(lazy)).model_copy(update={"sdk_key": lazy.sdk_key})
    )
    assert repr(features) == "<FeatureTexts of 5>"


def test_few_objects_for_the_garbage_collector() -> None:
    """A feature more in the file is hardly an object more for full garbage collections to visit."""

    def count(number: int) -> int:
        body = json.dumps(make_large_file(number)).encode()
        gc.collect()
        before = len(gc.get_objects())
        settings = read_large_fme(body, lambda: None)
        assert isinstance(settings, FMESettings)
        plan = compile_fme_plan(settings)
        gc.collect()
        return len(gc.get_objects()) - before if plan else 0

    count(1)
    assert count(1000) - count(10) < 1000


@pytest.mark.anyio
async def test_a_client_with_a_large_file() -> None:
    """It finds its flags, all flags, and the events of metrics."""

    async with FMEClient(
        json.dumps(make_large_file(2000)), transport=RecordingTransport()
    ) as client:
        assert isinstance(client.settings.features, FeatureTexts)
        flag = await client.get_flag("f1999", "u1")
        assert flag.key == "f1999" and flag.rule is not None
        assert (await client.get_flags("u1"))["f1999"].variation == flag.variation
        assert len(await client.get_flags("u1")) == 2000
        assert await client.track_event("purchase", "u1")
        assert not await client.track_event("nothing", "u1")
