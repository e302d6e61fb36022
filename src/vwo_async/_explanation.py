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
        name: ``arguments`` (a variable that was left out), ``campaign``, ``whitelisting``, ``storage``, ``segment``, ``traffic``, ``group`` or
            ``variation``.
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
        lines = [f"{self.campaign_key!a}: {end} ({self.reason.value})"]
        lines += [
            f"  {'+' if step.passed else '-'} {step.name}: {step.text}" for step in self.steps
        ]
        return "\n".join(lines)
