"""The one logger, ``vwo_async``: nothing is printed unless the service asks, and logging harms nobody.

No line holds the SDK key, a user id, an address or a payload. What a handler of the service raises is its
own trouble: it must not fail a call, end a worker or lose an event.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress

# Kinds of failure that one `FailureLog` tells apart; those that come later are counted as one.
MAX_KINDS = 100

logging.getLogger("vwo_async").addHandler(logging.NullHandler())


def log(level: int, text: str, *arguments: object) -> None:
    """Log *text* with %-style *arguments*; a handler that raises changes nothing."""
    # What a handler raises could be told to nobody but handlers.
    with suppress(Exception):
        logging.getLogger("vwo_async").log(level, text, *arguments, stacklevel=3)


def log_info(text: str, *arguments: object) -> None:
    """Log at level INFO."""
    log(logging.INFO, text, *arguments)


def log_warning(text: str, *arguments: object) -> None:
    """Log at level WARNING."""
    log(logging.WARNING, text, *arguments)


def log_error(text: str, *arguments: object) -> None:
    """Log at level ERROR."""
    log(logging.ERROR, text, *arguments)


class FailureLog:
    """Counts failures and logs the 1st, 2nd, 4th, 8th... of each kind: an outage must not fill the log.

    Args:
        subject: What the lines are about; each begins with it.
        level: The level of the lines.

    Attributes:
        count: How much has failed, over all kinds.
    """

    def __init__(self, subject: str, level: int = logging.WARNING) -> None:
        self._subject = subject
        self._level = level
        self._times: Counter[str] = Counter()
        self.count = 0

    def add(self, failure: str, *, detail: str = "", number: int = 1) -> None:
        """Count one failure.

        Args:
            failure: What failed; the same text is the same kind.
            detail: What differs from one failure of a kind to the next.
            number: How much this failure adds to `count`.
        """
        self.count += number
        kind = failure if failure in self._times or len(self._times) < MAX_KINDS else ""
        self._times[kind] += 1
        times = self._times[kind]
        if times.bit_count() == 1:  # a power of two
            text = f"{failure}: {detail}" if detail else failure
            log(self._level, "%s: %s (%d times so far)", self._subject, text, times)
