"""vwo-fme-python-sdk at work: its settings come from this process, and its events go nowhere or to our server."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
    summarize_held,
    time_decisions,
)

POST = requests.Session.post


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
    if request["work"].startswith("sending_"):
        send_to(request["url"])
    else:
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


def send_to(base_url: str) -> None:
    """Have the SDK's requests go to a server of ours, by the SDK's own threads and sessions."""
    post = POST

    def post_here(session: requests.Session, url: str, **options: Any) -> requests.Response:
        parts = urlsplit(url)
        return post(session, f"{base_url}{parts.path}?{parts.query}", **options)

    requests.Session.post = post_here


def time_sending(request: Request, call: Callable[[str], object]) -> Samples:
    """Time how long calls keep their caller while what they send is on its way."""
    held: list[float] = []
    for number in range(request["calls"]):
        began = time.perf_counter()
        call(f"sending-{time.time_ns()}-{number}")
        held.append(time.perf_counter() - began)
        if request["pause_s"]:
            time.sleep(request["pause_s"])
    return summarize_held(held)


def measure_sending_flag(request: Request) -> Samples:
    """Time `get_flag`, with the impression that it sends."""
    client, key = launch(request), last_key(request["campaigns"])
    return time_sending(request, lambda user: client.get_flag(key, {"id": user}))


def measure_sending_event(request: Request) -> Samples:
    """Time `track_event`, with the event that it sends."""
    client = launch(request)
    return time_sending(request, lambda user: client.track_event(GOAL, {"id": user}))


WORKS = {
    "flag": measure_flag,
    "event": measure_event,
    "sending_flag": measure_sending_flag,
    "sending_event": measure_sending_event,
}
serve(WORKS, "vwo-fme-python-sdk", "requests")
sys.stdout.flush()
# The SDK's timers would let the process live for ever.
os._exit(0)
