"""OpenFeature's own client, with the providers of both products."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import openfeature.api
import pytest
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails
from redact import MARK

from vwo_async import FMEClient, InvalidInputError, VWOClient, sync
from vwo_async.integrations.openfeature import FMEProvider, VWOProvider
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import (
    FMEFixture,
    RecordingTransport,
    VWOFixture,
    build_fme_settings,
    build_settings,
    campaign,
    feature,
    feature_rollout,
    feature_test,
)

pytestmark = pytest.mark.anyio
PRO = {"or": [{"custom_variable": {"plan": "pro"}}]}
VARIABLES: dict[str, Any] = {
    "size": 20,
    "share": 0.5,
    "title": "More",
    "dark": True,
    "shelf": {"rows": [1, 2]},
}
FULLSTACK = build_settings(
    campaign("checkout").goal("buy", revenue=True).goal("signup").split(0, 100),
    feature_test("search").variation("Big", 100, **VARIABLES).goal("buy", revenue=True),
    feature_rollout("banner").traffic(0).variables(size=1),
    campaign("paused").paused(),
    feature_test("members").variation("On", 100, size=3).segment(PRO),
)
FME = build_fme_settings(
    feature("search").metric("buy", revenue_prop="price").rollout(**VARIABLES),
    feature("banner").rollout(0, size=1),
    feature("members").personalize(PRO, size=3),
)
ASHLEY = EvaluationContext("Ashley")


@pytest.fixture
def vwo() -> Iterator[VWOFixture]:
    fixture = VWOFixture(FULLSTACK, {"strict": False})
    yield fixture
    fixture.end()


@pytest.fixture
def fme() -> Iterator[FMEFixture]:
    fixture = FMEFixture(FME, {"strict": False})
    yield fixture
    fixture.end()


@pytest.fixture
async def flags(
    request: pytest.FixtureRequest, vwo: VWOFixture, fme: FMEFixture
) -> AsyncIterator[OpenFeatureClient]:
    """OpenFeature's client of the product that a test names."""
    if request.param == "FullStack":
        yield await use(VWOProvider(vwo.client), vwo.client)
    else:
        yield await use(FMEProvider(fme.client), fme.client)
    openfeature.api.clear_providers()


async def use(
    provider: VWOProvider | FMEProvider, client: VWOClient | FMEClient
) -> OpenFeatureClient:
    await client.open()
    await asyncio.to_thread(openfeature.api.set_provider_and_wait, provider)
    return openfeature.api.get_client()


async def until_sent(bench: VWOFixture | FMEFixture, *, user: str, times: int) -> None:
    """Wait for conversions of a user, which OpenFeature's callers cannot await."""
    async with asyncio.timeout(5):
        while len(bench.find_events(kind="conversion", user=user)) < times:
            await asyncio.sleep(0.001)


both = pytest.mark.parametrize("flags", ["FullStack", "FME"], indirect=True)
fullstack = pytest.mark.parametrize("flags", ["FullStack"], indirect=True)
in_fme = pytest.mark.parametrize("flags", ["FME"], indirect=True)


@both
async def test_every_type_is_resolved_and_reported(
    flags: OpenFeatureClient, request: pytest.FixtureRequest, vwo: VWOFixture, fme: FMEFixture
) -> None:
    """Each type gives the value of its own kind, asked for with await and without, and each reports the user."""
    assert await flags.get_boolean_value_async("search", False, ASHLEY) is True
    assert await flags.get_boolean_value_async("search.dark", False, ASHLEY) is True
    assert await flags.get_integer_value_async("search.size", 1, ASHLEY) == 20
    assert await flags.get_float_value_async("search.share", 1.0, ASHLEY) == 0.5
    assert await flags.get_float_value_async("search.size", 1.0, ASHLEY) == 20.0
    assert await flags.get_string_value_async("search.title", "", ASHLEY) == "More"
    assert await flags.get_object_value_async("search.shelf", {}, ASHLEY) == {"rows": [1, 2]}
    assert await flags.get_object_value_async("search", {}, ASHLEY) == VARIABLES
    assert flags.get_boolean_value("search", False, ASHLEY) is True
    assert flags.get_integer_value("search.size", 1, ASHLEY) == 20
    assert flags.get_float_value("search.share", 1.0, ASHLEY) == 0.5
    assert flags.get_string_value("search.title", "", ASHLEY) == "More"
    assert flags.get_object_value("search", {}, ASHLEY) == VARIABLES
    bench = vwo if "FullStack" in request.node.name else fme
    assert len(bench.find_events(kind="impression", user="Ashley")) == 13


@both
async def test_details_say_variant_and_reason(
    flags: OpenFeatureClient, request: pytest.FixtureRequest
) -> None:
    """Variant, reason and metadata are VWO's."""
    given = await flags.get_boolean_details_async("search", False, ASHLEY)
    variant = "Big" if "FullStack" in request.node.name else "Rollout"
    assert (given.value, given.variant, given.reason) == (True, variant, Reason.SPLIT)
    assert given.flag_metadata["reason"] == "assigned"
    off = await flags.get_boolean_details_async("banner", True, ASHLEY)
    assert (off.value, off.variant, off.reason, off.error_code) == (
        False,
        None,
        Reason.DEFAULT,
        None,
    )
    assert off.flag_metadata["reason"] == "not_in_traffic"
    number = await flags.get_integer_details_async("banner.size", 7, ASHLEY)
    assert (number.value, number.reason) == (7, Reason.DEFAULT)


@fullstack
async def test_an_ab_test_is_a_text(flags: OpenFeatureClient) -> None:
    """An A/B test gives the name of its variation; it is neither on nor off."""
    assert await flags.get_string_value_async("checkout", "Control", ASHLEY) == "Variation-1"
    asked = await flags.get_boolean_details_async("checkout", False, ASHLEY)
    assert (asked.value, asked.error_code) == (False, ErrorCode.TYPE_MISMATCH)
    paused = await flags.get_string_details_async("paused", "Control", ASHLEY)
    assert (paused.value, paused.reason) == ("Control", Reason.DISABLED)


@both
@pytest.mark.parametrize(
    ("key", "context", "code"),
    [
        ("serch", ASHLEY, ErrorCode.FLAG_NOT_FOUND),
        ("search.sise", ASHLEY, ErrorCode.FLAG_NOT_FOUND),
        ("search.title", ASHLEY, ErrorCode.TYPE_MISMATCH),
        ("search.dark", ASHLEY, ErrorCode.TYPE_MISMATCH),
        ("search", ASHLEY, ErrorCode.TYPE_MISMATCH),
        ("search.size", None, ErrorCode.TARGETING_KEY_MISSING),
        (
            "search.size",
            EvaluationContext(attributes={"plan": "pro"}),
            ErrorCode.TARGETING_KEY_MISSING,
        ),
        ("search.size", EvaluationContext("a" * 5000), ErrorCode.INVALID_CONTEXT),
        ("", ASHLEY, ErrorCode.INVALID_CONTEXT),
    ],
)
async def test_mistakes_give_the_default_and_a_code(
    flags: OpenFeatureClient, key: str, context: EvaluationContext | None, code: ErrorCode
) -> None:
    """What cannot be answered gives the caller's default, and OpenFeature's code says why."""
    for details in (
        await flags.get_integer_details_async(key, 7, context),
        flags.get_integer_details(key, 7, context),
    ):
        assert (details.value, details.error_code) == (7, code)


ODD: Mapping[str, Any] = {
    "plan": "pro",
    "since": datetime(2026, 1, 1, tzinfo=UTC),
    "roles": ["a", "b"],
    "nested": {"deep": {"deeper": 1}},
    "nothing": None,
    "not a number": float("nan"),
    "user_agent": 5,
    "user_ip_address": ["1.2.3.4"],
}


class Unreadable(dict[str, Any]):
    """A mapping that nobody can read."""

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    items = keys = values = __getitem__ = __iter__  # type: ignore[assignment]


TARGETING = "variation_targeting_variables"
ODD_TARGETING: list[Any] = [
    None,
    "pro",
    5,
    ["a"],
    {"since": ODD["since"], "a": [1]},
    Unreadable(a=1),
]


@both
@pytest.mark.parametrize("targeting", ODD_TARGETING, ids=range(len(ODD_TARGETING)))
async def test_odd_values_of_a_context_turn_nothing_off(
    flags: OpenFeatureClient, targeting: Any
) -> None:
    """A context as services have it: what cannot be a custom variable is left out, the rest decides."""
    more = {"\ud800": "a key that cannot be sent", "endless": "x" * 10_000, TARGETING: targeting}
    context = EvaluationContext("Ashley", {**ODD, **more})
    assert await flags.get_boolean_value_async("members", False, context) is True
    assert flags.get_integer_value("members.size", 0, context) == 3
    assert await flags.get_boolean_value_async("members", False, ASHLEY) is False


@pytest.mark.parametrize("product", ["fullstack", "fme"])
async def test_strict_is_not_about_contexts(product: str) -> None:
    """With ``strict`` too, an attribute that cannot be a variable is none: it is no mistake of the service."""
    context = EvaluationContext("Ashley", {**ODD, TARGETING: "pro"})
    options: Any = {"strict": True, "transport": RecordingTransport()}
    if product == "fme":
        async with FMEClient(FME, **options) as client:
            found = await FMEProvider(client).resolve_boolean_details_async(
                "members", False, context
            )
    else:
        async with VWOClient(FULLSTACK, **options) as shop:
            found = await VWOProvider(shop).resolve_boolean_details_async("members", False, context)
    assert found.value is True


@both
async def test_conversions_are_queued(
    flags: OpenFeatureClient, request: pytest.FixtureRequest, vwo: VWOFixture, fme: FMEFixture
) -> None:
    """`track` returns at once, from the loop's thread and from others; value is the revenue."""
    is_fullstack = "FullStack" in request.node.name
    bench = vwo if is_fullstack else fme
    attributes: dict[str, Any] = {} if is_fullstack else {"price": 49.9}
    details = TrackingEventDetails(49.9, attributes)
    flags.track("buy", ASHLEY, details)
    await until_sent(bench, user="Ashley", times=2 if is_fullstack else 1)
    bench.assert_sent(
        kind="conversion", goal="buy", user="Ashley", revenue=49.9, times=2 if is_fullstack else 1
    )
    await asyncio.to_thread(flags.track, "buy", EvaluationContext("Ben"), details)
    await until_sent(bench, user="Ben", times=2 if is_fullstack else 1)


@both
async def test_row_57_logs_of_other_threads(
    flags: OpenFeatureClient, caplog: pytest.LogCaptureFixture
) -> None:
    """What another thread tracks is in no log, not even where the loop tells all it does."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    await asyncio.to_thread(flags.track, "buy", EvaluationContext(MARK), TrackingEventDetails(1.0))
    loop.slow_callback_duration = 60
    assert "_track" in caplog.text
    assert MARK not in caplog.text


@both
async def test_what_cannot_be_tracked_raises_nothing(
    flags: OpenFeatureClient, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenFeature's callers expect nothing of `track`: a lost conversion stands in the log."""
    flags.track("buy", None)
    assert "a conversion is not counted: TargetingKeyMissingError" in caplog.text
    flags.track("nothing counts this", ASHLEY)
    flags.track("buy", EvaluationContext("a" * 5000))


@in_fme
async def test_the_value_goes_into_the_property_that_is_named(
    flags: OpenFeatureClient, fme: FMEFixture
) -> None:
    """The metric's revenue property is named once, at the provider."""
    priced = await use(FMEProvider(fme.client, value_property="price"), fme.client)
    priced.track("buy", ASHLEY, TrackingEventDetails(12.5))
    fme.assert_sent(kind="conversion", goal="buy", revenue=12.5)


async def test_with_a_storage_only_await_answers() -> None:
    """What has to ask a storage says so where nobody can wait, and reports and stores nothing."""
    storage = MemoryUserStorage()
    bench = VWOFixture(FULLSTACK, {"user_storage": storage})
    flags = await use(VWOProvider(bench.client), bench.client)
    asked = flags.get_boolean_details("search", False, ASHLEY)
    assert (asked.value, asked.error_code) == (False, ErrorCode.GENERAL)
    assert "use the async methods" in str(asked.error_message)
    assert bench.events == []
    assert await flags.get_boolean_value_async("search", False, ASHLEY) is True
    again = await flags.get_boolean_details_async("search", False, ASHLEY)
    assert (again.value, again.reason) == (True, Reason.CACHED)
    flags.track("buy", ASHLEY, TrackingEventDetails(1.0))
    await until_sent(bench, user="Ashley", times=1)
    await bench.client.aclose()
    openfeature.api.clear_providers()


@both
async def test_in_another_thread_without_await(flags: OpenFeatureClient) -> None:
    """A synchronous question from another thread gets the default and is told where to ask."""
    asked = await asyncio.to_thread(flags.get_boolean_details, "search", False, ASHLEY)
    assert (asked.value, asked.error_code) == (False, ErrorCode.GENERAL)
    assert "no event loop runs in this thread" in str(asked.error_message)


@both
async def test_a_closed_client_is_a_provider_that_is_not_ready(
    flags: OpenFeatureClient,
    request: pytest.FixtureRequest,
    vwo: VWOFixture,
    fme: FMEFixture,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After the client was closed everything gives defaults."""
    await (vwo if "FullStack" in request.node.name else fme).client.aclose()
    for asked in (
        await flags.get_boolean_details_async("search", False, ASHLEY),
        flags.get_boolean_details("search", False, ASHLEY),
    ):
        assert (asked.value, asked.error_code) == (False, ErrorCode.PROVIDER_NOT_READY)
    with caplog.at_level(logging.WARNING):
        flags.track("buy", ASHLEY)
    assert "the client is not open: a conversion is not counted" in caplog.text


@both
async def test_many_questions_in_one_turn(flags: OpenFeatureClient) -> None:
    """However many synchronous questions one handler asks, each is answered."""
    assert all(flags.get_boolean_value("search", False, ASHLEY) for _ in range(3000))


def make_synchronous(
    product: str, transport: RecordingTransport, storage: MemoryUserStorage | None = None
) -> tuple[Any, Any]:
    """Return a synchronous client and the provider of it."""
    options: dict[str, Any] = {"transport": transport, "user_storage": storage}
    if product == "fme":
        fme = sync.FMEClient(FME, **options)
        return fme, FMEProvider(fme, value_property="price")
    vwo = sync.VWOClient(FULLSTACK, **options)
    return vwo, VWOProvider(vwo)


@pytest.mark.parametrize("product", ["fullstack", "fme"])
@pytest.mark.parametrize("has_storage", [False, True], ids=["", "storage"])
def test_a_synchronous_client(product: str, has_storage: bool) -> None:
    """With a client of `vwo_async.sync` all methods answer in any thread, and wait for a storage there."""
    transport = RecordingTransport()
    client, provider = make_synchronous(
        product, transport, MemoryUserStorage() if has_storage else None
    )
    openfeature.api.set_provider_and_wait(provider)
    flags = openfeature.api.get_client()

    async def ask() -> tuple[bool, int]:
        is_on = await flags.get_boolean_value_async("search", False, ASHLEY)
        return is_on, await flags.get_integer_value_async("search.size", 1, ASHLEY)

    with client:
        assert flags.get_boolean_value("search", False, ASHLEY) is True
        asked = flags.get_integer_details("search.size", 1, ASHLEY)
        assert (asked.value, asked.error_code) == (20, None)
        assert asked.reason == (Reason.CACHED if has_storage else Reason.SPLIT)
        assert asyncio.run(ask()) == (True, 20)
        assert client.flush_events()
        before = client.statistics().delivered
        flags.track("buy", ASHLEY, TrackingEventDetails(49.9))
        assert client.flush_events()
        # In FullStack two campaigns have the goal; with a storage it counts where he was activated.
        times = 2 if product == "fullstack" and not has_storage else 1
        assert client.statistics().delivered == before + times
    assert b"".join(one.body for one in transport.requests).count(b"49.9") >= 1
    closed = flags.get_boolean_details("search", False, ASHLEY)
    assert (closed.value, closed.error_code) == (False, ErrorCode.PROVIDER_NOT_READY)
    flags.track("buy", ASHLEY)  # is logged, and raises nothing
    openfeature.api.clear_providers()


def test_a_client_of_the_other_product_is_refused() -> None:
    """A provider that could never answer cannot be made, and the error says what it needs."""
    cases: list[tuple[Any, object]] = [
        (FMEProvider, VWOClient(FULLSTACK, transport=RecordingTransport())),
        (VWOProvider, sync.FMEClient(FME, transport=RecordingTransport())),
        (VWOProvider, None),
    ]
    for make, client in cases:
        with pytest.raises(
            InvalidInputError, match=r"needs a \w+ of vwo_async or of vwo_async.sync"
        ):
            make(client)
