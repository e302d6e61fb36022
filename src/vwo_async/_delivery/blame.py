"""Whom a failed or refused request speaks of: the server, the account, or the events in it."""

from __future__ import annotations

from .answer import Verdict
from .batch import Batch
from .event import find_visitor

# Visitors whose events must be refused alone, one after the other and nothing delivered in between,
# until the account counts as refused. 401 and 403 say so themselves; other answers mostly mean an event.
VISITORS_TO_PAUSE = {Verdict.PAUSED: 3, Verdict.REJECTED: 10, Verdict.INVALID: 10}


class Blame:
    """Compares what fails with what does not: a failure is owed to a batch while no other fails too."""

    __slots__ = ("_failing", "_refused")

    def __init__(self) -> None:
        # Whole batches that failed, and visitors that were refused alone, since something went through.
        self._failing: set[Batch] = set()
        self._refused: set[str] = set()

    def delivered(self) -> None:
        """A request was taken."""
        self._failing.clear()
        self._refused.clear()

    def answered(self) -> None:
        """A request was refused, by a server that works."""
        self._failing.clear()

    def failed(self, batch: Batch) -> None:
        """*batch* failed: count a strike against it, unless a batch without strikes failed too."""
        whole = batch.origin or batch
        if not batch.strikes:
            self._failing.add(whole)
        if not self._failing - {whole}:
            batch.strikes += 1

    def is_account_refused(self, batch: Batch, verdict: Verdict) -> bool:
        """Take note of a refused *batch*; tell whether this is now owed to the account, not to the events.

        One event, or one visitor's text, that the server dislikes must not stop the others.
        """
        bound = VISITORS_TO_PAUSE.get(verdict)
        if bound is None or not batch.is_alone:
            return False
        if len(self._refused) < bound:
            self._refused.add(find_visitor(batch.events[0]))
        return len(self._refused) >= bound
