"""How events lie in a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client, settings

from vwo_async._delivery.event import Event
from vwo_async._delivery.request import Account
from vwo_async._fleet import entry as entry_module
from vwo_async._fleet.entry import EntryReader, NewerLayoutError, dump_entries
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio


FACTS = {
    "product": "fullstack",
    "account_id": 1,
    "collection_prefix": "",
    "sdk_name": "",
    "sdk_version": "",
    "usage": {},
}


def make_account(**changes: Any) -> Account:
    given: dict[str, Any] = {
        "account_id": 12,
        "sdk_key": "a key that nobody sees",
        "collection_prefix": "eu01",
        "sdk_name": "sdk",
        "sdk_version": "1.2",
        "usage": {"ig": 1},
    }
    return Account(**{**given, **changes})


async def make_events() -> list[Event]:
    """Return events of each kind that the product has."""
    client = make_client(
        settings(), transport=RecordingTransport(), batch_events={"events_per_request": 100}
    )
    async with client:
        await client.track("checkout", "Ashley", "purchase", revenue_value=12.5)
        await client.activate("checkout", "Bill", user_agent="Mozilla", user_ip_address="10.0.0.1")
        await client.push({"plan": "pro"}, "Chris")
        return list(client._engine.reporter.queue.list_pending())


@BOTH_PRODUCTS
async def test_events_come_back_with_the_same_bytes() -> None:
    """What a relay sends is what the pod would have sent, and the entry tells neither key nor user."""
    events = await make_events()
    assert len(events) >= 3
    for event in events:
        (payload,) = dump_entries([event], [1_700_000_000.5], [7], "channel")
        key = event.account.sdk_key
        assert key is not None
        assert key.encode() not in payload
        assert not any(one.encode() in payload for one in ("Ashley", "Bill", "Chris"))
        entry = EntryReader(key).read(payload)
        assert (entry.wall_s, entry.reply_to, entry.reply_id) == (1_700_000_000.5, "channel", 7)
        assert entry.event.render_item() == event.render_item()
        ours, theirs = entry.event.render(), event.render()
        assert (ours.method, ours.target, ours.headers, ours.body) == (
            theirs.method,
            theirs.target,
            theirs.headers,
            theirs.body,
        )


@BOTH_PRODUCTS
async def test_events_of_a_stream_share_requests() -> None:
    """Entries of one settings file come back in the name of one account, so that a request carries many."""
    events = await make_events()
    payloads = dump_entries(events, [0.0] * len(events), None, "")
    reader = EntryReader(events[0].account.sdk_key)
    assert len({id(reader.read(one).event.account) for one in payloads}) == 1


@BOTH_PRODUCTS
async def test_what_a_later_version_added_is_skipped() -> None:
    """A newer pod may say more of an event; an older relay delivers it all the same."""
    (event, *_) = await make_events()
    data = json.loads(dump_entries([event], [1.0], None, "")[0])
    data["note"] = {"new": True}
    data["event"]["colour"] = "blue"
    data["for"]["region"] = "eu"
    entry = EntryReader(event.account.sdk_key).read(json.dumps(data).encode())
    assert entry.event.render_item() == event.render_item()


async def test_a_newer_layout_is_left_to_newer_relays(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that this version could not deliver rightly is neither delivered nor thrown away."""
    (event, *_) = await make_events()
    monkeypatch.setattr(entry_module, "LAYOUT", 2)
    (payload,) = dump_entries([event], [1.0], None, "")
    assert (
        EntryReader(event.account.sdk_key).read(payload).event.render_item() == event.render_item()
    )
    monkeypatch.undo()
    with pytest.raises(NewerLayoutError):
        EntryReader(event.account.sdk_key).read(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"v":"1"}',
        b'{"v":true}',
        b'{"v":1}',
        b'{"v":1,"for":{},"event":{}}',
        b'{"v":1,"for":[],"event":{},"at":1}',
        b'{"v":1,"for":{"product":"fullstack"},"event":{},"at":1}',
        b'{"v":1,"for":{"product":["fme"]},"event":{},"at":1}',
        json.dumps({"v": 1, "for": dict(FACTS), "event": {"kind": "unheard of"}, "at": 1}).encode(),
    ],
)
def test_what_is_no_entry(payload: bytes) -> None:
    """Anything may stand in a stream: it is a ValueError, whatever is wrong with it."""
    with pytest.raises(ValueError):  # noqa: PT011 - its text is for nobody
        EntryReader("key").read(payload)


def test_facts_make_the_account_again() -> None:
    """What an entry says of its account makes the same requests, with the key of the relay."""
    account = make_account()
    again = entry_module.make_account(json.loads(json.dumps(account.facts)), account.sdk_key)
    assert again.batch_target == account.batch_target
    assert again.query == account.query
    assert again.name_visitor(b"Ashley") == account.name_visitor(b"Ashley")
    assert "nobody" not in json.dumps(account.facts)
