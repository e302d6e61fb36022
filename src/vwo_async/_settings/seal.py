"""How a settings file is kept outside a process: without its SDK key, and signed with that key.

So who reads it knows that one with the same key has written it, and who has not the key learns nothing of it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import NamedTuple

from .._sdk_key import SdkKey
from .json_outline import find_outline
from .size_limit import MAX_SETTINGS_BYTES

FORMAT = 1
MAX_HEADER_BYTES = 1000
MAX_SEALED_BYTES = MAX_SETTINGS_BYTES + MAX_HEADER_BYTES
# How far the clock of another machine may be ahead.
MAX_SKEW_S = 300.0
_PURPOSE = b"vwo_async last known good\n"
_KEY_NAME = "sdkKey"


class KeptSettings(NamedTuple):
    """A settings file that was kept.

    Attributes:
        body: The settings file, without its SDK key.
        wall_s: When it was fetched, in seconds since the epoch.
    """

    body: bytes
    wall_s: float


class UnusableError(Exception):
    """There is no file, or it cannot be used; the text says why, without any value of it."""


class SettingsSeal:
    """Seals and opens the settings files of one account and key.

    Args:
        account_id: The account of the settings.
        sdk_key: The SDK key of the settings.
        max_age_s: For how many seconds after they were fetched the settings can be used.
        wall_clock: Returns the seconds since the epoch.

    Attributes:
        fingerprint: Names the account and the key, from which the key cannot be told.
    """

    def __init__(
        self,
        account_id: int | str,
        sdk_key: SdkKey,
        *,
        max_age_s: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = sdk_key.get_secret_value().encode()
        self.fingerprint = self._sign(b"fingerprint\n", str(account_id).encode())[:32]
        self._max_age_s = max_age_s
        self._wall_clock = wall_clock

    def _sign(self, *parts: bytes) -> str:
        signature = hmac.new(self._key, _PURPOSE, hashlib.sha256)
        for part in parts:
            signature.update(part)
        return signature.hexdigest()

    def _sign_file(self, wall_s: float, body: bytes) -> str:
        return self._sign(f"seal {FORMAT} {self.fingerprint} {wall_s!r}\n".encode(), body)

    def seal(self, body: bytes, wall_s: float) -> bytes:
        """Return a settings file as it is kept.

        Args:
            body: The file as fetched; it must be a JSON object.
            wall_s: When it was fetched, in seconds since the epoch.

        Raises:
            UnusableError: The SDK key occurs in a place from which it cannot be removed.
        """
        body = _remove_sdk_key(body)
        if self._key in body:
            raise UnusableError("the SDK key stands in a campaign")
        header = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "fetched_at": wall_s,
            "seal": self._sign_file(wall_s, body),
        }
        return json.dumps(header).encode() + b"\n" + body

    def open(self, content: bytes) -> KeptSettings:
        """Return the settings file that `seal` made *content* of.

        Raises:
            UnusableError: It cannot be used.
        """
        header, _, body = content.partition(b"\n")
        form, fingerprint, wall_s, signature = _read_header(header)
        if form != FORMAT:
            raise UnusableError("it is of another version")
        if not hmac.compare_digest(fingerprint, self.fingerprint.encode()):
            raise UnusableError("it is of another account or SDK key")
        if not hmac.compare_digest(signature, self._sign_file(wall_s, body).encode()):
            raise UnusableError("it is damaged")
        age_s = self._wall_clock() - wall_s
        if age_s < -MAX_SKEW_S:
            raise UnusableError("it is dated in the future")
        if age_s > self._max_age_s:
            raise UnusableError("it is too old")
        return KeptSettings(body, wall_s)


def _read_header(header: bytes) -> tuple[int, bytes, float, bytes]:
    try:
        if len(header) > MAX_HEADER_BYTES:
            raise ValueError
        fields = json.loads(header)
        values = (
            int(fields["format"]),
            str(fields["fingerprint"]).encode(),
            float(fields["fetched_at"]),
            str(fields["seal"]).encode(),
        )
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise UnusableError("it is damaged") from None
    return values


def _remove_sdk_key(body: bytes) -> bytes:
    """Return the settings file without its SDK key."""
    members = [one for one in find_outline(body).members if one.name != _KEY_NAME]
    return b"{" + b",".join(body[one.start : one.value.end] for one in members) + b"}"


def add_sdk_key(body: bytes, sdk_key: SdkKey) -> bytes:
    """Return a settings file that `SettingsSeal.open` returned, with its SDK key again."""
    member = f"{{{json.dumps(_KEY_NAME)}:{json.dumps(sdk_key.get_secret_value())}".encode()
    rest = body.lstrip()[1:]
    return member + (rest if rest.lstrip() == b"}" else b"," + rest)
