"""The decision of one feature flag for one user.

`decide_feature` returns either the decision or what it needs to know first (`Needs`): whoever calls it finds
that out and calls again. It also returns what has to be stored and reported; it does neither itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..._reason import Reason
from ..bucketing import MAX_BUCKET_VALUE, Ranges, bucket_value, hash_seed, rescale
from ..segment import MalformedTreeError
from .evaluation import NOTHING, Evaluation, Known, NeedError, Needs
from .group import find_winner, read_winner
from .holdout import Held, find_new, is_held, judge_holdouts
from .plan import PERSONALIZE, Feature, FmePlan, Member, Rule, Variation
from .record import FeatureRecord, make_row
from .user import FmeUser

INSIDE_HOLDOUT = 1
OUTSIDE_HOLDOUT = 2
IMPACT_OFF = 1
IMPACT_ON = 2
# The memory of a group that nobody won.
_NOBODY: Member = (-1, None)


class Impression(NamedTuple):
    """That a user was shown something, as it is reported.

    Attributes:
        campaign_id: The campaign's, the holdout's or the impact campaign's id.
        variation_id: The variation's id; of a holdout 1 for in and 2 for not in; of an impact campaign 2 for on.
        is_holdout: Whether it is a holdout's.
    """

    campaign_id: int
    variation_id: int
    is_holdout: bool = False


class FlagDecision:
    """The decision of a flag.

    Attributes:
        feature: The feature, None if the file has none of that key.
        reason: Why the flag is on or off.
        rollout: The variation of the rollout that the user passed, if any.
        experiment: The variation of the test or personalisation that the user got, if any.
        rule: The rule that gave the variation or refused it last; None for a stored decision and without rules.
        held: The outcome of the holdouts that were judged for the first time.
        impressions: What is to be reported, in order.
        records: The records to store, by key, each with the id of its feature.
        notes: What was left out, and why.
    """

    __slots__ = (
        "experiment",
        "feature",
        "held",
        "impressions",
        "notes",
        "reason",
        "records",
        "rollout",
        "rule",
    )

    def __init__(self, feature: Feature | None, reason: Reason) -> None:
        self.feature = feature
        self.reason = reason
        self.rollout: Variation | None = None
        self.experiment: Variation | None = None
        self.rule: Rule | None = None
        self.held: Held = _NOT_HELD
        self.impressions: tuple[Impression, ...] = ()
        self.records: Mapping[str, tuple[FeatureRecord, int | None]] = {}
        self.notes: tuple[str, ...] = ()

    @property
    def is_enabled(self) -> bool:
        """Whether the flag is on."""
        return self.experiment is not None or self.rollout is not None

    @property
    def variation(self) -> Variation | None:
        """The variation whose variables the flag has: they are never merged."""
        return self.experiment or self.rollout

    def make_rows(self, user_id: str) -> list[dict[str, Any]]:
        """Return the records to store, in the official shape and in order."""
        return [
            make_row(key, user_id, record, feature_id)
            for key, (record, feature_id) in self.records.items()
        ]

    def __repr__(self) -> str:
        key = None if self.feature is None else self.feature.key
        return f"<FlagDecision {key!r} {'on' if self.is_enabled else 'off'} {self.reason}>"


_NOT_HELD = Held()


def decide_feature(
    plan: FmePlan, feature_key: str, user: FmeUser, known: Known = NOTHING
) -> FlagDecision | Needs:
    """Decide one flag for one user.

    Args:
        plan: The compiled settings.
        feature_key: The key of the feature.
        user: The user.
        known: What the caller knows of the user by now.
    """
    feature = plan.features.get(feature_key)
    if feature is None:
        return FlagDecision(None, Reason.FEATURE_NOT_FOUND)
    evaluation = Evaluation(plan, user, known)
    try:
        decision = _decide(feature, evaluation)
    except NeedError as error:
        return error.needs
    except MalformedTreeError:
        decision = FlagDecision(feature, Reason.MALFORMED_SEGMENT)
    if evaluation.written:
        decision.records = evaluation.written
    if evaluation.notes:
        decision.notes = tuple(evaluation.notes)
    return decision


def _decide(feature: Feature, evaluation: Evaluation) -> FlagDecision:
    decision = FlagDecision(feature, Reason.NO_RULE)
    record = evaluation.read(feature.key)
    if record is not None and _settle(decision, feature, record, evaluation):
        return decision
    evaluation.prepare_details(feature)
    if decision.rollout is None:
        decision.held = judge_holdouts(feature, record, evaluation, names_user=False)
        if decision.held.inside:
            _hold(decision, feature, _drop_inside(record), evaluation)
            return decision
        _roll_out(decision, feature, evaluation)
    if decision.rollout is not None or not feature.rollout_rules:
        _experiment(decision, feature, evaluation)
    _finish(decision, feature, record, evaluation)
    return decision


def _settle(
    decision: FlagDecision, feature: Feature, record: FeatureRecord, evaluation: Evaluation
) -> bool:
    """Take what is on record; tell whether that ends the decision. A stored rollout does not."""
    if is_held(feature, record):
        evaluation.prepare_details(feature)
        decision.held = judge_holdouts(feature, record, evaluation, names_user=False)
        _hold(decision, feature, record, evaluation)
        return True
    plan = evaluation.plan
    decision.experiment = plan.find_stored(record.experiment)
    # The rollout of a record whose experiment is gone is not used either.
    rollout = record.rollout
    if rollout is not None and rollout.campaign_id and not _has_experiment(record):
        decision.rollout = plan.find_stored(rollout)
    if not decision.is_enabled:
        return False
    decision.reason = Reason.STORED
    # Whoever has a variation is never put into a new holdout.
    decision.held = Held(tuple((one, False) for one in find_new(feature, record)))
    if decision.experiment is None:
        evaluation.admitted[feature.key] = True
        return False
    decision.impressions = _list_holdouts(decision.held)
    if decision.held.judged:
        # Written whole: a storage that replaces records would otherwise forget the decision.
        evaluation.write(feature.key, decision.held.extend(_drop_inside(record)), feature.id)
    return True


def _drop_inside(record: FeatureRecord | None) -> FeatureRecord:
    """Return the record of a user who is in no holdout that applies; those that ended do not count any more."""
    return FeatureRecord() if record is None else record._replace(inside=())


def _has_experiment(record: FeatureRecord) -> bool:
    return record.experiment is not None and bool(record.experiment.variation_id)


def _hold(
    decision: FlagDecision, feature: Feature, record: FeatureRecord, evaluation: Evaluation
) -> None:
    """End the decision of a user who is in a holdout."""
    decision.reason = Reason.IN_HOLDOUT
    decision.impressions = _list_holdouts(decision.held)
    evaluation.write(feature.key, decision.held.extend(record), feature.id)


def _list_holdouts(held: Held) -> tuple[Impression, ...]:
    return tuple(
        Impression(one.id, INSIDE_HOLDOUT if is_in else OUTSIDE_HOLDOUT, is_holdout=True)
        for one, is_in in held.judged
    )


def _roll_out(decision: FlagDecision, feature: Feature, evaluation: Evaluation) -> None:
    """The first rollout rule whose segment passes decides alone."""
    for rule in feature.rollout_rules:
        decision.rule = rule
        if rule.group_id is None and rule.segment is None:
            reason = None
        else:
            reason = _judge(rule, feature, evaluation, {})
        if reason is not None:
            decision.reason = reason
            continue
        found = rule.bucketer.assign(evaluation.user.hash_bytes)
        if isinstance(found, Variation):
            decision.rollout, decision.reason = found, Reason.ASSIGNED
            decision.impressions = (Impression(found.campaign_id, found.id),)
            evaluation.admitted[feature.key] = True
        else:
            decision.reason = found
        return


def _experiment(decision: FlagDecision, feature: Feature, evaluation: Evaluation) -> None:
    """The first testing or personalize rule that passes decides, also if its traffic refuses the user."""
    winners: dict[str, Member] = {}
    for rule in feature.experiment_rules:
        forced = find_forced(rule, evaluation) if rule.whitelist else None
        if forced is not None:
            _assign(decision, rule, forced, Reason.WHITELISTED)
            return
        reason = _judge(rule, feature, evaluation, winners)
        if reason is None:
            found = rule.bucketer.assign(evaluation.user.hash_bytes)
            if isinstance(found, Variation):
                _assign(decision, rule, found, Reason.ASSIGNED)
                return
            reason = found
            _refuse(decision, rule, reason)
            return
        _refuse(decision, rule, reason)


def _assign(decision: FlagDecision, rule: Rule, variation: Variation, reason: Reason) -> None:
    decision.experiment, decision.rule, decision.reason = variation, rule, reason
    shown = Impression(variation.campaign_id, variation.id)
    decision.impressions = (*decision.impressions, shown)


def _refuse(decision: FlagDecision, rule: Rule, reason: Reason) -> None:
    """Note why there is no variation, unless the rollout has given one."""
    if decision.rollout is None:
        decision.rule, decision.reason = rule, reason


def find_forced(rule: Rule, evaluation: Evaluation) -> Variation | None:
    """Return the variation that whitelisting forces on the user, if any.

    If several match, the user's bucket value chooses among them by their weights, rescaled to 100 percent.
    """
    variables = evaluation.user.variation_targeting_variables
    matches = [variation for holds, variation in rule.whitelist if holds(variables, evaluation)]
    if len(matches) < 2:
        return matches[0] if matches else None
    seed = rule.whitelist_prefix + evaluation.user.hash_bytes
    shares = rescale([(variation.weight, variation) for variation in matches])
    return Ranges(shares).find(bucket_value(hash_seed(seed), MAX_BUCKET_VALUE))


def _judge(
    rule: Rule, feature: Feature, evaluation: Evaluation, winners: dict[str, Member]
) -> Reason | None:
    """Return why the user does not pass segment and group of *rule*, or None if he does.

    Args:
        rule: The rule.
        feature: Its feature.
        evaluation: The decision.
        winners: The winners of groups that earlier rules of this call have found.
    """
    if rule.group is None:
        if rule.group_id is not None:
            # The official SDKs fail on a group that is not there.
            return Reason.NOT_GROUP_WINNER
        return None if evaluation.passes(rule) else Reason.NOT_IN_SEGMENT
    group = rule.group
    if group.id not in winners:
        evaluation.prepare_group(group)
        stored = read_winner(group, evaluation)
        if stored is None and not evaluation.passes(rule):
            return Reason.NOT_IN_SEGMENT
        winner = stored or find_winner(feature, group, evaluation) or _NOBODY
        if _is_winner(rule, winner):
            return None
        winners[group.id] = winner
        return Reason.NOT_GROUP_WINNER
    return None if winners[group.id] == rule.member else Reason.NOT_GROUP_WINNER


def _is_winner(rule: Rule, winner: Member) -> bool:
    """Tell whether *winner* is the rule; of a testing rule the variation does not count."""
    if rule.type == PERSONALIZE:
        return winner == rule.member
    return winner[0] == rule.campaign_id


def _finish(
    decision: FlagDecision, feature: Feature, record: FeatureRecord | None, evaluation: Evaluation
) -> None:
    """Note what has to be stored and reported."""
    if decision.held.judged:
        decision.impressions = (*_list_holdouts(decision.held), *decision.impressions)
    if feature.impact_campaign_id is not None:
        number = IMPACT_ON if decision.is_enabled else IMPACT_OFF
        shown = Impression(feature.impact_campaign_id, number)
        decision.impressions = (*decision.impressions, shown)
    if evaluation.records is None:
        return
    new = FeatureRecord(
        None if decision.rollout is None else decision.rollout.stored,
        None if decision.experiment is None else decision.experiment.stored,
        outside=() if record is None else record.outside,
    )
    evaluation.write(feature.key, decision.held.extend(new), feature.id)
