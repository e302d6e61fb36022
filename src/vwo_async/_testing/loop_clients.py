"""Clients for tests: they send nothing, remember what they accept, and can be used in one loop after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from .._client.base_client import find_running_loop
from .._client.client import VWOClient
from .._client.engine import ClientEngine, Engine
from .._client.fme_client import FMEClient
from .._client.fme_engine import FMEEngine
from .._delivery.event import Event
from .._refresh.gil_pause import GilPause
from .recording_queue import RecordingQueue

EngineT = TypeVar("EngineT", bound=ClientEngine[Any])
OnAccepted = Callable[[Event, float], object]


class LoopEngines(Generic[EngineT]):
    """An engine for each event loop in which a client is used.

    Tools that test web services make a loop for each test, or even for each request, while a service and
    the fixtures around it keep one client.

    Args:
        first: The engine that the client was made with; others are made like it.
        on_accepted: See `RecordingQueue`.
    """

    def __init__(self, first: EngineT, on_accepted: OnAccepted) -> None:
        self._on_accepted = on_accepted
        self._last = self._prepare(first)
        self._ends: set[asyncio.Task[None]] = set()
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, EngineT] = WeakKeyDictionary()

    def find(self) -> EngineT:
        """Return the engine of the running loop, outside of one that which was used last."""
        loop = find_running_loop()
        if loop is None:
            return self._last
        found = self._by_loop.get(loop)
        if found is None:
            found = self._last if not self._by_loop else self._make()
            self._by_loop[loop] = found
        self._last = found
        return found

    def _make(self) -> EngineT:
        last = self._last
        return self._prepare(type(last)(last.snapshot.settings, last.options))

    def _prepare(self, engine: EngineT) -> EngineT:
        options = engine.options
        # Nothing is delivered, so that the end of a test's loop has nothing to wait for.
        engine.loop_end.forget()
        engine.reporter.queue = RecordingQueue(
            self._on_accepted, options.limits, batching=options.batch_events
        )
        return engine

    def put_in_force(self, settings: Any) -> None:
        """Put a settings file in force, in all loops."""
        for engine in {self._last, *self._by_loop.values()}:
            # At once: a pause would be one of the loop's, since no other thread does it.
            engine.snapshot = engine.compile(settings, _Unpaused())
            engine.on_updated()

    def end(self) -> None:
        """Let go of all engines: nobody asks them again. Loops that go on are rid of their workers."""
        for loop, engine in self._by_loop.items():
            if engine.loop is None:
                continue
            if loop.is_closed():
                engine.is_closed, engine.loop = True, None
            elif loop.is_running() or find_running_loop() is not None:
                loop.call_soon_threadsafe(self._close, loop, engine)
            else:
                # Now, since it may not run again before it is ended, and be ended with what is left in it.
                loop.run_until_complete(engine.aclose(0.0))

    def _close(self, loop: asyncio.AbstractEventLoop, engine: EngineT) -> None:
        self._ends.add(loop.create_task(engine.aclose(0.0)))


class RecordingVWOClient(VWOClient):
    """A `VWOClient` of `LoopEngines`.

    Args:
        settings: The settings file.
        on_accepted: See `RecordingQueue`.
        **options: See `Options`.
    """

    def __init__(self, settings: Any, on_accepted: OnAccepted, **options: Any) -> None:
        self._on_accepted = on_accepted
        super().__init__(settings, **options)

    @property
    def _engine(self) -> Engine:
        return self.engines.find()

    @_engine.setter
    def _engine(self, engine: Engine) -> None:
        self.engines = LoopEngines(engine, self._on_accepted)


class RecordingFMEClient(FMEClient):
    """The same of FME."""

    def __init__(self, settings: Any, on_accepted: OnAccepted, **options: Any) -> None:
        self._on_accepted = on_accepted
        super().__init__(settings, **options)

    @property
    def _engine(self) -> FMEEngine:
        return self.engines.find()

    @_engine.setter
    def _engine(self, engine: FMEEngine) -> None:
        self.engines = LoopEngines(engine, self._on_accepted)


class _Unpaused(GilPause):
    """For work in the loop's own thread."""

    def __call__(self) -> None:
        """Go on."""
