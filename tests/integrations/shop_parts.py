"""What the services of all frameworks have in common: their clients, and what their handlers do.

A service runs as a process of its own, with the URL of its collector in ``COLLECTOR_URL``. When it ends it
prints the ledgers of its clients.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from sample import ACCOUNT, KEY

from vwo_async import (
    FMEClient,
    FMEUserHandle,
    UserHandle,
    VWOClient,
    fetch_fme_settings,
    fetch_settings,
)
from vwo_async.storage.cookie import CookieUserStorage

BASE_URL = os.environ.get("COLLECTOR_URL", "")
SECRET = "the secret of the webhook"
PROXIES = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]

logging.basicConfig(level=logging.WARNING)
STORAGE = CookieUserStorage("a secret of the service's own", secure=False)
CLIENTS: dict[str, VWOClient | FMEClient] = {}


@asynccontextmanager
async def open_shop() -> AsyncIterator[VWOClient]:
    """Give a client of FullStack, opened within a context of the service's own."""
    settings = await fetch_settings(ACCOUNT, KEY, base_url=BASE_URL)
    async with VWOClient(settings, base_url=BASE_URL) as client:
        CLIENTS["shop"] = client
        yield client
    # It is the outermost client of each service, so that all are closed by now.
    say(f"final {json.dumps(statistics())}")


async def make_fme() -> FMEClient:
    """Return a client of FME that is not open yet."""
    settings = await fetch_fme_settings(ACCOUNT, KEY, base_url=BASE_URL)
    client = CLIENTS["fme"] = FMEClient(settings, base_url=BASE_URL)
    return client


async def make_cookie_shop() -> VWOClient:
    """Return a client of FullStack whose records are in cookies."""
    settings = await fetch_settings(ACCOUNT, KEY, base_url=BASE_URL)
    client = VWOClient(settings, base_url=BASE_URL, user_storage=STORAGE)
    CLIENTS["cookies"] = client
    return client


def statistics() -> dict[str, Any]:
    """Return the ledger of each client."""
    return {name: client.statistics().as_json() for name, client in CLIENTS.items()}


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def visit(user: UserHandle, flags: FMEUserHandle) -> dict[str, Any]:
    """Ask everything more than once, at the same time too, and count one conversion of each product."""
    names = await asyncio.gather(user.activate("checkout"), user.activate("checkout"))
    shown = [bool(await flags.get_flag("checkout")) for _ in range(3)]
    is_on = [await user.is_feature_enabled("banner") for _ in range(2)]
    return {
        "variations": [*names, await user.activate("checkout")],
        "flags": shown,
        "banner": is_on,
        "tracked": bool(await user.track("checkout", "signup")),
        "event": bool(await flags.track_event("signup")),
    }


async def decide_again(user: UserHandle) -> list[str | None]:
    """Ask twice, as over a connection that lasts."""
    return [await user.activate("checkout") for _ in range(2)]
