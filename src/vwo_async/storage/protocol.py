"""The protocols of user storages, and the record that they keep.

The record has the format of the official SDKs, so that a storage can be shared with them and users keep
their variation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from .._plain import is_kind
from .._wording import count_of

SEPARATOR = "_vwo_"
"""Joins goal identifiers in a record. No SDK recognises an identifier that contains it."""


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """The stored record of one user in one campaign.

    Attributes:
        user_id: The user.
        campaign_key: The campaign.
        variation_name: The user's variation.
        goals: Identifiers of the goals that were already tracked, in order.
        meta_data: The caller's ``meta_data``, unchanged.
    """

    user_id: str
    campaign_key: str
    variation_name: str
    goals: tuple[str, ...] = ()
    meta_data: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show neither the user id nor the meta data."""
        goals = f", {count_of(len(self.goals), 'goal')}" if self.goals else ""
        return f"<StoredDecision {self.campaign_key!a}: {self.variation_name!a}{goals}>"

    def as_dict(self) -> dict[str, Any]:
        """Return the record in the official format.

        It has userId, campaignKey, variationName and, unless they are empty, goalIdentifier (identifiers
        joined by ``_vwo_``) and metaData.
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
        """Return the record in *row*, or None if campaign key or variation name is missing.

        Goals are read from goalIdentifier and from the Python SDK's goalIdentifiers.
        """
        fields = read_decision(row)
        if fields is None:
            return None
        meta_data = row.get("metaData")
        return cls(*fields, meta_data if isinstance(meta_data, Mapping) else {})


def read_decision(row: Mapping[str, Any]) -> tuple[str, str, str, tuple[str, ...]] | None:
    """Return user id, campaign key, variation name and goals, as `StoredDecision.from_mapping` reads them."""
    # What stands in a record may be of any class, also of one that says that it is a str.
    user_id: Any = row.get("userId")
    key: Any = row.get("campaignKey")
    name: Any = row.get("variationName")
    if not (is_kind(key, str) and is_kind(name, str) and key and name):
        return None
    return user_id if is_kind(user_id, str) else "", key, name, _split_goals(row)


def _split_goals(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the goals of a record, from both fields, without duplicates."""
    values: tuple[Any, Any] = row.get("goalIdentifier"), row.get("goalIdentifiers")
    texts = [text for text in values if is_kind(text, str)]
    if not texts:
        return ()
    return tuple(dict.fromkeys(part for text in texts for part in text.split(SEPARATOR) if part))


AnyRecord: TypeAlias = "StoredDecision | Mapping[str, Any] | None"


@runtime_checkable
class UserStorage(Protocol):
    """Keeps one record per user and campaign.

    Every method may raise; the launch option ``on_storage_error`` says what happens then. Methods may
    also be plain functions, as in the storages of the official SDKs; these run in a worker thread. A call
    that takes longer than ``storage_timeout_s`` is cancelled, and the next call must work again.

    If a storage also has the methods of `ManyReader` or `GoalClaims`, they are used.
    """

    async def get(self, user_id: str, campaign_key: str) -> AnyRecord:
        """Return the last record that was `set` for this user and campaign, or None."""
        ...

    async def set(self, data: Mapping[str, Any]) -> object:
        """Keep *data*, a record in the official format (see `StoredDecision.as_dict`)."""
        ...


class PlainUserStorage(Protocol):
    """A `UserStorage` of plain functions, which may block, as the storages of the official SDKs.

    Each call runs in a worker thread, so the functions must be thread-safe. A thread cannot be stopped: a
    function that never returns also prevents the process from exiting.
    """

    def get(self, user_id: str, campaign_key: str) -> AnyRecord:
        """See `UserStorage.get`."""
        ...

    def set(self, data: Mapping[str, Any]) -> object:
        """See `UserStorage.set`."""
        ...


@runtime_checkable
class ManyReader(Protocol):
    """A storage that reads several records of one user at once."""

    async def get_many(self, user_id: str, campaign_keys: Sequence[str]) -> Mapping[str, AnyRecord]:
        """Return the records by campaign key; campaigns without a record may be left out."""
        ...


@runtime_checkable
class GoalClaims(Protocol):
    """A storage that can decide which of several callers, on any machine, counts a conversion."""

    async def claim_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> bool:
        """Claim a conversion; tell whether the caller is the first to do so. It must be atomic.

        Claims are independent of records: there may be no record, and `set` does not undo a claim.
        """
        ...

    async def release_goal(self, user_id: str, campaign_key: str, goal_identifier: str) -> object:
        """Release a claim, so that the conversion can be claimed again. Without a claim, do nothing."""
        ...
