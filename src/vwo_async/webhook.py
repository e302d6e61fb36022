"""Telling VWO's webhook calls from anybody else's."""

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
    """Tell whether a request came from VWO: whether its header ``x-vwo-auth`` holds the webhook's secret.

    A true answer says who calls, nothing about the body: have the client fetch the settings from VWO
    with `VWOClient.refresh_settings`. Raises nothing and logs nothing, whatever the headers hold.

    Args:
        headers: A mapping, or pairs as ASGI has them; names in any case, texts or bytes.
        secret: The secret that VWO showed when the webhook was made. None and an empty one match nothing.

    Returns:
        Whether the header is there exactly once and holds the secret.
    """
    try:
        expected = _to_bytes(secret)
        given = [_to_bytes(value) for name, value in _pairs(headers) if _is_header(name)]
        return len(given) == 1 and bool(expected) and hmac.compare_digest(given[0], expected)
    except Exception:  # noqa: BLE001 - what cannot be read is no header of VWO's
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
    """A lone surrogate raises, and so does what is no text at all."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if not isinstance(value, str):
        raise TypeError
    return value.encode()
