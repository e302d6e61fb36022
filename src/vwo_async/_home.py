"""Where public names are at home: errors, help and pickles name the door, not the file behind it."""

from collections.abc import Mapping
from inspect import get_annotations
from types import FunctionType
from typing import Any, get_type_hints


def rehome(door: Mapping[str, Any]) -> None:
    """Give the classes and functions of a door's ``__all__`` the name of the door as their module.

    Args:
        door: The globals of the door.
    """
    for name in door["__all__"]:
        if name in door:
            set_home(door[name], door["__name__"])


def set_home(thing: object, home: str) -> None:
    """Give a class or function *home* as its module; anything else has none.

    Annotations that are still text are replaced by what they mean, since whoever evaluated them later
    (pydantic, `typing.get_type_hints`) would do so in the new module, which lacks the names.
    """
    if not isinstance(thing, (type, FunctionType)):
        return
    if isinstance(thing, type):
        _evaluate_annotations(thing)
    thing.__module__ = home


def _evaluate_annotations(owner: Any) -> None:
    own = get_annotations(owner)
    if all(isinstance(one, type) for one in own.values()):
        return
    hints = get_type_hints(owner, include_extras=True)
    owner.__annotations__ = {name: hints[name] for name in own}
    for name, field in owner.__dict__.get("__dataclass_fields__", {}).items():
        field.type = hints[name]
