"""Why the official FME SDKs differ: one row of docs/deviations.md for each cause, and the verdict on a call.

As for FullStack the recommended answer is never ours: it is what the Python SDK and the Node SDK answer
once every row in which they part from it is corrected in their sources (fme_python_edits.py,
fme_node_edits.mjs). Both must then agree, and ours must equal that. A row is named as a cause where
switching off its correction changes the corrected answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cause import Official, Verdict
from fme_compare import fme_difference, neutral_fme, wire_faults

Json = dict[str, Any]

# The case of docs/deviations.md, section "VWO FME", by cause.
FME_ROWS: Mapping[str, str] = {
    "alias_blanks": "blanks within an alias",
    "alias_not_set": "`set_alias` where the gateway answers that it did not",
    "alias_of_blanks": "an alias or a user id of blanks alone",
    "alias_visitor": "the visitor id of a user whose id may be an alias",
    "attribute_visitor": "holdouts of a web visitor id, and in Node a single attribute",
    "bool_text": "`true` and `false` as values",
    "compare_operand_form": "`gt(5.)`, `gt(1.2.9` and the like",
    "compare_texts": "`gt(5)` and the like on a text that is no version",
    "compound_value": "lists and objects as values",
    "decision_forgotten": "a holdout is added to the file for a user with a variation on record",
    "empty_address": "`ip_address`, for a user whose address is an empty text",
    "null_variables": "variables of null in a context",
    "null_address": "an address of null",
    "zero_session": "a session of 0",
    "empty_attribute": "an empty value of `set_attribute(key, value)`",
    "empty_attribute_name": "an attribute without a name",
    "empty_details": "the gateway, for a user with details that are empty",
    "empty_id": "an empty user id",
    "empty_node": "a node that is an empty object",
    "feature_id_text": "a part that cannot be evaluated",
    "group_holdout_forgets": "a feature's holdout, met while its group is decided",
    "holdout_forgets": "a holdout that puts out a user with a variation on record",
    "holdout_session": "the session of a holdout's event",
    "holdout_variables_missing": "a holdout on a custom variable, for a user without any",
    "holdout_visitor": "holdouts of a web visitor id, and in Node a single attribute",
    "impressions_when_off": "impressions of a flag that is off",
    "list_never_asked": "`inlist(x)`",
    "list_of_a_holdout": "the id that user lists see while a group is decided",
    "list_of_another_rule": "the id that user lists see while a group is decided",
    "list_value_encoding": "the value that is looked up in a list",
    "meg_several_rollout_rules": "a group's feature with several rollout rules",
    "meg_stored_personalize": "a stored winner of a group that is another variation of the campaign",
    "missing_group": "`campaignGroups` names a group that is not there",
    "missing_traffic": "a test without `percentTraffic`",
    "no_alias": "an id that is nobody's alias, or whose owner the gateway does not say",
    "not_in_holdout_forgotten": "a user who was found not to be in a holdout, flag off",
    "null_value": "a value of null",
    "number_normalising": "which texts are numbers",
    "numeric_id": "a user id that is a number",
    "old_holdout_field": "`isInHoldoutId` empty, `holdoutGroupId` given",
    "quotes_in_location": "quotes within the name of a place",
    "regex_dialect": "a regex, that in the wildcard of a device too",
    "reported_before_it_failed": "a part that cannot be evaluated, where there is a gateway",
    "reported_falsy_values": "a reported variable that is 0, false or empty",
    "reserved_properties": "a property or attribute named `vwo_...` or `isCustomEvent`",
    "stale_holdout_context": "a new holdout with a segment, for a user who is in a holdout on record",
    "storage_key_form": "keys in records of rollouts and personalisations",
    "storage_needs_feature_id": "a record without `featureId`",
    "stored_rollout_incomplete": "a stored rollout without `rolloutVariationId`",
    "string_operand_numbers": "`1.0.0` and `1.0`",
    "text_of_value": "which texts are numbers",
    "ua_decoding": "a user agent with `%`",
    "usage_beside_holdouts": "usage of a stored decision whose new holdouts are reported",
    "version_equality": "`1.0.0` and `1.0`",
    "web_connectivity": "web connectivity switched off in the file",
    "web_id_of_alias": "`use_id_for_web` of an id that may be an alias",
    "web_falsy": "an empty text as `webTestingCampaigns`",
    "wildcard_in_ua": "`wildcard(...)` on a device",
    "wildcard_stars": "stars at the ends of `wildcard(**x)`",
}


def judge_fme(case: Json, node: Official, python: Official, ours: Json) -> Verdict:
    """Compare the three answers to one call."""
    wanted = neutral_fme(python.fixed)
    faults = [f"corrected SDKs: {one}" for one in fme_difference(wanted, neutral_fme(node.fixed))]
    faults += [f"ours: {one}" for one in fme_difference(wanted, neutral_fme(ours))]
    faults += [f"ours: {one}" for one in wire_faults(ours, case)]
    fired = tuple(sorted({*node.fired, *python.fired}))
    if faults:
        return Verdict("unexplained", fired, tuple(faults))
    causes = tuple(sorted({*_causes(node), *_causes(python)}))
    nameless = tuple(f"no row: {one}" for one in causes if one not in FME_ROWS)
    if nameless:
        return Verdict("unexplained", causes, nameless)
    return Verdict("explained" if causes else "equal", causes)


def _causes(official: Official) -> tuple[str, ...]:
    """Return the rows that make the stock answer another than the corrected one."""
    wanted = neutral_fme(official.fixed)
    if neutral_fme(official.stock) == wanted:
        return ()
    if not official.fired:
        return ("nothing",)
    if len(official.fired) == 1:
        return tuple(official.fired)
    alone = [row for row in official.fired if neutral_fme(official.rerun(row)) != wanted]
    # Where each of several rows alone would do, none of them makes a difference by itself.
    return tuple(alone or official.fired)
