"""What the command prints: a table or tree for people, or JSON for programs."""

from __future__ import annotations

import json as json_module
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from cyclopts import Parameter
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.segment import Segment
from rich.table import Table

from .control import without_controls

# No line is broken that goes into a file or another program.
_WIDTH = 1_000


@Parameter(name="*")
@dataclass(frozen=True)
class Output:
    """How the answer is printed.

    Attributes:
        json: Print one JSON value in place of text.
    """

    json: bool = False

    def show(self, data: Any, *shown: RenderableType) -> None:
        """Print an answer.

        Args:
            data: All of it, as JSON can hold it.
            shown: The same for people.
        """
        if self.json:
            is_ascii = not _is_unicode(sys.stdout)
            sys.stdout.write(json_module.dumps(data, ensure_ascii=is_ascii, indent=2) + "\n")
            return
        console = make_console()
        # Written by ourselves, since rich ends the process where nobody reads.
        with console.capture() as printed:
            for one in shown:
                console.print(one, soft_wrap=isinstance(one, str))
        sys.stdout.write(printed.get())


def _is_unicode(stream: TextIO) -> bool:
    """Tell whether a stream has all characters."""
    return (stream.encoding or "utf-8").lower().startswith("utf")


class _Console(Console):
    """Shows texts of any origin, and lets none of them steer the terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for one in super().render(renderable, options):
            yield one if one.control else Segment(without_controls(one.text), one.style)


def make_console() -> Console:
    """Return the console of standard output, as it is at this moment."""
    width = None if sys.stdout.isatty() else _WIDTH
    return _Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def make_table(
    names: Sequence[str], rows: Iterable[Sequence[RenderableType]], title: str = ""
) -> Table:
    """Return a table; names that end in a space are of columns of numbers, which stand to the right."""
    table = Table(title=title or None, title_justify="left", title_style="bold")
    for name in names:
        # Broken in a narrow terminal rather than cut off.
        justify: JustifyMethod = "right" if name.endswith(" ") else "left"
        table.add_column(name.strip(), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


@contextmanager
def run_quietly() -> Iterator[None]:
    """Keep the log of a client off the terminal: what became of its events is in the answer of the command."""
    log, silent = logging.getLogger("vwo_async"), logging.NullHandler()
    log.addHandler(silent)
    try:
        yield
    finally:
        log.removeHandler(silent)
