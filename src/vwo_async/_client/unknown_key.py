"""Calls with keys that the settings do not have: a mistake of the service, or a file that is behind it."""

from __future__ import annotations

import re

from .._error import InvalidInputError
from .._log import log_warning

# So many keys are named; a service that takes them from its visitors must not fill the log or the memory.
MAX_NAMED = 100
# What looks like a key; who passes the id of a user in its place must not find it in the log.
_KEY = re.compile(r"[A-Za-z][\w .:-]{0,59}", re.ASCII)


class UnknownKeys:
    """Names each unknown key in the log once; with ``strict`` it is an error.

    Args:
        is_strict: Whether it is an error.
    """

    def __init__(self, *, is_strict: bool) -> None:
        self._is_strict = is_strict
        self._named: set[tuple[str, str]] = set()

    def add(self, what: str, key: str, owner: str | None = None) -> None:
        """Take note of a key.

        Args:
            what: What it would be a key of, such as ``campaign``.
            key: The key.
            owner: The key of what should have it.

        Raises:
            InvalidInputError: With ``strict``.
        """
        holder = "the settings have" if owner is None else f"{_show(owner)} has"
        text = f"{holder} no {what} {_show(key)}"
        if self._is_strict:
            raise InvalidInputError(text)
        if (text, key) not in self._named and len(self._named) < MAX_NAMED:
            self._named.add((text, key))
            log_warning("%s", text)


def _show(key: str) -> str:
    return repr(key) if _KEY.fullmatch(key) else "of the key that was given"
