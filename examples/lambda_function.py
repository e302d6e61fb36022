"""AWS Lambda: one loop for each call, and a client that is closed with it.

``python examples/lambda_function.py`` calls it a few times, with a collector in place of VWO.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import vwo_async
from vwo_async.transport import VWO_BASE_URL


async def load() -> vwo_async.Settings:
    """Return the settings of the account in the environment."""
    account_id, sdk_key = os.environ["VWO_ACCOUNT_ID"], os.environ["VWO_SDK_KEY"]
    return await vwo_async.fetch_settings(account_id, sdk_key, base_url=_base_url())


def make(settings: vwo_async.Settings) -> vwo_async.VWOClient:
    """Return a client."""
    return vwo_async.VWOClient(settings, base_url=_base_url())


def _base_url() -> str:
    return os.environ.get("VWO_BASE_URL", VWO_BASE_URL)


clients = vwo_async.per_loop(load, make)


async def handle(event: dict[str, Any]) -> dict[str, Any]:
    """Report an order, and deliver it before the process is frozen."""
    vwo = await clients.get()
    result = await vwo.track(None, event["user"], event["goal"], revenue_value=event.get("revenue"))
    await clients.aclose()
    return result.as_json()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Serve one call; what AWS calls."""
    return asyncio.run(handle(event))


if __name__ == "__main__":
    from without_loop import shown_with_collector

    with shown_with_collector() as goal:
        for number in range(3):
            handler({"user": f"visitor {number}", "goal": goal, "revenue": 9.9}, None)
