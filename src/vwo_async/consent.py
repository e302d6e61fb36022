"""Who may be decided about and reported: the global opt-out, users opted out, and the service's own word."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from .log import log_error

ConsentHook: TypeAlias = Callable[[str], "bool | Awaitable[bool]"]


class Consent:
    """Answers whether nothing may be done about a user.

    Args:
        hook: Asked with the user id on every call; true means yes. Where it fails or takes too long the
            answer is no: privacy does not depend on the hook's health.
        timeout_s: Limit of an async hook.
    """

    __slots__ = ("_hook", "_timeout_s", "_users", "has_opted_out")

    def __init__(self, hook: ConsentHook | None, timeout_s: float) -> None:
        self._hook = hook
        self._timeout_s = timeout_s
        self._users: set[str] = set()
        self.has_opted_out = False

    def opt_out(self, user_id: str) -> None:
        """Do nothing about this user from now on, in this process."""
        self._users.add(user_id)

    def opt_in(self, user_id: str) -> None:
        """Undo `opt_out`."""
        self._users.discard(user_id)

    def is_unasked(self) -> bool:
        """Tell whether everybody may be decided about, so that nothing needs asking."""
        return not self.has_opted_out and not self._users and self._hook is None

    async def refuses(self, user_id: str) -> bool:
        """Tell whether nothing may be done about this user."""
        if self.has_opted_out or user_id in self._users:
            return True
        if self._hook is None:
            return False
        try:
            answer = self._hook(user_id)
            if inspect.isawaitable(answer):
                async with asyncio.timeout(self._timeout_s):
                    answer = await answer
        except Exception as error:
            log_error("consent raised %s, which counts as no", type(error).__name__)
            return True
        return answer is not True
