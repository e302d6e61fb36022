"""What the official SDKs call methods that have another name here: for whoever comes from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .api_names import FME, FULLSTACK, to_snake

# By their names in snake case; the synchronous clients have the second one of two.
_RENAMED: Mapping[str, Sequence[str]] = {
    "shutdown": ("aclose", "close"),
    "update_settings": ("refresh_settings",),
}


class OfficialMethods:
    """A client that tells what its methods are called to those who ask for one by its official name."""

    __slots__ = ()

    # Type checkers are to refuse such a name all the same.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            kind = type(self)
            text = f"{kind.__name__!r} object has no attribute {name!r}"
            if hint := _find_hint(kind, name):
                text = f"{text}: {hint}"
            raise AttributeError(text, name=name, obj=self)


def _find_hint(kind: type, name: str) -> str:
    """Return what to call in place of a method that *kind* lacks; empty for a name that is none of theirs."""
    snake: str = to_snake(name)
    for one in (snake, *_RENAMED.get(snake, ())):
        if not one.startswith("_") and hasattr(kind, one):
            return f"use {one}"
    for other in (FULLSTACK, FME):
        if snake in other.sending | other.silent:
            return f"it is a method of {other.client}"
    return ""
