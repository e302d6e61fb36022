"""A client that talks to a server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sample import settings
from server import Server, running_server

from vwo_async import VWOClient


@asynccontextmanager
async def serving(
    file: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[VWOClient, Server]]:
    """Run a server and a client of it, which has *file* or the sample file."""
    async with (
        running_server() as server,
        VWOClient(file or settings(), base_url=server.base_url, **options) as client,
    ):
        yield client, server
