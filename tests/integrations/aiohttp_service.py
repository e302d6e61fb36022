"""An aiohttp service with a client of each product, and an app within it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import shop_parts as parts
from aiohttp import web

from vwo_async.integrations.aiohttp import VWO, use_cookie_storage


def visitor_id(request: web.Request) -> str:
    return request.cookies.get("visitor", "nobody")


async def session_id(request: web.Request) -> str:
    return visitor_id(request)


shop = VWO(parts.open_shop, user_id=visitor_id, trusted_proxies=parts.PROXIES, name="shop")
fme = VWO(parts.make_fme, user_id=session_id, trusted_proxies=parts.PROXIES, name="fme")
cookies = VWO(parts.make_cookie_shop, user_id=visitor_id, name="cookies")
GREETING = web.AppKey("greeting", str)


async def own_context(app: web.Application) -> AsyncIterator[None]:
    assert await app[shop.key].flush_events()
    app[GREETING] = "hello"
    yield
    assert await app[shop.key].flush_events()
    parts.say("own lifespan ended")


async def visit(request: web.Request) -> web.Response:
    return web.json_response(await parts.visit(await shop.user(request), await fme.user(request)))


async def greeting(request: web.Request) -> web.Response:
    assert request.app[shop.key] is shop.client(request)
    return web.json_response(request.app[GREETING])


async def named(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    first = await parts.decide_again(shop.for_user(request, name))
    return web.json_response(first + await parts.decide_again(shop.for_user(request, name)))


async def boom(request: web.Request) -> web.Response:
    await (await shop.user(request)).activate("checkout")
    raise RuntimeError("a handler that fails")


async def keep(request: web.Request) -> web.Response:
    name = await (await cookies.user(request)).activate("checkout")
    if request.path == "/refused":
        raise web.HTTPConflict
    return web.json_response(name)


async def stream(request: web.Request) -> web.StreamResponse:
    when = request.match_info["when"]
    user = await cookies.user(request)
    response = web.StreamResponse()
    if when == "early":
        await user.activate("checkout")
    await response.prepare(request)
    await response.write(b"first,")
    if when == "late":
        await user.activate("checkout")
    await response.write(b"last")
    await response.write_eof()
    return response


async def talk(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_json(await parts.decide_again(await shop.user(request)))
    await socket.close()
    return socket


async def statistics(request: web.Request) -> web.Response:
    return web.json_response(parts.statistics())


def make_app() -> web.Application:
    app, inner = web.Application(), web.Application()
    app.cleanup_ctx.extend([shop.cleanup_ctx, fme.cleanup_ctx, cookies.cleanup_ctx, own_context])
    use_cookie_storage(app, parts.STORAGE)
    inner.router.add_get("/visit", visit)
    app.router.add_get("/visit", visit)
    app.router.add_get("/greeting", greeting)
    app.router.add_get("/named/{name}", named)
    app.router.add_get("/boom", boom)
    app.router.add_get("/cookie", keep)
    app.router.add_get("/refused", keep)
    app.router.add_get("/stream/{when}", stream)
    app.router.add_get("/ws", talk)
    app.router.add_get("/statistics", statistics)
    app.router.add_post("/shop-webhook", shop.webhook_handler(parts.SECRET))
    app.router.add_post("/fme-webhook", fme.webhook_handler(parts.SECRET))
    app.add_subapp("/inner", inner)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None)
