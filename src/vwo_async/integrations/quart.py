"""`VWO`, a client of a Quart app: opened and closed while it serves, asked for a user by each request.

::

    vwo = VWO(make_client, user_id=lambda request: request.cookies.get("visitor"))
    vwo.init_app(app)
    app.register_blueprint(vwo.webhook_blueprint(SECRET))

    @app.get("/")
    async def page():
        user = await vwo.user()
        return {"variation": await user.activate("checkout")}
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, cast, overload

from .._extra import explain_missing

try:
    from quart import (
        Blueprint,
        Quart,
        Request,
        Response,
        Websocket,
        current_app,
        has_websocket_context,
        request,
        websocket,
    )
except ImportError as error:
    raise explain_missing(error, "quart") from None

from .. import FMEClient, FMEUser, FMEUserHandle, UserHandle, VWOClient
from .._user import Variables
from ._address import Network
from ._app_client import AppClient, ClientT_co, MakeClient, UserSource, Visit, memos_in
from ._memo import AnyClient
from ._webhook import PATH, Webhook

__all__ = ["VWO"]


class VWO(AppClient[ClientT_co]):
    """One client of a Quart app, of either product; make one for each, and give each a name.

    Args:
        make_client: A function, plain or async, that makes the client; or one that returns an async
            context manager that gives it, where more is to be opened and closed with it, as a storage.
        user_id: A function, plain or async, that is given the request or websocket and returns the id of
            its user. For FME it may be an `FMEUser`.
        custom_variables: A function, plain or async, that is given the request or websocket and returns
            variables for pre-segmentation.
        trusted_proxies: The networks of the proxies before the service, as ``["10.0.0.0/8", "fd00::/8"]``,
            and ``"unix"`` for one that comes through a Unix socket. The visitor's address is then the
            right-most one of ``X-Forwarded-For`` or ``Forwarded`` that is none of theirs; of a peer that
            is none of them, the peer's. An empty list where there is no proxy. By default addresses are
            not looked at.
        name: The name of the client in ``app.extensions``.

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

    def init_app(self, app: Quart) -> None:
        """Have the client open while the app serves; closing it delivers what is pending.

        It opens before, and closes after, whatever is registered by ``app.while_serving`` later on. Closing
        takes no longer than the client's ``close_timeout_s``.
        """
        serving = _Serving(self._opened, app.extensions, self.name)
        app.while_serving(lambda: cast("AsyncGenerator[None, None]", serving))

    def client(self) -> ClientT_co:
        """Return the client of the current app.

        Raises:
            ClosedError: The app is not serving, or does not have this client.
        """
        client = current_app.extensions.get(self.name)
        if client is None:
            raise self._missing()
        return cast("ClientT_co", client)

    @overload
    async def user(self: VWO[VWOClient]) -> UserHandle: ...
    @overload
    async def user(self: VWO[FMEClient]) -> FMEUserHandle: ...
    async def user(self) -> Any:
        """Return the API methods for the user of the current request or websocket.

        Within one request each question is decided and reported once: a second ``activate`` of the same
        campaign, user and variables gives the first answer and sends nothing. A websocket lasts longer,
        and asks anew each time.

        Raises:
            InvalidInputError: There is no ``user_id``.
            ClosedError: See `client`.
        """
        connection = _find_connection()
        user, variables = await self._user_source.ask(connection)
        return self._make_user(user, variables)

    @overload
    def for_user(
        self: VWO[VWOClient], user_id: str, *, custom_variables: Variables | None = None
    ) -> UserHandle: ...
    @overload
    def for_user(
        self: VWO[FMEClient],
        user_id: str | int | FMEUser,
        *,
        custom_variables: Variables | None = None,
    ) -> FMEUserHandle: ...
    def for_user(self, user_id: Any, *, custom_variables: Variables | None = None) -> Any:
        """Return the API methods for a user whom the handler knows itself, from the body for example.

        As with `user`, the visitor's agent and address are those of the current request, and each question
        is decided and reported once.

        Raises:
            ClosedError: See `client`.
        """
        return self._make_user(user_id, custom_variables)

    def webhook_blueprint(self, secret: str | bytes, path: str = PATH) -> Blueprint:
        """Return a blueprint for VWO's webhook, which has the client refresh its settings.

        It answers 204 when they are fresh, 503 where they could not be fetched, 403 to whoever does not
        have the secret, 413 if the body is longer than 64 kB.

        Args:
            secret: The secret that VWO showed when the webhook was made.
            path: Where VWO calls it.

        Raises:
            InvalidInputError: There is no secret.
        """
        webhook = Webhook(secret)
        blueprint = Blueprint(f"{self.name}_webhook", __name__)

        async def vwo_webhook() -> Response:
            headers = list(request.headers.items())
            body = cast("AsyncIterable[bytes]", request.body)
            return Response(status=await webhook.answer(self.client(), headers, body))

        blueprint.add_url_rule(path, view_func=vwo_webhook, methods=["POST"])
        return blueprint

    def _make_user(self, user: Any, custom_variables: Any) -> Any:
        connection = _find_connection()
        memos = memos_in(cast("Any", connection.scope))
        return self._make_handle(
            self.client(), memos, user, self._read(connection), custom_variables
        )

    def _read(self, connection: Request | Websocket) -> Visit:
        # Quart's own `remote_addr` may be a header of the visitor's.
        peer: tuple[str, int] | None = cast("Any", connection.scope).get("client")
        headers = connection.headers
        return self._see(headers.get("user-agent"), peer and peer[0], headers.getlist)


class _Serving:
    """What Quart takes for the generator of one run; this one serves any number of runs, as tests need it."""

    def __init__(
        self,
        open_client: Callable[[], AbstractAsyncContextManager[AnyClient]],
        extensions: dict[str, Any],
        name: str,
    ) -> None:
        self._open_client = open_client
        self._extensions = extensions
        self._name = name
        self._stack: AsyncExitStack | None = None

    async def __anext__(self) -> None:
        if self._stack is not None:
            stack, self._stack = self._stack, None
            await stack.aclose()
            raise StopAsyncIteration
        stack = AsyncExitStack()
        self._extensions[self._name] = await stack.enter_async_context(self._open_client())
        self._stack = stack


def _find_connection() -> Request | Websocket:
    return websocket if has_websocket_context() else request
