"""The least work of a decision in Python: a look-up, a seed, two hashes and a loop over the ranges."""

from __future__ import annotations

from typing import Any, NamedTuple

import mmh3
from worker import VARIABLES, Request, Samples, check_split, last_key, serve, time_decisions

_hash = mmh3.hash


class Campaign(NamedTuple):
    """The data of a campaign that the hand-written decision needs."""

    traffic_prefix: bytes
    bucket_prefix: bytes
    percent: int
    ranges: tuple[tuple[int, str], ...]


def make_campaigns(number: int) -> dict[str, Campaign]:
    """Return campaigns of two equal variations with all traffic."""
    ranges = ((5000, "Control"), (10000, "Variation-1"))
    return {
        f"campaign-{index}": Campaign(
            f"{index}_".encode(), f"{index}_888888_".encode(), 100, ranges
        )
        for index in range(1, number + 1)
    }


def is_in_segment(variables: dict[str, Any]) -> bool:
    """The segment with five leaves, written by hand."""
    return (
        "prof" in variables["plan"]
        and variables["age"] >= 18
        and variables["country"] == "DE"
        and variables["browser"] != "ie"
        and variables["visits"] < 1000
    )


def decide(campaigns: dict[str, Campaign], key: str, user: str) -> str | None:
    """Return the variation of a user."""
    campaign = campaigns[key]
    user_bytes = user.encode()
    value = int(100 * _hash(campaign.traffic_prefix + user_bytes, 1, False) / 4294967296 + 1)
    if value > campaign.percent:
        return None
    value = int(10000 * _hash(campaign.bucket_prefix + user_bytes, 1, False) / 4294967296 + 1)
    for end, name in campaign.ranges:
        if value <= end:
            return name
    return None


def measure_decision(request: Request) -> Samples:
    """Time decisions of the last campaign."""
    campaigns, key = make_campaigns(request["campaigns"]), last_key(request["campaigns"])
    check_split(
        (decide(campaigns, key, str(number)) for number in range(100)), ("Control", "Variation-1")
    )
    if not request["segment"]:
        return time_decisions(request, lambda user: decide(campaigns, key, user))
    return time_decisions(
        request, lambda user: decide(campaigns, key, user) if is_in_segment(VARIABLES) else None
    )


serve({"decision": measure_decision}, "mmh3")
