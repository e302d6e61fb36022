"""What of the synchronous clients needs no server: settings, opting out, handles, pickles, late events."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chosen_product import CHOSEN, FME, FULLSTACK
from chosen_product import settings as product_settings
from port import find_free_port
from sample import ACCOUNT, settings

import vwo_async
import vwo_async.sync
from vwo_async import FMESettingsSource, InvalidInputError, SettingsSource
from vwo_async.testing import RecordingTransport


@pytest.fixture(params=[FULLSTACK, FME])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of each product, which sends to a list."""
    monkeypatch.setenv(CHOSEN, request.param)
    kind: Any = getattr(vwo_async.sync, {FULLSTACK: "VWOClient", FME: "FMEClient"}[request.param])
    with kind(product_settings(), transport=RecordingTransport()) as found:
        yield found


def decide(client: Any, user: str) -> Any:
    """Ask what has a falsy result for whoever opted out."""
    is_fme = isinstance(client, vwo_async.sync.FMEClient)
    return client.get_flag("checkout", user) if is_fme else client.activate("checkout", user)


def test_what_is_in_force_can_be_seen(client: Any) -> None:
    """The settings, and what of them is not used, are those of the async client."""
    assert client.settings.account_id == ACCOUNT
    assert client.settings_warnings == ()


def test_a_user_opts_out(client: Any) -> None:
    """Whoever opted out gets nothing until he opts in; an id that is none is refused."""
    assert decide(client, "Ashley")
    client.opt_out_user("Ashley")
    assert not decide(client, "Ashley")
    client.opt_in_user("Ashley")
    assert decide(client, "Ashley")
    for opt in (client.opt_out_user, client.opt_in_user):
        with pytest.raises(InvalidInputError):
            opt("")


def test_a_handle_explains(client: Any) -> None:
    """The handle of a user has also the methods that wait for the client's loop, and shows no user."""
    user = client.for_user("Ashley")
    assert str(user.explain("checkout")) == str(client.explain("checkout", "Ashley"))
    assert "Ashley" not in repr(user)


def test_a_client_cannot_be_pickled(client: Any) -> None:
    """A client has a thread, and says so where somebody would copy it into another process."""
    with pytest.raises(TypeError, match="a client cannot be pickled"):
        pickle.dumps(client)


def test_a_delivery_that_takes_too_long() -> None:
    """Waiting for a delivery ends in time with None: what becomes of it is not known."""

    class Deaf(RecordingTransport):
        async def send(self, request: Any) -> Any:
            await asyncio.sleep(3600)

    with vwo_async.sync.VWOClient(settings(), transport=Deaf(), close_timeout_s=0.1) as client:
        result = client.track("checkout", "Ashley", "signup")
        assert client.wait_for(result.delivery, timeout_s=0.05) is None


@pytest.mark.parametrize(
    ("kind", "product", "name"),
    [(SettingsSource, FULLSTACK, "Settings"), (FMESettingsSource, FME, "FMESettings")],
)
def test_settings_of_a_source(
    kind: Any, product: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source of either product is loaded without a loop: where VWO is down, the last good file."""
    monkeypatch.setenv(CHOSEN, product)
    file = {**product_settings(), "sdkKey": "0123456789abcdef0123456789abcdef"}
    url = f"http://127.0.0.1:{find_free_port()}"
    source = kind(ACCOUNT, file["sdkKey"], base_url=url)
    with pytest.raises(vwo_async.DeliveryError):
        vwo_async.sync.load_settings(source)
    empty = vwo_async.sync.load_settings(source, or_empty=True)
    assert type(empty).__name__ == name
    assert json.loads(json.dumps(empty.account_id)) == ACCOUNT
