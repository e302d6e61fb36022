"""Rows 15 to 25 of docs/faults.md: processes end, fork and share, and what was accepted arrives.

The collector is a process whose ledger file is on the disk before it answers. It is compared with what
the application printed as accepted, never with the counters of the SDK alone.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from both_products import BOTH_PRODUCTS
from chaos import Child, CollectorProcess, Nursery, find_visitors, make_arguments, wait_until
from chosen_product import make_client, settings
from outbox_file import count_rows
from own_time import Stopwatch
from plain_http import NO_AUTHORITIES
from server import running_server

from vwo_async import ClosedError, CloseReport, OutboxError, TrackResult, VWOClient, WrongLoopError
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Request

README = Path(__file__).parents[2] / "README.md"
ROUNDS = 50
# The most that one process has on its way: 4 workers with 100 events each.
MAX_IN_FLIGHT = 400


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[CollectorProcess]:
    """A collector process."""
    with CollectorProcess(tmp_path) as process:
        yield process


def start(
    collector: CollectorProcess, run: str, name: str, outbox: Path | None = None, *more: str
) -> Child:
    """Start the application, with an outbox or without."""
    folder = collector.ledger.parent
    return Child(folder, name, make_arguments(collector, run, name, outbox, *more))


def drain(collector: CollectorProcess, outbox: Path) -> None:
    """Start the application once more, to deliver what is in the outbox."""
    collector.reset()
    with start(collector, "drain", "drain", outbox) as child:
        child.wait_for("closed")


def find_missing(collector: CollectorProcess, accepted: Sequence[str]) -> set[str]:
    """Return the visitors who were accepted and are not in the ledger."""
    assert len(set(accepted)) == len(accepted) > 0
    return find_visitors(accepted) - collector.read_ledger().keys()


# 15, 16: killed without warning


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
@pytest.mark.parametrize("is_down", [False, True], ids=["well", "down"])
def test_row_15_kill_9_without_outbox(collector: CollectorProcess, is_down: bool) -> None:
    """From memory no more is lost than was pending, and the README says so."""
    if is_down:
        collector.answer(503, 1000)
    with start(collector, "track", "u", None, "--tell-pending", "--pause", "0.001") as child:
        child.wait_for_accepted(200)
        child.end()
    missing = find_missing(collector, child.accepted())
    assert len(missing) <= child.said("pending")[-1]["number"]
    assert len(missing) == (len(child.accepted()) if is_down else len(missing))
    assert "| kill -9, out of memory | what is pending is lost |" in README.read_text()


@pytest.mark.slow
@BOTH_PRODUCTS
@pytest.mark.timeout(240)  # on a busy machine
def test_row_16_kill_9_with_outbox(collector: CollectorProcess, tmp_path: Path) -> None:
    """Two processes, killed 50 times at random moments: every accepted conversion arrives, few twice."""
    draw = random.Random(16)
    outbox = tmp_path / "outbox.db"
    shares = ("--concurrency", "4", "--pause", "0.002", "--wait-share", "0.3")
    accepted: list[str] = []
    with Nursery(tmp_path) as nursery:
        for number in range(ROUNDS):
            if draw.random() < 0.5:
                collector.answer(503, draw.randint(1, 5))
            children = [
                nursery.bear(name, make_arguments(collector, "track", name, outbox, *shares))
                for name in (f"a{number}", f"b{number}")
            ]
            for child in children:
                if draw.random() < 0.7:
                    # Else it dies while it opens, or takes over what the one before left.
                    child.wait_for_open()
                time.sleep(draw.uniform(0.0, 0.2))
                child.kill()
                accepted += child.accepted()
    collector.stop(signal.SIGKILL)
    collector.start()
    drain(collector, outbox)
    assert len(accepted) > 3 * ROUNDS
    assert not find_missing(collector, accepted)
    ledger = collector.read_ledger()
    assert ledger.total() - len(ledger) <= 2 * ROUNDS * MAX_IN_FLIGHT
    assert count_rows(outbox) == 0


# 17, 18: told to end


def start_service(collector: CollectorProcess, *more: str) -> tuple[Child, str]:
    """Start the web service under uvicorn and return it with its URL."""
    arguments = make_arguments(collector, "track", "web", None, *more)
    command = [sys.executable, "-m", "uvicorn", "app:make_service", "--factory", "--port", "0"]
    command += ["--no-access-log", "--app-dir", str(Path(__file__).parent)]
    environment = {**os.environ, "APP_ARGUMENTS": json.dumps(arguments)}
    child = Child(
        collector.ledger.parent,
        "web",
        [],
        command=command,
        environment=environment,
    )
    running = "Uvicorn running on "
    wait_until(lambda: running in child.errors or child.has_ended(), 15, child.errors)
    return child, child.errors.partition(running)[2].split()[0]


def visit(base_url: str, numbers: range) -> None:
    """Let visitors sign up in a web service."""
    with httpx.Client(base_url=base_url, trust_env=False, verify=NO_AUTHORITIES) as web:
        for number in numbers:
            assert web.post(f"/signup?user=u{number}").status_code == 200


def visit_until_refused(base_url: str, numbers: Iterator[int]) -> None:
    """Let visitors sign up until the service is gone."""
    with (
        httpx.Client(base_url=base_url, trust_env=False, verify=NO_AUTHORITIES) as web,
        suppress(httpx.TransportError),
    ):
        for number in numbers:
            web.post(f"/signup?user=u{number}")


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
def test_row_17_sigterm_under_uvicorn(collector: CollectorProcess) -> None:
    """A service that is told to end delivers all it accepted within its close time-out."""
    child, base_url = start_service(collector, "--close-timeout", "5")
    with child:
        visit(base_url, range(20))
        collector.answer(503, 3)
        visit(base_url, range(20, 120))
        visitors = threading.Thread(target=visit_until_refused, args=(base_url, count(120)))
        visitors.start()
        child.wait_for_accepted(220)
        watch = Stopwatch()
        child.end(signal.SIGTERM)
        watch.assert_below(5.5)
        visitors.join()
    assert child.said("closed")[-1]["remaining"] == 0
    assert not find_missing(collector, child.accepted())
    assert collector.read_ledger().total() == child.said("closed")[-1]["delivered"] >= 220


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
def test_row_18_sigterm_with_outbox(collector: CollectorProcess, tmp_path: Path) -> None:
    """Under a bare asyncio.run nothing runs at SIGTERM, and nothing is lost all the same."""
    outbox = tmp_path / "outbox.db"
    collector.answer(503, 1000)
    with start(collector, "track", "u", outbox, "--pause", "0.001") as child:
        child.wait_for_accepted(100)
        assert child.end(signal.SIGTERM) == -signal.SIGTERM
    assert not child.said("closed")
    assert count_rows(outbox) >= 100
    drain(collector, outbox)
    assert not find_missing(collector, child.accepted())


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
def test_row_18_sigterm_without_outbox(collector: CollectorProcess) -> None:
    """Without an outbox what is pending is lost with the process."""
    collector.answer(503, 1000)
    with start(collector, "track", "u", None, "--tell-pending", "--pause", "0.001") as child:
        child.wait_for_accepted(100)
        assert child.end(signal.SIGTERM) == -signal.SIGTERM
    missing = find_missing(collector, child.accepted())
    assert len(missing) == len(child.accepted()) <= child.said("pending")[-1]["number"]


# 19 to 23: one life


async def hang(*_: object) -> None:
    """Never answer."""
    await asyncio.sleep(3600)


@BOTH_PRODUCTS
@pytest.mark.timed
@pytest.mark.anyio
@pytest.mark.timeout(20)
async def test_row_19_close_while_the_server_hangs(
    collector: CollectorProcess, tmp_path: Path
) -> None:
    """Closing keeps its deadline and says how many remain and where; the next client delivers them."""
    outbox = tmp_path / "outbox.db"
    users = [f"u{number}" for number in range(50)]
    async with running_server() as server:
        server.default = hang
        client = make_client(
            settings(), base_url=server.base_url, outbox=outbox, close_timeout_s=0.5
        )
        async with client:
            for user in users:
                assert await client.track("checkout", user, "signup")
            watch = Stopwatch()
            report = await client.aclose()
            watch.assert_below(1.0)
    assert report == CloseReport(0, 0, {}, 50, str(outbox))
    assert count_rows(outbox) == 50
    await asyncio.to_thread(drain, collector, outbox)
    assert not find_missing(collector, users)
    assert collector.read_ledger().total() == 50


@BOTH_PRODUCTS
@pytest.mark.anyio
@pytest.mark.timeout(20)
@pytest.mark.parametrize("timeout_s", [0.0, 1.0])
async def test_row_19_close_while_calls_are_under_way(
    collector: CollectorProcess, tmp_path: Path, timeout_s: float
) -> None:
    """Calls that have not returned when closing begins say accepted, and are kept, or say that it is closed."""
    outbox = tmp_path / "outbox.db"
    users = [f"u{number}" for number in range(50)]
    async with make_client(settings(), base_url="http://127.0.0.1:9", outbox=outbox) as client:
        calls = [asyncio.create_task(client.track("checkout", one, "signup")) for one in users]
        await asyncio.sleep(0)
        await client.aclose(timeout_s=timeout_s)
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, (TrackResult, ClosedError)) for result in results)
    accepted = [
        user
        for user, result in zip(users, results, strict=True)
        if isinstance(result, TrackResult) and result
    ]
    await asyncio.to_thread(drain, collector, outbox)
    assert not find_missing(collector, accepted)
    assert collector.read_ledger().total() == len(accepted)


@BOTH_PRODUCTS
@pytest.mark.anyio
@pytest.mark.timeout(20)
async def test_row_20_close_again_and_from_everywhere() -> None:
    """Twice, at the same time and from other tasks: no error, and one drain."""
    async with running_server() as server:
        client = make_client(settings(), base_url=server.base_url)
        async with client:
            assert await client.track("checkout", "Ashley", "signup")
            reports = await asyncio.gather(*(client.aclose() for _ in range(5)))
            reports.append(await asyncio.create_task(client.aclose()))
        assert {report.delivered for report in reports} == {1}
        assert len(server.requests) == 1


@BOTH_PRODUCTS
@pytest.mark.anyio
@pytest.mark.timeout(20)
async def test_row_20_close_after_a_failed_open(tmp_path: Path) -> None:
    """A client that could not be opened can be closed, often, and says that it is closed."""
    client = make_client(settings(), transport=RecordingTransport(), outbox=tmp_path)
    with pytest.raises(OutboxError):
        await client.open()
    await asyncio.gather(client.aclose(), client.aclose())
    with pytest.raises(ClosedError):
        await client.open()


@BOTH_PRODUCTS
@pytest.mark.anyio
@pytest.mark.timeout(20)
async def test_row_21_track_before_open_and_after_close() -> None:
    """Before open a call opens the client; after close it says so; neither hangs."""
    client = make_client(settings(), transport=RecordingTransport())
    async with asyncio.timeout(2):
        assert await client.track("checkout", "Ashley", "signup", wait=True)
        await client.aclose()
        with pytest.raises(ClosedError):
            await client.track("checkout", "Bill", "signup", wait=True)
    assert client.statistics().accepted == client.statistics().delivered == 1


class SlowStorage:
    """A user storage that takes its time."""

    async def get(self, user_id: str, campaign_key: str) -> dict[str, Any]:
        """Return a record after a while."""
        await asyncio.sleep(0.1)
        return {"userId": user_id, "campaignKey": campaign_key, "variationName": "Control"}

    async def set(self, record: Any) -> None:
        """Keep nothing."""


@BOTH_PRODUCTS
@pytest.mark.anyio
@pytest.mark.timeout(20)
@pytest.mark.parametrize("wait", [False, True])
async def test_row_21_track_while_closing(wait: bool) -> None:
    """A call that waits for the storage while the client closes ends soon, and never with a false yes."""
    transport = RecordingTransport()
    client = make_client(settings(), transport=transport, user_storage=SlowStorage())
    async with client:
        call = asyncio.create_task(client.track("checkout", "Ashley", "signup", wait=wait))
        await asyncio.sleep(0.02)
        await client.aclose()
        async with asyncio.timeout(2):
            (result,) = await asyncio.gather(call, return_exceptions=True)
    assert isinstance(result, ClosedError) or bool(result) is (len(transport.requests) == 1)
    statistics = client.statistics()
    assert statistics.pending == 0
    assert statistics.accepted == statistics.delivered + sum(statistics.dropped.values())


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
def test_row_22_loop_ends_with_the_client_open() -> None:
    """A client that was not closed warns with its counts when it goes, and does nothing else."""
    transport = RecordingTransport()

    async def forget() -> None:
        client = make_client(settings(), transport=transport)
        assert await client.track("checkout", "Ashley", "signup")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(forget())
        gc.collect()
    texts = [str(one.message) for one in caught if one.category is ResourceWarning]
    assert len(texts) == 1
    assert "1 accepted == 0 delivered" in texts[0] and "1 pending" in texts[0]
    # The worker may have begun while the loop ended; the death of the client sends nothing.
    assert len(transport.requests) <= 1


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    ("events", "level", "line"),
    [(1, "WARNING", "1 events were pending and are lost"), (0, "INFO", "nothing was pending")],
)
def test_row_22_a_client_that_is_dropped_says_what_is_lost(
    events: int, level: str, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the number of lost events at WARNING; where nothing was lost, it says so at INFO."""
    caplog.set_level("INFO", "vwo_async")

    async def drop() -> None:
        client = await make_client(settings(), transport=RecordingTransport()).open()
        for _ in range(events):
            assert await client.track("checkout", "Ashley", "signup")
        del client
        gc.collect()

    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        asyncio.run(drop())
    (record,) = [one for one in caplog.records if "was not closed" in one.getMessage()]
    assert (record.levelname, record.getMessage()) == (level, f"a client was not closed: {line}")


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
def test_row_22_the_end_of_the_loop_closes(caplog: pytest.LogCaptureFixture) -> None:
    """A client that somebody still has is closed with its loop: what was accepted is delivered, and nothing is
    said of it."""
    transport = RecordingTransport()

    async def use(client: VWOClient) -> None:
        for number in range(700):
            assert await client.track("checkout", f"u{number}", "signup")

    client = make_client(settings(), transport=transport)
    asyncio.run(use(client))
    assert "closed: 700 accepted == 700 delivered" in repr(client)
    assert client.statistics().worker_restarts == 0
    assert not [one for one in caplog.records if one.name == "vwo_async"]


class SlowTransport(RecordingTransport):
    """Answers after a while."""

    def __init__(self, answer_s: float) -> None:
        super().__init__()
        self.answer_s = answer_s

    async def send(self, request: Request) -> Answer:
        await asyncio.sleep(self.answer_s)
        return await super().send(request)


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
def test_row_22_closing_begins_while_the_loop_ends() -> None:
    """A task that is cancelled since its loop ends, and closes the client then, has it deliver what is pending:
    workers that the loop has cancelled too are replaced."""
    client = make_client(settings(), transport=SlowTransport(0.05))

    async def serve(is_serving: asyncio.Event) -> None:
        async with client:
            for number in range(700):
                assert await client.track("checkout", f"u{number}", "signup")
            is_serving.set()
            await asyncio.Event().wait()

    async def main() -> None:
        is_serving = asyncio.Event()
        serving = asyncio.create_task(serve(is_serving))
        await is_serving.wait()
        assert not serving.done()

    asyncio.run(main())
    assert "closed: 700 accepted == 700 delivered" in repr(client)


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
def test_row_22_closing_is_cut_short(caplog: pytest.LogCaptureFixture) -> None:
    """Where the loop ends while the client closes, what is lost is counted and logged."""
    client = make_client(settings(), transport=SlowTransport(3600), close_timeout_s=0.4)

    async def main() -> None:
        for number in range(10):
            assert await client.track("checkout", f"u{number}", "signup")
        closing = asyncio.create_task(client.aclose(timeout_s=3600))
        await asyncio.sleep(0.05)
        assert not closing.done()

    asyncio.run(main())
    assert client.statistics().dropped == {"closed": 10}
    assert caplog.text.count("closed: 10 events lost") == 1


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
def test_row_23_second_loop() -> None:
    """In a second loop a client says at once that it belongs to another."""

    async def use(client: VWOClient) -> None:
        await client.track("checkout", "Ashley", "signup", wait=True)

    async def misuse(client: VWOClient) -> None:
        for call in (client.track("checkout", "Ashley", "signup"), client.open()):
            with pytest.raises(WrongLoopError, match="event loop"):
                await call

    client = make_client(settings(), transport=RecordingTransport())
    asyncio.run(use(client))
    asyncio.run(misuse(client))
    # It was closed with the first loop, and again is no error.
    assert asyncio.run(client.aclose()).delivered == 1


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
def test_row_23_second_loop_beside_the_first() -> None:
    """So it does while it is open in the first one."""
    client = make_client(settings(), transport=RecordingTransport())
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        first.run_until_complete(client.open())
        for call in (client.track("checkout", "Ashley", "signup"), client.open(), client.aclose()):
            with pytest.raises(WrongLoopError, match="event loop"):
                second.run_until_complete(call)
        first.run_until_complete(client.aclose())
    finally:
        first.close()
        second.close()


# 24: fork


@pytest.mark.slow
@BOTH_PRODUCTS
@pytest.mark.timeout(20)
@pytest.mark.parametrize("has_outbox", [False, True], ids=["memory", "outbox"])
def test_row_24_fork(collector: CollectorProcess, tmp_path: Path, has_outbox: bool) -> None:
    """After a fork the child is told to make a client of its own; no event is lost or sent twice."""
    outbox = tmp_path / "outbox.db" if has_outbox else None
    collector.answer(503, 4)
    with start(collector, "fork", "u", outbox) as parent:
        parent.wait_for("closed")
        assert parent.wait() == 0
    assert parent.said("child") == [{"code": 0}], parent.errors
    assert len(parent.said("refused")) == 2
    assert all("fork" in one["text"] for one in parent.said("refused"))
    assert len(parent.accepted()) == 150
    assert not find_missing(collector, parent.accepted())
    assert collector.read_ledger().total() == 150
    if outbox is not None:
        files = [one for one in tmp_path.glob("outbox.db*") if one.name[-1].isdigit()]
        assert sum(count_rows(one) for one in (outbox, *files)) == 0


@BOTH_PRODUCTS
@pytest.mark.timeout(20)
def test_row_24_child_outlives_its_parent(collector: CollectorProcess, tmp_path: Path) -> None:
    """A child that lives on does not hold what its dead parent left: the next process delivers it."""
    outbox = tmp_path / "outbox.db"
    collector.answer(503, 1000)
    with start(collector, "fork", "u", outbox, "--stays") as parent:
        orphan = parent.wait_for("forked")["pid"]
        try:
            parent.wait_for_accepted(100)
            parent.end()
            drain(collector, outbox)
        finally:
            os.kill(orphan, signal.SIGKILL)
    assert not find_missing(collector, parent.accepted())


# 25: several processes


def _start_four(collector: CollectorProcess, outbox: Path, stack: ExitStack) -> list[Child]:
    shares = ("--pause", "0.01", "--adopt-interval", "0.5", "--wait-share", "0.2")
    return [
        stack.enter_context(start(collector, "track", f"w{number}", outbox, *shares))
        for number in range(4)
    ]


@pytest.mark.slow
@BOTH_PRODUCTS
@pytest.mark.timeout(30)
def test_row_25_four_processes_on_one_path(collector: CollectorProcess, tmp_path: Path) -> None:
    """Each of four processes has a file of its own; what a dead one left is sent once, by the others."""
    outbox = tmp_path / "outbox.db"
    with ExitStack() as stack:
        children = _start_four(collector, outbox, stack)
        for child in children:
            child.wait_for_accepted(20)
        assert len(list(tmp_path.glob("outbox.db*.lock"))) == 4
        collector.answer(503, 8)
        children[0].wait_for_accepted(len(children[0].accepted()) + 20)
        dead, *living = children
        dead.end()
        # The others are busy all the time, and take over what is left all the same.
        missing = find_missing(collector, dead.accepted())
        wait_until(
            lambda: not find_missing(collector, dead.accepted()), 8, f"{len(missing)} not adopted"
        )
        for child in living:
            child.end()
    drain(collector, outbox)
    accepted = [user for child in children for user in child.accepted()]
    assert not find_missing(collector, accepted)
    ledger = collector.read_ledger()
    # Twice: at most what each had on its way when it died.
    assert ledger.total() - len(ledger) <= 4 * MAX_IN_FLIGHT


@pytest.mark.slow
@BOTH_PRODUCTS
@pytest.mark.timeout(30)
def test_row_25_orphans_are_adopted_once(collector: CollectorProcess, tmp_path: Path) -> None:
    """What a dead process left is taken over by one of those that open at the same time."""
    outbox = tmp_path / "outbox.db"
    collector.answer(503, 1000)
    with start(collector, "track", "first", outbox, "--pause", "0.001") as first:
        with start(collector, "track", "dead", outbox, "--pause", "0.001") as dead:
            dead.wait_for_accepted(100)
            first.wait_for_accepted(100)
            dead.end()
        first.end()
    collector.reset()
    with ExitStack() as stack:
        heirs = [
            stack.enter_context(start(collector, "drain", f"heir{number}", outbox, "--on-word"))
            for number in range(4)
        ]
        for heir in heirs:
            heir.give_word()
        for heir in heirs:
            heir.wait_for("closed")
    accepted = first.accepted() + dead.accepted()
    assert not find_missing(collector, accepted)
    ledger = collector.read_ledger()
    assert ledger.total() == len(ledger)
