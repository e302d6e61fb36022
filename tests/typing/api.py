"""A user's file, as the type checkers see it: never run, held by mypy --strict and by pyright.

What each public method returns is asserted, and what must be an error is marked as one for both checkers:
they complain if it is none.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, assert_type

import vwo_async
import vwo_async.sync
from vwo_async import (
    AliasResult,
    CampaignDecision,
    CampaignTrack,
    CloseReport,
    Delivery,
    DeliveryStatus,
    Explanation,
    Flag,
    FlagExplanation,
    FlagRule,
    FlagVariation,
    FlushReport,
    FMEClient,
    FMESettings,
    FMESettingsSource,
    FMEUser,
    GoalType,
    Outcome,
    Reason,
    Settings,
    SettingsChange,
    SettingsSource,
    Statistics,
    TrackResult,
    UserHandle,
    VWOClient,
)
from vwo_async.outbox import SqliteOutbox
from vwo_async.storage import MemoryUserStorage, StoredDecision
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer, Limits, Request, Timeouts, Transport


async def settings() -> None:
    """Settings are fetched, parsed, compared and kept fresh."""
    found = await vwo_async.fetch_settings(1, "key", timeouts=Timeouts(total_s=3.0))
    assert_type(found, Settings)
    assert_type(vwo_async.parse_settings(b"{}"), Settings)
    source = SettingsSource(1, "key", last_known_good="settings.json")
    assert_type(await source.load(), Settings)
    change = vwo_async.compare_settings(found, found)
    assert_type(change, SettingsChange)
    assert_type(change.as_json(), dict[str, Any])
    assert_type(vwo_async.verify_webhook({"x-vwo-auth": "secret"}, "secret"), bool)
    await vwo_async.fetch_settings(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def life(found: Settings) -> None:
    """A client is made, opened, asked for its books, and closed."""
    assert_type(vwo_async.launch(found, strict=True), VWOClient)
    async with VWOClient(
        found,
        user_storage=MemoryUserStorage(),
        return_promise_for={"track": True},
        goal_type_to_track=GoalType.ALL,
        outbox=SqliteOutbox("outbox.db"),
        limits=Limits(max_events=10),
        transport=RecordingTransport(),
    ) as client:
        assert_type(client, VWOClient)
        assert_type(client.settings, Settings)
        assert_type(client.settings_warnings, tuple[str, ...])
    assert_type(await client.open(), VWOClient)
    assert_type(client.statistics(), Statistics)
    assert_type(client.statistics().dropped, Mapping[str, int])
    assert_type(client.statistics().as_json(), dict[str, Any])
    report = await client.aclose(timeout_s=2.0)
    assert_type(report, CloseReport)
    assert_type(report.kept_in, str)
    VWOClient(found, user_storag=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    VWOClient(found, workers="4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def deciding(client: VWOClient) -> None:
    """What the deciding methods of a client return."""
    name = await client.activate(
        "a",
        "u",
        custom_variables={
            "plan": "pro",
            "age": 33,
            "rate": Decimal("0.5"),
            "new": True,
            "by": None,
        },
        wait=True,
    )
    assert_type(name, str | None)
    assert_type(await client.get_variation_name("a", "u", meta_data={"a": 1}), str | None)
    assert_type(await client.get_variation("a", "u"), str | None)
    assert_type(await client.is_feature_enabled("a", "u", user_agent="ua"), bool)
    assert_type(await client.get_feature_variable_value("a", "v", "u"), Any)
    assert_type(await client.get_feature_variable_value("a", "v", "u", default=3), Any)
    decision = await client.decide("a", "u", custom_properties={"page": 3}, wait=True)
    assert_type(decision, CampaignDecision)
    assert_type(decision.reason, Reason)
    assert_type(decision.variation_name, str | None)
    decisions = await client.decide_all("u")
    assert_type(decisions, Mapping[str, CampaignDecision])
    assert_type(decisions["a"].variables, Mapping[str, Any])
    assert_type(decisions["a"].as_json(), dict[str, Any])
    explanation = await client.explain("a", "u", api="track")
    assert_type(explanation, Explanation)
    assert_type(explanation.as_json(), dict[str, Any])
    await client.activate("a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.activate(5, "u")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.decide_all("u", wait=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def reporting(client: VWOClient) -> None:
    """What the reporting methods of a client return."""
    result = await client.track("a", "u", "goal", revenue_value=49.9, wait=False)
    assert_type(result, TrackResult)
    assert_type(await client.track(["a", "b"], "u", "goal"), TrackResult)
    assert_type(await client.track(None, "u", "goal", goal_type_to_track="ALL"), TrackResult)
    assert_type(await client.track("a", "u", "goal", at=datetime.now(UTC)), TrackResult)
    assert_type(await client.track("a", "u", "goal", at=1_800_000_000), TrackResult)
    await client.track("a", "u", "goal", at="yesterday")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await client.room(), bool)
    assert_type(await client.room(20, timeout_s=0.5), bool)
    assert_type(await client.push("key", "value", "u"), bool)
    assert_type(await client.push({"key": 5}, "u", wait=True), bool)
    assert_type(await client.push(custom_dimension_map={"key": 5}, user_id="u"), bool)
    flushed = await client.flush_events()
    assert_type(flushed, FlushReport)
    assert_type(flushed.delivered, int)
    await client.track("a", "u", "goal", revenu_value=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.track("a", "u")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.push("key", "value")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


async def results(result: TrackResult) -> None:
    """What is in a result."""
    assert_type(bool(result), bool)
    assert_type(result["a"], CampaignTrack)
    assert_type(result.get("b"), CampaignTrack | None)
    assert_type(dict(result), dict[str, CampaignTrack])
    assert_type(result.reason, Reason)
    assert_type(result.detail, str)
    assert_type(result.notes, tuple[str, ...])
    assert_type(result.as_dict(), dict[str, bool])
    assert_type(result.as_json(), dict[str, Any])
    one = result["a"]
    assert_type(one.tracked, bool)
    assert_type(one.reason, Reason)
    assert_type(one.variation_name, str | None)
    assert_type(one.delivery, Delivery)
    assert_type(one.as_json(), dict[str, Any])
    outcome = await result.delivery
    assert_type(outcome, Outcome)
    assert_type(outcome.status, DeliveryStatus)
    assert_type(outcome.status_code, int | None)
    assert_type(outcome.as_json(), dict[str, Any])
    assert_type(result.delivery.outcome, Outcome | None)
    assert_type(result.delivery.outcomes, tuple[Outcome | None, ...])
    assert_type(result.delivery.done(), bool)
    assert_type(result.delivery.as_json(), dict[str, Any])
    result.delivery.add_done_callback(lambda ended: assert_type(ended, Delivery))
    one.tracked = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    result["a"] = one  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    one.receipt  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


async def the_rest(client: VWOClient) -> None:
    """Settings in force and consent."""
    assert_type(await client.get_and_update_settings_file(), Settings | None)
    assert_type(await client.refresh_settings(), bool)
    assert_type(await client.set_opt_out(), bool)
    client.opt_out_user("u")
    client.opt_in_user("u")


async def handle(client: VWOClient) -> None:
    """The handle of one user has the client's options, and no others."""
    user = client.for_user("u", custom_variables={"plan": "pro"}, user_agent="ua")
    assert_type(user, UserHandle)
    assert_type(await user.activate("a", wait=True, meta_data={"a": 1}), str | None)
    assert_type(await user.get_variation_name("a", custom_variables={"a": 1}), str | None)
    assert_type(await user.get_variation("a"), str | None)
    assert_type(await user.is_feature_enabled("a", should_track_returning_user=True), bool)
    assert_type(await user.get_feature_variable_value("a", "v", user_storage_data={}), Any)
    assert_type(await user.track("a", "goal", revenue_value=3, event_properties={}), TrackResult)
    assert_type(await user.track(["a"], "goal", goal_type_to_track=GoalType.CUSTOM), TrackResult)
    assert_type(await user.track(None, "goal"), TrackResult)
    assert_type(await user.push("key", "value"), bool)
    assert_type(await user.push({"key": 5}, wait=True), bool)
    assert_type(await user.push(custom_dimension_map={"key": 5}, wait=True), bool)
    assert_type(await user.decide("a", wait=True), CampaignDecision)
    assert_type(await user.track("a", "goal", at=1_800_000_000.5), TrackResult)
    assert_type(
        await user.get_feature_variable_value("a", "v", default=3, custom_variables={}), Any
    )
    assert_type(await user.decide_all(), Mapping[str, CampaignDecision])
    assert_type(await user.explain("a", api="track"), Explanation)
    await user.track("a", "goal", revenu_value=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await user.track("a", "goal", wait="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await user.track("a", "goal", user_id="u")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await user.activate("a", revenue_value=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await user.get_variation_name("a", wait=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await user.get_feature_variable_value("a", "v", wait=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await user.is_feature_enabled("a", custom_variables=[])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await user.decide_all(meta_data={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await user.explain("a", meta_data={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await user.push("key")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await user.push("key", custom_dimension_map={"key": 5})  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await user.push({"key": 5}, "value")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


class OwnTransport:
    """A transport of a user's own."""

    async def send(self, request: Request) -> Answer:
        """Say that all went well."""
        return Answer(200)

    async def aclose(self) -> None:
        """Close nothing."""


class OwnStorage:
    """A storage of a user's own, which may block."""

    def get(self, user_id: str, campaign_key: str) -> StoredDecision | None:
        """Know nobody."""
        return None

    def set(self, data: Mapping[str, Any]) -> None:
        """Keep nothing."""


def own(found: Settings) -> None:
    """What has the methods will do."""
    transport: Transport = OwnTransport()
    VWOClient(found, transport=transport, user_storage=OwnStorage())
    VWOClient(found, transport=OwnStorage())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def feature_flags(client: FMEClient) -> None:
    """What the methods of the client for FME return, and what they do not take."""
    flag = await client.get_flag("search", {"id": "u1", "customVariables": {"plan": "pro"}})
    assert_type(flag, Flag)
    assert_type(await client.get_flag("search", FMEUser("u1"), wait=True), Flag)
    assert_type(await client.get_flags(7), Mapping[str, Flag])
    explanation = await client.explain("search", "u1")
    assert_type(explanation, FlagExplanation)
    assert_type(explanation.is_enabled, bool)
    assert_type(await client.track_event("purchase", "u1", {"revenue": 9}), TrackResult)
    assert_type(await client.set_attribute("plan", "pro", "u1"), bool)
    assert_type(await client.set_attribute({"plan": "pro"}, "u1", wait=True), bool)
    client.opt_out_user({"id": "u1"})
    client.opt_in_user(FMEUser("u1"))
    alias = await client.set_alias("u1", "u2")
    assert_type(alias, AliasResult)
    assert_type(alias.reason, Reason | None)
    await client.get_flag("search")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.get_flag("search", "u1", wait="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.get_flag("search", None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.get_flags("u1", wait=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.track_event("purchase", "u1", revenue=9)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.track_event("purchase", {"revenue": 9}, "u1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.set_attribute("plan", "pro")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await client.set_alias("u1", 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.activate("a", "u1")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    FMEUser("u1", custom_variable={"plan": "pro"})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def flag_values(flag: Flag) -> None:
    """What is in a flag."""
    assert_type(bool(flag), bool)
    assert_type(flag.is_enabled(), bool)
    assert_type(flag.reason, Reason)
    assert_type(flag.rule, FlagRule | None)
    assert_type(flag.variation, FlagVariation | None)
    assert_type(flag.get_variable("size", 10), Any)
    assert_type(flag.get_variables(), list[dict[str, Any]])
    assert_type(flag.delivery, Delivery)
    assert_type(await flag.delivery, Outcome)
    assert_type(flag.as_json(), dict[str, Any])
    flag.key = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    flag.get_variable()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def flag_client(file: bytes) -> None:
    """A client for FME is made, opened, asked for its books, and closed; its settings are of FME."""
    found = await vwo_async.fetch_fme_settings(1, "key", gateway_service={"url": "http://gateway"})
    assert_type(found, FMESettings)
    assert_type(vwo_async.parse_fme_settings(file), FMESettings)
    source = FMESettingsSource(1, "key", proxy_url="http://proxy", poll_interval_s=None)
    assert_type(await source.load(or_empty=True), FMESettings)
    async with FMEClient(
        found,
        user_storage=MemoryUserStorage(),
        return_promise_for={"get_flag"},
        settings_source=source,
        gateway_service={"url": "http://gateway", "port": 8000},
        is_aliasing_enabled=True,
        transport=RecordingTransport(),
    ) as client:
        assert_type(client, FMEClient)
        assert_type(client.settings, FMESettings)
        assert_type(client.statistics(), Statistics)
        assert_type(await client.flush_events(), FlushReport)
        assert_type(await client.refresh_settings(), bool)
    assert_type(await client.open(), FMEClient)
    assert_type(await client.aclose(), CloseReport)
    FMEClient(found, strict=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FMEClient(found, goal_type_to_track="ALL")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    FMEClient(found, gateway_service={"uri": "http://gateway"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    VWOClient(found)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    VWOClient(b"", is_aliasing_enabled=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    FMESettingsSource(1, "key", poll_interval=60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def flags_of_a_user(client: FMEClient, flag: Flag) -> None:
    """The methods of a handle, and the options of FME alone."""
    user = client.for_user({"id": "u1"})
    assert_type(user, vwo_async.FMEUserHandle)
    assert_type(await user.get_flag("search", wait=True), Flag)
    assert_type(await user.get_flags(), Mapping[str, Flag])
    assert_type(await user.explain("search"), FlagExplanation)
    assert_type(await user.track_event("purchase", {"revenue": 9}), TrackResult)
    assert_type(await user.set_attribute("plan", "pro"), bool)
    assert_type(await user.set_attribute({"plan": "pro"}, wait=True), bool)
    assert_type(await user.set_alias("other"), AliasResult)
    await user.get_flag("search", user="u2")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await user.set_attribute("plan")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await user.track_event("purchase", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(flag.get_uuid(), str | None)
    assert_type(flag.get_session_id(), int)
    FMESettingsSource(1, "k", poll_interval_s="file", brand="wingify")
    FMESettingsSource(1, "k", poll_interval_s="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FMEClient(client.settings, brand="other")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def without_a_loop(found: Settings, fme: FMESettings) -> None:
    """The synchronous clients return what the async ones are awaited for."""
    assert_type(vwo_async.sync.fetch_settings(1, "key"), Settings)
    assert_type(vwo_async.sync.fetch_fme_settings(1, "key"), FMESettings)
    assert_type(vwo_async.sync.load_settings(SettingsSource(1, "key")), Settings)
    assert_type(vwo_async.sync.load_settings(FMESettingsSource(1, "key")), FMESettings)
    with vwo_async.sync.VWOClient(found, strict=True) as client:
        assert_type(client, vwo_async.sync.VWOClient)
        assert_type(client.settings, Settings)
        assert_type(client.activate("checkout", "u1"), str | None)
        assert_type(client.is_feature_enabled("search", "u1"), bool)
        result = client.track("checkout", "u1", "purchase", revenue_value=9.9, wait=True)
        assert_type(result, TrackResult)
        assert_type(client.wait_for(result.delivery, timeout_s=1.0), vwo_async.Outcome | None)
        assert_type(client.push("plan", "pro", "u1"), bool)
        assert_type(client.explain("checkout", "u1"), Explanation)
        assert_type(client.flush_events(), vwo_async.FlushReport)
        user = client.for_user("u1", user_agent="agent/1.0")
        assert_type(user, vwo_async.sync.UserHandle)
        assert_type(user.track("checkout", "purchase"), TrackResult)
        assert_type(user.push({"plan": "pro"}), bool)
        assert_type(user.push(custom_dimension_map={"plan": "pro"}), bool)
        client.track("checkout", 5, "purchase")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        client.track("checkout", "u1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        user.activate("checkout", 5, 5)  # type: ignore[call-arg,arg-type]  # pyright: ignore[reportCallIssue]
    assert_type(client.close(timeout_s=1.0), CloseReport)
    vwo_async.sync.VWOClient(found, strict=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def flags_without_a_loop(found: FMESettings) -> None:
    """The same of FME."""
    client = vwo_async.sync.FMEClient(found, is_aliasing_enabled=True).open()
    assert_type(client, vwo_async.sync.FMEClient)
    assert_type(client.get_flag("search", {"id": "u1"}), Flag)
    assert_type(client.get_flags("u1"), Mapping[str, Flag])
    assert_type(client.track_event("purchase", "u1", {"revenue": 9}), TrackResult)
    assert_type(client.set_attribute("plan", "pro", "u1"), bool)
    assert_type(client.set_alias("u1", "u2"), AliasResult)
    user = client.for_user("u1")
    assert_type(user, vwo_async.sync.FMEUserHandle)
    assert_type(user.get_flag("search"), Flag)
    user.track_event("purchase", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def per_loop(found: Settings) -> None:
    """A client for each loop is one of the class that is made."""

    async def load() -> Settings:
        return found

    clients = vwo_async.per_loop(load, VWOClient)
    assert_type(clients, vwo_async.PerLoop[VWOClient])
    assert_type(await clients.get(), VWOClient)
    assert_type(await clients.aclose(timeout_s=1.0), None)
