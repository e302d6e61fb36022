"""The synchronous clients in one process: threads, signals, finalizers, bounds, closing, storages, outboxes."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import chosen_product
import pytest
from chosen_product import CHOSEN, FME, FULLSTACK
from database import any_redis
from port import find_free_port
from processes import received, running_collector
from redact import USER_ID, find_secrets

import vwo_async
import vwo_async.sync
from vwo_async.collector import Collector
from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.storage.sql import SqlUserStorage
from vwo_async.transport import Answer, Limits, Request


class Shop:
    """Makes clients of either product, and reports with them."""

    def __init__(self, collector: Collector, base_url: str, product: str) -> None:
        self.collector = collector
        self.base_url = base_url
        self.is_fme = product == FME

    def make(self, **options: Any) -> Any:
        """Return a synchronous client."""
        kind: Any = vwo_async.sync.FMEClient if self.is_fme else vwo_async.sync.VWOClient
        return kind(chosen_product.settings(), **{"base_url": self.base_url, **options})

    def report(self, client: Any, user: str, **options: Any) -> Any:
        """Report a conversion."""
        if self.is_fme:
            return client.track_event("signup", {"id": user}, **options)
        return client.track("checkout", user, "signup", **options)

    def decide(self, client: Any, user: str) -> Any:
        """Decide, which assigns where there is a storage."""
        if self.is_fme:
            return client.get_flag("checkout", {"id": user})
        return client.activate("checkout", user)


@pytest.fixture(params=[FULLSTACK, FME])
def shop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv(CHOSEN, request.param)
    with running_collector(chosen_product.settings()) as (collector, base_url):
        yield Shop(collector, base_url, request.param)


def books_of(client: Any) -> tuple[int, int, int, int]:
    found = client.statistics()
    return found.accepted, found.delivered, sum(found.dropped.values()), found.pending


class Deaf:
    """A transport that is never answered."""

    async def send(self, request: Request) -> Answer:
        await asyncio.sleep(3600)
        raise AssertionError

    async def aclose(self) -> None:
        """Close nothing."""


def test_calls_answer_like_those_of_the_async_client(shop: Shop) -> None:
    """A call decides and reports as the async client does, and its delivery can be waited for."""
    with shop.make() as client:
        assert shop.decide(client, "Ashley")
        result = shop.report(client, "Ashley")
        assert result
        assert client.wait_for(result.delivery, timeout_s=10)
        assert shop.report(client, "Bert", wait=True)
        assert client.flush_events()
        assert "synchronous" in repr(client)
    assert len(received(shop.collector)) == 2
    assert not shop.collector.refused


@pytest.mark.parametrize("kind", [vwo_async.sync.VWOClient, vwo_async.sync.FMEClient])
def test_every_method_is_there(kind: Any) -> None:
    """Each method of the async client has its like, with the same arguments, and no other has."""
    other = getattr(vwo_async, kind.__name__)
    ours = {name for name in dir(kind) if not name.startswith("_")}
    theirs = {name for name in dir(other) if not name.startswith("_")}
    assert theirs - ours == {"aclose"}
    assert ours - theirs == {"close", "find_caller_target", "run", "wait_for"}
    for name in ours & theirs - {"settings", "settings_warnings"}:
        mine = inspect.signature(getattr(kind, name)).parameters
        assert list(mine) == list(inspect.signature(getattr(other, name)).parameters), name


def test_many_threads(shop: Shop) -> None:
    """Any number of threads may call at once: nothing is lost, and the books are right at every moment."""
    client = shop.make()
    wrong: list[object] = []

    def work(name: int) -> None:
        refused = [n for n in range(20) if not shop.report(client, f"u{name}-{n}")]
        wrong.extend(refused)
        accepted, delivered, dropped, pending = books_of(client)
        if accepted != delivered + dropped + pending:
            wrong.append(client.statistics())

    threads = [threading.Thread(target=work, args=(name,)) for name in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    client.close()
    assert len(received(shop.collector)) == 400
    assert books_of(client) == (400, 400, 0, 0)


def test_closing_while_others_call(shop: Shop) -> None:
    """Whoever calls while the client closes has the event delivered, or gets a ClosedError."""
    client = shop.make()
    accepted: list[str] = []

    def work(name: int) -> None:
        for number in range(100_000):
            try:
                if shop.report(client, f"u{name}-{number}"):
                    accepted.append(f"u{name}-{number}")
            except vwo_async.ClosedError:
                return

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    while len(accepted) < 100:
        time.sleep(0.001)
    closers = [threading.Thread(target=client.close) for _ in range(3)]
    for thread in (*closers, *threads):
        if thread in closers:
            thread.start()
    for thread in (*closers, *threads):
        thread.join(20)
        assert not thread.is_alive()
    found = books_of(client)
    # What came after the queue was empty is counted as lost, and stands in the log.
    assert found[0] == found[1] + found[2] == len(accepted)
    assert found[1] == len(received(shop.collector))


def test_a_full_queue_refuses(shop: Shop) -> None:
    """The queue's bound holds for the threads' events too: who comes too late is told."""
    client = shop.make(transport=Deaf(), limits=Limits(max_events=300), close_timeout_s=0.1)
    results = [bool(shop.report(client, f"u{number}")) for number in range(400)]
    assert 200 <= sum(results) <= 300
    assert not results[-1]
    report = client.close()
    assert report.dropped == {"closed": sum(results)}
    assert books_of(client) == (sum(results), 0, sum(results), 0)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals")
def test_signal_handlers_and_finalizers_may_report(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """A background call in a signal handler or a `__del__`, in the middle of another call, waits for nothing."""
    # At DEBUG each call is logged, and handlers of Python's logging have locks that a signal finds taken.
    caplog.set_level(logging.INFO, logger="vwo_async")
    client = shop.make().open()
    told: list[bool] = []

    class Dying:
        def __del__(self) -> None:
            told.append(bool(shop.report(client, f"d{len(told)}")))

    def handle(number: int, frame: object) -> None:
        told.append(bool(shop.report(client, f"s{len(told)}")))
        cycle = Dying()
        cycle.me = cycle  # type: ignore[attr-defined]

    def ring() -> None:
        for _ in range(60):
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.002)

    before = signal.signal(signal.SIGUSR1, handle)
    # Only where it is asked for, so that nothing of this test dies in a thread of another.
    gc.disable()
    ringing = threading.Thread(target=ring)
    ringing.start()
    number = 0
    try:
        while ringing.is_alive():
            number += 1
            assert shop.report(client, f"u{number}")
            if not number % 50:
                gc.collect()
    finally:
        ringing.join()
        signal.signal(signal.SIGUSR1, before)
        gc.collect()
        gc.enable()
    assert len(told) > 20
    assert all(told)
    client.close()
    assert books_of(client) == (number + len(told), number + len(told), 0, 0)


def test_a_callback_must_not_wait_for_its_client(shop: Shop) -> None:
    """A function that the client calls gets a clear error where it would wait for itself."""
    errors: list[Exception] = []

    def consents(user: str) -> bool:
        try:
            client.flush_events()
        except vwo_async.WrongLoopError as wrong:
            errors.append(wrong)
        return True

    client = shop.make(consent=consents)
    shop.report(client, "Ashley", wait=True)
    client.close()
    assert errors


def test_a_lost_client_says_so(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A client that nobody holds any more delivers in the background, and one line in the log counts what it held."""
    client = shop.make(transport=Deaf(), close_timeout_s=0.2)
    assert shop.report(client, "Ashley")
    with caplog.at_level(logging.WARNING, "vwo_async"):
        del client
        gc.collect()
        ends_at = time.monotonic() + 10
        while "1 event lost" not in caplog.text:
            assert time.monotonic() < ends_at, caplog.text
            time.sleep(0.01)
    assert "a client was not closed: 1 events were pending and are delivered" in caplog.text


def test_closed_is_closed(shop: Shop) -> None:
    """Closing again says the same; using raises; a client that was never opened closes as well."""
    client = shop.make()
    shop.report(client, "Ashley")
    assert client.close() == client.close()
    with pytest.raises(vwo_async.ClosedError):
        shop.report(client, "Ashley")
    unopened = shop.make()
    assert unopened.close().delivered == 0
    with pytest.raises(vwo_async.ClosedError):
        unopened.open()


def locals_of(traceback: TracebackType | None) -> Iterator[str]:
    """Yield the locals of the package's frames, but those of the methods of the async clients, which have arguments."""
    while traceback is not None:
        frame = traceback.tb_frame
        if "vwo_async/_sync/" in frame.f_code.co_filename:
            yield repr(frame.f_locals)
        traceback = traceback.tb_next


def test_frames_show_no_arguments(shop: Shop) -> None:
    """Where a call raises, no frame of the synchronous clients shows whom or what it was about."""
    client = shop.make(strict=True, transport=Deaf())
    bad: Any = object()
    calls: list[Any] = [
        lambda: shop.report(client, USER_ID, wait=bad),
        lambda: shop.report(client, USER_ID, no_such_argument=1),
        lambda: client.explain(USER_ID, bad, bad, bad),
        lambda: vwo_async.sync.fetch_settings(1, USER_ID, base_url="http://127.0.0.1:9"),
        lambda: vwo_async.sync.fetch_settings(1, USER_ID, no_such_argument=1),  # type: ignore[call-arg]
    ]
    if not shop.is_fme:
        calls.append(lambda: client.get_and_update_settings_file(bad, bad, bad, sdk_key=USER_ID))
        calls.append(lambda: client.for_user(USER_ID).track(bad, bad, bad, bad))
    client.open()
    client.close()
    for number in range(2):
        for call in calls:
            with pytest.raises((TypeError, vwo_async.VWOError)) as caught:
                call()
            for text in locals_of(caught.tb):
                assert not find_secrets(text), (number, text)


STORAGES = ("memory", "redis", "sqlite")


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with any_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.mark.parametrize("kind", STORAGES)
def test_user_storages(shop: Shop, kind: str, redis_url: str, tmp_path: Path) -> None:
    """Storages work through the facade: what one client decides the next one finds, and both leave nothing open."""

    def make_storage() -> Any:
        if kind == "redis":
            return RedisUserStorage.from_url(redis_url)
        return SqlUserStorage.from_url(f"sqlite:///{tmp_path}/users.db")

    async def create_tables() -> None:
        storage = make_storage()
        await storage.create_tables()
        await storage.aclose()

    if kind == "sqlite":
        asyncio.run(create_tables())
    memory = MemoryUserStorage()
    names = []
    for _ in range(2):
        storage = memory if kind == "memory" else make_storage()
        with shop.make(user_storage=storage) as client:
            names.append(shop.decide(client, f"{kind}-user"))
            assert client.statistics().storage_errors == 0
    assert bool(names[0]) == bool(names[1])
    assert len([one for one in shop.collector.ledger if one.kind == "user"]) <= 2


def test_outbox(shop: Shop, tmp_path: Path) -> None:
    """With an outbox, what one client cannot deliver is kept, and the next one delivers it."""
    path = tmp_path / "vwo.db"
    down = f"http://127.0.0.1:{find_free_port()}"
    client = shop.make(base_url=down, outbox=str(path), close_timeout_s=0.3)
    for number in range(5):
        assert shop.report(client, f"u{number}")
    assert client.close().remaining == 5
    with shop.make(outbox=str(path)) as client:
        assert client.flush_events()
    assert len(set(received(shop.collector))) == 5


def test_a_bad_outbox_closes_the_client(shop: Shop, tmp_path: Path) -> None:
    """An outbox that cannot be used is told at once."""
    client = shop.make(outbox=str(tmp_path / "none" / "vwo.db"))
    with pytest.raises(vwo_async.OutboxError):
        client.open()
    with pytest.raises(vwo_async.ClosedError):
        client.open()
