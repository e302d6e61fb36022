"""Offline conversions from a CSV file: reported at the speed at which VWO takes them, each with its own time.

``python examples/convert_csv.py`` shows it with a file of its own and a collector in place of VWO's servers.
``python examples/convert_csv.py conversions.csv`` reports a file to VWO, as the account that ``VWO_ACCOUNT_ID``
and ``VWO_SDK_KEY`` name. The file has the columns ``user``, ``goal``, ``revenue`` and ``time``, with times such as
``2026-11-25T18:30:00+01:00``.
"""

from __future__ import annotations

import asyncio
import csv
import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vwo_async import Reason, VWOClient, fetch_settings
from vwo_async.collector import Collector, serve
from vwo_async.transport import Limits

SETTINGS = (Path(__file__).parent / "settings.json").read_bytes()


# Of whom there is nothing to report: he is in no test.
NOBODY = frozenset({Reason.NOT_IN_TRAFFIC, Reason.NOT_IN_SEGMENT, Reason.NOT_GROUP_WINNER})


async def report_row(client: VWOClient, row: Mapping[str, str]) -> str:
    """Report one row in every campaign that has the goal; return why it was refused, or an empty text."""
    try:
        at = datetime.fromisoformat(row["time"])
    except ValueError:
        return "time: no date and time in ISO format"
    while not await client.room(timeout_s=60):
        print("VWO takes nothing: waiting", file=sys.stderr)  # noqa: T201
    result = await client.track(
        None, row["user"], row["goal"], revenue_value=row["revenue"] or None, at=at
    )
    return "" if result or result.reason in NOBODY else result.detail or result.reason.value


async def report_rows(client: VWOClient, rows: Iterable[Mapping[str, str]]) -> int:
    """Report all rows, print what was refused, and return how many that were."""
    refused = 0
    # The first line of a file holds the names of the columns.
    for number, row in enumerate(rows, 2):
        if why := await report_row(client, row):
            refused += 1
            print(f"line {number}: {why}")  # noqa: T201
    return refused


async def report_file(client: VWOClient, path: Path) -> None:
    """Report a file, and see it delivered."""
    with path.open(newline="", encoding="utf-8") as lines:
        refused = await report_rows(client, csv.DictReader(lines))
    report = await client.flush_events()
    while report.pending:
        report = await client.flush_events()
    statistics = client.statistics()
    print(f"delivered: {statistics.delivered}, refused: {refused}")  # noqa: T201


def write_sample(path: Path, number: int) -> None:
    """Write a file of *number* conversions, and some bad lines."""
    now = datetime.now(UTC)
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(("user", "goal", "revenue", "time"))
        for one in range(number):
            then = now - timedelta(minutes=one % 1440)
            writer.writerow((f"visitor {one}", "signup", "", then.isoformat()))
        writer.writerow(("visitor 1", "signup", "", "yesterday"))
        writer.writerow(("visitor 1", "signup", "", "2026-11-25T18:30:00"))
        writer.writerow(("visitor 1", "signup", "", (now + timedelta(1)).isoformat()))
        writer.writerow(("", "signup", "", now.isoformat()))
        writer.writerow(("visitor 1", "no such goal", "", now.isoformat()))


async def show(number: int = 500) -> None:
    """Report a file of *number* conversions, and some bad lines, to a collector that is slow."""
    collector = Collector(SETTINGS, latency_s=0.02)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "conversions.csv")
        write_sample(path, number)
        async with (
            serve(collector) as base_url,
            # A small queue, to show that the file is read no faster than VWO takes it.
            VWOClient(SETTINGS, base_url=base_url, limits=Limits(max_events=100)) as client,
        ):
            await report_file(client, path)
    print(f"the collector counted {collector.totals().unique_conversions} conversions")  # noqa: T201


async def main(path: Path) -> None:
    """Report a file to VWO."""
    settings = await fetch_settings(os.environ["VWO_ACCOUNT_ID"], os.environ["VWO_SDK_KEY"])
    async with VWOClient(settings) as client:
        await report_file(client, path)


if __name__ == "__main__":
    # Why a row was refused is printed with its line.
    logging.getLogger("vwo_async").setLevel(logging.ERROR)
    asyncio.run(main(Path(sys.argv[1])) if len(sys.argv) > 1 else show())
