"""Stored records of FME, one for each user and feature, in the official shape (section F9)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_IS_NUMBER = re.compile(r"-?[0-9]{1,17}").fullmatch
GROUP_KEY = "_vwo_meta_meg_"
# Stands for the variation in the record of a group that a testing rule won.
NO_VARIATION = -1


class StoredVariation(NamedTuple):
    """A variation on record.

    Attributes:
        campaign_id: The id of its campaign; None if the record has none.
        key: The key of its campaign, or, as the Python SDK writes it, feature key and rule key.
        variation_id: Its id; None if the record has none.
    """

    campaign_id: int | None
    key: str
    variation_id: int | None


class FeatureRecord(NamedTuple):
    """The stored record of a user in a feature; in a group's record the experiment is the winner.

    Attributes:
        rollout: The rollout that the user passed.
        experiment: The experiment's variation that the user has.
        inside: Ids of the holdouts that the user is in.
        outside: Ids of the holdouts that the user is not in.
    """

    rollout: StoredVariation | None = None
    experiment: StoredVariation | None = None
    inside: tuple[int, ...] = ()
    outside: tuple[int, ...] = ()


def read_record(row: Mapping[str, Any] | None) -> FeatureRecord | None:
    """Return what *row* says, None if it is empty; what cannot be read in it is as if it were not there."""
    if not row:
        return None
    inside = row.get("isInHoldoutId")
    if inside is None:
        # The name that earlier versions of the official SDKs gave it.
        inside = row.get("holdoutGroupId")
    return FeatureRecord(
        _read_variation(row, "rollout"),
        _read_variation(row, "experiment"),
        _read_ids(inside),
        _read_ids(row.get("notInHoldoutId")),
    )


def _read_variation(row: Mapping[str, Any], kind: str) -> StoredVariation | None:
    campaign_id, key = _read_id(row.get(f"{kind}Id")), row.get(f"{kind}Key")
    if not isinstance(key, str) or not key:
        return None
    return StoredVariation(campaign_id, key, _read_id(row.get(f"{kind}VariationId")))


def _read_ids(values: object) -> tuple[int, ...]:
    if not isinstance(values, (list, tuple)):
        values = (values,)
    found = map(_read_id, values)
    return tuple(one for one in found if one is not None)


def _read_id(value: object) -> int | None:
    """Return a whole number; storages may have made a text or a float of it."""
    if isinstance(value, str) and _IS_NUMBER(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if value == value // 1 else None


def make_row(
    feature_key: str, user_id: str, record: FeatureRecord, feature_id: int | None = None
) -> dict[str, Any]:
    """Return *record* in the official shape; fields without a value are left out."""
    row: dict[str, Any] = {"featureKey": feature_key, "userId": user_id}
    if feature_id is not None:
        row["featureId"] = feature_id
    for kind, found in (("rollout", record.rollout), ("experiment", record.experiment)):
        if found is not None:
            fields = {"Id": found.campaign_id, "Key": found.key, "VariationId": found.variation_id}
            row |= {f"{kind}{name}": one for name, one in fields.items() if one is not None}
    if record.inside:
        row["isInHoldoutId"] = list(record.inside)
    if feature_id is not None:
        row["notInHoldoutId"] = list(record.outside)
    return row


def join_ids(known: Sequence[int], found: Sequence[int]) -> tuple[int, ...]:
    """Return *known* and those of *found* that are not among them, in order."""
    return (*known, *(one for one in found if one not in known))
