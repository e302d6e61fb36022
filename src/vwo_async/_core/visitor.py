"""The visitor id under which VWO knows a user."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1
from typing import TypeAlias
from uuid import NAMESPACE_URL, uuid5

VWO_URL = "https://vwo.com"
Namer: TypeAlias = Callable[[bytes], str]
"""Returns the visitor id of a user, given the user id in UTF-8."""

# The hex digit with the UUID variant bits that replaces each hex digit of the hash.
_VARIANTS = dict(zip("0123456789ABCDEF", "89AB" * 4, strict=True))


def make_namespace(account_id: int | str) -> bytes:
    """Return the UUID namespace of an account as 16 bytes."""
    return uuid5(uuid5(NAMESPACE_URL, VWO_URL), str(account_id)).bytes


def make_namer(namespace: bytes) -> Namer:
    """Return a function that makes visitor ids within *namespace*.

    They are version 5 UUIDs of 32 upper-case hex digits, without dashes. `uuid.uuid5` is not used because
    it spends most of its time on making UUID objects.
    """
    begin, variants = sha1(namespace, usedforsecurity=False).copy, _VARIANTS

    def name(id_bytes: bytes) -> str:
        hashed = begin()
        hashed.update(id_bytes)
        digest = hashed.hexdigest().upper()
        return f"{digest[:12]}5{digest[13:16]}{variants[digest[16]]}{digest[17:32]}"

    return name
