"""The transports that can be chosen by name."""

from __future__ import annotations

import ssl
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, TypeAlias, get_args

from ..._error import InvalidInputError
from .protocol import Fetcher, Timeouts, Transport

TransportName: TypeAlias = Literal["httpx", "httpx2", "aiohttp"]


def check_transport_name(name: object) -> TransportName:
    """Return *name*.

    Raises:
        InvalidInputError: There is no such transport, or its extra is not installed.
    """
    for known in get_args(TransportName):
        if name == known:
            if find_spec(known) is None:
                raise InvalidInputError(f"needs the extra: pip install vwo-async[{known}]")
            return known  # type: ignore[no-any-return]
    raise InvalidInputError(f"must be a transport or one of {', '.join(get_args(TransportName))}")


def load_transport(name: TransportName) -> None:
    """Import what the transport needs: that takes longer than an event loop may be held."""
    import_module(".aiohttp" if name == "aiohttp" else ".httpx", __package__)
    import_module("httpcore2" if name == "httpx2" else "httpcore")


def make_transport(
    name: TransportName,
    base_url: str,
    *,
    timeouts: Timeouts | None,
    user_agent: str,
    ssl_context: ssl.SSLContext | None,
    proxy: str | None,
) -> Transport:
    """Return the transport of that name."""
    if name != "aiohttp":
        return make_fetcher(
            base_url,
            timeouts=timeouts,
            user_agent=user_agent,
            ssl_context=ssl_context,
            proxy=proxy,
            core="httpcore2" if name == "httpx2" else "httpcore",
        )
    from .aiohttp import AiohttpTransport  # noqa: PLC0415 - an extra

    return AiohttpTransport(
        base_url, timeouts=timeouts, user_agent=user_agent, ssl_context=ssl_context, proxy=proxy
    )


def make_fetcher(
    base_url: str,
    *,
    timeouts: Timeouts | None,
    user_agent: str,
    ssl_context: ssl.SSLContext | None,
    proxy: str | None,
    core: str = "httpcore",
) -> Fetcher:
    """Return a transport that can fetch settings files too."""
    from .httpx import HttpxTransport  # noqa: PLC0415 - not before it is needed

    return HttpxTransport(
        base_url,
        timeouts=timeouts,
        user_agent=user_agent,
        ssl_context=ssl_context,
        proxy=proxy,
        core=import_module(core),
    )
