"""Conversions that tests of the failure matrix track, and leave behind in the file of an outbox."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from chosen_product import make_client, settings

from vwo_async import TrackResult, VWOClient
from vwo_async.transport import Limits

DOWN = "http://127.0.0.1:9"


async def track(client: VWOClient, user_id: str, **options: Any) -> TrackResult:
    """Track a conversion, which must be accepted."""
    result = await client.track("checkout", user_id, "signup", **options)
    assert result
    return result


async def track_many(
    client: VWOClient, number: int, prefix: str = "u", **options: Any
) -> list[TrackResult]:
    """Track conversions of *number* users at once."""
    calls = [track(client, f"{prefix}{user}", **options) for user in range(number)]
    return list(await asyncio.gather(*calls))


async def leave_behind(
    path: Path,
    number: int,
    prefix: str = "left",
    *,
    file: dict[str, Any] | None = None,
    **options: Any,
) -> list[TrackResult]:
    """Accept events while nobody listens, and close at once."""
    limits = Limits(max_events=100_000, max_bytes=1_000_000_000)
    client = make_client(file or settings(), base_url=DOWN, outbox=path, limits=limits)
    async with client:
        results = await track_many(client, number, prefix, **options)
        report = await client.aclose(timeout_s=0)
        assert report.remaining == number
    return results
