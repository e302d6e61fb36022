"""Sentry: errors say which flags and variations their user had.

One observer serves any number of clients of either product, beside ``sentry_sdk.init``::

    client = FMEClient(settings, observers=[Sentry()])

Each decision is put on Sentry's isolation scope, as Sentry's own integrations of flag tools do: its integrations of
web frameworks give each request a scope of its own. A feature or A/B test appears by its key, on or off, and the
variation that was given as ``key:variation``. Nothing else is handed on: no user, no variable, no key of the SDK.
"""

from __future__ import annotations

from .._extra import explain_missing
from .._observer import Evaluation, Observer
from .._reason import Reason

try:
    from sentry_sdk.feature_flags import add_feature_flag
except ImportError as error:
    raise explain_missing(error, "sentry") from None

__all__ = ["Sentry"]

# Keys that the settings do not have may be anything, and would push out those that mean something.
_UNKNOWN = frozenset({Reason.CAMPAIGN_NOT_FOUND, Reason.FEATURE_NOT_FOUND, Reason.INVALID_INPUT})


class Sentry(Observer):
    """Observes clients for Sentry; one for the whole process is enough."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Put a decision on the scope of its caller."""
        if evaluation.reason in _UNKNOWN:
            return
        add_feature_flag(evaluation.key, evaluation.is_on)
        if evaluation.variation_name is not None:
            add_feature_flag(f"{evaluation.key}:{evaluation.variation_name}", True)
