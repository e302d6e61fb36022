"""Deliver what is pending when the process ends.

What happens here happens to a process, so it is known here which clients are open in it.

Python ends in this order: it calls what is registered with `threading`, waits for the threads that are no
daemons, and then calls what is registered with `atexit`. In the first step, executors can still look up
addresses and the like; but threads of the service may go on afterwards, and report more. So what is
pending is delivered in the first, and clients are closed in the last.
"""

from __future__ import annotations

import atexit

# The executors must have registered before: they are ended in the opposite order.
import concurrent.futures.thread
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Protocol


class Closable(Protocol):
    """What is open and told of the end of the process: first all begin, then each is waited for."""

    @property
    def pid(self) -> int:
        """The process in which it is open."""
        ...

    def begin_flush(self) -> None:
        """Begin to deliver what is pending."""

    def end_flush(self) -> None:
        """Wait until that is done, for a bounded time."""

    def begin_close(self) -> None:
        """Begin to close."""

    def end_close(self) -> object:
        """Wait until that is done, for a bounded time."""


# Those of a parent process stay here in its child, so that nothing there ends what they share with it.
_open: set[Closable] = set()
_is_registered = False


def prepare() -> None:
    """Have this module told of the end of this process; again is no error."""
    _register_once()
    _handle_sigterm()


def add(client: Closable) -> None:
    """Have *client*, which is open, closed when this process ends."""
    _open.add(client)
    prepare()


def remove(client: Closable) -> None:
    """Take note that *client* is closed."""
    _open.discard(client)


def _register_once() -> None:
    global _is_registered  # noqa: PLW0603 - a process has one end
    if _is_registered:
        return
    _is_registered = True
    assert concurrent.futures.thread
    # While the interpreter ends already, the first step is over.
    with suppress(AttributeError, RuntimeError):
        threading._register_atexit(_flush_all)  # type: ignore[attr-defined]  # noqa: SLF001  # pyright: ignore[reportAttributeAccessIssue]  # nothing public comes before executors end
    atexit.register(_close_all)


def _list_open() -> list[Closable]:
    pid = os.getpid()
    return [one for one in [*_open] if one.pid == pid]


def _flush_all() -> None:
    clients = _list_open()
    for client in clients:
        client.begin_flush()
    for client in clients:
        client.end_flush()


def _close_all() -> None:
    clients = _list_open()
    for client in clients:
        client.begin_close()
    for client in clients:
        client.end_close()


# SIGTERM


def _handle_sigterm() -> None:
    """Have clients closed before SIGTERM ends the process, where nothing else handles it.

    A service that handles it ends in its own way, and comes to the steps above.
    """
    is_possible = threading.current_thread() is threading.main_thread()
    if is_possible and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        # A further interpreter of a process may not.
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    if signal.getsignal(number) is not _on_sigterm:
        # A handler that the service has set later calls this one as well, and ends the process itself.
        _flush_all()
        return
    _close_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    # Still here: the first process of a container is spared what it does not handle.
    time.sleep(0.1)
    sys.exit(128 + number)
