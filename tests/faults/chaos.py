"""Everything goes wrong at random for a while; then every accepted conversion must be in the ledger.

    python tests/faults/chaos.py --seconds 600 [--seed N]

The collector is a process that answers 200, 503 or 429, hangs, is slow, is stopped or killed and comes
back on its port. The application (``app.py``, with an outbox) serves visitors who go away at random, and
every 20 s is killed without warning, or closed in the middle of what it does. In half of its lives users
are stored in a Redis that hangs, or dies and returns; in those that are to be closed the disk of the
outbox goes and comes back: what is accepted meanwhile is in memory alone, and a kill would lose it. At
the end all is quiet, and what is left drains. The collector's ledger is a file that is on the disk before
it answers; it is compared with what the application printed as accepted. The exit status is 0 if nothing
is missing; duplicates are allowed, and counted.

Then twenty clients live through a day each of outages of every length, behind a firewall that dislikes some
texts, in virtual time: every event that it does not dislike must arrive.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script, it finds its folder alone

from chosen_product import settings
from database import RedisServer, running
from sample import ACCOUNT, SECRET
from simulation import live_through
from virtual_time import run_virtually

from vwo_async._core.visitor import make_namer, make_namespace

APP = Path(__file__).with_name("app.py")
START_S = 15.0
# A life with fewer is too short for percentiles.
MIN_TICKS = 200
VIRTUAL_HOURS = 24
VIRTUAL_LIVES = 20


# The rig, which the tests of processes use as well


def find_visitors(users: Iterable[str]) -> set[str]:
    """Return the ids under which the collector knows *users*."""
    name_visitor = make_namer(make_namespace(ACCOUNT))
    return {name_visitor(user.encode()) for user in users}


def wait_until(is_true: Callable[[], object], timeout_s: float, what: str) -> None:
    """Wait until something is true, and fail if it does not become so."""
    ends_at = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > ends_at:
            raise TimeoutError(what)
        time.sleep(0.01)


class CollectorProcess:
    """A collector in a process of its own, with its ledger in a file.

    Args:
        folder: Where its files are.
    """

    def __init__(self, folder: Path) -> None:
        self.settings = folder / "settings.json"
        self.settings.write_text(json.dumps(settings()))
        self.ledger = folder / "ledger.jsonl"
        self.base_url = ""
        self._errors = folder / "collector.err"
        self._process: subprocess.Popen[str] | None = None

    def start(self, latency_s: float = 0.0) -> None:
        """Start it, on the port it had before."""
        self._end_torn_line()
        port = self.base_url.rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "vwo_async.collector", "--port", port]
        command += ["--settings", str(self.settings), "--ledger", str(self.ledger)]
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [*command, "--latency-s", str(latency_s)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"the collector did not start: {self._errors.read_text()}")
        self.base_url = line.split()[-1]

    def _end_torn_line(self) -> None:
        """Close a line that the collector died in; it had not answered for it."""
        if self.ledger.exists() and not self.ledger.read_bytes().endswith(b"\n"):
            with self.ledger.open("ab") as file:
                file.write(b"\n")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it with a signal, also while it is suspended."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)

    def suspend(self) -> None:
        """Let it hang: connections are accepted by the kernel and never answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def answer(self, status: int, times: int, headers: Mapping[str, str] | None = None) -> None:
        """Answer the next requests so, without looking at them."""
        plan = {"status": status, "times": times, "headers": dict(headers or {})}
        self._post("/collector/answer", plan)

    def reset(self) -> None:
        """Answer as usual again; the ledger file stays."""
        self._post("/collector/reset", {})

    def _post(self, path: str, document: object) -> None:
        request = urllib.request.Request(self.base_url + path, json.dumps(document).encode())
        with urllib.request.urlopen(request, timeout=10):
            pass

    def read_ledger(self) -> Counter[str]:
        """Return how often the conversion of each visitor was received."""
        if not self.ledger.exists():
            return Counter()
        return Counter(_read_visitors(self.ledger.read_bytes().splitlines()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _read_visitors(lines: Iterable[bytes]) -> Iterable[str]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # torn: the collector died in it
        if event["kind"] == "goal":
            yield event["visitor"]


class Output:
    """What a process of ``app.py`` printed to a file."""

    def __init__(self, path: Path) -> None:
        self._out = path

    @property
    def lines(self) -> list[str]:
        """What it printed, without a last line that is not whole."""
        return self._out.read_text().split("\n")[:-1] if self._out.exists() else []

    def accepted(self) -> list[str]:
        """Return the users whose conversions it accepted."""
        return [line for line in self.lines if line and not line.startswith("#")]

    def said(self, word: str) -> list[dict[str, Any]]:
        """Return the facts of each line with *word*."""
        begin = f"# {word} "
        return [json.loads(line[len(begin) :]) for line in self.lines if line.startswith(begin)]


class Child(Output):
    """A process of ``app.py``, or of a command that speaks as it does.

    Args:
        folder: Where its output goes.
        name: Its own in the folder; the ids of its users begin so.
        collector: The server it reports to.
        arguments: More of its command line.
        command: What to run instead of ``app.py``.
        environment: Of that command.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        arguments: Sequence[str],
        *,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder / f"{name}.out")
        self._err = folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command or [sys.executable, str(APP), *arguments],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                env=environment,
            )

    @property
    def errors(self) -> str:
        """What it wrote to stderr."""
        return self._err.read_text()

    def wait_for(self, word: str, timeout_s: float = START_S) -> dict[str, Any]:
        """Wait until it says *word* and return the facts."""
        wait_until(lambda: self.said(word) or self.has_ended(), timeout_s, f"{word}: {self.errors}")
        assert self.said(word), self.errors
        return self.said(word)[-1]

    def wait_for_accepted(self, number: int, timeout_s: float = START_S) -> None:
        """Wait until it has accepted *number* conversions."""
        wait_until(lambda: len(self.accepted()) >= number, timeout_s, f"accepted: {self.errors}")

    def has_ended(self) -> bool:
        """Tell whether it is no more."""
        return self.process.poll() is not None

    def give_word(self) -> None:
        """Let a process begin that waits for that."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def end(self, number: signal.Signals = signal.SIGKILL, timeout_s: float = START_S) -> int:
        """Send a signal, wait for the end and return the exit code; no log shows the SDK key."""
        if not self.has_ended():
            self.process.send_signal(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = START_S) -> int:
        """Wait for the end and return the exit code; no log shows the SDK key."""
        try:
            self.process.wait(timeout_s)
        finally:
            self.process.kill()
            with self.process:
                pass
        assert SECRET not in self.errors
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()


class Nursery(Child):
    """A process that forks the processes to be killed, so that each is there at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "nursery", ["nurse"])
        self._folder = folder
        self._born: list[Newborn] = []

    def bear(self, name: str, arguments: Sequence[str]) -> Newborn:
        """Return a new process."""
        out = self._folder / f"{name}.out"
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([str(out), *arguments]).encode() + b"\n")
        self.process.stdin.flush()
        number = len(self._born) + 1
        wait_until(lambda: len(self.said("born")) == number, START_S, self.errors)
        newborn = Newborn(out, self.said("born")[-1]["pid"])
        self._born.append(newborn)
        return newborn

    def end(self, number: signal.Signals = signal.SIGKILL, timeout_s: float = START_S) -> int:
        """End it and all that it forked: a test that fails leaves no process behind."""
        for newborn in self._born:
            newborn.kill()
        return super().end(number, timeout_s)


class Newborn(Output):
    """A process of the nursery."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(path)
        self._pid = pid

    def wait_for_open(self) -> None:
        """Wait until its client is open."""
        wait_until(lambda: self.said("open"), START_S, "the client does not open")

    def kill(self) -> None:
        """End it without warning, and wait until it is no more."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        wait_until(self._is_gone, START_S, "a process lives on")

    def _is_gone(self) -> bool:
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return True
        return False


def make_arguments(
    collector: CollectorProcess, run: str, name: str, outbox: Path | None, *more: str
) -> list[str]:
    """Return a command line of ``app.py``."""
    arguments = [run, "--settings", str(collector.settings), "--base-url", collector.base_url]
    if outbox is not None:
        arguments += ["--outbox", str(outbox)]
    return [*arguments, "--prefix", f"{name}-", *more]


# The job


@dataclass
class Chaos:
    """One run of the job, and what is known of it so far."""

    folder: Path
    collector: CollectorProcess
    redis: RedisServer
    draw: random.Random
    rounds: int = 0
    kills: int = 0
    closes: int = 0
    is_killed_next: bool = True
    states: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    worst_delay_ms: float = 0.0
    p99_delay_ms: float = 0.0
    max_rss_kb: int = 0
    faults: list[str] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        """Let everything go wrong for a while, then let everything drain."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            life_s = min(20.0, seconds / 4) * self.draw.uniform(0.5, 1.5)
            self.live(min(time.monotonic() + life_s, ends_at))
        self.drain()

    def live(self, ends_at: float) -> None:
        """Run the application until it is killed or closed, with servers and a disk that change all the time."""
        name = f"r{self.rounds}"
        shares = ["--concurrency", "40", "--pause", "0.1", "--wait-share", "0.4"]
        shares += ["--cancel-share", "0.6", "--adopt-interval", "2", "--closes-at-sigterm"]
        if self.rounds // 2 % 2:
            shares += ["--redis", self.redis.url]
        self.is_killed_next = self.rounds % 2 == 0
        with self.start("track", name, *shares) as child:
            child.wait_for("open")
            while (left_s := ends_at - time.monotonic()) > 0:
                self.change()
                time.sleep(min(self.draw.uniform(0.1, 2.0), max(left_s, 0)))
            if child.has_ended():
                self.faults.append(f"the application ended by itself: {child.errors}")
            if not self.is_killed_next:
                self.close(child)
        self.kills += self.is_killed_next
        self.rounds += 1
        self.accepted.update(child.accepted())
        self.take_note(child)

    def close(self, child: Child) -> None:
        """Close the application in the middle of what it does, whatever the server does just now."""
        self.bring_back_disk()
        child.process.terminate()
        try:
            closed = child.wait_for("closed", 30)
        except (TimeoutError, AssertionError) as error:
            self.faults.append(f"it did not close: {error}")
            return
        self.closes += 1
        if closed["dropped"]:
            self.faults.append(f"dropped when it closed: {closed}")

    def start(self, run: str, name: str, *more: str) -> Child:
        """Start the application."""
        outbox = self.disk / "outbox.db"
        return Child(self.folder, name, make_arguments(self.collector, run, name, outbox, *more))

    def change(self) -> None:
        """Make the server another one; half of the time it is well."""
        self.settle()
        bad = [self.fail, self.limit, self.hang, self.be_slow, self.go, self.die]
        bad += [self.hang_redis, self.kill_redis]
        if not self.is_killed_next:
            bad += [self.take_disk] * 2
        change = self.draw.choice([self.be_well, self.draw.choice(bad)])
        self.states[change.__name__] += 1
        change()

    def settle(self) -> None:
        """End the state before."""
        if self.collector._process is None:
            self.collector.start()
        self.collector.resume()
        self.collector.reset()
        self.redis.start_again()
        self.bring_back_disk()

    def be_well(self) -> None:
        """Answer 200."""

    def fail(self) -> None:
        """Answer 503."""
        self.collector.answer(503, self.draw.randint(1, 200))

    def limit(self) -> None:
        """Answer 429 and ask to come again in a second."""
        self.collector.answer(429, self.draw.randint(1, 20), {"Retry-After": "1"})

    def hang(self) -> None:
        """Accept connections and say nothing."""
        self.collector.suspend()

    def be_slow(self) -> None:
        """Take longer, sometimes longer than anybody waits."""
        self.collector.stop()
        self.collector.start(self.draw.choice([0.05, 0.3, 2.5]))

    def go(self) -> None:
        """Stop as servers do."""
        self.collector.stop()

    def die(self) -> None:
        """Die in the middle of what it does."""
        self.collector.stop(signal.SIGKILL)

    def hang_redis(self) -> None:
        """Let the storage hang."""
        self.redis.pause()

    def kill_redis(self) -> None:
        """Let the storage die; it comes back with its records."""
        self.redis.kill()

    @property
    def disk(self) -> Path:
        """Where the outbox is."""
        return self.folder / "disk"

    def take_disk(self) -> None:
        """Take the folder of the outbox away."""
        self.disk.rename(self.folder / "away")

    def bring_back_disk(self) -> None:
        """Bring it back as it was."""
        away = self.folder / "away"
        if away.exists():
            away.rename(self.disk)

    def drain(self) -> None:
        """Let what is left be delivered to a server that is well."""
        self.settle()
        self.collector.stop()
        self.collector.start()
        with self.start("drain", "drain") as child:
            try:
                child.wait_for("drained", 120)
                child.wait_for("closed", 30)
            except (TimeoutError, AssertionError) as error:
                self.faults.append(f"what was left did not drain: {error}")

    def take_note(self, child: Child) -> None:
        """Keep what the application said of itself."""
        states = child.said("state")
        for state in states:
            self.worst_delay_ms = max(self.worst_delay_ms, state["max_ms"])
            self.max_rss_kb = max(self.max_rss_kb, state["rss_kb"])
        if states:
            last = states[-1]
            if last["ticks"] >= MIN_TICKS:
                self.p99_delay_ms = max(self.p99_delay_ms, last["p99_ms"])
            if last["rejected"] or last["dropped"]:
                self.faults.append(f"given up: {last['rejected']} rejected, {last['dropped']}")

    def conclude(self) -> dict[str, Any]:
        """Return the figures; *missing* is what must be 0."""
        ledger = self.collector.read_ledger()
        missing = find_visitors(self.accepted) - ledger.keys()
        return {
            "rounds": sum(self.states.values()),
            "kills": self.kills,
            "closes": self.closes,
            "accepted": len(self.accepted),
            "ledger": len(ledger),
            "missing": len(missing),
            "duplicates": ledger.total() - len(ledger),
            "p99 loop delay ms": self.p99_delay_ms,
            "worst loop delay ms": self.worst_delay_ms,
            "max rss MB": round(self.max_rss_kb / 1024, 1),
            "states": dict(self.states),
            "faults": self.faults,
        }


def run_chaos(folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Run the job in *folder* and return the figures."""
    with CollectorProcess(folder) as collector, running(RedisServer(folder / "redis")) as redis:
        chaos = Chaos(folder, collector, redis, random.Random(seed))
        chaos.disk.mkdir()
        chaos.run(seconds)
        return chaos.conclude()


def main() -> int:
    """Run the job as the command line says and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vwo_chaos") as folder:
        figures = run_chaos(Path(folder), options.seconds, options.seed)
    lives = [
        run_virtually(live_through(options.seed + number, VIRTUAL_HOURS))
        for number in range(VIRTUAL_LIVES)
    ]
    figures["virtual hours"] = VIRTUAL_HOURS * VIRTUAL_LIVES
    figures["virtual events"] = sum(one["honest"] for one in lives)
    figures["faults"] += [
        f"lost in virtual time: {one}"
        for one in lives
        if one["honest outcomes"] != {"delivered": one["honest"]}
    ]
    lines = [f"{name:>20}  {value}" for name, value in {"seed": options.seed, **figures}.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if figures["missing"] or figures["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
