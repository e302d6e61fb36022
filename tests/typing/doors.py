"""A user's file with the doors of frameworks and tools, as the type checkers see it: never run.

As in `api.py`: what is returned is asserted, and what must be an error is marked as one for both checkers.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, assert_type

import litestar
import quart
from aiohttp import web
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from litestar.connection import ASGIConnection
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from starlette.applications import Starlette
from starlette.routing import Route

from vwo_async import (
    FMEClient,
    FMESettings,
    FMEUser,
    FMEUserHandle,
    Settings,
    UserHandle,
    VWOClient,
)
from vwo_async.integrations import aiohttp as aiohttp_door
from vwo_async.integrations import fastapi as fastapi_door
from vwo_async.integrations import litestar as litestar_door
from vwo_async.integrations import quart as quart_door
from vwo_async.integrations import starlette as starlette_door
from vwo_async.integrations.asgi import CookieStorageMiddleware
from vwo_async.integrations.openfeature import FMEProvider, VWOProvider
from vwo_async.integrations.opentelemetry import OpenTelemetry
from vwo_async.integrations.sentry import Sentry
from vwo_async.observer import Evaluation, ObservedClient, Observer, RequestReport
from vwo_async.storage.cookie import CookieUserStorage
from vwo_async.testing import FMEFixture, SentEvent, VWOFixture, campaign, feature


async def make_shop() -> VWOClient:
    """Return a client of FullStack."""
    return VWOClient(b"{}")


def make_fme() -> FMEClient:
    """Return a client of FME, as a plain function."""
    return FMEClient(b"{}")


@asynccontextmanager
async def open_shop() -> AsyncGenerator[VWOClient, None]:
    """Give a client with what is opened beside it."""
    yield VWOClient(b"{}")


def make_nothing() -> int:
    """Return no client."""
    return 5


async def with_starlette(connection: Request, socket: WebSocket, app: Starlette) -> None:
    """The handles of Starlette are those of the client's product."""
    shop = starlette_door.VWO(make_shop, user_id=lambda request: request.cookies.get("visitor"))
    assert_type(shop, starlette_door.VWO[VWOClient])
    assert_type(starlette_door.VWO(open_shop), starlette_door.VWO[VWOClient])
    fme = starlette_door.VWO(make_fme, trusted_proxies=["10.0.0.0/8"], name="fme")
    assert_type(fme, starlette_door.VWO[FMEClient])
    assert_type(shop.client(connection), VWOClient)
    assert_type(fme.client_of(app), FMEClient)
    assert_type(await shop.user(connection), UserHandle)
    assert_type(await fme.user(socket), FMEUserHandle)
    assert_type(shop.for_user(connection, "Ashley", custom_variables={"a": 1}), UserHandle)
    assert_type(fme.for_user(connection, FMEUser("Ashley")), FMEUserHandle)
    assert_type(shop.webhook_route("secret"), Route)
    Starlette(routes=[shop.webhook_route(b"secret", "/hook")], lifespan=shop.lifespan)
    Starlette(lifespan=shop.around(fme.lifespan))
    app.add_middleware(CookieStorageMiddleware, storage=CookieUserStorage("a long secret"))
    starlette_door.VWO(make_nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    starlette_door.VWO(make_shop, trusted_proxies=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    starlette_door.VWO(make_shop, user="Ashley")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    shop.for_user(connection, FMEUser("Ashley"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    (await shop.user(connection)).get_flag("search")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    shop.webhook_route()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def with_fastapi(connection: Request) -> None:
    """FastAPI's dependencies are annotated by the service; all else has its type."""

    def visitor_id(visitor: str = "") -> str:
        return visitor

    vwo = fastapi_door.VWO(make_shop, user_id=visitor_id)
    assert_type(vwo, fastapi_door.VWO[VWOClient])
    assert_type(vwo.user, Callable[..., Any])
    assert_type(vwo.for_user(connection, "Ashley"), UserHandle)
    assert_type(vwo.webhook_router("secret"), APIRouter)
    app = FastAPI(lifespan=vwo.around(fastapi_door.VWO(make_fme, name="fme").lifespan))
    assert_type(vwo.client_of(app), VWOClient)

    async def page(
        user: Annotated[UserHandle, Depends(vwo.user)],
        client: Annotated[VWOClient, Depends(vwo.client)],
    ) -> None:
        assert_type(await user.activate("checkout"), str | None)
        assert_type(client, VWOClient)

    app.get("/")(page)
    fastapi_door.VWO(make_shop, user_id="Ashley")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    vwo.for_user(connection)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    vwo.webhook_router(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def with_aiohttp(request: web.Request) -> None:
    """The key of the app has the type of the client."""
    shop = aiohttp_door.VWO(make_shop, user_id=lambda request: "Ashley")
    fme = aiohttp_door.VWO(make_fme, name="fme")
    app = web.Application()
    app.cleanup_ctx.extend([shop.cleanup_ctx, fme.cleanup_ctx])
    assert_type(app[shop.key], VWOClient)
    assert_type(app[fme.key], FMEClient)
    assert_type(shop.client(request), VWOClient)
    assert_type(await shop.user(request), UserHandle)
    assert_type(await fme.user(request), FMEUserHandle)
    assert_type(fme.for_user(request, 5), FMEUserHandle)
    app.router.add_post("/hook", shop.webhook_handler("secret"))
    aiohttp_door.use_cookie_storage(app, CookieUserStorage("a long secret"))
    shop.for_user(request, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    aiohttp_door.use_cookie_storage(app, "a secret")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await shop.user()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def with_litestar(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    """Its dependencies are given by name; what they return has its type."""
    shop = litestar_door.VWO(make_shop, user_id=lambda request: request.cookies.get("visitor"))
    fme = litestar_door.VWO(make_fme, name="fme")
    app = litestar.Litestar(
        [shop.webhook_handler("secret")],
        lifespan=[shop.lifespan, fme.lifespan],
        middleware=[DefineMiddleware(CookieStorageMiddleware, storage=CookieUserStorage("long"))],
    )
    assert_type(shop.client_of(app), VWOClient)
    assert_type(await fme.client(connection.scope), FMEClient)
    assert_type(await shop.user(connection.scope), UserHandle)
    assert_type(await fme.user(connection.scope), FMEUserHandle)
    assert_type(shop.for_user(connection, "Ashley"), UserHandle)
    assert_type(shop.webhook_handler("secret"), HTTPRouteHandler)
    fme.for_user(connection, None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    litestar_door.VWO()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def with_quart(app: quart.Quart) -> None:
    """The current request is asked, so that nothing is given."""
    shop = quart_door.VWO(make_shop, user_id=lambda request: request.cookies.get("visitor"))
    fme = quart_door.VWO(make_fme, name="fme")
    assert_type(shop.init_app(app), None)
    assert_type(shop.client(), VWOClient)
    assert_type(await shop.user(), UserHandle)
    assert_type(await fme.user(), FMEUserHandle)
    assert_type(shop.for_user("Ashley"), UserHandle)
    assert_type(fme.for_user(FMEUser("Ashley")), FMEUserHandle)
    assert_type(shop.webhook_blueprint("secret"), quart.Blueprint)
    shop.for_user()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    shop.init_app("shop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def with_tools(shop: VWOClient, fme: FMEClient, found: Settings, flags: FMESettings) -> None:
    """OpenFeature, OpenTelemetry, Sentry, and an observer of one's own."""

    class Seen(Observer):
        def on_evaluation(self, evaluation: Evaluation) -> None:
            assert_type(evaluation.variation_name, str | None)
            assert_type(evaluation.is_on, bool)
            assert_type(evaluation.pseudonym, str | None)

        def on_request(self, request: RequestReport) -> None:
            assert_type(request.status, int | None)
            assert_type(request.took_s, float)

        def on_close(self, client: ObservedClient) -> None:
            assert_type(client.statistics().delivered, int)

    FMEProvider(fme, value_property="revenue")
    VWOProvider(shop)
    VWOClient(found, observers=[OpenTelemetry(user_id="none"), Sentry(), Seen()])
    FMEClient(flags, observers=(OpenTelemetry(adds_to_span=True),), pseudonym_salt="salt")
    FMEProvider(shop)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    VWOProvider(fme)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    OpenTelemetry(user_id="name")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    VWOClient(found, observers=[Evaluation])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def with_pytest(vwo: VWOFixture, vwo_fme: FMEFixture) -> None:
    """What the fixtures give and take."""
    assert_type(vwo.client, VWOClient)
    assert_type(vwo_fme.client, FMEClient)
    vwo.use(campaign("checkout").goal("buy", revenue=True).split(50, 50))
    vwo_fme.use(feature("search").metric("buy").test(50, 50, size=[10, 20]))
    assert_type(vwo.force("checkout", "Control"), None)
    assert_type(vwo.users("checkout", True), Iterator[str])
    assert_type(vwo_fme.user("search", None, custom_variables={"a": 1}), str)
    assert_type(vwo.events, list[SentEvent])
    assert_type(vwo.find_events(kind="conversion", at=datetime.now(UTC)), list[SentEvent])
    assert_type(vwo.events[0].at, datetime)
    assert_type(vwo.events[0].revenue, float | None)
    vwo.assert_sent(kind="impression", times=2, at=1_800_000_000)
    assert_type(await vwo.settle(), None)
    vwo.use(feature("search"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    vwo.assert_sent(kind="goal")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    vwo.assert_sent(goals="buy")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    vwo.force("checkout", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    vwo.events[0].at = datetime.now(UTC)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
