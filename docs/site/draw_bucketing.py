"""Draws docs/bucketing.svg, with the numbers that the package computes: ``python docs/site/draw_bucketing.py``."""

from __future__ import annotations

from pathlib import Path

from vwo_async._core.bucketing import Ranges, bucket_value, hash_seed

USER, CAMPAIGN, ACCOUNT = "Ashley", 7, 888888
SHARES = ((50, "Control"), (50, "Variation-1"))
LEFT, WIDTH = 40, 640
STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2328; }
  .code { font-family: ui-monospace, monospace; }
  .small { font-size: 12px; fill: #59636e; }
  .bar { fill: #d0d7de; }
  .first { fill: #54aeff; }
  .second { fill: #fd8c73; }
  .line { stroke: #59636e; stroke-width: 1.5; fill: none; }
  .mark { fill: #cf222e; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .small { fill: #9198a1; }
    .bar { fill: #3d444d; }
    .first { fill: #1158c7; }
    .second { fill: #bc4c00; }
    .line { stroke: #9198a1; }
    .mark { fill: #ff7b72; }
  }
"""


def write(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    """Return a line of text."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{text}</text>'


def draw_bar(y: float, first: float, last: float, kind: str) -> str:
    """Return a part of the bar from one share of its whole to another."""
    x, width = LEFT + first * WIDTH, (last - first) * WIDTH
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="26" class="{kind}"/>'


def draw_mark(y: float, share: float, text: str) -> str:
    """Return the mark of the user's number above a bar."""
    x = LEFT + share * WIDTH
    point = f'<path class="mark" d="M{x:g} {y:g}l-6 -10h12z"/>'
    return point + write(x, y - 16, text, "code", "middle")


def draw_hash(y: float, seed: str, number: int) -> str:
    """Return the line that shows a seed, its hash and the number that comes of it."""
    told = f'hash("{seed}") = {hash_seed(seed.encode()):,}  &#8594;  {number:,}'
    return write(LEFT, y, told, "code")


def draw() -> str:
    """Return the picture."""
    traffic_seed, seed = f"{CAMPAIGN}_{USER}", f"{CAMPAIGN}_{ACCOUNT}_{USER}"
    traffic = bucket_value(hash_seed(traffic_seed.encode()), 100)
    number = bucket_value(hash_seed(seed.encode()), 10_000)
    owner = Ranges(SHARES).find(number)
    parts = [
        write(LEFT, 30, f'user "{USER}" in campaign {CAMPAIGN} of account {ACCOUNT}'),
        write(LEFT, 74, "1. Does the traffic admit this user?"),
        draw_hash(98, traffic_seed, traffic),
        draw_bar(142, 0, 1, "bar"),
        draw_mark(140, traffic / 100, f"{traffic}"),
        write(LEFT, 186, "1", "small"),
        write(
            LEFT + WIDTH, 186, "100: the traffic is 100 %, so everybody is admitted", "small", "end"
        ),
        write(LEFT, 230, "2. Which variation?"),
        draw_hash(254, seed, number),
        draw_bar(298, 0, 0.5, "first"),
        draw_bar(298, 0.5, 1, "second"),
        write(LEFT + WIDTH / 4, 316, SHARES[0][1], "", "middle"),
        write(LEFT + 3 * WIDTH / 4, 316, SHARES[1][1], "", "middle"),
        draw_mark(296, number / 10_000, f"{number:,}"),
        write(LEFT, 342, "1", "small"),
        write(LEFT + WIDTH / 2, 342, "5,000 | 5,001", "small", "middle"),
        write(LEFT + WIDTH, 342, "10,000", "small", "end"),
        write(LEFT, 384, f"{USER} gets {owner}, in every process, language and year."),
    ]
    body = "\n".join(parts)
    size = f'viewBox="0 0 {WIDTH + 2 * LEFT} 410" width="{WIDTH + 2 * LEFT}" height="410"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        f"<title>How a user is bucketed</title>\n<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


if __name__ == "__main__":
    Path(__file__).parents[1].joinpath("bucketing.svg").write_text(draw())
