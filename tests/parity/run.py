"""Compare the three SDKs over random cases.

Usage: python run.py --work-dir DIR [--seed N] [--cases N] [--show N] [--jobs N]

DIR holds the official SDKs as the nox session installs them: ``python`` (a virtual environment with
vwo-python-sdk) and ``node`` (with node_modules/vwo-node-sdk). The exit status is 1 if some call is
unexplained.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cause import ROWS, Official, Verdict, judge
from generate import make_case
from oracle import searches
from our_client import Step, run_case
from shrink import shrink

from vwo_async import VWOError

Json = dict[str, Any]

HERE = Path(__file__).parent


class OracleError(Exception):
    """An official SDK could not answer."""


class Oracle:
    """A child process that answers cases with an official SDK.

    Args:
        command: How to start it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def ask(self, job: Json) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(job) + "\n")
        self.child.stdin.flush()

    def answer(self) -> list[Json]:
        return checked(self.read())

    def read(self) -> Any:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise OracleError("an oracle has ended")
        return json.loads(line)

    def close(self) -> None:
        self.child.communicate()


def checked(answer: Any) -> list[Json]:
    """Return an oracle's answer, unless it is an error."""
    if isinstance(answer, dict):
        raise OracleError(answer["error"])
    assert isinstance(answer, list)
    return answer


@dataclass
class Report:
    """Counts of some cases, and what could not be explained.

    Attributes:
        kinds: Calls by verdict; ``skipped`` where our client has no such API.
        causes: Explained calls by row.
        apis: Skipped calls by API.
        faults: Unexplained calls by what is wrong.
        unexplained: Each as a case of one call.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    apis: Counter[str] = field(default_factory=Counter)
    unexplained: list[Json] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.kinds += other.kinds
        self.causes += other.causes
        self.faults += other.faults
        self.apis += other.apis
        self.unexplained += other.unexplained

    def pick(self, number: int) -> list[Json]:
        """Return *number* of the unexplained calls of each kind."""
        seen: Counter[str] = Counter()
        picked: list[Json] = []
        for one in self.unexplained:
            kind = str(one["faults"])
            seen[kind] += 1
            if seen[kind] <= number:
                picked.append(one)
        return picked


class Bench:
    """Both oracles, and the verdicts on cases.

    Args:
        work_dir: Where the official SDKs are.
    """

    def __init__(self, work_dir: Path) -> None:
        # Bad input is half of what is made up here, and each would be a line.
        logging.getLogger("vwo_async").setLevel(logging.CRITICAL + 1)
        python = next(
            iter(sorted(work_dir.glob("python/*/python"))), work_dir / "python/bin/python"
        )
        self.node = Oracle(["node", str(HERE / "oracle.js"), str(work_dir / "node")])
        self.python = Oracle([str(python), "-B", str(HERE / "oracle.py")])

    def close(self) -> None:
        self.node.close()
        self.python.close()

    def judge(self, case: Json) -> Iterator[tuple[Step, Verdict | None, Json]]:
        """Yield the verdict on each call of a case, None where it was skipped, and the answers."""
        steps = asyncio.run(run_case(case))
        job = {"settings": case["settings"], "launch": case["launch"]}
        done = [step for step in steps if step.answer is not None]
        job["calls"] = [step.call for step in done]
        self.node.ask(job)
        self.python.ask(job)
        raw = self.node.read(), self.python.read()
        of_node, of_python = map(checked, raw)
        self.settle_regexes(job, of_node)
        members = group_members(case["settings"])
        for index, step in enumerate(done):
            node = self.official(self.node, job, index, of_node[index])
            python = self.official(self.python, job, index, of_python[index])
            assert step.answer is not None
            verdict = judge(step.call, node, python, step.answer, members)
            answers = {
                "node": node.stock,
                "python": python.stock,
                "node corrected": node.fixed,
                "python corrected": python.fixed,
                "ours": step.answer,
            }
            yield step, verdict, answers
        for step in steps:
            if step.answer is None:
                yield step, None, {}

    def fails(self, case: Json, faults: Sequence[str]) -> bool:
        """Tell whether the only call of *case* has one of *faults*."""
        try:
            (judged,) = self.judge(case)
        except (OracleError, VWOError):
            return False
        return judged[1] is not None and bool({*judged[1].faults} & {*faults})

    def settle_regexes(self, job: Json, answers: list[Json]) -> None:
        """Tell the Node oracle what Python's regular expressions say, until it has no more questions."""
        while asked := [index for index, one in enumerate(answers) if one.get("asked")]:
            texts = {tuple(pair) for index in asked for pair in answers[index]["asked"]}
            known = [[pattern, text, searches(text, pattern)] for pattern, text in sorted(texts)]
            self.node.ask({**job, "regexes": known, "without": [[index, []] for index in asked]})
            for index, one in zip(asked, self.node.answer(), strict=True):
                answers[index] = {**one, "stock": answers[index]["stock"]}

    def official(self, oracle: Oracle, job: Json, index: int, answer: Json) -> Official:
        def rerun(row: str) -> Json:
            oracle.ask({**job, "calls": [job["calls"][index]], "without": [[0, [row]]]})
            again: Json = oracle.answer()[0]["answer"]
            return again

        fixed: Json = answer["answer"] if "answer" in answer else answer["stock"]
        return Official(answer["stock"], fixed, answer["fired"], rerun)


def group_members(settings: Json) -> list[str]:
    """Return the keys of the campaigns that are in some group."""
    ids = {one for group in settings.get("groups", {}).values() for one in group["campaigns"]}
    return [one["key"] for one in settings["campaigns"] if one["id"] in ids]


def single(case: Json, step: Step) -> Json:
    """Return one call of a case as a case of its own."""
    parts = {name: step.call[name] for name in ("api", "args", "options")}
    shared = {name: case[name] for name in ("settings", "launch")}
    return {**shared, "rows": step.call["rows"], "calls": [parts]}


def make_small(work_dir: Path, found: Json) -> Json:
    """Return an unexplained call with all that does not matter left out, and its answers."""
    bench = Bench(work_dir)
    try:
        case = shrink(found["case"], lambda one: bench.fails(one, found["faults"]))
        ((_, verdict, answers),) = bench.judge(case)
    finally:
        bench.close()
    assert verdict is not None
    return {"faults": verdict.faults, "rows met": verdict.causes, **case, "answers": answers}


def run_cases(work_dir: Path, seed: int, numbers: Iterable[int]) -> Report:
    """Run some cases of a seed."""
    bench, report = Bench(work_dir), Report()
    try:
        for number in numbers:
            case = make_case(seed, number)
            for step, verdict, _ in bench.judge(case):
                enter(report, case, step, verdict)
    finally:
        bench.close()
    return report


def enter(report: Report, case: Json, step: Step, verdict: Verdict | None) -> None:
    if verdict is None:
        report.kinds["skipped"] += 1
        report.apis[step.call["api"]] += 1
        return
    report.kinds[verdict.kind] += 1
    if verdict.kind == "unexplained":
        report.faults.update(verdict.faults)
        report.unexplained.append({"faults": verdict.faults, "case": single(case, step)})
    else:
        report.causes.update(verdict.causes)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def print_table(report: Report, elapsed_s: float) -> None:
    """Print the counts."""
    total = sum(report.kinds.values())
    say(f"{total:>8} calls in {elapsed_s:.0f} s")
    for kind in ("equal", "explained", "unexplained", "skipped"):
        say(f"{report.kinds[kind]:>8} {kind}")
    for api, count in report.apis.items():
        say(f"{count:>8} skipped: our client has no {api}")
    if report.causes:
        say("explained by (a call may have several causes):")
    for name, count in report.causes.most_common():
        row = ROWS.get(name, "?")
        say(f"{count:>8}  {name} ({row if row.startswith('section') else f'row {row}'})")
    for fault, count in report.faults.most_common():
        say(f"{count:>8}  unexplained: {fault}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=6500)
    parser.add_argument(
        "--show", type=int, default=1, help="print so many unexplained calls of a kind, made small"
    )
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    started = time.monotonic()
    total = Report()
    chunks = [range(first, options.cases, options.jobs) for first in range(options.jobs)]
    with ProcessPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(run_cases, options.work_dir, options.seed, one) for one in chunks]
        for future in futures:
            total.add(future.result())
    print_table(total, time.monotonic() - started)
    for one in total.pick(options.show):
        say(json.dumps(make_small(options.work_dir, one), ensure_ascii=False, indent=1))
    return 1 if total.kinds["unexplained"] else 0


if __name__ == "__main__":
    sys.exit(main())
