"""What the columns of a file are to a conversion, and the reading of one row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from math import isfinite
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from ..exit_code import CommandError
from ..users import read_scalar
from .row_file import InputRow

ColumnType: TypeAlias = Literal["text", "number", "boolean"]
TimeUnit: TypeAlias = Literal["s", "ms"]

# What a column may be called that nobody was told of.
USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userId", "id"),
    "goal": ("goal", "goal_identifier", "event", "event_name"),
    "campaign": ("campaign", "campaign_key"),
    "revenue": ("revenue", "revenue_value"),
    "time": ("time", "timestamp", "at"),
    "user_agent": ("user_agent",),
    "ip": ("ip", "ip_address"),
}
_REQUIRED = ("user", "goal")
_GROUPS = ("var", "targeting", "property")
_TYPES: Mapping[str, ColumnType] = {"text": "text", "number": "number", "boolean": "boolean"}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


class RowError(Exception):
    """A row is no conversion; the text says why."""


class Conversion(NamedTuple):
    """One row.

    Attributes:
        user: The user id.
        goal: The goal, or the event of FME.
        campaign: The campaign, None for every one that has the goal; or some of these.
        revenue: As it stands in the file.
        at: When it happened, None for now: a datetime, or seconds since 1970.
        properties: Event properties by name, None for none.
        variables: Custom variables by name, None for none.
        targeting: Variables for whitelisting, None for none.
        user_agent: The visitor's.
        ip: The visitor's address.
    """

    user: str
    goal: str
    campaign: str | Sequence[str] | None = None
    revenue: Any = None
    at: datetime | float | None = None
    properties: Mapping[str, Any] | None = None
    variables: Mapping[str, Any] | None = None
    targeting: Mapping[str, Any] | None = None
    user_agent: str | None = None
    ip: str | None = None


@dataclass(frozen=True)
class TimeFormat:
    """How times are written.

    Attributes:
        pattern: As `datetime.strptime` takes it; empty for ISO 8601, or numbers.
        unit: Of numbers.
        zone: Of times that name none; None refuses these.
    """

    pattern: str = ""
    unit: TimeUnit = "s"
    zone: tzinfo | None = None

    def read(self, value: Any) -> datetime | float:
        """Return when it was.

        Raises:
            RowError: It is no time.
        """
        if isinstance(value, str):
            value = self._read_text(value.strip())
        if isinstance(value, datetime):
            if value.tzinfo is not None:
                return value
            if self.zone is None:
                raise RowError("time: names no time zone: give --timezone, as Europe/Berlin or UTC")
            return value.replace(tzinfo=self.zone)
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            return float(value) / 1000 if self.unit == "ms" else float(value)
        if isinstance(value, date):
            return self.read(datetime.combine(value, time.min))
        raise RowError("time: is no time")

    def _read_text(self, text: str) -> Any:
        try:
            if self.pattern:
                return datetime.strptime(text, self.pattern)  # noqa: DTZ007 - the zone comes after this
            if _NUMBER.fullmatch(text):
                return float(text)
            return datetime.fromisoformat(text)
        except ValueError:
            how = f"like {self.pattern}" if self.pattern else "in ISO 8601 or in seconds since 1970"
            raise RowError(f"time: is not written {how}") from None


class _Column(NamedTuple):
    """Where a field comes from.

    Attributes:
        names: What its column may be called; empty for a value that all rows have.
        type: What its cells are; None for what they look like.
        value: What all rows have.
        is_usual: Whether nobody said so.
    """

    names: tuple[str, ...]
    type: ColumnType | None = None
    value: Any = None
    is_usual: bool = False


# Cells of one group, such as all custom variables, by name.
_Group: TypeAlias = "dict[str, tuple[Callable[[Any], Any], ColumnType | None]]"


class Columns:
    """Reads rows as conversions.

    Args:
        chosen: Texts such as ``goal=Event`` and ``property.price=Price:number``: a field and its column; an empty
            column leaves out one that has a usual name.
        constants: Texts such as ``goal=purchase``: what all rows have.
        time_format: How times are written.

    Raises:
        CommandError: One of these cannot be used.
    """

    def __init__(
        self, chosen: Iterable[str], constants: Iterable[str], time_format: TimeFormat
    ) -> None:
        self._time_format = time_format
        self._columns: dict[str, _Column] = {
            field: _Column(names, is_usual=True) for field, names in USUAL_NAMES.items()
        }
        for text in chosen:
            field, column = _split(text, "FIELD=COLUMN")
            self._columns[field] = _Column((column,)) if column else _Column(())
        for text in constants:
            field, value = _split(text, "FIELD=VALUE")
            self._columns[field] = _Column((), value=read_scalar(value) if "." in field else value)
        self.names: Sequence[str] | None = None
        self._cells: dict[str, Callable[[Any], Any]] = {}
        self._groups: dict[str, _Group] = {}
        self._needs_time = False

    @property
    def fields(self) -> list[str]:
        """The fields that are read, once the columns are bound."""
        return [one for one in self._columns if one in self._cells or "." in one]

    @property
    def certain_fields(self) -> list[str]:
        """Those of the fields that rows have for certain: what one may have under a usual name is left out."""
        return [
            one for one in self.fields if self.names is not None or not self._columns[one].is_usual
        ]

    def describe(self) -> dict[str, Any]:
        """Return where each field comes from: the name of its column, or ``=`` and the value that all rows have."""
        found: dict[str, Any] = {}
        for field in self.fields:
            column = self._columns[field]
            name = "|".join(column.names) if column.names else f"={column.value}"
            found[field] = f"{name}:{column.type}" if column.type else name
        return found

    def list_unused(self) -> list[str]:
        """Return the columns that no field comes from; nothing where rows have names of their own."""
        used = {name for field in self.fields for name in self._columns[field].names}
        return [one for one in self.names or () if one and one not in used]

    def bind(self, names: Sequence[str] | None, name: str) -> None:
        """Find the columns in a file.

        Args:
            names: Those of the file; None where each row has names of its own.
            name: What the file is called.

        Raises:
            CommandError: A column is missing, or there twice.
        """
        self.names = names
        counted, claimed = Counter(names or ()), set[str]()
        # What was said goes first: a column that it names has no other meaning by its usual name.
        for field, column in sorted(self._columns.items(), key=lambda one: one[1].is_usual):
            gives_way = column.is_usual and field not in _REQUIRED
            free = [one for one in column.names if not (gives_way and one in claimed)]
            found = self._resolve(field, column._replace(names=tuple(free)), counted, name)
            self._columns[field] = found
            claimed.update(found.names)
            cell = _make_cell(found, names)
            if cell is not None:
                self._cells[field] = cell
        for field in _REQUIRED:
            if field not in self._cells:
                raise CommandError(
                    f"{name}: has no column for the {field}: give --column {field}=COLUMN"
                    f"{'' if names is None else f'; it has {_name_all(names)}'}"
                )
        self._needs_time = names is not None or not self._columns["time"].is_usual
        self._group()

    def _resolve(self, field: str, column: _Column, names: Counter[str], file: str) -> _Column:
        """Return a column by the names of the file, with its type."""
        if column.is_usual and self.names is not None:
            there = [one for one in column.names if one in names]
            column = column._replace(names=tuple(there[:1]))
        if len(column.names) != 1:
            return column
        text = column.names[0]
        plain, _, suffix = text.rpartition(":")
        kind = _TYPES.get(suffix)
        if kind is not None and plain and text not in names:
            if "." not in field:
                raise CommandError(
                    f"--column {field}={text}: a type is for var, targeting and property"
                )
            text, column = plain, column._replace(names=(plain,), type=kind)
        if self.names is not None and names[text] != 1:
            there_is = "twice" if names[text] else f"not: it has {_name_all(self.names)}"
            raise CommandError(f"{file}: column {text!r} is there {there_is}")
        return column

    def _group(self) -> None:
        for field, cell in self._cells.items():
            group, dot, name = field.partition(".")
            if dot:
                self._groups.setdefault(group, {})[name] = cell, self._columns[field].type

    def read(self, row: InputRow) -> Conversion:
        """Return what a row says.

        Raises:
            RowError: It is no conversion.
        """
        if row.fault:
            raise RowError(row.fault)
        cells, given = self._cells, row.cells
        user, goal = cells["user"](given), cells["goal"](given)
        campaign, revenue = self._find("campaign", given), self._find("revenue", given)
        groups = {group: _read_group(one, given) for group, one in self._groups.items()}
        return Conversion(
            user if type(user) is str else _read_text("user", user),
            goal if type(goal) is str else _read_text("goal", goal),
            None if campaign is None else _read_text("campaign", campaign),
            revenue,
            self._read_time(given),
            groups.get("property"),
            groups.get("var"),
            groups.get("targeting"),
            self._find("user_agent", given),
            self._find("ip", given),
        )

    def _find(self, field: str, given: Any) -> Any:
        cell = self._cells.get(field)
        return None if cell is None else cell(given)

    def _read_time(self, given: Any) -> datetime | float | None:
        cell = self._cells.get("time")
        if cell is None:
            return None
        value = cell(given)
        if value is not None:
            return self._time_format.read(value)
        if self._needs_time:
            raise RowError("time: is empty")
        return None


def _split(text: str, shape: str) -> tuple[str, str]:
    field, is_there, rest = text.partition("=")
    group, dot, name = field.partition(".")
    if not is_there or not (field in USUAL_NAMES or (group in _GROUPS and dot and name)):
        fields = ", ".join((*USUAL_NAMES, *(f"{one}.NAME" for one in _GROUPS)))
        raise CommandError(f"{text!r}: write {shape}, where the field is one of {fields}")
    return field, rest


def _name_all(names: Iterable[str]) -> str:
    return ", ".join(repr(one) for one in names if one)


def _make_cell(column: _Column, names: Sequence[str] | None) -> Callable[[Any], Any] | None:
    """Return a function from a row to its cell, which gives None for an empty one; None for no column."""
    if not column.names:
        value = column.value
        return None if value is None else lambda given: value
    if names is None:
        return _make_named(column.names)
    index = names.index(column.names[0])

    def find(cells: Sequence[Any]) -> Any:
        # A row may be short: what is not there is as if empty.
        found = cells[index] if index < len(cells) else None
        return None if found == "" else found

    return find


def _make_named(names: Sequence[str]) -> Callable[[Any], Any]:
    def find(found: Mapping[str, Any]) -> Any:
        for name in names:
            if name in found:
                return None if found[name] == "" else found[name]
        return None

    return find


def _read_group(members: _Group, given: Any) -> dict[str, Any] | None:
    values = {}
    for name, (cell, kind) in members.items():
        value = cell(given)
        if value is not None:
            values[name] = _read_value(name, value, kind)
    return values or None


def _read_text(field: str, value: Any) -> str:
    """Return a text; whole numbers and UUIDs, as tables have them for ids, are written out."""
    if value is None:
        raise RowError(f"{field}: is empty")
    if isinstance(value, str):
        return value
    if isinstance(value, (int, UUID)) and not isinstance(value, bool):
        return str(value)
    raise RowError(f"{field}: is no text and no whole number")


def _read_value(name: str, value: Any, kind: ColumnType | None) -> Any:
    """Return a value of a variable or property, as JSON can hold it."""
    if kind == "text":
        return _write_value(name, value)
    if kind == "number":
        return _read_number(name, value)
    if kind == "boolean":
        return _read_boolean(name, value)
    if isinstance(value, str):
        return read_scalar(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _write_value(name: str, value: Any) -> str:
    """Return the text of a value that is to be one."""
    plain = _read_value(name, value, None) if not isinstance(value, (str, Decimal)) else str(value)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if not isinstance(plain, (str, int, float)):
        raise RowError(f"{name}: is no text")
    return str(plain)


def _read_number(name: str, value: Any) -> Any:
    if isinstance(value, str):
        text = value.strip()
        is_number = _NUMBER.fullmatch(text) and len(text) <= 100
        value = (int(text) if _INTEGER.fullmatch(text) else float(text)) if is_number else None
    elif isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise RowError(f"{name}: is no number such as 49.90")
    return value


def _read_boolean(name: str, value: Any) -> bool:
    found = _BOOLEANS.get(str(value).strip().lower())
    if found is None:
        raise RowError(f"{name}: is neither true nor false")
    return found
