"""Which events are kept, and which of them count."""

from __future__ import annotations

import asyncio
import json
import stat
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from vwo_async.collector import Collector, Conversion, Endpoint, serve

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.anyio
async def test_single_requests(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """Each GET is one event with everything that the request says."""
    shown = wire.track_user()
    shown.change("query", "visitor_ua", "Mozilla")
    shown.change("query", "visitor_ip", "10.0.0.1")
    shown.headers |= {"X-Device-User-Agent": "Mozilla", "VWO-X-Forwarded-For": "10.0.0.1"}
    for call in (shown, wire.track_goal(goal=502, revenue="99.90"), wire.push()):
        await call.send(client)

    user, goal, push = collector.ledger
    assert (user.kind, goal.kind, push.kind) == ("user", "goal", "push")
    assert (user.request_number, goal.request_number, push.request_number) == (1, 2, 3)
    assert (user.campaign_ids, user.variation_id, user.visitor) == ((41,), 2, wire.visitor)
    assert (user.user_agent, user.ip) == ("Mozilla", "10.0.0.1")
    assert goal.conversions == (Conversion(41, 502, Decimal("99.90")),)
    assert (goal.goal_ids, goal.revenue) == ((502,), Decimal("99.90"))
    assert push.tags == {"plan": "pro"}


@pytest.mark.anyio
async def test_batch_items(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """A batch item is one event; a push may be percent-encoded JSON or plain."""
    encoded = "%7B%22u%22%3A%7B%22plan%22%3A%22a%26b%20%C3%A9%22%7D%7D"
    items = [wire.user_item(), wire.goal_item(502, r=12.5), wire.push_item(encoded)]
    await wire.batch(*items).send(client)

    user, goal, push = collector.ledger
    assert {event.request_number for event in collector.ledger} == {1}
    assert {event.endpoint for event in collector.ledger} == {Endpoint.BATCH}
    assert (user.campaign_ids, user.variation_id) == ((41,), 2)
    assert goal.revenue == Decimal("12.5")
    assert push.tags == {"plan": "a&b é"}


@pytest.mark.anyio
async def test_batch_is_all_or_nothing(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """One wrong item refuses the whole batch, and the error has its number."""
    items = [wire.user_item(f"{n:032X}") for n in range(100)]
    items[57]["c"] = 3

    answer = await wire.batch(*items).send(client)

    assert answer.json() == {"error": "ev[57].c: no variation of this campaign"}
    assert len(collector.ledger) == 0


@pytest.mark.anyio
async def test_event_architecture(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """A goal event is one event with a conversion for each campaign, and its own properties."""
    goal = wire.goal(colour="red")
    for call in (wire.shown(), goal, wire.sync()):
        await call.send(client)

    user, converted, push = collector.ledger
    assert (user.campaign_ids, user.variation_id) == ((41,), 2)
    assert (converted.campaign_ids, converted.variation_id) == ((41, 42), None)
    assert converted.conversions == (Conversion(41, 501), Conversion(42, 501))
    assert (converted.event_name, converted.props) == ("signup", {"colour": "red"})
    assert converted.event_id == goal.body["d"]["msgId"]
    assert push.tags == {"plan": "pro"}


@pytest.mark.anyio
async def test_event_revenue(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """Revenue is read from the goal's property in vwoMeta or else in the event."""
    told = wire.goal("refill", {"id_41": ["g_503"]}, price=3)
    told.change("body", "d.event.props.vwoMeta.price", 7.25)
    own = wire.goal("refill", {"id_41": ["g_503"]}, price=3)
    nameless = wire.goal("order", {"id_41": ["g_502"]}, price=3)
    for call in (told, own, nameless):
        assert (await call.send(client)).status_code == 200

    assert [event.revenue for event in collector.ledger] == [Decimal("7.25"), Decimal(3), None]


@pytest.mark.anyio
async def test_resend_has_same_id(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """A resend of the same bytes has the same id, also from a split batch."""
    items = [wire.user_item(), wire.goal_item(), wire.push_item()]
    for call in (wire.track_user(random="0.1"), wire.batch(*items), wire.shown()):
        await call.send(client)
        await call.send(client)
    await wire.batch(items[1]).send(client)
    await wire.track_user(random="0.2").send(client)

    ids = [event.event_id for event in collector.ledger]
    assert ids[0] == ids[1]
    assert ids[2:5] == ids[5:8]
    assert ids[8] == ids[9]
    assert ids[10] == ids[3]
    assert len(set(ids)) == 6


@pytest.mark.anyio
async def test_conversions_count_once(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """A goal counts once per visitor and campaign, however often and in whatever form it arrives."""
    for random in ("0.1", "0.2"):
        await wire.track_goal(random=random).send(client)
    await wire.batch(wire.goal_item()).send(client)
    await wire.goal().send(client)
    await wire.track_goal(u=wire.other).send(client)

    totals = collector.totals()
    assert (totals.events, totals.conversions, totals.unique_conversions) == (5, 6, 3)


@pytest.mark.anyio
async def test_repeatable_goal_counts_each_event(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """A goal with mca -1 counts each event id once, so that a resend adds nothing."""
    first = wire.track_goal(goal=503, revenue="5", random="0.1")
    for call in (first, wire.track_goal(goal=503, revenue="6", random="0.2"), first):
        await call.send(client)

    assert [counted.revenue for counted in collector.ledger.counted] == [Decimal(5), Decimal(6)]
    assert collector.totals().conversions == 3


@pytest.mark.anyio
async def test_ledger_file(wire: Any, tmp_path: Path) -> None:
    """Every event is a line in the ledger file before its request is answered, in order."""
    path = tmp_path / "ledger.jsonl"
    collector = Collector(wire.settings, ledger_path=path)
    async with serve(collector) as base_url, wire.client(base_url) as client:
        await wire.batch().send(client)
        assert len(path.read_text().splitlines()) == 3
        calls = (wire.track_user(u=f"{n:032X}").send(client) for n in range(50))
        await asyncio.gather(*calls)
        await wire.track_user(campaign=999).send(client)

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [event.as_dict() for event in collector.ledger]
    assert len(lines) == 53
    assert wire.key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.anyio
async def test_ledger_file_cannot_be_written(
    wire: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """If the file can no longer be written, the client is not told that the event is safe."""
    path = tmp_path / "ledger"
    collector = Collector(wire.settings, ledger_path=path)
    async with serve(collector) as base_url, wire.client(base_url) as client:
        path.unlink()
        path.mkdir()
        answer = await wire.track_user().send(client)

    assert answer.status_code == 500
    told = [record.getMessage() for record in caplog.records if record.name == "uvicorn.error"]
    assert told
    assert not any(wire.key in message for message in told)


@pytest.mark.anyio
async def test_a_ledger_file_that_is_none(wire: Any, tmp_path: Path) -> None:
    """A ledger file that cannot be written shows at the start, and not with the first event."""
    with pytest.raises(IsADirectoryError):
        async with serve(Collector(wire.settings, ledger_path=tmp_path)):
            pass
