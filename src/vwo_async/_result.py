"""What API methods return: plain values that hold no HTTP, Redis or SQL type, no key and no user.

They can be pickled and copied. `Value.as_json` gives each as JSON can hold it. Annotations here are no
texts, so that pydantic and FastAPI can read them wherever the classes are at home.
"""

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Self

from ._cancellation import PROCESS_ENDS
from ._error import DeliveryError
from ._log import log_error
from ._plain import is_kind, to_plain
from ._reason import Reason
from ._value import Value, setters_of

__all__ = [
    "AliasResult",
    "CampaignDecision",
    "CampaignTrack",
    "CloseReport",
    "Delivery",
    "DeliveryStatus",
    "FlushReport",
    "Outcome",
    "Reason",
    "Receipt",
    "Statistics",
    "TrackResult",
]


class DeliveryStatus(StrEnum):
    """How the delivery of an event ended."""

    DELIVERED = "delivered"
    """VWO answered that it has the event."""
    REJECTED = "rejected"
    """VWO answered that it will not have it."""
    DROPPED = "dropped"
    """It was given up; the reason says why."""
    KEPT = "kept"
    """The client was closed before it ended; the outbox has it, and the next client sends it."""
    NOTHING = "nothing"
    """There was nothing to deliver."""


@dataclass(frozen=True, slots=True)
class Outcome(Value):
    """How a delivery ended; true where VWO has the event.

    Attributes:
        status: The end.
        reason: A word for why, empty where it was delivered: ``http`` (refused by VWO), ``expired``,
            ``too_large``, ``unserializable``, ``closed``, ``unknown`` or ``overflow`` (the queue was full).
        status_code: The last HTTP status, None where there was no answer.
        attempts: How many requests were made; an upper bound where events of several batches were joined.
    """

    status: DeliveryStatus
    reason: str = ""
    status_code: int | None = None
    attempts: int = 0

    def __bool__(self) -> bool:
        return self.status is DeliveryStatus.DELIVERED


_NOTHING = Outcome(DeliveryStatus.NOTHING)
_DEVELOPMENT = Outcome(DeliveryStatus.NOTHING, "development_mode")


class Receipt:
    """The end of one accepted event, known now or later.

    The event itself is its receipt, and knows the key and the user: so receipts stay behind what callers
    get, and are neither pickled nor copied with it.
    """

    __slots__ = ("_callbacks", "outcome")

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self._callbacks: list[Callable[[], object]] | None = None

    def settle(self, outcome: Outcome) -> None:
        """Set the outcome, once, and call who waits for it; whatever one raises, the others are called."""
        self.outcome = outcome
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback()
            except PROCESS_ENDS:
                raise
            except BaseException as error:  # noqa: BLE001 - the others have a right to know
                log_error("one who waits for a delivery raised %s", type(error).__name__)

    def on_settled(self, callback: Callable[[], object]) -> None:
        """Call *callback*, which must not raise, once the outcome is known; only while it is not."""
        if self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def forget(self, callback: Callable[[], object]) -> None:
        """Undo `on_settled`; no error where it was already called."""
        if self._callbacks and callback in self._callbacks:
            self._callbacks.remove(callback)

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("an event cannot be pickled")


def is_lost(receipt: Receipt) -> bool:
    """Tell whether an event has come to nothing: it was not delivered, and no outbox has it for the next client."""
    outcome = receipt.outcome
    return outcome is not None and not outcome and outcome.status is not DeliveryStatus.KEPT


class _UnpickledReceipt(Receipt):
    """What a pickle says of a receipt: its outcome as it stood, which no event will ever change."""

    __slots__ = ()

    def __init__(self, outcome: Outcome | None) -> None:
        super().__init__()
        self.outcome = outcome

    def on_settled(self, callback: Callable[[], object]) -> None:
        """Refuse, since it would be waited for without end."""
        raise DeliveryError(
            "the delivery was pending when it was pickled: only its own process learns the outcome"
        )


class _Immutable:
    """A copy is the object itself: nothing of it changes but the outcome that it waits for."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class Delivery(_Immutable):
    """The promise of one API call: ``await`` it for its `Outcome`, at any time, as often as you like.

    It can be awaited in either mode. Cancelling the wait does not touch the delivery. With several
    events the outcome is that of the first delivered one, or where none was, of the first event.

    A pickled delivery keeps the outcome as it stood. If that was not known yet, it stays unknown in the
    copy that is read back: ``await`` and `add_done_callback` raise `DeliveryError` there, and do not wait.
    """

    __slots__ = ("_empty", "_receipts")

    def __init__(self, receipts: tuple[Receipt, ...] = (), *, empty: Outcome = _NOTHING) -> None:
        self._receipts = receipts
        self._empty = empty

    @property
    def outcome(self) -> Outcome | None:
        """The outcome, or None while it is not known."""
        outcomes = self.outcomes
        known = [outcome for outcome in outcomes if outcome is not None]
        if len(known) < len(outcomes):
            return None
        if not known:
            return self._empty
        return next((outcome for outcome in known if outcome), known[0])

    @property
    def outcomes(self) -> tuple[Outcome | None, ...]:
        """The outcome of each event of the call, None while it is not known."""
        return tuple(receipt.outcome for receipt in self._receipts)

    def done(self) -> bool:
        """Tell whether the outcome is known."""
        return not list_pending(self)

    def add_done_callback(self, callback: Callable[["Delivery"], object]) -> None:
        """Call ``callback(delivery)`` from the loop once the outcome is known; soon where it is already.

        It must not block; what it raises is logged and ignored.

        Raises:
            DeliveryError: The delivery was pending when it was pickled.
            RuntimeError: No event loop is running.
        """
        loop = asyncio.get_running_loop()
        pending = list_pending(self)
        if not pending:
            loop.call_soon(_call_isolated, callback, self)
            return
        waiting = len(pending)

        def settled() -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                # Not from here, so that nothing that it raises can end the worker that delivered.
                loop.call_soon(_call_isolated, callback, self)

        for receipt in pending:
            receipt.on_settled(settled)

    def as_json(self) -> dict[str, Any]:
        """Return the outcome by name as JSON can hold it; its ``status`` is ``pending`` while unknown."""
        return {**(self.outcome or _NOTHING).as_json(), "status": self._name_status()}

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yield the items of `as_json`: what `dict` takes, and by it FastAPI where a handler names no type."""
        return iter(self.as_json().items())

    def _name_status(self) -> str:
        outcome = self.outcome
        return "pending" if outcome is None else outcome.status.value

    def __await__(self) -> Generator[Any, None, Outcome]:
        for receipt in self._receipts:
            if receipt.outcome is None:
                yield from _wait(receipt)
        outcome = self.outcome
        assert outcome is not None
        return outcome

    def __reduce__(self) -> tuple[Any, ...]:
        return Delivery, (), (self.outcomes, self._empty)

    def __setstate__(self, state: tuple[tuple[Outcome | None, ...], Outcome]) -> None:
        outcomes, self._empty = state
        self._receipts = tuple(_UnpickledReceipt(outcome) for outcome in outcomes)

    def __repr__(self) -> str:
        return f"<Delivery {self._name_status()}>"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Any) -> Any:
        """Let pydantic, and with it FastAPI, write a delivery as its outcome."""
        from pydantic_core import core_schema  # noqa: PLC0415 - not before somebody uses it

        # The shape is for OpenAPI, which has no word for a class.
        shape = core_schema.dict_schema(core_schema.str_schema())
        written = core_schema.plain_serializer_function_ser_schema(
            Delivery.as_json, return_schema=shape
        )
        return core_schema.is_instance_schema(Delivery, serialization=written)


def list_pending(delivery: Delivery) -> list[Receipt]:
    """Return the receipts whose outcome is not known."""
    return [receipt for receipt in delivery._receipts if receipt.outcome is None]


def _call_isolated(callback: Callable[[Delivery], object], delivery: Delivery) -> None:
    try:
        callback(delivery)
    except PROCESS_ENDS:
        raise
    except BaseException as error:  # noqa: BLE001 - the caller's function may raise anything
        log_error("a delivery callback raised %s", type(error).__name__)


def _wait(receipt: Receipt) -> Generator[Any, None, None]:
    """Wait in the caller's task for what happens in another: cancelling the wait cancels nothing else."""
    future = asyncio.get_running_loop().create_future()

    def settled() -> None:
        if not future.done():
            future.set_result(None)

    receipt.on_settled(settled)
    try:
        yield from future
    finally:
        receipt.forget(settled)


NO_DELIVERY = Delivery()
DEVELOPMENT_DELIVERY = Delivery(empty=_DEVELOPMENT)


@dataclass(frozen=True, init=False)
class CampaignTrack(_Immutable, Value):
    """What became of one campaign in a track call; true where the conversion counts as tracked.

    Attributes:
        tracked: Accepted for delivery, and where delivery was awaited, received by VWO.
        reason: ``Reason.TRACKED``, or why not.
        variation_name: The user's variation, None where none was decided.
    """

    __slots__ = ("_receipt", "reason", "tracked", "variation_name")

    tracked: bool
    reason: Reason
    variation_name: str | None

    def __init__(
        self,
        tracked: bool,
        reason: Reason,
        variation_name: str | None = None,
        receipt: Receipt | None = None,
    ) -> None:
        _set_tracked(self, tracked)
        _set_reason(self, reason)
        _set_variation_name(self, variation_name)
        _set_receipt(self, receipt)

    @property
    def delivery(self) -> Delivery:
        """Await it for the outcome of this campaign's conversion; `NOTHING` where none was accepted."""
        receipt = receipt_of(self)
        return NO_DELIVERY if receipt is None else Delivery((receipt,))

    def __bool__(self) -> bool:
        return self.tracked

    def __reduce__(self) -> tuple[Any, ...]:
        own = self.tracked, self.reason, self.variation_name
        return CampaignTrack, own, None if receipt_of(self) is None else self.delivery

    def __setstate__(self, delivery: Delivery) -> None:
        _set_receipt(self, delivery._receipts[0])

    def __repr__(self) -> str:
        return f"CampaignTrack({self.tracked}, {self.reason.value!r}, {self.variation_name!r})"


_set_tracked, _set_reason, _set_variation_name = setters_of(CampaignTrack)
_set_receipt = CampaignTrack.__dict__["_receipt"].__set__


def receipt_of(one: CampaignTrack) -> Receipt | None:
    """Return the receipt of a campaign's conversion, None where none was accepted."""
    # One that pydantic made from a mapping has none.
    receipt: Receipt | None = getattr(one, "_receipt", None)
    return receipt


class TrackResult(_Immutable, Mapping[str, CampaignTrack]):
    """The result of a track call: a read-only mapping from campaign key to `CampaignTrack`.

    It is true exactly where the documents of VWO say true: delivery was awaited and VWO received at
    least one of the conversions, or it was not and at least one was accepted for delivery.

    Every campaign that was asked for by its key is in it, whatever happened, with a reason; any other
    key raises KeyError. Where *all* campaigns of a goal were asked for, it holds those that have the
    goal, and is empty if the call ended before they were looked for.

    It is a value: it can be pickled and copied, and holds neither the SDK key nor the user. A web
    handler may return it as it is: FastAPI and pydantic answer with
    ``{campaign_key: {"tracked": bool, "reason": str, "variation_name": str | None}}``. Return `as_dict`
    for the official shape, or `as_json` for all of it.
    """

    __slots__ = ("_delivery", "_detail", "_made", "_notes", "_reason")

    def __init__(
        self,
        campaigns: Mapping[str, CampaignTrack],
        delivery: Delivery | None = None,
        *,
        reason: Reason | None = None,
        detail: str = "",
        notes: tuple[str, ...] = (),
    ) -> None:
        self._made: Mapping[str, CampaignTrack] | None = campaigns
        self._delivery = delivery
        self._reason = reason
        self._detail = detail
        self._notes = notes

    @classmethod
    def refused(cls, asked: object, reason: Reason, detail: str = "") -> "TrackResult":
        """Return the result of a call that was refused as a whole.

        Args:
            asked: The campaign key of the call, as the caller gave it: a str, a list, tuple or set of
                str, or anything else, which names no campaign.
            reason: The reason of every campaign asked for, and of the result.
            detail: Which argument is at fault and why, without its value.
        """
        refusal = CampaignTrack(False, reason)
        return TrackResult(dict.fromkeys(_read_keys(asked), refusal), reason=reason, detail=detail)

    @property
    def _campaigns(self) -> Mapping[str, CampaignTrack]:
        return self._made or {}

    @property
    def delivery(self) -> Delivery:
        """Await it for the `Outcome` of the call's events, in either mode."""
        if self._delivery is None:
            found = (receipt_of(one) for one in self._campaigns.values())
            # On the event architecture one event stands for all campaigns.
            receipts = dict.fromkeys(receipt for receipt in found if receipt is not None)
            self._delivery = Delivery(tuple(receipts))
        return self._delivery

    @property
    def reason(self) -> Reason:
        """``Reason.TRACKED``, or why nothing was tracked (that of the first campaign asked for)."""
        if self:
            return Reason.TRACKED
        if self._reason is not None:
            return self._reason
        return next((one.reason for one in self._campaigns.values()), Reason.GOAL_NOT_FOUND)

    @property
    def detail(self) -> str:
        """With ``Reason.INVALID_INPUT``, which argument is at fault and why; never its value."""
        return self._detail

    @property
    def notes(self) -> tuple[str, ...]:
        """What went wrong without changing the result, such as a user storage that did not answer."""
        return self._notes

    def as_dict(self) -> dict[str, bool]:
        """Return the shape of the official SDKs: ``{campaign_key: bool}``, false for what was not tracked."""
        return {key: one.tracked for key, one in self._campaigns.items()}

    def as_json(self) -> dict[str, Any]:
        """Return all of it by name as JSON can hold it.

        Returns:
            ``tracked`` (bool), ``reason`` and ``detail`` (str), ``notes`` (list of str), ``campaigns``
            (by key, a dict with ``tracked``, ``reason`` and ``variation_name``) and ``delivery`` (see
            `Delivery.as_json`).
        """
        return {
            "tracked": bool(self),
            "reason": self.reason.value,
            "detail": self._detail,
            "notes": list(self._notes),
            "campaigns": {key: one.as_json() for key, one in self._campaigns.items()},
            "delivery": self.delivery.as_json(),
        }

    def __bool__(self) -> bool:
        for one in self._campaigns.values():  # noqa: SIM110 - a generator costs more than the loop
            if one.tracked:
                return True
        return False

    def __getitem__(self, key: str) -> CampaignTrack:
        return self._campaigns[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._campaigns)

    def __len__(self) -> int:
        return len(self._campaigns)

    def __reduce__(self) -> tuple[Any, ...]:
        own = dict(self._campaigns), self.delivery
        return TrackResult, own, (self._reason, self._detail, self._notes)

    def __setstate__(self, state: tuple[Reason | None, str, tuple[str, ...]]) -> None:
        self._reason, self._detail, self._notes = state

    def __repr__(self) -> str:
        # Bad input may have anything for a key, so its keys are not shown.
        shown = self._detail or dict(self._campaigns)
        return f"TrackResult({bool(self)}, {self.reason.value!r}, {shown!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Any) -> Any:
        """Let pydantic, and with it FastAPI, write a result as the mapping that it is."""
        from pydantic_core import core_schema  # noqa: PLC0415 - not before somebody uses it

        shape = handler.generate_schema(dict[str, CampaignTrack])
        written = core_schema.plain_serializer_function_ser_schema(dict, return_schema=shape)
        return core_schema.is_instance_schema(TrackResult, serialization=written)


# Read by their own methods, whatever a caller's class makes of these.
_KEY_LISTS: tuple[Any, ...] = (list, tuple, set, frozenset)


def _read_keys(asked: object) -> list[str]:
    """Return the campaign keys that can be read from *asked*, and run none of the caller's code for it."""
    kind = next((one for one in _KEY_LISTS if is_kind(asked, one)), None)
    found = [asked] if kind is None else [*kind.__iter__(asked)]
    return [key for key in map(to_plain, found) if type(key) is str]


class SingleTrack(TrackResult):
    """The result of a call that tracked one campaign, as most do; its mapping is made when it is asked for.

    Args:
        campaign_key: The campaign.
        variation_name: The user's variation.
        receipt: The delivery of the conversion.
        notes: As in every result.
    """

    __slots__ = ("_key", "_name", "_receipt")

    def __init__(
        self,
        campaign_key: str,
        variation_name: str | None,
        receipt: Receipt,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._key = campaign_key
        self._name = variation_name
        self._receipt = receipt
        self._made = self._delivery = self._reason = None
        self._detail = ""
        self._notes = notes

    @property
    def _campaigns(self) -> Mapping[str, CampaignTrack]:
        if self._made is None:
            one = CampaignTrack(True, Reason.TRACKED, self._name, self._receipt)
            self._made = {self._key: one}
        return self._made

    def __bool__(self) -> bool:
        return True


def receipt_of_single(result: SingleTrack) -> Receipt:
    """Return the receipt of the one conversion."""
    return result._receipt


@dataclass(frozen=True, init=False)
class CampaignDecision(Value):
    """The decision of one campaign, from ``decide`` or ``decide_all``; true where there is a variation.

    Attributes:
        variation_name: The variation, or None.
        reason: How it was come by, or why there is none.
        is_feature_enabled: For a feature test or rollout, whether the feature is on.
        variables: For a feature test or rollout with a variation, its variables by key, cast by type.
        campaign_type: ``VISUAL_AB``, ``FEATURE_TEST`` or ``FEATURE_ROLLOUT``; empty where no campaign was decided.
    """

    __slots__ = (
        "campaign_type",
        "is_feature_enabled",
        "reason",
        "variables",
        "variation_name",
    )

    variation_name: str | None
    reason: Reason
    is_feature_enabled: bool
    variables: Mapping[str, Any]
    campaign_type: str

    def __init__(
        self,
        variation_name: str | None,
        reason: Reason,
        is_feature_enabled: bool = False,  # noqa: FBT002 - a field like the others
        variables: Mapping[str, Any] | None = None,
        campaign_type: str = "",
    ) -> None:
        _set_decided_name(self, variation_name)
        _set_decided_reason(self, reason)
        _set_is_feature_enabled(self, is_feature_enabled)
        _set_variables(self, {} if variables is None else variables)
        _set_campaign_type(self, campaign_type)

    def __bool__(self) -> bool:
        return self.variation_name is not None

    def __reduce__(self) -> tuple[Any, ...]:
        own = self.variation_name, self.reason, self.is_feature_enabled, self.variables
        return CampaignDecision, (*own, self.campaign_type)


(
    _set_decided_name,
    _set_decided_reason,
    _set_is_feature_enabled,
    _set_variables,
    _set_campaign_type,
) = setters_of(CampaignDecision)


@dataclass(frozen=True, slots=True)
class AliasResult(Value):
    """Whether an id was made another id of a user; true where it was.

    Attributes:
        is_set: Whether it was.
        reason: Why not; None where it was.
        detail: More about it; never an id.
    """

    is_set: bool
    reason: Reason | None = None
    detail: str = ""

    def __bool__(self) -> bool:
        return self.is_set


@dataclass(frozen=True, slots=True)
class FlushReport(Value):
    """What became of everything that was pending when ``flush_events`` was called, in the outbox too.

    True where all of it was delivered, or nothing was pending.

    Attributes:
        events: How many events were pending.
        delivered: Of these, how many VWO has.
        rejected: How many it refused.
        dropped: How many were given up.
        pending: How many are still on their way, or in the outbox, because waiting took longer than
            ``wait_timeout_s``, or the client was closed meanwhile.
        is_outbox_read: Whether it is known what is in the outbox: false where it could not be read.
    """

    events: int
    delivered: int
    rejected: int
    dropped: int
    pending: int
    is_outbox_read: bool = True

    def __bool__(self) -> bool:
        return self.delivered == self.events and self.is_outbox_read


@dataclass(frozen=True, slots=True)
class Statistics(Value):
    """The ledger of a client at one moment.

    ``accepted == delivered + rejected + sum(dropped.values()) + pending`` always holds.

    Attributes:
        accepted: Events put on the queue.
        delivered: Events that VWO has.
        rejected: Events that VWO refused.
        dropped: Events given up, by reason.
        pending: Events that wait or are on their way.
        pending_bytes: Their approximate size.
        refused: Events that the full queue did not accept: their callers were told.
        requests: Requests made for events, each try counted.
        retries: Those among them that were no first try.
        unknown: Tries that may have arrived although no answer came.
        storage_errors: Calls of the user storage that failed or timed out.
        gateway_errors: Questions that the gateway service of FME did not answer.
        callback_errors: Calls of the user's functions that raised.
        callbacks_left_out: Calls of the user's async functions that were not made, because 1,000 of the
            same function had not ended.
        outbox_errors: Events that the outbox could not keep, or not at once.
        restored: Events from before this client, found in the outbox; part of *accepted*.
        outbox_waiting: Events from before this client that are in the outbox and not yet on the queue.
        outbox_foreign: Events in the outbox that belong to another account or SDK key. They stay there
            for a client of theirs, until they are older than ``Limits.max_age_s``.
        outbox_expired: Foreign events that became too old and were removed.
        worker_restarts: How often something ended a worker that sends, and it was replaced.
        settings_refreshes: Settings files put in force since the client was made.
        settings_errors: Refreshes of the settings that failed; the file in force stayed.
        settings_keep_errors: Times that the settings could not be kept on disk.
        settings_age_s: Seconds since VWO last gave the file in force, None where that is not known.
        settings_origin: Where the file in force is from: ``given`` to the client, ``vwo``, or while VWO was away
            ``shared`` by other processes or the last known good on ``disk``; ``empty`` means that there is none
            yet.
    """

    accepted: int
    delivered: int
    rejected: int
    dropped: Mapping[str, int]
    pending: int
    pending_bytes: int
    refused: int
    requests: int
    unknown: int
    storage_errors: int
    callback_errors: int
    outbox_errors: int = 0
    restored: int = 0
    outbox_waiting: int = 0
    outbox_foreign: int = 0
    outbox_expired: int = 0
    worker_restarts: int = 0
    settings_refreshes: int = 0
    settings_errors: int = 0
    settings_keep_errors: int = 0
    settings_age_s: float | None = None
    settings_origin: Literal["given", "vwo", "shared", "disk", "empty"] = "given"
    callbacks_left_out: int = 0
    gateway_errors: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class CloseReport(Value):
    """What `aclose` did and left; true where nothing remains.

    Attributes:
        delivered: Events that VWO has, over the whole life of the client.
        rejected: Events that VWO refused.
        dropped: Events given up, by reason; ``closed`` counts those lost by closing.
        remaining: Events in the outbox, for the next client.
        kept_in: Where they are, empty where nothing remains.
        is_outbox_read: Whether it is known what was in the outbox before: false where it could not be read.
    """

    delivered: int
    rejected: int
    dropped: Mapping[str, int]
    remaining: int
    kept_in: str
    is_outbox_read: bool = True

    def __bool__(self) -> bool:
        return not self.remaining and not self.dropped.get("closed") and self.is_outbox_read
