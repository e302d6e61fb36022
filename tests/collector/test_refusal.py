"""Each wrong field is refused by name, and nothing of the request is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from refused import check_accepted, check_body_refused, check_field_refused, check_place_refused

from vwo_async.collector import Collector, serve

if TYPE_CHECKING:
    import httpx

DEEP = "[" * 100_000 + "]" * 100_000
OLD_S = 1_500_000_000
OLD_MS = OLD_S * 1000
SURROGATE = '{"u":{"plan":"\\ud800"}}'

SINGLE: list[tuple[str, object, str]] = [
    ("u", ..., "u: missing"),
    ("u", "0123456789abcdef0123456789abcdef", "u: must be 32 upper-case"),
    ("u", "0123", "u: must be 32 upper-case"),
    ("sId", ..., "sId: missing"),
    ("sId", "soon", "sId: must be a whole number"),
    ("sId", "1.5", "sId: must be a whole number"),
    ("sId", "²", "sId: must be a whole number"),
    ("sId", str(OLD_S), "sId: more than 172800 s from now"),
    ("sdk", "", "sdk: must not be empty"),
    ("sdk-v", ..., "sdk-v: missing"),
    ("env", "another", "env: not the SDK key"),
    ("env", ..., "env: missing"),
    ("account_id", "1", "account_id: not the account"),
    ("account_id", ..., "account_id: missing"),
    ("random", ..., "random: missing"),
    ("random", "1.0", "random: must be a number in [0, 1)"),
    ("random", "-0.1", "random: must be a number in [0, 1)"),
    ("random", "nan", "random: must be a number in [0, 1)"),
    ("ap", "browser", "ap: must be server"),
    ("extra", "1", "field "),
]

VISITOR: list[tuple[str, object, str]] = [
    ("visitor_ua", ..., "visitor_ua: missing"),
    ("visitor_ip", ..., "visitor_ip: missing"),
    ("visitor_ua", "Mozilla", "header x-device-user-agent: missing although"),
    ("visitor_ip", "10.0.0.1", "header vwo-x-forwarded-for: missing although"),
]

CAMPAIGN: list[tuple[str, object, str]] = [
    ("experiment_id", ..., "experiment_id: missing"),
    ("experiment_id", "button", "experiment_id: must be a whole number"),
    ("experiment_id", "999", "experiment_id: no campaign"),
    ("combination", ..., "combination: missing"),
    ("combination", "3", "combination: no variation of this campaign"),
]

TRACK_USER = [
    *SINGLE,
    *VISITOR,
    *CAMPAIGN,
    ("ed", ..., "ed: missing"),
    ("ed", "{}", 'ed: must be {"p":"server"}'),
    ("ed", "p=server", "ed: must be JSON"),
    ("goal_id", "501", "goal_id: not part of this request"),
    ("eb", "1", "_l: missing"),
    ("eb", "0", "eb: must be a whole number above 0"),
    ("_l", "2", "_l: must be 1"),
]

TRACK_GOAL = [
    *SINGLE,
    *VISITOR,
    *CAMPAIGN,
    ("goal_id", ..., "goal_id: missing"),
    ("goal_id", "g_501", "goal_id: must be a whole number"),
    ("goal_id", "999", "goal_id: no goal of this campaign"),
    ("r", "10", "r: the goal is not a revenue goal"),
    ("ed", '{"p":"server"}', "ed: not part of this request"),
    ("_l", "1", "_l: not part of this request"),
]

PUSH = [
    *SINGLE,
    ("tags", ..., "tags: missing"),
    ("tags", "plan", "tags: must be JSON"),
    ("tags", "[]", "tags: must be an object"),
    ("tags", "{}", "tags.u: missing"),
    ("tags", '{"u":{}}', "tags.u: must not be empty"),
    ("tags", '{"u":{"plan":5}}', "tags.u: values must be text"),
    ("tags", '{"u":{"plan":"pro"},"v":1}', "tags.field 2 of 2"),
    ("tags", SURROGATE, "tags: must be JSON in UTF-8"),
    ("tags", '{"u":NaN}', "tags: must be JSON"),
    ("experiment_id", "41", "experiment_id: not part of this request"),
    ("visitor_ua", "Mozilla", "header x-device-user-agent: missing although"),
]

BATCH_QUERY: list[tuple[str, object, str]] = [
    ("a", "1", "a: not the account"),
    ("a", ..., "a: missing"),
    ("sdk", ..., "sdk: missing"),
    ("sdk-v", "", "sdk-v: must not be empty"),
    ("env", "another", "env: not the SDK key"),
    ("random", "0.5", "random: not part of this request"),
    ("ig", "1", "_l: missing"),
]

BATCH_HEADERS: list[tuple[str, object, str]] = [
    ("Authorization", ..., "header authorization: missing"),
    ("Authorization", "another", "header authorization: not the SDK key"),
    ("X-Device-User-Agent", "Mozilla", "header x-device-user-agent: not part of a batch"),
    ("VWO-X-Forwarded-For", "10.0.0.1", "header vwo-x-forwarded-for: not part of a batch"),
]

# Items: an impression, a conversion, a push.
BATCH_BODY: list[tuple[str, object, str]] = [
    ("ev", ..., "ev: missing"),
    ("ev", [], "ev: must be a list of at least one event"),
    ("ev", {}, "ev: must be a list of at least one event"),
    ("more", 1, "field 2 of 2: not part"),
    ("ev.0", "text", "ev[0]: must be an object"),
    ("ev.0.eT", ..., "ev[0].eT: missing"),
    ("ev.0.eT", 4, "ev[0].eT: must be 1, 2 or 3"),
    ("ev.0.eT", True, "ev[0].eT: must be a whole number"),
    ("ev.0.e", "41", "ev[0].e: must be a whole number"),
    ("ev.0.e", 41.0, "ev[0].e: must be a whole number"),
    ("ev.0.e", 999, "ev[0].e: no campaign"),
    ("ev.0.c", 3, "ev[0].c: no variation"),
    ("ev.0.c", ..., "ev[0].c: missing"),
    ("ev.0.sId", str(OLD_S), "ev[0].sId: must be a whole number"),
    ("ev.0.sId", OLD_S, "ev[0].sId: more than"),
    ("ev.0.u", "someone", "ev[0].u: must be 32 upper-case"),
    ("ev.0.u", 5, "ev[0].u: must be a text"),
    ("ev.0.visitor_ua", ..., "ev[0].visitor_ua: missing"),
    ("ev.0.visitor_ip", None, "ev[0].visitor_ip: must be a text"),
    ("ev.0.g", 501, "ev[0].g: not part of this request"),
    ("ev.1.g", ..., "ev[1].g: missing"),
    ("ev.1.g", 999, "ev[1].g: no goal"),
    ("ev.1.r", 5, "ev[1].r: the goal is not a revenue goal"),
    ("ev.1.t", "{}", "ev[1].t: not part of this request"),
    ("ev.2.t", ..., "ev[2].t: missing"),
    ("ev.2.t", {"u": {"plan": "pro"}}, "ev[2].t: must be a text"),
    ("ev.2.t", "%7B%22u%22", "ev[2].t: must be JSON"),
    ("ev.2.t", "%FF", "ev[2].t: must be percent-encoded UTF-8"),
    ("ev.2.t", '{"u":{"plan":true}}', "ev[2].t.u: values must be text"),
    ("ev.2.e", 41, "ev[2].e: not part of this request"),
]

EVENT_QUERY: list[tuple[str, object, str]] = [
    ("en", ..., "en: missing"),
    ("en", "another", "d.event.name: differs from en"),
    ("a", "1", "a: not the account"),
    ("env", "another", "env: not the SDK key"),
    ("eTime", str(OLD_MS), "eTime: more than"),
    ("eTime", str(OLD_S), "eTime: more than"),
    ("eTime", "now", "eTime: must be a whole number"),
    ("random", "2", "random: must be a number in [0, 1)"),
    ("p", "WEB", "p: must be FS"),
    ("visitor_ua", ..., "visitor_ua: missing"),
    ("visitor_ip", "10.0.0.1", "header vwo-x-forwarded-for: missing although"),
    ("sdk", "some-sdk", "sdk: not part of this request"),
]

EVENT_BODY: list[tuple[str, object, str]] = [
    ("d", ..., "d: missing"),
    ("d", [], "d: must be an object"),
    ("e", {}, "e: not part of this request"),
    ("d.e", {}, "d.e: not part of this request"),
    ("d.msgId", ..., "d.msgId: missing"),
    ("d.msgId", "message", "d.msgId: must be the visitor's UUID"),
    ("d.msgId", "F" * 32 + "-1500000000000", "d.msgId: differs from visId"),
    ("d.msgId", f"0123456789ABCDEF0123456789ABCDEF-{OLD_MS}", "d.msgId: more than"),
    ("d.visId", "visitor", "d.visId: must be 32 upper-case"),
    ("d.sessionId", "today", "d.sessionId: must be a whole number"),
    ("d.sessionId", OLD_S, "d.sessionId: more than"),
    ("d.event", ..., "d.event: missing"),
    ("d.event.name", "another", "d.event.name: differs from en"),
    ("d.event.time", OLD_MS, "d.event.time: more than"),
    ("d.event.time", 1.5, "d.event.time: must be a whole number"),
    ("d.event.more", 1, "d.event.field 4 of 4"),
    ("d.event.props", ..., "d.event.props: missing"),
    ("d.event.props.vwo_sdkName", "", "d.event.props.vwo_sdkName: must not be empty"),
    ("d.event.props.vwo_sdkVersion", ..., "d.event.props.vwo_sdkVersion: missing"),
    ("d.event.props.vwo_envKey", "another", "d.event.props.vwo_envKey: not the SDK key"),
    ("d.visitor", ..., "d.visitor: missing"),
    ("d.visitor.more", 1, "d.visitor.field 2 of 2"),
    ("d.visitor.props.vwo_fs_environment", ..., "vwo_fs_environment: missing"),
    ("d.visitor.props.vwo_fs_environment", "another", "vwo_fs_environment: not the SDK key"),
]

SHOWN_BODY = [
    *EVENT_BODY,
    ("d.event.props.id", "41", "d.event.props.id: must be a whole number"),
    ("d.event.props.id", 999, "d.event.props.id: no campaign"),
    ("d.event.props.variation", 3, "d.event.props.variation: no variation"),
    ("d.event.props.variation", ..., "d.event.props.variation: missing"),
    ("d.event.props.isFirst", 0, "d.event.props.isFirst: must be 1"),
    ("d.event.props.isFirst", True, "d.event.props.isFirst: must be 1"),
    ("d.event.props.isCustomEvent", True, "d.event.props.isCustomEvent: not part"),
    ("d.visitor.props.plan", "pro", "d.visitor.props.field 2 of 2"),
]

META = "d.event.props.vwoMeta"

GOAL_BODY = [
    *EVENT_BODY,
    ("d.event.props.isCustomEvent", ..., "d.event.props.isCustomEvent: missing"),
    ("d.event.props.isCustomEvent", 1, "d.event.props.isCustomEvent: must be true"),
    (META, ..., f"{META}: missing"),
    (f"{META}.metric", ..., f"{META}.metric: missing"),
    (f"{META}.metric", {}, f"{META}.metric: names no campaign"),
    (f"{META}.metric", {"41": ["g_501"]}, f"{META}.metric: must map"),
    (f"{META}.metric", {"id_41": "g_501"}, f"{META}.metric: must map"),
    (f"{META}.metric", {"id_41": []}, f"{META}.metric: must map"),
    (f"{META}.metric", {"id_41": [501]}, f"{META}.metric: must map"),
    (f"{META}.metric", {"id_41": ["501"]}, f"{META}.metric: must map"),
    (f"{META}.metric", {"id_999": ["g_501"]}, f"{META}.metric: no campaign"),
    (f"{META}.metric", {"id_42": ["g_502"]}, f"{META}.metric: no goal"),
    (f"{META}.metric", {"id_41": ["g_502"]}, "en: not the identifier of the goal"),
    (f"{META}.price", 5, f"{META}.<revenueProp>: not the revenueProp"),
    (f"{META}.price", "much", f"{META}.<revenueProp>: must be numeric"),
    ("d.visitor.props.plan", "pro", "d.visitor.props.field 2 of 2"),
]

SYNC_BODY: list[tuple[str, object, str]] = [
    ("d.event.props.isCustomEvent", False, "d.event.props.isCustomEvent: must be true"),
    ("d.event.props.vwoMeta", {}, "d.event.props.vwoMeta: not part of this request"),
    ("d.visitor.props.plan", ..., "d.visitor.props: has no custom dimension"),
    ("d.visitor.props.plan", 5, "d.visitor.props: values must be text"),
]

CASES = [
    (call, part, *case)
    for call, part, cases in [
        ("track_user", "query", TRACK_USER),
        ("track_goal", "query", TRACK_GOAL),
        ("push", "query", PUSH),
        ("batch", "query", BATCH_QUERY),
        ("batch", "headers", BATCH_HEADERS),
        ("batch", "body", BATCH_BODY),
        ("shown", "query", EVENT_QUERY),
        ("shown", "body", SHOWN_BODY),
        ("goal", "query", [*EVENT_QUERY, ("_l", "1", "_l: not part of this request")]),
        ("goal", "body", GOAL_BODY),
        ("sync", "query", EVENT_QUERY),
        ("sync", "body", SYNC_BODY),
    ]
    for case in cases
]


@pytest.mark.anyio
@pytest.mark.parametrize(("call", "part", "name", "value", "expected"), CASES)
async def test_wrong_field(
    wire: Any,
    collector: Collector,
    client: httpx.AsyncClient,
    *,
    call: str,
    part: str,
    name: str,
    value: object,
    expected: str,
) -> None:
    """A request with one wrong field is answered with 400 and the name of the field; no event is kept."""
    request = getattr(wire, call)()
    request.change(part, name, value)

    await check_field_refused(request, collector, client, expected=expected, key=wire.key)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "call", ["track_user", "track_goal", "push", "batch", "shown", "goal", "sync"]
)
async def test_right_fields(
    wire: Any, collector: Collector, client: httpx.AsyncClient, call: str
) -> None:
    """The same requests without a wrong field are accepted, even by strict rules."""
    await check_accepted(getattr(wire, call)(), collector, client)


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"null", b"{", DEEP.encode()])
@pytest.mark.parametrize("call", ["batch", "shown"])
async def test_wrong_body(
    wire: Any, collector: Collector, client: httpx.AsyncClient, call: str, body: bytes
) -> None:
    """A body that is not a JSON object is answered with 400, however deep or damaged it is."""
    await check_body_refused(getattr(wire, call)(), collector, client, body)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "status", "field"),
    [
        ("POST", "/server-side/track-user", 405, "method"),
        ("GET", "/server-side/batch-events", 405, "method"),
        ("GET", "/events/t", 405, "method"),
        ("DELETE", "/server-side/settings", 405, "method"),
        ("GET", "/server-side/track-users", 404, "path"),
        ("POST", "/", 404, "path"),
        ("GET", "/index.html", 404, "path"),
        ("GET", "/eu01/server-side/track-user", 400, "path"),
        ("GET", "/eu01/server-side/settings", 400, "path"),
    ],
)
async def test_wrong_place(
    collector: Collector,
    client: httpx.AsyncClient,
    *,
    method: str,
    path: str,
    status: int,
    field: str,
) -> None:
    """Unknown paths, wrong methods and wrong prefixes are refused and recorded."""
    await check_place_refused(collector, client, (method, path), status, field)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (b"u=%FF", "query: must be percent-encoded UTF-8"),
        (b"u=1&u=2", "query: a parameter comes twice"),
        (b"&".join(b"p%d=1" % n for n in range(70)), "query: must be percent-encoded UTF-8"),
    ],
)
async def test_wrong_query(client: httpx.AsyncClient, query: bytes, reason: str) -> None:
    """A query that is ambiguous or badly encoded is refused as a whole."""
    answer = await client.get("/server-side/track-user?" + query.decode())

    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@pytest.mark.anyio
async def test_reasons_hide_values(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """No reason holds the SDK key or a user id, whatever field an SDK puts it in by mistake."""
    secret = "alice@example.org"
    for name in ("u", "sId", "env", "account_id", "random", "ap", "ed", "experiment_id", "r"):
        for value in (secret, wire.key):
            request = wire.track_user()
            request.change("query", name, value)
            await request.send(client)
    for name in (secret, wire.key, f"{secret} {wire.key}"):
        for request in (wire.track_user(), wire.batch(), wire.shown(), wire.push()):
            request.change("query", name, secret)
            await request.send(client)
        item = wire.batch({**wire.user_item(), name: 1})
        await item.send(client)
        await client.get(f"/{name}/elsewhere")

    assert len(collector.refused) >= 30
    shown = repr(collector.refused) + repr(collector)
    assert secret not in shown
    assert wire.key not in shown


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("agent", "header", "status"),
    [
        (b"Mozilla/5.0 (X11; \xc3\xa9)".decode(), b"Mozilla/5.0 (X11; \xe9)", 200),
        (b"Mozilla/5.0 (X11; \xc3\xa9)".decode(), b"Mozilla%2F5.0%20(X11%3B%20%C3%A9)", 200),
        (" Mozilla ", b"Mozilla", 200),
        ("", None, 200),
        ("Mozilla", b"Opera", 400),
        ("Mozilla", None, 400),
        ("", b"Mozilla", 400),
        ("", b"", 400),
    ],
)
async def test_agent_header(
    wire: Any,
    collector: Collector,
    client: httpx.AsyncClient,
    *,
    agent: str,
    header: bytes | None,
    status: int,
) -> None:
    """The header repeats visitor_ua, raw or percent-encoded, exactly if that is not empty."""
    for request in (wire.track_user(), wire.track_goal(), wire.shown(), wire.goal()):
        request.change("query", "visitor_ua", agent)
        if header is not None:
            request.headers["X-Device-User-Agent"] = header
        assert (await request.send(client)).status_code == status
    assert all(event.user_agent == agent for event in collector.ledger)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("revenue", "status"),
    [
        ("10", 200),
        ("99.90", 200),
        ("-5", 200),
        ("1e3", 200),
        ("", 400),
        ("abc", 400),
        ("inf", 400),
        ("nan", 400),
        ("1_000", 400),
        ("12,5", 400),
    ],
)
async def test_revenue_text(
    wire: Any, client: httpx.AsyncClient, revenue: str, status: int
) -> None:
    """Revenue is numeric text, on the query and within a batch."""
    single = await wire.track_goal(goal=502, revenue=revenue).send(client)
    batch = await wire.batch(wire.goal_item(502, r=revenue)).send(client)

    assert (single.status_code, batch.status_code) == (status, status)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("call", "part", "name", "value"),
    [
        ("track_user", "query", "extra", "1"),
        ("track_user", "query", "visitor_ua", "Mozilla"),
        ("track_user", "query", "sId", str(OLD_S)),
        ("track_user", "query", "eb", "1"),
        ("push", "query", "tags", '{"u":{"plan":5}}'),
        ("batch", "headers", "X-Device-User-Agent", "Mozilla"),
        ("shown", "body", "d.more", 1),
        ("goal", "body", f"{META}.price", 5),
        ("sync", "body", "d.visitor.props.plan", 5),
    ],
)
async def test_loose_rules(wire: Any, call: str, part: str, name: str, value: object) -> None:
    """With loose rules the right facts are accepted in a looser form."""
    collector = Collector(wire.settings, strict=False)
    request = getattr(wire, call)()
    request.change(part, name, value)
    async with serve(collector) as base_url, wire.client(base_url) as client:
        answer = await request.send(client)

    assert (answer.status_code, collector.refused) == (200, ())


@pytest.mark.anyio
async def test_short_names_in_batches(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """A batch may name sdk and sdk-v sd and sv, as two official SDKs do, but not mix both."""
    request, mixed = wire.batch(), wire.batch()
    for call in (request, mixed):
        call.query["sd"] = call.query.pop("sdk")
    request.query["sv"] = request.query.pop("sdk-v")

    statuses = [(await call.send(client)).status_code for call in (request, mixed)]

    assert statuses == [200, 400]
    assert collector.refused[0].reason == "sdk-v: not part of this request"


@pytest.mark.anyio
async def test_without_settings(wire: Any) -> None:
    """Without a settings file only forms are checked; ids, account and prefix may be any."""
    collector = Collector()
    wrong_key = wire.batch()
    wrong_key.headers["Authorization"] = "another"
    prefixed = wire.track_user(campaign=9001, variation=17)
    prefixed.path = "/eu01" + prefixed.path
    strange = wire.track_user()
    strange.path = "/eu.01" + strange.path
    priced = wire.goal("anything", {"id_9001": ["g_5"]})
    priced.change("body", f"{META}.price", 12.5)
    async with serve(collector) as base_url, wire.client(base_url) as client:
        statuses = [
            (await call.send(client)).status_code for call in (wrong_key, prefixed, strange, priced)
        ]

    assert statuses == [400, 200, 400, 200]
    assert str(collector.ledger[1].revenue) == "12.5"
    assert [campaign.campaign_id for campaign in collector.report().campaigns] == [9001]
