"""The parity harness of FME itself, without the official SDKs: what it asks, compares and explains."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cause import Official, Verdict
from fme_cause import FME_ROWS, judge_fme
from fme_client import run_fme_case
from fme_compare import neutral_fme
from fme_generate import make_fme_case
from fme_run import list_regexes

Json = dict[str, Any]

HERE = Path(__file__).parent
SETTINGS: Json = {"sdkKey": "k", "accountId": 1, "features": [], "campaigns": []}


def answer(*, is_on: bool = True, **parts: Any) -> Json:
    ret = {"on": is_on, "variables": []}
    return {"ret": ret, "requests": [], "before": [], "after": [], "aliased": [], **parts}


def official(stock: Json, fixed: Json | None = None, *fired: str) -> Official:
    return Official(stock, stock if fixed is None else fixed, fired, lambda row: stock)


def test_cases_follow_from_their_seed() -> None:
    """The same seed and number give the same case; another of either gives another."""
    assert make_fme_case(1, 2) == make_fme_case(1, 2)
    assert make_fme_case(1, 2) != make_fme_case(1, 3)
    assert make_fme_case(1, 2) != make_fme_case(2, 2)
    assert json.loads(json.dumps(make_fme_case(1, 2))) == make_fme_case(1, 2)


def test_cases_are_odd() -> None:
    """A few hundred cases hold every kind of rule, operand, row, call and writer of the storage."""
    text = json.dumps([make_fme_case(5, number) for number in range(300)])
    for word in (
        *("FLAG_ROLLOUT", "FLAG_TESTING", "FLAG_PERSONALIZE", "campaignGroups", "holdouts", "salt"),
        *("isForcedVariationEnabled", "isUserListEnabled", "bucketingSeed", "impactCampaign"),
        *("isMAU", "isWebConnectivityEnabled", "collectionPrefix", "variationId", "percentTraffic"),
        *("custom_variable", "ip_address", "browser_version", "os_version", "campaignVariation"),
        *("featureId", "country", "region", "city", "device_type", "browser_string", "inlist("),
        *("regex(", "wildcard(", "lower(", "gt(", "gte(", "lt(", "lte(", '"user"', '"ua"', '"not"'),
        *("isInHoldoutId", "notInHoldoutId", "holdoutGroupId", "_vwo_meta_meg_", '"et": 1', '"wt"'),
        *("rolloutVariationId", "experimentVariationId", "track_event", "set_attribute"),
        *("postSegmentationVariables", "useIdForWeb", "webTestingCampaigns", "sessionId", "_vwo"),
        *('"writer": "ours"', '"writer": "python"', '"writer": "node"', "string", "integer"),
        *("double", "boolean", "json", "vwo_envKey", "isCustomEvent", "places", "set_alias"),
    ):
        assert word in text, word


def asks_beside_holdout(case: Json) -> bool:
    """Tell whether a row is in one holdout, and another one of the file asks about a feature."""
    asking = {one["id"] for one in case["settings"].get("holdouts", ()) if "featureId" in str(one)}
    inside = [row["isInHoldoutId"] for _, _, row in case["rows"] if row.get("isInHoldoutId")]
    return any(asking - {*one} for one in inside)


def test_cases_ask_about_features_beside_a_holdout_on_record() -> None:
    """New holdouts that ask about a feature, for users who are in another, are no rarity."""
    cases = [make_fme_case(5, number) for number in range(100)]
    assert sum(map(asks_beside_holdout, cases)) >= 3


@pytest.mark.anyio
async def test_our_client_answers_cases() -> None:
    """Every call is answered, on the rows that the storage is said to hold before it."""
    case = next(one for one in (make_fme_case(1, n) for n in range(99)) if one["writer"])
    answers = await run_fme_case(case)
    assert len(answers) == len(case["calls"])
    again = await run_fme_case(case, [one["before"] for one in answers])
    assert [neutral_fme(one) for one in again] == [neutral_fme(one) for one in answers]


@pytest.mark.anyio
async def test_our_client_asks_the_gateway_of_a_case() -> None:
    """A case with a gateway is answered through it: an alias is its user, and what is told is noted."""
    case = next(one for one in (make_fme_case(1, n) for n in range(200)) if one["gateway"])
    case["gateway"] |= {"is_asked": True, "aliases": {"anna@x": "u1"}, "refused": ["taken"]}
    case |= {"rows": [], "writer": "ours"}
    feature_key = case["settings"]["features"][0]["key"]
    case["calls"] = [
        {"api": "set_alias", "context": {"id": "u1"}, "alias": "anne@x"},
        {"api": "set_alias", "context": {"id": "u1"}, "alias": "taken"},
        {"api": "get_flag", "feature": feature_key, "context": {"id": "anna@x"}},
        {"api": "get_flag", "feature": feature_key, "context": {"id": "u1"}},
    ]
    first, second, alias, owner = await run_fme_case(case)
    assert (first["ret"], first["aliased"]) == (True, [["u1", "anne@x"]])
    assert (second["ret"], second["aliased"]) == (False, [["u1", "taken"]])
    assert neutral_fme(alias)["ret"] == neutral_fme(owner)["ret"]
    assert {user for user, _, _ in alias["after"]} <= {"u1"}


def test_regexes_of_a_case_are_known() -> None:
    """The Node oracle is told what Python's regular expressions say of every text of a case."""
    case = make_fme_case(1, 1)
    case["settings"]["x"] = {"custom_variable": {"plan": "regex(^1)"}}
    case["calls"][0]["context"]["customVariables"] = {"plan": 10.0, "age": "01"}
    table = list_regexes(case)["^1"]
    assert table["10"] is True
    assert table["01"] is False


def test_verdicts() -> None:
    """Equal answers are equal; a named difference of corrected SDKs that agree with us is explained."""
    on, off = answer(), answer(is_on=False)
    assert judge_fme({"settings": SETTINGS}, official(on), official(on), on) == Verdict("equal")
    python = official(off, on, "null_value")
    assert judge_fme({"settings": SETTINGS}, official(on), python, on) == Verdict(
        "explained", ("null_value",)
    )


@pytest.mark.parametrize(
    ("node", "python", "ours", "fault"),
    [
        (official(answer()), official(answer()), answer(is_on=False), "ours: ret"),
        (official(answer()), official(answer(is_on=False)), answer(), "corrected SDKs: ret"),
        (
            official(answer()),
            official(answer(is_on=False), answer(), "leaf"),
            answer(),
            "no row: leaf",
        ),
        (official(answer()), official(answer(is_on=False), answer()), answer(), "no row: nothing"),
        (
            official(answer()),
            official(answer()),
            answer(after=[["u", "f", {"userId": "u", "featureKey": "f", "rolloutId": 1}]]),
            "ours: rows",
        ),
    ],
)
def test_planted_differences(node: Official, python: Official, ours: Json, fault: str) -> None:
    """What no row explains is unexplained: ours, the corrected SDKs', and one without a name."""
    verdict = judge_fme({"settings": SETTINGS}, node, python, copy.deepcopy(ours))
    assert verdict.kind == "unexplained"
    assert fault in verdict.faults


def test_every_row_is_documented() -> None:
    """Each row that an edit or an oracle asks about is a row of docs/deviations.md, and none is idle."""
    names = ("fme_oracle.py", "fme_oracle.mjs", "fme_python_edits.py", "fme_node_edits.mjs")
    text = "".join((HERE / name).read_text() for name in names)
    asked = set(re.findall(r"""\brow\(\s*["']([a-z_]+)["']""", text))
    assert asked <= FME_ROWS.keys()
    assert all(f'"{name}"' in text or f"'{name}'" in text for name in FME_ROWS)
    table = (HERE.parents[1] / "docs" / "deviations.md").read_text()
    for case in FME_ROWS.values():
        assert f"| {case} |" in table, case
