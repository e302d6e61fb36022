"""Draws docs/pictures/folders.svg and docs/pictures/fleet.svg: ``python docs/site/draw_diagrams.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

PICTURES = Path(__file__).parents[1] / "pictures"
# An arrow means "may import". Where there is a way along the arrows, the arrow is left out.
IMPORTS = {
    "__main__": ("_cli",),
    "_cli": ("vwo_async", "collector", "transport", "fleet"),
    "integrations": ("sync", "testing", "vwo_async"),
    "sync": ("_sync",),
    "_sync": ("_client",),
    "testing": ("_testing",),
    "_testing": ("vwo_async", "transport", "_collector"),
    "vwo_async": ("_client", "webhook"),
    "_client": ("_refresh", "_storage"),
    "_refresh": ("_delivery",),
    "transport": ("_delivery",),
    "outbox": ("_delivery",),
    "fleet": ("_fleet",),
    "_fleet": ("_refresh", "storage"),
    "observer": ("values",),
    "_delivery": ("_core",),
    "_storage": ("_core", "storage"),
    "_core": ("_settings",),
    "_settings": ("values",),
    "storage": ("values",),
    "collector": ("_collector", "values"),
    "_collector": ("_look_up",),
    "_look_up": ("_client",),
}
STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2328; text-anchor: middle; }
  .small { font-size: 12px; fill: #59636e; }
  .box { fill: #ddf4ff; stroke: #54aeff; }
  .door { fill: #fff1e5; stroke: #fd8c73; }
  .group { fill: none; stroke: #d0d7de; }
  .line { stroke: #59636e; stroke-width: 1.3; fill: none; }
  .faint { stroke-dasharray: 5 4; }
  .head { fill: #59636e; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .small { fill: #9198a1; }
    .box { fill: #0c2d4d; stroke: #1158c7; }
    .door { fill: #4a2412; stroke: #bc4c00; }
    .group { stroke: #3d444d; }
    .line { stroke: #9198a1; }
    .head { fill: #9198a1; }
  }
"""
HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7"'
    ' orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>'
)
Point = tuple[float, float]
# A place on an arrow that passes a layer without a box.
Bend = tuple[str, str, int]


def draw_box(x: float, y: float, width: float, text: str, kind: str = "box") -> str:
    """Return a box around *x*, *y* with lines of text."""
    lines = text.split("\n")
    height = 14 + 18 * len(lines)
    rect = f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" height="{height}" rx="5"'
    first = y + 5 - 9 * (len(lines) - 1)
    words = [
        f'<text x="{x:g}" y="{first + 18 * place:g}">{line}</text>'
        for place, line in enumerate(lines)
    ]
    return f'{rect} class="{kind}"/>' + "".join(words)


def draw_label(x: float, y: float, text: str) -> str:
    """Return a small line of text."""
    return f'<text x="{x:g}" y="{y:g}" class="small">{text}</text>'


def draw_arrow(points: Sequence[Point], *, is_faint: bool = False) -> str:
    """Return an arrow through *points*, which bends halfway between two of them."""
    (x, y), *others = points
    path = f"M{x:g} {y:g}"
    for next_x, next_y in others:
        path += f"C{x:g} {(y + next_y) / 2:g} {next_x:g} {(y + next_y) / 2:g} {next_x:g} {next_y:g}"
        x, y = next_x, next_y
    return f'<path class="line{" faint" * is_faint}" marker-end="url(#head)" d="{path}"/>'


def draw_straight(*points: Point, is_faint: bool = False) -> str:
    """Return an arrow of straight lines."""
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path class="line{" faint" * is_faint}" marker-end="url(#head)" d="{path}"/>'


def frame(title: str, width: float, height: float, parts: Iterable[str]) -> str:
    """Return a picture of *parts*."""
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n{HEAD}\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


# The folders, in layers


def find_layers(arrows: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the layer of each node: one above the highest of those that it points to, from 0 at the bottom."""
    layers: dict[str, int] = {}

    def place(node: str) -> int:
        if node not in layers:
            layers[node] = 1 + max(map(place, arrows.get(node, ())), default=-1)
        return layers[node]

    for node in arrows:
        place(node)
    return layers


def arrange(arrows: Mapping[str, Sequence[str]]) -> list[list[str | Bend]]:
    """Return the nodes of each layer from left to right, and the bends of the arrows that pass it."""
    heights = find_layers(arrows)
    rows: list[list[str | Bend]] = [[] for _ in range(max(heights.values()) + 1)]
    for node, height in heights.items():
        rows[height].append(node)
    for start, end in list_arrows(arrows):
        for height in range(heights[end] + 1, heights[start]):
            rows[height].append((start, end, height))
    for _ in range(20):
        _untangle(rows, list(range(len(rows) - 2, -1, -1)), 1, arrows)
        _untangle(rows, list(range(1, len(rows))), -1, arrows)
    return rows


def _untangle(
    rows: list[list[str | Bend]],
    order: Iterable[int],
    beside: int,
    arrows: Mapping[str, Sequence[str]],
) -> None:
    """Put what is in each layer below or above what it is joined to."""
    for height in order:
        row, other = rows[height], rows[height + beside]
        wished = {
            one: _find_middle(
                [are_joined(one, there, arrows) for there in other], (place + 0.5) / len(row)
            )
            for place, one in enumerate(row)
        }
        row.sort(key=wished.__getitem__)


def _find_middle(joined: Sequence[bool], otherwise: float) -> float:
    """Return the middle of what is joined, as a share of the layer's width; *otherwise* where nothing is."""
    places = [(place + 0.5) / len(joined) for place, is_joined in enumerate(joined) if is_joined]
    return sum(places) / len(places) if places else otherwise


def are_joined(one: str | Bend, other: str | Bend, arrows: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether a line leads from one to the other, of two that are in layers beside each other."""
    ends = [{item} if isinstance(item, str) else set(item[:2]) for item in (one, other)]
    if isinstance(one, str) and isinstance(other, str):
        return other in arrows.get(one, ()) or one in arrows.get(other, ())
    if isinstance(one, str) or isinstance(other, str):
        return bool(ends[0] & ends[1])
    return one[:2] == other[:2]


def list_arrows(arrows: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return the arrows one by one."""
    return [(start, end) for start, ends in arrows.items() for end in ends]


def spread(row: Sequence[str | Bend], width: float) -> list[float]:
    """Return where the middle of each is; a box takes three times the room of a line that passes."""
    shares = [3 if isinstance(one, str) else 1 for one in row]
    ends = list(accumulate(shares))
    return [(end - share / 2) * width / ends[-1] for end, share in zip(ends, shares, strict=True)]


def draw_folders() -> str:
    """Return the picture of which folder may import which."""
    rows, heights = arrange(IMPORTS), find_layers(IMPORTS)
    width, step, box = 840.0, 62, 104
    height = len(rows) * step + 20

    def find_y(row: int) -> float:
        return height - 40 - row * step

    at: dict[str | Bend, Point] = {
        one: (x, find_y(number))
        for number, row in enumerate(rows)
        for one, x in zip(row, spread(row, width), strict=True)
    }
    parts = []
    for start, end in list_arrows(IMPORTS):
        bends = [at[start, end, one] for one in range(heights[start] - 1, heights[end], -1)]
        (x, y), (last_x, last_y) = at[start], at[end]
        parts.append(draw_arrow([(x, y + 16), *bends, (last_x, last_y - 16)]))
    for node in heights:
        kind = "box" if node.startswith("_") or node == "values" else "door"
        parts.append(draw_box(*at[node], box, node, kind))
    return frame("Which folder may import which", width, height, parts)


# The fleet


def draw_fleet() -> str:
    """Return the picture of the way of an event from a pod to VWO."""
    parts = [
        '<rect x="10" y="30" width="170" height="330" rx="8" class="group"/>',
        draw_label(95, 22, "pods"),
        draw_box(95, 75, 130, "track()", "door"),
        draw_box(95, 185, 130, "queue\nin memory"),
        draw_box(95, 310, 130, "fallback outbox"),
        draw_box(385, 185, 150, "Redis Streams,\none per shard"),
        draw_box(385, 310, 150, "dead letters"),
        draw_box(640, 185, 130, "relays,\nany number"),
        draw_box(640, 60, 130, "VWO", "door"),
        draw_straight((95, 91), (95, 160)),
        draw_straight((70, 210), (70, 294), is_faint=True),
        draw_straight((120, 294), (120, 210), is_faint=True),
        draw_label(50, 240, "Redis"),
        draw_label(50, 255, "away"),
        draw_label(147, 240, "back"),
        draw_label(147, 255, "again"),
        draw_straight((160, 185), (310, 185)),
        draw_label(240, 162, "one script for"),
        draw_label(240, 177, "all that wait"),
        draw_straight((460, 178), (575, 178)),
        draw_label(518, 168, "consumer group"),
        draw_straight((575, 198), (460, 198)),
        draw_label(518, 222, "only when VWO has"),
        draw_label(518, 237, "answered: acknowledge"),
        draw_label(518, 252, "and delete"),
        draw_straight((620, 160), (620, 76)),
        draw_label(588, 122, "batches"),
        draw_straight((660, 76), (660, 160)),
        draw_label(690, 122, "answer"),
        draw_straight((640, 210), (640, 310), (460, 310)),
        draw_label(550, 302, "refused for good"),
    ]
    return frame("The way of an event in a fleet", 730, 375, parts)


DRAWINGS = {"folders.svg": draw_folders, "fleet.svg": draw_fleet}


if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        PICTURES.joinpath(name).write_text(draw())
