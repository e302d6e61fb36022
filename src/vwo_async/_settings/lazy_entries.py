"""The features and campaigns of a large v2 file, kept as text; why, see `entry_texts`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from .entry_texts import EntryTexts

if TYPE_CHECKING:
    from .fme import Campaign, Feature

# What names a rule in the file: its key, its campaign, and its variation if it has one. A plain tuple, since
# those of a class of their own are visited by the garbage collector.
RuleName: TypeAlias = tuple[str, int, int | None]


class FeatureTexts(EntryTexts["Feature"]):
    """The features of a file.

    Attributes:
        events: The events that their metrics count.
        rules: What names the rules of each.
    """

    __slots__ = ("events", "rules")

    def __init__(
        self,
        texts: Iterable[bytes],
        ids: Iterable[int],
        keys: Iterable[str],
        events: Iterable[str],
        rules: Iterable[tuple[RuleName, ...]],
    ) -> None:
        super().__init__(texts, ids, keys)
        self.events = frozenset(events)
        self.rules = tuple(rules)

    def _parse(self, text: bytes) -> Feature:
        from .fme import Feature  # noqa: PLC0415 - it imports pydantic

        return Feature.model_validate_json(text)


class FlagCampaignTexts(EntryTexts["Campaign"]):
    """The campaigns of a file.

    Attributes:
        types: The type of each.
        variations: How many variations each has.
        repeated: A fault for each of their lists of variations in which an id stands twice.
    """

    __slots__ = ("repeated", "types", "variations")

    def __init__(
        self,
        texts: Iterable[bytes],
        ids: Iterable[int],
        keys: Iterable[str],
        types: Iterable[str],
        variations: Iterable[int],
        repeated: Iterable[str],
    ) -> None:
        super().__init__(texts, ids, keys)
        self.types = tuple(types)
        self.variations = tuple(variations)
        self.repeated = tuple(repeated)

    def _parse(self, text: bytes) -> Campaign:
        from .fme import Campaign  # noqa: PLC0415 - as above

        return Campaign.model_validate_json(text)
