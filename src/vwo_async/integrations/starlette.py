"""`VWO`, a client of a Starlette app: opened and closed by the app's lifespan, asked for a user by each request.

::

    vwo = VWO(make_client, user_id=lambda request: request.cookies.get("visitor"))
    app = Starlette(routes=[..., vwo.webhook_route(SECRET)], lifespan=vwo.lifespan)

    async def page(request):
        user = await vwo.user(request)
        variation = await user.activate("checkout")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

from .. import FMEClient, FMEUserHandle, UserHandle, VWOClient
from .._extra import explain_missing

try:
    from starlette.requests import HTTPConnection
    from starlette.routing import Route

    from ._starlette import StarletteClient
except ImportError as error:
    raise explain_missing(error, "starlette") from None

from ._address import Network
from ._app_client import ClientT_co, MakeClient, UserSource
from ._webhook import PATH

__all__ = ["VWO"]


class VWO(StarletteClient[ClientT_co]):
    """One client of a Starlette app, of either product; make one for each, and give each a name.

    It holds no client itself: the app's state does, so that each run of a lifespan has its own, as tests
    with a loop each need it.

    Args:
        make_client: A function, plain or async, that makes the client; or one that returns an async
            context manager that gives it, where more is to be opened and closed with it, as a storage.
        user_id: A function, plain or async, that is given the request and returns the id of its user. For
            FME it may be an `FMEUser`.
        custom_variables: A function, plain or async, that is given the request and returns variables for
            pre-segmentation.
        trusted_proxies: The networks of the proxies before the service, as ``["10.0.0.0/8", "fd00::/8"]``,
            and ``"unix"`` for one that comes through a Unix socket. The visitor's address is then the
            right-most one of ``X-Forwarded-For`` or ``Forwarded`` that is none of theirs; of a peer that
            is none of them, the peer's. An empty list where there is no proxy. By default addresses are
            not looked at.
        name: The name of the client in the state of app and request.

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

    def client(self, connection: HTTPConnection) -> ClientT_co:
        """Return the client that serves this request or websocket.

        Raises:
            ClosedError: The app's lifespan is not running, or does not have this client.
        """
        return self._find(connection)

    @overload
    async def user(self: VWO[VWOClient], connection: HTTPConnection) -> UserHandle: ...
    @overload
    async def user(self: VWO[FMEClient], connection: HTTPConnection) -> FMEUserHandle: ...
    async def user(self, connection: HTTPConnection) -> Any:
        """Return the API methods for the user of this request or websocket.

        Within one request each question is decided and reported once: a second ``activate`` of the same
        campaign, user and variables gives the first answer and sends nothing. A websocket lasts longer,
        and asks anew each time.

        Raises:
            InvalidInputError: There is no ``user_id``.
            ClosedError: See `client`.
        """
        user, variables = await self._user_source.ask(connection)
        return self._make_user(connection, user, variables)

    def webhook_route(self, secret: str | bytes, path: str = PATH) -> Route:
        """Return a route for VWO's webhook, which has the client refresh its settings.

        It answers 204 when they are fresh, 503 where they could not be fetched, 403 to whoever does not
        have the secret, 413 if the body is longer than 64 kB.

        Args:
            secret: The secret that VWO showed when the webhook was made.
            path: Where VWO calls it.

        Raises:
            InvalidInputError: There is no secret.
        """
        return Route(path, self._make_webhook(secret), methods=["POST"])
