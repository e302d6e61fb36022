"""Whatever is passed in, every API method settles: it neither hangs nor raises, unless strict."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from chosen_product import translate
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as profile
from sample import campaign, settings
from search_effort import examples

from vwo_async import (
    AliasResult,
    Flag,
    FlagExplanation,
    FMEClient,
    InvalidInputError,
    TrackResult,
    VWOClient,
)
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport

scalars = (
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.integers(min_value=10**400, max_value=10**401)
    | strategies.floats()
    | strategies.decimals()
    | strategies.binary(max_size=4)
    | strategies.text(alphabet=strategies.characters(codec=None), max_size=8)
    | strategies.sampled_from(
        ["checkout", "search", "banner", "Ashley", "signup", "purchase", "ALL", "x" * 5000]
    )
    | strategies.just(object())
    | strategies.just(datetime(2020, 1, 1, tzinfo=UTC))
)
values = strategies.recursive(
    scalars,
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(
            strategies.text(max_size=4) | strategies.integers(), inner, max_size=3
        )
    ),
    max_leaves=6,
)

DECIDING = (
    "custom_variables",
    "variation_targeting_variables",
    "user_storage_data",
    "meta_data",
)
SENDING = (*DECIDING, "should_track_returning_user", "user_agent", "user_ip_address", "wait")
TRACKING = (*SENDING, "revenue_value", "goal_type_to_track", "event_properties")
CALLS = {
    "activate": (2, SENDING),
    "get_variation_name": (2, DECIDING),
    "is_feature_enabled": (2, SENDING),
    "get_feature_variable_value": (3, DECIDING),
    "track": (3, TRACKING),
    "push": (3, ("wait",)),
    "decide_all": (1, DECIDING[:3]),
    "explain": (2, DECIDING[:3]),
}


FME_CALLS: dict[str, tuple[int, tuple[str, ...]]] = {
    "get_flag": (2, ("wait",)),
    "get_flags": (1, ()),
    "track_event": (2, ("event_properties", "wait")),
    "set_attribute": (3, ("wait",)),
    "set_alias": (2, ()),
    "explain": (2, ()),
}
# What a context of the official SDKs may hold.
contexts = strategies.fixed_dictionaries(
    {"id": strategies.sampled_from(["Ashley", "Bill"]) | values},
    optional=dict.fromkeys(
        (
            *("customVariables", "variation_targeting_variables", "userAgent", "ip_address"),
            *("sessionId", "bucketingSeed", "postSegmentationVariables", "platformVariables"),
            *("useIdForWeb", "_vwo", "unknown"),
        ),
        values,
    ),
)


@strategies.composite
def calls(
    draw: strategies.DrawFn, methods: Mapping[str, tuple[int, tuple[str, ...]]] = CALLS
) -> tuple[str, list[Any], dict[str, Any]]:
    """Draw a method with positional arguments and options."""
    name = draw(strategies.sampled_from(sorted(methods)))
    count, options = methods[name]
    # Most arguments are usable, so that what lies behind the checks is reached too.
    good = [strategies.sampled_from(["checkout", "search", "Ashley", "signup"])] * count
    arguments = [draw(one | values) if draw(strategies.booleans()) else draw(one) for one in good]
    most = min(3, len(options))
    some = strategies.sampled_from(options or ("none",))
    chosen = draw(strategies.lists(some, max_size=most, unique=True))
    return name, arguments, {option: draw(values) for option in chosen}


FILES = [
    settings(),
    settings(isEventArchEnabled=True, isNB=True, isNBv2=True),
    settings(
        campaign(11, "checkout"),
        campaign(12, "search", "FEATURE_TEST"),
        campaignGroups={"11": 1, "12": 1},
        groups={"1": {"name": "g", "campaigns": [11, 12]}},
    ),
]


FME_FILE = translate(settings())


@profile(max_examples=examples(400), suppress_health_check=[HealthCheck.too_slow])
@given(calls(), strategies.sampled_from(FILES), strategies.booleans(), strategies.booleans())
def test_every_call_settles(
    drawn: tuple[str, list[Any], dict[str, Any]],
    file: dict[str, Any],
    has_storage: bool,
    is_strict: bool,
) -> None:
    """A call returns the kind of value that it promises; with strict, only InvalidInputError is raised."""
    name, arguments, options = drawn

    async def run() -> None:
        storage = MemoryUserStorage() if has_storage else None
        client = VWOClient(
            file, user_storage=storage, transport=RecordingTransport(), strict=is_strict
        )
        async with client, asyncio.timeout(10):
            try:
                value = await getattr(client, name)(*arguments, **options)
            except InvalidInputError:
                assert is_strict
                return
            if name == "track":
                assert isinstance(value, TrackResult)
                await value.delivery
            elif name in ("is_feature_enabled", "push"):
                assert isinstance(value, bool)
            elif name == "explain":
                assert str(value)
            statistics = client.statistics()
            ended = statistics.delivered + statistics.rejected + sum(statistics.dropped.values())
            assert statistics.accepted == ended + statistics.pending
        assert client.statistics().pending == 0

    asyncio.run(run())


@profile(max_examples=examples(400), suppress_health_check=[HealthCheck.too_slow])
@given(calls(FME_CALLS), strategies.none() | contexts, strategies.booleans(), strategies.booleans())
def test_every_call_of_fme_settles(
    drawn: tuple[str, list[Any], dict[str, Any]],
    context: dict[str, Any] | None,
    has_storage: bool,
    is_strict: bool,
) -> None:
    """The same of an `FMEClient`, whose user may also be a context of the official SDKs."""
    name, arguments, options = drawn
    place = {"get_flags": 0, "set_alias": 0, "set_attribute": 2}.get(name, 1)
    if context is not None:
        arguments[place] = context

    async def run() -> None:
        storage = MemoryUserStorage() if has_storage else None
        client = FMEClient(
            FME_FILE, user_storage=storage, transport=RecordingTransport(), strict=is_strict
        )
        async with client, asyncio.timeout(10):
            try:
                value = await getattr(client, name)(*arguments, **options)
            except InvalidInputError:
                assert is_strict
                return
            kinds = {
                "get_flag": Flag,
                "get_flags": Mapping,
                "track_event": TrackResult,
                "set_attribute": bool,
                "set_alias": AliasResult,
                "explain": FlagExplanation,
            }
            assert isinstance(value, kinds[name])
            if isinstance(value, (Flag, TrackResult)):
                await value.delivery
            assert str(value)
            statistics = client.statistics()
            ended = statistics.delivered + statistics.rejected + sum(statistics.dropped.values())
            assert statistics.accepted == ended + statistics.pending
        assert client.statistics().pending == 0

    asyncio.run(run())


@profile(max_examples=examples(200))
@given(values)
def test_revenue_is_never_a_surprise(value: Any) -> None:
    """Revenue of any kind is sent as text, refused, or missing; a number is sent to the digit."""

    async def run() -> None:
        transport = RecordingTransport()
        async with VWOClient(settings(), transport=transport) as client:
            result = await client.track(
                "checkout", "Ashley", "purchase", revenue_value=value, wait=True
            )
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool) and result:
            text = transport.requests[0].target.partition("&r=")[2]
            assert Decimal(text) == value
        assert bool(result) == bool(transport.requests)

    asyncio.run(run())
