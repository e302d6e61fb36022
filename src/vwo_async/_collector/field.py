"""Reading one query string or JSON object field by field, with faults that name the field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from .error import WireError

__all__ = ["STATISTICS", "Fields", "load_json", "read_decimal", "read_json", "read_query"]

STATISTICS = frozenset({"eb", "ig", "ss", "cl", "ll", "tr", "gt", "pi", "_l"})
"""Query parameters that say which features of the SDK are in use."""

# Only these names are shown in faults. Any other name could be a part of a badly encoded value, so its
# position is shown instead.
# fmt: off
_VOCABULARY = STATISTICS | {
    "a", "account_id", "ap", "api-version", "c", "combination", "d", "e", "ed", "en", "env",
    "eT", "eTime", "ev", "event", "experiment_id", "g", "goal_id", "i", "id", "isCustomEvent",
    "isFirst", "msgId", "name", "p", "platform", "props", "r", "random", "sd", "sdk", "sdk-v",
    "sessionId", "sId", "sv", "t", "tags", "time", "u", "variation", "visId", "visitor",
    "data", "fId", "product", "s", "sn", "visitor_ip", "visitor_ua", "vwo_envKey", "vwo_fs_environment", "vwo_sdkName",
    "vwo_sdkVersion", "vwoMeta", "accountId", "aliasId", "attribute", "ipAddress", "listId", "sdkKey", "userAgent",
    "userId",
}
# fmt: on

MAX_DEPTH = 64
_MAX_PARAMETERS = 64
_MAX_DIGITS = 18
_VISITOR = re.compile(r"[0-9A-F]{32}")
# What VWO's code in web pages calls a visitor, which the SDKs of FME send as it is.
_WEB_VISITOR = re.compile(r"[DJ][0-9A-Fa-f]{32}")
_FRACTION = re.compile(r"(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE]-?\d{1,3})?", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


class Fields:
    """The fields of one query string or JSON object.

    Args:
        values: The fields by name; in a query string all values are text.
        path: Prefix of the names in faults: empty, or ending with a full stop.
    """

    __slots__ = ("_path", "_values")

    def __init__(self, values: Mapping[str, object], path: str = "") -> None:
        self._values = values
        self._path = path

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @property
    def values(self) -> Mapping[str, object]:
        """All fields by name."""
        return self._values

    def with_defaults(self, defaults: Mapping[str, object]) -> Fields:
        """Return the fields, with *defaults* for those that are missing."""
        return Fields({**defaults, **self._values}, self._path)

    def place(self, name: str) -> str:
        """Return the full name of a field, as it is in faults."""
        return self._path + name

    def fail(self, name: str, problem: str) -> NoReturn:
        """Raise a `WireError` about a field."""
        raise WireError(self._path + name, problem)

    def get(self, name: str) -> object:
        """Return the value of a required field."""
        try:
            return self._values[name]
        except KeyError:
            self.fail(name, "missing")

    def text(self, name: str) -> str:
        """Return a text, which may be empty."""
        value = self.get(name)
        if not isinstance(value, str):
            self.fail(name, "must be a text")
        return value

    def filled(self, name: str) -> str:
        """Return a text that is not empty."""
        value = self.text(name)
        if not value:
            self.fail(name, "must not be empty")
        return value

    def integer(self, name: str) -> int:
        """Return a JSON number without fraction or sign."""
        value = self.get(name)
        # The only other integers from JSON are bools, which are refused.
        if type(value) is not int or value < 0:
            self.fail(name, "must be a whole number")
        return value

    def digits(self, name: str) -> int:
        """Return the number in a text of decimal digits."""
        value = self.text(name)
        if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS):
            self.fail(name, "must be a whole number")
        return int(value)

    def visitor(self, name: str) -> str:
        """Return a visitor's UUID."""
        value = self.text(name)
        if _VISITOR.fullmatch(value) is None:
            self.fail(name, "must be 32 upper-case hexadecimal digits")
        return value

    def any_visitor(self, name: str) -> str:
        """Return a visitor's UUID, or the id that VWO's code in web pages has given him."""
        value = self.text(name)
        return value if _WEB_VISITOR.fullmatch(value) else self.visitor(name)

    def revenue(self, name: str) -> Decimal:
        """Return an amount given as a JSON number or as numeric text."""
        value = read_decimal(self.get(name))
        if value is None:
            self.fail(name, "must be numeric")
        return value

    def child(self, name: str) -> Fields:
        """Return the fields of a JSON object inside this one."""
        value = self.get(name)
        if not isinstance(value, dict):
            self.fail(name, "must be an object")
        return Fields(value, f"{self._path}{name}.")

    def check_equal(self, name: str, expected: object, problem: str) -> None:
        """Refuse any other value, also one of another type that compares equal, such as true for 1."""
        value = self.get(name)
        if type(value) is not type(expected) or value != expected:
            self.fail(name, problem)

    def check_random(self, name: str) -> None:
        """Refuse what is not a number from 0 inclusive to 1 exclusive."""
        value = self.text(name)
        if _FRACTION.fullmatch(value) is None or not 0 <= float(value) < 1:
            self.fail(name, "must be a number in [0, 1)")

    def check_only(self, allowed: frozenset[str]) -> None:
        """Refuse any field besides the allowed ones."""
        if self._values.keys() <= allowed:
            return
        for position, name in enumerate(self._values, start=1):
            if name not in allowed:
                shown = name if name in _VOCABULARY else f"field {position} of {len(self._values)}"
                self.fail(shown, "not part of this request")


def read_query(query: bytes) -> Fields:
    """Read a query string.

    Raises:
        WireError: If a name comes twice, or the text is not percent-encoded UTF-8.
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:
        raise WireError(
            "query", "must be percent-encoded UTF-8 with at most 64 parameters"
        ) from None
    values: dict[str, object] = dict(pairs)
    if len(values) != len(pairs):
        raise WireError("query", "a parameter comes twice")
    return Fields(values)


def load_json(text: str | bytes, **options: Any) -> Any:
    """Return what JSON *text* stands for.

    Raises:
        ValueError: It is no JSON, or nested deeper than anything that an SDK sends.
    """
    try:
        value = json.loads(text, **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [below for one in level for below in _list_below(one)]
        if not level:
            return value
    raise ValueError("nested too deeply")


def _list_below(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def read_json(text: str | bytes, field: str) -> object:
    """Read a JSON document.

    Raises:
        WireError: If it is not JSON in UTF-8 (RFC 8259: no NaN, no infinity), holds half a
            surrogate pair, or a number that is too large to be told from infinity.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        value: object = load_json(decoded, parse_constant=_refuse_constant, parse_float=_read_float)
        if "\\u" in decoded:
            json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        # No cause: the exception holds the document.
        raise WireError(field, "must be JSON in UTF-8") from None
    return value


def read_decimal(value: object) -> Decimal | None:
    """Return the amount in a JSON number or numeric text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value)
    return Decimal(text) if _DECIMAL.fullmatch(text) else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _read_float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(text)
    return value
