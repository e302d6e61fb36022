"""Rows 77, 78 and 80: what is left when a client is opened, closed, cancelled, forked, or called by crowds."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, settings

from vwo_async import ClosedError, Reason
from vwo_async.outbox import Row
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Request

pytestmark = pytest.mark.anyio

REQUEST = contextvars.ContextVar("request", default="none")


# Row 77


class Hanging:
    """A storage that never answers."""

    async def get(self, user_id: str, campaign_key: str) -> None:
        await asyncio.Event().wait()

    async def set(self, data: Mapping[str, Any]) -> None:
        await asyncio.Event().wait()


@BOTH_PRODUCTS
@pytest.mark.parametrize("method", ["track", "activate", "decide_all", "explain"])
async def test_row_77_close_while_the_storage_hangs(method: str) -> None:
    """A call that waits for a storage when the client is closed ends as closed, or without a record."""
    client = make_client(
        settings(), user_storage=Hanging(), transport=RecordingTransport(), storage_timeout_s=30
    )
    await client.open()
    arguments = {
        "track": ("checkout", "Ashley", "signup"),
        "activate": ("checkout", "Ashley"),
        "decide_all": ("Ashley",),
        "explain": ("checkout", "Ashley"),
    }[method]
    call = asyncio.create_task(getattr(client, method)(*arguments))
    await asyncio.sleep(0.05)
    await client.aclose(timeout_s=0.1)
    with suppress(ClosedError):
        async with asyncio.timeout(2):
            await call
    assert not call.cancelled()


@BOTH_PRODUCTS
async def test_row_77_close_while_consent_hangs() -> None:
    """A call that waits for the consent function when the client is closed ends, refused."""

    async def hang(_: str) -> bool:
        await asyncio.Event().wait()
        return True

    transport = RecordingTransport()
    client = make_client(settings(), consent=hang, transport=transport, storage_timeout_s=30)
    await client.open()
    calls = [
        asyncio.create_task(client.track("checkout", "Ashley", "signup")),
        asyncio.create_task(client.activate("checkout", "Ashley")),
        asyncio.create_task(client.push("key", "value", "Ashley")),
    ]
    await asyncio.sleep(0.05)
    await client.aclose(timeout_s=0.1)
    async with asyncio.timeout(2):
        answers = await asyncio.gather(*calls)
    assert not any(answers)
    assert not transport.requests


# Row 78


@BOTH_PRODUCTS
async def test_row_78_hanging_integration() -> None:
    """Calls of an async function that hangs are bounded; those that were not made are counted."""
    called = 0

    async def hang(event: dict[str, Any]) -> None:
        nonlocal called
        called += 1
        await asyncio.Event().wait()

    async with make_client(
        settings(), integrations=hang, transport=RecordingTransport(), close_timeout_s=0.1
    ) as client:
        for number in range(3_000):
            assert await client.activate("checkout", f"user {number}")
        await asyncio.sleep(0.01)
        assert called == 1000
        assert client.statistics().callbacks_left_out == 2_000
        assert client.statistics().callback_errors == 0


@BOTH_PRODUCTS
async def test_row_78_memory_of_a_hanging_integration() -> None:
    """The memory that a hanging integration holds does not grow with the callers."""

    async def hang(event: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async with make_client(
        settings(), integrations=hang, development_mode=True, close_timeout_s=0.1
    ) as client:
        for number in range(2_000):
            await client.activate("checkout", f"user {number}")
        gc.collect()
        tracemalloc.start()
        for number in range(5_000):
            await client.activate("checkout", f"other {number}")
        await client.flush_events()
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert grown < 1_500_000


class SlowOutbox:
    """An outbox that takes long to open."""

    def __init__(self) -> None:
        self.is_closed = False

    async def open(self, fingerprint: str) -> None:
        await asyncio.Event().wait()

    async def load(self, limit: int) -> list[Row]:
        return []

    async def append(self, rows: Any) -> list[int]:
        return []

    async def remove(self, ids: Any) -> None:
        pass

    async def find(self, ids: Any) -> set[int]:
        return set()

    async def aclose(self) -> None:
        self.is_closed = True

    def describe(self) -> str:
        return "nowhere"


@BOTH_PRODUCTS
async def test_row_78_cancelled_open(tmp_path: Path) -> None:
    """Opening that is cancelled leaves no task, thread or file lock, and a client that is closed."""
    before = asyncio.all_tasks()
    outbox = SlowOutbox()
    client = make_client(settings(), outbox=outbox, transport=RecordingTransport())
    opening = asyncio.create_task(client.open())
    await asyncio.sleep(0.05)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert outbox.is_closed
    assert asyncio.all_tasks() == before
    with pytest.raises(ClosedError):
        await client.activate("checkout", "Ashley")
    threads = {one.name for one in threading.enumerate()}
    for _ in range(5):
        client = make_client(
            settings(), outbox=tmp_path / "outbox.db", transport=RecordingTransport()
        )
        opening = asyncio.create_task(client.open())
        await asyncio.sleep(0)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening
        await client.aclose()
    assert {one.name for one in threading.enumerate()} <= threads
    async with make_client(
        settings(), outbox=tmp_path / "outbox.db", transport=RecordingTransport()
    ) as client:
        assert await client.activate("checkout", "Ashley")


class ContextTransport:
    """Notes in which context each request was sent."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def send(self, request: Request) -> Answer:
        self.seen.append(REQUEST.get())
        return Answer(200)

    async def aclose(self) -> None:
        pass


@BOTH_PRODUCTS
async def test_row_78_no_callers_context_in_workers() -> None:
    """What the client does on its own runs in no request's context, also not in that which came first."""
    transport = ContextTransport()
    client = make_client(settings(), transport=transport)

    async def handle(name: str) -> None:
        REQUEST.set(name)
        result = await client.track("checkout", name, "often", wait=True)
        assert result.reason is Reason.TRACKED

    for number in range(5):
        await asyncio.create_task(handle(f"request {number}"))
    await client.aclose()
    assert transport.seen == ["none"] * 5


# Row 80

FORKING = """
    import asyncio, os, sys
    sys.path.insert(0, {tests!r})
    from chosen_product import make_client, settings
    from vwo_async import ClosedError
    from vwo_async.storage import MemoryUserStorage
    from vwo_async.testing import RecordingTransport

    # As a module that is imported before the workers are forked.
    transport = RecordingTransport()
    client = make_client(
        settings(), transport=transport, user_storage=MemoryUserStorage(), outbox={outbox!r}
    )

    async def serve(name):
        for number in range(20):
            assert await client.activate("checkout", f"{{name}} {{number}}")
            result = await client.track("checkout", f"{{name}} {{number}}", "signup", wait=True)
            assert result, result.reason
        report = await client.aclose()
        assert report and report.delivered == 40, report

    children = []
    for number in range(3):
        pid = os.fork()
        if not pid:
            try:
                asyncio.run(serve(f"worker {{number}}"))
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert codes == [0, 0, 0], codes
    # The process that forked may use it as well.
    asyncio.run(serve("parent"))
    print("served")
"""


@BOTH_PRODUCTS
@pytest.mark.parametrize("has_outbox", [False, True], ids=["memory", "outbox"])
def test_row_80_client_made_before_a_fork(tmp_path: Path, *, has_outbox: bool) -> None:
    """A client that was made and never opened works in every process that is forked after that."""
    outbox = str(tmp_path / "outbox.db") if has_outbox else None
    script = textwrap.dedent(FORKING).format(tests=str(Path(__file__).parents[1]), outbox=outbox)
    child = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout == "served\n"
