"""`VWO`, a client of a Litestar app: opened and closed by its lifespan, and provided to its handlers.

::

    vwo = VWO(make_client, user_id=lambda request: request.cookies.get("visitor"))

    @get("/")
    async def page(user: UserHandle) -> dict[str, str | None]:
        return {"variation": await user.activate("checkout")}

    app = Litestar(
        [page, vwo.webhook_handler(SECRET)],
        lifespan=[vwo.lifespan],
        dependencies={"user": Provide(vwo.user)},
    )
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast, overload

from .._extra import explain_missing

try:
    from litestar import Litestar, Request, Response, post
    from litestar.connection import ASGIConnection
    from litestar.handlers import HTTPRouteHandler
    from litestar.types import Scope
except ImportError as error:
    raise explain_missing(error, "litestar") from None

from .. import FMEClient, FMEUser, FMEUserHandle, UserHandle, VWOClient
from .._user import Variables
from ._address import Network
from ._app_client import AppClient, ClientT_co, MakeClient, UserSource, Visit, memos_in
from ._webhook import PATH, Webhook

__all__ = ["VWO"]


class VWO(AppClient[ClientT_co]):
    """One client of a Litestar app, of either product; make one for each, and give each a name.

    Args:
        make_client: A function, plain or async, that makes the client; or one that returns an async
            context manager that gives it, where more is to be opened and closed with it, as a storage.
        user_id: A function, plain or async, that is given the connection and returns the id of its user.
            For FME it may be an `FMEUser`.
        custom_variables: A function, plain or async, that is given the connection and returns variables
            for pre-segmentation.
        trusted_proxies: The networks of the proxies before the service, as ``["10.0.0.0/8", "fd00::/8"]``,
            and ``"unix"`` for one that comes through a Unix socket. The visitor's address is then the
            right-most one of ``X-Forwarded-For`` or ``Forwarded`` that is none of theirs; of a peer that
            is none of them, the peer's. An empty list where there is no proxy. By default addresses are
            not looked at.
        name: The name of the client in the app's state.

    Raises:
        InvalidInputError: An argument cannot be used.
    """

    def __init__(
        self,
        make_client: MakeClient[ClientT_co],
        *,
        user_id: Callable[[Any], object] | None = None,
        custom_variables: Callable[[Any], object] | None = None,
        trusted_proxies: Iterable[str | Network] | None = None,
        name: str = "vwo",
    ) -> None:
        super().__init__(make_client, name=name, trusted_proxies=trusted_proxies)
        self._user_source = UserSource(user_id, custom_variables)

    @asynccontextmanager
    async def lifespan(self, app: Litestar) -> AsyncIterator[None]:
        """Open the client before the app serves; close it, and so deliver what is pending, at its end.

        For the app's list of lifespans: those after it may use `client_of`, and end before the client
        closes, within its ``close_timeout_s``.
        """
        async with self._opened() as client:
            app.state[self.name] = client
            yield

    def client_of(self, app: Litestar) -> ClientT_co:
        """Return the client of an app whose lifespan is running, for work outside of requests.

        Raises:
            ClosedError: The lifespan is not running, or does not have this client.
        """
        client = app.state.get(self.name)
        if client is None:
            raise self._missing()
        return cast("ClientT_co", client)

    async def client(self, scope: Scope) -> ClientT_co:
        """Return the client that serves a request or websocket; a dependency: ``Provide(vwo.client)``.

        Raises:
            ClosedError: See `client_of`.
        """
        connection: ASGIConnection[Any, Any, Any, Any] = ASGIConnection(scope)
        return self.client_of(connection.app)

    @overload
    async def user(self: VWO[VWOClient], scope: Scope) -> UserHandle: ...
    @overload
    async def user(self: VWO[FMEClient], scope: Scope) -> FMEUserHandle: ...
    async def user(self, scope: Scope) -> Any:
        """Return the API methods for the user of a request or websocket; a dependency: ``Provide(vwo.user)``.

        Within one request each question is decided and reported once: a second ``activate`` of the same
        campaign, user and variables gives the first answer and sends nothing. A websocket lasts longer,
        and asks anew each time.

        Raises:
            InvalidInputError: There is no ``user_id``.
            ClosedError: See `client_of`.
        """
        connection: ASGIConnection[Any, Any, Any, Any] = ASGIConnection(scope)
        user, variables = await self._user_source.ask(connection)
        return self._make_user(connection, user, variables)

    @overload
    def for_user(
        self: VWO[VWOClient],
        connection: ASGIConnection[Any, Any, Any, Any],
        user_id: str,
        *,
        custom_variables: Variables | None = None,
    ) -> UserHandle: ...
    @overload
    def for_user(
        self: VWO[FMEClient],
        connection: ASGIConnection[Any, Any, Any, Any],
        user_id: str | int | FMEUser,
        *,
        custom_variables: Variables | None = None,
    ) -> FMEUserHandle: ...
    def for_user(
        self,
        connection: ASGIConnection[Any, Any, Any, Any],
        user_id: Any,
        *,
        custom_variables: Variables | None = None,
    ) -> Any:
        """Return the API methods for a user whom the handler knows itself, from the body for example.

        As with `user`, the visitor's agent and address are those of the request, and each question is
        decided and reported once.

        Raises:
            ClosedError: See `client_of`.
        """
        return self._make_user(connection, user_id, custom_variables)

    def webhook_handler(self, secret: str | bytes, path: str = PATH) -> HTTPRouteHandler:
        """Return a handler for VWO's webhook, which has the client refresh its settings.

        It answers 204 when they are fresh, 503 where they could not be fetched, 403 to whoever does not
        have the secret, 413 if the body is longer than 64 kB.

        Args:
            secret: The secret that VWO showed when the webhook was made.
            path: Where VWO calls it.

        Raises:
            InvalidInputError: There is no secret.
        """
        webhook = Webhook(secret)

        @post(path, include_in_schema=False)
        async def vwo_webhook(request: Request[Any, Any, Any]) -> Response[None]:
            client = self.client_of(request.app)
            headers = request.headers.items()
            status = await webhook.answer(client, headers, request.stream())
            return Response(None, status_code=status)

        return vwo_webhook

    def _make_user(
        self, connection: ASGIConnection[Any, Any, Any, Any], user: Any, custom_variables: Any
    ) -> Any:
        client, memos = self.client_of(connection.app), memos_in(cast("Any", connection.scope))
        return self._make_handle(client, memos, user, self._read(connection), custom_variables)

    def _read(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Visit:
        peer = connection.client
        headers = connection.headers
        return self._see(
            headers.get("user-agent"),
            peer and peer.host,
            lambda name: headers.getall(name, []),
        )
