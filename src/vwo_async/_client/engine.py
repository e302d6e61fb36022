"""What every API method works with: one life, one reporter, one storage, one snapshot in force."""

from __future__ import annotations

import asyncio
import os
import time
from asyncio import get_running_loop
from collections.abc import Mapping
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._core.api_method import Api
from .._core.feature_variable import is_enabled
from .._core.plan import Decision
from .._delivery.transport.by_name import make_fetcher
from .._delivery.transport.protocol import Fetcher
from .._error import ClosedError, WrongLoopError
from .._log import FailureLog, is_debugging, log_warning
from .._observer import Product
from .._reason import Reason
from .._refresh.gil_pause import GilPause
from .._refresh.source import EMPTY
from .._result import Statistics
from .._settings.campaign_type import AB_TEST
from .._settings.endpoint import FULLSTACK, SettingsEndpoint
from .._storage.access import StorageAccess
from .._storage.record import RowReader, read_row
from .._user import User
from .callback import Callback
from .consent import Consent
from .conversion_claims import ConversionClaims
from .fairness import LoopShare
from .integration import make_payload
from .loop_end import LoopEnd
from .observation import Observation
from .options import Options
from .reporter import CLOSE_GRACE_S, LOOP_END_SHARE, Reporter
from .settings_refresh import SettingsRefresh
from .settings_update import AnySnapshot
from .snapshot import Snapshot
from .stored_records import StoredRecords
from .unknown_key import UnknownKeys

# The share of the close time-out that is kept for releasing claims, and its maximum.
CLAIMS_SHARE = 0.3
MAX_CLAIMS_S = 2.0

if TYPE_CHECKING:
    from .._settings import Settings


SnapshotT = TypeVar("SnapshotT", bound=AnySnapshot)


class ClientEngine(Generic[SnapshotT]):
    """The life of one client, and the services that its API methods share, whatever the product.

    Args:
        snapshot: What is in force at first.
        options: Launch options.
        read_row: Returns what a row of the user storage says, see `StorageAccess`.

    Attributes:
        loop: Where the client is open, None where it is not.
        is_closed: Whether it was closed.
        options: Launch options.
        snapshot: The settings in force, with what follows from them.
        consent: Tells which users may be decided about and reported.
        reporter: Takes events and delivers them.
        claims: Claims and marks conversions in the user storage.
        storage: The user storage, None if there is none.
        has_storage: Whether there is a user storage.
        refuses: Whether nothing is decided where the storage fails.
        has_outbox: Whether calls wait until an outbox has their events.
        observation: Tells observers what the client does.
        is_observed: Whether some observer is told of decisions.
        lacks_settings: Whether there are no settings yet.
        unknown_keys: Takes the keys of calls that the settings do not have.
        loop_share: How long calls have held the current turn of the loop.
        loop_end: Closes the client with its loop, where nobody has closed it before.
        settings_refresh: Keeps the settings fresh.
    """

    # What differs between the products.

    endpoint: SettingsEndpoint[Any]
    product: Product

    def compile(self, settings: Any, pause: GilPause) -> SnapshotT:
        """Return what would be in force with *settings*; may take a while and may run in a thread."""
        raise NotImplementedError

    def __init__(
        self, snapshot: SnapshotT, options: Options, read_row: RowReader = read_row
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.is_closed = False
        self.options = options
        self.snapshot = snapshot
        self.consent = Consent(options.consent, options.storage_timeout_s)
        self.observation = Observation(options, self.product, self.statistics)
        self.is_observed = self.observation.hears_evaluations
        self.loop_share = LoopShare()
        self.reporter = Reporter(options, self.loop_share.wake, self.observation)
        self._closing: asyncio.Task[None] | None = None
        self.loop_end = LoopEnd(self._close_with_loop)
        self._was_closed_with_loop = False
        storage, timeout_s = options.user_storage, options.storage_timeout_s
        share = self.loop_share
        self.storage = (
            None
            if storage is None
            else StorageAccess(
                storage, timeout_s, read_row, wake=share.wake, is_crowded=share.has_waiting
            )
        )
        self.has_storage = self.storage is not None
        self.refuses = options.on_storage_error == "refuse"
        self.claims = ConversionClaims(self.storage, refuses=self.refuses)
        self.has_outbox = options.waits_for_outbox
        self.unknown_keys = UnknownKeys(is_strict=options.strict)
        self._integration = (
            Callback(options.integrations, "integrations") if options.integrations else None
        )
        # The process in which the client was opened: before that it may be made in one and used in another.
        self._pid: int | None = None
        self.settings_refresh = SettingsRefresh(self, options, self.make_fetcher)
        self.lacks_settings = self.settings_refresh.settings_update.origin == EMPTY
        self._is_lack_noted = False

    # Life

    def enter(self) -> bool:
        """Check that the client can be used here and now; open it on first use.

        Returns:
            Whether the calls of this client have held the event loop long enough: the caller must then
            await `next_turn` first.

        Raises:
            ClosedError: It was closed.
            WrongLoopError: It is open in another loop.
        """
        share = self.loop_share
        if share.ends_at and get_running_loop() is self.loop:
            share.now = now = monotonic()
            return now >= share.ends_at
        self._enter()
        share.enter()
        return False

    @property
    def is_open_here(self) -> bool:
        """Whether the client is open in this process: after a fork its parent has it."""
        return self.loop is not None and self._pid == os.getpid()

    @property
    def is_usable_here(self) -> bool:
        """Whether the client may still be used in this process."""
        return not self.is_closed and self._pid in (None, os.getpid())

    async def next_turn(self) -> None:
        """Wait for a later turn of the event loop, and check again: the client may be closed by then."""
        await self.loop_share.next()
        self._enter()

    def _enter(self) -> None:
        """Check everything; `enter` does so only until a turn of the event loop is timed."""
        loop = get_running_loop()
        pid = os.getpid()
        if loop is self.loop and pid == self._pid:
            return
        if self._was_closed_with_loop:
            raise WrongLoopError(
                "the client was closed with another event loop; make one for each loop"
            )
        if self.is_closed:
            raise ClosedError("the client is closed")
        if self._pid not in (None, pid):
            raise ClosedError("the client was opened before a fork; make a new one in this process")
        if self.loop is not None:
            raise WrongLoopError("the client belongs to another event loop; make one for each loop")
        self._pid = pid
        # What is started here outlives the call that came first: it must not hold that call's context.
        Context().run(self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.reporter.start(
            self.snapshot.account, self.claims.withdraw_on_failure, self.claims.confirm
        )
        self.settings_refresh.start()
        self.loop = loop
        self.loop_end.begin()
        self.on_started()
        self.observation.open()

    def on_started(self) -> None:
        """Do what a client of this product does first; it must not raise."""

    def on_updated(self) -> None:
        """Take note that another settings file is in force; it must not raise."""
        self.lacks_settings = False

    def note_lack(self) -> None:
        """Take note of a call that gives nothing for want of settings: the first one is logged."""
        if not self._is_lack_noted:
            self._is_lack_noted = True
            log_warning(
                "there are no settings yet: nothing is decided or sent until VWO gives them"
            )

    @property
    def answers_at_once(self) -> bool:
        """Whether deciding has nothing to wait for."""
        return not (self.has_storage or self.has_outbox or self.consent.is_asked)

    async def close_lookups(self) -> None:
        """Close what asks other servers about users; it must not take long."""

    def count_lookup_errors(self) -> int:
        """Return how many such questions were not answered."""
        return 0

    async def opened(self) -> None:
        """Wait until the outbox is open, and has what `on_started` put.

        Raises:
            OutboxError: It cannot be opened.
        """
        await self.reporter.opened()

    def make_fetcher(self) -> Fetcher:
        """Return a transport for settings files, as the options or their settings source describe it."""
        source, config = self.options.settings_source, self.options.settings_config
        fetcher, base_url = (
            (make_fetcher(config), config.base_url)
            if source is None
            else (source.make_transport(lambda: self.snapshot.settings), source.base_url)
        )
        return self.observation.watch_fetcher(fetcher, "settings", base_url)

    async def aclose(self, timeout_s: float | None) -> None:
        """Deliver what is pending within a deadline, then stop; only the first call does.

        Raises:
            WrongLoopError: The client is open in another loop.
        """
        loop = asyncio.get_running_loop()
        if self.loop not in (None, loop) and not self.is_closed:
            raise WrongLoopError("the client is open in another event loop: close it there")
        if self._closing is None and self.loop is loop:
            limit = self.options.close_timeout_s if timeout_s is None else timeout_s
            self._closing = loop.create_task(self._close(limit), name="vwo_async close")
        self.is_closed = True
        self.loop = None
        # A callback that closes the client must not wait for its own end.
        from_within = any(callback.is_running_here() for callback in self._callbacks())
        if self._closing is not None and not self._closing.done() and not from_within:
            await asyncio.shield(self._closing)

    async def _close_with_loop(self) -> None:
        """Close, in what of the time requests that were on their way when the loop ended have not had."""
        if self.is_closed:
            return
        self._was_closed_with_loop = True
        await self.aclose(self.options.close_timeout_s * (1 - LOOP_END_SHARE))

    async def _close(self, timeout_s: float) -> None:
        ends_at = time.monotonic() + timeout_s
        self.settings_refresh.stop()
        await self.close_lookups()
        # At the same time, so that a callback or storage that hangs costs no event its delivery.
        await asyncio.gather(
            self.reporter.close(ends_at - self._reserve(timeout_s)),
            *(callback.settle(timeout_s) for callback in self._callbacks()),
        )
        self.consent.close()
        # What the end of the last events set off.
        grace_s = max(ends_at - time.monotonic(), CLOSE_GRACE_S)
        storage = () if self.storage is None else (self.storage.aclose(grace_s),)
        await asyncio.gather(*storage, *(one.settle(grace_s) for one in self._callbacks()))
        await self.settings_refresh.aclose()
        self.observation.close()
        await self.loop_end.end()

    def _reserve(self, timeout_s: float) -> float:
        """Return how much of the close time-out is reserved for releasing the claims of dropped events."""
        has_claims = self.storage is not None and self.storage.has_claims
        return min(CLAIMS_SHARE * timeout_s, MAX_CLAIMS_S) if has_claims else 0.0

    def _callbacks(self) -> list[Callback]:
        own = [
            one for one in (self._integration, self.settings_refresh.callback) if one is not None
        ]
        return [*own, *self.reporter.list_callbacks(), *self.observation.callbacks]

    def statistics(self) -> Statistics:
        """Return the ledger."""
        return Statistics(
            gateway_errors=self.count_lookup_errors(),
            storage_errors=0 if self.storage is None else self.storage.errors,
            callback_errors=sum(callback.errors for callback in self._callbacks()),
            callbacks_left_out=sum(callback.left_out for callback in self._callbacks()),
            **self.reporter.count(),
            **self.settings_refresh.count(),
        )

    async def opt_out(self) -> bool:
        """Stop deciding and reporting for everybody, and deliver what was accepted before."""
        self.consent.opt_out_everybody()
        self.settings_refresh.stop()
        await self.reporter.flush()
        return True

    def make_stored_records(
        self, user: User, given_record: Mapping[str, Any] | None
    ) -> StoredRecords:
        """Return an empty view of the user storage for one call about *user*."""
        return StoredRecords(self.storage, user, given_record, refuses=self.refuses)


class Engine(ClientEngine[Snapshot]):
    """What the API methods of a `VWOClient` work with.

    Args:
        settings: The settings file in force at first.
        options: Launch options.

    Attributes:
        has_quick_path: Whether deciding and reporting have nothing to wait for and nobody to tell, so
            that plain functions can do both; with an outbox the caller then has the event kept.
        refusals: Tells of calls for campaigns that the method does not apply to.
        has_stored_path: The same with a user storage that takes rounds, which is waited for, as an outbox is.
    """

    endpoint = FULLSTACK
    product = "fullstack"

    def __init__(self, settings: Settings, options: Options) -> None:
        source = options.settings_source
        plan = None if source is None else source.take_plan(settings)
        super().__init__(Snapshot(settings, options, time.time, plan=plan), options)
        self.refusals = FailureLog("campaigns")
        self.has_quick_path = (
            options.user_storage is None
            and options.integrations is None
            and not options.development_mode
        )
        self.has_stored_path = (
            self.storage is not None
            and self.storage.marks_with_claim
            and options.integrations is None
            and not options.development_mode
            and not options.should_track_returning_user
        )

    def compile(self, settings: Settings, pause: GilPause) -> Snapshot:
        """Return what would be in force with *settings*; may take a while and may run in a thread."""
        return Snapshot(settings, self.options, time.time, previous=self.snapshot, pause=pause)

    def tell_integration(
        self,
        snapshot: Snapshot,
        decision: Decision,
        user: User,
        api: Api,
        goal_identifier: str | None = None,
    ) -> None:
        """Tell the integrations callback of a decision that gave a variation."""
        if self._integration is not None:
            name_visitor = snapshot.plan.name_visitor
            version = self.options.sdk_version
            self._integration.call(
                make_payload(name_visitor, decision, user, api, version, goal_identifier)
            )

    def observe(
        self, api: Api, campaign_key: object, user_id: object, decision: Decision | Reason
    ) -> None:
        """Tell observers and log, if any want to know, of a decision or the reason why there is none."""
        if not (self.is_observed or is_debugging()):
            return
        reason, state, name = decision, None, None
        if isinstance(decision, Decision):
            campaign, variation, reason = decision.campaign, decision.variation, decision.reason
            name = None if variation is None else variation.name
            if campaign.type != AB_TEST:
                state = variation is not None and is_enabled(campaign, variation)
        assert isinstance(reason, Reason)
        settings = self.snapshot.settings
        self.observation.tell(settings, api.name, campaign_key, user_id, reason, state, name)
