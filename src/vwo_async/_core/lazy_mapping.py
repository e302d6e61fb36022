"""A mapping whose values are made on access."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT")
PlaceT = TypeVar("PlaceT")
MadeT = TypeVar("MadeT")


class LazyMapping(Mapping[KeyT, MadeT], Generic[KeyT, PlaceT, MadeT]):
    """What is made on each access, of its place in the file."""

    __slots__ = ("_make", "_places")

    def __init__(self, places: Mapping[KeyT, PlaceT], make: Callable[[PlaceT], MadeT]) -> None:
        self._places = places
        self._make = make

    def __getitem__(self, key: KeyT) -> MadeT:
        return self._make(self._places[key])

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[KeyT]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def index_places(values: Sequence[KeyT]) -> dict[KeyT, int]:
    """Return the place of each value, the last where one stands twice."""
    return {value: place for place, value in enumerate(values)}
