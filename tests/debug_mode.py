"""asyncio's debug mode, cheap enough to run the whole suite in it."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterable
from itertools import islice
from types import FrameType

# The call of asyncio's that makes a task or a callback, and who made that call.
NOTED_FRAMES = 6


class BriefStack(traceback.StackSummary):
    """Where something was made: the innermost frames, whose lines are read when somebody asks for them."""

    @classmethod
    def extract(
        cls, frame_gen: Iterable[tuple[FrameType, int]], **_asked: object
    ) -> traceback.StackSummary:
        """Return the frames that come first."""
        summary = traceback.FrameSummary
        return cls(
            summary(frame.f_code.co_filename, line, frame.f_code.co_name, lookup_line=False)
            for frame, line in islice(frame_gen, NOTED_FRAMES)
        )


def note_brief_stacks() -> None:
    """Spare the debug mode, which notes where each task and callback was made, most of what that takes.

    It would look at each file on disk, and read each line of a whole stack, most of which is pytest's: more
    than half of the time of a test. Tracebacks of exceptions are as they were.
    """
    linecache.checkcache = lambda filename=None: None
    traceback.StackSummary.extract = BriefStack.extract  # type: ignore[method-assign]
