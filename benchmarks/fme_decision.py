"""What deciding an FME flag costs beside a FullStack campaign of the same rules.

Both run in this process and take turns. Timed is the user and the decision, without client, storage or
events. The lowest of all rounds is printed, in microseconds, since the machine may be busy with other things.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from vwo_async._core.api_method import ACTIVATE
from vwo_async._core.decision import decide
from vwo_async._core.fme.decision import decide_feature
from vwo_async._core.fme.lazy_plan import compile_fme_plan
from vwo_async._core.fme.user import FlagUser
from vwo_async._core.plan import Plan
from vwo_async._settings import parse_fme_settings, parse_settings
from vwo_async._user import User

ROUNDS = 40
CALLS = 2000
SEGMENT = {
    "and": [
        {"or": [{"custom_variable": {"plan": "pro"}}, {"custom_variable": {"plan": "team"}}]},
        {"custom_variable": {"age": "gte(18)"}},
        {"not": {"custom_variable": {"country": "wildcard(x*)"}}},
        {"custom_variable": {"language": "lower(de)"}},
    ]
}
VARIABLES: dict[str, Any] = {"plan": "team", "age": 33, "country": "DE", "language": "De"}
HALVES = [{"id": 1, "name": "a", "weight": 50}, {"id": 2, "name": "b", "weight": 50}]
HEAD = {"sdkKey": "key", "accountId": 888888, "version": 1}


def make_campaign(number: int, kind: str, segments: Any) -> dict[str, Any]:
    """Return a test of two halves."""
    return {
        "id": number,
        "key": f"k{number}",
        "name": "n",
        "type": kind,
        "status": "RUNNING",
        "percentTraffic": 100,
        "segments": segments,
        "variations": HALVES,
    }


def make_feature(number: int) -> dict[str, Any]:
    """Return a feature with that test."""
    rule = {"type": "FLAG_TESTING", "campaignId": number, "ruleKey": "r"}
    fields = {"name": "n", "type": "FEATURE_FLAG", "status": "ON", "metrics": []}
    return {"id": number, "key": f"k{number}", "rules": [rule], **fields}


def time_calls(call: Callable[[str], object]) -> float:
    """Return how long one of many calls takes, in microseconds."""
    ids = [f"user{number}" for number in range(CALLS)]
    start = time.perf_counter()
    for user_id in ids:
        call(user_id)
    return (time.perf_counter() - start) / CALLS * 1e6


def compare(number: int, segments: Any, variables: dict[str, Any] | None) -> tuple[float, float]:
    """Return the costs in FullStack and in FME with so many campaigns or features."""
    numbers, key = range(1, number + 1), f"k{number}"
    fullstack = [{**make_campaign(one, "VISUAL_AB", segments), "goals": []} for one in numbers]
    flags = [make_campaign(one, "FLAG_TESTING", segments) for one in numbers]
    plan = Plan(parse_settings({**HEAD, "isNB": True, "isNBv2": True, "campaigns": fullstack}))
    features = [make_feature(one) for one in numbers]
    fme_plan = compile_fme_plan(
        parse_fme_settings({**HEAD, "features": features, "campaigns": flags})
    )
    times = [
        (
            time_calls(
                lambda one: decide(plan, plan.campaigns[key], User(one, variables), ACTIVATE, None)
            ),
            time_calls(lambda one: decide_feature(fme_plan, key, FlagUser(one, variables))),
        )
        for _ in range(ROUNDS)
    ]
    return min(one for one, _ in times), min(one for _, one in times)


def main() -> None:
    """Print a line for each case."""
    for name, segments, variables in (("plain", {}, None), ("segment", SEGMENT, VARIABLES)):
        for number in (1, 100, 1000):
            one, other = compare(number, segments, variables)
            print(f"{name}, {number}: FullStack {one:.2f} us, FME {other:.2f} us")  # noqa: T201


if __name__ == "__main__":
    main()
