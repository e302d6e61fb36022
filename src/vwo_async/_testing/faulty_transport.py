"""A transport that answers as a test wants VWO to: with a status, never, or not to be heard."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from ..transport import Answer, Failure, Request

_ACCEPTED = Answer(200)


class FaultyTransport:
    """Answers every request with 200 until it is told otherwise. Nothing leaves the process."""

    def __init__(self) -> None:
        self._answer: Answer | None = _ACCEPTED
        # Requests may hang in several loops at once, and be let go from outside of them.
        self._changed: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Event] = (
            WeakKeyDictionary()
        )

    async def send(self, request: Request) -> Answer:
        """Answer *request*."""
        del request
        while (answer := self._answer) is None:
            changed = self._changed.setdefault(asyncio.get_running_loop(), asyncio.Event())
            changed.clear()
            await changed.wait()
        return answer

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    def refuse(self, status: int) -> None:
        """Answer with *status* from now on."""
        self._set(Answer(status))

    def lose(self) -> None:
        """Take every request from now on, and break the connection before the answer."""
        self._set(Answer(failure=Failure.UNKNOWN))

    def hang(self) -> None:
        """Answer nothing from now on, until told otherwise."""
        self._answer = None

    def recover(self) -> None:
        """Answer with 200 again; what hangs is answered too."""
        self._set(_ACCEPTED)

    def _set(self, answer: Answer) -> None:
        self._answer = answer
        for loop, changed in self._changed.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(changed.set)
