"""The command that reports conversions from a file."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from cyclopts.types import PositiveFloat

from .._delivery.outbox.process_lock import ProcessLock
from ..transport import Limits
from .conversion.columns import Columns, TimeFormat, TimeUnit
from .conversion.prefetch import read_ahead
from .conversion.progress_bar import ProgressBar
from .conversion.progress_file import Progress, ProgressFile
from .conversion.refused_file import RefusedFile
from .conversion.row_file import RowFile, open_rows
from .conversion.run import Run, read_chunks
from .conversion.target import MAX_QUEUE_BYTES, Target, make_target
from .exit_code import CommandError, ExitCode
from .output import Output, run_quietly
from .source import STANDARD_INPUT, FileName, Source, with_key
from .subject import IdEncoding, Subject, UserFields

_SOURCE = Source()
_OUTPUT = Output()
# How long what is under way may take to arrive where a run ends early.
GRACE_S = 3.0


@dataclass(frozen=True)
class Places:
    """The files of a run.

    Attributes:
        state: Where the progress is kept, None for nowhere.
        refused: Where refused rows go, None for nowhere.
    """

    state: Path | None
    refused: Path | None

    def name_refused(self) -> str | None:
        """Return where refused rows go as seen from the state, so that both may be moved together."""
        if self.state is None or self.refused is None:
            return None
        return os.path.relpath(self.refused, self.state.parent)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other runs off.

        Raises:
            CommandError: Another run has them.
            OSError: The state cannot be kept there.
        """
        if self.state is None:
            yield
            return
        try:
            lock = ProcessLock.take(self.state)
        except OSError as error:
            raise CommandError(
                f"{self.state}: cannot be written ({error.strerror}): give another --state, or --no-state",
                ExitCode.FILE,
            ) from None
        if lock is None:
            raise CommandError(f"{self.state}: another run is using it: wait for its end")
        try:
            yield
        finally:
            lock.release()


@Parameter(name="*")
@dataclass(frozen=True)
class RowOptions:
    """How rows are read.

    Attributes:
        column: FIELD=COLUMN; may be given again. Fields: user, goal, campaign, revenue, time, user_agent, ip,
            var.NAME, targeting.NAME, property.NAME. Nothing after '=' leaves a column out.
        set_: FIELD=VALUE for all rows, such as goal=purchase; may be given again.
        timezone: The zone of times that name none, such as Europe/Berlin.
        time_format: How times are written, as Python's strptime takes it; by default ISO 8601 or a number.
        time_unit: The unit of times that are numbers.
    """

    column: Annotated[list[str], Parameter(alias="-c")] = field(default_factory=list)
    set_: Annotated[list[str], Parameter(name="--set")] = field(default_factory=list)
    timezone: str = ""
    time_format: str = ""
    time_unit: TimeUnit = "s"

    def make_columns(self, rows: RowFile) -> Columns:
        """Return what the columns of a file mean.

        Raises:
            CommandError: They lack something, or an option cannot be used.
        """
        times = TimeFormat(self.time_format, self.time_unit, _find_zone(self.timezone))
        columns = Columns(self.column, self.set_, times)
        columns.bind(rows.columns, rows.name)
        return columns


@Parameter(name="*")
@dataclass(frozen=True)
class PlaceOptions:
    """Where a run keeps what.

    Attributes:
        state: Where to keep what is done; by default beside the file, with .state added to its name.
        no_state: Keep nothing: a run that is interrupted cannot go on.
        restart: Forget what is done, and the refused rows of it, and begin again.
        refused: Where refused rows go; by default beside the file, with .refused and the kind added.
        dry_run: Check all rows, and send and write nothing, but refused rows where --refused is given.
    """

    state: Path | None = None
    no_state: bool = False
    restart: bool = False
    refused: Path | None = None
    dry_run: bool = False

    def choose(self, rows: RowFile) -> Places:
        """Return where the run of a file keeps what.

        Raises:
            CommandError: One of the places is the file itself, or two of them are one.
        """
        places = self._find_places(rows)
        _check_apart({"the file": rows.name, "--state": places.state, "--refused": places.refused})
        return places

    def _find_places(self, rows: RowFile) -> Places:
        state, refused = self.state, self.refused
        if rows.name != STANDARD_INPUT:
            path, kind = Path(rows.name), "jsonl" if rows.columns is None else "csv"
            state = state or path.with_name(f"{path.name}.state")
            if not self.dry_run:
                refused = refused or path.with_name(f"{path.name}.refused.{kind}")
        return Places(None if self.no_state or self.dry_run else state, refused)


def _check_apart(places: Mapping[str, str | Path | None]) -> None:
    """Refuse a place that is another one too, and so would be written over."""
    seen: dict[str, str] = {}
    for name, place in places.items():
        if place is None or place == STANDARD_INPUT:
            continue
        other = seen.setdefault(os.path.realpath(place), name)
        if other != name:
            raise CommandError(f"{name}: {place}: is {other}: give it another name")


_ROW_OPTIONS = RowOptions()
_PLACE_OPTIONS = PlaceOptions()


def convert(
    file: FileName,
    /,
    *,
    timeout_s: PositiveFloat = 120.0,
    user_id_encoding: IdEncoding | None = None,
    reading: RowOptions = _ROW_OPTIONS,
    keeping: PlaceOptions = _PLACE_OPTIONS,
    source: Source = _SOURCE,
    output: Output = _OUTPUT,
) -> int:
    """Report conversions from CSV, JSON lines or Parquet. Ends with 1 where rows were refused.

    What is done is kept in a file, so that the same command goes on after an interruption.

    Args:
        file: The file, which may be packed with gzip; '-' for standard input.
        timeout_s: For how many seconds VWO may take nothing before the run ends.
        user_id_encoding: How ids outside ASCII are hashed, of FullStack alone: node as the Node SDK does.
    """
    if file == source.settings == STANDARD_INPUT:
        raise CommandError("both the file and the settings are '-': give the name of one")
    body = source.read()
    subject = source.compile(body)
    subject.check_fields(UserFields("", id_encoding=user_id_encoding))
    with closing(open_rows(file)) as rows:
        columns = reading.make_columns(rows)
        options = _make_options(source.base_url, user_id_encoding, dry_run=keeping.dry_run)
        target = make_target(with_key(body), subject, columns.certain_fields, options)
        places = keeping.choose(rows)
        with places.hold():
            job = _Job(target, columns, rows, places, subject, timeout_s)
            run = job.start(restart=keeping.restart)
            with run_quietly():
                asyncio.run(job.run(run))
    is_dry_run = keeping.dry_run
    output.show(job.as_json(run, is_dry_run=is_dry_run), *job.describe(run, is_dry_run=is_dry_run))
    return ExitCode.FOUND if job.progress.refused else ExitCode.OK


def _make_options(base_url: str, encoding: IdEncoding | None, *, dry_run: bool) -> dict[str, Any]:
    """Return the launch options of the client."""
    options: dict[str, Any] = {
        "base_url": base_url,
        "development_mode": dry_run,
        "limits": Limits(max_bytes=MAX_QUEUE_BYTES),
        "wait_timeout_s": 1.0,
    }
    if encoding == "node":
        options["user_id_encoding"] = encoding
    return options


def _find_zone(name: str) -> tzinfo | None:
    if not name:
        return None
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise CommandError(
            f"there is no time zone {name!r}: give one such as Europe/Berlin, or UTC"
        ) from None


class _Job:
    """All of one run of the command.

    Args:
        target: Where conversions go.
        columns: What rows say.
        rows: The file.
        places: Where progress and refused rows go.
        subject: The settings.
        timeout_s: How long VWO may take nothing.

    Attributes:
        progress: How far it is.
        resumed_after: How many rows earlier runs had read.
    """

    def __init__(
        self,
        target: Target[Any],
        columns: Columns,
        rows: RowFile,
        places: Places,
        subject: Subject,
        timeout_s: float,
    ) -> None:
        self._target = target
        self._columns = columns
        self._rows = rows
        self._places = places
        self._subject = subject
        self._timeout_s = timeout_s
        self._refused = RefusedFile(places.refused, rows.columns)
        self.progress = Progress()
        self.resumed_after = 0

    def start(self, *, restart: bool) -> Run:
        """Return the run that is to be made.

        Raises:
            CommandError: What an earlier run left cannot be gone on with.
            OSError: It cannot be read.
        """
        run = {
            "product": self._subject.product,
            "account": str(self._subject.settings.account_id),
            "columns": self._columns.describe(),
            "refused file": self._places.name_refused(),
        }
        kept = ProgressFile(self._places.state, run)
        if restart:
            self._refused.clear()
        self.progress = kept.load(restart=restart)
        self.resumed_after = self.progress.read
        is_resumed = kept.is_there() and not restart
        self._refused.begin(self.progress.refused_bytes, is_resumed=is_resumed)
        if not is_resumed:
            # Before there can be a file of refused rows, which is known by it as one of this run.
            kept.save(self.progress, ())
        bar = ProgressBar(self._rows.name, self._rows.size)
        return Run(
            self._target, self._columns, self.progress, kept, self._refused, bar, self._timeout_s
        )

    async def run(self, run: Run) -> None:
        """Report all rows; end in order where that is interrupted.

        Raises:
            CommandError: See `Run.report`; or it was interrupted.
            OSError: See `Run.report`.
        """
        task = asyncio.current_task()
        assert task is not None
        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await self._target.client.open()
        grace_s = GRACE_S
        try:
            with run.bar:
                await run.report(read_ahead(read_chunks(self._rows, self.progress)))
        except asyncio.CancelledError:
            raise CommandError(self._describe_interruption(), ExitCode.INTERRUPTED) from None
        except CommandError as error:
            if error.code is ExitCode.NETWORK:
                grace_s = 0.0
            raise
        finally:
            await run.stop(timeout_s=grace_s)

    def _describe_interruption(self) -> str:
        if self._places.state is None:
            return "interrupted: what was reported is not kept"
        return "interrupted: give the same command again to go on"

    def as_json(self, run: Run, *, is_dry_run: bool) -> dict[str, Any]:
        """Return what came of it as JSON can hold it."""
        progress, places = self.progress, self._places
        return {
            "file": self._rows.name,
            "is_dry_run": is_dry_run,
            "rows": progress.read,
            "resumed_after": self.resumed_after,
            "reported": progress.reported,
            "refused": progress.refused,
            "skipped": dict(progress.skipped),
            "warnings": dict(run.warnings),
            "first_refused": [{"line": line, "reason": why} for line, why in self._refused.first],
            "refused_file": str(places.refused) if progress.refused and places.refused else None,
            "state": None if places.state is None else str(places.state),
            "columns": self._columns.describe(),
            "unused_columns": self._columns.list_unused(),
            "seconds": round(run.seconds, 3),
            "rows_per_s": round(run.ended / run.seconds) if run.seconds else 0,
        }

    def describe(self, run: Run, *, is_dry_run: bool) -> Iterator[str]:
        """Yield the same in words."""
        progress = self.progress
        if self.resumed_after and run.ended:
            yield f"went on after row {self.resumed_after:,}"
        named = ", ".join(
            f"{field} from {name}" for field, name in self._columns.describe().items()
        )
        yield f"read: {named}"
        if unused := self._columns.list_unused():
            yield f"not used: {', '.join(unused)}"
        for line, why in self._refused.first:
            yield f"line {line}: {why}"
        if self.resumed_after and not run.ended:
            yield "all rows were done before: --restart reports them again"
        for text, number in run.warnings.most_common():
            yield f"{number:,} rows: {text}"
        skipped = sum(progress.skipped.values())
        verb = "would be reported" if is_dry_run else "reported"
        places = self._places
        where = f", see {places.refused}" if progress.refused and places.refused else ""
        yield (
            f"{progress.read:,} rows: {progress.reported:,} {verb}, {progress.refused:,} refused{where},"
            f" {skipped:,} of users in no test; {run.ended / (run.seconds or 1):,.0f} rows a second"
        )
