"""The model of a fleet's size."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

MODEL = Path(__file__).parents[2] / "benchmarks" / "fleet_model.py"
NAMES = runpy.run_path(str(MODEL))
HEADROOM, MEASURED, plan_fleet = (NAMES[name] for name in ("HEADROOM", "MEASURED", "plan_fleet"))

RATES = st.floats(min_value=1, max_value=1e8)


@given(RATES)
def test_no_process_has_more_than_its_share(events_per_s: float) -> None:
    """Each process is busy for at most the part of its time that the headroom leaves."""
    plan = plan_fleet(events_per_s, 60, MEASURED)
    for number, one_per_s in (
        (plan.pods, MEASURED.pod_events_per_s),
        (plan.masters, MEASURED.shard_events_per_s),
        (plan.relays, MEASURED.relay_events_per_s),
    ):
        assert events_per_s / number <= one_per_s * HEADROOM * (1 + 1e-9)
        assert number == 1 or events_per_s / (number - 1) > one_per_s * HEADROOM * (1 - 1e-9)
    assert plan.shards >= plan.masters


def test_what_waits_fits_into_memory() -> None:
    """What comes in an outage, each entry at its measured weight."""
    plan = plan_fleet(1_000, 600, MEASURED)
    assert plan.waiting_bytes == 600_000 * MEASURED.entry_bytes


def test_it_prints_a_plan() -> None:
    """The command of the documentation."""
    command = [sys.executable, str(MODEL), "--events-per-s", "1000000"]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert "1,000,000 events/s" in printed
    assert "relays" in printed
