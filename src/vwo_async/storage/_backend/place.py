"""What a request of a round does to the record and the claims of one user and campaign, wherever they are kept."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from ..protocol import SEPARATOR
from ..rounds import (
    AssignVariation,
    CountConversion,
    ReadRecord,
    StorageOutcome,
    StorageRequest,
    WithdrawConversion,
)


class Place:
    """The record and the claims of one user in one campaign.

    Attributes:
        row: The record; it is replaced, and never changed, so that readers need no copy.
        owners: Who has claimed, by goal; empty for a claim that names no owner.
    """

    __slots__ = ("owners", "row")

    def __init__(
        self, row: Mapping[str, Any] | None = None, owners: Mapping[str, str] | None = None
    ) -> None:
        self.row = row
        self.owners = dict(owners) if owners else {}

    def apply(self, request: StorageRequest) -> StorageOutcome:
        """Do what is asked, and return the outcome."""
        if isinstance(request, ReadRecord):
            return self.row
        if isinstance(request, CountConversion):
            return self._count(request)
        if isinstance(request, AssignVariation):
            return self._assign(request)
        return self._withdraw(request)

    def _count(self, request: CountConversion) -> bool:
        _, _, goal, owner, data, is_new = request
        goals = list_goals(self.row)
        if owner:
            present = self.owners.get(goal)
            if present != owner and (present is not None or goal in goals):
                return False
            self.owners[goal] = owner
        if data is not None and (is_new or self.row is None):
            self.row = copy_row(data)
            goals = [*goals, *list_goals(data)]
        if self.row is not None:
            goals.append(goal)
            self.row = {**self.row, "goalIdentifier": SEPARATOR.join(dict.fromkeys(goals))}
        return True

    def _assign(self, request: AssignVariation) -> bool:
        data, replaced = request
        if self.row is not None:
            if replaced is None or self.row.get("variationName") != replaced:
                return False
            self.owners.clear()
        self.row = copy_row(data)
        return True

    def _withdraw(self, request: WithdrawConversion) -> bool:
        goal, owner = request.goal_identifier, request.owner
        if self.owners.get(goal, "" if not owner else None) != owner:
            return False
        self.owners.pop(goal, None)
        goals = list_goals(self.row)
        if self.row is not None and goal in goals:
            self.row = _with_goals(self.row, [one for one in goals if one != goal])
        return True


def place_of(request: StorageRequest) -> tuple[str, str]:
    """Return the user and campaign that *request* is about."""
    if isinstance(request, AssignVariation):
        return request.data["userId"], request.data["campaignKey"]
    return request[:2]


def list_goals(row: Mapping[str, Any] | None) -> list[str]:
    """Return the goals of a record."""
    goals = None if row is None else row.get("goalIdentifier")
    return goals.split(SEPARATOR) if isinstance(goals, str) and goals else []


def _with_goals(row: Mapping[str, Any], goals: Iterable[str]) -> dict[str, Any]:
    joined = SEPARATOR.join(dict.fromkeys(goals))
    rest = {key: value for key, value in row.items() if key != "goalIdentifier"}
    return {**rest, "goalIdentifier": joined} if joined else rest


def copy_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that shares nothing that could be changed: only the meta data can hold such."""
    own = dict(row)
    if "metaData" in own:
        own["metaData"] = copy.deepcopy(own["metaData"])
    return own
