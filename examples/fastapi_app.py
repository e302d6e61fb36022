"""FastAPI in 30 lines, with a collector in place of VWO's servers: ``uvicorn --app-dir examples fastapi_app:app``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI

from vwo_async import UserHandle, VWOClient
from vwo_async.collector import Collector, serve
from vwo_async.integrations.fastapi import VWO

SETTINGS = (Path(__file__).parent / "settings.json").read_bytes()


@asynccontextmanager
async def make_client() -> AsyncIterator[VWOClient]:
    """Give the client; in a service: ``VWOClient(await fetch_settings(account_id, sdk_key))``."""
    collector = Collector(SETTINGS)
    async with serve(collector) as base_url:
        async with VWOClient(SETTINGS, base_url=base_url) as client:
            yield client
        print(f"{client!r}, the collector received {collector.totals().events}", flush=True)  # noqa: T201


def visitor_id(visitor: str = "Ashley") -> str:
    """Return who asks: ``?visitor=Becky``; in a service a cookie or the session."""
    return visitor


vwo = VWO(make_client, user_id=visitor_id, trusted_proxies=[])
app = FastAPI(lifespan=vwo.lifespan)
User = Annotated[UserHandle, Depends(vwo.user)]


@app.get("/checkout")
async def checkout(user: User) -> str | None:
    """Return the variation of the button."""
    return await user.activate("checkout_button")


@app.get("/buy")
async def buy(user: User) -> bool:
    """Report a purchase."""
    return bool(await user.track("checkout_button", "purchase", revenue_value=49.9))
