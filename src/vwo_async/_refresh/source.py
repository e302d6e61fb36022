"""Loads a service's settings from VWO or, if VWO cannot be reached, from the last known good file on disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypedDict, TypeVar, Unpack

from anyio import to_thread

from .._core.fme.lazy_plan import compile_fme_plan
from .._core.lazy_plan import compile_plan
from .._delivery.transport.brand import Brand, find_fme_address
from .._delivery.transport.by_name import make_fetcher
from .._delivery.transport.config import TransportConfig
from .._delivery.transport.intermediary import (
    Destination,
    GatewayService,
    find_destination,
)
from .._delivery.transport.protocol import MAX_TIMEOUT_S, Fetcher, Timeouts, choose_base_url
from .._error import DeliveryError, InvalidInputError, SettingsError, VWOError, without_frames
from .._log import FailureLog, log_warning
from .._observer import Observer
from .._plain import is_kind, is_number_of
from .._sdk_key import SdkKey
from .._settings.endpoint import FME, FULLSTACK, SettingsEndpoint
from .._settings.last_known_good import LastKnownGood, describe_os_error
from .._settings.seal import KeptSettings, SettingsSeal, UnusableError
from .._version import USER_AGENT
from .fetch import fetch_body, may_pass, read_account
from .gil_pause import GilPause
from .observed_fetch import check_observers, watch_fetcher
from .shared_settings import SharedFetcher, SharedSettings, name_shared

if TYPE_CHECKING:
    from .._settings import FMESettings, Settings

GIVEN, VWO, SHARED, DISK, EMPTY = "given", "vwo", "shared", "disk", "empty"
DAY_S = 86_400.0
MIN_POLL_INTERVAL_S = 1.0
# A disk that hangs must not delay a start or the next refresh.
DISK_TIMEOUT_S = 5.0
# While VWO sends the same file again and again, its time on disk is renewed this often.
REWRITE_INTERVAL_S = 3600.0

# A service that starts waits this long before each further try, within the time of one request.
RETRY_WAITS_S = (0.2, 0.4, 0.8)

_ResultT = TypeVar("_ResultT")


# How often a file of FME is fetched where neither the file nor the caller says so, as in the official SDKs.
FME_POLL_INTERVAL_S = 600.0
FROM_FILE: Final = "file"
# How often VWO is asked for a shared file where nobody polls, or it is not known yet how often.
UNPOLLED_S = 60.0


class SourceOptions(TypedDict, total=False):
    """The keyword arguments of an `FMESettingsSource` that are those of `SettingsSource`, for type checkers."""

    last_known_good: str | os.PathLike[str] | None
    shared: SharedSettings | None
    max_age_s: float
    min_refresh_interval_s: float
    timeouts: Timeouts | None
    ssl_context: ssl.SSLContext | None
    proxy: str | None
    wall_clock: Callable[[], float]
    observers: Iterable[Observer]


class Loaded(NamedTuple):
    """Where loaded settings came from.

    Attributes:
        origin: ``vwo``, ``shared``, ``disk`` or ``empty``.
        digest: Digest of the file as VWO sent it; empty if it came from elsewhere.
        fetched_at: When VWO sent it, in monotonic seconds; None if it did not.
    """

    origin: str
    digest: bytes
    fetched_at: float | None


class SettingsSource:
    """Loads the settings file of one account and environment, and keeps the settings of clients fresh.

    ``await source.load()`` returns the settings to start with. A client that gets the source as
    ``settings_source`` polls while it is open. One source may serve several clients.

    Args:
        account_id: The VWO account.
        sdk_key: The key of the environment.
        poll_interval_s: Seconds between two polls of a client, at least 1; varied at random by up to a
            tenth, and longer after failures. None: no polling.
        last_known_good: Path of a file in which every good settings file is kept, without the SDK key
            and with mode 0600, so that a service can start while VWO cannot be reached. Its folder must
            exist.
        shared: Shares the file with other processes, as `vwo_async.fleet.RedisSettings` does: one of them asks
            VWO, the others have its answer within a second.
        max_age_s: For how many seconds after VWO sent it a kept or shared file can be used.
        min_refresh_interval_s: The least number of seconds between two refreshes of a client, whoever
            asks for them.
        base_url: Where VWO is: https, or http on a loopback host. None: at VWO's own address.
        timeouts: Limits of a request.
        ssl_context: To trust other certificates; verification cannot be turned off.
        proxy: URL of an HTTP proxy. Proxy variables of the environment are not read.
        wall_clock: Returns the seconds since the epoch; for tests of time.
        observers: Are told of the requests of `load`, see `vwo_async.observer`; those of a client are told
            to the observers of that.

    Attributes:
        account_id: The VWO account.
        sdk_key: The key of the environment, in a type that does not show it.
        poll_interval_s: See above.
        min_refresh_interval_s: See above.

    Raises:
        InvalidInputError: An argument cannot be used.
    """

    # What differs between the products.
    endpoint: SettingsEndpoint[Any] = FULLSTACK
    _destination: Destination | None = None
    # For the repr, which a traceback shows although an argument cannot be used.
    account_id: int | str = ""
    poll_interval_s: float | None = None

    def __init__(
        self,
        account_id: int | str,
        sdk_key: str,
        *,
        poll_interval_s: float | None = 60.0,
        last_known_good: str | os.PathLike[str] | None = None,
        shared: SharedSettings | None = None,
        max_age_s: float = 7 * DAY_S,
        min_refresh_interval_s: float = 1.0,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        wall_clock: Callable[[], float] = time.time,
        observers: Iterable[Observer] = (),
    ) -> None:
        try:
            self.sdk_key = SdkKey.read(sdk_key)
        finally:
            # Tools that report errors show the locals of each frame.
            del sdk_key
        self.account_id = account_id = read_account(account_id)
        _check_seconds(poll_interval_s, max_age_s, min_refresh_interval_s)
        self._observers = check_observers(observers)
        self.poll_interval_s = poll_interval_s
        self.min_refresh_interval_s = min_refresh_interval_s
        self._keep_failures = FailureLog("the settings could not be kept")
        self._wall_clock = wall_clock
        self._rewrite_interval_s = min(REWRITE_INTERVAL_S, max_age_s / 4)
        self._disk = self._make_disk(last_known_good, max_age_s)
        if shared is not None and not callable(getattr(shared, "lead", None)):
            raise InvalidInputError("shared must have the methods of RedisSettings")
        self._shared = shared
        self._seal = SettingsSeal(
            account_id, self.sdk_key, max_age_s=max_age_s, wall_clock=wall_clock
        )
        address, allows_http = self._destination or Destination(choose_base_url(base_url))
        self._transport_config = TransportConfig(
            address, timeouts, USER_AGENT, ssl_context, proxy, allows_http
        )
        # So that a bad argument raises here and not at the first request.
        self.make_transport()
        self._loaded: tuple[weakref.ref[Any], Loaded] | None = None
        self._plan: Any = None
        self._kept: tuple[bytes, float] | None = None

    def _make_disk(
        self, path: str | os.PathLike[str] | None, max_age_s: float
    ) -> LastKnownGood | None:
        """Return where good files are kept; None where they are not."""
        if path is None:
            return None
        clock = self._wall_clock
        return LastKnownGood(
            path, self.account_id, self.sdk_key, max_age_s=max_age_s, wall_clock=clock
        )

    async def load(self, *, or_empty: bool = False) -> Settings:
        """Return the settings from VWO or, if that fails, the last known good ones.

        What may pass (no answer, 429, 5xx, an answer that is no settings file) is tried up to four times
        within ``timeouts.total_s``.

        Args:
            or_empty: Whether a service starts without any settings too: where there are none, those returned
                hold nothing. A client with them and this source finds nothing that it could decide, asks
                VWO again and again, from a second on up to half a minute, and comes to life with the first
                good answer.

        Raises:
            DeliveryError: VWO could not be reached, or refused, and there is no last known good file.
            SettingsError: VWO's answer is not a settings file of this account and key, and there is no
                last known good file.
        """
        settings: Settings = await self._load_checked(or_empty=or_empty)
        return settings

    async def _load_checked(self, *, or_empty: bool) -> Any:
        try:
            return await self._load()
        except VWOError as error:
            failure = error
        if not or_empty:
            raise without_frames(failure)
        log_warning("%s: nothing is decided until VWO gives a settings file", failure)
        return await self._make_empty()

    async def _make_empty(self) -> Any:
        """Return settings that hold nothing but the account."""
        file: dict[str, Any] = {"version": 1, "accountId": self.account_id, "campaigns": []}
        settings = await self._read(json.dumps(file).encode(), lacks_key=True)
        self._loaded = weakref.ref(settings), Loaded(EMPTY, b"", None)
        return settings

    async def _load(self) -> Any:
        started_at = time.monotonic()
        transport = watch_fetcher(
            self.make_transport(), self._observers, self.endpoint.product, self.base_url
        )
        try:
            body, settings = await self._fetch(transport)
        except (DeliveryError, SettingsError) as error:
            return await self._load_kept(error)
        finally:
            await transport.aclose()
        digest = await to_thread.run_sync(_digest, body)
        self._loaded = weakref.ref(settings), Loaded(VWO, digest, started_at)
        await self.keep(body, digest)
        return settings

    async def _fetch(self, transport: Fetcher) -> tuple[bytes, Any]:
        """Return the file and its settings; try again where that may help, within the time of one request."""
        timeouts = self._transport_config.timeouts or Timeouts()
        waits_s = iter(RETRY_WAITS_S)
        failure: DeliveryError | SettingsError = DeliveryError(
            f"the settings could not be fetched: no answer within {timeouts.total_s:g} s"
        )
        try:
            async with asyncio.timeout(timeouts.total_s):
                while True:
                    try:
                        return await self._fetch_once(transport)
                    except (DeliveryError, SettingsError) as error:
                        failure = error
                    wait_s = next(waits_s, None)
                    if wait_s is None or not may_pass(failure):
                        break
                    await asyncio.sleep(wait_s)
        except TimeoutError:
            pass
        raise failure

    async def _fetch_once(self, transport: Fetcher) -> tuple[bytes, Any]:
        body = await fetch_body(
            transport,
            self.account_id,
            self.sdk_key,
            via_webhook=False,
            endpoint=self.endpoint,
            base_url=self.base_url,
        )
        return body, await self._read(body)

    async def _read(self, body: bytes, *, lacks_key: bool = False) -> Any:
        """Return the settings in *body*, with the SDK key if they lack it, and compile their plan."""
        pause = GilPause()

        def work() -> tuple[Any, Any]:
            settings = self.endpoint.read(body, self.account_id, self.sdk_key, pause)
            if lacks_key:
                settings = settings.model_copy(update={"sdk_key": self.sdk_key})
            return settings, self._compile(settings, pause)

        try:
            settings, self._plan = await to_thread.run_sync(work, abandon_on_cancel=True)
        finally:
            pause.cancel()
        return settings

    def _compile(self, settings: Any, pause: GilPause) -> Any:
        return compile_plan(settings, pause=pause)

    async def _load_kept(self, error: DeliveryError | SettingsError) -> Any:
        """Return settings that were shared or kept before, or raise *error* if none can be used."""
        transport = self.make_transport()
        try:
            kept = await transport.read_kept() if isinstance(transport, SharedFetcher) else None
        finally:
            await transport.aclose()
        if kept is not None:
            with suppress(SettingsError):
                return self._use_kept(
                    await self._read(kept.body, lacks_key=True), kept, SHARED, error
                )
        return await self._load_from_disk(error)

    async def _load_from_disk(self, error: DeliveryError | SettingsError) -> Any:
        if self._disk is None:
            raise error
        try:
            async with asyncio.timeout(DISK_TIMEOUT_S):
                kept = await _run_in_own_thread(self._disk.load)
            # It was kept without the SDK key.
            settings = await self._read(kept.body, lacks_key=True)
        except UnusableError as unusable:
            log_warning("the last known good settings cannot be used: %s", unusable)
            raise error from None
        except TimeoutError:
            log_warning("the last known good settings cannot be used: the disk does not answer")
            raise error from None
        except SettingsError:
            log_warning("the last known good settings cannot be used: they are no settings file")
            raise error from None
        return self._use_kept(settings, kept, DISK, error)

    def _use_kept(self, settings: Any, kept: KeptSettings, origin: str, error: Exception) -> Any:
        age_s = max(self._wall_clock() - kept.wall_s, 0.0)
        log_warning("%s: the last known good ones are used, %d s old", error, age_s)
        self._loaded = weakref.ref(settings), Loaded(origin, b"", time.monotonic() - age_s)
        return settings

    # For clients

    @property
    def keep_errors(self) -> int:
        """How often the file could not be kept."""
        return self._keep_failures.count

    @property
    def base_url(self) -> str:
        """Where the settings file is."""
        return self._transport_config.base_url

    def make_transport(self, find_settings: Callable[[], Any] = lambda: None) -> Fetcher:
        """Return a transport for the settings file.

        Args:
            find_settings: Returns the settings in force, None where there are none yet.
        """
        fetcher = make_fetcher(self._transport_config)
        if self._shared is None:
            return fetcher
        return SharedFetcher(
            fetcher,
            self.endpoint,
            self._shared,
            self._seal,
            self.sdk_key,
            lambda: self._find_shared_interval_s(find_settings()),
            self._wall_clock,
        )

    def _find_shared_interval_s(self, settings: Any) -> float:
        """Return how often VWO is asked in the name of all processes, where these are the settings in force."""
        return UNPOLLED_S if self.poll_interval_s is None else self.find_poll_interval_s(settings)

    @property
    def is_shared(self) -> bool:
        """Whether other processes may have a newer file."""
        return self._shared is not None

    async def watch(self, on_news: Callable[[], object]) -> None:
        """Call *on_news* whenever another process may have got a newer file, until cancelled."""
        if self._shared is not None:
            await self._shared.watch(name_shared(self.endpoint, self._seal), on_news)

    def find_loaded(self, settings: object) -> Loaded | None:
        """Return where *settings* came from; None if they were not loaded by this source."""
        if self._loaded is None or self._loaded[0]() is not settings:
            return None
        return self._loaded[1]

    def take_plan(self, settings: object) -> Any:
        """Return the plan of *settings*, once, if they are the last ones that were loaded."""
        if self.find_loaded(settings) is None:
            return None
        plan, self._plan = self._plan, None
        return plan

    def find_poll_interval_s(self, settings: Any) -> float:
        """Return the seconds until the next poll of a client with *settings*; only for those that poll."""
        assert self.poll_interval_s is not None
        return self.poll_interval_s

    def is_for(self, account_id: int | str, sdk_key: SdkKey) -> bool:
        """Tell whether this source loads the settings of this account and key."""
        return str(account_id) == str(self.account_id) and sdk_key == self.sdk_key

    async def keep(self, body: bytes, digest: bytes) -> None:
        """Keep on disk the file that VWO sent just now, if a path was given; failures are counted."""
        if self._disk is None:
            return
        wall_s = self._wall_clock()
        if self._kept is not None:
            kept, kept_wall_s = self._kept
            if kept == digest and 0 <= wall_s - kept_wall_s < self._rewrite_interval_s:
                return
        try:
            async with asyncio.timeout(DISK_TIMEOUT_S):
                await _run_in_own_thread(partial(self._disk.save, body, wall_s))
        except Exception as error:  # noqa: BLE001 - settings that cannot be kept are used all the same
            self._keep_failures.add(_describe_keep_error(error))
        else:
            self._kept = digest, wall_s

    def __repr__(self) -> str:
        poll = self.poll_interval_s
        polling = "not polled" if poll is None else f"polled every {poll:g} s"
        return f"<{type(self).__name__} of account {self.account_id}, {polling}>"


class FMESettingsSource(SettingsSource):
    """A `SettingsSource` for the v2 settings files of VWO FME.

    Args:
        account_id: As for `SettingsSource`, like all that are not named here.
        sdk_key: The key of the environment.
        poll_interval_s: ``file``: as often as the file in force asks for, every ten minutes where it does
            not say, and never more than once a second. Else as for `SettingsSource`.
        brand: ``vwo``, or ``wingify`` for an account of Wingify: whose host has the file.
        base_url: Where the file is, in place of the brand's host.
        gateway_service: Where a gateway service is, in place of both; see the launch option.
        proxy_url: Where a proxy is, in place of both; see the launch option.
        **options: See `SettingsSource`.

    Attributes:
        brand: The brand whose host is asked; None where another address is.
    """

    endpoint = FME

    def __init__(
        self,
        account_id: int | str,
        sdk_key: str,
        *,
        poll_interval_s: float | Literal["file"] | None = FROM_FILE,
        brand: Brand = "vwo",
        base_url: str | None = None,
        gateway_service: GatewayService | None = None,
        proxy_url: str | None = None,
        **options: Unpack[SourceOptions],
    ) -> None:
        try:
            address = find_fme_address(brand, base_url)
            has_own = base_url is not None
            if gateway_service is not None or proxy_url is not None:
                self._destination = find_destination("", gateway_service, proxy_url)
                has_own = True
            self.brand = None if has_own else brand
            self._follows_file = is_kind(poll_interval_s, str) and poll_interval_s == FROM_FILE
            # What is neither is refused there.
            interval_s: Any = FME_POLL_INTERVAL_S if self._follows_file else poll_interval_s
            super().__init__(
                account_id, sdk_key, poll_interval_s=interval_s, base_url=address, **options
            )
        finally:
            # As in `SettingsSource`; a proxy's URL may hold a password.
            del sdk_key, options

    def find_poll_interval_s(self, settings: FMESettings) -> float:
        """Return the seconds until the next poll of a client with *settings*; only for those that poll."""
        asked_ms = settings.poll_interval_ms if self._follows_file else None
        if asked_ms is None:
            return super().find_poll_interval_s(settings)
        return max(asked_ms / 1000, MIN_POLL_INTERVAL_S)

    async def load(self, *, or_empty: bool = False) -> FMESettings:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # a file of the other product
        """Return the settings from VWO or, if that fails, the last known good ones; see `SettingsSource.load`.

        Raises:
            DeliveryError: VWO could not be reached, or refused, and there is no last known good file.
            SettingsError: VWO's answer is not a v2 settings file of this account and key, and there is no
                last known good file.
        """
        settings: FMESettings = await self._load_checked(or_empty=or_empty)
        return settings

    def _find_shared_interval_s(self, settings: FMESettings | None) -> float:
        # What the file asks for is not known before there is one, and may be less than the default.
        loaded = self.find_loaded(settings)
        is_unknown = settings is None or (loaded is not None and loaded.origin == EMPTY)
        if self._follows_file and is_unknown:
            return UNPOLLED_S
        return super()._find_shared_interval_s(settings)

    def _compile(self, settings: Any, pause: GilPause) -> Any:
        return compile_fme_plan(settings, pause)


def _describe_keep_error(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the disk does not answer"
    if isinstance(error, OSError):
        return describe_os_error(error)
    return str(error) if isinstance(error, UnusableError) else type(error).__name__


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _check_seconds(
    poll_interval_s: object, max_age_s: object, min_refresh_interval_s: object
) -> None:
    if poll_interval_s is not None:
        _check_number("poll_interval_s", poll_interval_s, MIN_POLL_INTERVAL_S)
    _check_number("max_age_s", max_age_s, 0.0)
    _check_number("min_refresh_interval_s", min_refresh_interval_s, 0.0)


def _check_number(name: str, value: Any, least: float) -> None:
    if not is_number_of(value, least, MAX_TIMEOUT_S):
        raise InvalidInputError(f"{name} must be a number of seconds, {least:g} or more")


async def _run_in_own_thread(work: Callable[[], _ResultT]) -> _ResultT:
    """Run *work* in a daemon thread, which does not delay the process's exit: a disk may hang for ever."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_ResultT] = loop.create_future()

    def settle(result: _ResultT | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def run() -> None:
        result: _ResultT | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            failure = error
        # The loop may be closed by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="vwo_async settings", daemon=True).start()
    return await future
