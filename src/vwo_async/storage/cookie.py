"""`CookieUserStorage`, in a cookie of the visitor's browser, for services without a database.

The records of a visitor are in one signed cookie. Serve each request within a block, whose `Jar` has it::

    storage = CookieUserStorage(secret)
    client = VWOClient(settings, user_storage=storage)

    with storage.request(request.cookies.get(storage.name)) as jar:
        response = ...  # whatever calls the client
    if jar.changed:
        response.headers.append("Set-Cookie", jar.header())

Within the block every call of the client reads and writes the cookie of this request. Writing after the
block, for example in a background task, raises `StorageError`, because the response has already been
sent. The client counts that like any failure of a storage.

Limits of a cookie: if requests overlap, the browser keeps the cookie of the last response. A conversion
whose event fails after the response was sent stays marked as tracked. To count each conversion exactly
once, use a storage on the server. Open the client when the service starts, not within a request.

Visitors can read the campaigns, variations, goals and meta data in their cookie, but cannot change them.
User ids are stored only as keyed digests, from which the user cannot be identified.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

from .._error import InvalidInputError, StorageError
from .._plain import is_kind, read_fields, to_bytes, to_plain
from .._wording import count_of
from .protocol import SEPARATOR, StoredDecision

__all__ = ["CookieUserStorage", "Jar"]

Secret: TypeAlias = bytes | str
_RecordId: TypeAlias = tuple[str, str]
"""Digest of the user id, and campaign key."""
_Row: TypeAlias = list[Any]
"""A record in the cookie: record id, variation name, goal identifiers and meta data, in one list."""

MIN_SECRET_BYTES = 16
# The limits of browsers: the length of name and value together, and the age of a cookie.
BROWSER_BYTES = 4096
BROWSER_AGE_S = 400 * 24 * 3600
MIN_BYTES = 256
# How far apart the clocks of a service's machines may be, in seconds.
SKEW_S = 60
# 96 bits: enough to tell any number of users apart, and a whole number of base64 characters.
DIGEST_BYTES = 12

_VERSION = "1."
_SIGNATURE_LENGTH = 43  # of HMAC-SHA256 in base64
_FIELDS = ("userId", "campaignKey", "variationName", "goalIdentifier", "metaData")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


class CookieUserStorage:
    """Keeps the records of each visitor in a signed cookie in the visitor's browser.

    One storage serves all requests; `request` selects the cookie. Outside of a `request` block, and after
    its end, `get` returns None and `set` raises `StorageError`.

    Args:
        secret: At least 16 bytes that cannot be guessed; a text is encoded as UTF-8. For rotation, a list:
            the first secret signs, and all of them are trusted. Keep an old secret for *max_age_s*.
        name: The name of the cookie. Browsers accept a name with the prefix ``__Host-`` only from the
            same host.
        max_age_s: Seconds for which a cookie is trusted after it was signed. When the visitor comes back
            after half of that time, it is signed again.
        max_bytes: The maximum length of name and value together, from 256 to 4096, the limit of browsers.
            If a record does not fit, the records that were changed longest ago are removed.
        secure: Whether browsers send the cookie over https only.
        clock: Returns the seconds since the epoch.

    Raises:
        InvalidInputError: An argument cannot be used.
    """

    def __init__(
        self,
        secret: Secret | Sequence[Secret],
        *,
        name: str = "vwo",
        max_age_s: int = 180 * 24 * 3600,
        max_bytes: int = 3800,
        secure: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        name, max_age_s, max_bytes = map(to_plain, (name, max_age_s, max_bytes))
        _check_name(name, secure)
        _check_number(max_age_s, "max_age_s", 1, BROWSER_AGE_S)
        _check_number(max_bytes, "max_bytes", MIN_BYTES, BROWSER_BYTES)
        keys = tuple(_Key(one, name) for one in _read_secrets(secret))
        self._format = _CookieFormat(name, keys, max_age_s, max_bytes, secure, clock)
        # Each storage has its own variable, so that two storages can serve one request.
        self._jar: ContextVar[Jar | None] = ContextVar("vwo_async cookie", default=None)

    @property
    def name(self) -> str:
        """The name of the cookie."""
        return self._format.name

    @contextmanager
    def request(self, cookie: str | bytes | None) -> Iterator[Jar]:
        """Read and write *cookie* within this block, in this task and in the tasks that it starts.

        Args:
            cookie: The value of the cookie in the request, or None. A forged, damaged, foreign, too long
                or too old cookie is treated like None.

        Returns:
            The jar, which has the cookie for the response.
        """
        jar = Jar(self._format, cookie)
        token = self._jar.set(jar)
        try:
            yield jar
        finally:
            jar.close()
            # Some frameworks leave the block in another context, in which there is nothing to reset.
            with suppress(ValueError):
                self._jar.reset(token)

    async def get(self, user_id: str, campaign_key: str) -> StoredDecision | None:
        """Return the record in the cookie of this request, or None."""
        jar = self._jar.get()
        return None if jar is None else jar.find(user_id, campaign_key)

    async def set(self, data: Mapping[str, Any]) -> None:
        """Put a record into the cookie of this request.

        Raises:
            StorageError: There is no request, or it is over; or *data* is not a record, or does not fit
                into a cookie. The cookie stays as it was.
        """
        jar = self._jar.get()
        if jar is None:
            raise StorageError("there is no request whose cookie could take the record")
        jar.keep(data)

    def __repr__(self) -> str:
        return f"<CookieUserStorage {self.name!r}>"


class Jar:
    """The cookie of one request; made by `CookieUserStorage.request`.

    Attributes:
        value: The present value of the cookie; empty if there is no record.
        changed: Whether it differs from the cookie of the browser, so that `header` must be sent.
    """

    def __init__(self, format_: _CookieFormat, cookie: str | bytes | None) -> None:
        self.value = ""
        self.changed = False
        self._format = format_
        self._is_closed = False
        self._signed_at = 0
        # Each row as JSON, by record id; the row that was changed longest ago is the first.
        self._rows: dict[_RecordId, str] = {}
        content = format_.read(cookie)
        if content is not None:
            self.value, self._signed_at, rows = content
            self._rows = {(row[0], row[1]): _dump(row) for row in rows}

    def header(self) -> str:
        """Return the value of a ``Set-Cookie`` header with `value`.

        If there is no record, the header deletes the cookie.
        """
        return self._format.make_header(self.value)

    def close(self) -> None:
        """Accept no more records, because the headers of the response were sent. Called by the block's end."""
        self._is_closed = True

    def find(self, user_id: str, campaign_key: str) -> StoredDecision | None:
        """Return the record of this user and campaign; None if there is none or the jar is closed."""
        if self._is_closed or type(user_id) is not str or type(campaign_key) is not str:
            return None
        record_ids = self._format.make_record_ids(user_id, campaign_key)
        record_id = next((one for one in record_ids if one in self._rows), None)
        if record_id is None:
            return None
        row = json.loads(self._rows[record_id])
        if record_id != record_ids[0] or self._is_half_over():
            self._renew(record_id, record_ids[0], row)
        return _read_record(user_id, row)

    def _is_half_over(self) -> bool:
        return self._format.now() - self._signed_at > self._format.max_age_s / 2

    def _renew(self, record_id: _RecordId, new_id: _RecordId, row: _Row) -> None:
        """Sign the cookie again with the present time and secret, before it becomes too old."""
        rows = {key: text for key, text in self._rows.items() if key != record_id}
        rows[new_id] = _dump([new_id[0], *row[1:]])
        self._replace(rows)

    def keep(self, data: Mapping[str, Any]) -> None:
        """Keep a record in the official format.

        Raises:
            StorageError: See `CookieUserStorage.set`.
        """
        if self._is_closed:
            raise StorageError("the request is over, and its cookie on its way")
        record = _read_data(data)
        if record is None or not record.user_id:
            raise StorageError("what is to be kept is no record")
        record_ids = self._format.make_record_ids(record.user_id, record.campaign_key)
        text = _dump_record(record_ids[0], record)
        if text is None:
            raise StorageError("the record cannot be written as JSON")
        if self._rows.get(record_ids[0]) == text and not self._is_half_over():
            return
        rows = {key: row for key, row in self._rows.items() if key not in record_ids}
        if not self._replace({**rows, record_ids[0]: text}):
            raise StorageError("the record is too large for a cookie")

    def _replace(self, rows: dict[_RecordId, str]) -> bool:
        """Sign as many of the last *rows* as fit into the cookie; tell whether any fits."""
        now = self._format.now()
        while rows:
            value = self._format.write(now, rows.values())
            if value is not None:
                self.value, self.changed = value, True
                self._signed_at, self._rows = now, rows
                return True
            del rows[next(iter(rows))]
        return False

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        records = count_of(len(self._rows), "record")
        return f"<Jar {state}: {records}{', changed' if self.changed else ''}>"


@dataclass(frozen=True, repr=False)
class _CookieFormat:
    """How the jars of one storage write, sign and read a cookie."""

    name: str
    keys: tuple[_Key, ...]
    max_age_s: int
    max_bytes: int
    secure: bool
    clock: Callable[[], float]

    def now(self) -> int:
        return int(self.clock())

    def make_record_ids(self, user_id: str, campaign_key: str) -> list[_RecordId]:
        """Return the possible ids of the record, one for each secret; the first is the one to write."""
        return [(key.digest(user_id), campaign_key) for key in self.keys]

    def write(self, signed_at: int, rows: Iterable[str]) -> str | None:
        """Return the value of a signed cookie with *rows*; None if it is too long."""
        text = f"[{signed_at},{','.join(rows)}]"
        body = _VERSION + _encode(text.encode())
        if len(f"{self.name}={body}.") + _SIGNATURE_LENGTH > self.max_bytes:
            return None
        return f"{body}.{self.keys[0].sign(body)}"

    def read(self, cookie: object) -> tuple[str, int, list[_Row]] | None:
        """Return the value, the time of its signature, and the rows; None if we did not sign the cookie."""
        value = _read_value(cookie)
        body, _, signature = value.rpartition(".")
        if not body.startswith(_VERSION) or not self._is_ours(body, signature):
            return None
        try:
            signed_at, *rows = json.loads(_decode(body.removeprefix(_VERSION)))
            is_valid = self._is_in_time(signed_at) and all(map(_is_row, rows))
        except (ValueError, TypeError, RecursionError):
            return None
        return (value, signed_at, rows) if is_valid else None

    def _is_ours(self, body: str, signature: str) -> bool:
        return any(hmac.compare_digest(key.sign(body), signature) for key in self.keys)

    def _is_in_time(self, signed_at: int) -> bool:
        return -SKEW_S <= self.now() - signed_at < self.max_age_s

    def make_header(self, value: str) -> str:
        age = self.max_age_s if value else 0
        parts = [f"{self.name}={value}", f"Max-Age={age}", "Path=/", "HttpOnly", "SameSite=Lax"]
        return "; ".join([*parts, "Secure"] if self.secure else parts)


class _Key:
    """The keys that are derived from one secret: to sign cookies, and to make digests of user ids."""

    def __init__(self, secret: bytes, name: str) -> None:
        # The name is part of the key, so that a cookie is not valid under another name.
        self._signing = _derive(secret, f"signature of {name}")
        self._naming = _derive(secret, f"user id in {name}")

    def sign(self, body: str) -> str:
        return _encode(hmac.digest(self._signing, body.encode(), hashlib.sha256))

    def digest(self, user_id: str) -> str:
        # An id with a lone surrogate has a digest too.
        encoded = user_id.encode("utf-8", "surrogatepass")
        return _encode(hmac.digest(self._naming, encoded, hashlib.sha256)[:DIGEST_BYTES])


def _derive(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, f"vwo_async cookie 1: {purpose}".encode(), hashlib.sha256)


def _read_value(cookie: object) -> str:
    """Return the value of the request's cookie as text; empty if we cannot have written it."""
    value: Any = to_bytes(cookie) if is_kind(cookie, bytes) else to_plain(cookie)
    if type(value) not in (str, bytes) or len(value) > BROWSER_BYTES:
        return ""
    text: str = value.decode("latin-1") if type(value) is bytes else value
    return text if text.isascii() else ""


def _read_data(data: object) -> StoredDecision | None:
    """Return the record that *data* is; None for what is none, or raises when it is read."""
    try:
        return StoredDecision.from_mapping(read_fields(data, "data"))
    except Exception:  # noqa: BLE001 - objects of others may raise anything
        return None


def _is_row(row: object) -> bool:
    return isinstance(row, list) and len(row) >= 3 and all(isinstance(one, str) for one in row[:3])


def _read_record(user_id: str, row: _Row) -> StoredDecision | None:
    return StoredDecision.from_mapping({**dict(zip(_FIELDS, row, strict=False)), "userId": user_id})


def _dump_record(record_id: _RecordId, record: StoredDecision) -> str | None:
    """Return the row as JSON; None if it cannot be written as JSON or UTF-8."""
    row: _Row = [*record_id, record.variation_name]
    if record.goals or record.meta_data:
        row.append(SEPARATOR.join(record.goals))
    if record.meta_data:
        row.append(dict(record.meta_data))
    try:
        text = _dump(row)
        text.encode()
    except (ValueError, TypeError, RecursionError):
        return None
    return text


def _dump(row: _Row) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _encode(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _read_secrets(given: object) -> list[bytes]:
    secrets: Any = given if is_kind(given, list, tuple) else [given]
    if not secrets:
        raise InvalidInputError("at least one secret is needed")
    return [_read_secret(one) for one in secrets]


def _read_secret(secret: object) -> bytes:
    plain: Any = to_bytes(secret) if is_kind(secret, bytes) else to_plain(secret)
    if type(plain) not in (bytes, str):
        raise InvalidInputError("a secret must be bytes or text")
    try:
        encoded: bytes = plain.encode() if type(plain) is str else plain
    except UnicodeEncodeError:
        encoded = b""
    if len(encoded) < MIN_SECRET_BYTES:
        raise InvalidInputError(f"a secret must have at least {MIN_SECRET_BYTES} bytes")
    return encoded


def _check_name(name: object, secure: bool) -> None:
    if not (type(name) is str and _NAME.fullmatch(name)):
        raise InvalidInputError("name must be a cookie name of at most 64 characters")
    if name.lower().startswith(("__host-", "__secure-")) and not secure:
        raise InvalidInputError("browsers take a cookie of this name only if it is secure")


def _check_number(value: object, name: str, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise InvalidInputError(f"{name} must be a whole number from {least} to {most}")
