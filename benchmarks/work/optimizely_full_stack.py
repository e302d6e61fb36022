"""optimizely-sdk at work: its datafile is made in this process."""

from __future__ import annotations

import json
from typing import Any

from optimizely import optimizely
from worker import (
    USERS,
    VARIABLES,
    Request,
    Samples,
    check_split,
    last_key,
    serve,
    time_decisions,
)

FIVE_CONDITIONS = [
    "and",
    {"type": "custom_attribute", "name": "plan", "match": "substring", "value": "prof"},
    {"type": "custom_attribute", "name": "age", "match": "ge", "value": 18},
    {"type": "custom_attribute", "name": "country", "match": "exact", "value": "DE"},
    [
        "not",
        {"type": "custom_attribute", "name": "browser", "match": "exact", "value": "ie"},
    ],
    {"type": "custom_attribute", "name": "visits", "match": "lt", "value": 1000},
]


def make_experiment(number: int, *, has_segment: bool) -> dict[str, Any]:
    """Return a running experiment of two equal variations."""
    ids = (f"{number}1", f"{number}2")
    names = ("Control", "Variation-1")
    return {
        "id": str(number),
        "key": f"campaign-{number}",
        "layerId": f"{number}0",
        "status": "Running",
        "variations": [
            {"id": one, "key": name, "variables": []} for one, name in zip(ids, names, strict=True)
        ],
        "trafficAllocation": [
            {"entityId": one, "endOfRange": end}
            for one, end in zip(ids, (5000, 10000), strict=True)
        ],
        "audienceIds": ["1"] if has_segment else [],
        "forcedVariations": {},
    }


def make_datafile(campaigns: int, *, has_segment: bool) -> str:
    """Return a datafile with that many experiments."""
    numbers = range(1, campaigns + 1)
    return json.dumps(
        {
            "version": "4",
            "accountId": "1",
            "projectId": "1",
            "revision": "1",
            "anonymizeIP": True,
            "botFiltering": False,
            "attributes": [{"id": str(index), "key": name} for index, name in enumerate(VARIABLES)],
            "events": [],
            "groups": [],
            "rollouts": [],
            "featureFlags": [],
            "variables": [],
            "audiences": [{"id": "1", "name": "five", "conditions": "[]"}],
            "typedAudiences": [{"id": "1", "name": "five", "conditions": FIVE_CONDITIONS}],
            "experiments": [make_experiment(one, has_segment=has_segment) for one in numbers],
        }
    )


def measure_decision(request: Request) -> Samples:
    """Time `get_variation` for the last experiment: it decides and reports nothing."""
    has_segment, key = request["segment"], last_key(request["campaigns"])
    client = optimizely.Optimizely(make_datafile(request["campaigns"], has_segment=has_segment))
    given = VARIABLES if has_segment else None
    decide = client.get_variation
    check_split((decide(key, user, given) for user in USERS[:100]), ("Control", "Variation-1"))
    samples = time_decisions(request, lambda user: decide(key, user, given))
    client.close()
    return samples


serve({"decision": measure_decision}, "optimizely-sdk")
