"""Launch options: what they are, their defaults, and what is wrong with them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict, cast

from .._delivery.bound import is_number
from .._delivery.event_stream import EventStream
from .._delivery.outbox.protocol import Outbox
from .._delivery.queue import Batching, Limits
from .._delivery.transport.by_name import TransportName, check_transport_name
from .._delivery.transport.config import TransportConfig
from .._delivery.transport.intermediary import Destination
from .._delivery.transport.protocol import (
    VWO_BASE_URL,
    Timeouts,
    Transport,
    check_base_url,
    choose_base_url,
)
from .._delivery.transport.proxy import read_proxy
from .._delivery.transport.tls import check_ssl_context
from .._error import DeliveryError, InvalidInputError, MissingExtraError, VWOError
from .._observer import Observer, read_observers
from .._plain import to_plain
from .._refresh.source import SettingsSource
from .._result import Outcome
from .._settings.change import SettingsChange
from .._user import find_text_fault
from .._version import PACKAGE_NAME, __version__
from ..storage.protocol import PlainUserStorage, UserStorage
from .api_names import FME, FULLSTACK, awaiting_methods, find_nearest, to_snake
from .consent import ConsentHook
from .official_names import find_replacement
from .option_readers import (
    Reader,
    bounds_of,
    instance_of,
    one_of,
    optional,
    read_bool,
    read_callable,
    read_seconds,
    read_text,
    read_user_storage,
    whole_number,
)


class GoalType(StrEnum):
    """Which goals a track call means: those of one type, or all."""

    REVENUE = "REVENUE_TRACKING"
    CUSTOM = "CUSTOM_GOAL"
    ALL = "ALL"


Integration: TypeAlias = Callable[[dict[str, Any]], object]

DropHook: TypeAlias = Callable[[Outcome, dict[str, Any]], object]
FlushCallback: TypeAlias = Callable[[DeliveryError | None, list[dict[str, Any]]], object]
SettingsHook: TypeAlias = Callable[[SettingsChange], object]
UserIdEncoding: TypeAlias = Literal["utf-8", "node"]
OnStorageError: TypeAlias = Literal["decide", "refuse"]


class BatchEvents(TypedDict, total=False):
    """How events are batched; one of the two numbers is needed.

    Attributes:
        events_per_request: Events that leave together, 1..5000; 100 by default.
        request_time_interval: Seconds that the first waits at most, 1 or more; 600 by default.
        flush_callback: Called, or awaited, with an error or None and the list of events, for each
            request that ended.
    """

    events_per_request: int
    request_time_interval: float
    flush_callback: FlushCallback | None


def read_goal_type(value: object) -> GoalType:
    """Return the goal type that *value* names.

    Raises:
        InvalidInputError: It names none.
    """
    plain = to_plain(value)
    if type(plain) is str and plain in tuple(GoalType):
        return GoalType(plain)
    # By the names of the official SDK's constants.
    if type(plain) is str and plain in GoalType.__members__:
        return GoalType[plain]
    raise InvalidInputError(f"must be one of {', '.join(GoalType)}")


def _read_integration(value: Any) -> object:
    """Accept a function, or what has it as ``callback``, as in the official SDKs."""
    if callable(value):
        return value
    found = (
        value.get("callback") if isinstance(value, Mapping) else getattr(value, "callback", None)
    )
    if not callable(found):
        raise InvalidInputError('must be callable, or {"callback": a function}')
    return found


def _read_batch_events(value: object) -> Batching:
    known = BatchEvents.__annotations__.keys()
    if not isinstance(value, Mapping) or not value.keys() <= known:
        raise InvalidInputError(f"must be a mapping with keys of {', '.join(known)}")
    events = value.get("events_per_request")
    interval_s = value.get("request_time_interval")
    if events is None and interval_s is None:
        raise InvalidInputError("needs events_per_request or request_time_interval")
    if events is not None and not (is_number(events, int) and 1 <= events <= 5000):
        raise InvalidInputError("events_per_request must be a whole number from 1 to 5000")
    if interval_s is not None and not (
        is_number(interval_s, (int, float)) and 1 <= interval_s <= 10**7
    ):
        raise InvalidInputError("request_time_interval must be a number of seconds, 1 or more")
    optional(read_callable)(value.get("flush_callback"))
    default = Batching()
    return Batching(events or default.events, interval_s or default.interval_s)


def _read_outbox(value: object) -> object:
    if isinstance(value, (str, os.PathLike)):
        from .._delivery.outbox.sqlite import SqliteOutbox  # noqa: PLC0415 - not before it is needed

        return SqliteOutbox(value)
    if not (callable(getattr(value, "append", None)) or _is_stream(value)):
        raise InvalidInputError("must be a path or an outbox")
    return value


def _is_stream(value: object) -> bool:
    return callable(getattr(value, "hand_over", None))


def _read_base_url(value: object) -> object:
    if not isinstance(value, str | None):
        raise InvalidInputError("must be a str")
    base_url = choose_base_url(value)
    check_base_url(base_url)
    return base_url


def _read_ssl_context(value: object) -> object:
    instance_of(ssl.SSLContext)(value)
    assert isinstance(value, ssl.SSLContext)
    check_ssl_context(value)
    return value


def _read_proxy(value: object) -> object:
    if not isinstance(value, str):
        raise InvalidInputError("must be a str")
    read_proxy(value)
    return value


def _read_salt(value: object) -> object:
    if not isinstance(value, (str, bytes)) or not value:
        raise InvalidInputError("must be a non-empty str or bytes")
    if isinstance(value, str) and find_text_fault(value):
        raise InvalidInputError("must be text that can be encoded")
    return value


def _read_transport(value: object) -> object:
    if value is None or isinstance(value, str):
        return check_transport_name(value or "httpx")
    if not callable(getattr(value, "send", None)):
        raise InvalidInputError("must have the methods send and aclose")
    return value


def option(reader: Reader, default: Any, *, is_shown: bool = True) -> Any:
    """Return the field of a launch option.

    Args:
        reader: Returns the value for what was given, or says what is wrong with it.
        default: The value where nothing was given.
        is_shown: Whether it stands in the repr.
    """
    return field(default=default, repr=is_shown, metadata={"reader": reader})


class SharedLaunchOptions(TypedDict, total=False):
    """The keyword arguments that both clients have, for type checkers.

    What each one means stands at the field of that name in `Options`.
    """

    user_storage: UserStorage | PlainUserStorage | None
    on_storage_error: OnStorageError
    return_promise_for: Mapping[str, bool] | Iterable[str] | None
    integrations: Integration | Mapping[str, Integration] | None
    observers: Iterable[Observer]
    pseudonym_salt: str | bytes | None
    batch_events: BatchEvents | None
    outbox: str | os.PathLike[str] | Outbox | EventStream | None
    on_drop: DropHook | None
    consent: ConsentHook | None
    settings_source: SettingsSource | None
    on_settings_change: SettingsHook | None
    development_mode: bool
    strict: bool
    base_url: str | None
    sdk_name: str
    sdk_version: str
    storage_timeout_s: float
    wait_timeout_s: float | None
    close_timeout_s: float
    timeouts: Timeouts
    limits: Limits
    workers: int
    ssl_context: ssl.SSLContext | None
    proxy: str | None
    transport: Transport | TransportName | None


class LaunchOptions(SharedLaunchOptions, total=False):
    """The keyword arguments of `VWOClient` and `launch`, for type checkers."""

    goal_type_to_track: GoalType | str
    should_track_returning_user: bool
    user_id_encoding: UserIdEncoding


@dataclass(frozen=True, slots=True)
class Options:
    """Launch options, checked: each with its type, reader, default and meaning."""

    user_storage: UserStorage | PlainUserStorage | None = option(optional(read_user_storage), None)
    """Keeps users in their variation, and each conversion counted once."""

    on_storage_error: OnStorageError = option(one_of("decide", "refuse"), "decide")
    """What to do where the user storage fails or does not answer: ``decide`` as if it held no record, and
    count a conversion of which only the claim failed; or ``refuse``, which gives no variation and tracks
    nothing, so that no user can change variation and no conversion can count twice. With either, ``track``
    answers ``Reason.STORAGE_ERROR`` for a user whose record could not be read."""

    return_promise_for: frozenset[str] = option(awaiting_methods(FULLSTACK, FME), frozenset())
    """The API methods whose calls await delivery: ``{"all": True}``, ``{"track": True}``, or a set of
    names, the official or this package's. Those of `VWOClient` that send are ``activate``,
    ``is_feature_enabled``, ``track`` and ``push``; those of `FMEClient` ``get_flag``, ``track_event`` and
    ``set_attribute``."""

    goal_type_to_track: GoalType = option(read_goal_type, GoalType.ALL)
    """Which goals a track call means unless it says otherwise."""

    should_track_returning_user: bool = option(read_bool, False)
    """Report users and conversions again although the storage knows them."""

    integrations: Integration | None = option(optional(_read_integration), None)
    """Called with a dict for each decision that gave a variation; also as ``{"callback": function}``."""

    observers: tuple[Observer, ...] = option(read_observers, ())
    """Told of decisions, requests and the client's life: those of `vwo_async.integrations.opentelemetry` and
    `vwo_async.integrations.sentry`, and your own, see `vwo_async.observer`."""

    pseudonym_salt: str | bytes | None = option(optional(_read_salt), None, is_shown=False)
    """The key of the hash that stands for users in the log and in telemetry: a secret that all processes share,
    so that a user has the same pseudonym in all of them. None: drawn at random for each process."""

    batch_events: Batching | None = option(optional(_read_batch_events), None)
    """Collect events and send many in one request, see `BatchEvents`."""

    outbox: Outbox | EventStream | None = option(optional(_read_outbox), None)
    """A path, or an `Outbox`: accepted events are kept there until they have ended, and survive the
    process."""

    on_drop: DropHook | None = option(optional(read_callable), None)
    """Called with the outcome and a description of each event that did not reach VWO."""

    consent: ConsentHook | None = option(optional(read_callable), None)
    """Asked with the user id on every call; where it does not answer true, nothing is decided, stored or
    sent."""

    settings_source: SettingsSource | None = option(optional(instance_of(SettingsSource)), None)
    """Keeps the settings fresh while the client is open, see `SettingsSource`."""

    on_settings_change: SettingsHook | None = option(optional(read_callable), None)
    """Called with a `SettingsChange` when settings were put in force that differ in meaning from those
    before."""

    user_id_encoding: UserIdEncoding = option(one_of("utf-8", "node"), "utf-8")
    """``utf-8``, or ``node`` to bucket ids outside ASCII as the Node SDK does."""

    development_mode: bool = option(read_bool, False)
    """Decide and store as usual, send nothing."""

    strict: bool = option(read_bool, False)
    """Raise `InvalidInputError` out of API methods instead of returning a falsy result."""

    base_url: str = option(_read_base_url, VWO_BASE_URL)
    """Where VWO is: https, or http on a loopback host. None: at VWO's own address."""

    sdk_name: str = option(read_text, PACKAGE_NAME)
    """The name under which VWO's servers see this SDK."""

    sdk_version: str = option(read_text, __version__)
    """Its version there."""

    storage_timeout_s: float = option(read_seconds, 1.0)
    """How long one call waits for the user storage at most, for all that it reads and writes together. Time
    in which other code holds the event loop does not count."""

    wait_timeout_s: float | None = option(optional(read_seconds), 5.0)
    """How long a call that awaits delivery waits at most; None for as long as it takes. While VWO is known
    to be down or to refuse the account it does not wait at all. The event stays on its way after that."""

    close_timeout_s: float = option(read_seconds, 5.0)
    """How long `aclose` drains by default."""

    timeouts: Timeouts = option(bounds_of(Timeouts), Timeouts())
    """Limits of one request."""

    limits: Limits = option(bounds_of(Limits), Limits())
    """Bounds of the event queue."""

    workers: int = option(whole_number(1, 20), 4)
    """How many requests may be on their way at once."""

    ssl_context: ssl.SSLContext | None = option(optional(_read_ssl_context), None)
    """To trust other certificates; verification cannot be turned off."""

    proxy: str | None = option(optional(_read_proxy), None, is_shown=False)
    """URL of an HTTP proxy, ``http://user:password@host:3128``; the default transport can use one of SOCKS
    too. Proxy variables of the environment are not read."""

    transport: Transport | TransportName = option(_read_transport, "httpx")
    """``httpx``, the default; ``httpx2`` or ``aiohttp``, extras that cost less time of the processor; or an
    object with `Transport`'s methods."""

    # What follows from them.

    flush_callback: FlushCallback | None = None
    """That of `batch_events`."""

    usage: Mapping[str, int] = field(default_factory=dict, repr=False)
    """Which options were given at all, as the official SDKs report it."""

    @property
    def event_stream(self) -> EventStream | None:
        """What takes events over for others to deliver; None where the client delivers them."""
        return cast("EventStream", self.outbox) if _is_stream(self.outbox) else None

    @property
    def local_outbox(self) -> Outbox | None:
        """What keeps events of this process, be it for as long as a stream is away."""
        stream = self.event_stream
        return cast("Outbox | None", self.outbox) if stream is None else stream.fallback

    @property
    def waits_for_outbox(self) -> bool:
        """Whether calls may have to wait until something outside the memory has their events."""
        stream = self.event_stream
        return self.local_outbox is not None or (stream is not None and stream.durable)

    @property
    def destination(self) -> Destination:
        """Where requests go."""
        return Destination(self.base_url)

    @property
    def settings_destination(self) -> Destination:
        """Where requests for settings go."""
        return self.destination

    @property
    def transport_config(self) -> TransportConfig:
        """What a built-in transport of events is made from."""
        return self._make_config(self.destination)

    @property
    def settings_config(self) -> TransportConfig:
        """What a transport of settings is made from."""
        return self._make_config(self.settings_destination)

    def _make_config(self, destination: Destination) -> TransportConfig:
        user_agent = f"{self.sdk_name}/{self.sdk_version}"
        base_url, allows_http = destination
        return TransportConfig(
            base_url, self.timeouts, user_agent, self.ssl_context, self.proxy, allows_http
        )


class Launch(NamedTuple):
    """What one client is launched with.

    Attributes:
        client: Its class.
        readers: What reads each of its options.
        foreign: The options that only the client of the other product has.
    """

    client: str
    readers: Mapping[str, Reader]
    foreign: Mapping[str, str]


def readers_of(kind: type[Options]) -> dict[str, Reader]:
    """Return what reads each option of *kind*, by name."""
    return {one.name: one.metadata["reader"] for one in fields(kind) if "reader" in one.metadata}


# What only `FMEClient` has.
_FME_ALONE = (
    "brand",
    "gateway_service",
    "gateway_timeout_s",
    "is_aliasing_enabled",
    "proxy_url",
)
_LAUNCH = Launch(FULLSTACK.client, readers_of(Options), dict.fromkeys(_FME_ALONE, FME.client))


def read_options(given: Mapping[str, Any]) -> Options:
    """Return checked options of a `VWOClient`.

    Raises:
        InvalidInputError: One text that names every wrong option, and what may be meant by one that is
            not known.
        MissingExtraError: All is well but for an extra that is not installed.
    """
    return Options(**read_launch_values(given, _LAUNCH))


def read_launch_values(given: Mapping[str, Any], launch: Launch) -> dict[str, Any]:
    """Return the fields of options by name, checked, with those that follow from what was given.

    Raises:
        InvalidInputError: See `read_options`.
    """
    values: dict[str, Any] = {}
    faults: dict[str, InvalidInputError] = {}
    for name, value in given.items():
        reader = launch.readers.get(name)
        try:
            if reader is None:
                raise InvalidInputError(_describe_unknown(name, launch))
            values[name] = _read_value(reader, value)
        except InvalidInputError as error:
            faults[name] = error
    if not faults and values.get("proxy") is not None:
        faults = _find_proxy_fault(values["proxy"], values.get("transport"))
    if faults:
        # Installing something mends it, or not.
        is_missing = all(isinstance(error, MissingExtraError) for error in faults.values())
        kind = MissingExtraError if is_missing else InvalidInputError
        raise kind("; ".join(f"{name}: {error}" for name, error in faults.items()))
    flush_callback = (given.get("batch_events") or {}).get("flush_callback")
    return {**values, "flush_callback": flush_callback, "usage": count_usage(given)}


def _read_value(reader: Reader, value: object) -> object:
    """Return what *reader* makes of a value, of whatever class of the caller's own it is.

    Raises:
        InvalidInputError: It cannot be used.
    """
    try:
        return reader(to_plain(value))
    except VWOError:
        raise
    except Exception as error:  # noqa: BLE001 - such a class may raise anything
        kind = type(error).__name__
    raise InvalidInputError(f"reading it raised {kind}")


def _describe_unknown(name: str, launch: Launch) -> str:
    """Return what is wrong with an option that the client does not know."""
    if other := launch.foreign.get(to_snake(name)):
        return f"is an option of {other} alone"
    if replacement := find_replacement(name):
        return f"{launch.client} has no such option: {replacement}"
    if (snake := to_snake(name)) in launch.readers:
        return f"{launch.client} has no such option: use {snake!r}"
    near = find_nearest(name, launch.readers)
    hint = f", perhaps {near!r} is meant" if near else ""
    return f"{launch.client} has no such option{hint}"


def _find_proxy_fault(proxy: str, transport: object) -> dict[str, InvalidInputError]:
    """Return why this transport cannot use this proxy, if it cannot."""
    try:
        read_proxy(proxy, has_socks=transport != "aiohttp")
    except InvalidInputError as error:
        return {"proxy": error}
    return {}


def _is_polled(source: SettingsSource | None) -> bool:
    return source is not None and source.poll_interval_s is not None


def count_usage(given: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the usage statistics that the official SDKs report: which options were given at all.

    Nothing is reported in development mode.
    """
    if given.get("development_mode"):
        return {}
    used = {
        "eb": given.get("batch_events") is not None,
        "ig": given.get("integrations") is not None,
        "ss": given.get("user_storage") is not None,
        "tr": bool(given.get("should_track_returning_user")),
        "gt": "goal_type_to_track" in given,
        "pi": _is_polled(given.get("settings_source")),
    }
    usage = {key: 1 for key, is_used in used.items() if is_used}
    return {**usage, "_l": 1} if usage else {}
