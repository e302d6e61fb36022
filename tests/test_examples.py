"""The examples of one command run, and what they report arrives."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: str) -> str:
    """Return what an example prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    )
    assert not done.stderr
    return done.stdout


def test_each_is_in_the_table() -> None:
    """The table of examples has each, with what to install and the command that runs it."""
    table = (EXAMPLES.parent / "docs" / "recipes" / "README.md").read_text()
    for path in EXAMPLES.glob("*.py"):
        assert path.stem in table or path.stem == "without_loop"  # a part of three others


def test_conversions_from_a_file() -> None:
    """Of a file with five times what the queue holds nothing is refused for want of room, and bad lines are named."""
    told = run("convert_csv").splitlines()
    lines = dict(line.removeprefix("line ").split(": ", 1) for line in told[:5])
    assert list(lines) == ["502", "503", "504", "505", "506"]
    for number, words in {
        "502": "no date and time",
        "503": "no time zone",
        "504": "in the future",
        "505": "user_id must be",
        "506": "goal_not_found",
    }.items():
        assert words in lines[number]
    delivered, refused = re.findall(r"\d+", told[5])
    assert int(refused) == 5
    assert int(delivered) >= 500
    assert told[6] == f"the collector counted {delivered} conversions"


@pytest.mark.parametrize("arguments", [(), ("--fullstack",)], ids=["fme", "fullstack"])
def test_openfeature(arguments: tuple[str, ...]) -> None:
    """Some visitors see the feature and some do not, and each purchase counts."""
    visitors, on, purchases = map(int, re.findall(r"\d+", run("openfeature_app", *arguments)))
    assert 0 < on < visitors == 100
    # In FullStack it counts in each campaign that has the goal and the visitor.
    assert purchases == 100 if not arguments else purchases >= 100
