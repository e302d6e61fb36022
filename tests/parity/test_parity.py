"""The parity harness itself, without the official SDKs: what it asks, what it compares, what it reports."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cause import ROWS, Official, Verdict, judge
from compare import loose, neutral, reads_fit, strict, wire
from generate import make_case
from our_client import Step, run_case
from run import Report, enter
from shrink import shrink

Json = dict[str, Any]

CALL: Json = {
    "api": "activate",
    "args": {"campaignKey": "AB", "userId": "Ashley"},
    "options": {},
    "rows": [],
}
TARGET = (
    "/server-side/track-user?experiment_id=7&combination=1&visitor_ua=&visitor_ip=&sId=1795307042"
    "&u=CC8C9294108C53F79348D78411A17977&random=0.5"
)


def answer(ret: Any = "Control", target: str = TARGET, **parts: Any) -> Json:
    request = {"method": "GET", "target": target, "headers": {}, "body": ""}
    return {"ret": ret, "requests": [request], "sets": [], "gets": [], "hooks": [], **parts}


def official(stock: Json, fixed: Json | None = None, *fired: str) -> Official:
    return Official(stock, stock if fixed is None else fixed, fired, lambda row: stock)


def test_cases_follow_from_their_seed() -> None:
    """The same seed and number give the same case; another of either gives another."""
    assert make_case(1, 2) == make_case(1, 2)
    assert make_case(1, 2) != make_case(1, 3)
    assert make_case(1, 2) != make_case(2, 2)
    assert json.loads(json.dumps(make_case(1, 2))) == make_case(1, 2)


def test_cases_are_odd() -> None:
    """A few hundred cases hold every API, storage mode, flag and operator."""
    text = json.dumps([make_case(5, number) for number in range(200)])
    for word in (
        *("activate", "getVariationName", "isFeatureEnabled", "getFeatureVariableValue", "push"),
        *(
            "isNB",
            "isNBv2",
            "isOB",
            "isOBv2",
            "isBucketingSeedEnabled",
            "isMAB",
            "isUserListEnabled",
        ),
        *("isForcedVariationEnabled", "isEventArchEnabled", "collectionPrefix", "campaignGroups"),
        *("get_raises", "set_raises", "userStorageData", "metaData", "shouldTrackReturningUser"),
        *("goalTypeToTrack", "revenueValue", "eventProperties", "userAgent", "userIpAddress"),
        *("regex(", "wildcard(", "lower(", "gt(", "gte(", "lt(", "lte(", "hasProps", "revenueProp"),
        *("isDevelopmentMode", "batchEvents", "integrations", "goalIdentifiers", '"et": 3', '"wt"'),
    ):
        assert json.dumps(word)[1:-1] in text or word in text, word


@pytest.mark.anyio
async def test_our_client_answers_cases() -> None:
    """Every call of a case is answered, and each knows the rows that the storage held before it."""
    case = make_case(1, 4)
    steps = await run_case(case)
    assert len(steps) == len(case["calls"])
    for step in steps:
        assert step.answer is not None
        assert step.answer.keys() == answer().keys()
        assert "rows" in step.call


def test_numbers_are_alike() -> None:
    """Revenue compares whatever its spelling; returned values keep their type."""
    assert loose(10) == loose(10.0) == loose("10") == loose("10.00")
    assert loose("abc") == "abc"
    assert strict(10) == strict(10.0) != strict("10")
    assert strict(True) != strict(1)


def test_neutral_form() -> None:
    """One impression in a batch says the same as the request of one."""
    item = {
        "e": 7,
        "c": 1,
        "sId": 1,
        "u": "CC8C9294108C53F79348D78411A17977",
        "eT": 1,
        "visitor_ua": "",
        "visitor_ip": "",
    }
    batch = {
        "method": "POST",
        "target": "/server-side/batch-events?a=1",
        "headers": {},
        "body": json.dumps({"ev": [item]}),
    }
    single, batched = neutral(answer(), CALL), neutral(answer(requests=[batch]), CALL)
    assert single["impressions"] == batched["impressions"]
    assert single["shape"] != batched["shape"]


def test_unreadable_request() -> None:
    """A body that cannot be read is a difference, and no crash of the harness."""
    broken = {"method": "POST", "target": "/events/t?en=x", "headers": {}, "body": "{"}
    assert neutral(answer(requests=[broken]), CALL)["impressions"] != []
    assert wire(answer(requests=[broken])) != wire(answer())


def test_dynamic_values() -> None:
    """Time and random numbers are compared by shape alone, everything else to the letter."""
    later = TARGET.replace("1795307042", "1795307999").replace("0.5", "0.25")
    assert wire(answer()) == wire(answer(target=later))
    assert wire(answer()) != wire(answer(target=TARGET.replace("1795307042", "soon")))
    assert wire(answer()) != wire(
        answer(target=TARGET.replace("experiment_id=7", "experiment_id=8"))
    )


def test_reads_of_a_group() -> None:
    """Rows of other members may be read together or not at all; nothing else may differ."""
    assert reads_fit([["u", "A"], ["u", "B"]], [["u", "A"]], ["A", "B"])
    assert not reads_fit([["u", "A"], ["u", "C"]], [["u", "A"]], ["A", "B"])
    assert not reads_fit([], [["u", "A"]], ["A", "B"])


def test_equal() -> None:
    """Three equal answers are equal."""
    verdict = judge(CALL, official(answer()), official(answer()), answer(), [])
    assert verdict == Verdict("equal")


def test_explained() -> None:
    """A difference between the SDKs is explained where both corrected ones say what we say."""
    node = official(answer("V"), answer(), "hash_encoding")
    verdict = judge(CALL, node, official(answer()), answer(), [])
    assert verdict == Verdict("explained", ("hash_encoding",))


def test_cause_is_the_row_that_matters() -> None:
    """Of several rows met, those are named without which the answer would be another."""
    wrong = answer("V")
    node = Official(
        wrong,
        answer(),
        ("hash_encoding", "null_value"),
        lambda row: wrong if row == "hash_encoding" else answer(),
    )
    assert judge(CALL, node, official(answer()), answer(), []).causes == ("hash_encoding",)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"ret": "V"}, "ours: ret"),
        ({"requests": []}, "ours: impressions"),
        ({"sets": [{"userId": "Ashley"}]}, "ours: sets"),
        ({"hooks": [{"campaign_id": 7}]}, "ours: hooks"),
        ({"gets": [["Ashley", "AB"]]}, "ours: gets"),
        ({"target": TARGET.replace("combination", "kombination")}, "ours: wire"),
    ],
)
def test_planted_wrong_answer(change: Json, fault: str) -> None:
    """A wrong answer of ours is unexplained, even where the SDKs differ in a known row."""
    for node in (official(answer()), official(answer("V"), answer(), "hash_encoding")):
        verdict = judge(CALL, node, official(answer()), answer(**change), [])
        assert verdict.kind == "unexplained"
        assert fault in verdict.faults


def test_corrections_must_agree() -> None:
    """Two corrected SDKs that differ are unexplained whatever we say."""
    node = official(answer("V"), answer("V"), "hash_encoding")
    verdict = judge(CALL, node, official(answer()), answer(), [])
    assert verdict.kind == "unexplained"
    assert "corrected SDKs: ret" in verdict.faults


def test_nameless_difference() -> None:
    """A correction that is no row of docs/deviations.md explains nothing."""
    node = official(answer("V"), answer(), "leaf")
    verdict = judge(CALL, node, official(answer()), answer(), [])
    assert verdict == Verdict("unexplained", ("leaf",), ("no row: leaf",))


def test_unexplained_is_reported_in_full() -> None:
    """What is reported can be run again by itself."""
    report, case = Report(), make_case(1, 1)
    verdict = Verdict("unexplained", (), ("ours: ret",))
    enter(report, case, Step(copy.deepcopy(CALL), answer("V")), verdict)
    assert report.kinds["unexplained"] == 1
    (one,) = report.unexplained
    assert one["case"]["settings"] == case["settings"]
    assert one["case"]["calls"] == [{name: CALL[name] for name in ("api", "args", "options")}]


def test_unexplained_is_made_small() -> None:
    """Everything goes that the fault does not need."""
    case = {**make_case(1, 8), "rows": []}
    case["calls"] = case["calls"][:1]
    key = case["settings"]["campaigns"][-1]["key"]
    small = shrink(case, lambda one: key in [each["key"] for each in one["settings"]["campaigns"]])
    (campaign,) = small["settings"]["campaigns"]
    assert campaign["key"] == key
    assert not small["launch"]
    assert not small["calls"][0]["options"]


def test_every_row_is_known() -> None:
    """Each row that an edit or an oracle asks about has its place in the table of causes."""
    here = Path(__file__).parent
    asked = set()
    for name in ("node_edits.js", "oracle.js", "python_edits.py", "oracle.py"):
        text = (here / name).read_text()
        asked |= set(re.findall(r"""\brow\(\s*["']([a-z_0-9]+)["']""", text))
    assert len(asked) > 40
    assert asked <= ROWS.keys()
