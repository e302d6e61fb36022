"""The one logger, ``vwo_async``: nothing is printed unless the service asks, and logging harms nobody.

No line holds the SDK key, a user id, an address or a payload. What a handler of the service raises is its
own trouble: it must not fail a call, end a worker or lose an event.
"""

from __future__ import annotations

import logging
from contextlib import suppress

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
