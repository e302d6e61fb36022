"""What the dataclasses that callers get have in common: a form that JSON can hold."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any


class Value:
    """A frozen dataclass that is handed to callers."""

    __slots__ = ()

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name as ``json.dumps`` and JSON responses take them.

        Returns:
            A new dict, with dict, list, str, int, float, bool and None in it; an enum is its value.
        """
        own: Any = self
        return {one.name: to_json(getattr(own, one.name)) for one in fields(own)}


def to_json(value: object) -> Any:
    """Return *value* as JSON can hold it; of what JSON does not know, its text."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Value):
        return value.as_json()
    if isinstance(value, Mapping):
        return {str(key): to_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(one) for one in value]
    return str(value)


def setters_of(owner: Any) -> list[Callable[[object, object], None]]:
    """Return what sets each field of a frozen class with slots, in order, for an ``__init__`` of its own.

    The one that dataclasses write takes three times as long, and these are made for each campaign.
    """
    return [owner.__dict__[one.name].__set__ for one in fields(owner)]
