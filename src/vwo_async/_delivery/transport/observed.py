"""A transport that tells of each of its requests, without the query, the headers and the body."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ..._observer import Product, Purpose, RequestReport
from ..answer import Answer, Failure
from ..request import Request
from .protocol import MAX_ANSWER_BYTES, Fetcher, Transport

TransportT = TypeVar("TransportT", bound=Transport)
ResultT = TypeVar("ResultT")


class ObservedTransport(Generic[TransportT]):
    """Sends by another transport.

    Args:
        inner: That transport.
        tell: Called with a report once a request has ended, however it did.
        product: For the report.
        purpose: For the report.
        base_url: For the report.
    """

    def __init__(
        self,
        inner: TransportT,
        tell: Callable[[RequestReport], object],
        product: Product,
        purpose: Purpose,
        base_url: str | None,
    ) -> None:
        self._inner = inner
        self._tell = tell
        self._product: Product = product
        self._purpose: Purpose = purpose
        self._base_url = base_url

    async def send(self, request: Request) -> Answer:
        """Send *request*; see `Transport`."""
        return await self._watch(request, self._inner.send(request), _itself)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()

    async def _watch(
        self,
        request: Request,
        exchange: Awaitable[ResultT],
        find_answer: Callable[[ResultT], object],
    ) -> ResultT:
        began_at, began = time.time(), time.monotonic()
        answer: object = None
        try:
            result = await exchange
            answer = find_answer(result)
            return result
        finally:
            took_s = time.monotonic() - began
            self._tell(self._describe(request, answer, began_at, took_s))

    def _describe(
        self, request: Request, answer: object, began_at: float, took_s: float
    ) -> RequestReport:
        # It was cancelled, or a transport of the service's own raised or returned something else.
        known = answer if isinstance(answer, Answer) else Answer(failure=Failure.UNKNOWN)
        return RequestReport(
            self._product,
            self._purpose,
            request.method,
            self._base_url,
            request.target.partition("?")[0],
            len(request.body),
            known.status,
            "" if known.failure is None else known.failure.name.lower(),
            began_at,
            took_s,
        )


class ObservedFetcher(ObservedTransport[Fetcher]):
    """An `ObservedTransport` that returns what was answered too."""

    async def fetch(
        self, request: Request, max_bytes: int = MAX_ANSWER_BYTES
    ) -> tuple[Answer, bytes]:
        """Send *request* and return the answer with its body; see `Fetcher`."""
        return await self._watch(request, self._inner.fetch(request, max_bytes), _first)


def _itself(answer: Answer) -> object:
    return answer


def _first(fetched: tuple[Answer, bytes]) -> object:
    return fetched[0]
