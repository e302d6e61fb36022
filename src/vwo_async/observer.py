"""Observers: what watches clients of either product, from a metric to a tracing tool.

Derive from `Observer` and give it to clients by the launch option ``observers``. It is told of each decision, an
`Evaluation`; of each request to VWO, a `RequestReport`; and of each client that is opened or closed, an
`ObservedClient`, whose ``statistics()`` may be asked from any thread::

    class Counted(Observer):
        def on_evaluation(self, evaluation: Evaluation) -> None:
            seen[evaluation.key, evaluation.variation_name] += 1

    client = VWOClient(settings, observers=[Counted()])

`make_pseudonymizer` tells what a user is called in the log and in telemetry.
`vwo_async.integrations.opentelemetry` and `vwo_async.integrations.sentry` have ready ones.
"""

from ._home import rehome
from ._observer import Evaluation, ObservedClient, Observer, RequestReport, make_pseudonymizer

__all__ = ["Evaluation", "ObservedClient", "Observer", "RequestReport", "make_pseudonymizer"]

rehome(globals())
