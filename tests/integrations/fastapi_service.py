"""A FastAPI service with a client of each product, and an app within it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import shop_parts as parts
from fastapi import Cookie, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import StreamingResponse

from vwo_async import FMEClient, FMEUserHandle, UserHandle, VWOClient
from vwo_async.integrations.asgi import CookieStorageMiddleware
from vwo_async.integrations.fastapi import VWO


def visitor_id(visitor: Annotated[str, Cookie()] = "nobody") -> str:
    return visitor


async def session_id(known: Annotated[str, Depends(visitor_id)]) -> str:
    return known


shop = VWO(parts.open_shop, user_id=visitor_id, trusted_proxies=parts.PROXIES, name="shop")
fme = VWO(parts.make_fme, user_id=session_id, trusted_proxies=parts.PROXIES, name="fme")
cookies = VWO(parts.make_cookie_shop, user_id=visitor_id, name="cookies")

Shop = Annotated[VWOClient, Depends(shop.client)]
ShopUser = Annotated[UserHandle, Depends(shop.user)]
FMEShopUser = Annotated[FMEUserHandle, Depends(fme.user)]
CookieUser = Annotated[UserHandle, Depends(cookies.user)]


@asynccontextmanager
async def own_lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
    assert isinstance(fme.client_of(app), FMEClient)
    assert await shop.client_of(app).flush_events()
    yield {"greeting": "hello"}
    assert await shop.client_of(app).flush_events()
    parts.say("own lifespan ended")


inner = FastAPI()
app = FastAPI(lifespan=shop.around(fme.lifespan, cookies.lifespan, own_lifespan))
app.include_router(shop.webhook_router(parts.SECRET, "/shop-webhook"))
app.include_router(fme.webhook_router(parts.SECRET, "/fme-webhook"))
app.add_middleware(CookieStorageMiddleware, storage=parts.STORAGE)
app.mount("/inner", inner)


@app.get("/visit")
@inner.get("/visit")
async def visit(user: ShopUser, flags: FMEShopUser) -> dict[str, Any]:
    return await parts.visit(user, flags)


@app.get("/greeting")
async def greeting(request: Request, client: Shop) -> str:
    assert request.state.shop is client
    return str(request.state.greeting)


@app.get("/named/{name}")
async def named(name: str, request: Request) -> list[str | None]:
    first = await parts.decide_again(shop.for_user(request, name))
    return first + await parts.decide_again(shop.for_user(request, name))


@app.get("/boom")
async def boom(user: ShopUser) -> None:
    await user.activate("checkout")
    raise RuntimeError("a handler that fails")


@app.get("/cookie")
@app.get("/refused")
async def keep(request: Request, user: CookieUser) -> str | None:
    name = await user.activate("checkout")
    if request.url.path == "/refused":
        raise HTTPException(409)
    return name


@app.get("/stream/{when}")
async def stream(when: str, user: CookieUser) -> StreamingResponse:
    if when == "early":
        await user.activate("checkout")

    async def pages() -> AsyncIterator[str]:
        yield "first,"
        if when == "late":
            await user.activate("checkout")
        yield "last"

    return StreamingResponse(pages())


@app.websocket("/ws")
async def talk(socket: WebSocket, user: ShopUser) -> None:
    await socket.accept()
    await socket.send_json(await parts.decide_again(user))
    await socket.close()


@app.get("/statistics")
async def statistics() -> dict[str, Any]:
    return parts.statistics()
