"""Whatever is given to what the doors offer, it is used or refused by an error of this package."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from chosen_product import translate
from redis.asyncio import Redis
from sample import ACCOUNT, KEY, campaign, settings
from sqlalchemy.ext.asyncio import create_async_engine

from vwo_async import (
    FMESettingsSource,
    InvalidInputError,
    SettingsSource,
    VWOError,
    compare_settings,
    fetch_fme_settings,
    fetch_settings,
    parse_fme_settings,
    parse_settings,
    verify_webhook,
)
from vwo_async.outbox import SqliteOutbox
from vwo_async.storage import MemoryUserStorage
from vwo_async.storage.redis import RedisUserStorage
from vwo_async.storage.sql import SqlUserStorage
from vwo_async.transport import HttpxTransport

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:1"


class Hostile:
    """Raises whatever it is asked."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


ODD = [
    *(None, True, 0, -1, 10**400, float("nan"), float("inf"), 1j, Decimal("NaN")),
    *("", "x", "\ud800", "a\0b", "x" * 5000, b"\xff", type, object(), Hostile()),
    *([], {}, {"a": 1}, [None], {1: 2}, datetime(2020, 1, 1, tzinfo=UTC), lambda: None),
]
ACCOUNT_KEY = {"account_id": ACCOUNT, "sdk_key": KEY, "base_url": NOWHERE}
ENGINE = create_async_engine("sqlite+aiosqlite:///:memory:")
CASES: list[tuple[Callable[..., Any], dict[str, Any], tuple[str, ...]]] = [
    (compare_settings, dict.fromkeys(("old", "new"), parse_settings(settings())), ("old", "new")),
    (parse_settings, {}, ("source",)),
    (parse_fme_settings, {}, ("source",)),
    (verify_webhook, {"headers": {}, "secret": "s"}, ("headers", "secret")),
    (fetch_settings, ACCOUNT_KEY, ("account_id", "sdk_key", "base_url", "timeouts", "ssl_context")),
    (fetch_fme_settings, ACCOUNT_KEY, ("base_url", "timeouts", "ssl_context", "brand", "proxy")),
    (
        SettingsSource,
        ACCOUNT_KEY,
        (
            *("poll_interval_s", "last_known_good", "max_age_s", "min_refresh_interval_s"),
            *("base_url", "timeouts", "ssl_context", "proxy"),
        ),
    ),
    (FMESettingsSource, ACCOUNT_KEY, ("poll_interval_s", "brand", "base_url", "last_known_good")),
    (MemoryUserStorage, {}, ("rows", "max_records", "ttl_s")),
    (RedisUserStorage, {"client": Redis()}, ("ttl_s",)),
    (RedisUserStorage.from_url, {}, ("url",)),
    (SqlUserStorage, {"engine": ENGINE}, ("engine", "record_table", "claim_table", "schema")),
    (SqliteOutbox, {"path": "unused"}, ("path", "synchronous")),
    (
        HttpxTransport,
        {"base_url": NOWHERE},
        ("base_url", "timeouts", "user_agent", "ssl_context", "proxy"),
    ),
]


@pytest.mark.parametrize(
    ("function", "given", "name"),
    [(function, given, name) for function, given, names in CASES for name in names],
    ids=lambda one: getattr(one, "__qualname__", one if isinstance(one, str) else ""),
)
async def test_odd_arguments_are_used_or_refused(
    function: Callable[..., Any],
    given: dict[str, Any],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An argument of any kind is good or an error of this package, never one from within."""
    monkeypatch.chdir(tmp_path)
    for odd in ODD:
        try:
            value = function(**{**given, name: odd})
            if inspect.isawaitable(value):
                await value
        except VWOError:
            continue


def test_what_is_compared() -> None:
    """Two files of one product are compared, of either; what was not parsed is refused in so many words."""
    one, two = settings(), settings(campaign(11, "checkout"), campaign(17, "fresh"))
    assert "fresh" in compare_settings(parse_settings(one), parse_settings(two)).started
    before, after = map(parse_fme_settings, (translate(one), translate(two)))
    assert "fresh" in compare_settings(before, after).started
    for old, new in ((one, two), (before, parse_settings(two)), (None, None)):
        with pytest.raises(InvalidInputError, match="old and new"):
            compare_settings(old, new)  # type: ignore[arg-type]
