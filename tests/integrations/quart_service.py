"""A Quart service with a client of each product."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import shop_parts as parts
from quart import Quart, Request, Websocket, abort, current_app, request, websocket

from vwo_async.integrations.asgi import CookieStorageMiddleware
from vwo_async.integrations.quart import VWO


def visitor_id(connection: Request | Websocket) -> str:
    return connection.cookies.get("visitor", "nobody")


async def session_id(connection: Request | Websocket) -> str:
    return visitor_id(connection)


shop = VWO(parts.open_shop, user_id=visitor_id, trusted_proxies=parts.PROXIES, name="shop")
fme = VWO(parts.make_fme, user_id=session_id, trusted_proxies=parts.PROXIES, name="fme")
cookies = VWO(parts.make_cookie_shop, user_id=visitor_id, name="cookies")

app = Quart(__name__)
for one in (shop, fme, cookies):
    one.init_app(app)
app.register_blueprint(shop.webhook_blueprint(parts.SECRET, "/shop-webhook"))
app.register_blueprint(fme.webhook_blueprint(parts.SECRET, "/fme-webhook"))
app.asgi_app = CookieStorageMiddleware(app.asgi_app, parts.STORAGE)  # type: ignore[method-assign]


@app.while_serving
async def own_context() -> AsyncGenerator[None, None]:
    assert await shop.client().flush_events()
    current_app.extensions["greeting"] = "hello"
    yield
    assert await shop.client().flush_events()
    parts.say("own lifespan ended")


@app.get("/visit")
@app.get("/inner/visit")
async def visit() -> dict[str, Any]:
    return await parts.visit(await shop.user(), await fme.user())


@app.get("/greeting")
async def greeting() -> list[str]:
    assert current_app.extensions["shop"] is shop.client()
    return [current_app.extensions["greeting"]]


@app.get("/named/<name>")
async def named(name: str) -> list[str | None]:
    first = await parts.decide_again(shop.for_user(name))
    return first + await parts.decide_again(shop.for_user(name))


@app.get("/boom")
async def boom() -> str:
    await (await shop.user()).activate("checkout")
    raise RuntimeError("a handler that fails")


@app.get("/cookie")
@app.get("/refused")
async def keep() -> list[str | None]:
    name = await (await cookies.user()).activate("checkout")
    if request.path == "/refused":
        abort(409)
    return [name]


@app.get("/stream/<when>")
async def stream(when: str) -> AsyncIterator[str]:
    user = await cookies.user()
    if when == "early":
        await user.activate("checkout")

    async def pages() -> AsyncIterator[str]:
        yield "first,"
        if when == "late":
            await user.activate("checkout")
        yield "last"

    return pages()


@app.websocket("/ws")
async def talk() -> None:
    await websocket.accept()
    await websocket.send_json(await parts.decide_again(await shop.user()))
    await websocket.close(1000)


@app.get("/statistics")
async def statistics() -> dict[str, Any]:
    return parts.statistics()
