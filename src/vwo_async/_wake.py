"""Letting those go on who wait for something, as futures of the event loop."""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar

T = TypeVar("T")


class Wake(Protocol):
    """Sets the result of a future for which one call waits: now, or in a later turn of the loop."""

    def __call__(self, waiter: asyncio.Future[T], result: T, /) -> None:
        """Nothing happens where the future is done already."""
        ...


def wake_now(waiter: asyncio.Future[T], result: T) -> None:
    """Set the result of *waiter*, unless it is done."""
    if not waiter.done():
        waiter.set_result(result)
