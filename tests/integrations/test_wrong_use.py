"""What the integrations of web frameworks refuse, before and while a service runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from litestar import Litestar
from quart import Quart
from sample import settings
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from vwo_async import ClosedError, FMEUser, InvalidInputError, VWOClient, sync
from vwo_async.integrations import aiohttp as for_aiohttp
from vwo_async.integrations import fastapi as for_fastapi
from vwo_async.integrations import litestar as for_litestar
from vwo_async.integrations import quart as for_quart
from vwo_async.integrations import starlette as for_starlette
from vwo_async.integrations._address import read_node
from vwo_async.integrations._app_client import Visit, make_fme_user
from vwo_async.integrations._webhook import Webhook
from vwo_async.integrations.asgi import CookieStorageMiddleware, LifespanMiddleware, find_cookie
from vwo_async.storage.cookie import CookieUserStorage
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio

KINDS: dict[str, Any] = {
    "aiohttp": for_aiohttp.VWO,
    "fastapi": for_fastapi.VWO,
    "litestar": for_litestar.VWO,
    "quart": for_quart.VWO,
    "starlette": for_starlette.VWO,
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def make_client() -> VWOClient:
    return VWOClient(settings(), transport=RecordingTransport())


def make_connection(app: Starlette) -> HTTPConnection:
    return HTTPConnection(
        {"type": "http", "app": app, "headers": [(b"user-agent", b"agent")], "client": None}
    )


@every_kind
def test_wrong_arguments(kind: Any) -> None:
    """A client in place of what makes one, and a name that is none, are told at once."""
    client = make_client()
    with pytest.raises(InvalidInputError, match="make_client must be a function"):
        kind(client)
    for name in ("", "a b", 7):
        with pytest.raises(InvalidInputError, match="name must be an identifier"):
            kind(make_client, name=name)
    assert "'shop'" in repr(kind(make_client, name="shop"))


@pytest.mark.parametrize("made", [None, "client", VWOClient, sync.VWOClient(settings())])
async def test_what_is_no_client_is_refused(made: Any) -> None:
    """What make_client returns, or its context manager yields, must be an async client: the error says what it is."""

    @asynccontextmanager
    async def give() -> AsyncIterator[Any]:
        yield made

    for make in (lambda: made, give):
        vwo = for_starlette.VWO(make)
        with pytest.raises(InvalidInputError, match=f"it gave a {type(made).__module__}"):
            async with vwo.lifespan(Starlette()):
                pytest.fail("it must not begin")


def test_fastapi_takes_dependencies() -> None:
    """A plain function of the request, as the other frameworks take it, is refused with what to write."""
    for name in ("user_id", "custom_variables"):
        given: Any = {name: lambda request: request.cookies.get("visitor")}
        with pytest.raises(InvalidInputError, match="write 'request: Request'"):
            for_fastapi.VWO(make_client, **given)


async def test_no_client_is_open() -> None:
    """Outside of the app's lifespan there is no client, and the error says which one is meant."""
    wanted = pytest.raises(ClosedError, match="the client 'vwo' is not open")
    app = Starlette()
    with wanted:
        for_starlette.VWO(make_client).client(make_connection(app))
    with wanted:
        await for_fastapi.VWO(make_client).client(make_connection(app))
    with wanted:
        for_litestar.VWO(make_client).client_of(Litestar(logging_config=None))
    with wanted:
        # Older versions look at "app".
        litestar = Litestar(logging_config=None)
        scope: Any = {"litestar_app": litestar, "app": litestar}
        await for_litestar.VWO(make_client).client(scope)
    with wanted:
        for_aiohttp.VWO(make_client).client(make_mocked_request("GET", "/", app=web.Application()))
    quart = Quart("shop")
    async with quart.app_context():
        with wanted:
            for_quart.VWO(make_client).client()


async def test_nobody_says_who_the_user_is() -> None:
    """Without a function that tells the user there is none, and the error says what to give."""
    wanted = pytest.raises(InvalidInputError, match="give user_id=")
    with wanted:
        await for_starlette.VWO(make_client).user(make_connection(Starlette()))
    with wanted:
        await for_aiohttp.VWO(make_client).user(
            make_mocked_request("GET", "/", app=web.Application())
        )


async def test_a_user_whom_the_handler_names() -> None:
    """A handler may name the user itself; agent and address are still the request's."""
    vwo = for_starlette.VWO(make_client)
    app = Starlette()
    async with make_client() as client:
        app.state.vwo = client
        user = vwo.for_user(make_connection(app), "Ashley")
        assert await user.activate("checkout") == await client.activate("checkout", "Ashley")


async def test_lifespans_that_yield_the_same() -> None:
    """Two lifespans that keep something under one name would hide one of the two: an error."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        yield {"shop": 1}

    combined = for_starlette.VWO(make_client).around(lifespan, lifespan)
    with pytest.raises(InvalidInputError, match="two lifespans yield shop"):
        async with combined(Starlette()):
            pytest.fail("it must not begin")


@pytest.mark.parametrize("secret", ["", b"", None, 7])
def test_a_webhook_without_a_secret(secret: Any) -> None:
    """A webhook that anybody or nobody could call is refused."""
    with pytest.raises(InvalidInputError, match="needs the secret"):
        Webhook(secret)


async def test_a_webhook_of_a_closed_client() -> None:
    """Whoever calls after the client was closed is told to come again."""
    client = make_client()
    await client.open()
    await client.aclose()

    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    headers = {"x-vwo-auth": "secret"}
    assert await Webhook("secret").answer(client, headers, body()) == 503


def test_a_user_of_fme_is_completed() -> None:
    """What the service says of a user goes before what the request says; a context stays as it is."""
    visit = Visit("the request's", "1.2.3.4")
    user = make_fme_user(FMEUser("u1", user_agent="own"), visit, {"plan": "pro"})
    assert (user.user_agent, user.ip_address, user.custom_variables) == (
        "own",
        "1.2.3.4",
        {"plan": "pro"},
    )
    context = {"id": "u1"}
    assert make_fme_user(context, visit, None) is context


async def test_the_cookie_of_a_decision_is_set() -> None:
    """What is decided within a request is set as a cookie, and read in the next one of the visitor."""
    storage = CookieUserStorage("x" * 32)
    names = []

    async with VWOClient(
        settings(), user_storage=storage, transport=RecordingTransport()
    ) as client:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            names.append(await client.activate("checkout", "Ashley"))
            await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        middleware = CookieStorageMiddleware(app, storage)
        await middleware({"type": "http", "headers": []}, None, send)
        (_, (header, cookie)) = sent[0]["headers"]
        assert header == b"set-cookie"
        value = cookie.partition(b";")[0]
        headers = [(b"cookie", b"other=1; " + value)]
        assert find_cookie(headers, storage.name) == value.partition(b"=")[2]
        await middleware({"type": "http", "headers": headers}, None, send)
        # Nothing has changed, so that none is set.
        assert sent[1]["headers"] == [(b"a", b"b")]
    assert names[0] == names[1] is not None


def test_an_address_of_any_length_is_none() -> None:
    """A header may hold anything; what is too long for an address is none."""
    assert read_node("1" * 10_000) is None


async def test_a_lifespan_that_fails_leaves_nothing_open() -> None:
    """Where one client cannot be opened, the server is told why, and those opened before are closed."""
    opened, broken = make_client(), make_client()
    await broken.aclose()
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message)

    app = LifespanMiddleware(Starlette(), opened, broken)
    await app({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.failed", "message": "the client is closed"}]
    with pytest.raises(ClosedError):
        await opened.activate("checkout", "Ashley")


def test_a_lifespan_needs_clients() -> None:
    """What cannot be closed is refused when the app is made."""
    for clients in ((), (make_client,), (Starlette(),)):
        with pytest.raises(InvalidInputError, match="give the clients"):
            LifespanMiddleware(Starlette(), *clients)
