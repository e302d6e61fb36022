"""Verifies that a webhook call comes from VWO."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

HEADER = "x-vwo-auth"

Headers: TypeAlias = (
    Mapping[str, str]
    | Mapping[bytes, bytes]
    | Iterable[tuple[str, str]]
    | Iterable[tuple[bytes, bytes]]
)


def verify_webhook(headers: Headers, secret: str | bytes | None) -> bool:
    """Tell whether a request came from VWO, which sends the webhook's secret in the header ``x-vwo-auth``.

    This verifies who calls and says nothing about the body: do not read settings from it, but fetch them
    from VWO with `VWOClient.refresh_settings`. Never raises and never logs, whatever the headers hold.

    Args:
        headers: A mapping, or pairs as in ASGI; names in any case, texts or bytes.
        secret: The secret that VWO showed when the webhook was made. None and the empty one match nothing.

    Returns:
        True if the header is present exactly once and holds the secret.
    """
    try:
        expected = _to_bytes(secret)
        given = [_to_bytes(value) for name, value in _pairs(headers) if _is_header(name)]
        return len(given) == 1 and bool(expected) and hmac.compare_digest(given[0], expected)
    except Exception:  # noqa: BLE001 - a header that cannot be read is not from VWO
        return False


def _pairs(headers: Any) -> Iterable[tuple[object, object]]:
    pairs: Iterable[tuple[object, object]] = (
        headers.items() if hasattr(headers, "items") else headers
    )
    return pairs


def _is_header(name: object) -> bool:
    if isinstance(name, (bytes, bytearray)):
        return bytes(name).lower() == HEADER.encode()
    return isinstance(name, str) and name.lower() == HEADER


def _to_bytes(value: object) -> bytes:
    """Return the bytes of a header; raise for a lone surrogate, and for anything but text or bytes."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if not isinstance(value, str):
        raise TypeError
    return value.encode()
