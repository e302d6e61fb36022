"""What a decision about a feature flag is to callers: a plain value that holds no key and no user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._reason import Reason
from ._result import NO_DELIVERY, Delivery
from ._value import Value, to_json

__all__ = ["Flag", "FlagRule", "FlagVariation"]


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


@dataclass(frozen=True, slots=True)
class Flag(Value):
    """A feature flag as it is for one user; true where it is on.

    A web handler may return it as it is: FastAPI answers with its fields. `as_json` has ``is_enabled`` as well.

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
    """

    key: str
    reason: Reason
    rule: FlagRule | None = None
    variation: FlagVariation | None = None
    variables: Sequence[Mapping[str, Any]] = ()
    delivery: Delivery = NO_DELIVERY
    detail: str = ""
    notes: Sequence[str] = ()

    def is_enabled(self) -> bool:
        """Tell whether the flag is on."""
        return self.variation is not None

    def get_variable(self, key: str, default: Any = None) -> Any:
        """Return the value of a variable, as in the file; *default* where the flag has none of that key."""
        return next((one["value"] for one in self.variables if one["key"] == key), default)

    def get_variables(self) -> list[dict[str, Any]]:
        """Return all variables, each with ``key``, ``value``, ``type`` and ``id``."""
        return [dict(one) for one in self.variables]

    def as_json(self) -> dict[str, Any]:
        """Return all of it by name as JSON can hold it, with ``is_enabled``."""
        own = {name: to_json(getattr(self, name)) for name in self.__slots__ if name != "delivery"}
        return {"is_enabled": self.is_enabled(), **own, "delivery": self.delivery.as_json()}

    def __bool__(self) -> bool:
        return self.variation is not None

    def __repr__(self) -> str:
        state = "on" if self else "off"
        return f"<Flag {self.key[:100]!a} {state}: {self.reason.value}>"
