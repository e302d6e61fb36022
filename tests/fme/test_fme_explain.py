"""How a flag came about, step by step: what `explain` says is what was decided."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from fme_file import files, make_campaign, make_flag, make_variation, users
from hypothesis import given
from replay import LISTS, Caller, compile_file
from server import running_server

from vwo_async import FlagExplanation, FMEClient, FMEUser, InvalidInputError, Reason
from vwo_async._core.fme.evaluation import Known, Needs
from vwo_async._core.fme.trace import trace_feature
from vwo_async._core.fme.user import FlagUser, read_details
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport

PRO = {"and": [{"country": "India"}, {"custom_variable": {"plan": "pro"}}]}

# The step with which a decision without a variation ends, by its reason.
LAST_STEP = {
    Reason.NOT_IN_SEGMENT: {"segment"},
    Reason.NOT_IN_TRAFFIC: {"traffic"},
    Reason.NO_VARIATION: {"variation"},
    Reason.NOT_GROUP_WINNER: {"group"},
    Reason.IN_HOLDOUT: {"holdout", "storage"},
    Reason.MALFORMED_SEGMENT: {"segment"},
    Reason.FEATURE_NOT_FOUND: {"feature"},
    Reason.NO_RULE: {"feature", "storage", "holdout", "gateway"},
}


class Explaining(Caller):
    """A caller that has the decision explained."""

    def explain(self, feature_key: str, user: FlagUser) -> FlagExplanation:
        """Bring what is asked for until there is an explanation."""
        records: dict[str, Any] | None = None if self.rows is None else {}
        details = None
        lists: dict[tuple[str, str], bool] = {}
        while True:
            known = Known(records, self.has_gateway, details, lists)
            found = trace_feature(self.plan, feature_key, user, known)
            if not isinstance(found, Needs):
                return found
            for key in found.keys:
                assert records is not None
                records[key] = self.read(key, user)
            details = read_details({}, []) if found.details else details
            lists = {**lists, **{one: one[1] in LISTS.get(one[0], ()) for one in found.lists}}


@pytest.mark.parametrize("rows", [None, {}], ids=["no storage", "storage"])
@given(file=files(), user=users())
def test_an_explanation_is_of_the_decision(rows: Any, file: dict[str, Any], user: FlagUser) -> None:
    """Whatever the file: the steps end where the decision did, and name what was given."""
    caller = Explaining(compile_file(file), rows)
    for key in [*caller.plan.features, *caller.plan.features, "nope"]:
        explained = caller.explain(key, user)
        decision = caller.decide(key, user)
        assert explained.reason is decision.reason
        assert explained.is_enabled is decision.is_enabled
        deciding = [one for one in explained.steps if one.facts.get("decides")]
        if explained.is_enabled:
            named = [one.facts["variation_name"] for one in deciding]
            assert explained.variation_name in named or decision.reason is Reason.STORED
            assert decision.experiment is None or explained.steps[-1] is deciding[-1]
        else:
            assert explained.steps[-1].name in LAST_STEP[explained.reason]
            assert explained.reason is Reason.NO_RULE or not explained.steps[-1].passed
        assert json.loads(json.dumps(explained.as_dict()))["feature_key"] == key
        assert str(explained).startswith(repr(key))
        if caller.rows is not None:
            for row in decision.make_rows(user.id):
                caller.store(row)


def sample(**fields: Any) -> dict[str, Any]:
    rollout = make_campaign(1, "r", variations=[make_variation(1, 100, segments=PRO)])
    return {**make_flag(rollout, make_campaign(2), **fields), "sdkKey": "5ecre7"}


@pytest.mark.parametrize(("number", "text"), [(0, "0 rules"), (1, "1 rule"), (2, "2 rules")])
def test_rules_are_counted_in_english(number: int, text: str) -> None:
    """The first step says how many rules the feature has, as one would write it."""
    file = make_flag(*(make_campaign(one) for one in range(1, number + 1)))
    explained = Explaining(compile_file(file)).explain("f1", FlagUser("Ashley"))
    assert str(explained).splitlines()[1] == f"  + feature: has {text}"


@pytest.mark.anyio
async def test_explaining_changes_nothing() -> None:
    """It says which segment does not hold and where the hash leads, and neither sends nor stores."""
    storage = MemoryUserStorage()
    details = {"location": {"country": "India"}}
    pro = FMEUser("u1", {"plan": "pro"}, ip_address="1.2.3.4", details=details)
    async with (
        running_server() as server,
        FMEClient(sample(), base_url=server.base_url, user_storage=storage) as client,
    ):
        await client.flush_events()
        before = len(server.requests)
        explained = await client.explain("f1", pro)
        assert [one.name for one in explained.steps] == [
            *("feature", "storage", "segment", "traffic", "variation"),
            *("segment", "traffic", "variation"),
        ]
        assert explained.is_enabled
        assert explained.variation_name == explained.steps[-1].facts["variation_name"]
        assert explained.steps[-1].facts["seed"] == "2_888888_u1"
        free = FMEUser("u1", {"plan": "free"}, ip_address="1.2.3.4", details=details)
        refused = await client.explain("f1", free)
        assert refused.reason is Reason.NOT_IN_SEGMENT
        assert refused.steps[-1].facts["fault"] == "'plan' is 'pro', but it is 'free'"
        assert await storage.get("u1", "f1") is None
        await client.flush_events()
        assert len(server.requests) == before
        flag = await client.get_flag("f1", pro)
        assert flag.variation is not None
        assert flag.variation.name == explained.variation_name
        (*_, last) = (await client.explain("f1", pro)).steps
        assert (last.name, last.facts["decides"]) == ("storage", True)
    assert pickle.loads(pickle.dumps(explained)) == explained


@pytest.mark.anyio
async def test_explaining_bad_input() -> None:
    """What is no feature or user gives an explanation that says so, or with strict raises."""
    async with FMEClient(sample(), transport=RecordingTransport()) as client:
        assert (await client.explain("nope", "u1")).reason is Reason.FEATURE_NOT_FOUND
        bad: list[tuple[Any, Any]] = [(None, "u1"), ("", "u1"), ("f1", None), ("f1", "")]
        for key, user in bad:
            assert (await client.explain(key, user)).reason is Reason.INVALID_INPUT
        client.opt_out_user("u1")
        assert (await client.explain("f1", "u1")).reason is Reason.OPTED_OUT
        odd: Any = {"plan": object()}
        noted = await client.explain("f1", FMEUser("u2", odd))
        assert noted.steps[0].name == "arguments"
    async with FMEClient(sample(), transport=RecordingTransport(), strict=True) as client:
        with pytest.raises(InvalidInputError):
            await client.explain("f1", "")
