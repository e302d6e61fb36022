"""The bar that shows how far a run is, with its rate and the time that is left, where somebody looks."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class ProgressBar:
    """A bar on standard error, and nothing where that is no terminal.

    Args:
        name: What is being read.
        size: How much of it there is, None where that is not known.
    """

    def __init__(self, name: str, size: int | None) -> None:
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = _make_bar()
            self._task = self._bar.add_task(name, total=size, note="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, position: int, note: str) -> None:
        """Show how much has been read, and a few words."""
        if self._bar is not None:
            self._bar.update(self._task, completed=position, note=note)


def _make_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(file=sys.stderr, highlight=False, markup=False, emoji=False),
        transient=True,
    )
