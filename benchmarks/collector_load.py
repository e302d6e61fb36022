"""Holds a collector under load, with its page open, and says what it took: memory, time of answers, counts.

Run it with ``python benchmarks/collector_load.py --seconds 600 --rate 5000``. Every visitor is a new one, which
is the hardest case: nobody can be forgotten. The exit status is 1 where an event was lost or counted wrong.
It needs the extra ``collector``, and httpx and psutil.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx
import psutil

SETTINGS = Path(__file__).parents[1] / "examples" / "settings.json"
BATCH = 500
CAMPAIGN, VARIATIONS, GOAL = 101, 2, 202
# Each so many-th visitor converts.
CONVERTS = 4


class Look(NamedTuple):
    """What was seen at one moment."""

    at_s: float
    events: int
    memory_mb: float
    page_ms: float


@contextmanager
def running_collector(arguments: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """Run a collector, and give its address and its process."""
    command = [sys.executable, "-m", "vwo_async.collector", "--settings", str(SETTINGS), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().removeprefix("listening on ").strip()
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()


class Load:
    """Sends events at a rate, and counts them."""

    def __init__(self, url: str, rate: int) -> None:
        settings = json.loads(SETTINGS.read_text())
        self._query = {
            "a": str(settings["accountId"]),
            "env": settings["sdkKey"],
            "sdk": "load",
            "sdk-v": "1",
        }
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=60)
        self._key = settings["sdkKey"]
        self._rate = rate
        self.visitors = self.conversions = 0

    def send_until(self, end_s: float) -> None:
        """Send until that moment of the monotonic clock; what a slow machine missed is made up for."""
        began_s, sent = time.monotonic(), 0
        while time.monotonic() < end_s:
            due_s = began_s + sent / self._rate
            time.sleep(max(0.0, due_s - time.monotonic()))
            sent += self._send()

    def _send(self) -> int:
        items: list[dict[str, object]] = []
        while len(items) < BATCH:
            items += self._make_visitor()
        answer = self._client.post(
            "/server-side/batch-events",
            params=self._query,
            json={"ev": items},
            headers={"Authorization": self._key},
        )
        answer.raise_for_status()
        return len(items)

    def _make_visitor(self) -> Iterator[dict[str, object]]:
        number = self.visitors
        self.visitors += 1
        event = {
            "sId": int(time.time()),
            "u": f"{number:032X}",
            "e": CAMPAIGN,
            "c": 1 + number % VARIATIONS,
            "visitor_ua": "",
            "visitor_ip": "",
        }
        yield event | {"eT": 1}
        if number % CONVERTS == 0:
            self.conversions += 1
            yield event | {"eT": 2, "g": GOAL, "r": 9.5}


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def watch(url: str, stop: threading.Event) -> None:
    """Read the stream of the page, as an open browser does."""
    with httpx.stream("GET", f"{url}/collector/stream", trust_env=False, timeout=60) as answer:
        for _ in answer.iter_raw():
            if stop.is_set():
                return


def look(url: str, process: psutil.Process, began_s: float) -> Look:
    """Ask for the page and the totals, and measure both that and the memory."""
    asked_s = time.monotonic()
    httpx.get(url, trust_env=False, timeout=60).raise_for_status()
    page_ms = (time.monotonic() - asked_s) * 1000
    totals = httpx.get(f"{url}/collector/totals", trust_env=False, timeout=60).json()
    memory_mb = process.memory_info().rss / 1e6
    return Look(time.monotonic() - began_s, totals["events"], memory_mb, page_ms)


def main() -> int:
    """Run the load, print a line every few seconds and a summary, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=120.0, help="(default: %(default)g)")
    parser.add_argument(
        "--rate", type=int, default=5_000, help="events a second (default: %(default)s)"
    )
    parser.add_argument(
        "--every", type=float, default=5.0, help="seconds between looks (default: %(default)g)"
    )
    parser.add_argument("--state", help="keep the collector's state in this file")
    options = parser.parse_args()
    arguments = [] if options.state is None else ["--state", options.state]
    stop = threading.Event()
    with running_collector(arguments) as (url, process):
        began_s = time.monotonic()
        load = Load(url, options.rate)
        sender = threading.Thread(target=load.send_until, args=(began_s + options.seconds,))
        watcher = threading.Thread(target=watch, args=(url, stop), daemon=True)
        sender.start()
        watcher.start()
        looks = []
        while sender.is_alive():
            looks.append(look(url, process, began_s))
            say("{:7.1f} s {:>10,} events {:7.1f} MB  page in {:6.1f} ms".format(*looks[-1]))
            sender.join(options.every)
        seconds = time.monotonic() - began_s
        stop.set()
        return summarize(url, load, looks, seconds, process)


def summarize(
    url: str, load: Load, looks: list[Look], seconds: float, process: psutil.Process
) -> int:
    """Print what came of it."""
    totals = httpx.get(f"{url}/collector/totals", trust_env=False, timeout=60).json()
    report = httpx.get(f"{url}/collector/report", trust_env=False, timeout=60).json()
    campaign = next(one for one in report["campaigns"] if one["campaign_id"] == CAMPAIGN)
    times = process.cpu_times()
    waits = sorted(one.page_ms for one in looks)
    say(
        f"{totals['events']:,} events in {seconds:.0f} s, {totals['events'] / seconds:,.0f} a second; "
        f"processor {(times.user + times.system) / seconds:.0%}; "
        f"memory at most {max(one.memory_mb for one in looks):.0f} MB; "
        f"page in {median(waits):.0f} ms, at most {waits[-1]:.0f} ms"
    )
    expected = load.visitors, load.visitors, load.conversions
    found = totals["visitors"], campaign["visitors"], totals["unique_conversions"]
    say(f"visitors and conversions: {found}, sent {expected}")
    return 0 if found == expected else 1


if __name__ == "__main__":
    sys.exit(main())
