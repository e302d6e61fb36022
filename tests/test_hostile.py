"""Events whose parts are odd, or come at once; hostile files and callers are in ``faults/``."""

from __future__ import annotations

import json

import pytest
from sample import campaign, settings
from server import running_server

from vwo_async import VWOClient

pytestmark = pytest.mark.anyio


async def test_event_ids_of_one_visitor_differ() -> None:
    """Two events of one user in the same millisecond have different message ids."""
    file = settings(isEventArchEnabled=True)
    async with running_server() as server:
        async with VWOClient(file, base_url=server.base_url) as client:
            for _ in range(20):
                await client.track("checkout", "Ashley", "often")
        ids = [json.loads(one.body)["d"]["msgId"] for one in server.requests]
        assert len(set(ids)) == 20


async def test_strange_settings_names_survive() -> None:
    """Names from the settings file go through every wire form unharmed."""
    odd = 'a&b=c "\\é\n🙂'
    one, other = campaign(11, odd), campaign(12, "plain")
    for chosen in (one, other):
        chosen["goals"] = [{"id": chosen["id"], "identifier": odd, "type": "CUSTOM_GOAL"}]
    for is_arch in (False, True):
        file = settings(one, other, isEventArchEnabled=is_arch)
        async with running_server() as server, VWOClient(file, base_url=server.base_url) as client:
            assert await client.track(odd, "Ashley", odd, wait=True)
            assert await client.track(None, "Ashley", odd, wait=True)
            assert client.statistics().delivered == (2 if is_arch else 3)
            if is_arch:
                assert json.loads(server.requests[0].body)["d"]["event"]["name"] == odd
