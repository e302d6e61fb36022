"""A transport that records instead of sending."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ..transport import Answer, Request


class RecordingTransport:
    """Records every request and answers 200, or with the answers that it was given.

    Pass it as the launch option ``transport``. The recorded requests hold the SDK key.

    Args:
        answers: The answers to the first requests. All others are answered with 200.

    Attributes:
        requests: The requests so far, in order.
    """

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self._answers = deque(answers)
        self.requests: list[Request] = []

    async def send(self, request: Request) -> Answer:
        """Record *request* and answer it."""
        self.requests.append(request)
        return self._answers.popleft() if self._answers else Answer(200)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    def __repr__(self) -> str:
        return f"<RecordingTransport: {len(self.requests)} sent>"
