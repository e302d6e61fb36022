"""One client of one app, whatever the framework: how it is made, and how a request gets a user of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from inspect import isawaitable
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

from .. import (
    ClosedError,
    FMEClient,
    FMEUser,
    FMEUserHandle,
    InvalidInputError,
    UserHandle,
    VWOClient,
)
from ._address import Network, TrustedProxies
from ._memo import AnyClient, RequestMemo

ClientT_co = TypeVar("ClientT_co", bound=AnyClient, covariant=True)
Opened: TypeAlias = AbstractAsyncContextManager[ClientT_co]
MakeClient: TypeAlias = Callable[[], Opened[ClientT_co] | Awaitable[Opened[ClientT_co]]]

MEMOS = "vwo_async memos"
"""Where a request keeps a `RequestMemo` for each client."""

Memos: TypeAlias = "MutableMapping[object, RequestMemo]"


class Visit(NamedTuple):
    """What a request says of the visitor, beside who he is."""

    user_agent: str | None
    ip_address: str | None


class AppClient(Generic[ClientT_co]):
    """What the doors have in common.

    Args:
        make_client: Makes the client, plain or async; or an async context manager that gives it, where
            more is to be opened and closed with it, as a user storage.
        name: The name of the client in the app's state.
        trusted_proxies: See `TrustedProxies`; with None, addresses are not looked at.

    Raises:
        InvalidInputError: An argument cannot be used.
    """

    def __init__(
        self,
        make_client: MakeClient[ClientT_co],
        *,
        name: str,
        trusted_proxies: Iterable[str | Network] | None,
    ) -> None:
        if not callable(make_client):
            raise InvalidInputError("make_client must be a function that makes the client")
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidInputError("name must be an identifier")
        self._make_client = make_client
        self.name = name
        self._proxies = None if trusted_proxies is None else TrustedProxies(trusted_proxies)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[ClientT_co]:
        """Make and open the client; at the end, close it within its ``close_timeout_s``.

        Raises:
            InvalidInputError: What was made is no client, and gives none.
        """
        made = self._make_client()
        resource = await made if isawaitable(made) else made
        if not hasattr(type(resource), "__aenter__"):
            raise _no_client(resource)
        # Whoever gives the client may leave it to this to open and to close it: again is no error.
        async with resource as client:
            if not isinstance(client, (VWOClient, FMEClient)):
                raise _no_client(client)
            await client.open()
            try:
                yield client
            finally:
                await client.aclose()

    def _see(
        self, user_agent: str | None, peer: str | None, find_headers: Callable[[str], Sequence[str]]
    ) -> Visit:
        if self._proxies is None:
            return Visit(user_agent, None)
        address = self._proxies.find_client(
            peer, find_headers("x-forwarded-for"), find_headers("forwarded")
        )
        return Visit(user_agent, address)

    def _make_handle(
        self,
        client: AnyClient,
        memos: Memos | None,
        user: Any,
        visit: Visit,
        custom_variables: Any = None,
    ) -> Any:
        """Return the API methods for the user of one request.

        Args:
            client: The client.
            memos: The memos of the request; None for a connection that lasts longer, such as a websocket.
            user: The user's id; for FME whatever names a user there.
            visit: What else the request says.
            custom_variables: For pre-segmentation.
        """
        asked: Any = client
        if memos is not None:
            asked = memos.setdefault(self, RequestMemo(client))
        if isinstance(client, FMEClient):
            return FMEUserHandle(asked, make_fme_user(user, visit, custom_variables))
        return UserHandle(
            asked,
            user,
            custom_variables,
            user_agent=visit.user_agent,
            user_ip_address=visit.ip_address,
        )

    def _missing(self) -> ClosedError:
        return ClosedError(
            f"the client {self.name!r} is not open: the app's lifespan has not run, or does not have it"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def _no_client(made: object) -> InvalidInputError:
    kind = type(made)
    return InvalidInputError(
        "make_client must return a VWOClient or FMEClient, or an async context manager that yields one;"
        f" it gave a {kind.__module__}.{kind.__qualname__}"
    )


def make_fme_user(user: Any, visit: Visit, custom_variables: Any) -> Any:
    """Return the user of an FME call, with what the request says where the service has not said it."""
    if isinstance(user, (str, int)):
        return FMEUser(
            user, custom_variables, user_agent=visit.user_agent, ip_address=visit.ip_address
        )
    if not isinstance(user, FMEUser):
        # A context of the official SDKs is complete as it stands, and the client refuses anything else.
        return user
    return replace(
        user,
        custom_variables=user.custom_variables or custom_variables,
        user_agent=user.user_agent or visit.user_agent,
        ip_address=user.ip_address or visit.ip_address,
    )


class UserSource:
    """Who the user of a request is, as functions of the service's own say, each plain or async.

    Args:
        user_id: Returns his id; None where the service gives none.
        custom_variables: Returns variables for pre-segmentation; None for none.
    """

    def __init__(
        self,
        user_id: Callable[[Any], object] | None,
        custom_variables: Callable[[Any], object] | None,
    ) -> None:
        self._user_id = user_id
        self._custom_variables = custom_variables

    async def ask(self, request: object) -> tuple[Any, Any]:
        """Return the user of a request and his variables.

        Raises:
            InvalidInputError: There is no function that tells the user.
        """
        if self._user_id is None:
            raise no_user_id()
        user = await ask(self._user_id, request)
        return user, await ask(self._custom_variables, request)


async def ask(function: Callable[..., object] | None, request: object) -> Any:
    """Return what a function of the service's own says of a request, plain or async; without one, None."""
    if function is None:
        return None
    found = function(request)
    return await found if isawaitable(found) else found


def no_user_id() -> InvalidInputError:
    """Return the error of an app that asks for the user of a request and does not say who that is."""
    return InvalidInputError("give user_id=, which tells the user of a request")


def memos_of(state: MutableMapping[Any, Any], key: object = MEMOS) -> Memos:
    """Return the memos of the request whose state this is."""
    return cast("Memos", state.setdefault(key, {}))


def memos_in(scope: MutableMapping[str, Any]) -> Memos | None:
    """Return the memos of an ASGI request; None for a connection that lasts longer.

    They are in its state, which apps that are mounted within each other share.
    """
    return memos_of(scope.setdefault("state", {})) if scope["type"] == "http" else None
