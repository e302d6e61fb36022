"""Explains the decision of a feature flag: makes it, then repeats its steps and records the facts of each one."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any

from ..._explanation import FlagExplanation, Step
from ..._reason import Reason
from ..._wording import count_of
from ..bucketing import MAX_BUCKET_VALUE, MAX_TRAFFIC_VALUE, bucket_value, hash_seed
from ..segment import MalformedTreeError
from ..trace import describe_part
from .decision import decide_feature, find_forced, find_stored, is_winner, spare
from .evaluation import Evaluation, Known, NeedError, Needs
from .group import find_winner, read_winner
from .holdout import is_held, judge_holdouts
from .plan import Feature, FlagDecision, FMEPlan, Holdout, Member, Rule, RuleResult
from .segment import PLACES, compile_fme_segment
from .user import FlagUser


def trace_feature(
    plan: FMEPlan, feature_key: str, user: FlagUser, known: Known
) -> FlagExplanation | Needs:
    """Return the explanation of a decision, or what it needs; same arguments as `decide_feature`."""
    decision = decide_feature(plan, feature_key, user, known)
    if isinstance(decision, Needs):
        return decision
    if decision.feature is None:
        steps: tuple[Step, ...] = (
            Step("feature", False, "the settings file has none of this key"),
        )
    else:
        tracer = _Tracer(decision, decision.feature, Evaluation(plan, user, known))
        try:
            steps = tuple(tracer.list_steps())
        except NeedError as error:
            return error.needs
    name = None if decision.variation is None else decision.variation.name
    return FlagExplanation(feature_key, decision.is_enabled, name, decision.reason, steps)


class _Tracer:
    """The steps of one decision, in order.

    Args:
        decision: What was decided.
        feature: The feature.
        evaluation: A fresh one, which knows all that the decision knew.
    """

    def __init__(self, decision: FlagDecision, feature: Feature, evaluation: Evaluation) -> None:
        self._decision = decision
        self._feature = feature
        self._evaluation = evaluation
        self._user = evaluation.user
        record = None if evaluation.records is None else evaluation.read(feature.key)
        self._record = record
        self._is_held = record is not None and is_held(feature, record)
        self._experiment: RuleResult | None = None
        self._rollout: RuleResult | None = None
        if record is not None and not self._is_held:
            self._experiment, self._rollout = find_stored(record, evaluation.plan)
            if self._rollout is not None:
                spare(feature, record, evaluation)

    def list_steps(self) -> Iterator[Step]:
        """Yield them."""
        try:
            yield from self._trace()
        except MalformedTreeError:
            yield Step(
                "segment", False, "a part that cannot be evaluated, which turns the flag off"
            )

    def _trace(self) -> Iterator[Step]:
        feature = self._feature
        number = len(feature.rules)
        yield Step(
            "feature", True, f"has {count_of(number, 'rule')}", {"id": feature.id, "rules": number}
        )
        yield from (Step("gateway", False, note) for note in self._decision.notes)
        if self._evaluation.records is not None:
            yield self._trace_storage()
        if self._experiment is not None or (self._is_held and self._is_decided):
            return
        if not self._is_decided and self._rollout is None:
            # Nothing was judged to its end; this raises where a holdout's segment did.
            judge_holdouts(feature, self._record, self._evaluation, names_user=False)
        yield from map(self._trace_holdout, self._decision.judged_holdouts)
        if self._decision.reason is not Reason.IN_HOLDOUT:
            yield from self._trace_rules()

    @property
    def _is_decided(self) -> bool:
        """Whether no segment was met that cannot be evaluated."""
        return self._decision.reason is not Reason.MALFORMED_SEGMENT

    def _trace_storage(self) -> Step:
        if self._record is None:
            return Step("storage", True, "no record")
        if self._is_held:
            holdouts = {"holdouts": list(self._record.inside), "decides": self._is_decided}
            return Step("storage", False, "in a holdout on record", holdouts)
        if self._experiment is not None and self._experiment.variation is not None:
            name = self._experiment.variation.name
            facts = {"variation_name": name, "decides": True}
            return Step("storage", True, f"{name!a} is on record", facts)
        if self._rollout is not None:
            return Step("storage", True, "the rollout is on record, and no experiment")
        return Step("storage", True, "a record without a variation that is still there")

    def _trace_holdout(self, judged: tuple[Holdout, bool]) -> Step:
        holdout, is_in = judged
        facts = {
            "id": holdout.id,
            **_find_share(holdout.seed_prefix, self._user.id_bytes, self._user.id),
            "percent_traffic": holdout.percent_traffic,
        }
        text = f"{'in' if is_in else 'not in'} holdout {holdout.id}"
        return Step("holdout", not is_in, text, {**facts, "decides": True} if is_in else facts)

    # Rules

    def _trace_rules(self) -> Iterator[Step]:
        feature = self._feature
        if feature.rollout_rules and self._rollout is None:
            is_rolled_out = yield from self._trace_rollout(feature.rollout_rules)
            if not is_rolled_out:
                return
        self._evaluation.admitted = feature
        winners: dict[str, Member] = {}
        for rule in feature.experiment_rules:
            if rule.whitelist:
                step = self._trace_whitelisting(rule)
                yield step
                if step.facts.get("decides"):
                    return
            steps = list(self._trace_admission(rule, winners))
            yield from steps
            if steps[-1].passed:
                yield from self._trace_buckets(rule)
                return

    def _trace_rollout(self, rules: Iterable[Rule]) -> Generator[Step, None, bool]:
        """Yield what decides whether the rollout admits the user, and return whether it does."""
        for rule in rules:
            steps = list(self._trace_admission(rule, {}))
            yield from steps
            if steps[-1].passed:
                steps = list(self._trace_buckets(rule))
                yield from steps
                return steps[-1].passed
        return False

    def _trace_whitelisting(self, rule: Rule) -> Step:
        forced = find_forced(rule, self._evaluation)
        if forced is None or forced.variation is None:
            return Step("whitelisting", True, "forces nothing on this user", {"rule": rule.key})
        name = forced.variation.name
        facts = {"rule": rule.key, "variation_name": name, "decides": True}
        return Step("whitelisting", True, f"{name!a} is forced", facts)

    def _trace_admission(self, rule: Rule, winners: dict[str, Member]) -> Iterator[Step]:
        """Yield what decides whether the rule is for the user: its segment, and its group."""
        if rule.group_id is None:
            yield self._trace_segment(rule)
            return
        group = rule.group
        if group is None:
            yield Step("group", False, "its group is not there", {"rule": rule.key})
            return
        winner = winners.get(group.id) or read_winner(group, self._evaluation)
        if winner is None:
            step = self._trace_segment(rule)
            yield step
            if not step.passed:
                return
            winner = find_winner(self._feature, group, self._evaluation) or (-1, None)
        is_own = is_winner(rule, winner)
        if not is_own:
            winners[group.id] = winner
        facts = {
            "rule": rule.key,
            "group": group.id,
            "winner": None if winner[0] < 0 else winner[0],
        }
        text = "wins its group" if is_own else "another rule of the group wins, or none"
        yield Step("group", is_own, text, facts)

    def _trace_segment(self, rule: Rule) -> Step:
        facts: dict[str, Any] = {"rule": rule.key}
        if rule.segment is None:
            return Step("segment", True, f"of {rule.key!a}: everybody", facts)
        if self._evaluation.passes(rule):
            return Step("segment", True, f"of {rule.key!a}: holds", facts)
        fault = find_fault(rule.segment_tree, self._evaluation)
        text = f"of {rule.key!a}: does not hold: {fault}"
        return Step("segment", False, text, {**facts, "fault": fault})

    def _trace_buckets(self, rule: Rule) -> Iterator[Step]:
        """Yield where the hash of the user leads within the rule."""
        bytes_, shown = self._user.hash_bytes, self._user.hash_bytes.decode("utf-8", "replace")
        facts = {"rule": rule.key, **_find_share(rule.whitelist_prefix, bytes_, shown)}
        facts["percent_traffic"] = rule.percent_traffic
        value, passed = facts["value"], facts["value"] <= rule.percent_traffic
        limit = f"{rule.percent_traffic:g} %"
        yield Step("traffic", passed, f"{value} is {'' if passed else 'not '}within {limit}", facts)
        if passed:
            yield self._trace_variation(rule, bytes_, shown)

    def _trace_variation(self, rule: Rule, hash_bytes: bytes, shown: str) -> Step:
        hashed = hash_seed(rule.bucket_prefix + hash_bytes)
        value = bucket_value(hashed, MAX_BUCKET_VALUE)
        facts: dict[str, Any] = {
            "rule": rule.key,
            "seed": f"{rule.bucket_prefix.decode()}{shown}",
            "hash": hashed,
            "value": value,
        }
        owner, bounds = rule.ranges.find(value), rule.ranges.find_bounds(value)
        if owner is None or bounds is None or owner.variation is None:
            return Step("variation", False, f"no variation owns {value}", facts)
        name, (start, end) = owner.variation.name, bounds
        facts |= {"variation_name": name, "start": start, "end": end, "decides": True}
        return Step("variation", True, f"{name!a} owns {start}..{end}, which has {value}", facts)


def _find_share(prefix: bytes, id_bytes: bytes, shown: str) -> dict[str, Any]:
    hashed = hash_seed(prefix + id_bytes)
    return {
        "seed": f"{prefix.decode()}{shown}",
        "hash": hashed,
        "value": bucket_value(hashed, MAX_TRAFFIC_VALUE),
    }


def find_fault(tree: Any, evaluation: Evaluation) -> str:
    """Describe the part of a segment because of which the whole does not hold."""
    if not isinstance(tree, dict) or not tree:
        return "a part that cannot be evaluated"
    kind, content = next(iter(tree.items()))
    if kind == "and" and isinstance(content, list):
        failing = (one for one in content if not _is_place(one) and not _holds(one, evaluation))
        part = next(failing, None)
        return "the place of the user" if part is None else find_fault(part, evaluation)
    if kind == "or" and isinstance(content, list):
        return f"none of ({' | '.join(find_fault(one, evaluation) for one in content)})"
    if kind == "not":
        return f"not ({describe_part(content)}), which holds"
    return describe_part(tree, evaluation.user.custom_variables)


def _is_place(tree: Any) -> bool:
    return isinstance(tree, dict) and not PLACES.isdisjoint(tree)


def _holds(tree: Any, evaluation: Evaluation) -> bool:
    predicate = compile_fme_segment(tree)
    try:
        return predicate is None or predicate(evaluation.user.custom_variables, evaluation)
    except MalformedTreeError:
        return False
