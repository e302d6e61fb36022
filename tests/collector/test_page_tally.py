"""What the page counts: the same as the report of all events, in bounded space, and after a restart."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vwo_async._collector.catalogue import Catalogue
from vwo_async._collector.ledger import Ledger
from vwo_async._collector.page.count import MAX_GOALS, MAX_VARIATIONS
from vwo_async._collector.page.series import MAX_POINTS, Series
from vwo_async._collector.page.tally import MAX_CAMPAIGNS, Tally
from vwo_async._collector.page.tally_report import report_tally
from vwo_async._collector.product import Account, Product
from vwo_async._collector.received import Conversion, Received
from vwo_async._collector.report import build_report
from vwo_async._collector.request import Endpoint
from vwo_async._collector.settings_files import SettingsFiles
from vwo_async.collector import Collector, serve

FULLSTACK, FME = Account(Product.FULLSTACK, "1"), Account(Product.FME, "1")
VISITORS = ["A" * 32, "B" * 32, "C" * 32]


def make_variations(number: int) -> list[dict[str, Any]]:
    return [{"id": one, "name": f"v{one}", "weight": 50} for one in range(1, number + 1)]


def make_files() -> SettingsFiles:
    """Return a file of each product. Of FME three metrics count one event, each in its own way."""
    metrics = [
        {"id": 1, "identifier": "buy", "type": "REVENUE_TRACKING", "revenueProp": "r", "mca": -1},
        {"id": 2, "identifier": "buy", "type": "CUSTOM_GOAL"},
        {"id": 3, "identifier": "look", "type": "CUSTOM_GOAL"},
    ]
    rules = [{"campaignId": 1}, {"campaignId": 2}]
    fme = {
        "accountId": 1,
        "features": [{"id": 1, "key": "search", "metrics": metrics, "rules": rules}],
        "campaigns": [
            {
                "id": one,
                "key": f"rule{one}",
                "type": "FLAG_TESTING",
                "variations": make_variations(2),
            }
            for one in (1, 2)
        ],
    }
    goals = [
        {"id": 1, "identifier": "signup", "type": "CUSTOM_GOAL"},
        {"id": 2, "identifier": "order", "type": "REVENUE_TRACKING", "mca": -1},
    ]
    fullstack = {
        "accountId": 1,
        "campaigns": [
            {"id": one, "key": f"test{one}", "variations": make_variations(2), "goals": goals}
            for one in (1, 2)
        ],
    }
    return SettingsFiles.collect(map(Catalogue.read, (fme, fullstack)))


def receive(account: Account, kind: Any, visitor: str, event_id: str, **fields: Any) -> Received:
    return Received(
        kind=kind,
        account=account,
        endpoint=Endpoint.EVENT,
        event_id=event_id,
        request_number=1,
        received_at_s=float(len(event_id)),
        visitor=visitor,
        **fields,
    )


event_ids = st.sampled_from(["1", "22", "333", "4444", "55555"])
revenues = st.none() | st.decimals("0", "99", places=2)


@st.composite
def events(draw: st.DrawFn) -> Received:
    account = draw(st.sampled_from([FULLSTACK, FME]))
    visitor, event_id = draw(st.sampled_from(VISITORS)), draw(event_ids)
    if draw(st.booleans()):
        shown = {
            "campaign_ids": (draw(st.integers(1, 3)),),
            "variation_id": draw(st.integers(1, 3)),
        }
        name = draw(st.sampled_from([None, "vwo_variationShown"]))
        return receive(account, "user", visitor, event_id, event_name=name, **shown)
    revenue = draw(revenues)
    if account is FME:
        name = draw(st.sampled_from(["buy", "look", "other"]))
        one = Conversion(None, None, revenue, is_repeatable=name == "buy")
        props = draw(st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 9), max_size=2))
        return receive(
            account, "goal", visitor, event_id, event_name=name, conversions=(one,), props=props
        )
    campaign_id, goal_id = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    one = Conversion(campaign_id, goal_id, revenue, is_repeatable=goal_id == 2)
    variation_id = draw(st.sampled_from([None, None, 1, 2]))
    return receive(
        account,
        "goal",
        visitor,
        event_id,
        campaign_ids=(campaign_id,),
        conversions=(one,),
        variation_id=variation_id,
    )


FILES = make_files()


@settings(max_examples=200, deadline=None)
@given(st.lists(events(), max_size=40))
def test_the_counts_are_those_of_the_report(found: list[Received]) -> None:
    """In whatever order events arrive, and however often, the tally is the report of all of them."""
    ledger, tally = Ledger(), Tally()
    for event in found:
        ledger.add([event])
        tally.add([event], FILES)
    assert report_tally(tally, FILES) == build_report(ledger, FILES)
    assert (tally.visitors, tally.unique_conversions) == (
        ledger.visitors,
        ledger.unique_conversions,
    )
    assert not tally.is_partial


def test_who_converts_twice_is_one_converted_visitor() -> None:
    """A goal that counts each time has more conversions than converted visitors."""
    tally = Tally()
    shown = receive(
        FULLSTACK, "user", VISITORS[0], "1", campaign_ids=(1,), variation_id=1, event_name=None
    )
    orders = [
        receive(
            FULLSTACK,
            "goal",
            VISITORS[0],
            event_id,
            variation_id=1,
            conversions=(Conversion(1, 2, Decimal(5), is_repeatable=True),),
        )
        for event_id in ("1", "2", "2")
    ]
    tally.add([shown, *orders], FILES)
    goal = tally.campaigns[FULLSTACK, 1].variations[1].goals[2]
    assert (goal.conversions, goal.converted, goal.revenue) == (2, 1, Decimal(10))


def test_a_flood_of_ids_has_an_end() -> None:
    """Without a settings file ids are what requests say: there is room for so many, and the page is told."""
    for field, bound in (("campaign", MAX_CAMPAIGNS), ("variation", MAX_VARIATIONS)):
        tally = Tally()
        for number in range(bound + 5):
            campaign_id, variation_id = (number, 1) if field == "campaign" else (1, number)
            shown = {"campaign_ids": (campaign_id,), "variation_id": variation_id}
            tally.add([receive(FULLSTACK, "user", str(number), "1", **shown)], SettingsFiles())
        assert tally.is_partial
        assert len(tally.campaigns) == (bound if field == "campaign" else 1)
        assert tally.visitors == bound
    tally = Tally()
    for number in range(MAX_GOALS + 5):
        one = Conversion(1, number)
        tally.add([receive(FULLSTACK, "goal", "A", "1", conversions=(one,))], SettingsFiles())
    assert tally.is_partial
    assert len(tally.campaigns[FULLSTACK, 1].variations[None].goals) == MAX_GOALS


def test_a_series_stays_short() -> None:
    """However long it runs, a series has its first and last point and few between, evenly spread."""
    series = Series()
    for second in range(10_000):
        if series.is_due(second):
            series.add(second, {(1, None): second, **({(2, None): 1} if second > 5_000 else {})})
    times = [point.at_s for point in series.points]
    assert MAX_POINTS / 2 <= len(times) <= MAX_POINTS
    assert times == sorted(times)
    assert times[0] <= series.step_s
    assert times[-1] > 10_000 - 2 * series.step_s
    assert {later - earlier for earlier, later in pairwise(times)} <= {
        series.step_s,
        series.step_s / 2,
    }
    assert [list(one.counts) for one in series.points[-1:]] == [[times[-1], 1]]


# Bounded and restarted collectors, over HTTP


@pytest.mark.anyio
async def test_bounded_ledger(wire: Any) -> None:
    """With a bound the newest events are kept, and totals and report are those of all events."""
    whole, bounded = Collector(wire.settings), Collector(wire.settings, max_events=3)
    for collector in (whole, bounded):
        async with serve(collector) as base_url, wire.client(base_url) as client:
            for number in range(6):
                await wire.track_user(u=f"{number:032X}").send(client)
                await wire.track_goal(goal=502, revenue="2.50", u=f"{number % 2:032X}").send(client)
                await wire.track_user(campaign=999).send(client)
    assert (len(whole.ledger), len(bounded.ledger)) == (12, 3)
    assert (len(whole.refused), len(bounded.refused)) == (6, 3)
    assert [one.visitor for one in bounded.ledger] == [one.visitor for one in whole.ledger][-3:]
    assert bounded.totals() == whole.totals()
    assert bounded.report() == whole.report()
    assert bounded.ledger.visitors == 1, "the ledger's own counts are about what it keeps"


@pytest.mark.parametrize("max_events", [0, -1, True, 1.5, "5"])
def test_a_bound_that_is_none(max_events: Any) -> None:
    """A bound that keeps nothing, or is no number, is refused."""
    with pytest.raises(ValueError, match="max_events: must be at least 1"):
        Collector(max_events=max_events)


async def read_all(client: httpx.AsyncClient) -> dict[str, Any]:
    found = {}
    for name in ("totals", "report", "results.json", "entries.json"):
        found[name] = (await client.get(f"/collector/{name}")).json()
    series = await client.get("/collector/series", params={"campaign": "fullstack/777001/41"})
    found["series"] = series.json()["columns"], series.json()["last"]
    return found


@pytest.mark.anyio
async def test_state_survives_a_restart(wire: Any, tmp_path: Path) -> None:
    """Counts, report, statistics, chart and entries are there again, and whoever was counted counts once."""
    path = tmp_path / "state.json"
    first = Collector(wire.settings, state_path=path)
    async with serve(first) as base_url, wire.client(base_url) as client:
        await wire.track_user().send(client)
        await wire.track_goal(goal=502, revenue="2.50").send(client)
        await wire.track_user(campaign=999).send(client)
        await wire.retrieval().send(client)
        before = await read_all(client)
    assert path.stat().st_mode & 0o777 == 0o600
    assert wire.key not in path.read_text()

    second = Collector(wire.settings, state_path=path)
    async with serve(second) as base_url, wire.client(base_url) as client:
        assert await read_all(client) == before
        await wire.track_user().send(client)
        await wire.track_goal(goal=502, revenue="2.50").send(client)
        after = await read_all(client)
    assert after["report"] == before["report"]
    assert after["totals"]["events"] == before["totals"]["events"] + 2
    numbers = [one["request_number"] for one in after["entries.json"]]
    assert numbers == sorted(set(numbers)), "request numbers go on"
    assert [one.name for one in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.anyio
async def test_reset_reaches_the_state(wire: Any, tmp_path: Path) -> None:
    """What was forgotten does not come back."""
    path = tmp_path / "state.json"
    first = Collector(wire.settings, state_path=path)
    async with serve(first) as base_url, wire.client(base_url) as client:
        await wire.track_user().send(client)
        await client.post("/collector/reset")
    second = Collector(wire.settings, state_path=path)
    async with serve(second):
        assert second.totals().events == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "[]",
        '{"version": 1, "entries": [], "last_entry": 0}',
        "vwo_async collector state 1 ",
        "vwo_async collector state 1 \n{}",
    ],
)
async def test_a_state_that_is_none(tmp_path: Path, content: str) -> None:
    """A file that no collector wrote is refused with one clear error, and stays as it is."""
    path = tmp_path / "state.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="state_path: the file is not one"):
        async with serve(Collector(state_path=path)):
            pass
    assert path.read_text() == content


@pytest.mark.anyio
async def test_a_state_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder that does not exist shows at the start."""
    with pytest.raises(FileNotFoundError):
        async with serve(Collector(state_path=tmp_path / "none" / "state.json")):
            pass


@pytest.mark.anyio
async def test_a_damaged_state(wire: Any, tmp_path: Path) -> None:
    """A state of which any part is missing or another is refused, and never half taken."""
    path = tmp_path / "state.json"
    collector = Collector(wire.settings, state_path=path)
    async with serve(collector) as base_url, wire.client(base_url) as client:
        await wire.shown().send(client)
        await wire.track_goal(goal=502, revenue="2.50").send(client)
    state = path.read_bytes()
    for at in range(0, len(state), 50):
        for damaged in (state[:at], state[:at] + bytes([state[at] ^ 1]) + state[at + 1 :]):
            path.write_bytes(damaged)
            fresh = Collector(wire.settings, state_path=path)
            with pytest.raises(ValueError, match="state_path"):
                async with serve(fresh):
                    pass
            assert fresh.totals().events == 0
