"""What a new settings file changes for users: who gets another variation, and of what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .exit_code import CommandError
from .subject import Outcome, Subject

# So many ids of each change are named.
MAX_NAMED = 5


class Change(NamedTuple):
    """One change: from which variation to which, None for none."""

    key: str
    before: str | None
    after: str | None


@dataclass
class Comparison:
    """How many users a new file gives something else.

    Attributes:
        users: How many were looked at.
        affected: How many of them get another variation of anything.
        changes: How many are affected by each change.
        named: For each change, the ids of the first of them.
    """

    users: int = 0
    affected: int = 0
    changes: Counter[Change] = field(default_factory=Counter)
    named: dict[Change, list[str]] = field(default_factory=dict)

    def add(self, user_id: str, changes: Iterable[Change]) -> None:
        """Count one user."""
        self.users += 1
        found = list(changes)
        self.affected += bool(found)
        for one in found:
            self.changes[one] += 1
            ids = self.named.setdefault(one, [])
            if len(ids) < MAX_NAMED:
                ids.append(user_id)

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        changes = [
            {**one._asdict(), "users": number, "examples": self.named[one]}
            for one, number in self.changes.most_common()
        ]
        return {"users": self.users, "affected": self.affected, "changes": changes}


def compare(old: Subject, new: Subject, users: Iterable[Any]) -> Comparison:
    """Decide everything by both files for all *users*.

    Raises:
        CommandError: The files are of different products.
    """
    if old.product != new.product:
        raise CommandError(
            f"the files are of {old.product} and {new.product}: give two of one product"
        )
    keys = list(dict.fromkeys((*old.keys, *new.keys)))
    pairs = [(key, _make_namer(old, key), _make_namer(new, key)) for key in keys]
    comparison = Comparison()
    for user in users:
        decided = ((key, before(user), after(user)) for key, before, after in pairs)
        comparison.add(user.id, (Change(*one) for one in decided if one[1] != one[2]))
    return comparison


def _make_namer(subject: Subject, key: str) -> Callable[[Any], str | None]:
    """Return a function from a user to the name of his variation."""
    if key not in subject.keys:
        return lambda user: None
    decider, known = subject.make_decider(key), dict[Any, Outcome]()

    def name(user: Any) -> str | None:
        decided = decider(user)
        outcome = known.get(decided)
        if outcome is None:
            outcome = known[decided] = subject.read_outcome(decided)
        return outcome.variation

    return name
