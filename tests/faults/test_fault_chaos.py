"""The standing jobs in their short forms."""

from __future__ import annotations

from pathlib import Path

import million
import pytest
from chaos import run_chaos


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_chaos(tmp_path: Path) -> None:
    """After 20 s of random faults, cancellations, kills and closes every accepted conversion is in the ledger."""
    figures = run_chaos(tmp_path, 20, seed=3)
    assert not figures["missing"], figures
    assert not figures["faults"], figures
    assert figures["kills"] >= 1
    assert figures["closes"] >= 1
    assert figures["accepted"] > 100
    assert figures["p99 loop delay ms"] < 50, figures


@pytest.mark.timeout(60)
def test_many_events_to_a_bad_server() -> None:
    """20,000 events to a server that is bad half of the time: both books agree, the memory is flat."""
    figures = million.run(20_000)
    # What is pending is memory too, and so few events end with a part of it.
    assert million.find_faults(figures, grown_kb=32_768) == [], figures
