"""Reports a large file with the command, which is killed again and again, and says what arrived.

``nox -s kills -- --rows 100000 --kills 10``, or run it alone. It ends with 1 where a row was lost, or came more
often than once and once more for each kill.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from cli_command import make_fme_settings
from sample import settings

from vwo_async.collector import Collector, serve

FIELDS = {
    "fullstack": ("campaign,goal", "checkout,purchase"),
    "fme": ("event", "purchase"),
}


def write_rows(path: Path, number: int, product: str) -> None:
    """Write conversions of the last day, a user each."""
    names, values = FIELDS[product]
    revenue = "revenue" if product == "fullstack" else "price"
    now = datetime.now(UTC)
    with path.open("w", encoding="utf-8") as file:
        file.write(f"user,{names},{revenue},time\n")
        for one in range(number):
            then = (now - timedelta(seconds=one % 80_000)).isoformat(timespec="seconds")
            file.write(f"user-{one},{values},{one % 100 + 0.5},{then}\n")


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Trial:
    """One file, and the command that reports it.

    Args:
        folder: Where the file is.
        rows: How many rows it has.
        product: ``fullstack`` or ``fme``.
    """

    def __init__(self, folder: Path, rows: int, product: str) -> None:
        self.rows = rows
        self.file: dict[str, Any] = settings() if product == "fullstack" else make_fme_settings()
        self._path = folder / "rows.csv"
        self.settings = folder / "settings.json"
        self.settings.write_text(json.dumps(self.file))
        self._columns = [] if product == "fullstack" else ["-c", "property.price=price:number"]
        write_rows(self._path, rows, product)

    async def start(self, base_url: str, *more: str) -> asyncio.subprocess.Process:
        """Start the command."""
        words = ["convert", str(self._path), "-s", str(self.settings), "--base-url", base_url]
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "vwo_async", *words, *self._columns, *more, "--json",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def finish(self, base_url: str, *more: str) -> dict[str, Any]:
        """Run the command to its end, and return what it says."""
        process = await self.start(base_url, *more)
        out, _ = await process.communicate()
        if process.returncode:
            sys.exit(f"the command ended with {process.returncode}")
        found: dict[str, Any] = json.loads(out)
        return found


async def run_killed(trial: Trial, collector: Collector, base_url: str, kills: int) -> int:
    """Kill the command at random moments, then let it finish; return how often it was killed while it worked."""
    done = 0
    marks = sorted(random.sample(range(trial.rows), kills))
    for mark in marks:
        process = await trial.start(base_url)
        while process.returncode is None and len(collector.ledger) < mark:
            await asyncio.sleep(0.001)
        if process.returncode is None:
            process.kill()
            done += 1
        await process.communicate()
    found = await trial.finish(base_url)
    say(f"{done} kills; the last run went on after row {found['resumed_after']:,}")
    return done


async def measure(trial: Trial) -> None:
    """Report the file without kills to a collector in a process of its own, and print the rate."""
    words = ["-m", "vwo_async.collector", "--settings", str(trial.settings)]
    server = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    try:
        line = (await server.stdout.readline()).decode()
        base_url = next(word for word in line.split() if word.startswith("http"))
        found = await trial.finish(base_url, "--no-state")
    finally:
        server.terminate()
        await server.wait()
    say(
        f"{found['reported']:,} rows reported in {found['seconds']:.1f} s: {found['rows_per_s']:,} rows/s"
    )


async def main(rows: int, kills: int, product: str) -> bool:
    """Run it all; tell whether every promise was kept."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), rows, product)
        await measure(trial)
        collector = Collector(trial.file)
        began_at = time.monotonic()
        async with serve(collector) as base_url:
            done = await run_killed(trial, collector, base_url, kills)
            conversions = [one for one in collector.ledger if one.kind == "goal"]
        times = Counter(one.visitor for one in conversions)
    lost, most = rows - len(times), max(times.values())
    say(
        f"{product}: {rows:,} rows, {done} kills in {time.monotonic() - began_at:.0f} s: {lost} lost,"
        f" {len(conversions) - len(times):,} arrived again, none more than {most} times"
    )
    return not lost and most <= 1 + done and not collector.refused


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--product", choices=list(FIELDS), default="fullstack")
    chosen = parser.parse_args()
    sys.exit(0 if asyncio.run(main(chosen.rows, chosen.kills, chosen.product)) else 1)
