"""RESULTS.md and the charts beside it, from the raw samples of a run."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from case import LIMIT
from chart import Bar, draw, format_value
from peer import HERE, OURS
from section import NOT_MEASURED, make_table, write_sections
from summary import Results
from target import TARGETS, Check

_INTRO = """\
Made by `nox -s bench`; how to run and read it is in [README.md](README.md). Figures of different runs
do not compare: what counts are the ratios, each taken between samples of the same round.
"""
_TRIAL = "**A quick run: fewer calls and rounds than a full one. Take it as a trial.**\n"


def write_report(raw: dict[str, Any], folder: Path) -> None:
    """Write RESULTS.md and the charts into *folder*."""
    results = Results(raw)
    folder.mkdir(parents=True, exist_ok=True)
    charts = {name: text for name, text in _draw_charts(results) if text}
    for name, text in charts.items():
        (folder / f"{name}.svg").write_text(text)
    sections = [*_write_parts(results, charts)]
    (folder / "RESULTS.md").write_text("\n".join(sections))


def _write_parts(results: Results, charts: dict[str, str]) -> Iterator[str]:
    yield "# Results\n"
    yield _INTRO
    if results.about["is_quick"]:
        yield _TRIAL
    yield from _write_targets(results, _read_notes())
    yield from write_sections(results, list(charts))
    yield from _write_missing(results)
    yield from _write_conditions(results)


def _write_missing(results: Results) -> Iterator[str]:
    if not results.missing:
        return
    yield "## Not measured\n"
    cases: dict[tuple[str, str], list[str]] = {}
    for one in results.missing:
        cases.setdefault((one["label"], one["reason"]), []).append(one["case"] or "all")
    rows = [f"* {label}: {reason} ({', '.join(of)})" for (label, reason), of in cases.items()]
    yield "\n".join(rows) + "\n"


def _write_conditions(results: Results) -> Iterator[str]:
    about = results.about
    yield "## Conditions\n"
    cores = (
        "one core for what is measured, another for the servers"
        if about["is_pinned"]
        else ("nothing could be pinned to a core")
    )
    lines = [
        f"* {about['date']}, {about['minutes']} minutes, {about['rounds']} rounds",
        f"* {about['processor']}, {about['cores']} cores, {about['system']}: {cores}",
        f"* load before the run: {about['load_before']}",
        f"* noise: {_describe_noise(results)}",
    ]
    yield "\n".join(lines) + "\n"
    rows = [
        [name, ", ".join(f"{package} {version}" for package, version in versions.items())]
        for name, versions in sorted(results.versions.items())
    ]
    yield make_table(["worker", "versions"], rows).replace("| ---: |", "| --- |")


def _describe_noise(results: Results) -> str:
    """Describe how much equal runs of the hand-written limit differ; it does no I/O."""
    found = [results.spread(case, LIMIT, "wall_us") for case in results.cases("decision")]
    spreads = [one for one in found if one is not None]
    if not spreads:
        return "not known, since no decisions were measured"
    quartiles = max(one.noise for one in spreads)
    worst = max(one.high / one.least for one in spreads)
    return (
        f"the hand-written limit, the same code every time, had its quartiles up to {quartiles:.0%} of "
        f"the median apart, and its upper quartile up to {worst:.2f} times its least"
    )


def _write_targets(results: Results, notes: dict[str, str]) -> Iterator[str]:
    yield "## Targets\n"
    rows = []
    for target in TARGETS:
        shown = [_show_checks(results, checks) for checks in (target.aims, target.beyond)]
        rows.append([target.text, *shown[0], *shown[1], notes.get(target.key, "")])
    head = ["", "target", "reached", "met", "beyond it", "reached", "met", "note"]
    rule = "| " + " | ".join(["---"] * len(head)) + " |"
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    yield "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def _show_checks(results: Results, checks: Sequence[Check]) -> tuple[str, str, str]:
    """Return a line for each check: the aim, the result, and whether it is met."""
    texts, reached, met = [], [], []
    for check in checks:
        value = check.measure(results)
        texts.append(check.text)
        reached.append(NOT_MEASURED if value is None else f"{format_value(value)}{check.unit}")
        met.append("?" if value is None else "yes" if check.is_met(value) else "**no**")
    return "<br>".join(texts), "<br>".join(reached), "<br>".join(met)


def _read_notes() -> dict[str, str]:
    path = HERE / "notes.toml"
    notes: dict[str, str] = tomllib.loads(path.read_text()) if path.exists() else {}
    return notes


def _draw_charts(results: Results) -> Iterator[tuple[str, str]]:
    quartiles = "logarithmic; the line on each bar spans the quartiles; shorter is better"
    for kind, title in (("plain", "no segment"), ("segment", "a segment of five leaves")):
        case = f"decision/1000/{kind}"
        yield (
            f"decision-{kind}",
            _draw(
                results, case, "cpu_us", f"CPU µs a decision, 1,000 campaigns, {title}", quartiles
            ),
        )
    more = quartiles.replace("shorter", "longer")
    yield (
        "track-held",
        _draw(results, "track/100", "p50_us", "µs a background track holds 100 callers", quartiles),
    )
    yield (
        "track-events",
        _draw(
            results, "track/100", "events_per_s", "background events a second, 100 callers", more
        ),
    )
    yield (
        "await-events",
        _draw(results, "await/100", "events_per_s", "awaited events a second, 100 callers", more),
    )
    yield (
        "storage-cost",
        _draw(
            results,
            "storage/100",
            "cpu_us",
            "what stickiness costs: CPU µs a track of a known user, 100 callers",
            quartiles,
        ),
    )
    yield "import", _draw(results, "import", "cpu_ms", "CPU ms of import", quartiles)


def _draw(results: Results, case: str, metric: str, title: str, note: str) -> str:
    """Return a chart; an empty text if nothing was measured."""
    found = {label: results.spread(case, label, metric) for label in results.labels(case)}
    bars = [
        Bar(label, one.middle, one.low if one.low > 0 else one.middle, one.high, _find_kind(label))
        for label, one in found.items()
        if one is not None and one.middle > 0
    ]
    bars.sort(key=lambda bar: bar.value, reverse=metric == "events_per_s")
    return draw(title, note, bars) if bars else ""


def _find_kind(label: str) -> str:
    if label.startswith(OURS):
        return "ours"
    is_yardstick = label == LIMIT or label.startswith("prototype") or label.endswith("by hand")
    return "yardstick" if is_yardstick else "bar"
