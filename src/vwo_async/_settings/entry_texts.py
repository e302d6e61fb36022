"""Entries of a large settings file, kept as text.

As models, thousands of entries are hundreds of thousands of objects, which every full garbage
collection would have to visit while the whole process stands still. A text is one object, and the
collector does not visit it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar, overload

EntryT = TypeVar("EntryT")


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
