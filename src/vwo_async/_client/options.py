"""Launch options: what they are, their defaults, and what is wrong with them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import isfinite
from typing import Any, Literal, TypeAlias, TypedDict

from .._delivery.outbox.protocol import Outbox
from .._delivery.queue import Batching, Limits
from .._delivery.transport.by_name import TransportName, check_transport_name
from .._delivery.transport.protocol import VWO_BASE_URL, Timeouts, Transport, check_base_url
from .._error import DeliveryError, InvalidInputError
from .._refresh.source import SettingsSource
from .._result import Outcome
from .._settings.change import SettingsChange
from .._version import PACKAGE_NAME
from ..storage.protocol import PlainUserStorage, UserStorage
from .consent import ConsentHook


class GoalType(StrEnum):
    """Which goals a track call means: those of one type, or all."""

    REVENUE = "REVENUE_TRACKING"
    CUSTOM = "CUSTOM_GOAL"
    ALL = "ALL"


Integration: TypeAlias = Callable[[dict[str, Any]], object]

# The official names, and this package's, of the API methods that may await delivery.
_SENDING = {
    "activate": "activate",
    "track": "track",
    "push": "push",
    "is_feature_enabled": "is_feature_enabled",
    "isFeatureEnabled": "is_feature_enabled",
}
# These send nothing, so that waiting for delivery changes nothing; they are names all the same.
_SILENT = frozenset(
    {
        "get_variation",
        "getVariation",
        "get_variation_name",
        "getVariationName",
        "get_feature_variable_value",
        "getFeatureVariableValue",
        "flush_events",
        "flushEvents",
        "get_and_update_settings_file",
        "getAndUpdateSettingsFile",
        "set_opt_out",
        "setOptOut",
    }
)
_ALL = "all"


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


class LaunchOptions(TypedDict, total=False):
    """The keyword arguments of `VWOClient` and `launch`; see the fields of `Options`."""

    user_storage: UserStorage | PlainUserStorage | None
    on_storage_error: OnStorageError
    return_promise_for: Mapping[str, bool] | Iterable[str] | None
    goal_type_to_track: GoalType | str
    should_track_returning_user: bool
    integrations: Integration | None
    batch_events: BatchEvents | None
    outbox: str | os.PathLike[str] | Outbox | None
    on_drop: DropHook | None
    consent: ConsentHook | None
    settings_source: SettingsSource | None
    on_settings_change: SettingsHook | None
    user_id_encoding: UserIdEncoding
    development_mode: bool
    strict: bool
    base_url: str
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


@dataclass(frozen=True, slots=True)
class Options:
    """Launch options, checked.

    Attributes:
        user_storage: Keeps users in their variation, and each conversion counted once.
        on_storage_error: What to do where the user storage fails or does not answer: ``decide`` as if it
            held no record, or ``refuse``, which gives no variation and tracks nothing
            (``Reason.STORAGE_ERROR``), so that no user can change variation and no conversion can
            count twice.
        return_promise_for: The API methods whose calls await delivery: ``{"all": True}``,
            ``{"track": True}``, or a set of names, the official or this package's.
        goal_type_to_track: Which goals a track call means unless it says otherwise.
        should_track_returning_user: Report users and conversions again although the storage knows them.
        integrations: Called with a dict for each decision that gave a variation.
        batch_events: Collect events and send many in one request, see `BatchEvents`.
        outbox: A path, or an `Outbox`: accepted events are kept there until they have ended, and survive
            the process.
        on_drop: Called with the outcome and a description of each event that did not reach VWO.
        consent: Asked with the user id on every call; where it does not answer true, nothing is
            decided, stored or sent.
        settings_source: Keeps the settings fresh while the client is open, see `SettingsSource`.
        on_settings_change: Called with a `SettingsChange` when settings were put in force that differ in
            meaning from those before.
        user_id_encoding: ``utf-8``, or ``node`` to bucket ids outside ASCII as the Node SDK does.
        development_mode: Decide and store as usual, send nothing.
        strict: Raise `InvalidInputError` out of API methods instead of returning a falsy result.
        base_url: Where VWO is: https, or http on a loopback host.
        sdk_name: The name under which VWO's servers see this SDK.
        sdk_version: Its version there.
        storage_timeout_s: Limit of one round of reads of the user storage, and of one write.
        wait_timeout_s: How long a call that awaits delivery waits at most; None for as long as it takes.
            The event stays on its way after that.
        close_timeout_s: How long `aclose` drains by default.
        timeouts: Limits of one request.
        limits: Bounds of the event queue.
        workers: How many requests may be on their way at once.
        ssl_context: To trust other certificates; verification cannot be turned off.
        proxy: URL of an HTTP proxy. Proxy variables of the environment are not read.
        transport: ``httpx``, the default; ``httpx2`` or ``aiohttp``, extras that cost less time of the
            processor; or an object with `Transport`'s methods.
    """

    user_storage: UserStorage | PlainUserStorage | None = None
    on_storage_error: OnStorageError = "decide"
    return_promise_for: frozenset[str] = frozenset()
    goal_type_to_track: GoalType = GoalType.ALL
    should_track_returning_user: bool = False
    integrations: Integration | None = None
    batch_events: Batching | None = None
    flush_callback: FlushCallback | None = None
    outbox: Outbox | None = None
    on_drop: DropHook | None = None
    consent: ConsentHook | None = None
    settings_source: SettingsSource | None = None
    on_settings_change: SettingsHook | None = None
    user_id_encoding: UserIdEncoding = "utf-8"
    development_mode: bool = False
    strict: bool = False
    base_url: str = VWO_BASE_URL
    sdk_name: str = PACKAGE_NAME
    sdk_version: str = ""
    storage_timeout_s: float = 1.0
    wait_timeout_s: float | None = 30.0
    close_timeout_s: float = 5.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    workers: int = 4
    ssl_context: ssl.SSLContext | None = None
    proxy: str | None = field(default=None, repr=False)
    transport: Transport | TransportName = "httpx"
    usage: Mapping[str, int] = field(default_factory=dict, repr=False)


def read_goal_type(value: Any) -> GoalType:
    """Return the goal type that *value* names.

    Raises:
        InvalidInputError: It names none.
    """
    if isinstance(value, str) and value in tuple(GoalType):
        return GoalType(value)
    raise InvalidInputError(f"must be one of {', '.join(GoalType)}")


def read_promises(value: object) -> frozenset[str]:
    """Return the API methods that await delivery.

    Raises:
        InvalidInputError: Some name is no API method's.
    """
    if value is None:
        return frozenset()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidInputError("must be a mapping from API names to bool, or a set of API names")
    if isinstance(value, Mapping) and not all(
        isinstance(wanted, bool) for wanted in value.values()
    ):
        raise InvalidInputError("must map API names to bool")
    wanted = {name for name in value if not isinstance(value, Mapping) or value[name]}
    unknown = [name for name in value if name not in _SENDING.keys() | _SILENT | {_ALL}]
    if unknown:
        raise InvalidInputError(f"has names that are not API methods: {len(unknown)}")
    if _ALL in wanted:
        return frozenset(_SENDING.values())
    return frozenset(_SENDING[name] for name in wanted if name in _SENDING)


def _read_storage(value: object) -> object:
    if not (
        value is None
        or (callable(getattr(value, "get", None)) and callable(getattr(value, "set", None)))
    ):
        raise InvalidInputError("must have the methods get and set")
    return value


def _read_policy(value: object) -> object:
    if value not in ("decide", "refuse"):
        raise InvalidInputError("must be 'decide' or 'refuse'")
    return value


def _read_batch_events(value: object) -> Batching | None:
    if value is None:
        return None
    known = BatchEvents.__annotations__.keys()
    if not isinstance(value, Mapping) or not value.keys() <= known:
        raise InvalidInputError(f"must be a mapping with keys of {', '.join(known)}")
    events = value.get("events_per_request")
    interval = value.get("request_time_interval")
    if events is None and interval is None:
        raise InvalidInputError("needs events_per_request or request_time_interval")
    if events is not None and not _is_number(events, int, 1, 5000):
        raise InvalidInputError("events_per_request must be a whole number from 1 to 5000")
    if interval is not None and not _is_number(interval, (int, float), 1, 10**7):
        raise InvalidInputError("request_time_interval must be a number of seconds, 1 or more")
    _read_callable(value.get("flush_callback"))
    default = Batching()
    return Batching(events or default.events, interval or default.interval_s)


def _is_number(value: object, kind: type | tuple[type, ...], low: float, high: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    return isinstance(value, (int, float)) and low <= value <= high


def _read_outbox(value: object) -> object:
    if isinstance(value, (str, os.PathLike)):
        from .._delivery.outbox.sqlite import SqliteOutbox  # noqa: PLC0415 - not before it is needed

        return SqliteOutbox(value)
    if not (value is None or callable(getattr(value, "append", None))):
        raise InvalidInputError("must be a path or an outbox")
    return value


def _read_encoding(value: object) -> object:
    if value not in ("utf-8", "node"):
        raise InvalidInputError("must be 'utf-8' or 'node'")
    return value


def _read_callable(value: object) -> object:
    if not (value is None or callable(value)):
        raise InvalidInputError("must be callable")
    return value


def _read_bool(value: object) -> object:
    if not isinstance(value, bool):
        raise InvalidInputError("must be a bool")
    return value


def _read_text(value: object) -> object:
    if not (isinstance(value, str) and value and value.isascii() and value.isprintable()):
        raise InvalidInputError("must be a non-empty text of printable ASCII")
    return value


def _read_seconds(value: object) -> object:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not isfinite(value)
        or value <= 0
    ):
        raise InvalidInputError("must be a positive number of seconds")
    return value


def _read_optional_seconds(value: object) -> object:
    return None if value is None else _read_seconds(value)


def _read_workers(value: object) -> object:
    if not _is_number(value, int, 1, 20):
        raise InvalidInputError("must be a whole number from 1 to 20")
    return value


def _read_base_url(value: object) -> object:
    if not isinstance(value, str):
        raise InvalidInputError("must be a str")
    check_base_url(value)
    return value


def _read_transport(value: object) -> object:
    if value is None or isinstance(value, str):
        return check_transport_name(value or "httpx")
    if not callable(getattr(value, "send", None)):
        raise InvalidInputError("must have the methods send and aclose")
    return value


def _read_instance(kind: type) -> Callable[[object], object]:
    def read(value: object) -> object:
        if not isinstance(value, kind):
            raise InvalidInputError(f"must be {kind.__name__}")
        return value

    return read


def _read_bounds(kind: type) -> Callable[[object], object]:
    """Return the reader of a dataclass of bounds, each of which must be as its default is, and not negative."""

    def read(value: object) -> object:
        _read_instance(kind)(value)
        for one in fields(kind):
            if not _is_bound(getattr(value, one.name), one.default):
                raise InvalidInputError(f"{one.name}: cannot be used")
        return value

    return read


def _is_bound(value: Any, default: object) -> bool:
    if isinstance(default, str):
        return value in ("retry", "drop")
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    kinds = int if isinstance(default, int) else (int, float)
    return isinstance(value, kinds) and value >= 0


def _read_source(value: object) -> object:
    return None if value is None else _read_instance(SettingsSource)(value)


def _read_ssl_context(value: object) -> object:
    return None if value is None else _read_instance(ssl.SSLContext)(value)


def _read_proxy(value: object) -> object:
    return None if value is None else _read_text(value)


_READERS: Mapping[str, Callable[[Any], object]] = {
    "user_storage": _read_storage,
    "on_storage_error": _read_policy,
    "return_promise_for": read_promises,
    "goal_type_to_track": read_goal_type,
    "should_track_returning_user": _read_bool,
    "integrations": _read_callable,
    "batch_events": _read_batch_events,
    "outbox": _read_outbox,
    "on_drop": _read_callable,
    "consent": _read_callable,
    "settings_source": _read_source,
    "on_settings_change": _read_callable,
    "user_id_encoding": _read_encoding,
    "development_mode": _read_bool,
    "strict": _read_bool,
    "base_url": _read_base_url,
    "sdk_name": _read_text,
    "sdk_version": _read_text,
    "storage_timeout_s": _read_seconds,
    "wait_timeout_s": _read_optional_seconds,
    "close_timeout_s": _read_seconds,
    "timeouts": _read_bounds(Timeouts),
    "limits": _read_bounds(Limits),
    "workers": _read_workers,
    "ssl_context": _read_ssl_context,
    "proxy": _read_proxy,
    "transport": _read_transport,
}


def read_options(given: Mapping[str, Any]) -> Options:
    """Return checked options.

    Raises:
        InvalidInputError: One text that names every wrong option.
        TypeError: An option is not known.
    """
    unknown = given.keys() - _READERS.keys()
    if unknown:
        raise TypeError(f"unknown launch options: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {}
    faults = []
    for name, value in given.items():
        try:
            values[name] = _READERS[name](value)
        except InvalidInputError as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise InvalidInputError("; ".join(faults))
    flush_callback = (given.get("batch_events") or {}).get("flush_callback")
    return Options(**values, flush_callback=flush_callback, usage=count_usage(given))


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


assert _READERS.keys() == {one.name for one in fields(Options)} - {"flush_callback", "usage"}
