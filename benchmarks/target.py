"""The targets, as ratios within one run, and whether they were reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from case import (
    ASYNCPG,
    FEW,
    FME_PYTHON,
    LAUNCHDARKLY,
    LIMIT,
    MANY,
    NODE,
    REDIS_PY,
    ROUND_TRIP_MS,
    SQLITE,
    VWO_PYTHON,
)
from peer import OURS
from summary import Results

GET = f"{VWO_PYTHON}, GET"
BATCHES = f"{VWO_PYTHON}, batches"
PROMISE = f"{NODE}, promise"
AIOHTTP = f"{OURS}, aiohttp"


class Check(NamedTuple):
    """One figure that is aimed at.

    Attributes:
        text: The aim in words.
        measure: Returns what was reached, None where it was not measured.
        bound: The aim.
        is_least: Whether more than the bound is good, rather than less.
        unit: Stands behind the figure.
    """

    text: str
    measure: Callable[[Results], float | None]
    bound: float
    is_least: bool
    unit: str = "x"

    def is_met(self, value: float) -> bool:
        """Tell whether *value* meets the bound."""
        return value >= self.bound if self.is_least else value <= self.bound


class Target(NamedTuple):
    """A row of the table.

    Attributes:
        key: Under which a note on it is kept.
        text: What is looked at.
        aims: What must be reached.
        beyond: What would be better still.
    """

    key: str
    text: str
    aims: tuple[Check, ...]
    beyond: tuple[Check, ...] = ()


def _ratio(
    metric: str, over: tuple[str, str], under: tuple[str, str]
) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        found = results.ratio(metric, over, under)
        return None if found is None else found.middle

    return measure


def _value(
    case: str, label: str, metric: str, divisor: float = 1.0
) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        found = results.middle(case, label, metric)
        return None if found is None else found / divisor

    return measure


def faster(case: str, peer: str, bound: float, metric: str) -> Check:
    """Check that a peer needs at least *bound* times as much of a metric as vwo_async."""
    text = f"≥ {bound:g}x {peer}"
    return Check(text, _ratio(metric, (case, peer), (case, OURS)), bound, is_least=True)


def within(case: str, peer: str, bound: float, metric: str) -> Check:
    """Check that vwo_async needs at most *bound* times as much as a yardstick."""
    text = f"≤ {bound:g}x {peer}"
    return Check(text, _ratio(metric, (case, OURS), (case, peer)), bound, is_least=False)


def more(case: str, peer: str, bound: float, label: str = OURS) -> Check:
    """Check that vwo_async delivers at least *bound* times the events per second of a peer."""
    text = f"≥ {bound:g}x {peer}"
    measure = _ratio("events_per_s", (case, label), (case, peer))
    return Check(text, measure, bound, is_least=True)


def _named(name: str, check: Check) -> Check:
    return check._replace(text=f"{name}: {check.text}")


def _callers(*checks: Callable[[str], Check]) -> tuple[Check, ...]:
    """Return the checks for 1 caller and for 100."""
    names = {"1": "1 caller", "100": "100 callers"}
    return tuple(_named(name, check(f"track/{n}")) for n, name in names.items() for check in checks)


def _growth(bound: float, text: str) -> tuple[Check, ...]:
    return tuple(
        Check(
            f"{name}: {text}",
            _ratio("cpu_us", (f"growth/{kind}", MANY), (f"growth/{kind}", FEW)),
            bound,
            is_least=False,
        )
        for kind, name in (("plain", "no segment"), ("segment", "5 leaves"))
    )


def _flags() -> tuple[Check, ...]:
    """Return the checks of flags: what holds the caller, and what a decision of FullStack takes."""
    fullstack = f"{OURS}, FullStack"
    cases = (("no segment", "plain"), ("5 leaves", "segment"))
    sending = _named("with its sending", faster("sending/flag/at_once", FME_PYTHON, 100, "p50_us"))
    return sending, *(
        _named(name, check)
        for name, kind in cases
        for check in (
            faster(f"flag/1/{kind}", FME_PYTHON, 100, "wall_us"),
            _named("100 features", faster(f"flag/100/{kind}", FME_PYTHON, 100, "wall_us")),
            within(f"flag/1/{kind}", fullstack, 2, "cpu_us"),
            Check(
                "1,000 features ≤ 1.2x 1 feature",
                _ratio("cpu_us", (f"flag/1000/{kind}", OURS), (f"flag/1/{kind}", OURS)),
                1.2,
                is_least=False,
            ),
        )
    )


def _round_trips(bound: float) -> Check:
    measure = _value("slow/100", OURS, "p99_us", ROUND_TRIP_MS * 1e3)
    return Check(f"≤ {bound:g} at p99", measure, bound, is_least=False, unit=" round trips")


def _import(bound: float) -> Check:
    measure = _ratio("cpu_ms", ("import", OURS), ("import", "httpx, pydantic"))
    return Check(f"≤ {bound:g}x import httpx, pydantic", measure, bound, is_least=False)


def _p99(bound_us: float, text: str) -> Check:
    measure = _value("track/100", OURS, "p99_us")
    return Check(text, measure, bound_us, is_least=False, unit=" µs")


def _held(metric: str, text: str) -> Check:
    measure = _value("hold/1000", OURS, metric)
    return Check(f"{text}: loop held ≤ 50 ms", measure, 50, is_least=False, unit=" ms")


def _memory(metric: str, text: str, bound: float) -> Check:
    measure = _value("memory/1000", OURS, metric)
    return Check(text, measure, bound, is_least=False, unit=" MB")


def _better(case: str, ours: str, peer: str) -> Callable[[Results], float | None]:
    """Return what tells how much more than a peer ours does, in time or in CPU time, whichever is better."""

    def measure(results: Results) -> float | None:
        found = (
            results.ratio("events_per_s", (case, ours), (case, peer)),
            results.ratio("cpu_us", (case, peer), (case, ours)),
        )
        return max((one.middle for one in found if one is not None), default=None)

    return measure


def _kept(callers: int, bound: float) -> Check:
    """Aim at a share of what SQLite does by hand."""
    measure = _better(f"outbox/{callers}", f"{OURS}, NORMAL", f"{SQLITE}, NORMAL")
    return Check(f"≥ {bound:g}x {SQLITE}", measure, bound, is_least=True)


def _sticky(callers: int, storage: str, peer: str, bound: float) -> Check:
    """Aim at a multiple of what a service does by hand, or of what no storage costs."""
    measure = _better(f"storage/{callers}", f"{OURS}, {storage}", peer)
    return Check(f"≥ {bound:g}x {peer}", measure, bound, is_least=True)


def _loop_held(storage: str, bound_ms: float, case: str = "storage/1000") -> Check:
    """Aim at turns for everybody else while 1,000 callers use a storage, or the outbox."""
    measure = _value(case, f"{OURS}, {storage}", "loop_p99_ms")
    text = f"{storage}: loop held p99 ≤ {bound_ms:g} ms"
    return Check(text, measure, bound_ms, is_least=False, unit=" ms")


def _kept_p99(bound_us: float) -> Check:
    measure = _value("outbox/1", f"{OURS}, NORMAL", "p99_us")
    return Check(f"p99 ≤ {bound_us / 1000:g} ms", measure, bound_us, is_least=False, unit=" µs")


TARGETS = (
    Target(
        "decision",
        "`get_variation_name`, whole public call, 1 campaign",
        (
            faster("decision/1/plain", VWO_PYTHON, 10, "cpu_us"),
            faster("decision/1/plain", LAUNCHDARKLY, 4, "cpu_us"),
            faster("decision/1/plain", "statsig, experiment", 2, "cpu_us"),
        ),
        (within("decision/1/plain", LIMIT, 3, "cpu_us"),),
    ),
    Target(
        "segment",
        "the same with the 5-leaf segment",
        (faster("decision/1/segment", VWO_PYTHON, 12, "cpu_us"),),
        (within("decision/1/segment", LIMIT, 3, "cpu_us"),),
    ),
    Target(
        "growth",
        "growth from 1 to 1,000 campaigns",
        _growth(1.1, "≤ 1.1x"),
        _growth(1.05, "1.0x, rounded"),
    ),
    Target(
        "held",
        "background `track`, time the caller is held",
        _callers(
            lambda case: faster(case, GET, 100, "p50_us"),
            lambda case: within(case, LAUNCHDARKLY, 1, "p50_us"),
        ),
        _callers(lambda case: within(case, "prototype, httpx", 3, "p50_us")),
    ),
    Target(
        "held_p99",
        "… p99 under 100 callers",
        (_p99(1000, "≤ 1 ms"),),
        (_p99(100, "≤ 100 µs"),),
    ),
    Target(
        "delivered",
        "background events/s, httpx",
        _callers(lambda case: more(case, GET, 25), lambda case: more(case, BATCHES, 2)),
        _callers(lambda case: more(case, LAUNCHDARKLY, 1)),
    ),
    Target(
        "delivered_aiohttp",
        "background events/s, aiohttp transport",
        _callers(lambda case: more(case, LAUNCHDARKLY, 2, AIOHTTP)),
        _callers(lambda case: more(case, "prototype, raw", 0.7, AIOHTTP)),
    ),
    Target(
        "await_1",
        "awaited `track`, 1 caller, events/s",
        (more("await/1", GET, 1.3),),
        (_named("aiohttp", more("await/1", GET, 3, AIOHTTP)),),
    ),
    Target(
        "await_100",
        "awaited `track`, 100 callers, events/s",
        (more("await/100", GET, 15), more("await/100", PROMISE, 4)),
        (more("await/100", PROMISE, 10),),
    ),
    Target(
        "slow",
        f"server at {ROUND_TRIP_MS} ms, 100 awaiting callers",
        (_round_trips(2.5),),
        (_round_trips(2),),
    ),
    Target("import", "import, CPU over bare Python", (_import(1.25),), (_import(1.1),)),
    Target(
        "open",
        "open with 1,000 campaigns: parse, validate, compile",
        (
            faster("open/1000", VWO_PYTHON, 3, "ms"),
            _held("open_ms", "open"),
            _held("refresh_ms", "refresh"),
        ),
        (faster("open/1000", VWO_PYTHON, 5, "ms"),),
    ),
    Target(
        "memory_storage",
        "`track` with a storage in memory, calls/s or CPU",
        (_sticky(1, "memory", f"{OURS}, no storage", 0.3),),
        (_sticky(1, "memory", f"{OURS}, no storage", 0.5),),
    ),
    Target(
        "redis_1",
        "`track` with Redis, 1 caller, calls/s or CPU",
        (_sticky(1, "Redis", REDIS_PY, 0.7),),
        (_sticky(1, "Redis", REDIS_PY, 1),),
    ),
    Target(
        "redis_100",
        "`track` with Redis, 100 callers, calls/s or CPU",
        (_sticky(100, "Redis", REDIS_PY, 2),),
        (_sticky(100, "Redis", REDIS_PY, 4),),
    ),
    Target(
        "postgres_1",
        "`track` with PostgreSQL, 1 caller, calls/s or CPU",
        (_sticky(1, "PostgreSQL", ASYNCPG, 0.7),),
        (_sticky(1, "PostgreSQL", ASYNCPG, 1),),
    ),
    Target(
        "postgres_100",
        "`track` with PostgreSQL, 100 callers, calls/s or CPU",
        (_sticky(100, "PostgreSQL", ASYNCPG, 4),),
        (_sticky(100, "PostgreSQL", ASYNCPG, 8),),
    ),
    Target(
        "storage_held",
        "`track` with a storage or an outbox, 1,000 callers",
        (
            *(_loop_held(one, 10) for one in ("memory", "Redis", "SQLite", "PostgreSQL")),
            _named("outbox", _loop_held("NORMAL", 10, "outbox/1000")),
        ),
    ),
    Target(
        "outbox_1",
        "outbox, 1 caller, events/s or CPU",
        (_kept(1, 0.2), _kept_p99(2000)),
        (_kept(1, 0.35),),
    ),
    Target(
        "outbox_100",
        "outbox, 100 callers, events/s or CPU",
        (_kept(100, 0.25),),
        (_kept(100, 0.4),),
    ),
    Target(
        "memory",
        "memory",
        (
            _memory("growth_mb", "flat: ≤ 1 MB over all events", 1),
            _memory("open_mb", "1,000 campaigns: ≤ 20 MB above import", 20),
        ),
    ),
    Target("flag", "FME: `get_flag`, whole public call", _flags()),
    Target(
        "event",
        "FME: `track_event`, time the caller is held",
        (
            _named("with its sending", faster("sending/event/at_once", FME_PYTHON, 100, "p50_us")),
            faster("event/1/plain", FME_PYTHON, 100, "wall_us"),
            _named("100 features", faster("event/100/plain", FME_PYTHON, 100, "wall_us")),
        ),
    ),
)
