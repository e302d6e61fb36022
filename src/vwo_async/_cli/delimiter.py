"""What stands between the cells of a table in text."""

from __future__ import annotations

_DELIMITERS = ",;\t|"


def find_delimiter(names: str) -> str:
    """Return what the first line, of names, is divided by: comma, semicolon, tab or bar."""
    return max(_DELIMITERS, key=names.count)
