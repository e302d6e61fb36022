"""Serving a collector: start, end, and what it must not touch."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from own_time import Stopwatch

from vwo_async._collector.app import MAX_BODY_BYTES
from vwo_async.collector import Collector, serve

if TYPE_CHECKING:
    from pathlib import Path


async def wait_received(collector: Collector) -> None:
    """Wait until the collector has received an event, even if it is not answered yet."""
    while not collector.ledger:
        await asyncio.sleep(0.01)


@pytest.mark.timed
@pytest.mark.anyio
async def test_nothing_is_left(wire: Any) -> None:
    """The end is quick, and leaves no tasks or sockets."""
    before = asyncio.all_tasks()
    watch = Stopwatch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(10):
            async with (
                serve(Collector(wire.settings)) as base_url,
                wire.client(base_url) as client,
            ):
                await wire.track_user().send(client)
        gc.collect()

    assert asyncio.all_tasks() == before
    watch.assert_below(2.0)
    async with wire.client(base_url) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/")


@pytest.mark.timed
@pytest.mark.anyio
async def test_open_connections_are_closed() -> None:
    """A client that stays connected, idle or in a request, does not delay the end."""
    async with serve(Collector()) as base_url:
        address = base_url.removeprefix("http://").split(":")
        silent, half = [await asyncio.open_connection(*address) for _ in range(2)]
        half[1].write(b"POST /events/t HTTP/1.1\r\nHost: x\r\nContent-Le")
        await half[1].drain()
        watch = Stopwatch()

    watch.assert_below(1.0)
    for reader, writer in (silent, half):
        # What the server had not read yet makes the end of the connection a reset.
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()


@pytest.mark.anyio
async def test_requests_in_progress_are_answered(wire: Any, collector: Collector) -> None:
    """Clients that wait for an answer at the end still get it."""
    collector.latency_s = 0.3
    async with wire.client() as client:
        async with serve(collector) as base_url:
            request = wire.track_user()
            request.path = base_url + request.path
            waiting = asyncio.create_task(request.send(client))
            await wait_received(collector)
        answer = await waiting

    assert answer.status_code == 200


@pytest.mark.anyio
async def test_endless_requests_are_cut(
    wire: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is not complete in time is cut off, and leaves no task."""
    monkeypatch.setattr("vwo_async._collector.quiet_server._GRACE_S", 0.1)
    collector.latency_s = 60.0
    before = asyncio.all_tasks()
    async with wire.client() as client:
        async with serve(collector) as base_url:
            request = wire.track_user()
            request.path = base_url + request.path
            waiting = asyncio.create_task(request.send(client))
            await wait_received(collector)
        answer = await waiting

    assert answer.status_code == 500
    assert asyncio.all_tasks() == before


@pytest.mark.anyio
async def test_signals_and_loggers_are_left_alone(
    wire: Any, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Serving changes neither signal handlers nor loggers, and logs no SDK key."""
    caplog.set_level(logging.DEBUG)
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    await wire.track_user().send(client)
    await wire.track_user(campaign=999).send(client)

    # Others of this process may have set theirs; no handler of a server's may be there.
    assert not [one for one in handlers if "uvicorn" in str(getattr(one, "__module__", ""))]
    assert logging.getLogger("uvicorn.access").propagate
    assert not logging.getLogger("uvicorn").handlers
    # httpx, which is on the side of the client here, does log the whole URL.
    others = [record for record in caplog.records if not record.name.startswith("http")]
    assert not any(wire.key in record.getMessage() for record in others)


@pytest.mark.anyio
async def test_port_in_use() -> None:
    """A port in use raises OSError, and a free one can be chosen."""
    async with serve(Collector()) as base_url:
        port = int(base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with serve(Collector(), port=port):
                pass  # pragma: no cover
    async with serve(Collector(), port=port) as again:
        assert again == base_url


@pytest.mark.anyio
async def test_bodies_are_bounded(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """A body of more than 16 MB is answered with 413; a smaller one is read."""
    request = wire.batch()
    fits = json.dumps(request.body).encode().rjust(MAX_BODY_BYTES)

    good = await client.post(
        request.path, params=request.query, headers=request.headers, content=fits
    )
    # The client may see its connection closed before it has sent all.
    try:
        bad = await client.post(request.path, params=request.query, content=fits + b" ")
        status = bad.status_code
    except httpx.HTTPError:
        status = 413

    assert (good.status_code, status) == (200, 413)
    assert [refusal.status for refusal in collector.refused] == [413]


@pytest.mark.anyio
async def test_broken_off_requests(wire: Any, collector: Collector) -> None:
    """A request whose client disconnects before its end is not received."""
    async with serve(collector) as base_url:
        address = base_url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(*address)
        writer.write(b"POST /events/t HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.05)
        async with wire.client(base_url) as client:
            await wire.track_user().send(client)

    assert (collector.totals().requests, collector.ledger[0].request_number) == (1, 1)


@pytest.mark.anyio
async def test_many_at_once(wire: Any, collector: Collector, client: httpx.AsyncClient) -> None:
    """Concurrent requests are all kept, once each, and numbered in order of arrival."""
    calls = [wire.track_user(u=f"{n:032X}").send(client) for n in range(100)]

    answers = await asyncio.gather(*calls)

    assert {answer.status_code for answer in answers} == {200}
    assert [event.request_number for event in collector.ledger] == list(range(1, 101))
    assert collector.totals().visitors == 100


def test_two_loops(wire: Any, collector: Collector) -> None:
    """A collector can be served again in another event loop."""

    async def track() -> int:
        async with serve(collector) as url, wire.client(url) as client:
            return int((await wire.track_user().send(client)).status_code)

    assert [asyncio.run(track()), asyncio.run(track())] == [200, 200]
    assert len(collector.ledger) == 2


@pytest.mark.anyio
async def test_asgi(wire: Any, collector: Collector) -> None:
    """Without a port, a collector is an ASGI application."""
    transport = httpx.ASGITransport(collector)
    async with httpx.AsyncClient(transport=transport, base_url="http://vwo") as client:
        answer = await wire.track_user().send(client)

    assert answer.status_code == 200
    assert repr(collector).startswith("<Collector requests=1 settings=0 accepted=1 refused=0")


@pytest.mark.timed
@pytest.mark.anyio
async def test_answers_are_not_held_back(wire: Any, client: httpx.AsyncClient) -> None:
    """Answers do not wait for TCP acknowledgements, which would take 40 ms each."""
    durations = []
    for _ in range(10):
        began = time.perf_counter()
        await wire.track_user().send(client)
        durations.append(time.perf_counter() - began)

    assert sorted(durations)[5] < 0.03


@pytest.mark.anyio
async def test_batches_are_cheap(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """A batch of 100 takes a few milliseconds of work, HTTP and JSON included."""
    items = [wire.user_item(f"{n:032X}") for n in range(100)]
    durations = []
    for _ in range(10):
        began = time.thread_time()
        await wire.batch(*items).send(client)
        durations.append(time.thread_time() - began)

    assert len(collector.ledger) == 1000
    assert min(durations) < 0.05


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGTERM")
async def test_own_process(wire: Any, tmp_path: Path) -> None:
    """The command prints its address, serves, and exits cleanly on SIGTERM."""
    settings, ledger = tmp_path / "settings.json", tmp_path / "ledger.jsonl"
    settings.write_text(json.dumps(wire.settings))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "vwo_async.collector"),
        *("--settings", str(settings), "--port", "0", "--ledger", str(ledger)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode().strip()
    async with wire.client(line.removeprefix("listening on ")) as client:
        answer = await wire.batch().send(client)
    process.send_signal(signal.SIGTERM)
    await process.communicate()

    assert line.startswith("listening on http://127.0.0.1:")
    assert (answer.status_code, process.returncode) == (200, 0)
    assert len(ledger.read_text().splitlines()) == 3
