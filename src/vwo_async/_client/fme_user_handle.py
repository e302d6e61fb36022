"""The API methods of an `FMEClient` for one user, so that a handler need not name him in every call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, overload

from .._explanation import FlagExplanation
from .._flag import Flag
from .._plain import is_kind
from .._result import AliasResult, TrackResult
from .event_time import EventTime
from .fme_user import AnyUser


class FMEApiMethods(Protocol):
    """What a handle needs of a client: the API methods that name a user."""

    async def get_flag(self, feature_key: str, user: AnyUser, *, wait: bool | None = None) -> Flag:
        """See `FMEClient.get_flag`."""
        ...

    async def get_flags(self, user: AnyUser) -> Mapping[str, Flag]:
        """See `FMEClient.get_flags`."""
        ...

    async def explain(self, feature_key: str, user: AnyUser) -> FlagExplanation:
        """See `FMEClient.explain`."""
        ...

    async def track_event(
        self,
        event_name: str,
        user: AnyUser,
        event_properties: Mapping[str, Any] | None = None,
        *,
        at: EventTime | None = None,
        wait: bool | None = None,
    ) -> TrackResult:
        """See `FMEClient.track_event`."""
        ...

    @overload
    async def set_attribute(
        self, key: str, value: str | float | bool, user: AnyUser, *, wait: bool | None = None
    ) -> bool: ...
    @overload
    async def set_attribute(
        self, key: Mapping[str, Any], value: AnyUser, *, wait: bool | None = None
    ) -> bool: ...

    async def set_alias(self, user: AnyUser, alias_id: str) -> AliasResult:
        """See `FMEClient.set_alias`."""
        ...


class FMEUserHandle:
    """The API methods for one user; made by `FMEClient.for_user`.

    The methods, their options and what they raise are the client's, less the user. It holds no resource:
    make one for each request, and let it go.
    """

    __slots__ = ("_client", "_user")

    def __init__(self, client: FMEApiMethods, user: AnyUser) -> None:
        self._client = client
        self._user = user

    async def get_flag(self, feature_key: str, *, wait: bool | None = None) -> Flag:
        """Decide a feature flag, and report what the user is shown; see `FMEClient.get_flag`."""
        return await self._client.get_flag(feature_key, self._user, wait=wait)

    async def get_flags(self) -> Mapping[str, Flag]:
        """Decide every flag by feature key; report and store nothing; see `FMEClient.get_flags`."""
        return await self._client.get_flags(self._user)

    async def explain(self, feature_key: str) -> FlagExplanation:
        """Return how a flag is decided, step by step; see `FMEClient.explain`."""
        return await self._client.explain(feature_key, self._user)

    async def track_event(
        self,
        event_name: str,
        event_properties: Mapping[str, Any] | None = None,
        *,
        at: EventTime | None = None,
        wait: bool | None = None,
    ) -> TrackResult:
        """Report an event that a metric counts; see `FMEClient.track_event`."""
        return await self._client.track_event(
            event_name, self._user, event_properties, at=at, wait=wait
        )

    @overload
    async def set_attribute(
        self, key: str, value: str | float | bool, *, wait: bool | None = None
    ) -> bool: ...
    @overload
    async def set_attribute(self, key: Mapping[str, Any], *, wait: bool | None = None) -> bool: ...
    async def set_attribute(
        self, key: str | Mapping[str, Any], value: Any = None, *, wait: bool | None = None
    ) -> bool:
        """Report attributes: ``set_attribute(key, value)`` or ``set_attribute(mapping)``.

        See `FMEClient.set_attribute`.

        Args:
            key: The name, or a mapping from names to values.
            value: A str, int, float or bool; not with a mapping.
            wait: Await delivery; by default where ``return_promise_for`` names ``set_attribute``.

        Returns:
            Whether they were accepted for delivery; awaited, whether VWO received them.
        """
        client: Any = self._client
        if value is None and is_kind(key, Mapping):
            return bool(await client.set_attribute(key, self._user, wait=wait))
        # Whatever is wrong with a name or value, the client says so.
        return bool(await client.set_attribute(key, value, self._user, wait=wait))

    async def set_alias(self, alias_id: str) -> AliasResult:
        """Make *alias_id* another id of the user; see `FMEClient.set_alias`."""
        return await self._client.set_alias(self._user, alias_id)

    def __repr__(self) -> str:
        return f"<FMEUserHandle of {self._client!r}>"
