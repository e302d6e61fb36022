"""The decision of one feature flag for one user: section F4 of the FME reference.

`decide_feature` returns either the decision or what it needs to know first (`Needs`): whoever calls it finds
that out and calls again. It also returns what has to be stored and reported; it does neither itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from ..._reason import Reason
from ..._settings.campaign_type import PERSONALIZE, ROLLOUT
from ..bucketing import draw, rescale
from ..segment import MalformedTreeError
from .evaluation import NOTHING, Evaluation, Known, NeedError, Needs
from .group import find_winner, read_winner
from .holdout import NOT_HELD, Held, find_new, is_held, judge_holdouts
from .plan import Feature, FlagDecision, FMEPlan, Impression, Member, Rule, RuleResult
from .record import FeatureRecord
from .user import FlagUser

INSIDE_HOLDOUT = 1
OUTSIDE_HOLDOUT = 2
# The memory of a group that nobody won.
_NOBODY: Member = (-1, None)


def decide_feature(
    plan: FMEPlan, feature_key: str, user: FlagUser, known: Known = NOTHING
) -> FlagDecision | Needs:
    """Decide one flag for one user.

    Args:
        plan: The compiled settings.
        feature_key: The key of the feature.
        user: The user.
        known: What the caller knows of the user by now.
    """
    feature = plan.ready.get(feature_key) or plan.features.get(feature_key)
    if feature is None:
        return FlagDecision(None, reason=Reason.FEATURE_NOT_FOUND)
    if known is NOTHING and feature.is_plain:
        return _decide_plain(feature, user)
    if known.details is not None and not feature.needs_details:
        # For this flag alone nobody would ask the gateway: what was learnt for others must not change it.
        known = known._replace(details=None)
    evaluation = Evaluation(plan, user, known)
    try:
        decision = _decide(feature, evaluation)
    except NeedError as error:
        return error.needs
    except MalformedTreeError:
        decision = _give_up(feature)
    if evaluation.written or evaluation.notes:
        decision = copy(decision)
        decision.records = evaluation.written
        decision.notes = evaluation.notes
    return decision


def _decide_plain(feature: Feature, user: FlagUser) -> FlagDecision:
    """Decide for a user of whom no record is known, where nothing but his variables and hashes has a say."""
    variables, hash_bytes = user.custom_variables, user.hash_bytes
    rollout: RuleResult | None = None
    experiment: RuleResult | None = None
    # As `_try_rules`, written out: most decisions are of this kind, and a call is a good part of one.
    try:
        for rule in feature.rollout_rules:
            if rule.segment is None or rule.segment(variables, None):
                rollout = rule.bucketer.assign(hash_bytes)
                break
            rollout = rule.not_in_segment
        if rollout is None or rollout.variation is not None:
            for rule in feature.experiment_rules:
                if rule.segment is None or rule.segment(variables, None):
                    experiment = rule.bucketer.assign(hash_bytes)
                    break
                experiment = rule.not_in_segment
    except MalformedTreeError:
        return _give_up(feature)
    return feature.find_decision(rollout, experiment)


def _decide(feature: Feature, evaluation: Evaluation) -> FlagDecision:
    record = None if evaluation.records is None else evaluation.read(feature.key)
    if record is None:
        return _decide_afresh(feature, None, evaluation)
    if is_held(feature, record):
        return _hold(feature, record, evaluation)
    experiment, rollout = find_stored(record, evaluation.plan)
    if experiment is not None:
        return _settle(feature, experiment, record, evaluation)
    if rollout is not None:
        # Noted before the experiments, whose groups look at this record again.
        spared = spare(feature, record, evaluation)
        try:
            return _give(feature, rollout, record, spared, evaluation)
        except MalformedTreeError:
            # These holdouts are on record by now, and will not be reported again.
            return _report(_give_up(feature), spared)
    # Holdouts that ended do not count any more.
    record = record._replace(inside=())
    return _decide_afresh(feature, record, evaluation)


def _give_up(feature: Feature) -> FlagDecision:
    """Turn the flag off because a segment cannot be evaluated; neither official SDK reports anything then."""
    decision = FlagDecision(feature, reason=Reason.MALFORMED_SEGMENT)
    decision.impressions = ()
    return decision


def _decide_afresh(
    feature: Feature, record: FeatureRecord | None, evaluation: Evaluation
) -> FlagDecision:
    """Decide for a user without a variation on record."""
    if feature.needs_details:
        evaluation.prepare_details()
    held = NOT_HELD
    if feature.holdouts:
        held = judge_holdouts(feature, record, evaluation, names_user=False)
        if held.inside:
            return _hold(feature, record or FeatureRecord(), evaluation, held)
    rules = feature.rollout_rules
    rollout = _try_rules(rules, feature, evaluation) if rules else None
    return _give(feature, rollout, record, held, evaluation)


def _give(
    feature: Feature,
    rollout: RuleResult | None,
    record: FeatureRecord | None,
    held: Held,
    evaluation: Evaluation,
) -> FlagDecision:
    """Go on with the experiments once it is known what the rollout gives; note what has to be stored."""
    experiment: RuleResult | None = None
    if rollout is None or rollout.variation is not None:
        evaluation.admitted = feature
        if rollout is not None and rollout.rule is None and feature.needs_details:
            evaluation.prepare_details()
        experiment = _try_rules(feature.experiment_rules, feature, evaluation)
    decision = feature.find_decision(rollout, experiment)
    if held.judged:
        decision = _report(decision, held)
    if evaluation.records is not None:
        _store(decision, feature, record, held, evaluation)
    return decision


def spare(feature: Feature, record: FeatureRecord, evaluation: Evaluation) -> Held:
    """Note and return the new holdouts of a user who has a variation on record: he is never put into one."""
    held = Held(tuple((one, False) for one in find_new(feature, record)))
    if held.judged:
        # Written whole: a storage that replaces records would otherwise forget the decision. Holdouts that
        # ended do not count any more.
        evaluation.write(feature.key, held.extend(record._replace(inside=())), feature.id)
    return held


def find_stored(
    record: FeatureRecord, plan: FMEPlan
) -> tuple[RuleResult | None, RuleResult | None]:
    """Return the experiment and the rollout on record. Where an experiment is on record, its rollout is not used."""
    experiment, rollout = record.experiment, record.rollout
    if experiment is not None and experiment.variation_id:
        return plan.find_stored(experiment), None
    if rollout is None or not rollout.campaign_id:
        return None, None
    return None, plan.find_stored(rollout)


def _settle(
    feature: Feature, stored: RuleResult, record: FeatureRecord, evaluation: Evaluation
) -> FlagDecision:
    """Give the experiment on record."""
    held = spare(feature, record, evaluation)
    return _report(feature.find_decision(None, stored), held)


def _hold(
    feature: Feature, record: FeatureRecord, evaluation: Evaluation, held: Held | None = None
) -> FlagDecision:
    """Turn the flag off for a user who is in a holdout; a stored one lets new ones be judged all the same."""
    if held is None:
        if feature.needs_details and find_new(feature, record):
            evaluation.prepare_details()
        held = judge_holdouts(feature, record, evaluation, names_user=False)
    evaluation.write(feature.key, held.extend(record), feature.id)
    decision = FlagDecision(feature, reason=Reason.IN_HOLDOUT)
    # Not the impact either: he is not part of what is measured.
    decision.impressions = ()
    return _report(decision, held)


def _report(decision: FlagDecision, held: Held) -> FlagDecision:
    """Return the decision with the holdouts that were judged."""
    decision = copy(decision)
    decision.judged_holdouts = held.judged
    holdouts = (
        Impression(one.id, INSIDE_HOLDOUT if is_in else OUTSIDE_HOLDOUT, is_holdout=True)
        for one, is_in in held.judged
    )
    decision.impressions = (*holdouts, *decision.impressions)
    return decision


def _store(
    decision: FlagDecision,
    feature: Feature,
    record: FeatureRecord | None,
    held: Held,
    evaluation: Evaluation,
) -> None:
    """Note what has to be stored: also that the flag is off, as both official SDKs do."""
    new = FeatureRecord(
        None if decision.rollout is None else decision.rollout.stored,
        None if decision.experiment is None else decision.experiment.stored,
        outside=() if record is None else record.outside,
    )
    evaluation.write(feature.key, held.extend(new), feature.id)


def _try_rules(
    rules: Iterable[Rule], feature: Feature, evaluation: Evaluation
) -> RuleResult | None:
    """Return the result of the first rule that the user passes, or else the last refusal (section F5).

    His traffic may still refuse him: no later rule is tried then.
    """
    refusal: RuleResult | None = None
    winners: dict[str, Member] = {}
    for rule in rules:
        forced = find_forced(rule, evaluation) if rule.whitelist else None
        if forced is not None:
            return forced
        if rule.group_id is None:
            segment = rule.segment
            holds = segment is None or segment(evaluation.user.custom_variables, evaluation)
            refusal = None if holds else rule.not_in_segment
        else:
            # Each rollout rule has a memory of its own.
            memory = {} if rule.type == ROLLOUT else winners
            refusal = _judge_member(rule, feature, evaluation, memory)
        if refusal is None:
            return rule.bucketer.assign(evaluation.user.hash_bytes)
    return refusal


def find_forced(rule: Rule, evaluation: Evaluation) -> RuleResult | None:
    """Return the result of the variation that whitelisting forces on the user, if any (section F5.3).

    If several match, the user's bucket value chooses among them by their weights, rescaled to 100 percent.
    """
    variables = evaluation.user.variation_targeting_variables
    matches = [result for holds, result in rule.whitelist if holds(variables, evaluation)]
    if len(matches) < 2:
        return matches[0] if matches else None
    shares = [
        (result.variation.weight, result) for result in matches if result.variation is not None
    ]
    return draw(rescale(shares), rule.whitelist_prefix + evaluation.user.hash_bytes)


def _judge_member(
    rule: Rule, feature: Feature, evaluation: Evaluation, winners: dict[str, Member]
) -> RuleResult | None:
    """Return the refusal if the user does not pass segment and group of *rule*, which is in one, else None.

    See section F5.2.

    Args:
        rule: The rule.
        feature: Its feature.
        evaluation: The decision.
        winners: The winners of groups that earlier rules of this call have found.
    """
    group = rule.group
    if group is None:
        # The official SDKs fail on a group that is not there.
        return rule.not_winner
    if group.id in winners:
        return None if winners[group.id] == rule.member else rule.not_winner
    evaluation.prepare_group(group)
    stored = read_winner(group, evaluation)
    if stored is None and not evaluation.passes(rule):
        return rule.not_in_segment
    winner = stored or find_winner(feature, group, evaluation) or _NOBODY
    if is_winner(rule, winner):
        return None
    winners[group.id] = winner
    return rule.not_winner


def is_winner(rule: Rule, winner: Member) -> bool:
    """Tell whether *winner* is the rule; of a testing rule the variation does not count."""
    if rule.type == PERSONALIZE:
        return winner == rule.member
    return winner[0] == rule.campaign_id
