"""vwo-fme-python-sdk at work: its settings come from this process, and its events go nowhere."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import requests
from vwo import init
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
)


class Answer:
    """The server's answer: the settings file, or nothing of interest."""

    status_code = 200

    def __init__(self, data: Any) -> None:
        self.data, self.text = data, ""
        self.headers = {"Content-Type": "application/json"}

    def json(self) -> Any:
        """Return what the server says."""
        return self.data


def launch(request: Request) -> Any:
    """Return a client, whose requests are answered at once: the threads that it starts are its own."""
    settings = json.loads(Path(request["settings"]).read_text())
    requests.Session.get = lambda *_, **__: Answer(settings)
    requests.Session.post = lambda *_, **__: Answer({})
    options = {"sdk_key": settings["sdkKey"], "account_id": settings["accountId"]}
    client = init({**options, "is_usage_stats_disabled": True})
    if client is None:
        raise UnmeasuredError("the SDK refuses the settings file")
    return client


def measure_flag(request: Request) -> Samples:
    """Time `get_flag` for the last feature."""
    client, key = launch(request), last_key(request["campaigns"])
    given: dict[str, Any] = {"custom_variables": VARIABLES} if request["segment"] else {}

    def decide(user: str) -> Any:
        return client.get_flag(key, {"id": user, **given})

    found: set[object] = set()
    for user in USERS[:100]:
        found.add(decide(user).get_variable("name", None))
        # With many features each takes its time.
        if len(found) > 1:
            break
    check_split(found, ("Control", "Variation-1"))
    return time_decisions(request, decide)


def measure_event(request: Request) -> Samples:
    """Time `track_event`."""
    client = launch(request)
    return time_decisions(request, lambda user: client.track_event(GOAL, {"id": user}))


serve({"flag": measure_flag, "event": measure_event}, "vwo-fme-python-sdk", "requests")
sys.stdout.flush()
# The SDK's timers would let the process live for ever.
os._exit(0)
