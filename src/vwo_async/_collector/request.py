"""A request as received, and the endpoint of VWO that it addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .error import WireError
from .product import Product

__all__ = ["Endpoint", "WireRequest", "locate"]


class Endpoint(StrEnum):
    """The endpoints of VWO's servers; the value is the last part of the path."""

    TRACK_USER = "track-user"
    TRACK_GOAL = "track-goal"
    PUSH = "push"
    BATCH = "batch-events"
    EVENT = "t"
    SETTINGS = "settings"
    PULL = "pull"
    BATCH_V2 = "batch-events-v2"
    V2_SETTINGS = "v2-settings"
    V2_PULL = "v2-pull"

    @property
    def path(self) -> str:
        """The path without the collection prefix."""
        return f"/events/{self}" if self is Endpoint.EVENT else f"/server-side/{self}"

    @property
    def method(self) -> str:
        """The only HTTP method of the endpoint."""
        return "POST" if self in {Endpoint.BATCH, Endpoint.BATCH_V2, Endpoint.EVENT} else "GET"

    @property
    def product(self) -> Product | None:
        """The product whose SDKs call it, None where those of both do."""
        if self is Endpoint.EVENT:
            return None
        return Product.FME if self in _OF_FME else Product.FULLSTACK

    @property
    def is_retrieval(self) -> bool:
        """Whether it hands out the settings file, rather than taking events."""
        return self in _RETRIEVALS


_OF_FME = frozenset({Endpoint.BATCH_V2, Endpoint.V2_SETTINGS, Endpoint.V2_PULL})
_RETRIEVALS = frozenset({Endpoint.SETTINGS, Endpoint.PULL, Endpoint.V2_SETTINGS, Endpoint.V2_PULL})


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One HTTP request, fully read.

    Attributes:
        number: Its number among all requests of this collector, from 1.
        at_s: When it was read, in seconds since 1970.
        method: The HTTP method, in capitals.
        path: The path, percent-decoded.
        query: The query string as sent, without the question mark.
        headers: Header values by lower-case name, decoded as Latin-1.
        body: The body as sent.
    """

    number: int
    at_s: float
    method: str
    path: str
    query: bytes
    headers: Mapping[str, str]
    body: bytes


def locate(request: WireRequest) -> tuple[Endpoint, str]:
    """Find the endpoint of a request.

    Returns:
        The endpoint and the collection prefix in front of it, which is empty where there is none.

    Raises:
        WireError: With status 404 for an unknown path, with status 405 for the wrong method.
    """
    for endpoint in Endpoint:
        if request.path.endswith(endpoint.path):
            _check_method(request, endpoint)
            return endpoint, request.path.removesuffix(endpoint.path).removeprefix("/")
    raise WireError("path", "no endpoint of VWO's servers", 404)


def _check_method(request: WireRequest, endpoint: Endpoint) -> None:
    if request.method != endpoint.method:
        raise WireError("method", f"{endpoint.path} takes {endpoint.method} only", 405)
