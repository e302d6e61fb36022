"""A Starlette service with a client of each product, and an app within it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import shop_parts as parts
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from vwo_async.integrations.asgi import CookieStorageMiddleware
from vwo_async.integrations.starlette import VWO


def visitor_id(connection: HTTPConnection) -> str:
    return connection.cookies.get("visitor", "nobody")


async def session_id(connection: HTTPConnection) -> str:
    return visitor_id(connection)


shop = VWO(parts.open_shop, user_id=visitor_id, trusted_proxies=parts.PROXIES, name="shop")
fme = VWO(parts.make_fme, user_id=session_id, trusted_proxies=parts.PROXIES, name="fme")
cookies = VWO(parts.make_cookie_shop, user_id=visitor_id, name="cookies")


@asynccontextmanager
async def own_lifespan(app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
    assert await shop.client_of(app).flush_events()
    yield {"greeting": "hello"}
    assert await shop.client_of(app).flush_events()
    parts.say("own lifespan ended")


async def visit(request: Request) -> Response:
    return JSONResponse(await parts.visit(await shop.user(request), await fme.user(request)))


async def greeting(request: Request) -> Response:
    assert request.state.shop is shop.client(request)
    return JSONResponse(request.state.greeting)


async def named(request: Request) -> Response:
    name = request.path_params["name"]
    first = await parts.decide_again(shop.for_user(request, name))
    return JSONResponse(first + await parts.decide_again(shop.for_user(request, name)))


async def boom(request: Request) -> Response:
    await (await shop.user(request)).activate("checkout")
    raise RuntimeError("a handler that fails")


async def keep(request: Request) -> Response:
    name = await (await cookies.user(request)).activate("checkout")
    if request.url.path == "/refused":
        raise HTTPException(409)
    return JSONResponse(name)


async def stream(request: Request) -> Response:
    when = request.path_params["when"]
    user = await cookies.user(request)
    if when == "early":
        await user.activate("checkout")

    async def pages() -> AsyncIterator[str]:
        yield "first,"
        if when == "late":
            await user.activate("checkout")
        yield "last"

    return StreamingResponse(pages())


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_json(await parts.decide_again(await shop.user(socket)))
    await socket.close()


async def statistics(request: Request) -> Response:
    return JSONResponse(parts.statistics())


class Passing(BaseHTTPMiddleware):
    """One of those that run the app in a task of their own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


inner = Starlette(routes=[Route("/visit", visit)])
app = Starlette(
    routes=[
        Route("/visit", visit),
        Route("/greeting", greeting),
        Route("/named/{name}", named),
        Route("/boom", boom),
        Route("/cookie", keep),
        Route("/refused", keep),
        Route("/stream/{when}", stream),
        Route("/statistics", statistics),
        WebSocketRoute("/ws", talk),
        shop.webhook_route(parts.SECRET, "/shop-webhook"),
        fme.webhook_route(parts.SECRET, "/fme-webhook"),
        Mount("/inner", inner),
    ],
    middleware=[Middleware(CookieStorageMiddleware, storage=parts.STORAGE), Middleware(Passing)],
    lifespan=shop.around(fme.lifespan, cookies.lifespan, own_lifespan),
)
