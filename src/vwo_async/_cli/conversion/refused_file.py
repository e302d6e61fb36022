"""The file of refused rows: each with its line and the reason, in a form that can be mended and given again."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..exit_code import CommandError, ExitCode
from .row_file import InputRow

# So many refused rows are named where the run ends.
MAX_NAMED = 5
# What stands before the cells of a row.
_OWN = ("line", "reason")


class RefusedFile:
    """Takes refused rows; the file is made with the first one.

    Args:
        path: The file; None to count them only.
        columns: The columns of the rows; None where each has names of its own, which are written as JSON lines.

    Attributes:
        first: The first of this run: line and reason.
    """

    def __init__(self, path: Path | None, columns: Sequence[str] | None) -> None:
        self._path = path
        self._columns = columns
        # Of a file of refused rows that is given again.
        self._own_width = len(_OWN) if tuple(columns or ())[: len(_OWN)] == _OWN else 0
        self._waiting: list[str] = []
        self.first: list[tuple[int, str]] = []

    def begin(self, size: int, *, is_resumed: bool) -> None:
        """Cut the file off after what an earlier run is known to have written.

        Args:
            size: So many bytes.
            is_resumed: Whether there was an earlier run; without one the file must not be there.

        Raises:
            CommandError: There is a file that no earlier run is known to have written, or less of it.
            OSError: It cannot be cut off.
        """
        if self._path is None:
            return
        found = self._path.stat().st_size if self._path.exists() else 0
        if found < size:
            raise CommandError(
                f"{self._path}: is not what an earlier run wrote: put it back, or give --restart",
                ExitCode.FILE,
            )
        if found and not is_resumed:
            raise CommandError(f"{self._path}: exists: move it, or give another --refused")
        if found > size:
            os.truncate(self._path, size)

    def clear(self) -> None:
        """Forget what an earlier run has written.

        Raises:
            OSError: It cannot be removed.
        """
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def add(self, row: InputRow, reason: str) -> None:
        """Take a row, which `flush` writes."""
        if len(self.first) < MAX_NAMED:
            self.first.append((row.line, reason))
        if self._path is not None:
            self._waiting.append(self._render(row, reason))

    def flush(self) -> int:
        """Write what has been taken, and see it on the disk; return the size of the file.

        Raises:
            OSError: That failed; it is tried again with the next.
        """
        path = self._path
        if path is None:
            return 0
        if not self._waiting:
            return path.stat().st_size if path.exists() else 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "ab") as file:
            begin = file.tell()
            waiting = list(self._waiting)
            text = "".join(waiting)
            if not begin and self._columns is not None:
                text = _render_cells((*_OWN, *self._columns[self._own_width :])) + text
            self._waiting.clear()
            try:
                # What was no UTF-8 is written as the bytes that it was.
                file.write(text.encode("utf-8", "surrogateescape"))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                self._waiting[:0] = waiting
                os.truncate(path, begin)
                raise
            return file.tell()

    def _render(self, row: InputRow, reason: str) -> str:
        if self._columns is not None:
            return _render_cells((row.line, reason, *(row.cells or ())[self._own_width :]))
        found = dict(zip(_OWN, (row.line, reason), strict=True)) | row.cells
        if tuple(row.cells)[: len(_OWN)] == _OWN:
            found |= {"line": row.line, "reason": reason}
        return json.dumps(found, ensure_ascii=True, default=str) + "\n"


def _render_cells(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
