"""Handing out the settings file."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from vwo_async.collector import Collector, serve

SOURCE = b'{ "accountId":777001,\n"sdkKey":"k3yk3yk3yk3yk3yk3yk3yk3yk3yk3yk3","campaigns":{} }\n'


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/server-side/settings", "/server-side/pull"])
async def test_bytes_are_kept(wire: Any, path: str) -> None:
    """Both endpoints return the file byte for byte, as JSON."""
    collector = Collector(SOURCE)
    async with serve(collector) as base_url, wire.client(base_url) as client:
        request = wire.retrieval(path)
        request.query["api-version"] = "1"
        answer = await request.send(client)

    assert (answer.status_code, answer.content) == (200, SOURCE)
    assert answer.headers["content-type"] == "application/json"
    assert collector.totals().settings == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "value", "status", "reason"),
    [
        ("a", "1", 401, "a: not the account"),
        ("i", "another", 401, "i: not the SDK key"),
        ("a", ..., 400, "a: missing"),
        ("a", "", 400, "a: must not be empty"),
        ("i", ..., 400, "i: missing"),
        ("r", ..., 400, "r: missing"),
        ("platform", "browser", 400, "platform: must be server"),
        ("sdk", ..., 400, "sdk: missing"),
        ("sdk-v", "", 400, "sdk-v: must not be empty"),
        ("extra", "1", 400, "not part of this request"),
    ],
)
async def test_wrong_parameter(
    wire: Any,
    collector: Collector,
    client: httpx.AsyncClient,
    *,
    name: str,
    value: object,
    status: int,
    reason: str,
) -> None:
    """The file is not given to another account or key, or for an incomplete request."""
    request = wire.retrieval()
    request.change("query", name, value)

    answer = await request.send(client)

    assert answer.status_code == status
    assert reason in answer.json()["error"]
    assert len(collector.refused) == 1


def test_text_and_repr(wire: Any) -> None:
    """A settings file may be text too, and no repr holds the SDK key."""
    collector = Collector(SOURCE.decode())

    assert collector.report().campaigns == ()
    assert repr(collector.ledger) == "<Ledger events=0 unique_conversions=0 visitors=0>"
    assert wire.key not in repr(vars(collector)) + repr(vars(collector)["_inbox"].files)


@pytest.mark.anyio
async def test_nothing_to_hand_out(wire: Any) -> None:
    """A collector without a settings file answers with 404."""
    async with serve(Collector()) as base_url, wire.client(base_url) as client:
        answer = await wire.retrieval().send(client)

    assert answer.status_code == 404
    assert "no settings file" in answer.json()["error"]


@pytest.mark.parametrize(
    "settings",
    [
        b"",
        b"<html>",
        "[]",
        {},
        {"accountId": True},
        {"accountId": 1, "campaigns": "none"},
        {"accountId": 1, "campaigns": [[]]},
        {"accountId": 1, "campaigns": [{"key": "x"}]},
        {"accountId": 1, "campaigns": [{"id": "x"}]},
        {"accountId": 1, "campaigns": [{"id": 1, "goals": {"id": 2}}]},
    ],
)
def test_no_settings_file(settings: Any) -> None:
    """An invalid settings file is refused at once and never replaces a good one."""
    good = Collector(SOURCE)

    with pytest.raises(ValueError, match="settings"):
        Collector(settings)
    with pytest.raises(ValueError, match="settings"):
        good.set_settings(settings)

    assert good.report().as_dict() == {"campaigns": [], "events": []}


@pytest.mark.anyio
async def test_new_settings_rule_from_then_on(
    wire: Any, collector: Collector, client: httpx.AsyncClient
) -> None:
    """After set_settings, requests are checked against the new file."""
    changed = wire.settings
    changed["campaigns"][0]["id"] = "77"
    changed["collectionPrefix"] = "eu01"

    before = await wire.track_user(41).send(client)
    collector.set_settings(changed)
    old = await wire.track_user(41).send(client)
    new = wire.track_user(77)
    new.path = "/eu01" + new.path
    after = await new.send(client)

    assert [before.status_code, old.status_code, after.status_code] == [200, 400, 200]
