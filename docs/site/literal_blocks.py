"""An extension of griffe: docstrings mark literal blocks as reStructuredText does, which markdown would print."""

from __future__ import annotations

import re
from typing import Any

import griffe


class LiteralBlocks(griffe.Extension):
    """Turns the two colons before a literal block into one, or into none where they stand alone."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring is not None:
            alone = re.sub(r"^::$", "", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"::$", ":", alone, flags=re.MULTILINE)
