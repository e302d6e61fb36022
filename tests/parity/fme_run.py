"""Compare the FME SDKs over random cases.

Usage: python fme_run.py --work-dir DIR [--node-sdk DIR] [--seed N ...] [--cases N] [--show N] [--jobs N]

The work directory holds the official SDKs as the nox session installs them: ``python`` (a virtual
environment with vwo-fme-python-sdk) and ``node`` (with node_modules/wingify-fme-node-sdk). Where npm does
not have that, a checkout of github.com/wingify/vwo-fme-node-sdk with its dependencies will do:
``--node-sdk``. Without either, Python's SDK is the only oracle, and the report says so. The exit status
is 1 if some call is unexplained.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from cause import Official, Verdict
from fme_cause import FME_ROWS, judge_fme
from fme_client import run_fme_case
from fme_generate import make_fme_case
from oracle import number_text, searches, strict_number, value_text
from run import Oracle, OracleError, Report, checked, say

from vwo_async import VWOError

Json = dict[str, Any]

HERE = Path(__file__).parent
REGEX = re.compile(r"regex\((.*)\)")


class Place(NamedTuple):
    """Where the official SDKs are.

    Attributes:
        work_dir: The folder of the nox session.
        node_sdk: The package of the Node SDK, None if it could not be had.
    """

    work_dir: Path
    node_sdk: Path | None


class FMEBench:
    """The oracles, each as it is and corrected, and the verdicts on cases.

    Args:
        place: Where the official SDKs are.
    """

    def __init__(self, place: Place) -> None:
        # Bad input is half of what is made up here, and each would be a line.
        logging.getLogger("vwo_async").setLevel(logging.CRITICAL + 1)
        python = str(place.work_dir / "python" / "bin" / "python")
        commands = {"python": [python, "-B", str(HERE / "fme_oracle.py")]}
        if place.node_sdk is not None:
            commands["node"] = ["node", str(HERE / "fme_oracle.mjs"), str(place.node_sdk)]
        self.stock = {name: Oracle([*one, "stock"]) for name, one in commands.items()}
        self.fixed = {name: Oracle([*one, "corrected"]) for name, one in commands.items()}

    def close(self) -> None:
        for oracle in (*self.stock.values(), *self.fixed.values()):
            oracle.close()

    def judge(self, case: Json) -> Iterator[tuple[Json, Verdict, Json]]:
        """Yield each call with the rows before it, the verdict, and the answers."""
        before = self.find_rows(case)
        ours = asyncio.run(run_fme_case(case, before))
        rows = before or [one["before"] for one in ours]
        calls = [{"call": one, "rows": held} for one, held in zip(case["calls"], rows, strict=True)]
        job = {**self.shared(case), "calls": calls}
        for oracle in (*self.stock.values(), *self.fixed.values()):
            oracle.ask(job)
        # All of them before any is looked at: one that refuses leaves no answer of another unread.
        raw_stock = {name: oracle.read() for name, oracle in self.stock.items()}
        raw_fixed = {name: oracle.read() for name, oracle in self.fixed.items()}
        stock = {name: checked(one) for name, one in raw_stock.items()}
        fixed = {name: checked(one) for name, one in raw_fixed.items()}
        for index, one in enumerate(calls):
            single = {**self.shared(case), "calls": [one]}
            official = {
                name: self.official(name, single, stock[name][index], fixed[name][index])
                for name in stock
            }
            python = official["python"]
            verdict = judge_fme(case, official.get("node", python), python, ours[index])
            answers = {"ours": ours[index]}
            for name, found in official.items():
                answers |= {name: found.stock, f"{name} corrected": found.fixed}
            yield one, verdict, answers

    def shared(self, case: Json) -> Json:
        is_stored = case["writer"] is not None
        return {
            "settings": case["settings"],
            "stores": is_stored,
            "regexes": list_regexes(case),
            "gateway": case.get("gateway"),
        }

    def find_rows(self, case: Json) -> list[list[Any]] | None:
        """Return what the storage holds before each call, where an official SDK is its writer."""
        if case["writer"] not in self.stock:
            return None
        oracle = self.stock[case["writer"]]
        calls = [{"call": one} for one in case["calls"]]
        oracle.ask({**self.shared(case), "is_sequence": True, "rows": case["rows"], "calls": calls})
        return [one["before"] for one in oracle.answer()]

    def official(self, name: str, job: Json, stock: Json, fixed: Json) -> Official:
        def rerun(row: str) -> Json:
            self.fixed[name].ask({**job, "without": [row]})
            return self.fixed[name].answer()[0]

        return Official(stock, fixed, fixed["fired"], rerun)

    def fails(self, case: Json, faults: Sequence[str]) -> bool:
        """Tell whether the only call of *case* has one of *faults*."""
        try:
            (judged,) = self.judge(case)
        except (OracleError, VWOError, ValueError):
            return False
        return bool({*judged[1].faults} & {*faults})


def list_regexes(case: Json) -> Json:
    """Return what Python's regular expressions of a case say of all values of its users."""
    patterns = {one for text in walk(case["settings"]) for one in REGEX.findall(text)}
    texts = {value_text(one) for call in case["calls"] for one in walk(call["context"], plain=True)}
    texts |= {canonical(one) for one in texts}
    patterns |= {canonical(one) for one in patterns} | {one.replace('"', "") for one in patterns}
    return {one: {text: searches(text, one) for text in sorted(texts)} for one in sorted(patterns)}


def canonical(text: str) -> str:
    number = strict_number(text)
    return text if number is None else number_text(number)


def walk(value: Any, *, plain: bool = False) -> Iterator[Any]:
    """Yield every text within *value*, with *plain* every other plain value too."""
    if isinstance(value, dict):
        for one in value.values():
            yield from walk(one, plain=plain)
    elif isinstance(value, list):
        for one in value:
            yield from walk(one, plain=plain)
    elif isinstance(value, str) or (plain and value is not None):
        yield value


def single(case: Json, call: Json) -> Json:
    """Return one call of a case as a case of its own."""
    writer = None if case["writer"] is None else "ours"
    return {
        "settings": case["settings"],
        "writer": writer,
        "rows": call["rows"],
        "calls": [call["call"]],
        "gateway": case["gateway"],
    }


def shrink_fme(case: Json, bench: FMEBench, faults: Sequence[str]) -> Json:
    """Return *case* without whatever its fault does not need."""
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for smaller in attempts(case):
            if bench.fails(smaller, faults):
                case, is_smaller = smaller, True
                break
    return case


def attempts(case: Json) -> Iterator[Json]:
    """Yield copies of *case* that each lack one thing."""
    places: list[tuple[Any, ...]] = [("rows",), ("calls", 0, "context"), ("settings", "holdouts")]
    places += [("settings", "features"), ("settings", "campaigns"), ("settings",)]
    for number in range(len(case["settings"]["features"])):
        places += [
            ("settings", "features", number, "rules"),
            ("settings", "features", number, "metrics"),
        ]
    for number, campaign in enumerate(case["settings"]["campaigns"]):
        places += [("settings", "campaigns", number, "variations")]
        places += [
            ("settings", "campaigns", number, "variations", index, "variables")
            for index in range(len(campaign["variations"]))
        ]
    for place in places:
        value: Any = case
        for key in place:
            value = value.get(key, ()) if isinstance(value, dict) else value[key]
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            smaller = json.loads(json.dumps(case))
            inner = smaller
            for name in place:
                inner = inner[name]
            del inner[key]
            if smaller["calls"][0]["context"].get("id") is not None:
                yield smaller


def make_small(place: Place, found: Json) -> Json:
    """Return an unexplained call with all that does not matter left out, and its answers."""
    bench = FMEBench(place)
    try:
        case = shrink_fme(found["case"], bench, found["faults"])
        ((_, verdict, answers),) = bench.judge(case)
    finally:
        bench.close()
    return {"faults": verdict.faults, "rows met": verdict.causes, **case, "answers": answers}


def run_cases(place: Place, seed: int, numbers: Iterable[int]) -> Report:
    """Run some cases of a seed."""
    bench, report = FMEBench(place), Report()
    try:
        for number in numbers:
            case = make_fme_case(seed, number)
            for call, verdict, _ in bench.judge(case):
                report.kinds[verdict.kind] += 1
                report.apis[call["call"]["api"]] += 1
                if verdict.kind == "unexplained":
                    report.faults.update(verdict.faults)
                    found = {"faults": verdict.faults, "case": single(case, call)}
                    report.unexplained.append({**found, "from": [seed, number]})
                else:
                    report.causes.update(verdict.causes)
    finally:
        bench.close()
    return report


def print_table(report: Report, elapsed_s: float) -> None:
    """Print the counts."""
    say(f"{sum(report.kinds.values()):>8} calls in {elapsed_s:.0f} s")
    for api, count in report.apis.most_common():
        say(f"{count:>8} of {api}")
    for kind in ("equal", "explained", "unexplained"):
        say(f"{report.kinds[kind]:>8} {kind}")
    if report.causes:
        say("explained by (a call may have several causes):")
    for name, count in report.causes.most_common():
        say(f"{count:>8}  {name}: {FME_ROWS[name]}")
    for one in report.unexplained:
        say(f"unexplained in case {one['from']}: {', '.join(one['faults'])}")
    for fault, count in report.faults.most_common():
        say(f"{count:>8}  unexplained: {fault}")


def find_place(work_dir: Path, node_sdk: Path | None) -> Place:
    """Return where the SDKs are, as far as they could be had."""
    package = node_sdk or work_dir / "node" / "node_modules" / "wingify-fme-node-sdk"
    if not (package / "dist" / "esm").exists():
        return Place(work_dir, None)
    return Place(work_dir, package.resolve())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--node-sdk", type=Path, help="a checkout of the Node SDK")
    parser.add_argument("--seed", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cases", type=int, default=1800, help="for each seed")
    parser.add_argument(
        "--show", type=int, default=1, help="print so many unexplained calls of a kind, made small"
    )
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    place = find_place(options.work_dir, options.node_sdk)
    if place.node_sdk is None:
        say("WITHOUT THE NODE SDK, which could not be had: the Python SDK is the only oracle")
    is_unexplained = False
    for seed in options.seed:
        started = time.monotonic()
        total = Report()
        chunks = [range(first, options.cases, options.jobs) for first in range(options.jobs)]
        with ProcessPoolExecutor(options.jobs) as pool:
            futures = [pool.submit(run_cases, place, seed, one) for one in chunks]
            for future in futures:
                total.add(future.result())
        say(f"seed {seed}")
        print_table(total, time.monotonic() - started)
        for one in total.pick(options.show):
            small = make_small(place, one)
            say(json.dumps({"from": one["from"], **small}, ensure_ascii=False, indent=1))
        is_unexplained |= bool(total.kinds["unexplained"])
    return int(is_unexplained)


if __name__ == "__main__":
    sys.exit(main())
