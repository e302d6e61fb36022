"""The user of one call: id, attributes and address, all of them validated.

All other code uses the bytes made here. A text that cannot be encoded as UTF-8 (because it holds a lone
surrogate, as texts from ``json.loads`` may) must be refused here: mmh3 5 crashes the process when it is
given such a text, and writing one raises an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import islice
from math import isfinite
from numbers import Integral, Real
from types import NoneType
from typing import Any, TypeAlias, TypeVar

from ._error import InvalidInputError

Scalar: TypeAlias = str | int | float | bool | Decimal | None
Variables: TypeAlias = Mapping[str, Scalar]
_T = TypeVar("_T")

MAX_USER_ID_BYTES = 4096
MAX_TEXT_BYTES = 4096
MAX_VARIABLES = 1000
# A larger integer cannot be converted to a double, and could take long to print.
MAX_INT_BITS = 1023

_MAX_ORDINARY_NUMBER = 2**63
_PLAIN = frozenset({str, int, float, bool, Decimal, NoneType})
# By the methods of the class itself, whatever one derived from it makes of them.
_BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (Decimal, Decimal),
)
_NO_VARIABLES: Variables = {}
# What may stand in a log as the name of a variable: an identifier is the developer's, anything else could be
# what a visitor sent.
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


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
    fault = find_text_fault(value, max_bytes)
    if fault:
        raise InvalidInputError(f"{name} {fault}")


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
        found = copy_mapping(variables, name)
    except InvalidInputError as error:
        if not isinstance(variables, Mapping):
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
    for key, value in variables.items():
        fault = find_text_fault(key)
        if fault:
            notes.append(f"a key of {name} {fault}: it is left out")
            continue
        plain = to_plain(value)
        fault = find_scalar_fault(plain)
        if fault:
            notes.append(f"{name}: {show_key(key)} {fault}: it is left out")
        else:
            usable[key] = plain
    return usable


def show_key(key: object) -> str:
    """Return the name of a variable as it may stand in a log: one that looks like a name, or none."""
    return repr(key) if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else "a variable"


def to_plain(value: Any) -> Any:
    """Return the str, bool, number or None that *value* is; anything else as it is.

    A value of a class derived from these (of an enum, for one) may print as anything, and a number of another
    library (numpy, for one) is of no class that others know.
    """
    if type(value) in _PLAIN:
        return value
    try:
        for kind, convert in _BASES:
            if isinstance(value, kind):
                return convert(value)
        if isinstance(value, Integral):
            return int(value)
        if isinstance(value, Real):
            return float(value)
        # numpy's bool is no number to Python.
        if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
            return value.item()
    except Exception:  # noqa: BLE001 - the caller's own class may raise anything
        # A value that cannot be read is left out like any other.
        return value
    return value


def find_text_fault(value: object, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return what is wrong with a text, empty where it is encodable and of bounded length."""
    if not isinstance(value, str):
        return "must be a str"
    # isascii() is a flag of the object: most texts are settled without encoding them.
    if value.isascii() and len(value) <= max_bytes:
        return ""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "holds a lone surrogate"
    return f"is longer than {max_bytes} bytes in UTF-8" if size > max_bytes else ""


def find_scalar_fault(value: object) -> str:
    """Return what is wrong with the value of a variable, empty where it is plain and finite."""
    if isinstance(value, str):
        return find_text_fault(value)
    if isinstance(value, int):
        return "is too large a number" if value.bit_length() > MAX_INT_BITS else ""
    if isinstance(value, (float, Decimal)):
        # A signalling NaN cannot even be made a float.
        if (isinstance(value, Decimal) and value.is_snan()) or not isfinite(value):
            return "is not finite"
        return ""
    if value is None:
        return ""
    return f"is of type {type(value).__name__}, not str, int, float, bool, Decimal or None"


def copy_mapping(value: object, name: str) -> dict[Any, Any]:
    """Return what is in a mapping: a dict as it is, any other copied, so that its own code runs once, here.

    Raises:
        InvalidInputError: It is no mapping, or reading it raised an error.
    """
    if type(value) is dict:
        return value
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{name} must be a mapping")
    return read_foreign(lambda: dict(value.items()), name)


def read_foreign(read: Callable[[], _T], name: str) -> _T:
    """Return what *read* returns, which runs code of the caller's own classes and so may raise anything.

    Args:
        read: Reads the value.
        name: What the caller calls it.

    Raises:
        InvalidInputError: It raised an error, of which the text names the class alone.
    """
    # Raised outside the except block: the error of the caller's may hold the value and would become our
    # __context__.
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - see above
        kind = type(error).__name__
    raise InvalidInputError(f"reading {name} raised {kind}")


def read_header(value: object, name: str, notes: list[str]) -> str:
    """Return a text that a visitor sent in a header, made fit to be sent on.

    What cannot be encoded is replaced, what is too long is cut: a conversion must not be lost to an odd
    user agent.

    Args:
        value: The text, or None for none.
        name: What the caller calls it.
        notes: Takes a text that says what was done to it.
    """
    value = to_plain(value)
    fault = "" if value is None else find_text_fault(value)
    if not fault:
        return value if isinstance(value, str) else ""
    if not isinstance(value, str):
        notes.append(f"{name} {fault}: it is left out")
        return ""
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
            self.id_bytes = self.hash_bytes = encode_id(user_id)
            user_id = to_plain(user_id)
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
        self.custom_variables = read_variables(custom_variables, "custom_variables", notes)
        self.variation_targeting_variables = read_variables(
            variation_targeting_variables, "variation_targeting_variables", notes
        )
        self.user_agent = read_header(user_agent, "user_agent", notes)
        self.user_ip_address = read_header(user_ip_address, "user_ip_address", notes)
        self.notes = tuple(notes)

    def __repr__(self) -> str:
        return "<User>"
