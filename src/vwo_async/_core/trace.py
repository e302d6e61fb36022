"""Explains a decision: makes it, then repeats its steps and records the facts of each one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._explanation import Explanation, Step
from .._reason import Reason
from .._user import User
from .._wording import count_of
from .api_method import Api
from .bucketing import MAX_BUCKET_VALUE, MAX_TRAFFIC_VALUE, bucket_value, hash_seed
from .decision import Needs, Records, decide, find_eligible, find_forced
from .group import find_winner
from .plan import Campaign, Decision, Group, Plan
from .segment import compile_segment, is_list


def trace(
    plan: Plan, campaign: Campaign, user: User, api: Api, records: Records | None
) -> Explanation | Needs:
    """Return the explanation of a decision, or the records that it needs; same arguments as `decide`."""
    decision = decide(plan, campaign, user, api, records)
    if isinstance(decision, Needs):
        return decision
    steps = []
    for step in _make_steps(plan, campaign, user, decision, records):
        steps.append(step)
        if not step.passed or step.facts.get("decides"):
            break
    variation = decision.variation
    name = None if variation is None else variation.name
    return Explanation(campaign.key, name, decision.reason, tuple(steps))


def _make_steps(
    plan: Plan, campaign: Campaign, user: User, decision: Decision, records: Records | None
) -> Iterator[Step]:
    yield Step("campaign", True, f"running, of type {campaign.type}", {"id": campaign.id})
    yield _whitelisting(plan, campaign, user)
    if records is not None:
        yield _storage(campaign, decision, records)
    yield _segment(campaign, user)
    yield _traffic(campaign, user)
    if campaign.group is not None:
        yield _group(campaign, campaign.group, user, decision)
    yield _variation(campaign, user, decision)


def _whitelisting(plan: Plan, campaign: Campaign, user: User) -> Step:
    forced = find_forced(plan, campaign, user) if campaign.whitelist else None
    if forced is not None:
        facts = {"variation_name": forced.name, "decides": True}
        return Step("whitelisting", True, f"{forced.name!a} is forced", facts)
    text = "forces nothing on this user" if campaign.whitelist else "off"
    return Step("whitelisting", True, text)


def _storage(campaign: Campaign, decision: Decision, records: Records) -> Step:
    record = records.get(campaign.key)
    facts: dict[str, Any] = {} if record is None else {"variation_name": record.variation_name}
    if decision.reason is Reason.STORED:
        text = f"{facts['variation_name']!a} is on record"
        return Step("storage", True, text, {**facts, "decides": True})
    if decision.reason is Reason.NOT_ACTIVATED:
        return Step("storage", False, "no record, and this API does not activate", facts)
    text = "no record" if record is None else "the variation on record is no longer there"
    return Step("storage", True, text, facts)


def _segment(campaign: Campaign, user: User) -> Step:
    if campaign.segment is None:
        return Step("segment", True, "everybody")
    if campaign.segment(user.custom_variables, None):
        return Step("segment", True, "holds")
    fault = find_fault(campaign.segment_tree, user.custom_variables)
    return Step("segment", False, f"does not hold: {fault}", {"fault": fault})


def _traffic(campaign: Campaign, user: User) -> Step:
    hashed = hash_seed(campaign.seed_prefix + user.hash_bytes)
    value = bucket_value(hashed, MAX_TRAFFIC_VALUE)
    passed = value <= campaign.percent_traffic
    limit = f"{campaign.percent_traffic:g} %"
    facts = {
        "seed": _show_seed(campaign.seed_prefix, user),
        "hash": hashed,
        "value": value,
        "percent_traffic": campaign.percent_traffic,
    }
    return Step("traffic", passed, f"{value} is {'' if passed else 'not '}within {limit}", facts)


def _group(campaign: Campaign, group: Group, user: User, decision: Decision) -> Step:
    passed = decision.reason is not Reason.NOT_GROUP_WINNER
    eligible = find_eligible(campaign, group, user)
    winner = find_winner(group, eligible, user.hash_bytes) if eligible else None
    hashed = hash_seed(group.seed_prefix + user.hash_bytes)
    facts = {
        "group": group.name,
        "eligible": [member.key for member in eligible],
        "winner": None if winner is None else winner.key,
        "hash": hashed,
        "value": bucket_value(hashed, MAX_BUCKET_VALUE),
    }
    if not passed and winner is campaign:
        return Step("group", False, "another campaign whitelists or has stored the user", facts)
    name = "nobody" if winner is None else ascii(winner.key)
    number = count_of(len(eligible), "eligible campaign")
    return Step("group", passed, f"{name} wins among {number}", facts)


def _variation(campaign: Campaign, user: User, decision: Decision) -> Step:
    hashed = hash_seed(campaign.bucket_prefix + user.hash_bytes)
    value = bucket_value(hashed, MAX_BUCKET_VALUE, campaign.bucket_multiplier)
    facts: dict[str, Any] = {
        "seed": _show_seed(campaign.bucket_prefix, user),
        "hash": hashed,
        "multiplier": campaign.bucket_multiplier,
        "value": value,
    }
    bounds = campaign.ranges.find_bounds(value)
    if decision.variation is None or bounds is None:
        return Step("variation", False, f"no range covers {value}", facts)
    name, (start, end) = decision.variation.name, bounds
    facts |= {"variation_name": name, "start": start, "end": end, "decides": True}
    return Step("variation", True, f"{name!a} owns {start}..{end}, which has {value}", facts)


def _show_seed(prefix: bytes, user: User) -> str:
    return f"{prefix.decode()}{user.id}"


def find_fault(tree: Any, variables: Mapping[str, Any]) -> str:
    """Describe the part of *tree* because of which the whole tree does not hold."""
    if not isinstance(tree, dict) or not tree:
        return "a part that no SDK can evaluate"
    kind, content = next(iter(tree.items()))
    if kind in ("and", "or") and is_list(content):
        failing = [child for child in content if not _holds(child, variables)]
        faults = [find_fault(child, variables) for child in failing]
        return faults[0] if kind == "and" and faults else f"none of ({' | '.join(faults)})"
    if kind == "not":
        return f"not ({describe_part(content)}), which holds"
    return describe_part(tree, variables)


def _holds(tree: Any, variables: Mapping[str, Any]) -> bool:
    predicate = compile_segment(tree)
    return predicate is not None and predicate(variables, None)


def describe_part(tree: Any, variables: Mapping[str, Any] | None = None) -> str:
    """Describe a part of a segment, with the value of its variable where *variables* are given."""
    kind, content = next(iter(tree.items()), ("", None)) if isinstance(tree, dict) else ("", None)
    if kind != "custom_variable" or not isinstance(content, dict) or not content:
        return f"a part of kind {kind!a}"
    name, operand = next(iter(content.items()))
    text = f"{name!a} is {operand!a}"
    if variables is None:
        return text
    value = variables.get(name)
    return f"{text}, but it is {'absent' if value is None else ascii(value)}"
