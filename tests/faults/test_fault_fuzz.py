"""The fuzz target in the suite: ten seconds, in ``nox -s faults`` a minute."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent.parent / "fuzz.py"
SECONDS = int(os.environ.get("VWO_TEST_FUZZ_S", "10"))
# By turns, so that each target has half of the time; the least that a slow machine gets done.
MIN_EXECUTIONS = 10 * SECONDS


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_fuzz() -> None:
    """Whatever JSON can hold is settings or refused, and no argument of a call raises or is lost."""
    seed = int.from_bytes(os.urandom(4))
    child = subprocess.run(
        [sys.executable, str(FUZZ), "--seconds", str(SECONDS), "--seed", str(seed)],
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS + 100,
    )
    assert child.returncode == 0, f"{child.stdout[-6000:]}\n{child.stderr[-6000:]}"
    counts = [int(line.split()[1]) for line in child.stdout.splitlines()]
    assert len(counts) == 2
    assert min(counts) > MIN_EXECUTIONS


@pytest.mark.parametrize("target", ["settings", "calls"])
def test_fuzz_repeats(target: str) -> None:
    """A seed and a number make the same case again, in another process too."""
    code = (
        f"import sys; sys.path.insert(0, {str(FUZZ.parent)!r}); import fuzz; "
        f"draw = fuzz.Draw('7 {target} 3'); "
        "print(ascii([fuzz.draw_file(draw), fuzz.draw_call(draw), draw.deep(), draw.value()]))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONHASHSEED": str(hashed)},
        ).stdout
        for hashed in (1, 2)
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) > 100
