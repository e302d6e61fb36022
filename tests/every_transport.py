"""The marker of tests that run on every built-in transport, see `chosen_transport`."""

from __future__ import annotations

from typing import get_args

import pytest
from chosen_transport import CHOSEN

from vwo_async._delivery.transport.by_name import TransportName, load_transport

EVERY_TRANSPORT = pytest.mark.usefixtures("transport_name")


@pytest.fixture(params=get_args(TransportName))
def transport_name(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> TransportName:
    """Run the test on this transport, which is loaded as a client does it: not on the event loop."""
    name: TransportName = request.param
    load_transport(name)
    monkeypatch.setenv(CHOSEN, name)
    return name
