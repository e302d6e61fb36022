"""A local stand-in for VWO's servers, for tests and demonstrations.

It speaks to the SDKs of FullStack and of FME: it hands out settings files, checks every tracking request
against the wire format, keeps the received events and counts them as VWO does::

    collector = Collector(settings)
    async with serve(collector) as base_url:
        ...  # let an SDK talk to base_url instead of VWO's host
    assert not collector.refused
    assert collector.totals().unique_conversions == 1

A settings file says itself of which product it is, and a list of them, ``Collector([first, second])``,
serves any accounts of both products side by side. What metrics of FME count is found by the name of the
event: ``collector.report().event("purchase").conversions``.

At its address a browser finds a live page: what arrives, the results of each campaign with their statistics,
why a user gets what he gets, and each `Fault` to switch on, as ``collector.fault = "hang"`` does.

With a `GatewayData` it stands in for VWO's gateway service too: lists, places, browsers and aliases.

``python -m vwo_async.collector --settings FILE`` runs it as a process of its own; ``--settings`` may be
given again. From another process it is controlled over HTTP:

* ``GET /collector/report``, ``GET /collector/ledger`` and ``GET /collector/totals``
* ``POST /collector/reset``
* ``PUT /collector/settings`` with a settings file as body
* ``POST /collector/answer`` with ``{"status": 503, "times": 3}``
* ``PUT /collector/fault`` with ``{"fault": "hang", "latency_s": 0}``, where null is no fault
* ``GET /collector/results.json`` and ``GET /collector/entries.json``, or ``.csv``

`Collector` keeps each event as `Received` (of a `Kind`, from an `Endpoint`, with each `Conversion`) in a
`Ledger`, which counts as `Counted`; what did not follow the format as `Refusal`. `Totals` counts requests
and events, and `Report` is what an experimenter reads: `CampaignReport`, `VariationReport`, `GoalReport`,
and by the names of events `EventReport` and `PropertyReport`. An `Account` is one of a `Product`.
"""

from .._extra import explain_missing
from .._home import rehome

try:
    from .._collector.event_report import EventReport, PropertyReport
    from .._collector.fault import Fault
    from .._collector.gateway import GatewayData
    from .._collector.inbox import Refusal, Totals
    from .._collector.ledger import Counted, Ledger
    from .._collector.product import Account, Product
    from .._collector.received import Conversion, Kind, Received
    from .._collector.report import CampaignReport, GoalReport, Report, VariationReport
    from .._collector.request import Endpoint
    from .._collector.server import Collector, serve
except ImportError as error:
    raise explain_missing(error, "collector") from None

__all__ = [
    "Account",
    "CampaignReport",
    "Collector",
    "Conversion",
    "Counted",
    "Endpoint",
    "EventReport",
    "Fault",
    "GatewayData",
    "GoalReport",
    "Kind",
    "Ledger",
    "Product",
    "PropertyReport",
    "Received",
    "Refusal",
    "Report",
    "Totals",
    "VariationReport",
    "serve",
]

rehome(globals())
