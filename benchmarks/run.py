"""Measure vwo_async beside its peers, and write RESULTS.md.

Usage: python run.py --work-dir DIR [--quick] [--only TOPIC ...] [--rounds N] [--report]

DIR keeps the environments of the SDKs from one run to the next.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from case import IMPORTS, ROUND_TRIP_MS, TOPICS, Case, Entrant, Plan
from child import Child, ChildError, Cores, RefusedError
from machine import describe_load, describe_machine
from peer import HERE, OURS, PEERS, InstallError, find_command, find_host
from report import write_report
from vwo_settings import make_fme_settings, make_settings

Json = dict[str, Any]


def say(text: str) -> None:
    """Print one line of progress."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Records:
    """The raw samples of a run, and what could not be measured."""

    def __init__(self) -> None:
        self.samples: list[Json] = []
        self.missing: list[Json] = []
        self.versions: dict[str, dict[str, str]] = {}

    def add(self, case: str, label: str, number: int, values: Json) -> None:
        """Add what one entrant did in one round."""
        values = {name: [float(f"{one:.5g}") for one in many] for name, many in values.items()}
        self.samples.append({"case": case, "label": label, "round": number, "values": values})

    def miss(self, case: str, label: str, reason: str) -> None:
        """Record, once, that an entrant could not be measured."""
        entry = {"case": case, "label": label, "reason": reason}
        if entry not in self.missing:
            self.missing.append(entry)
            say(f"  not measured: {label} in {case or 'all'}: {reason}")

    def is_missing(self, case: str, label: str) -> bool:
        """Tell whether an entrant has failed in a case before, so that it is skipped."""
        return any((one["case"], one["label"]) == (case, label) for one in self.missing)


class Bench:
    """One run: the environments, the servers, and the workers of the topic at hand.

    Args:
        work_dir: Keeps the environments.
        rounds: How often each entrant has its turn.
        records: Takes the samples.
    """

    def __init__(self, work_dir: Path, rounds: int, records: Records) -> None:
        self._work_dir = work_dir
        self._rounds = rounds
        self._records = records
        self._cores = Cores()
        self._absent: dict[str, str] = {}
        self._workers: dict[str, Child] = {}
        self._urls: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._log_path = work_dir / "workers.log"
        self._log_path.write_bytes(b"")

    @property
    def cores(self) -> Cores:
        """The cores for measuring and for serving."""
        return self._cores

    def install(self, names: Iterable[str]) -> None:
        """Make the environments of these peers; leave out those that fail."""
        for name in names:
            say(f"environment of {name}")
            try:
                PEERS[name].install(self._work_dir)
            except InstallError as error:
                self._absent[name] = f"could not be installed: {error}"
                self._records.miss("", name, self._absent[name])

    def run(self, cases: Iterable[Case]) -> None:
        """Measure *cases*, topic by topic."""
        with ExitStack() as servers:
            servers.enter_context(self._serving("fast", 0))
            servers.enter_context(self._serving("slow", ROUND_TRIP_MS))
            for topic, group in groupby(cases, lambda one: one.topic):
                began = time.monotonic()
                self._run_topic(topic, list(group))
                say(f"{topic}: {time.monotonic() - began:.0f} s")

    def _run_topic(self, topic: str, cases: list[Case]) -> None:
        with ExitStack() as stack:
            if topic == "storage":
                stack.enter_context(self._storing())
            try:
                for number in range(self._rounds):
                    for case in cases:
                        if not case.rounds or number < case.rounds:
                            self._run_round(case, number)
            finally:
                self._close_workers()

    def _run_round(self, case: Case, number: int) -> None:
        """Let each entrant run once; each round begins with another entrant."""
        shift = number % len(case.entrants)
        for entrant in (*case.entrants[shift:], *case.entrants[:shift]):
            if self._records.is_missing(case.name, entrant.label):
                continue
            try:
                values = self._ask(case, entrant)
            except RefusedError as error:
                self._records.miss(case.name, entrant.label, str(error))
            except ChildError as error:
                self._records.miss(case.name, entrant.label, str(error))
                self._close_worker(entrant.worker)
            else:
                self._records.add(case.name, entrant.label, number, values)

    def _ask(self, case: Case, entrant: Entrant) -> Json:
        request = {
            **case.request,
            **entrant.request,
        }
        request["settings"] = self._write_settings(
            request.get("campaigns", case.settings[0]),
            has_segment=case.settings[1],
            is_fme=case.is_fme and not request.get("is_fullstack"),
        )
        if case.server:
            request["url"] = self._urls[case.server]
        if "address" in request:
            if request["address"] not in self._addresses:
                raise RefusedError("its server could not be started")
            request["address"] = self._addresses[request["address"]]
        if case.is_fresh:
            self._close_worker(entrant.worker)
        return self._worker(entrant.worker).ask(request)

    def _write_settings(self, campaigns: int, *, has_segment: bool, is_fme: bool) -> str:
        product, kind = "fme" if is_fme else "settings", "segment" if has_segment else "plain"
        path = self._work_dir / f"{product}-{campaigns}-{kind}.json"
        if not path.exists():
            make = make_fme_settings if is_fme else make_settings
            path.write_text(json.dumps(make(campaigns, has_segment=has_segment)))
        return str(path)

    def _worker(self, name: str) -> Child:
        host = find_host(name)
        if host in self._absent:
            raise RefusedError(self._absent[host])
        if name not in self._workers:
            command = find_command(name, self._work_dir)
            worker = Child(command, self._cores, self._cores.measured, self._log_path)
            self._workers[name] = worker
            self._records.versions[name] = worker.ask({"work": "about"})
        return self._workers[name]

    def _close_worker(self, name: str) -> None:
        worker = self._workers.pop(name, None)
        if worker is not None:
            worker.close()

    def _close_workers(self) -> None:
        for name in list(self._workers):
            self._close_worker(name)

    @contextmanager
    def _serving(self, name: str, delay_ms: int) -> Iterator[None]:
        command = [sys.executable, str(HERE / "server.py"), "--delay-ms", str(delay_ms)]
        with Child(command, self._cores, self._cores.serving, self._log_path) as server:
            self._urls[name] = f"http://127.0.0.1:{int(server.read_line())}"
            yield

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """Run the servers of the user storages."""
        if OURS in self._absent:
            yield
            return
        command = find_command("storage_servers", self._work_dir)
        with Child(command, self._cores, self._cores.serving, self._log_path) as servers:
            answer = json.loads(servers.read_line())
            self._addresses = answer["addresses"]
            for name, fault in answer["faults"].items():
                say(f"  no {name}: {fault}")
            yield

    def time_imports(self, rounds: int) -> None:
        """Time the import of each SDK in fresh interpreters, less an interpreter that imports nothing."""
        for number in range(rounds):
            for label, name, statement in IMPORTS:
                if name in self._absent or self._records.is_missing("import", label):
                    continue
                python = PEERS[name].python(self._work_dir)
                bare, importing = self._spend(python, "pass"), self._spend(python, statement)
                if bare is None or importing is None:
                    self._records.miss("import", label, "it cannot be imported")
                    continue
                values = {
                    "cpu_ms": [importing[0] - bare[0]],
                    "rss_mb": [importing[1] - bare[1]],
                }
                # Once more than is counted: the first import writes the compiled files.
                if number:
                    self._records.add("import", label, number, values)

    def _spend(self, python: str, statement: str) -> tuple[float, float] | None:
        """Return CPU time in ms and peak memory in MB of an interpreter, None if it failed."""
        # An import that had to compile what it imports would be none that a service sees.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
        with self._cores.pinned(self._cores.measured):
            child = subprocess.Popen(
                [python, "-c", statement],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            return None
        return (usage.ru_utime + usage.ru_stime) * 1e3, usage.ru_maxrss * 1024 / 1e6


def measure(options: argparse.Namespace) -> Json:
    """Run what the options ask for and return the results."""
    options.work_dir.mkdir(parents=True, exist_ok=True)
    records = Records()
    rounds = options.rounds or (3 if options.quick else 7)
    bench = Bench(options.work_dir.resolve(), rounds, records)
    topics = options.only or TOPICS
    cases = [one for one in Plan(is_quick=options.quick).cases() if one.topic in topics]
    workers = {find_host(entrant.worker) for case in cases for entrant in case.entrants}
    hosts = {name for _, name, _ in IMPORTS} if "import" in topics else set()
    bench.install(name for name in PEERS if name in workers | hosts)
    load, began = describe_load(), time.time()
    bench.run(cases)
    if "import" in topics:
        bench.time_imports(1 + (5 if options.quick else 15))
    return {
        "about": {
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began)),
            "minutes": round((time.time() - began) / 60, 1),
            "is_quick": options.quick,
            "rounds": rounds,
            "topics": list(topics),
            "load_before": load,
            "is_pinned": bench.cores.measured is not None,
            **describe_machine(),
        },
        "versions": records.versions,
        "missing": records.missing,
        "samples": records.samples,
    }


def main() -> int:
    """Measure, unless only the report is asked for, and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work-dir", type=Path, help="keeps the environments of the SDKs")
    parser.add_argument("--quick", action="store_true", help="less of everything: a few minutes")
    parser.add_argument(
        "--only", action="append", choices=TOPICS, metavar="TOPIC", help=str(TOPICS)
    )
    parser.add_argument("--rounds", type=int, help="how often each entrant has its turn")
    parser.add_argument("--report", action="store_true", help="from the results that are there")
    parser.add_argument("--out", type=Path, default=HERE, help="where results and report go")
    options = parser.parse_args()
    results_path = options.out / "results.json"
    if not options.report and options.work_dir is None:
        parser.error("--work-dir is needed")
    if options.report:
        results = json.loads(results_path.read_text())
    else:
        results = measure(options)
        options.out.mkdir(parents=True, exist_ok=True)
        results_path.write_text(json.dumps(results, separators=(",", ":")) + "\n")
    write_report(results, options.out)
    say(f"written: {options.out / 'RESULTS.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
