"""Which built-in transport the tests of delivery run on: VWO_TEST_TRANSPORT, or the default one."""

from __future__ import annotations

import os
from typing import Any

from vwo_async._delivery.transport.by_name import (
    check_transport_name,
    load_transport,
    make_transport,
)
from vwo_async._delivery.transport.config import TransportConfig
from vwo_async.transport import Timeouts, Transport

TRANSPORT = check_transport_name(os.environ.get("VWO_TEST_TRANSPORT", "httpx"))
# As a client does when it is made: not on the event loop.
load_transport(TRANSPORT)


def chosen_transport(base_url: str, timeouts: Timeouts | None = None, **options: Any) -> Transport:
    """Return the transport under test, as a client makes it."""
    return make_transport(TRANSPORT, TransportConfig(base_url, timeouts, **options))
