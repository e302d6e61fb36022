"""Telling observers of requests for settings files that are made before there is a client."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._cancellation import PROCESS_ENDS
from .._delivery.transport.observed import ObservedFetcher
from .._delivery.transport.protocol import Fetcher
from .._error import InvalidInputError
from .._log import log_error
from .._observer import Observer, Product, RequestReport, read_observers


def check_observers(given: object) -> tuple[Observer, ...]:
    """Return the observers that a caller gave.

    Raises:
        InvalidInputError: There is something else among them.
    """
    try:
        return read_observers(given)
    except InvalidInputError as error:
        raise InvalidInputError(f"observers {error}") from None


def watch_fetcher(
    inner: Fetcher, observers: Sequence[Observer], product: Product, base_url: str
) -> Fetcher:
    """Return a transport for settings files that is observed, if somebody wants to know."""
    told = [one.on_request for one in observers if type(one).on_request is not Observer.on_request]
    if not told:
        return inner

    def tell(report: RequestReport) -> None:
        for on_request in told:
            _tell(on_request, report)

    return ObservedFetcher(inner, tell, product, "settings", base_url)


def _tell(on_request: Callable[[RequestReport], object], report: RequestReport) -> None:
    try:
        on_request(report)
    except PROCESS_ENDS:
        raise
    except BaseException as error:  # noqa: BLE001 - the service's own function may raise anything
        log_error("observers: on_request raised %s", type(error).__name__)
