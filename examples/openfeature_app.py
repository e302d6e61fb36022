"""OpenFeature: a service that knows no VWO, with VWO's decisions.

``python examples/openfeature_app.py`` serves some visitors with FME, and ``--fullstack`` with FullStack; a collector
stands in for VWO's servers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import openfeature.api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import AbstractProvider
from openfeature.track import TrackingEventDetails

from vwo_async import FMEClient, VWOClient
from vwo_async.collector import Collector, serve
from vwo_async.integrations.openfeature import FMEProvider, VWOProvider

FOLDER = Path(__file__).parent


async def serve_visitor(visitor: str, plan: str) -> bool:
    """Show a visitor recommendations, if he gets any, and sell him something: nothing here is VWO's."""
    flags = openfeature.api.get_client()
    context = EvaluationContext(visitor, {"plan": plan})
    is_on = await flags.get_boolean_value_async("recommendations", False, context)
    flags.track("purchase", context, TrackingEventDetails(49.9))
    return is_on


@asynccontextmanager
async def fme(collector: Collector, file: bytes) -> AsyncIterator[AbstractProvider]:
    """Give the provider of a client of FME."""
    async with serve(collector) as base_url, FMEClient(file, base_url=base_url) as client:
        yield FMEProvider(client, value_property="revenue")


@asynccontextmanager
async def fullstack(collector: Collector, file: bytes) -> AsyncIterator[AbstractProvider]:
    """Give the provider of a client of FullStack."""
    async with serve(collector) as base_url, VWOClient(file, base_url=base_url) as client:
        yield VWOProvider(client)


async def main(*, is_fullstack: bool, visitors: int = 100) -> None:
    """Serve visitors, and print what the collector has of it."""
    name = "settings.json" if is_fullstack else "fme_settings.json"
    file = (FOLDER / name).read_bytes()
    collector = Collector(file)
    async with (fullstack if is_fullstack else fme)(collector, file) as provider:
        # It calls the provider's ``initialize`` in this thread, which has nothing to do.
        openfeature.api.set_provider(provider)
        shown = [await serve_visitor(f"visitor {number}", "pro") for number in range(visitors)]
        openfeature.api.shutdown()
    counted = collector.totals().unique_conversions
    print(f"visitors: {visitors}, on: {sum(shown)}, purchases: {counted}")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(is_fullstack="--fullstack" in sys.argv[1:]))
