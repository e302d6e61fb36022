"""The user of one call: id, attributes and address, all of them validated.

All other code uses the bytes made here. A text that cannot be encoded as UTF-8 (because it holds a lone
surrogate, as texts from ``json.loads`` may) must be refused here: mmh3 5 crashes the process when it is
given such a text, and writing one raises an exception.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from itertools import islice
from math import isfinite
from typing import Any, TypeAlias

from ._error import InvalidInputError
from ._plain import copy_mapping, is_kind, is_plain, to_plain

Scalar: TypeAlias = str | int | float | bool | Decimal | None
Variables: TypeAlias = Mapping[str, Scalar]

MAX_USER_ID_BYTES = 4096
MAX_TEXT_BYTES = 4096
MAX_VARIABLES = 1000
# A larger integer cannot be converted to a double, and could take long to print.
MAX_INT_BITS = 1023

_MAX_ORDINARY_NUMBER = 2**63
_NO_VARIABLES: Variables = {}
# What may stand in a log as the name of a variable: an identifier is the developer's, anything else could be
# what a visitor sent.
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


def encode_id(user_id: object, name: str = "user_id") -> bytes:
    """Return the UTF-8 bytes of a user id, which is plain, see `to_plain`.

    Args:
        user_id: The id.
        name: What the caller calls it.

    Raises:
        InvalidInputError: *user_id* is not a non-empty text of at most 4096 encodable bytes.
    """
    if type(user_id) is not str or not user_id:
        raise InvalidInputError(f"{name} must be a non-empty str")
    # Raised outside the except block: the codec's error holds the text and would become our __context__.
    try:
        encoded = user_id.encode()
    except UnicodeEncodeError:
        encoded = b""
    if not encoded:
        raise InvalidInputError(f"{name} holds a lone surrogate")
    if len(encoded) > MAX_USER_ID_BYTES:
        raise InvalidInputError(f"{name} is longer than {MAX_USER_ID_BYTES} bytes in UTF-8")
    return encoded


def read_id(user_id: object) -> str:
    """Return a user id as a plain str.

    Raises:
        InvalidInputError: See `encode_id`.
    """
    plain = to_plain(user_id)
    encode_id(plain)
    assert isinstance(plain, str)
    return plain


def read_text(value: object, name: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return a text of at most *max_bytes* that can be encoded, as a plain str.

    Raises:
        InvalidInputError: *value* is none. The error holds *name* and never the value.
    """
    text = to_plain(value)
    fault = find_text_fault(text, max_bytes)
    if fault:
        raise InvalidInputError(f"{name} {fault}")
    assert isinstance(text, str)
    return text


def read_variables(variables: object, name: str, notes: list[str]) -> Variables:
    """Return the variables that can be used: a value that cannot be is as if it were not there.

    What a visitor sends ends up in variables, and one odd value must cost no more than the segments that
    ask for it. Numbers of other libraries (numpy's, for one) become the plain numbers that they are.

    Args:
        variables: A mapping, or None for none.
        name: What the caller calls it.
        notes: Takes a text for each variable that is left out: which and why, never its value.

    Raises:
        InvalidInputError: It is no mapping.
    """
    if variables is None:
        return _NO_VARIABLES
    try:
        found = copy_mapping(variables, name, is_cut=True)
    except InvalidInputError as error:
        if not is_kind(variables, Mapping):
            raise
        notes.append(f"{error}: they are left out")
        return _NO_VARIABLES
    if len(found) > MAX_VARIABLES:
        notes.append(f"{name} has more than {MAX_VARIABLES} entries: the others are left out")
        found = dict(islice(found.items(), MAX_VARIABLES))
    # What nearly all keys and values are is seen at a glance; only the rest is looked at closely.
    for key, value in found.items():
        if type(key) is not str or not key.isascii() or len(key) > MAX_TEXT_BYTES:
            break
        kind = type(value)
        if kind is str and value.isascii() and len(value) <= MAX_TEXT_BYTES:
            continue
        if (kind is int or kind is float) and -_MAX_ORDINARY_NUMBER < value < _MAX_ORDINARY_NUMBER:
            continue
        break
    else:
        return found
    return _keep_usable(found, name, notes)


def _keep_usable(variables: Mapping[Any, Any], name: str, notes: list[str]) -> Variables:
    usable: dict[str, Scalar] = {}
    for key, value in ((to_plain(key), to_plain(one)) for key, one in variables.items()):
        fault = find_text_fault(key)
        if fault:
            notes.append(f"a key of {name} {fault}: it is left out")
            continue
        fault = find_scalar_fault(value)
        if fault:
            notes.append(f"{name}: {show_key(key)} {fault}: it is left out")
        else:
            usable[key] = value
    return usable


def show_key(key: object) -> str:
    """Return the name of a variable as it may stand in a log: one that looks like a name, or none."""
    return repr(key) if type(key) is str and _PLAIN_KEY.fullmatch(key) else "a variable"


def find_text_fault(value: object, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return what is wrong with a plain text, empty where it is encodable and of bounded length."""
    if type(value) is not str:
        return "must be a str"
    # isascii() is a flag of the object: most texts are settled without encoding them.
    if value.isascii() and len(value) <= max_bytes:
        return ""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "holds a lone surrogate"
    return f"is longer than {max_bytes} bytes in UTF-8" if size > max_bytes else ""


def find_scalar_fault(value: Any) -> str:
    """Return what is wrong with the plain value of a variable, empty where it can be used."""
    if not is_plain(value):
        return f"is of type {type(value).__name__}, not str, int, float, bool, Decimal or None"
    if isinstance(value, str):
        return find_text_fault(value)
    if isinstance(value, int):
        return "is too large a number" if value.bit_length() > MAX_INT_BITS else ""
    if value is None:
        return ""
    # A signalling NaN cannot even be made a float.
    is_signal = isinstance(value, Decimal) and value.is_snan()
    return "is not finite" if is_signal or not isfinite(value) else ""


def read_header(value: object, name: str, notes: list[str]) -> str:
    """Return a text that a visitor sent in a header, made fit to be sent on.

    What cannot be encoded is replaced, what is too long is cut: a conversion must not be lost to an odd
    user agent.

    Args:
        value: The text, or None for none.
        name: What the caller calls it.
        notes: Takes a text that says what was done to it.
    """
    if value is None:
        return ""
    if type(value) is str and value.isascii() and len(value) <= MAX_TEXT_BYTES:
        # The quick check, enough for nearly every header.
        return value
    value = to_plain(value)
    fault = find_text_fault(value)
    if type(value) is not str:
        notes.append(f"{name} {fault}: it is left out")
        return ""
    if not fault:
        return value
    notes.append(f"{name} {fault}: it is cleaned or cut")
    # Cutting may split the last character, which is then left out.
    encoded = value[:MAX_TEXT_BYTES].encode("utf-8", "replace")[:MAX_TEXT_BYTES]
    return encoded.decode("utf-8", "ignore")


class User:
    """The user of one call; made once per call and never changed.

    Attributes:
        id: The id as given.
        id_bytes: The id in UTF-8, from which the visitor id is made.
        hash_bytes: The bytes that are hashed for bucketing: UTF-8, or with *encoding* ``node`` the low
            byte of each UTF-16 unit.
        custom_variables: Values for pre-segmentation.
        variation_targeting_variables: Values for whitelisting.
        user_agent: The visitor's user agent, empty when unknown.
        user_ip_address: The visitor's address, empty when unknown.
        notes: What of the arguments was left out, cut or cleaned, and why; never a value.
    """

    __slots__ = (
        "custom_variables",
        "hash_bytes",
        "id",
        "id_bytes",
        "notes",
        "user_agent",
        "user_ip_address",
        "variation_targeting_variables",
    )

    # What callers call them.
    _ID_NAME = "user_id"
    _ADDRESS_NAME = "user_ip_address"

    def __init__(
        self,
        user_id: str,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        user_agent: str | None = None,
        user_ip_address: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """Check and encode everything.

        Raises:
            InvalidInputError: The id cannot be hashed, or variables are no mapping.
        """
        if type(user_id) is str and user_id.isascii() and 0 < len(user_id) <= MAX_USER_ID_BYTES:
            # The quick check, enough for nearly every id.
            self.id_bytes = self.hash_bytes = user_id.encode()
        else:
            user_id = to_plain(user_id)
            self.id_bytes = self.hash_bytes = encode_id(user_id, self._ID_NAME)
        if encoding == "node":
            # The Node SDK hashes the low byte of each UTF-16 unit; the visitor id is UTF-8 there too.
            self.hash_bytes = user_id.encode("utf-16-le")[::2]
        self.id = user_id
        if (
            custom_variables is None
            and variation_targeting_variables is None
            and user_agent is None
            and user_ip_address is None
        ):
            self.custom_variables = self.variation_targeting_variables = _NO_VARIABLES
            self.user_agent = self.user_ip_address = ""
            self.notes: tuple[str, ...] = ()
            return
        notes: list[str] = []
        # Most calls give one of the four: what is not given costs no call.
        self.custom_variables = (
            _NO_VARIABLES
            if custom_variables is None
            else read_variables(custom_variables, "custom_variables", notes)
        )
        self.variation_targeting_variables = (
            _NO_VARIABLES
            if variation_targeting_variables is None
            else read_variables(
                variation_targeting_variables, "variation_targeting_variables", notes
            )
        )
        self.user_agent = "" if user_agent is None else read_header(user_agent, "user_agent", notes)
        self.user_ip_address = (
            ""
            if user_ip_address is None
            else read_header(user_ip_address, self._ADDRESS_NAME, notes)
        )
        self.notes = tuple(notes)

    def __repr__(self) -> str:
        return "<User>"
