"""Telling observers, and the log at DEBUG, what one client does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._delivery.transport.observed import ObservedFetcher, ObservedTransport
from .._delivery.transport.protocol import Fetcher, Transport
from .._log import log_debug
from .._observer import (
    Evaluation,
    ObservedClient,
    Observer,
    Product,
    Purpose,
    RequestReport,
    make_pseudonymizer,
)
from .._reason import Reason
from .._result import Statistics, TrackResult
from .._user import show_key
from .callback import Callback
from .options import Options


class Observation:
    """Tells the observers of one client, and the log, what the client does.

    Args:
        options: Launch options.
        product: The client's.
        statistics: Returns its ledger.

    Attributes:
        hears_evaluations: Whether some observer is told of decisions.
        callbacks: What the observers are called by.
    """

    def __init__(
        self, options: Options, product: Product, statistics: Callable[[], Statistics]
    ) -> None:
        self._product: Product = product
        self._client = ObservedClient(product, statistics)
        self.name_user = make_pseudonymizer(options.pseudonym_salt)
        self.callbacks: list[Callback] = []
        observers = options.observers
        self._on_evaluation = self._list(observers, "on_evaluation")
        self._on_request = self._list(observers, "on_request")
        self._on_open = self._list(observers, "on_open")
        self._on_close = self._list(observers, "on_close")
        self.hears_evaluations = bool(self._on_evaluation)

    def _list(self, observers: tuple[Observer, ...], method: str) -> list[Callback]:
        """Return what calls *method* of those observers that have one of their own."""
        found = [
            Callback(partial(_call, getattr(one, method)), f"observers: {method}")
            for one in observers
            if getattr(type(one), method) is not getattr(Observer, method)
        ]
        self.callbacks += found
        return found

    # Life

    def open(self) -> None:
        """Tell that the client has been opened."""
        _tell(self._on_open, self._client)

    def close(self) -> None:
        """Tell that the client is closed."""
        _tell(self._on_close, self._client)

    # Requests

    def watch_transport(self, inner: Transport, base_url: str | None) -> Transport:
        """Return a transport of events that is observed, if somebody wants to know."""
        if not self._on_request:
            return inner
        return ObservedTransport(inner, self._tell_request, self._product, "events", base_url)

    def watch_fetcher(self, inner: Fetcher, purpose: Purpose, base_url: str) -> Fetcher:
        """Return a transport for questions that is observed, if somebody wants to know."""
        if not self._on_request:
            return inner
        return ObservedFetcher(inner, self._tell_request, self._product, purpose, base_url)

    def _tell_request(self, report: RequestReport) -> None:
        _tell(self._on_request, report)

    # Decisions

    def tell(
        self,
        settings: Any,
        api: str,
        key: object,
        user_id: object,
        reason: Reason,
        is_enabled: bool | None,
        variation_name: str | None,
    ) -> None:
        """Tell of a decision, unless the user has opted out of everything.

        Args:
            settings: The file in force.
            api: The API method.
            key: The key that the caller gave, whatever it is.
            user_id: The user id that the caller gave, whatever it is.
            reason: How it was come by.
            is_enabled: See `Evaluation`.
            variation_name: See `Evaluation`.
        """
        if reason is Reason.OPTED_OUT:
            return
        evaluation = Evaluation(
            self._product,
            api,
            key if type(key) is str else "",
            reason,
            is_enabled,
            variation_name,
            user_id if type(user_id) is str and reason is not Reason.INVALID_INPUT else None,
            str(settings.account_id),
            str(settings.version),
            self.name_user,
        )
        log_evaluation(evaluation)
        _tell(self._on_evaluation, evaluation)

    def log_conversions(self, api: str, name: object, user_id: str, result: TrackResult) -> None:
        """Log at DEBUG what became of a conversion: a line for each campaign, or one in all in FME."""
        for key, one in result.items():
            if one.reason is Reason.OPTED_OUT:
                continue
            what, how = show_key(name), one.reason.value
            if self._product == "fullstack":
                what = f"{what} in {show_key(key)}"
                how = f"{_show_variation(one.variation_name)} ({how})"
            log_debug("%s %s: %s, user %s", api, what, how, self.name_user(user_id))


def log_evaluation(evaluation: Evaluation) -> None:
    """Log a decision at DEBUG, in one line that holds no user id."""
    state = evaluation.is_enabled
    log_debug(
        "%s %s: %s%s (%s), user %s",
        evaluation.api,
        show_key(evaluation.key),
        "" if state is None else "on, " if state else "off, ",
        _show_variation(evaluation.variation_name),
        evaluation.reason.value,
        evaluation.pseudonym,
    )


def _show_variation(name: str | None) -> str:
    return "no variation" if name is None else ascii(name)


def _call(function: Callable[[Any], object], value: object) -> None:
    # An observer is a plain function: what it returns is not waited for.
    function(value)


def _tell(callbacks: list[Callback], value: object) -> None:
    for callback in callbacks:
        callback.call(value)
