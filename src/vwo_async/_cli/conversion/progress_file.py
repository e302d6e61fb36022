"""How far a file has been reported, kept in a file of its own, so that a run that was killed goes on.

A row is done once VWO has it, or once it is in the file of refused rows, or where there is nothing to report
of it. What is kept is up to which row the file was read, and which rows before that are not done: the rows
that were on their way at that moment, of which there are never more than the queue of a client holds.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..exit_code import CommandError, ExitCode

_VERSION = 1


@dataclass
class Progress:
    """How far a file has been reported.

    Attributes:
        read: So many rows were taken from the file.
        checksum: Of the file up to the end of these.
        open_rows: Numbers of those among them that are not done.
        reported: How many VWO has.
        refused: How many are in the file of refused rows.
        refused_bytes: Its size with these.
        skipped: How many had nothing to report, by the reason.
    """

    read: int = 0
    checksum: int = 0
    open_rows: list[int] = field(default_factory=list)
    reported: int = 0
    refused: int = 0
    refused_bytes: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


class ProgressFile:
    """Where the progress of a run is kept.

    Args:
        path: The file; None to keep nothing.
        run: What tells this run from others of the same file, such as the columns; ``refused file`` among it.
    """

    def __init__(self, path: Path | None, run: dict[str, Any]) -> None:
        self._path = path
        self._run = run

    def is_there(self) -> bool:
        """Tell whether an earlier run has kept something."""
        return self._path is not None and self._path.exists()

    def load(self, *, restart: bool) -> Progress:
        """Return how far an earlier run came.

        Args:
            restart: Whether that does not matter.

        Raises:
            CommandError: The file is none of this run.
            OSError: It cannot be read.
        """
        if restart or not self.is_there():
            return Progress()
        assert self._path is not None
        try:
            found = json.loads(self._path.read_bytes())
            run, progress = dict(found["run"]), _read(found)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise CommandError(
                f"{self._path}: holds no progress: remove it, or give another --state",
                ExitCode.FILE,
            ) from None
        # A run that has read nothing yet may become another, but not cut off a file that is none of its own.
        told = self._run if progress.read else ("refused file",)
        others = [one for one in told if run.get(one) != self._run[one]]
        if others:
            raise CommandError(
                f"{self._path}: is of a run with other {' and '.join(others)}: give --state for a state of its own,"
                " or --restart to forget it"
            )
        return progress

    def save(self, progress: Progress, open_rows: Iterable[int]) -> None:
        """Replace what is kept, as a whole, and see it on the disk.

        Raises:
            OSError: That failed.
        """
        path = self._path
        progress.open_rows = sorted(open_rows)
        if path is None:
            return
        body = {"version": _VERSION, "run": self._run, "progress": vars(progress)}
        draft = path.with_name(f"{path.name}.part")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(body, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def _read(found: Any) -> Progress:
    if found["version"] != _VERSION:
        raise ValueError
    progress = Progress(**found["progress"])
    progress.skipped = Counter(dict(progress.skipped))
    counts = (
        progress.read,
        progress.checksum,
        progress.reported,
        progress.refused,
        progress.refused_bytes,
        *progress.skipped.values(),
    )
    if not all(type(one) is int and one >= 0 for one in counts):
        raise ValueError
    if not all(type(one) is int and 0 < one <= progress.read for one in progress.open_rows):
        raise ValueError
    return progress
