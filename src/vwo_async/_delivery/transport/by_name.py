"""The transports that can be chosen by name."""

from __future__ import annotations

from importlib import import_module
from typing import Literal, TypeAlias, get_args

from ..._error import InvalidInputError
from ..._extra import LIBRARIES, check_extra
from .config import TransportConfig
from .protocol import Fetcher, Transport

TransportName: TypeAlias = Literal["httpx", "httpx2", "aiohttp"]
# The engine of each; aiohttp has its own, and settings are fetched with httpx all the same.
_CORES = {"httpx": "httpcore", "httpx2": "httpcore2", "aiohttp": "httpcore"}


def check_transport_name(name: object) -> TransportName:
    """Return *name*.

    Raises:
        InvalidInputError: There is no such transport.
        MissingExtraError: Its extra is not installed.
    """
    for known in get_args(TransportName):
        if name == known:
            if known in LIBRARIES:
                check_extra(known)
            return known  # type: ignore[no-any-return]
    raise InvalidInputError(f"must be a transport or one of {', '.join(get_args(TransportName))}")


def load_transport(name: TransportName) -> None:
    """Import what the transport needs, and what fetches settings: that holds an event loop for too long."""
    import_module(".aiohttp" if name == "aiohttp" else ".httpx", __package__)
    import_module(_CORES[name])


def make_transport(name: TransportName, config: TransportConfig) -> Transport:
    """Return the transport of that name."""
    if name != "aiohttp":
        return make_fetcher(config, _CORES[name])
    from .aiohttp import AiohttpTransport  # noqa: PLC0415 - an extra

    return AiohttpTransport(**config.as_arguments())


def make_fetcher(config: TransportConfig, core: str = "httpcore") -> Fetcher:
    """Return a transport that can fetch settings files too.

    Args:
        config: What to make it from.
        core: The module that is its engine, see `HttpxTransport`.
    """
    from .httpx import HttpxTransport  # noqa: PLC0415 - not before it is needed

    return HttpxTransport(**config.as_arguments(), core=import_module(core))
