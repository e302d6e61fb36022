"""One table of raw answers, and what each transport makes of it: the same, or the table says what else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from raw_answer import NEXT_STATUS, ROWS, TRANSPORTS, UNKNOWN, RawServer, Row, raw_server

from vwo_async._delivery.transport.by_name import (
    TransportName,
    check_transport_name,
    load_transport,
    make_transport,
)
from vwo_async._delivery.transport.config import TransportConfig
from vwo_async.transport import Answer, Failure, Request, Timeouts, Transport

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

GET = Request("GET", "/server-side/track-user?a=b")
POST = Request("POST", "/server-side/batch-events?a=b", (), b'{"ev":[]}')
LIMITS = Timeouts(connect_s=1, read_s=0.5, total_s=2)

for _name in TRANSPORTS:
    load_transport(check_transport_name(_name))


@asynccontextmanager
async def transport_to(name: TransportName, server: RawServer) -> AsyncIterator[Transport]:
    transport = make_transport(name, TransportConfig(server.base_url, LIMITS))
    try:
        yield transport
    finally:
        await transport.aclose()


def outcome_of(answer: Answer) -> int | str:
    if answer.status is not None:
        return answer.status
    assert answer.failure is Failure.UNKNOWN
    return UNKNOWN


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_row_61_raw_answers(transport: TransportName, row: Row) -> None:
    """An answer means the same on every transport: what its status says, whatever comes with it."""
    async with raw_server() as server, transport_to(transport, server) as sender:
        server.answer(row.pieces, closes=row.closes)
        answer = await sender.send(GET if ROWS.index(row) % 2 else POST)
        assert outcome_of(answer) == row.outcome


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if not row.closes and row.outcome != UNKNOWN],
    ids=lambda row: row.name,
)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_row_63_what_is_left_over(transport: TransportName, row: Row) -> None:
    """Whatever a server sent beyond an answer, the requests that follow get their own."""
    async with raw_server() as server, transport_to(transport, server) as sender:
        server.answer(row.pieces, closes=False)
        await sender.send(POST)
        # A second answer that comes on its own has arrived by then.
        await server.is_done.wait()
        await asyncio.sleep(0.05)
        assert await sender.send(GET) == Answer(NEXT_STATUS)
        assert await sender.send(POST) == Answer(NEXT_STATUS)
        assert server.requests == 3
