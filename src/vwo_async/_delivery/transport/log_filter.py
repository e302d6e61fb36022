"""Keeps what other libraries log of our requests out of every log.

httpcore writes each answer into its debug log, word for word: a server that repeats in it what it was
asked would so put the SDK key there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_ours: ContextVar[bool] = ContextVar("vwo_async request", default=False)


class _OwnRequestFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _is_ours.get()


_FILTER = _OwnRequestFilter()
# Where httpcore and its successor log requests.
_LOGGERS = ("connection", "http11", "http2", "proxy", "socks")


def silence_logger(library: str) -> None:
    """Let the loggers of *library* say nothing while one of our requests is being made; others are heard."""
    for name in _LOGGERS:
        # A filter that is there already is not added again.
        logging.getLogger(f"{library}.{name}").addFilter(_FILTER)


@contextmanager
def making_request() -> Iterator[None]:
    """Mark what happens within as one of our requests."""
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)
