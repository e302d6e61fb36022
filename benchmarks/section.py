"""The sections of the report, with a table or two for each topic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from case import FEW, MANY, ROUND_TRIP_MS
from chart import format_value
from peer import OURS
from summary import Results

NOT_MEASURED = "-"
# Topics that share a section.
_TOPICS_OF = {"open": ("open", "hold", "memory"), "fme": ("flag", "event", "sending")}
_DECISION_TEXT = """\
From the id of a user, and his five attributes where there is a segment, to the name of the variation:
the last campaign of a file, with no report. Medians of the wall time; *x* is how many times the CPU
time of vwo_async it takes, which nothing else on the machine can lengthen.
"""
_GROWTH_TEXT = """\
Ours alone, with a small and a large file one right after the other:
"""
_TRACK_TEXT = """\
Medians, and quartiles in brackets. Calls that do not wait for delivery: *held* is how long the call
keeps its caller; events and CPU time are counted until the server has the last event. CPU time is that
of the whole process.
"""
_AWAIT_TEXT = """\
Each caller waits until the server has its event before it sends the next.
"""
_SLOW_TEXT = """\
100 callers, each awaiting its own events, and a server that answers 50 ms after the request. *Round
trips* is the time from call to answer divided by these 50 ms.
"""
_DRAIN_TEXT = """\
One caller tracks without a pause, then everything is flushed: events a second from the first call to
the last event's arrival.
"""


def make_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown: the first column is text, the others are figures."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in (head, rule, *rows)]
    return "\n".join(lines) + "\n"


def _show(results: Results, case: str, label: str, metric: str, *, divisor: float = 1.0) -> str:
    """Return the median with its quartiles."""
    found = results.spread(case, label, metric)
    if found is None:
        return NOT_MEASURED
    low, middle, high = (
        format_value(one / divisor) for one in (found.low, found.middle, found.high)
    )
    return f"{middle} ({low} to {high})"


def _show_ratio(results: Results, metric: str, case: str, label: str) -> str:
    """Return how many times as much as vwo_async an entrant needs."""
    found = results.ratio(metric, (case, label), (case, OURS))
    return NOT_MEASURED if found is None else f"{format_value(found.middle)}x"


def _show_share(results: Results, case: str, label: str) -> str:
    """Return how many times as many events per second as an entrant vwo_async delivers."""
    found = results.ratio("events_per_s", (case, OURS), (case, label))
    return NOT_MEASURED if found is None else f"{format_value(found.middle)}x"


def _order(results: Results, case: str) -> list[str]:
    return sorted(results.labels(case), key=lambda one: (not one.startswith(OURS), one))


def _write_decisions(results: Results) -> Iterator[str]:
    yield _DECISION_TEXT
    for kind, title in (("plain", "no segment"), ("segment", "a segment of five leaves")):
        cases = [one for one in results.cases("decision") if one.endswith(kind)]
        yield from _write_times(results, cases, title, "campaign")
    yield from _write_growth(results)
    yield from _write_spreads(results)


def _write_times(results: Results, cases: Sequence[str], title: str, unit: str) -> Iterator[str]:
    """Yield a table of times and ratios, a row for each SDK and a pair of columns for each case."""
    if not cases:
        return
    head = [title]
    for case in cases:
        head += [f"{_count(case, unit)}, µs", "x"]
    rows = []
    for label in _order(results, cases[0]):
        row = [label]
        for case in cases:
            row.append(_show_middle(results, case, label, "wall_us"))
            row.append(_show_ratio(results, "cpu_us", case, label))
        rows.append(row)
    yield make_table(head, rows)


def _write_growth(results: Results) -> Iterator[str]:
    cases = [f"growth/{kind}" for kind in ("plain", "segment")]
    if any(results.spread(case, one, "cpu_us") is None for case in cases for one in (FEW, MANY)):
        return
    yield _GROWTH_TEXT
    rows = []
    for case, title in zip(cases, ("no segment", "five leaves"), strict=True):
        times = [_show(results, case, one, "cpu_us") for one in (FEW, MANY)]
        ratio = results.ratio("cpu_us", (case, MANY), (case, FEW))
        rows.append([title, *times, NOT_MEASURED if ratio is None else f"{ratio.middle:.2f}x"])
    yield make_table(["CPU, µs", FEW, MANY, "growth"], rows)


def _write_spreads(results: Results) -> Iterator[str]:
    yield "<details><summary>Spread and CPU time of these decisions</summary>\n"
    for case in results.cases("decision"):
        kind = "no segment" if case.endswith("plain") else "five leaves"
        head = [f"{_count(case, 'campaign')}, {kind}", "wall, µs", "least", "CPU, µs"]
        rows = []
        for label in _order(results, case):
            found = results.spread(case, label, "wall_us")
            assert found is not None
            wall, cpu = (_show(results, case, label, one) for one in ("wall_us", "cpu_us"))
            rows.append([label, wall, format_value(found.least), cpu])
        yield make_table(head, rows)
    yield "</details>\n"


def _count(case: str, noun: str) -> str:
    """Return the count in a case, from the number in the second part of its name."""
    number = int(case.split("/")[1])
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _show_middle(results: Results, case: str, label: str, metric: str) -> str:
    found = results.middle(case, label, metric)
    return NOT_MEASURED if found is None else format_value(found)


def _write_calls(results: Results, topic: str) -> Iterator[str]:
    for case in results.cases(topic):
        head = [
            _count(case, "caller"),
            "held p50, µs",
            "x",
            "p99, µs",
            "events/s",
            "vwo_async has",
            "CPU, µs/event",
        ]
        rows = [
            [
                label,
                _show(results, case, label, "p50_us"),
                _show_ratio(results, "p50_us", case, label),
                _show_middle(results, case, label, "p99_us"),
                _show(results, case, label, "events_per_s"),
                _show_share(results, case, label),
                _show(results, case, label, "cpu_us"),
            ]
            for label in _order(results, case)
        ]
        yield make_table(head, rows)


def _write_tracks(results: Results) -> Iterator[str]:
    yield _TRACK_TEXT
    yield from _write_calls(results, "track")


def _write_awaited(results: Results) -> Iterator[str]:
    yield _AWAIT_TEXT
    yield from _write_calls(results, "await")


def _write_slow(results: Results) -> Iterator[str]:
    yield _SLOW_TEXT
    (case,) = results.cases("slow")
    rows = [
        [
            label,
            _show(results, case, label, "p50_us", divisor=50_000),
            _show(results, case, label, "p99_us", divisor=50_000),
            _show(results, case, label, "events_per_s"),
        ]
        for label in _order(results, case)
    ]
    yield make_table(["100 callers", "round trips p50", "p99", "events/s"], rows)


def _write_drain(results: Results) -> Iterator[str]:
    yield _DRAIN_TEXT
    (case,) = results.cases("drain")
    rows = [
        [
            label,
            _show(results, case, label, "events_per_s"),
            _show_share(results, case, label),
            _show(results, case, label, "cpu_us"),
        ]
        for label in _order(results, case)
    ]
    yield make_table(["1 caller", "events/s", "vwo_async has", "CPU, µs/event"], rows)


def _write_imports(results: Results) -> Iterator[str]:
    yield "CPU time and memory of a fresh interpreter beyond those of one that imports nothing.\n"
    rows = [
        [
            label,
            _show(results, "import", label, "cpu_ms"),
            _show_ratio(results, "cpu_ms", "import", label),
            _show(results, "import", label, "rss_mb"),
        ]
        for label in _order(results, "import")
    ]
    yield make_table(["", "CPU, ms", "x", "memory, MB"], rows)


def _write_start(results: Results) -> Iterator[str]:
    case = "open/1000"
    rows = [
        [label, _show(results, case, label, "ms"), _show_ratio(results, "ms", case, label)]
        for label in _order(results, case)
    ]
    yield make_table(["from the bytes of the file to the first decision", "ms", "x"], rows)
    rows = [
        [text, _show(results, "hold/1000", OURS, metric)]
        for metric, text in (
            ("open_ms", "fetched and opened"),
            ("refresh_ms", "refreshed"),
            ("idle_ms", "nothing at all, for comparison"),
        )
    ]
    yield make_table(["longest time that the event loop was held", "ms"], rows)
    rows = [
        [text, _show(results, "memory/1000", OURS, metric)]
        for metric, text in (
            ("import_mb", "after import"),
            ("open_mb", "added by opening 1,000 campaigns"),
            ("growth_mb", "added while events were tracked and delivered"),
        )
    ]
    yield make_table(["memory of the process", "MB"], rows)


def _write_storages(results: Results) -> Iterator[str]:
    yield (
        "`track` of a user whom the storage knows: it reads the record, claims the conversion and "
        "writes it down. By hand: three plain calls of the client library that do the same, without any "
        "event; ours hands its events to a transport that takes them at once. *Loop held* is how late a timer "
        "of the loop is, one in a hundred; coroutines that do nothing but give way say what so many callers alone "
        "make of it. Servers on this machine, with their own defaults.\n"
    )
    for case in results.cases("storage"):
        rows = [
            [
                label,
                _show(results, case, label, "p50_us"),
                _show_middle(results, case, label, "p99_us"),
                _show(results, case, label, "events_per_s"),
                _show(results, case, label, "cpu_us"),
                _show_middle(results, case, label, "loop_p99_ms"),
            ]
            for label in results.labels(case)
        ]
        head = [_count(case, "caller"), "p50, µs", "p99, µs"]
        yield make_table([*head, "calls/s", "CPU, µs/call", "loop held p99, ms"], rows)


def _write_outboxes(results: Results) -> Iterator[str]:
    yield (
        "`track` with an outbox: it returns when the event is committed. *Accepted* is until all callers "
        "were told, with the delivery of what was accepted going on beside it; *delivered* is until the "
        f"last event was. Events are handed to a transport that answers after {ROUND_TRIP_MS} ms, as over a "
        "distance, so that they share requests; or *over HTTP* to a server on this machine that answers at once, to "
        "which each event of one caller goes alone. By hand: one commit of as many rows as there are callers, "
        "which holds whoever asks for it, and nothing else; *in a thread*, for which an event loop waits, as "
        "ours does. *Loop held* as for storages.\n"
    )
    for case in results.cases("outbox"):
        rows = [
            [
                label,
                _show(results, case, label, "p50_us"),
                _show_middle(results, case, label, "p99_us"),
                _show(results, case, label, "events_per_s"),
                _show(results, case, label, "cpu_us"),
                _show_middle(results, case, label, "delivered_per_s"),
                _show_middle(results, case, label, "loop_p99_ms"),
            ]
            for label in results.labels(case)
        ]
        head = [_count(case, "caller"), "p50, µs", "p99, µs", "accepted/s", "CPU, µs/event"]
        yield make_table([*head, "delivered/s", "loop held p99, ms"], rows)


def _write_flags(results: Results) -> Iterator[str]:
    yield (
        "A flag, or an event that a metric counts, reported nowhere: in development mode, or with the "
        "SDK's own sending replaced by nothing. *FullStack* is `activate` and `track` of `VWOClient` with "
        "the same rules. Medians of the wall time; *x* is how many times the CPU time of `FMEClient` it "
        "takes.\n"
    )
    kinds = (
        ("flag", "plain", "get_flag, no segment"),
        ("flag", "segment", "get_flag, five leaves"),
        ("event", "plain", "track_event"),
    )
    for work, kind, title in kinds:
        cases = [one for one in results.cases(work) if one.endswith(kind)]
        yield from _write_times(results, cases, title, "feature")
    yield from _write_sending(results)


def _write_sending(results: Results) -> Iterator[str]:
    cases = results.cases("sending")
    if not cases:
        return
    yield (
        "The same with one feature and everybody's own sending, to a server on this machine: how long a call "
        "keeps its caller, where the calls follow each other as in the tables of `track`, and where what was "
        "sent before has a millisecond between the calls.\n"
    )
    rows = [
        [
            f"{title}, {label}",
            *(_show(results, case, label, metric) for metric in ("p50_us", "p99_us")),
            _show_ratio(results, "p50_us", case, label),
        ]
        for case, title in (
            ("sending/flag/at_once", "get_flag"),
            ("sending/event/at_once", "track_event"),
            ("sending/flag/paused", "get_flag after a pause"),
            ("sending/event/paused", "track_event after a pause"),
        )
        for label in _order(results, case)
    ]
    yield make_table(("", "held p50, µs", "p99, µs", "x"), rows)


_WRITERS: tuple[tuple[str, str, Callable[[Results], Iterator[str]]], ...] = (
    ("Deciding", "decision", _write_decisions),
    ("Tracking in the background", "track", _write_tracks),
    ("Awaited tracking", "await", _write_awaited),
    ("A distant server", "slow", _write_slow),
    ("Many events at once", "drain", _write_drain),
    ("Import", "import", _write_imports),
    ("1,000 campaigns", "open", _write_start),
    ("User storages", "storage", _write_storages),
    ("Outbox", "outbox", _write_outboxes),
    ("FME", "fme", _write_flags),
)


def write_sections(results: Results, charts: Sequence[str]) -> Iterator[str]:
    """Yield the sections of all measured topics, with the charts that belong to them."""
    for title, topic, writer in _WRITERS:
        if any(results.cases(one) for one in _TOPICS_OF.get(topic, (topic,))):
            yield f"## {title}\n"
            yield from writer(results)
            for name in charts:
                if name.partition("-")[0] == topic:
                    yield f"![{title}]({name}.svg)\n"
