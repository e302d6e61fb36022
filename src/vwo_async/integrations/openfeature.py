"""OpenFeature: providers whose flags VWO decides, `FMEProvider` and `VWOProvider`.

The service opens and closes the client, since OpenFeature has no async `initialize`; a provider only asks it::

    async with FMEClient(settings) as client:
        openfeature.api.set_provider(FMEProvider(client))
        flags = openfeature.api.get_client()
        on = await flags.get_boolean_value_async("search", False, EvaluationContext("Ashley"))

What a flag key means:

* the key of a feature: as boolean whether it is on, as object all its variables, as string the name of its
  variation;
* ``feature.variable``: the value of a variable, of its own type;
* the key of an A/B test of FullStack: as string the name of the variation.

Who has no variation gets the caller's default, and where a feature is asked for as boolean, False.

The targeting key is the user id. The attributes ``user_agent``, ``user_ip_address`` and
``variation_targeting_variables`` mean what they mean in `for_user`; all others are custom variables. Those that
cannot be one, such as a list or a date, are left out.

Every evaluation reports the user, as `FMEClient.get_flag` and `VWOClient.decide` do. With an async client the
synchronous methods of OpenFeature answer in the thread of its event loop, where deciding has nothing to wait for; with
a user storage, an outbox, a consent hook or a gateway they give the default and an error that says so. With a client
of `vwo_async.sync` they answer in any thread, whatever there is to wait for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from inspect import isawaitable
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

from .._client.base_client import Client, engine_of
from .._error import ClosedError, InvalidInputError, WrongLoopError
from .._extra import explain_missing
from .._log import FailureLog
from .._plain import is_kind
from .._reason import Reason
from .._user import Variables, read_header, read_variables

try:
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.exception import (
        FlagNotFoundError,
        GeneralError,
        InvalidContextError,
        ProviderNotReadyError,
        TargetingKeyMissingError,
        TypeMismatchError,
    )
    from openfeature.flag_evaluation import FlagResolutionDetails
    from openfeature.flag_evaluation import Reason as FlagReason
    from openfeature.provider import AbstractProvider, Metadata
    from openfeature.track import TrackingEventDetails
except ImportError as error:
    raise explain_missing(error, "openfeature") from None

from .. import CampaignDecision, Flag, FMEClient, VWOClient, sync
from ._calls import AsyncCalls, SyncCalls, note

__all__ = ["FMEProvider", "VWOProvider"]

ValueT = TypeVar("ValueT")

# Attributes of a context that are no custom variables, by their names in `for_user`.
_ABOUT_VISITOR = ("user_agent", "user_ip_address")
_TARGETING = "variation_targeting_variables"

_REASONS = {
    Reason.ASSIGNED: FlagReason.SPLIT,
    Reason.STORED: FlagReason.CACHED,
    Reason.WHITELISTED: FlagReason.TARGETING_MATCH,
    Reason.CAMPAIGN_NOT_RUNNING: FlagReason.DISABLED,
    Reason.OPTED_OUT: FlagReason.DISABLED,
    Reason.NO_RULE: FlagReason.DISABLED,
}
_ERRORS = {
    Reason.CAMPAIGN_NOT_FOUND: FlagNotFoundError,
    Reason.FEATURE_NOT_FOUND: FlagNotFoundError,
    Reason.NO_SETTINGS: ProviderNotReadyError,
    Reason.INVALID_INPUT: InvalidContextError,
    Reason.STORAGE_REQUIRED: GeneralError,
    Reason.STORAGE_ERROR: GeneralError,
}


class Decided(NamedTuple):
    """What a client has decided.

    Attributes:
        reason: How, or why nothing was given.
        is_on: Whether the feature is on; None for an A/B test, which is neither on nor off.
        variation: The name of the variation.
        variables: The values of the feature's variables by key.
        metadata: What else OpenFeature hands on to hooks.
    """

    reason: Reason
    is_on: bool | None
    variation: str | None
    variables: Mapping[str, Any]
    metadata: Mapping[str, str | int]


class _Provider(AbstractProvider):
    """What the providers of both products have in common.

    Args:
        client: The client, async or synchronous.

    Raises:
        InvalidInputError: It is none of this product.
    """

    _ASYNC: ClassVar[type[Client[Any]]]
    _SYNC: ClassVar[type[Any]]

    def __init__(self, client: Any) -> None:
        super().__init__()
        if not isinstance(client, (self._ASYNC, self._SYNC)):
            name = self._ASYNC.__name__
            raise InvalidInputError(
                f"{type(self).__name__} needs a {name} of vwo_async or of vwo_async.sync"
            )
        self._client: Any = client
        self._calls = AsyncCalls(client) if isinstance(client, self._ASYNC) else SyncCalls()
        self._lost = FailureLog("OpenFeature")

    @property
    def _engine(self) -> Any:
        return engine_of(cast("Client[Any]", self._client))

    def get_metadata(self) -> Metadata:
        """Return the name of the provider."""
        return Metadata(type(self).__name__)

    @abstractmethod
    def _decide(self, key: str, user: Mapping[str, Any]) -> Coroutine[Any, Any, Decided]: ...

    @abstractmethod
    def _track(
        self, name: str, user: Mapping[str, Any], details: TrackingEventDetails
    ) -> Coroutine[Any, Any, object]: ...

    @abstractmethod
    def _has(self, key: str) -> bool: ...

    # Evaluation

    async def _resolve(
        self, key: str, default: object, context: EvaluationContext | None, pick: Pick
    ) -> FlagResolutionDetails[Any]:
        feature, variable = self._split(key)
        user = _read_user(context)
        try:
            decided = await self._decide(feature, user)
        except (ClosedError, WrongLoopError) as error:
            raise ProviderNotReadyError(str(error)) from None
        except InvalidInputError as error:
            raise InvalidContextError(str(error)) from None
        failure = _ERRORS.get(decided.reason)
        if failure is not None:
            raise failure(decided.reason.value)
        value = pick(decided, variable, default)
        reason = _REASONS.get(decided.reason, FlagReason.DEFAULT)
        return FlagResolutionDetails(
            value,
            reason=reason,
            variant=decided.variation,
            flag_metadata={**decided.metadata, "reason": decided.reason.value},
        )

    def _split(self, key: str) -> tuple[str, str | None]:
        """Return the key of a feature, and of the variable that is asked for, None for none."""
        feature, dot, variable = key.rpartition(".")
        return (feature, variable) if dot and not self._has(key) else (key, None)

    async def _resolve_async(
        self, key: str, default: object, context: EvaluationContext | None, pick: Pick
    ) -> FlagResolutionDetails[Any]:
        return await self._calls.wait_for(lambda: self._resolve(key, default, context, pick))

    def _resolve_now(
        self, key: str, default: object, context: EvaluationContext | None, pick: Pick
    ) -> FlagResolutionDetails[Any]:
        try:
            found = self._calls.run(lambda: self._resolve(key, default, context, pick))
        except (ClosedError, WrongLoopError) as error:
            raise ProviderNotReadyError(str(error)) from None
        except RuntimeError:
            raise GeneralError(
                "no event loop runs in this thread: evaluate where the client's runs, or with the async methods"
            ) from None
        if found is None:
            raise GeneralError("the client has to wait for this: use the async methods")
        return found

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """Tell whether a feature is on, or return a boolean variable."""
        return self._resolve_now(flag_key, default_value, evaluation_context, _pick_boolean)

    async def resolve_boolean_details_async(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """Tell whether a feature is on, or return a boolean variable."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, _pick_boolean)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Return the name of a variation, or a variable that is a text."""
        return self._resolve_now(flag_key, default_value, evaluation_context, _pick_string)

    async def resolve_string_details_async(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Return the name of a variation, or a variable that is a text."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, _pick_string)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Return a variable that is a whole number."""
        return self._resolve_now(flag_key, default_value, evaluation_context, _pick_integer)

    async def resolve_integer_details_async(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Return a variable that is a whole number."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, _pick_integer)

    def resolve_float_details(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        """Return a variable that is a number."""
        return self._resolve_now(flag_key, default_value, evaluation_context, _pick_float)

    async def resolve_float_details_async(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        """Return a variable that is a number."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, _pick_float)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[Any] | Mapping[str, Any]]:
        """Return all variables of a feature by key, or a variable that is JSON."""
        return self._resolve_now(flag_key, default_value, evaluation_context, _pick_object)

    async def resolve_object_details_async(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[Any] | Mapping[str, Any]]:
        """Return all variables of a feature by key, or a variable that is JSON."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, _pick_object)

    # Tracking

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Put a conversion on the client's queue; what cannot be counted is logged, and raises nothing.

        With an async client it is handed over to the thread of its event loop, if this is another.

        Args:
            tracking_event_name: The event of FME, or the goal of FullStack, in all campaigns that have it.
            evaluation_context: Of it the user.
            tracking_event_details: The value is the revenue, the attributes are the event's properties.
        """
        details = tracking_event_details or TrackingEventDetails()
        try:
            user = _read_user(evaluation_context)
            self._calls.put(lambda: self._track(tracking_event_name, user, details), self._lost)
        except (InvalidInputError, RuntimeError, TargetingKeyMissingError) as error:
            note(self._lost, error)


class FMEProvider(_Provider):
    """Flags of VWO FME.

    Args:
        client: The client. The service opens an async one before the first evaluation, and closes it.
        value_property: The property of an event that takes the value of OpenFeature's tracking details: the one
            that the metric counts as revenue.

    Raises:
        InvalidInputError: It is no client of FME.
    """

    _ASYNC = FMEClient
    _SYNC = sync.FMEClient

    def __init__(
        self, client: FMEClient | sync.FMEClient, *, value_property: str = "value"
    ) -> None:
        super().__init__(client)
        self._value_property = value_property

    def _has(self, key: str) -> bool:
        return key in self._engine.snapshot.plan.features

    async def _decide(self, key: str, user: Mapping[str, Any]) -> Decided:
        flag: Flag = await _value_of(self._client.get_flag(key, user, wait=False))
        metadata: dict[str, str | int] = {}
        if flag.rule is not None:
            metadata = {"rule": flag.rule.key, "rule_type": flag.rule.type}
        return Decided(
            flag.reason,
            flag.is_enabled(),
            None if flag.variation is None else flag.variation.name,
            {one["key"]: one["value"] for one in flag.variables},
            metadata,
        )

    async def _track(
        self, name: str, user: Mapping[str, Any], details: TrackingEventDetails
    ) -> object:
        properties = dict(details.attributes)
        if details.value is not None:
            properties[self._value_property] = details.value
        return await _value_of(self._client.track_event(name, user, properties, wait=False))


class VWOProvider(_Provider):
    """Flags and A/B tests of VWO FullStack.

    Args:
        client: The client. The service opens an async one before the first evaluation, and closes it.

    Raises:
        InvalidInputError: It is no client of FullStack.
    """

    _ASYNC = VWOClient
    _SYNC = sync.VWOClient

    def __init__(self, client: VWOClient | sync.VWOClient) -> None:
        super().__init__(client)

    def _has(self, key: str) -> bool:
        return key in self._engine.snapshot.plan.campaigns

    async def _decide(self, key: str, user: Mapping[str, Any]) -> Decided:
        options = dict(user)
        decided = self._client.decide(key, options.pop("id"), wait=False, **options)
        decision: CampaignDecision = await _value_of(decided)
        is_feature = decision.campaign_type != "VISUAL_AB"
        return Decided(
            decision.reason,
            decision.is_feature_enabled if is_feature else None,
            decision.variation_name,
            decision.variables,
            {"campaign_type": decision.campaign_type} if decision.campaign_type else {},
        )

    async def _track(
        self, name: str, user: Mapping[str, Any], details: TrackingEventDetails
    ) -> object:
        options = dict(user)
        return await _value_of(
            self._client.track(
                None,
                options.pop("id"),
                name,
                revenue_value=details.value,
                event_properties=details.attributes or None,
                wait=False,
                **options,
            )
        )


async def _value_of(answer: Any) -> Any:
    """Return what a method of a client returns: an async client's is awaited."""
    return await answer if isawaitable(answer) else answer


def _read_user(context: EvaluationContext | None) -> dict[str, Any]:
    """Return the user of a context by the names of `for_user`, with what can be used of the attributes.

    Raises:
        TargetingKeyMissingError: It has no user id.
    """
    if context is None or not context.targeting_key:
        raise TargetingKeyMissingError("the targeting key is the user id")
    attributes = dict(context.attributes)
    user: dict[str, Any] = {"id": context.targeting_key}
    for name in _ABOUT_VISITOR:
        if text := read_header(attributes.pop(name, None), name, []):
            user[name] = text
    if targeting := _keep_usable(attributes.pop(_TARGETING, None)):
        user[_TARGETING] = targeting
    if variables := _keep_usable(attributes):
        user["custom_variables"] = variables
    return user


def _keep_usable(given: object) -> Variables:
    """Return what of *given* can be variables: nothing of what is no mapping."""
    return read_variables(given, "context", []) if is_kind(given, Mapping) else {}


# What is returned of a decision, for each type that OpenFeature knows.

Pick = Callable[[Decided, str | None, Any], Any]


def _pick_boolean(decided: Decided, variable: str | None, default: bool) -> bool:
    if variable is None and decided.is_on is not None:
        return decided.is_on
    return _pick_variable(decided, variable, default, bool, "a boolean")


def _pick_string(decided: Decided, variable: str | None, default: str) -> str:
    if variable is None:
        return default if decided.variation is None else decided.variation
    return _pick_variable(decided, variable, default, str, "a text")


def _pick_integer(decided: Decided, variable: str | None, default: int) -> int:
    return _pick_variable(decided, variable, default, int, "a whole number")


def _pick_float(decided: Decided, variable: str | None, default: float) -> float:
    return float(_pick_variable(decided, variable, default, (int, float), "a number"))


def _pick_object(decided: Decided, variable: str | None, default: Any) -> Any:
    if variable is None and decided.is_on is not None:
        return dict(decided.variables) if decided.variation is not None else default
    return _pick_variable(decided, variable, default, (dict, list), "an object or a list")


def _pick_variable(
    decided: Decided,
    variable: str | None,
    default: ValueT,
    kinds: type | tuple[type, ...],
    name: str,
) -> ValueT:
    """Return the value of a variable.

    Raises:
        TypeMismatchError: It is of another type, or no variable is asked for.
        FlagNotFoundError: There is no variable of that key.
    """
    if variable is None:
        raise TypeMismatchError(f"the flag itself is not {name}: a variable is feature.variable")
    if decided.variation is None:
        return default
    if variable not in decided.variables:
        raise FlagNotFoundError("the feature has no variable of that key")
    value: Any = decided.variables[variable]
    # A boolean is a whole number to Python, and is none to those who ask for one.
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise TypeMismatchError(f"the variable is not {name}")
    return cast("ValueT", value)
