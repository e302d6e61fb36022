"""Many users through one campaign or feature: who gets what, and whether the split is honest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from time import process_time
from typing import Any

from .._collector.page.statistic import RatioTest
from .._reason import Reason
from .sample_ratio import Share, check_ratio, list_shares
from .subject import Outcome, Split, Subject


@dataclass(frozen=True)
class SplitResult:
    """How one campaign or rule divided its users.

    Attributes:
        name: Its key.
        shares: Its variations.
        test: Whether they are as the weights say; None where there is nothing to divide.
    """

    name: str
    shares: list[Share]
    test: RatioTest | None

    @property
    def verdict(self) -> str:
        """What the test says, in words."""
        return "nothing to test" if self.test is None else str(self.test)


@dataclass(frozen=True)
class Simulation:
    """What came of it.

    Attributes:
        key: The campaign or feature.
        users: How many there were.
        seconds: How long a processor worked on it, with making the users.
        outcomes: What they got, most frequent first, and how many of them.
        splits: What divided them.
    """

    key: str
    users: int
    seconds: float
    outcomes: list[tuple[Outcome, int]]
    splits: list[SplitResult]

    @property
    def users_per_s(self) -> float:
        """How many one processor decides in a second."""
        return self.users / self.seconds if self.seconds else 0.0

    @property
    def is_mismatch(self) -> bool:
        """Whether any split is not as its weights say."""
        return any(one.test is not None and one.test.is_mismatch for one in self.splits)

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return {
            "key": self.key,
            "users": self.users,
            "users_per_s": round(self.users_per_s),
            "sample_ratio_mismatch": self.is_mismatch,
            "outcomes": [{**show_outcome(one), "users": number} for one, number in self.outcomes],
            "splits": [_show_split(one) for one in self.splits],
        }


def simulate(subject: Subject, key: str, users: Iterable[Any], alpha: float) -> Simulation:
    """Decide *key* for all *users*.

    Raises:
        CommandError: A row of a file of users is no user.
    """
    began_at = process_time()
    counted = Counter(map(subject.make_decider(key), users))
    seconds = process_time() - began_at
    outcomes: Counter[Outcome] = Counter()
    for decided, number in counted.items():
        outcomes[subject.read_outcome(decided)] += number
    splits = [_judge(one, outcomes, alpha) for one in subject.list_splits(key)]
    return Simulation(key, counted.total(), seconds, outcomes.most_common(), splits)


def _judge(split: Split, outcomes: Counter[Outcome], alpha: float) -> SplitResult:
    """Return how a split came out; whoever is whitelisted was not divided by it."""
    assigned: Counter[str] = Counter()
    for outcome, number in outcomes.items():
        is_own = not outcome.rule or outcome.rule == split.name
        if outcome.variation is not None and outcome.reason is Reason.ASSIGNED and is_own:
            assigned[outcome.variation] += number
    shares = list_shares(split.weights, [assigned[name] for name, _ in split.weights])
    return SplitResult(split.name, shares, check_ratio(shares, alpha))


def show_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return what a user gets as JSON can hold it."""
    rule = {"rule": outcome.rule} if outcome.rule else {}
    return {
        "variation": outcome.variation,
        "is_on": outcome.is_on,
        "reason": outcome.reason.value,
        **rule,
    }


def _show_split(split: SplitResult) -> dict[str, Any]:
    test = split.test
    shares = [
        {"variation": one.name, "observed": one.observed, "expected": one.expected}
        for one in split.shares
    ]
    if test is None:
        return {"name": split.name, "shares": shares, "test": None}
    shown = {"chi_square": test.chi_square, "p_value": test.p_value}
    shown |= {"is_reliable": test.is_reliable, "is_mismatch": test.is_mismatch}
    return {"name": split.name, "shares": shares, "test": shown, "verdict": split.verdict}
