"""What lies in an outbox: an event and its claims as JSON, without the SDK key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from pydantic_core import PydanticSerializationError, to_json

from ..event import Event
from ..event_kind import restore_event
from ..request import Account
from .claim import Claim


def fingerprint(account: Account) -> str:
    """Return a name for an account and key from which the key cannot be told."""
    return hashlib.sha256(account.event_query.encode()).hexdigest()[:32]


def dump(event: Event, claims: Sequence[Claim]) -> bytes:
    """Return the bytes under which an event rests."""
    data = event.dump()
    data["claims"] = claims
    try:
        return to_json(data)
    except PydanticSerializationError:
        # Half of a surrogate pair, which UTF-8 cannot hold and an escape can.
        return json.dumps(data).encode()


def load(account: Account, payload: bytes) -> tuple[Event, list[Claim]]:
    """Return the event of `dump` with its claims.

    Raises:
        ValueError: The bytes are none of `dump`'s.
    """
    data = json.loads(payload)
    if not isinstance(data, dict):
        raise ValueError("not an event")
    try:
        claims = [Claim(*(str(part) for part in claim)) for claim in data.get("claims", ())]
    except TypeError:
        raise ValueError("not an event") from None
    return restore_event(account, data), claims
