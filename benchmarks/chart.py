"""Bar charts as SVG: deterministic, and legible on light and dark backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

WIDTH = 760
LABEL_WIDTH = 210
VALUE_WIDTH = 90
BAR_HEIGHT = 18
STEP = 25
TOP = 64
BOTTOM = 14
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
    'viewBox="0 0 {width} {height}" role="img">'
)
_RECT = '<rect class="{kind}" x="{x}" y="{y}" width="{width:.1f}" height="{height}"/>'
_STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #24292f; }
.title { font-size: 16px; font-weight: 600; }
.note, .tick { fill: #57606a; font-size: 12px; }
.grid { stroke: #d0d7de; }
.bar { fill: #8c959f; }
.ours { fill: #0969da; }
.yardstick { fill: #bf8700; }
.spread { stroke: #24292f; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .note, .tick { fill: #9198a1; }
  .grid { stroke: #3d444d; }
  .bar { fill: #6e7681; }
  .ours { fill: #58a6ff; }
  .yardstick { fill: #d29922; }
  .spread { stroke: #e6edf3; }
}
"""


class Bar(NamedTuple):
    """One bar.

    Attributes:
        label: Stands before it.
        value: Its length.
        low: Where the spread begins.
        high: Where it ends.
        kind: ``ours``, ``yardstick``, or ``bar`` for the others.
    """

    label: str
    value: float
    low: float
    high: float
    kind: str


class Scale:
    """A logarithmic scale of whole decades around some values.

    Args:
        values: Positive.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self._first = floor(log10(min(values)))
        self._last = max(ceil(log10(max(values))), self._first + 1)

    def place(self, value: float) -> float:
        """Return the position of a value, from the left edge."""
        share = (log10(value) - self._first) / (self._last - self._first)
        plot = WIDTH - LABEL_WIDTH - VALUE_WIDTH
        return LABEL_WIDTH + min(max(share, 0.0), 1.0) * plot

    def ticks(self) -> list[float]:
        """Return the decades."""
        return [10.0**power for power in range(self._first, self._last + 1)]


def draw(title: str, note: str, bars: Sequence[Bar]) -> str:
    """Return a chart of horizontal bars on a logarithmic scale; their spread is drawn on each."""
    height = TOP + STEP * len(bars) + BOTTOM
    scale = Scale([one for bar in bars for one in (bar.value, bar.low, bar.high)])
    parts = [
        _SVG.format(width=WIDTH, height=height),
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="8" y="20">{escape(title)}</text>',
        f'<text class="note" x="8" y="38">{escape(note)}</text>',
        *_draw_grid(scale, height),
    ]
    for index, bar in enumerate(bars):
        parts.extend(_draw_bar(bar, TOP + STEP * index, scale))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _draw_grid(scale: Scale, height: int) -> list[str]:
    parts = []
    for tick in scale.ticks():
        x = scale.place(tick)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{height - BOTTOM}"/>'
        )
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{TOP - 8}" text-anchor="middle">{tick:,g}</text>'
        )
    return parts


def _draw_bar(bar: Bar, y: int, scale: Scale) -> list[str]:
    end, middle, text = scale.place(bar.value), y + BAR_HEIGHT / 2, y + BAR_HEIGHT / 2 + 4.5
    low, high = scale.place(bar.low), scale.place(bar.high)
    return [
        f'<text x="{LABEL_WIDTH - 8}" y="{text}" text-anchor="end">{escape(bar.label)}</text>',
        _RECT.format(kind=bar.kind, x=LABEL_WIDTH, y=y, width=end - LABEL_WIDTH, height=BAR_HEIGHT),
        f'<line class="spread" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>',
        f'<text x="{max(end, high) + 6:.1f}" y="{text}">{format_value(bar.value)}</text>',
    ]


def format_value(value: float) -> str:
    """Return a figure with three significant digits, or with all digits before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
