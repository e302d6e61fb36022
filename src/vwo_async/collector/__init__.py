"""A local stand-in for VWO's servers, for tests and demonstrations.

It hands out a settings file, checks every tracking request against the wire format, keeps the received
events and counts them as VWO does::

    collector = Collector(settings)
    async with serve(collector) as base_url:
        ...  # let an SDK talk to base_url instead of VWO's host
    assert not collector.refused
    assert collector.totals().unique_conversions == 1

``python -m vwo_async.collector --settings FILE`` runs it as a process of its own. From another
process it is controlled over HTTP: ``GET /collector/report``, ``GET /collector/ledger``, ``GET
/collector/totals``, ``POST /collector/reset``, ``PUT /collector/settings`` with a settings file as
body, and ``POST /collector/answer`` with ``{"status": 503, "times": 3}``.

`Collector` keeps each event as `Received` (of a `Kind`, from an `Endpoint`, with each `Conversion`) in a
`Ledger`, which counts as `Counted`; what did not follow the format as `Refusal`. `Totals` counts requests
and events, and `Report` is what an experimenter reads: `CampaignReport`, `VariationReport`, `GoalReport`.
"""

from .._collector.inbox import Refusal, Totals
from .._collector.ledger import Counted, Ledger
from .._collector.received import Conversion, Kind, Received
from .._collector.report import CampaignReport, GoalReport, Report, VariationReport
from .._collector.request import Endpoint
from .._collector.server import Collector, serve
from .._home import rehome

__all__ = [
    "CampaignReport",
    "Collector",
    "Conversion",
    "Counted",
    "Endpoint",
    "GoalReport",
    "Kind",
    "Ledger",
    "Received",
    "Refusal",
    "Report",
    "Totals",
    "VariationReport",
    "serve",
]

rehome(globals())
