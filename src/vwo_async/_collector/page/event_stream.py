"""An answer that goes on: server-sent events, until the browser or the server ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["EventStream"]

_POLL_S = 0.1


class EventStream(Response):
    """A stream of server-sent events.

    Args:
        read: Returns the messages that are new, as they are written.
        tick_s: How long to wait before it is asked again.
        is_ending: Whether the server is about to end.
        headers: Of the answer.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        read: Callable[[], Awaitable[Sequence[str]]],
        tick_s: float,
        is_ending: Callable[[], bool],
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(headers={**headers, "content-type": self.media_type})
        del self.headers["content-length"]
        self._read = read
        self._ticks = round(tick_s / _POLL_S)
        self._is_ending = is_ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send messages; this is the ASGI interface."""
        leaving = asyncio.create_task(_wait_for_end(receive), name="vwo_async collector page")
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_all(send, leaving)
            await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()
            await asyncio.wait([leaving])

    async def _send_all(self, send: Send, leaving: asyncio.Task[None]) -> None:
        while not self._is_ending() and not leaving.done():
            for message in await self._read():
                body = message.encode()
                await send({"type": "http.response.body", "body": body, "more_body": True})
            for _ in range(self._ticks):
                if not self._is_ending():
                    await asyncio.wait([leaving], timeout=_POLL_S)


async def _wait_for_end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
