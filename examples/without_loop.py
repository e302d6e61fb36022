"""Shows the examples for code without a loop of its own: runs a collector, and counts what came in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from vwo_async.collector import Collector, serve

SETTINGS = Path(__file__).with_name("settings.json")


@contextmanager
def shown_with_collector() -> Iterator[str]:
    """Let what asks VWO ask a collector meanwhile, and give a goal; then print how many conversions arrived.

    Clients have to be closed before that.
    """
    file = json.loads(SETTINGS.read_bytes())
    collector = Collector(file)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(collector)) as base_url,
    ):
        os.environ["VWO_BASE_URL"] = base_url
        os.environ["VWO_ACCOUNT_ID"] = str(file["accountId"])
        os.environ["VWO_SDK_KEY"] = file["sdkKey"]
        yield next(goal["identifier"] for one in file["campaigns"] for goal in one.get("goals", ()))
        print(f"conversions: {collector.totals().unique_conversions}")  # noqa: T201
