"""Synchronous methods with the arguments, results and documents of async ones.

There is one mechanism for all of them, so that they cannot differ: a type checker sees the signature of the
async method without ``async``, and so do `help` and `inspect.signature`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from .caller_engine import NeedsLoop

P = ParamSpec("P")
R = TypeVar("R")
TargetT = TypeVar("TargetT")

AsyncMethod = Callable[Concatenate[TargetT, P], Coroutine[Any, Any, R]]
SyncMethod = Callable[Concatenate[Any, P], R]


class Runner(Protocol):
    """What has synchronous methods: it knows the object whose async methods they are."""

    def run(self, make: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        """Run in the loop what *make* returns for the object."""

    def find_caller_target(self) -> Any:
        """Return the object as it can be used in the thread of the caller; None where it cannot."""


def in_loop(method: AsyncMethod[TargetT, P, R]) -> SyncMethod[P, R]:
    """Return *method* as one that runs in the client's loop, and waits there for its end."""

    @wraps(method)
    def call(self: Runner, *args: P.args, **kwargs: P.kwargs) -> R:
        asked = _Call(method, args, kwargs)
        # Tools that report errors show the locals of each frame, and among these are users and keys.
        del args, kwargs
        result: R = self.run(asked)
        return result

    return cast("SyncMethod[P, R]", call)


def in_caller(method: AsyncMethod[TargetT, P, R]) -> SyncMethod[P, R]:
    """Return *method* as one that runs in the thread of its caller where that can be, else in the client's loop.

    It cannot where it waits for something, be it because the caller says so with ``wait``.
    """

    @wraps(method)
    def call(self: Runner, *args: P.args, **kwargs: P.kwargs) -> R:
        wait = kwargs.get("wait")
        asked = _Call(method, args, kwargs)
        del args, kwargs
        target = self.find_caller_target() if wait is None or wait is False else None
        if target is not None:
            coroutine = asked(target)
            try:
                coroutine.send(None)
            except StopIteration as done:
                ended: R = done.value
                return ended
            except NeedsLoop:
                pass
            else:
                # It would wait, and has done nothing yet.
                coroutine.close()
        result: R = self.run(asked)
        return result

    return cast("SyncMethod[P, R]", call)


class _Call:
    """A call of an async method, which shows nobody its arguments."""

    __slots__ = ("_args", "_kwargs", "_method")

    def __init__(
        self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._method = method
        self._args = args
        self._kwargs = kwargs

    def __call__(self, target: Any) -> Coroutine[Any, Any, Any]:
        """Return the coroutine of the method of *target*."""
        coroutine: Coroutine[Any, Any, Any] = self._method(target, *self._args, **self._kwargs)
        return coroutine
