"""What is measured: the cases, who takes part in each, and how much each is asked to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from peer import OURS

Json = dict[str, Any]

VWO_PYTHON = "vwo-python-sdk"
NODE = "vwo-node-sdk"
LAUNCHDARKLY = "launchdarkly"
FME_PYTHON = "vwo-fme-python-sdk"
FME_NODE = "vwo-fme-node-sdk"
LIMIT = "limit in Python"
YIELD = "coroutines that only give way"
SQLITE = "sqlite3 by hand"
REDIS_PY = "redis-py by hand"
ASYNCPG = "asyncpg by hand"
AIOSQLITE = "aiosqlite by hand"
ROUND_TRIP_MS = 50
FEW, MANY = "1 campaign", "1,000 campaigns"


@dataclass(frozen=True, slots=True)
class Entrant:
    """Who takes part in a case.

    Attributes:
        label: What the tables call it.
        worker: The name of its worker, see the module `peer`.
        request: What it is asked beyond the request of the case.
    """

    label: str
    worker: str
    request: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """One piece of work that several entrants do in turn.

    Attributes:
        topic: Cases of one topic run in the same rounds, with the same processes.
        name: Unique.
        request: What every entrant is asked.
        entrants: In the order of the turns.
        settings: Number of campaigns of the settings file, unless an entrant asks for another, and
            whether they have a segment.
        server: ``fast``, ``slow`` or empty where none is needed.
        is_fme: Whether the settings file is one of FME, unless an entrant asks for one of FullStack.
        is_fresh: Whether every sample needs a process of its own.
        rounds: At most so many; 0 for as many as the run has.
    """

    topic: str
    name: str
    request: Json
    entrants: tuple[Entrant, ...]
    settings: tuple[int, bool] = (1, False)
    server: str = ""
    is_fme: bool = False
    is_fresh: bool = False
    rounds: int = 0


def ours(label: str = "", **request: Any) -> Entrant:
    """Return ourselves, in the variant that *request* describes."""
    return Entrant(f"{OURS}{label}", OURS, request)


VARIANTS = (
    ours(),
    ours(", uvloop", loop="uvloop"),
    ours(", aiohttp", transport="aiohttp"),
    ours(", aiohttp, uvloop", transport="aiohttp", loop="uvloop"),
    ours(", httpx2", transport="httpx2"),
)


def with_calls(entrants: tuple[Entrant, ...], calls: int, **request: Any) -> tuple[Entrant, ...]:
    """Return *entrants* with the number of calls that each caller makes."""
    return tuple(
        Entrant(one.label, one.worker, {**one.request, "calls": calls, **request})
        for one in entrants
    )


def prototypes(calls: int, **request: Any) -> tuple[Entrant, ...]:
    """Return the bare senders."""
    kinds = ("httpx", "httpx2", "aiohttp", "raw")
    return tuple(
        Entrant(f"prototype, {kind}", "prototype", {"kind": kind, "calls": calls, **request})
        for kind in kinds
    )


class Plan:
    """The cases of a run.

    Args:
        is_quick: Whether to do with less of everything.
    """

    def __init__(self, *, is_quick: bool) -> None:
        self._is_quick = is_quick

    def _pick(self, full: int, quick: int) -> int:
        return quick if self._is_quick else full

    def cases(self) -> Iterator[Case]:
        """Yield every case."""
        yield from self._decisions()
        yield from self._growth()
        yield from self._tracks()
        yield from self._awaited()
        yield from self._slow()
        yield self._drain()
        yield from self._start()
        yield self._memory()
        yield from self._storages()
        yield from self._outboxes()
        yield from self._flags()

    def _decisions(self) -> Iterator[Case]:
        entrants = (
            ours(),
            Entrant(LIMIT, "limit"),
            Entrant(VWO_PYTHON, VWO_PYTHON),
            Entrant(NODE, "node"),
            Entrant(LAUNCHDARKLY, LAUNCHDARKLY),
            Entrant(f"{LAUNCHDARKLY}, async", LAUNCHDARKLY, {"is_async": True}),
            Entrant("growthbook", "growthbook"),
            Entrant("optimizely", "optimizely"),
            Entrant("statsig, experiment", "statsig", {"kind": "experiment"}),
            Entrant("statsig, gate", "statsig", {"kind": "gate"}),
        )
        for campaigns in (1, 100, 1000):
            for has_segment in (False, True):
                request = {
                    "work": "decision",
                    "campaigns": campaigns,
                    "segment": has_segment,
                    "calls": self._pick(2000, 500),
                    "samples": self._pick(5, 3),
                }
                kind = "segment" if has_segment else "plain"
                name = f"decision/{campaigns}/{kind}"
                yield Case("decision", name, request, entrants, (campaigns, has_segment))

    def _growth(self) -> Iterator[Case]:
        """Yield the same decision in small and large files, one right after the other."""
        for kind, has_segment in (("plain", False), ("segment", True)):
            request = {
                "work": "decision",
                "segment": has_segment,
                "calls": self._pick(2000, 500),
                "samples": self._pick(15, 5),
            }
            entrants = tuple(
                Entrant(label, OURS, {"campaigns": campaigns})
                for label, campaigns in ((FEW, 1), (MANY, 1000))
            )
            yield Case("decision", f"growth/{kind}", request, entrants, (1, has_segment))

    def _tracks(self) -> Iterator[Case]:
        for callers in (1, 100):
            quick = self._pick(5000, 2000) // callers
            slow = self._pick(1000, 300) // callers
            batched = {"is_batched": True, "calls": self._pick(4000, 2000) // callers}
            entrants = (
                *with_calls(VARIANTS, quick),
                Entrant(f"{VWO_PYTHON}, GET", VWO_PYTHON, {"calls": slow}),
                Entrant(f"{VWO_PYTHON}, batches", VWO_PYTHON, batched),
                Entrant(f"{NODE}, one each", "node", {"calls": slow}),
                Entrant(f"{NODE}, batches", "node", batched),
                Entrant(LAUNCHDARKLY, LAUNCHDARKLY, {"calls": quick}),
                Entrant(f"{LAUNCHDARKLY}, async", LAUNCHDARKLY, {"calls": quick, "is_async": True}),
                Entrant("posthog", "posthog", {"calls": quick}),
                *prototypes(quick),
            )
            request = {"work": "track", "callers": callers}
            yield Case("track", f"track/{callers}", request, entrants, server="fast")

    def _awaited(self) -> Iterator[Case]:
        for callers in (1, 100, 1000):
            calls = {1: self._pick(300, 100), 100: self._pick(40, 15), 1000: self._pick(6, 2)}
            slow = {1: self._pick(300, 100), 100: self._pick(10, 5), 1000: 1}
            entrants = [
                *with_calls(VARIANTS, calls[callers]),
                Entrant(f"{NODE}, promise", "node", {"calls": slow[callers]}),
            ]
            if callers < 1000:
                one = Entrant(f"{VWO_PYTHON}, GET", VWO_PYTHON, {"calls": slow[callers]})
                entrants += [one, *prototypes(self._pick(slow[callers], slow[callers] // 2))]
            request = {"work": "track", "callers": callers, "waits": True}
            yield Case("await", f"await/{callers}", request, tuple(entrants), server="fast")

    def _slow(self) -> Iterator[Case]:
        calls = self._pick(10, 4)
        entrants = (
            *with_calls(VARIANTS, calls),
            Entrant(f"{NODE}, promise", "node", {"calls": calls}),
            Entrant(f"{VWO_PYTHON}, GET", VWO_PYTHON, {"calls": calls}),
            *prototypes(calls // 2),
        )
        request = {"work": "track", "callers": 100, "waits": True}
        yield Case("slow", "slow/100", request, entrants, server="slow", rounds=self._pick(3, 2))

    def _drain(self) -> Case:
        many, fewer = self._pick(100_000, 20_000), self._pick(20_000, 5_000)
        entrants = (
            *with_calls(VARIANTS, many),
            Entrant(f"{VWO_PYTHON}, batches", VWO_PYTHON, {"is_batched": True, "calls": fewer}),
            Entrant(f"{NODE}, batches", "node", {"is_batched": True, "calls": fewer}),
            Entrant(LAUNCHDARKLY, LAUNCHDARKLY, {"calls": many}),
            Entrant("posthog", "posthog", {"calls": fewer}),
            *prototypes(many),
        )
        request = {"work": "track", "callers": 1}
        return Case("drain", "drain", request, entrants, server="fast", rounds=self._pick(3, 2))

    def _start(self) -> Iterator[Case]:
        opening = {"work": "open", "campaigns": 1000, "samples": self._pick(3, 2)}
        entrants = (ours(), Entrant(VWO_PYTHON, VWO_PYTHON))
        yield Case("open", "open/1000", opening, entrants, (1000, True))
        holding = {"work": "hold", "campaigns": 1000, "samples": self._pick(3, 2)}
        yield Case("hold", "hold/1000", holding, (ours(),), (1000, True), server="fast")

    def _memory(self) -> Case:
        request = {
            "work": "memory",
            "campaigns": 1000,
            "events": self._pick(1_000_000, 100_000),
        }
        return Case(
            "memory",
            "memory/1000",
            request,
            (ours(),),
            (1000, False),
            server="fast",
            is_fresh=True,
            rounds=1,
        )

    def _storages(self) -> Iterator[Case]:
        entrants = (
            Entrant(YIELD, OURS, {"work": "yield"}),
            ours(", no storage", storage="none"),
            ours(", memory", storage="memory"),
            ours(", Redis", storage="redis", address="redis"),
            Entrant(REDIS_PY, "storage_limit", {"library": "redis", "address": "redis"}),
            ours(", SQLite", storage="sql", address="sqlite"),
            Entrant(AIOSQLITE, "storage_limit", {"library": "sqlite", "address": "sqlite"}),
            ours(", PostgreSQL", storage="sql", address="postgres"),
            Entrant(ASYNCPG, "storage_limit", {"library": "postgres", "address": "postgres"}),
        )
        for callers in (1, 100, 1000):
            calls = {1: self._pick(500, 100), 100: self._pick(30, 10), 1000: self._pick(6, 4)}
            request = {"work": "storage", "callers": callers, "calls": calls[callers]}
            yield Case(
                "storage",
                f"storage/{callers}",
                request,
                entrants,
                server="fast",
                rounds=self._pick(5, 2),
            )

    def _outboxes(self) -> Iterator[Case]:
        entrants = tuple(
            Entrant(f"{label}, {level}", worker, {"synchronous": level, **more})
            for level in ("NORMAL", "FULL")
            for label, worker, more in (
                (OURS, OURS, {"round_trip_ms": ROUND_TRIP_MS}),
                (f"{OURS}, over HTTP", OURS, {}),
                (SQLITE, "sqlite_limit", {}),
                (f"{SQLITE}, in a thread", "sqlite_limit", {"in_thread": True}),
            )
        )
        for callers in (1, 100, 1000):
            calls = {1: self._pick(2000, 300), 100: self._pick(100, 20), 1000: self._pick(20, 5)}
            request = {"work": "outbox", "callers": callers, "calls": calls[callers]}
            yield Case(
                "outbox",
                f"outbox/{callers}",
                request,
                entrants,
                server="fast",
                rounds=self._pick(5, 2),
            )

    def _flags(self) -> Iterator[Case]:
        """Yield flags and events of FME; everybody's requests go nowhere."""
        for features in (1, 100, 1000):
            entrants = (
                ours(),
                ours(", FullStack", is_fullstack=True),
                Entrant(FME_PYTHON, "fme_python"),
                Entrant(FME_NODE, "fme_node"),
                Entrant(LAUNCHDARKLY, LAUNCHDARKLY),
                Entrant(f"{LAUNCHDARKLY}, async", LAUNCHDARKLY, {"is_async": True}),
            )
            for has_segment in (False, True):
                request = {
                    "campaigns": features,
                    "segment": has_segment,
                    "calls": self._pick(500, 100),
                    "samples": self._pick(5, 3),
                    # The official Python SDK checks the whole file against a schema in each call.
                    "budget_s": 0.6 if self._is_quick else 1.0,
                }
                settings, kind = (features, has_segment), "segment" if has_segment else "plain"
                flag = {"work": "flag", **request}
                yield Case(
                    "fme",
                    f"flag/{features}/{kind}",
                    flag,
                    entrants,
                    settings,
                    is_fme=True,
                    rounds=3,
                )
            event = {"work": "event", **request, "segment": False}
            name = f"event/{features}/plain"
            yield Case("fme", name, event, entrants, (features, False), is_fme=True, rounds=3)
        yield from self._sending_flags()

    def _sending_flags(self) -> Iterator[Case]:
        """Yield flags and events of FME with the sending that comes with them, one call after the other or not."""
        calls = self._pick(200, 50)
        for work in ("flag", "event"):
            for name, pause_s in (("at_once", 0.0), ("paused", SENDING_PAUSE_S)):
                yield Case(
                    "fme",
                    f"sending/{work}/{name}",
                    {"work": f"sending_{work}", "campaigns": 1, "calls": calls, "pause_s": pause_s},
                    (ours(), Entrant(FME_PYTHON, "fme_python")),
                    (1, False),
                    server="fast",
                    is_fme=True,
                    is_fresh=True,
                    rounds=3,
                )


# Between calls that send, so that what was sent before has its turn.
SENDING_PAUSE_S = 0.001
# What is imported, in whose environment.
IMPORTS = (
    ("httpx, pydantic", OURS, "import httpx, pydantic"),
    (
        "httpx, pydantic, one model",
        OURS,
        "import httpx, pydantic\nclass Model(pydantic.BaseModel):\n    number: int",
    ),
    (OURS, OURS, "import vwo_async"),
    (VWO_PYTHON, VWO_PYTHON, "import vwo"),
    (LAUNCHDARKLY, LAUNCHDARKLY, "import ldclient"),
    ("growthbook", "growthbook", "import growthbook.growthbook_client"),
    ("optimizely", "optimizely", "import optimizely.optimizely"),
    ("statsig", "statsig", "import statsig_python_core"),
    ("posthog", "posthog", "import posthog"),
)
TOPICS = (
    "decision",
    "track",
    "await",
    "slow",
    "drain",
    "import",
    "open",
    "hold",
    "memory",
    "storage",
    "outbox",
    "fme",
)
