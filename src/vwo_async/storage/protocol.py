"""What a user storage must be able to do, and the record it keeps.

The record has the shape of the official SDKs, so that a store may be shared with them and users stay
in their variation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    def __repr__(self) -> str:
        """Show neither the user nor what the caller stored of him."""
        goals = f", {len(self.goals)} goals" if self.goals else ""
        return f"<StoredDecision {self.campaign_key!a}: {self.variation_name!a}{goals}>"

    def as_dict(self) -> dict[str, Any]:
        """Return the official record.

        It has userId, campaignKey, variationName, and where there are any, goalIdentifier
        (identifiers joined by ``_vwo_``) and metaData.
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
        fields = read_fields(row)
        if fields is None:
            return None
        meta_data = row.get("metaData")
        return cls(*fields, meta_data if isinstance(meta_data, Mapping) else {})


def read_fields(row: Mapping[str, Any]) -> tuple[str, str, str, tuple[str, ...]] | None:
    """Return user id, campaign key, variation name and goals, as `StoredDecision.from_mapping` reads them."""
    user_id, key, name = row.get("userId"), row.get("campaignKey"), row.get("variationName")
    if not (isinstance(key, str) and isinstance(name, str) and key and name):
        return None
    return user_id if isinstance(user_id, str) else "", key, name, _split_goals(row)


def _split_goals(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the goals of a record, under either spelling, each once."""
    spellings = row.get("goalIdentifier"), row.get("goalIdentifiers")
    texts = [text for text in spellings if isinstance(text, str)]
    if not texts:
        return ()
    return tuple(dict.fromkeys(part for text in texts for part in text.split(SEPARATOR) if part))


Row: TypeAlias = "StoredDecision | Mapping[str, Any] | None"


@runtime_checkable
class UserStorage(Protocol):
    """Keeps one record per user and campaign.

    Every method may raise: what then happens the launch option ``on_storage_error`` says. Methods may
    also be plain functions, as in the official SDKs' storages: they run in a worker thread. A call that
    takes longer than ``storage_timeout_s`` is cancelled, and the next one must work again.

    A storage may also have the methods of `ManyReader` and of `GoalClaims`, which are used where present.
    """

    async def get(self, user_id: str, campaign_key: str) -> Row:
        """Return what `set` was last given for this user and campaign, or None."""
        ...

    async def set(self, data: Mapping[str, Any]) -> object:
        """Keep *data*, a record in the official shape (see `StoredDecision.as_dict`)."""
        ...


class PlainUserStorage(Protocol):
    """The same with plain functions, which may block; the storages of the official SDKs are of this kind.

    Each call runs in a worker thread, so the functions must bear being called from several threads. A
    thread cannot be stopped: one that never returns also holds the end of the process.
    """

    def get(self, user_id: str, campaign_key: str) -> Row:
        """See `UserStorage.get`."""
        ...

    def set(self, data: Mapping[str, Any]) -> object:
        """See `UserStorage.set`."""
        ...


@runtime_checkable
class ManyReader(Protocol):
    """A storage that reads several records of one user at once."""

    async def get_many(self, user_id: str, campaign_keys: Sequence[str]) -> Mapping[str, Row]:
        """Return the records by campaign key; a campaign without one may be left out."""
        ...


@runtime_checkable
class GoalClaims(Protocol):
    """A storage that can settle which of several callers counts a conversion, on any machine."""

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        """Tell whether the caller is the first to claim this conversion; it must be decided atomically.

        A claim is of its own: it is taken whether or not there is a record, and `set` does not undo it.
        """
        ...

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> object:
        """Give a claim back, so that the conversion can be claimed again; no error where there is none."""
        ...
