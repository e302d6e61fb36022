"""Control characters, with which a key or a user id could steer the terminal that shows it."""

from __future__ import annotations

# All of both sets but the end of a line.
_SHOWN_AS = {
    code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if code != 10
}


def without_controls(text: str) -> str:
    """Return *text* with a mark in place of each control character but the end of a line."""
    return text.translate(_SHOWN_AS)
