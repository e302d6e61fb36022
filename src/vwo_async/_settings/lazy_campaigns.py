"""The campaigns of a large file, kept as text.

As models, thousands of campaigns are hundreds of thousands of objects, which every full garbage
collection would have to visit while the whole process stands still. A text is one object, and the
collector does not visit it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, overload

from .._wording import count_of

if TYPE_CHECKING:
    from .model import Campaign


class CampaignTexts(Sequence["Campaign"]):
    """Campaigns that are already validated, and are parsed on each access.

    Attributes:
        texts: The JSON of each campaign.
        ids: The id of each campaign.
        keys: The key of each campaign.
        types: The type of each campaign.
        goals: For each goal identifier, the positions of the campaigns that have such a goal with an id.
    """

    __slots__ = ("goals", "ids", "keys", "texts", "types")

    def __init__(
        self,
        texts: Sequence[bytes],
        ids: Sequence[int],
        keys: Sequence[str],
        types: Sequence[str],
        goals: Mapping[str, Sequence[int]],
    ) -> None:
        self.texts = tuple(texts)
        self.ids = tuple(ids)
        self.keys = tuple(keys)
        self.types = tuple(types)
        self.goals: Mapping[str, Sequence[int]] = {
            identifier: tuple(positions) for identifier, positions in goals.items()
        }

    @overload
    def __getitem__(self, index: int) -> Campaign: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Campaign, ...]: ...
    def __getitem__(self, index: int | slice) -> Campaign | tuple[Campaign, ...]:
        from .model import Campaign  # noqa: PLC0415 - it imports pydantic

        if isinstance(index, slice):
            return tuple(map(Campaign.model_validate_json, self.texts[index]))
        return Campaign.model_validate_json(self.texts[index])

    def __len__(self) -> int:
        return len(self.texts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (CampaignTexts, tuple)):
            return NotImplemented
        if isinstance(other, CampaignTexts) and other.texts == self.texts:
            return True
        pairs = zip(self, other, strict=False)
        return len(other) == len(self) and all(one == another for one, another in pairs)

    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"<{count_of(len(self), 'campaign')}>"
