"""One run over a file: rows in, events out, at the speed at which VWO takes them, and what became of each row."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import Any, NamedTuple

from ... import Delivery, DeliveryStatus, Outcome, Reason, TrackResult
from ..._delivery.answer import Answer, judge
from ..._delivery.blame import VISITORS_TO_PAUSE
from ..._wording import count_of
from ..exit_code import CommandError, ExitCode
from .columns import Columns, Conversion, RowError
from .progress_bar import ProgressBar
from .progress_file import Progress, ProgressFile
from .refused_file import RefusedFile
from .row_file import CHUNK_ROWS, InputRow, RowFile, is_encodable
from .target import Target

# Of these users there is nothing to report: they are in no test.
SKIPPED = frozenset(
    {
        Reason.NOT_IN_TRAFFIC,
        Reason.NOT_IN_SEGMENT,
        Reason.NOT_GROUP_WINNER,
        Reason.NO_VARIATION,
        Reason.IN_HOLDOUT,
    }
)
SAVE_INTERVAL_S = 0.25
LOOK_INTERVAL_S = 1.0
_CLOSED = "closed"
_ACCOUNT_REFUSED = (401, 403)


class Chunk(NamedTuple):
    """Some rows that were read.

    Attributes:
        rows: The rows that are not done.
        read: Up to which row the file has been read with these.
        checksum: Of the file up to there.
        position: How much of the file that is.
    """

    rows: list[InputRow]
    read: int
    checksum: int
    position: int


def read_chunks(file: RowFile, progress: Progress) -> Iterator[Chunk]:
    """Yield what of a file is not done: first what an earlier run left open, then the rows after it.

    Raises:
        CommandError: What was read before is not what is there now.
        OSError: The file cannot be read.
    """
    rows = file.rows()
    left = set(progress.open_rows)
    again, read = [], 0
    for row in islice(rows, progress.read):
        read = row.number
        if read in left:
            again.append(row)
    if (read, file.checksum if read else 0) != (progress.read, progress.checksum):
        raise CommandError(
            f"{file.name}: has other rows than those that were reported: give --state for a state of its own,"
            " or --restart to begin again"
        )
    for begin in range(0, len(again), CHUNK_ROWS):
        some = again[begin : begin + CHUNK_ROWS]
        yield Chunk(some, read, file.checksum, file.position)
    while some := list(islice(rows, CHUNK_ROWS)):
        yield Chunk(some, some[-1].number, file.checksum, file.position)


@dataclass(slots=True)
class _OpenRow:
    """A row that is not done.

    Attributes:
        row: The row.
        deliveries: Its events; empty where it has not been reported.
    """

    row: InputRow
    deliveries: list[Delivery] = field(default_factory=list)


class Run:
    """Reports rows, and keeps the progress.

    Args:
        target: Where to.
        columns: What the rows say.
        progress: How far earlier runs came; kept up to date.
        kept: Where that is kept.
        refused: Takes refused rows.
        bar: Shows how far it is.
        timeout_s: How long nothing may come to an end.

    Attributes:
        bar: The same.
        ended: How many rows are done since it began.
        warnings: What was left out of rows that were reported, and of how many.
    """

    def __init__(
        self,
        target: Target[Any],
        columns: Columns,
        progress: Progress,
        kept: ProgressFile,
        refused: RefusedFile,
        bar: ProgressBar,
        timeout_s: float,
    ) -> None:
        self._target = target
        self._columns = columns
        self._progress = progress
        self._kept = kept
        self._refused = refused
        self.bar = bar
        self._timeout_s = timeout_s
        # From the first moment a row is read until it is done.
        self._open: dict[int, _OpenRow] = {
            number: _OpenRow(_UNREAD) for number in progress.open_rows
        }
        self._room = 0
        self._delivered = 0
        # Refused by VWO, which has taken none so far.
        self._doubtful: list[tuple[_OpenRow, Outcome]] = []
        self._writing = Lock()
        self.warnings: Counter[str] = Counter()
        self._began_at = self._moved_at = self._saved_at = time.monotonic()
        self._position = 0
        self.ended = 0

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._began_at

    async def report(self, chunks: AsyncIterator[Chunk]) -> None:
        """Report all rows, and see them delivered.

        Raises:
            CommandError: VWO cannot be reached, or refuses the account; what is done is kept.
            OSError: The file cannot be read, or progress and refused rows cannot be written.
        """
        async for chunk in chunks:
            for row in chunk.rows:
                self._open[row.number] = _OpenRow(row)
            self._progress.read, self._progress.checksum = chunk.read, chunk.checksum
            self._position = chunk.position
            for row in chunk.rows:
                await self._take(row)
            await self._keep()
        while self._is_under_way():
            await self._target.client.flush_events()
            await asyncio.sleep(0.01)
            await self._keep()
        for one, outcome in self._doubtful:
            self._refuse(one.row, _describe(outcome))
        self._doubtful.clear()
        await self._save()

    async def stop(self, *, timeout_s: float) -> None:
        """Close the client, within a deadline for what is under way, and keep the progress.

        Raises:
            OSError: Progress or refused rows cannot be written.
        """
        await self._target.client.aclose(timeout_s=timeout_s)
        with suppress(CommandError):
            self._look()
        await self._save()

    def _is_under_way(self) -> bool:
        return len(self._open) > len(self._doubtful)

    async def _take(self, row: InputRow) -> None:
        """Report one row."""
        try:
            one = self._columns.read(row)
            self._target.check(one)
        except RowError as error:
            self._refuse(row, str(error))
            return
        deliveries = []
        while True:
            await self._find_room(self._target.count_events(one))
            result = await self._target.report(one)
            self.warnings.update(result.notes)
            if result:
                deliveries.append(result.delivery)
            if not _lacks_room(result):
                break
            # Rows so large that the queue is full of bytes before it is full of events.
            self._room = 0
            one = self._target.narrow(one, result)
        if deliveries:
            self._open[row.number].deliveries = deliveries
        elif result.reason in SKIPPED:
            self._progress.skipped[result.reason.value] += 1
            self._end(row.number)
        else:
            self._refuse(row, _explain(result, row, one))

    async def _find_room(self, events: int) -> None:
        """Wait until the queue has room; see `VWOClient.room`."""
        while self._room < events:
            wanted = max(events, CHUNK_ROWS)
            if await self._target.client.room(wanted, timeout_s=LOOK_INTERVAL_S):
                self._room = wanted
            else:
                await self._keep()
        self._room -= events

    async def _keep(self) -> None:
        """Take note of what has ended, from time to time."""
        if time.monotonic() - self._saved_at >= SAVE_INTERVAL_S:
            self._look()
            await self._save()
            self._check_time()
            self._show()

    def _look(self) -> None:
        """Take note of the rows whose events have all ended.

        Raises:
            CommandError: VWO refuses all of them.
        """
        doubtful = {id(one) for one, _ in self._doubtful}
        for number, one in list(self._open.items()):
            if not one.deliveries or id(one) in doubtful:
                continue
            outcomes = [outcome for each in one.deliveries for outcome in each.outcomes]
            if None not in outcomes:
                self._judge(number, one, [outcome for outcome in outcomes if outcome is not None])
        self._settle_doubts()

    def _judge(self, number: int, one: _OpenRow, outcomes: list[Outcome]) -> None:
        bad = next((outcome for outcome in outcomes if not _is_good(outcome)), None)
        if bad is None:
            self._delivered += 1
            self._progress.reported += 1
            self._end(number)
        elif bad.status is DeliveryStatus.REJECTED:
            self._doubtful.append((one, bad))
        elif bad.reason != _CLOSED:
            self._refuse(one.row, _describe(bad))

    def _settle_doubts(self) -> None:
        """Refuse the rows that VWO refused, once it is known that it takes others."""
        if self._delivered:
            for one, outcome in self._doubtful:
                self._refuse(one.row, _describe(outcome))
            self._doubtful.clear()
            return
        codes = [outcome.status_code for _, outcome in self._doubtful]
        if any(one in _ACCOUNT_REFUSED for one in codes):
            raise CommandError(
                f"VWO refuses the account or its SDK key ({codes[0]}): use the settings file and the key of one"
                " account; no row of this run was counted as done",
                ExitCode.NETWORK,
            )
        # So many, where VWO has taken none, are no fault of the rows: no more of them would end.
        bounds = [VISITORS_TO_PAUSE[judge(Answer(code))] for code in codes]
        if len(codes) >= min(bounds, default=1):
            raise CommandError(
                f"VWO refused the first {len(codes)} rows ({codes[0]}) and took none: look at --base-url and the"
                " account",
                ExitCode.NETWORK,
            )

    def _refuse(self, row: InputRow, reason: str) -> None:
        self._refused.add(row, reason)
        self._progress.refused += 1
        self._end(row.number)

    def _end(self, number: int) -> None:
        del self._open[number]
        self.ended += 1
        self._moved_at = time.monotonic()

    def _check_time(self) -> None:
        if self._is_under_way() and time.monotonic() - self._moved_at > self._timeout_s:
            raise CommandError(
                f"VWO took nothing for {self._timeout_s:g} s, with {count_of(len(self._open), 'row')} on their way:"
                " give the same command again to go on, or a longer --timeout-s",
                ExitCode.NETWORK,
            )

    async def _save(self) -> None:
        self._saved_at = time.monotonic()
        await asyncio.to_thread(self._write, list(self._open))

    def _write(self, open_rows: list[int]) -> None:
        # One may still be under way where the last one follows an interruption.
        with self._writing:
            # In this order: a row whose refusal is not on the disk is not done.
            self._progress.refused_bytes = self._refused.flush()
            self._kept.save(self._progress, open_rows)

    def _show(self) -> None:
        note = f"{self.ended / self.seconds:,.0f} rows/s, {self._progress.refused:,} refused"
        waited_s = time.monotonic() - self._moved_at
        if waited_s > 2 * LOOK_INTERVAL_S:
            note = f"VWO has taken nothing for {waited_s:.0f} s"
        self.bar.show(self._position, note)


_UNREAD = InputRow(0, 0, None)


def _lacks_room(result: TrackResult) -> bool:
    """Tell whether the queue had no room for some of it."""
    if result and len(result) == 1:
        return False
    return any(one.reason is Reason.QUEUE_FULL for one in result.values())


def _is_good(outcome: Outcome) -> bool:
    return bool(outcome) or outcome.status is DeliveryStatus.NOTHING


def _describe(outcome: Outcome) -> str:
    if outcome.status is DeliveryStatus.REJECTED:
        return f"VWO refused it ({outcome.status_code or outcome.reason})"
    return f"given up: {outcome.reason}"


def _explain(result: TrackResult, row: InputRow, one: Conversion) -> str:
    """Return why a row was not reported."""
    cells = row.cells.values() if isinstance(row.cells, dict) else row.cells
    if not all(is_encodable(cell) for cell in cells if isinstance(cell, str)):
        return "is no UTF-8: save the file as such"
    reason = result.reason.value.replace("_", " ")
    if result.detail:
        return str(result.detail)
    names = {
        Reason.GOAL_NOT_FOUND: one.goal,
        Reason.EVENT_NOT_FOUND: one.goal,
        Reason.CAMPAIGN_NOT_FOUND: one.campaign,
    }
    return f"{reason}: {names[result.reason]}" if result.reason in names else reason
