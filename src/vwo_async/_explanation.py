"""The ordered trace of a decision, as a value to look at, to log, or to show on a page."""

from collections.abc import Mapping
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


class _Explained(Value):
    """What both kinds of explanations have in common."""

    __slots__ = ()

    reason: Reason
    steps: tuple[Step, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what `as_json` does."""
        return self.as_json()

    def _print(self, key: str, end: str) -> str:
        """Return the explanation in words, a line for each step.

        Args:
            key: What was asked about.
            end: What the user got.
        """
        lines = (f"  {'+' if one.passed else '-'} {one.name}: {one.text}" for one in self.steps)
        return "\n".join((f"{key!a}: {end} ({self.reason.value})", *lines))


@dataclass(frozen=True, slots=True)
class Explanation(_Explained):
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

    def __str__(self) -> str:
        end = "no variation" if self.variation_name is None else ascii(self.variation_name)
        return self._print(self.campaign_key, end)


@dataclass(frozen=True, slots=True)
class FlagExplanation(_Explained):
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

    def __str__(self) -> str:
        end = "off" if self.variation_name is None else f"on, {self.variation_name!a}"
        return self._print(self.feature_key, end)
