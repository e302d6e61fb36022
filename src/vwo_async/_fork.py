"""Threads of this package stand still while the process forks.

A child has none of its parent's threads, but whatever these held at that moment stays held there: the lock of
a module that one of them was importing, or a mutex of a library in C. Whoever needs it in the child waits
for ever. So each thread is asked to stand where it holds nothing.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Protocol

# How long a fork waits at most: a thread may itself wait for what the forking one holds.
HOLD_S = 1.0


class Holdable(Protocol):
    """A thread that can be asked to stand still."""

    def hold(self, ends_at: float) -> Callable[[], object] | None:
        """Wait until it stands still, until *ends_at* in monotonic seconds at most.

        Returns:
            What lets it go on; None where it does not run.
        """
        ...


_threads: set[weakref.ref[Holdable]] = set()
# What lets them go on, by the thread that forks.
_held: dict[int, list[Callable[[], object]]] = {}


def hold_at_forks(thread: Holdable) -> None:
    """Have *thread* stand still at each fork, as long as there is one."""
    _threads.add(weakref.ref(thread, _threads.discard))


def _hold_all() -> None:
    ends_at = time.monotonic() + HOLD_S
    held = _held[threading.get_ident()] = []
    for found in [*_threads]:
        thread = found()
        let_go = None if thread is None else thread.hold(ends_at)
        if let_go is not None:
            held.append(let_go)


def _let_go_all() -> None:
    for let_go in _held.pop(threading.get_ident(), ()):
        let_go()


def _forget_all() -> None:
    """In the child there are no such threads."""
    _threads.clear()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_all, after_in_parent=_let_go_all, after_in_child=_forget_all)
