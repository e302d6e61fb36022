"""aiohttp with VWO FME, and a collector in place of VWO's servers: ``python examples/aiohttp_app.py``."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from vwo_async import FMEClient
from vwo_async.collector import Collector, serve
from vwo_async.integrations.aiohttp import VWO

SETTINGS = (Path(__file__).parent / "fme_settings.json").read_bytes()


@asynccontextmanager
async def make_client() -> AsyncIterator[FMEClient]:
    """Give the client; in a service: ``FMEClient(await fetch_fme_settings(account_id, sdk_key))``."""
    collector = Collector(SETTINGS)
    async with serve(collector) as base_url:
        async with FMEClient(SETTINGS, base_url=base_url) as client:
            yield client
        print(f"{client!r}, the collector received {collector.totals().events}", flush=True)  # noqa: T201


def visitor_id(request: web.Request) -> str:
    """Return who asks: ``?visitor=Becky``; in a service a cookie or the session."""
    return request.query.get("visitor", "Ashley")


vwo = VWO(make_client, user_id=visitor_id, trusted_proxies=[])


async def checkout(request: web.Request) -> web.Response:
    """Return whether the button takes one click."""
    flag = await (await vwo.user(request)).get_flag("checkout_button")
    return web.json_response(bool(flag))


async def buy(request: web.Request) -> web.Response:
    """Report a purchase."""
    user = await vwo.user(request)
    return web.json_response(bool(await user.track_event("purchase", {"revenue": 49.9})))


def make_app() -> web.Application:
    """Return the app."""
    app = web.Application()
    app.cleanup_ctx.append(vwo.cleanup_ctx)
    app.add_routes([web.get("/checkout", checkout), web.get("/buy", buy)])
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
