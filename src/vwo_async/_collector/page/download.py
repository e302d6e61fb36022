"""What the page shows, as files to keep: CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

__all__ = ["Row", "list_results", "write_csv", "write_json"]

Row: TypeAlias = Mapping[str, Any]

_OF_CAMPAIGN = ("product", "account_id", "campaign_id", "key")
_OF_VARIATION = ("variation_id", "name", "is_control", "visitors")
# A spreadsheet takes a cell that begins so for a formula; in some countries semicolons divide the cells.
_BEFORE_FORMULA = re.compile(r"(^|[;\t\r\n])(?=\"*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n])")


def list_results(campaigns: Iterable[Row]) -> Iterator[Row]:
    """Yield a row for each goal of each variation; where there is no goal, one for the variation."""
    for campaign in campaigns:
        head = {name: campaign[name] for name in _OF_CAMPAIGN}
        for variation in campaign["variations"]:
            row = head | {name: variation[name] for name in _OF_VARIATION}
            found = zip(campaign["goals"], variation["goals"], strict=True)
            rows = [
                {"goal_id": goal["goal_id"], "goal": goal["name"]} | counts
                for goal, counts in found
            ]
            yield from (row | one for one in rows or [{}])


def write_json(rows: Sequence[Row]) -> bytes:
    """Return rows as a JSON list of objects."""
    return json.dumps(rows, indent=1).encode()


def write_csv(rows: Sequence[Row]) -> bytes:
    """Return rows as CSV in UTF-8, in which no text is a formula, whatever divides it into cells."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(names)
    writer.writerows([_write_cell(row.get(name)) for name in names] for row in rows)
    return out.getvalue().encode("utf-8", "replace")


def _write_cell(value: object) -> object:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if isinstance(value, str) and not _is_number(value):
        return _BEFORE_FORMULA.sub(r"\1'", value)
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
