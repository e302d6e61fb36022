"""Why official answers differ: one row or section for each cause, and the verdict on a call.

In this folder, rows are those of docs/deviations.md and sections those of docs/reference.md.

The recommended answer is never ours: it is what the Node SDK and the Python SDK answer once every row in
which they part from the recommendation is corrected (node_edits.js, python_edits.py). Two SDKs,
corrected independently of each other and of us, must then agree, and ours must equal that. A row is
named as a cause where switching off its correction changes the corrected answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from compare import difference, in_one_request, neutral, reads_fit, wire

Json = dict[str, Any]

ONE_REQUEST = "one_batch_request"

# Row of docs/deviations.md or section of docs/reference.md, by cause.
ROWS: Mapping[str, str] = {
    "track_all_keys_false": "1",
    "hash_encoding": "2",
    "track_null_type_mismatch_false": "3",
    "track_overwrites_goals": "4",
    "no_variation_raises": "5",
    "seed_uses_nbv2": "6",
    "user_list_hashed": "7",
    "compare_error": "8",
    "mab_track": "9",
    "ob_present_counts": "10",
    "wildcard_bare_stars": "11",
    "returning_user_flag": "12",
    "eventarch_dedupes_goals": "13",
    "track_null_includes_paused": "14",
    "feature_cast": "15",
    "feature_flag_raw": "16",
    "user_storage_data": "17",
    "revprop_any_goal": "18",
    "number_format": "19",
    "revenue_type_checked": "20",
    "track_empty_list": "21",
    "number_parse": "22",
    "meg_running_only": "23",
    "gt_operand": "24",
    "meg_no_winner_raises_weighted": "26",
    "track_stores_whitelisted": "27",
    "storage_get_error_raises": "28",
    "storage_write_unread": "61",
    "zero_is_number": "29",
    "hook_error_raises": "30",
    "meg_unknown_et": "31",
    "feature_missing_flag": "32",
    "null_value": "33",
    "regex_engine": "34",
    "meta_data": "35",
    "track_dup_keys_repeat": "36",
    "stale_storage_is_tracked": "37",
    "storage_activated": "38",
    "storage_match": "39",
    "empty_value_is_absent": "40",
    "hasprops_repeats": "41",
    "children": "42",
    "meg_single_foreign_wins": "43",
    "meg_equal_weight_floor": "44",
    "meg_other_storage": "45",
    "meg_no_winner_raises_equal": "46",
    "meg_empty_group_raises": "46",
    "odd_operator_names": "47",
    "storage_field": "48",
    ONE_REQUEST: "49",
    "push_batch_encoding": "50",
    "batch_agent_fields": "51",
    "push_quote": "52",
    "hook_feature_test": "53",
    "stale_goals_count": "section 6.3",
    "stored_row_copied": "section 6.4",
    "meg_group_missing": "section 7",
    "feature_no_variables": "section 9",
    "hook_already_tracked": "section 13",
    "hook_no_variation": "section 13",
    "push_blank": "section 14",
    "push_value_text": "section 14",
    "query_encoding": "section 15.6",
    "header_encoding": "section 15.6",
    "sdk_key_missing": "section 1.2",
}

Rerun = Callable[[str], Json]


class Official(NamedTuple):
    """What one official SDK makes of a call.

    Attributes:
        stock: Its answer.
        fixed: Its answer with every correction.
        fired: The rows met on the way.
        rerun: Returns its answer with every correction but that of one row.
    """

    stock: Json
    fixed: Json
    fired: Sequence[str]
    rerun: Rerun


class Verdict(NamedTuple):
    """The verdict on a call.

    Attributes:
        kind: ``equal``, ``explained`` or ``unexplained``.
        causes: The rows by which the official answers part from the recommended one.
        faults: What is wrong, where it is unexplained.
    """

    kind: str
    causes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def judge(
    call: Json, node: Official, python: Official, ours: Json, members: Sequence[str]
) -> Verdict:
    """Compare the three.

    Args:
        call: The call.
        node: The Node SDK.
        python: The Python SDK.
        ours: Our answer.
        members: Keys of campaigns whose rows may be read for the sake of a group.
    """
    wanted = neutral(node.fixed, call)
    targets = count_targets(call, wanted)
    faults = [
        *(
            f"corrected SDKs: {part}"
            for part in difference(wanted, _python(python.fixed, call, targets))
        ),
        *(f"ours: {part}" for part in difference(wanted, neutral(ours, call))),
    ]
    if wire(node.fixed) != wire(ours):
        faults.append("ours: wire")
    # Like the Python SDK we look at all whitelists of a group before any of its rows.
    if not reads_fit(ours["gets"], python.fixed["gets"], members):
        faults.append("ours: gets")
    if faults:
        return Verdict("unexplained", tuple(sorted({*node.fired, *python.fired})), tuple(faults))
    of_node = _causes(node, lambda answer: [neutral(answer, call), wire(answer)])
    of_python = _causes(python, lambda answer: _python(answer, call, targets))
    causes = {
        *of_node,
        *of_python,
        *_packing(call, python, targets),
        *_tag_encoding(python),
        *_empty(call, node, python),
    }
    nameless = sorted(f"no row: {cause}" for cause in causes - ROWS.keys())
    if nameless:
        return Verdict("unexplained", tuple(sorted(causes)), tuple(nameless))
    return Verdict("explained" if causes else "equal", tuple(sorted(causes)))


def count_targets(call: Json, form: Json) -> int:
    """Return how many campaigns or tags a call asks to report."""
    if call["api"] == "push":
        return len(call["args"].get("tags", "1"))
    return len(form["ret"]) if isinstance(form["ret"], dict) else 1


def _python(answer: Json, call: Json, targets: int) -> Json:
    return in_one_request(neutral(answer, call), targets)


def _packing(call: Json, python: Official, targets: int) -> list[str]:
    form = neutral(python.fixed, call)
    return [ONE_REQUEST] if in_one_request(form, targets) != form else []


def _tag_encoding(python: Official) -> list[str]:
    """Row 50 is in the spelling of batched dimensions alone."""
    batches = [one for one in python.stock["requests"] if one["target"].find("/batch-events") >= 0]
    return ["push_batch_encoding"] if any('"eT": 3' in one["body"] for one in batches) else []


def _empty(call: Json, node: Official, python: Official) -> list[str]:
    """Row 21 is in the spelling of nothing alone."""
    is_row = call["api"] == "track" and call["args"]["campaignKey"] == []
    return ["track_empty_list"] if is_row and node.stock["ret"] != python.stock["ret"] else []


def _causes(official: Official, form: Callable[[Json], Any]) -> Sequence[str]:
    """Return the rows that make the stock answer another than the corrected one."""
    if not official.fired:
        return ()
    wanted = form(official.fixed)
    if form(official.stock) == wanted:
        return ()
    if len(official.fired) == 1:
        return official.fired
    alone = [row for row in official.fired if form(official.rerun(row)) != wanted]
    # Where each of several rows alone would do, none of them makes a difference by itself.
    return alone or official.fired
