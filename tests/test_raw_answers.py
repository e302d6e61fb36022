"""One table of raw answers, and what each transport makes of it: the same, or the table says what else."""

from __future__ import annotations

import asyncio

import pytest
from raw_answer import (
    NEXT_STATUS,
    POST,
    ROWS,
    TRANSPORTS,
    UNKNOWN,
    Row,
    raw_server,
    transport_to,
)

from vwo_async._delivery.transport.by_name import TransportName
from vwo_async.transport import Answer, Failure, Request, Timeouts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

GET = Request("GET", "/server-side/track-user?a=b")
LIMITS = Timeouts(connect_s=1, read_s=0.5, total_s=2)


def outcome_of(answer: Answer) -> int | str:
    if answer.status is not None:
        return answer.status
    assert answer.failure is Failure.UNKNOWN
    return UNKNOWN


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_row_61_raw_answers(transport: TransportName, row: Row) -> None:
    """An answer means the same on every transport: what its status says, whatever comes with it."""
    async with (
        raw_server() as server,
        transport_to(transport, server.base_url, LIMITS) as sender,
    ):
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
    async with (
        raw_server() as server,
        transport_to(transport, server.base_url, LIMITS) as sender,
    ):
        server.answer(row.pieces, closes=False)
        await sender.send(POST)
        # A second answer that comes on its own has arrived by then.
        await server.is_done.wait()
        await asyncio.sleep(0.05)
        assert await sender.send(GET) == Answer(NEXT_STATUS)
        assert await sender.send(POST) == Answer(NEXT_STATUS)
        assert server.requests == 3
