"""posthog at work: it captures events; deciding would ask its server, so that is not compared."""

from __future__ import annotations

from posthog import Posthog
from worker import GOAL, Request, Samples, serve, time_threads


def measure_track(request: Request) -> Samples:
    """Time `capture`, then flush the pending events."""
    client = Posthog(
        "key", host=request["url"], max_queue_size=2_000_000, disable_geoip=True, max_retries=0
    )
    client.capture(GOAL, distinct_id="warm-up")
    client.flush()
    samples = time_threads(
        request, lambda user: client.capture(GOAL, distinct_id=user), client.flush
    )
    client.shutdown()
    return samples


serve({"track": measure_track}, "posthog")
