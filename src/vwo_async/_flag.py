"""What a decision about a feature flag is to callers: a plain value that holds no key and no user."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from ._reason import Reason
from ._result import NO_DELIVERY, Delivery
from ._value import Value, setters_of, to_json

__all__ = ["Flag", "FlagRule", "FlagVariation"]

# A visitor id, or what makes it of a user id: it is seldom asked for, and takes a microsecond.
Visitor: TypeAlias = str | tuple[Callable[[bytes], str], bytes] | None


@dataclass(frozen=True, slots=True)
class FlagRule(Value):
    """The rule of a feature that decided.

    Attributes:
        key: Its key.
        type: ``FLAG_ROLLOUT``, ``FLAG_TESTING`` or ``FLAG_PERSONALIZE``.
        campaign_id: The id of its campaign.
    """

    key: str
    type: str
    campaign_id: int


@dataclass(frozen=True, slots=True)
class FlagVariation(Value):
    """The variation that a user was given.

    Attributes:
        id: Its id, unique within the campaign.
        name: Its name.
        campaign_id: The id of its campaign.
        campaign_key: The key of its campaign.
    """

    id: int
    name: str
    campaign_id: int
    campaign_key: str


@dataclass(frozen=True, init=False)
class Flag(Value):
    """A feature flag as it is for one user; true where it is on.

    Flags that say the same are equal, whatever becomes of their reports. A web handler may return one as it
    is: FastAPI answers with its fields. `as_json` has ``is_enabled`` as well.

    Attributes:
        key: The key of the feature, empty where what was given is no key.
        reason: How it was come by, or why it is off.
        rule: The rule that gave the variation, or refused it last; None for a stored decision, and where no
            rule was asked.
        variation: The variation whose variables the flag has; None where it is off.
        variables: The variables in the order of the file, each a mapping with ``key``, ``value``, ``type``
            and ``id``, as the official SDKs give them.
        delivery: Await it for the `Outcome` of what was reported.
        detail: With ``Reason.INVALID_INPUT``, which argument is at fault and why; never its value.
        notes: What went wrong without changing the result, such as a user storage that did not answer.
        session_id: The session of the call in seconds since the epoch: the user's own, else the time of the call.
    """

    __slots__ = (
        "_visitor",
        "delivery",
        "detail",
        "key",
        "notes",
        "reason",
        "rule",
        "session_id",
        "variables",
        "variation",
    )

    key: str
    reason: Reason
    rule: FlagRule | None
    variation: FlagVariation | None
    variables: Sequence[Mapping[str, Any]]
    delivery: Delivery
    detail: str
    notes: Sequence[str]
    session_id: int

    def __init__(
        self,
        key: str,
        reason: Reason,
        rule: FlagRule | None = None,
        variation: FlagVariation | None = None,
        variables: Sequence[Mapping[str, Any]] = (),
        delivery: Delivery = NO_DELIVERY,
        detail: str = "",
        notes: Sequence[str] = (),
        session_id: int = 0,
        visitor: Visitor = None,
    ) -> None:
        _set_key(self, key)
        _set_reason(self, reason)
        _set_rule(self, rule)
        _set_variation(self, variation)
        _set_variables(self, variables)
        _set_delivery(self, delivery)
        _set_detail(self, detail)
        _set_notes(self, notes)
        _set_session_id(self, session_id)
        _set_visitor(self, visitor)

    def is_enabled(self) -> bool:
        """Tell whether the flag is on."""
        return self.variation is not None

    def get_variable(self, key: str, default: Any = None) -> Any:
        """Return the value of a variable, as in the file; *default* where the flag has none of that key."""
        return next((one["value"] for one in self.variables if one["key"] == key), default)

    def get_variables(self) -> list[dict[str, Any]]:
        """Return all variables, each with ``key``, ``value``, ``type`` and ``id``."""
        return [dict(one) for one in self.variables]

    def get_uuid(self) -> str | None:
        """Return the id under which VWO knows the user, as in the official SDKs; None where nothing was decided.

        VWO's code in web pages takes it for the visitor's. It is in no repr, and not in `as_json`.
        """
        # One that pydantic made from a mapping has none.
        visitor: Visitor = getattr(self, "_visitor", None)
        if isinstance(visitor, tuple):
            name, id_bytes = visitor
            return name(id_bytes)
        return visitor

    def get_session_id(self) -> int:
        """Return ``session_id``, as in the official SDKs."""
        return self.session_id

    def as_json(self) -> dict[str, Any]:
        """Return all of it by name as JSON can hold it, with ``is_enabled``."""
        own = {
            one.name: to_json(getattr(self, one.name))
            for one in fields(self)
            if one.name != "delivery"
        }
        return {"is_enabled": self.is_enabled(), **own, "delivery": self.delivery.as_json()}

    def __bool__(self) -> bool:
        return self.variation is not None

    def __eq__(self, other: object) -> bool:
        """Tell whether the other says the same of the flag; what becomes of the report does not count."""
        if not isinstance(other, Flag):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _COMPARED)

    def __hash__(self) -> int:
        # What variables hold may have no hash.
        return hash((self.key, self.reason, self.rule, self.variation, self.session_id))

    def __reduce__(self) -> tuple[Any, ...]:
        own = [getattr(self, one.name) for one in fields(self)]
        return Flag, (*own, self.get_uuid())

    def __repr__(self) -> str:
        state = "on" if self else "off"
        return f"<Flag {self.key[:100]!a} {state}: {self.reason.value}>"


(
    _set_key,
    _set_reason,
    _set_rule,
    _set_variation,
    _set_variables,
    _set_delivery,
    _set_detail,
    _set_notes,
    _set_session_id,
) = setters_of(Flag)
_set_visitor = Flag.__dict__["_visitor"].__set__
_COMPARED = tuple(one.name for one in fields(Flag) if one.name != "delivery")
