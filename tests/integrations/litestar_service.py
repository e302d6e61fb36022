"""A Litestar service with a client of each product."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import shop_parts as parts
from litestar import Litestar, Request, WebSocket, get, websocket
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware
from litestar.response import Stream

from vwo_async import FMEUserHandle, UserHandle, VWOClient
from vwo_async.integrations.asgi import CookieStorageMiddleware
from vwo_async.integrations.litestar import VWO


def visitor_id(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    return connection.cookies.get("visitor", "nobody")


async def session_id(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    return visitor_id(connection)


shop = VWO(parts.open_shop, user_id=visitor_id, trusted_proxies=parts.PROXIES, name="shop")
fme = VWO(parts.make_fme, user_id=session_id, trusted_proxies=parts.PROXIES, name="fme")
cookies = VWO(parts.make_cookie_shop, user_id=visitor_id, name="cookies")


@asynccontextmanager
async def own_lifespan(app: Litestar) -> AsyncIterator[None]:
    assert await shop.client_of(app).flush_events()
    app.state.greeting = "hello"
    yield
    assert await shop.client_of(app).flush_events()
    parts.say("own lifespan ended")


@get(["/visit", "/inner/visit"])
async def visit(user: UserHandle, flags: FMEUserHandle) -> dict[str, Any]:
    return await parts.visit(user, flags)


@get("/greeting")
async def greeting(request: Request[Any, Any, Any], client: VWOClient) -> list[str]:
    assert request.app.state.shop is client
    return [request.app.state.greeting]


@get("/named/{name:str}")
async def named(name: str, request: Request[Any, Any, Any]) -> list[str | None]:
    first = await parts.decide_again(shop.for_user(request, name))
    return first + await parts.decide_again(shop.for_user(request, name))


@get("/boom")
async def boom(user: UserHandle) -> None:
    await user.activate("checkout")
    raise RuntimeError("a handler that fails")


@get(["/cookie", "/refused"])
async def keep(request: Request[Any, Any, Any], cookie_user: UserHandle) -> list[str | None]:
    name = await cookie_user.activate("checkout")
    if request.url.path == "/refused":
        raise HTTPException(status_code=409)
    return [name]


@get("/stream/{when:str}")
async def stream(when: str, cookie_user: UserHandle) -> Stream:
    if when == "early":
        await cookie_user.activate("checkout")

    async def pages() -> AsyncIterator[str]:
        yield "first,"
        if when == "late":
            await cookie_user.activate("checkout")
        yield "last"

    return Stream(pages())


@websocket("/ws")
async def talk(socket: WebSocket[Any, Any, Any], user: UserHandle) -> None:
    await socket.accept()
    await socket.send_json(await parts.decide_again(user))
    await socket.close()


@get("/statistics")
async def statistics() -> dict[str, Any]:
    return parts.statistics()


app = Litestar(
    [
        visit,
        greeting,
        named,
        boom,
        keep,
        stream,
        talk,
        statistics,
        shop.webhook_handler(parts.SECRET, "/shop-webhook"),
        fme.webhook_handler(parts.SECRET, "/fme-webhook"),
    ],
    lifespan=[shop.lifespan, fme.lifespan, cookies.lifespan, own_lifespan],
    dependencies={
        "client": Provide(shop.client),
        "user": Provide(shop.user),
        "flags": Provide(fme.user),
        "cookie_user": Provide(cookies.user),
    },
    middleware=[DefineMiddleware(CookieStorageMiddleware, storage=parts.STORAGE)],
)
