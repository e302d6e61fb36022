"""growthbook at work: its async client, with features put in from this process."""

from __future__ import annotations

import asyncio
from typing import Any

from growthbook.common_types import Options, UserContext
from growthbook.growthbook_client import GrowthBookClient
from worker import (
    USERS,
    VARIABLES,
    WARM_UPS,
    Request,
    Samples,
    Stopwatch,
    check_split,
    enter,
    last_key,
    serve,
    settle,
)

FIVE_CONDITIONS: dict[str, Any] = {
    "plan": {"$regex": "prof"},
    "age": {"$gte": 18},
    "country": "DE",
    "browser": {"$ne": "ie"},
    "visits": {"$lt": 1000},
}


def make_feature(key: str, *, has_segment: bool) -> dict[str, Any]:
    """Return a feature with one experiment of two equal variations."""
    rule: dict[str, Any] = {
        "key": key,
        "variations": ["Control", "Variation-1"],
        "weights": [0.5, 0.5],
        "coverage": 1,
        "hashAttribute": "id",
        "hashVersion": 2,
        "seed": key,
    }
    if has_segment:
        rule["condition"] = FIVE_CONDITIONS
    return {"defaultValue": "nothing", "rules": [rule]}


async def measure(request: Request) -> Samples:
    """Time `eval_feature` for the last feature; a user context is made for each call."""
    key, has_segment = last_key(request["campaigns"]), request["segment"]
    client = GrowthBookClient(Options(refresh_strategy=None))
    names = [f"campaign-{number}" for number in range(1, request["campaigns"] + 1)]
    await client.set_features({one: make_feature(one, has_segment=has_segment) for one in names})
    given: dict[str, Any] = VARIABLES if has_segment else {}
    evaluate = client.eval_feature
    found = [
        (await evaluate(key, UserContext(attributes={"id": user, **given}))).value
        for user in USERS[:100]
    ]
    check_split(found, ("Control", "Variation-1"))
    users = [USERS[number % len(USERS)] for number in range(request["calls"])]
    samples: Samples = {"wall_us": [], "cpu_us": []}
    for _ in range(WARM_UPS + request["samples"]):
        watch = Stopwatch()
        for user in users:
            await evaluate(key, UserContext(attributes={"id": user, **given}))
        enter(samples, watch, len(users))
    await client.close()
    return settle(samples)


serve({"decision": lambda request: asyncio.run(measure(request))}, "growthbook")
