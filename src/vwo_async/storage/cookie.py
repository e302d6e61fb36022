"""A user storage in the visitor's own browser, for services without a database.

The records of a visitor travel in one signed cookie. A request is served within a block::

    storage = CookieUserStorage(secret)
    client = VWOClient(settings, user_storage=storage)

    with storage.request(request.cookies.get(storage.name)) as jar:
        response = ...  # whatever calls the client
    if jar.changed:
        response.headers.append("Set-Cookie", jar.header())

Within the block every call of the client reads and writes the cookie of this request. What is written
after the block, by work that goes on when the response is on its way, can reach the browser no more: it
raises `StorageError`, which the client counts like any failure of a storage.

What a cookie cannot do: of requests that overlap the browser keeps the last answer, and a conversion
whose event fails when the response has left stays marked as tracked. To count each conversion exactly
once takes a storage on the server. Open the client when the service starts, not within a request.

A visitor can read in his cookie which campaigns, variations, goals and meta data it holds, but can
change nothing. User ids are in it only as keyed digests, which tell nobody who the user is.
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
from .protocol import SEPARATOR, StoredDecision

__all__ = ["CookieUserStorage", "Jar"]

Secret: TypeAlias = bytes | str
_Place: TypeAlias = tuple[str, str]
"""Digest of the user id, and campaign key."""
_Row: TypeAlias = list[Any]
"""A record in the cookie: a place, then variation name, goal identifiers and meta data."""

MIN_SECRET_BYTES = 16
# What browsers keep of a cookie, name and value together, and for how long.
BROWSER_BYTES = 4096
BROWSER_AGE_S = 400 * 24 * 3600
MIN_BYTES = 256
# How far apart the clocks of a service's machines may be.
SKEW_S = 60
# 96 bits: enough to tell any number of users apart, and a whole number of base64 characters.
DIGEST_BYTES = 12

_VERSION = "1."
_SIGNATURE_LENGTH = 43  # of HMAC-SHA256 in base64
_FIELDS = ("userId", "campaignKey", "variationName", "goalIdentifier", "metaData")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


class CookieUserStorage:
    """Keeps the records of each visitor in a signed cookie in his browser.

    One serves all requests: `request` says which cookie is meant. Outside of such a block, and in what
    outlives it, `get` knows no record and `set` raises `StorageError`.

    Args:
        secret: At least 16 bytes that nobody can guess; a text stands for its UTF-8 bytes. Several for
            rotation: the first signs, all are trusted. Keep an old one for *max_age_s*.
        name: Of the cookie. With ``__Host-`` in front browsers take it from this very host alone.
        max_age_s: Seconds for which a cookie is trusted after it was signed. Where the visitor comes
            back after half of them, it is signed anew.
        max_bytes: Bound of name and value together, from 256 to 4096, which is what browsers keep.
            Where a record does not fit in, those that have not changed for longest make room.
        secure: Whether browsers send it over https only.
        clock: Returns the seconds since the epoch.

    Raises:
        InvalidInputError: Some argument cannot be used.
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
        _check_name(name, secure)
        _check_number(max_age_s, "max_age_s", 1, BROWSER_AGE_S)
        _check_number(max_bytes, "max_bytes", MIN_BYTES, BROWSER_BYTES)
        keys = tuple(_Key(one, name) for one in _read_secrets(secret))
        self._terms = _Terms(name, keys, max_age_s, max_bytes, secure, clock)
        # One for each storage, so that two of them can serve one request.
        self._jar: ContextVar[Jar | None] = ContextVar("vwo_async cookie", default=None)

    @property
    def name(self) -> str:
        """The name of the cookie."""
        return self._terms.name

    @contextmanager
    def request(self, cookie: str | bytes | None) -> Iterator[Jar]:
        """Read and write *cookie* within this block: in this task, and in those it starts meanwhile.

        Args:
            cookie: The value that the request came with. What is forged, damaged, foreign, too long or
                too old is worth as much as None: no record.

        Returns:
            The jar, which knows what to send back.
        """
        jar = Jar(self._terms, cookie)
        token = self._jar.set(jar)
        try:
            yield jar
        finally:
            jar.close()
            # Some frameworks end a block in another context, in which there is nothing to undo.
            with suppress(ValueError):
                self._jar.reset(token)

    async def get(self, user_id: str, campaign_key: str) -> StoredDecision | None:
        """Return the record in the cookie of this request, or None."""
        jar = self._jar.get()
        return None if jar is None else jar.find(user_id, campaign_key)

    async def set(self, data: Mapping[str, Any]) -> None:
        """Put a record into the cookie of this request.

        Raises:
            StorageError: There is no request or it is over, or the record does not fit into a cookie or
                is none. The cookie stays as it was.
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
        value: The value of the cookie as it stands; empty where it holds no record.
        changed: Whether the browser has another one, so that `header` must be sent.
    """

    def __init__(self, terms: _Terms, cookie: str | bytes | None) -> None:
        self.value = ""
        self.changed = False
        self._terms = terms
        self._is_closed = False
        self._signed_at = 0
        # By digest of the user id and campaign key: each row as JSON, the oldest first.
        self._rows: dict[_Place, str] = {}
        content = terms.open(cookie)
        if content is not None:
            self.value, self._signed_at, rows = content
            self._rows = {(row[0], row[1]): _dump(row) for row in rows}

    def header(self) -> str:
        """Return the value of the ``Set-Cookie`` header that gives the browser `value`.

        Where there is no record, it takes away what the browser has.
        """
        return self._terms.make_header(self.value)

    def close(self) -> None:
        """Keep nothing more: the headers of the response are on their way. The block's end does it too."""
        self._is_closed = True

    def find(self, user_id: str, campaign_key: str) -> StoredDecision | None:
        """Return the record of this user and campaign; None where there is none or the jar is closed."""
        if self._is_closed:
            return None
        places = self._terms.find_places(user_id, campaign_key)
        place = next((one for one in places if one in self._rows), None)
        if place is None:
            return None
        row = json.loads(self._rows[place])
        if place != places[0] or self._is_half_over():
            self._renew(place, places[0], row)
        return _read_record(user_id, row)

    def _is_half_over(self) -> bool:
        return self._terms.now() - self._signed_at > self._terms.max_age_s / 2

    def _renew(self, place: _Place, new_place: _Place, row: _Row) -> None:
        """Sign anew a cookie that is still in use before it is too old, or its secret gone."""
        rows = {key: text for key, text in self._rows.items() if key != place}
        rows[new_place] = _dump([new_place[0], *row[1:]])
        self._replace(rows)

    def keep(self, data: Mapping[str, Any]) -> None:
        """Keep a record in the official shape.

        Raises:
            StorageError: See `CookieUserStorage.set`.
        """
        if self._is_closed:
            raise StorageError("the request is over, and its cookie on its way")
        record = StoredDecision.from_mapping(data)
        if record is None or not record.user_id:
            raise StorageError("what is to be kept is no record")
        places = self._terms.find_places(record.user_id, record.campaign_key)
        text = _dump_record(places[0], record)
        if text is None:
            raise StorageError("the record cannot be written as JSON")
        if self._rows.get(places[0]) == text and not self._is_half_over():
            return
        rows = {key: row for key, row in self._rows.items() if key not in places}
        if not self._replace({**rows, places[0]: text}):
            raise StorageError("the record is too large for a cookie")

    def _replace(self, rows: dict[_Place, str]) -> bool:
        """Sign as many of *rows* as fit in, leaving out the first; tell whether any does."""
        now = self._terms.now()
        while rows:
            value = self._terms.seal(now, rows.values())
            if value is not None:
                self.value, self.changed = value, True
                self._signed_at, self._rows = now, rows
                return True
            del rows[next(iter(rows))]
        return False

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<Jar {state}: {len(self._rows)} records{', changed' if self.changed else ''}>"


@dataclass(frozen=True, repr=False)
class _Terms:
    """What the jars of one storage have in common: how a cookie is sealed, and opened again."""

    name: str
    keys: tuple[_Key, ...]
    max_age_s: int
    max_bytes: int
    secure: bool
    clock: Callable[[], float]

    def now(self) -> int:
        return int(self.clock())

    def find_places(self, user_id: str, campaign_key: str) -> list[_Place]:
        """Return where the record of this user and campaign may be, the present place first."""
        return [(key.digest(user_id), campaign_key) for key in self.keys]

    def seal(self, signed_at: int, rows: Iterable[str]) -> str | None:
        """Return the value of a cookie with *rows*; None where it is too long."""
        text = f"[{signed_at},{','.join(rows)}]"
        body = _VERSION + _encode(text.encode())
        if len(f"{self.name}={body}.") + _SIGNATURE_LENGTH > self.max_bytes:
            return None
        return f"{body}.{self.keys[0].sign(body)}"

    def open(self, cookie: object) -> tuple[str, int, list[_Row]] | None:
        """Return the value, when it was signed, and the rows; None where the cookie is not ours."""
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
    """What one secret signs cookies with, and makes digests of user ids with."""

    def __init__(self, secret: bytes, name: str) -> None:
        # The name is part of it, so that cookies of two names do not pass for one another.
        self._signing = _derive(secret, f"signature of {name}")
        self._naming = _derive(secret, f"user id in {name}")

    def sign(self, body: str) -> str:
        return _encode(hmac.digest(self._signing, body.encode(), hashlib.sha256))

    def digest(self, user_id: str) -> str:
        # An id that is no valid text has a digest like any other.
        encoded = user_id.encode("utf-8", "surrogatepass")
        return _encode(hmac.digest(self._naming, encoded, hashlib.sha256)[:DIGEST_BYTES])


def _derive(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, f"vwo_async cookie 1: {purpose}".encode(), hashlib.sha256)


def _read_value(cookie: object) -> str:
    """Return the value that came with a request as ASCII; empty where it cannot be one of ours."""
    if not isinstance(cookie, (str, bytes)) or len(cookie) > BROWSER_BYTES:
        return ""
    value = cookie.decode("latin-1") if isinstance(cookie, bytes) else cookie
    return value if value.isascii() else ""


def _is_row(row: object) -> bool:
    return isinstance(row, list) and len(row) >= 3 and all(isinstance(one, str) for one in row[:3])


def _read_record(user_id: str, row: _Row) -> StoredDecision | None:
    return StoredDecision.from_mapping({**dict(zip(_FIELDS, row, strict=False)), "userId": user_id})


def _dump_record(place: _Place, record: StoredDecision) -> str | None:
    """Return the row as JSON; None where JSON or UTF-8 cannot write it."""
    row: _Row = [*place, record.variation_name]
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
    secrets = given if isinstance(given, (list, tuple)) else [given]
    if not secrets:
        raise InvalidInputError("at least one secret is needed")
    return [_read_secret(one) for one in secrets]


def _read_secret(secret: object) -> bytes:
    if not isinstance(secret, (bytes, str)):
        raise InvalidInputError("a secret must be bytes or text")
    try:
        encoded = secret.encode() if isinstance(secret, str) else secret
    except UnicodeEncodeError:
        encoded = b""
    if len(encoded) < MIN_SECRET_BYTES:
        raise InvalidInputError(f"a secret must have at least {MIN_SECRET_BYTES} bytes")
    return encoded


def _check_name(name: object, secure: bool) -> None:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise InvalidInputError("name must be a cookie name of at most 64 characters")
    if name.lower().startswith(("__host-", "__secure-")) and not secure:
        raise InvalidInputError("browsers take a cookie of this name only if it is secure")


def _check_number(value: object, name: str, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInputError(f"{name} must be a whole number from {least} to {most}")
