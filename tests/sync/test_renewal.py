"""What the options of a client become in the child of a process in which it was open."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from vwo_async._sync.renewal import renew_options
from vwo_async.outbox import SqliteOutbox
from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.testing import RecordingTransport


def test_what_can_make_another_like_itself_does(tmp_path: Path) -> None:
    """Storages and outboxes of the package are made anew, so that no connection or file is shared."""
    storage = RedisUserStorage.from_url("redis://127.0.0.1:9", prefix="shop")
    outbox = SqliteOutbox(tmp_path / "outbox.db")
    found = renew_options({"user_storage": storage, "outbox": outbox, "workers": 2})
    assert found["workers"] == 2
    for name, before in (("user_storage", storage), ("outbox", outbox)):
        assert type(found[name]) is type(before)
        assert found[name] is not before
    for one in (storage, found["user_storage"]):
        asyncio.run(one.aclose())


def test_what_holds_nothing_stays(caplog: pytest.LogCaptureFixture) -> None:
    """What need not be closed is used as it is, without a word."""
    storage, consent = MemoryUserStorage(), object()
    found = renew_options({"user_storage": storage, "consent": consent})
    assert found == {"user_storage": storage, "consent": consent}
    assert not caplog.messages


def test_what_cannot_be_made_anew_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """What would have to be closed and cannot make another is used as it is, and the log says which it is."""
    transport = RecordingTransport()
    assert renew_options({"transport": transport}) == {"transport": transport}
    (line,) = caplog.messages
    assert "transport is used as it was in the parent process" in line


@pytest.mark.parametrize("value", [None, "aiohttp", "outbox.db"])
def test_plain_values_stay(value: Any) -> None:
    """Names and paths are those of the parent."""
    assert renew_options({"transport": value, "outbox": value}) == {
        "transport": value,
        "outbox": value,
    }
