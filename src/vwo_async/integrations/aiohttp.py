"""`VWO`, a client of an aiohttp app: opened and closed by ``cleanup_ctx``, asked for a user by each request.

::

    vwo = VWO(make_client, user_id=lambda request: request.cookies.get("visitor"))
    app.cleanup_ctx.append(vwo.cleanup_ctx)
    app.router.add_post("/vwo-webhook", vwo.webhook_handler(SECRET))

    async def page(request: web.Request) -> web.Response:
        user = await vwo.user(request)
        variation = await user.activate("checkout")

`use_cookie_storage` gives each request its `CookieUserStorage` cookie.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, cast, overload

from .._extra import explain_missing

try:
    from aiohttp import web
except ImportError as error:
    raise explain_missing(error, "aiohttp") from None

from .. import FMEClient, FMEUser, FMEUserHandle, UserHandle, VWOClient
from .._user import Variables
from ..storage.cookie import CookieUserStorage, Jar
from ._address import Network
from ._app_client import MEMOS, AppClient, ClientT_co, MakeClient, UserSource, Visit, memos_of
from ._webhook import Webhook

__all__ = ["VWO", "use_cookie_storage"]

# Newer versions of aiohttp want a key of this class where older ones take a text.
_RequestKey: Callable[..., Any] = getattr(web, "RequestKey", lambda name, kind: name)
_MEMOS = _RequestKey(MEMOS, dict)


class VWO(AppClient[ClientT_co]):
    """One client of an aiohttp app, of either product; make one for each, and give each a name.

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
        name: The name of the key.

    Attributes:
        key: The key of the client in the app, ``app[vwo.key]``, with its type.

    Raises:
        InvalidInputError: An argument cannot be used.
    """

    key: web.AppKey[ClientT_co]

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
        self.key = web.AppKey(name, cast("type[ClientT_co]", object))
        self._user_source = UserSource(user_id, custom_variables)

    async def cleanup_ctx(self, app: web.Application) -> AsyncIterator[None]:
        """Open the client before the app serves; close it, and so deliver what is pending, at its end.

        For ``app.cleanup_ctx``. Contexts that are appended later may use ``app[vwo.key]``, and end before
        the client closes, within its ``close_timeout_s``.
        """
        async with self._opened() as client:
            app[self.key] = client
            yield

    def client(self, request: web.BaseRequest) -> ClientT_co:
        """Return the client that serves this request, that of a parent app in an app within another.

        Raises:
            ClosedError: No app of the request has opened this client.
        """
        client = request.config_dict.get(self.key) if isinstance(request, web.Request) else None
        if client is None:
            raise self._missing()
        return client

    @overload
    async def user(self: VWO[VWOClient], request: web.Request) -> UserHandle: ...
    @overload
    async def user(self: VWO[FMEClient], request: web.Request) -> FMEUserHandle: ...
    async def user(self, request: web.Request) -> Any:
        """Return the API methods for the user of this request.

        Within one request each question is decided and reported once: a second ``activate`` of the same
        campaign, user and variables gives the first answer and sends nothing. A websocket lasts longer,
        and asks anew each time.

        Raises:
            InvalidInputError: There is no ``user_id``.
            ClosedError: See `client`.
        """
        user, variables = await self._user_source.ask(request)
        return self._make_user(request, user, variables)

    @overload
    def for_user(
        self: VWO[VWOClient],
        request: web.Request,
        user_id: str,
        *,
        custom_variables: Variables | None = None,
    ) -> UserHandle: ...
    @overload
    def for_user(
        self: VWO[FMEClient],
        request: web.Request,
        user_id: str | int | FMEUser,
        *,
        custom_variables: Variables | None = None,
    ) -> FMEUserHandle: ...
    def for_user(
        self, request: web.Request, user_id: Any, *, custom_variables: Variables | None = None
    ) -> Any:
        """Return the API methods for a user whom the handler knows itself, from the body for example.

        As with `user`, the visitor's agent and address are those of the request, and each question is
        decided and reported once.

        Raises:
            ClosedError: See `client`.
        """
        return self._make_user(request, user_id, custom_variables)

    def webhook_handler(self, secret: str | bytes) -> Callable[[web.Request], Any]:
        """Return a handler for VWO's webhook, which has the client refresh its settings.

        It answers 204 when they are fresh, 503 where they could not be fetched, 403 to whoever does not
        have the secret, 413 if the body is longer than 64 kB.

        Args:
            secret: The secret that VWO showed when the webhook was made.

        Raises:
            InvalidInputError: There is no secret.
        """
        webhook = Webhook(secret)

        async def vwo_webhook(request: web.Request) -> web.Response:
            body = request.content.iter_any()
            return web.Response(
                status=await webhook.answer(self.client(request), request.headers, body)
            )

        return vwo_webhook

    def _make_user(self, request: web.Request, user: Any, custom_variables: Any) -> Any:
        memos = None if _is_websocket(request) else memos_of(request, _MEMOS)
        return self._make_handle(
            self.client(request), memos, user, self._read(request), custom_variables
        )

    def _read(self, request: web.Request) -> Visit:
        headers = request.headers
        return self._see(
            headers.get("user-agent"), request.remote, lambda name: headers.getall(name, ())
        )


def _is_websocket(request: web.Request) -> bool:
    return request.headers.get("upgrade", "").lower() == "websocket"


def use_cookie_storage(app: web.Application, storage: CookieUserStorage) -> None:
    """Have an app read the cookie of each request, and set it in the response where a decision changed it.

    The cookie is part of the headers: what is decided after they were sent, as between the parts of a
    ``StreamResponse`` or in a websocket, cannot be kept. The client then decides as without a record,
    counts a failure of the storage (``statistics().storage_errors``) and logs a line. So decide before the
    response is prepared.

    Args:
        app: The app, before it starts. Apps within it have the cookie too.
        storage: The storage of the client.
    """
    key = _RequestKey(f"vwo_async cookie {storage.name}", Jar)

    @web.middleware
    async def keep_cookie(request: web.Request, handler: Any) -> web.StreamResponse:
        with storage.request(request.cookies.get(storage.name)) as jar:
            request[key] = jar
            response: web.StreamResponse = await handler(request)
            return response

    async def set_cookie(request: web.BaseRequest, response: web.StreamResponse) -> None:
        jar: Jar | None = request.get(key)
        if jar is None:
            return
        # From here on a record could not reach the browser, and whoever keeps one has to know.
        jar.close()
        if jar.changed:
            response.headers.add("Set-Cookie", jar.header())

    app.middlewares.append(keep_cookie)
    app.on_response_prepare.append(set_cookie)
