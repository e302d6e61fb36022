"""The user of one call: id, attributes and address, all of them validated.

All other code uses the bytes made here. A text that cannot be encoded as UTF-8 (because it holds a lone
surrogate, as texts from ``json.loads`` may) must be refused here: mmh3 5 crashes the process when it is
given such a text, and writing one raises an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, TypeAlias

from ._error import InvalidInputError

Scalar: TypeAlias = "str | int | float | bool | Decimal | None"
Variables: TypeAlias = Mapping[str, Scalar]

MAX_USER_ID_BYTES = 4096
MAX_TEXT_BYTES = 4096
MAX_VARIABLES = 1000
# A larger integer cannot be converted to a double, and could take long to print.
MAX_INT_BITS = 1023

_MAX_ORDINARY_NUMBER = 2**63
_NO_VARIABLES: Variables = {}


def encode_id(user_id: object) -> bytes:
    """Return the UTF-8 bytes of a user id.

    Raises:
        InvalidInputError: *user_id* is not a non-empty text of at most 4096 encodable bytes.
    """
    if not isinstance(user_id, str) or not user_id:
        raise InvalidInputError("user_id must be a non-empty str")
    # Raised outside the except block: the codec's error holds the text and would become our __context__.
    try:
        encoded = user_id.encode()
    except UnicodeEncodeError:
        encoded = b""
    if not encoded:
        raise InvalidInputError("user_id holds a lone surrogate")
    if len(encoded) > MAX_USER_ID_BYTES:
        raise InvalidInputError(f"user_id is longer than {MAX_USER_ID_BYTES} bytes in UTF-8")
    return encoded


def check_text(value: object, name: str, max_bytes: int = MAX_TEXT_BYTES) -> None:
    """Check that *value* is a text of at most *max_bytes* that can be encoded.

    Raises:
        InvalidInputError: It is not. The error holds *name* and never the value.
    """
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} must be a str")
    # str.isascii() costs nothing, so most texts need not be encoded.
    if value.isascii() and len(value) <= max_bytes:
        return
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        size = -1
    if size < 0:
        raise InvalidInputError(f"{name} holds a lone surrogate")
    if size > max_bytes:
        raise InvalidInputError(f"{name} is longer than {max_bytes} bytes in UTF-8")


def check_scalar(value: object, name: str) -> None:
    """Check that *value* is a str, int, float, bool, Decimal or None, finite and not too large.

    Raises:
        InvalidInputError: It is not.
    """
    if isinstance(value, str):
        check_text(value, name)
    elif isinstance(value, int):
        if value.bit_length() > MAX_INT_BITS:
            raise InvalidInputError(f"{name} is too large a number")
    elif isinstance(value, (float, Decimal)):
        # A signalling NaN cannot be converted to a float.
        if (isinstance(value, Decimal) and value.is_snan()) or not isfinite(value):
            raise InvalidInputError(f"{name} must be finite")
    elif value is not None:
        raise InvalidInputError(f"{name} must be a str, int, float, bool, Decimal or None")


def check_variables(variables: object, name: str) -> Variables:
    """Return *variables* after checking every key and value.

    Raises:
        InvalidInputError: It is not a mapping, has too many entries, or a key or value cannot be used.
    """
    if variables is None:
        return _NO_VARIABLES
    checked = variables if type(variables) is dict else _copy(variables, name)
    if len(checked) > MAX_VARIABLES:
        raise InvalidInputError(f"{name} has more than {MAX_VARIABLES} entries")
    # Quick checks for the usual keys and values; only others need the full ones.
    for key, value in checked.items():
        if type(key) is not str or not key.isascii() or len(key) > MAX_TEXT_BYTES:
            check_text(key, f"a key of {name}")
        kind = type(value)
        if kind is str and value.isascii() and len(value) <= MAX_TEXT_BYTES:
            continue
        if (kind is int or kind is float) and -_MAX_ORDINARY_NUMBER < value < _MAX_ORDINARY_NUMBER:
            continue
        check_scalar(value, f"a value of {name}")
    return checked


def _copy(variables: object, name: str) -> dict[Any, Any]:
    """Copy a mapping that is not a dict; its methods are the caller's code and may raise anything."""
    if not isinstance(variables, Mapping):
        raise InvalidInputError(f"{name} must be a mapping")
    try:
        return dict(variables.items())
    except Exception as error:  # noqa: BLE001 - the caller's mapping may raise anything
        kind = type(error).__name__
    raise InvalidInputError(f"{name} cannot be read: {kind}")


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
        user_ip_address: The visitor's IP address, empty when unknown.
    """

    __slots__ = (
        "custom_variables",
        "hash_bytes",
        "id",
        "id_bytes",
        "user_agent",
        "user_ip_address",
        "variation_targeting_variables",
    )

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
            InvalidInputError: Some argument cannot be hashed, compared or sent.
        """
        if type(user_id) is str and user_id.isascii() and 0 < len(user_id) <= MAX_USER_ID_BYTES:
            # The quick check, enough for nearly every id.
            self.id_bytes = self.hash_bytes = user_id.encode()
        else:
            self.id_bytes = self.hash_bytes = encode_id(user_id)
        if encoding == "node":
            # The Node SDK hashes the low byte of each UTF-16 unit; the visitor id is UTF-8 there too.
            self.hash_bytes = user_id.encode("utf-16-le")[::2]
        self.id = user_id
        self.custom_variables = (
            _NO_VARIABLES
            if custom_variables is None
            else check_variables(custom_variables, "custom_variables")
        )
        self.variation_targeting_variables = (
            _NO_VARIABLES
            if variation_targeting_variables is None
            else check_variables(variation_targeting_variables, "variation_targeting_variables")
        )
        self.user_agent = "" if user_agent is None else _read_text(user_agent, "user_agent")
        self.user_ip_address = (
            "" if user_ip_address is None else _read_text(user_ip_address, "user_ip_address")
        )

    def __repr__(self) -> str:
        return "<User>"


def _read_text(value: str, name: str) -> str:
    check_text(value, name)
    return value
