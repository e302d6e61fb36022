"""The command that reports conversions from a file: what arrives, what is refused, and what a kill leaves."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pytest
from cli_command import Command, Ended, make_fme_settings, run_process
from sample import KEY, campaign, settings
from server import answer, running_server
from waiting import until

from vwo_async import VWOClient
from vwo_async._cli.exit_code import ExitCode
from vwo_async.collector import Collector, serve

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC).replace(microsecond=0)
THEN = NOW - timedelta(hours=5)
# One row of each kind of file, with ids that have to be quoted or escaped somewhere.
ROWS = [
    {
        "user_id": name,
        "campaign": "checkout",
        "goal": "purchase",
        "revenue": "12.50",
        "time": THEN.isoformat(),
    }
    for name in ("Ashley", "Zoë, 2nd", 'a "b" c', "Bill")
]


def write_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    source = path.with_suffix(".source.jsonl")
    write_lines(source, rows)
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT user_id, campaign, goal, revenue::DECIMAL(9, 2) AS revenue,"
            f" time::TIMESTAMPTZ AS time FROM read_json('{source}')) TO '{path}' (FORMAT parquet)"
        )


def write_packed(path: Path, rows: list[dict[str, Any]]) -> None:
    write_csv(path, rows)
    path.write_bytes(gzip.compress(path.read_bytes()))


def write_for_excel(path: Path, rows: list[dict[str, Any]]) -> None:
    """As Excel does where the comma is in numbers: a mark at the start, semicolons, and its line ends."""
    write_csv(path, rows, ";")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


WRITERS: Mapping[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    "rows.csv": write_csv,
    "rows.tsv": lambda path, rows: write_csv(path, rows, "\t"),
    "excel.csv": write_for_excel,
    "rows.csv.gz": write_packed,
    "rows.jsonl": write_lines,
    "rows.parquet": write_parquet,
}


@asynccontextmanager
async def collecting(*files: Any, **options: Any) -> AsyncIterator[tuple[Collector, str]]:
    collector = Collector(list(files) or [settings(), make_fme_settings()], **options)
    async with serve(collector) as base_url:
        yield collector, base_url


async def convert(command: Command, *arguments: object) -> Ended:
    return await command.run_beside("convert", *arguments)


def refused_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# What arrives


@pytest.mark.parametrize("name", WRITERS)
async def test_all_kinds_of_files(command: Command, name: str) -> None:
    """Of each kind of file every row arrives, with its user, revenue and time."""
    path = command.folder / name
    WRITERS[name](path, ROWS)
    async with running_server() as server:
        run = await convert(
            command, path, "-s", command.fullstack, "--base-url", server.base_url, "--json"
        )
    assert (run.code, run.err) == (0, "")
    assert (run.data["rows"], run.data["reported"], run.data["refused"]) == (4, 4, 0)
    items = [item for one in server.requests for item in read_items(one)]
    assert [float(item["r"]) for item in items] == [12.5] * 4
    assert {int(item["sId"]) for item in items} == {int(THEN.timestamp())}
    async with VWOClient(settings(), development_mode=True) as client:
        variations = [await client.get_variation_name("checkout", one["user_id"]) for one in ROWS]
    ids = {"Control": 1, "Variation-1": 2}
    assert sorted(int(item["c"]) for item in items) == sorted(ids[str(one)] for one in variations)


def read_items(request: Any) -> list[dict[str, str]]:
    """Return the conversions of a request by the short names of a batch."""
    if request.body:
        return [
            {key: str(one) for key, one in item.items()} for item in json.loads(request.body)["ev"]
        ]
    query = {key: one[0] for key, one in parse_qs(urlsplit(request.target).query).items()}
    return [{"r": query["r"], "sId": query["sId"], "c": query["combination"]}]


async def test_all_campaigns_of_a_goal(command: Command) -> None:
    """Without a column for the campaign a row counts in each that has the goal and the user."""
    path = command.folder / "rows.csv"
    path.write_text("id,goal\nAshley,signup\nBill,signup\n")
    file = settings(campaign(1, "a"), campaign(2, "b"), campaign(3, "closed", percentTraffic=0))
    async with collecting(file) as (collector, base_url):
        run = await convert(
            command, path, "-s", command.write("s.json", file), "--base-url", base_url, "--json"
        )
    assert (run.code, run.data["reported"]) == (0, 2)
    assert collector.totals().conversions == 4


async def test_fme(command: Command) -> None:
    """Events of FME carry the properties that columns are given as, with their types, and their time."""
    path = command.folder / "rows.csv"
    path.write_text(
        "user;event;revenue;zip;paid;when\n"
        f"Ashley;purchase;12.50;01234;yes;{THEN.timestamp():.0f}\n"
        f"Bill;purchase;;;no;{THEN.timestamp():.0f}\n"
    )
    columns = [
        "property.revenue=revenue:number",
        "property.zip=zip:text",
        "property.paid=paid:boolean",
    ]
    chosen = [word for one in (*columns, "time=when") for word in ("--column", one)]
    async with collecting(make_fme_settings()) as (collector, base_url):
        run = await convert(
            command, path, *chosen, "-s", command.fme, "--base-url", base_url, "--json"
        )
    assert (run.code, run.data["reported"]) == (0, 2)
    assert not collector.refused
    props = sorted((dict(one.props) for one in collector.ledger if one.kind == "goal"), key=len)
    assert props == [{"paid": False}, {"revenue": 12.5, "zip": "01234", "paid": True}]


async def test_what_all_rows_have(command: Command) -> None:
    """What no column says can be said for all rows; variables decide as those of a call."""
    path = command.folder / "rows.csv"
    path.write_text("customer,Plan\nAshley,pro\nBill,free\nCarol,pro\n")
    async with collecting() as (collector, base_url):
        run = await convert(
            command, path, "-c", "user=customer", "-c", "var.plan=Plan", "--set", "campaign=members",
            "--set", "goal=signup", "-s", command.fullstack, "--base-url", base_url, "--json",
        )  # fmt: skip
    assert run.code == 0
    assert (run.data["reported"], run.data["skipped"]) == (2, {"not_in_segment": 1})
    assert collector.totals().unique_conversions == 2


def test_standard_input_of_a_process(command: Command) -> None:
    """A pipe will do, and what was no option of the command is on standard error only."""
    rows = b"user,goal\nAshley,signup\nBill,nope\n"
    code, out, err = run_process(
        "convert", "-", "-s", command.fullstack, "--dry-run", "--json", stdin=rows
    )
    found = json.loads(out)
    assert (code, err) == (1, "")
    assert (found["rows"], found["reported"], found["refused"]) == (2, 1, 1)
    assert found["first_refused"] == [{"line": 3, "reason": "goal not found: nope"}]
    assert KEY not in out


@pytest.mark.parametrize(
    ("encoding", "more"), [("utf-8", ()), ("node", ("--user-id-encoding", "node"))]
)
async def test_user_id_encoding(command: Command, encoding: Any, more: tuple[str, ...]) -> None:
    """Users outside ASCII count for the variation that the Node SDK has given them, where one says so."""
    users = [f"użytkownik {number}" for number in range(40)]
    path = command.folder / "rows.csv"
    path.write_text("user,campaign,goal\n" + "".join(f"{one},checkout,signup\n" for one in users))
    async with collecting() as (collector, base_url):
        await convert(command, path, *more, "-s", command.fullstack, "--base-url", base_url)
    async with VWOClient(settings(), development_mode=True, user_id_encoding=encoding) as client:
        names = [await client.get_variation_name("checkout", one) for one in users]
    found = Counter(one.variation_id for one in collector.ledger)
    assert found == Counter({"Control": 1, "Variation-1": 2}[str(one)] for one in names)


# Times


FORMS: Mapping[str, tuple[str, list[str]]] = {
    "ISO 8601": (THEN.isoformat(), []),
    "ISO 8601 with Z": (THEN.isoformat().replace("+00:00", "Z"), []),
    "without a zone": (THEN.strftime("%Y-%m-%d %H:%M:%S"), ["--timezone", "UTC"]),
    "seconds": (f"{THEN.timestamp():.0f}", []),
    "milliseconds": (f"{THEN.timestamp() * 1000:.0f}", ["--time-unit", "ms"]),
    "of its own": (
        THEN.strftime("%d/%m/%Y %H:%M:%S"),
        ["--time-format", "%d/%m/%Y %H:%M:%S", "--timezone", "UTC"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
async def test_forms_of_times(command: Command, form: str) -> None:
    """The ways in which systems write times are read, and go out as one."""
    text, options = FORMS[form]
    path = command.folder / "rows.csv"
    path.write_text(f"user,campaign,goal,time\nAshley,checkout,signup,{text}\n")
    async with running_server() as server:
        run = await convert(
            command, path, *options, "-s", command.fullstack, "--base-url", server.base_url
        )
    assert run.code == 0
    (request,) = server.requests
    assert parse_qs(urlsplit(request.target).query)["sId"] == [str(int(THEN.timestamp()))]


async def test_a_zone_with_summer_time(command: Command) -> None:
    """A time without a zone is of the zone that was named, as it was on that day."""
    path = command.folder / "rows.csv"
    path.write_text("user,campaign,goal,time\nA,checkout,signup,2026-07-01T12:00:00\n")
    async with running_server() as server:
        await convert(
            command, path, "--timezone", "Europe/Berlin", "-s", command.fullstack,
            "--base-url", server.base_url,
        )  # fmt: skip
    expected = datetime(2026, 7, 1, 10, tzinfo=UTC).timestamp()
    query = parse_qs(urlsplit(server.requests[0].target).query)
    assert query["sId"] == [str(int(expected))]


# What is refused


BAD_ROWS = [
    (f"Ashley,nope,,{THEN.isoformat()}", "goal not found: nope"),
    (f",signup,,{THEN.isoformat()}", "user: is empty"),
    (f"Ashley,,,{THEN.isoformat()}", "goal: is empty"),
    (f"Ashley,purchase,,{THEN.isoformat()}", "revenue required"),
    (f'Ashley,purchase,"1.234,50",{THEN.isoformat()}', "revenue_value must spell a number"),
    ("Ashley,signup,,", "time: is empty"),
    ("Ashley,signup,,yesterday", "time: is not written in ISO 8601 or in seconds since 1970"),
    ("Ashley,signup,,2026-01-01T00:00:00", "time: names no time zone: give --timezone"),
    (f"Ashley,signup,,{(NOW + timedelta(days=1)).isoformat()}", "at is in the future"),
    (f"Ashley,signup,,{THEN.isoformat()},more", "has more cells than the first line has names"),
]


async def test_refused_rows(command: Command) -> None:
    """Each row that is no conversion is in the file of refused rows, with line, reason and cells; the rest arrives.

    Once mended, that file is given again as it is.
    """
    path = command.folder / "rows.csv"
    good = f"Bill,signup,,{THEN.isoformat()}"
    lines = [
        "user,goal,revenue,time",
        good,
        "",
        *(one for one, _ in BAD_ROWS),
        good.replace("Bill", "Cat"),
    ]
    path.write_text("\n".join(lines) + "\n")
    chosen = ("--set", "campaign=checkout", "-s", command.fullstack, "--base-url")
    async with collecting() as (collector, base_url):
        run = await convert(command, path, *chosen, base_url, "--json")
        assert (run.code, run.data["reported"], run.data["refused"]) == (1, 2, len(BAD_ROWS))
        assert collector.totals().unique_conversions == 2
        refused = Path(run.data["refused_file"])
        rows = refused_rows(refused)
        assert [int(one["line"]) for one in rows] == list(range(4, 4 + len(BAD_ROWS)))
        for (_, said), found in zip(BAD_ROWS, rows, strict=True):
            assert said in found["reason"]
        mended = [one for one in rows if one["reason"].startswith(("goal not", "goal: is"))]
        write_csv(path.with_name("mended.csv"), [{**one, "goal": "signup"} for one in mended])
        again = await convert(command, path.with_name("mended.csv"), *chosen, base_url)
    assert again.code == 0
    assert collector.totals().unique_conversions == 3


async def test_refused_rows_of_json(command: Command) -> None:
    """JSON lines are refused as JSON lines, and what is no JSON as its text."""
    path = command.folder / "rows.jsonl"
    path.write_text(
        '{"user": "Ashley", "goal": "signup"}\n{"user": \n[1]\n\n{"user": ["x"], "goal": "signup"}\n'
        '{"user": 17, "goal": "signup"}\n{"goal": "signup"}\n'
    )
    async with collecting() as (_, base_url):
        run = await convert(
            command, path, "-s", command.fullstack, "--base-url", base_url, "--json"
        )
    assert (run.data["reported"], run.data["refused"]) == (2, 4)
    rows = [json.loads(one) for one in Path(run.data["refused_file"]).read_text().splitlines()]
    assert [(one["line"], one["reason"]) for one in rows] == [
        (2, "is no JSON in UTF-8"),
        (3, "is no JSON object"),
        (5, "user: is no text and no whole number"),
        (7, "user: is empty"),
    ]
    assert [one.get("text") for one in rows] == ['{"user": ', "[1]", None, None]
    assert rows[2]["goal"] == "signup"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
async def test_refused_rows_that_are_given_again(command: Command, kind: str) -> None:
    """Of a row that is refused twice the file says the last line and reason, once."""
    path, refused = command.folder / f"rows.{kind}", command.folder / "refused"
    row = {"line": "9", "reason": "an old one", "user": "Ashley", "goal": "nope"}
    WRITERS[f"rows.{kind}"](path, [row])
    run = await convert(
        command, path, "-s", command.fullstack, "--dry-run", "--refused", refused, "--json"
    )
    (found,) = refused_rows(refused) if kind == "csv" else [json.loads(refused.read_text())]
    reason = "goal not found: nope"
    line = run.data["first_refused"][0]["line"]
    expected = {"line": line if kind == "jsonl" else str(line), "reason": reason}
    assert found == row | expected
    assert list(found) == list(row)


async def test_a_quote_that_is_not_closed(command: Command) -> None:
    """It could hide all rows after it, so the run ends there; once it is closed the same command goes on."""
    path = command.folder / "rows.csv"
    names = [f"user-{one},signup" for one in range(1_200)]
    lines = ["user,goal", *names, '"Ashley,signup', *(f"more-{one},signup" for one in range(300))]
    asked = (path, "-s", command.fullstack, "--set", "campaign=checkout", "--base-url")
    async with collecting() as (collector, base_url):
        for rest in (0, 10_000):
            path.write_text("\n".join([*lines, *["x,signup"] * rest]))
            run = await convert(command, *asked, base_url)
            assert run.code == ExitCode.USAGE
            assert "rows.csv:1202: has a quote that is not closed" in run.err
            assert not path.with_name("rows.csv.refused.csv").exists()
        path.write_text("\n".join(lines).replace('"Ashley', "Ashley"))
        again = await convert(command, *asked, base_url, "--json")
    assert (again.code, again.data["reported"]) == (0, 1_501)
    assert collector.totals().conversions == collector.totals().unique_conversions == 1_501


async def test_a_cell_that_is_too_long_and_a_stray_line_end(command: Command) -> None:
    """They cost their own row alone, of which the file of refused rows has the text."""
    path = command.folder / "rows.csv"
    long = "x" * 200_000
    path.write_text(f"user,goal\n{long},signup\nBill\rCat,signup\nAshley,signup\n", newline="")
    async with collecting() as (_, base_url):
        run = await convert(
            command, path, "-s", command.fullstack, "--base-url", base_url, "--json"
        )
    assert (run.data["reported"], run.data["refused"]) == (1, 2)
    assert "carriage return" in run.data["first_refused"][1]["reason"]
    text = Path(run.data["refused_file"]).read_bytes().decode()
    assert long in text
    assert "Bill\rCat" in text


async def test_bytes_that_are_no_text(command: Command) -> None:
    """A row that is no UTF-8 where that matters is refused, kept as it was, and the others arrive."""
    path = command.folder / "rows.csv"
    path.write_bytes(b"user,goal,note\nZo\xeb,signup,x\nAshley,signup,\xff\n")
    async with collecting() as (collector, base_url):
        run = await convert(
            command, path, "-s", command.fullstack, "--base-url", base_url, "--json"
        )
    assert run.data["first_refused"] == [
        {"line": 2, "reason": "is no UTF-8: save the file as such"}
    ]
    assert b"Zo\xeb,signup,x\n" in Path(run.data["refused_file"]).read_bytes()
    assert collector.totals().unique_conversions == 2


async def test_what_vwo_refuses(command: Command) -> None:
    """A row that VWO itself refuses among others that it takes is a refused row."""
    path = command.folder / "rows.csv"
    path.write_text(
        "user,campaign,goal\n" + "".join(f"u{one},checkout,signup\n" for one in range(40))
    )
    bad = "u17"

    async def reply(request: Any, writer: asyncio.StreamWriter) -> None:
        is_bad = bad_visitor in request.target.encode() + request.body
        await answer(400 if is_bad else 200)(request, writer)

    bad_visitor = await find_visitor(bad)
    async with running_server() as server:
        server.default = reply
        run = await convert(
            command, path, "-s", command.fullstack, "--base-url", server.base_url, "--json"
        )
    assert (run.code, run.data["reported"], run.data["refused"]) == (1, 39, 1)
    assert run.data["first_refused"] == [{"line": 19, "reason": "VWO refused it (400)"}]


async def find_visitor(user_id: str) -> bytes:
    """Return the visitor's id as it goes over the wire."""
    async with (
        running_server() as server,
        VWOClient(settings(), base_url=server.base_url) as client,
    ):
        await client.track("checkout", user_id, "signup", wait=True)
        return parse_qs(urlsplit(server.requests[0].target).query)["u"][0].encode()


@pytest.mark.parametrize("status", [302, 401, 404])
async def test_when_vwo_refuses_everything(command: Command, status: int) -> None:
    """Where VWO takes none it is no fault of the rows: the run ends, and none counts as refused or done."""
    path = command.folder / "rows.csv"
    write_csv(path, make_rows(400))
    asked = (path, "-s", command.fullstack, "--base-url")
    async with running_server() as server:
        server.default = answer(status)
        run = await convert(command, *asked, server.base_url)
        assert (run.code, run.out) == (ExitCode.NETWORK, "")
        assert str(status) in run.err
        assert run.err.count("\n") == 1
    async with collecting() as (collector, base_url):
        again = await convert(command, *asked, base_url, "--json")
    assert (again.code, again.data["reported"], again.data["refused"]) == (0, 400, 0)
    assert collector.totals().unique_conversions == 400


def make_rows(number: int) -> list[dict[str, Any]]:
    row = {"campaign": "checkout", "goal": "signup", "time": THEN.isoformat()}
    return [{"user": f"user-{one}", **row} for one in range(number)]


# Errors


ASKED = "convert rows.csv -s {fullstack}"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("convert nowhere.csv -s {fullstack}", 5, "nowhere.csv: No such file"),
        ("convert . -s {fullstack}", 5, "Is a directory"),
        ("convert rows.csv", 2, "give --settings FILE"),
        ("convert - -s -", 2, "give the name of one"),
        (f"{ASKED} --column user", 2, "write FIELD=COLUMN"),
        (f"{ASKED} --column usr=user", 2, "the field is one of user, goal"),
        (f"{ASKED} --column user=Usr", 2, "column 'Usr' is there not: it has 'user'"),
        (f"{ASKED} --column goal=", 2, "has no column for the goal: give --column goal=COLUMN"),
        (f"{ASKED} --column user=user:text", 2, "a type is for var, targeting and property"),
        (f"{ASKED} --set property.x=1", 2, "this account has no event properties"),
        (f"{ASKED} --timezone Mars/Olympus", 2, "Europe/Berlin"),
        (f"{ASKED} --timeout-s 0", 2, "timeout"),
        ("convert rows.csv -s {fme} --column var.plan=user", 2, "an event of FME has none"),
        ("convert money.csv -s {fme}", 2, "--column property.NAME=COLUMN"),
        ("convert rows.csv -s {fme} --user-id-encoding node", 2, "for FullStack"),
        (f"{ASKED} --state missing/state", 5, "give another --state, or --no-state"),
        ("convert twice.csv -s {fullstack}", 2, "column 'user' is there twice"),
        ("convert empty.csv -s {fullstack}", 2, "has no first line"),
        ("convert array.json -s {fullstack}", 2, "jq -c '.[]'"),
        ("convert binary.csv -s {fullstack}", 2, "save it as CSV in UTF-8"),
        ("convert wide.csv -s {fullstack}", 2, "save it as CSV in UTF-8"),
        ("convert cut.parquet -s {fullstack}", 5, "cannot be read"),
        ("convert [x].parquet -s {fullstack}", 2, "another name"),
        ("convert cut.csv.gz -s {fullstack}", 5, "cannot be unpacked"),
        ("convert quoted.csv -s {fullstack}", 2, "quoted.csv:1: has a quote that is not closed"),
        ("convert mac.csv -s {fullstack}", 2, "save the file with line feeds"),
        (f"{ASKED} --restart --state rows.csv", 2, "--state: rows.csv: is the file"),
        (f"{ASKED} --restart --refused ./rows.csv", 2, "--refused: rows.csv: is the file"),
        (f"{ASKED} --state x --refused x", 2, "--refused: x: is --state"),
    ],
)
def test_errors_are_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, said: str
) -> None:
    """An error is one line that says what to do; nothing is written."""
    command.write("rows.csv", "user,goal\nAshley,signup\n")
    command.write("money.csv", "user,goal,revenue\nAshley,signup,5\n")
    command.write("twice.csv", "user,goal,user\nAshley,signup,Bill\n")
    command.write("array.json", '[{"user": "Ashley"}]')
    command.write("empty.csv", "")
    command.write("quoted.csv", 'user,"goal\nAshley,signup\n')
    command.write("mac.csv", "user,goal\rAshley,signup\r")
    files = {
        "binary.csv": bytes(range(256)) * 10,
        "wide.csv": "user,goal\n".encode("utf-16"),
        "cut.parquet": b"PAR1" + bytes(100),
        "[x].parquet": b"PAR1" + bytes(100),
        "cut.csv.gz": gzip.compress(b"user,goal\nAshley,signup\n" * 100)[:50],
    }
    for name, content in files.items():
        (command.folder / name).write_bytes(content)
    before = set(command.folder.iterdir())
    monkeypatch.chdir(command.folder)
    words = arguments.format(fullstack=command.fullstack, fme=command.fme).split()
    # Nobody is there, should a command come so far.
    ended = command.run(*words, "--base-url", "http://127.0.0.1:9")
    assert (ended.code, ended.out) == (code, ""), ended
    assert ended.err.startswith("vwo-async: ")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    left = {one.name for one in set(command.folder.iterdir()) - before}
    assert not left - {"cut.csv.gz.state.lock", "cut.csv.gz.state"}


async def test_a_dry_run_changes_nothing(command: Command) -> None:
    """It says what would be reported and refused, sends nothing and leaves no file."""
    path = command.folder / "rows.csv"
    path.write_text("user,campaign,goal\nAshley,checkout,signup\nBill,checkout,nope\n")
    before = set(command.folder.iterdir())
    async with running_server() as server:
        run = await convert(
            command, path, "-s", command.fullstack, "--dry-run", "--base-url", server.base_url
        )
    assert run.code == ExitCode.FOUND
    assert "1 would be reported, 1 refused" in run.out
    assert "line 3: goal not found: nope" in run.out
    assert (server.connections, set(command.folder.iterdir())) == (0, before)


# Going on


async def test_a_second_run_reports_nothing_twice(command: Command) -> None:
    """What is done is done: the same command again reports nothing, and rows that were added are."""
    path = command.folder / "rows.csv"
    write_csv(path, make_rows(30))
    asked = (path, "-s", command.fullstack, "--base-url")
    async with collecting() as (collector, base_url):
        await convert(command, *asked, base_url)
        again = await convert(command, *asked, base_url)
        assert "all rows were done before: --restart" in again.out
        assert (again.code, collector.totals().conversions) == (0, 30)
        with path.open("a") as file:
            file.write(f"late,checkout,signup,{THEN.isoformat()}\r\n")
        more = await convert(command, *asked, base_url, "--json")
        assert (more.data["resumed_after"], more.data["reported"]) == (30, 31)
        assert collector.totals().conversions == 31
        await convert(command, *asked, base_url, "--restart")
        assert collector.totals().conversions == 62


async def test_another_file_or_other_columns_are_not_gone_on_with(command: Command) -> None:
    """A state is of one file and of one way to read it; anything else is an error that names the mend."""
    path = command.folder / "rows.csv"
    write_csv(path, make_rows(5))
    asked = (path, "-s", command.fullstack, "--base-url")
    async with collecting() as (collector, base_url):
        await convert(command, *asked, base_url)
        other = await convert(command, *asked, base_url, "--set", "goal=often")
        assert (other.code, "with other columns" in other.err) == (2, True)
        path.write_text(path.read_text().replace("user-3", "user-x"))
        changed = await convert(command, *asked, base_url)
        assert (changed.code, "has other rows" in changed.err) == (2, True)
        product = await convert(
            command,
            path,
            "-s",
            command.fme,
            "-c",
            "campaign=",
            "--set",
            "goal=purchase",
            "--base-url",
            base_url,
        )
        assert (product.code, "with other product and columns" in product.err) == (2, True)
    assert collector.totals().conversions == 5


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: {},
        lambda state: [],
        lambda state: state | {"run": [1]},
        lambda state: state | {"run": None},
        *(
            lambda state, one=one: state | {"progress": state["progress"] | one}
            for one in (
                {"refused": "many"},
                {"refused": -1},
                {"skipped": [1, 2]},
                {"skipped": {"not_in_traffic": "x"}},
                {"open_rows": [6]},
                {"open_rows": [0]},
                {"read": True},
                {"more": 1},
            )
        ),
    ],
)
async def test_a_damaged_state(command: Command, spoil: Callable[[Any], Any]) -> None:
    """A state with anything else in it than a run writes is an error, and nothing is reported by it."""
    path = command.folder / "rows.csv"
    write_csv(path, make_rows(5))
    asked = (path, "-s", command.fullstack, "--base-url")
    async with collecting() as (collector, base_url):
        await convert(command, *asked, base_url)
        state = path.with_name("rows.csv.state")
        state.write_text(json.dumps(spoil(json.loads(state.read_text()))))
        spoilt = await convert(command, *asked, base_url)
    assert (spoilt.code, "holds no progress" in spoilt.err) == (5, True)
    assert collector.totals().conversions == 5


async def test_a_file_of_others_is_not_cut_off(command: Command) -> None:
    """A run that goes on with another --refused leaves the file there alone, also before any row was read."""
    path, other = command.folder / "rows.csv", command.folder / "notes.csv"
    path.write_text("user,goal\n")
    other.write_text("the work of a year")
    asked = (path, "-s", command.fullstack, "--base-url", "http://127.0.0.1:9")
    assert (await convert(command, *asked)).code == 0
    for _ in range(2):
        run = await convert(command, *asked, "--refused", other)
        assert (run.code, "with other refused file" in run.err) == (2, True)
        with path.open("a") as file:
            file.write("Ashley,nope\n")
        assert (await convert(command, *asked)).code == ExitCode.FOUND
    assert other.read_text() == "the work of a year"


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
async def test_rows_that_are_added(command: Command, name: str) -> None:
    """They alone are reported by the next run, also after a last line without an end."""
    path = command.folder / name
    async with collecting() as (collector, base_url):
        for number, end in ((700, ""), (900, "\n")):
            WRITERS[name](path, [{**ROWS[0], "user_id": f"u{one}"} for one in range(number)])
            if name.endswith("csv"):
                path.write_text(path.read_text().rstrip("\n") + end)
            run = await convert(
                command, path, "-s", command.fullstack, "--base-url", base_url, "--json"
            )
            assert (run.code, run.data["reported"]) == (0, number)
    assert collector.totals().conversions == 900


async def test_refused_rows_are_written_once(command: Command) -> None:
    """What a killed run wrote of refused rows after its last note is cut off, and written again."""
    path = command.folder / "rows.csv"
    path.write_text("user,campaign,goal\nAshley,checkout,nope\n")
    asked = (path, "-s", command.fullstack, "--base-url")
    async with collecting() as (_, base_url):
        await convert(command, *asked, base_url)
        refused = path.with_name("rows.csv.refused.csv")
        noted = refused.read_text()
        refused.write_text(noted + "3,half a row")
        with path.open("a") as file:
            file.write("Bill,checkout,nope\n")
        await convert(command, *asked, base_url)
        assert [one["line"] for one in refused_rows(refused)] == ["2", "3"]
        # As where the first run was killed before it could note any row.
        state = path.with_name("rows.csv.state")
        begun = json.loads(state.read_text())
        begun["progress"] |= {"read": 0, "checksum": 0, "refused": 0, "refused_bytes": 0}
        state.write_text(json.dumps(begun))
        await convert(command, *asked, base_url)
        assert [one["line"] for one in refused_rows(refused)] == ["2", "3"]
        state.unlink()
        assert "exists: move it" in (await convert(command, *asked, base_url)).err
        assert not state.exists()
        await convert(command, *asked, base_url, "--restart")
        refused.write_text("short")
        assert "is not what an earlier run wrote" in (await convert(command, *asked, base_url)).err


async def test_an_outage_ends_the_run_and_the_next_goes_on(command: Command) -> None:
    """Where VWO takes nothing for long the run ends with a line that says so, and nothing is lost."""
    path = command.folder / "rows.csv"
    write_csv(path, make_rows(50))
    asked = (path, "-s", command.fullstack, "--base-url")
    async with running_server() as server:
        server.default = answer(503)
        run = await convert(command, *asked, server.base_url, "--timeout-s", 0.5)
    assert run.code == ExitCode.NETWORK
    assert "with 50 rows on their way: give the same command again" in run.err
    async with collecting() as (collector, base_url):
        again = await convert(command, *asked, base_url, "--json")
    assert (again.code, again.data["reported"]) == (0, 50)
    assert collector.totals().unique_conversions == 50


async def test_one_row_that_never_arrives_is_left_open(command: Command) -> None:
    """A row that makes the server hang does not hold up the others, and is the only one that is tried again."""
    path = command.folder / "rows.csv"
    write_csv(path, make_rows(60))
    asked = (path, "-s", command.fullstack, "--base-url")
    bad = await find_visitor("user-17")

    async def reply(request: Any, writer: asyncio.StreamWriter) -> None:
        await answer(500 if bad in request.target.encode() + request.body else 200)(request, writer)

    async with running_server() as server:
        server.default = reply
        run = await convert(command, *asked, server.base_url, "--timeout-s", 2)
        assert (run.code, "with 1 row on their way" in run.err) == (ExitCode.NETWORK, True)
        server.default, before = answer(), len(server.requests)
        again = await convert(command, *asked, server.base_url, "--json")
        sent = server.requests[before:]
    assert (again.code, again.data["reported"]) == (0, 60)
    assert len(sent) == 1
    assert bad in sent[0].target.encode()


async def test_two_runs_at_once(command: Command) -> None:
    """A run keeps others off its state."""
    path = command.folder / "rows.csv"
    write_csv(path, make_rows(50))
    asked = (path, "-s", command.fullstack, "--base-url")
    async with running_server() as server:
        opened = asyncio.Event()

        async def reply(request: Any, writer: asyncio.StreamWriter) -> None:
            await opened.wait()
            await answer()(request, writer)

        server.default = reply
        first = asyncio.create_task(convert(command, *asked, server.base_url))
        await until(lambda: bool(server.requests))
        second = await convert(command, *asked, server.base_url)
        opened.set()
        assert (await first).code == 0
    assert (second.code, "another run is using it" in second.err) == (2, True)


# Kills


def start(
    command: Command, path: Path, base_url: str, stdin: int | None = None
) -> subprocess.Popen[bytes]:
    words = ["convert", str(path), "-s", command.fullstack, "--base-url", base_url]
    return subprocess.Popen(
        [sys.executable, "-m", "vwo_async", *words],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def end(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    out, err = await asyncio.to_thread(process.communicate, timeout=60)
    return process.returncode, out, err


def has_progress(path: Path) -> bool:
    """Tell whether a state file knows of rows that are done."""
    progress = json.loads(path.read_bytes())["progress"]
    return bool(progress["read"] > len(progress["open_rows"]))


@pytest.mark.slow
async def test_kills_lose_no_row(command: Command) -> None:
    """After kills with -9 in mid run every row has arrived, and at most once more for each kill."""
    number, kills = 6_000, 2
    path, progress = command.folder / "rows.csv", command.folder / "rows.csv.state"
    write_csv(path, [*make_rows(number - 1), {**make_rows(1)[0], "goal": "nope"}])
    async with collecting(latency_s=0.5) as (collector, base_url):
        for one in range(1, kills + 1):
            process = start(command, path, base_url)
            await until(lambda goal=one: len(collector.ledger) >= goal * 1_200, timeout_s=60)
            # It is noted four times a second how far it is.
            await until(lambda: progress.exists() and has_progress(progress))
            process.kill()
            await end(process)
            assert len(collector.ledger) < number - 1
        code, out, err = await end(start(command, path, base_url))
        times = Counter(one.visitor for one in collector.ledger)
    assert (code, err) == (ExitCode.FOUND, b"")
    assert len(times) == number - 1
    assert max(times.values()) <= 1 + kills
    # Far from all of what had arrived before the kills came again.
    assert b"went on after row" in out
    assert [row["line"] for row in refused_rows(path.with_name("rows.csv.refused.csv"))] == ["6001"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
async def test_an_interruption_is_exact(command: Command, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end a run in order: what is under way still arrives, and no row is sent twice."""
    path = command.folder / "rows.csv"
    write_csv(path, make_rows(5_000))
    async with collecting(latency_s=0.15) as (collector, base_url):
        process = start(command, path, base_url)
        await until(lambda: len(collector.ledger) >= 1_000, timeout_s=60)
        process.send_signal(number)
        code, out, err = await end(process)
        assert (code, out) == (ExitCode.INTERRUPTED, b"")
        assert err == b"vwo-async: interrupted: give the same command again to go on\n"
        code, _, _ = await end(start(command, path, base_url))
        times = Counter(one.visitor for one in collector.ledger)
    assert code == 0
    assert (len(times), set(times.values())) == (5_000, {1})


@pytest.mark.slow
async def test_an_interruption_while_a_pipe_is_silent(command: Command) -> None:
    """Ctrl-C ends a run that waits for rows, however long the pipe stays open."""
    reading, writing = os.pipe()
    try:
        os.write(writing, b"user,campaign,goal\nAshley,checkout,signup\n")
        async with collecting() as (_, base_url):
            process = start(command, Path("-"), base_url, stdin=reading)
            await until(lambda: is_waiting(process.pid), timeout_s=60)
            process.send_signal(signal.SIGINT)
            code, out, err = await end(process)
    finally:
        os.close(reading)
        os.close(writing)
    assert (code, out) == (ExitCode.INTERRUPTED, b"")
    assert err == b"vwo-async: interrupted: what was reported is not kept\n"


def is_waiting(pid: int) -> bool:
    """Tell whether a thread beside the loop is there, which is the one that reads the rows."""
    return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1


# Many rows


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(command: Command) -> None:
    """Ten times as many rows take no more memory: the file is read as a stream."""

    def measure(number: int) -> int:
        path = command.folder / f"{number}.csv"
        row = "x" * 200
        with path.open("w") as file:
            file.write("user,campaign,goal,note\n")
            file.writelines(f"user-{one},checkout,signup,{row}\n" for one in range(number))
        code = (
            "import resource, sys; from vwo_async._cli import app\n"
            "assert app.run(sys.argv[1:]) == 0\n"
            "sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
        )
        words = ["convert", str(path), "-s", command.fullstack, "--dry-run"]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, check=True, timeout=100
        )
        return int(done.stderr) // 1024

    assert measure(40_000) - measure(4_000) < 8


def test_a_row_of_a_megabyte(command: Command) -> None:
    """A cell that is larger than the table reader takes is one refused row."""
    path = command.folder / "rows.csv"
    path.write_text(f"user,goal\n{'x' * 1_000_000},signup\nAshley,signup\n")
    ended = command.run("convert", path, "-s", command.fullstack, "--dry-run", "--json")
    assert (ended.data["reported"], ended.data["refused"]) == (1, 1)
    assert "field larger than" in ended.data["first_refused"][0]["reason"]
