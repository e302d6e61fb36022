"""The campaigns of a large file, kept as text; why, see `entry_texts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .._wording import count_of
from .entry_texts import EntryTexts

if TYPE_CHECKING:
    from .model import Campaign


class CampaignTexts(EntryTexts["Campaign"]):
    """The campaigns of a file.

    Attributes:
        types: The type of each campaign.
        goals: For each goal identifier, the positions of the campaigns that have such a goal with an id.
    """

    __slots__ = ("goals", "types")

    def __init__(
        self,
        texts: Sequence[bytes],
        ids: Sequence[int],
        keys: Sequence[str],
        types: Sequence[str],
        goals: Mapping[str, Sequence[int]],
    ) -> None:
        super().__init__(texts, ids, keys)
        self.types = tuple(types)
        self.goals: Mapping[str, Sequence[int]] = {
            identifier: tuple(positions) for identifier, positions in goals.items()
        }

    def _parse(self, text: bytes) -> Campaign:
        from .model import Campaign  # noqa: PLC0415 - it imports pydantic

        return Campaign.model_validate_json(text)

    def __repr__(self) -> str:
        return f"<{count_of(len(self), 'campaign')}>"
