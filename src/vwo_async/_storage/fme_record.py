"""Records of FME in a user storage: in the official shape, and so that any storage of FullStack can keep them.

A storage finds a record by ``campaignKey``, which is the feature's key, and some keep nothing beside it but
``variationName`` and ``metaData``. So the official record stands in a row twice: as it is, for the official
SDKs and whoever reads it, and as its meta data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._core.decision import Stored
from .._plain import is_kind, read_fields
from ..storage.protocol import AnyRecord
from .pending import name_kind
from .record import list_fields

_META_DATA = "metaData"
# What a record in the official shape says, with the older name of a holdout's. The storage in VWO's documents
# keeps some of these and nothing else.
_SAYS = frozenset(
    f"{kind}{name}" for kind in ("rollout", "experiment") for name in ("Id", "Key", "VariationId")
) | {"isInHoldoutId", "notInHoldoutId", "holdoutGroupId"}


def read_feature_row(row: AnyRecord, user_id: str, key: str) -> Stored | str | None:
    """Return what *row* says of this user and feature; a text where it belongs to another or is no record.

    Its rest is the record in the official shape.
    """
    if row is None:
        return None
    read = list_fields(row)
    if read is None:
        return f"get returned {name_kind(row)}"
    record = read
    meta_data = read.get(_META_DATA)
    if "featureKey" not in read and is_kind(meta_data, Mapping):
        record = read_fields(meta_data, "the row")
    label = read.get("variationName")
    if not ("featureKey" in record or "campaignKey" in read or record.keys() & _SAYS):
        return None
    owners = [_read_owner(one.get("userId")) for one in (read, record)]
    names = [read.get("campaignKey"), record.get("featureKey")]
    if any(one not in (None, "", user_id) for one in owners) or any(
        one not in (None, key) for one in names
    ):
        return "get returned the record of another user or feature"
    return Stored(label if isinstance(label, str) else "", (), record)


def _read_owner(user_id: object) -> object:
    """Return whose record it is: the Node SDK writes an id that is a number as the number."""
    return str(user_id) if type(user_id) is int else user_id


def make_feature_data(row: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return *row*, a record in the official shape, as storages are given it.

    Args:
        row: The record.
        label: What stands for its variation, for storages that compare it before they replace a record.
    """
    own = {name: value for name, value in row.items() if name != "userId"}
    return {**row, "campaignKey": row["featureKey"], "variationName": label, _META_DATA: own}
