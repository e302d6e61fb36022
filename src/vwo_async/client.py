"""The client: its life, and the API methods over one skeleton."""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from types import TracebackType
from typing import Any, Self, Unpack

from ._core import api as apis
from ._core.api import Api
from ._core.decision import find_refusal
from ._core.feature import is_enabled, read_variable
from ._core.plan import Decision
from ._event.event import Event
from ._event.queue import Queue
from ._event.sender import Sender
from ._event.transport import HttpxTransport
from ._version import __version__
from .decider import Reading
from .error import ClosedError, InvalidInputError, WrongLoopError
from .integration import IntegrationCaller, make_payload
from .options import GoalType, LaunchOptions, read_options
from .reason import Reason
from .result import (
    DEVELOPMENT_DELIVERY,
    NO_DELIVERY,
    CampaignTrack,
    Delivery,
    Receipt,
    Statistics,
    TrackResult,
)
from .settings import Settings, parse_settings
from .snapshot import Snapshot
from .storage.access import StorageAccess
from .storage.protocol import StoredDecision
from .tracking import (
    Conversion,
    TrackCall,
    accept,
    conclude,
    find_conversions,
    in_order,
    make_events,
    make_record,
    read_campaign_keys,
    read_goal_choice,
    read_properties,
    read_revenue,
    sort_targets,
)
from .user import User, Variables, check_text

logger = logging.getLogger("vwo_async")

_NO_LOCK: AbstractAsyncContextManager[None] = nullcontext()
_NO_META_DATA: Mapping[str, Any] = {}


class VWOClient:
    """Decides and reports for one VWO account and environment.

    Making one does no I/O and starts nothing. Use it as an async context manager, or call `open` and
    `aclose`, which may run in different tasks; the first API call opens it where it was not opened.
    A client belongs to the event loop in which it was opened.

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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sender: Sender | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_closed = False
        self._options = chosen = read_options({"sdk_version": __version__, **options})
        self._snapshot = Snapshot(parse_settings(settings), chosen, time.time)
        self._queue = Queue(chosen.limits)
        self._storage = (
            None
            if chosen.user_storage is None
            else StorageAccess(chosen.user_storage, chosen.storage_timeout_s)
        )
        self._integration = (
            None if chosen.integrations is None else IntegrationCaller(chosen.integrations)
        )

    # Life

    async def open(self) -> Self:
        """Bind the client to the running loop and start its workers; again is no error.

        Raises:
            ClosedError: It was closed, or is open in another loop.
        """
        self._enter()
        return self

    def _enter(self) -> None:
        """Pass in the loop of the client, open it on first use, refuse everything else."""
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        if self._is_closed:
            raise ClosedError("the client is closed")
        if self._loop is not None:
            raise WrongLoopError("the client belongs to another event loop; make one for each loop")
        self._start(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        options = self._options
        transport = options.transport or HttpxTransport(
            options.base_url,
            timeouts=options.timeouts,
            user_agent=f"{options.sdk_name}/{options.sdk_version}",
            ssl_context=options.ssl_context,
            proxy=options.proxy,
        )
        self._sender = Sender(self._queue, transport, workers=options.workers)
        self._sender.start()
        self._loop = loop

    async def aclose(self, *, timeout_s: float | None = None) -> Statistics:
        """Deliver what is pending, within a deadline, then stop. Again, or at the same time, is no error.

        Args:
            timeout_s: The deadline; ``close_timeout_s`` by default. What is pending then is dropped
                with the reason ``closed``.

        Returns:
            The ledger as it stands at the end.

        Raises:
            WrongLoopError: The client is open in another loop.
        """
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop) and not self._is_closed:
            raise WrongLoopError("the client is open in another event loop: close it there")
        if self._closing is None and self._loop is loop:
            limit = self._options.close_timeout_s if timeout_s is None else timeout_s
            self._closing = loop.create_task(self._close(limit), name="vwo_async close")
        self._is_closed = True
        self._loop = None
        # An integration that closes the client must not wait for its own end.
        from_within = self._integration is not None and self._integration.is_running_here()
        if self._closing is not None and not self._closing.done() and not from_within:
            await asyncio.shield(self._closing)
        return self.statistics()

    async def _close(self, timeout_s: float) -> None:
        ends_at = time.monotonic() + timeout_s
        if self._integration is not None:
            await self._integration.settle(timeout_s)
        if self._storage is not None:
            await self._storage.settle()
        if self._sender is not None:
            remaining = await self._sender.aclose(max(ends_at - time.monotonic(), 0.0))
            if remaining:
                logger.warning("closed with %d events not delivered", remaining)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if getattr(self, "_loop", None) is not None and not self._is_closed:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=1)

    # Ledger

    def statistics(self) -> Statistics:
        """Return the ledger: what became of every accepted event so far."""
        queue = self._queue
        return Statistics(
            accepted=queue.accepted,
            delivered=queue.delivered,
            rejected=queue.rejected,
            dropped=dict(queue.dropped),
            pending=queue.pending,
            pending_bytes=queue.pending_bytes,
            refused=queue.refused,
            requests=queue.requests,
            unknown=queue.unknown,
            storage_errors=0 if self._storage is None else self._storage.errors,
            callback_errors=0 if self._integration is None else self._integration.errors,
        )

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "new" if self._loop is None else "open"
        queue = self._queue
        return (
            f"<VWOClient {state}: {queue.accepted} accepted == {queue.delivered} delivered"
            f" + {queue.rejected} rejected + {queue.dropped.total()} dropped"
            f" + {queue.pending} pending>"
        )

    @property
    def settings_warnings(self) -> tuple[str, ...]:
        """What of the settings file is not used, and why."""
        return self._snapshot.plan.notes

    # API

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
        wait: bool | None = None,
    ) -> str | None:
        """Assign a variation of an A/B test and report it.

        A user whom the storage already knows is reported again only with
        *should_track_returning_user*. Follows the official ``activate``.

        Args:
            campaign_key: A running campaign of type A/B.
            user_id: At most 4096 bytes in UTF-8.
            custom_variables: For pre-segmentation.
            variation_targeting_variables: For whitelisting.
            should_track_returning_user: Report users again whom the storage knows.
            user_storage_data: A record in the official shape that stands in for reading the storage.
            meta_data: Stored with the decision.
            user_agent: The visitor's.
            user_ip_address: The visitor's.
            wait: Await delivery; by default where ``return_promise_for`` names ``activate``.

        Returns:
            The name of the variation, or None.

        Raises:
            ClosedError: The client is closed or belongs to another loop.
            InvalidInputError: Only with ``strict=True``.
        """
        self._enter()
        try:
            user = User(
                user_id,
                custom_variables=custom_variables,
                variation_targeting_variables=variation_targeting_variables,
                user_agent=user_agent,
                user_ip_address=user_ip_address,
            )
            decision = await self._decide(
                apis.ACTIVATE,
                campaign_key,
                user,
                user_storage_data,
                meta_data,
                resends=should_track_returning_user,
                wait=wait,
            )
        except InvalidInputError as error:
            self._refuse(apis.ACTIVATE, error)
            return None
        return None if decision is None else _variation_name(decision)

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

        Raises:
            ClosedError: The client is closed or belongs to another loop.
            InvalidInputError: Only with ``strict=True``.
        """
        self._enter()
        try:
            user = User(
                user_id,
                custom_variables=custom_variables,
                variation_targeting_variables=variation_targeting_variables,
            )
            decision = await self._decide(
                apis.GET_VARIATION_NAME, campaign_key, user, user_storage_data, meta_data
            )
        except InvalidInputError as error:
            self._refuse(apis.GET_VARIATION_NAME, error)
            return None
        return None if decision is None else _variation_name(decision)

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
        wait: bool | None = None,
    ) -> bool:
        """Tell whether a feature is on for the user, and report the variation he was given.

        A rollout is on for whom it admits; in a feature test the variation says so. See `activate` for
        the arguments. Follows the official ``isFeatureEnabled``.

        Raises:
            ClosedError: The client is closed or belongs to another loop.
            InvalidInputError: Only with ``strict=True``.
        """
        self._enter()
        try:
            user = User(
                user_id,
                custom_variables=custom_variables,
                variation_targeting_variables=variation_targeting_variables,
                user_agent=user_agent,
                user_ip_address=user_ip_address,
            )
            decision = await self._decide(
                apis.IS_FEATURE_ENABLED,
                campaign_key,
                user,
                user_storage_data,
                meta_data,
                resends=should_track_returning_user,
                wait=wait,
            )
        except InvalidInputError as error:
            self._refuse(apis.IS_FEATURE_ENABLED, error)
            return False
        if decision is None or decision.variation is None:
            return False
        return is_enabled(decision.campaign, decision.variation)

    async def get_feature_variable_value(
        self,
        campaign_key: str,
        variable_key: str,
        user_id: str,
        *,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        user_storage_data: Mapping[str, Any] | None = None,
        meta_data: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value of a feature variable for the user, None where there is none; report nothing.

        See `activate` for the arguments. Values are cast by the variable's type as in the Node SDK.
        Follows the official ``getFeatureVariableValue``.

        Raises:
            ClosedError: The client is closed or belongs to another loop.
            InvalidInputError: Only with ``strict=True``.
        """
        self._enter()
        try:
            if not variable_key:
                raise InvalidInputError("variable_key must be a non-empty str")
            check_text(variable_key, "variable_key")
            user = User(
                user_id,
                custom_variables=custom_variables,
                variation_targeting_variables=variation_targeting_variables,
            )
            decision = await self._decide(
                apis.GET_FEATURE_VARIABLE_VALUE, campaign_key, user, user_storage_data, meta_data
            )
        except InvalidInputError as error:
            self._refuse(apis.GET_FEATURE_VARIABLE_VALUE, error)
            return None
        if decision is None or decision.variation is None:
            return None
        return read_variable(decision.campaign, decision.variation, variable_key)

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
            revenue_value: For a revenue goal: int, float, Decimal, or a text that is passed through.
                0 and an empty text count as no revenue.
            custom_variables: For pre-segmentation.
            variation_targeting_variables: For whitelisting.
            goal_type_to_track: Only goals of this type; the launch option by default.
            should_track_returning_user: Report conversions again that the storage knows.
            user_storage_data: A record in the official shape that stands in for reading the storage.
            meta_data: Stored with the decision.
            event_properties: On the event architecture, sent with the event.
            user_agent: The visitor's.
            user_ip_address: The visitor's.
            wait: Await delivery; by default where ``return_promise_for`` names ``track``.

        Returns:
            A result that is true where the documents say true, holds a reason for each campaign, and
            whose ``delivery`` can be awaited in either mode.

        Raises:
            ClosedError: The client is closed or belongs to another loop.
            InvalidInputError: Only with ``strict=True``.
        """
        self._enter()
        try:
            if not goal_identifier:
                raise InvalidInputError("goal_identifier must be a non-empty str")
            check_text(goal_identifier, "goal_identifier")
            options = self._options
            properties, properties_json = read_properties(event_properties)
            call = TrackCall(
                User(
                    user_id,
                    custom_variables=custom_variables,
                    variation_targeting_variables=variation_targeting_variables,
                    user_agent=user_agent,
                    user_ip_address=user_ip_address,
                ),
                read_campaign_keys(campaign_key),
                goal_identifier,
                read_goal_choice(goal_type_to_track, options.goal_type_to_track),
                read_revenue(revenue_value),
                properties,
                properties_json,
                _choose(
                    should_track_returning_user,
                    options.should_track_returning_user,
                    "should_track_returning_user",
                ),
                _read_mapping(meta_data, "meta_data") or _NO_META_DATA,
            )
            given = _read_mapping(user_storage_data, "user_storage_data")
            waits = self._read_wait(apis.TRACK, wait)
        except InvalidInputError as error:
            self._refuse(apis.TRACK, error)
            return TrackResult({}, reason=Reason.INVALID_INPUT, detail=str(error))
        return await self._track(call, given, waits=waits)

    # The skeleton

    async def _decide(
        self,
        api: Api,
        campaign_key: str,
        user: User,
        user_storage_data: Mapping[str, Any] | None,
        meta_data: Mapping[str, Any] | None,
        *,
        resends: bool | None = None,
        wait: bool | None = None,
    ) -> Decision | None:
        """Decide one campaign, report and store as *api* does; None where it does not apply."""
        if not isinstance(campaign_key, str) or not campaign_key:
            raise InvalidInputError("campaign_key must be a non-empty str")
        given = _read_mapping(user_storage_data, "user_storage_data")
        meta_data = _read_mapping(meta_data, "meta_data")
        launch_resends = self._options.should_track_returning_user
        # As in the Node SDK, a call can ask for it but not take back what launch asked for.
        resends = _choose(resends, False, "should_track_returning_user") or launch_resends
        waits = self._read_wait(api, wait)
        snapshot = self._snapshot
        campaign = snapshot.plan.campaigns.get(campaign_key)
        refusal = find_refusal(campaign, api, has_storage=self._storage is not None)
        if campaign is None or refusal is not None:
            return None
        reading = Reading(self._storage, user, given)
        (decision,) = await reading.decide(snapshot.plan, (campaign,), api)
        variation = decision.variation
        if variation is None:
            return decision
        self._tell_integration(snapshot, decision, user, api)
        delivery = NO_DELIVERY
        if api.assigns and (decision.reason is not Reason.STORED or resends):
            make = (
                snapshot.press.make_arch_impression
                if snapshot.plan.is_event_arch
                else snapshot.press.make_impression
            )
            delivery = _delivery_of(self._put([make(user, campaign, variation)]))
        if self._storage is not None and decision.reason is Reason.ASSIGNED:
            record = StoredDecision(
                user.id, campaign.key, variation.name, meta_data=meta_data or _NO_META_DATA
            )
            await self._storage.write(record, reading.notes)
        if waits:
            await self._await(delivery)
        return decision

    async def _track(
        self, call: TrackCall, given: Mapping[str, Any] | None, *, waits: bool
    ) -> TrackResult:
        snapshot = self._snapshot
        storage = self._storage
        targets, results = sort_targets(snapshot, call, has_storage=storage is not None)
        reading = Reading(storage, call.user, given)
        delivery = NO_DELIVERY
        if len(results) < len(targets):
            lock = _NO_LOCK if storage is None else storage.serialised(call.user.id)
            async with lock:
                conversions = await find_conversions(snapshot, call, targets, reading, results)
                for one in conversions:
                    self._tell_integration(
                        snapshot, one.decision, call.user, apis.TRACK, call.goal_identifier
                    )
                if conversions:
                    events = make_events(snapshot, call, conversions, len(targets))
                    receipts = self._put(events)
                    delivery = _delivery_of(receipts)
                    accepted = _enter_receipts(conversions, receipts, results)
                    await self._store(call, accepted, reading)
        if waits:
            await self._await(delivery)
            results = conclude(results)
        return TrackResult(in_order(targets, results), delivery, notes=tuple(reading.notes))

    async def _store(
        self, call: TrackCall, accepted: Iterable[Conversion], reading: Reading
    ) -> None:
        if self._storage is None:
            return
        for one in accepted:
            record = make_record(call, one, reading)
            if record is not None:
                await self._storage.write(record, reading.notes)

    def _put(self, events: Sequence[Event]) -> Sequence[Receipt | None] | None:
        """Put *events* on the queue; None in development mode, which sends nothing."""
        if self._options.development_mode:
            return None
        assert self._sender is not None
        return self._sender.put(events)

    async def _await(self, delivery: Delivery) -> None:
        """Wait for the delivery, as long as launch allows; it goes on after that."""
        try:
            async with asyncio.timeout(self._options.wait_timeout_s):
                await delivery
        except TimeoutError:
            logger.warning("a call waited %s s for its delivery", self._options.wait_timeout_s)

    def _tell_integration(
        self,
        snapshot: Snapshot,
        decision: Decision,
        user: User,
        api: Api,
        goal_identifier: str | None = None,
    ) -> None:
        if self._integration is not None:
            namespace = snapshot.plan.visitor_namespace
            version = self._options.sdk_version
            self._integration.call(
                make_payload(namespace, decision, user, api, version, goal_identifier)
            )

    def _read_wait(self, api: Api, wait: bool | None) -> bool:
        return _choose(wait, api.name in self._options.return_promise_for, "wait")

    def _refuse(self, api: Api, error: InvalidInputError) -> None:
        """Log bad input in one line, without the input; with strict, raise it."""
        if self._options.strict:
            raise error
        logger.warning("%s: %s", api.name, error)


def launch(
    settings: Settings | bytes | str | Mapping[str, Any], **options: Unpack[LaunchOptions]
) -> VWOClient:
    """Return a client: the official name for making a `VWOClient`, with the same arguments and errors."""
    return VWOClient(settings, **options)


def _variation_name(decision: Decision) -> str | None:
    return None if decision.variation is None else decision.variation.name


def _delivery_of(receipts: Sequence[Receipt | None] | None) -> Delivery:
    if receipts is None:
        return DEVELOPMENT_DELIVERY
    return Delivery(tuple(receipt for receipt in receipts if receipt is not None))


def _enter_receipts(
    conversions: Sequence[Conversion],
    receipts: Sequence[Receipt | None] | None,
    results: dict[str, CampaignTrack],
) -> Sequence[Conversion]:
    if receipts is not None:
        return accept(conversions, receipts, results)
    for one in conversions:
        results[one.campaign.key] = CampaignTrack(True, Reason.TRACKED, one.variation.name)
    return conversions


def _choose(value: bool | None, default: bool, name: str) -> bool:
    """Return the option of the call, else that of launch."""
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be a bool")
    return value


def _read_mapping(value: Any, name: str) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, Mapping):
        raise InvalidInputError(f"{name} must be a mapping")
    return value
