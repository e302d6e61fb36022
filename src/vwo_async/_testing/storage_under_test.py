"""A user storage under test, async or synchronous, whose results are read as the client reads them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from anyio import to_thread

from ..storage import GoalClaims, ManyReader, StoredDecision

Call: TypeAlias = Callable[[], Awaitable[Any]]
"""A function that makes one call."""


def require(is_so: bool, text: str) -> None:
    """Raise AssertionError with *text* if *is_so* is false, also under ``python -O``."""
    __tracebackhide__ = True
    if not is_so:
        raise AssertionError(text)


class StorageUnderTest:
    """Calls a storage as the client does.

    Args:
        storage: The storage. Synchronous functions run in worker threads.

    Attributes:
        storage: The same storage.
    """

    def __init__(self, storage: Any) -> None:
        self.storage = storage

    @property
    def reads_many(self) -> bool:
        """Whether it has get_many."""
        return isinstance(self.storage, ManyReader)

    @property
    def has_claims(self) -> bool:
        """Whether it has claim_goal and release_goal."""
        return isinstance(self.storage, GoalClaims)

    async def get(self, user_id: str, campaign_key: str) -> StoredDecision | None:
        """Return the record."""
        row = await _call(self.storage.get, user_id, campaign_key)
        return read(row, user_id, campaign_key)

    async def get_row(self, user_id: str, campaign_key: str) -> Any:
        """Return the record as the storage returns it."""
        return await _call(self.storage.get, user_id, campaign_key)

    async def set(self, record: StoredDecision) -> None:
        """Keep *record*."""
        await self.set_row(record.as_dict())

    async def set_row(self, row: Mapping[str, Any]) -> None:
        """Call `set` with *row* itself, not with a copy."""
        await _call(self.storage.set, row)

    async def get_many(
        self, user_id: str, campaign_keys: Sequence[str]
    ) -> dict[str, StoredDecision | None]:
        """Return the records of all *campaign_keys*, None where there is none."""
        rows = await _call(self.storage.get_many, user_id, campaign_keys)
        is_mapping = isinstance(rows, Mapping)
        require(is_mapping, f"get_many must return a mapping, not {type(rows).__name__}")
        return {key: read(rows.get(key), user_id, key) for key in campaign_keys}

    async def claim(self, user_id: str, campaign_key: str, goal: str) -> bool:
        """Claim a conversion."""
        answer = await _call(self.storage.claim_goal, user_id, campaign_key, goal)
        is_bool = isinstance(answer, bool)
        require(is_bool, f"claim_goal must return True or False, not {type(answer).__name__}")
        return bool(answer)

    async def release(self, user_id: str, campaign_key: str, goal: str) -> None:
        """Give a claim back."""
        await _call(self.storage.release_goal, user_id, campaign_key, goal)

    def calls(self, record: StoredDecision, goal: str) -> dict[str, Call]:
        """Return a call of each method that the storage has, by name, about the user of *record*."""
        storage, place = self.storage, (record.user_id, record.campaign_key)
        calls = {
            "get": partial(_call, storage.get, *place),
            "set": partial(_call, storage.set, record.as_dict()),
        }
        if self.reads_many:
            calls["get_many"] = partial(_call, storage.get_many, record.user_id, place[1:])
        if self.has_claims:
            calls["claim_goal"] = partial(_call, storage.claim_goal, *place, goal)
            calls["release_goal"] = partial(_call, storage.release_goal, *place, goal)
        return dict(calls)


async def _call(method: Callable[..., Any], *arguments: Any) -> Any:
    if inspect.iscoroutinefunction(method):
        return await method(*arguments)
    answer = await to_thread.run_sync(partial(method, *arguments), abandon_on_cancel=True)
    return await answer if inspect.isawaitable(answer) else answer


def parse(row: Any, user_id: str) -> StoredDecision | None:
    """Return *row* as a record; a row without a user id is taken as one of *user_id*, as by the client."""
    if row is None:
        return None
    is_row = isinstance(row, (StoredDecision, Mapping))
    require(is_row, f"a record must be a mapping or StoredDecision, not {type(row).__name__}")
    record = StoredDecision.from_mapping(row if isinstance(row, Mapping) else row.as_dict())
    if record is None:
        raise AssertionError("a record must have campaignKey and variationName, both of them texts")
    return record if record.user_id else replace(record, user_id=user_id)


def read(row: Any, user_id: str, campaign_key: str) -> StoredDecision | None:
    """Return *row* as a record, and require that it is for this user and campaign."""
    record = parse(row, user_id)
    if record is not None:
        is_asked_for = (record.user_id, record.campaign_key) == (user_id, campaign_key)
        require(is_asked_for, "the storage returned the record of another user or campaign")
    return record


async def settle(call: Call, within_s: float) -> asyncio.Task[Any] | None:
    """Return the task of *call* when it has ended, in whatever way; None if it has not ended in time."""
    task = asyncio.ensure_future(_make(call))
    await asyncio.wait([task], timeout=within_s)
    if not task.done():
        task.cancel()
        return None
    with suppress(asyncio.CancelledError):
        # Retrieved here, so that asyncio does not report an error that nobody asks for.
        task.exception()
    return task


async def begin_and_cancel(call: Call, turns: int, wait_s: float) -> None:
    """Start *call*, cancel it after some turns of the loop and *wait_s*, and wait until it has ended."""
    task = asyncio.ensure_future(_make(call))
    for _ in range(turns):
        await asyncio.sleep(0)
    if wait_s:
        await asyncio.sleep(wait_s)
    task.cancel()
    await asyncio.wait([task])
    with suppress(Exception, asyncio.CancelledError):
        task.result()


async def _make(call: Call) -> Any:
    return await call()
