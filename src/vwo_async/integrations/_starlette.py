"""What FastAPI and Starlette have in common: the lifespan, and where a request finds the client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias, cast, overload

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from .. import FMEClient, FMEUser, FMEUserHandle, InvalidInputError, UserHandle, VWOClient
from .._user import Variables
from ._app_client import AppClient, ClientT_co, Visit, memos_in
from ._webhook import Webhook

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
StatefulLifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]
Endpoint: TypeAlias = Callable[[Request], Any]


class StarletteClient(AppClient[ClientT_co]):
    """One client of a FastAPI or Starlette app."""

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[dict[str, Any]]:
        """Open the client before the app serves, and close it when it no longer does.

        Closing delivers what is pending, within the client's ``close_timeout_s``. The client is in the
        state of every request by its name, ``request.state.vwo``, in mounted apps too.
        """
        async with self._opened() as client:
            setattr(app.state, self.name, client)
            yield {self.name: client}

    def around(self, *lifespans: Lifespan) -> StatefulLifespan:
        """Return a lifespan with this client outermost, and within it *lifespans* in their order.

        So the app's own lifespan, given last, begins when all clients are open and ends before they
        close; it may use them (`client_of`). What each yields is in the state of every request::

            app = FastAPI(lifespan=fme.around(shop.lifespan, own_lifespan))

        Raises:
            InvalidInputError: When the app starts: two of them have a name in common.
        """
        return _combine(self.lifespan, *lifespans)

    def client_of(self, app: Starlette) -> ClientT_co:
        """Return the client of an app whose lifespan is running, for work outside of requests.

        Raises:
            ClosedError: The lifespan is not running, or does not have this client.
        """
        client = getattr(app.state, self.name, None)
        if client is None:
            raise self._missing()
        return cast("ClientT_co", client)

    @overload
    def for_user(
        self: StarletteClient[VWOClient],
        connection: HTTPConnection,
        user_id: str,
        *,
        custom_variables: Variables | None = None,
    ) -> UserHandle: ...
    @overload
    def for_user(
        self: StarletteClient[FMEClient],
        connection: HTTPConnection,
        user_id: str | int | FMEUser,
        *,
        custom_variables: Variables | None = None,
    ) -> FMEUserHandle: ...
    def for_user(
        self,
        connection: HTTPConnection,
        user_id: Any,
        *,
        custom_variables: Variables | None = None,
    ) -> Any:
        """Return the API methods for a user whom the handler knows itself, from the body for example.

        As with ``user``, the visitor's agent and address are those of the request, and each question is
        decided and reported once.

        Raises:
            ClosedError: The app's lifespan is not running, or does not have this client.
        """
        return self._make_user(connection, user_id, custom_variables)

    def _find(self, connection: HTTPConnection) -> ClientT_co:
        client = connection.scope.get("state", {}).get(self.name)
        # A mounted app is the `app` of its requests and has no lifespan; so the state comes first.
        return self.client_of(connection.app) if client is None else cast("ClientT_co", client)

    def _make_user(self, connection: HTTPConnection, user: Any, custom_variables: Any) -> Any:
        client, memos = self._find(connection), memos_in(connection.scope)
        return self._make_handle(client, memos, user, self._read(connection), custom_variables)

    def _read(self, connection: HTTPConnection) -> Visit:
        peer = connection.client
        headers = connection.headers
        return self._see(headers.get("user-agent"), peer and peer.host, headers.getlist)

    def _make_webhook(self, secret: str | bytes) -> Endpoint:
        webhook = Webhook(secret)

        async def vwo_webhook(request: Request) -> Response:
            client = self._find(request)
            return Response(
                status_code=await webhook.answer(client, request.headers.raw, request.stream())
            )

        return vwo_webhook


def _combine(*lifespans: Lifespan) -> StatefulLifespan:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            for one in lifespans:
                given = await stack.enter_async_context(one(app)) or {}
                if common := state.keys() & given.keys():
                    raise InvalidInputError(f"two lifespans yield {', '.join(sorted(common))}")
                state.update(given)
            yield state

    return lifespan
