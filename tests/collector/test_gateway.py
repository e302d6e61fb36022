"""The collector as VWO's gateway service: places, browsers, lists, aliases, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from plain_http import NO_AUTHORITIES

from vwo_async import FMEClient, FMEUser, Reason, fetch_fme_settings
from vwo_async.collector import Collector, GatewayData, serve

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

KEY, ACCOUNT = "5ecre7", 888888
KNOWN = GatewayData(
    lists={"L1": ["gold & silver", "u7"]},
    locations={"1.2.3.4": {"country": "India", "region": "Delhi", "city": "New Delhi"}},
    user_agents={"Mozilla/5.0 (é)": {"os": "Linux", "browser_string": "Firefox"}},
    aliases={"anna@x": "u1"},
)
SEGMENTS: dict[str, dict[str, Any]] = {
    "place": {"and": [{"country": "India"}]},
    "browser": {"or": [{"os": "Linux"}]},
    "list": {"custom_variable": {"plan": "inlist(L1)"}},
    "all": {},
}


def make_file() -> dict[str, Any]:
    """Return a file with a feature for each of `SEGMENTS`, and a prefix, which a gateway does not see."""
    numbered = list(enumerate(SEGMENTS.items(), start=1))
    campaigns = [
        {
            "id": number,
            "key": key,
            "name": key,
            "type": "FLAG_TESTING",
            "status": "RUNNING",
            "percentTraffic": 100,
            "segments": segments,
            "variations": [{"id": 1, "name": "on", "weight": 100, "variables": []}],
        }
        for number, (key, segments) in numbered
    ]
    features = [
        {
            "id": number,
            "key": key,
            "name": key,
            "type": "FEATURE_FLAG",
            "status": "ON",
            "metrics": [{"id": 1, "identifier": "purchase", "type": "CUSTOM_GOAL"}],
            "impactCampaign": {},
            "rules": [{"type": "FLAG_TESTING", "ruleKey": "r", "campaignId": number}],
        }
        for number, (key, _) in numbered
    ]
    named = {"version": 1, "accountId": ACCOUNT, "sdkKey": KEY, "collectionPrefix": "eu01"}
    return {**named, "features": features, "campaigns": campaigns}


async def test_a_client_asks_the_collector() -> None:
    """Places, browsers, lists and aliases decide as with a gateway, and each event arrives as it takes them."""
    collector = Collector(make_file(), gateway=KNOWN)
    async with serve(collector) as base_url:
        service: Any = {"url": base_url}
        settings = await fetch_fme_settings(ACCOUNT, KEY, gateway_service=service)
        async with FMEClient(settings, gateway_service=service, is_aliasing_enabled=True) as client:
            user = FMEUser(
                "anna@x",
                ip_address="1.2.3.4",
                user_agent="Mozilla/5.0 (é)",
                custom_variables={"plan": "gold & silver"},
            )
            flags = await client.get_flags(user)
            assert [bool(one) for one in flags.values()] == [True] * 4
            stranger = FMEUser("u2", ip_address="9.9.9.9", custom_variables={"plan": "none"})
            flags = await client.get_flags(stranger)
            assert [bool(one) for one in flags.values()] == [False, False, False, True]
            assert not any(one.notes for one in flags.values())
            assert await client.get_flag("all", user)
            assert await client.track_event("purchase", "u1")
            assert await client.track_event("purchase", "anna@x")
            assert await client.set_alias("u1", "anne")
            assert await client.track_event("purchase", "anne")
            assert await client.flush_events()
    assert collector.refused == ()
    purchase = collector.report().event("purchase")
    assert (purchase.visitors, purchase.conversions) == (1, 1)
    totals = collector.totals()
    assert totals.looked_up >= 8
    assert totals.requests == totals.settings + totals.accepted + totals.looked_up
    collector.reset()
    assert collector.totals().looked_up == 0


async def test_aliases_that_were_set_are_forgotten_with_a_reset() -> None:
    """Those it was given stay."""
    collector = Collector(make_file(), gateway=KNOWN)
    async with (
        serve(collector) as base_url,
        httpx.AsyncClient(base_url=base_url, verify=NO_AUTHORITIES) as client,
    ):
        await client.send(set_alias(client, "u2", "bill"))
        for expected in (["u1", "u2"], ["u1"]):
            found = (await ask(client, FIND, userId='["anna@x","bill"]')).json()
            assert [one["userId"] for one in found] == expected
            collector.reset()


FIND, DETAILS, LISTED = "/user-alias/getAliasUserId", "/get-user-details", "/check-attribute"
NAMED = {"accountId": str(ACCOUNT), "sdkKey": KEY}


async def ask(client: httpx.AsyncClient, path: str, **query: str) -> httpx.Response:
    return await client.get(path, params={**NAMED, **query})


def set_alias(client: httpx.AsyncClient, user_id: str, alias: str, **body: str) -> httpx.Request:
    ids = {"userId": user_id, "aliasId": alias}
    return client.build_request(
        "POST", "/user-alias/setUserAlias", params={**NAMED, **ids}, json={**ids, **body}
    )


WRONG: list[tuple[str, dict[str, str], str]] = [
    (FIND, {"accountId": "1", "userId": '["a"]'}, "accountId: not the account"),
    (FIND, {"sdkKey": "other", "userId": '["a"]'}, "sdkKey: not the SDK key"),
    (FIND, {}, "userId: missing"),
    (FIND, {"userId": "a"}, "userId: must be JSON"),
    (FIND, {"userId": '"a"'}, "userId: must be a JSON list"),
    (FIND, {"userId": '[""]'}, "userId: must be a JSON list"),
    (FIND, {"userId": '["a"]', "aliasId": "b"}, "aliasId: not part of this request"),
    (LISTED, {"listId": "L1"}, "attribute: missing"),
    (LISTED, {"attribute": "x", "listId": ""}, "listId: must not be empty"),
    (LISTED, {"attribute": "x", "listId": "L1", "accountId": "1"}, "accountId: not the account"),
    (DETAILS, {"ipAddress": "1.2.3.4"}, "sdkKey: not part of this request"),
]


@pytest.mark.parametrize(("path", "query", "reason"), WRONG)
async def test_wrong_questions(path: str, query: dict[str, str], reason: str) -> None:
    """Each wrong field is refused by name, and nothing of its value is kept."""
    collector = Collector(make_file(), gateway=KNOWN)
    async with (
        serve(collector) as base_url,
        httpx.AsyncClient(base_url=base_url, verify=NO_AUTHORITIES) as client,
    ):
        answer = await ask(client, path, **query)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(reason)
        assert collector.totals().refused == 1


async def test_other_wrong_requests() -> None:
    """Methods, bodies that say something else, batches, prefixes, and questions about nothing."""
    collector = Collector(make_file(), gateway=KNOWN)
    async with (
        serve(collector) as base_url,
        httpx.AsyncClient(base_url=base_url, verify=NO_AUTHORITIES) as client,
    ):
        assert (await client.post(DETAILS)).status_code == 405
        assert (await client.get(f"/eu01{DETAILS}?ipAddress=1.2.3.4")).status_code == 404
        assert (await client.get(DETAILS)).status_code == 400
        assert (await client.get(f"{DETAILS}?ipAddress=&userAgent=")).status_code == 400
        assert (await client.get(f"{DETAILS}?ipAddress=8.8.8.8")).json() == {}
        for wrong in (
            set_alias(client, "u1", "u1"),
            set_alias(client, "u1", "a", userId="u2"),
            set_alias(client, "u1", "a", more="x"),
        ):
            assert (await client.send(wrong)).status_code == 400
        # As a client would that knows of no gateway.
        async with FMEClient(make_file(), base_url=base_url) as direct:
            result = await direct.track_event("purchase", "u1", wait=True)
            assert not result
        assert "without collectionPrefix" in collector.refused[-1].reason


async def test_without_a_gateway() -> None:
    """A collector that was given none has no such paths: the client notes it and decides without."""
    collector = Collector(make_file())
    async with serve(collector) as base_url:
        service: Any = {"url": base_url}
        async with FMEClient(make_file(), gateway_service=service, close_timeout_s=0.1) as client:
            flag = await client.get_flag("place", FMEUser("u1", ip_address="1.2.3.4"))
            assert (bool(flag), flag.reason, len(flag.notes)) == (False, Reason.NOT_IN_SEGMENT, 1)
    assert collector.refused[-1].reason == "path: no endpoint of VWO's servers"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"list": {}}',
        '{"lists": []}',
        '{"lists": {"L1": "abc"}}',
        '{"aliases": {"a": 3}}',
    ],
)
def test_a_bad_file(text: str) -> None:
    """What is no such file is refused by name."""
    with pytest.raises(ValueError, match=r"^gateway: "):
        GatewayData.read(text)
    assert repr(KNOWN) == "<GatewayData lists=1 aliases=1>"


def test_as_a_process(tmp_path: Path) -> None:
    """``--gateway`` takes the same as JSON."""
    settings, gateway = tmp_path / "settings.json", tmp_path / "gateway.json"
    settings.write_text(json.dumps(make_file()))
    gateway.write_text(json.dumps({"lists": {"L1": ["gold"]}}))
    command = [sys.executable, "-m", "vwo_async.collector", "--settings", str(settings)]
    with subprocess.Popen(
        [*command, "--gateway", str(gateway)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            query = {"accountId": str(ACCOUNT), "attribute": "gold", "listId": "L1"}
            assert httpx.get(f"{url}{LISTED}", params=query, verify=NO_AUTHORITIES).json() is True
        finally:
            process.terminate()
