"""Bar charts of a split, for the terminal and as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from rich.bar import Bar
from rich.table import Table

from .sample_ratio import Share

_BAR_COLUMNS = 30
_ROW = 44
_LEFT = 180
_WIDTH = 760
_BAR_WIDTH = 400


def make_chart(title: str, shares: Sequence[Share]) -> Table:
    """Return a table of variations, each with what was observed and expected, and a bar."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("variation", overflow="fold")
    for name in ("observed", "expected", "share", "of weight"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("", max_width=_BAR_COLUMNS)
    total = sum(one.observed for one in shares) or 1
    most = max((one.observed for one in shares), default=0) or 1
    for one in shares:
        table.add_row(
            one.name,
            f"{one.observed:,}",
            f"{one.expected:,.1f}",
            f"{one.observed / total:.2%}",
            f"{one.expected / total:.2%}",
            Bar(most, 0, one.observed, color="cyan"),
        )
    return table


def draw_svg(splits: Sequence[tuple[str, str, Sequence[Share]]]) -> str:
    """Return a chart as SVG that needs nothing from elsewhere.

    Args:
        splits: For each split its title, what the test says of it, and its variations.
    """
    parts: list[str] = []
    y = 0
    for title, verdict, shares in splits:
        parts.extend(_draw_split(y, title, verdict, shares))
        y += 70 + _ROW * len(shares)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img"'
        f' width="{_WIDTH}" height="{y}" font-family="sans-serif" font-size="14">'
    )
    background = f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>'
    return "\n".join([head, background, *parts, "</svg>", ""])


def _draw_split(y: int, title: str, verdict: str, shares: Sequence[Share]) -> Iterator[str]:
    yield _draw_text(16, y + 28, title, 'font-weight="bold"')
    yield _draw_text(16, y + 50, verdict, 'fill="#555555" font-size="11"')
    total = sum(one.observed for one in shares) or 1
    most = max((max(one.observed, one.expected) for one in shares), default=0) or 1
    for number, one in enumerate(shares):
        top = y + 62 + _ROW * number
        width, mark = (_BAR_WIDTH * value / most for value in (one.observed, one.expected))
        name = one.name if len(one.name) <= 22 else f"{one.name[:21]}…"
        yield _draw_text(16, top + 20, name)
        yield f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="28" fill="#1f77b4"/>'
        x = _LEFT + mark
        yield f'<path d="M{x:.1f} {top - 4}v36" stroke="#d62728" stroke-width="2"/>'
        share = f"{one.observed:,} ({one.observed / total:.2%})"
        yield _draw_text(_LEFT + _BAR_WIDTH + 12, top + 20, share)


def _draw_text(x: int, y: int, text: str, attributes: str = "") -> str:
    return f'<text x="{x}" y="{y}" {attributes}>{escape(text)}</text>'
