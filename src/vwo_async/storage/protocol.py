"""What a user storage must be able to do, and the record it keeps.

The record has the shape of the official SDKs, so that a store may be shared with them and users stay
in their variation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

SEPARATOR = "_vwo_"
"""Joins goal identifiers in a record. An identifier that contains it is never recognised, in any SDK."""


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """What is stored of one user in one campaign.

    Attributes:
        user_id: The user.
        campaign_key: The campaign.
        variation_name: The variation that the user keeps.
        goals: Identifiers of the goals already tracked, in order.
        meta_data: What the caller gave as ``meta_data``; passed through.
    """

    user_id: str
    campaign_key: str
    variation_name: str
    goals: tuple[str, ...] = ()
    meta_data: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the official record: userId, campaignKey, variationName, and where there are any,
        goalIdentifier (identifiers joined by ``_vwo_``) and metaData.
        """
        row: dict[str, Any] = {
            "userId": self.user_id,
            "campaignKey": self.campaign_key,
            "variationName": self.variation_name,
        }
        if self.goals:
            row["goalIdentifier"] = SEPARATOR.join(self.goals)
        if self.meta_data:
            row["metaData"] = dict(self.meta_data)
        return row

    @classmethod
    def from_mapping(cls, row: Mapping[str, Any]) -> StoredDecision | None:
        """Return the record that *row* holds, or None where it names no campaign or variation.

        The goals are read under both spellings, goalIdentifier and the Python SDK's goalIdentifiers.
        """
        user_id, key, name = (row.get(part) for part in ("userId", "campaignKey", "variationName"))
        if not (isinstance(key, str) and isinstance(name, str) and key and name):
            return None
        meta_data = row.get("metaData")
        return cls(
            user_id if isinstance(user_id, str) else "",
            key,
            name,
            _split_goals(row.get("goalIdentifier"), row.get("goalIdentifiers")),
            meta_data if isinstance(meta_data, Mapping) else {},
        )


def _split_goals(*spellings: object) -> tuple[str, ...]:
    parts = [
        part
        for text in spellings
        if isinstance(text, str)
        for part in text.split(SEPARATOR)
        if part
    ]
    return tuple(dict.fromkeys(parts))


Row: TypeAlias = "StoredDecision | Mapping[str, Any] | None"


@runtime_checkable
class UserStorage(Protocol):
    """Keeps one record per user and campaign. Both methods may raise: the client goes on without."""

    async def get(self, user_id: str, campaign_key: str) -> Row:
        """Return what `set` was last given for this user and campaign, or None."""

    async def set(self, data: Mapping[str, Any]) -> object:
        """Keep *data*, a record in the official shape (see `StoredDecision.as_dict`)."""
