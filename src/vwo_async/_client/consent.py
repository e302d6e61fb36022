"""Who may be decided about and reported: the global opt-out, users opted out, and the service's own word."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from .._cancellation import Ending, close_call, is_failure
from .._log import log_error
from .callback import MAX_RUNNING

ConsentHook: TypeAlias = Callable[[str], "bool | Awaitable[bool]"]


class Consent:
    """Tells about whom the client may do nothing at all.

    Args:
        hook: Asked with the user id on every call; true means yes. Where it fails or takes too long the
            answer is no: privacy does not depend on the hook's health.
        timeout_s: Limit of an async hook.

    Attributes:
        has_opted_out: Whether everybody has opted out.
        is_asked: Whether calls must ask at all; false while everybody may be decided about.
    """

    __slots__ = (
        "_hook",
        "_is_closed",
        "_limits",
        "_tasks",
        "_timeout_s",
        "_users",
        "has_opted_out",
        "is_asked",
    )

    def __init__(self, hook: ConsentHook | None, timeout_s: float) -> None:
        self._hook = hook
        self._timeout_s = timeout_s
        self._users: set[str] = set()
        self._limits: set[asyncio.Timeout] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self.has_opted_out = False
        self.is_asked = hook is not None

    def opt_out_everybody(self) -> None:
        """Do nothing about anybody any more."""
        self.has_opted_out = True
        self.is_asked = True

    def opt_out(self, user_id: str) -> None:
        """Do nothing about this user from now on, in this process."""
        self._users.add(user_id)
        self.is_asked = True

    def opt_in(self, user_id: str) -> None:
        """Undo `opt_out`."""
        self._users.discard(user_id)
        self.is_asked = self._hook is not None or bool(self._users) or self.has_opted_out

    def adopt(self, other: Consent) -> None:
        """Let all opt out who opted out of *other*."""
        self._users |= other._users
        self.has_opted_out |= other.has_opted_out
        self.is_asked |= bool(self._users) or self.has_opted_out

    async def refuses(self, user_id: str) -> bool:
        """Tell whether the user may be neither decided about nor reported."""
        if self.has_opted_out or user_id in self._users:
            return True
        if self._hook is None:
            return False
        try:
            answer = self._hook(user_id)
            if inspect.isawaitable(answer):
                answer = await self._wait_for(answer)
        except BaseException as error:
            if not is_failure(error):
                raise
            log_error("consent raised %s, which counts as no", type(error).__name__)
            return True
        return answer is not True

    async def _wait_for(self, answer: Awaitable[bool]) -> bool:
        if len(self._tasks) >= MAX_RUNNING:
            log_error("consent: %d calls of it have not ended, which counts as no", MAX_RUNNING)
            close_call(answer)
            return False
        # In a task of its own: what the hook does where it is cancelled may take long as well.
        ending: Ending[bool] = Ending()
        task = ending.begin(answer, name="vwo_async consent")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        async with asyncio.timeout(0 if self._is_closed else self._timeout_s) as limit:
            self._limits.add(limit)
            try:
                await asyncio.wait({task})
            finally:
                self._limits.discard(limit)
                task.cancel()
        return ending.get()

    def close(self) -> None:
        """Wait for the hook no more: who waits for it is told no."""
        self._is_closed = True
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            limit.reschedule(now)
