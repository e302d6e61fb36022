"""Calls with keys that the settings do not have: a mistake of the service, or a file that is behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from .._error import InvalidInputError
from .._log import log_warning
from .api_names import find_nearest

# So many keys are named; a service that takes them from its visitors must not fill the log or the memory.
MAX_NAMED = 100
# So many keys are compared with one that is not known; more would hold the event loop for too long.
MAX_COMPARED = 100
# What looks like a key; who passes the id of a user in its place must not find it in the log.
_KEY = re.compile(r"[A-Za-z][\w .:-]{0,59}", re.ASCII)


class UnknownKeys:
    """Names each unknown key in the log once; with ``strict`` it is an error.

    Args:
        is_strict: Whether it is an error.
    """

    def __init__(self, *, is_strict: bool) -> None:
        self._is_strict = is_strict
        self._named: set[tuple[str, str, str | None]] = set()

    def add(
        self, what: str, key: str, known: Iterable[str] = (), *, owner: str | None = None
    ) -> None:
        """Take note of a key.

        Args:
            what: What it would be a key of, such as ``campaign``.
            key: The key.
            known: The keys that there are: one of them may be meant.
            owner: The key of what should have it.

        Raises:
            InvalidInputError: With ``strict``.
        """
        if self._is_strict:
            raise InvalidInputError(_describe(what, key, known, owner))
        named = (what, key, owner)
        if named not in self._named and len(self._named) < MAX_NAMED:
            self._named.add(named)
            log_warning("%s", _describe(what, key, known, owner))


def _describe(what: str, key: str, known: Iterable[str], owner: str | None) -> str:
    holder = "the settings have" if owner is None else f"{_show(owner)} has"
    is_shown = _KEY.fullmatch(key)
    near = find_nearest(key, islice(known, MAX_COMPARED)) if is_shown else ""
    hint = f": did you mean {_show(near)}?" if near else ""
    return f"{holder} no {what} {_show(key)}{hint}"


def _show(key: str) -> str:
    return repr(key) if _KEY.fullmatch(key) else "of the key that was given"
