"""One answer to one question within a request: what is asked twice is decided and reported once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from copy import deepcopy
from dataclasses import fields
from functools import partial
from typing import Any, TypeAlias

from .. import FMEClient, FMEUser, VWOClient

AnyClient: TypeAlias = VWOClient | FMEClient
Method: TypeAlias = Callable[..., Awaitable[Any]]

REPORTING = frozenset({"activate", "decide", "get_flag", "is_feature_enabled"})
"""Methods that decide and report: asked again in the same request, they give the first answer."""

READING = frozenset({"get_variation_name", "get_feature_variable_value"})
"""Methods that decide only. What they answer may be another once a reporting method has assigned something."""

# What is said of a visitor and of the call, and does not decide.
_INDIFFERENT = frozenset({"meta_data", "user_agent", "user_ip_address", "wait"})
_PLAIN = frozenset({str, int, float, bool, type(None)})


class RequestMemo:
    """A client as one request sees it: it has the client's methods, and remembers what they decided.

    Questions are the same if all that decides is the same: method, campaign or feature, user and variables.
    A question with a value that is not plain is never the same as another. Calls at the same time share
    one answer; if the first is cancelled, the next one asks.

    It belongs to one request, and is let go with it.
    """

    def __init__(self, client: AnyClient) -> None:
        self._client = client
        self._answers: dict[Hashable, _Answer] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name in REPORTING or name in READING:
            return partial(self._ask, name, method)
        return method

    async def _ask(self, name: str, method: Method, *arguments: Any, **options: Any) -> Any:
        deciding = {key: value for key, value in options.items() if key not in _INDIFFERENT}
        try:
            question = (name, freeze(arguments), freeze(deciding))
        except TypeError:
            return await method(*arguments, **options)
        answer = self._answers.setdefault(question, _Answer())
        async with answer.lock:
            if not answer.is_known:
                await self._find(answer, name, method, arguments, options)
        if options.get("wait") is True:
            await self._wait_for(answer)
        # A value of JSON may be changed by whoever has it.
        return deepcopy(answer.value) if name in READING else answer.value

    async def _find(
        self,
        answer: _Answer,
        name: str,
        method: Method,
        arguments: tuple[Any, ...],
        options: Mapping[str, Any],
    ) -> None:
        answer.value = await method(*arguments, **options)
        answer.is_known = True
        answer.was_awaited = options.get("wait") is True
        if name in REPORTING:
            self._forget_what_was_read()

    def _forget_what_was_read(self) -> None:
        self._answers = {
            question: answer
            for question, answer in self._answers.items()
            if isinstance(question, tuple) and question[0] in REPORTING
        }

    async def _wait_for(self, answer: _Answer) -> None:
        """Wait for the delivery of an answer that was first asked for without waiting."""
        if not answer.was_awaited:
            await self._client.flush_events()
            answer.was_awaited = True

    def __repr__(self) -> str:
        return repr(self._client)


class _Answer:
    """What a question was answered, once it was."""

    __slots__ = ("is_known", "lock", "value", "was_awaited")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.is_known = False
        self.was_awaited = False
        self.value: Any = None


def freeze(value: Any) -> Hashable:
    """Return a key that is equal for equal plain values of the same types, and never runs their methods.

    Raises:
        TypeError: There is something in it that is not plain.
    """
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind is dict:
        return kind, frozenset((freeze(key), freeze(one)) for key, one in value.items())
    if kind is tuple or kind is list:
        return kind, tuple([freeze(one) for one in value])
    if kind is FMEUser:
        return kind, tuple([freeze(getattr(value, one.name)) for one in fields(FMEUser)])
    raise TypeError
