"""Controlling a collector: planned answers, latency, and the paths under /collector."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from own_time import Stopwatch

if TYPE_CHECKING:
    import httpx

    from vwo_async.collector import Collector


@pytest.mark.anyio
async def test_planned_answers(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """Planned answers are given in order, without checking the request, and are counted apart."""
    collector.answer_next(503, times=2, headers={"Retry-After": "7"}, body=b"busy")
    collector.answer_next(429)

    answers = [await wire.track_user().send(client) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [503, 503, 429, 200]
    assert (answers[0].headers["retry-after"], answers[0].text) == ("7", "busy")
    totals = collector.totals()
    assert (totals.requests, totals.answered, totals.accepted, totals.events) == (4, 3, 1, 1)
    assert collector.ledger[0].request_number == 4


@pytest.mark.parametrize(("status", "times"), [(199, 1), (600, 1), (503, 0), (503, -1)])
def test_senseless_plan(collector: Collector, status: int, times: int) -> None:
    """An invalid status or number of times is refused when it is planned."""
    with pytest.raises(ValueError, match="must be"):
        collector.answer_next(status, times)


@pytest.mark.timed
@pytest.mark.anyio
async def test_latency(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """The latency delays answers, and may be changed while serving."""
    collector.latency_s = 0.2
    began = time.monotonic()
    await wire.track_user().send(client)
    slow_s = time.monotonic() - began
    collector.latency_s = 0.0
    watch = Stopwatch()
    await wire.track_user().send(client)

    assert slow_s >= 0.2
    watch.assert_below(0.2)


@pytest.mark.anyio
async def test_totals(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """Totals add up, and are the same over HTTP."""
    collector.answer_next(500)
    for call in (wire.push(), wire.retrieval(), wire.batch(), wire.goal(), wire.shown()):
        await call.send(client)
    await wire.track_user(u="nobody").send(client)

    totals = collector.totals()
    assert totals.requests == 6
    assert totals.settings + totals.accepted + totals.refused + totals.answered == 6
    assert (await client.get("/collector/totals")).json() == {
        "requests": 6,
        "settings": 1,
        "accepted": 3,
        "refused": 1,
        "answered": 1,
        "events": 5,
        "conversions": 3,
        "unique_conversions": 2,
        "visitors": 1,
        "by_kind": {"user": 2, "goal": 2, "push": 1, "sdk": 0},
        "looked_up": 0,
    }


@pytest.mark.anyio
async def test_report_and_ledger(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """Report, ledger and refusals can be read over HTTP."""
    await wire.track_goal(goal=502, revenue="2.50").send(client)
    await wire.track_user(campaign=999).send(client)

    assert (await client.get("/collector/report")).json() == collector.report().as_dict()
    document = (await client.get("/collector/ledger")).json()
    assert document["events"][0]["revenue"] == "2.50"
    assert document["refused"] == [
        {
            "request_number": 2,
            "status": 400,
            "field": "experiment_id",
            "reason": "experiment_id: no campaign of the settings file",
        }
    ]


@pytest.mark.anyio
async def test_reset(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """Reset forgets events, refusals and plans, but neither settings nor numbering."""
    await wire.track_user().send(client)
    await wire.track_user(campaign=999).send(client)
    collector.answer_next(500, times=9)

    answer = await client.post("/collector/reset")

    assert (answer.json()["requests"], collector.refused) == (0, ())
    assert (await wire.track_user().send(client)).status_code == 200
    assert [event.request_number for event in collector.ledger] == [3]


@pytest.mark.anyio
async def test_put_settings(wire: Any, client: httpx.AsyncClient) -> None:
    """A settings file can be put in force over HTTP; a bad one changes nothing."""
    settings = wire.settings
    settings["campaigns"] = settings["campaigns"][1:]
    source = json.dumps(settings, indent=3).encode()

    bad = await client.put("/collector/settings", content=b"<html>")
    before = await wire.track_user(41).send(client)
    good = await client.put("/collector/settings", content=source)
    after = await wire.track_user(41).send(client)

    assert [a.status_code for a in (bad, before, good, after)] == [400, 200, 204, 400]
    assert (await wire.retrieval().send(client)).content == source


@pytest.mark.anyio
async def test_post_answer(wire: Any, client: httpx.AsyncClient) -> None:
    """Answers can be planned over HTTP, and are never given on the paths under /collector."""
    plan = {"status": 503, "times": 1, "headers": {"Retry-After": "1"}, "body": "later"}
    planned = await client.post("/collector/answer", json=plan)
    totals = await client.get("/collector/totals")
    answer = await wire.track_user().send(client)

    assert (planned.status_code, totals.status_code) == (204, 200)
    assert (answer.status_code, answer.text) == (503, "later")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "plan",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"status":"503"}',
        b'{"status":99}',
        b'{"status":true}',
        b'{"status":503,"times":0}',
        b'{"status":503,"body":5}',
        b'{"status":503,"headers":[]}',
    ],
)
async def test_post_wrong_answer(
    collector: Collector, client: httpx.AsyncClient, plan: bytes
) -> None:
    """An invalid plan is answered with 400 and plans nothing."""
    answer = await client.post("/collector/answer", content=plan)

    assert answer.status_code == 400
    assert answer.json()["error"]
    assert collector.totals().answered == 0
