"""FME: each wrong field is refused by name, and nothing of the request is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from refused import check_accepted, check_body_refused, check_field_refused, check_place_refused

from vwo_async.collector import Collector, serve

if TYPE_CHECKING:
    import httpx

pytestmark = pytest.mark.anyio

OLD_S = 1_500_000_000
OLD_MS = OLD_S * 1000
PROPS = "d.event.props"
Case = tuple[str, object, str]

QUERY: list[Case] = [
    ("en", ..., "en: missing"),
    ("en", "another", "d.event.name: differs from en"),
    ("a", "1", "a: not the account"),
    ("a", ..., "a: missing"),
    ("env", "another", "env: not the SDK key"),
    ("env", ..., "env: missing"),
    ("eTime", str(OLD_MS), "eTime: more than"),
    ("eTime", str(OLD_S), "eTime: more than"),
    ("random", "1.0", "random: must be a number in [0, 1)"),
    ("p", "WEB", "p: must be FS"),
    ("sn", ..., "sn: missing"),
    ("sv", "", "sv: must not be empty"),
    ("sdk", "some-sdk", "sdk: not part of this request"),
    ("eb", "1", "eb: not part of this request"),
    ("visitor_ua", "Opera", "visitor_ua: differs from the body"),
    ("visitor_ua", "None", "visitor_ua: differs from the body"),
    ("visitor_ip", ..., "visitor_ip: missing"),
]
HEADERS: list[Case] = [
    ("X-Device-User-Agent", ..., "header x-device-user-agent: missing although"),
    ("X-Device-User-Agent", "Opera", "header x-device-user-agent: differs"),
    ("VWO-X-Forwarded-For", "10.0.0.2", "header vwo-x-forwarded-for: differs"),
]
BODY: list[Case] = [
    ("d", ..., "d: missing"),
    ("d", [], "d: must be an object"),
    ("ev", [], "ev: not part of this request"),
    ("d.more", {}, "d.field 8 of 8: not part"),
    ("d.msgId", ..., "d.msgId: missing"),
    ("d.msgId", "message", "d.msgId: must be the visitor's UUID"),
    ("d.msgId", f"{'F' * 32}-{OLD_MS}", "d.msgId: differs from visId"),
    ("d.msgId", f"0123456789ABCDEF0123456789ABCDEF-{OLD_MS}", "d.msgId: more than"),
    ("d.visId", "d" + "0" * 32, "d.visId: must be 32 upper-case"),
    ("d.visId", None, "d.visId: must be a text"),
    ("d.sessionId", "today", "d.sessionId: must be a whole number"),
    ("d.sessionId", ..., "d.sessionId: missing"),
    ("d.visitor_ua", 5, "d.visitor_ua: must be a text"),
    ("d.event.time", OLD_MS, "d.event.time: more than"),
    ("d.event.more", 1, "d.event.field 4 of 4"),
    (f"{PROPS}.vwo_sdkName", "", f"{PROPS}.vwo_sdkName: must not be empty"),
    (f"{PROPS}.vwo_sdkVersion", ..., f"{PROPS}.vwo_sdkVersion: missing"),
    (f"{PROPS}.vwo_envKey", "another", f"{PROPS}.vwo_envKey: not the SDK key"),
    ("d.visitor", ..., "d.visitor: missing"),
    ("d.visitor.more", 1, "d.visitor.field 2 of 2"),
    ("d.visitor.props.vwo_fs_environment", ..., "vwo_fs_environment: missing"),
    ("d.visitor.props.vwo_fs_environment", "another", "vwo_fs_environment: not the SDK key"),
]
SHOWN: list[Case] = [
    (f"{PROPS}.id", 999, f"{PROPS}.id: no campaign"),
    (f"{PROPS}.id", "2", f"{PROPS}.id: must be a whole number"),
    (f"{PROPS}.variation", 3, f"{PROPS}.variation: no variation"),
    (f"{PROPS}.variation", "3", f"{PROPS}.variation: no variation"),
    (f"{PROPS}.variation", "two", f"{PROPS}.variation: must be a whole number"),
    (f"{PROPS}.variation", True, f"{PROPS}.variation: must be a whole number"),
    (f"{PROPS}.isFirst", True, f"{PROPS}.isFirst: must be 1"),
    (f"{PROPS}.isCustomEvent", True, f"{PROPS}.isCustomEvent: not part"),
    (f"{PROPS}.fId", 1, f"{PROPS}.fId: must name the feature in the event of a holdout"),
]
HOLDOUT: list[Case] = [
    (f"{PROPS}.fId", ..., f"{PROPS}.fId: must name the feature"),
    (f"{PROPS}.fId", 99, f"{PROPS}.fId: no feature"),
    (f"{PROPS}.variation", 3, f"{PROPS}.variation: no variation"),
]
METRIC: list[Case] = [
    (f"{PROPS}.isCustomEvent", ..., f"{PROPS}.isCustomEvent: missing"),
    (f"{PROPS}.isCustomEvent", False, f"{PROPS}.isCustomEvent: must be true"),
    (f"{PROPS}.id", ..., f"{PROPS}.id: missing"),
    (f"{PROPS}.variation", ..., f"{PROPS}.variation: missing"),
    (f"{PROPS}.vwo_other", 1, f"{PROPS}.vwo_...: such a name is for VWO's SDKs alone"),
    (f"{PROPS}.revenue", "much", f"{PROPS}.<revenueProp>: must be numeric"),
    (f"{PROPS}.revenue", True, f"{PROPS}.<revenueProp>: must be numeric"),
    (f"{PROPS}.revenue", None, f"{PROPS}.<revenueProp>: must be numeric"),
    ("d.visitor.props.plan", "pro", "d.visitor.props.field 2 of 2"),
]
ATTRIBUTES: list[Case] = [
    (f"{PROPS}.isCustomEvent", False, f"{PROPS}.isCustomEvent: must be true"),
    (f"{PROPS}.vwo_fs_environment", ..., f"{PROPS}.vwo_fs_environment: missing"),
    (f"{PROPS}.more", 1, f"{PROPS}.field 6 of 6: not part"),
    ("d.visitor.props.plan", None, "d.visitor.props: values must be texts, numbers"),
    ("d.visitor.props.plan", ["pro"], "d.visitor.props: values must be texts, numbers"),
    ("d.visitor.props.plan", {"x": 1}, "d.visitor.props: values must be texts, numbers"),
]
STARTED: list[Case] = [
    (f"{PROPS}.product", "web", f"{PROPS}.product: must be fme"),
    (f"{PROPS}.data", ..., f"{PROPS}.data: missing"),
    (f"{PROPS}.data.isSDKInitialized", 1, f"{PROPS}.data.isSDKInitialized: must be true"),
    (f"{PROPS}.initConfig", {}, f"{PROPS}.field 7 of 7: not part"),
]
USED: list[Case] = [(f"{PROPS}.id", 1, f"{PROPS}.id: not part of this request")]
BATCH_QUERY: list[Case] = [
    ("a", "1", "a: not the account"),
    ("env", "another", "env: not the SDK key"),
    ("sn", ..., "sn: missing"),
    ("sv", "", "sv: must not be empty"),
    ("random", "0.5", "random: not part of this request"),
    ("sdk", "some-sdk", "sdk: not part of this request"),
]
BATCH_HEADERS: list[Case] = [
    ("Authorization", ..., "header authorization: missing"),
    ("Authorization", "another", "header authorization: not the SDK key"),
    ("X-Device-User-Agent", "Mozilla", "header x-device-user-agent: not part of a batch"),
]
# Items: an impression, a metric's event, attributes.
BATCH_BODY: list[Case] = [
    ("ev", ..., "ev: missing"),
    ("ev", [], "ev: must be a list of at least one event"),
    ("ev", {}, "ev: must be a list of at least one event"),
    ("more", 1, "field 2 of 2: not part"),
    ("ev.0", "text", "ev[0]: must be an object"),
    ("ev.0.more", 1, "ev[0].field 2 of 2"),
    ("ev.0.d", ..., "ev[0].d: missing"),
    ("ev.0.d.event.props.id", 999, "ev[0].d.event.props.id: no campaign"),
    ("ev.1.d.event.name", "another", "ev[1].d.event.name: no event that a metric"),
    ("ev.1.d.event.name", ..., "ev[1].d.event.name: missing"),
    ("ev.1.d.event.props.vwo_x", 1, "ev[1].d.event.props.vwo_...: such a name"),
    ("ev.2.d.visitor.props.plan", None, "ev[2].d.visitor.props: values must be"),
    ("ev.2.d.visitor.props", ..., "ev[2].d.visitor.props: missing"),
]
CASES = [
    (call, part, *case)
    for call, part, cases in [
        ("shown", "query", QUERY),
        ("shown", "headers", HEADERS),
        ("shown", "body", [*BODY, *SHOWN]),
        ("holdout", "body", HOLDOUT),
        ("metric", "query", QUERY),
        ("metric", "headers", HEADERS),
        ("metric", "body", [*BODY, *METRIC]),
        ("attributes", "query", QUERY),
        ("attributes", "body", [*BODY, *ATTRIBUTES]),
        ("started", "body", [*BODY, *STARTED]),
        ("used", "body", [*BODY, *USED]),
        ("batch", "query", BATCH_QUERY),
        ("batch", "headers", BATCH_HEADERS),
        ("batch", "body", BATCH_BODY),
    ]
    for case in cases
]
CALLS = ["shown", "holdout", "metric", "attributes", "started", "used", "batch"]


@pytest.mark.parametrize(("call", "part", "name", "value", "expected"), CASES)
async def test_wrong_field(
    fme: Any,
    fme_collector: Collector,
    fme_client: httpx.AsyncClient,
    *,
    call: str,
    part: str,
    name: str,
    value: object,
    expected: str,
) -> None:
    """A request with one wrong field is answered with 400 and the name of the field; no event is kept."""
    request = getattr(fme, call)()
    request.change(part, name, value)

    await check_field_refused(request, fme_collector, fme_client, expected=expected, key=fme.key)


@pytest.mark.parametrize("call", CALLS)
async def test_right_fields(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient, call: str
) -> None:
    """The same requests without a wrong field are accepted, even by strict rules."""
    await check_accepted(getattr(fme, call)(), fme_collector, fme_client)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"null", b"{", b'{"d":NaN}', b'{"d":1e400}'])
@pytest.mark.parametrize("call", ["metric", "batch"])
async def test_wrong_body(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient, call: str, body: bytes
) -> None:
    """A body that is not a JSON object is answered with 400."""
    await check_body_refused(getattr(fme, call)(), fme_collector, fme_client, body)


@pytest.mark.parametrize(
    ("method", "path", "status", "field"),
    [
        ("GET", "/server-side/batch-events-v2", 405, "method"),
        ("POST", "/server-side/v2-settings", 405, "method"),
        ("GET", "/server-side/v3-settings", 404, "path"),
        ("GET", "/eu01/server-side/v2-settings", 400, "path"),
        ("POST", "/eu01/server-side/batch-events-v2", 400, "path"),
        # What FullStack's SDKs call is not there for a file of FME.
        ("GET", "/server-side/track-user", 404, "path"),
        ("POST", "/server-side/batch-events", 404, "path"),
    ],
)
async def test_wrong_place(
    fme_collector: Collector,
    fme_client: httpx.AsyncClient,
    *,
    method: str,
    path: str,
    status: int,
    field: str,
) -> None:
    """Unknown paths, wrong methods and prefixes, and the other product's endpoints are refused."""
    await check_place_refused(fme_collector, fme_client, (method, path), status, field)


async def test_batch_is_all_or_nothing(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient
) -> None:
    """One wrong item refuses the whole batch, and the error has its number."""
    items = [fme.metric_item() for _ in range(100)]
    items[57]["d"]["visId"] = "nobody"

    answer = await fme.batch(*items).send(fme_client)

    assert answer.json()["error"].startswith("ev[57].d.visId: must be 32 upper-case")
    assert len(fme_collector.ledger) == 0


async def test_the_prefix_is_the_files(fme: Any) -> None:
    """Events come under the prefix of the settings file, and requests for the file without it."""
    collector = Collector({**fme.settings, "collectionPrefix": "eu01"})
    calls = [fme.metric(), fme.batch(), fme.metric(), fme.retrieval()]
    for call in calls[1:3]:
        call.path = "/eu01" + call.path
    async with serve(collector) as base_url, fme.client(base_url) as client:
        statuses = [(await call.send(client)).status_code for call in calls]

    assert statuses == [400, 200, 200, 200]


@pytest.mark.parametrize(
    ("call", "part", "name", "value"),
    [
        ("metric", "query", "extra", "1"),
        ("metric", "query", "visitor_ua", "Opera"),
        ("metric", "headers", "X-Device-User-Agent", "Opera"),
        ("metric", "body", f"{PROPS}.vwo_other", 1),
        ("metric", "body", f"{PROPS}.revenue", "much"),
        ("shown", "body", "d.event.time", OLD_MS),
        ("attributes", "body", "d.visitor.props.plan", None),
        ("batch", "headers", "X-Device-User-Agent", "Mozilla"),
        ("batch", "body", "ev", []),
    ],
)
async def test_loose_rules(fme: Any, call: str, part: str, name: str, value: object) -> None:
    """With loose rules the right facts are accepted in a looser form."""
    collector = Collector(fme.settings, strict=False)
    request = getattr(fme, call)()
    request.change(part, name, value)
    async with serve(collector) as base_url, fme.client(base_url) as client:
        answer = await request.send(client)

    assert (answer.status_code, collector.refused) == (200, ())


async def test_without_settings(fme: Any) -> None:
    """Without a settings file only forms are checked: campaigns and names of events may be any."""
    collector = Collector()
    wrong_key = fme.batch()
    wrong_key.headers["Authorization"] = "another"
    calls = [wrong_key, fme.shown(9001, 17), fme.metric("anything", price=5), fme.used()]
    async with serve(collector) as base_url, fme.client(base_url) as client:
        statuses = [(await call.send(client)).status_code for call in calls]
        nothing = await fme.retrieval().send(client)

    assert statuses == [400, 200, 200, 200]
    assert nothing.status_code == 404
    assert collector.totals().unique_conversions == 1
    assert [campaign.campaign_id for campaign in collector.report().campaigns] == [9001]


async def test_reasons_hide_values(
    fme: Any, fme_collector: Collector, fme_client: httpx.AsyncClient
) -> None:
    """No reason holds the SDK key or a user id, whatever field an SDK puts it in by mistake."""
    for secret in ("alice@example.org", fme.key):
        for name in ("d.visId", "d.msgId", "d.sessionId", "d.event.name", f"{PROPS}.id"):
            request = fme.shown()
            request.change("body", name, secret)
            await request.send(fme_client)
        for owner in ("d.event.props", "d.event", "d.visitor", "d"):
            request = fme.shown()
            request.change("body", f"{owner}.{secret.replace('.', '_')}", 1)
            await request.send(fme_client)
        for name in ("a", "random", "en", "p", "sn" * 20):
            request = fme.shown()
            request.change("query", name, secret)
            await request.send(fme_client)
        vwo = fme.metric()
        vwo.change("body", f"{PROPS}.vwo_{secret.replace('.', '_')}", 1)
        await vwo.send(fme_client)

    assert len(fme_collector.refused) == 30
    shown = repr(fme_collector.refused) + repr(fme_collector)
    assert "alice" not in shown
    assert fme.key not in shown
