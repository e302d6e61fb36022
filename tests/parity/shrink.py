"""Makes an unexplained call small: what can be taken away without changing its fault is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]

# What a settings file, a campaign and a variation cannot do without.
NEEDED = frozenset(
    {
        *("accountId", "version", "campaigns", "id", "key", "status", "type", "percentTraffic"),
        *("variations", "goals", "segments", "name", "weight", "groups", "campaignGroups"),
    }
)


def shrink(case: Json, fails: Callable[[Json], bool]) -> Json:
    """Return *case* without whatever *fails* does not need."""
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for smaller in attempts(case):
            if fails(smaller):
                case, is_smaller = smaller, True
                break
    return case


def attempts(case: Json) -> Iterator[Json]:
    """Yield copies of *case* that each lack one thing, the largest things first."""
    settings = case["settings"]
    for index in range(len(settings["campaigns"])):
        yield without(case, "settings", "campaigns", index)
    for name in ("groups", "campaignGroups"):
        if name in settings:
            yield without(case, "settings", name)
    for place in (("launch",), ("calls", 0, "options"), ("rows",)):
        for key in keys_of(at(case, place)):
            yield without(case, *place, key)
    for index, campaign in enumerate(settings["campaigns"]):
        yield from attempts_within(case, index, campaign)
    for name in settings.keys() - NEEDED:
        yield without(case, "settings", name)
    for name, value in case["calls"][0]["options"].items():
        for key in keys_of(value):
            yield without(case, "calls", 0, "options", name, key)


def attempts_within(case: Json, index: int, campaign: Json) -> Iterator[Json]:
    place = ("settings", "campaigns", index)
    if campaign["segments"]:
        yield replaced(case, (*place, "segments"), {})
    for name in ("goals", "variations", "variables"):
        for number in keys_of(campaign.get(name)):
            yield without(case, *place, name, number)
    for name in campaign.keys() - NEEDED:
        yield without(case, *place, name)
    for number, variation in enumerate(campaign["variations"]):
        for name in variation.keys() - NEEDED:
            yield without(case, *place, "variations", number, name)
        if variation.get("segments"):
            yield replaced(case, (*place, "variations", number, "segments"), {})


def keys_of(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list) else []


def at(case: Json, place: tuple[Any, ...]) -> Any:
    value: Any = case
    for key in place:
        value = value[key]
    return value


def without(case: Json, *place: Any) -> Json:
    smaller = copy.deepcopy(case)
    del at(smaller, place[:-1])[place[-1]]
    return smaller


def replaced(case: Json, place: tuple[Any, ...], value: Any) -> Json:
    smaller = copy.deepcopy(case)
    at(smaller, place[:-1])[place[-1]] = value
    return smaller
