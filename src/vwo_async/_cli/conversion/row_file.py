"""The rows of a file of conversions, read as a stream: CSV, JSON lines or Parquet, told apart by their content."""

from __future__ import annotations

import csv
import gzip
import json
import os
import stat
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..._error import MissingExtraError
from ..._extra import check_extra
from ..delimiter import find_delimiter
from ..exit_code import CommandError, ExitCode
from ..source import STANDARD_INPUT, find_standard_input

CHUNK_ROWS = 500
# A longer line is no row: of a file without line ends all of it would have to be held.
MAX_LINE_BYTES = 4_000_000
_BUFFER_BYTES = 1_000_000
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_GLOB = frozenset("*?[]{}")


class InputRow(NamedTuple):
    """One row.

    Attributes:
        number: Which one it is, from 1.
        line: The line on which it begins, from 1; of Parquet the same as *number*.
        cells: The cells of a table in the order of its columns, or an object of JSON. Of a row that cannot be read
            its text, as the first cell or as ``text``.
        fault: Why it cannot be read, empty where it can.
    """

    number: int
    line: int
    cells: Any
    fault: str = ""


class RowFile(ABC):
    """A file of rows, open; `rows` may be called once.

    Args:
        name: What the file is called.

    Attributes:
        name: The same.
        columns: The names of its columns; None where each row has names of its own.
        size: How much there is to read, None where that is not known.
        checksum: Of all that has been read, up to the end of the last row that was given.
    """

    columns: Sequence[str] | None = None
    size: int | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.checksum = 0

    @abstractmethod
    def rows(self) -> Iterator[InputRow]:
        """Yield the rows.

        Raises:
            CommandError: The file cannot be read on.
            OSError: The same.
        """

    @property
    @abstractmethod
    def position(self) -> int:
        """How much of *size* has been read."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


def open_rows(name: str) -> RowFile:
    """Open a file, ``-`` for standard input.

    Raises:
        CommandError: It is none of the kinds that can be read, or the library that reads it is not installed.
        OSError: It cannot be opened.
    """
    source: Any = find_standard_input() if name == STANDARD_INPUT else name
    opened: Any = open(source, "rb", _BUFFER_BYTES, closefd=source == name)  # noqa: SIM115
    try:
        head = opened.peek(4)[:4]
        if head == _PARQUET:
            return _open_parquet(name, opened)
        return _open_text(name, opened, head)
    except BaseException:
        opened.close()
        raise


def _open_text(name: str, opened: Any, head: bytes) -> RowFile:
    lines: Any = opened
    if head.startswith(_GZIP):
        lines = gzip.GzipFile(fileobj=opened)
        head = lines.peek(4)[:4]
    text = _Lines(name, opened, lines)
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"["):
        raise CommandError(
            f"{name}: is a JSON array: make it JSON lines, an object a line, as jq -c '.[]' does"
        )
    return JsonLines(text) if head.startswith(b"{") else CsvFile(text)


class _Lines:
    """The lines of a text file, counted and summed up."""

    def __init__(self, name: str, opened: BinaryIO, lines: BinaryIO) -> None:
        self.name = name
        self.opened = opened
        self._lines = lines
        self.number = 0
        self.checksum = 0
        found = os.fstat(opened.fileno())
        self.size = found.st_size or None if stat.S_ISREG(found.st_mode) else None

    @property
    def position(self) -> int:
        return self.opened.tell() if self.size else 0

    def __iter__(self) -> Iterator[bytes]:
        try:
            for line in iter(partial(self._lines.readline, MAX_LINE_BYTES), b""):
                self.number += 1
                self.checksum = zlib.crc32(_strip_end(line) + b"\n", self.checksum)
                if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                    raise CommandError(
                        f"{self.name}:{self.number}: is longer than {MAX_LINE_BYTES} bytes: one row a line"
                    )
                yield line.removeprefix(b"\xef\xbb\xbf") if self.number == 1 else line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CommandError(f"{self.name}: cannot be unpacked: {error}", ExitCode.FILE) from None


def _strip_end(line: bytes) -> bytes:
    # The last line of a file may have none before others are added.
    return line.removesuffix(b"\n").removesuffix(b"\r")


class _TextFile(RowFile):
    def __init__(self, lines: _Lines) -> None:
        super().__init__(lines.name)
        self._lines = lines
        self.size = lines.size

    @property
    def position(self) -> int:
        return self._lines.position

    def close(self) -> None:
        # A pipe is left to the end of the process: closing it would wait for the thread that waits for it.
        if self.size is not None:
            self._lines.opened.close()


class CsvFile(_TextFile):
    """A table in text, whose first line names the columns; commas, semicolons, tabs or bars are between them.

    Args:
        lines: Its lines.

    Raises:
        CommandError: It has no first line of names.
    """

    def __init__(self, lines: _Lines) -> None:
        super().__init__(lines)
        self._row_lines: list[str] = []
        self._is_at_end = False
        texts = self._decode()
        first = next(texts, "")
        if "\0" in first or not is_encodable(first):
            raise CommandError(f"{self.name}: is no UTF-8 text: save it as CSV in UTF-8")
        self._reader = csv.reader(chain([first], texts), delimiter=find_delimiter(first))
        try:
            self.columns = [one.strip() for one in next(self._reader, ())]
        except csv.Error as error:
            raise CommandError(
                f"{self.name}:1: the names of the columns cannot be read: {_describe(error)}"
            ) from None
        if not any(self.columns):
            raise CommandError(f"{self.name}: has no first line with the names of its columns")
        if self._is_at_end:
            raise self._complain(1)

    def _decode(self) -> Iterator[str]:
        # What is no UTF-8 becomes what no text can hold: the row is refused where that cell is needed.
        for line in self._lines:
            text = line.decode("utf-8", "surrogateescape")
            self._row_lines.append(text)
            yield text
        self._is_at_end = True

    def rows(self) -> Iterator[InputRow]:
        assert self.columns is not None
        reader, lines, width = self._reader, self._lines, len(self.columns)
        number, line = 0, lines.number + 1
        while True:
            self._row_lines.clear()
            fault = ""
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if len(self._row_lines) > 1:
                    raise self._complain(line) from None
                cells, fault = ["".join(self._row_lines)], _describe(error)
            if self._is_at_end:
                # The reader looked for more lines, and so for the end of a cell.
                raise self._complain(line)
            if cells:
                if len(cells) > width:
                    fault = "has more cells than the first line has names"
                number += 1
                self.checksum = lines.checksum
                yield InputRow(number, line, cells, fault)
            line = lines.number + 1

    def _complain(self, line: int) -> CommandError:
        """Return the error of a cell over many lines without an end: which of these are rows is not known."""
        return CommandError(
            f"{self.name}:{line}: has a quote that is not closed for {csv.field_size_limit():,} characters or to the"
            " end: close it, and give the same command again"
        )


def _describe(error: csv.Error) -> str:
    if "new-line" in str(error):
        return "has a carriage return where no line ends: save the file with line feeds"
    return f"cannot be read: {error}"


def is_encodable(text: str) -> bool:
    """Tell whether a text of a file was UTF-8 there."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class JsonLines(_TextFile):
    """An object of JSON a line."""

    def rows(self) -> Iterator[InputRow]:
        lines, number = self._lines, 0
        for line in lines:
            if line.isspace():
                continue
            number += 1
            cells, fault = _read_object(line)
            if fault:
                cells = {"text": _strip_end(line).decode("utf-8", "surrogateescape")}
            self.checksum = lines.checksum
            yield InputRow(number, lines.number, cells, fault)


def _read_object(line: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None, "is no JSON in UTF-8"
    return (found, "") if isinstance(found, dict) else (None, "is no JSON object")


class ParquetFile(RowFile):
    """A Parquet file, read by DuckDB, which streams it.

    Args:
        name: The file.
        connection: A connection of DuckDB.

    Raises:
        CommandError: It cannot be read.
    """

    def __init__(self, name: str, connection: Any) -> None:
        super().__init__(name)
        self._connection = connection
        count = "SELECT num_rows FROM parquet_file_metadata(?)"
        self.size = int(self._do(partial(connection.execute, count, [name])).fetchone()[0])
        rows = "SELECT * FROM read_parquet(?)"
        self._found = self._do(partial(connection.execute, rows, [name]))
        self.columns = [one[0] for one in self._found.description]
        self._read = 0

    def _do(self, work: Any) -> Any:
        import duckdb  # noqa: PLC0415 - of an extra of its own

        try:
            return work()
        except duckdb.Error as error:
            text = " ".join(str(error).split())
            raise CommandError(f"{self.name}: cannot be read: {text}", ExitCode.FILE) from None

    @property
    def position(self) -> int:
        return self._read

    def rows(self) -> Iterator[InputRow]:
        while found := self._do(partial(self._found.fetchmany, CHUNK_ROWS)):
            for cells in found:
                self.checksum = zlib.crc32(repr(cells).encode("utf-8", "replace"), self.checksum)
                self._read += 1
                yield InputRow(self._read, self._read, cells)

    def close(self) -> None:
        self._connection.close()


def _open_parquet(name: str, opened: BinaryIO) -> RowFile:
    if name == STANDARD_INPUT:
        raise CommandError("Parquet cannot be read from standard input: give the name of the file")
    if found := sorted(_GLOB.intersection(name)):
        raise CommandError(f"{name}: has {found[0]!r} in its name: give the file another name")
    try:
        check_extra("parquet")
    except MissingExtraError as error:
        raise CommandError(f"{name}: {error}") from None
    import duckdb  # noqa: PLC0415 - of an extra of its own

    opened.close()
    connection = duckdb.connect(":memory:", config={"threads": 1})
    try:
        return ParquetFile(str(Path(name).absolute()), connection)
    except BaseException:
        connection.close()
        raise
