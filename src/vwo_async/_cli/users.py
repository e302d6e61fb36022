"""The users whom a question is about: one on the command line, many from a file, or made up."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite
from pathlib import PurePath
from typing import Annotated, Any, TextIO

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from .._error import InvalidInputError
from .delimiter import find_delimiter
from .exit_code import CommandError
from .source import STANDARD_INPUT, find_standard_input
from .subject import IdEncoding, Subject, UserFields

_ID_NAMES = ("id", "user_id", "userId")
_NO_ID = "has no user id: name it 'id'"
_NAMES = frozenset(UserFields._fields[1:6])
# Those that one cell can hold.
_CELL_NAMES = frozenset({"user_agent", "ip_address", "bucketing_seed"})


@Parameter(name="*")
@dataclass(frozen=True)
class Attributes:
    """What is known of the users.

    Attributes:
        var: A custom variable, NAME=VALUE; may be given again. A value that is JSON is read as such.
        targeting: A variable for whitelisting, NAME=VALUE; may be given again.
        user_agent: The visitor's user agent.
        ip: The visitor's address.
        user_id_encoding: How ids outside ASCII are hashed, of FullStack alone: node as the Node SDK does.
    """

    var: Annotated[list[str], Parameter(alias="-v")] = field(default_factory=list)
    targeting: list[str] = field(default_factory=list)
    user_agent: str | None = None
    ip: str | None = None
    user_id_encoding: IdEncoding | None = None

    def make_fields(self, user_id: str, seed: str | None = None) -> UserFields:
        """Return one user with these attributes.

        Raises:
            CommandError: A variable is not written as NAME=VALUE.
        """
        return UserFields(
            user_id,
            read_assignments(self.var) or None,
            read_assignments(self.targeting) or None,
            self.user_agent,
            self.ip,
            seed,
            self.user_id_encoding,
        )


@Parameter(name="*")
@dataclass(frozen=True)
class Population:
    """Many users.

    Attributes:
        users: A file of users, '-' for standard input: an id a line, CSV with a column 'id', or JSON lines.
        number: How many users are made up where there is no file.
        prefix: What the ids of made-up users begin with.
    """

    users: Annotated[str, Parameter(alias="-u", allow_leading_hyphen=True)] = ""
    number: Annotated[PositiveInt, Parameter(alias="-n")] = 100_000
    prefix: str = "user-"

    def make_users(self, subject: Subject, attributes: Attributes | None = None) -> Iterable[Any]:
        """Return the users as *subject* takes them; with *attributes*, which those of a file go before.

        Raises:
            CommandError: A row of the file is no user, also while the users are read; or the product has not what
                is known of them.
        """
        shared = (attributes or Attributes()).make_fields("")
        subject.check_fields(shared)
        if self.users:
            return _make_all(subject, self.users, read_users(self.users), shared)
        ids = (f"{self.prefix}{number}" for number in range(1, self.number + 1))
        return subject.make_users(ids, shared)


def read_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Return NAME=VALUE pairs as a mapping; a value that is a JSON scalar is read as such.

    Raises:
        CommandError: One is not written so.
    """
    found = {}
    for text in texts:
        name, is_there, value = text.partition("=")
        if not name or not is_there:
            raise CommandError(f"{text!r} is no variable: write NAME=VALUE")
        found[name] = read_scalar(value)
    return found


def read_scalar(text: str) -> Any:
    """Return a text as the JSON scalar that it spells, or as it is where it spells none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    is_finite = not isinstance(value, float) or isfinite(value)
    return value if is_finite and not isinstance(value, (dict, list)) else text


def _make_all(
    subject: Subject, name: str, rows: Iterable[tuple[int, UserFields]], shared: UserFields
) -> Iterator[Any]:
    is_shared = shared != UserFields("")
    for line, own in rows:
        fields = own
        if is_shared:
            known = {key: value for key, value in own._asdict().items() if value}
            fields = shared._replace(**known)
        try:
            yield subject.make_user(fields)
        except InvalidInputError as error:
            raise CommandError(f"{name}:{line}: {error}") from None


def read_users(name: str) -> Iterator[tuple[int, UserFields]]:
    """Yield the users in a file, each with the number of its line.

    Raises:
        CommandError: A row is no user, or there is none.
        OSError: The file cannot be read.
    """
    suffix = PurePath(name).suffix.lower()
    number = 0
    with _open_text(name) as lines:
        try:
            if suffix in (".csv", ".tsv"):
                rows = _read_table(name, lines)
            else:
                rows = _read_lines(name, lines)
            for number, row in enumerate(rows, start=1):  # noqa: B007 - counted for what follows
                yield row
        except UnicodeDecodeError:
            raise CommandError(f"{name}: is not UTF-8: save it as such") from None
        except csv.Error as error:
            raise CommandError(f"{name}: is no table that can be read: {error}") from None
    if not number:
        raise CommandError(f"{name}: has no user")


def _open_text(name: str) -> TextIO:
    """Open a file, ``-`` for standard input, whose lines end where a line feed is: ids may hold the rarer ends."""
    source: Any = find_standard_input() if name == STANDARD_INPUT else name
    return open(source, encoding="utf-8-sig", newline="\n", closefd=source == name)


def _read_lines(name: str, lines: Iterable[str]) -> Iterator[tuple[int, UserFields]]:
    """An id a line, or a JSON object or string a line."""
    for number, line in enumerate(lines, start=1):
        one = line.removesuffix("\n").removesuffix("\r")
        if one.strip():
            yield number, _read_line(f"{name}:{number}", one)


def _read_line(place: str, line: str) -> UserFields:
    if not line.lstrip().startswith(("{", '"')):
        return UserFields(line)
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise CommandError(f"{place}: is no JSON") from None
    if isinstance(found, str):
        return UserFields(found)
    return _read_fields(place, {**found, **_read_variables(found)})


def _read_variables(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the custom variables of a JSON object: the field of that name, and all that has no other meaning."""
    named = found.get("custom_variables") or {}
    rest = {key: one for key, one in found.items() if key not in _NAMES and key not in _ID_NAMES}
    return {"custom_variables": {**rest, **named} if isinstance(named, dict) else named}


def _read_table(name: str, lines: TextIO) -> Iterator[tuple[int, UserFields]]:
    first = lines.readline()
    rows = csv.reader(chain([first], lines), delimiter=find_delimiter(first))
    names = [one.strip() for one in next(rows, ())]
    repeated = [one for one, times in Counter(names).items() if one and times > 1]
    if repeated:
        raise CommandError(f"{name}: column {repeated[0]!r} is there twice")
    id_at = next((names.index(one) for one in _ID_NAMES if one in names), None)
    own = [(at, one) for at, one in enumerate(names) if one in _CELL_NAMES]
    variables = [
        (at, one) for at, one in enumerate(names) if at != id_at and one not in ("", *_CELL_NAMES)
    ]
    # Rows may be short: what is not there is as if empty.
    padding = [""] * len(names)
    for row in rows:
        if len(row) > len(names):
            place = f"{name}:{rows.line_num}"
            raise CommandError(f"{place}: has more cells than the first line has names")
        if not row:
            continue
        cells = row + padding[len(row) :]
        if id_at is None or not cells[id_at]:
            raise CommandError(f"{name}:{rows.line_num}: {_NO_ID}")
        fields = UserFields(cells[id_at], {one: cells[at] for at, one in variables if cells[at]})
        known: dict[str, Any] = {one: cells[at] for at, one in own if cells[at]}
        yield rows.line_num, fields._replace(**known) if known else fields


def _read_fields(place: str, found: Mapping[str, Any]) -> UserFields:
    user_id = next((found[one] for one in _ID_NAMES if found.get(one) is not None), None)
    if user_id is None:
        raise CommandError(f"{place}: {_NO_ID}")
    known = {key: found[key] for key in _NAMES if found.get(key)}
    return UserFields(str(user_id) if type(user_id) is int else user_id, **known)
