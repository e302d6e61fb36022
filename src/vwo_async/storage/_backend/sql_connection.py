"""Connections of SQLAlchemy's engines, lent to one call after another, and calls that outlive their callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..._error import StorageError
from .sql_drivers import find_code, is_closed, stop, terminate

T = TypeVar("T")

# A server that was made a standby, or a session that began while writing was forbidden: a new connection may do.
READ_ONLY: Final = "25006"
# A connection to a server that was since taken out of service is not kept for ever.
RECYCLE_S: Final = 1800
# How long after its caller was cancelled a statement may still end by itself, and until when by being stopped.
STOP_S: Final = 0.5
GRACE_S: Final = 1.0


class Connection:
    """A connection of an engine.

    Attributes:
        own: SQLAlchemy's.
        driver: The driver's.
        prepared: What was prepared on it, by statement.
        opened_at: When it was taken from the engine, in monotonic seconds.
    """

    __slots__ = ("driver", "opened_at", "own", "prepared")

    def __init__(self, own: AsyncConnection, driver: Any, prepared: dict[str, Any]) -> None:
        self.own = own
        self.driver = driver
        self.prepared = prepared
        self.opened_at = time.monotonic()

    @classmethod
    async def open(cls, engine: AsyncEngine) -> Connection:
        """Take a connection from *engine*."""
        own = await engine.connect()
        raw = await own.get_raw_connection()
        return cls(own, raw.driver_connection, raw.info.setdefault("vwo_prepared", {}))

    async def give_up(self) -> None:
        """Close it: nobody is to find it in the middle of something, or gone."""
        if is_closed(self.driver):
            # This fails, and SQLAlchemy then gives up all connections as old as this one: they may be dead too.
            with suppress(Exception):
                await self.own.exec_driver_sql("SELECT 1")
        else:
            await self.own.invalidate()
        await self.own.close()


class Connections:
    """Lends connections of an engine.

    Those of an engine of the storage's own stay with it while nobody has them, since to take one from
    SQLAlchemy and give it back costs more than a statement. Those of another's engine go back each time.

    Args:
        engine: The engine.
        size: How many there may be at a time, where the engine is the storage's own.
    """

    def __init__(self, engine: AsyncEngine, size: int | None = None) -> None:
        self.engine = engine
        self._idle: list[Connection] = []
        # Who is told of a connection that is being set up, by the task that does so.
        self._opening: dict[asyncio.Task[Any], Callable[[Any], object]] = {}
        # First of all: what SQLAlchemy asks a new connection has no time limit.
        event.listen(engine.sync_engine, "connect", self._on_connect, insert=True)
        # Who waits in SQLAlchemy's pool is not told when another failed to connect.
        self._permits = None if size is None else asyncio.Semaphore(size)

    async def lend(self, on_connect: Callable[[Any], object]) -> Connection:
        """Return a connection, when there is one, to be given back.

        Args:
            on_connect: Called with that of the driver, where a new one is about to be set up.
        """
        if self._permits is None:
            return await self._open(on_connect)
        await self._permits.acquire()
        try:
            return await self._find() or await self._open(on_connect)
        except BaseException:
            self._permits.release()
            raise

    async def _open(self, on_connect: Callable[[Any], object]) -> Connection:
        task = asyncio.current_task()
        assert task is not None
        self._opening[task] = on_connect
        try:
            return await Connection.open(self.engine)
        finally:
            del self._opening[task]

    def _on_connect(self, connection: Any, record: object) -> None:
        task = asyncio.current_task()
        on_connect = None if task is None else self._opening.get(task)
        if on_connect is not None:
            on_connect(connection.driver_connection)

    async def _find(self) -> Connection | None:
        while self._idle:
            one = self._idle.pop()
            if is_closed(one.driver):
                await one.give_up()
            elif time.monotonic() - one.opened_at > RECYCLE_S:
                await one.own.close()
            else:
                return one
        return None

    async def give_back(self, connection: Connection, error: BaseException | None) -> None:
        """Take *connection* back, after the *error* that came of its use if any did."""
        try:
            code = "" if error is None else find_code(error)
            if error is None or (code and code != READ_ONLY and not is_closed(connection.driver)):
                await self._keep(connection)
            else:
                await connection.give_up()
                if code == READ_ONLY or is_closed(connection.driver):
                    # The others may have gone the same way, and would only be found out one by one.
                    await self.close()
        finally:
            if self._permits is not None:
                self._permits.release()

    async def _keep(self, connection: Connection) -> None:
        if self._permits is None:
            await connection.own.close()
        else:
            self._idle.append(connection)

    def detach(self) -> None:
        """Leave the engine alone, which may be another's; again is no error."""
        listener = self.engine.sync_engine, "connect", self._on_connect
        if event.contains(*listener):
            event.remove(*listener)

    async def close(self) -> None:
        """Close those that nobody has."""
        idle, self._idle = self._idle, []
        for one in idle:
            await one.own.invalidate()
            await one.own.close()


class Call(Generic[T]):
    """What is done with one connection, which is not cancelled with its caller.

    Neither SQLAlchemy nor the drivers are sound when they are cancelled at any moment: connections are
    lost, or are closed in order while the caller waits. So a call that nobody waits for any more is left
    to end by itself, and then its connection is as good as before. Where it does not end the server is
    asked to stop it, so that it has no effect once it is given up. One that does not end then is cut off.

    Args:
        connections: Where its connection comes from.
        work: What is to be done.

    Attributes:
        ended: Done once the call has ended or has taken too long: whether it has ended.
        result: What *work* returned.
        error: What it raised.
    """

    __slots__ = (
        "_connections",
        "_driver",
        "_is_abandoned",
        "_is_cut",
        "_stopping",
        "_timer",
        "_work",
        "ended",
        "error",
        "result",
    )

    def __init__(
        self, connections: Connections, work: Callable[[Connection], Awaitable[T]]
    ) -> None:
        self._connections = connections
        self._work = work
        self._driver: Any = None
        self._is_abandoned = self._is_cut = False
        self._timer: asyncio.TimerHandle | None = None
        self._stopping: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.result: T | None = None
        self.error: BaseException | None = None

    async def run(self) -> None:
        """Do the work, and say that it has ended."""
        try:
            await self._run()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - raised where it is awaited
            self.error = error
        finally:
            self.end(is_in_time=True)
            if self._timer is not None:
                self._timer.cancel()

    async def _run(self) -> None:
        connection = await self._connections.lend(self._take)
        error: BaseException | None = None
        try:
            if not self._is_abandoned:
                self._driver = connection.driver
                self.result = await self._work(connection)
        except BaseException as raised:
            error = raised
            raise
        finally:
            # From here on it belongs to whoever is next.
            self._driver = None
            if self._stopping is not None:
                # The server may yet stop what it does next: it is closed.
                await asyncio.wait((self._stopping,), timeout=GRACE_S)
                error = StorageError("stopped")
            await self._connections.give_back(connection, error)

    def _take(self, driver: Any) -> None:
        """Take note of a connection that is about to be set up, which may hang as what is done with it may."""
        self._driver = driver
        if self._is_cut:
            terminate(driver)

    def end(self, *, is_in_time: bool) -> None:
        """Let the caller go on."""
        if not self.ended.done():
            self.ended.set_result(is_in_time)

    def abandon(self) -> None:
        """Let it end within a short time."""
        self._is_abandoned = True
        self._timer = asyncio.get_running_loop().call_later(STOP_S, self._stop)

    def _stop(self) -> None:
        """Have the server stop it; cut its connection if that is of no use."""
        loop = asyncio.get_running_loop()
        if self._driver is not None:
            self._stopping = loop.create_task(stop(self._driver))
        self._timer = loop.call_later(GRACE_S - STOP_S, self.cut)

    def cut(self) -> bool:
        """Cut its connection, if it has one that goes over a network, or as soon as it has one."""
        self._is_cut = True
        if self._stopping is not None:
            self._stopping.cancel()
        return self._driver is not None and terminate(self._driver)
