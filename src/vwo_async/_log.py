"""The one logger, ``vwo_async``.

It has no handler of its own: where a service configures no logging, as an app that uvicorn runs by default,
Python prints what is at WARNING and above to standard error. A wrong key or a lost event must not go unseen there.

No line holds the SDK key, a user id, an address or a payload. A logging handler of the service that raises
must not fail a call, end a worker or lose an event.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from functools import partial

# How many kinds of failure a `FailureLog` counts apart; all further kinds are counted together.
MAX_KINDS = 100

_LOGGER = logging.getLogger("vwo_async")
# Whether the service logs at DEBUG; asked by every decision, and no function of ours for that.
is_debugging = partial(_LOGGER.isEnabledFor, logging.DEBUG)


def log(level: int, text: str, *arguments: object) -> None:
    """Log *text* with %-style *arguments*; exceptions of handlers are ignored."""
    # It could only be reported to the handlers themselves.
    with suppress(Exception):
        logging.getLogger("vwo_async").log(level, text, *arguments, stacklevel=3)


def log_debug(text: str, *arguments: object) -> None:
    """Log at level DEBUG."""
    log(logging.DEBUG, text, *arguments)


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
        topic: The beginning of each line.
        level: The level of the lines.

    Attributes:
        count: The total over all kinds.
    """

    def __init__(self, topic: str, level: int = logging.WARNING) -> None:
        self._topic = topic
        self._level = level
        self._times: Counter[str] = Counter()
        self.count = 0

    def add(self, failure: str, *, detail: str = "", number: int = 1) -> None:
        """Count one failure.

        Args:
            failure: What failed. Failures with the same text are of one kind.
            detail: Logged with it; may differ between failures of one kind.
            number: How much the failure adds to `count`.
        """
        self.count += number
        kind = failure if failure in self._times or len(self._times) < MAX_KINDS else ""
        self._times[kind] += 1
        times = self._times[kind]
        if times.bit_count() == 1:  # a power of two
            text = f"{failure}: {detail}" if detail else failure
            log(self._level, "%s: %s (%d times so far)", self._topic, text, times)
