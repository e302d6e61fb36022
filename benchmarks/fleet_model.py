"""How many pods, shards and relays a number of events a second needs, and how much memory Redis does.

Usage: python fleet_model.py --events-per-s N [--outage-s N] [--pod N] [--relay N] [--shard N] [--entry-bytes N]

The figures of one process, which the options replace, were measured with ``nox -s fleet -- --drain N``.
What VWO's servers take is not known.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass

# A part of the time is left over, for bursts and for what else a machine does.
HEADROOM = 0.6


@dataclass(frozen=True)
class Figures:
    """What one process was measured to do.

    Attributes:
        pod_events_per_s: Events that a pod tracks and hands over, with nothing else to do.
        relay_events_per_s: Events that a relay reads and delivers.
        shard_events_per_s: Entries that a Redis server adds, hands out and deletes.
        entry_bytes: Memory of Redis for an entry that waits.
        request_events: Events in one request, where many wait.
    """

    pod_events_per_s: float
    relay_events_per_s: float
    shard_events_per_s: float
    entry_bytes: float
    request_events: float = 500.0


# With Redis writing each entry to its disk before it answers, a relay on httpx, Python 3.11.
MEASURED = Figures(
    pod_events_per_s=45_925, relay_events_per_s=15_459, shard_events_per_s=54_328, entry_bytes=509
)


@dataclass(frozen=True)
class Plan:
    """What a fleet needs.

    Attributes:
        pods: Processes that do nothing but track; a service does more, and has more.
        masters: Redis servers, each on a processor of its own.
        shards: Streams, a few for each server.
        relays: Relay processes, each on a processor of its own.
        requests_per_s: What VWO is asked.
        waiting_bytes: Memory of all Redis servers for an outage of VWO.
    """

    pods: int
    masters: int
    shards: int
    relays: int
    requests_per_s: float
    waiting_bytes: float


def plan_fleet(events_per_s: float, outage_s: float, figures: Figures) -> Plan:
    """Return what *events_per_s* need if VWO is away for *outage_s* at most."""
    masters = _count(events_per_s, figures.shard_events_per_s)
    return Plan(
        pods=_count(events_per_s, figures.pod_events_per_s),
        masters=masters,
        shards=4 * masters,
        relays=_count(events_per_s, figures.relay_events_per_s),
        requests_per_s=events_per_s / figures.request_events,
        waiting_bytes=events_per_s * outage_s * figures.entry_bytes,
    )


def _count(events_per_s: float, one_per_s: float) -> int:
    return max(math.ceil(events_per_s / (one_per_s * HEADROOM)), 1)


def main() -> None:
    """Print a plan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events-per-s", type=float, required=True)
    parser.add_argument("--outage-s", type=float, default=600.0)
    parser.add_argument("--pod", type=float, default=MEASURED.pod_events_per_s)
    parser.add_argument("--relay", type=float, default=MEASURED.relay_events_per_s)
    parser.add_argument("--shard", type=float, default=MEASURED.shard_events_per_s)
    parser.add_argument("--entry-bytes", type=float, default=MEASURED.entry_bytes)
    given = parser.parse_args()
    figures = Figures(given.pod, given.relay, given.shard, given.entry_bytes)
    plan = plan_fleet(given.events_per_s, given.outage_s, figures)
    sys.stdout.write(
        f"{given.events_per_s:,.0f} events/s, VWO away for {given.outage_s:,.0f} s at most:\n"
        f"  pods that do nothing else   {plan.pods:>8,}\n"
        f"  Redis masters               {plan.masters:>8,}\n"
        f"  shards                      {plan.shards:>8,}\n"
        f"  relays                      {plan.relays:>8,}\n"
        f"  requests to VWO a second    {plan.requests_per_s:>8,.0f}\n"
        f"  memory of Redis, all        {plan.waiting_bytes / 2**30:>8,.1f} GiB\n"
    )


if __name__ == "__main__":
    main()
