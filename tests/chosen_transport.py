"""Which built-in transport a test runs on: httpx or, where it is marked so, each of them in turn."""

from __future__ import annotations

import os
from typing import Any

from vwo_async._delivery.transport.by_name import (
    TransportName,
    check_transport_name,
    make_transport,
)
from vwo_async._delivery.transport.config import TransportConfig
from vwo_async.transport import Timeouts, Transport

# In the environment, so that children of a test run on its transport too.
CHOSEN = "VWO_TEST_TRANSPORT"


def chosen_name() -> TransportName:
    """Return the name of the transport under test."""
    return check_transport_name(os.environ.get(CHOSEN, "httpx"))


def chosen_transport(base_url: str, timeouts: Timeouts | None = None, **options: Any) -> Transport:
    """Return the transport under test, as a client makes it."""
    return make_transport(chosen_name(), TransportConfig(base_url, timeouts, **options))
