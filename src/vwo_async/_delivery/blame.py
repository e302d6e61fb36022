"""Whom a failed or refused request speaks of: the server, the account, or the events in it."""

from __future__ import annotations

from .answer import Verdict
from .batch import Batch
from .event import find_visitor
from .streak import Streak

# So many visitors must be refused alone, one after the other and nothing delivered in between, until the
# account counts as refused; more where rows of refusals ended by themselves of late.
VISITORS_TO_PAUSE = {Verdict.TURNED_AWAY: 3, Verdict.REJECTED: 10}

# Where something is delivered after so few pauses it was not the account, but bad luck.
PAUSES_OF_BAD_LUCK = 2

# Requests that must be delivered after one that was not, until nothing is held against what waits.
DELIVERIES_TO_TRUST = 20


class Blame:
    """Compares what fails with what does not: a failure is owed to a batch while no other fails too."""

    __slots__ = ("_failing", "_pauses", "_refused", "_streak", "_trusted_in")

    def __init__(self) -> None:
        self._trusted_in = 0
        # Whole batches that failed, and visitors that were refused alone, since something went through.
        self._failing: set[Batch] = set()
        self._refused: set[str] = set()
        # How many refusals since then were owed to the account.
        self._pauses = 0
        self._streak = Streak()

    @property
    def is_wary(self) -> bool:
        """Whether a request failed or was refused of late: what was accepted beside it may be of its kind."""
        return self._trusted_in > 0

    def delivered(self) -> None:
        """A request was taken."""
        self._trusted_in = max(self._trusted_in - 1, 0)
        self._failing.clear()
        if self._pauses <= PAUSES_OF_BAD_LUCK:
            self._streak.ended(len(self._refused))
        self._refused.clear()
        self._pauses = 0

    def answered(self) -> None:
        """A request was refused, by a server that works."""
        self._trusted_in = DELIVERIES_TO_TRUST
        self._failing.clear()

    def failed(self, batch: Batch, *, takes_others: bool) -> None:
        """*batch* failed: count a strike against it, unless a batch without strikes failed too.

        Args:
            batch: What failed.
            takes_others: Whether something was delivered since it failed before. Then a batch of many is to
                be divided whatever else fails: where there are many bad events, much does.
        """
        self._trusted_in = DELIVERIES_TO_TRUST
        whole = batch.origin or batch
        if not batch.strikes:
            self._failing.add(whole)
        if not self._failing - {whole} or (takes_others and not batch.is_alone):
            batch.strikes += 1

    def is_account_refused(self, batch: Batch, verdict: Verdict) -> bool:
        """Take note of a refused *batch*; tell whether this is now owed to the account, not to the events.

        One event, or one visitor's text, that the server dislikes must not stop the others.
        """
        bound = VISITORS_TO_PAUSE.get(verdict)
        if bound is None or not batch.is_alone:
            return False
        if not self._streak.is_over(len(self._refused), bound):
            self._refused.add(find_visitor(batch.events[0]))
        is_account = self._streak.is_over(len(self._refused), bound)
        self._pauses += is_account
        return is_account
