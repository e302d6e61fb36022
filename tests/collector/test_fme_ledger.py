"""FME: which events are kept, what counts for a metric, and what the report says."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from vwo_async.collector import (
    CampaignReport,
    Collector,
    Conversion,
    Endpoint,
    GoalReport,
    Product,
    PropertyReport,
    VariationReport,
    serve,
)

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

pytestmark = pytest.mark.anyio


def find(collector: Collector, campaign_id: int) -> CampaignReport:
    """Return the report of one campaign."""
    return next(c for c in collector.report().campaigns if c.campaign_id == campaign_id)


def find_goal(variation: VariationReport, goal_id: int) -> GoalReport:
    """Return the report of one metric."""
    return next(goal for goal in variation.goals if goal.goal_id == goal_id)


@pytest.mark.parametrize("path", ["/server-side/v2-settings", "/server-side/v2-pull"])
@pytest.mark.parametrize("is_development", [False, True])
async def test_settings_are_handed_out(fme: Any, path: str, *, is_development: bool) -> None:
    """Both endpoints return the file byte for byte, poll interval included, also in development mode."""
    source = (
        b'{ "accountId":777002,\n"sdkKey":"%b","version":1,"features":{},"pollInterval":5000 }\n'
    )
    source %= fme.key.encode()
    request = fme.retrieval(path)
    if is_development:
        del request.query["s"]
    collector = Collector(source)
    async with serve(collector) as base_url, fme.client(base_url) as client:
        answer = await request.send(client)

    assert (answer.status_code, answer.content) == (200, source)
    assert answer.headers["content-type"] == "application/json"
    assert collector.totals().settings == 1


@pytest.mark.parametrize(
    ("name", "value", "status", "reason"),
    [
        ("a", "1", 401, "a: not the account"),
        ("i", "another", 401, "i: not the SDK key"),
        ("a", ..., 400, "a: missing"),
        ("i", "", 400, "i: must not be empty"),
        ("r", ..., 400, "r: missing"),
        ("platform", "browser", 400, "platform: must be server"),
        ("api-version", ..., 400, "api-version: missing"),
        ("s", "test", 400, "s: must be prod"),
        ("sn", ..., 400, "sn: missing"),
        ("sv", "", 400, "sv: must not be empty"),
        ("sdk", "1", 400, "sdk: not part of this request"),
    ],
)
async def test_wrong_parameter(
    fme: Any,
    fme_collector: Collector,
    fme_client: httpx.AsyncClient,
    *,
    name: str,
    value: object,
    status: int,
    reason: str,
) -> None:
    """The file is not given to another account or key, or for an incomplete request."""
    request = fme.retrieval()
    request.change("query", name, value)

    answer = await request.send(fme_client)

    assert answer.status_code == status
    assert reason in answer.json()["error"]
    assert len(fme_collector.refused) == 1


async def test_events_alone(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient
) -> None:
    """Each POST is one event with everything that the request says."""
    metric = fme.metric(revenue="99.90", coupon="spring")
    for call in (fme.shown(), metric, fme.attributes(), fme.holdout(), fme.started(), fme.used()):
        assert (await call.send(fme_client)).status_code == 200

    shown, purchase, push, holdout, started, used = fme_collector.ledger
    assert [event.kind for event in fme_collector.ledger] == [
        *("user", "goal", "push", "user", "sdk", "sdk")
    ]
    assert {event.endpoint for event in fme_collector.ledger} == {Endpoint.EVENT}
    assert {event.account for event in fme_collector.ledger} == {(Product.FME, "777002")}
    assert (shown.campaign_ids, shown.variation_id, shown.visitor) == ((2,), 2, fme.visitor)
    assert (shown.user_agent, shown.ip) == ("Mozilla/5.0 (X11)", "10.0.0.1")
    assert purchase.conversions == (Conversion(None, None, Decimal("99.90"), is_repeatable=True),)
    assert (purchase.event_name, purchase.goal_ids) == ("purchase", ())
    assert purchase.props == {"revenue": "99.90", "coupon": "spring"}
    assert purchase.event_id == metric.body["d"]["msgId"]
    assert push.tags == {"plan": "pro", "age": 33}
    assert (holdout.campaign_ids, holdout.variation_id) == ((71,), 1)
    assert (started.event_name, used.event_name) == ("vwo_fmeSdkInit", "vwo_feTrackUsage")


async def test_batch_items(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient
) -> None:
    """A batch item is the same event as a request of its own, and a visitor may be one of the web."""
    items = [
        fme.shown_item(1, 1, visitor=fme.web_visitor),
        fme.metric_item("signup"),
        fme.attributes_item(vip=True),
    ]
    # One of the official SDKs writes the variation as text, and leaves out what it does not know.
    items[0]["d"]["event"]["props"]["variation"] = "1"
    items[0]["d"]["visitor"]["props"]["plan"] = "pro"
    del items[1]["d"]["visitor_ua"], items[1]["d"]["visitor_ip"]
    answer = await fme.batch(*items).send(fme_client)

    assert answer.json() == {"received": 3}
    shown, signup, push = fme_collector.ledger
    assert {event.endpoint for event in fme_collector.ledger} == {Endpoint.BATCH_V2}
    assert (shown.visitor, shown.variation_id, shown.tags) == (
        *(fme.web_visitor, 1),
        {"plan": "pro"},
    )
    assert (signup.user_agent, signup.ip, signup.props) == ("", "", {})
    assert push.tags == {"vip": True}


async def test_the_callers_own_id_and_variation(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient
) -> None:
    """Properties of the caller's that replace what SDKs send in each event are his."""
    await fme.metric(id=7, variation="red").send(fme_client)

    assert fme_collector.ledger[0].props == {"id": 7, "variation": "red"}


async def test_a_metric(fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient) -> None:
    """The ledger of a metric: conversions, visitors, revenue and properties; copies by msgId apart."""
    first = fme.metric(revenue=10.5, items=2, coupon="spring")
    again = fme.batch(first.body)
    other = fme.event(fme.metric_item(visitor=fme.other, revenue="1.25", items=3))
    for call in (first, first, again, other, fme.metric(revenue=3)):
        assert (await call.send(fme_client)).status_code == 200

    purchase = fme_collector.report().event("purchase")
    assert purchase.metric_ids == (501, 503)
    assert (purchase.received, purchase.duplicates, purchase.visitors) == (3, 2, 2)
    assert (purchase.conversions, purchase.revenue) == (3, Decimal("14.75"))
    assert purchase.properties == (
        PropertyReport("coupon", 1, None),
        PropertyReport("items", 2, Decimal(5)),
        PropertyReport("revenue", 3, Decimal("14.75")),
    )
    totals = fme_collector.totals()
    assert (totals.events, totals.conversions, totals.unique_conversions) == (5, 5, 3)


async def test_a_metric_that_counts_once(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient
) -> None:
    """A metric without mca -1 counts once for each visitor, however often the event arrives."""
    for visitor in (fme.visitor, fme.visitor, fme.other):
        await fme.batch(fme.metric_item("signup", visitor=visitor)).send(fme_client)

    signup = fme_collector.report().event("signup")
    assert (signup.received, signup.conversions, signup.visitors) == (3, 2, 2)


async def test_impressions_of_one_moment_are_no_copies(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient
) -> None:
    """Official SDKs give the impressions of one call one msgId; only the same one again is a copy."""
    rollout, test = fme.shown_item(1, 1), fme.shown_item(2, 2)
    test["d"]["msgId"] = rollout["d"]["msgId"]
    for call in (fme.batch(rollout, test), fme.batch(test)):
        await call.send(fme_client)

    shown = fme_collector.report().event("vwo_variationShown")
    assert (shown.received, shown.duplicates, shown.visitors) == (2, 1, 1)


async def test_campaigns(fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient) -> None:
    """Conversions count for the variations that a visitor was shown in rules of the metric's features."""
    visitors = [f"{number:032X}" for number in range(10)]
    await fme.batch(
        *(fme.shown_item(2, 1 + (number > 3), visitor=one) for number, one in enumerate(visitors))
    ).send(fme_client)
    await fme.batch(
        *(fme.metric_item(visitor=one, revenue=2) for one in visitors[2:7]),
        # Nothing was shown to this one.
        fme.metric_item(visitor=fme.other, revenue=100),
    ).send(fme_client)

    campaign = find(fme_collector, 2)
    control, green = campaign.variations
    assert (campaign.product, campaign.account_id) == (Product.FME, "777002")
    assert (campaign.key, campaign.visitors) == ("checkout_rule2", 10)
    assert (control.visitors, green.visitors) == (4, 6)
    assert find_goal(control, 501) == GoalReport(501, "purchase", 2, 0.5, Decimal(4))
    assert find_goal(green, 501) == GoalReport(501, "purchase", 3, 0.5, Decimal(6))
    assert find_goal(green, 502).conversions == 0
    # No rule of the other feature that has such a metric was shown to them.
    assert [
        goal.conversions for one in find(fme_collector, 3).variations for goal in one.goals
    ] == [*(0, 0)]
    assert fme_collector.report().event("purchase").revenue == 110


async def test_two_metrics_of_one_event(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient
) -> None:
    """Each metric counts an event in its own way: with or without revenue, each time or once."""
    for call in (fme.shown(2, 1), fme.shown(3, 1), fme.metric(revenue=5), fme.metric(revenue=6)):
        await call.send(fme_client)

    assert find_goal(find(fme_collector, 2).variations[0], 501) == GoalReport(
        501, "purchase", 2, 2.0, Decimal(11)
    )
    assert find_goal(find(fme_collector, 3).variations[0], 503) == GoalReport(
        503, "purchase", 1, 1.0, Decimal(0)
    )


async def test_impact_and_holdouts(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient
) -> None:
    """The measurement of impact and holdouts are campaigns of two variations."""
    calls = (fme.shown(9, 2), fme.holdout(), fme.metric("renewal"), fme.metric())
    for call in calls:
        assert (await call.send(fme_client)).status_code == 200

    impact, holdout = find(fme_collector, 9), find(fme_collector, 71)
    assert (impact.key, holdout.key) == ("impact of checkout", "holdout winter")
    assert [one.visitors for one in impact.variations] == [0, 1]
    assert [one.visitors for one in holdout.variations] == [1, 0]
    assert find_goal(impact.variations[1], 501).conversions == 1
    assert find_goal(holdout.variations[0], 504).conversions == 1


async def test_nothing_received(fme_collector: Collector) -> None:
    """Before anything is received, all campaigns and metrics of the file are listed with zeros."""
    report = fme_collector.report()

    assert [campaign.campaign_id for campaign in report.campaigns] == [1, 2, 3, 9, 71]
    assert [(one.name, one.metric_ids, one.received) for one in report.events] == [
        ("purchase", (501, 503), 0),
        ("renewal", (504,), 0),
        ("signup", (502,), 0),
    ]
    with pytest.raises(KeyError):
        report.event("nothing")


async def test_over_http(fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient) -> None:
    """Report, ledger and totals can be read over HTTP, and planned answers come first."""
    fme_collector.answer_next(503, times=2)
    calls = (fme.metric(), fme.retrieval(), fme.metric(revenue=2), fme.retrieval(), fme.batch())
    statuses = [(await call.send(fme_client)).status_code for call in calls]

    assert statuses == [503, 503, 200, 200, 200]
    report = (await fme_client.get("/collector/report")).json()
    assert report == fme_collector.report().as_dict()
    events = (await fme_client.get("/collector/ledger")).json()["events"]
    assert [(one["product"], one["account_id"]) for one in events] == [("fme", "777002")] * 4
    totals = (await fme_client.get("/collector/totals")).json()
    assert (totals["requests"], totals["answered"], totals["settings"]) == (5, 2, 1)
    assert totals["by_kind"] == {"user": 1, "goal": 2, "push": 1, "sdk": 0}
    assert (await fme_client.post("/collector/reset")).json()["events"] == 0


async def test_no_secret_is_kept(fme: Any, tmp_path: Path) -> None:
    """What SDKs tell about themselves may hold the SDK key: neither ledger nor its file does."""
    path = tmp_path / "ledger.jsonl"
    collector = Collector(fme.settings, ledger_path=path)
    item = fme.item("vwo_sdkUsageStats", {"vwoMeta": {"env": fme.key}, "data": {"key": fme.key}})
    shown = fme.shown_item(vwoMeta={"env": fme.key})
    usage = fme.event(item)
    usage.query["a"] = "1001"
    async with serve(collector) as base_url, fme.client(base_url) as client:
        statuses = [(await one.send(client)).status_code for one in (usage, fme.batch(shown))]

    assert statuses == [200, 200]
    assert len(path.read_text().splitlines()) == 2
    assert fme.key not in path.read_text()
    assert fme.key not in repr(vars(collector)) + repr(vars(collector)["_inbox"].files)


@pytest.mark.parametrize(
    "fields",
    [
        {"features": "none"},
        {"features": [[]]},
        {"features": [{"key": "f"}]},
        {"features": [{"id": 1, "metrics": [{"identifier": "purchase"}]}]},
        {"features": [{"id": 1, "rules": [{"ruleKey": "r"}]}]},
        {"features": [{"id": 1, "impactCampaign": {"campaignId": "x"}}]},
        {"features": [], "holdouts": [{"name": "h"}]},
        {"features": [], "campaigns": [{"id": 1, "variations": [1]}]},
    ],
)
async def test_no_settings_file(fme: Any, fields: dict[str, Any]) -> None:
    """An invalid file of FME is refused at once and never replaces a good one."""
    bad = {"sdkKey": fme.key, "accountId": fme.account, "version": 1, **fields}
    good = Collector(fme.settings)

    with pytest.raises(ValueError, match="settings"):
        Collector(bad)
    with pytest.raises(ValueError, match="settings"):
        good.set_settings(bad)

    assert len(good.report().campaigns) == 5
    assert fme.key not in repr(good)
