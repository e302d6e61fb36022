"""Services without a loop of their own, as their servers load them: each has one client for its module.

The environment says where VWO is (``VWO_URL``) and whose settings there are (``VWO_FILE``).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import vwo_async
import vwo_async.sync
from vwo_async.integrations.asgi import LifespanMiddleware

FILE = Path(os.environ["VWO_FILE"]).read_bytes()
IS_FME = os.environ.get("VWO_PRODUCT") == "fme"
SETTINGS: Any = vwo_async.parse_fme_settings(FILE) if IS_FME else vwo_async.parse_settings(FILE)
# Long enough for a machine that is busy.
OPTIONS: Any = {"base_url": os.environ["VWO_URL"], "close_timeout_s": 15.0}
ASYNC_CLIENT: Any = vwo_async.FMEClient if IS_FME else vwo_async.VWOClient
SYNC_CLIENT: Any = vwo_async.sync.FMEClient if IS_FME else vwo_async.sync.VWOClient


def make_client(**options: Any) -> Any:
    """Return a synchronous client."""
    return SYNC_CLIENT(SETTINGS, **{**OPTIONS, **options})


def report(vwo: Any, user: str, **options: Any) -> Any:
    """Report a conversion, with a client of either product and either kind."""
    if IS_FME:
        return vwo.track_event("signup", {"id": user}, **options)
    return vwo.track("checkout", user, "signup", **options)


def say_accepted(user: str) -> None:
    """Say in a line on standard error that a conversion was accepted."""
    sys.stderr.write(f"accepted {user}\n")
    sys.stderr.flush()


client = make_client()


def track(user: str) -> str:
    """Report a conversion, and say that it was accepted."""
    if not report(client, user):
        return ""
    say_accepted(user)
    return user


async def track_with(vwo: Any, user: str) -> str:
    """Do the same with an async client."""
    if not await report(vwo, user):
        return ""
    say_accepted(user)
    return user


def make_flask() -> Any:
    """Return an application of Flask."""
    from flask import Flask

    app = Flask("shop")
    app.add_url_rule("/<user>", view_func=track)
    return app


urlpatterns: list[Any] = []


def _setup_django(view: Any) -> None:
    import django
    from django.conf import settings
    from django.urls import path

    urlpatterns.append(path("<user>", view))
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], USE_TZ=True)
    django.setup()


def make_wsgi() -> Any:
    """Return an application of Django under WSGI."""
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpResponse

    _setup_django(lambda request, user: HttpResponse(track(user)))
    return WSGIHandler()


def make_asgi() -> Any:
    """Return an application of Django under ASGI, with the async client, for which Django has no lifespan."""
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpResponse

    clients = make_per_loop()

    async def view(request: Any, user: str) -> HttpResponse:
        return HttpResponse(await track_with(await clients.get(), user))

    _setup_django(view)
    return LifespanMiddleware(ASGIHandler(), clients)


def make_asgi_sync() -> Any:
    """Return the same with the synchronous client."""
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpResponse

    _setup_django(lambda request, user: HttpResponse(track(user)))
    return LifespanMiddleware(ASGIHandler(), client)


def make_per_loop() -> Any:
    """Return a client for each loop."""
    return vwo_async.per_loop(_load, lambda found: ASYNC_CLIENT(found, **OPTIONS))


async def _load() -> Any:
    sys.stderr.write("loaded\n")
    return SETTINGS


def make_lifespan() -> Any:
    """Return an application of Starlette whose client was made before the workers were forked."""
    from contextlib import asynccontextmanager

    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    vwo = ASYNC_CLIENT(SETTINGS, **OPTIONS)

    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        async with vwo:
            yield

    async def view(request: Any) -> PlainTextResponse:
        return PlainTextResponse(await track_with(vwo, request.path_params["user"]))

    return Starlette(routes=[Route("/{user}", view)], lifespan=lifespan)


def make_lazy() -> Any:
    """Return an application without a lifespan, whose client is opened by the first request."""
    vwo = ASYNC_CLIENT(SETTINGS, **OPTIONS)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        body = await track_with(vwo, scope["path"].removeprefix("/"))
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body.encode()})

    return app


def make_plain() -> Any:
    """Return an application of FastAPI with a plain handler and no lifespan."""
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    app = FastAPI()

    @app.get("/{user}")
    def view(user: str) -> Any:
        return PlainTextResponse(track(user))

    return app


def make_wrapped() -> Any:
    """Return the same, with a lifespan around it."""
    vwo = ASYNC_CLIENT(SETTINGS, **OPTIONS)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = await track_with(vwo, scope["path"].removeprefix("/"))
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body.encode()})

    return LifespanMiddleware(app, vwo)


if broker := os.environ.get("BROKER_URL"):
    # After a signal in traffic, a process of the pool waits half a minute for an answer that may not come.
    import billiard.pool
    import celery
    from celery.signals import worker_process_shutdown

    billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20

    tasks = celery.Celery("shop", broker=broker)
    tasks.conf.broker_connection_retry_on_startup = True
    buy = tasks.task(name="buy")(track)

    @worker_process_shutdown.connect  # type: ignore[untyped-decorator]
    def close_vwo(**_: object) -> None:
        """Deliver what is pending before the process of the pool ends."""
        client.close()


def pause(user: str) -> str:
    """Track, and give a signal time to come."""
    track(user)
    time.sleep(0.2)
    return user


try:
    from rq import Worker
except ImportError:
    pass
else:

    class VWOWorker(Worker):
        """Delivers what a job has reported before its process ends."""

        def perform_job(self, *arguments: Any, **options: Any) -> bool:
            """Perform a job."""
            try:
                return bool(super().perform_job(*arguments, **options))
            finally:
                client.close()
