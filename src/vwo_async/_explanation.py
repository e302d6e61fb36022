"""The ordered trace of a decision, as a value to look at, to log, or to show on a page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._reason import Reason
from ._value import Value


@dataclass(frozen=True, slots=True)
class Step(Value):
    """One step of a decision.

    Attributes:
        name: ``arguments`` (a variable that was left out), ``campaign`` or ``feature``, ``storage``,
            ``gateway``, ``holdout``, ``whitelisting``, ``segment``, ``group``, ``traffic`` or ``variation``.
        passed: Whether the decision went on to the next step, or was made here with a variation.
        text: What happened, in words.
        facts: The same as plain values that JSON can hold.
    """

    name: str
    passed: bool
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation(Value):
    """How a user came by a variation of a campaign, or why not. Holds user data: mind where it goes.

    Attributes:
        campaign_key: The campaign asked about.
        variation_name: The variation, or None.
        reason: The end of the decision.
        steps: What happened, in order.
    """

    campaign_key: str
    variation_name: str | None
    reason: Reason
    steps: tuple[Step, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what `as_json` does."""
        return self.as_json()

    def __str__(self) -> str:
        end = "no variation" if self.variation_name is None else ascii(self.variation_name)
        return _print(f"{self.campaign_key!a}: {end} ({self.reason.value})", self.steps)


@dataclass(frozen=True, slots=True)
class FlagExplanation(Value):
    """How a user came by a feature flag, or why it is off. Holds user data: mind where it goes.

    Attributes:
        feature_key: The feature asked about.
        is_enabled: Whether the flag is on.
        variation_name: The variation, or None.
        reason: The end of the decision.
        steps: What happened, in order; of a step of a rule the facts name it as ``rule``.
    """

    feature_key: str
    is_enabled: bool
    variation_name: str | None
    reason: Reason
    steps: tuple[Step, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what `as_json` does."""
        return self.as_json()

    def __str__(self) -> str:
        end = "off" if self.variation_name is None else f"on, {self.variation_name!a}"
        return _print(f"{self.feature_key!a}: {end} ({self.reason.value})", self.steps)


def _print(title: str, steps: Iterable[Step]) -> str:
    lines = (f"  {'+' if one.passed else '-'} {one.name}: {one.text}" for one in steps)
    return "\n".join((title, *lines))
