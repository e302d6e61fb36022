"""A transport that records instead of sending."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ..transport import Answer, Request


class RecordingTransport:
    """Keeps every request and answers 200, or what it was told to answer.

    Give it as the launch option ``transport``. Requests hold the SDK key.

    Args:
        answers: Given first, one for each request, before 200s.

    Attributes:
        requests: Everything sent so far, in order.
    """

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self._answers = deque(answers)
        self.requests: list[Request] = []

    async def send(self, request: Request) -> Answer:
        """Keep *request* and answer."""
        self.requests.append(request)
        return self._answers.popleft() if self._answers else Answer(200)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    def __repr__(self) -> str:
        return f"<RecordingTransport {len(self.requests)} requests>"
