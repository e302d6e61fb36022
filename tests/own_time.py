"""Time as this process had it: what it takes on a machine that others use as well."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROCESSES = Path("/proc")
OWN = PROCESSES / "self"
MACHINE = PROCESSES / "stat"


def read_waiting_s(process: Path = OWN) -> dict[str, float]:
    """Return how long each thread of *process* was ready and had no processor, as far as the system says.

    Not the loop's alone: it also waits for one that holds the interpreter's lock and has no processor.
    """
    waited_s = {}
    for thread in _list_threads(process):
        with suppress(OSError, IndexError):  # it may end meanwhile
            waited_s[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
    return waited_s


def _list_threads(process: Path) -> list[Path]:
    # Not by `Path.glob`, which takes many times as long on Python 3.12, and this is called within event loops.
    tasks = process / "task"
    try:
        return [tasks / name for name in os.listdir(tasks)]  # noqa: PTH208
    except OSError:
        return []


def read_stolen_s() -> list[float]:
    """Return for each processor how long the host of this machine ran others on it, as far as it says."""
    try:
        lines = MACHINE.read_text().splitlines()
    except OSError:
        return []
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    rows = [line.split() for line in lines if re.match(r"cpu[0-9]", line)]
    return [int(row[8]) / ticks_per_s for row in rows if len(row) > 8]


def list_processes(process: Path = OWN) -> Iterator[Path]:
    """Yield *process* and all that it has started, such as servers, as far as the system says."""
    yield process
    for thread in _list_threads(process):
        with suppress(OSError):
            for child in (thread / "children").read_text().split():
                yield from list_processes(PROCESSES / child)


class TooSlowError(AssertionError):
    """Something took longer than its bound, which a busy machine can do as well: `noxfile.py` tries again.

    Nothing else that fails is tried again.
    """


def assert_below(took_s: float, bound_s: float) -> None:
    """Assert that something took less than *bound_s*."""
    if took_s >= bound_s:
        raise TooSlowError(f"took {took_s:.3f} s, the bound is {bound_s} s")


class Stopwatch:
    """Measures from when it was made, without the time in which the machine ran others instead.

    That is the time in which a thread of this process, or of one that it started, was ready and had no
    processor. Which processor it was on is not known, so the host's others count on the one that was taken
    away longest.
    """

    def __init__(self) -> None:
        self._waited_s = _read_all_waiting_s()
        self._stolen_s = read_stolen_s()
        self._began_at = time.monotonic()

    def read_s(self) -> float:
        """Return the seconds until now."""
        passed_s = time.monotonic() - self._began_at
        pairs = zip(self._stolen_s, read_stolen_s(), strict=False)
        others_s = max((after - before for before, after in pairs), default=0.0)
        for thread, waited_s in _read_all_waiting_s().items():
            others_s += waited_s - self._waited_s.get(thread, 0.0)
        return max(passed_s - others_s, 0.0)

    def assert_below(self, bound_s: float) -> None:
        """Assert that less than *bound_s* has passed until now."""
        assert_below(self.read_s(), bound_s)


def _read_all_waiting_s() -> dict[str, float]:
    """Return what `read_waiting_s` says of all processes; threads have names that no two share."""
    return {
        name: waited_s
        for process in list_processes()
        for name, waited_s in read_waiting_s(process).items()
    }
