"""The public face: the API methods, which read their arguments and leave the rest to the engine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack, overload

from .._core import api_method as apis
from .._core.api_method import Api
from .._core.feature_variable import has_variable, is_enabled, read_variable, read_variables
from .._core.plan import Decision
from .._error import InvalidInputError
from .._explanation import Explanation
from .._log import is_debugging
from .._plain import is_kind, to_plain
from .._reason import Reason
from .._result import (
    CampaignDecision,
    TrackResult,
)
from .._settings import parse_settings
from .._user import User, Variables
from .arguments import (
    DecideCall,
    read_decide_call,
    read_flag,
    read_name,
    read_record,
    read_track_call,
)
from .base_client import Client, read_launch
from .call_options import ActivateOptions, TrackOptions
from .callback import is_within_callback
from .decide import (
    decide_all_campaigns,
    decide_campaign,
    decide_now,
    describe_decision,
    explain_campaign,
    explain_refusal,
    name_variation,
    report_now,
)
from .engine import Engine
from .event_time import EventTime, read_time
from .options import GoalType, LaunchOptions, read_options
from .push import push_tags, read_dimensions, read_tags
from .track import await_delivery, find_quick, track_conversions, track_now, track_quickly
from .user_handle import UserHandle

if TYPE_CHECKING:
    from .._settings import Settings

_APIS = {
    api.name: api
    for api in (
        apis.ACTIVATE,
        apis.GET_VARIATION_NAME,
        apis.IS_FEATURE_ENABLED,
        apis.GET_FEATURE_VARIABLE_VALUE,
        apis.TRACK,
        apis.DECIDE,
        apis.DECIDE_ALL,
    )
}


class VWOClient(Client[Engine]):
    """Decides and reports for one VWO account and environment.

    Making one does no I/O and starts nothing. Use it as an async context manager, or call `open` and
    `aclose`, which may run in different tasks; the first API call opens it where it was not opened.
    A client belongs to the event loop in which it was opened. Where nobody has closed it before, it is closed
    with that loop, as `asyncio.run`, `asyncio.Runner` and servers end one: these cancel what runs in it first; a
    request that is on its way is finished all the same, within half of ``close_timeout_s``, and the rest is
    delivered in the other half. A loop that is dropped without being ended loses what is pending, and so does a
    client that nobody holds any more; the log then says how much.

    Every API method raises `ClosedError` where the client is closed or belongs to another loop, and
    `InvalidInputError` only with ``strict=True``; else bad input gives a falsy result and one log line.

    Args:
        settings: The settings file: bytes, text, its decoded form, or `Settings`.
        **options: See `Options`.

    Raises:
        SettingsError: The settings cannot be used.
        InvalidInputError: Some options cannot be used; the text names each.
    """

    def __init__(
        self,
        settings: Settings | bytes | str | Mapping[str, Any],
        **options: Unpack[LaunchOptions],
    ) -> None:
        try:
            parsed, chosen = read_launch(parse_settings, settings, read_options, options)
        finally:
            # Tools that report errors show the locals of each frame: the file holds the SDK key, and a
            # proxy's URL a password.
            del settings, options
        super().__init__(Engine(parsed, chosen), chosen)
        self._encoding = chosen.user_id_encoding
        self._track_waits = "track" in chosen.return_promise_for

    @property
    def settings(self) -> Settings:
        """The settings file in force."""
        return self._engine.snapshot.settings

    # Deciding

    async def activate(
        self,
        campaign_key: str,
        user_id: str,
        *,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        should_track_returning_user: bool | None = None,
        user_storage_data: Mapping[str, Any] | None = None,
        meta_data: Mapping[str, Any] | None = None,
        user_agent: str | None = None,
        user_ip_address: str | None = None,
        custom_properties: Mapping[str, Any] | None = None,
        wait: bool | None = None,
    ) -> str | None:
        """Assign a variation of an A/B test and report it.

        A user whom the storage already knows is reported again only with
        *should_track_returning_user*. Follows the official ``activate``.

        Args:
            campaign_key: A running campaign of type A/B.
            user_id: At most 4096 bytes in UTF-8.
            custom_variables: For pre-segmentation: plain finite values by name.
            variation_targeting_variables: For whitelisting.
            should_track_returning_user: Report users again whom the storage knows.
            user_storage_data: A record in the official shape that stands in for reading the storage.
            meta_data: Stored with the decision, in place of what is stored.
            user_agent: The visitor's.
            user_ip_address: The visitor's.
            custom_properties: On the event architecture, sent with the impression, as in vwo-python-sdk.
            wait: Await delivery; by default where ``return_promise_for`` names ``activate``.

        Returns:
            The name of the variation, or None.
        """
        decision = await self._decide(
            apis.ACTIVATE,
            campaign_key,
            user_id,
            custom_variables=custom_variables,
            variation_targeting_variables=variation_targeting_variables,
            should_track_returning_user=should_track_returning_user,
            user_storage_data=user_storage_data,
            meta_data=meta_data,
            user_agent=user_agent,
            user_ip_address=user_ip_address,
            custom_properties=custom_properties,
            wait=wait,
        )
        return name_variation(decision)

    async def get_variation_name(
        self,
        campaign_key: str,
        user_id: str,
        *,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        user_storage_data: Mapping[str, Any] | None = None,
        meta_data: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Return the name of the user's variation of an A/B or feature test; report nothing.

        With a user storage, None for a user who was not activated. See `activate` for the arguments.
        Follows the official ``getVariationName``.
        """
        decision = await self._decide(
            apis.GET_VARIATION_NAME,
            campaign_key,
            user_id,
            custom_variables=custom_variables,
            variation_targeting_variables=variation_targeting_variables,
            user_storage_data=user_storage_data,
            meta_data=meta_data,
        )
        return name_variation(decision)

    get_variation = get_variation_name

    async def is_feature_enabled(
        self,
        campaign_key: str,
        user_id: str,
        *,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        should_track_returning_user: bool | None = None,
        user_storage_data: Mapping[str, Any] | None = None,
        meta_data: Mapping[str, Any] | None = None,
        user_agent: str | None = None,
        user_ip_address: str | None = None,
        custom_properties: Mapping[str, Any] | None = None,
        wait: bool | None = None,
    ) -> bool:
        """Tell whether a feature is on for the user, and report the variation that he was given.

        A rollout is on for whom it admits; in a feature test the variation says so. See `activate` for
        the arguments. Follows the official ``isFeatureEnabled``.
        """
        decision = await self._decide(
            apis.IS_FEATURE_ENABLED,
            campaign_key,
            user_id,
            custom_variables=custom_variables,
            variation_targeting_variables=variation_targeting_variables,
            should_track_returning_user=should_track_returning_user,
            user_storage_data=user_storage_data,
            meta_data=meta_data,
            user_agent=user_agent,
            user_ip_address=user_ip_address,
            custom_properties=custom_properties,
            wait=wait,
        )
        if isinstance(decision, Reason) or decision.variation is None:
            return False
        return is_enabled(decision.campaign, decision.variation)

    async def get_feature_variable_value(
        self,
        campaign_key: str,
        variable_key: str,
        user_id: str,
        *,
        default: Any = None,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        user_storage_data: Mapping[str, Any] | None = None,
        meta_data: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value of a feature variable for the user, *default* where there is none; report nothing.

        See `activate` for the other arguments. Values are cast by the variable's type as in the Node SDK.
        Follows the official ``getFeatureVariableValue``.
        """
        try:
            variable_key = read_name(variable_key, "variable_key")
        except InvalidInputError as error:
            self._engine.enter()
            self._refuse(apis.GET_FEATURE_VARIABLE_VALUE.name, error)
            return default
        decision = await self._decide(
            apis.GET_FEATURE_VARIABLE_VALUE,
            campaign_key,
            user_id,
            custom_variables=custom_variables,
            variation_targeting_variables=variation_targeting_variables,
            user_storage_data=user_storage_data,
            meta_data=meta_data,
        )
        if isinstance(decision, Reason) or decision.variation is None:
            return default
        campaign = decision.campaign
        if not has_variable(campaign, decision.variation, variable_key):
            known = read_variables(campaign, decision.variation)
            self._engine.unknown_keys.add("variable", variable_key, known, owner=campaign.key)
        value = read_variable(campaign, decision.variation, variable_key)
        return default if value is None else value

    async def decide(
        self,
        campaign_key: str,
        user_id: str,
        *,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        should_track_returning_user: bool | None = None,
        user_storage_data: Mapping[str, Any] | None = None,
        meta_data: Mapping[str, Any] | None = None,
        user_agent: str | None = None,
        user_ip_address: str | None = None,
        custom_properties: Mapping[str, Any] | None = None,
        wait: bool | None = None,
    ) -> CampaignDecision:
        """Assign a variation of a campaign of any type, report it, and return it with its reason.

        What `activate` does for an A/B test and `is_feature_enabled` for a feature; with the variables of
        a feature. See `activate` for the arguments.
        """
        decision = await self._decide(
            apis.DECIDE,
            campaign_key,
            user_id,
            custom_variables=custom_variables,
            variation_targeting_variables=variation_targeting_variables,
            should_track_returning_user=should_track_returning_user,
            user_storage_data=user_storage_data,
            meta_data=meta_data,
            user_agent=user_agent,
            user_ip_address=user_ip_address,
            custom_properties=custom_properties,
            wait=wait,
        )
        return describe_decision(decision)

    async def decide_all(
        self,
        user_id: str,
        *,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        user_storage_data: Mapping[str, Any] | None = None,
    ) -> Mapping[str, CampaignDecision]:
        """Decide every running campaign for a user, in one round of the storage; report and store nothing.

        A user whom the storage does not know gets what `activate` or `is_feature_enabled` would assign.
        See `activate` for the arguments.

        Returns:
            By campaign key, in the order of the settings file; empty for bad input or an opted-out user.
        """
        self._engine.enter()
        try:
            user = self._read_user(user_id, custom_variables, variation_targeting_variables)
            self._note(apis.DECIDE_ALL.name, user.notes)
            given_record = read_record(user_storage_data)
        except InvalidInputError as error:
            self._refuse(apis.DECIDE_ALL.name, error)
            return {}
        return await decide_all_campaigns(self._engine, user, given_record)

    async def explain(
        self,
        campaign_key: str,
        user_id: str,
        *,
        api: str = "activate",
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        user_storage_data: Mapping[str, Any] | None = None,
    ) -> Explanation:
        """Return how a campaign is decided for a user, step by step; report and store nothing.

        Args:
            campaign_key: The campaign.
            user_id: The user.
            api: The name of the API method on whose behalf: it decides, with a user storage, whether a
                user without a record is assigned a variation. The campaign may be of any type.
            custom_variables: For pre-segmentation.
            variation_targeting_variables: For whitelisting.
            user_storage_data: A record that stands in for reading the storage.
        """
        self._engine.enter()
        try:
            campaign_key = read_name(campaign_key, "campaign_key")
            api = to_plain(api)
            if type(api) is not str or api not in _APIS:
                raise InvalidInputError(f"api must be one of {', '.join(_APIS)}")
            user = self._read_user(user_id, custom_variables, variation_targeting_variables)
            self._note("explain", user.notes)
            given_record = read_record(user_storage_data)
        except InvalidInputError as error:
            self._refuse("explain", error)
            return explain_refusal("", Reason.INVALID_INPUT, str(error))
        return await explain_campaign(self._engine, campaign_key, user, _APIS[api], given_record)

    # Reporting

    async def track(
        self,
        campaign_key: str | Sequence[str] | None,
        user_id: str,
        goal_identifier: str,
        *,
        revenue_value: Any = None,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        goal_type_to_track: GoalType | str | None = None,
        should_track_returning_user: bool | None = None,
        user_storage_data: Mapping[str, Any] | None = None,
        meta_data: Mapping[str, Any] | None = None,
        event_properties: Mapping[str, Any] | None = None,
        user_agent: str | None = None,
        user_ip_address: str | None = None,
        at: EventTime | None = None,
        wait: bool | None = None,
    ) -> TrackResult:
        """Report that a user reached a goal: in one campaign, several, or all that have the goal.

        Each conversion is decided like any other call, so that it counts for the variation that the
        user was shown. With a user storage it is counted once per user, campaign and goal. Follows the
        official ``track``.

        Args:
            campaign_key: A key, a list of keys, or None for every campaign that has the goal.
            user_id: The id that activate was given; at most 4096 bytes in UTF-8.
            goal_identifier: The goal.
            revenue_value: For a revenue goal: int, float, Decimal, or a text that spells a number, as ``49.90``.
                0 and an empty text count as no revenue.
            custom_variables: For pre-segmentation.
            variation_targeting_variables: For whitelisting.
            goal_type_to_track: Only goals of this type; the launch option by default.
            should_track_returning_user: Report conversions again that the storage knows.
            user_storage_data: A record in the official shape that stands in for reading the storage.
            meta_data: Stored with the decision, in place of what is stored.
            event_properties: On the event architecture, sent with the event.
            user_agent: The visitor's.
            user_ip_address: The visitor's.
            at: When it happened, if not now, as for conversions of a shop: a datetime with a time zone, or
                seconds since 1970. Not in the future.
            wait: Await delivery; by default where ``return_promise_for`` names ``track``.

        Returns:
            A result that is true where the documents say true, holds a reason for each campaign, and
            whose ``delivery`` can be awaited in either mode.
        """
        engine = self._engine
        if engine.enter():
            await engine.next_turn()
        try:
            user = User(
                user_id,
                custom_variables,
                variation_targeting_variables,
                user_agent,
                user_ip_address,
                self._encoding,
            )
            waits = self._track_waits if wait is None else read_flag(wait, False, "wait")
            target = None
            if (
                goal_type_to_track is None
                and should_track_returning_user is None
                and user_storage_data is None
                and meta_data is None
                and event_properties is None
            ):
                target = find_quick(engine, user, campaign_key, goal_identifier, revenue_value)
            if target is not None:
                if engine.has_quick_path and not engine.has_outbox:
                    at_s = None if at is None else read_time(at, time.time)
                    result: TrackResult | None = track_now(engine, user, target, at_s)
                else:
                    result = await track_quickly(engine, user, target) if at is None else None
                if result is not None:
                    if is_debugging():
                        self._log_conversions(goal_identifier, user, result)
                    return await await_delivery(engine, result) if waits else result
            given = TrackOptions(
                revenue_value=revenue_value,
                goal_type_to_track=goal_type_to_track,
                should_track_returning_user=should_track_returning_user,
                user_storage_data=user_storage_data,
                meta_data=meta_data,
                event_properties=event_properties,
                at=at,
            )
            return await self._track_fully(user, campaign_key, goal_identifier, given, waits=waits)
        except InvalidInputError as error:
            self._refuse("track", error)
            return TrackResult.refused(campaign_key, Reason.INVALID_INPUT, str(error))

    async def _track_fully(
        self,
        user: User,
        campaign_key: object,
        goal_identifier: str,
        given: TrackOptions,
        *,
        waits: bool,
    ) -> TrackResult:
        """Track as `track` does where no quick path is for the call.

        Raises:
            InvalidInputError: An argument cannot be used; with ``strict``, also a key that is not known.
        """
        call = read_track_call(
            self._options, user, campaign_key, goal_identifier, given, waits=waits
        )
        self._note("track", call.notes)
        result = await track_conversions(self._engine, call)
        if is_debugging():
            self._log_conversions(goal_identifier, user, result)
        return result

    @overload
    async def push(
        self, tag_key: str, tag_value: str, user_id: str, *, wait: bool | None = None
    ) -> bool: ...
    @overload
    async def push(
        self, tag_key: Mapping[str, Any], tag_value: str, *, wait: bool | None = None
    ) -> bool: ...
    @overload
    async def push(
        self,
        *,
        custom_dimension_map: Mapping[str, Any],
        user_id: str,
        wait: bool | None = None,
    ) -> bool: ...
    async def push(
        self,
        tag_key: str | Mapping[str, Any] | None = None,
        tag_value: str | None = None,
        user_id: str | None = None,
        *,
        custom_dimension_map: Mapping[str, Any] | None = None,
        wait: bool | None = None,
    ) -> bool:
        """Report custom dimensions of a user: ``push(key, value, user_id)`` or ``push(mapping, user_id)``.

        A single key and its value are texts of at most 255 characters; the values of a mapping may be
        anything that JSON can write. Follows the official ``push``.

        Args:
            tag_key: The key, or a mapping from keys to values.
            tag_value: The value; with a mapping, the user id.
            user_id: The user; not with a mapping.
            custom_dimension_map: The mapping, as vwo-python-sdk names it, with *user_id* alone.
            wait: Await delivery; by default where ``return_promise_for`` names ``push``.

        Returns:
            Whether all was accepted for delivery; awaited, whether VWO received it.
        """
        if self._engine.enter():
            await self._engine.next_turn()
        try:
            if custom_dimension_map is not None:
                if tag_key is not None or tag_value is not None:
                    raise InvalidInputError("custom_dimension_map goes with user_id alone")
                tag_key = read_dimensions(custom_dimension_map)
            elif user_id is None and is_kind(tag_key, Mapping):
                user_id = tag_value
            tags = read_tags(tag_key, tag_value)
            user = self._read_user(user_id)
            waits = self._read_wait("push", wait)
        except InvalidInputError as error:
            self._refuse("push", error)
            return False
        return await push_tags(self._engine, user, tags, waits=waits)

    # Settings, consent, handles

    async def get_and_update_settings_file(
        self,
        account_id: int | str | None = None,
        sdk_key: str | None = None,
        *,
        via_webhook: bool = False,
    ) -> Settings | None:
        """Fetch the settings file and put it in force, all of it at once.

        Calls on their way end under the file with which they began. An answer that is no settings file
        of this account and key, or none at all, changes nothing.

        From within a callback, such as ``on_settings_change``, it is limited as `refresh_settings` is.

        Args:
            account_id: That of the file in force by default.
            sdk_key: That of the file in force by default.
            via_webhook: Ask as VWO's webhook asks one to.

        Returns:
            The file in force: the new one, or on failure the old one. None after opting out.
        """
        engine = self._engine
        engine.enter()
        if engine.consent.has_opted_out:
            return None
        try:
            if account_id is None and sdk_key is None and is_within_callback():
                # Each new file calls the callback again: what it asks for must not run without end.
                await engine.settings_refresh.refresh()
            else:
                await engine.settings_refresh.refresh_now(
                    account_id, sdk_key, via_webhook=via_webhook
                )
        except InvalidInputError as error:
            self._refuse("get_and_update_settings_file", error)
        return self.settings

    def for_user(
        self,
        user_id: str,
        *,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        user_agent: str | None = None,
        user_ip_address: str | None = None,
    ) -> UserHandle:
        """Return a light handle that has the API methods for one user, so that handlers need not repeat him.

        Nothing is checked here: the methods check, and answer for bad input, as the client's own do.
        """
        return UserHandle(
            self,  # pyright: ignore[reportArgumentType]  # pyright does not match named parameters with **options
            user_id,
            custom_variables,
            variation_targeting_variables,
            user_agent,
            user_ip_address,
        )

    # What the methods share

    async def _decide(
        self,
        api: Api,
        campaign_key: str,
        user_id: str,
        *,
        custom_variables: Variables | None,
        variation_targeting_variables: Variables | None,
        user_storage_data: Mapping[str, Any] | None,
        meta_data: Mapping[str, Any] | None,
        should_track_returning_user: bool | None = None,
        user_agent: str | None = None,
        user_ip_address: str | None = None,
        custom_properties: Mapping[str, Any] | None = None,
        wait: bool | None = None,
    ) -> Decision | Reason:
        """Decide one campaign on behalf of *api*; a reason for bad input, or where there is nothing to decide."""
        engine = self._engine
        if engine.enter():
            await engine.next_turn()
        try:
            user = User(
                user_id,
                custom_variables,
                variation_targeting_variables,
                user_agent,
                user_ip_address,
                self._encoding,
            )
            if user.notes:
                self._note(api.name, user.notes)
            waits = api.sends and self._read_wait(api.name, wait)
            decision, call = None, None
            if (
                user_storage_data is None
                and meta_data is None
                and should_track_returning_user is None
                and custom_properties is None
            ):
                decision = decide_now(engine, api, campaign_key, user)
            if decision is None:
                given = ActivateOptions(
                    user_storage_data=user_storage_data,
                    meta_data=meta_data,
                    should_track_returning_user=should_track_returning_user,
                    custom_properties=custom_properties,
                )
                call = self._read_decide_call(api, campaign_key, user, given, waits=waits)
        except InvalidInputError as error:
            self._refuse(api.name, error)
            engine.observe(api, campaign_key, user_id, Reason.INVALID_INPUT)
            return Reason.INVALID_INPUT
        if call is not None:
            return await decide_campaign(engine, call)
        assert decision is not None
        if api.sends:
            unfinished = report_now(engine, decision, user, waits=waits)
            if unfinished is not None:
                await unfinished
        return decision

    def _read_decide_call(
        self, api: Api, campaign_key: object, user: User, given: ActivateOptions, *, waits: bool
    ) -> DecideCall:
        call = read_decide_call(self._options, api, campaign_key, user, given, waits=waits)
        self._note(api.name, call.notes)
        return call

    def _log_conversions(self, goal_identifier: str, user: User, result: TrackResult) -> None:
        self._engine.observation.log_conversions("track", goal_identifier, user.id, result)

    def _read_user(
        self,
        user_id: Any,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        user_agent: str | None = None,
        user_ip_address: str | None = None,
    ) -> User:
        return User(
            user_id,
            custom_variables=custom_variables,
            variation_targeting_variables=variation_targeting_variables,
            user_agent=user_agent,
            user_ip_address=user_ip_address,
            encoding=self._options.user_id_encoding,
        )


def launch(
    settings: Settings | bytes | str | Mapping[str, Any], **options: Unpack[LaunchOptions]
) -> VWOClient:
    """Return a client: the official name for making a `VWOClient`, with the same arguments and errors."""
    try:
        return VWOClient(settings, **options)
    finally:
        # As there: a traceback would show them.
        del settings, options
