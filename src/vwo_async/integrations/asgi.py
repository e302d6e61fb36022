"""For any ASGI app, without an extra: a lifespan for those that have none, and cookies of `CookieUserStorage`.

::

    application = LifespanMiddleware(get_asgi_application(), clients)  # Django
    app.add_middleware(CookieStorageMiddleware, storage=storage)  # FastAPI, Starlette
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from anyio import to_thread

from .. import FMEClient, InvalidInputError, PerLoop, VWOClient, VWOError, sync
from ..storage.cookie import CookieUserStorage, Jar

__all__ = ["CookieStorageMiddleware", "LifespanMiddleware"]

# Each framework has types of its own for these.
Message: TypeAlias = Any
Scope: TypeAlias = Any
Receive: TypeAlias = Any
Send: TypeAlias = Any
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]


Closable: TypeAlias = VWOClient | FMEClient | PerLoop[Any] | sync.VWOClient | sync.FMEClient
_ASYNC = (VWOClient, FMEClient)
_SYNC = (sync.VWOClient, sync.FMEClient)


class LifespanMiddleware:
    """Gives an app that has no lifespan of its own, as Django's, one that opens and closes clients.

    A server closes the clients by it while its event loop still runs. Without it they are closed when the loop
    or the process ends; but uvicorn, told to end by a signal, ends the process by that signal before either, and
    what is pending then is lost.

    Args:
        app: The app. It is not told of the lifespan.
        *clients: Clients, and what `per_loop` returned. Async clients are opened before the app serves; all are
            closed after it, at the same time, within ``close_timeout_s``.

    Raises:
        InvalidInputError: There is something else among them, or none.
    """

    def __init__(self, app: App, *clients: Closable) -> None:
        if not clients or not all(isinstance(one, (*_ASYNC, *_SYNC, PerLoop)) for one in clients):
            raise InvalidInputError("give the clients that are to be closed with the app")
        self._app = app
        self._clients = clients

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; this is the ASGI interface."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        try:
            for client in self._clients:
                if isinstance(client, _ASYNC):
                    await client.open()
        except VWOError as error:
            # The server ends now and tells nobody of a shutdown.
            await self._close()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _close(self) -> None:
        await asyncio.gather(*map(_close, self._clients))


async def _close(client: Closable) -> None:
    if isinstance(client, _SYNC):
        await to_thread.run_sync(client.close)
    else:
        await client.aclose()


class CookieStorageMiddleware:
    """Reads the cookie of each request, and sets it in the response where a decision changed it.

    The cookie is part of the headers: what is decided after they were sent, as within a streamed response
    or a background task, cannot be kept. The client then decides as without a record, counts a failure of
    the storage (``statistics().storage_errors``) and logs a line. So decide before the response begins.

    Bodies are passed on as they come, websockets and the lifespan are not touched.

    Args:
        app: The app.
        storage: The storage of the client; give each of several its own name and middleware.
    """

    def __init__(self, app: App, storage: CookieUserStorage) -> None:
        self._app = app
        self._storage = storage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; this is the ASGI interface."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._storage.request(find_cookie(scope["headers"], self._storage.name)) as jar:

            async def send_with_cookie(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message = _add_cookie(message, jar)
                await send(message)

            await self._app(scope, receive, send_with_cookie)


def _add_cookie(start: Message, jar: Jar) -> Message:
    # From here on a record could not reach the browser, and whoever keeps one has to know.
    jar.close()
    if not jar.changed:
        return start
    header = (b"set-cookie", jar.header().encode("ascii"))
    return {**start, "headers": [*start.get("headers", ()), header]}


def find_cookie(headers: Iterable[tuple[bytes, bytes]], name: str) -> bytes | None:
    """Return the value of the first cookie of that name, or None."""
    wanted = name.encode("ascii")
    for header, value in headers:
        if header.lower() != b"cookie":
            continue
        for part in value.split(b";"):
            key, _, content = part.partition(b"=")
            if key.strip() == wanted:
                return content.strip()
    return None
