"""The visitor id under which VWO knows a user."""

from __future__ import annotations

from hashlib import sha1
from uuid import NAMESPACE_URL, uuid5

VWO_URL = "https://vwo.com"


def make_namespace(account_id: int | str) -> bytes:
    """Return the UUID namespace of an account as 16 bytes."""
    return uuid5(uuid5(NAMESPACE_URL, VWO_URL), str(account_id)).bytes


def make_visitor_id(namespace: bytes, id_bytes: bytes) -> str:
    """Return the version 5 UUID of a user within *namespace*: 32 upper-case hex digits, no dashes.

    Written out because uuid.uuid5 spends most of its time on making UUID objects.
    """
    digest = sha1(namespace + id_bytes, usedforsecurity=False).hexdigest().upper()
    variant = "89AB"[int(digest[16], 16) & 3]
    return f"{digest[:12]}5{digest[13:16]}{variant}{digest[17:32]}"
