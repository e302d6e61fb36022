"""A file with what was counted, by which a collector goes on where another one ended.

Its first line has a digest of the rest, so that a file that is damaged anywhere is refused, and never half taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from array import array
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import compress, decompress

from ..event_report import PropertyCount
from ..inbox import Inbox, Totals
from ..product import Account, Product
from .count import CampaignCount, GoalCount, NameCount, VariationCount
from .entry import Entries
from .fingerprint import FingerprintMap
from .series import Series
from .tally import MAX_REMEMBERED, Tally

__all__ = ["StateFile"]

_FORM = b"vwo_async collector state 1 "
_PAUSE_S = 2.0
# A large state takes long to write; so much of the time it may take.
_SHARE = 0.1


class StateFile:
    """The file of a collector's state.

    It holds counts, visitors' UUIDs and the entries that the page lists, and no SDK key; only its owner can
    read it. The events themselves are not in it: see `LedgerFile`.

    Args:
        path: The file; it need not exist.
        inbox: What is kept in it.

    Raises:
        ValueError: *path* is no path.
    """

    def __init__(self, path: str | os.PathLike[str], inbox: Inbox) -> None:
        if not isinstance(path, str | os.PathLike) or not str(path) or "\0" in str(path):
            raise ValueError("state_path: must be a path")
        self._path = Path(path)
        self._inbox = inbox
        self._written: object = None

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Read the file, and write it every few seconds and at the end.

        Raises:
            ValueError: The file is not one of a collector.
            OSError: It cannot be read or written.
        """
        await self._read()
        keeper = asyncio.create_task(self._keep(), name="vwo_async collector state")
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
            await self._write()

    async def _read(self) -> None:
        try:
            text = await asyncio.to_thread(self._path.read_bytes)
        except FileNotFoundError:
            # Whether it can be written shows now, and not when there is something to lose.
            await self._write()
            return
        self._inbox.resume(*await asyncio.to_thread(_parse, text))

    async def _keep(self) -> None:
        loop, pause_s = asyncio.get_running_loop(), _PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            began_at = loop.time()
            # A disk that is full for a while must not end the collector; at the end the error is raised.
            with contextlib.suppress(OSError):
                await self._write()
            pause_s = max(_PAUSE_S, (loop.time() - began_at) / _SHARE)

    async def _write(self) -> None:
        mark = self._inbox.totals(), self._inbox.resets
        if mark == self._written:
            return
        state = _dump(self._inbox)
        await asyncio.to_thread(self._replace, state)
        self._written = mark

    def _replace(self, state: Mapping[str, Any]) -> None:
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_seal(json.dumps(state, default=_encode).encode()))
                file.flush()
                os.fsync(descriptor)
            new.replace(self._path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def _encode(value: object) -> object:
    if isinstance(value, array):
        return list(value)
    return b64encode(compress(value, 1)).decode() if isinstance(value, bytes) else str(value)


def _dump(inbox: Inbox) -> dict[str, Any]:
    """Return all of it as it is now, as values that a thread can write while the counts go on."""
    tally = inbox.tally
    return {
        "totals": inbox.totals().as_dict(),
        "visitors": tally.visitors,
        "unique_conversions": tally.unique_conversions,
        "is_partial": tally.is_partial,
        "remembered": tally.seen.dump(),
        "campaigns": [_dump_campaign(one) for one in tally.campaigns.values()],
        "names": [
            [*account, name, *_dump_name(one)] for (account, name), one in tally.names.items()
        ],
        "entries": inbox.entries.dump(),
        "last_entry": inbox.entries.last_number,
    }


def _dump_campaign(campaign: CampaignCount) -> dict[str, Any]:
    return {
        "account": list(campaign.account),
        "campaign_id": campaign.campaign_id,
        "visitors": campaign.visitors,
        "slots": list(campaign.slots),
        "variations": [
            [
                variation_id,
                variation.visitors,
                [
                    [goal_id, goal.conversions, goal.converted, goal.revenue]
                    for goal_id, goal in variation.goals.items()
                ],
            ]
            for variation_id, variation in campaign.variations.items()
        ],
        "series": campaign.series.dump(),
    }


def _dump_name(name: NameCount) -> list[Any]:
    properties = [[key, one.events, one.total] for key, one in name.properties.items()]
    counts = [name.received, name.duplicates, name.visitors, name.conversions, name.revenue]
    return [*counts, properties]


def _parse(text: bytes) -> tuple[Totals, Tally, Entries]:
    body = text.partition(b"\n")[2]
    if text != _seal(body):
        raise ValueError("state_path: the file is not one that a collector has written, or damaged")
    state = json.loads(body)
    entries = Entries()
    entries.load(state["entries"], state["last_entry"])
    return Totals(**state["totals"]), _load_tally(state), entries


def _seal(body: bytes) -> bytes:
    """Return the content of a file, by which one that was damaged, or is of another form, is told."""
    return _FORM + sha256(body).hexdigest().encode() + b"\n" + body


def _load_tally(state: Mapping[str, Any]) -> Tally:
    tally = Tally()
    tally.visitors = state["visitors"]
    tally.unique_conversions = state["unique_conversions"]
    tally.is_partial = state["is_partial"]
    tally.seen = FingerprintMap.load(decompress(b64decode(state["remembered"])), MAX_REMEMBERED)
    for one in state["campaigns"]:
        campaign = _load_campaign(one)
        tally.campaigns[campaign.account, campaign.campaign_id] = campaign
    for product, account_id, name, *counts in state["names"]:
        tally.names[_load_account(product, account_id), name] = _load_name(*counts)
    return tally


def _load_campaign(state: Mapping[str, Any]) -> CampaignCount:
    campaign = CampaignCount(_load_account(*state["account"]), state["campaign_id"])
    campaign.visitors, campaign.slots = state["visitors"], state["slots"]
    for variation_id, visitors, goals in state["variations"]:
        campaign.variations[variation_id] = VariationCount(
            visitors,
            {
                goal_id: GoalCount(conversions, converted, Decimal(revenue))
                for goal_id, conversions, converted, revenue in goals
            },
        )
    campaign.series = Series.load(**state["series"])
    return campaign


def _load_name(
    received: int,
    duplicates: int,
    visitors: int,
    conversions: int,
    revenue: str,
    properties: list[tuple[str, int, str | None]],
) -> NameCount:
    found = {
        key: PropertyCount(events, None if total is None else Decimal(total))
        for key, events, total in properties
    }
    return NameCount(received, duplicates, visitors, conversions, Decimal(revenue), found)


def _load_account(product: str, account_id: str) -> Account:
    return Account(Product(product), account_id)
