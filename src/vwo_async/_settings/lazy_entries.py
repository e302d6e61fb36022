"""The features and campaigns of a large v2 file, kept as text; why, see `lazy_campaigns`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

if TYPE_CHECKING:
    from .fme import Campaign, Feature

EntryT = TypeVar("EntryT")


# What names a rule in the file: its key, its campaign, and its variation if it has one. A plain tuple, since
# those of a class of their own are visited by the garbage collector.
RuleName: TypeAlias = tuple[str, int, int | None]


class EntryTexts(Sequence[EntryT], Generic[EntryT]):
    """Entries that are already validated, and are parsed on each access.

    Attributes:
        texts: The JSON of each.
        ids: The id of each.
        keys: The key of each.
    """

    __slots__ = ("ids", "keys", "texts")

    def __init__(self, texts: Iterable[bytes], ids: Iterable[int], keys: Iterable[str]) -> None:
        self.texts = tuple(texts)
        self.ids = tuple(ids)
        self.keys = tuple(keys)

    def _parse(self, text: bytes) -> EntryT:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> EntryT: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[EntryT, ...]: ...
    def __getitem__(self, index: int | slice) -> EntryT | tuple[EntryT, ...]:
        if isinstance(index, slice):
            return tuple(map(self._parse, self.texts[index]))
        return self._parse(self.texts[index])

    def __len__(self) -> int:
        return len(self.texts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (EntryTexts, tuple)):
            return NotImplemented
        if isinstance(other, EntryTexts) and other.texts == self.texts:
            return True
        pairs: Any = zip(self, other, strict=False)
        return len(other) == len(self) and all(one == another for one, another in pairs)

    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}>"


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
