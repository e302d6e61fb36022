"""For storages that can take many requests at once: what they are asked, and the one method they need.

`StorageRounds` is the protocol. A `StorageRequest` is a `ReadRecord`, an `AssignVariation`, a `CountConversion`
or a `WithdrawConversion`, and each has a `StorageOutcome`.

Calls of the client that wait in the same turn of the event loop then leave as one round, as a pipeline or
one statement, in place of a round trip each. `get`, `set` and the rest are still what others use, and what
the client uses where a storage has no `run_round`, or a subclass has a `get` or `set` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from .protocol import AnyRecord

__all__ = [
    "AssignVariation",
    "CountConversion",
    "ReadRecord",
    "StorageOutcome",
    "StorageRequest",
    "StorageRounds",
    "WithdrawConversion",
]


class ReadRecord(NamedTuple):
    """Read a record; the outcome is the record, or None."""

    user_id: str
    campaign_key: str

    def __repr__(self) -> str:
        """Show no user, as all requests."""
        return f"<ReadRecord of {self.campaign_key!a}>"


class AssignVariation(NamedTuple):
    """Keep a record unless there is a newer one; the outcome is whether it is kept.

    Attributes:
        data: The record in the official shape.
        replaced: The variation of the record that is to make room, which is gone from the campaign: its
            goals and claims go too. None where there was no record, and then none may be overwritten.
    """

    data: Mapping[str, Any]
    replaced: str | None = None

    def __repr__(self) -> str:
        return "<AssignVariation>"


class CountConversion(NamedTuple):
    """Claim a conversion and mark it in the record, both or neither; the outcome is whether it is the owner's.

    Asked again with the same owner, the outcome is the same.

    Attributes:
        user_id: The user.
        campaign_key: The campaign.
        goal_identifier: The goal.
        owner: Names who claims; empty to mark without a claim, which always succeeds.
        data: The record to keep where there is none; None to leave it at the claim then.
        is_new: Whether *data* also takes the place of the variation and meta data that are stored.
    """

    user_id: str
    campaign_key: str
    goal_identifier: str
    owner: str
    data: Mapping[str, Any] | None
    is_new: bool = False

    def __repr__(self) -> str:
        return f"<CountConversion of {self.goal_identifier!a} in {self.campaign_key!a}>"


class WithdrawConversion(NamedTuple):
    """Undo `CountConversion` of this owner, both claim and mark; no effect where there is neither.

    No owner claims again after that. Where a request can arrive late, as from a connection that was closed
    while it was on its way, a claim of this owner that arrives afterwards must be refused.

    Attributes:
        user_id: The user.
        campaign_key: The campaign.
        goal_identifier: The goal.
        owner: Who claimed; empty for a mark without a claim, or for a claim that names no owner.
    """

    user_id: str
    campaign_key: str
    goal_identifier: str
    owner: str

    def __repr__(self) -> str:
        return f"<WithdrawConversion of {self.goal_identifier!a} in {self.campaign_key!a}>"


StorageRequest: TypeAlias = ReadRecord | AssignVariation | CountConversion | WithdrawConversion
StorageOutcome: TypeAlias = "AnyRecord | bool | Exception"


@runtime_checkable
class StorageRounds(Protocol):
    """A storage that can take many requests at once."""

    async def run_round(self, requests: Sequence[StorageRequest]) -> Sequence[StorageOutcome]:
        """Answer each of *requests*, in their order.

        Where one of them cannot be answered its outcome is the exception, and the others have theirs. What
        is raised is the outcome of all. Requests about the same user and campaign have effect in their
        order. A round is either of reads or of all else, of at most a few hundred requests, and several
        may be under way; one that takes longer than ``storage_timeout_s`` is cancelled.
        """
        ...
