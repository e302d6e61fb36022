"""Ports for servers that must be told theirs: what can choose for itself is given port 0."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress

# Below those that connections are made from, so that none of these takes a port while its server is down,
# not even one to itself.
PORTS = range(20_000, 32_000)
# Test processes that run beside each other draw from ranges of their own.
MAX_WORKERS = 24


def find_free_port() -> int:
    """Return a port on which nobody listens."""
    while True:
        port = random.choice(_ports_of_this_worker())
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


def _ports_of_this_worker() -> range:
    name = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return PORTS[int(name.removeprefix("gw")) % MAX_WORKERS :: MAX_WORKERS]
