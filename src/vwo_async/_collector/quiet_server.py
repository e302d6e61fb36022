"""An HTTP server in the running loop that installs no signal handler and configures no logger."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import CLOSE_EXTENSION

_GRACE_S = 2.0
_MAX_HEAD_BYTES = 64 * 1024
_POLL_S = 0.001


@asynccontextmanager
async def listening(app: ASGIApp, host: str, port: int) -> AsyncIterator[str]:
    """Serve *app* in the running loop, for as long as the context lasts.

    At the end, requests in progress get two seconds to be answered.

    Args:
        app: An ASGI application.
        host: The address to listen on.
        port: The port, 0 for any free one.

    Yields:
        The address, such as ``http://127.0.0.1:49152``.

    Raises:
        OSError: The address cannot be listened on.
    """
    listener = _bind(host, port)
    server = uvicorn.Server(_config(app))
    try:
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[listener])
        yield _base_url(listener)
    finally:
        await _stop(server)
        listener.close()


class _QuietConfig(uvicorn.Config):
    """uvicorn's configuration, without its changes to the loggers of the process."""

    def configure_logging(self) -> None:
        """Leave loggers alone."""


class _QuietProtocol(H11Protocol):
    """uvicorn's HTTP protocol without its access log, which would show the SDK key in the query.

    It lets the application close a connection without an answer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False
        self._served, self.app = self.app, self._call

    async def _call(self, scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"] = {CLOSE_EXTENSION: self.transport.abort}
        await self._served(scope, receive, send)


def _config(app: ASGIApp) -> uvicorn.Config:
    return _QuietConfig(
        app,
        http=_QuietProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
    )


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only if the protocol is given; without it each answer would take 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError):
            # The system's words do not say which address.
            error.filename = f"{host}:{port}"
        raise
    return listener


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _stop(server: uvicorn.Server) -> None:
    """Close listeners, connections and tasks.

    ``Server.shutdown`` does the same in steps of 0.1 s, which would add up in a test suite, and does not
    await the tasks that it cancels.
    """
    state = server.server_state
    for listener in getattr(server, "servers", ()):
        listener.close()
    for connection in list(state.connections):
        connection.shutdown()
    await _end_tasks(state.tasks)
    await _wait_closed(state.connections)
    for connection in list(state.connections):
        connection.transport.abort()
    await _wait_closed(state.connections)


async def _end_tasks(tasks: set[asyncio.Task[None]]) -> None:
    if not tasks:
        return
    _, pending = await asyncio.wait(set(tasks), timeout=_GRACE_S)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


async def _wait_closed(connections: Collection[object]) -> None:
    """Wait until all connections are closed, or the time is up; uvicorn signals neither."""
    deadline_s = time.monotonic() + _GRACE_S
    while connections and time.monotonic() < deadline_s:  # noqa: ASYNC110 - there is no signal
        await asyncio.sleep(_POLL_S)
