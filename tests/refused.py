"""What the collector answers to requests that are right or wrong in one thing, the same for both products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from vwo_async.collector import Collector


async def check_field_refused(
    request: Any, collector: Collector, client: httpx.AsyncClient, *, expected: str, key: str
) -> None:
    """The request is answered with 400 and the name of the field; no event is kept, and no *key* is shown."""
    answer = await request.send(client)

    assert (answer.status_code, len(collector.ledger)) == (400, 0)
    assert expected in answer.json()["error"]
    assert [refusal.reason for refusal in collector.refused] == [answer.json()["error"]]
    assert key not in answer.text


async def check_accepted(request: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """The request is accepted, and all of it is kept."""
    answer = await request.send(client)

    assert (answer.status_code, collector.refused) == (200, ())
    assert answer.json() == {"received": len(collector.ledger)}


async def check_body_refused(
    request: Any, collector: Collector, client: httpx.AsyncClient, body: bytes
) -> None:
    """The request is answered with 400 if it has *body* in place of its own."""
    answer = await client.post(
        request.path, params=request.query, headers=request.headers, content=body
    )

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("body: must be ")
    assert len(collector.ledger) == 0


async def check_place_refused(
    collector: Collector, client: httpx.AsyncClient, place: tuple[str, str], status: int, field: str
) -> None:
    """A request to *place*, a method and a path, is answered with *status*, and recorded."""
    answer = await client.request(*place)

    assert answer.status_code == status
    assert [(one.status, one.field) for one in collector.refused] == [(status, field)]
