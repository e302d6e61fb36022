"""`VWO`, a client of a FastAPI app: opened and closed by its lifespan, and a dependency of its handlers.

::

    vwo = VWO(make_client, user_id=visitor_id)
    User = Annotated[UserHandle, Depends(vwo.user)]
    app = FastAPI(lifespan=vwo.lifespan)
    app.include_router(vwo.webhook_router(SECRET))

    @app.get("/")
    async def page(user: User):
        return {"variation": await user.activate("checkout")}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import Parameter, signature
from typing import Any

from .. import InvalidInputError
from .._extra import explain_missing

try:
    from fastapi import APIRouter, Depends
    from fastapi.requests import HTTPConnection

    from ._starlette import StarletteClient
except ImportError as error:
    raise explain_missing(error, "fastapi") from None

from ._address import Network
from ._app_client import ClientT_co, MakeClient, no_user_id
from ._webhook import PATH

__all__ = ["VWO"]


class VWO(StarletteClient[ClientT_co]):
    """One client of a FastAPI app, of either product; make one for each, and give each a name.

    It holds no client itself: the app's state does, so that each run of a lifespan has its own, as tests
    with a loop each need it.

    Args:
        make_client: A function, plain or async, that makes the client; or one that returns an async
            context manager that gives it, where more is to be opened and closed with it, as a storage.
        user_id: A dependency, plain or async, that returns the id of the user of a request: it may ask for
            cookies, headers, the session or other dependencies. For FME it may return an `FMEUser`.
        custom_variables: A dependency that returns variables for pre-segmentation.
        trusted_proxies: The networks of the proxies before the service, as ``["10.0.0.0/8", "fd00::/8"]``,
            and ``"unix"`` for one that comes through a Unix socket. The visitor's address is then the
            right-most one of ``X-Forwarded-For`` or ``Forwarded`` that is none of theirs; of a peer that
            is none of them, the peer's. An empty list where there is no proxy. By default addresses are
            not looked at.
        name: The name of the client in the state of app and request.

    Attributes:
        user: The dependency that gives the API methods for the user of a request or websocket, a
            `UserHandle` or `FMEUserHandle`. Within one request each question is decided and reported once:
            a second ``activate`` of the same campaign, user and variables gives the first answer and sends
            nothing. A websocket lasts longer, and asks anew each time.

    Raises:
        InvalidInputError: An argument cannot be used.
    """

    def __init__(
        self,
        make_client: MakeClient[ClientT_co],
        *,
        user_id: Callable[..., object] | None = None,
        custom_variables: Callable[..., object] | None = None,
        trusted_proxies: Iterable[str | Network] | None = None,
        name: str = "vwo",
    ) -> None:
        super().__init__(make_client, name=name, trusted_proxies=trusted_proxies)
        for dependency in (user_id, custom_variables):
            _check_dependency(dependency)
        self.user: Callable[..., Any] = self._make_dependency(
            user_id or _no_user, custom_variables or _no_variables
        )

    async def client(self, connection: HTTPConnection) -> ClientT_co:
        """Return the client that serves a request or websocket; a dependency.

        Raises:
            ClosedError: The app's lifespan is not running, or does not have this client.
        """
        return self._find(connection)

    def webhook_router(self, secret: str | bytes, path: str = PATH) -> APIRouter:
        """Return a router for VWO's webhook, which has the client refresh its settings.

        It answers 204 when they are fresh, 503 where they could not be fetched, 403 to whoever does not
        have the secret, 413 if the body is longer than 64 kB.

        Args:
            secret: The secret that VWO showed when the webhook was made.
            path: Where VWO calls it.

        Raises:
            InvalidInputError: There is no secret.
        """
        router = APIRouter()
        router.add_route(
            path, self._make_webhook(secret), methods=["POST"], include_in_schema=False
        )
        return router

    def _make_dependency(
        self, user_id: Callable[..., object], custom_variables: Callable[..., object]
    ) -> Callable[..., Any]:
        async def user(
            connection: HTTPConnection,
            user: Any = Depends(user_id),  # noqa: B008 - as FastAPI wants it
            variables: Any = Depends(custom_variables),  # noqa: B008
        ) -> Any:
            return self._make_user(connection, user, variables)

        return user


def _check_dependency(dependency: Callable[..., object] | None) -> None:
    """Refuse a function that would be given a query parameter, where it expects the request.

    Raises:
        InvalidInputError: It is one.
    """
    if dependency is None:
        return
    for one in signature(dependency).parameters.values():
        if one.name in ("request", "connection") and one.annotation is Parameter.empty:
            raise InvalidInputError(
                "user_id and custom_variables are dependencies of FastAPI: write 'request: Request',"
                " or it is taken for a query parameter"
            )


async def _no_user() -> None:
    raise no_user_id()


async def _no_variables() -> None:
    return None
