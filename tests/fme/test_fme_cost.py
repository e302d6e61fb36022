"""What a decision of a flag costs, counted instead of timed: functions called."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from counted import SEGMENT, VARIABLES, count_awaited_calls, count_calls
from fme_file import make_large_file
from replay import compile_file

from vwo_async import FMEClient, FMEUser
from vwo_async._core.fme.decision import decide_feature
from vwo_async._core.fme.evaluation import Known
from vwo_async._core.fme.user import FlagUser
from vwo_async.testing import RecordingTransport


def test_a_decision() -> None:
    """A decision runs a handful of functions, as many with 1,000 features as with one."""

    def count(number: int) -> int:
        plan = compile_file(make_large_file(number))
        return count_calls(lambda: decide_feature(plan, f"f{number}", FlagUser("Ashley")))

    assert count(1) <= 32
    assert count(1000) == count(1)


def test_a_decision_with_a_record() -> None:
    """Noting what has to be stored takes a few calls more."""
    plan = compile_file(make_large_file(1))
    user = FlagUser("Ashley")
    assert count_calls(lambda: decide_feature(plan, "f1", user, Known({"f1": None}))) <= 130


def test_compiling() -> None:
    """Reading and compiling a file takes time in proportion to its features."""

    def count(number: int) -> int:
        file = make_large_file(number)
        return count_calls(lambda: compile_file(file))

    few, many = count(20), count(200)
    assert (many - few) / 180 <= 2 * few / 20


def make_segmented_file(number: int) -> dict[str, Any]:
    """Return a file of so many features, each with a rollout and a test that have a segment of five leaves."""
    file = make_large_file(number)
    for campaign in file["campaigns"]:
        campaign["segments"] = campaign["variations"][0]["segments"] = SEGMENT
    return file


@pytest.mark.parametrize(
    ("kind", "bound"), [("flag", 95), ("event", 75), ("segment", 205)], ids=str
)
def test_a_call_of_a_client(kind: str, bound: int) -> None:
    """A flag and an event run a bounded number of functions, as many with 200 features as with one."""

    async def call(client: FMEClient) -> None:
        if kind == "flag":
            await client.get_flag("f1", "u1")
        elif kind == "segment":
            assert await client.get_flag("f1", FMEUser("u1", custom_variables=VARIABLES))
        else:
            await client.track_event("purchase", "u1")

    async def main(number: int) -> int:
        file = make_segmented_file(number) if kind == "segment" else make_large_file(number)
        async with FMEClient(file, transport=RecordingTransport()) as client:
            # Where the machine is busy, one turn of the loop may end in many calls.
            return min([await count_awaited_calls(lambda: call(client)) for _ in range(12)])

    def count(number: int) -> int:
        return asyncio.run(main(number), debug=False)

    assert count(1) <= bound
    assert count(200) == count(1)
