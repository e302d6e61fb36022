"""Holdouts: whether the user is among those who get none of the features, so that others compare (section F8)."""

from __future__ import annotations

from typing import NamedTuple

from .evaluation import Evaluation
from .plan import Feature, Holdout
from .record import FeatureRecord, join_ids


class Held(NamedTuple):
    """The outcome of the holdouts that were judged, in the order of the file.

    Attributes:
        judged: Pairs of holdout and whether the user is in it.
    """

    judged: tuple[tuple[Holdout, bool], ...] = ()

    @property
    def inside(self) -> tuple[int, ...]:
        """Ids of those that the user is in."""
        return tuple(holdout.id for holdout, is_in in self.judged if is_in)

    @property
    def outside(self) -> tuple[int, ...]:
        """Ids of those that the user is not in."""
        return tuple(holdout.id for holdout, is_in in self.judged if not is_in)

    def extend(self, record: FeatureRecord) -> FeatureRecord:
        """Return *record* with these outcomes added."""
        return record._replace(
            inside=join_ids(record.inside, self.inside),
            outside=join_ids(record.outside, self.outside),
        )


def judge_holdouts(
    feature: Feature, record: FeatureRecord | None, evaluation: Evaluation, *, names_user: bool
) -> Held:
    """Judge all holdouts of *feature* that its record does not know yet.

    Args:
        feature: The feature.
        record: Its stored record, if any.
        evaluation: The decision.
        names_user: Whether `user` operands know the user, see `Evaluation.names_user`.
    """
    evaluation.names_user = names_user
    judged = tuple((one, _is_in(one, evaluation)) for one in find_new(feature, record))
    evaluation.names_user = True
    return Held(judged)


def find_new(feature: Feature, record: FeatureRecord | None) -> list[Holdout]:
    """Return the holdouts of *feature* that its record does not know."""
    known = () if record is None else (*record.inside, *record.outside)
    return [one for one in feature.holdouts if one.id not in known]


def is_held(feature: Feature, record: FeatureRecord) -> bool:
    """Tell whether the record says that the user is in a holdout that still applies."""
    return any(one.id in record.inside for one in feature.holdouts)


def _is_in(holdout: Holdout, evaluation: Evaluation) -> bool:
    user = evaluation.user
    if holdout.segment is not None and not holdout.segment(user.custom_variables, evaluation):
        return False
    return holdout.bucketer.assign(user.id_bytes)


NOT_HELD = Held()
