"""vwo-python-sdk at work: its URLs are constants, which are set here before it is launched."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import vwo
from vwo.constants import constants
from worker import (
    GOAL,
    USERS,
    VARIABLES,
    Request,
    Samples,
    UnmeasuredError,
    check_split,
    last_key,
    serve,
    time_decisions,
    time_threads,
)


def launch(request: Request, **options: Any) -> Any:
    """Return a client that sends to the server of the request, if it names one."""
    constants.HTTPS_PROTOCOL = "http://"
    constants.ENDPOINTS.BASE_URL = request.get("url", "http://127.0.0.1:9").removeprefix("http://")
    text = Path(request["settings"]).read_text()
    client = vwo.launch(text, **options)
    if client is None:
        raise UnmeasuredError("the SDK refuses the settings file")
    return client


def measure_decision(request: Request) -> Samples:
    """Time `get_variation_name` for the last campaign."""
    client, key = launch(request), last_key(request["campaigns"])
    given: dict[str, Any] = {"custom_variables": VARIABLES} if request["segment"] else {}
    decide = client.get_variation_name
    check_split((decide(key, user, **given) for user in USERS[:100]), ("Control", "Variation-1"))
    if not given:
        return time_decisions(request, lambda user: decide(key, user))
    return time_decisions(request, lambda user: decide(key, user, custom_variables=VARIABLES))


def measure_track(request: Request) -> Samples:
    """Time `track`, with one request in each call, or with batches of a hundred events."""
    options: dict[str, Any] = {}
    if request.get("is_batched"):
        options["batch_events"] = {"events_per_request": 100, "request_time_interval": 600}
    client = launch(request, **options)

    def call(user: str) -> None:
        client.track("campaign-1", user, GOAL)

    def deliver() -> None:
        if options:
            client.flush_events(mode="sync")

    return time_threads(request, call, deliver)


def measure_open(request: Request) -> Samples:
    """Time the way from the text of a settings file to a client that can decide."""
    samples: Samples = {"ms": []}
    for _ in range(request["samples"]):
        began = time.perf_counter()
        launch(request).get_variation_name(last_key(request["campaigns"]), USERS[0])
        samples["ms"].append((time.perf_counter() - began) * 1e3)
    return samples


serve(
    {"decision": measure_decision, "track": measure_track, "open": measure_open},
    "vwo-python-sdk",
    "requests",
    "mmh3",
)
