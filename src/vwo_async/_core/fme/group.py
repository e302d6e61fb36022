"""Mutually exclusive groups of FME: which rule of which feature wins the user (section F7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..._settings.campaign_type import PERSONALIZE
from ..bucketing import draw
from .evaluation import Evaluation
from .holdout import judge_holdouts
from .plan import Feature, Group, Member, Rule
from .record import NO_VARIATION, FeatureRecord, StoredVariation


def read_winner(group: Group, evaluation: Evaluation) -> Member | None:
    """Return the stored winner of *group*, if any (section F7.4)."""
    record = evaluation.read(group.record_key)
    stored = None if record is None else record.experiment
    if stored is None or not stored.campaign_id:
        return None
    variation_id = stored.variation_id
    return stored.campaign_id, None if variation_id == NO_VARIATION else variation_id


def find_winner(feature: Feature, group: Group, evaluation: Evaluation) -> Member | None:
    """Return the winner of *group*, None for nobody; a winner by draw or priority is stored (section F7.3).

    Args:
        feature: The flag that is decided; a winner by draw or priority that is no rule of it counts as nobody.
        group: The group.
        evaluation: The decision.
    """
    stored: list[Rule] = []
    eligible: list[Rule] = []
    for entrant, rule in _find_competitors(group, evaluation):
        if _is_stored(entrant, rule, evaluation):
            stored.append(rule)
        elif evaluation.passes(rule) and rule.bucketer.is_in_traffic(evaluation.user.hash_bytes):
            eligible.append(rule)
    competing = stored or eligible
    if len(competing) < 2:
        return competing[0].member if competing else None
    winner = _choose(group, competing, evaluation.user.hash_bytes)
    if winner is None:
        return None
    evaluation.write(group.record_key, _make_record(winner))
    is_own = any(rule.campaign_id == winner.campaign_id for rule in feature.rules)
    return winner.member if is_own else None


def _find_competitors(group: Group, evaluation: Evaluation) -> Iterator[tuple[Feature, Rule]]:
    # All features are judged before any rule is.
    taking_part = [
        (feature, rules) for feature, rules in group.entrants if _takes_part(feature, evaluation)
    ]
    for feature, rules in taking_part:
        for rule in rules:
            yield feature, rule


def _takes_part(feature: Feature, evaluation: Evaluation) -> bool:
    """Tell whether the user is in no holdout of *feature*, and passes its rollout (section F7.1)."""
    record = evaluation.read(feature.key)
    if record is not None and record.inside:
        return False
    held = judge_holdouts(feature, record, evaluation, names_user=True)
    if held.inside:
        # Those that the user is not in are judged again, and reported, when the feature itself is asked for.
        known = (record or FeatureRecord())._replace(inside=held.inside)
        evaluation.write(feature.key, known, feature.id)
        return False
    return _is_rolled_out(feature, evaluation)


def _is_rolled_out(feature: Feature, evaluation: Evaluation) -> bool:
    if evaluation.admitted is feature or not feature.rollout_rules:
        return True
    for rule in feature.rollout_rules:
        # As for the flag itself, the first rule whose segment passes decides alone.
        if evaluation.passes(rule):
            return rule.bucketer.is_in_traffic(evaluation.user.hash_bytes)
    return False


def _is_stored(feature: Feature, rule: Rule, evaluation: Evaluation) -> bool:
    """Tell whether the user has a variation of *rule* on record."""
    record = evaluation.read(feature.key)
    stored = None if record is None else record.experiment
    if stored is None or stored.key not in (rule.campaign_key, rule.python_key):
        return False
    # Rules of one campaign share its key: the variation tells them apart.
    return any(one.id == stored.variation_id for one in rule.variations)


def _choose(group: Group, competing: Sequence[Rule], hash_bytes: bytes) -> Rule | None:
    if group.is_random:
        share = round(100 / len(competing) * 10_000) / 10_000
        shares = [(share, rule) for rule in competing]
    else:
        for wanted in group.priority:
            for rule in competing:
                if wanted in rule.names:
                    return rule
        shares = list(_list_weights(group, competing))
    return draw(shares, group.seed_prefix + hash_bytes)


def _list_weights(group: Group, competing: Sequence[Rule]) -> Iterator[tuple[float, Rule]]:
    """Yield the weights as they are: what belongs to rules that do not compete is nobody's."""
    for rule in competing:
        name = next((name for name in rule.names if name in group.weights), None)
        if name is not None:
            yield group.weights[name], rule


def _make_record(winner: Rule) -> FeatureRecord:
    variation_id = winner.variations[0].id if winner.type == PERSONALIZE else NO_VARIATION
    return FeatureRecord(
        experiment=StoredVariation(winner.campaign_id, winner.campaign_key, variation_id)
    )
